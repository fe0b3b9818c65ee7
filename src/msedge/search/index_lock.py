"""A lock beside a gallery, so that one process at a time indexes into it.

The system lets go when the holder ends, however it ends. Tested in
``tests/search/test_index_lock.py``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msedge.data.images import one_line
from msedge.errors import DataError

if sys.platform != "win32":
    import fcntl


@contextmanager
def sole_indexer(gallery: Path) -> Iterator[None]:
    """Keep other indexers out of a gallery, which need not be there yet.

    Raises:
        DataError: another process indexes into it, its folder cannot be written to, or the file
            system cannot lock.
    """
    lock = gallery.with_name(gallery.name + "-lock")
    descriptor = _take(lock, gallery)
    try:
        yield
    finally:
        if sys.platform != "win32":  # there an open file cannot be removed
            lock.unlink(missing_ok=True)
        os.close(descriptor)


def _take(lock: Path, gallery: Path) -> int:
    while True:
        descriptor = _open(lock, gallery)
        if sys.platform == "win32":
            return descriptor
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Who held it may have removed the file meanwhile: then this is a lock on nothing.
            if lock.exists() and os.path.samestat(os.fstat(descriptor), lock.stat()):
                return descriptor
        except BlockingIOError as error:
            os.close(descriptor)
            raise DataError(
                f"another process is indexing into {one_line(gallery)}: wait for it, or index into "
                "another file with --gallery"
            ) from error
        except FileNotFoundError:  # removed between the two looks
            pass
        except OSError as error:
            os.close(descriptor)
            raise DataError(
                f"cannot lock {one_line(gallery)} ({error.strerror}): keep the gallery on a local "
                "file system"
            ) from error
        os.close(descriptor)


def _open(lock: Path, gallery: Path) -> int:
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        # A link beside a gallery from elsewhere must not make a file in another place.
        return os.open(lock, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    except OSError as error:
        raise DataError(
            f"cannot write to the folder of {one_line(gallery)} ({error.strerror}): choose another "
            "place with --gallery"
        ) from error
