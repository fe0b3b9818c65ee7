"""``python -m msedge.cli.with_parent``: ``msedge``, asked to end when who started it is gone.

A server that is killed cannot end what it has started. On Linux the system sends a signal in its
place; elsewhere what was started goes on to its end. Tested in
``tests/faults/test_killed_servers.py``.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress

from msedge.cli.app import main

_SET_SIGNAL_OF_PARENTS_DEATH = 1  # prctl(2), PR_SET_PDEATHSIG


def end_with_parent() -> None:
    """Have this process told by SIGTERM when the one that started it ends, however it ends."""
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).prctl(_SET_SIGNAL_OF_PARENTS_DEATH, int(signal.SIGTERM))
    if os.getppid() != parent:  # it ended before it was asked for
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    end_with_parent()
    main()
