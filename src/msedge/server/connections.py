"""The connections that are open: how many there may be, and which one goes when there are too many.

One that asks nothing makes room for a new one, the one that has asked nothing for longest first: so
thousands of idle connections lock nobody out. Tested in ``tests/server/test_connections.py``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from msedge.server.settings import ServerSettings

MOST_CONNECTIONS = 1000
OPEN_FILES = 4096
"""Files that a server wants to be allowed to open, where that is not the default."""

_LONGEST_BETWEEN_LOOKS = 0.5  # seconds


def open_files() -> int:
    """Files that this process may open, after asking for more where that is few."""
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return OPEN_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft != unlimited and soft < OPEN_FILES:
        soft = OPEN_FILES if hard == unlimited else min(OPEN_FILES, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return OPEN_FILES if soft == unlimited else soft


class Connection(Protocol):
    """What is kept here."""

    def is_idle(self) -> bool:
        """Whether no request of it is being read or answered."""

    def give_way(self) -> None:
        """Close, to make room for another."""

    def look(self, passed: float) -> str | None:
        """Count the seconds since the last look, and close if that is due; the reason if it is."""


class Connections:
    """The connections of one server."""

    def __init__(self, settings: ServerSettings, dropped: Callable[[str], None]) -> None:
        """Take the limits, and what hears why one was dropped: a word for the metrics."""
        self.settings, self._dropped = settings, dropped
        self._most = settings.most_connections or min(MOST_CONNECTIONS, open_files() // 2)
        self._idle: dict[Connection, None] = {}  # the one that has been so for longest first
        self._busy: set[Connection] = set()
        self._looked = 0.0
        self._next_look: asyncio.TimerHandle | None = None
        shortest = min(
            settings.header_seconds,
            settings.idle_seconds,
            settings.body_seconds,
            settings.reader_seconds,
        )
        self._pause = min(_LONGEST_BETWEEN_LOOKS, shortest / 4)

    def __len__(self) -> int:
        """Those that are open."""
        return len(self._idle) + len(self._busy)

    def admit(self, connection: Connection) -> bool:
        """Keep a new one; False when there is no room, and none that is idle could make some."""
        if len(self) >= self._most:
            if not self._idle:
                self._dropped("full")
                return False
            oldest = next(iter(self._idle))
            del self._idle[oldest]
            self._dropped("idle")
            oldest.give_way()
        self._idle[connection] = None
        if self._next_look is None:
            self._looked = time.monotonic()
            self._look_later()
        return True

    def note(self, connection: Connection) -> None:
        """Hear that one may have become idle, or may be so no longer."""
        if connection.is_idle():
            if connection in self._busy:
                self._busy.remove(connection)
                self._idle[connection] = None
        elif connection in self._idle:
            del self._idle[connection]
            self._busy.add(connection)

    def forget(self, connection: Connection) -> None:
        """Hear that one is closed."""
        self._idle.pop(connection, None)
        self._busy.discard(connection)

    def _look_later(self) -> None:
        self._next_look = asyncio.get_running_loop().call_later(self._pause, self._look)

    def _look(self) -> None:
        now = time.monotonic()
        passed, self._looked = now - self._looked, now
        for connection in [*self._idle, *self._busy]:
            reason = connection.look(passed)
            if reason is not None:
                self._dropped(reason)
            self.note(connection)
        if len(self):
            self._look_later()
        else:
            self._next_look = None
