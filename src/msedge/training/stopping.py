"""Being told to stop: the step is finished, the state saved, and the process ends.

Clusters send SIGTERM some seconds before they kill; people press Ctrl-C. Either is noted, and the
training ends after the step that it is in. A second Ctrl-C ends it at once.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from msedge.errors import MSEdgeError


class StoppedError(MSEdgeError):
    """A run was told to stop, and did, with its state saved.

    Attributes:
        exit_status: what a shell expects of a process that a signal has stopped.
    """

    def __init__(self, message: str, number: int) -> None:
        """Take what to tell the person, and the signal's number."""
        super().__init__(message)
        self.exit_status = 128 + number


class StopSignals:
    """Notes SIGTERM and SIGINT while it is entered; the handlers from before come back after.

    Outside the main thread, where Python takes no signals, nothing is noted.

    Attributes:
        number: of the signal that came, or None.
    """

    def __init__(self) -> None:
        """Change nothing yet."""
        self.number: int | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if number == signal.SIGINT and self.number is not None:
            raise KeyboardInterrupt
        self.number = number
