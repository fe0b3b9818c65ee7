"""What a person sees while photos are indexed: how far it is, how fast, and when it will be done.

Tested in ``tests/cli/test_index_watcher.py``.
"""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from msedge.cli.terminal import TerminalNews

_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_OF_RATE = 1.0  # before that a rate says little


class IndexTerminal(TerminalNews):
    """A bar in a terminal; elsewhere (a file, CI) a line now and then.

    Use it as a context manager.
    """

    def __init__(self) -> None:
        """Look at what standard error is; nothing is printed yet."""
        console = Console(file=sys.stderr, highlight=False)
        self._bar = Progress(
            TextColumn("photos"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[pace]}"),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("", total=None, pace="", visible=False)
        super().__init__(console, self._bar)
        self._begun = self._printed = time.monotonic()

    def progress(self, done: int, total: int) -> None:
        """Move the bar, or print a line when the last one is some time ago."""
        now = time.monotonic()
        if done == 0:
            self._begun = self._printed = now
        if not total:
            return
        pace = pace_text(done, total, now - self._begun)
        if self._console.is_terminal:
            self._bar.update(self._task, completed=done, total=total, pace=pace, visible=True)
        elif done == 0:
            self.say(f"photos to read: {total:,}")
        elif now - self._printed > _SECONDS_BETWEEN_LINES:
            self._printed = now
            self.say(f"  {done:,} of {total:,} photos, {pace}")

    def committed(self, photos: int) -> None:
        """Nothing to show: what is safe is told when indexing is stopped."""


def pace_text(done: int, total: int, seconds: float) -> str:
    """Rate and time left; nothing while too little is done to tell.

    >>> pace_text(200, 1000, 10.0)
    '20.0 a second, 40 s left'
    """
    if not done or seconds < _SECONDS_OF_RATE:
        return ""
    return f"{done / seconds:.1f} a second, {_duration((total - done) * seconds / done)} left"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
