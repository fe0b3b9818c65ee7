"""Runs as real processes: a small program stands in for training and leaves what it would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from msedge.benchmark.cells import Cell
from msedge.benchmark.locks import is_taken, take
from msedge.benchmark.outcomes import read_outcome
from msedge.benchmark.runner import LOG, run_cells, threads_of

PYTHON = sys.executable  # the tests put the stand-in in its place
STAND_IN = """\
import json, os, pathlib, sys, time, yaml
arguments = sys.argv[1:]
config = yaml.safe_load(pathlib.Path(arguments[arguments.index("--config") + 1]).read_text())
folder = pathlib.Path(config["save_root"])
news = {"arguments": arguments, "threads": os.environ["OMP_NUM_THREADS"]}
print("loading PyTorch", file=sys.stderr, flush=True)
if config["dim"] == 1:
    sys.exit("msedge: no weights are named so\\nlast words")
if config["dim"] == 2:
    os.kill(os.getpid(), 9)
if config["dim"] == 3:
    sys.exit(0)
if config["dim"] == 4:
    time.sleep(600)
if config["dim"] >= 100:
    meeting = folder.parents[1]
    (meeting / f"here-{config['dim']}").touch()
    while len(list(meeting.glob("here-*"))) < 2:
        time.sleep(0.05)
(folder / "news.json").write_text(json.dumps(news))
for file in folder.glob("waiting-*"):
    file.rename(folder / file.name.removeprefix("waiting-"))
"""


@pytest.fixture
def ready(cells, finish, monkeypatch, tmp_path) -> Callable[..., tuple[Cell, ...]]:
    """Cells whose runs will leave finished records; ``dim`` says how the stand-in behaves."""
    program = tmp_path / "train.py"
    program.write_text(STAND_IN)
    shell = tmp_path / "python"
    shell.write_text(f'#!/bin/sh\nexec "{PYTHON}" "{program}" "$@"\n')
    shell.chmod(0o755)
    monkeypatch.setattr("msedge.benchmark.runner.sys.executable", str(shell))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    def make(*dims: int, seeds: tuple[int, ...] = (0,)) -> tuple[Cell, ...]:
        axes = {"dim": list(dims)}
        found = cells(axes=axes, seeds=list(seeds), variants=None, baselines=None)
        for cell in found:
            finish(cell)
            for file in (cell.file("run.json"), cell.file("results.csv")):
                file.rename(file.with_name(f"waiting-{file.name}"))
        return found

    return make


def watch() -> SimpleNamespace:
    """A watcher that remembers."""
    told = SimpleNamespace(begun=[], most=0, outcomes=[])
    told.started = lambda run: told.begun.append(run.cell)
    told.moved = lambda running: setattr(told, "most", max(told.most, len(running)))
    told.ended = lambda outcome, _: told.outcomes.append(outcome)
    return told


def run(cells, *, jobs=1, fingerprint=lambda _: None, after_each=lambda: None) -> SimpleNamespace:
    told = watch()
    run_cells(cells, jobs=jobs, fingerprint=fingerprint, watcher=told, after_each=after_each)
    return told


def news(cell: Cell) -> dict:
    return json.loads((cell.folder / "news.json").read_text())


class TestRuns:
    def test_command_and_files(self, ready):
        found = ready(16, 32)
        counted = []
        told = run(found, after_each=lambda: counted.append(1))
        assert [outcome.state for outcome in told.outcomes] == ["done", "done"]
        assert told.begun == list(found)
        assert (told.most, len(counted)) == (1, 2)
        for cell in found:
            config = str(cell.folder / "config.yaml")
            assert news(cell)["arguments"] == [
                "-m", "msedge", "train", "--config", config, "--resume",
            ]  # fmt: skip
            assert (cell.folder / LOG).read_text() == "loading PyTorch\n"
            assert not is_taken(cell.folder)

    def test_finished_ones_are_not_repeated(self, ready):
        found = ready(16, 32)
        run(found[:1])
        before = news(found[0])
        assert run(found).begun == [found[1]]
        assert news(found[0]) == before

    def test_other_settings_are_not_touched(self, ready, finish):
        found = ready(16)
        finish(found[0], config={"dim": 9})
        assert run(found).begun == []

    def test_several_at_a_time_share_the_cores(self, ready):
        found = ready(100, 101, 16)  # the first two end when they have met
        told = run(found, jobs=2)
        assert told.most == 2
        assert [outcome.state for outcome in told.outcomes] == ["done"] * 3
        assert {news(cell)["threads"] for cell in found} == {str(threads_of(2))}

    def test_threads_that_a_person_sets_are_kept(self, ready, monkeypatch):
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        (cell,) = ready(16)
        run([cell])
        assert news(cell)["threads"] == "3"

    def test_images_that_changed_start_anew(self, ready, finish):
        (cell,) = ready(16)
        finish(cell, finished=False)
        run([cell], fingerprint=lambda _: "another")
        assert "--resume" not in news(cell)["arguments"]


@pytest.mark.parametrize("jobs", [1, 2, 3, 1000])
def test_threads(jobs, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert threads_of(jobs) == {1: 8, 2: 4, 3: 2, 1000: 1}[jobs]


class TestFailures:
    def test_are_noted_and_the_others_go_on(self, ready):
        found = ready(1, 2, 3, 16)
        told = run(found)
        assert [outcome.state for outcome in told.outcomes] == ["failed"] * 3 + ["done"]
        assert [outcome.error for outcome in told.outcomes] == [
            "no weights are named so",
            "killed by SIGKILL",
            "ended without a finished record; loading PyTorch",
            None,
        ]
        assert read_outcome(found[0], None).error == "no weights are named so"

    def test_are_tried_again(self, ready):
        found = ready(1)
        run(found)
        told = run(found)
        assert [outcome.state for outcome in told.outcomes] == ["failed"]
        assert (found[0].folder / LOG).read_text().count("loading PyTorch") == 2


class TestLeftBehind:
    def test_is_waited_for_and_not_started_twice(self, ready):
        (cell,) = ready(16)
        lock = take(cell.folder)
        assert lock is not None
        child = subprocess.Popen([PYTHON, "-c", "input()"], stdin=-1, pass_fds=(lock,))
        os.close(lock)

        def finish_later() -> None:
            time.sleep(1)
            for file in cell.folder.glob("waiting-*"):
                file.rename(cell.folder / file.name.removeprefix("waiting-"))
            child.communicate(b"\n")

        thread = threading.Thread(target=finish_later)
        thread.start()
        told = run([cell])
        thread.join()
        assert told.begun == [cell]
        assert [outcome.state for outcome in told.outcomes] == ["done"]
        assert not (cell.folder / "news.json").exists()

    def test_is_gone_on_with_when_it_did_not_finish(self, ready):
        (cell,) = ready(16)
        lock = take(cell.folder)
        assert lock is not None
        child = subprocess.Popen([PYTHON, "-c", "input()"], stdin=-1, pass_fds=(lock,))
        os.close(lock)
        threading.Timer(1, child.kill).start()
        told = run([cell])
        child.communicate()
        assert told.begun == [cell, cell]
        assert [outcome.state for outcome in told.outcomes] == ["done"]
        assert news(cell)["arguments"][-1] == "--resume"


class TestStop:
    def test_ends_its_own_processes(self, ready):
        """Ctrl-C in the middle: nothing of ours is left, and no failure is noted."""
        (cell,) = ready(4)
        told = watch()
        stopped = []

        def stop_when_it_talks(running) -> None:
            if running and running[0].last_line() == "loading PyTorch":
                stopped.append(running[0].process)
                raise KeyboardInterrupt

        told.moved = stop_when_it_talks
        with pytest.raises(KeyboardInterrupt):
            run_cells(
                [cell], jobs=1, fingerprint=lambda _: None, watcher=told, after_each=lambda: None
            )
        (process,) = stopped
        assert process.returncode == -signal.SIGTERM
        assert not is_taken(cell.folder)
        assert read_outcome(cell, None).state == "to do"
        assert Path(cell.folder / LOG).exists()
