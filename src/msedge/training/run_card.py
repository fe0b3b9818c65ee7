"""What a run's checkpoint says of itself."""

from __future__ import annotations

import msedge
from msedge.models.card import Card
from msedge.training.config import TrainConfig
from msedge.training.learner import Learner
from msedge.training.run_data import RunData
from msedge.training.run_files import EpochRow
from msedge.training.run_record import protocol_of

SELECTION = {
    "seen": "held-out seen classes",
    "last": "last epoch",
    "test": "TEST CLASSES (inflated)",
}
LICENCE = "Apache-2.0; backbone weights and training images keep their own terms"


def describe_checkpoint(
    config: TrainConfig, row: EpochRow, data: RunData, learner: Learner
) -> Card:
    """The card of the network as it is after an epoch.

    Args:
        config: the run.
        row: the epoch.
        data: what was read.
        learner: whose network it is.
    """
    backbone = learner.network.backbone
    mean, std = (tuple(map(float, values.flatten())) for values in (backbone.mean, backbone.std))
    return Card.model_validate(
        {
            "backbone": config.backbone,
            "dim": config.dim,
            "fusion": config.fusion,
            "image_size": config.image_size,
            "photo_sizes": config.photo_sizes,
            "frame_sketches": config.frame_sketches,
            "gallery_edges": config.gallery_edges,
            "adapt": config.adapt,
            "prompts": learner.network.prompts,
            "mean": mean,
            "std": std,
            "dataset": config.data_name,
            "protocol": protocol_of(data.dataset),
            "loss": config.loss,
            "seed": config.seed,
            "epoch": row.epoch,
            "steps": row.epoch * learner.steps_an_epoch,
            "selection": SELECTION[config.select],
            "selected_on_test_classes": config.select == "test",
            "convention": "standard",
            "metrics": row.metrics,
            "data_fingerprint": data.fingerprint,
            "trained_classes": len(data.train_classes),
            "sketched_classes": len(data.sketched),
            "licence": LICENCE,
            "version": msedge.__version__,
        }
    )
