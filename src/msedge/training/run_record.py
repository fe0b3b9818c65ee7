"""The record of a run: everything needed to repeat it, and what it came to, as plain values."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import msedge
from msedge.data.layouts import Dataset
from msedge.data.prepare import MARKER
from msedge.training.config import TrainConfig
from msedge.training.run_files import EpochRow

_DEPENDENCIES = ("torch", "timm", "kornia", "pytorch-metric-learning", "lightning-fabric", "pillow")


def describe_run(
    config: TrainConfig,
    dataset: Dataset,
    data_fingerprint: str,
    held_out: Sequence[str],
    sketched: Sequence[str],
    before: dict[str, float],
    rows: Sequence[EpochRow],
    selected: int,
    *,
    processes: int = 1,
) -> dict[str, Any]:
    """The record of a run after its latest epoch.

    Args:
        config: the run.
        dataset: what it reads.
        data_fingerprint: of the dataset's files.
        held_out: seen classes that the checkpoint is chosen with.
        sketched: seen classes whose sketches are trained on.
        before: metrics before training, in percent.
        rows: the epochs so far.
        selected: the best of them.
        processes: how many trained together.
    """
    return {
        "finished": len(rows) == config.epochs,
        "config": config.what_decides(),
        "data": {
            "fingerprint": data_fingerprint,
            "protocol": protocol_of(dataset),
            "seen_classes": list(dataset.train.classes),
            "held_out_classes": list(held_out),
            "sketched_classes": list(sketched),
            "unseen_classes": list(dataset.val.classes),
            "unseen_sketches": len(dataset.val.of("sketch")),
            "unseen_photos": len(dataset.val.of("photo")),
        },
        "convention": "standard",
        "before_training": before,
        "epochs": [asdict(row) for row in rows],
        "selected_epoch": selected,
        "versions": {
            "msedge": msedge.__version__,
            "python": platform.python_version(),
            **{name: _version(name) for name in _DEPENDENCIES},
        },
        "git_revision": _git_revision(),
        "machine": {
            "system": platform.system(),
            "threads": torch.get_num_threads(),
            "processes": processes,
            "precision": config.precision,
            "compiled": config.compile,
        },
    }


def protocol_of(dataset: Dataset) -> str | None:
    """The protocol that ``msedge data prepare`` noted in the dataset, where it was made by it."""
    try:
        marker = json.loads((dataset.root / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    found = marker.get("protocol") if isinstance(marker, dict) else None
    return str(found) if found else None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git_revision() -> str | None:
    """The revision of the checkout that this package runs from, where it runs from one."""
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
