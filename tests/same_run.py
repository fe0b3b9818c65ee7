"""Whether two runs are the same, and a run that is killed at a moment of one's choosing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from msedge.models.card import read_card
from msedge.training.config import TrainConfig
from msedge.training.run_files import RunFiles
from msedge.training.trainer import train


def assert_same_run(one: RunFiles, other: RunFiles) -> None:
    """The same CSV to the byte, the same tensors, vectors, card and record."""
    assert one.results.read_bytes() == other.results.read_bytes()
    for path, twin in ((one.model, other.model), (one.vectors, other.vectors)):
        tensors, twins = load_file(path), load_file(twin)
        assert tensors.keys() == twins.keys()
        assert all(torch.equal(tensors[name], twins[name]) for name in tensors)
    assert read_card(one.model) == read_card(other.model)
    records = [json.loads(files.record.read_text()) for files in (one, other)]
    for record in records:
        for row in record["epochs"]:
            del row["seconds"]
    assert records[0] == records[1]


def steps_of(files: RunFiles) -> list[tuple[Any, ...]]:
    """The lines of a run's log, in order, without what was measured."""
    lines = [json.loads(line) for line in files.log.read_text().splitlines()]
    names = ("kind", "epoch", "step", "loss", "learning_rate", "metrics", "selection_value")
    return [tuple(line.get(name) for name in names) for line in lines]


class KilledError(Exception):
    """Stands for the kill."""


def killed(config: TrainConfig, kill: Callable[..., None], listener: Any) -> None:
    """Train until ``kill(monkeypatch, listener)`` says so."""
    with pytest.MonkeyPatch.context() as patch:
        kill(patch, listener)
        with pytest.raises(KilledError):
            train(config, listener)
