"""A small network with its card, and what is made of it to ship."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from msedge.models.card import Card, DataSource
from msedge.models.checkpoint import save_checkpoint
from msedge.models.network import MSEdge
from msedge.models.shipping import Shipment, ship


@pytest.fixture(scope="session")
def card() -> Card:
    return Card(
        backbone="test_resnet",
        dim=8,
        fusion="edge",
        image_size=32,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        dataset="sketchy",
        protocol="sketchy-21",
        loss="proxy-anchor",
        seed=7,
        epoch=3,
        selection="last",
        selected_on_test_classes=False,
        convention="standard",
        metrics={"mAP@200": 41.26, "mAP@all": 47.94},
        data_fingerprint="0" * 64,
        trained_classes=104,
        licence="Apache-2.0",
        version="0.1.0",
    )


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
