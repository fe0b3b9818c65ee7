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
    return (images.float() / 255).contiguous(memory_format=torch.channels_last)


def draw_mirrored(count: int) -> Tensor:
    """Which of some images to mirror: each with a chance of one half.

    The choice is drawn from torch's generator on the CPU, so it does not depend on the device.

    Args:
        count: how many images.

    Returns:
        ``(count,)`` bool.

    Example:
        >>> draw_mirrored(4).shape
        torch.Size([4])
    """
    return torch.rand(count) < 0.5


def mirror(images: Tensor, mirrored: Tensor) -> Tensor:
    """Turn some images from left to right.

    Args:
        images: ``(B, 3, H, W)``.
        mirrored: ``(B,)`` bool, which to turn.

    Returns:
        ``(B, 3, H, W)``.

    Example:
        >>> mirror(torch.tensor([[[[1, 2]]]]), torch.tensor([True]))
        tensor([[[[2, 1]]]])
    """
    chosen = mirrored.to(images.device)[:, None, None, None]
    return torch.where(chosen, images.flip(3), images)
