"""What is read from a gallery's tables, given a connection within one read transaction.

Tested in ``tests/search/test_gallery_file.py``, as the methods that use it.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from msedge.search.filters import Filters, condition
from msedge.search.gallery_rows import (
    PHOTO_COLUMNS,
    STORED_VECTOR,
    Photo,
    check_finite,
    new_photo_of_row,
    path_of,
    photo_of_row,
)
from msedge.search.store import Block, Ids

_IDS_A_QUERY = 500
_ROWS_A_FETCH = 4096
_LARGEST_ID = 2**63 - 1  # what SQLite can hold
_PHOTO = PHOTO_COLUMNS.removeprefix("id, ")


@dataclass(frozen=True, slots=True)
class Changes:
    """What has changed of a gallery's vectors since some version.

    Attributes:
        version: the gallery's now.
        removed: ids of photos that have gone ``(M,)``.
        ids: of photos that are new or have another vector, rising, ``(N,)``.
        vectors: theirs, ``(N, dim)``, float16.
    """

    version: int
    removed: Ids
    ids: Ids
    vectors: npt.NDArray[np.float16]


def read_vectors(
    connection: sqlite3.Connection, dim: int, *, since: int = -1
) -> tuple[Ids, npt.NDArray[np.float16]]:
    """Ids ``(N,)``, rising, and vectors ``(N, dim)`` of the photos put after a version."""
    where = "" if since < 0 else f"WHERE version > {since:d}"
    (count,) = connection.execute(f"SELECT count(*) FROM photos {where}").fetchone()
    _check_room(connection, count, dim)
    ids = np.empty(count, dtype=np.int64)
    vectors = np.empty((count, dim), dtype=STORED_VECTOR)
    rows = connection.execute(f"SELECT id, vector FROM photos {where} ORDER BY id")
    for start in range(0, count, _ROWS_A_FETCH):
        numbers, blobs = zip(*rows.fetchmany(_ROWS_A_FETCH), strict=True)
        block = slice(start, start + len(numbers))
        ids[block] = numbers
        vectors[block] = decoded(joined(blobs), len(numbers), dim)
        check_finite(vectors[block], numbers)
    return ids, vectors.astype(np.float16, copy=False)


def count_changes(connection: sqlite3.Connection, version: int, since: int) -> int | None:
    """How many photos were put or removed after a version; None where that is not known."""
    if not knows_changes(connection) or since > version:
        return None
    (count,) = connection.execute(
        "SELECT (SELECT count(*) FROM photos WHERE version > ?1)"
        " + (SELECT count(*) FROM removed WHERE version > ?1)",
        (since,),
    ).fetchone()
    return int(count)


def read_changes(
    connection: sqlite3.Connection, dim: int, version: int, since: int, most: int
) -> Changes | None:
    """What changed after a version; None where that is more than ``most`` photos, or not known."""
    count = count_changes(connection, version, since)
    if count is None or count > most:
        return None
    gone = connection.execute("SELECT id FROM removed WHERE version > ?", (since,)).fetchall()
    removed = np.fromiter((row[0] for row in gone), np.int64, len(gone))
    return Changes(version, removed, *read_vectors(connection, dim, since=since))


def knows_changes(connection: sqlite3.Connection) -> bool:
    """Whether the file says when a photo was put; of schema 1, not until it is written to."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version) >= 2


def read_photos(connection: sqlite3.Connection, ids: Sequence[int] | None) -> list[Photo]:
    """Photos in the order asked for, without those that are not there; None for all, by id."""
    if ids is None:
        everything = f"SELECT {PHOTO_COLUMNS} FROM photos ORDER BY id"
        return [photo_of_row(row) for row in connection.execute(everything)]
    found: dict[int, Photo] = {}
    for row in _rows_of(connection, [int(number) for number in ids]):
        found[row[0]] = photo_of_row(row)
    return [found[int(number)] for number in ids if int(number) in found]


def read_blocks(connection: sqlite3.Connection, dim: int, rows: int) -> Iterator[Block]:
    """All photos with their vectors, so many at a time, by rising id."""
    cursor = connection.execute(f"SELECT id, vector, {_PHOTO} FROM photos ORDER BY id")
    while some := cursor.fetchmany(rows):
        blobs = [row[1] for row in some]
        vectors = decoded(joined(blobs), len(some), dim).astype(np.float16)
        yield Block(
            [row[0] for row in some],
            [new_photo_of_row(row[2:], vectors[at]) for at, row in enumerate(some)],
        )


def read_ids(connection: sqlite3.Connection, filters: Filters) -> Ids:
    """The ids ``(M,)`` of the photos that match, rising."""
    where, values = condition(filters)
    rows = connection.execute(f"SELECT id FROM photos WHERE {where}", values).fetchall()
    return np.sort(np.fromiter((row[0] for row in rows), dtype=np.int64, count=len(rows)))


def read_folders(connection: sqlite3.Connection) -> list[tuple[Path, int]]:
    """The folders that photos lie in, sorted, and how many lie directly in each."""
    paths = connection.execute("SELECT path FROM photos")
    counts = Counter(os.path.dirname(os.fsencode(path_of(path))) for (path,) in paths)  # noqa: PTH120
    return [(path_of(folder), count) for folder, count in sorted(counts.items())]


def joined(blobs: Sequence[Any]) -> bytes:
    """Vectors as they are stored, one after the other.

    Raises:
        sqlite3.DatabaseError: one is something else.
    """
    if not all(isinstance(blob, bytes) for blob in blobs):
        raise sqlite3.DatabaseError("a vector is something else")
    return b"".join(blobs)


def decoded(content: bytes, count: int, dim: int) -> npt.NDArray[Any]:
    """Vectors ``(count, dim)`` as they lie in the file.

    Raises:
        sqlite3.DatabaseError: there are more or fewer bytes than that.
    """
    if len(content) != count * dim * STORED_VECTOR.itemsize:
        raise sqlite3.DatabaseError("a vector is cut short")
    return np.frombuffer(content, STORED_VECTOR).reshape(count, dim)


def _check_room(connection: sqlite3.Connection, count: int, dim: int) -> None:
    """Refuse to make room for vectors that the file cannot hold."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    if count * dim * STORED_VECTOR.itemsize > pages * size:
        raise sqlite3.DatabaseError("a vector is cut short")


def _rows_of(connection: sqlite3.Connection, ids: Sequence[int]) -> Iterator[tuple[Any, ...]]:
    possible = [number for number in ids if 0 < number <= _LARGEST_ID]
    for start in range(0, len(possible), _IDS_A_QUERY):
        some = possible[start : start + _IDS_A_QUERY]
        marks = ", ".join("?" * len(some))
        yield from connection.execute(
            f"SELECT {PHOTO_COLUMNS} FROM photos WHERE id IN ({marks})", some
        )
