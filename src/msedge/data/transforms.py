"""From stored pixels to what the network sees, a whole batch at a time, on its device."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


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


def compose(parts: Tensor, shares: Tensor, places: Tensor, size: int) -> Tensor:
    """Photos made of others: mosaics of four, and photos pasted into others.

    Args:
        parts: ``(C, 4, 3, S, S)`` float, the photos in each, in reading order; of a photo pasted
            into another the first, and the last around it.
        shares: ``(C,)`` of the side that the pasted photo takes, in (0, 1]; 0 for a mosaic.
        places: ``(C, 2)`` in [0, 1], where the pasted photo lies, from the left and from the top.
        size: pixels on a side of what is made; even.

    Returns:
        ``(C, 3, size, size)``, channels last in memory.

    Example:
        >>> parts = torch.arange(4.0).view(1, 4, 1, 1, 1).expand(1, 4, 3, 8, 8)
        >>> compose(parts, torch.zeros(1), torch.zeros(1, 2), 4)[0, 0, ::2, ::2].round()
        tensor([[0., 1.],
                [2., 3.]])
    """

    def resized(photos: Tensor, side: int) -> Tensor:
        return functional.interpolate(photos, (side, side), mode="bilinear", antialias=True)

    made = parts.new_empty(len(parts), 3, size, size)
    for photos, share, place, into in zip(
        parts, shares.tolist(), places.tolist(), made, strict=True
    ):
        if not share:
            half = size // 2
            quarters = resized(photos, half).reshape(2, 2, *into.shape[:1], half, half)
            into[:] = quarters.permute(2, 0, 3, 1, 4).reshape(into.shape)
            continue
        into[:] = resized(photos[-1:], size)[0]
        side = max(1, round(share * size))
        left, top = (round(at * (size - side)) for at in place)
        into[:, top : top + side, left : left + side] = resized(photos[:1], side)[0]
    return made.contiguous(memory_format=torch.channels_last)
