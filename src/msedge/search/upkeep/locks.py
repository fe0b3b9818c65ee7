"""Whether a process holds a lock on a gallery just now.

Tested in ``tests/search/upkeep/test_locks.py``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

if sys.platform != "win32":
    import fcntl

INDEXING = "-lock"
"""What the name of the lock that an indexer holds ends in."""

BUILDING = "lock"
"""The lock within the folder of an approximate index while it is built."""


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
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
