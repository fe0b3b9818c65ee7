"""How fast a training goes and how much memory it takes, for people who watch it."""

from __future__ import annotations

import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from msedge.training.stopwatch import Stopwatch

WINDOW = 20
"""Steps that a pace is taken over."""

_STATM = Path("/proc/self/statm")
_STATUS = Path("/proc/self/status")


class Pace(NamedTuple):
    """How a training goes at the moment.

    Attributes:
        images_a_second: over the last :data:`WINDOW` steps; 0 before the first.
        waiting: share of that time spent waiting for data, from 0 to 1.
        memory_gb: resident memory of the process in units of 10^9 bytes; NaN where the system does
            not tell.
        device_memory_gb: the most that tensors have taken on the GPU so far; None without one.
    """

    images_a_second: float
    waiting: float
    memory_gb: float
    device_memory_gb: float | None


class Meter:
    """Tells the pace over a sliding window of steps."""

    def __init__(
        self,
        stopwatch: Stopwatch,
        device: torch.device,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Begin now.

        Args:
            stopwatch: whose phase ``data`` is the waiting.
            device: whose memory is told.
            clock: seconds that never run backwards; the stopwatch's.
        """
        self._stopwatch, self._device, self._clock = stopwatch, device, clock
        # When a step ended, the images so far, and the seconds of waiting so far.
        self._ends: deque[tuple[float, int, float]] = deque(maxlen=WINDOW + 1)
        self.restart()

    def restart(self) -> None:
        """Begin anew: what lies between epochs belongs to no step."""
        self._ends.clear()
        self._ends.append((self._clock(), 0, self._waited()))

    def step(self, images: int) -> None:
        """Take that a step has ended.

        Args:
            images: how many it trained on.
        """
        self._ends.append((self._clock(), self._ends[-1][1] + images, self._waited()))

    def pace(self) -> Pace:
        """The pace over the steps of the window, and the memory at this moment."""
        (began, images_before, waited_before), (ended, images, waited) = (
            self._ends[0],
            self._ends[-1],
        )
        took = ended - began
        return Pace(
            (images - images_before) / took if took > 0 else 0.0,
            min((waited - waited_before) / took, 1.0) if took > 0 else 0.0,
            memory_gb(),
            device_memory_gb(self._device),
        )

    def _waited(self) -> float:
        return self._stopwatch.seconds.get("data", 0.0)


def memory_gb() -> float:
    """Resident memory of this process now, in units of 10^9 bytes.

    Elsewhere than on Linux the most that it was so far stands for it; NaN where that is not told
    either.
    """
    try:
        pages = int(_STATM.read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return peak_memory_gb()
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e9


def peak_memory_gb() -> float:
    """The most resident memory that this process had so far, in units of 10^9 bytes, or NaN."""
    try:
        # Not getrusage on Linux: what it tells is inherited from the program that started this one.
        for line in _STATUS.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name == "VmHWM":
                return int(value.split()[0]) * 1024 / 1e9
    except (OSError, ValueError, IndexError):
        pass
    return _peak_of_getrusage()


def device_memory_gb(device: torch.device) -> float | None:
    """The most that tensors have taken on a GPU so far, in units of 10^9 bytes; else None."""
    if device.type != "cuda":
        return None
    return torch.cuda.max_memory_allocated(device) / 1e9


def _peak_of_getrusage() -> float:
    try:
        import resource
    except ImportError:  # Windows
        return math.nan
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024
    return peak * unit / 1e9
