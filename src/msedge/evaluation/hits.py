"""Where the relevant photos of a ranking stand: all that any metric of this field looks at.

A query's ranking of 17,101 photos comes down to the ranks of its 684 relevant ones, so rankings
travel in this form: a twentieth of the memory, and every convention works on it directly.
Tested in ``tests/evaluation/test_hits.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from msedge.errors import ShapeError

MOST_K = 2**31 - 1
"""The largest cut-off: ranks are int32."""


@dataclass(frozen=True)
class Hits:
    """The ranks of the relevant photos of some queries over one gallery.

    Attributes:
        ranks: ``(Q, R)`` integers, each row rising, 1 for the best-ranked photo. Rows with fewer
            than R relevant photos are filled up with ``gallery + 1``, a rank that no photo has.
        gallery: How many photos were ranked, M.
    """

    ranks: npt.NDArray[np.int32]
    gallery: int

    @classmethod
    def from_relevance(cls, relevance: npt.NDArray[np.bool_]) -> Hits:
        """The ranks of the true entries of each row.

        Args:
            relevance: Bool ``(Q, M)`` in ranked order, each row a whole gallery.

        Raises:
            ShapeError: ``relevance`` is not a bool matrix.

        >>> import numpy as np
        >>> Hits.from_relevance(np.array([[True, False, True], [False, True, False]])).ranks
        array([[1, 3],
               [2, 4]], dtype=int32)
        """
        if relevance.ndim != 2 or relevance.dtype != np.bool_:
            raise ShapeError(
                f"relevance must be a bool (Q, M) array, got {relevance.dtype} {relevance.shape}"
            )
        queries, gallery = relevance.shape
        query, column = np.nonzero(relevance)
        found = np.bincount(query)
        ranks = np.full((queries, int(found.max(initial=0))), gallery + 1, np.int32)
        # `nonzero` walks row by row: an entry's place after its row's first is its column here.
        ranks[query, np.arange(len(query)) - np.repeat(np.cumsum(found) - found, found)] = (
            column + 1
        )
        return cls(ranks, gallery)

    @property
    def relevant(self) -> npt.NDArray[np.int64]:
        """How many relevant photos the gallery holds for each query, R: ``(Q,)``."""
        return self.within(None)

    def within(self, k: int | None) -> npt.NDArray[np.int64]:
        """How many relevant photos are among the first k, ``h_k``: ``(Q,)``; None for all.

        Raises:
            ShapeError: ``k`` is below 1 or above :data:`MOST_K`.
        """
        last = self.last(k)
        # The t-th hit stands at rank t at best, so that no later column can count.
        count: npt.NDArray[np.int64] = np.count_nonzero(self.ranks[:, :last] <= last, axis=1)
        return count

    def last(self, k: int | None) -> int:
        """The last rank that counts for a cut-off: k, or M where the gallery is smaller.

        Raises:
            ShapeError: ``k`` is below 1 or above :data:`MOST_K`.
        """
        if k is None:
            return self.gallery
        check_cut_off(k, "k")
        return min(k, self.gallery)


def check_cut_off(k: int, name: str) -> None:
    """Refuse a cut-off that no ranking has.

    Raises:
        ShapeError: ``k`` is below 1 or above :data:`MOST_K`; the message calls it ``name``.
    """
    if k < 1:
        raise ShapeError(f"{name} must be at least 1, got {k}")
    if k > MOST_K:
        raise ShapeError(f"{name} must be at most {MOST_K:,}, got {k}")
