"""A small network with its card, and what is made of it to ship."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cards import CARD
from msedge.models.card import Card, DataSource
from msedge.models.checkpoint import save_checkpoint
from msedge.models.network import MSEdge
from msedge.models.shipping import Shipment, ship


@pytest.fixture(scope="session")
def card() -> Card:
    return CARD


@pytest.fixture(scope="session")
def write_run(card: Card) -> Callable[..., Path]:
    """Write a checkpoint of random weights and batch statistics of its own."""

    def write(path: Path, *, seed: int = 0, **changes: object) -> Path:
        own = card.model_copy(update=changes)
        torch.manual_seed(seed)
        network = MSEdge(
            own.backbone, dim=own.dim, fusion=own.fusion, image_size=own.image_size,
            prompts=own.prompts,
        )  # fmt: skip
        network(torch.rand(4, 3, own.image_size, own.image_size))
        save_checkpoint(path, network.eval(), own)
        return path

    return write


@pytest.fixture(scope="session")
def sources() -> tuple[DataSource, ...]:
    return (DataSource(name="Sketchy", what="104 classes", licence="research only"),)


@pytest.fixture(scope="session")
def shipment(
    tmp_path_factory: pytest.TempPathFactory,
    write_run: Callable[..., Path],
    sources: tuple[DataSource, ...],
) -> Shipment:
    """Made once: tracing a network takes seconds. Its files are to be copied, not changed."""
    folder = tmp_path_factory.mktemp("shipment")
    return ship(
        write_run(folder / "run" / "model.safetensors"),
        folder / "weights",
        name="msedge-tiny",
        intended_use="tests",
        limits="knows nothing",
        data=sources,
        judged_on="525 sketches, 525 photos",
    )
