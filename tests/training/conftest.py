"""Whole runs and learners on the tiny dataset, and what their optimisers are told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor

from msedge.data.datasets import ImageSet
from msedge.data.layouts import read_dataset
from msedge.training.config import TrainConfig
from msedge.training.learner import Learner
from msedge.training.processes import Processes

MakeLearner = Callable[..., Learner]


@pytest.fixture
def everything(
    tiny_config: Callable[..., TrainConfig], classifier_file: Path
) -> Callable[..., TrainConfig]:
    """Runs with all that a state has to remember."""

    def config(**changes: Any) -> TrainConfig:
        settings: dict[str, Any] = {
            "weights": str(classifier_file),
            "epochs": 3,
            "distillation": 0.5,
            "edge_views": 0.5,
            "averaging": 0.9,
            "schedule": "cosine",
            "frozen_blocks": 1,
            "select": "seen",
        }
        return tiny_config(**(settings | changes))

    return config


@pytest.fixture
def images(tiny_root) -> ImageSet:
    split = read_dataset(tiny_root, "tiny").train
    return ImageSet(split.records, split.classes, size=32)


@pytest.fixture
def make_learner(tiny_config: Callable[..., TrainConfig], images: ImageSet) -> MakeLearner:
    def make(
        targets: Tensor | None = None,
        *,
        fabric: Fabric | None = None,
        processes: Processes | None = None,
        **changes,
    ) -> Learner:
        torch.manual_seed(0)
        fabric = fabric or Fabric(accelerator="cpu")
        return Learner(tiny_config(**changes), fabric, images, targets, processes=processes)

    return make


class SpyingAdam(torch.optim.Adam):
    """Adam that notes its learning rates and gradients at every step."""

    made: list[SpyingAdam]

    def __init__(self, params, *, weight_decay: float, fused: bool) -> None:
        super().__init__(params, weight_decay=weight_decay, fused=fused)
        self.rates: list[list[float]] = []
        self.gradients: list[list[Tensor]] = []
        SpyingAdam.made.append(self)

    def step(self, closure=None):
        self.rates.append([group["lr"] for group in self.param_groups])
        parameters = [p for group in self.param_groups for p in group["params"]]
        self.gradients.append([p.grad.clone() for p in parameters if p.grad is not None])
        return super().step(closure)


@pytest.fixture
def adams(monkeypatch: pytest.MonkeyPatch) -> list[SpyingAdam]:
    """The optimisers that a test makes."""
    monkeypatch.setattr(SpyingAdam, "made", [], raising=False)
    monkeypatch.setattr(torch.optim, "Adam", SpyingAdam)
    return SpyingAdam.made
