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


def mirror_half(images: Tensor) -> Tensor:
    """Mirror each image from left to right with a chance of one half.

    The choice is drawn from torch's generator on the CPU, so it does not depend on the device.

    Args:
        images: ``(B, 3, H, W)``.

    Returns:
        ``(B, 3, H, W)``.

    Example:
        >>> mirror_half(torch.rand(2, 3, 4, 4)).shape
        torch.Size([2, 3, 4, 4])
    """
    mirrored = (torch.rand(len(images)) < 0.5).to(images.device)
    return torch.where(mirrored[:, None, None, None], images.flip(3), images)
