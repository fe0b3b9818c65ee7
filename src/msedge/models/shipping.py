"""From a run's checkpoint to a model that others can use: small files and a complete card.

Tested in ``tests/models/test_shipping.py``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from msedge.errors import ConfigError, DataError
from msedge.models.card import DataSource
from msedge.models.checkpoint import load_checkpoint, save_checkpoint
from msedge.models.onnx_export import export_onnx
from msedge.models.shipped import ModelFiles

_NAME = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Shipment:
    """What was written.

    Attributes:
        model: the two files and their card.
        difference: the largest distance between the embeddings that the two give of random images.
    """

    model: ModelFiles
    difference: float


def ship(
    checkpoint: Path,
    folder: Path,
    *,
    name: str,
    intended_use: str,
    limits: str,
    data: Sequence[DataSource],
    judged_on: str = "",
) -> Shipment:
    """Write ``<name>.safetensors`` in float16 and ``<name>.onnx``, which refers to it.

    The ONNX file of an earlier model of that name is removed first, so that none ever refers to
    tensors that it was not made for.

    Args:
        checkpoint: of a run.
        folder: where to write.
        name: small letters, digits, and single dashes or dots between them.
        intended_use: what the model is for, and for whom.
        limits: where it fails, and what it must not be used for.
        data: the images behind the weights.
        judged_on: the queries and the gallery behind the card's metrics; empty keeps what the card
            says.

    Raises:
        ConfigError: the name, or what is said of the model, cannot be used.
        WeightsError: the checkpoint cannot be read, or not be written as float16 or as ONNX.
        DataError: a file cannot be written.
        MSEdgeError: a package that this needs is not installed.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"a model cannot be named {name!r}; use small letters, digits and dashes, "
            "as in msedge-lite"
        )
    for what, text in (("intended use", intended_use), ("limits", limits), ("data", data)):
        if not text:
            raise ConfigError(f"a model that ships says its {what}; got nothing")
    network, card = load_checkpoint(checkpoint)
    changes = {
        "name": name,
        "intended_use": intended_use,
        "limits": limits,
        "data": tuple(data),
        "judged_on": judged_on or card.judged_on,
    }
    card = card.model_copy(update=changes)
    written, graph = folder / f"{name}.safetensors", folder / f"{name}.onnx"
    try:
        graph.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"cannot remove the old {graph} ({error.strerror})") from error
    save_checkpoint(written, network, card, half=True)
    difference = export_onnx(written, graph, embed_weights=False)
    return Shipment(ModelFiles(name, written, card), difference)
