"""What is known of a photo, declared once.

:class:`Facts` is the declaration. SQL columns and their migration, the Arrow schema, JSON, the
checks of what a file says, copying, comparison, salvage and test data all follow from
:data:`COLUMNS`. To add a fact: add a field here with a default and the next ``added`` number, fill
it in :func:`facts_of`, and test it; galleries without it show the default, and get the column when
they are next opened for writing.

Paths are stored as the bytes that the file system uses, since names need not be UTF-8. A store
gives back whatever was put into its files, so rows are checked before they are used. Tested in
``tests/search/test_photo.py`` and ``tests/artefacts/test_gallery_files.py``.
"""

# ruff: noqa: RUF009  (a fact is declared by a call)

from __future__ import annotations

import datetime
import os
import re
import struct
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_type_hints

import numpy as np
import numpy.typing as npt

from msedge.errors import DataError, ShapeError
from msedge.quoting import plain, quoted
from msedge.search.locations import is_remote, location, uri

if TYPE_CHECKING:
    from msedge.data.images import Picture

Vector = npt.NDArray[np.float16]
Ids = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]

LARGEST_ID = 2**63 - 1
STORED_VECTOR = np.dtype("<f2")  # in files, whatever the machine's byte order
MEND = "mend the gallery with `msedge gallery check --repair`"

_SQL = {Path: "BLOB", int: "INTEGER", str: "TEXT", float: "REAL"}
_NOT_FINITE = np.uint16(0x7C00)  # the bits of the exponent, all set in NaN and infinity
_OFF = 2.0**-9  # of a length of 1: float16 rounds each number by 2^-11 of it at most
_DATE = re.compile(r"(\d{4})[:./-](\d\d)[:./-](\d\d)[ T](\d\d):(\d\d):(\d\d)")


def _fact(arrow: str, *, default: Any = MISSING, **said: Any) -> Any:
    """Declare a fact; see :class:`Column`."""
    return field(default=default, metadata={"arrow": arrow, **said})


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a photo beside its id and its vector.

    Attributes:
        path: absolute, or a location in an object store.
        size: bytes of the file.
        mtime_ns: when the file was last changed, in nanoseconds of Unix time.
        content_hash: of the file's bytes.
        width, height: pixels, of the picture held upright.
        taken: seconds of Unix time: the camera's clock read as UTC, else ``mtime_ns / 1e9``.
        hubness: how near it is to drawings at large, of the bank that the gallery notes; see
            :func:`msedge.models.bank.hubness`.
    """

    path: Path = _fact("binary", unique=True, shown=True)
    size: int = _fact("int64", least=0)
    mtime_ns: int = _fact("int64")
    content_hash: str = _fact("string")
    width: int = _fact("int32", least=1, shown=True)
    height: int = _fact("int32", least=1, shown=True)
    taken: float = _fact("float64", shown=True)
    hubness: float = _fact("float64", default=0.0, added=1)

    @property
    def folder(self) -> Path:
        """The folder that the file lies in."""
        return self.path.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo(Facts):
    """A photo of a gallery, by its id from 1, which stays when the photo is changed or moved."""

    id: int

    def as_json(self) -> dict[str, Any]:
        """What people and programs are shown: valid Unicode, and an exact URI beside the path."""
        shown: dict[str, Any] = {"id": self.id}
        for column in COLUMNS:
            if column.shown:
                value = shown[column.name] = getattr(self, column.name)
                if column.kind is Path:  # bytes that are no Unicode become U+FFFD
                    shown[column.name] = os.fsencode(location(value)).decode("utf-8", "replace")
                    shown["uri"] = uri(value)
        return shown


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPhoto(Facts):
    """A photo to be put into a gallery, with its unit vector ``(dim,)``, float16."""

    vector: Vector


@dataclass(frozen=True, slots=True)
class Column:
    """A fact, as stores see it."""

    name: str
    kind: type  # `Path` (stored as bytes), `int`, `str` or `float`
    arrow: str  # its type in Arrow, as `pyarrow.type_for_alias` knows it
    default: Any  # what photos have that were put before it was added
    least: int | None = None  # the smallest number that makes sense
    unique: bool = False  # no two photos share it
    shown: bool = False  # in JSON
    added: int = 0  # from 1, in the order of what was added later; it raises the schema's number

    @property
    def sql(self) -> str:
        """Its definition in SQL, without its name."""
        unique = " UNIQUE" if self.unique else ""
        default = f" DEFAULT {self.default_sql}" if self.added else ""
        return f"{_SQL[self.kind]} NOT NULL{unique}{default}"

    @property
    def default_sql(self) -> str:
        """Its default, as SQL writes it."""
        if isinstance(self.default, str):
            return "'" + self.default.replace("'", "''") + "'"
        return repr(self.default)

    def holds(self, value: Any) -> bool:
        """Whether a stored value makes sense."""
        if self.kind is Path:
            return _place(value) is not None
        if not isinstance(value, self.kind) or (isinstance(value, float) and not isfinite(value)):
            return False
        return self.least is None or (isinstance(value, int) and value >= self.least)


COLUMNS = tuple(
    Column(each.name, get_type_hints(Facts)[each.name], default=each.default, **each.metadata)
    for each in fields(Facts)
)

NAMES = tuple(column.name for column in COLUMNS)
_HELD = tuple((column.kind, column.least) for column in COLUMNS[1:])
ADDED = max(column.added for column in COLUMNS)
"""How many facts were added to the first ones; schemas are numbered by it."""


class Place(NamedTuple):
    """What is known of a path: enough to tell whether the file there is still the same."""

    id: int
    size: int
    mtime_ns: int
    content_hash: str


class Block(NamedTuple):
    """Some photos of a gallery, by rising ids."""

    ids: list[int]
    photos: list[NewPhoto]


def facts_of(path: str, size: int, mtime_ns: int, content_hash: str, picture: Picture) -> Facts:
    """The facts of a file that was read; see :class:`Facts`."""
    taken = _seconds(picture.taken)
    return Facts(
        path=Path(path),
        size=size,
        mtime_ns=mtime_ns,
        content_hash=content_hash,
        width=picture.width,
        height=picture.height,
        taken=mtime_ns / 1e9 if taken is None else taken,
    )


def hash_of(content: bytes) -> str:
    """What stands for a file's bytes: BLAKE2b, 64 hexadecimal digits."""
    import hashlib  # late, as below: a search hashes nothing

    return hashlib.blake2b(content, digest_size=32).hexdigest()


def stored_path(path: Path) -> bytes:
    """The bytes that stand for a path; raises a DataError for one that is not absolute."""
    if not path.is_absolute() and not is_remote(path):
        raise DataError(f"a gallery holds absolute paths, got {str(path)!r}: give the whole path")
    return os.fsencode(path)


def path_of(stored: Any) -> Path:
    """The path that stored bytes stand for; raises a DataError where they can be none."""
    if (path := _place(stored)) is None:
        raise DataError(f"a photo's path is {quoted(stored)}, which is none: {MEND}")
    return path


def _place(stored: Any) -> Path | None:
    """What stored bytes name, if that is an absolute path, or one of an object store."""
    if not isinstance(stored, bytes) or b"\0" in stored:
        return None
    named = Path(os.fsdecode(stored))
    return named if named.is_absolute() or is_remote(named) else None


def row_of(photo: NewPhoto, dim: int) -> tuple[Any, ...]:
    """A photo as it is stored: its facts in the order of :data:`COLUMNS`, then the vector's bytes.

    Raises a ShapeError where the vector is not float16 ``(dim,)`` and finite.
    """
    vector = photo.vector
    if vector.shape != (dim,) or vector.dtype != np.float16:
        raise ShapeError(
            f"the vector of {str(photo.path)!r} is {vector.dtype} {vector.shape}: expected "
            f"float16 ({dim},), as the gallery's model makes it"
        )
    if not np.isfinite(vector).all():
        raise ShapeError(f"the vector of {str(photo.path)!r} is not finite: check the model")
    values = [getattr(photo, name) for name in NAMES]
    stored = (stored_path(each) if isinstance(each, Path) else each for each in values)
    return *stored, vector.astype(STORED_VECTOR).tobytes()


def photo_of(row: Sequence[Any]) -> Photo:
    """A photo from its id and facts as stored; raises a DataError for what no photo has."""
    return Photo(*_checked(row[1:]), id=row[0])


def new_photo_of(row: Sequence[Any], vector: Vector) -> NewPhoto:
    """A photo to be put, from its facts as stored; raises a DataError for what no photo has."""
    return NewPhoto(*_checked(row), vector=vector)


def checked_hubness(values: Sequence[Any], ids: Sequence[int] | Ids) -> Reals:
    """Hubness as stored, ``(n,)``, or a DataError that names the photo whose is none."""
    for value, photo in zip(values, ids, strict=True):
        if type(value) is not float or not isfinite(value):
            raise DataError(f"the hubness of photo {photo} is {quoted(value)}: {MEND}")
    return np.array(values, np.float64)


def check_finite(vectors: Vector, ids: Sequence[int] | Ids) -> None:
    """Raise a DataError for vectors ``(n, dim)`` with NaN or infinity; it names the photo."""
    # Through the bits: four times as quick as `isfinite`, which knows no float16 of its own.
    bad = (vectors.view(np.uint16) & _NOT_FINITE) == _NOT_FINITE
    if bad.any():
        photo = ids[int(np.flatnonzero(bad.any(axis=1))[0])]
        raise DataError(f"the vector of photo {photo} holds NaN or infinity: {MEND}")


BAD_VECTOR, BAD_PATH, BAD_FACT = "vectors", "paths", "fields"


def faults(rows: Sequence[Sequence[Any]], vectors: Sequence[Any], dim: int) -> dict[int, str]:
    """What makes rows useless to a search: the first of the above that applies, by their places.

    A row is the id and the facts in the order of :data:`COLUMNS`; a vector is as stored, or
    whatever stands in its place.
    """
    wrong: dict[int, str] = {}
    width = dim * STORED_VECTOR.itemsize
    fits = [isinstance(each, bytes) and len(each) == width for each in vectors]
    whole = b"".join(each for each, right in zip(vectors, fits, strict=True) if right)
    values = np.frombuffer(whole, STORED_VECTOR).reshape(-1, dim).astype(np.float32)
    lengths = np.sqrt(np.einsum("nd,nd->n", values, values))
    off = iter(~(np.abs(lengths - 1) <= _OFF))  # also where it is no number
    for place, (row, right) in enumerate(zip(rows, fits, strict=True)):
        facts = zip(COLUMNS, row[1:], strict=True)
        if not right or next(off):
            wrong[place] = BAD_VECTOR
        elif bad := next((column for column, value in facts if not column.holds(value)), None):
            wrong[place] = BAD_PATH if bad.kind is Path else BAD_FACT
        elif not isinstance(row[0], int) or row[0] < 1:
            wrong[place] = BAD_FACT
    return wrong


class Digest:
    """One number for photos taken one after the other: ids, facts, and every bit of the vectors."""

    def __init__(self) -> None:
        import hashlib

        self.count = self.last_id = 0
        self._hash = hashlib.sha256()
        self._wholes = [column.name for column in COLUMNS if column.kind is int]
        self._reals = [column.name for column in COLUMNS if column.kind is float]
        self._texts = [column.name for column in COLUMNS if column.kind in (Path, str)]
        self._packed = struct.Struct(
            f"<q{len(self._wholes)}q{len(self._reals)}d{len(self._texts) + 1}I"
        )

    def take(self, block: Block) -> None:
        """Go on with a block, or raise a ValueError where an id does not rise."""
        for number, photo in zip(block.ids, block.photos, strict=True):
            if number <= self.last_id:
                raise ValueError(f"id {number} comes after id {self.last_id}")
            self.last_id = number
            values = [getattr(photo, name) for name in self._texts]
            texts = [
                os.fsencode(each) if isinstance(each, Path) else each.encode(errors="surrogatepass")
                for each in values
            ]
            texts.append(photo.vector.astype(STORED_VECTOR).tobytes())
            wholes = [getattr(photo, name) for name in self._wholes]
            # SQLite keeps no sign of zero.
            reals = [getattr(photo, name) + 0.0 for name in self._reals]
            self._hash.update(self._packed.pack(number, *wholes, *reals, *map(len, texts)))
            self._hash.update(b"".join(texts))
        self.count += len(block.ids)

    def value(self) -> str:
        """The digest so far, hexadecimal."""
        return self._hash.hexdigest()


def _checked(values: Sequence[Any]) -> list[Any]:
    """Facts as stored, which have to make sense, with paths in place of bytes."""
    path = path_of(values[0])
    for value, (kind, least) in zip(values[1:], _HELD, strict=True):  # as `Column.holds`, quicker
        is_kind = kind is type(value)
        is_number = kind is not float or (is_kind and isfinite(value))
        if not is_kind or not is_number or (least is not None and value < least):
            raise DataError(
                f"what is said of the photo {plain(path)} cannot be "
                f"({plain(repr(tuple(values[1:])))}): {MEND}"
            )
    return [path, *values[1:]]


def _seconds(date: str | None) -> float | None:
    """EXIF's date as Unix time; None where it is none: a clock never set says 0000:00:00."""
    if not (found := _DATE.match(date or "")):
        return None
    try:
        numbers = map(int, found.groups())
        return datetime.datetime(*numbers, tzinfo=datetime.UTC).timestamp()  # type: ignore[arg-type, misc]
    except ValueError:
        return None
