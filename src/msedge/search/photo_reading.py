"""From a file to what indexing wants of it, in one reading: hash, pixels, size and date.

Tested in ``tests/search/test_photo_reading.py``.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import ExifTags, Image

from msedge.data.images import as_pixels, one_line, open_image_bytes
from msedge.errors import DataError
from msedge.search.encoder import Pixels
from msedge.search.folders import FoundFile

MAX_BYTES = 256_000_000
"""Larger files are passed over: a photo is read whole, by several threads at once."""

_HASH_BYTES = 32
_LYING = range(5, 9)  # EXIF orientations that exchange width and height
_DATE = re.compile(r"(\d{4})[:./-](\d\d)[:./-](\d\d)[ T](\d\d):(\d\d):(\d\d)")


@dataclass(frozen=True, slots=True)
class Look:
    """What a photo shows.

    Attributes:
        pixels: ``(3, S, S)``, as the encoder reads them.
        width: pixels of the picture held upright.
        height: pixels of the picture held upright.
        taken: the camera's clock read as UTC, in seconds of Unix time; None where it says nothing.
    """

    pixels: Pixels
    width: int
    height: int
    taken: float | None


@dataclass(frozen=True, slots=True)
class ReadPhoto:
    """A file that was read.

    Attributes:
        file: with size and time as they were when the reading began.
        content_hash: BLAKE2b of its bytes, 64 hexadecimal digits.
        look: None where the content is known already.
    """

    file: FoundFile
    content_hash: str
    look: Look | None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that could not be used.

    Attributes:
        file: which one.
        reason: why, in a few words.
        is_damaged: whether its bytes were read and are no photo; else it may be one.
    """

    file: FoundFile
    reason: str
    is_damaged: bool


def read_photo(
    file: FoundFile, size: int, is_known: Callable[[str], bool]
) -> ReadPhoto | Unreadable:
    """Read a file.

    Args:
        file: as it was found.
        size: side of the square of pixels that the encoder reads.
        is_known: whether there is a vector for a content hash already, so that the photo need not
            be decoded.
    """
    try:
        # By the time before the reading, a change during it is seen by the next run.
        with Path(file.path).open("rb") as stream:
            status = os.fstat(stream.fileno())
            if status.st_size > MAX_BYTES:
                reason = f"more than {MAX_BYTES // 1_000_000} MB: scale it down"
                return Unreadable(file, reason, is_damaged=True)
            content = stream.read()
    except OSError as error:
        return Unreadable(file, (error.strerror or str(error)).lower(), is_damaged=False)
    file = FoundFile(file.path, status.st_size, status.st_mtime_ns)
    return photo_of(file, content, size, is_known)


def photo_of(
    file: FoundFile, content: bytes, size: int, is_known: Callable[[str], bool] = lambda _: False
) -> ReadPhoto | Unreadable:
    """A photo from its bytes, wherever they were read; arguments as :func:`read_photo` has them."""
    content_hash = hash_of(content)
    if is_known(content_hash):
        return ReadPhoto(file, content_hash, None)
    try:
        return ReadPhoto(file, content_hash, _look(content, file.path, size))
    except DataError as error:
        reason = str(error).removeprefix(f"cannot read image {one_line(file.path)}: ")
        return Unreadable(file, reason, is_damaged=True)
    except MemoryError:
        return Unreadable(file, "too large for the memory that is left", is_damaged=False)


def hash_of(content: bytes) -> str:
    """What stands for a file's bytes: BLAKE2b, 64 hexadecimal digits."""
    return hashlib.blake2b(content, digest_size=_HASH_BYTES).hexdigest()


def _look(content: bytes, name: str, size: int) -> Look:
    pixels = as_pixels(open_image_bytes(content, name, size=size))
    # The header once more, which costs little: what was decoded may be a smaller scale of it.
    with Image.open(BytesIO(content)) as image:
        width, height = image.size
        try:
            exif = image.getexif()
            lying = exif.get(ExifTags.Base.Orientation) in _LYING
            taken = _seconds(exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.DateTimeOriginal))
        except Exception:  # a damaged EXIF block says nothing, as in data/images.py
            lying, taken = False, None
    return Look(pixels, *((height, width) if lying else (width, height)), taken)


def _seconds(date: object) -> float | None:
    found = _DATE.match(date) if isinstance(date, str) else None
    if found is None:
        return None
    try:
        numbers = map(int, found.groups())
        return datetime.datetime(*numbers, tzinfo=datetime.UTC).timestamp()  # type: ignore[arg-type, misc]
    except ValueError:  # a camera whose clock was never set says 0000:00:00
        return None
