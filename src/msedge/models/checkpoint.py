"""Checkpoints: the network's tensors and its card in one ``.safetensors`` file.

The weights never travel without what is needed to use them: backbone, width, input size, mean and
deviation, and what they were trained and judged on. No pickle is read or written.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from msedge.errors import ConfigError, WeightsError
from msedge.models.card import FORMAT, Card, read_card
from msedge.models.lora import merged_state
from msedge.models.network import MSEdge
from msedge.storage import atomic_path


def save_checkpoint(path: Path, network: MSEdge, card: Card, *, half: bool = False) -> None:
    """Write the network and its card to ``path``, in place of what was there.

    Low-rank additions are folded into the weights, so that the file holds a plain network.

    Args:
        path: the file, by custom ``.safetensors``.
        network: on any device.
        card: what the file says of it.
        half: round floating-point tensors to float16, for half the size.

    Raises:
        DataError: the file cannot be written.
        WeightsError: a tensor does not fit into float16.
        ValueError: the card tells of other prompts than the network has.
    """
    if card.prompts != network.prompts:
        raise ValueError(f"the card says {card.prompts} prompts, the network has {network.prompts}")
    tensors = {name: tensor.contiguous() for name, tensor in merged_state(network).items()}
    if half:
        tensors = {name: _halved(name, tensor) for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(tensors, {"format": FORMAT, "card": card.model_dump_json()}))


def load_checkpoint(path: Path) -> tuple[MSEdge, Card]:
    """The network, in evaluation mode on the CPU, and its card.

    Its tensors are float32, whatever the file holds.

    Raises:
        WeightsError: there is no such file, it is not a checkpoint of ours, or its tensors do not
            fit its card.
    """
    card = read_card(path)
    try:
        network = MSEdge(
            card.backbone,
            dim=card.dim,
            fusion=card.fusion,
            image_size=card.image_size,
            prompts=card.prompts,
        )
    except ConfigError as error:
        raise WeightsError(f"the card in {path} names no network of ours: {error}") from error
    try:
        network.load_state_dict(load_file(path))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise WeightsError(f"the tensors in {path} do not fit its card: {reason}") from error
    return network.eval(), card


def _halved(name: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    halved = tensor.half()
    if not halved.isfinite().all():
        raise WeightsError(
            f"tensor {name} does not fit into float16 (largest {tensor.abs().max().item():.3g}, "
            f"at most {torch.finfo(torch.float16).max:g}); keep these weights as float32"
        )
    return halved
