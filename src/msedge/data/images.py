"""The one safe way to open an image, whoever made it.

Sketches and photos arrive as palette PNGs, CMYK JPEGs, 16-bit scans, drawings on nothing and
telephone photos lying on their side; some are cut short and a few are hostile. Everything that
reads an image in this package goes through :func:`open_image` (or :func:`open_image_bytes`, for
what is not a file), so that training, evaluation and search see the same pixels and a bad file
always ends as one :class:`~msedge.errors.DataError` that names it. Tested in
``tests/data/test_images.py``.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from io import BytesIO
from pathlib import Path, PurePath
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from msedge.errors import ConfigError, DataError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
"""Suffixes of files that count as images of a dataset, in lower case.

Compared without regard to case. Published datasets hold no others, and counts of their protocols
rest on it; what search looks at is :data:`PHOTO_SUFFIXES`.
"""

PHOTO_SUFFIXES = IMAGE_SUFFIXES | {".jpe", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif"}
"""Suffixes of photos that a person's folder may hold and :func:`open_image` reads, in lower case.

HEIC and HEIF files need the extra ``heic``.
"""

MAX_PIXELS = 64_000_000
"""Larger images are refused: a few kB of PNG can claim to unpack into gigabytes."""

_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")
_HEIF_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
)  # ISO/IEC 23008-12, annex B: what stands behind "ftyp" at the head of the file
_SIXTEEN_BIT_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})


def open_image(path: Path, *, size: int | None = None) -> Image.Image:
    """Open a JPEG, PNG, WebP, GIF, BMP, TIFF or HEIC file as RGB, upright, on white.

    Args:
        path: the file. Its content decides the format, not its suffix.
        size: side in pixels of the square that the whole image is resized to (bicubic with
            antialiasing, aspect ratio not kept); ``None`` keeps the image's own size. A JPEG is
            decoded straight to the nearest smaller scale that still has ``size`` pixels a side.

    Returns:
        An image of mode ``RGB``, fully loaded, without metadata. Transparent pixels are
        composited on white, 16-bit greys scaled to 8 bits, the EXIF orientation applied (a
        damaged EXIF block is passed over); of an animation or several pages the first.

    Raises:
        DataError: the file is missing, unreadable, not one of these formats, damaged, empty,
            larger than :data:`MAX_PIXELS`, or a HEIC file where the extra ``heic`` is missing.
        ConfigError: ``size`` is smaller than 1.
    """
    name = one_line(path)
    _check_size(size)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
            raise DataError(f"cannot read image {name}: it is not a regular file")
        with path.open("rb") as stream:
            return _decode(stream, name, size, on_white)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # decoders raise whatever damaged bytes lead them to
        raise DataError(f"cannot read image {name}: {_cause(error)}") from error


def open_image_bytes(
    content: bytes,
    name: str,
    *,
    size: int | None = None,
    flatten: Callable[[Image.Image], Image.Image] | None = None,
) -> Image.Image:
    """Open an image that lies in memory: an upload, standard input, a picture in a request.

    Args:
        content: the bytes of a file, in any format of :func:`open_image`.
        name: what an error calls it.
        size: as of :func:`open_image`.
        flatten: what makes ``RGB`` of the decoded image, whatever its mode; without it
            :func:`on_white`.

    Returns:
        As :func:`open_image`.

    Raises:
        DataError: the bytes are no such image, as of :func:`open_image`.
        ConfigError: ``size`` is smaller than 1.

    Example:
        >>> stream = BytesIO()
        >>> Image.new("1", (30, 20)).save(stream, "TIFF")
        >>> open_image_bytes(stream.getvalue(), "the upload").size
        (30, 20)
    """
    name = one_line(name)
    _check_size(size)
    try:
        return _decode(BytesIO(content), name, size, flatten or on_white)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # as above
        raise DataError(f"cannot read image {name}: {_cause(error)}") from error


def read_pixels(path: Path, size: int) -> npt.NDArray[np.uint8]:
    """Read an image as an array, by :func:`open_image`.

    Args:
        path: the image file.
        size: side of the square in pixels.

    Returns:
        Contiguous uint8 pixels ``(3, size, size)``, RGB, 0 to 255.

    Raises:
        DataError: the file cannot be read as an image.
        ConfigError: ``size`` is smaller than 1.
    """
    return as_pixels(open_image(path, size=size))


def as_pixels(image: Image.Image) -> npt.NDArray[np.uint8]:
    """An ``RGB`` image as contiguous uint8 pixels ``(3, H, W)``, 0 to 255."""
    return np.ascontiguousarray(np.asarray(image, dtype=np.uint8).transpose(2, 0, 1))


def is_image_name(name: str) -> bool:
    """Whether a file of this name counts as an image: not hidden, one of `IMAGE_SUFFIXES`.

    >>> is_image_name("cat.JPG"), is_image_name("._cat.jpg"), is_image_name("cat.txt")
    (True, False, False)
    """
    return not name.startswith(".") and PurePath(name).suffix.lower() in IMAGE_SUFFIXES


def one_line(value: object) -> str:
    r"""Text of a path or an error, safe to print on one line: odd characters are escaped.

    >>> print(one_line("a\nb"))
    a\nb
    """
    text = str(value)
    return text if text.isprintable() else repr(text)[1:-1]


def on_white(image: Image.Image) -> Image.Image:
    """A loaded image of any mode as ``RGB``: transparency on white, 16-bit greys in 8 bits."""
    if image.mode in _SIXTEEN_BIT_MODES:  # Pillow's own conversion clips at 255
        return _grey(np.asarray(image).astype(np.float32) / 257.0)
    if image.mode == "F":  # a scan or a map: 0 to 1, or grey levels
        levels = np.nan_to_num(np.asarray(image))
        return _grey(levels * 255.0 if levels.max(initial=0.0) <= 1.0 else levels)
    if image.has_transparency_data:
        drawn = image.convert("RGBA")
        white = Image.new("RGBA", drawn.size, "white")
        return Image.alpha_composite(white, drawn).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _check_size(size: int | None) -> None:
    if size is not None and size < 1:
        raise ConfigError(f"image size must be at least 1 pixel, got {size}: pass a larger one")


def _decode(
    stream: BinaryIO,
    name: str,
    size: int | None,
    flatten: Callable[[Image.Image], Image.Image],
) -> Image.Image:
    # Pillow warns of bombs between 89 and 179 Mpx. The limit here is lower and does not depend on
    # warning filters, which cannot be changed for one thread alone.
    with Image.open(stream, formats=_formats(stream, name)) as image:
        width, height = image.size
        if width < 1 or height < 1:
            raise DataError(f"cannot read image {name}: it is {width} x {height} pixels")
        if width * height > MAX_PIXELS:
            raise DataError(
                f"cannot read image {name}: {width} x {height} pixels are more than "
                f"{MAX_PIXELS // 1_000_000} Mpx: scale it down or leave it out"
            )
        if size is not None:
            image.draft(None, (size, size))
        image.load()
        orientation = _orientation(image)
        pixels = flatten(image)
        resized = (
            pixels.copy() if size is None else pixels.resize((size, size), Image.Resampling.BICUBIC)
        )
    return _upright(resized, orientation)


def _formats(stream: BinaryIO, name: str) -> tuple[str, ...]:
    head = stream.read(12)
    stream.seek(0)
    if head[4:8] != b"ftyp" or head[8:12] not in _HEIF_BRANDS:
        return _FORMATS
    try:
        import pillow_heif
    except ImportError as error:
        raise DataError(
            f"cannot read image {name}: HEIC needs a plug-in: pip install 'msedge[heic]'"
        ) from error
    if "HEIF" not in Image.OPEN:
        pillow_heif.register_heif_opener()
    return ("HEIF",)


def _grey(levels: npt.NDArray[np.float32]) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8)).convert("RGB")


def _orientation(image: Image.Image) -> object:
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a damaged EXIF block says nothing, and its picture can still be seen
        return 1


def _upright(image: Image.Image, orientation: object) -> Image.Image:
    # Only the orientation is carried over: rewriting a whole EXIF block, as `exif_transpose`
    # does where it finds one, fails on blocks that are merely untidy.
    image.info.clear()
    if orientation == 1:
        return image
    image.getexif()[ExifTags.Base.Orientation] = orientation
    upright = ImageOps.exif_transpose(image)
    upright.info.clear()
    return upright


def _cause(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, UnidentifiedImageError):
        return "its content is not a JPEG, PNG, WebP, GIF, BMP, TIFF or HEIC image"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return one_line(str(error).strip() or type(error).__name__)
