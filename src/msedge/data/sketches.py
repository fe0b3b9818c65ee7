"""Drawings as training sees them: dark on white, filling the frame; and strokes to pixels.

People draw small in a corner, or over the whole sheet; a network that reads 192 pixels then sees a
thing of 40 pixels or of 190. Framing cuts a drawing out by its ink and centres it, so that every
drawing has the same room, whoever made it and on whatever sheet. It needs no PyTorch: training and
search frame with the same function. What it adds is measured in ``docs/results.md``; tested in
``tests/data/test_sketches.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageOps

from msedge.errors import ConfigError, DataError

FILL = 0.86
"""Share of the frame's side that the longer side of a framed drawing takes."""

INK = 55
"""Grey levels from the sheet's own; fainter marks are smudges and the ringing of JPEG."""
_LEAST_SIDE = 0.25  # of the sheet: a dot is not blown up without end
_LARGEST_SIDE = 10_000  # of a frame in pixels
_STRIPS_SIDE = 4_000  # of one around a long strip; a square of its length would take gigabytes
_BAND = 2_000_000  # pixels looked at together
_FARTHEST = 1e12  # a coordinate; sums and quotients of those within it are finite
_OVERSAMPLING = 4  # strokes are drawn so much larger and then reduced, for smooth lines

Strokes = Sequence[tuple[Sequence[float], Sequence[float]]]


def frame_sketch(sheet: Image.Image) -> Image.Image:
    """Cut a drawing out of its sheet, centred in a square.

    The sheet's colour is the median of its border. A drawing on a dark sheet is inverted, so that
    what comes back is always dark on light.

    Args:
        sheet: the drawing, mode ``RGB``, any size.

    Returns:
        A square ``RGB`` image whose side is the longer side of the ink over :data:`FILL`, but at
        least a quarter of the sheet's longer side; a sheet without ink comes back padded to a
        square. Where the frame would have more than 10,000 pixels a side, or be far larger than
        the sheet (a strip), it is that of the sheet made smaller.

    Example:
        >>> sheet = Image.new("RGB", (200, 100), "white")
        >>> ImageDraw.Draw(sheet).rectangle((10, 10, 52, 30), fill="black")
        >>> frame_sketch(sheet).size
        (50, 50)
    """
    width, height = sheet.size
    edges = [(0, 0, width, 1), (0, height - 1, width, height)]
    edges += [(0, 0, 1, height), (width - 1, 0, width, height)]
    border = np.concatenate([np.asarray(sheet.crop(edge)).reshape(-1, 3) for edge in edges])
    paper = np.median(border, axis=0).astype(np.int16)
    box = _inked(sheet, paper)
    if paper.mean() < 128:
        sheet, paper = ImageOps.invert(sheet), 255 - paper
    if box is None:
        left, top, right, bottom = 0, 0, width, height
        side = max(width, height)
    else:
        left, top, right, bottom = box
        side = round(max(right - left, bottom - top) / FILL)
        side = max(side, round(_LEAST_SIDE * max(width, height)))
    most = _most_side(width, height)
    if side > most:
        scale = 0.9 * most / side
        smaller = max(1, round(scale * width)), max(1, round(scale * height))
        return frame_sketch(sheet.resize(smaller, Image.Resampling.BOX))
    framed = Image.new("RGB", (side, side), tuple(int(level) for level in paper))
    corner = (round((side - left - right) / 2), round((side - top - bottom) / 2))
    framed.paste(sheet, corner)
    return framed


def frame_side(width: float, height: float) -> float:
    """The longest side of :func:`frame_sketch` of a sheet of that size, whatever is drawn."""
    return min(_most_side(width, height), max(width, height) / FILL + 1)


def _most_side(width: float, height: float) -> float:
    return min(_LARGEST_SIDE, max(_STRIPS_SIDE, 2 * math.isqrt(int(width * height))))


def _inked(sheet: Image.Image, paper: npt.NDArray[np.int16]) -> tuple[int, int, int, int] | None:
    """Left, top, right and bottom of what is not paper; None where all is."""
    width, height = sheet.size
    rows, columns = np.zeros(height, bool), np.zeros(width, bool)
    step = max(1, _BAND // width)
    for top in range(0, height, step):
        bottom = min(height, top + step)
        pixels = np.asarray(sheet.crop((0, top, width, bottom)), dtype=np.int16)
        ink = np.abs(pixels - paper).max(axis=2) > INK
        rows[top:bottom] = ink.any(axis=1)
        columns |= ink.any(axis=0)
    if not rows.any():
        return None
    (down,), (across,) = np.nonzero(rows), np.nonzero(columns)
    return int(across[0]), int(down[0]), int(across[-1]) + 1, int(down[-1]) + 1


def resize_framed(framed: Image.Image, size: int) -> Image.Image:
    """A framed drawing at the size of a network.

    Args:
        framed: what :func:`frame_sketch` returned.
        size: side of the square in pixels.

    Raises:
        ConfigError: ``size`` is smaller than 1.
    """
    if size < 1:
        raise ConfigError(f"image size must be at least 1 pixel, got {size}: pass a larger one")
    return framed.resize((size, size), Image.Resampling.BICUBIC)


def draw_strokes(strokes: Strokes, *, size: int = 256, line: float = 3.0) -> Image.Image:
    """Draw strokes as a sheet: black on white, centred, filling the frame by :data:`FILL`.

    Args:
        strokes: one ``(xs, ys)`` a stroke, in any unit, y downwards; a stroke of one point is a
            dot. The format of Quick, Draw! (Ha and Eck, ICLR 2018).
        size: pixels on a side.
        line: thickness in pixels.

    Returns:
        A square ``RGB`` image.

    Raises:
        DataError: there is no point, or a stroke's coordinates differ in number or are no
            finite numbers.
        ConfigError: ``size`` or ``line`` is too small.

    Example:
        >>> draw_strokes([([0, 10], [0, 10])], size=64).size
        (64, 64)
    """
    if size < 8 or not line > 0:
        raise ConfigError(
            f"strokes need a size of 8 pixels or more and a line above 0, got {size} and {line}"
        )
    points = [_points(stroke) for stroke in strokes]
    if not any(len(stroke) for stroke in points):
        raise DataError("a drawing without a point cannot be drawn; give at least one stroke")
    everything = np.concatenate(points)
    low, high = everything.min(axis=0), everything.max(axis=0)
    large = size * _OVERSAMPLING
    extent = float((high - low).max())
    scale = FILL * large / extent if extent > 1 / _FARTHEST else 1.0
    offset = (large - scale * (low + high)) / 2
    sheet = Image.new("L", (large, large), 255)
    pen, width = ImageDraw.Draw(sheet), line * _OVERSAMPLING
    for stroke in points:
        path = [(float(x), float(y)) for x, y in offset + scale * stroke]
        if len(path) > 1:
            pen.line(path, fill=0, width=max(1, round(width)), joint="curve")
        for x, y in {path[0], path[-1]} if path else ():
            pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=0)
    return sheet.resize((size, size), Image.Resampling.LANCZOS).convert("RGB")


def _points(stroke: tuple[Sequence[float], Sequence[float]]) -> npt.NDArray[np.float64]:
    try:
        xs, ys = (np.asarray(axis, dtype=np.float64).reshape(-1) for axis in stroke[:2])
    except (TypeError, ValueError) as error:
        raise DataError("a stroke must be two lists of numbers, x and y") from error
    if len(xs) != len(ys) or not all((np.abs(axis) <= _FARTHEST).all() for axis in (xs, ys)):
        raise DataError(
            f"a stroke has {len(xs)} x and {len(ys)} y, or values that are no finite numbers or "
            f"beyond {_FARTHEST:g}; give as many of each, within that"
        )
    return np.stack([xs, ys], axis=1)
