"""The width of a drawing's lines, brought near what training saw where it is far from it.

A hairline on a large page fades to nothing when the page is reduced to the 192 pixels that a
network reads; the lines of a thick marker run together. The drawings of Sketchy (Sangkloy et al.,
SIGGRAPH 2016), framed, have lines of 2.5 to 13 pixels in 256 (1st to 99th percentile; median 4.1),
and the widest of these are small drawings blown up. Lines inside that range are left alone.
Tested in ``tests/data/test_line_width.py``.

References:
    Zhang and Suen, A Fast Parallel Algorithm for Thinning Digital Patterns, CACM 1984.
    Crofton's formula: the length of a curve from how often a grid's lines cross it.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from msedge.data.components import find_components

UNIT = 256
"""Widths are told in pixels of a picture of this side."""

TOO_THIN = 2.2
TOO_THICK = 10.0  # from there on thinning gains more than it costs
_SILHOUETTE = 36.0  # wider is an area, not a line
_TARGET = 4.1  # Sketchy's median, of framed drawings
_SIDE = 384  # of the picture worked on, at least: twice what the network reads

_BAND = 2_000_000  # pixels looked at together

_Levels = npt.NDArray[np.uint8]
_Mask = npt.NDArray[np.bool_]


def line_width(framed: Image.Image) -> float:
    """Mean width of a drawing's lines.

    Twice the area over the outline's length, which is the width of a long line; the outline is
    measured by Crofton's formula along rows and columns.

    Args:
        framed: a square drawing, dark on light.

    Returns:
        Pixels where the picture's side is :data:`UNIT`; 0 where nothing is drawn.

    Example:
        >>> page = Image.new("L", (512, 512), "white")
        >>> page.paste("black", (20, 20, 500, 30))
        >>> round(line_width(page))
        6
    """
    grey, rows = framed.convert("L"), max(1, _BAND // framed.width)
    low, high = cast(tuple[int, int], grey.getextrema())
    area = crossings = 0
    for top in range(0, grey.height, rows):
        below = np.asarray(grey.crop((0, top, grey.width, min(grey.height, top + rows + 1))))
        ink = below < (low + high) / 2
        area += int(ink[:rows].sum())
        crossings += int((ink[:rows, 1:] != ink[:rows, :-1]).sum() + (ink[1:] != ink[:-1]).sum())
    return UNIT * _mean_width(area, crossings) / framed.width


def even_lines(framed: Image.Image, sheet: int) -> Image.Image:
    """Thicken hairlines and thin a marker's strokes; leave all else as it is.

    Args:
        framed: a square drawing, dark on light, mode ``RGB``.
        sheet: longer side in pixels of the sheet that it was cut from. Lines that were not thick
            there, but only became so because a small drawing fills the frame, are left alone.

    Returns:
        ``framed`` itself, or the drawing with lines near those of training, mode ``RGB``.
    """
    width = line_width(framed)
    if 0 < width < TOO_THIN:
        return _thickened(framed)
    if width > TOO_THICK and width * framed.size[0] / sheet > TOO_THICK and width < _SILHOUETTE:
        return _thinned(framed, width)
    return framed


def _ink(levels: _Levels) -> _Mask:
    low, high = int(levels.min()), int(levels.max())
    ink: _Mask = levels < (low + high) / 2
    return ink


def _width(ink: _Mask) -> float:
    crossings = int((ink[:, 1:] != ink[:, :-1]).sum() + (ink[1:] != ink[:-1]).sum())
    return _mean_width(int(ink.sum()), crossings)


def _mean_width(area: int, crossings: int) -> float:
    return 2 * area / (crossings * np.pi / 4) if crossings else 0.0


def _thickened(framed: Image.Image) -> Image.Image:
    levels = _darkest_of_blocks(framed.convert("L"), max(1, framed.width // _SIDE))
    low, high = int(levels.min()), int(levels.max())
    darkness = (high - levels.astype(np.float32)) / (high - low)
    levels = np.rint(255 * (1 - np.minimum(1.5 * darkness, 1))).astype(np.uint8)  # shades, to black
    radius = (_TARGET * len(levels) / UNIT - _width(_ink(levels))) / 2
    for step in range(round(radius)):
        levels = _darkest_around(levels, corners=step % 2 == 1)  # an octagon, nearly round
    return Image.fromarray(levels).convert("RGB")


def _darkest_of_blocks(grey: Image.Image, factor: int) -> _Levels:
    """Reduce so that a line one pixel wide stays one, and as dark."""
    side, lightest = grey.width, cast(tuple[int, int], grey.getextrema())[1]
    count = -(-side // factor)
    darkest = np.empty((count, count), np.uint8)
    for number in range(count):
        rows = np.asarray(grey.crop((0, number * factor, side, min(side, (number + 1) * factor))))
        row = np.full(count * factor, lightest, np.uint8)
        row[:side] = rows.min(axis=0)
        darkest[number] = row.reshape(count, factor).min(axis=1)
    return darkest


def _darkest_around(levels: _Levels, *, corners: bool) -> _Levels:
    padded = np.pad(levels, 1, mode="edge")
    middle = padded[1:-1]
    rows = np.minimum(np.minimum(middle[:, :-2], middle[:, 1:-1]), middle[:, 2:])
    if corners:
        across = np.minimum(np.minimum(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])
        return np.minimum(np.minimum(across[:-2], across[1:-1]), across[2:])
    return np.minimum(rows, np.minimum(padded[:-2, 1:-1], padded[2:, 1:-1]))


def _thinned(framed: Image.Image, width: float) -> Image.Image:
    levels = np.asarray(framed.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BICUBIC))
    passes = round((width - _TARGET) / 2 * _SIDE / UNIT)
    ink = _ink(levels)
    peeled = _peeled(ink, passes + 2)  # and two back, for what is peeled to its middle
    found = find_components(ink)
    left = np.bincount(found.labels[peeled], minlength=len(found.areas))
    for box in found.boxes[left == 0]:  # a dot of an even number of pixels across has no middle
        peeled[(box[1] + box[3]) // 2, (box[0] + box[2]) // 2] = True
    thin = np.where(peeled, np.uint8(0), np.uint8(255))
    for corners in (False, True):
        thin = _darkest_around(thin, corners=corners)
    return Image.fromarray(thin).convert("RGB")


def _peeled(ink: _Mask, passes: int) -> _Mask:
    """Take a pixel off both sides of every line, a pass, but never a line's last (Zhang, Suen)."""
    padded = np.pad(ink, 1)
    inner = padded[1:-1, 1:-1]
    for _ in range(passes):
        for first in (True, False):
            north, east, south, west = (
                padded[:-2, 1:-1],
                padded[1:-1, 2:],
                padded[2:, 1:-1],
                padded[1:-1, :-2],
            )
            ring = (
                north,
                padded[:-2, 2:],
                east,
                padded[2:, 2:],
                south,
                padded[2:, :-2],
                west,
                padded[:-2, :-2],
            )
            neighbours = sum(side.astype(np.uint8) for side in ring)
            turns = sum(
                (~here & there).astype(np.uint8)
                for here, there in zip(ring, ring[1:] + ring[:1], strict=True)
            )
            edge = inner & (neighbours >= 2) & (neighbours <= 6) & (turns == 1)
            if first:
                edge &= ~(north & east & south) & ~(east & south & west)
            else:
                edge &= ~(north & east & west) & ~(north & south & west)
            inner[edge] = False
    return inner
