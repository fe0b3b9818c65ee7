"""How a GPU's time is read out of a trace, on events as the profiler writes them."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msedge.training.profile_trace import device_time, read_trace

CALLING, WORKING = 100, 7  # threads


def span(cat: str, name: str, ts: float, dur: float, tid: int, **args: int) -> dict[str, Any]:
    return {"ph": "X", "cat": cat, "name": name, "pid": 1, "tid": tid, "ts": ts, "dur": dur,
            "args": args}  # fmt: skip


def phase(name: str, begin: float, end: float) -> dict[str, Any]:
    return span("user_annotation", f"msedge:{name}", begin, end - begin, CALLING)


def call(number: int, ts: float, tid: int = CALLING) -> dict[str, Any]:
    return span("cuda_runtime", "cudaLaunchKernel", ts, 2, tid, correlation=number)


def kernel(number: int, ts: float, dur: float, cat: str = "kernel") -> dict[str, Any]:
    return span(cat, "void gemm<float>()", ts, dur, WORKING, correlation=number)


OTHERS = [
    {"ph": "M", "name": "process_name", "pid": 1, "ts": 0, "args": {"name": "python"}},
    {"ph": "s", "cat": "ac2g", "name": "ac2g", "id": 1, "pid": 1, "tid": 1, "ts": 3},
    span("cpu_op", "aten::mm", 10, 500, CALLING),
    span("gpu_user_annotation", "msedge:forward", 900, 90_000, WORKING),
    span("user_annotation", "ProfilerStep#3", 0, 1_000_000, CALLING),
]


class TestSmoke:
    def test_no_device(self):
        found = device_time([*OTHERS, phase("forward", 0, 100)])
        assert (found.seconds, found.busy) == ({}, 0)

    def test_a_file(self, tmp_path):
        with gzip.open(tmp_path / "trace.json.gz", "wt") as opened:
            json.dump({"schemaVersion": 1, "traceEvents": OTHERS}, opened)
        assert read_trace(tmp_path / "trace.json.gz") == OTHERS


class TestPhases:
    def test_work_counts_for_the_phase_that_asked_for_it(self):
        found = device_time(
            [
                *OTHERS,
                phase("forward", 0, 100),
                phase("loss", 100, 200),
                call(1, 50),
                call(2, 150),
                kernel(1, 140, 250_000),  # runs while the program is in another phase
                kernel(2, 300_000, 500_000),
            ]
        )
        assert found.seconds == pytest.approx({"forward": 0.25, "loss": 0.5})

    def test_the_backward_pass_is_called_from_another_thread(self):
        events = [phase("backward", 0, 100), call(1, 50, tid=CALLING + 1), kernel(1, 60, 1e6)]
        assert device_time(events).seconds == {"backward": 1.0}

    def test_copies_and_fills_are_work(self):
        events = [phase("views", 0, 100)]
        for number, cat in enumerate(["kernel", "gpu_memcpy", "gpu_memset"]):
            events += [call(number, 10 + number), kernel(number, 1e6 * number, 1e6, cat)]
        found = device_time(events)
        assert (found.seconds, found.busy) == ({"views": 3.0}, 3.0)

    def test_the_inner_phase_counts(self):
        events = [phase("forward", 0, 100), phase("views", 20, 60)]
        events += [call(n, ts) for n, ts in enumerate([10, 40, 80])]
        events += [kernel(n, 1e6 * n, 1e6) for n in range(3)]
        assert device_time(events).seconds == {"forward": 2.0, "views": 1.0}

    def test_work_for_no_phase(self):
        events = [phase("forward", 0, 100), call(1, 500), kernel(1, 600, 1e6), kernel(9, 3e6, 2e6)]
        assert device_time(events).seconds == {"": 3.0}


class TestBusy:
    def test_gaps_do_not_count(self):
        assert device_time([kernel(1, 0, 1e6), kernel(2, 5e6, 1e6)]).busy == 2.0

    def test_work_side_by_side_counts_once(self):
        events = [kernel(1, 0, 4e6), kernel(2, 1e6, 1e6), kernel(3, 3e6, 3e6)]
        found = device_time(events)
        assert found.busy == 6.0
        assert sum(found.seconds.values()) == 8.0

    @given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=12))
    def test_equals_the_microseconds_in_which_anything_ran(self, spans):
        events = [kernel(number, ts, dur) for number, (ts, dur) in enumerate(spans)]
        running = {moment for ts, dur in spans for moment in range(ts, ts + dur)}
        assert device_time(events).busy == pytest.approx(len(running) / 1e6)
