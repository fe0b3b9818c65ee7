"""One training at a time writes the files of a run.

Two would mix them: the weights of one beside the figures of the other. The system lets go of the
lock when its holder ends, however it ends. Tested in ``tests/faults/test_two_at_once.py``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msedge.errors import ConfigError, DataError

if sys.platform != "win32":
    import fcntl


@contextmanager
def sole_training(record: Path) -> Iterator[None]:
    """Keep other trainings away from the files of a run.

    Where the file system cannot lock, they are not kept away.

    Args:
        record: the run's ``run.json``, which need not be there.

    Raises:
        ConfigError: another training writes them.
        DataError: their folder cannot be written to.
    """
    if sys.platform == "win32":
        yield
        return
    lock = record.with_name(f".{record.stem}.lock")
    descriptor = _taken(lock, record)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(descriptor)


def _taken(lock: Path, record: Path) -> int:
    while True:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise DataError(
                f"cannot write to {record.parent} ({error.strerror}); choose another --save_root"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise ConfigError(
                f"another training is writing {record}; wait for it, or choose another --save_root"
            ) from error
        except OSError:
            return descriptor
        # Who held it may have removed the file meanwhile: then this is a lock on nothing.
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)
