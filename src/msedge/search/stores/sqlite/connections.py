"""Connections to a gallery file, and the log beside it, which is its own or is put aside.

SQLite takes what lies beside a file as ``NAME-wal`` for its log, by the name alone, and people
move, restore and replace galleries. So each commit notes in the gallery the states that its log
leads through. A log that does not begin where the file is belongs to another file, and is put aside
before anything is read through it. Readers open the file read-only, so that closing it never moves
a log into it; a writer empties the log after each commit, once it has looked whether the file is
still the one that it opened. Tested in ``tests/search/stores/test_replaced.py``.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import stat
import sys
import threading
import time
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from msedge.data.images import one_line
from msedge.errors import DataError
from msedge.search.locations import whole
from msedge.search.stores.sqlite.file import (
    LOG,
    beside,
    check_objects,
    check_schema,
    connect,
    has_log,
    no_gallery,
    of_sqlite,
    primary_code,
    remove_database,
    told,
)
from msedge.search.stores.store import not_a_gallery

if sys.platform != "win32":
    import fcntl

ANOTHERS = ".log-of-another-gallery-"  # begins the end of the name of a log that was put aside

_SHARED = "-shm"  # what those who use a log share
_STATES = "states"  # the key in the meta table of those that the log leads through, newest last
_FROM_HERE = "|"  # stands before the state that the file was in when the log began
_SUM = "="  # stands before the sum of it all: a power cut may leave half a page
_NEVER = "-"  # the state of a gallery that only earlier releases wrote to
_MOST_STATES = 200  # as many as lie in one page, which is written whole or not at all
_LOOKS = 5
_SECONDS_BETWEEN = 0.02
_SECONDS_IDLE = 1.0
_NOT_TO_BE_WRITTEN = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL)
_OF_NO_USE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)

Stamp = tuple[int, int, int, int]


class Connections:
    """Connections for reading, as many as threads read at once; each serves one at a time.

    Those that nobody has used for a second are closed: SQLite would go on sharing the log's name
    with whatever file takes the gallery's place.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._idle: deque[tuple[sqlite3.Connection, Stamp, float]] = deque()
        self._timer: threading.Timer | None = None
        self._closed = False

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection within one read transaction: everything read belongs to one commit."""
        if self._closed:
            raise DataError(f"gallery {one_line(self._path)} has been closed: open it again")
        with told(self._path):
            connection, stamp = self._take()
            try:
                connection.execute("BEGIN")
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.close()
                if not self._idle:
                    settle(self._path)
                raise
            if stamp is None:
                connection.close()
            else:
                self._give_back(connection, stamp)

    def close(self) -> None:
        """Close what is idle now, and the others when they have been read from."""
        with self._lock:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()
        self._close_idle(0)

    def _take(self) -> tuple[sqlite3.Connection, Stamp | None]:
        """A connection to the file as it is now; no stamp: it may not be kept."""
        stamp = stamp_of(self._path)
        with self._lock:
            # Whoever opened the file before it changed may hold pages of what was there then.
            stale = [each for each in self._idle if each[1] != stamp]
            for each in stale:
                self._idle.remove(each)
            kept = self._idle.pop()[0] if self._idle else None
        for connection, *_ in stale:
            connection.close()
        if kept is not None:
            return kept, stamp
        connection, lasting = open_to_read(self._path)
        return connection, stamp if lasting else None

    def _give_back(self, connection: sqlite3.Connection, stamp: Stamp) -> None:
        with self._lock:
            self._idle.append((connection, stamp, time.monotonic()))
            if self._timer is None and not self._closed:
                self._look_later()
        if self._closed:  # meanwhile
            self._close_idle(0)

    def _look_later(self) -> None:
        self._timer = threading.Timer(_SECONDS_IDLE, self._close_idle, [_SECONDS_IDLE])
        self._timer.daemon = True
        with suppress(RuntimeError, MemoryError):  # no thread to be had: they are kept
            self._timer.start()

    def _close_idle(self, seconds: float) -> None:
        """Close what has been idle for so long, and take the log away with the last of them."""
        now = time.monotonic()
        with self._lock:
            late = [each for each in self._idle if now - each[2] >= seconds]
            for each in late:
                self._idle.remove(each)
            self._timer = None
            if is_used := bool(self._idle) and not self._closed:
                self._look_later()
        for connection, *_ in late:
            connection.close()
        if not is_used:
            settle(self._path)


def stamp_of(path: Path) -> Stamp:
    """What tells a file, and each change of it, from others in its place."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except FileNotFoundError as error:
        raise no_gallery(path) from error
    except OSError as error:
        raise DataError(
            f"gallery {one_line(path)} cannot be read ({error.strerror}): check its disk and its "
            "permissions"
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise DataError(not_a_gallery(path))
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


# Opening


def open_to_read(path: Path) -> tuple[sqlite3.Connection, bool]:
    """Connect to a gallery without changing what it says.

    Readers and a writer share two files beside the gallery, which even a reader has to make where
    they are missing. Where it cannot, as on a read-only file system or a full one, nobody writes
    either, and the file is read by itself. Such a connection may not be kept, which is said, too:
    it would not notice a writer that comes later.
    """
    try:
        return _open(path, "mode=ro"), True
    except sqlite3.OperationalError as error:
        code = primary_code(error)
        if code not in _NOT_TO_BE_WRITTEN or (code == sqlite3.SQLITE_FULL and has_log(path)):
            raise
    if has_log(path):
        raise DataError(
            f"gallery {one_line(path)} was not closed and its folder may not be written to: open "
            "it once where it can be, or copy it together with its -wal file"
        )
    return _open(path, "mode=ro&immutable=1"), False


@contextmanager
def reading_once(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to read; what a killed writer left stays as it is."""
    connection, _ = open_to_read(path)
    try:
        yield connection
    finally:
        connection.close()
        if not has_log(path):
            settle(path)


def open_to_write(path: Path) -> sqlite3.Connection:
    """Connect to a gallery, or to an empty file, so that it can be changed."""
    return _open(path, "mode=rw", "PRAGMA synchronous = FULL")  # a commit outlives a power cut


def _open(path: Path, mode: str, setting: str = "") -> sqlite3.Connection:
    if has_anothers_log(path):
        put_log_aside(path)
    connection = connect(path, mode)
    try:
        connection.execute(setting)
        check_objects(connection, path)  # the first that it reads
        check_schema(connection, path)
    except BaseException:
        connection.close()
        settle(path)
        raise
    return connection


# The log


def note_state(writer: sqlite3.Connection, path: Path) -> None:
    """Note within a transaction that the gallery is in another state after it.

    Raises a DataError where another file has taken the place of the one that is written to: then
    nothing may be written.
    """
    there, (earlier, states) = _state_of_file(path), _states(writer)
    if there not in (states if has_log(path) else states[-1:]):
        # Where a power cut tore it, the file says nothing, or nonsense: the log mends that.
        if there is not None and (not has_log(path) or _is_sound(path)):
            raise replaced(path)
    else:
        at = states.index(there)
        earlier, states = [*earlier, *states[:at]], states[at:]
    if len(states) < _MOST_STATES:
        states = [*states, secrets.token_hex(4)]
        earlier = earlier[max(0, len(earlier) + len(states) - _MOST_STATES) :]
        noted = " ".join([*earlier, _FROM_HERE, *states])
        summed = f"{noted} {_SUM}{_sum_of(noted)}"
        writer.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_STATES, summed))


def newest_state(connection: sqlite3.Connection) -> str:
    """What the state of the gallery is called after the last commit."""
    return _states(connection)[1][-1]


def comes_from(connection: sqlite3.Connection, state: str) -> bool:
    """Whether the gallery was in a state before, or is; False where that is long ago."""
    return any(state in some for some in _states(connection))


def may_come_from(connection: sqlite3.Connection, state: str) -> bool:
    """Whether the gallery may have been in a state before: only long ago that is not known."""
    known = [each for some in _states(connection) for each in some]
    return state in known or len(known) >= _MOST_STATES


def replaced(path: Path) -> DataError:
    """What is said to a writer whose file has become another."""
    return DataError(
        f"gallery {one_line(path)} was moved, or another file took its place, while it was written "
        "to: run the same command again"
    )


def is_whole(path: Path) -> bool:
    """Whether the file by itself holds every commit, so that a plain copy of it would."""
    if not has_log(path):
        return True
    with closing(connect(path, "mode=ro")) as connection:
        return _state_of_file(path) == newest_state(connection)


def has_own_log(path: Path) -> bool | None:
    """Whether the log beside a file leads from the state that the file is in.

    None where that cannot be told just now, since the file makes no sense by itself: it is being
    written, or a killed writer left half of the log in it.
    """
    for _ in range(_LOOKS):
        if (before := _state_of_file(path)) is None:
            return None
        try:
            with closing(connect(path, "mode=ro")) as connection:
                check_objects(connection, path)
                states = _states(connection)[1]
                is_own = before in states and (before != _NEVER or _is_same(connection, path))
        except sqlite3.Error as error:
            if primary_code(error) not in _OF_NO_USE:
                return None
            is_own = False
        except DataError:
            is_own = False
        if is_own:
            return True
        # A writer may have committed and emptied the log between the two looks.
        if _state_of_file(path) == before:
            return False if _is_sound(path) else None
        time.sleep(_SECONDS_BETWEEN)
    return None


def has_anothers_log(path: Path) -> bool:
    """Whether the log beside a file is for certain not its own."""
    return has_log(path) and has_own_log(path) is False


def put_log_aside(path: Path) -> str:
    """Give another gallery's log a name that says what it is; gives that, or nothing if it went.

    Who still has its gallery open goes on with it: it was opened already.
    """
    log, aside = of_sqlite(path, LOG), _aside(path)
    try:
        with log.open("rb") as stream:
            if sys.platform != "win32":  # another may be at it: SQLite has locks of another kind
                fcntl.flock(stream, fcntl.LOCK_EX)
            if not has_anothers_log(path):
                return ""
            of_sqlite(path, _SHARED).unlink(missing_ok=True)
            log.rename(aside)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise DataError(
            f"{one_line(log)} is the log of another gallery than {one_line(path)}, and cannot be "
            f"renamed ({error.strerror}): move it away, or open the gallery where it can be"
        ) from error
    return aside.name


def settle(path: Path) -> None:
    """Take away what lies beside a file that nobody uses, with its log moved into it.

    SQLite does so when the last connection that may write is closed.
    """
    if not (of_sqlite(path, LOG).exists() or of_sqlite(path, _SHARED).exists()):
        return
    with suppress(sqlite3.Error, DataError, OSError):
        if not has_log(path) or has_own_log(path):
            with closing(connect(path, "mode=rw")) as connection:
                connection.execute("PRAGMA user_version").fetchone()


def _states(connection: sqlite3.Connection) -> tuple[list[str], list[str]]:
    """The states of before, and those that the log leads through from the file on."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (_STATES,)).fetchone()
    noted, _, its_sum = str(row[0] if row else "").partition(f" {_SUM}")
    if its_sum and its_sum != _sum_of(noted):
        raise sqlite3.DatabaseError("it is written in part")
    earlier, _, states = noted.rpartition(_FROM_HERE)
    return earlier.split(), states.split() or [_NEVER]


def _sum_of(noted: str) -> str:
    return f"{zlib.crc32(noted.encode()):08x}"


def _state_of_file(path: Path) -> str | None:
    """The state of a file without its log; None where it cannot be read by itself."""
    try:
        with closing(_alone(path)) as connection:
            check_objects(connection, path)
            return newest_state(connection)
    except (sqlite3.Error, DataError):
        return None


def _is_same(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether a file and its log say the same of who they are; files of the first schema do not."""
    query = "SELECT value FROM meta WHERE key = 'identity'"
    with closing(_alone(path)) as alone:
        row = alone.execute(query).fetchone()
    return row is None or connection.execute(query).fetchone() == row


def _is_sound(path: Path) -> bool:
    """Whether a file makes sense without its log: else it may need it, whatever it says."""
    try:
        with closing(_alone(path)) as connection:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.Error:
        return False


def _alone(path: Path) -> sqlite3.Connection:
    return connect(path, "mode=ro&immutable=1")


def _aside(path: Path) -> Path:
    return of_sqlite(path, f"{ANOTHERS}{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}")


# Making


@contextmanager
def made_whole(target: Path, ending: str, advice: str) -> Iterator[Path]:
    """Where to write a file until it is whole; nothing stays there, whatever happens."""
    part = beside(whole(target), ending)
    try:
        try:
            remove_database(part)  # what a kill left
            yield part
            put_in_place(part, target)
        finally:
            remove_database(part)
    except OSError as error:
        raise DataError(f"cannot write {one_line(target)} ({error.strerror}): {advice}") from error


def put_in_place(part: Path, target: Path, kept: Path | None = None) -> None:
    """Give a file that nobody has open its name, in place of what has it, which may be kept.

    A log that a full disk kept from being moved over holds commits that the file itself does not:
    it would stay behind under the old name. One that lies at the new name is another file's, which
    was moved away from there, or loses its place now.
    """
    with told(target), closing(open_to_write(part)) as connection:
        (is_busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if is_busy:
        raise DataError(f"another program reads {one_line(part)}: try again when that has ended")
    of_sqlite(target, _SHARED).unlink(missing_ok=True)
    if has_log(target):
        of_sqlite(target, LOG).rename(beside(kept, LOG) if kept else _aside(target))
    of_sqlite(target, LOG).unlink(missing_ok=True)
    part.rename(target)
