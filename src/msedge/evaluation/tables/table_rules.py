"""Rows of published results that do not belong under one header, or that repeat each other.

Each rule takes the rows of a table and gives their findings; where rows differ, those that stand
against the most are named. Tested in ``tests/evaluation/tables/test_table_rules.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TypeAlias, TypeVar

from msedge.evaluation.tables.findings import Finding, find, quote
from msedge.evaluation.tables.results_table import Entry, Metric
from msedge.evaluation.tables.splits import ORIGINS, SPLITS

_REPEATS = 3  # so many equal figures of three digits are no accident
Value = TypeVar("Value", bound=Hashable)
# By split: rows of which the protocol is known, with its id and how it is known.
Known: TypeAlias = dict[str, list[tuple[Entry, str, str]]]


def units(entries: Sequence[Entry]) -> Iterator[Finding]:
    """Rows in percent among rows of shares, or the other way."""
    pure = [entry for entry in entries if bool(entry.percent) != bool(entry.shares)]
    usual = _commonest([bool(entry.percent) for entry in pure])
    for entry in pure:
        percent = bool(entry.percent)
        if entry.figures and percent != usual:
            message = f"{quote(entry, *entry.figures)}: {'percent' if percent else 'shares'}, "
            message += f"where most rows are {'shares' if percent else 'percent'}"
            yield find(entry, "mixed-units", "mixed", message)


def repeated_rows(entries: Sequence[Entry]) -> Iterator[Finding]:
    """Rows whose figures are all those of an earlier row."""
    first: dict[frozenset[tuple[Metric, object]], Entry] = {}
    for entry in entries:
        key = frozenset((metric, printed.value) for metric, printed in entry.figures.items())
        earlier = first.setdefault(key, entry)
        if earlier is entry or not key:
            continue
        where = f"row {earlier.row}" + (f" ({earlier.method})" if earlier.method else "")
        if earlier.about == entry.about:
            yield find(entry, "repeated-row", "suspect", f"repeats {where}, name and figures")
        elif len(key) >= _REPEATS:
            message = f"all {len(key)} figures are those of {where}, {quote(entry, *entry.figures)}"
            yield find(entry, "repeated-figures", "suspect", message)


def protocols(entries: Sequence[Entry]) -> Iterator[Finding]:
    """Figures of different classes under one split's name."""
    known: Known = {}
    for entry in entries:
        for split in dict.fromkeys(metric.split for metric in entry.figures if metric.split):
            declared = _declared(entry, split)
            if declared and set(declared) - set(SPLITS[split]):
                message = f"figures under {split}, which is {' or '.join(SPLITS[split])}, "
                message += f"but the row declares {', '.join(declared)}"
                yield find(entry, "mixed-protocols", "mixed", message)
            elif len(declared) > 1:
                message = f"figures under {split} declared as of {' and '.join(declared)} at once"
                yield find(entry, "mixed-protocols", "mixed", message)
            elif declared:
                known.setdefault(split, []).append((entry, declared[0], "declared"))
            elif origin := _origin(entry, split):
                known.setdefault(split, []).append((entry, origin, "on record for this method"))
    yield from _odd_protocols(known)


def _odd_protocols(known: Known) -> Iterator[Finding]:
    for split, rows in known.items():
        usual = _commonest([protocol for _, protocol, _ in rows])
        for entry, protocol, reason in rows:
            if protocol != usual:
                metrics = [metric for metric in entry.figures if metric.split == split]
                message = f"{quote(entry, *metrics)} are of {protocol} ({reason}); other rows "
                message += f"under {split} are of {usual}, other unseen classes"
                yield find(entry, "mixed-protocols", "mixed", message)


def _declared(entry: Entry, split: str) -> list[str]:
    """The protocols that a row declares for the dataset of a split."""
    datasets = {name.split("-")[0] for name in SPLITS[split]}
    return [name for name in entry.protocols if name.split("-")[0] in datasets]


def _origin(entry: Entry, split: str) -> str | None:
    """The protocol on record for a row's method and its figures under a split."""
    figures = [entry.figures.get(Metric(split, kind, k)) for kind, k in (("mAP", None), ("P", 100))]
    for origin in ORIGINS:
        if origin.protocol in SPLITS[split] and entry.method.casefold().startswith(
            origin.method.casefold()
        ):
            pairs = zip(figures, (origin.map_all, origin.p_100), strict=True)
            if all(figure and figure.low <= value <= figure.high for figure, value in pairs):
                return origin.protocol
    return None


def conventions(entries: Sequence[Entry]) -> Iterator[Finding]:
    """Declared conventions that differ by tens of points in one column."""
    columns: dict[Metric, list[str]] = {}
    for entry in entries:
        for metric in entry.figures:
            if entry.convention and (family := _family(metric, entry.convention)):
                columns.setdefault(metric, []).append(family)
    usual = {metric: _commonest(families) for metric, families in columns.items()}
    for entry in entries:
        odd = [
            metric
            for metric in entry.figures
            if entry.convention and _family(metric, entry.convention) != usual.get(metric)
        ]
        if odd:
            message = f"{quote(entry, *odd)} are under {entry.convention}, "
            message += f"where the column's usual is {usual[odd[0]]}: not one scale"
            yield find(entry, "mixed-conventions", "mixed", message)


def _family(metric: Metric, convention: str) -> str | None:
    """The conventions that agree to about a point on one ranking; None where all do."""
    if metric.kind == "P":
        return "rank" if convention == "rank" else "a share of the top k"
    if metric.k is None:
        return None
    return convention if convention in ("hits", "total") else "standard, sake, zse or rank"


TABLE_RULES: tuple[Callable[[Sequence[Entry]], Iterator[Finding]], ...] = (
    units,
    repeated_rows,
    protocols,
    conventions,
)
"""Every rule that looks at rows together."""


def _commonest(values: Sequence[Value]) -> Value | None:
    """The most frequent value, the first of several; None of none."""
    return Counter(values).most_common(1)[0][0] if values else None
