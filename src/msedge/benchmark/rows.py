"""Outcomes put together: a row for each dataset and configuration, its seeds as one mean.

Tested in ``tests/benchmark/test_rows.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from msedge.benchmark.cells import RowKey, value_text
from msedge.benchmark.intervals import SeedMean, over_seeds
from msedge.benchmark.outcomes import Outcome

METRICS = ("mAP@200", "mAP@all", "P@100", "P@200", "P@10", "P@25")
"""The four of the published tables, then the two that small galleries can reach."""

_FIRST = ("backbone", "dim")


@dataclass(frozen=True)
class Row:
    """All runs of one configuration on one dataset.

    Attributes:
        dataset: the name of the data.
        key: the configuration.
        outcomes: one a seed, in the order of the plan.
    """

    dataset: str
    key: RowKey
    outcomes: tuple[Outcome, ...]

    @property
    def finished(self) -> tuple[Outcome, ...]:
        """Those that have figures."""
        return tuple(outcome for outcome in self.outcomes if outcome.state == "done")

    @cached_property
    def means(self) -> dict[str, SeedMean]:
        """Each metric of the selected epochs, in percent; empty where no run is finished."""
        if not self.finished:
            return {}
        metrics = [outcome.metrics for outcome in self.finished]
        shared = [name for name in METRICS if all(name in each for each in metrics)]
        return {name: over_seeds([each[name] for each in metrics]) for name in shared}

    @cached_property
    def held_out(self) -> SeedMean | None:
        """mAP@all on held-out seen classes, in percent; None where there is none."""
        values = [outcome.held_out for outcome in self.finished]
        known = [value for value in values if value is not None]
        return over_seeds(known) if known and len(known) == len(values) else None

    @property
    def error(self) -> str | None:
        """Why the row has no figure, where a run failed."""
        errors = [outcome.error for outcome in self.outcomes if outcome.error]
        return errors[0] if errors and not self.finished else None


def gather(outcomes: Sequence[Outcome]) -> tuple[Row, ...]:
    """Rows in the order of the plan: by dataset, then by configuration."""
    grouped: dict[tuple[str, RowKey], list[Outcome]] = {}
    for outcome in outcomes:
        key = (outcome.cell.dataset.data_name, outcome.cell.row)
        grouped.setdefault(key, []).append(outcome)
    return tuple(Row(name, key, tuple(each)) for (name, key), each in grouped.items())


def columns(rows: Sequence[Row]) -> tuple[str, ...]:
    """What a row has to say to be told from the others: ``backbone``, ``dim``, and what varies."""
    axes: dict[str, set[str]] = {}
    for row in rows:
        for name, value in row.key.axes:
            axes.setdefault(name, set()).add(value)
    lacking = {n for n in axes if any(n not in dict(row.key.axes) for row in rows)}
    varying = [n for n, taken in axes.items() if len(taken) > 1 or n in lacking]
    variant = ["variant"] if any(row.key.variant for row in rows) else []
    return (*_FIRST, *variant, *(n for n in varying if n not in _FIRST))


def labels(row: Row, names: Sequence[str]) -> tuple[str, ...]:
    """What a row says under each of :func:`columns`."""
    config = row.outcomes[0].cell.config
    return tuple(
        (row.key.variant or "") if name == "variant" else value_text(getattr(config, name))
        for name in names
    )


def short_label(row: Row, rows: Sequence[Row]) -> str:
    """The row in few words: without what is the same in all of them."""
    names = columns(rows)
    all_labels = [labels(each, names) for each in rows]
    words = []
    for index, (name, label) in enumerate(zip(names, labels(row, names), strict=True)):
        if label and len({each[index] for each in all_labels}) > 1:
            words.append(label if name in ("backbone", "variant") else f"{name} {label}")
    return ", ".join(words) or "as configured"
