"""A tiny dataset, a run that takes a second, and someone who listens to it."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from msedge.training.config import TrainConfig

# Tiny networks compute faster on one thread, and several of them do not wait for each other's.
os.environ.setdefault("OMP_NUM_THREADS", "1")

TINY_BACKBONE = "test_efficientnet"  # timm's network for tests: 0.4 M parameters
MakeDataset = Callable[..., Path]


@pytest.fixture(scope="session", autouse=True)
def _names_of_nobody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whoever runs the tests may have names of their own, which are not to be seen."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("nobody")))
        patch.delenv("MSEDGE_NAMES", raising=False)
        yield


def _draw(side: str, domain: str, name: str, index: int) -> Image.Image:
    """A noisy picture with something of its class in it, always the same."""
    key = zlib.crc32(f"{side}/{domain}/{name}/{index}".encode())
    rng, of_class = np.random.default_rng(key), np.random.default_rng(zlib.crc32(name.encode()))
    bars = of_class.random((8, 8)) < 0.4
    shape = np.kron(bars, np.ones((5, 5), bool))[:, :, None]
    if domain == "sketch":
        drawn = np.where(shape & (rng.random((40, 40, 1)) < 0.7), 0, 255)
        pixels = np.broadcast_to(drawn, (40, 40, 3))
    else:
        pixels = np.where(shape, of_class.integers(0, 256, 3), 128) + rng.integers(
            -60, 60, (40, 40, 3)
        )
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="session")
def make_dataset() -> MakeDataset:
    """Write ``<root>/<name>`` in the training layout, with ``each`` images a class and domain."""

    def write(root: Path, name: str = "tiny", *, seen: int = 3, unseen: int = 2, each: int = 4):
        for side, count in (("train", seen), ("val", unseen)):
            for domain in ("sketch", "photo"):
                for label in range(count):
                    class_name = f"{side} {label}"
                    folder = root / name / side / domain / class_name
                    folder.mkdir(parents=True)
                    for index in range(each):
                        image = _draw(side, domain, class_name, index)
                        image.save(folder / f"{index}.png")
        return root

    return write


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory, make_dataset: MakeDataset) -> Path:
    """The data root of ``tiny``: 4 seen and 3 unseen classes. Tests that change it copy it."""
    return make_dataset(tmp_path_factory.mktemp("data"), seen=4, unseen=3)


@pytest.fixture
def tiny_config(tiny_root: Path, tmp_path: Path) -> Callable[..., TrainConfig]:
    """A run on ``tiny`` that takes a second; every setting can be given."""

    def config(**changes: Any) -> TrainConfig:
        settings: dict[str, Any] = {
            "data_root": tiny_root,
            "data_name": "tiny",
            "backbone": TINY_BACKBONE,
            "weights": "none",
            "dim": 16,
            "image_size": 32,
            "batch_size": 8,
            "epochs": 2,
            "warmup": 1,
            "accelerator": "cpu",
            "save_root": tmp_path / "result",
            "learning_rate": 1e-3,
            "select": "last",
            "cache": False,  # whose file would stand in the data root that tests share
        }
        return TrainConfig(**(settings | changes))

    return config


@pytest.fixture(scope="session")
def classifier_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random tensors of the tiny network and its classifier, in place of ImageNet's."""
    import torch
    from safetensors.torch import save_file

    from msedge.models.backbones import create_classifier

    generator = torch.Generator().manual_seed(5)
    tensors = create_classifier(TINY_BACKBONE, image_size=32).state_dict()
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not name.endswith("running_var"):
            tensor.add_(torch.randn(tensor.shape, generator=generator), alpha=0.05)
    path = tmp_path_factory.mktemp("weights") / "classifier.safetensors"
    save_file(tensors, path)
    return path


class Listener:
    """A watcher that remembers what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.moves: list[tuple[str, int, int, str]] = []
        self.rows: list[tuple[Any, bool]] = []

    def say(self, message: str) -> None:
        self.said.append(message)

    def progress(self, what: str, done: int, total: int, note: str = "") -> None:
        self.moves.append((what, done, total, note))

    def row(self, row: Any, selected: bool) -> None:
        self.rows.append((row, selected))


@pytest.fixture
def listener() -> Listener:
    """Who is told how a run goes."""
    return Listener()
