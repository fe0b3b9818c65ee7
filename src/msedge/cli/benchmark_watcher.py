"""What a person sees while a benchmark goes: how far it is, what runs, and when it will be done.

Tested in ``tests/cli/test_benchmark_watcher.py``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from msedge.cli.terminal import TerminalNews

if TYPE_CHECKING:
    from msedge.benchmark.outcomes import Outcome
    from msedge.benchmark.runner import Running

_SECONDS_BETWEEN_LINES = 60.0


class BenchmarkWatcher(TerminalNews):
    """A bar and a line a run in a terminal; elsewhere (a file, CI) lines alone.

    Use it as a context manager.
    """

    def __init__(self, *, done: int, total: int, jobs: int) -> None:
        """Take where the benchmark stands; nothing is printed yet.

        Args:
            done: runs that need no more work.
            total: runs in all.
            jobs: runs at a time.
        """
        self._done, self._total, self._jobs = done, total, jobs
        self._took: list[float] = []
        console = Console(file=sys.stderr, highlight=False)
        self._bar = Progress(
            TextColumn("runs"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
        )
        self._task = self._bar.add_task("", total=total, completed=done, left="")
        self._live = Live(self._bar, console=console, transient=True)
        super().__init__(console, self._live)
        self._printed = time.monotonic()

    def started(self, run: Running) -> None:
        """Tell that a run has begun, or that one is waited for."""
        what = "started" if run.process else "waiting for a run that an earlier benchmark left"
        self.say(f"{self._count()} {what}: {run.cell.label}")

    def moved(self, running: Sequence[Running]) -> None:
        """Show what is running, with the last line that each run said."""
        if self._console.is_terminal:
            lines = [
                Text(text, overflow="ellipsis", no_wrap=True)
                for run in running
                for text in (f"  {run.cell.label}", f"    {run.last_line()}")
            ]
            self._bar.update(self._task, completed=self._done, left=self._left(running))
            self._live.update(Group(self._bar, *lines))
        elif time.monotonic() - self._printed > _SECONDS_BETWEEN_LINES:
            self._printed = time.monotonic()
            for run in running:
                self.say(f"  {run.cell.label}: {run.last_line()}")

    def ended(self, outcome: Outcome, seconds: float) -> None:
        """Tell what a run came to."""
        self._done += 1
        self._took.append(seconds)
        figures = (
            f"mAP@all {outcome.metrics['mAP@all']:.1f}"
            if outcome.state == "done"
            else f"failed: {outcome.error}"
        )
        left = self._left(())
        self.say(
            f"{self._count()} {outcome.cell.label}: {figures}  {duration(seconds)}"
            f"{f'; {left}' if left else ''}"
        )

    def _count(self) -> str:
        self._printed = time.monotonic()
        return f"[{self._done} of {self._total}]"

    def _left(self, running: Sequence[Running]) -> str:
        """The time left, by the mean of the runs that ended; nothing before the first."""
        left = self._total - self._done
        if not self._took or not left:
            return ""
        mean = sum(self._took) / len(self._took)
        spent = sum(min(time.monotonic() - run.since, mean) for run in running)
        return f"about {duration((left * mean - spent) / min(self._jobs, left))} left"


def duration(seconds: float) -> str:
    """Seconds in words.

    >>> duration(42), duration(150), duration(9000)
    ('42 s', '2.5 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
