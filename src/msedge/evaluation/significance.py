"""How far a mean over queries would move with other queries, and whether two systems differ.

Both answers come from the per-query values alone, by resampling them: intervals by the percentile
bootstrap, p-values by the paired randomisation test. Neither asks the values to be normal, which
average precision is not.

Queries count as independent draws, given the classes. They are not quite: sketches of one class
share their photos, so they succeed and fail together. The results speak of other sketches of the
same classes, not of other classes or of another training run; for those the intervals are too
narrow and the p-values too small.

References:
    Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    Smucker, Allan and Carterette, A Comparison of Statistical Significance Tests for Information
    Retrieval Evaluation (CIKM 2007).
    Sakai, Evaluating Evaluation Metrics based on the Bootstrap (SIGIR 2006).

Tested in ``tests/evaluation/test_significance.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from msedge.errors import ConfigError, ShapeError

PerQuery: TypeAlias = npt.NDArray[Any]
_Table: TypeAlias = npt.NDArray[np.float64]

_BATCH = 2**22  # entries of a (resamples, Q) block of weights: 32 MB

# Of the largest value. Measures such as P@k take few values, so draws often equal the observed
# sum; left to rounding, many would not count, and p-values would be too small.
_NOISE = 1e-12


@dataclass(frozen=True)
class Interval:
    """A mean over queries and its confidence interval, ``low`` to ``high``, in the values' unit."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Two systems on the same queries.

    Attributes:
        first: Mean of the first system.
        second: Mean of the second.
        difference: ``second - first``; above 0 where the second is better.
        low: Lower end of the difference's confidence interval.
        high: Its upper end.
        p_value: How often a difference as large, in either direction, arises if the two systems
            are interchangeable; in (0, 1].
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    p_value: float


def bootstrap(
    values: Mapping[str, PerQuery],
    *,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Percentile bootstrap intervals of the means of some measures over the same queries.

    Whole queries are drawn with replacement, the same draw for every measure. About 35 MB are in
    use beside two copies of the values; 2,000 resamples of 92,291 queries take seconds.

    Args:
        values: Measure to its values ``(Q,)``, real numbers; all of one length.
        resamples: How often Q queries are drawn.
        seed: Of the draws; the same seed gives the same intervals.
        level: The share of intervals, made like this, that hold the true mean; in (0, 1). With
            few queries the share is smaller, and of a single query the interval is a point.

    Returns:
        Measure to interval, in the order of ``values``.

    Raises:
        ShapeError: The values are not one finite number for each query and measure.
        ConfigError: ``resamples``, ``seed`` or ``level`` is out of range.

    >>> bootstrap({"P@1": np.ones(5)})
    {'P@1': Interval(mean=1.0, low=1.0, high=1.0)}
    """
    check_draws(resamples=resamples, seed=seed, level=level)
    table = _table(values, "values")
    means = table.mean(axis=0)
    low, high = _percentiles(table, means, resamples, seed, level)
    return {
        measure: Interval(float(means[i]), float(low[i]), float(high[i]))
        for i, measure in enumerate(values)
    }


def compare(
    first: Mapping[str, PerQuery],
    second: Mapping[str, PerQuery],
    *,
    resamples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Comparison]:
    """Whether two systems differ on the same queries: a p-value and an interval for each measure.

    The p-value is the two-sided one of the paired randomisation test (Smucker et al. 2007): if
    nothing but chance told the systems apart, each query's difference could as well have the other
    sign. Signs are drawn ``resamples`` times, the same for every measure;
    ``p = (1 + draws whose mean difference is at least as large) / (1 + resamples)``, so it is
    never 0, and 1 where the systems agree on every query. One p-value is for one comparison: of
    twenty measures one falls below 0.05 by chance. The interval is :func:`bootstrap`'s, of the
    differences.

    Args:
        first: Measure to the first system's values ``(Q,)``.
        second: The second system's, for the same queries in the same order, and the same measures.
        resamples: Draws of signs, and of queries for the interval.
        seed: Of both draws.
        level: Of the interval, in (0, 1).

    Returns:
        Measure to comparison, in the order of ``first``.

    Raises:
        ShapeError: Measures or lengths differ, or a value is missing.
        ConfigError: ``resamples``, ``seed`` or ``level`` is out of range.

    >>> compare({"P@1": np.zeros(20)}, {"P@1": np.ones(20)})["P@1"].p_value < 0.001
    True
    """
    check_draws(resamples=resamples, seed=seed, level=level)
    if first.keys() != second.keys():
        unpaired = ", ".join(sorted(first.keys() ^ second.keys()))
        raise ShapeError(f"only one of first and second has {unpaired}; give both to be compared")
    one = _table(first, "first")
    two = _table({measure: second[measure] for measure in first}, "second")
    if len(one) != len(two):
        raise ShapeError(
            f"first has {len(one)} queries but second has {len(two)}; evaluate both on the same"
        )
    differences = two - one
    means = differences.mean(axis=0)
    low, high = _percentiles(differences, means, resamples, seed, level)
    largest = np.maximum(abs(one).max(axis=0), abs(two).max(axis=0))
    p_values = _sign_flip(differences, len(one) * _NOISE * largest, resamples, seed)
    columns = (one.mean(axis=0), two.mean(axis=0), means, low, high, p_values)
    return {
        measure: Comparison(*(float(column[i]) for column in columns))
        for i, measure in enumerate(first)
    }


def _percentiles(
    table: _Table, means: _Table, resamples: int, seed: int, level: float
) -> tuple[_Table, _Table]:
    """The ends ``(measures,)`` of the percentile interval of each column's mean."""
    rng = np.random.default_rng(seed)
    queries = len(table)
    # A resample is how often each query occurs in it: one product then serves all measures.
    # Of deviations, so that what is the same for every query has an interval without width.
    deviations = table - means
    drawn = [
        counts @ deviations / queries
        for counts in _blocks(
            resamples,
            queries,
            lambda: np.bincount(rng.integers(queries, size=queries), None, queries),
        )
    ]
    tails = ((1 - level) / 2, (1 + level) / 2)
    ends = means + np.quantile(np.concatenate(drawn), tails, axis=0)
    # Rounding can put a mean a hair outside of all values, such as below 0.
    low, high = np.clip(ends, table.min(axis=0), table.max(axis=0))
    return low, high


def _sign_flip(differences: _Table, noise: _Table, resamples: int, seed: int) -> _Table:
    """Two-sided p-values ``(measures,)``; sums that differ by less than ``noise`` are equal."""
    rng = np.random.default_rng([seed, 1])  # not the bootstrap's draws
    queries = len(differences)
    total = differences.sum(axis=0)

    def kept() -> npt.NDArray[np.uint8]:
        drawn = np.frombuffer(rng.bytes(-(-queries // 8)), np.uint8)
        return np.unpackbits(drawn, count=queries)

    reached = np.zeros(differences.shape[1], np.int64)
    for signs in _blocks(resamples, queries, kept):
        flipped = 2 * (signs @ differences) - total  # those kept, less all the others
        reached += np.count_nonzero(abs(flipped) >= abs(total) - noise, axis=0)
    return (1 + reached) / (1 + resamples)


def _blocks(
    resamples: int, queries: int, weights: Callable[[], npt.NDArray[Any]]
) -> Iterator[_Table]:
    """The weights ``(Q,)`` of each resample, in blocks ``(resamples, Q)`` of bounded memory."""
    rows = min(resamples, max(1, _BATCH // queries))
    block = np.empty((rows, queries))
    for start in range(0, resamples, rows):
        filled = block[: resamples - start]
        for row in filled:
            row[:] = weights()
        yield filled


def _table(values: Mapping[str, PerQuery], name: str) -> _Table:
    """The values as ``(Q, measures)`` float64, checked."""
    if not values:
        raise ShapeError(f"{name} has no measure; give at least one")
    columns = {measure: np.asarray(column) for measure, column in values.items()}
    queries = next(iter(columns.values())).size
    for measure, column in columns.items():
        if column.ndim != 1 or not column.size or column.dtype.kind not in "fiub":
            raise ShapeError(
                f"{name}[{measure!r}] must hold a number for each query, 1-D and not empty, "
                f"got {column.dtype} {column.shape}"
            )
        if len(column) != queries:
            raise ShapeError(
                f"{name}[{measure!r}] has {len(column)} queries where other measures have "
                f"{queries}; all measures need the same queries"
            )
        undefined = np.flatnonzero(~np.isfinite(column))
        if undefined.size:
            raise ShapeError(
                f"{name}[{measure!r}] is not finite for query {undefined[0]}; "
                "leave out queries for which the measure is undefined"
            )
    return np.stack(list(columns.values()), axis=1).astype(np.float64)


def check_draws(*, resamples: int = 1, seed: int = 0, level: float = 0.95) -> None:
    """Refuse options that :func:`bootstrap` and :func:`compare` cannot use.

    Raises:
        ConfigError: ``resamples``, ``seed`` or ``level`` is out of range.
    """
    if resamples < 1:
        raise ConfigError(f"resamples must be at least 1, got {resamples}")
    if seed < 0:
        raise ConfigError(f"seed must be 0 or more, got {seed}")
    if not 0 < level < 1:
        raise ConfigError(f"level must lie between 0 and 1, such as 0.95, got {level}")
