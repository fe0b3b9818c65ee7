"""From stored pixels to what the network sees, a whole batch at a time, on its device."""

from __future__ import annotations

import torch
from torch import Tensor


def to_unit_range(images: Tensor) -> Tensor:
    """uint8 pixels as floats in [0, 1], in the memory order that convolutions prefer.

    Args:
        images: ``(B, 3, H, W)`` uint8.

    Returns:
        ``(B, 3, H, W)`` float32, range [0, 1], channels last.

    Example:
        >>> to_unit_range(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)).max()
        tensor(1.)
    """
    floats = images.to(torch.float32, memory_format=torch.channels_last, copy=True)
    return floats.div_(255)


def mirror(images: Tensor, mirrored: Tensor) -> Tensor:
    """Turn some images from left to right.

    Args:
        images: ``(B, 3, H, W)``, best with the channels last in memory.
        mirrored: ``(B,)`` bool, which to turn.

    Returns:
        ``(B, 3, H, W)``, a copy.

    Example:
        >>> mirror(torch.tensor([[[[1, 2]]]]), torch.tensor([True]))
        tensor([[[[2, 1]]]])
    """
    turned = torch.nonzero(mirrored)[:, 0].to(images.device)
    rows = images.permute(0, 2, 3, 1)
    mirrors = rows.index_select(0, turned).flip(2)
    length = rows[:1].numel()
    if images.dtype == torch.uint8 and length and length % 8 == 0:
        # Bytes are moved eight at a time, which takes a fifth of the time (benchmarks/data.py).
        words, turned_words = (
            values.reshape(len(values), length).view(torch.int64) for values in (rows, mirrors)
        )
        found = words.index_copy(0, turned, turned_words).view(torch.uint8).view(rows.shape)
    else:
        found = rows.index_copy(0, turned, mirrors)
    return found.permute(0, 3, 1, 2)
