"""The geometry that the sample objects are described with: parts, outlines and poses.

An object is a list of :class:`Part` in painter's order, in a plane with y downwards. Both domains
are drawn from it (``sample_photo.py`` and ``sample_sketch.py``), so nothing here knows of pixels'
colours or of pens. Tested through ``tests/data/test_sample.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Tone = Literal["body", "second", "third", "dark", "light"]
Pair = tuple[float, float]


@dataclass(frozen=True)
class Part:
    """One area or one line of an object.

    Attributes:
        points: ``(N, 2)`` corners as x, y; y points down.
        tone: which colour of the instance's palette it takes; hues are drawn per instance.
        closed: whether the last point joins the first.
        width: thickness of a line in object units; 0 means a filled area.
        detail: whether a hasty person leaves it out of a sketch.
    """

    points: Points
    tone: Tone
    closed: bool
    width: float = 0.0
    detail: bool = False


Describe = Callable[[np.random.Generator], list[Part]]


def area(points: Points, tone: Tone = "body", *, detail: bool = False) -> Part:
    """Return a filled part."""
    return Part(points, tone, closed=True, detail=detail)


def line(
    points: Points | Sequence[Pair],
    tone: Tone = "dark",
    width: float = 0.02,
    *,
    closed: bool = False,
    detail: bool = False,
) -> Part:
    """Return a part that is a line of some thickness."""
    return Part(np.asarray(points, np.float64), tone, closed, width, detail)


def polygon(*corners: Pair) -> Points:
    """Return straight edges between corners."""
    return np.array(corners, np.float64)


def rectangle(left: float, top: float, right: float, bottom: float) -> Points:
    """Return an upright rectangle."""
    return polygon((left, top), (right, top), (right, bottom), (left, bottom))


def ellipse(
    x: float,
    y: float,
    radius_x: float,
    radius_y: float | None = None,
    *,
    tilt: float = 0.0,
    start: float = 0.0,
    stop: float = 360.0,
) -> Points:
    """Return an ellipse, or the arc of one from ``start`` to ``stop`` (degrees, clockwise)."""
    whole = stop - start >= 360.0
    steps = max(8, int(abs(stop - start) / 11))
    angles = np.radians(np.linspace(start, stop, steps, endpoint=not whole))
    radius_y = radius_x if radius_y is None else radius_y
    points = np.stack([radius_x * np.cos(angles), radius_y * np.sin(angles)], axis=1)
    return place(points, tilt, x, y)


def spline(points: Points | Sequence[Pair], *, closed: bool = True, steps: int = 7) -> Points:
    """Return a smooth curve through the points (Catmull-Rom)."""
    knots = np.asarray(points, np.float64)
    if closed:
        padded = np.concatenate([knots[-1:], knots, knots[:2]])
    else:
        padded = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    before, here, there, after = (padded[i : len(padded) - 3 + i, None] for i in range(4))
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    curve = 0.5 * (
        2 * here
        + (there - before) * t
        + (2 * before - 5 * here + 4 * there - after) * t**2
        + (3 * here - before - 3 * there + after) * t**3
    )
    flat: Points = curve.reshape(-1, 2)
    return flat if closed else np.concatenate([flat, knots[-1:]])


def symmetric(right: Sequence[Pair], *, smooth: bool = True) -> Points:
    """Return an outline mirrored at x = 0.5, from its right half listed from top to bottom."""
    half = np.array(right, np.float64)
    inner = half[np.abs(half[:, 0] - 0.5) > 1e-9][::-1]
    whole = np.concatenate([half, np.stack([1 - inner[:, 0], inner[:, 1]], axis=1)])
    return spline(whole) if smooth else whole


def mirror(part: Part) -> Part:
    """Return the part reflected at x = 0.5."""
    return replace(part, points=part.points * np.array([-1.0, 1.0]) + np.array([1.0, 0.0]))


def mirrored(part: Part) -> list[Part]:
    """Return the part and its reflection at x = 0.5."""
    return [part, mirror(part)]


def leaf(base: Pair, tip: Pair, width: float) -> Points:
    """Return a shape pointed at both ends, at most ``width`` wide."""
    t = np.linspace(0, 1, 10)
    start, along = np.array(base), np.array(tip) - np.array(base)
    across = np.array([-along[1], along[0]]) / max(math.hypot(*along), 1e-9)
    spine = start + t[:, None] * along
    bulge = (np.sin(np.pi * t) ** 0.85 * width / 2)[:, None] * across
    return np.concatenate([spine + bulge, (spine - bulge)[-2:0:-1]])


def band(path: Points | Sequence[Pair], start: float, stop: float | None = None) -> Points:
    """Return the outline of a strip along ``path``, from ``start`` wide to ``stop`` wide."""
    spine = np.asarray(path, np.float64)
    along = np.gradient(spine, axis=0)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
    half = np.linspace(start, start if stop is None else stop, len(spine))[:, None] / 2
    return np.concatenate([spine + across * half, (spine - across * half)[::-1]])


def rotate(points: Points, degrees: float, centre: Pair = (0.0, 0.0)) -> Points:
    """Return the points turned clockwise (y points down) about ``centre``."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    around: Points = (points - centre) @ np.array([[c, s], [-s, c]]) + centre
    return around


def place(points: Points, degrees: float, x: float, y: float) -> Points:
    """Return the points turned clockwise about the origin, which then moves to (x, y)."""
    moved: Points = rotate(points, degrees) + np.array([x, y])
    return moved


def turned(parts: list[Part], degrees: float, centre: Pair = (0.5, 0.5)) -> list[Part]:
    """Return the parts turned clockwise about ``centre``."""
    return [replace(part, points=rotate(part.points, degrees, centre)) for part in parts]


def resample(points: Points, spacing: float, *, closed: bool) -> Points:
    """Return points about ``spacing`` apart along the outline, the corners kept."""
    ends = np.concatenate([points[1:], points[:1]]) if closed else points[1:]
    starts = points if closed else points[:-1]
    counts = np.maximum(1, np.ceil(np.hypot(*(ends - starts).T) / spacing)).astype(np.int64)
    index = np.repeat(np.arange(len(starts)), counts)
    offset = np.arange(len(index)) - np.repeat(np.cumsum(counts) - counts, counts)
    t = (offset / counts[index])[:, None]
    dense: Points = starts[index] * (1 - t) + ends[index] * t
    return dense if closed else np.concatenate([dense, points[-1:]])


def ripple(rng: np.random.Generator, amplitude: float, cycles: Pair) -> Callable[[Points], Points]:
    """Return a smooth random displacement of the unit plane, the same at the same place."""
    waves = rng.uniform(*cycles, (3, 2)) * rng.choice([-1.0, 1.0], (3, 2))
    phases = rng.uniform(0, 2 * math.pi, (3, 2))
    sizes = rng.normal(0, amplitude / math.sqrt(3), (3, 2))

    def displaced(points: Points) -> Points:
        angle = 2 * math.pi * (points @ waves.T)[:, :, None] + phases
        moved: Points = points + (np.sin(angle) * sizes).sum(axis=1)
        return moved

    return displaced


def posed(
    parts: list[Part],
    rng: np.random.Generator,
    *,
    size: float,
    angle: float,
    slant: float,
    extent: Pair,
) -> list[Part]:
    """Return the object in a random pose, in pixels of a square canvas and wholly inside it.

    Args:
        parts: the object, in its own units.
        rng: the image's generator.
        size: side of the canvas in pixels.
        angle: largest rotation either way, in degrees.
        slant: largest shear and perspective.
        extent: least and greatest share of the canvas that the longer side takes.
    """
    cloud = np.concatenate([part.points for part in parts])
    low, high = cloud.min(axis=0), cloud.max(axis=0)
    unit = float((high - low).max())
    bend = ripple(rng, 0.018, (0.3, 1.0))
    shear, tilt_x, tilt_y = rng.uniform(-slant, slant, 3)
    stretch = np.exp(rng.uniform(-slant, slant)) ** np.array([0.5, -0.5])
    flip = np.array([rng.choice([-1.0, 1.0]), 1.0])
    degrees = float(rng.uniform(-angle, angle))

    def project(points: Points) -> Points:
        centred = bend((points - (low + high) / 2) / unit) * stretch
        centred[:, 0] += shear * centred[:, 1]
        depth = 1 + (centred @ np.array([tilt_x, tilt_y]))[:, None]
        seen: Points = rotate(centred / depth, degrees) * flip
        return seen

    moved = [project(resample(part.points, 0.05 * unit, closed=part.closed)) for part in parts]
    cloud = np.concatenate(moved)
    low, high = cloud.min(axis=0), cloud.max(axis=0)
    scale = float(rng.uniform(*extent)) * size / float((high - low).max())
    room = size - (high - low) * scale
    corner = room * np.clip(rng.normal(0.5, 0.22, 2), 0.1, 0.9)
    return [
        replace(part, points=(points - low) * scale + corner, width=part.width * scale / unit)
        for part, points in zip(parts, moved, strict=True)
    ]
