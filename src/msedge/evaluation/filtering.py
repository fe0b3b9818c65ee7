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

import itertools
import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from msedge.evaluation.scoring import Scored

Single: TypeAlias = npt.NDArray[np.float32]
Double: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]

_ROUNDOFF = 2.0**-24
_BINS = 1 << 14
_SAMPLE = 32
"""Scores of each block that are checked whether or not a call is close."""
_CROWDED = 1 / 24
"""Share of a gallery beyond which scoring all of it exactly, in one product, costs less."""


class TooCoarseError(ArithmeticError):
    """A float32 score was further off than :func:`float32_errors` allows for."""


def float32_errors(dim: int) -> tuple[float, float, float]:
    """By how much a float32 score of unit vectors may be off: as a rule, seldom, and at most.

    >>> [f"{error:.1e}" for error in float32_errors(512)]
    ['1.0e-06', '2.1e-06', '4.1e-06']
    """
    usual = (math.sqrt(dim) / 2 + 6) * _ROUNDOFF
    return usual, 2 * usual, 4 * usual


class RankFilter:
    """Ranks blocks of queries over one gallery, in room that it keeps; for one thread at a time.

    Args:
        pair: The vectors: queries in rows, the gallery in columns of the scores.
        position: Where each column stands in the gallery as given, ``(M,)``; ties go to the first.
        error: The most by which a score may be off.
        block: The most queries in a block.
    """

    def __init__(self, pair: Scored, position: Integers, error: float, block: int) -> None:
        gallery = len(position)
        self.pair, self.position, self.trusted = pair, position, error / 2
        self.reach = np.float32(2 * error + 4 * _ROUNDOFF)
        # Large arrays made anew for each block would cost more in page faults than in work.
        self._ordered = np.empty((block, gallery + 2), np.float32)
        self._ordered[:, 0], self._ordered[:, -1] = -np.inf, np.inf
        self._kinds = np.empty((block, gallery), np.int32)
        self._chosen = np.empty((block, gallery), np.bool_)
        self._bins = np.empty(gallery, np.int32)
        self._marked = np.zeros(_BINS, np.bool_)

    def ranks(self, scores: Single, relevant: slice, first: int) -> npt.NDArray[np.int32]:
        """The exact ranks of the relevant photos, from float32 scores.

        Args:
            scores: ``(Q, M)`` float32, larger is nearer.
            relevant: The columns of the relevant photos, the same for all queries; R of them.
            first: The row of the first query.

        Returns:
            Ranks ``(Q, R)``, each row rising, from 1.

        Raises:
            TooCoarseError: A score was off by more than half of ``error``.
        """
        (queries, gallery), count = scores.shape, relevant.stop - relevant.start
        # The lowest bit of a score tells its kind, and so a sort of bare numbers carries it along.
        ordered = self._ordered[:queries]
        inner = ordered[:, 1:-1]
        bits = np.bitwise_and(scores.view(np.int32), -2, out=inner.view(np.int32))
        bits[:, relevant] |= 1
        inner.sort(axis=1)
        kinds = np.bitwise_and(inner.view(np.int32), 1, out=self._kinds[:queries])
        found = np.flatnonzero(np.not_equal(kinds, 0, out=self._chosen[:queries]))
        places = (found.reshape(-1, count) % gallery + 1).astype(np.int32)
        above = (gallery - count + 1) - places + np.arange(count, dtype=np.int32)
        values = np.take_along_axis(ordered, places, axis=1)
        near = _near_irrelevant(ordered, places, values, self.reach)
        sample = np.linspace(0, gallery - 1, _SAMPLE).astype(np.int64)
        self._check(self.pair.exact_row(first, sample), scores[0, sample])
        crowded = self._settle(scores, relevant, first, above, values, near)
        above.sort(axis=1)
        if crowded.size:
            every = self.pair.exact(first + crowded)
            self._check(every, scores[crowded])
            above[crowded] = exact_above(every, relevant, self.position)
        return _ranks(above)

    def _settle(
        self,
        scores: Single,
        relevant: slice,
        first: int,
        above: Integers,
        values: Single,
        near: npt.NDArray[np.bool_],
    ) -> Integers:
        """Correct in place what float32 could not tell.

        Args:
            scores: ``(Q, M)`` float32.
            relevant: The columns of the relevant photos.
            first: The row of the first query.
            above: Irrelevant photos above each relevant one, by float32: ``(Q, R)``.
            values: The float32 scores of the relevant photos, rising in each row: ``(Q, R)``.
            near: Which of them have an irrelevant photo within reach: ``(Q, R)``.

        Returns:
            The rows left alone because much of their gallery would have to be scored.
        """
        asked, close = np.nonzero(near)[0], values[near]
        rows, columns = self._candidates(scores, asked, close)
        kind = (columns >= relevant.start) & (columns < relevant.stop)
        approximate = ((scores[rows, columns].view(np.int32) & -2) | kind).view(np.float32)
        keys, close_keys = _keys(rows, approximate), _keys(asked, close)
        after = np.searchsorted(close_keys, keys).clip(max=max(len(close) - 1, 0))
        wanted = close_keys[after] == keys
        for other in (after, np.maximum(after - 1, 0)):  # the next above, the next below
            within = np.abs(close[other] - approximate) <= self.reach
            wanted |= within & (asked[other] == rows) & ~kind
        sizes = np.bincount(rows[wanted], minlength=len(near))
        crowded = np.flatnonzero(sizes > _CROWDED * scores.shape[1])
        near[crowded] = False
        wanted &= ~np.isin(rows, crowded)
        rows, columns, kind, keys = rows[wanted], columns[wanted], kind[wanted], keys[wanted]
        really = np.empty(len(rows))
        ends = np.searchsorted(rows, np.arange(len(near) + 1)).tolist()
        for row, (start, stop) in enumerate(itertools.pairwise(ends)):
            if start < stop:
                really[start:stop] = self.pair.exact_row(first + row, columns[start:stop])
        self._check(really, approximate[wanted])
        # Irrelevant candidates above each relevant one: by float32, and as it really is.
        rising = np.argsort(keys, kind="stable")
        order = np.lexsort((-self.position[columns], really, rows))
        change = _irrelevant_before(rising, kind) - _irrelevant_before(order, kind)
        above[near] += change[rising][kind[rising]]
        return crowded

    def _candidates(
        self, scores: Single, asked: Integers, close: Single
    ) -> tuple[Integers, Integers]:
        """Rows and columns of all that may be within reach of a close score, and of some more."""
        # Bins wider than two reaches, rounding included: what is in reach of a score lies in two.
        scale = np.float32(0.45 / self.reach)
        marks = (np.stack([close - self.reach, close + self.reach]) * scale).astype(np.int32)
        marks &= _BINS - 1
        chosen = self._chosen[: len(scores)]
        ends = np.searchsorted(asked, np.arange(len(scores) + 1)).tolist()
        for row, (start, stop) in enumerate(itertools.pairwise(ends)):
            here = marks[:, start:stop]
            self._marked[here] = True
            np.multiply(scores[row], scale, out=self._bins, casting="unsafe")  # as `astype` rounds
            self._bins &= _BINS - 1
            # All bins are in range; `clip` spares `take` the check and a conversion.
            self._marked.take(self._bins, mode="clip", out=chosen[row])
            self._marked[here] = False
        rows, columns = np.divmod(np.flatnonzero(chosen), scores.shape[1])
        return rows, columns

    def _check(self, exact: Double, approximate: Single) -> None:
        if np.abs(exact - approximate).max(initial=0.0) > self.trusted:
            raise TooCoarseError


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
    scores: npt.NDArray[Any], relevant: slice, position: Integers
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
    after = np.full(places.shape, ordered.shape[1] - 1, np.int32)
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


def _keys(rows: Integers, scores: Single) -> Integers:
    """Whole numbers that compare as row, then score."""
    bits = (scores + np.float32(0)).view(np.int32)  # adding zero turns -0.0 into 0.0
    return (rows << 32) + np.where(bits >= 0, bits, bits ^ np.int32(0x7FFFFFFF))


def _irrelevant_before(order: Integers, kind: npt.NDArray[np.bool_]) -> Integers:
    """How many irrelevant ones stand before each in an order; by place, not by rank."""
    before = np.empty(len(order), np.int64)
    before[order] = np.cumsum(~kind[order])
    return before
