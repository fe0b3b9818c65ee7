"""Signals are noted, and no more than that: real ones, sent to this process."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from msedge.errors import MSEdgeError
from msedge.training.stopping import StoppedError, StopSignals

BOTH = [signal.SIGTERM, signal.SIGINT]


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.fixture(autouse=True)
def handlers() -> dict[int, object]:
    """Those from before; they have to be back after each test."""
    before = {number: signal.getsignal(number) for number in BOTH}
    yield before
    after = {number: signal.getsignal(number) for number in BOTH}
    for number, handler in before.items():
        signal.signal(number, handler)
    assert after == before


class TestSmoke:
    def test_nothing_came(self):
        with StopSignals() as signals:
            pass
        assert signals.number is None

    @pytest.mark.parametrize("number", BOTH)
    def test_is_noted_and_work_goes_on(self, number):
        with StopSignals() as signals:
            send(number)
            assert signals.number == number

    def test_before_it_is_entered_nothing_changes(self, handlers):
        StopSignals()
        assert {number: signal.getsignal(number) for number in BOTH} == handlers


class TestSeveral:
    @pytest.mark.parametrize("first", BOTH)
    def test_ctrl_c_after_another_ends_it_at_once(self, first):
        with StopSignals():
            send(first)
            with pytest.raises(KeyboardInterrupt):
                send(signal.SIGINT)

    @pytest.mark.parametrize("first", BOTH)
    def test_term_after_another_is_noted_alone(self, first):
        """Clusters send it again and again; the step may still be finished."""
        with StopSignals() as signals:
            send(first)
            send(signal.SIGTERM)
            send(signal.SIGTERM)
        assert signals.number == signal.SIGTERM

    def test_what_was_noted_outlives_it(self):
        with StopSignals() as signals:
            send(signal.SIGTERM)
        assert signals.number == signal.SIGTERM


class TestHandlers:
    def test_come_back(self):
        came: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
        try:
            with StopSignals() as signals:
                send(signal.SIGTERM)
            assert (signals.number, came) == (signal.SIGTERM, [])
            send(signal.SIGTERM)
            assert came == [signal.SIGTERM]
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def test_come_back_after_an_error(self, handlers):
        with pytest.raises(KeyError), StopSignals():
            raise KeyError
        assert {number: signal.getsignal(number) for number in BOTH} == handlers

    def test_one_in_another(self):
        with StopSignals() as outer:
            with StopSignals() as inner:
                send(signal.SIGTERM)
            assert (outer.number, inner.number) == (None, signal.SIGTERM)
            send(signal.SIGINT)
            assert outer.number == signal.SIGINT

    def test_in_another_thread_nothing_changes(self, handlers):
        found = []

        def look() -> None:
            with StopSignals():
                found.append({number: signal.getsignal(number) for number in BOTH})

        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        assert found == [handlers]


class TestStoppedError:
    @pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
    def test_ends_as_shells_expect(self, number, status):
        error = StoppedError("stopped", number)
        assert (str(error), error.exit_status) == ("stopped", status)

    def test_others_end_with_2(self):
        assert isinstance(StoppedError("stopped", 15), MSEdgeError)
        assert MSEdgeError.exit_status == 2
