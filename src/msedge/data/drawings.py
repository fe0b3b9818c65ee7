"""Any drawing, wherever it comes from, as the network saw drawings when it learned.

A query is a scan, a page of a sketching program, a photographed sheet, an SVG, the strokes of a
drawing page. :func:`open_drawing` finds out which by content and returns one kind of picture:
dark lines on a light ground, filling a square. A drawing that is already so passes unchanged, to
the pixel. Tested in ``tests/data/test_drawings.py``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from msedge.data.grounds import on_visible_ground
from msedge.data.image_file import read_image_file
from msedge.data.images import MAX_PIXELS, MAX_SIDE, as_pixels, cause_of, one_line, open_image_bytes
from msedge.data.line_width import even_lines
from msedge.data.paper import is_clean, lift_ink
from msedge.data.sketches import INK, Strokes, draw_strokes, frame_sketch, resize_framed
from msedge.data.stroke_files import read_strokes
from msedge.data.svg import draw_svg, looks_like_svg
from msedge.errors import DataError

MAX_BYTES = 100_000_000
"""Larger files are refused."""

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
        return _framed(on_visible_ground(source), one_line(name))
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


def _read(path: Path) -> bytes:
    try:
        return read_image_file(path, MAX_BYTES)[0]
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read drawing {one_line(path)}: {cause_of(error)}") from error


def _from_bytes(content: bytes, name: str) -> Image.Image:
    if looks_like_svg(content):
        return _framed(on_visible_ground(draw_svg(content, name)), name)
    if content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
        return open_drawing(read_strokes(content, name), name=name)
    return _framed(open_image_bytes(content, name, flatten=on_visible_ground), name)


def _framed(sheet: Image.Image, name: str) -> Image.Image:
    inked = sheet if is_clean(sheet) else lift_ink(sheet)
    framed = frame_sketch(inked)
    ground = np.asarray(framed)[0, 0].astype(np.int16)[:, None]
    if np.abs(np.subtract(framed.getextrema(), ground)).max() <= INK:
        raise DataError(f"nothing is drawn in {name}: give a drawing with lines on it")
    even = even_lines(framed, max(inked.size))
    return even if even is framed else frame_sketch(even)
