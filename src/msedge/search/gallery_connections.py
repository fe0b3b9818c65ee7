"""Connections to a gallery's SQLite file: opened as the file and its folder allow, and shared.

A gallery may come from a stranger: before anything is read of its tables, they are held against
those of a gallery, and SQLite is told not to trust them. Tested in
``tests/search/test_gallery_connections.py`` and ``tests/artefacts/test_gallery_files.py``.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from msedge.data.images import one_line
from msedge.errors import DataError
from msedge.search.gallery_schema import check_header, check_objects, not_a_gallery

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


class Connections:
    """Connections for reading, as many as threads read at once; each serves one at a time."""

    def __init__(self, path: Path) -> None:
        """Take the file; nothing is opened yet.

        Args:
            path: the gallery, absolute.
        """
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

    Args:
        path: the gallery, absolute.

    Returns:
        The connection, and whether it may be kept: one that reads the file by itself would not
        notice a writer that comes later.

    Raises:
        sqlite3.Error: the file cannot be opened.
        DataError: changes lie beside the file and cannot be read there.
    """
    connection = _connect(path, "mode=rw")
    try:
        connection.execute("PRAGMA query_only = TRUE")
        check_objects(connection, path)  # the first that it reads
        return connection, True
    except sqlite3.OperationalError as error:
        connection.close()
        if _primary_code(error) not in _NOT_TO_BE_WRITTEN:
            raise
        failed = error
    except BaseException:
        connection.close()
        raise
    beside = path.with_name(path.name + "-wal")
    if beside.exists() and beside.stat().st_size:
        if _primary_code(failed) == sqlite3.SQLITE_FULL:
            raise failed
        raise DataError(
            f"gallery {one_line(path)} was not closed and its folder may not be written to: open "
            "it once where it can be, or copy it together with its -wal file"
        )
    connection = _connect(path, "mode=ro&immutable=1")
    try:
        check_objects(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection, False


def open_to_write(path: Path) -> sqlite3.Connection:
    """Connect to a gallery, or to an empty file, so that it can be changed.

    Raises:
        sqlite3.Error: the file cannot be opened.
        DataError: it holds what no gallery holds.
    """
    connection = _connect(path, "mode=rw")
    try:
        connection.execute("PRAGMA synchronous = FULL")  # a commit outlives a power cut
        check_objects(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def check_file(path: Path) -> None:
    """Refuse a file that is missing or not a gallery, without touching it.

    Raises:
        DataError: it is missing, a folder, another program's, of a newer schema, or damaged.
    """
    if not path.exists():
        raise DataError(
            f"no gallery {one_line(path)}: make it with `msedge index PHOTOS --gallery FILE`"
        )
    if not path.is_file():
        raise DataError(not_a_gallery(path))
    # Through SQLite, not through open(): closing a file takes away the locks that the process
    # holds on it (a rule of POSIX), and SQLite alone knows when it may. Immutable, so that not
    # even files beside it are made.
    with told(path), closing(_connect(path, "mode=ro&immutable=1")) as connection:
        # Its pages may be fewer than it says: the others are in the log beside it while a writer
        # moves them over, and for as long as a full disk keeps it from that.
        connection.execute("PRAGMA writable_schema = TRUE")
        check_header(connection, path)


def remove_database(path: Path) -> None:
    """Remove a file that nobody has open, with what SQLite keeps beside it.

    Raises:
        OSError: it cannot be removed.
    """
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


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
    """Turn SQLite's errors into one line that says how to go on.

    Raises:
        DataError: SQLite failed within.
    """
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


def wary(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Let a connection trust nothing that its file says."""
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return wary(
        sqlite3.connect(
            f"{path.as_uri()}?{mode}",
            uri=True,
            timeout=_SECONDS_TO_WAIT,
            isolation_level=None,  # transactions are begun where the code says so
            check_same_thread=False,  # a connection serves one thread at a time
        )
    )


def _primary_code(error: Exception) -> int:
    code = int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT))
    # A file that readers and writers share could not be given its size.
    return sqlite3.SQLITE_FULL if code == sqlite3.SQLITE_IOERR_SHMSIZE else code & 0xFF
