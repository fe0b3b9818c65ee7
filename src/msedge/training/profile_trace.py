"""What a recorded trace says of a GPU: how long it worked for each phase, and how long at all.

A GPU runs what it is told later than the program tells it, so the time of a phase on the program's
side is not the GPU's. In the trace each piece of the GPU's work carries the number of the call that
started it; the phase in which that call was made is the phase that the work is for. Calls of the
backward pass come from another thread, which is why the time of a call decides and not its thread.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msedge.training.stopwatch import MARK

Event = Mapping[str, Any]

_DEVICE_WORK = ("kernel", "gpu_memcpy", "gpu_memset")


@dataclass(frozen=True)
class DeviceTime:
    """How a GPU spent the recorded steps.

    Attributes:
        seconds: of work for each phase; ``""`` is work for none.
        busy: seconds in which it worked at all; work side by side counts once.
    """

    seconds: dict[str, float]
    busy: float


def read_trace(path: Path) -> list[Event]:
    """The events of a Chrome trace (``.json.gz``)."""
    with gzip.open(path, "rt", encoding="utf-8") as opened:
        events: list[Event] = json.load(opened)["traceEvents"]
    return events


def device_time(events: Sequence[Event]) -> DeviceTime:
    """How a GPU spent its time.

    Args:
        events: of a trace in which phases are recorded by
            :class:`msedge.training.stopwatch.Stopwatch`; times in microseconds.
    """
    spans = [event for event in events if event.get("ph") == "X"]
    phases = [
        (event["ts"], event["ts"] + event["dur"], event["name"].removeprefix(MARK))
        for event in spans
        if event.get("cat") == "user_annotation" and event["name"].startswith(MARK)
    ]
    work = [event for event in spans if event.get("cat") in _DEVICE_WORK]
    called = {
        event["args"]["correlation"]: event["ts"]
        for event in spans
        if event.get("cat") not in _DEVICE_WORK and "correlation" in event.get("args", {})
    }
    seconds: dict[str, float] = {}
    for event in work:
        phase = _phase_at(called.get(event.get("args", {}).get("correlation")), phases)
        seconds[phase] = seconds.get(phase, 0.0) + event["dur"] / 1e6
    busy = _covered((event["ts"], event["ts"] + event["dur"]) for event in work)
    return DeviceTime(seconds, busy / 1e6)


def _phase_at(time: float | None, phases: Iterable[tuple[float, float, str]]) -> str:
    """The innermost phase at a time, which is the one that began last."""
    around = [] if time is None else [p for p in phases if p[0] <= time <= p[1]]
    return max(around)[2] if around else ""


def _covered(spans: Iterable[tuple[float, float]]) -> float:
    """The length of the union of some spans."""
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total
