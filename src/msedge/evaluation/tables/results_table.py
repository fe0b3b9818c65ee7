"""Tables of published results as values: which column is which metric, and what a cell can mean.

A printed figure stands for an interval, half a unit of its last place to each side; percent and
shares are told apart by their size. Comes in as text and goes out as :class:`Entry`, one a row,
for :mod:`~msedge.evaluation.tables.lint`. Tested in
``tests/evaluation/tables/test_results_table.py``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from msedge.errors import DataError
from msedge.evaluation.tables.bounds import CONVENTIONS
from msedge.evaluation.tables.splits import PROTOCOLS, SPLITS
from msedge.quoting import quoted

ABOUT = ("method", "backbone", "dim", "code", "convention", "protocol", "gallery")
"""The columns that are read beside the metrics; all others are left alone."""
_METRIC = re.compile(
    r"(?P<split>.*?)[\s_:/-]*\b(?P<kind>map|p|prec|precision)[\s_]*@?[\s_]*(?P<k>all|[1-9]\d{0,5})?",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[-\u2212+]?(\d+\.?\d*|\.\d+)(e[-+]?\d{1,3})?", re.IGNORECASE | re.ASCII)
_SPREAD = re.compile(r"(\u00b1|\+/?-).*", re.DOTALL)
_MISSING = {"", "-", "--", "\u2013", "\u2014", "?", "n/a", "na"}
_LISTED = 12  # columns that a message names
_LONGEST_NAME = 200  # characters of a metric's; the pattern's time grows faster than that
# Figures printed in full carry the rounding of the sums they came from.
_LEAST_HALF_UNIT = Decimal("1e-9")


@dataclass(frozen=True, slots=True)
class Metric:
    """What a column holds: ``kind`` is ``mAP`` or ``P``, ``k`` the cut-off, None for all ranks.

    ``split`` is a name of :data:`~msedge.evaluation.tables.splits.SPLITS`, or empty where the
    column names none.
    """

    split: str
    kind: str
    k: int | None

    def __str__(self) -> str:
        return f"{self.split} {self.kind}@{self.k or 'all'}".lstrip()


@dataclass(frozen=True, slots=True)
class Figure:
    """A printed number: its text, its value, and the range (all in [0, 1]) that rounds to it."""

    text: str
    value: Decimal
    low: Decimal
    high: Decimal


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the table.

    Attributes:
        row: Its number; 1 is the first below the header.
        about: The texts of the columns in :data:`ABOUT`, where they are not empty.
        convention: The one it declares, or None.
        protocols: The ids that it declares.
        gallery: The number of photos ranked that it declares, or None.
        figures: What can be reasoned about. Empty where the row mixes units, since then no figure
            is sure.
        percent: The metrics whose cells are in percent (above 1, or with a percent sign).
        shares: The metrics whose cells are shares of 1.
        unreadable: Cells that are not numbers, as they stand.
        outside: Cells below 0 or above 100, as they stand.
    """

    row: int
    about: dict[str, str]
    convention: str | None = None
    protocols: tuple[str, ...] = ()
    gallery: int | None = None
    figures: dict[Metric, Figure] = field(default_factory=dict)
    percent: dict[Metric, str] = field(default_factory=dict)
    shares: dict[Metric, str] = field(default_factory=dict)
    unreadable: dict[Metric, str] = field(default_factory=dict)
    outside: dict[Metric, str] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """Its name: the method, or else the backbone."""
        return self.about.get("method") or self.about.get("backbone", "")


def read_entries(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[Entry]:
    """Read a table of published results.

    Args:
        header: The columns' names. ``S21_mAP200``, ``s21 mAP@200`` and ``sketchy-21 mAP@200`` are
            one; a metric without a split (``P@100``) is one too. Beside them ``method``,
            ``backbone``, ``dim``, ``code``, ``convention``, ``protocol`` (ids) and ``gallery``
            (photos ranked) are read.
        rows: The cells, as many a row as there are names.

    Returns:
        A value a row, in the table's order.

    Raises:
        DataError: No column holds a metric, two hold the same, a column's split is unknown, or a
            row is ragged or declares an unknown convention or protocol.
    """
    columns = _columns(header)
    return [_entry(number, columns, row) for number, row in enumerate(rows, start=1)]


def _columns(header: Sequence[str]) -> list[Metric | str | None]:
    """For each column the metric, the name in ABOUT, or None."""
    columns = [_column(_plain(name)) for name in header]
    if not any(isinstance(column, Metric) for column in columns):
        raise DataError(
            "the table has no metric column: expected names such as S21_mAP200, S21_P200, "
            f"TUB_mAPall, one metric a column, got {_listed(header)}"
        )
    for place, column in enumerate(columns):
        first = columns.index(column)
        if column is not None and first != place:
            raise DataError(
                f"the columns {quoted(header[first])} and {quoted(header[place])} both hold "
                f"{column}; keep one"
            )
    return columns


def _column(name: str) -> Metric | str | None:
    if name.casefold() in ABOUT:
        return name.casefold()
    if len(name) > _LONGEST_NAME:
        return None
    match = _METRIC.fullmatch(name.replace("_", " ").rstrip(" ()[]%\u2191"))
    if match is None:
        return None
    kind = "mAP" if match["kind"].casefold() == "map" else "P"
    k = None if (match["k"] or "all").casefold() == "all" else int(match["k"])
    if kind == "P" and k is None:
        return None
    splits = {_key(split): split for split in ("", *SPLITS)}
    split = _key(match["split"])
    if split not in splits:
        raise DataError(
            f"column {quoted(name)}: unknown split, expected one of {', '.join(SPLITS)}, or none"
        )
    return Metric(splits[split], kind, k)


def _key(split: str) -> str:
    return re.sub(r"[\s-]", "", split).casefold()


def _entry(number: int, columns: list[Metric | str | None], row: Sequence[str]) -> Entry:
    if len(row) != len(columns):
        raise DataError(f"row {number} has {len(row)} cells, expected {len(columns)} as the header")
    cells = [(column, _plain(cell)) for column, cell in zip(columns, row, strict=True)]
    about = {column: cell for column, cell in cells if isinstance(column, str) and cell}
    entry = Entry(
        row=number,
        about=about,
        convention=_convention(about.get("convention", ""), number),
        protocols=_protocols(about.get("protocol", ""), number),
        gallery=_gallery(about.get("gallery", ""), number),
    )
    for column, cell in cells:
        if isinstance(column, Metric) and cell.casefold() not in _MISSING:
            _put(entry, column, cell)
    if entry.percent and entry.shares:
        entry.figures.clear()
    return entry


def _put(entry: Entry, metric: Metric, cell: str) -> None:
    bare = _SPREAD.sub("", cell).strip(" *_")
    number = bare.removesuffix("%").strip()
    if not _NUMBER.fullmatch(number):
        entry.unreadable[metric] = cell
        return
    printed = Decimal(number.replace("\u2212", "-"))
    if not 0 <= printed <= 100:
        entry.outside[metric] = cell
        return
    percent = printed > 1 or bare.endswith("%")
    if printed:  # 0 is 0 in either unit
        (entry.percent if percent else entry.shares)[metric] = cell
    scale = Decimal("0.01") if percent else Decimal(1)
    half = max(Decimal((0, (5,), int(printed.as_tuple().exponent) - 1)) * scale, _LEAST_HALF_UNIT)
    value = printed * scale
    low, high = max(value - half, Decimal(0)), min(value + half, Decimal(1))
    entry.figures[metric] = Figure(cell, value, low, high)


def _convention(text: str, number: int) -> str | None:
    name = text.casefold()
    if name in _MISSING:
        return None
    if name not in CONVENTIONS:
        raise DataError(
            f"row {number}: unknown convention {quoted(text)}, expected "
            f"{', '.join(CONVENTIONS)} or none"
        )
    return name


def _protocols(text: str, number: int) -> tuple[str, ...]:
    if text.casefold() in _MISSING:
        return ()
    ids = tuple(dict.fromkeys(part for part in re.split(r"[\s,;/+]+", text.casefold()) if part))
    for name in ids:
        if name not in PROTOCOLS:
            raise DataError(
                f"row {number}: unknown protocol {quoted(name)}, expected "
                f"{', '.join(PROTOCOLS)} or none"
            )
    return ids


def _gallery(text: str, number: int) -> int | None:
    if text.casefold() in _MISSING:
        return None
    digits = text.replace(",", "").replace(" ", "")
    if not re.fullmatch(r"[1-9]\d{0,11}", digits, re.ASCII):
        raise DataError(
            f"row {number}: gallery is {quoted(text)}, expected a number of photos or none"
        )
    return int(digits)


def _listed(header: Sequence[str]) -> str:
    more = f" and {len(header) - _LISTED} more" if len(header) > _LISTED else ""
    return (", ".join(map(quoted, header[:_LISTED])) or "none") + more


def _plain(text: str) -> str:
    """Without outer space and without what a terminal would obey."""
    return "".join(one if one.isprintable() else " " for one in text).strip()
