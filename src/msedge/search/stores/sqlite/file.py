"""A gallery's SQLite file: its tables, what it says of itself, and whether it may be trusted.

A gallery may come from a stranger. Views, triggers and computed columns run what he wrote when they
are read or written to, so a gallery holds what this package makes and nothing else, which is looked
at before anything is read, and SQLite is told not to trust the file. Tested in
``tests/search/stores/test_sqlite.py`` and ``tests/artefacts/test_gallery_files.py``.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from msedge.data.images import one_line
from msedge.errors import DataError
from msedge.quoting import plain, quoted
from msedge.search.photo import ADDED, COLUMNS
from msedge.search.stores.reports import Model
from msedge.search.stores.store import (
    WIDEST,
    MissingGalleryError,
    UnreadableError,
    not_a_gallery,
)

APPLICATION_ID = 0x4D534547  # `MSEG`, in the header: tells a gallery from any other database

# The second schema says of each photo at which version of the gallery it was put, and keeps the ids
# of those that were removed, so that who has read the gallery before reads what has changed. Each
# later one adds a column. A file of an earlier one is read as it is, and brought up to date when it
# is next opened for writing; one of a newer one is refused.
CHANGES_KNOWN = 2
SCHEMA_VERSION = CHANGES_KNOWN + ADDED

# The version that the gallery will have after the transaction
VERSION_OF_NOW = "(SELECT value + 1 FROM main.meta WHERE key = 'version')"
LOG = "-wal"
NOTE = "note."  # what the keys of notes begin with, among what else the file says of itself

_FIRST = [f"{column.name} {column.sql}" for column in COLUMNS if not column.added]
_LATER = {column.added: f"{column.name} {column.sql}" for column in COLUMNS if column.added}
_TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;\n"
    "CREATE TABLE photos (\n    id INTEGER PRIMARY KEY AUTOINCREMENT,\n    "
    + ",\n    ".join([*_FIRST, "vector BLOB NOT NULL"])
    + "\n);"
)
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
_CHANGES = (
    "ALTER TABLE photos ADD COLUMN version INTEGER NOT NULL DEFAULT 0;",
    *(words for name, words in _PARTS.items() if name != _BY_CONTENT),
)
_IDENTITY = "INSERT INTO meta VALUES ('identity', lower(hex(randomblob(16))));"
_OF_SQLITE = "sqlite_sequence name seq sqlite_stat1 sqlite_stat4 tbl idx stat neq nlt ndlt sample"
_WORDS = f"{_TABLES} {_PARTS['removed']} DEFAULT 0 {_OF_SQLITE} {' '.join(_LATER.values())}"
_OF_TABLES = frozenset(re.findall(r"\w+", _WORDS))
_FORGOTTEN = "forgotten"  # the key of the version up to which removals are no longer noted
_MOST_NAMED = 60  # characters

SECONDS_TO_WAIT = 10.0  # for another process in the midst of a commit
_LONGEST_VALUE = 2**24  # bytes; the widest vector has 2**17, a path 2**12
_REASONS = {
    sqlite3.SQLITE_BUSY: "another program is writing it: try again when that has ended",
    sqlite3.SQLITE_FULL: "the disk is full: make room; what was committed is safe",
    sqlite3.SQLITE_READONLY: "it may not be written to: change its permissions, or copy it",
    sqlite3.SQLITE_PERM: "it may not be read: change its permissions",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check its permissions and those of its folder",
    sqlite3.SQLITE_IOERR: "the disk fails to read or write it: copy it to another disk",
}


# The tables


def write_schema(connection: sqlite3.Connection, model: Model) -> None:
    """Make a file of no bytes a gallery."""
    # Larger pages than usual, so that the vector of a wide model does not spill into another.
    connection.execute("PRAGMA page_size = 8192")
    connection.executescript(
        f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
        f"{_TABLES} {_PARTS[_BY_CONTENT]} INSERT INTO meta VALUES ('version', 0);"
        f"{' '.join(_steps(1))}"
    )
    said = [("model", model.name), ("fingerprint", model.fingerprint), ("dim", model.dim)]
    connection.executemany("INSERT INTO meta VALUES (?, ?)", said)
    connection.execute("COMMIT")
    # Last, so that all of it lies in the file: what a full disk keeps in the log when the file is
    # closed would stay behind when the file is renamed.
    connection.execute("PRAGMA journal_mode = WAL")


def bring_up_to_date(connection: sqlite3.Connection) -> None:
    """Change the tables of an earlier release to those of this one, within a transaction."""
    for step in _steps(schema_of(connection)):
        connection.execute(step)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def forget_removals(connection: sqlite3.Connection, most: int) -> None:
    """Keep only the newest of what is noted of removed photos, and note what is no longer known."""
    query = "SELECT version FROM removed ORDER BY version DESC LIMIT 1 OFFSET ?"
    if (oldest := connection.execute(query, (most,)).fetchone()) is not None:
        connection.execute("DELETE FROM removed WHERE version <= ?", oldest)
        connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_FORGOTTEN, *oldest))


def knows_changes(connection: sqlite3.Connection, since: int) -> bool:
    """Whether all that was removed after a version is noted."""
    if schema_of(connection) < CHANGES_KNOWN:
        return False
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (_FORGOTTEN,)).fetchone()
    return row is None or since >= int(row[0])


def schema_of(connection: sqlite3.Connection) -> int:
    """The number of a file's schema."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def facts_in(connection: sqlite3.Connection) -> str:
    """The facts as a query lists them, with the default of those that the file does not have."""
    there = max(schema_of(connection) - CHANGES_KNOWN, 0)
    return ", ".join(
        each.name if each.added <= there else f"{each.default_sql} AS {each.name}"
        for each in COLUMNS
    )


def lacking(connection: sqlite3.Connection) -> tuple[list[str], list[str]]:
    """Columns of photos, and parts beside these, that a file of its schema should have, and not."""
    schema = schema_of(connection)
    known = max(schema - CHANGES_KNOWN, 0)
    columns = ["id", *(each.name for each in COLUMNS if each.added <= known), "vector"]
    parts = _PARTS if schema >= CHANGES_KNOWN else [_BY_CONTENT]
    there = {row[1] for row in connection.execute("PRAGMA table_info(photos)")}
    there_too = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema")}
    return [n for n in columns if n not in there], [n for n in parts if n not in there_too]


def make_parts(connection: sqlite3.Connection, names: Sequence[str]) -> None:
    """Make what :func:`lacking` found, within a transaction.

    Which photos went meanwhile nobody has noted, so that the gallery becomes another one to all
    that remember what it held.
    """
    for name in names:
        connection.execute(_PARTS[name])
    connection.execute(_IDENTITY.replace("INSERT", "INSERT OR REPLACE"))


def read_meta(connection: sqlite3.Connection) -> tuple[Model, int, str | None]:
    """What a gallery says of itself; see :func:`record_of`."""
    return record_of(dict(connection.execute("SELECT key, value FROM meta")))


def record_of(meta: dict[str, Any]) -> tuple[Model, int, str | None]:
    """What made a gallery's vectors, its version, and what tells it from others of its name.

    The last is None of a file that schema 1 is written in.
    """
    try:
        model = Model(str(meta["model"]), str(meta["fingerprint"]), int(meta["dim"]))
        version = int(meta["version"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise sqlite3.DatabaseError("it does not say what made it") from error
    if not 0 < model.dim <= WIDEST:
        raise sqlite3.DatabaseError(f"its vectors are of width {model.dim}")
    identity = meta.get("identity")
    return model, version, None if identity is None else str(identity)


def _steps(schema: int) -> list[str]:
    """What makes the tables of a schema those of this one."""
    first = [*_CHANGES, _IDENTITY] if schema < CHANGES_KNOWN else []
    later = [_LATER[n] for n in sorted(_LATER) if n > max(schema - CHANGES_KNOWN, 0)]
    return first + [f"ALTER TABLE photos ADD COLUMN {column};" for column in later]


def check_objects(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a database with a view, a trigger, a computed column or a table that is not ours.

    Of a newer release's, which :func:`check_schema` refuses, nothing but the meta table is read.
    """
    is_newer = schema_of(connection) > SCHEMA_VERSION
    rows = connection.execute("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
    for kind, name, sql in rows.fetchall():  # a query half read would keep the file open
        if not _is_ours(str(kind), str(name), str(sql)) and (name == "meta" or not is_newer):
            raise DataError(
                f"gallery {one_line(path)} holds the {plain(kind, _MOST_NAMED)} "
                f"{quoted(name, _MOST_NAMED)}, which msedge does not make, and is not opened: "
                "have who gave it to you copy it with `msedge gallery copy`, or index again"
            )


def _is_ours(kind: str, name: str, sql: str) -> bool:
    if kind == "table":  # columns may be missing, which a check finds; none may be computed
        return set(re.findall(r"\w+", sql)) <= _OF_TABLES
    part = _PARTS.get(name, "").rstrip(" ;")
    return kind in ("index", "trigger") and sql.rstrip(" ;").split() == part.split()


# Opening


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection that trusts nothing that its file says."""
    connection = sqlite3.connect(
        f"{path.as_uri()}?{mode}",
        uri=True,
        timeout=SECONDS_TO_WAIT,
        isolation_level=None,  # transactions are begun where the code says so
        check_same_thread=False,  # a connection serves one thread at a time
    )
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


def check_file(path: Path) -> None:
    """Refuse a file that is missing, not a gallery, newer or damaged, without touching it."""
    if not path.exists():
        raise no_gallery(path)
    if not path.is_file():
        raise DataError(not_a_gallery(path))
    # Through SQLite, not through open(): closing a file takes away the locks that the process
    # holds on it (a rule of POSIX), and SQLite alone knows when it may. Immutable, so that not
    # even files beside it are made.
    with told(path), closing(connect(path, "mode=ro&immutable=1")) as connection:
        # Its pages may be fewer than it says: the others are in the log beside it while a writer
        # moves them over, and for as long as a full disk keeps it from that.
        connection.execute("PRAGMA writable_schema = TRUE")
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        if application != APPLICATION_ID:
            raise DataError(not_a_gallery(path))
        check_schema(connection, path)


def no_gallery(path: Path) -> MissingGalleryError:
    """What is said where there is none."""
    return MissingGalleryError(
        f"no gallery {one_line(path)}: make it with `msedge index PHOTOS --gallery FILE`"
    )


def check_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a gallery that a newer release has brought up to date, if only in its log."""
    version = schema_of(connection)
    if version > SCHEMA_VERSION:
        raise UnreadableError(
            f"gallery {one_line(path)} is of schema {version}, and this release knows "
            f"{SCHEMA_VERSION}: update msedge, or index into another file with --gallery"
        )


def beside(path: Path, ending: str) -> Path:
    """What lies beside a file under its name and an ending."""
    return path.with_name(path.name + ending)


def of_sqlite(path: Path, ending: str) -> Path:
    """What SQLite keeps beside a file, by the file's own name where the path is a link."""
    return beside(Path(os.path.realpath(path)), ending)


def has_log(path: Path) -> bool:
    """Whether commits may lie beside a file."""
    try:
        return of_sqlite(path, LOG).stat().st_size > 0
    except (FileNotFoundError, NotADirectoryError):
        return False


def files_of(path: Path) -> list[Path]:
    """A file, and what SQLite keeps beside it."""
    return [beside(path, ending) for ending in ("", LOG, "-shm", "-journal")]


def remove_database(path: Path) -> None:
    """Remove a file that nobody has open, with what SQLite keeps beside it."""
    for each in files_of(path):
        each.unlink(missing_ok=True)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into an UnreadableError of one line that says how to go on."""
    try:
        yield
    except sqlite3.ProgrammingError:  # a defect of ours
        raise
    except sqlite3.Error as error:
        code = primary_code(error)
        if code == sqlite3.SQLITE_NOTADB:
            raise UnreadableError(not_a_gallery(path)) from error
        damaged = f"it is damaged ({one_line(error)}): move it away and index again"
        reason = _REASONS.get(code, damaged)
        raise UnreadableError(f"gallery {one_line(path)}: {reason}") from error


def primary_code(error: Exception) -> int:
    """SQLite's code for an error, without what it says more closely."""
    code = int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT))
    # A file that readers and writers share could not be given its size.
    return sqlite3.SQLITE_FULL if code == sqlite3.SQLITE_IOERR_SHMSIZE else code & 0xFF
