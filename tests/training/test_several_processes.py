"""Several processes train as one would: the real command on the CPU, and how all of them end."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from msedge.cli.watcher import SilentWatcher
from msedge.training.config import TrainConfig
from msedge.training.run_files import RunFiles
from msedge.training.trainer import train
from training_runs import Run, complete, log_lines, losses, of_torchrun

EPOCHS, STEPS, BATCH = 2, 10, 8
CASES: dict[str, dict[str, Any]] = {
    "everything": {},
    # Shares of 4 rows for 3 processes: one embeds two of them, the others one each.
    "uneven": {"accumulate": 2, "loss": "proxy_anchor", "distillation": 0, "averaging": 0},
}
MakeConfig = Callable[..., TrainConfig]
MakeDataset = Callable[..., Path]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, make_dataset: MakeDataset) -> Path:
    """A data root with as many images as the steps of an epoch need."""
    return make_dataset(tmp_path_factory.mktemp("data"), seen=4, unseen=3, each=10)


@pytest.fixture(scope="module")
def make_config(
    root: Path, classifier_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> MakeConfig:
    """Runs with all that processes have to agree on; batch statistics learn in the second epoch.

    Loss and rates are milder than by default, which take rounding errors to a multiple.
    """

    def make(**changes: Any) -> TrainConfig:
        settings: dict[str, Any] = {
            "data_root": root,
            "data_name": "tiny",
            "backbone": "test_efficientnet",
            "weights": str(classifier_file),
            "dim": 16,
            "image_size": 32,
            "batch_size": BATCH,
            "epochs": EPOCHS,
            "warmup": 1,
            "accelerator": "cpu",
            "save_root": tmp_path_factory.mktemp("runs") / "result",
            "learning_rate": 1e-5,
            "temperature": 0.5,
            "fusion": "edge",
            "edge_views": 0.5,
            "composed": 0.5,
            "composed_size": 48,
            "distillation": 0.5,
            "averaging": 0.9,
            "gallery_edges": 0.3,
            "select": "last",
        }
        return TrainConfig(**(settings | changes))

    return make


@pytest.fixture(scope="module")
def alone(make_config: MakeConfig) -> Callable[[str], TrainConfig]:
    """Finished runs of one process, one a case."""
    finished: dict[str, TrainConfig] = {}

    def run(case: str) -> TrainConfig:
        if case not in finished:
            finished[case] = make_config(**CASES[case])
            threads = torch.get_num_threads()
            torch.set_num_threads(1)
            train(finished[case], SilentWatcher())
            torch.set_num_threads(threads)
        return finished[case]

    return run


@pytest.fixture(scope="module")
def two(make_config: MakeConfig) -> tuple[TrainConfig, Run]:
    """A finished run of two processes that the command started itself."""
    config = make_config()
    return config, complete(config, "--devices", "2")


def record(config: TrainConfig) -> dict[str, Any]:
    return json.loads(RunFiles(config).record.read_text())


def assert_same_within_rounding(one: TrainConfig, other: TrainConfig) -> None:
    expected, found = losses(one), losses(other)
    assert len(expected) == EPOCHS * STEPS
    assert found.keys() == expected.keys()
    # Proxy anchor's is about 15, and its exponentials of 32 times a cosine multiply rounding.
    near = 2e-5 if other.loss == "proxy_anchor" else 2e-6
    assert found == pytest.approx(expected, abs=1e-5, rel=near)
    assert record(other)["before_training"] == record(one)["before_training"]
    rows = zip(record(one)["epochs"], record(other)["epochs"], strict=True)
    for row, twin in rows:
        assert twin["loss"] == pytest.approx(row["loss"], abs=1e-5, rel=near)
        # Two photos that lie equally far from a sketch may change places.
        assert twin["metrics"] == pytest.approx(row["metrics"], abs=0.2)
    for name in ("model", "vectors"):
        tensors, twins = (load_file(getattr(RunFiles(c), name)) for c in (one, other))
        assert tensors.keys() == twins.keys()
        for key, tensor in tensors.items():
            torch.testing.assert_close(twins[key], tensor, atol=2e-4, rtol=1e-3, msg=key)


class TestSameAsOne:
    """One process and several, with the same batches: losses within 1e-5 over 20 steps."""

    def test_two_that_the_command_starts(self, alone, two):
        assert_same_within_rounding(alone("everything"), two[0])
        assert record(two[0])["machine"]["processes"] == 2

    def test_uneven_shares_under_torchrun(self, alone, make_config):
        config = make_config(**CASES["uneven"])
        complete(config, launcher=of_torchrun(3))
        assert_same_within_rounding(alone("uneven"), config)
        assert record(config)["machine"]["processes"] == 3

    @pytest.mark.slow
    @pytest.mark.parametrize("case", CASES)
    @pytest.mark.parametrize("count", [2, 3])
    @pytest.mark.parametrize("torchrun", [False, True])
    def test_every_way(self, torchrun, count, case, alone, make_config):
        config = make_config(**CASES[case])
        if torchrun:
            complete(config, launcher=of_torchrun(count))
        else:
            complete(config, "--devices", str(count))
        assert_same_within_rounding(alone(case), config)

    def test_one_of_them_writes_and_speaks(self, alone, two):
        config, run = two
        files = RunFiles(config)
        written = {path.name for path in files.results.parent.iterdir()}
        expected = RunFiles(alone("everything")).results.parent.iterdir()
        assert written == {path.name for path in expected} | {files.figure.name}
        said = run.stderr.splitlines()
        own = ("loading", "tiny:", "building", "how the network", "epoch ", "  ")
        assert [line for line in said if not line.startswith(own)] == []
        assert sum(line.startswith("epoch 2: ") for line in said) == 1


class TestFailure:
    """One process meets an error: it says so in one line, and all of them end."""

    @staticmethod
    def problems(run: Run) -> list[str]:
        assert "Traceback" not in run.stderr
        return [line for line in run.stderr.splitlines() if line.startswith("msedge: ")]

    def test_image_that_one_of_them_cannot_read(self, make_config, root, tmp_path):
        copy = shutil.copytree(root, tmp_path / "data", ignore=shutil.ignore_patterns(".*"))
        # A sketch: photos are read by the first process, when it asks the teacher.
        bad = copy / "tiny" / "train" / "sketch" / "train 1" / "2.png"
        bad.write_bytes(b"no image")
        with Run(make_config(data_root=copy), "--devices", "2") as run:
            assert run.wait() == 2
            assert run.leaves_nobody_behind()
            (problem,) = self.problems(run)
        assert str(bad) in problem

    @pytest.mark.slow
    @pytest.mark.parametrize("first", [True, False])
    def test_one_of_them_is_killed(self, first, make_config):
        config = make_config(epochs=50)
        with Run(config, "--devices", "2") as run:
            run.until(lambda: len(log_lines(config, "step")) >= 2)
            children = [pid for pid, parent in run.alive().items() if parent == run.process.pid]
            assert len(children) == 1
            os.kill(run.process.pid if first else children[0], signal.SIGKILL)
            assert run.wait() == (-signal.SIGKILL if first else 2)
            assert run.leaves_nobody_behind()
            said = self.problems(run)
        if not first:
            assert len(said) == 1
            assert "has ended without a word" in said[0]


class TestStop:
    def test_sigterm_and_resume(self, two, make_config):
        """The first process is told; both end after one step, and go on as if nothing had been."""
        unbroken, config = two[0], make_config()
        with Run(config, "--devices", "2") as run:
            run.until(lambda: len(log_lines(config, "step")) >= 2)
            run.process.send_signal(signal.SIGTERM)
            assert run.wait() == 128 + signal.SIGTERM, run.stderr
            assert run.leaves_nobody_behind()
        (said,) = [line for line in run.stderr.splitlines() if line.startswith("msedge: ")]
        assert "--resume goes on from there" in said
        assert RunFiles(config).state.is_file()
        assert len(losses(config)) < EPOCHS * STEPS

        again = config.model_copy(update={"resume": True})
        assert "of the killed run" in complete(again, "--devices", "2").stderr
        assert losses(config) == losses(unbroken)
        files, twin = RunFiles(config), RunFiles(unbroken)
        assert files.results.read_bytes() == twin.results.read_bytes()
        for path, other in ((files.model, twin.model), (files.vectors, twin.vectors)):
            tensors, twins = load_file(path), load_file(other)
            assert tensors.keys() == twins.keys()
            assert all(torch.equal(tensors[key], twins[key]) for key in tensors)
