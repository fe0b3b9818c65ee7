"""Killed at any moment and resumed, a run ends with the bits of one that was left in peace.

The kills are real: a process that has loaded everything and computed nothing forks a child for each
attempt, and a thread in the child sends it SIGKILL some milliseconds after a step, wherever the run
is by then: in a step, in the writing of a state, in an evaluation.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from msedge.models.card import read_card
from msedge.training.config import TrainConfig
from msedge.training.run_files import RunFiles
from msedge.training.trainer import train

from timm.models import efficientnet, register_model  # isort: skip  # after ours, which cures it
from training_runs import SECONDS, Run, log_lines, losses

EPOCHS, STEPS, KILLS = 3, 6, 10
DROPPED = "dropped_efficientnet"
Place = tuple[int, float]  # epoch and step; an evaluation comes after all steps of its epoch
MakeConfig = Callable[..., TrainConfig]
MakeDataset = Callable[..., Path]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, make_dataset: MakeDataset) -> Path:
    """A data root with as many images as the steps of an epoch need."""
    return make_dataset(tmp_path_factory.mktemp("data"), seen=4, unseen=2, each=6)


@pytest.fixture
def everything(tiny_config: MakeConfig, root: Path, classifier_file: Path) -> MakeConfig:
    """Runs with all that a state has to hold."""

    def config(**changes: Any) -> TrainConfig:
        settings: dict[str, Any] = {
            "data_root": root,
            "weights": str(classifier_file),
            "epochs": EPOCHS,
            "distillation": 0.5,
            "edge_views": 0.5,
            "edge_kind": "all",
            "composed": 0.5,
            "composed_size": 48,
            "averaging": 0.9,
            "schedule": "cosine",
            "select": "test",
        }
        return tiny_config(**(settings | changes))

    return config


def assert_same_run(one: TrainConfig, other: TrainConfig) -> None:
    """The same bits, every step told once, and the same files."""
    files, twin = RunFiles(one), RunFiles(other)
    for path, same in ((files.model, twin.model), (files.vectors, twin.vectors)):
        tensors, twins = load_file(path), load_file(same)
        assert tensors.keys() == twins.keys()
        assert all(torch.equal(tensors[name], twins[name]) for name in tensors)
    assert files.results.read_bytes() == twin.results.read_bytes()
    assert read_card(files.model) == read_card(twin.model)
    assert losses(one) == losses(other)
    assert len(losses(one)) == EPOCHS * STEPS
    epochs = [[line["epoch"] for line in log_lines(config, "epoch")] for config in (one, other)]
    assert epochs == [list(range(1, EPOCHS + 1))] * 2
    assert {path.name for path in files.state.parent.iterdir()} == {
        path.name for path in twin.state.parent.iterdir()
    }


class Doomed:
    """A watcher that kills its own process soon after a place in the run."""

    def __init__(self, place: Place | None, seconds: float) -> None:
        self._place, self._seconds = place, seconds
        self._epoch = 0
        self._killer: threading.Thread | None = None

    def say(self, message: str) -> None:
        """Learn from where the run goes on."""
        known = re.match(r"going on after epoch (\d+)", message)
        if known:
            self._epoch = int(known[1]) + 1

    def progress(self, what: str, done: int, total: int, note: str = "") -> None:  # noqa: ARG002
        """Take where the run is: in a step, or in an evaluation."""
        step = re.match(r"epoch (\d+)", what)
        if step:
            self._epoch = int(step[1])
            self._reach((self._epoch, done))
        elif what == "unseen classes":
            self._reach((self._epoch, STEPS + 1))

    def row(self, row: Any, selected: bool) -> None:
        """Take that an epoch is done."""

    def _reach(self, place: Place) -> None:
        if self._place is not None and place >= self._place:
            self._place = None
            self._killer = threading.Thread(target=self._kill, daemon=True)
            self._killer.start()
        if self._killer is not None and place > (EPOCHS, STEPS):
            self._killer.join()  # a busy machine may be late with it, and the run must not end

    def _kill(self) -> None:
        time.sleep(self._seconds)
        os.kill(os.getpid(), signal.SIGKILL)


def attempt(config: TrainConfig, place: Place | None = None, seconds: float = 0.0) -> int:
    """How a child ends that trains, and is killed soon after a place where one is given."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            train(config, Doomed(place, seconds))
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@register_model
def dropped_efficientnet(pretrained: bool = False, **options: Any) -> torch.nn.Module:
    """The tiny network with blocks that are passed over at random."""
    return efficientnet.test_efficientnet(pretrained, drop_path_rate=0.5, **options)


def kill_and_resume(settings: dict[str, Any], seed: int) -> None:
    """Train in the folder ``whole``, and in the folder ``killed`` with ten kills."""
    config = TrainConfig(**settings)
    folder = config.save_root
    whole = config.model_copy(update={"save_root": folder / "whole"})
    assert attempt(whole) == 0
    resumed = {"save_root": folder / "killed", "save_minutes": 0.0, "resume": True}
    killed = config.model_copy(update=resumed)
    draw = random.Random(seed)
    step = sum(line["seconds"] for line in log_lines(whole, "epoch")) / (EPOCHS * STEPS)
    places = [(epoch, step) for epoch in range(1, EPOCHS + 1) for step in range(1, STEPS + 1)]
    evaluations = [(draw.randrange(1, EPOCHS), STEPS + 1), (0, STEPS + 1)]
    for place in sorted([*draw.sample(places, KILLS - len(evaluations)), *evaluations]):
        assert attempt(killed, place, draw.uniform(0, 2 * step)) == -signal.SIGKILL, place
    assert attempt(killed) == 0


class TestKills:
    def test_ten_kills_change_no_bit(self, everything, tmp_path):
        seed = random.SystemRandom().randrange(2**32)
        settings = tmp_path / "settings.yaml"
        everything = partial(everything, backbone=DROPPED)
        config = everything(save_root=tmp_path)
        settings.write_text(yaml.safe_dump(config.model_dump(mode="json")))
        command = [sys.executable, __file__, str(settings), str(seed)]
        tests = str(Path(__file__).parents[1])
        ended = subprocess.run(
            command,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": tests},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert ended.returncode == 0, f"seed {seed}\n{ended.stderr}"
        whole, killed = (everything(save_root=tmp_path / name) for name in ("whole", "killed"))
        try:
            assert_same_run(killed, whole)
        except AssertionError:
            print(f"seed {seed}")
            raise


class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_told_to_stop(self, number, everything, listener, tmp_path):
        """The state is saved and the status a shell's; nothing is lost."""
        config = everything(save_root=tmp_path / "stopped")
        with Run(config) as run:
            run.until(lambda: len(log_lines(config, "step")) >= 2)
            run.process.send_signal(number)
            assert run.wait() == 128 + number, run.stderr
        said = run.stderr.splitlines()[-1]
        steps = len(losses(config))
        assert 2 <= steps < EPOCHS * STEPS
        epoch, step = max(losses(config))
        assert f"msedge: stopped after step {step} of epoch {epoch}; --resume" in said
        whole = everything(save_root=tmp_path / "whole")
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        train(whole, listener)
        train(config.model_copy(update={"resume": True}), listener)
        torch.set_num_threads(threads)
        assert f"going on after epoch {epoch - 1} and {step} steps of the killed run" in (
            listener.said
        )
        assert_same_run(config, whole)


if __name__ == "__main__":
    kill_and_resume(yaml.safe_load(Path(sys.argv[1]).read_text()), int(sys.argv[2]))
