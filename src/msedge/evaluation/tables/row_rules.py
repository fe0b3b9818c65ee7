"""What is wrong with a row of published results on its own.

Each rule takes a row and gives its findings. Most ask whether the printed figures break a bound of
:mod:`~msedge.evaluation.tables.bounds`, which is proved for some conventions: a row that declares
one of them and breaks it is ``impossible``; one that declares none is ``mixed``, since its figures
are of another convention than the textbook's or of two rankings; under another convention there is
nothing to say. A figure counts as the interval that rounds to it, so rounding makes no finding.
Tested in ``tests/evaluation/tables/test_row_rules.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import combinations, permutations

from msedge.evaluation.tables.bounds import (
    AP_AT_LEAST,
    AP_AT_MOST_P,
    CONVENTIONS,
    P_BY_K,
    P_COUNTS,
    least_ap,
    most_ap_above_p,
    most_precision,
    precision_range,
)
from msedge.evaluation.tables.findings import Finding, Severity, find, quote
from msedge.evaluation.tables.results_table import Entry, Metric
from msedge.evaluation.tables.splits import CLASS_SIZES, SPLITS


def cells(entry: Entry) -> Iterator[Finding]:
    """Cells that are no figures, and rows that mix percent with shares."""
    for metric, text in entry.unreadable.items():
        yield find(entry, "not-a-number", "impossible", f"{metric} is {text!r}, not a number")
    for metric, text in entry.outside.items():
        message = f"{metric} {text} is outside 0 to 1 and 0 to 100 %"
        yield find(entry, "out-of-range", "impossible", message)
    if entry.percent and entry.shares:
        metric, text = next(iter(entry.percent.items()))
        other, share = next(iter(entry.shares.items()))
        message = f"{metric} {text} is in percent, {other} {share} a share; none can be judged"
        yield find(entry, "mixed-units", "mixed", message)


def ap_above_precision(entry: Entry) -> Iterator[Finding]:
    """mAP@k over P@k by more than small classes allow (``bounds.most_ap_above_p``)."""
    severity = _judge(entry, AP_AT_MOST_P)
    for average, precision, k in _pairs(entry):
        if severity is None:
            return
        protocols = _candidates(entry, average.split)
        if entry.gallery is not None and entry.gallery < max(_galleries(protocols), default=0):
            continue  # a part of the dataset, with classes of any size
        slack = most_ap_above_p(protocols, k)
        gap = entry.figures[average].low - entry.figures[precision].high
        if gap <= (slack or 0):
            continue
        where = "" if entry.gallery else " with the whole gallery"
        message = f"{quote(entry, average, precision)}: mAP above P{where} "
        message += _under(entry, AP_AT_MOST_P)
        if slack is None:
            message += f", or classes have fewer than {k} photos, which is not known"
        yield find(entry, "ap-above-precision", "suspect" if slack is None else severity, message)


def ap_below_precision(entry: Entry) -> Iterator[Finding]:
    """mAP@k under what P@k forces (``bounds.least_ap``)."""
    severity = _judge(entry, AP_AT_LEAST)
    for average, precision, _ in _pairs(entry):
        least = least_ap(entry.figures[precision].low)
        if severity is not None and entry.figures[average].high < least:
            message = f"{quote(entry, average, precision)}: such a P forces an mAP of at least "
            message += f"{least:.3f}, so they {_under(entry, AP_AT_LEAST)}"
            yield find(entry, "ap-below-precision", severity, message)


def precision_over_depth(entry: Entry) -> Iterator[Finding]:
    """P at two depths of one ranking (``bounds.precision_range``); P that rises with depth."""
    severity = _judge(entry, P_COUNTS)
    cuts = [(m.split, m.k, m) for m in entry.figures if m.kind == "P" and m.k is not None]
    for (split, k, first), (other, deeper, second) in permutations(cuts, 2):
        if severity is None or split != other or k >= deeper:
            continue
        shallow, deep = entry.figures[first], entry.figures[second]
        least, _ = precision_range(shallow.low, k, deeper)
        _, most = precision_range(shallow.high, k, deeper)
        message = f"{quote(entry, first, second)}: "
        if deep.high < least or deep.low > most:
            message += f"the first leaves {least:.3f} to {most:.3f} for the second, so they "
            message += _under(entry, P_COUNTS)
            yield find(entry, "precision-over-depth", severity, message)
        elif deep.low > shallow.high:
            message += "precision rises with depth, which is possible but seldom"
            yield find(entry, "precision-rises", "suspect", message)


def above_ceiling(entry: Entry) -> Iterator[Finding]:
    """P@k above what the photos of the classes allow (``bounds.most_precision``)."""
    severity = _judge(entry, P_BY_K)
    for metric, printed in entry.figures.items():
        if severity is None or metric.kind != "P" or metric.k is None:
            continue
        protocols = _candidates(entry, metric.split)
        ceiling = most_precision(protocols, metric.k)
        # Another number of photos means repeats, which raise the ceiling, or a part of the set.
        same = entry.gallery is None or entry.gallery in _galleries(protocols)
        if same and printed.low > ceiling:
            unsure = entry.gallery is None or entry.convention is None
            message = (
                f"{quote(entry, metric)}: the unique photos of {' or '.join(protocols)} allow "
            )
            message += f"at most {ceiling:.3f}, so it {_under(entry, P_BY_K)}"
            message += ", or a gallery with repeats" if entry.gallery is None else ""
            yield find(entry, "above-ceiling", "suspect" if unsure else severity, message)


def repeated_split(entry: Entry) -> Iterator[Finding]:
    """Equal figures under two splits: at least two equal, at most one not."""
    by_split: dict[str, dict[tuple[str, int | None], Metric]] = {}
    for metric in entry.figures:
        by_split.setdefault(metric.split, {})[metric.kind, metric.k] = metric
    for (split, metrics), (other, others) in combinations(by_split.items(), 2):
        shared = [(metrics[key], others[key]) for key in metrics if key in others]
        equal = [a for a, b in shared if entry.figures[a].value == entry.figures[b].value]
        if len(equal) >= max(2, len(shared) - 1):
            message = f"{quote(entry, *equal)}: the same under {split or 'no split'} and {other}"
            yield find(entry, "repeated-split", "suspect", message)


ROW_RULES: tuple[Callable[[Entry], Iterator[Finding]], ...] = (
    cells,
    ap_above_precision,
    ap_below_precision,
    precision_over_depth,
    above_ceiling,
    repeated_split,
)
"""Every rule that looks at one row."""


def _pairs(entry: Entry) -> Iterator[tuple[Metric, Metric, int]]:
    """mAP@k and P@k of the same split and cut-off k."""
    for metric in entry.figures:
        precision = Metric(metric.split, "P", metric.k)
        if metric.kind == "mAP" and metric.k is not None and precision in entry.figures:
            yield metric, precision, metric.k


def _galleries(protocols: Sequence[str]) -> list[int]:
    return [CLASS_SIZES[name].gallery for name in protocols if name in CLASS_SIZES]


def _judge(entry: Entry, proved: Collection[str]) -> Severity | None:
    """How a broken inequality is to be called that is proved for these conventions."""
    if entry.convention is None:
        return "mixed"
    return "impossible" if entry.convention in proved else None


def _under(entry: Entry, proved: Collection[str]) -> str:
    """The conventions that a broken inequality rules out, and those that it leaves."""
    if entry.convention is not None:
        return f"cannot be under {entry.convention}"
    ruled_out = ", ".join(name for name in CONVENTIONS if name in proved)
    left = " or ".join(name for name in CONVENTIONS if name not in proved)
    return f"cannot be under {ruled_out}; consistent with {left}, or figures of two rankings"


def _candidates(entry: Entry, split: str) -> tuple[str, ...]:
    """The protocols that a split's name may mean in this row; none where nothing is known."""
    meant = SPLITS.get(split, entry.protocols)
    return tuple(name for name in meant if name in entry.protocols) or meant
