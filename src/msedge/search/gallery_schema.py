"""The tables of a gallery file, and how a file shows that it is one, and nothing besides.

A database can hold views, triggers and tables that compute what they show: reading or writing one
from a stranger would run what he wrote, for as long as he likes. So a gallery holds what this
package makes and nothing else. Tested in ``tests/search/test_gallery_schema.py`` and
``tests/artefacts/test_gallery_files.py``.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from msedge.data.images import one_line
from msedge.errors import DataError
from msedge.quoting import plain, quoted
from msedge.search.gallery_rows import Model

APPLICATION_ID = 0x4D534547
"""``MSEG``, in SQLite's header: what tells a gallery from any other database."""

SCHEMA_VERSION = 2
"""In SQLite's header as ``user_version``; a file of a newer one is refused.

The second says of each photo at which version of the gallery it was put, and keeps the ids of those
that were removed, so that who has read the gallery before reads what has changed. A file of the
first is read as it is, and brought up to date when it is next opened for writing.
"""

VERSION_OF_NOW = "(SELECT value + 1 FROM main.meta WHERE key = 'version')"
"""The version that the gallery will have after the transaction, as an SQL expression."""

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE photos (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    path BLOB NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    content_hash TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    taken REAL NOT NULL,
    vector BLOB NOT NULL
);
"""
_BY_CONTENT = "photos_by_content"
_PARTS = {
    _BY_CONTENT: "CREATE INDEX photos_by_content ON photos (content_hash);",
    "photos_by_version": "CREATE INDEX photos_by_version ON photos (version);",
    "removed": "CREATE TABLE removed (id INTEGER PRIMARY KEY, version INTEGER NOT NULL);",
    "removed_by_version": "CREATE INDEX removed_by_version ON removed (version);",
    "photos_removed": f"""CREATE TRIGGER photos_removed AFTER DELETE ON photos BEGIN
        INSERT OR REPLACE INTO removed VALUES (old.id, {VERSION_OF_NOW.replace("main.", "")});
    END;""",
}
_CHANGES = " ".join(
    [
        "ALTER TABLE photos ADD COLUMN version INTEGER NOT NULL DEFAULT 0;",
        *(words for name, words in _PARTS.items() if name != _BY_CONTENT),
    ]
)
_OF_SQLITE = "sqlite_sequence name seq sqlite_stat1 sqlite_stat4 tbl idx stat neq nlt ndlt sample"
_OF_TABLES = frozenset(re.findall(r"\w+", f"{_TABLES} {_PARTS['removed']} DEFAULT 0 {_OF_SQLITE}"))
_MOST_NAMED = 60  # characters

WIDEST = 65_536
"""Of a model's vectors: many times what any is trained with."""

_IDENTITY = "INSERT INTO meta VALUES ('identity', lower(hex(randomblob(16))));"


def write_schema(connection: sqlite3.Connection, model: Model) -> None:
    """Make an empty database a gallery.

    Args:
        connection: to a file of no bytes, in autocommit.
        model: what makes the vectors.
    """
    # Larger pages than usual, so that the vector of a wide model does not spill into another.
    connection.execute("PRAGMA page_size = 8192")
    connection.executescript(
        f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
        f"{_TABLES} {_PARTS[_BY_CONTENT]} {_CHANGES}"
        f"INSERT INTO meta VALUES ('version', 0); {_IDENTITY}"
    )
    write_model(connection, model)
    connection.execute("COMMIT")
    # Last, so that all of it lies in the file: what a full disk keeps in the log when the file is
    # closed would stay behind when the file is renamed.
    connection.execute("PRAGMA journal_mode = WAL")


def bring_up_to_date(connection: sqlite3.Connection) -> None:
    """Change the tables of an earlier release to those of this one, in one transaction."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version >= SCHEMA_VERSION:
        return
    try:
        connection.executescript(
            f"BEGIN IMMEDIATE; {_CHANGES} {_IDENTITY} "
            f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        )
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version < SCHEMA_VERSION:  # else another process has done it meanwhile
            raise


def missing_parts(connection: sqlite3.Connection) -> list[str]:
    """The tables, indices and triggers beside the photos that a gallery should have, and has not.

    Without them it can be read and written, but slowly, or changes go unnoticed.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    there = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema")}
    wanted = _PARTS if version >= SCHEMA_VERSION else [_BY_CONTENT]
    return [name for name in wanted if name not in there]


def make_parts(connection: sqlite3.Connection, names: Sequence[str]) -> None:
    """Make what :func:`missing_parts` found, within a transaction.

    Which photos went meanwhile nobody has noted, so that the gallery becomes another one to all
    that remember what it held.
    """
    for name in names:
        connection.execute(_PARTS[name])
    connection.execute(_IDENTITY.replace("INSERT", "INSERT OR REPLACE"))


def write_model(connection: sqlite3.Connection, model: Model) -> None:
    """Say what makes the vectors, in place of what was said before."""
    connection.executemany(
        "INSERT OR REPLACE INTO meta VALUES (?, ?)",
        [("model", model.name), ("fingerprint", model.fingerprint), ("dim", model.dim)],
    )


def read_meta(connection: sqlite3.Connection) -> tuple[Model, int]:
    """What made a gallery's vectors, and the gallery's version.

    Raises:
        sqlite3.DatabaseError: the tables are not as they should be.
    """
    meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    try:
        model = Model(str(meta["model"]), str(meta["fingerprint"]), int(meta["dim"]))
        version = int(meta["version"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise sqlite3.DatabaseError("it does not say what made it") from error
    if not 0 < model.dim <= WIDEST:
        raise sqlite3.DatabaseError(f"its vectors are of width {model.dim}")
    return model, version


def read_identity(connection: sqlite3.Connection) -> str | None:
    """What tells a gallery from others; None where its tables are those of an earlier release."""
    row = connection.execute("SELECT value FROM meta WHERE key = 'identity'").fetchone()
    return None if row is None else str(row[0])


def check_header(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a database that is not a gallery, or one of a later release.

    Raises:
        DataError: the file is another program's, or of a newer schema.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise DataError(not_a_gallery(path))
    if version > SCHEMA_VERSION:
        raise DataError(
            f"gallery {one_line(path)} is of schema {version}, and this release knows "
            f"{SCHEMA_VERSION}: update msedge, or index into another file with --gallery"
        )


def check_objects(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a database that holds anything that this package does not make.

    It reads the list of what there is, and nothing of it.

    Raises:
        DataError: there is a view, a trigger, a computed column or another table.
        sqlite3.Error: the file cannot be read.
    """
    rows = connection.execute("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
    for kind, name, sql in rows:
        if not _is_ours(str(kind), str(name), str(sql)):
            raise DataError(
                f"gallery {one_line(path)} holds the {plain(kind, _MOST_NAMED)} "
                f"{quoted(name, _MOST_NAMED)}, which msedge does not make, and is not opened: "
                "have who gave it to you copy it with `msedge gallery copy`, or index again"
            )


def _is_ours(kind: str, name: str, sql: str) -> bool:
    if kind == "table":  # columns may be missing, which a check finds; none may be computed
        return set(re.findall(r"\w+", sql)) <= _OF_TABLES
    return kind in ("index", "trigger") and _words(sql) == _words(_PARTS.get(name, ""))


def _words(sql: str) -> list[str]:
    return sql.rstrip(" ;").split()


def not_a_gallery(path: Path) -> str:
    """The message for a file that is something else."""
    return (
        f"{one_line(path)} is not a gallery: name one that `msedge index` made, or another file "
        "to make one"
    )
