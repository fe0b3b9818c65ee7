"""What a gallery holds of a photo, and how that becomes a row and back.

Paths are stored as the bytes that the file system uses, since names need not be UTF-8. SQLite
stores whatever it is given, so what comes from a file is looked at before it is used. Tested in
``tests/search/test_gallery_rows.py`` and ``tests/artefacts/test_gallery_files.py``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from msedge.errors import DataError, ShapeError
from msedge.quoting import plain, quoted
from msedge.search.locations import is_remote

Vector = npt.NDArray[np.float16]

PHOTO_COLUMNS = "id, path, size, mtime_ns, content_hash, width, height, taken"
"""The columns of :class:`Photo`, in the order of its fields."""

STORED_VECTOR = np.dtype("<f2")
"""How vectors lie in the file, whatever the machine's byte order."""

MEND = "mend the gallery with `msedge gallery check --repair`"
"""What helps against rows that cannot be used."""

_Fields = tuple[int, int, str, int, int, float]
_NOT_FINITE = np.uint16(0x7C00)  # the bits of the exponent, all set in NaN and infinity


@dataclass(frozen=True, slots=True)
class Model:
    """What made a gallery's vectors.

    Attributes:
        name: what the model is called, or its path.
        fingerprint: a hash of everything that decides its vectors.
        dim: width of the vectors.
    """

    name: str
    fingerprint: str
    dim: int


@dataclass(frozen=True, slots=True)
class NewPhoto:
    """A photo to be put into a gallery.

    Attributes:
        path: absolute.
        size: bytes of the file.
        mtime_ns: when the file was last changed, in nanoseconds of Unix time.
        content_hash: of the file's bytes.
        width: pixels, of the picture held upright.
        height: pixels, of the picture held upright.
        taken: seconds of Unix time: the camera's clock read as UTC, else ``mtime_ns / 1e9``.
        vector: unit embedding ``(dim,)``, float16.
    """

    path: Path
    size: int
    mtime_ns: int
    content_hash: str
    width: int
    height: int
    taken: float
    vector: Vector


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo of a gallery; its fields are those of :class:`NewPhoto`.

    Attributes:
        id: its number in the gallery, from 1; a photo keeps it when it is changed or moved.
        path: absolute.
        size: bytes of the file.
        mtime_ns: when the file was last changed, in nanoseconds of Unix time.
        content_hash: of the file's bytes.
        width: pixels, of the picture held upright.
        height: pixels, of the picture held upright.
        taken: seconds of Unix time: the camera's clock read as UTC, else ``mtime_ns / 1e9``.
    """

    id: int
    path: Path
    size: int
    mtime_ns: int
    content_hash: str
    width: int
    height: int
    taken: float

    @property
    def folder(self) -> Path:
        """The folder that the file lies in."""
        return self.path.parent


class Place(NamedTuple):
    """What is known of a path: enough to tell whether the file there is still the same."""

    id: int
    size: int
    mtime_ns: int
    content_hash: str


def stored_path(path: Path) -> bytes:
    """The bytes that stand for a path, of this machine or of an object store.

    Raises:
        DataError: the path is not absolute.
    """
    if not path.is_absolute() and not is_remote(path):
        raise DataError(f"a gallery holds absolute paths, got {str(path)!r}: give the whole path")
    return os.fsencode(path)


def photo_of_row(row: tuple[Any, ...]) -> Photo:
    """A photo from a row of :data:`PHOTO_COLUMNS`.

    Raises:
        DataError: a value is none that a photo has.
    """
    number, path, *fields = row
    return Photo(number, path_of(path), *_checked(path, fields))


def path_of(stored: Any) -> Path:
    """The path that stored bytes stand for.

    Raises:
        DataError: they can be none.
    """
    if isinstance(stored, bytes) and b"\0" not in stored:
        path = Path(os.fsdecode(stored))
        if path.is_absolute() or is_remote(path):
            return path
    raise DataError(f"a photo's path is {quoted(stored)}, which is none: {MEND}")


def check_finite(vectors: Vector, ids: Sequence[int]) -> None:
    """Refuse vectors ``(n, dim)``, of the photos of some ids, that cannot be compared with others.

    Raises:
        DataError: one holds NaN or infinity; the message names the first such photo.
    """
    # Through the bits: four times as quick as `isfinite`, which knows no float16 of its own.
    bad = (vectors.view(np.uint16) & _NOT_FINITE) == _NOT_FINITE
    if bad.any():
        photo = ids[int(np.flatnonzero(bad.any(axis=1))[0])]
        raise DataError(f"the vector of photo {photo} holds NaN or infinity: {MEND}")


def _checked(path: Any, fields: Sequence[Any]) -> _Fields:
    """The fields after the path, in their order, which have to be of their kinds."""
    size, mtime_ns, content_hash, width, height, taken = fields
    if not (
        all(isinstance(number, int) for number in (size, mtime_ns, width, height))
        and isinstance(content_hash, str)
        and isinstance(taken, float)
        and isfinite(taken)
        and width > 0
        and height > 0
    ):
        raise DataError(
            f"what is said of the photo {plain(os.fsdecode(path))} cannot be "
            f"({plain(repr(tuple(fields)))}): {MEND}"
        )
    return size, mtime_ns, content_hash, width, height, taken


def new_photo_of_row(row: tuple[Any, ...], vector: Vector) -> NewPhoto:
    """What was put, from a row of `PHOTO_COLUMNS` without the id, and its vector.

    Raises:
        DataError: a value is none that a photo has.
    """
    path, *fields = row
    return NewPhoto(path_of(path), *_checked(path, fields), vector)


def row_of_photo(photo: NewPhoto, dim: int) -> tuple[Any, ...]:
    """The row of a new photo: `PHOTO_COLUMNS` without the id, then the vector.

    Raises:
        ShapeError: the vector is not float16 ``(dim,)`` and finite.
        DataError: the path is not absolute.
    """
    vector = photo.vector
    if vector.shape != (dim,) or vector.dtype != np.float16:
        raise ShapeError(
            f"the vector of {str(photo.path)!r} is {vector.dtype} {vector.shape}: expected "
            f"float16 ({dim},), as the gallery's model makes it"
        )
    if not np.isfinite(vector).all():
        raise ShapeError(f"the vector of {str(photo.path)!r} is not finite: check the model")
    return (
        stored_path(photo.path),
        photo.size,
        photo.mtime_ns,
        photo.content_hash,
        photo.width,
        photo.height,
        photo.taken,
        vector.astype(STORED_VECTOR).tobytes(),
    )
