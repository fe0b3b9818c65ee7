"""What is told while a benchmark goes."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from msedge.cli import benchmark_watcher
from msedge.cli.benchmark_watcher import BenchmarkWatcher, duration


def run(label: str = "tiny, edge, seed 0", since: float | None = None, process: object = 1) -> Any:
    began = time.monotonic() if since is None else since
    return SimpleNamespace(
        cell=SimpleNamespace(label=label),
        process=process,
        since=began,
        last_line=lambda: "epoch 1: [3 of 9]",
    )


def outcome(state: str = "done", error: str | None = None) -> Any:
    cell = SimpleNamespace(label="tiny, edge, seed 0")
    return SimpleNamespace(cell=cell, state=state, error=error, metrics={"mAP@all": 48.66})


class TestLines:
    def test_elsewhere_than_in_a_terminal(self, capsys):
        with BenchmarkWatcher(done=1, total=4, jobs=1) as watcher:
            watcher.started(run())
            watcher.moved([run()])
            watcher.ended(outcome(), 60.0)
            watcher.started(run(process=None))
            watcher.ended(outcome("failed", "no [weights]"), 20.0)
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.splitlines() == [
            "[1 of 4] started: tiny, edge, seed 0",
            "[2 of 4] tiny, edge, seed 0: mAP@all 48.7  60 s; about 2.0 min left",
            "[2 of 4] waiting for a run that an earlier benchmark left: tiny, edge, seed 0",
            "[3 of 4] tiny, edge, seed 0: failed: no [weights]  20 s; about 40 s left",
        ]

    def test_now_and_then_what_runs(self, capsys, monkeypatch):
        monkeypatch.setattr(benchmark_watcher, "_SECONDS_BETWEEN_LINES", 0.05)
        with BenchmarkWatcher(done=0, total=1, jobs=1) as watcher:
            time.sleep(0.1)
            watcher.moved([run()])
            watcher.moved([run()])
        assert capsys.readouterr().err == "  tiny, edge, seed 0: epoch 1: [3 of 9]\n"


def test_in_a_terminal(monkeypatch, capsys):
    """A bar, and each run with its last line, cut to the width."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    with BenchmarkWatcher(done=2, total=4, jobs=2) as watcher:
        watcher.moved([run("a" * 100), run("second")])
        watcher.ended(outcome(), 10.0)
        watcher.moved([run("second")])
        watcher._live.refresh()
    shown = capsys.readouterr().err
    assert "2/4" in shown
    assert "3/4" in shown
    assert "about 10 s left" in shown
    assert "a" * 61 not in shown
    assert "epoch 1: [3 of 9]" in shown


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (99, "99 s"), (100, "1.7 min"), (36000, "10.0 h")]
)
def test_duration(seconds, text):
    assert duration(seconds) == text
