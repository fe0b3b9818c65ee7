"""A gallery's SQLite file: its tables, and connections that open it as it and its folder allow.

A gallery may come from a stranger. A database can hold views, triggers and tables that compute what
they show: reading or writing one would run what he wrote, for as long as he likes. So a gallery
holds what this package makes and nothing else, which is looked at before anything is read, and
SQLite is told not to trust the file. Tested in ``tests/search/stores/test_sqlite.py`` and
``tests/artefacts/test_gallery_files.py``.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from msedge.data.images import one_line
from msedge.errors import DataError
from msedge.quoting import plain, quoted
from msedge.search.photo import ADDED, COLUMNS
from msedge.search.stores.reports import Model
from msedge.search.stores.store import WIDEST, MissingGalleryError, not_a_gallery

APPLICATION_ID = 0x4D534547
"""``MSEG``, in SQLite's header: what tells a gallery from any other database."""

_CHANGES_KNOWN = 2

SCHEMA_VERSION = _CHANGES_KNOWN + ADDED
"""In SQLite's header as ``user_version``; a file of a newer one is refused.

The second says of each photo at which version of the gallery it was put, and keeps the ids of those
that were removed, so that who has read the gallery before reads what has changed. Each later one
adds a column. A file of an earlier one is read as it is, and brought up to date when it is next
opened for writing.
"""

VERSION_OF_NOW = "(SELECT value + 1 FROM main.meta WHERE key = 'version')"
"""The version that the gallery will have after the transaction, as an SQL expression."""

LOG = "-wal"
"""What the name of the log beside a file ends in."""

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
_OF_TABLES = frozenset(
    re.findall(
        r"\w+",
        f"{_TABLES} {_PARTS['removed']} DEFAULT 0 {_OF_SQLITE} {' '.join(_LATER.values())}",
    )
)
_MOST_NAMED = 60  # characters

_SECONDS_TO_WAIT = 10.0  # for another process in the midst of a commit
_LONGEST_VALUE = 2**24  # bytes; the widest vector has 2**17, a path 2**12
_REASONS = {
    sqlite3.SQLITE_BUSY: "another program is writing it: try again when that has ended",
    sqlite3.SQLITE_FULL: "the disk is full: make room; what was committed is safe",
    sqlite3.SQLITE_READONLY: "it may not be written to: change its permissions, or copy it",
    sqlite3.SQLITE_PERM: "it may not be read: change its permissions",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check its permissions and those of its folder",
    sqlite3.SQLITE_IOERR: "the disk fails to read or write it: copy it to another disk",
}
_NOT_TO_BE_WRITTEN = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL)


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
    write_model(connection, model)
    connection.execute("COMMIT")
    # Last, so that all of it lies in the file: what a full disk keeps in the log when the file is
    # closed would stay behind when the file is renamed.
    connection.execute("PRAGMA journal_mode = WAL")


def bring_up_to_date(connection: sqlite3.Connection) -> None:
    """Change the tables of an earlier release to those of this one, in one transaction."""
    if schema_of(connection) >= SCHEMA_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Looked at again: another process may have done it while this one waited for its turn.
        for step in _steps(schema_of(connection)):
            connection.execute(step)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def schema_of(connection: sqlite3.Connection) -> int:
    """The number of a file's schema."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def knows_changes(connection: sqlite3.Connection) -> bool:
    """Whether the file says when a photo was put; of schema 1, not until it is written to."""
    return schema_of(connection) >= _CHANGES_KNOWN


def facts_in(connection: sqlite3.Connection) -> str:
    """The facts as a query lists them, with the default of those that the file does not have."""
    there = max(schema_of(connection) - _CHANGES_KNOWN, 0)
    return ", ".join(
        each.name if each.added <= there else f"{each.default_sql} AS {each.name}"
        for each in COLUMNS
    )


def lacking_columns(connection: sqlite3.Connection) -> list[str]:
    """Columns of photos that a file of its schema should have, and has not."""
    there = {row[1] for row in connection.execute("PRAGMA table_info(photos)")}
    known = schema_of(connection) - _CHANGES_KNOWN
    wanted = ["id", *(each.name for each in COLUMNS if each.added <= max(known, 0)), "vector"]
    return [name for name in wanted if name not in there]


def missing_parts(connection: sqlite3.Connection) -> list[str]:
    """The tables, indices and triggers beside the photos that a gallery should have, and has not.

    Without them it can be read and written, but slowly, or changes go unnoticed.
    """
    there = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema")}
    wanted = _PARTS if knows_changes(connection) else [_BY_CONTENT]
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
    """What made a gallery's vectors, and the gallery's version."""
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
    """What tells a gallery from others of its name; None of a file that schema 1 is written in."""
    row = connection.execute("SELECT value FROM meta WHERE key = 'identity'").fetchone()
    return None if row is None else str(row[0])


def _steps(schema: int) -> list[str]:
    """What makes the tables of a schema those of this one."""
    first = [*_CHANGES, _IDENTITY] if schema < _CHANGES_KNOWN else []
    known = max(schema - _CHANGES_KNOWN, 0)
    return first + [
        f"ALTER TABLE photos ADD COLUMN {_LATER[n]};" for n in sorted(_LATER) if n > known
    ]


def _check_header(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    version = schema_of(connection)
    if application != APPLICATION_ID:
        raise DataError(not_a_gallery(path))
    if version > SCHEMA_VERSION:
        raise DataError(
            f"gallery {one_line(path)} is of schema {version}, and this release knows "
            f"{SCHEMA_VERSION}: update msedge, or index into another file with --gallery"
        )


def check_objects(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a database with a view, a trigger, a computed column or a table that is not ours.

    It reads the list of what there is, and nothing of it.
    """
    rows = connection.execute("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
    for kind, name, sql in rows.fetchall():  # a query half read would keep the file open
        if not _is_ours(str(kind), str(name), str(sql)):
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


# Connections


class Connections:
    """Connections for reading, as many as threads read at once; each serves one at a time."""

    def __init__(self, path: Path) -> None:
        """Take the gallery, whose path is absolute; nothing is opened yet."""
        self._path = path
        self._idle: deque[sqlite3.Connection] = deque()
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection within one read transaction: everything read belongs to one commit.

        Raises:
            DataError: the file cannot be opened or read, or this has been closed.
        """
        with told(self._path):
            connection, lasting = self._take()
            try:
                connection.execute("BEGIN")
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.close()
                raise
            self._give_back(connection, lasting)

    def close(self) -> None:
        """Close what is idle now, and the others when they have been read from."""
        with self._lock:
            self._closed = True
            while self._idle:
                self._idle.pop().close()

    def _take(self) -> tuple[sqlite3.Connection, bool]:
        with self._lock:
            if self._closed:
                raise DataError(f"gallery {one_line(self._path)} has been closed: open it again")
            if self._idle:
                return self._idle.pop(), True
        return open_to_read(self._path)

    def _give_back(self, connection: sqlite3.Connection, lasting: bool) -> None:
        with self._lock:
            if lasting and not self._closed:
                self._idle.append(connection)
                return
        connection.close()


def open_to_read(path: Path) -> tuple[sqlite3.Connection, bool]:
    """Connect to a gallery without changing what it says.

    Readers and a writer share two files beside the gallery, which even a reader has to make where
    they are missing. Where it cannot, as on a read-only file system or a full one, nobody writes
    either, and the file is read by itself.

    Returns:
        The connection, and whether it may be kept: one that reads the file by itself would not
        notice a writer that comes later.

    Raises:
        DataError: changes lie beside the file and cannot be read there.
    """
    try:
        return _open(path, "mode=rw", "PRAGMA query_only = TRUE"), True
    except sqlite3.OperationalError as error:
        if _primary_code(error) not in _NOT_TO_BE_WRITTEN:
            raise
        failed = error
    if has_log(path):
        if _primary_code(failed) == sqlite3.SQLITE_FULL:
            raise failed
        raise DataError(
            f"gallery {one_line(path)} was not closed and its folder may not be written to: open "
            "it once where it can be, or copy it together with its -wal file"
        )
    return _open(path, "mode=ro&immutable=1"), False


def open_to_check(path: Path) -> sqlite3.Connection:
    """Connect to read, so that what a killed writer left stays as it is when this is closed."""
    if has_log(path):
        try:
            return _open(path, "mode=ro")
        except sqlite3.OperationalError:
            pass  # the next says why where it cannot either
    return open_to_read(path)[0]


def open_to_write(path: Path) -> sqlite3.Connection:
    """Connect to a gallery, or to an empty file, so that it can be changed."""
    return _open(path, "mode=rw", "PRAGMA synchronous = FULL")  # a commit outlives a power cut


def _open(path: Path, mode: str, setting: str = "") -> sqlite3.Connection:
    connection = connect(path, mode)
    try:
        connection.execute(setting)
        check_objects(connection, path)  # the first that it reads
    except BaseException:
        connection.close()
        raise
    return connection


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection that trusts nothing that its file says."""
    connection = sqlite3.connect(
        f"{path.as_uri()}?{mode}",
        uri=True,
        timeout=_SECONDS_TO_WAIT,
        isolation_level=None,  # transactions are begun where the code says so
        check_same_thread=False,  # a connection serves one thread at a time
    )
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


def check_file(path: Path) -> None:
    """Refuse a file that is missing or not a gallery, without touching it.

    Raises:
        MissingGalleryError: it is missing.
        DataError: it is a folder, another program's, of a newer schema, or damaged.
    """
    if not path.exists():
        raise MissingGalleryError(
            f"no gallery {one_line(path)}: make it with `msedge index PHOTOS --gallery FILE`"
        )
    if not path.is_file():
        raise DataError(not_a_gallery(path))
    # Through SQLite, not through open(): closing a file takes away the locks that the process
    # holds on it (a rule of POSIX), and SQLite alone knows when it may. Immutable, so that not
    # even files beside it are made.
    with told(path), closing(connect(path, "mode=ro&immutable=1")) as connection:
        # Its pages may be fewer than it says: the others are in the log beside it while a writer
        # moves them over, and for as long as a full disk keeps it from that.
        connection.execute("PRAGMA writable_schema = TRUE")
        _check_header(connection, path)


def beside(path: Path, ending: str) -> Path:
    """What lies beside a file under its name and an ending."""
    return path.with_name(path.name + ending)


def has_log(path: Path) -> bool:
    """Whether commits may lie beside a file."""
    log = beside(path, LOG)
    return log.exists() and log.stat().st_size > 0


def remove_database(path: Path) -> None:
    """Remove a file that nobody has open, with what SQLite keeps beside it."""
    for ending in ("", LOG, "-shm", "-journal"):
        beside(path, ending).unlink(missing_ok=True)


def put_in_place(part: Path, target: Path) -> None:
    """Give a file that nobody has open its name.

    A log that a full disk kept from being moved over holds commits that the file itself does not:
    it would stay behind under the old name.

    Raises:
        DataError: the disk is full, or another process has the file open.
        OSError: it cannot be renamed.
    """
    with told(target), closing(open_to_write(part)) as connection:
        (is_busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if is_busy:
        raise DataError(f"another program reads {one_line(part)}: try again when that has ended")
    part.rename(target)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into a DataError of one line that says how to go on."""
    try:
        yield
    except sqlite3.ProgrammingError:  # a defect of ours
        raise
    except sqlite3.Error as error:
        code = _primary_code(error)
        if code == sqlite3.SQLITE_NOTADB:
            raise DataError(not_a_gallery(path)) from error
        reason = _REASONS.get(
            code, f"it is damaged ({one_line(error)}): move it away and index again"
        )
        raise DataError(f"gallery {one_line(path)}: {reason}") from error


def _primary_code(error: Exception) -> int:
    code = int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT))
    # A file that readers and writers share could not be given its size.
    return sqlite3.SQLITE_FULL if code == sqlite3.SQLITE_IOERR_SHMSIZE else code & 0xFF
