"""Exact ranks at the price of float32: sort approximate scores, settle the close calls exactly.

A float64 product costs twice a float32 one, and so does its sort, though float32 tells almost all
photos apart. So each query's float32 scores are sorted, and only where a relevant photo and another
stand closer than float32 can tell are both scored in float64. All that a metric needs is how many
irrelevant photos stand above each relevant one; the order within either kind does not matter.

How far off a float32 score may be is not taken from the worst case, ``D u`` for unit vectors and
unit roundoff ``u``, which products never come near, but grows with its square root, after the
probabilistic analysis of Higham and Mary, *A New Approach to Probabilistic Rounding Error
Analysis*, SIAM J. Sci. Comput. 41(5), 2019. The bound is then put to the test: all that is scored
exactly, some ten thousands of pairs in a large set, must be off by no more than half of it.
Otherwise :class:`TooCoarseError` is raised, and the caller goes on with a wider bound and at last
in float64 throughout. Tested in ``tests/evaluation/test_filtering.py`` against float64; speed and
memory in ``benchmarks/evaluation.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Single: TypeAlias = npt.NDArray[np.float32]
Double: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
ExactScores: TypeAlias = Callable[[Any, Any], Double]

_ROUNDOFF = 2.0**-24
_BINS = 1 << 16
_SAMPLE = 32
"""Scores of each block that are checked whether or not a call is close."""
_CROWDED = 1 / 24
"""Share of a gallery beyond which scoring all of it exactly, in one product, costs less."""


class TooCoarseError(ArithmeticError):
    """A float32 score was further off than :func:`float32_errors` allows for."""


def float32_errors(dim: int) -> tuple[float, float]:
    """By how much a float32 score of vectors of length 1 may be off: as a rule, and at most.

    >>> [f"{error:.1e}" for error in float32_errors(512)]
    ['1.0e-06', '4.1e-06']
    """
    usual = (math.sqrt(dim) / 2 + 6) * _ROUNDOFF
    return usual, 4 * usual


def filtered_ranks(
    scores: Single, relevant: slice, exact: ExactScores, *, position: Integers, error: float
) -> npt.NDArray[np.int32]:
    """The exact ranks of the relevant photos, from float32 scores.

    Args:
        scores: ``(Q, M)`` float32, larger is nearer; overwritten.
        relevant: The columns of the relevant photos, the same for all queries; R of them.
        exact: ``(rows, columns)`` to their exact scores ``(rows, columns)``, float64.
        position: Where each column stands in the gallery, ``(M,)``; ties go to the first.
        error: The most by which a score may be off.

    Returns:
        Ranks ``(Q, R)``, each row rising, from 1.

    Raises:
        TooCoarseError: A score was off by more than half of ``error``.
    """
    gallery, count = scores.shape[1], relevant.stop - relevant.start
    # The lowest bit of a score tells its kind, and so a sort of bare numbers carries it along.
    bits = scores.view(np.int32)
    bits &= -2
    bits[:, relevant] |= 1
    ordered = np.empty((len(scores), gallery + 2), np.float32)
    ordered[:, 0], ordered[:, -1] = -np.inf, np.inf
    inner = ordered[:, 1:-1]
    inner[:] = scores
    inner.sort(axis=1)
    found = np.flatnonzero((inner.view(np.int32) & 1).astype(np.bool_))
    places = found.reshape(-1, count) % gallery + 1
    above = (gallery - count + 1) - places + np.arange(count)
    reach = np.float32(2 * error + 4 * _ROUNDOFF)
    values = np.take_along_axis(ordered, places, axis=1)
    near = _near_irrelevant(ordered, places, values, reach)
    calls = _CloseCalls(scores, relevant, exact, position, reach, error / 2)
    calls.check([0], np.linspace(0, gallery - 1, _SAMPLE).astype(np.int64))
    crowded = [
        row
        for row in np.flatnonzero(near.any(axis=1)).tolist()
        if not calls.settle(row, above[row], values[row], near[row])
    ]
    above.sort(axis=1)
    if crowded:
        above[crowded] = exact_above(calls.check(crowded, slice(None)), relevant, position)
    return _ranks(above)


def exact_ranks(scores: Double, relevant: slice, position: Integers) -> npt.NDArray[np.int32]:
    """The ranks of the relevant photos from exact scores.

    Args:
        scores: ``(Q, M)`` float64, exact; larger is nearer.
        relevant: The columns of the relevant photos, the same for all queries.
        position: Where each column stands in the gallery, ``(M,)``; ties go to the first.

    Returns:
        Ranks ``(Q, R)``, each row rising, from 1.
    """
    return _ranks(exact_above(scores, relevant, position))


def exact_above(scores: Double, relevant: slice, position: Integers) -> Integers:
    """How many irrelevant photos stand above each relevant one, ``(Q, R)``, each row rising."""
    chosen = np.sort(scores[:, relevant], axis=1)[:, ::-1]
    others = np.concatenate([scores[:, : relevant.start], scores[:, relevant.stop :]], axis=1)
    others.sort(axis=1)
    above = np.empty(chosen.shape, np.int64)
    for row, values in enumerate(chosen):
        not_above = np.searchsorted(others[row], values, side="right")
        above[row] = others.shape[1] - not_above
        if (not_above > np.searchsorted(others[row], values, side="left")).any():  # a tie
            order = np.lexsort((position, -scores[row]))
            hit = (order >= relevant.start) & (order < relevant.stop)
            above[row] = np.flatnonzero(hit) - np.arange(chosen.shape[1])
    return above


def tied_ranks(
    scores: npt.NDArray[np.int16], relevant: slice, position: Integers
) -> npt.NDArray[np.int32]:
    """The ranks of the relevant photos from whole scores, of which many are equal.

    Like :func:`exact_ranks`, by a stable sort in gallery order: of short integers NumPy makes it a
    radix sort.
    """
    columns = np.argsort(position)
    hit = (columns >= relevant.start) & (columns < relevant.stop)
    order = np.argsort(-scores[:, columns], axis=1, kind="stable")
    ranks: npt.NDArray[np.int32] = np.nonzero(hit[order])[1].astype(np.int32) + np.int32(1)
    return ranks.reshape(len(scores), -1)


def _ranks(above: Integers) -> npt.NDArray[np.int32]:
    ranks: npt.NDArray[np.int32] = (above + np.arange(1, above.shape[1] + 1)).astype(np.int32)
    return ranks


def _near_irrelevant(
    ordered: Single, places: Integers, values: Single, reach: np.float32
) -> npt.NDArray[np.bool_]:
    """Which relevant photos have an irrelevant one within reach, above or below."""
    parted = np.diff(places, axis=1) > 1
    after = np.full(places.shape, ordered.shape[1] - 1)
    after[:, -1] = places[:, -1] + 1
    np.copyto(after[:, :-1], places[:, :-1] + 1, where=parted)
    following = np.minimum.accumulate(after[:, ::-1], axis=1)[:, ::-1]
    before = np.zeros_like(places)
    before[:, 0] = places[:, 0] - 1
    np.copyto(before[:, 1:], places[:, 1:] - 1, where=parted)
    preceding = np.maximum.accumulate(before, axis=1)
    up = np.take_along_axis(ordered, following, axis=1) - values
    down = values - np.take_along_axis(ordered, preceding, axis=1)
    near: npt.NDArray[np.bool_] = np.minimum(up, down) <= reach
    return near


class _CloseCalls:
    """Settles, for the queries of one block, what float32 cannot tell apart."""

    def __init__(
        self,
        scores: Single,
        relevant: slice,
        exact: ExactScores,
        position: Integers,
        reach: np.float32,
        trusted: float,
    ) -> None:
        self.scores, self.relevant, self.exact = scores, relevant, exact
        self.position, self.reach, self.trusted = position, reach, trusted
        # Bins wider than two reaches, rounding included: what is in reach of a score lies in two.
        self.scale = np.float32(0.45 / reach)
        self.marked = np.zeros(_BINS, np.bool_)

    def settle(
        self, row: int, above: Integers, values: Single, near: npt.NDArray[np.bool_]
    ) -> bool:
        """Correct the counts of one query in place; False where that is too much for one by one.

        Args:
            row: The query's place in the block.
            above: Irrelevant photos above each relevant one, by float32: ``(R,)``.
            values: The float32 scores of the relevant photos, rising.
            near: Which of them have an irrelevant photo within reach.
        """
        close = values[near]
        marks = self._bins(np.concatenate([close - self.reach, close + self.reach]))
        self.marked[marks] = True
        # All bins are in range; `clip` spares `take` the check and a conversion.
        columns = np.flatnonzero(self.marked.take(self._bins(self.scores[row]), mode="clip"))
        self.marked[marks] = False
        approximate = self.scores[row, columns]
        kind = (columns >= self.relevant.start) & (columns < self.relevant.stop)
        upper = np.searchsorted(close, approximate)
        gap_up = close[np.minimum(upper, len(close) - 1)] - approximate
        gap_down = approximate - close[np.maximum(upper - 1, 0)]
        wanted = np.where(
            kind, gap_up == 0, np.minimum(np.abs(gap_up), np.abs(gap_down)) <= self.reach
        )
        columns, approximate, kind = columns[wanted], approximate[wanted], kind[wanted]
        if len(columns) > _CROWDED * self.scores.shape[1]:
            return False
        exact = self.check([row], columns)[0]
        # Irrelevant candidates above each relevant one: by float32, and as it really is.
        by_float32 = _irrelevant_before(np.argsort(-approximate, kind="stable"), kind)
        really = _irrelevant_before(np.lexsort((self.position[columns], -exact)), kind)
        rising = np.argsort(approximate[kind], kind="stable")
        above[near] += (really - by_float32)[kind][rising]
        return True

    def check(self, rows: Any, columns: Any) -> Double:
        """Exact scores ``(rows, columns)``.

        Raises:
            TooCoarseError: The float32 scores lie further off than is trusted.
        """
        exact = self.exact(rows, columns)
        if np.abs(exact - self.scores[rows][:, columns]).max() > self.trusted:
            raise TooCoarseError
        return exact

    def _bins(self, scores: Single) -> npt.NDArray[np.int32]:
        bins: npt.NDArray[np.int32] = (scores * self.scale).astype(np.int32)
        bins &= _BINS - 1
        return bins


def _irrelevant_before(order: Integers, kind: npt.NDArray[np.bool_]) -> Integers:
    """How many irrelevant ones stand before each in an order; by place, not by rank."""
    before = np.empty(len(order), np.int64)
    before[order] = np.cumsum(~kind[order])
    return before
