"""The pace on a clock that the tests turn; the memory of this very process."""

from __future__ import annotations

import math
import mmap
import resource
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from msedge.training import meter as meter_module
from msedge.training.meter import (
    WINDOW,
    Meter,
    Pace,
    device_memory_gb,
    memory_gb,
    peak_memory_gb,
)
from msedge.training.stopwatch import Stopwatch

CPU = torch.device("cpu")
MEGABYTES = 300


class Run:
    """Steps that take as long as they are told to."""

    def __init__(self, device: torch.device = CPU) -> None:
        self.now = 5.0
        self.stopwatch = Stopwatch(clock=self.clock)
        self.meter = Meter(self.stopwatch, device, clock=self.clock)

    def clock(self) -> float:
        return self.now

    def step(self, images: int, waiting: float, working: float) -> None:
        with self.stopwatch.phase("data"):
            self.now += waiting
        with self.stopwatch.phase("forward"):
            self.now += working
        self.meter.step(images)


class TestSmoke:
    def test_before_the_first_step(self):
        pace = Run().meter.pace()
        assert pace[:2] == (0.0, 0.0)
        assert pace.memory_gb > 0
        assert pace.device_memory_gb is None

    def test_the_clock_of_the_machine(self):
        meter = Meter(Stopwatch(), CPU)
        meter.step(64)
        assert 0 < meter.pace().images_a_second < math.inf


class TestPace:
    def test_one_step(self):
        run = Run()
        run.step(64, 0.5, 1.5)
        assert run.meter.pace()[:2] == (32.0, 0.25)

    def test_steps_of_different_length(self):
        run = Run()
        run.step(64, 0.0, 1.0)
        run.step(16, 3.0, 0.0)
        assert run.meter.pace()[:2] == (20.0, 0.75)

    def test_old_steps_are_forgotten(self):
        run = Run()
        run.step(1000, 99.0, 1.0)
        for _ in range(WINDOW):
            run.step(8, 1.0, 3.0)
        assert run.meter.pace()[:2] == (2.0, 0.25)

    def test_waiting_before_the_meter_began_is_not_its(self):
        run = Run()
        run.step(1, 100.0, 0.0)
        later = Meter(run.stopwatch, CPU, clock=run.clock)
        with run.stopwatch.phase("data"):
            run.now += 1
        run.now += 1
        later.step(4)
        assert later.pace()[:2] == (2.0, 0.5)

    def test_what_lies_between_epochs_is_left_out(self):
        run = Run()
        run.step(10, 0.0, 1.0)
        run.now += 1000
        run.meter.restart()
        assert run.meter.pace()[:2] == (0.0, 0.0)
        run.step(10, 1.0, 1.0)
        assert run.meter.pace()[:2] == (5.0, 0.5)

    @given(
        st.lists(
            st.tuples(st.integers(1, 512), st.integers(0, 4096), st.integers(1, 4096)),
            min_size=1,
            max_size=3 * WINDOW,
        )
    )
    def test_equals_the_figures_of_the_last_steps(self, steps):
        run = Run()
        for images, waiting, working in steps:
            run.step(images, waiting / 1024, working / 1024)  # sums without rounding
        images, waiting, working = map(sum, zip(*steps[-WINDOW:], strict=True))
        pace = run.meter.pace()
        took = (waiting + working) / 1024
        assert pace.images_a_second == images / took
        assert pace.waiting == waiting / 1024 / took


class TestMemory:
    def test_what_is_taken_and_given_back_is_seen(self):
        before = memory_gb()
        # Not from the allocator, which other tests tell to keep what is freed.
        with mmap.mmap(-1, MEGABYTES * 10**6) as taken:
            taken.write(b"x" * len(taken))
            during, peak = memory_gb(), peak_memory_gb()
        gigabytes = MEGABYTES / 1000
        assert peak > during - 0.05
        assert peak_memory_gb() > peak - 0.05
        if sys.platform == "linux":
            assert during - before > 0.9 * gigabytes
            assert memory_gb() < during - 0.9 * gigabytes

    @pytest.mark.skipif(sys.platform != "linux", reason="kilobytes there")
    def test_without_proc(self, monkeypatch, tmp_path):
        monkeypatch.setattr(meter_module, "_STATM", tmp_path / "statm")
        monkeypatch.setattr(meter_module, "_STATUS", tmp_path / "status")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        assert memory_gb() == pytest.approx(peak, rel=0.01)
        assert peak_memory_gb() == pytest.approx(peak, rel=0.01)
        (tmp_path / "statm").write_text("none\n")
        (tmp_path / "status").write_text("Name:\tpython\nVmHWM:\tnone\n")
        assert memory_gb() == pytest.approx(peak, rel=0.01)

    def test_nothing_is_told(self, monkeypatch, tmp_path):
        monkeypatch.setattr(meter_module, "_STATM", tmp_path / "statm")
        monkeypatch.setattr(meter_module, "_STATUS", tmp_path / "status")
        monkeypatch.setitem(sys.modules, "resource", None)
        assert math.isnan(memory_gb())
        assert math.isnan(peak_memory_gb())

    def test_of_a_gpu(self, monkeypatch):
        asked = []

        def max_memory_allocated(device: torch.device) -> int:
            asked.append(device)
            return 2_500_000_000

        monkeypatch.setattr(torch.cuda, "max_memory_allocated", max_memory_allocated)
        card = torch.device("cuda", 1)
        assert device_memory_gb(card) == 2.5
        assert Run(card).meter.pace().device_memory_gb == 2.5
        assert asked == [card, card]
        assert device_memory_gb(CPU) is device_memory_gb(torch.device("mps")) is None
        assert asked == [card, card]

    def test_names(self):
        assert Pace._fields == ("images_a_second", "waiting", "memory_gb", "device_memory_gb")
