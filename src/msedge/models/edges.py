"""Edges at several scales: what a sketch and a photo of the same thing share.

Sketches hold nothing but edges; photos hold them among colour and texture. The maps made here are
given to the fusion of each stage (:mod:`msedge.models.fusion`), and a photo's map drawn dark on
white serves as a second, sketch-like view of it in training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from kornia.color import rgb_to_grayscale
from kornia.filters import canny, gaussian_blur2d, sobel
from torch import Tensor
from torch.nn import functional

from msedge.errors import ShapeError

_STROKE_GAIN = 1.5  # edges at two thirds of the strongest are drawn fully black
_WEAK = 0.4  # of the strong edges' threshold: what goes on from a strong edge is drawn too
_FAINTEST = 0.01  # slopes under this are noise, however few edges an image has
_LONGEST = 24  # steps that a weak edge is followed from a strong one
_NEIGHBOURHOOD, _LEAST = 11, 7  # a line holds so many pixels in a window of so many
EdgeViewName = Literal["sobel", "lines", "all"]


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


def line_view(images: Tensor, *, sigma: float, share: float) -> Tensor:
    """A photo as a line drawing: thin dark lines on white, without the short ones.

    Canny's edges (Canny, IEEE TPAMI 1986), with two changes that make them look like strokes: the
    threshold is the one that keeps a given share of an image's pixels, so that a busy photo and a
    quiet one get about as many lines, and pieces with few pixels about them are dropped.

    Args:
        images: ``(B, 3, H, W)``, RGB, range [0, 1].
        sigma: of the blur before, in pixels; a larger one keeps the outlines alone.
        share: of the pixels that are strong edges, in (0, 1).

    Returns:
        ``(B, 3, H, W)``, grey as RGB, range [0, 1], 1 where there is no line.

    Raises:
        ShapeError: ``images`` is not ``(B, 3, H, W)``.

    Example:
        >>> line_view(torch.rand(2, 3, 32, 32), sigma=1.5, share=0.05).shape
        torch.Size([2, 3, 32, 32])
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ShapeError(f"lines need images of shape (B, 3, H, W), got {tuple(images.shape)}")
    width = int(4 * sigma) // 2 * 2 + 1
    # its thresholds are set out of the way: only its thinned slopes are used
    slopes, _ = canny(
        rgb_to_grayscale(images), 1e-6, 2e-6, (width, width), (sigma, sigma), hysteresis=False
    )
    strongest = torch.quantile(slopes.flatten(1), 1 - share, dim=1)[:, None, None, None]
    threshold = strongest.clamp_min(_FAINTEST)
    lines, weak = (slopes >= threshold).float(), (slopes >= _WEAK * threshold).float()
    for _ in range(_LONGEST):
        longer = functional.max_pool2d(lines, 3, 1, 1) * weak
        if torch.equal(longer, lines):
            break
        lines = longer
    about = functional.avg_pool2d(lines, _NEIGHBOURHOOD, 1, _NEIGHBOURHOOD // 2)
    lines = lines * (about * _NEIGHBOURHOOD**2 >= _LEAST)
    strokes: Tensor = gaussian_blur2d(lines, (5, 5), (0.8, 0.8))
    strokes = (2.2 * strokes).clamp(0, 1)  # lines of about 2 pixels
    return (1 - strokes).expand(-1, 3, -1, -1)


def edge_views(name: EdgeViewName) -> tuple[Callable[[Tensor], Tensor], ...]:
    """The ways of drawing a photo's edges that go by a name.

    Args:
        name: ``sobel`` is :func:`edge_view`, ``lines`` are fine and coarse :func:`line_view`,
            ``all`` is the three of them.

    Returns:
        Functions from images to images of the same shape.
    """
    sobel_view: tuple[Callable[[Tensor], Tensor], ...] = (edge_view,)
    return {"sobel": sobel_view, "lines": _LINES, "all": sobel_view + _LINES}[name]


def _fine(images: Tensor) -> Tensor:
    return line_view(images, sigma=1.5, share=0.05)


def _coarse(images: Tensor) -> Tensor:
    return line_view(images, sigma=3.0, share=0.03)


_LINES: tuple[Callable[[Tensor], Tensor], ...] = (_fine, _coarse)
