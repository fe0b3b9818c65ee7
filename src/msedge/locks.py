"""Locks beside files, of which the system lets go when their holder ends, however it ends.

Tested in ``tests/test_locks.py``.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msedge.errors import DataError
from msedge.quoting import named

if sys.platform != "win32":
    import fcntl

_INDEXING = "-lock"
_SECONDS, _PAUSE = 10.0, 0.05  # that a writer of names waits for another, who needs no second


@contextmanager
def sole_indexer(gallery: Path) -> Iterator[None]:
    """Keep other writers of many photos out of a gallery, which need not be there yet.

    Raises:
        DataError: another process indexes into it, its folder cannot be written to, or the file
            system cannot lock.
    """
    with _held(
        gallery,
        busy="is indexing into",
        wait="index into another file with --gallery",
        place="choose another place with --gallery",
        local="keep the gallery on a local file system",
    ):
        yield


@contextmanager
def sole_writer(names: Path) -> Iterator[None]:
    """Keep other writers out of a file of names, which need not be there yet; waits for them.

    Raises:
        DataError: as of :func:`sole_indexer`.
    """
    with _held(
        names,
        busy="is writing",
        wait="name another file with --names",
        place="choose another place with --names",
        local="keep the names on a local file system",
        seconds=_SECONDS,
    ):
        yield


@contextmanager
def _held(
    path: Path, *, busy: str, wait: str, place: str, local: str, seconds: float = 0.0
) -> Iterator[None]:
    """Hold the lock beside a file; the words say what becomes of the person who cannot."""
    lock, until = _lock_of(path), time.monotonic() + seconds
    descriptor = _take(lock, path, until, busy=busy, wait=wait, place=place, local=local)
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


def _take(
    lock: Path, path: Path, until: float, *, busy: str, wait: str, place: str, local: str
) -> int:
    while True:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            # A link beside a gallery from elsewhere must not make a file in another place.
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
            descriptor = os.open(lock, flags, 0o666)
        except OSError as error:
            raise DataError(
                f"cannot write to the folder of {named(path)} ({error.strerror}): {place}"
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
            if time.monotonic() < until:
                time.sleep(_PAUSE)
                continue
            raise DataError(
                f"another process {busy} {named(path)}: wait for it, or {wait}"
            ) from failure
        if failure and not isinstance(failure, FileNotFoundError):
            raise DataError(f"cannot lock {named(path)} ({failure.strerror}): {local}") from failure
