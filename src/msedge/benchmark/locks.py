"""Locks on folders, so that two processes do not write the same files at once.

A lock is held by an open file, and passes to a process that inherits it. So a run that outlives a
killed benchmark still holds its folder, and the next benchmark waits for it. The system lets go
when the last holder ends, however it ends. Tested in ``tests/benchmark/test_locks.py``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msedge.data.images import one_line
from msedge.errors import ConfigError, DataError

if sys.platform != "win32":
    import fcntl

LOCK = ".lock"


def take(folder: Path) -> int | None:
    """Lock a folder, which is made if missing; the lock lasts until all holders have closed it.

    Returns:
        The file descriptor that holds the lock; None where another process holds it.

    Raises:
        DataError: the folder cannot be written to, or its file system cannot lock.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise DataError(
            f"cannot write to {one_line(folder)} ({error.strerror}); choose another --save-root"
        ) from error
    if sys.platform == "win32":
        return descriptor
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError as error:
        os.close(descriptor)
        raise DataError(
            f"cannot lock {one_line(folder)} ({error.strerror}); choose a --save-root on a local "
            "file system"
        ) from error
    return descriptor


def is_taken(folder: Path) -> bool:
    """Whether a process holds the lock of a folder; changes nothing."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY)
    except OSError:
        return False
    if sys.platform == "win32":
        os.close(descriptor)
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


@contextmanager
def sole_benchmark(folder: Path) -> Iterator[None]:
    """Keep other benchmarks out of a folder.

    Raises:
        ConfigError: another one writes it; the message names its process.
        DataError: the folder cannot be written to.
    """
    descriptor = take(folder)
    if descriptor is None:
        raise ConfigError(
            f"another benchmark{_process(folder / LOCK)} is writing {one_line(folder)}; "
            "wait for it, or choose another --save-root"
        )
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


def _process(lock: Path) -> str:
    try:
        text = lock.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
    return f" (process {text})" if text.isdigit() else ""
