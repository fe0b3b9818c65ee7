"""Writing files so that a kill at any moment leaves the old one or the new one, whole.

A writer holds a lock on its temporary file, which the system takes from it when it ends, however it
ends. So whoever writes the same file next can tell what a killed one left from what is being
written, and removes it. Tested in ``tests/test_storage.py`` and ``tests/faults/``.
"""

from __future__ import annotations

import glob
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from msedge.errors import DataError

if sys.platform != "win32":
    import fcntl

_TOKEN_BYTES = 4
_LONGEST = 48  # characters of a name that its temporary one repeats: names end at 255 bytes


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path in the folder of ``path``; on success it takes the place of ``path``.

    The folder is made when it is missing. The suffix is kept, since writers choose by it. After an
    error the temporary file is removed and ``path`` is as it was; what killed writers of ``path``
    left is removed by the next one.

    Write to it directly: a writer that goes through a file of its own, as ``save_file`` of
    safetensors does, leaves that one behind when it is killed.

    Args:
        path: the file to write.

    Yields:
        The path to write to.

    Raises:
        DataError: the folder cannot be made, or the file cannot be written; also for an ``OSError``
            of the writer.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            path.lstat()  # a name that is too long fails now, not after the work
        remove_leftovers(path)
        temporary, descriptor = _begun(path)
    except OSError as error:
        raise DataError(
            f"cannot write {_shown(path)} ({error.strerror}); choose a folder that can be written "
            "to"
        ) from error
    try:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        if sys.platform == "win32":  # where an open file cannot be replaced, nor locked like this
            os.close(descriptor)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(mode)  # the writer may have made the file anew
        temporary.replace(path)
    except OSError as error:  # a full disk, a folder of that name
        reason = error.strerror or error
        raise DataError(
            f"cannot write {_shown(path)} ({reason}); what stood there is untouched"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
        if sys.platform != "win32":
            os.close(descriptor)  # last: it holds the lock


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files of :func:`atomic_path` whose writers were killed.

    Those of writers that are at work stay. Where the file system cannot lock, all of them do.

    Args:
        path: the file that they were to replace; it stays.
    """
    beginning, suffix = _around(path)
    named = glob.escape(beginning) + "[0-9a-f]" * (2 * _TOKEN_BYTES) + glob.escape(suffix)
    for leftover in path.parent.glob(named):
        try:
            _remove_unless_locked(leftover)
        except OSError:  # another's, or gone; the next writer tries again
            continue


def _begun(path: Path) -> tuple[Path, int]:
    """A new file beside a path, and an open descriptor that holds the lock on it."""
    beginning, suffix = _around(path)
    while True:
        temporary = path.parent / f"{beginning}{secrets.token_hex(_TOKEN_BYTES)}{suffix}"
        # The umask is left to the system: asking for it would change it for every thread.
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        if sys.platform == "win32":
            return temporary, descriptor
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:  # some network file systems cannot; then nobody takes it for a leftover
            return temporary, descriptor
        if os.fstat(descriptor).st_nlink:
            return temporary, descriptor
        os.close(descriptor)  # another writer came before the lock, and removed it


def _remove_unless_locked(leftover: Path) -> None:
    if sys.platform == "win32":  # which refuses to remove what is open
        leftover.unlink()
        return
    descriptor = os.open(leftover, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink()
    finally:
        os.close(descriptor)


def _around(path: Path) -> tuple[str, str]:
    """What the names of a file's temporary files begin and end with."""
    return f".{path.stem[:_LONGEST]}-", path.suffix[:_LONGEST]


def _shown(path: Path) -> str:
    """A path on one line, whatever its name."""
    text = str(path)
    return text if text.isprintable() else repr(text)[1:-1]
