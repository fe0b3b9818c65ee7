"""A BLAS held to one thread while photos are ranked, and given back when the last of them is done.

The setting belongs to the process. Rankings that overlap, in two threads or taken in turn, would
each put back what they found, and the last to end would leave behind what the first had set.
Tested in ``tests/test_blas_threads.py``.
"""

from __future__ import annotations

from threading import RLock

from threadpoolctl import threadpool_limits


class OneBlasThread:
    """A context that may be entered by several at a time, in any order of leaving."""

    def __init__(self) -> None:
        self._lock = RLock()  # a generator that holds it may be collected while it is being entered
        self._holders = 0
        self._limits: threadpool_limits | None = None

    def __enter__(self) -> None:
        with self._lock:
            self._holders += 1
            if self._limits is None:
                self._limits = threadpool_limits(1, user_api="blas")

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._holders -= 1
            if self._limits is not None and not self._holders:
                self._limits.restore_original_limits()
                self._limits = None


one_blas_thread = OneBlasThread()
"""The one for this process."""
