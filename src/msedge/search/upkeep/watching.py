"""How far long work on a gallery is, and being asked to stop it.

Tested in ``tests/search/upkeep/test_copying.py``.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

_INSTRUCTIONS = 20_000  # of SQLite's machine between two looks: some milliseconds


class UpkeepWatcher(Protocol):
    """Is told how long work goes."""

    def say(self, message: str) -> None:
        """Take a line of news."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Take how far something is, in photos."""


class StoppedError(Exception):
    """Work was asked to stop, and has left everything as it was."""


class Watched:
    """A watcher that may be none, and a request to stop that may never come."""

    def __init__(self, watcher: UpkeepWatcher | None, stop: threading.Event | None) -> None:
        """Take both."""
        self._watcher, self.stop = watcher, stop or threading.Event()

    def say(self, message: str) -> None:
        """Pass on a line of news."""
        if self._watcher:
            self._watcher.say(message)

    def progress(self, what: str, done: int, total: int) -> None:
        """Pass on how far something is.

        Raises:
            StoppedError: the work is to stop.
        """
        if self.stop.is_set():
            raise StoppedError
        if self._watcher:
            self._watcher.progress(what, done, total)

    def step(self, what: str) -> None:
        """Pass on what is begun now, of which nobody knows how long it takes.

        Raises:
            StoppedError: the work is to stop.
        """
        self.progress(what, 0, 0)

    @contextmanager
    def interrupting(self, connection: sqlite3.Connection) -> Iterator[None]:
        """Let a request to stop end what SQLite is at.

        Raises:
            StoppedError: the work is to stop.
        """
        connection.set_progress_handler(self.stop.is_set, _INSTRUCTIONS)
        try:
            yield
        except sqlite3.OperationalError as error:
            if self.stop.is_set():
                raise StoppedError from error
            raise
        finally:
            connection.set_progress_handler(None, 0)
