"""Means and their intervals as dots and lines, as SVG: a row a configuration, or along a curve.

Written by hand: dots and lines need no library, and text stays text. Fonts differ from machine to
machine, so room is kept for wide ones, and labels too long for theirs are broken over lines.
Tested in ``tests/figures/test_chart.py``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
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
_PLOT_HEIGHT, _KEY = 300, 34  # of a curve's panel; room for the key beside a label
_APART = 5  # between dots of several curves over one place
_COLOURS = ("#1a1a1a", "#b3541e", "#0b5fa5", "#4c7a2a", "#7a3e8e")
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
class Curve:
    """Marks along a scale: what it shows, and where on the horizontal axis each mark stands."""

    label: str
    places: tuple[float, ...]
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class CurvePanel:
    """One dataset: its title and its curves."""

    title: str
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class _Scale:
    """Values to places on an axis; what lies outside ends at its border."""

    low: float
    high: float
    step: float

    def share(self, value: float) -> float:
        return (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)

    def x(self, value: float) -> float:
        return _LEFT + self.share(value) * (_RIGHT - _LEFT)

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
    parts, bottom = _titled(title)
    for panel in panels:
        drawn, bottom = _panel(panel, bottom + 14, axis, limits)
        parts += drawn
    return _page(title, parts, bottom, caption)


def curve_chart(
    title: str,
    panels: Sequence[CurvePanel],
    *,
    across: str,
    axis: str,
    caption: str = "",
    limits: tuple[float, float] = (0.0, 100.0),
) -> str:
    """Draw means with their intervals over a scale, joined by lines, the panels below one another.

    Args:
        title: printed above.
        panels: each with at least one curve; each has scales of its own.
        across: what the horizontal axes show.
        axis: what the vertical axes show, with its unit; printed above each panel.
        caption: printed below; how to read the figure.
        limits: no value lies outside; a line that would is cut there.

    Returns:
        The text of an SVG file.

    Raises:
        ShapeError: there is no panel, a panel or a curve is empty, or a figure is not finite.
    """
    _check([Panel(panel.title, _marks(panel)) for panel in panels])
    parts, bottom = _titled(title)
    for panel in panels:
        drawn, bottom = _curves(panel, bottom + 14, across, axis, limits)
        parts += drawn
    return _page(title, parts, bottom, caption)


def _titled(title: str) -> tuple[list[str], float]:
    """The title's lines, and where they end."""
    parts: list[str] = []
    bottom = float(_MARGIN)
    for line in wrapped(title, _BOLD * (WIDTH - 2 * _MARGIN), _TITLE_SIZE):
        bottom += 1.4 * _TITLE_SIZE
        parts.append(_text(_MARGIN, bottom - 5, line, size=_TITLE_SIZE, weight="bold"))
    return parts, bottom


def _page(title: str, parts: list[str], bottom: float, caption: str) -> str:
    """The whole file: what is drawn, and the caption below it."""
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


def _marks(panel: CurvePanel) -> tuple[Mark, ...]:
    return tuple(mark for curve in panel.curves for mark in curve.marks)


def _curves(
    panel: CurvePanel, top: float, across: str, axis: str, limits: tuple[float, float]
) -> tuple[list[str], float]:
    """A panel's parts, and where it ends."""
    parts: list[str] = []
    for line in wrapped(panel.title, _BOLD * (WIDTH - 2 * _MARGIN)):
        top += _LINE + 2
        parts.append(_text(_MARGIN, top, line, weight="bold"))
    for number, curve in enumerate(panel.curves):
        for index, line in enumerate(wrapped(curve.label, WIDTH - 2 * _MARGIN - _KEY)):
            top += _LINE
            if not index:
                parts.append(_dot(_MARGIN + 10, top - 5, 5, _colour(number)))
            parts.append(_text(_MARGIN + _KEY, top, line))
    for line in wrapped(axis, WIDTH - 2 * _MARGIN):
        top += _LINE + 4
        parts.append(_text(_MARGIN, top, line, fill=_SOFT))
    top += 14
    values = _scale(Panel(panel.title, _marks(panel)), limits)
    widest = max(text_width(_tick(tick, values)) for tick in values.ticks())
    bottom, left, right = top + _PLOT_HEIGHT, _MARGIN + widest + 8, WIDTH - _MARGIN - 20.0
    places = sorted({place for curve in panel.curves for place in curve.places})
    ends = places[0], places[-1] if places[-1] > places[0] else places[0] + 1
    sideways = _Scale(*ends, step=ends[1] - ends[0])

    def y(value: float) -> float:
        return bottom - values.share(value) * _PLOT_HEIGHT

    for tick in values.ticks():
        parts.append(_line(left, y(tick), right, y(tick), f'stroke="{_GRID}"'))
        parts.append(_text(left - 8, y(tick) + 5, _tick(tick, values), anchor="end", fill=_SOFT))
    inner = left + 24, right - 24
    free = left  # of the numbers below, the ones that would run into another are left out
    for place in places:
        x = inner[0] + sideways.share(place) * (inner[1] - inner[0])
        parts.append(_line(x, bottom, x, bottom + 5, f'stroke="{_SOFT}"'))
        if x - text_width(f"{place:g}") / 2 >= free:
            parts.append(_text(x, bottom + 20, f"{place:g}", anchor="middle", fill=_SOFT))
            free = x + text_width(f"{place:g}") / 2 + 2
    parts.append(_line(left, bottom, right, bottom, f'stroke="{_SOFT}"'))
    below = bottom + 20
    for line in wrapped(across, WIDTH - 2 * _MARGIN):
        below += _LINE + 2
        parts.append(_text(WIDTH / 2, below, line, anchor="middle", fill=_SOFT))
    for number, curve in enumerate(panel.curves):
        aside = (number - (len(panel.curves) - 1) / 2) * _APART
        found = [
            (inner[0] + sideways.share(place) * (inner[1] - inner[0]) + aside, mark)
            for place, mark in sorted(zip(curve.places, curve.marks, strict=True), key=_place)
            if mark.mean is not None
        ]
        parts += _curve(found, y, _colour(number))
    return parts, below + 8


def _place(pair: tuple[float, Mark]) -> float:
    return pair[0]


def _curve(
    found: Sequence[tuple[float, Mark]], y: Callable[[float], float], colour: str
) -> Iterator[str]:
    """Dots joined by a line, with their intervals and the single values behind them."""
    line = " ".join(f"{x:.1f},{y(mark.mean):.1f}" for x, mark in found if mark.mean is not None)
    yield f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
    for x, mark in found:
        if mark.interval is not None:
            low, high = (y(end) for end in mark.interval)
            yield _line(x, low, x, high, f'stroke="{colour}" stroke-width="2"')
        for value in mark.points:
            yield _dot(x, y(value), 3, "#fff", colour)
        if mark.mean is not None:
            yield _dot(x, y(mark.mean), 5, colour)


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _dot(x: float, y: float, radius: int, fill: str, stroke: str = "") -> str:
    around = f' fill-opacity="0.8" stroke="{stroke}"' if stroke else ""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{fill}"{around}/>'


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
        yield _dot(scale.x(value), middle, 3, "#fff", _SOFT)
    yield _dot(scale.x(mark.mean), middle, 5, _INK)


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
    for tick in scale.ticks():
        yield _line(scale.x(tick), top, scale.x(tick), bottom, f'stroke="{_GRID}"')
        yield _text(scale.x(tick), bottom + 18, _tick(tick, scale), anchor="middle", fill=_SOFT)
    yield _line(_LEFT, bottom, _RIGHT, bottom, f'stroke="{_SOFT}"')
    line = wrapped(title, WIDTH - 2 * _MARGIN)[0]
    half = text_width(line) / 2
    middle = min(max((_LEFT + _RIGHT) / 2, _MARGIN + half), WIDTH - _MARGIN - half)
    yield _text(middle, bottom + 38, line, anchor="middle", fill=_SOFT)


def _tick(tick: float, scale: _Scale) -> str:
    return f"{tick:.{max(0, -math.floor(math.log10(scale.step)))}f}"


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
