"""What is written to a gallery's tables, given a connection within a transaction.

Every photo that is put is marked with the version that the gallery will have after the transaction;
what is removed is noted by the tables themselves. Tested in ``tests/search/test_gallery_file.py``,
as the methods that use it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from msedge.search.gallery_rows import PHOTO_COLUMNS
from msedge.search.gallery_schema import VERSION_OF_NOW

COLUMNS = PHOTO_COLUMNS.removeprefix("id, ") + ", vector"
"""The columns of a new photo, in the order of its row."""

_VALUES = f"VALUES (?, ?, ?, ?, ?, ?, ?, ?, {VERSION_OF_NOW})"
_REPLACING = "ON CONFLICT (path) DO UPDATE SET " + ", ".join(
    f"{name} = excluded.{name}" for name in [*COLUMNS.split(", ")[1:], "version"]
)


def put(connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Add photos; one whose path is known replaces what was known of it, and keeps its id."""
    connection.executemany(f"INSERT INTO photos ({COLUMNS}, version) {_VALUES} {_REPLACING}", rows)


def put_with_ids(connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Add photos whose rows begin with their ids.

    Raises:
        sqlite3.IntegrityError: an id or path is there already.
    """
    values = _VALUES.replace("(", "(?, ", 1)
    connection.executemany(f"INSERT INTO photos (id, {COLUMNS}, version) {values}", rows)


def move(connection: sqlite3.Connection, id: int, place: bytes, mtime_ns: int) -> None:
    """Say that a photo lies elsewhere; what is known of that place is replaced."""
    connection.execute("DELETE FROM photos WHERE path = ? AND id != ?", (place, id))
    # A photo without a date of its own is dated by its file, and follows it.
    connection.execute(
        "UPDATE photos SET taken = CASE WHEN taken = mtime_ns / 1e9 THEN ?3 / 1e9 ELSE taken END, "
        "path = ?2, mtime_ns = ?3 WHERE id = ?1",
        (id, place, mtime_ns),
    )


def take_all(connection: sqlite3.Connection) -> None:
    """Hold the photos of the attached database ``new`` and no others; known paths keep their id."""
    connection.execute("DELETE FROM photos WHERE path NOT IN (SELECT path FROM new.photos)")
    connection.execute(
        f"INSERT INTO photos ({COLUMNS}, version) SELECT {COLUMNS}, {VERSION_OF_NOW} "
        f"FROM new.photos WHERE TRUE ORDER BY id {_REPLACING}"
    )
