"""Checkpoints: the network's tensors and its card in one ``.safetensors`` file.

The weights never travel without what is needed to use them: backbone, width, input size, mean and
deviation, and what they were trained and judged on. No pickle is read or written. A file from a
stranger is held against its card before any memory is given to it. Tested in
``tests/models/test_checkpoint.py`` and ``tests/artefacts/test_checkpoints.py``.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from msedge.errors import ConfigError, WeightsError
from msedge.memory import as_out_of_memory
from msedge.models.card import FORMAT, Card, read_card
from msedge.models.lora import merged_state
from msedge.models.network import MSEdge
from msedge.models.onnx_file import MOST_PIXELS
from msedge.models.stored_tensors import StoredTensor, stored_tensors, unreadable
from msedge.quoting import named, plain
from msedge.storage import atomic_path

_REAL = ("F16", "BF16", "F32", "F64")
_WHOLE = ("I32", "I64")


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
        WeightsError: there is no such file, it is not a checkpoint of ours, its tensors do not fit
            its card, or they hold numbers that are not finite.
    """
    card = read_card(path)
    _check_fits(path, card)
    network = _network(path, card)
    with unreadable(path):
        tensors = load_file(path)
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise WeightsError(
                f"tensor {plain(name)} of {named(path)} holds NaN or infinity; the run that wrote "
                "it has failed, or the file is damaged: train again, or fetch it anew"
            )
    network.load_state_dict(tensors)
    return network.eval(), card


def _network(path: Path, card: Card) -> MSEdge:
    """The card's network, with random weights."""
    if card.image_size > MOST_PIXELS:
        raise WeightsError(
            f"the card in {named(path)} names no network of ours: it reads {card.image_size:,} "
            f"pixels on a side, and none reads more than {MOST_PIXELS:,}"
        )
    try:
        return MSEdge(
            card.backbone,
            dim=card.dim,
            fusion=card.fusion,
            image_size=card.image_size,
            prompts=card.prompts,
            pooling=card.pooling,
        )
    except ConfigError as error:
        raise WeightsError(
            f"the card in {named(path)} names no network of ours: {plain(error)}"
        ) from error
    except RuntimeError as error:  # of a width that no memory could hold
        if (full := as_out_of_memory(error)) is not None:
            raise full from error
        raise _unfit(path, plain(error)) from error


def _check_fits(path: Path, card: Card) -> None:
    """Hold the shapes in the file against those of the card's network, which takes no memory."""
    with torch.device("meta"):
        wanted = _network(path, card).state_dict()
    stored = stored_tensors(path)
    for name, tensor in wanted.items():
        if name not in stored:
            raise _unfit(path, f"{name} is missing")
        if reason := _difference(stored[name], tensor):
            raise _unfit(path, f"{name} {reason}")
    for name in stored:
        if name not in wanted:
            raise _unfit(path, f"its network has no {plain(name)}")


def _difference(stored: StoredTensor, wanted: Tensor) -> str | None:
    if stored.shape != tuple(wanted.shape):
        return f"has shape {plain(stored.shape)} instead of {tuple(wanted.shape)}"
    fitting = _REAL if wanted.is_floating_point() else _WHOLE
    return None if stored.dtype in fitting else f"is {stored.dtype} instead of {fitting[-1]}"


def _unfit(path: Path, reason: str) -> WeightsError:
    return WeightsError(f"the tensors in {named(path)} do not fit its card: {reason}")


def _halved(name: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    halved = tensor.half()
    if not halved.isfinite().all():
        raise WeightsError(
            f"tensor {plain(name)} does not fit into float16 (largest "
            f"{tensor.abs().max().item():.3g}, at most {torch.finfo(torch.float16).max:g}); keep "
            "these weights as float32"
        )
    return halved
