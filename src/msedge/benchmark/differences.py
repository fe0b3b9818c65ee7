"""Each row against the baselines: the same data and the same seeds, so differences are paired.

Two kinds of chance are told apart. Another seed would have trained another network: the t-interval
of the differences over seeds. Other sketches would have been asked: the bootstrap over queries, of
the average precision that each query has in the mean over seeds; whole queries are drawn, over all
classes together. Neither covers the other. Tested in ``tests/benchmark/test_differences.py``.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from msedge.benchmark.cells import RowKey
from msedge.benchmark.intervals import SeedMean, over_seeds
from msedge.benchmark.outcomes import Outcome
from msedge.benchmark.queries import MEASURE, query_values
from msedge.benchmark.rows import Row
from msedge.evaluation.significance import Interval, bootstrap

RESAMPLES = 2000


@dataclass(frozen=True)
class Difference:
    """A row less its baseline, in percent; above 0 where the row is better.

    Attributes:
        row: what is compared.
        baseline: what it is compared with.
        seeds: those that both have finished.
        held_out: of mAP@all on held-out seen classes; None where there is none.
        unseen: of mAP@all on unseen classes.
        queries: the same, with its 95 % bootstrap interval over queries; None where the runs
            were not asked the same queries.
    """

    row: Row
    baseline: Row
    seeds: tuple[int, ...]
    held_out: SeedMean | None
    unseen: SeedMean
    queries: Interval | None


def differences(rows: Sequence[Row], baselines: Sequence[str]) -> tuple[Difference, ...]:
    """Every row against those that differ from it by being a baseline alone.

    Args:
        rows: of the whole plan.
        baselines: the variants to compare with.

    Returns:
        For each baseline, one for each row that shares a finished seed with it.
    """
    by_key = {(row.dataset, row.key): row for row in rows}
    found = []
    for baseline, row in itertools.product(baselines, rows):
        other = by_key.get((row.dataset, RowKey(baseline, row.key.axes)))
        if other is not None and other is not row:
            difference = _difference(row, other)
            found += [difference] if difference else []
    return tuple(found)


def _difference(row: Row, baseline: Row) -> Difference | None:
    ours = {outcome.cell.config.seed: outcome for outcome in row.finished}
    theirs = {outcome.cell.config.seed: outcome for outcome in baseline.finished}
    seeds = tuple(seed for seed in ours if seed in theirs)
    if not seeds:
        return None
    pairs = [(ours[seed], theirs[seed]) for seed in seeds]
    held_out = [(a.held_out, b.held_out) for a, b in pairs]
    gains = [a - b for a, b in held_out if a is not None and b is not None]
    return Difference(
        row=row,
        baseline=baseline,
        seeds=seeds,
        held_out=over_seeds(gains) if len(gains) == len(pairs) and _same(pairs) else None,
        unseen=over_seeds([a.metrics[MEASURE] - b.metrics[MEASURE] for a, b in pairs]),
        queries=_over_queries(pairs),
    )


def _same(pairs: Sequence[tuple[Outcome, Outcome]]) -> bool:
    """Whether all runs held out the same classes."""
    held_out = {o.held_out_classes for pair in pairs for o in pair}
    return len(held_out) == 1


def _over_queries(pairs: Sequence[tuple[Outcome, Outcome]]) -> Interval | None:
    data = {outcome.data["fingerprint"] for pair in pairs for outcome in pair}
    values = [(query_values(a.cell), query_values(b.cell)) for a, b in pairs]
    labels = values[0][0].labels
    same = all(np.array_equal(labels, each.labels) for pair in values for each in pair)
    if len(data) > 1 or not same:
        return None
    gains = [100 * (a.average_precision - b.average_precision) for a, b in values]
    mean = np.mean(gains, axis=0)
    return _bootstrap(mean.tobytes())


@lru_cache(maxsize=256)
def _bootstrap(gains: bytes) -> Interval:
    """The interval; kept, since the table is written anew after each run."""
    values: NDArray[np.float64] = np.frombuffer(gains)
    return bootstrap({MEASURE: values}, resamples=RESAMPLES)[MEASURE]
