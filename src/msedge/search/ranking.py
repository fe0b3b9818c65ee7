"""The photos nearest to a query, exactly, out of all of them.

One product over the whole matrix takes a few milliseconds for 100,000 photos (measured by
``benchmarks/search.py``), so nothing here approximates. float32 products round, and round
differently from row to row, so whatever could belong to the answer is scored again in float64:
equal vectors then have equal similarities, and a ranking is the same on every machine. Tested in
``tests/search/test_ranking.py``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from msedge.search.encoder import Embeddings

Positions = npt.NDArray[np.int64]
Similarities = npt.NDArray[np.float64]

_BLOCK = 4096  # rows that are scored in float64 at a time


def nearest(
    vectors: Embeddings,
    query: npt.NDArray[np.floating],
    k: int,
    *,
    allowed: npt.NDArray[np.bool_] | None = None,
) -> tuple[Positions, Similarities]:
    """The first ``k`` rows by falling cosine similarity, ties by rising row.

    Args:
        vectors: unit vectors ``(N, dim)``, float32.
        query: a unit vector ``(dim,)``.
        k: how many, at least 1; fewer come back where there are fewer.
        allowed: ``(N,)``; only the rows where it is true count.

    Returns:
        Rows ``(n,)`` and their similarities ``(n,)`` in [-1, 1], where ``n`` is the smaller of
        ``k`` and the number of rows that count.

    Example:
        >>> rows, similarities = nearest(np.eye(3, dtype=np.float32), np.array([0.0, 0.6, 0.8]), 2)
        >>> rows.tolist(), similarities.tolist()
        ([2, 1], [0.8, 0.6])
    """
    rows = _candidates(vectors @ query.astype(np.float32), k, vectors.shape[1], allowed)
    exact = _similarities(vectors, rows, query.astype(np.float64))
    order = np.argsort(-exact, kind="stable")[:k]  # `rows` rise, so ties keep that order
    return rows[order], np.clip(exact[order], -1.0, 1.0)


def _candidates(
    scores: npt.NDArray[np.float32], k: int, dim: int, allowed: npt.NDArray[np.bool_] | None
) -> Positions:
    """Rising rows among which the first ``k`` are, whatever rounding did to the scores."""
    if allowed is not None:
        scores = np.where(allowed, scores, np.float32(-np.inf))
        k = min(k, int(np.count_nonzero(allowed)))
    if k < 1 or not len(scores):
        return np.empty(0, np.int64)
    if k < len(scores):
        least = np.partition(scores, len(scores) - k)[len(scores) - k]
        # Higham, Accuracy and Stability of Numerical Algorithms (2002), 3.1: a product of unit
        # vectors is off by at most dim * eps / 2, and both sides of the comparison may be.
        chosen = scores >= least - dim * np.finfo(np.float32).eps
    else:
        chosen = np.isfinite(scores)
    return np.flatnonzero(chosen)


def _similarities(
    vectors: Embeddings, rows: Positions, query: npt.NDArray[np.float64]
) -> Similarities:
    # A sum along a row depends on nothing but that row; a product of matrices may not.
    blocks = [
        (vectors[rows[start : start + _BLOCK]] * query).sum(axis=1)
        for start in range(0, len(rows), _BLOCK)
    ]
    return np.concatenate(blocks) if blocks else np.empty(0, np.float64)
