"""What a benchmark came to, as files: a CSV, a JSON, the page of tables and the figure.

They are written anew after each run, each replaced whole, so the last state can always be read.
Tested in ``tests/benchmark/test_results.py``.
"""

from __future__ import annotations

import csv
import io
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import msedge
from msedge.benchmark.cells import Cell, value_text
from msedge.benchmark.differences import Difference, differences
from msedge.benchmark.figure import figure
from msedge.benchmark.intervals import SeedMean
from msedge.benchmark.outcomes import Outcome, read_outcome
from msedge.benchmark.plan import Plan
from msedge.benchmark.rows import METRICS, Row, gather, short_label
from msedge.benchmark.tables import page
from msedge.data.images import one_line
from msedge.storage import atomic_path

NAMES = ("results.csv", "results.json", "table.md", "figure.svg")
_DEPENDENCIES = ("numpy", "pydantic")


@dataclass(frozen=True)
class Summary:
    """What a benchmark came to so far: its runs, its rows, and differences to the baselines."""

    outcomes: tuple[Outcome, ...]
    rows: tuple[Row, ...]
    paired: tuple[Difference, ...]


def write_results(
    plan: Plan,
    cells: Sequence[Cell],
    fingerprint: Callable[[Cell], str | None],
    save_root: Path,
) -> Summary:
    """Read every cell's folder and write the four files.

    Args:
        plan: what was to be run.
        cells: its runs.
        fingerprint: of a run's data as it is now; None where it is not known.
        save_root: where the files go.

    Returns:
        What was written.

    Raises:
        DataError: a file cannot be written, or the vectors of a finished run not be read.
    """
    outcomes = tuple(read_outcome(cell, fingerprint(cell)) for cell in cells)
    rows = gather(outcomes)
    summary = Summary(outcomes, rows, differences(rows, plan.baselines))
    texts = (
        _csv(outcomes),
        json.dumps(_document(plan, summary), indent=1) + "\n",
        page(plan, rows, summary.paired),
        figure(plan, rows),
    )
    for name, text in zip(NAMES, texts, strict=True):
        with atomic_path(save_root / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return summary


def _csv(outcomes: Sequence[Outcome]) -> str:
    axes = list(dict.fromkeys(name for o in outcomes for name, _ in o.cell.row.axes))
    fixed = ("backbone", "dim")
    axes = [*fixed, *(name for name in axes if name not in fixed)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["dataset", "protocol", "variant", *axes, "seed", "status", "selected_epoch", "select",
         "selection_value", *METRICS, *(f"{name} before" for name in METRICS), "seconds", "error"]
    )  # fmt: skip
    for outcome in outcomes:
        config = outcome.cell.config
        writer.writerow(
            [
                config.data_name,
                _protocol(outcome),
                outcome.cell.row.variant or "",
                *(value_text(getattr(config, name)) for name in axes),
                config.seed,
                outcome.state,
                *_figures(outcome),
                one_line(outcome.error or ""),
            ]
        )
    return text.getvalue()


def _protocol(outcome: Outcome) -> str:
    noted = outcome.data["protocol"] if outcome.state == "done" else None
    return str(noted or outcome.cell.dataset.protocol or "")


def _figures(outcome: Outcome) -> list[str]:
    select = outcome.cell.config.select
    if outcome.state != "done":
        return ["", select, *[""] * (2 * len(METRICS) + 2)]
    selected, before = outcome.selected, outcome.before
    after = outcome.metrics
    values = [selected["selection_value"], *(after.get(name) for name in METRICS)]
    values += [before.get(name) for name in METRICS]
    shown = ["" if value is None else f"{value:.6f}" for value in values]
    return [str(selected["epoch"]), select, *shown, f"{outcome.seconds:.1f}"]


def _document(plan: Plan, summary: Summary) -> dict[str, Any]:
    """Everything: the plan, each run's record, rows and differences, and what it ran on."""
    return {
        "format": "msedge-benchmark-1",
        "plan": plan.model_dump(mode="json"),
        "convention": "standard",
        "level": 0.95,
        "versions": {
            "msedge": msedge.__version__,
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in _DEPENDENCIES},
        },
        "cells": [_run(outcome) for outcome in summary.outcomes],
        "rows": [_row(row, summary.rows) for row in summary.rows],
        "differences": [_difference(each) for each in summary.paired],
    }


def _run(outcome: Outcome) -> dict[str, Any]:
    cell = outcome.cell
    return {
        "dataset": cell.dataset.data_name,
        "protocol": _protocol(outcome) or None,
        "variant": cell.row.variant,
        "axes": dict(cell.row.axes),
        "seed": cell.config.seed,
        "folder": str(cell.folder),
        "status": outcome.state,
        "error": outcome.error,
        "config": cell.config.what_decides(),
        "record": outcome.record,
    }


def _row(row: Row, rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "dataset": row.dataset,
        "label": short_label(row, rows),
        **_key(row),
        "seeds": [outcome.cell.config.seed for outcome in row.finished],
        "held_out": _mean(row.held_out),
        "metrics": {name: _mean(found) for name, found in row.means.items()},
    }


def _difference(each: Difference) -> dict[str, Any]:
    return {
        "dataset": each.row.dataset,
        **_key(each.row),
        "baseline": each.baseline.key.variant,
        "seeds": list(each.seeds),
        "held_out": _mean(each.held_out),
        "mAP@all": _mean(each.unseen),
        "over_queries": None if each.queries is None else asdict(each.queries),
    }


def _key(row: Row) -> dict[str, Any]:
    return {"variant": row.key.variant, "axes": dict(row.key.axes)}


def _mean(found: SeedMean | None) -> Mapping[str, float | None] | None:
    return None if found is None else asdict(found)
