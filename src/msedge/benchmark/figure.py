"""The rows of a benchmark as dots with intervals, a panel a dataset.

Tested in ``tests/benchmark/test_figure.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

from msedge.benchmark.plan import Plan
from msedge.benchmark.queries import MEASURE
from msedge.benchmark.rows import Row, short_label
from msedge.benchmark.tables import mean_text
from msedge.data.images import one_line
from msedge.figures.chart import Mark, Panel, interval_chart

_CAPTION = (
    "Filled dots: means over seeds; open ones: single seeds; lines: 95 % t-intervals of the means "
    "over seeds."
)


def figure(plan: Plan, rows: Sequence[Row]) -> str:
    """Mean and interval of each row's mAP@all on unseen classes, as SVG.

    Where a dataset has one row of the first baseline, its mean is drawn through the others.
    """
    panels = []
    for name in dict.fromkeys(row.dataset for row in rows):
        of_dataset = [row for row in rows if row.dataset == name]
        marks = tuple(_mark(row, rows) for row in of_dataset)
        panels.append(Panel(one_line(name), marks, _baseline_mean(plan, of_dataset)))
    dashed = any(panel.reference is not None for panel in panels)
    return interval_chart(
        one_line(plan.name),
        panels,
        axis="mAP@all on unseen classes, percent (standard convention)",
        caption=_CAPTION + (f" Dashed: the mean of {plan.baselines[0]}." if dashed else ""),
    )


def _mark(row: Row, rows: Sequence[Row]) -> Mark:
    label, found = short_label(row, rows), row.means.get(MEASURE)
    if found is None:
        return Mark(label, None, text="failed" if row.error else "to do")
    points = tuple(outcome.metrics[MEASURE] for outcome in row.finished)
    return Mark(
        label=label,
        mean=found.mean,
        interval=found.ends,
        points=points if len(points) > 1 else (),
        text=mean_text(found, deviation=False),
    )


def _baseline_mean(plan: Plan, rows: Sequence[Row]) -> float | None:
    of_baseline = [row for row in rows if [row.key.variant] == plan.baselines[:1]]
    if len(of_baseline) != 1 or MEASURE not in of_baseline[0].means:
        return None
    return of_baseline[0].means[MEASURE].mean
