"""From a file to what indexing wants of it, in one reading: hash, pixels, size and date.

Tested in ``tests/search/test_photo_reading.py``.
"""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from msedge.data.image_file import MAX_BYTES as MAX_BYTES
from msedge.data.image_file import read_image_file
from msedge.data.images import as_pixels, cause_of, one_line, read_picture
from msedge.errors import DataError
from msedge.search.encoder import Pixels
from msedge.search.folders import FoundFile

_HASH_BYTES = 32
_NO_MEMORY = "too large for the memory that is left"
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
        content, status = read_image_file(Path(file.path), MAX_BYTES)
    except OSError as error:
        return Unreadable(file, cause_of(error), is_damaged=False)
    except ValueError as error:  # too large, or a pipe by now: what was there is there no longer
        return Unreadable(file, str(error), is_damaged=True)
    except MemoryError:
        return Unreadable(file, _NO_MEMORY, is_damaged=False)
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
        return Unreadable(file, _NO_MEMORY, is_damaged=False)


def hash_of(content: bytes) -> str:
    """What stands for a file's bytes: BLAKE2b, 64 hexadecimal digits."""
    return hashlib.blake2b(content, digest_size=_HASH_BYTES).hexdigest()


def _look(content: bytes, name: str, size: int) -> Look:
    picture = read_picture(content, name, size=size)
    taken = _seconds(picture.taken)
    return Look(as_pixels(picture.image), picture.width, picture.height, taken)


def _seconds(date: str | None) -> float | None:
    found = None if date is None else _DATE.match(date)
    if found is None:
        return None
    try:
        numbers = map(int, found.groups())
        return datetime.datetime(*numbers, tzinfo=datetime.UTC).timestamp()  # type: ignore[arg-type, misc]
    except ValueError:  # a camera whose clock was never set says 0000:00:00
        return None
