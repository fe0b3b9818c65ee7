"""The one safe way to open an image, whoever made it.

Sketches and photos arrive as palette PNGs, CMYK JPEGs, 16-bit scans, drawings on nothing and
telephone photos lying on their side; some are cut short and a few are hostile. Everything that
reads an image in this package goes through :func:`open_image` (or :func:`open_image_bytes`, for
what is not a file), so that training, evaluation and search see the same pixels and a bad file
always ends as one :class:`~msedge.errors.DataError` that names it, in bounded time and memory: a
picture of :data:`MAX_PIXELS` takes about a gigabyte while it is read, most take a few megabytes.
Tested in ``tests/data/test_image*.py`` and ``tests/hostile/``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePath

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from msedge.data.grounds import on_white
from msedge.data.image_file import read_image_file
from msedge.data.image_structure import excess, is_buffered
from msedge.data.quiet_decoders import keep_libtiff_quiet, keep_pillow_quiet
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

MAX_SIDE = 100_000
"""Images with a longer side are refused: resizing one takes memory by its side, whatever its area.
"""

STEP = 32
"""Sides of a picture whose shape is kept are multiples of it: the coarsest stride of backbones."""

_LONGEST = 4  # times as long as wide: a panorama is not made narrower than that allows
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")
_HEIF_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
)  # ISO/IEC 23008-12, annex B: what stands behind "ftyp" at the head of the file
_DECODERS = {"TIFF": 4, "WEBP": 12, "GIF": 2, "HEIF": 5}
"""Bytes a pixel that decoders hold beside what they give: strips, canvases, planes."""
_BAND = 2_000_000  # pixels looked at together
_MEAN_MODES = frozenset({"L", "LA", "RGB", "RGBA", "CMYK"})
_NARROW_MODES = frozenset({"1", "L", "P"})
_LEAST_BYTES = 25_000_000  # whatever the size
_BANDS_BYTES = 50_000_000  # where a ground is laid, a band at a time
_LYING = range(5, 9)  # EXIF orientations that exchange width and height

keep_pillow_quiet()


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as it was read.

    Attributes:
        image: mode ``RGB``, as of :func:`open_image`.
        width: pixels of the whole picture held upright, whatever size was asked for.
        height: likewise.
        taken: when, in the camera's own words (EXIF's ``DateTimeOriginal``); None where it says
            nothing that is text.
    """

    image: Image.Image
    width: int
    height: int
    taken: str | None


def open_image(path: Path, *, size: int | None = None, keep_shape: bool = False) -> Image.Image:
    """Open a JPEG, PNG, WebP, GIF, BMP, TIFF or HEIC file as RGB, upright, on white.

    Args:
        path: the file. Its content decides the format, not its suffix.
        size: side in pixels of the square that the whole image is resized to (bicubic with
            antialiasing, aspect ratio not kept); ``None`` keeps the image's own size. A JPEG is
            decoded straight to the nearest smaller scale that still has ``size`` pixels a side.
        keep_shape: ask with ``size`` for the sides of :func:`kept_shape` in place of a square.

    Returns:
        An image of mode ``RGB``, fully loaded, without metadata. Transparent pixels are
        composited on white, 16-bit greys scaled to 8 bits, the EXIF orientation applied (a
        damaged EXIF block is passed over); of an animation or several pages the first.

    Raises:
        DataError: the file is missing, unreadable, not one of these formats, damaged, empty,
            larger than :data:`MAX_PIXELS`, :data:`MAX_SIDE` or
            :data:`~msedge.data.image_file.MAX_BYTES`, of a structure
            that nothing decodes in good time (:mod:`~msedge.data.image_structure`), or a HEIC
            file where the extra ``heic`` is missing.
        ConfigError: ``size`` is smaller than 1.
    """
    name = one_line(path)
    _check_size(size)
    try:
        content, _ = read_image_file(path)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read image {name}: {cause_of(error)}") from error
    return read_picture(content, name, size=size, keep_shape=keep_shape).image


def open_image_bytes(
    content: bytes,
    name: str,
    *,
    size: int | None = None,
    flatten: Callable[[Image.Image], Image.Image] | None = None,
    most_pixels: int = MAX_PIXELS,
) -> Image.Image:
    """Open an image that lies in memory: an upload, standard input, a picture in a request.

    Args:
        content: the bytes of a file, in any format of :func:`open_image`.
        name: what an error calls it.
        size: as of :func:`open_image`.
        flatten: what makes ``RGB`` of the decoded image, whatever its mode; without it
            :func:`on_white`.
        most_pixels: an image that has more, and no ``size``, is reduced by a whole number until it
            has not, a JPEG while it is decoded.

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
    return read_picture(content, name, size=size, flatten=flatten, most_pixels=most_pixels).image


def read_picture(
    content: bytes,
    name: str,
    *,
    size: int | None = None,
    keep_shape: bool = False,
    flatten: Callable[[Image.Image], Image.Image] | None = None,
    most_pixels: int = MAX_PIXELS,
) -> Picture:
    """Open an image that lies in memory, and keep what else it says of itself.

    Arguments and errors are those of :func:`open_image_bytes`; with ``keep_shape`` a ``size`` asks
    for the sides of :func:`kept_shape` in place of a square.

    Example:
        >>> stream = BytesIO()
        >>> Image.new("1", (30, 20)).save(stream, "TIFF")
        >>> picture = read_picture(stream.getvalue(), "the upload", size=8)
        >>> picture.width, picture.height, picture.image.size
        (30, 20, (8, 8))
    """
    name = one_line(name)
    _check_size(size)
    try:
        return _decode(content, name, size, keep_shape, flatten or on_white, most_pixels)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # decoders raise whatever damaged bytes lead them to
        raise DataError(f"cannot read image {name}: {cause_of(error)}") from error


def kept_shape(width: int, height: int, side: int) -> tuple[int, int]:
    """Width and height at which a picture is read that keeps its shape.

    Args:
        width: of the picture, in pixels.
        height: likewise.
        side: of the square that has about as many pixels.

    Returns:
        Multiples of :data:`STEP`, so that few shapes differ and networks pad all alike. What is
        longer than four times its width is taken as if it were not.

    Example:
        >>> kept_shape(4000, 3000, 320), kept_shape(3000, 4000, 320), kept_shape(9000, 1000, 320)
        ((384, 288), (288, 384), (640, 160))
    """
    stretch = math.sqrt(min(max(width / height, 1 / _LONGEST), _LONGEST))
    wide, high = side * stretch, side / stretch
    return max(1, round(wide / STEP)) * STEP, max(1, round(high / STEP)) * STEP


def resized(pixels: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Pixels ``(3, H, W)``, uint8, at another size in the same shape, see :func:`kept_shape`."""
    height, width = pixels.shape[1:]
    image = Image.fromarray(pixels.transpose(1, 2, 0))
    return as_pixels(image.resize(kept_shape(width, height, side), Image.Resampling.BICUBIC))


def picture_size(content: bytes, name: str) -> tuple[int, int]:
    """Width and height of an image that lies in memory, by its header: as it lies, not upright.

    Args:
        content: the bytes of a file, in any format of :func:`open_image`.
        name: what an error calls it.

    Raises:
        DataError: the header is of no such image, or of one beyond a limit.
    """
    name = one_line(name)
    try:
        with _opened(content, name) as image:
            _check_sides(*image.size, name)
            return image.size
    except (DataError, MemoryError):
        raise
    except Exception as error:  # as of read_picture
        raise DataError(f"cannot read image {name}: {cause_of(error)}") from error


def reduced(image: Image.Image, most_pixels: int) -> Image.Image:
    """An image by a whole number smaller, so that it has so many pixels at most; or as it is."""
    factor = _factor(image, most_pixels)
    if factor == 1:
        return image
    small = Image.new(image.mode, (-(-image.width // factor), -(-image.height // factor)))
    rows = factor * max(1, _BAND // (factor * image.width))  # Pillow copies what is transparent
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(image.height, top + rows)))
        small.paste(band.reduce(factor), (0, top // factor))
    return small


def reading_bytes(
    content: bytes, name: str, *, size: int | None = None, most_pixels: int = MAX_PIXELS
) -> int:
    """What reading an image takes of memory at most, beside its content, by its header.

    Args:
        content: the bytes of a file, in any format of :func:`open_image`.
        name: what an error calls it.
        size: as of :func:`open_image_bytes`, like ``most_pixels``.
        most_pixels: likewise.

    Returns:
        Bytes, by format, mode and size; ``tests/data/test_reading_memory.py`` holds it against
        what the system counts.

    Raises:
        DataError: as :func:`picture_size`.
    """
    name = one_line(name)
    try:
        with _opened(content, name) as image:
            _check_sides(*image.size, name)
            whole = image.size[0] * image.size[1]
            held = _DECODERS.get(image.format or "", 0) * whole
            if is_buffered(content):
                held = 2 * len(image.getbands()) * whole  # coefficients of 16 bits
            _draft(image, None if size is None else (size, size), most_pixels)
            decoded = image.size[0] * image.size[1]
            own = 1 if image.mode in _NARROW_MODES else 4
            is_flat = image.mode == "RGB" and not image.has_transparency_data
            flat = 0 if is_flat else 4
            given = 0 if size is not None else decoded // _factor(image, most_pixels) ** 2
            if size is None and given < decoded and _is_reducible(image):
                after = (own + flat) * given
            else:
                after = flat * decoded + 4 * given
            bands = _LEAST_BYTES if is_flat else _BANDS_BYTES
            return held + own * decoded + after + bands
    except (DataError, MemoryError):
        raise
    except Exception as error:  # as of read_picture
        raise DataError(f"cannot read image {name}: {cause_of(error)}") from error


def read_pixels(path: Path, size: int, *, keep_shape: bool = False) -> npt.NDArray[np.uint8]:
    """Read an image as an array, by :func:`open_image`.

    Args:
        path: the image file.
        size: side of the square in pixels.
        keep_shape: read about as many pixels in the image's own shape, see :func:`kept_shape`.

    Returns:
        Contiguous uint8 pixels ``(3, size, size)``, or ``(3, H, W)``, RGB, 0 to 255.

    Raises:
        DataError: the file cannot be read as an image.
        ConfigError: ``size`` is smaller than 1.
    """
    return as_pixels(open_image(path, size=size, keep_shape=keep_shape))


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


def cause_of(error: Exception) -> str:
    """Why a file cannot be read, in a few words on one line."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, UnidentifiedImageError):
        return "its content is not a JPEG, PNG, WebP, GIF, BMP, TIFF or HEIC image"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return one_line(str(error).strip() or type(error).__name__)


def _check_size(size: int | None) -> None:
    if size is not None and size < 1:
        raise ConfigError(f"image size must be at least 1 pixel, got {size}: pass a larger one")


def _decode(
    content: bytes,
    name: str,
    size: int | None,
    keep_shape: bool,
    flatten: Callable[[Image.Image], Image.Image],
    most_pixels: int,
) -> Picture:
    with _opened(content, name) as image:
        width, height = image.size
        _check_sides(width, height, name)
        shape = None
        if size is not None:
            shape = kept_shape(width, height, size) if keep_shape else (size, size)
        _draft(image, shape, most_pixels)
        image.load()
        orientation, taken = _exif(image)
        first = reduced(image, most_pixels) if shape is None and _is_reducible(image) else image
        pixels = flatten(first)
        if shape is None:
            pixels = reduced(pixels, most_pixels)
        else:
            pixels = pixels.resize(shape, Image.Resampling.BICUBIC)
        resized = pixels.copy() if pixels is image else pixels  # no file belongs to what is given
    if orientation in _LYING:
        width, height = height, width
    return Picture(_upright(resized, orientation), width, height, taken)


def _draft(image: Image.Image, shape: tuple[int, int] | None, most_pixels: int) -> None:
    """Have a JPEG decoded smaller, as far as that leaves as many pixels as are wanted."""
    if shape is not None:
        image.draft(None, shape)
    elif (factor := _factor(image, most_pixels)) > 1:
        image.draft(None, (-(-image.width // factor), -(-image.height // factor)))


def _is_reducible(image: Image.Image) -> bool:
    """Whether the mean of pixels is a pixel: not in a palette, nor beside a transparent colour."""
    return image.mode in _MEAN_MODES and "transparency" not in image.info


def _factor(image: Image.Image, most_pixels: int) -> int:
    return math.ceil(math.sqrt(image.width * image.height / most_pixels))


def _opened(content: bytes, name: str) -> Image.Image:
    """An image of which the header alone was read."""
    if (reason := excess(content, MAX_PIXELS)) is not None:
        raise DataError(f"cannot read image {name}: it has {reason}: save it anew or leave it out")
    if content.startswith((b"II", b"MM")):
        keep_libtiff_quiet()
    return Image.open(BytesIO(content), formats=_formats(content, name))


def _check_sides(width: int, height: int, name: str) -> None:
    if width < 1 or height < 1:
        raise DataError(f"cannot read image {name}: it is {width} x {height} pixels")
    if max(width, height) > MAX_SIDE:
        raise DataError(
            f"cannot read image {name}: {width} x {height} pixels have a side of more than "
            f"{MAX_SIDE:,}: cut it up or leave it out"
        )
    if width * height > MAX_PIXELS:
        raise DataError(
            f"cannot read image {name}: {width} x {height} pixels are more than "
            f"{MAX_PIXELS // 1_000_000} Mpx: scale it down or leave it out"
        )


def _formats(content: bytes, name: str) -> tuple[str, ...]:
    if content[4:8] != b"ftyp" or content[8:12] not in _HEIF_BRANDS:
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


def _exif(image: Image.Image) -> tuple[object, str | None]:
    """Orientation and time of a photo; a damaged block says nothing, and its picture shows."""
    orientation: object = 1
    with suppress(Exception):
        exif = image.getexif()
        orientation = exif.get(ExifTags.Base.Orientation, 1)
        taken = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.DateTimeOriginal)
        return orientation, taken if isinstance(taken, str) else None
    return orientation, None


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
