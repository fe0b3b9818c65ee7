"""Memory over time as lines, a panel a run, as SVG; drawn for ``benchmarks/memory.py``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from msedge.figures.chart import wrapped
from svg_page import INK, MARGIN, SIZE, WIDTH, svg_page

_LEFT, _RIGHT = 84, 744
_TALL = 190  # of a plot
_TITLE_SIZE, _LINE = 18, 18
_SOFT, _GRID = "#595959", "#dedede"
_MOST_TICKS = 6
_CAPTION = (
    "Solid: all resident memory. Dotted: the part that the program has allocated; the rest is "
    "pages of files that it has mapped, which the system takes back when they are needed "
    "elsewhere. Dashed, from top to bottom: the ends of the epochs, each trained and judged; "
    "before the first the untrained network is judged."
)


@dataclass(frozen=True)
class Course:
    """Memory in the course of a run.

    Attributes:
        title: of the panel.
        minutes: of every sample, rising.
        resident: MB at each.
        allocated: MB of it at each.
        ends: minutes at which the epochs ended.
    """

    title: str
    minutes: Sequence[float]
    resident: Sequence[float]
    allocated: Sequence[float]
    ends: Sequence[float]


@dataclass(frozen=True)
class _Axis:
    """Values from 0 to places between two ends."""

    start: float
    end: float
    most: float
    step: float

    @classmethod
    def over(cls, start: float, end: float, most: float) -> _Axis:
        power = 10.0 ** math.floor(math.log10(most / _MOST_TICKS))
        step = next(f * power for f in (1, 2, 5, 10, 20) if most / (f * power) <= _MOST_TICKS)
        return cls(start, end, math.ceil(most / step - 1e-9) * step, step)

    def at(self, value: float) -> float:
        return self.start + value / self.most * (self.end - self.start)

    def ticks(self) -> Iterator[tuple[float, str]]:
        decimals = max(0, -math.floor(math.log10(self.step)))
        for index in range(round(self.most / self.step) + 1):
            yield self.at(index * self.step), f"{index * self.step:.{decimals}f}"


def memory_chart(title: str, courses: Sequence[Course]) -> str:
    """Draw runs below one another, on the same scale of memory.

    Args:
        title: printed above.
        courses: each with at least one sample.

    Returns:
        The text of an SVG file.
    """
    parts: list[str] = []
    bottom = float(MARGIN)
    for line in wrapped(title, 0.9 * (WIDTH - 2 * MARGIN), _TITLE_SIZE):
        bottom += 1.4 * _TITLE_SIZE
        parts.append(
            f'<text x="{MARGIN}" y="{bottom - 5:.1f}" font-size="{_TITLE_SIZE}" '
            f'font-weight="bold">{escape(line)}</text>'
        )
    most = max(max(course.resident) for course in courses)
    for course in courses:
        top = bottom + 44
        parts += _panel(course, top, most)
        bottom = top + _TALL + 46
    bottom += 10
    for line in wrapped(_CAPTION, WIDTH - 2 * MARGIN, SIZE):
        bottom += _LINE
        parts.append(f'<text x="{MARGIN}" y="{bottom:.1f}" fill="{_SOFT}">{escape(line)}</text>')
    return svg_page(title, parts, bottom)


def _panel(course: Course, top: float, most: float) -> Iterator[str]:
    bottom = top + _TALL
    across = _Axis.over(_LEFT, _RIGHT, course.minutes[-1])
    up = _Axis.over(bottom, top, most)
    yield f'<text x="{MARGIN}" y="{top - 16:.1f}" font-weight="bold">{escape(course.title)}</text>'
    for y, label in up.ticks():
        yield _line(_LEFT, y, _RIGHT, y, f'stroke="{_GRID}"')
        yield (
            f'<text x="{_LEFT - 8}" y="{y + 5:.1f}" text-anchor="end" fill="{_SOFT}">{label}</text>'
        )
    for x, label in across.ticks():
        yield (
            f'<text x="{x:.1f}" y="{bottom + 18:.1f}" text-anchor="middle" '
            f'fill="{_SOFT}">{label}</text>'
        )
    for minute in course.ends:
        x = across.at(minute)
        yield _line(x, top, x, bottom, f'stroke="{_SOFT}" stroke-dasharray="5 4"')
    for values, style in ((course.resident, ""), (course.allocated, ' stroke-dasharray="2 3"')):
        points = " ".join(
            f"{across.at(minute):.1f},{up.at(value):.1f}"
            for minute, value in zip(course.minutes, values, strict=True)
        )
        yield f'<polyline points="{points}" fill="none" stroke="{INK}" stroke-width="2"{style}/>'
    yield (
        f'<text x="{(_LEFT + _RIGHT) / 2:.1f}" y="{bottom + 38:.1f}" text-anchor="middle" '
        f'fill="{_SOFT}">minutes; memory in MB (10^6 bytes)</text>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {style}/>'
