"""What a piece of work costs at its peak, measured in a process of its own."""

from __future__ import annotations

import os
import pickle
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEASURABLE = Path("/proc/self/clear_refs").exists()
"""Whether this system tells the peak of a process's memory, and lets it begin anew."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What came of a piece of work.

    Attributes:
        answer: what it gave back.
        megabytes: by which the process grew at its peak.
        seconds: of CPU that it took, so that a busy machine changes little.
    """

    answer: Any
    megabytes: float
    seconds: float


def measured(work: Callable[[], Any], limit: int = 120) -> Cost:
    """Do a piece of work in a copy of this process.

    Args:
        work: what gives back something that can be pickled.
        limit: seconds until it is taken to hang.

    Raises:
        AssertionError: it ended by a signal; after ``limit`` seconds it gets one.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            signal.alarm(limit)
            Path("/proc/self/clear_refs").write_text("5")
            before, begun = _peak(), time.process_time()
            answer = work()
            cost = Cost(answer, _peak() - before, time.process_time() - begun)
            with os.fdopen(writer, "wb") as stream:
                pickle.dump(cost, stream)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        content = stream.read()
    _, status = os.waitpid(child, 0)
    assert content, f"it ended without an answer: {status}"
    return pickle.loads(content)


def _peak() -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024
