"""What a person sees while a run goes: a bar that moves, and a line for each epoch."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from msedge.cli.terminal import TerminalNews

if TYPE_CHECKING:
    from msedge.training.run_files import EpochRow

_SECONDS_BETWEEN_LINES = 20.0


class TerminalWatcher(TerminalNews):
    """Bars in a terminal; elsewhere (a file, CI) a line now and then.

    Use it as a context manager.
    """

    def __init__(self) -> None:
        """Look at what standard error is; nothing is printed yet."""
        console = Console(file=sys.stderr, highlight=False)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            transient=True,
        )
        self._task = self._bars.add_task("", total=None, note="", visible=False)
        super().__init__(console, self._bars)
        self._what = ""
        self._printed = time.monotonic()

    def progress(self, what: str, done: int, total: int, note: str = "") -> None:
        """Move the bar, or print a line when the last one is some time ago."""
        if self._console.is_terminal:
            if what != self._what:
                self._bars.reset(self._task, total=total, description=what, visible=True)
            self._bars.update(self._task, completed=done, total=total, note=note)
        elif time.monotonic() - self._printed > _SECONDS_BETWEEN_LINES:
            self._printed = time.monotonic()
            self.say(f"  {what}: {done} of {total} {note}".rstrip())
        self._what = what

    def row(self, row: EpochRow, selected: bool) -> None:
        """Print what an epoch came to."""
        figures = "  ".join(f"{name} {value:.1f}" for name, value in row.metrics.items())
        best = "  (best so far)" if selected else ""
        self.say(f"epoch {row.epoch}: loss {row.loss:.3f}  {figures}{best}  {row.seconds:.0f} s")


class SilentWatcher:
    """Of a process beside the first: what goes well is told by that one.

    Use it as a context manager.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def say(self, message: str) -> None:
        """Take a line of news."""

    def progress(self, what: str, done: int, total: int, note: str = "") -> None:
        """Take how far something is."""

    def row(self, row: EpochRow, selected: bool) -> None:
        """Take what an epoch came to."""
