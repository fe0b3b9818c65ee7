"""Seconds by phase, counted on a clock that the tests turn."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.profiler import ProfilerActivity, profile

from msedge.training.stopwatch import PHASES, Stopwatch


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


class TestSmoke:
    def test_nothing_yet(self):
        assert Stopwatch().seconds == {}

    def test_the_clock_of_the_machine(self):
        stopwatch = Stopwatch()
        began = time.perf_counter()
        with stopwatch.phase("data"):
            time.sleep(0.02)
        took = time.perf_counter() - began
        assert 0.015 < stopwatch.seconds["data"] <= took

    def test_the_phases_of_a_step(self):
        assert list(PHASES) == ["data", "views", "forward", "loss", "backward", "optimizer"]


class TestNumbers:
    def test_adds_up_by_phase(self, clock):
        stopwatch = Stopwatch(clock=clock)
        for seconds in (1.0, 2.0):
            with stopwatch.phase("data"):
                clock.now += seconds
            clock.now += 50
            with stopwatch.phase("loss"):
                clock.now += 10 * seconds
        assert stopwatch.seconds == {"data": 3.0, "loss": 30.0}

    def test_a_phase_within_another_counts_for_itself(self, clock):
        stopwatch = Stopwatch(clock=clock)
        with stopwatch.phase("forward"):
            clock.now += 1
            for _ in range(2):
                with stopwatch.phase("views"):
                    clock.now += 2
                    with stopwatch.phase("data"):
                        clock.now += 4
            clock.now += 8
        with stopwatch.phase("loss"):
            clock.now += 16
        assert stopwatch.seconds == {"data": 8, "views": 4, "forward": 9, "loss": 16}

    def test_a_block_that_raises_is_counted(self, clock):
        stopwatch = Stopwatch(clock=clock)

        def fail() -> None:
            with stopwatch.phase("forward"), stopwatch.phase("data"):
                clock.now += 2
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        with stopwatch.phase("forward"):
            clock.now += 1
        assert stopwatch.seconds == {"data": 2, "forward": 1}

    @given(
        st.recursive(
            st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.just(())),
            lambda inner: st.tuples(
                st.sampled_from("abc"), st.integers(0, 9), st.lists(inner, max_size=3)
            ),
            max_leaves=8,
        )
    )
    def test_however_nested_no_second_counts_twice(self, tree):
        clock = Clock()
        stopwatch = Stopwatch(clock=clock)
        expected: dict[str, float] = {}

        def run(node) -> None:
            name, seconds, inner = node
            with stopwatch.phase(name):
                clock.now += seconds
                expected[name] = expected.get(name, 0) + seconds
                for each in inner:
                    run(each)

        run(tree)
        assert stopwatch.seconds == expected
        assert sum(stopwatch.seconds.values()) == clock.now - 100


def test_a_profiler_sees_the_phases():
    stopwatch = Stopwatch()
    with profile(activities=[ProfilerActivity.CPU]) as recorder:
        for _ in range(3):
            with stopwatch.phase("data"), stopwatch.phase("views"):
                pass
    counts = {each.key: each.count for each in recorder.key_averages()}
    assert counts == {"msedge:data": 3, "msedge:views": 3}
