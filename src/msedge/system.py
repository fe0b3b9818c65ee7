"""What the machine offers: how many CPUs there are to use. Tested in ``tests/test_system.py``."""

from __future__ import annotations

import os


def usable_cpus() -> int:
    """How many CPUs this process may use: those it is bound to, where the system tells."""
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
