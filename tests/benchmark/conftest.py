"""Plans, and runs as ``msedge train`` leaves them, written without training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from msedge.benchmark.cells import Cell, expand
from msedge.benchmark.plan import Plan
from msedge.data.vectors import Vectors, save_vectors

FINGERPRINT = "f" * 64
METRICS = ("mAP@200", "mAP@all", "P@100", "P@200", "P@10", "P@25")


@pytest.fixture
def plan() -> Callable[..., Plan]:
    """A plan of two variants and two seeds; every entry can be given."""

    def make(**changes: Any) -> Plan:
        given: dict[str, Any] = {
            "name": "trial",
            "settings": {"epochs": 2},
            "datasets": [{"data_name": "tiny", "protocol": "sketchy-21"}],
            "seeds": [0, 1],
            "variants": {"plain": {"fusion": "none"}, "edge": {"fusion": "edge"}},
            "baselines": ["plain"],
        }
        given |= changes
        return Plan(**{name: value for name, value in given.items() if value is not None})

    return make


@pytest.fixture
def write_plan(tmp_path: Path) -> Callable[..., Path]:
    """A plan's file."""

    def write(**given: Any) -> Path:
        path = tmp_path / "plan.yaml"
        path.write_text(yaml.safe_dump(given, sort_keys=False))
        return path

    return write


@pytest.fixture
def cells(plan: Callable[..., Plan], tmp_path: Path) -> Callable[..., tuple[Cell, ...]]:
    """The runs of such a plan, under ``tmp_path / "out"``."""
    return lambda **changes: expand(plan(**changes), tmp_path / "out")


def made_vectors(seed: int, noise: float, photos: int = 6, classes: int = 3) -> Vectors:
    """Five sketches a class and some photos, around the class's own axis."""
    rng = np.random.default_rng(seed)
    domains = np.tile(np.repeat([0, 1], [5, photos]), classes)
    labels = np.repeat(np.arange(classes), 5 + photos)
    embeddings = np.eye(8)[labels] + noise * rng.standard_normal((len(labels), 8))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return Vectors(
        embeddings.astype(np.float32),
        labels,
        domains,
        tuple(f"class {label}" for label in range(classes)),
        tuple(f"{row}.png" for row in range(len(labels))),
    )


Finish = Callable[..., None]


@pytest.fixture
def finish() -> Finish:
    """Write what a run leaves: two epochs, of which the second is chosen."""

    def write(
        cell: Cell,
        value: float = 40.0,
        *,
        finished: bool = True,
        held_out: float = 60.0,
        noise: float = 0.5,
        photos: int = 6,
        **changes: Any,
    ) -> None:
        epochs = [
            {
                "epoch": epoch,
                "loss": 1.0,
                "metrics": dict.fromkeys(METRICS, value - 2 + epoch),
                "selection_value": held_out - 2 + epoch,
                "seconds": 1.5,
            }
            for epoch in (1, 2)
        ]
        record = {
            "finished": finished,
            "config": cell.config.what_decides(),
            "data": {
                "fingerprint": FINGERPRINT,
                "protocol": "sketchy-21",
                "held_out_classes": ["a", "b"],
                "unseen_classes": ["class 0", "class 1", "class 2"],
                "unseen_sketches": 15,
                "unseen_photos": 3 * photos,
            },
            "convention": "standard",
            "before_training": dict.fromkeys(METRICS, 10.0),
            "epochs": epochs,
            "selected_epoch": 2,
        }
        cell.folder.mkdir(parents=True, exist_ok=True)
        cell.file("run.json").write_text(json.dumps(record | changes))
        cell.file("results.csv").write_text("epoch\n")
        cell.file("model.safetensors").write_text("weights")
        save_vectors(
            cell.file("vectors.safetensors"), made_vectors(cell.config.seed, noise, photos)
        )

    return write
