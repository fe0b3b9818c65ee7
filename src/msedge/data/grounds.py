"""The ground under a picture: white, unless a drawing would vanish on it.

Whatever mode a picture has, the network sees colours on a ground. Drawing programs export lines on
a transparent ground, white ones too. Large pictures are worked on a band at a time, so that the
copies that arithmetic makes of a band are all that it costs besides the picture and its result.
Tested in ``tests/data/test_grounds.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

from msedge.data.sketches import INK

_SIXTEEN_BIT_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
_BAND = 2_000_000  # pixels
_LEAST_SEEN = 0.02  # share of the pixels; the outline of a white ghost is more

_Levels = npt.NDArray[np.float32]


def on_white(image: Image.Image) -> Image.Image:
    """A loaded image of any mode as ``RGB``: transparency on white, 16-bit greys in 8 bits."""
    if image.mode in _SIXTEEN_BIT_MODES:  # Pillow's own conversion clips at 255
        return _grey(image, lambda levels: levels / np.float32(257))
    if image.mode == "F":  # a scan or a map: 0 to 1, or grey levels
        brightest = max(_levels(band).max(initial=0.0) for _, band in _bands(image))
        factor = np.float32(255 if brightest <= 1.0 else 1)
        return _grey(image, lambda levels: levels * factor)
    if image.has_transparency_data:
        return _laid_on(image, "white")
    return image if image.mode == "RGB" else image.convert("RGB")


def on_visible_ground(image: Image.Image) -> Image.Image:
    """Lay a drawing on a ground that shows it.

    Args:
        image: a loaded image of any mode.

    Returns:
        Mode ``RGB``: as :func:`on_white`, but where a transparent drawing holds next to nothing
        that can be told from white, on black.
    """
    if image.has_transparency_data and _is_lost_on_white(image):
        return _laid_on(image, "black")
    return on_white(image)


def _is_lost_on_white(image: Image.Image) -> bool:
    alphas = np.zeros(256, np.int64)
    for _, band in _bands(image):
        alphas += band.convert("RGBA").getchannel("A").histogram()
    total = alphas.sum()
    least = 128 if 0 < alphas[128:].sum() < total else 1
    solid = int(alphas[least:].sum())
    if solid in (0, total):
        return False
    seen = 0
    for _, band in _bands(image):
        pixels = np.asarray(band.convert("RGBA"))
        shown = (pixels[..., :3] < 255 - INK).any(axis=2) & (pixels[..., 3] >= least)
        seen += int(shown.sum())
    return seen / solid < _LEAST_SEEN


def _laid_on(image: Image.Image, ground: str) -> Image.Image:
    laid = Image.new("RGB", image.size)
    for top, band in _bands(image):
        drawn = band.convert("RGBA")
        under = Image.new("RGBA", drawn.size, ground)
        laid.paste(Image.alpha_composite(under, drawn).convert("RGB"), (0, top))
    return laid


def _grey(image: Image.Image, scaled: Callable[[_Levels], _Levels]) -> Image.Image:
    grey = Image.new("L", image.size)
    for top, band in _bands(image):
        with np.errstate(over="ignore"):  # a level beyond all bounds is clipped
            levels = np.clip(np.rint(scaled(_levels(band))), 0, 255)
        grey.paste(Image.fromarray(levels.astype(np.uint8)), (0, top))
    return grey.convert("RGB")


def _levels(band: Image.Image) -> _Levels:
    return np.nan_to_num(np.asarray(band).astype(np.float32))


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """An image from top to bottom in pieces of its full width, each with its first row."""
    width, height = image.size
    rows = max(1, _BAND // max(1, width))
    if rows >= height:
        yield 0, image
        return
    for top in range(0, height, rows):
        yield top, image.crop((0, top, width, min(height, top + rows)))
