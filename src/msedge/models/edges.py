"""Edges at several scales: what a sketch and a photo of the same thing share.

Sketches hold nothing but edges; photos hold them among colour and texture. The maps made here are
given to the fusion of each stage (:mod:`msedge.models.fusion`), and a photo's map drawn dark on
white serves as a second, sketch-like view of it in training.
"""

from __future__ import annotations

from collections.abc import Sequence

from kornia.filters import sobel
from torch import Tensor
from torch.nn import functional

from msedge.errors import ShapeError

_STROKE_GAIN = 1.5  # edges at two thirds of the strongest are drawn fully black


def edge_map(images: Tensor) -> Tensor:
    """Sobel edge magnitude, the strongest of the three colour channels at each pixel.

    Args:
        images: ``(B, 3, H, W)``, RGB, range [0, 1].

    Returns:
        ``(B, 1, H, W)``, range [0, 1]; each image's strongest edge is 1, unless it is so faint
        that it may be noise (a slope under 0.01); a flat image is 0.

    Raises:
        ShapeError: ``images`` is not ``(B, 3, H, W)``.

    Example:
        >>> import torch
        >>> edge_map(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 1, 32, 32])
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ShapeError(f"edges need images of shape (B, 3, H, W), got {tuple(images.shape)}")
    magnitude: Tensor = sobel(images).amax(dim=1, keepdim=True)
    # sobel() adds its epsilon under the root, so that a flat image reads 1e-3 and not 0
    magnitude = (magnitude - 1e-3).clamp_min(0)
    strongest = magnitude.amax(dim=(2, 3), keepdim=True)
    return magnitude / strongest.clamp_min(1e-2)


def edge_pyramid(images: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """The edge map at the sizes of several stages, by averaging over areas.

    Args:
        images: ``(B, 3, H, W)``, RGB, range [0, 1].
        sizes: height and width of each stage.

    Returns:
        One ``(B, 1, h, w)`` tensor a stage, range [0, 1].

    Example:
        >>> import torch
        >>> [tuple(e.shape) for e in edge_pyramid(torch.rand(2, 3, 32, 32), [(4, 4), (2, 2)])]
        [(2, 1, 4, 4), (2, 1, 2, 2)]
    """
    edges = edge_map(images)
    return [functional.adaptive_avg_pool2d(edges, size) for size in sizes]


def edge_view(images: Tensor) -> Tensor:
    """A photo's edges drawn dark on white, as a pseudo-sketch.

    Args:
        images: ``(B, 3, H, W)``, RGB, range [0, 1].

    Returns:
        ``(B, 3, H, W)``, grey as RGB, range [0, 1], 1 where there is no edge.

    Example:
        >>> import torch
        >>> bool((edge_view(torch.full((1, 3, 8, 8), 0.5)) == 1).all())
        True
    """
    strokes = (edge_map(images) * _STROKE_GAIN).clamp(0, 1)
    return (1 - strokes).expand(-1, 3, -1, -1)
