"""Means and their intervals as dots and lines: a panel a dataset, a row a configuration, as SVG.

Written by hand: dots and lines need no library, and text stays text. Fonts differ from machine to
machine, so room is kept for wide ones, and labels too long for theirs are broken over lines.
Tested in ``tests/figures/test_chart.py``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from msedge.errors import ShapeError

WIDTH = 760
_MARGIN, _LABELS, _VALUES = 16, 250, 118
_LEFT, _RIGHT = _MARGIN + _LABELS + 18, WIDTH - _MARGIN - _VALUES - 14  # of the plot
_SIZE, _TITLE_SIZE, _LINE = 14, 18, 18
_ROW_PADDING = 12
_BOLD = 0.9  # of the width is used, since bold letters are wider
_MOST_TICKS = 6
_INK, _SOFT, _GRID = "#1a1a1a", "#595959", "#dedede"
_NARROW, _WIDE = frozenset(" .,:;'|!()[]ijlftrI-"), frozenset("mwMW@%±")


@dataclass(frozen=True)
class Mark:
    """A row of a panel.

    Attributes:
        label: what it is.
        mean: where the dot stands; None where there is no figure.
        interval: both ends of the line; None where there is none.
        points: the single values behind the mean, drawn small.
        text: the figure in words, at the right; of a row without one, why.
    """

    label: str
    mean: float | None
    interval: tuple[float, float] | None = None
    points: tuple[float, ...] = ()
    text: str = ""


@dataclass(frozen=True)
class Panel:
    """One dataset: its title, its rows, and a value to compare with, drawn as a dashed line."""

    title: str
    marks: tuple[Mark, ...]
    reference: float | None = None


@dataclass(frozen=True)
class _Scale:
    """Values to places on the horizontal axis; what lies outside ends at its border."""

    low: float
    high: float
    step: float

    def x(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return _LEFT + share * (_RIGHT - _LEFT)

    def ticks(self) -> list[float]:
        count = round((self.high - self.low) / self.step)
        return [self.low + index * self.step for index in range(count + 1)]


def interval_chart(
    title: str,
    panels: Sequence[Panel],
    *,
    axis: str,
    caption: str = "",
    limits: tuple[float, float] = (0.0, 100.0),
) -> str:
    """Draw means and intervals, the panels below one another.

    Args:
        title: printed above.
        panels: each with at least one row; each has a scale of its own.
        axis: what the horizontal axes show, with its unit.
        caption: printed below; how to read the figure.
        limits: no value lies outside; a line that would is cut there and ends in an arrow.

    Returns:
        The text of an SVG file.

    Raises:
        ShapeError: there is no panel, a panel has no row, or a figure is not finite.
    """
    _check(panels)
    parts: list[str] = []
    bottom = float(_MARGIN)
    for line in wrapped(title, _BOLD * (WIDTH - 2 * _MARGIN), _TITLE_SIZE):
        bottom += 1.4 * _TITLE_SIZE
        parts.append(_text(_MARGIN, bottom - 5, line, size=_TITLE_SIZE, weight="bold"))
    for panel in panels:
        drawn, bottom = _panel(panel, bottom + 14, axis, limits)
        parts += drawn
    bottom += 10
    for line in wrapped(caption, WIDTH - 2 * _MARGIN, _SIZE) if caption else []:
        bottom += _LINE
        parts.append(_text(_MARGIN, bottom, line, fill=_SOFT))
    height = math.ceil(bottom + _MARGIN)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" font-family="Helvetica, Arial, sans-serif" font-size="{_SIZE}" '
        f'role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    )
    return "\n".join([*head, *parts, "</svg>", ""])


def wrapped(text: str, width: float, size: float = _SIZE) -> list[str]:
    """Text broken into lines of at most a width, at spaces or marks where it can be.

    Args:
        text: without line breaks of its own.
        width: in the units of the figure.
        size: of the font.
    """
    lines = [""]
    for piece in re.findall(r"\s*[^\s_./:-]*[_./:-]*", text):
        if text_width((lines[-1] + piece).strip(), size) <= width:
            lines[-1] = (lines[-1] + piece).lstrip()
            continue
        if lines[-1]:
            lines.append("")
        for letter in piece.strip():
            if lines[-1] and text_width(lines[-1] + letter, size) > width:
                lines.append("")
            lines[-1] += letter
    return lines


def text_width(text: str, size: float = _SIZE) -> float:
    """How wide a line of text is at most, in the units of the figure; of wide fonts, not bold."""
    ems = sum(
        0.42 if letter in _NARROW else 1.0 if letter in _WIDE or not letter.isascii()
        else 0.75 if letter.isupper() else 0.64
        for letter in text
    )  # fmt: skip
    return size * ems


def _panel(
    panel: Panel, top: float, axis: str, limits: tuple[float, float]
) -> tuple[list[str], float]:
    """A panel's parts, and where it ends."""
    parts: list[str] = []
    for line in wrapped(panel.title, _BOLD * (WIDTH - 2 * _MARGIN)):
        top += _LINE + 2
        parts.append(_text(_MARGIN, top, line, weight="bold"))
    scale = _scale(panel, limits)
    first = y = top + 12
    rows: list[str] = []
    for mark in panel.marks:
        label = wrapped(mark.label, _LABELS)
        height = len(label) * _LINE + _ROW_PADDING
        rows += _row(mark, label, y + height / 2, scale)
        y += height
    parts += _axis(scale, first, y, axis)
    if panel.reference is not None:
        parts.append(_line(scale.x(panel.reference), first, scale.x(panel.reference), y,
                           f'stroke="{_SOFT}" stroke-dasharray="5 4"'))  # fmt: skip
    return parts + rows, y + 46


def _row(mark: Mark, label: Sequence[str], middle: float, scale: _Scale) -> Iterator[str]:
    start = middle - (len(label) - 1) * _LINE / 2 + 5
    for index, line in enumerate(label):
        yield _text(_MARGIN + _LABELS, start + index * _LINE, line, anchor="end")
    said = wrapped(mark.text, _VALUES)[0] if mark.text else ""
    yield _text(_RIGHT + 14, middle + 5, said, fill=_INK if mark.mean is not None else _SOFT)
    if mark.mean is None:
        return
    if mark.interval is not None:
        yield from _interval(mark.interval, middle, scale)
    for value in mark.points:
        yield (
            f'<circle cx="{scale.x(value):.1f}" cy="{middle:.1f}" r="3" fill="#fff" '
            f'fill-opacity="0.8" stroke="{_SOFT}"/>'
        )
    yield f'<circle cx="{scale.x(mark.mean):.1f}" cy="{middle:.1f}" r="5" fill="{_INK}"/>'


def _interval(ends: tuple[float, float], middle: float, scale: _Scale) -> Iterator[str]:
    style = f'stroke="{_INK}" stroke-width="2"'
    low, high = (scale.x(end) for end in ends)
    yield _line(low, middle, high, middle, style)
    for place, value, way in ((low, ends[0], 1), (high, ends[1], -1)):
        if scale.low <= value <= scale.high:
            yield _line(place, middle - 5, place, middle + 5, style)
        else:
            points = f"{place + 7 * way:.1f},{middle - 5:.1f} {place:.1f},{middle:.1f} "
            points += f"{place + 7 * way:.1f},{middle + 5:.1f}"
            yield f'<polyline points="{points}" fill="none" {style}/>'


def _axis(scale: _Scale, top: float, bottom: float, title: str) -> Iterator[str]:
    decimals = max(0, -math.floor(math.log10(scale.step)))
    for tick in scale.ticks():
        yield _line(scale.x(tick), top, scale.x(tick), bottom, f'stroke="{_GRID}"')
        yield _text(scale.x(tick), bottom + 18, f"{tick:.{decimals}f}", anchor="middle", fill=_SOFT)
    yield _line(_LEFT, bottom, _RIGHT, bottom, f'stroke="{_SOFT}"')
    line = wrapped(title, WIDTH - 2 * _MARGIN)[0]
    half = text_width(line) / 2
    middle = min(max((_LEFT + _RIGHT) / 2, _MARGIN + half), WIDTH - _MARGIN - half)
    yield _text(middle, bottom + 38, line, anchor="middle", fill=_SOFT)


def _scale(panel: Panel, limits: tuple[float, float]) -> _Scale:
    values = [] if panel.reference is None else [panel.reference]
    for mark in panel.marks:
        if mark.mean is not None:
            values += [mark.mean, *mark.points, *(mark.interval or ())]
    inside = [min(max(value, limits[0]), limits[1]) for value in values] or list(limits)
    low, high = min(inside), max(inside)
    if high - low < 1e-6 * (limits[1] - limits[0]):
        room = 0.01 * (limits[1] - limits[0])
        low, high = max(low - room, limits[0]), min(high + room, limits[1])
    power = 10.0 ** math.floor(math.log10((high - low) / _MOST_TICKS))
    for step in (power * factor for factor in (1, 2, 5, 10, 20)):
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first < _MOST_TICKS:
            break
    return _Scale(first * step, last * step, step)


def _check(panels: Sequence[Panel]) -> None:
    if not panels or not all(panel.marks for panel in panels):
        raise ShapeError("a chart needs at least one panel, and each panel a row; got none")
    for panel in panels:
        for mark in panel.marks:
            drawn = [mark.mean, *(mark.interval or ()), *mark.points, panel.reference]
            if not all(math.isfinite(value) for value in drawn if value is not None):
                raise ShapeError(f"{mark.label!r} in {panel.title!r} has a figure without an end")


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {style}/>'


def _text(
    x: float, y: float, content: str, *, anchor: str = "", weight: str = "", size: int = 0,
    fill: str = _INK,
) -> str:  # fmt: skip
    """A line of text with its baseline at y."""
    given: Iterable[tuple[str, object]] = (
        ("text-anchor", anchor), ("font-weight", weight), ("font-size", size), ("fill", fill),
    )  # fmt: skip
    style = "".join(f' {name}="{value}"' for name, value in given if value)
    return f'<text x="{x:.1f}" y="{y:.1f}"{style}>{escape(content)}</text>'
