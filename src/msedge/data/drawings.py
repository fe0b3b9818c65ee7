"""Any drawing, wherever it comes from, as the network saw drawings when it learned.

A query is a scan, a page of a sketching program, a photographed sheet, an SVG, the strokes of a
drawing page. :func:`open_drawing` finds out which by content and returns one kind of picture:
dark lines on a light ground, filling a square. A drawing that is already so passes unchanged, to
the pixel. Tested in ``tests/data/test_drawings.py``.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from msedge.data.grounds import on_visible_ground
from msedge.data.image_file import read_image_file
from msedge.data.images import (
    MAX_PIXELS,
    MAX_SIDE,
    as_pixels,
    cause_of,
    one_line,
    open_image_bytes,
    picture_size,
    reading_bytes,
    reduced,
)
from msedge.data.line_width import even_lines
from msedge.data.paper import is_clean, lift_ink
from msedge.data.sketches import INK, Strokes, draw_strokes, frame_side, frame_sketch, resize_framed
from msedge.data.stroke_files import read_strokes
from msedge.data.svg import draw_svg, looks_like_svg
from msedge.errors import DataError

MAX_BYTES = 100_000_000
"""Larger files are refused."""

MAX_SHEET = 10_000_000
"""Pixels of a sheet that is looked at as it is: A4 at 300 dots an inch has 8.7 million.

Larger ones are reduced by a whole number first; the network reads some 200 a side.
"""

_LEAST_BYTES = 40_000_000  # what is worked on a band at a time, and small drawings
_BLANK = b"\xef\xbb\xbf \t\r\n"

Drawing = Path | bytes | Image.Image | Strokes


def open_drawing(source: Drawing, *, name: str = "the drawing") -> Image.Image:
    """Open a drawing, whatever it is, as training saw drawings.

    Args:
        source: a file or its content (a picture in any format of
            :func:`~msedge.data.images.open_image`, an SVG document, or JSON of strokes as of
            :func:`~msedge.data.stroke_files.read_strokes`; the content decides which), an image
            of any mode, or strokes.
        name: what an error calls a drawing that is no file.

    Returns:
        A square ``RGB`` image, dark on light, the drawing centred and filling it as of
        :func:`~msedge.data.sketches.frame_sketch`; ready to be resized.

    Raises:
        DataError: the drawing cannot be read, is beyond a limit, or is blank.

    Example:
        >>> open_drawing([([0, 10], [0, 10]), ([0, 10], [10, 0])]).size
        (256, 256)
    """
    if isinstance(source, Path):
        return _from_bytes(_read(source), one_line(source))
    if isinstance(source, bytes):
        return _from_bytes(source, one_line(name))
    if isinstance(source, Image.Image):
        width, height = source.size
        if not (0 < width * height <= MAX_PIXELS and max(width, height) <= MAX_SIDE):
            raise DataError(f"cannot read image {one_line(name)}: it is {width} x {height} pixels")
        return _framed(reduced(on_visible_ground(source), MAX_SHEET), one_line(name))
    return draw_strokes(source)


def drawing_pixels(framed: Image.Image, size: int) -> npt.NDArray[np.uint8]:
    """A framed drawing as the network reads it.

    Args:
        framed: what :func:`open_drawing` or :func:`~msedge.data.sketches.frame_sketch` returned.
        size: side of the square in pixels.

    Returns:
        Contiguous uint8 pixels ``(3, size, size)``, RGB, 0 to 255.

    Raises:
        ConfigError: ``size`` is smaller than 1.
    """
    return as_pixels(resize_framed(framed, size))


def drawing_bytes(content: bytes, *, name: str = "the drawing") -> int:
    """What :func:`open_drawing` takes of memory at most, beside the content, by its header.

    Args:
        content: of a file, as of :func:`open_drawing`.
        name: what an error calls it.

    Raises:
        DataError: it is a picture that :func:`~msedge.data.images.picture_size` refuses.
    """
    if not is_picture(content):
        return _LEAST_BYTES
    width, height = picture_size(content, name)
    factor = math.ceil(math.sqrt(width * height / MAX_SHEET))
    width, height = -(-width // factor), -(-height // factor)
    sheet, side = width * height, frame_side(width, height)
    framing = max(8 * sheet + 4 * side**2, 5 * side**2)  # inverted beside it; its grey levels
    reading = reading_bytes(content, name, most_pixels=MAX_SHEET)
    return max(reading, round(framing) + _LEAST_BYTES)


def is_picture(content: bytes) -> bool:
    """Whether the content of a drawing's file is pixels: no SVG and no strokes."""
    return not looks_like_svg(content) and content.lstrip(_BLANK)[:1] not in (b"{", b"[")


def _read(path: Path) -> bytes:
    try:
        return read_image_file(path, MAX_BYTES)[0]
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read drawing {one_line(path)}: {cause_of(error)}") from error


def _from_bytes(content: bytes, name: str) -> Image.Image:
    if looks_like_svg(content):
        return _framed(on_visible_ground(draw_svg(content, name)), name)
    if not is_picture(content):
        return open_drawing(read_strokes(content, name), name=name)
    sheet = open_image_bytes(content, name, flatten=on_visible_ground, most_pixels=MAX_SHEET)
    return _framed(sheet, name)


def _framed(sheet: Image.Image, name: str) -> Image.Image:
    if not is_clean(sheet):
        sheet = lift_ink(sheet)
    longer = max(sheet.size)
    framed = frame_sketch(sheet)
    del sheet  # a large one's frame is as large again
    ground = np.array(framed.getpixel((0, 0)), np.int16)[:, None]
    if np.abs(np.subtract(framed.getextrema(), ground)).max() <= INK:
        raise DataError(f"nothing is drawn in {name}: give a drawing with lines on it")
    even = even_lines(framed, longer)
    return even if even is framed else frame_sketch(even)
