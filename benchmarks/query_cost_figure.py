"""Seconds of a query over the size of a gallery, as lines on two logarithmic axes, as SVG.

Drawn for ``benchmarks/query_cost.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from msedge.figures.chart import wrapped
from svg_page import MARGIN, SIZE, WIDTH, svg_page

_LEFT, _RIGHT = 92, 700
_TALL = 330  # of the plot
_TITLE_SIZE, _LINE = 18, 18
_SOFT, _GRID = "#595959", "#dedede"
_COLOURS = ("#0b5fa5", "#c0392b", "#1e7d4f", "#8e5ea2", "#9a6a00")  # apart in grey and to most eyes
_DASHES = ("", "7 4", "2 3", "9 3 2 3", "4 4")


@dataclass(frozen=True)
class Curve:
    """One way of searching.

    Attributes:
        name: of the way.
        counts: photos, rising.
        milliseconds: the median of a query at each.
    """

    name: str
    counts: Sequence[int]
    milliseconds: Sequence[float]


@dataclass(frozen=True)
class _Log:
    """Powers of ten to places between two ends."""

    start: float
    end: float
    low: int
    high: int

    @classmethod
    def over(cls, start: float, end: float, values: Sequence[float]) -> _Log:
        low = math.floor(math.log10(min(values)) + 1e-9)
        high = math.ceil(math.log10(max(values)) - 1e-9)
        return cls(start, end, low, max(high, low + 1))

    def at(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def cost_chart(title: str, caption: str, curves: Sequence[Curve]) -> str:
    """Draw the ways of searching in one plot.

    Args:
        title: printed above.
        caption: printed below.
        curves: at most five, each with at least one point.

    Returns:
        The text of an SVG file.
    """
    parts: list[str] = []
    top = float(MARGIN)
    for line in wrapped(title, 0.9 * (WIDTH - 2 * MARGIN), _TITLE_SIZE):
        top += 1.4 * _TITLE_SIZE
        parts.append(
            f'<text x="{MARGIN}" y="{top - 5:.1f}" font-size="{_TITLE_SIZE}" '
            f'font-weight="bold">{escape(line)}</text>'
        )
    for curve, colour, dash in zip(curves, _COLOURS, _DASHES, strict=False):
        top += 22
        parts.append(_stroke(f"M{_LEFT} {top - 5:.1f}h40", colour, dash))
        parts.append(f'<text x="{_LEFT + 50}" y="{top:.1f}">{escape(curve.name)}</text>')
    top += 40
    bottom = top + _TALL
    across = _Log.over(_LEFT, _RIGHT, [count for curve in curves for count in curve.counts])
    up = _Log.over(bottom, top, [each for curve in curves for each in curve.milliseconds])
    parts += _grid(across, up)
    for curve, colour, dash in zip(curves, _COLOURS, _DASHES, strict=False):
        points = [
            (across.at(count), up.at(milliseconds))
            for count, milliseconds in zip(curve.counts, curve.milliseconds, strict=True)
        ]
        parts.append(_stroke("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points), colour, dash))
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in points]
    bottom += 52
    for line in wrapped(caption, WIDTH - 2 * MARGIN, SIZE):
        bottom += _LINE
        parts.append(f'<text x="{MARGIN}" y="{bottom:.1f}" fill="{_SOFT}">{escape(line)}</text>')
    return svg_page(title, parts, bottom)


def _grid(across: _Log, up: _Log) -> Iterator[str]:
    for power in range(up.low, up.high + 1):
        y = up.at(10.0**power)
        yield f'<path d="M{_LEFT} {y:.1f}H{_RIGHT}" stroke="{_GRID}"/>'
        yield (
            f'<text x="{_LEFT - 8}" y="{y + 5:.1f}" text-anchor="end" fill="{_SOFT}">'
            f"{10.0**power:g} ms</text>"
        )
    for power in range(across.low, across.high + 1):
        x = across.at(10.0**power)
        yield f'<path d="M{x:.1f} {up.start:.1f}V{up.end:.1f}" stroke="{_GRID}"/>'
        yield (
            f'<text x="{x:.1f}" y="{up.start + 18:.1f}" text-anchor="middle" fill="{_SOFT}">'
            f"{10**power:,}</text>"
        )
    yield (
        f'<text x="{(_LEFT + _RIGHT) / 2:.1f}" y="{up.start + 38:.1f}" text-anchor="middle" '
        f'fill="{_SOFT}">photos</text>'
    )


def _stroke(path: str, colour: str, dash: str) -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2.5"{dashes}/>'
