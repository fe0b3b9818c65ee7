"""``msedge benchmark``: a real matrix of tiny trainings, killed and gone on with."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from msedge.benchmark.locks import sole_benchmark
from msedge.cli.app import main

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def plan(tiny_options: dict[str, object], tiny_root: Path, tmp_path: Path) -> Callable[..., Path]:
    """A plan on ``tiny`` that takes seconds a run."""

    def write(**changes: Any) -> Path:
        own = ("data_root", "data_name", "save_root")
        settings = {name: value for name, value in tiny_options.items() if name not in own}
        given = {
            "name": "trial",
            "settings": settings | {"select": "seen", "holdout": 0.5, "epochs": 1},
            "datasets": [{"data_root": str(tiny_root), "data_name": "tiny"}],
            "seeds": [0],
            "variants": {"plain": {"fusion": "none"}, "edge": {"fusion": "edge"}},
            "baselines": ["plain"],
        }
        path = tmp_path / "plan.yaml"
        path.write_text(yaml.safe_dump(given | changes))
        return path

    return write


def wait_for(met: Callable[[], object], what: str) -> None:
    end = time.monotonic() + 600
    while not met():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.05)


def children_of(process: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == process:
            found.append(int(status.parent.name))
    return found


class TestWhole:
    @pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
    def test_killed_and_gone_on_with(self, plan, type_in, tmp_path, monkeypatch):
        """SIGKILL in the middle of a run, benchmark and run alike; then the same command again."""
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        root = tmp_path / "out"
        settings = yaml.safe_load(plan().read_text())["settings"] | {"epochs": 15}
        variants = {"plain": {"fusion": "none"}, "wrong": {"backbone": "no_such_network"}}
        file = plan(settings=settings, variants=variants)
        command = ["benchmark", str(file), "--save-root", str(root)]
        first = subprocess.Popen([sys.executable, "-m", "msedge", *command], env=ENVIRONMENT)
        log = root / "tiny/plain/seed-0/train.log"
        wait_for(
            lambda: (
                first.poll() is not None or (log.exists() and "epoch 2: loss" in log.read_text())
            ),
            "two epochs",
        )
        assert first.poll() is None
        processes = children_of(first.pid)
        for process in (first.pid, *processes):
            os.kill(process, signal.SIGKILL)
        first.wait()
        assert len(processes) == 1
        wait_for(lambda: "running" not in type_in(main, *command, "--dry-run").out, "its end")
        listed = type_in(main, *command, "--dry-run").out.splitlines()
        assert listed == [
            "killed          tiny, plain, seed 0",
            "to do           tiny, wrong, seed 0",
            "0 of 2 runs are done.",
        ]

        answer = type_in(main, *command)
        assert answer.code == 1, answer.err
        assert log.read_text().count("going on after epoch ") == 1
        assert "[1 of 2] tiny, plain, seed 0: mAP@all " in answer.err
        with (root / "results.csv").open(newline="") as opened:
            plain, wrong = csv.DictReader(opened)
        assert (plain["status"], wrong["status"]) == ("done", "failed")
        assert "no_such_network" in wrong["error"]
        record = json.loads(next(log.parent.glob("*_run.json")).read_text())
        assert len(record["epochs"]) == 15
        selected = record["epochs"][record["selected_epoch"] - 1]
        assert float(plain["mAP@all"]) == pytest.approx(selected["metrics"]["mAP@all"], abs=1e-6)
        assert f"{selected['metrics']['mAP@all']:.1f}" in (root / "table.md").read_text()
        assert "failed: " in (root / "table.md").read_text()
        assert "failed</text>" in (root / "figure.svg").read_text()
        assert "failed: tiny, wrong, seed 0: " in answer.out

        stamp = next(log.parent.glob("*_run.json")).stat().st_mtime_ns
        (root / "table.md").unlink()
        again = type_in(main, *command, "--table-only")
        assert (again.code, (root / "table.md").is_file()) == (1, True)
        assert next(log.parent.glob("*_run.json")).stat().st_mtime_ns == stamp


class TestStop:
    @pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_takes_its_runs_along(self, plan, tmp_path, number):
        root = tmp_path / "out"
        command = ["benchmark", str(plan()), "--save-root", str(root)]
        process = subprocess.Popen(
            [sys.executable, "-m", "msedge", *command],
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )
        wait_for(lambda: list(root.glob("tiny/*/seed-0/train.log")), "a run")
        wait_for(lambda: children_of(process.pid), "its process")
        runs = children_of(process.pid)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "stopped, and its runs with it; the same command goes on from here\n" in said
        assert "Traceback" not in said
        assert not any(Path(f"/proc/{run}").exists() for run in runs)
        assert not list(root.rglob("failure.txt"))


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"axes": {"dmi": [8]}}, "plan.yaml: axes.dmi: no setting is named 'dmi'; there are "),
            ({"seed": 3}, "plan.yaml: no entry is named 'seed'; there are name, "),
            ({"config": "none.yaml"}, "cannot read the configuration"),
            ({"datasets": [{"data_root": "nowhere", "data_name": "a"}]}, "nowhere is not a folder"),
        ],
    )
    def test_plans_and_data(self, plan, type_in, tmp_path, changes, message):
        answer = type_in(main, "benchmark", plan(**changes), "--save-root", tmp_path / "out")
        assert answer.code == 2
        (line,) = answer.err.splitlines()
        assert line.startswith("msedge: ")
        assert message in line

    def test_another_protocol(self, plan, type_in, tiny_root, tmp_path):
        dataset = {"data_root": str(tiny_root), "data_name": "tiny", "protocol": "sketchy-21"}
        answer = type_in(
            main, "benchmark", plan(datasets=[dataset]), "--save-root", tmp_path / "out"
        )
        assert answer.code == 2
        assert "datasets[0].protocol: sketchy-21 is expected, but " in answer.err
        listed = type_in(main, "benchmark", plan(datasets=[dataset]), "--dry-run")
        assert listed.code == 0
        assert "sketchy-21 is expected" in listed.err

    def test_two_in_one_folder(self, plan, type_in, tmp_path):
        with sole_benchmark(tmp_path / "out"):
            answer = type_in(main, "benchmark", plan(), "--save-root", tmp_path / "out")
        assert answer.code == 2
        assert f"another benchmark (process {os.getpid()}) is writing" in answer.err

    def test_contradictory_options(self, plan, type_in):
        answer = type_in(main, "benchmark", plan(), "--dry-run", "--table-only")
        assert answer.code == 2
        assert "--dry-run writes nothing" in answer.err


class TestDryRun:
    def test_writes_nothing(self, plan, type_in, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        file = plan(seeds=[0, 1])
        before = sorted(tmp_path.rglob("*"))
        answer = type_in(main, "benchmark", file, "--dry-run")
        assert answer.code == 0
        assert answer.out.splitlines()[-1] == "0 of 4 runs are done."
        assert sorted(tmp_path.rglob("*")) == before


def test_table_of_nothing_goes_to_the_plan_s_own_folder(plan, type_in, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = type_in(main, "benchmark", plan(), "--table-only")
    assert answer.code == 0
    names = {path.name for path in (tmp_path / "result/trial").iterdir()}
    assert names == {".lock", "results.csv", "results.json", "table.md", "figure.svg"}
