"""Memory for pictures while they are read: so much over all requests, and given back after that.

Tested in ``tests/server/test_memory.py``; ``benchmarks/decoding_memory.py`` measures a server.
"""

from __future__ import annotations

import asyncio
import ctypes
import re
import sys
import time
from collections import deque
from collections.abc import Callable

from starlette.exceptions import HTTPException

from msedge.data.images import one_line
from msedge.errors import ConfigError

_SIZE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)\s*([kmgt]?)(i?)b?", re.I)
_LEAST = 100_000_000  # of a budget: a picture of four megapixels is counted as less
_SECONDS_BETWEEN = 30.0
_SMALL = 60_000_000  # what may stay in the heap for the next

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGE = 2**20


class MemoryBudget:
    """Bytes that may be taken at a time, first come, first served."""

    def __init__(self, most: int) -> None:
        """Take how many there are."""
        self.most = most
        self.taken = 0
        self._is_due = False
        self._next = time.monotonic() + _SECONDS_BETWEEN
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()

    def check(self, needed: int) -> None:
        """Refuse what would never have its turn.

        Raises:
            HTTPException: 413.
        """
        if needed > self.most:
            raise HTTPException(
                413,
                f"reading the image takes {needed // 10**6} MB of memory, and this server has "
                f"{self.most // 10**6} for it: send a smaller one, or start it with a higher "
                "--memory",
            )

    def has(self, needed: int) -> bool:
        """Whether so many bytes can be had without waiting."""
        return not needed or (not self._line and self.taken + needed <= self.most)

    async def take(self, needed: int) -> None:
        """Wait until so many are there, and take them; :meth:`give` gives them back."""
        if self.has(needed):
            self.taken += needed
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append((needed, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._line.remove((needed, turn))
                self._serve()  # a smaller one may have stood behind it
            else:  # granted in the moment it is given up
                self.give(needed)
            raise

    def give(self, needed: int) -> None:
        """Give back what was taken."""
        self.taken -= needed
        self._serve()
        self._is_due |= needed > _SMALL
        if self._is_due and not self.taken:
            self._is_due = False
            give_back()

    def give_back_now_and_then(self) -> None:
        """Give back what was freed, such as a model that another has taken the place of."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _SECONDS_BETWEEN
            give_back()

    def _serve(self) -> None:
        while self._line and self.taken + self._line[0][0] <= self.most:
            needed, turn = self._line.popleft()
            self.taken += needed
            turn.set_result(None)


def memory_size(text: str) -> int:
    """Bytes, as people write them: powers of 1000, and of 1024 with an ``i``.

    Raises:
        ConfigError: it is no size, or too small for any picture.

    >>> memory_size("400MB"), memory_size("0.5 GiB")
    (400000000, 536870912)
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ConfigError(f"{one_line(text)!r} is no size: give one such as 400MB, 1.5GB or 512MiB")
    number, unit, binary = found.groups()
    step, power = 1024 if binary else 1000, " kmgt".index(unit.lower() or " ")
    size = round(float(number) * float(step**power))
    if size < _LEAST:
        raise ConfigError(f"{one_line(text)} is too little: give {_LEAST // 10**6}MB or more")
    return size


def prepare_to_give_back() -> None:
    """Have the C library give large blocks back to the system as soon as they are freed.

    By itself glibc raises, at the first large block that is freed, the size from which it does so,
    and pictures then stay in the heap of every thread. Elsewhere nothing is changed.
    """
    if mallopt := _of_library("mallopt"):
        mallopt(_MMAP_THRESHOLD, _LARGE)
        mallopt(_TRIM_THRESHOLD, 8 * _LARGE)


def give_back() -> None:
    """Give back what lies free between small blocks, which takes some milliseconds."""
    if trim := _of_library("malloc_trim"):
        trim(0)


def _of_library(name: str) -> Callable[..., int] | None:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
