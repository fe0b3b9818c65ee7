"""Checkpoints: the network's tensors and its card in one ``.safetensors`` file.

The weights never travel without what is needed to use them: backbone, width, input size, mean and
deviation, and what they were trained and judged on. No pickle is read or written.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from msedge.errors import ConfigError, WeightsError
from msedge.models.network import MSEdge
from msedge.storage import atomic_path

FORMAT = "msedge-checkpoint-1"


class Card(BaseModel):
    """What a checkpoint says of itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: str = Field(description="timm's name of the backbone")
    dim: int = Field(gt=0, description="width of the embedding")
    fusion: str = Field(description="none, edge or energy")
    image_size: int = Field(gt=0, description="pixels on a side that it was trained with")
    mean: tuple[float, float, float] = Field(
        description="input mean, RGB in [0, 1]; applied inside"
    )
    std: tuple[float, float, float] = Field(description="input deviation; applied inside")
    dataset: str = Field(description="name of the dataset that it was trained on")
    protocol: str | None = Field(description="the zero-shot split, where the dataset names one")
    loss: str = Field(description="the metric loss of its training")
    seed: int
    epoch: int = Field(ge=0, description="the epoch whose weights these are; 0 is before training")
    selection: str = Field(description="how that epoch was chosen")
    selected_on_test_classes: bool = Field(description="true means that the metrics are inflated")
    convention: str = Field(description="definition of AP@k and P@k, see docs/results.md")
    metrics: dict[str, float] = Field(description="on the unseen classes, in percent")
    data_fingerprint: str = Field(description="SHA-256 over the files' names and sizes")
    trained_classes: int = Field(ge=0, description="classes that training saw")
    licence: str = Field(description="terms of these weights")
    version: str = Field(description="version of MSEdge that wrote this")


def save_checkpoint(path: Path, network: MSEdge, card: Card) -> None:
    """Write the network and its card to ``path``, in place of what was there.

    Raises:
        DataError: the file cannot be written.
    """
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, {"format": FORMAT, "card": card.model_dump_json()})


def read_card(path: Path) -> Card:
    """The card of a checkpoint, without its tensors.

    Raises:
        WeightsError: there is no such file, or it is not a checkpoint of ours.
    """
    if not path.is_file():
        raise WeightsError(f"no checkpoint at {path}; train one with msedge train")
    try:
        with safe_open(path, framework="pt") as opened:
            metadata = opened.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} cannot be read as safetensors ({error})") from error
    if metadata.get("format") != FORMAT:
        raise WeightsError(
            f"{path} is not a checkpoint of MSEdge (format {metadata.get('format')!r}, expected "
            f"{FORMAT!r}); for a backbone's weights use --weights"
        )
    try:
        return Card.model_validate_json(metadata.get("card", ""))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise WeightsError(f"the card in {path} is damaged: {where}: {first['msg']}") from error


def load_checkpoint(path: Path) -> tuple[MSEdge, Card]:
    """The network, in evaluation mode on the CPU, and its card.

    Raises:
        WeightsError: there is no such file, it is not a checkpoint of ours, or its tensors do not
            fit its card.
    """
    card = read_card(path)
    try:
        network = MSEdge(
            card.backbone, dim=card.dim, fusion=card.fusion, image_size=card.image_size
        )
    except ConfigError as error:
        raise WeightsError(f"the card in {path} names no network of ours: {error}") from error
    try:
        network.load_state_dict(load_file(path))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise WeightsError(f"the tensors in {path} do not fit its card: {reason}") from error
    return network.eval(), card
