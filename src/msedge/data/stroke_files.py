"""Strokes out of JSON, in the shapes in which drawings are passed around.

Quick, Draw! (Ha and Eck, ICLR 2018) stores a stroke as two or three lists of equal length,
``[[x, ...], [y, ...]]`` or ``[[x, ...], [y, ...], [t, ...]]``; drawing pages mostly store points,
``[[x, y], ...]`` or ``[{"x": x, "y": y}, ...]``. Both are read, bare or as ``"drawing"`` or
``"strokes"`` of an object. The text comes from strangers: it is limited in bytes, strokes and
points, and whatever it holds ends as strokes or as one :class:`~msedge.errors.DataError`. Tested
in ``tests/data/test_stroke_files.py``.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from msedge.errors import DataError
from msedge.quoting import named, plain

MAX_BYTES = 5_000_000
MAX_STROKES = 1_000
MAX_POINTS = 100_000

_SHAPE = 'expected {"drawing": [[[x, ...], [y, ...]], ...]} or {"strokes": [[[x, y], ...], ...]}'
_MOST_VALUES = 4  # of a point: x, y, time and pressure


def read_strokes(content: bytes, name: str) -> list[tuple[list[float], list[float]]]:
    """Read the strokes of a drawing from JSON.

    Where every stroke fits both shapes (such as two lists of two numbers), Quick, Draw!'s is
    taken. Of several documents, one a line (``.ndjson``), the first is read.

    Args:
        content: the text, in UTF-8; at most :data:`MAX_BYTES`.
        name: what an error calls it.

    Returns:
        One ``(xs, ys)`` a stroke that has points, at least one; at most :data:`MAX_STROKES` and
        :data:`MAX_POINTS`. Finite, in the unit of the file, y downwards.

    Raises:
        DataError: the text is no JSON, too large, of another shape, or holds no point.

    Example:
        >>> read_strokes(b'{"drawing": [[[0, 255, 9], [7, 3, 8]]]}', "a cat")
        [([0.0, 255.0, 9.0], [7.0, 3.0, 8.0])]
        >>> read_strokes(b'[[[0, 7], [255, 3], [9, 8]]]', "a cat")
        [([0.0, 255.0, 9.0], [7.0, 3.0, 8.0])]
    """
    name = named(name)
    if len(content) > MAX_BYTES:
        raise DataError(
            f"cannot read strokes of {name}: more than {MAX_BYTES // 1_000_000} MB of JSON"
        )
    try:
        listed = _listed(_parse(content))
        if len(listed) > MAX_STROKES:
            raise ValueError(f"{len(listed):,} strokes are more than {MAX_STROKES:,}")
        groups = [_groups(stroke) for stroke in listed]
        if sum(len(group) for stroke in groups for group in stroke) > _MOST_VALUES * MAX_POINTS:
            raise ValueError(f"more than {MAX_POINTS:,} points")
        strokes = _as_axes(groups) or _as_points(groups)
    except (ValueError, OverflowError, RecursionError) as error:
        raise DataError(f"cannot read strokes of {name}: {_cause(error)}") from error
    if strokes is None:
        raise DataError(
            f"cannot read strokes of {name}: a stroke is neither two lists of as many numbers nor "
            f"a list of points; {_SHAPE}"
        )
    if sum(len(xs) for xs, _ in strokes) > MAX_POINTS:
        raise DataError(f"cannot read strokes of {name}: more than {MAX_POINTS:,} points")
    drawn = [stroke for stroke in strokes if stroke[0]]
    if not drawn:
        raise DataError(f"nothing is drawn in {name}: its strokes hold no point")
    return drawn


def _parse(content: bytes) -> Any:
    text = content.decode("utf-8-sig").strip()
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError:
        first, _, rest = text.partition("\n")
        if not rest:
            raise
        return json.loads(first, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no finite number")


def _listed(document: Any) -> list[Any]:
    if isinstance(document, dict):
        document = next(
            (document[key] for key in ("drawing", "strokes") if key in document), document
        )
    if not isinstance(document, list):
        raise ValueError(f"it is no list of strokes; {_SHAPE}")
    return document


def _groups(stroke: Any) -> list[list[float]]:
    """The lists of numbers that a stroke consists of: axes or points, as yet undecided."""
    if isinstance(stroke, dict):
        if "points" in stroke:
            stroke = stroke["points"]
        elif "x" in stroke and "y" in stroke:
            stroke = [stroke["x"], stroke["y"]]
    if not isinstance(stroke, list):
        raise ValueError(f"a stroke is no list; {_SHAPE}")
    return [_numbers(group) for group in stroke]


def _numbers(group: Any) -> list[float]:
    if isinstance(group, dict) and "x" in group and "y" in group:
        group = [group["x"], group["y"]]
    if not isinstance(group, list):
        raise ValueError(f"a stroke holds something else than lists of numbers; {_SHAPE}")
    numbers = []
    for value in group:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"a coordinate is no number; {_SHAPE}")
        if not math.isfinite(float(value)):
            raise ValueError("a coordinate is no finite number")
        numbers.append(float(value))
    return numbers


_Strokes = list[tuple[list[float], list[float]]]


def _as_axes(groups: list[list[list[float]]]) -> _Strokes | None:
    fits = all(
        not stroke
        or (
            (2 <= len(stroke) <= 3 and len({len(axis) for axis in stroke}) == 1)
            and (len(stroke) == 2 or stroke[2] == sorted(stroke[2]))
        )  # times do not run back
        for stroke in groups
    )
    return [(stroke[0], stroke[1]) for stroke in groups if stroke] if fits else None


def _as_points(groups: list[list[list[float]]]) -> _Strokes | None:
    fits = all(2 <= len(point) <= _MOST_VALUES for stroke in groups for point in stroke)
    if not fits:
        return None
    return [([point[0] for point in stroke], [point[1] for point in stroke]) for stroke in groups]


def _cause(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"it is no JSON: {error.msg} in line {error.lineno}"
    if isinstance(error, UnicodeDecodeError):
        return "it is no text in UTF-8"
    if isinstance(error, RecursionError):
        return "its lists are nested too deep"
    if isinstance(error, OverflowError):
        return "a coordinate is no finite number"
    return plain(error)
