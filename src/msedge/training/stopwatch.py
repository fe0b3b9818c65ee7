"""Where the seconds of a training go, by the phase of the step that they were spent in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch.profiler import record_function

MARK = "msedge:"
"""How a phase's name begins in a profiler's trace."""

PHASES = {
    "data": "waiting for the pixels of the next batch",
    "views": "moving them to the device, mirroring, drawing edge views",
    "forward": "from images to embeddings",
    "loss": "how far the embeddings are from where they belong",
    "backward": "the gradients of everything that learns",
    "optimizer": "changing the weights",
}
"""The phases of a training step in their order, each with what happens in it."""


class Stopwatch:
    """Adds up wall-clock seconds by phase.

    A phase within another counts for the inner one alone, so the sum over the phases is never more
    than the time that went by. For one thread. On a GPU, which works on after it has been told what
    to do, the seconds say what the program waited for; the profiler tells what the GPU did.

    Attributes:
        seconds: of each phase so far, in the order in which the phases were first met.
    """

    def __init__(self, *, clock: Callable[[], float] = time.perf_counter) -> None:
        """Start with nothing.

        Args:
            clock: seconds that never run backwards.
        """
        self.seconds: dict[str, float] = {}
        self._clock = clock
        self._inner = 0.0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time of a ``with`` block for a phase, also when the block raises.

        A profiler that records meanwhile shows the block as ``msedge:<name>``.

        Args:
            name: of :data:`PHASES`, or another.
        """
        with record_function(MARK + name):
            began = self._clock()
            before, self._inner = self._inner, 0.0
            try:
                yield
            finally:
                took = self._clock() - began
                self.seconds[name] = self.seconds.get(name, 0.0) + took - self._inner
                self._inner = before + took
