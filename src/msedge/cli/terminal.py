"""News on standard error, with something that moves below it where that is a terminal."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from rich.console import Console


class Display(Protocol):
    """What moves: rich's ``Progress`` or ``Live``."""

    def start(self) -> None:
        """Begin to be shown."""

    def stop(self) -> None:
        """Go away."""


class TerminalNews:
    """A console for lines, and a display that shows while the context lasts, in a terminal."""

    def __init__(self, console: Console, display: Display) -> None:
        """Take where to print and what to show; nothing is printed yet."""
        self._console, self._display = console, display

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._display.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:  # elsewhere it would print an empty line
            self._display.stop()

    def say(self, message: str) -> None:
        """Print a line of news."""
        self._console.print(message, markup=False, soft_wrap=True)
