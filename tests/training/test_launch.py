"""On what a run computes, and with how many; real processes are in ``test_processes.py``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning_fabric.strategies import DDPStrategy

from msedge.errors import ConfigError
from msedge.training import launch as module
from msedge.training.config import TrainConfig
from msedge.training.launch import launch
from msedge.training.processes import Processes


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same on every machine."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


class Started:
    """Stands in for Fabric, and notes what it was asked."""

    def __init__(self, **asked: object) -> None:
        self.asked, self.launched = asked, False
        self.global_rank, self.world_size, self.device = 0, 1, torch.device("cpu")

    def launch(self) -> None:
        self.launched = True


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch):
    """What Fabric is asked for by a configuration."""
    monkeypatch.setattr(module, "Fabric", Started)

    def ask(**settings: object) -> dict[str, object]:
        fabric, _ = launch(TrainConfig(**settings))
        assert fabric.launched
        return fabric.asked

    return ask


def strategy(asked: dict[str, object]) -> str:
    """``ddp`` for DistributedDataParallel, or the name that Fabric was given."""
    given = asked["strategy"]
    return "ddp" if isinstance(given, DDPStrategy) else str(given)


class TestSmoke:
    def test_one_process_on_the_cpu(self):
        fabric, processes = launch(TrainConfig())
        assert processes == Processes(0, 1)
        assert fabric.device == torch.device("cpu")

    @pytest.mark.parametrize(
        ("precision", "dtype"), [("32", torch.float32), ("bf16-mixed", torch.bfloat16)]
    )
    def test_number_format(self, precision, dtype):
        fabric, _ = launch(TrainConfig(precision=precision))
        linear = fabric.setup_module(torch.nn.Linear(2, 2))
        with fabric.autocast():
            assert (torch.ones(1, 2) @ torch.ones(2, 2)).dtype == dtype
        assert linear.weight.dtype == torch.float32  # the weights themselves stay as they are


class TestExceptions:
    @pytest.mark.parametrize("accelerator", ["cuda", "mps"])
    def test_no_such_device(self, accelerator):
        with pytest.raises(ConfigError) as caught:
            launch(TrainConfig(accelerator=accelerator))
        assert str(caught.value) == (
            f"there is no {accelerator} device that this PyTorch can use; "
            "choose --accelerator auto or cpu"
        )

    @pytest.mark.parametrize("accelerator", ["auto", "cpu"])
    def test_half_precision_without_a_gpu(self, accelerator):
        with pytest.raises(ConfigError) as caught:
            launch(TrainConfig(precision="16-mixed", accelerator=accelerator))
        assert str(caught.value) == (
            "precision 16-mixed needs a GPU, and this run computes on cpu; choose bf16-mixed or 32"
        )

    @pytest.mark.parametrize("kind", [RuntimeError, ValueError, AssertionError])
    def test_more_devices_than_there_are(self, monkeypatch, kind):
        def fails(**_: object) -> None:
            raise kind("You requested gpu: [0, 1]\n But your machine only has: [0]")

        monkeypatch.setattr(module, "Fabric", fails)
        with pytest.raises(ConfigError) as caught:
            launch(TrainConfig(devices=2))
        assert str(caught.value) == (
            "2 cpu devices cannot be used (You requested gpu: [0, 1] But your machine only has: "
            "[0]); choose other --devices or another --accelerator"
        )


class TestSize:
    @pytest.mark.parametrize(
        ("settings", "expected"),
        [
            ({}, (1, 1, "auto")),
            ({"devices": 1}, (1, 1, "auto")),
            ({"devices": 3}, (3, 1, "ddp")),
            ({"devices": 1, "nodes": 2}, (1, 2, "ddp")),
            ({"devices": 2, "strategy": "ddp"}, (2, 1, "ddp")),
            ({"strategy": "ddp"}, (1, 1, "ddp")),
        ],
    )
    def test_as_asked_for(self, asked, settings, expected):
        found = asked(**settings)
        assert (found["devices"], found["num_nodes"], strategy(found)) == expected
        assert (found["accelerator"], found["precision"]) == ("cpu", "32-true")

    @pytest.mark.parametrize(("settings", "devices"), [({}, 4), ({"devices": 2}, 2)])
    def test_every_gpu_unless_told_otherwise(self, asked, monkeypatch, settings, devices):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
        found = asked(precision="16-mixed", **settings)
        assert (found["accelerator"], found["devices"]) == ("cuda", devices)
        assert (strategy(found), found["precision"]) == ("ddp", "16-mixed")
        assert asked(accelerator="cpu")["devices"] == 1

    def test_under_torchrun_as_many_as_it_started(self, asked, monkeypatch):
        """Whatever the configuration says: 3 on each of 2 machines."""
        for name, value in {
            "TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "3", "WORLD_SIZE": "6",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        for settings in ({}, {"devices": 8}):
            found = asked(**settings)
            assert (found["devices"], found["num_nodes"], strategy(found)) == (3, 2, "ddp")


_UNDER_TORCHRUN = """
import json, os, sys
from pathlib import Path
from msedge.training.config import TrainConfig
from msedge.training.launch import launch

fabric, processes = launch(TrainConfig(accelerator="cpu"))
told = processes.objects((processes.rank, os.getpid()))
where = Path(sys.argv[1]) / f"{processes.rank}.json"
where.write_text(json.dumps([processes.rank, processes.count, fabric.world_size, told]))
"""


def test_torchrun_itself(tmp_path):
    """Its processes are used, and no others are started."""
    program = tmp_path / "program.py"
    program.write_text(_UNDER_TORCHRUN)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, program, tmp_path], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    written = sorted(Path(tmp_path).glob("*.json"))
    assert [path.name for path in written] == ["0.json", "1.json"]
    found = [json.loads(path.read_text()) for path in written]
    assert [each[:3] for each in found] == [[0, 2, 2], [1, 2, 2]]
    assert found[0][3] == found[1][3]
    assert len({process for _, process in found[0][3]}) == 2
