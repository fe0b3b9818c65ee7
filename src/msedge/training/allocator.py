"""Memory that a training step frees is kept for the next step.

On Linux, glibc gives large blocks back to the system when they are freed, and every step of a
training on the CPU faults gigabytes of pages in again. Telling it to keep them costs nothing but
the resident size that the step needs anyway. ``benchmarks/allocator.py`` measures what it gains.
"""

from __future__ import annotations

import ctypes
import sys

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_KEEP_ALL = 2**31 - 1  # mallopt takes an int
_GROW_BY = 64 * 2**20


def keep_freed_memory() -> bool:
    """Ask the C library to keep freed memory in this process.

    Returns:
        Whether it agreed; elsewhere than under glibc nothing is changed.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _KEEP_ALL), (_TOP_PAD, _GROW_BY))
    agreed = [mallopt(parameter, value) == 1 for parameter, value in settings]
    return all(agreed)
