"""A photo's edges drawn dark on white, without PyTorch.

The same drawing as :func:`msedge.models.edges.edge_view` makes in training, from whole numbers:
Sobel's slopes of 8-bit pixels are integers, so nothing is rounded before the root. Tested against
it in ``tests/models/test_photo_edges.py``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from msedge.errors import ShapeError

_UNIT = 8 * 255  # Sobel's weights add up to 8 on each side; pixels go to 255
_EPSILON = 1e-6  # kornia's, under the root
_FAINTEST = 1e-2  # of an image's strongest edge: under it, the image counts as flat
_STROKE_GAIN = 1.5  # edges at two thirds of the strongest are drawn fully black


def edge_view(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """A photo's edges drawn dark on white, as a pseudo-sketch.

    Args:
        pixels: ``(B, 3, H, W)`` uint8, RGB, 0 to 255.

    Returns:
        ``(B, 3, H, W)``, grey as RGB, range [0, 1], 1 where there is no edge; the three channels
        are one array seen three times, and cannot be written to.

    Raises:
        ShapeError: ``pixels`` is not ``(B, 3, H, W)`` of uint8.

    Example:
        >>> bool((edge_view(np.full((1, 3, 8, 8), 128, np.uint8)) == 1).all())
        True
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1] != 3:
        raise ShapeError(
            f"edges need uint8 pixels of shape (B, 3, H, W), got {pixels.dtype} {pixels.shape}"
        )
    drawn = np.empty((len(pixels), 1, *pixels.shape[2:]), np.float32)
    for photo, into in zip(pixels, drawn, strict=True):  # one alone stays in the processor's cache
        # Sobel's slopes along both axes; the outermost pixels are repeated.
        framed = np.pad(photo, ((0, 0), (1, 1), (1, 1)), mode="edge").astype(np.int16)
        down = framed[:, :-2] + framed[:, 2:] + 2 * framed[:, 1:-1]
        across = framed[..., :-2] + framed[..., 2:] + 2 * framed[..., 1:-1]
        x = (down[..., 2:] - down[..., :-2]).astype(np.int32)
        y = (across[:, 2:] - across[:, :-2]).astype(np.int32)
        slopes = (x * x + y * y).max(axis=0) / np.float32(_UNIT**2)
        magnitude = np.sqrt(slopes + np.float32(_EPSILON), dtype=np.float32)
        magnitude = np.maximum(magnitude - np.float32(_EPSILON**0.5), 0)
        strongest = np.maximum(magnitude.max(), np.float32(_FAINTEST))
        into[0] = 1 - np.minimum(magnitude * (np.float32(_STROKE_GAIN) / strongest), 1)
    return np.broadcast_to(drawn, pixels.shape)
