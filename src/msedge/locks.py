"""Locks beside galleries, of which the system lets go when their holder ends, however it ends.

Tested in ``tests/test_locks.py``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msedge.errors import DataError
from msedge.quoting import named

if sys.platform != "win32":
    import fcntl

_INDEXING = "-lock"


@contextmanager
def sole_indexer(gallery: Path) -> Iterator[None]:
    """Keep other writers of many photos out of a gallery, which need not be there yet.

    Raises:
        DataError: another process indexes into it, its folder cannot be written to, or the file
            system cannot lock.
    """
    lock = _lock_of(gallery)
    descriptor = _take(lock, gallery)
    try:
        yield
    finally:
        if sys.platform != "win32":  # there an open file cannot be removed
            lock.unlink(missing_ok=True)
        os.close(descriptor)


def is_indexed_into(gallery: Path) -> bool:
    """Whether a process indexes into a gallery just now."""
    return is_held(_lock_of(gallery))


def is_held(lock: Path) -> bool:
    """Whether a process holds a lock; nothing is made to find out."""
    if sys.platform == "win32":
        return False
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)


def _lock_of(gallery: Path) -> Path:
    """Beside the gallery itself, also where the path is a link to it."""
    real = Path(os.path.realpath(gallery))
    return real.with_name(real.name + _INDEXING)


def _take(lock: Path, gallery: Path) -> int:
    while True:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            # A link beside a gallery from elsewhere must not make a file in another place.
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
            descriptor = os.open(lock, flags, 0o666)
        except OSError as error:
            raise DataError(
                f"cannot write to the folder of {named(gallery)} ({error.strerror}): choose "
                "another place with --gallery"
            ) from error
        if sys.platform == "win32":
            return descriptor
        failure: OSError | None = None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Who held it may have removed the file meanwhile: then this is a lock on nothing.
            if os.path.samestat(os.fstat(descriptor), lock.stat()):
                return descriptor
        except OSError as error:
            failure = error
        os.close(descriptor)
        if isinstance(failure, BlockingIOError):
            raise DataError(
                f"another process is indexing into {named(gallery)}: wait for it, or index into "
                "another file with --gallery"
            ) from failure
        if failure and not isinstance(failure, FileNotFoundError):
            raise DataError(
                f"cannot lock {named(gallery)} ({failure.strerror}): keep the gallery on a "
                "local file system"
            ) from failure
