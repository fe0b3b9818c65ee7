"""The ground under a drawing on nothing: white, unless the drawing would vanish on it.

Drawing programs export lines on a transparent ground, white ones too. Tested in
``tests/data/test_grounds.py``.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from msedge.data.images import on_white
from msedge.data.sketches import INK

_LEAST_SEEN = 0.02  # share of the pixels; the outline of a white ghost is more


def on_visible_ground(image: Image.Image) -> Image.Image:
    """Lay a drawing on a ground that shows it.

    Args:
        image: a loaded image of any mode.

    Returns:
        Mode ``RGB``: as :func:`~msedge.data.images.on_white`, but where a transparent drawing
        holds next to nothing that can be told from white, on black.
    """
    if not image.has_transparency_data:
        return on_white(image)
    drawn = image.convert("RGBA")
    pixels = np.asarray(drawn)
    solid = pixels[..., 3] >= 128
    if solid.all() or not solid.any():
        solid = pixels[..., 3] > 0
    if solid.any() and not solid.all():
        seen = (pixels[solid][:, :3] < 255 - INK).any(axis=1).mean()
        if seen < _LEAST_SEEN:
            black = Image.new("RGBA", drawn.size, "black")
            return Image.alpha_composite(black, drawn).convert("RGB")
    return on_white(image)
