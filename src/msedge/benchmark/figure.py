"""The rows of a benchmark as dots with intervals, a panel a dataset: one below another, or a curve.

Tested in ``tests/benchmark/test_figure.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

from msedge.benchmark.cells import RowKey
from msedge.benchmark.plan import Plan
from msedge.benchmark.queries import MEASURE
from msedge.benchmark.rows import Row, short_label
from msedge.benchmark.tables import mean_text
from msedge.data.images import one_line
from msedge.figures.chart import Curve, CurvePanel, Mark, Panel, curve_chart, interval_chart

_AXIS = "mAP@all on unseen classes, percent (standard convention)"
_CAPTION = (
    "Filled dots: means over seeds; open ones: single seeds; lines: 95 % t-intervals of the means "
    "over seeds."
)


def figure(plan: Plan, rows: Sequence[Row]) -> str:
    """Mean and interval of each row's mAP@all on unseen classes, as SVG.

    Where a dataset has one row of the first baseline, its mean is drawn through the others. Where
    the plan names the axis of a curve, the rows are drawn along it.
    """
    if plan.curve is not None:
        return _along(plan, plan.curve, rows)
    panels = []
    for name in dict.fromkeys(row.dataset for row in rows):
        of_dataset = [row for row in rows if row.dataset == name]
        marks = tuple(_mark(row, rows) for row in of_dataset)
        panels.append(Panel(one_line(name), marks, _baseline_mean(plan, of_dataset)))
    dashed = any(panel.reference is not None for panel in panels)
    return interval_chart(
        one_line(plan.name),
        panels,
        axis=_AXIS,
        caption=_CAPTION + (f" Dashed: the mean of {plan.baselines[0]}." if dashed else ""),
    )


def _along(plan: Plan, axis: str, rows: Sequence[Row]) -> str:
    """The rows along an axis of the plan: a curve for each of what else there is to choose."""
    curves: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        others = tuple(each for each in row.key.axes if each[0] != axis)
        label = one_line(RowKey(row.key.variant, others).label)
        curves.setdefault(row.dataset, {}).setdefault(label, []).append(row)
    panels = [
        CurvePanel(
            one_line(name),
            tuple(
                Curve(
                    label,
                    tuple(float(dict(row.key.axes)[axis]) for row in of_curve),
                    tuple(_mark(row, rows) for row in of_curve),
                )
                for label, of_curve in of_dataset.items()
            ),
        )
        for name, of_dataset in curves.items()
    ]
    return curve_chart(one_line(plan.name), panels, across=axis, axis=_AXIS, caption=_CAPTION)


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
