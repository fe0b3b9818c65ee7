"""Two real processes end together; ``test_several_processes.py`` has the real command."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from lightning_fabric import Fabric

from msedge.errors import ConfigError
from msedge.training import supervision
from msedge.training.processes import Processes
from msedge.training.stopping import StoppedError
from msedge.training.supervision import ending_together
from process_group import in_processes

BROKEN = RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer")
Outcome = tuple[str, int | None]


def _outcome(processes: Processes, work: Callable[[], None]) -> Outcome:
    """The error that comes out of supervised work, with its exit status."""
    outcome: Outcome = ("nothing", None)
    try:
        with ending_together(Fabric(accelerator="cpu"), processes):
            work()
    except Exception as error:
        outcome = (type(error).__name__, getattr(error, "exit_status", None))
    processes.wait()
    return outcome


def _fail(error: Exception) -> None:
    raise error


def endings(processes: Processes, folder: Path) -> dict[str, Outcome]:  # noqa: ARG001
    """What comes out of every way to end."""
    first = processes.first

    def fail_in_turn() -> None:
        if not first:
            raise ConfigError("the second one is the first to fail")
        threading.Event().wait(0.5)  # its connection breaks later
        raise BROKEN

    return {
        "well": _outcome(processes, lambda: None),
        "stopped": _outcome(processes, lambda: _fail(StoppedError("stopped", 15))),
        "alike": _outcome(processes, lambda: _fail(ConfigError("in both"))),
        "in turn": _outcome(processes, fail_in_turn),
        "lost": _outcome(processes, lambda: _fail(BROKEN)),
        "defect": _outcome(processes, lambda: _fail(RuntimeError("a defect"))),
    }


def waiting_for_ever(processes: Processes, folder: Path) -> int | None:  # noqa: ARG001
    """The status that a process which waits is ended with when the other one fails."""
    supervision._GRACE_SECONDS = 0.1
    ended, statuses = threading.Event(), []

    def note(status: int) -> None:
        statuses.append(status)
        ended.set()

    os._exit = note  # type: ignore[assignment]
    try:
        with ending_together(Fabric(accelerator="cpu"), processes):
            if not processes.first:
                raise ConfigError("no more messages")
            assert ended.wait(60)
            raise BROKEN
    except Exception:
        processes.wait()
    return statuses[0] if statuses else None


class TestSeveral:
    def test_every_error_is_told_once(self, tmp_path):
        found = in_processes(2, endings, tmp_path)
        by_case = {case: [each[case] for each in found] for case in found[0]}
        assert by_case.pop("well") == [("nothing", None)] * 2
        assert by_case.pop("stopped") == [("StoppedError", 143), ("FailedElsewhereError", 143)]
        assert by_case.pop("in turn") == [("FailedElsewhereError", 2), ("ConfigError", 2)]
        told = {"alike": "ConfigError", "lost": "ProcessLostError", "defect": "RuntimeError"}
        for case, error in told.items():
            names = sorted(name for name, _ in by_case.pop(case))
            assert names == sorted([error, "FailedElsewhereError"])
        assert by_case == {}

    def test_one_that_waits_for_ever_is_ended(self, tmp_path):
        assert in_processes(2, waiting_for_ever, tmp_path) == [2, None]


class TestAlone:
    def test_is_left_alone(self):
        threads = threading.active_count()
        with ending_together(Fabric(accelerator="cpu"), Processes()):
            assert threading.active_count() == threads

    def test_errors_stay_what_they_are(self):
        supervised = ending_together(Fabric(accelerator="cpu"), Processes())
        with pytest.raises(RuntimeError, match="gloo"), supervised:
            raise BROKEN
