"""The sketch domain of the sample set: black strokes of an unsteady hand on white.

A person draws outlines, hides what lies behind, forgets details, overshoots corners, leaves gaps
and presses unevenly. Tested through ``tests/data/test_sample.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

from msedge.data.sample_objects.parts import Part, Points, band, posed, resample, ripple

OVERSAMPLING = 3


@dataclass(frozen=True)
class _Hand:
    """How one person draws; lengths in pixels of the oversampled canvas."""

    wobble: float
    drift: float
    pen: float
    ink: int
    care: float
    hides: float
    splits: float
    outlined_from: float


def render_sketch(parts: list[Part], rng: np.random.Generator, size: int) -> Image.Image:
    """Return the object as a sketch, L (0 black, 255 white), ``size`` pixels a side."""
    side = float(size * OVERSAMPLING)
    hand = _Hand(
        wobble=rng.uniform(0.003, 0.012) * side,
        drift=rng.uniform(0.004, 0.02) * side,
        pen=rng.uniform(0.009, 0.019) * side,
        ink=int(rng.integers(0, 70)),
        care=rng.uniform(0.0, 1.0),
        hides=rng.choice([1.0, 0.9, 0.5]),
        splits=rng.choice([0.0, 0.5, 1.0]),
        outlined_from=rng.uniform(0.03, 0.09) * side,
    )
    placed = posed(parts, rng, size=side, angle=10.0, slant=0.25, extent=(0.55, 0.92))
    canvas = Image.new("L", (round(side), round(side)), 255)
    draw = ImageDraw.Draw(canvas)
    for part in placed:
        if not part.detail or rng.random() < hand.care:
            _draw_part(draw, part, hand, rng, side)
    return canvas.reduce(OVERSAMPLING)


def _draw_part(
    draw: ImageDraw.ImageDraw, part: Part, hand: _Hand, rng: np.random.Generator, side: float
) -> None:
    wobble = ripple(rng, hand.wobble / side, (1.0, 4.0))
    shift = rng.normal(0, hand.drift * 0.5, 2)
    centre = part.points.mean(axis=0)
    grown = 1 + rng.normal(0, 0.02)

    def redrawn(points: Points, *, closed: bool) -> Points:
        dense = resample(points, side / 42, closed=closed)
        moved: Points = wobble(((dense - centre) * grown + centre + shift) / side) * side
        return moved

    closed = part.closed
    outlines = [part.points]
    if part.width >= hand.outlined_from:
        if closed:
            inward = 1 - part.width / (2 * np.abs(part.points - centre).mean())
            outlines = [(part.points - centre) * gain + centre for gain in (2 - inward, inward)]
        else:
            outlines, closed = [band(part.points, part.width)], True
    hidden = part.width == 0 or not part.closed
    for points in outlines:
        path = redrawn(points, closed=closed)
        if closed and hidden and rng.random() < hand.hides:
            draw.polygon(path.ravel().tolist(), 255)
        for stroke in _strokes(path, closed, hand, rng):
            _draw_stroke(draw, stroke, hand, rng)


def _strokes(path: Points, closed: bool, hand: _Hand, rng: np.random.Generator) -> list[Points]:
    """Return the strokes that a hand makes of an outline, with gaps and overshoot at their ends."""
    if not closed:
        return [path]
    along = path - np.roll(path, 1, axis=0)
    ahead = np.roll(along, -1, axis=0)
    cross = along[:, 0] * ahead[:, 1] - along[:, 1] * ahead[:, 0]
    turn = np.abs(np.arctan2(cross, (along * ahead).sum(axis=1)))
    corners = np.flatnonzero((turn > math.radians(40)) & (rng.random(len(path)) < hand.splits))
    if len(corners) == 0:
        first = int(rng.integers(len(path)))
        loop = np.roll(path, -first, axis=0)
        extra = int(rng.integers(-1, 3))
        return [np.concatenate([loop, loop[:extra]]) if extra > 0 else loop[: len(loop) + extra]]
    loop = np.roll(path, -int(corners[0]), axis=0)
    cuts = [*(corners - corners[0]), len(loop)]
    loop = np.concatenate([loop, loop[:1]])
    return [_overshot(loop[a : b + 1], hand, rng) for a, b in pairwise(cuts)]


def _overshot(stroke: Points, hand: _Hand, rng: np.random.Generator) -> Points:
    """Return the stroke with its ends moved along it, outwards or inwards."""
    ends = stroke.copy()
    for end, inner in ((0, 1), (-1, -2)):
        away = stroke[end] - stroke[inner]
        reach = rng.normal(0.2, 0.8) * hand.drift
        ends[end] += away / max(float(np.hypot(*away)), 1e-9) * reach
    return ends


def _draw_stroke(
    draw: ImageDraw.ImageDraw, stroke: Points, hand: _Hand, rng: np.random.Generator
) -> None:
    """Draw one stroke with uneven pressure, thinner at its ends."""
    count = len(stroke)
    t = np.linspace(0, 1, count)
    swing = np.sin(2 * math.pi * (rng.uniform(0.5, 2.5) * t + rng.random()))
    ends = np.minimum(1, 0.65 + 4 * np.minimum(t, 1 - t))
    widths = np.maximum(2, hand.pen * rng.uniform(0.85, 1.15) * (1 + 0.22 * swing) * ends)
    steps = np.diff(stroke, axis=0)
    bends = np.abs(np.diff(np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))))
    rounded = np.concatenate([[True], bends > 0.12, [True]]).tolist()
    points: list[list[float]] = stroke.tolist()
    for i, ((x, y), width) in enumerate(zip(points, widths.tolist(), strict=True)):
        if i:
            draw.line((*points[i - 1], x, y), hand.ink, round(width))
        if rounded[i]:
            draw.circle((x, y), width / 2 - 0.5, hand.ink)
