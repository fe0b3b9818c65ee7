"""The nearest of some rows, exactly, from float16 vectors that need not be in memory.

The outcome is that of :func:`msedge.search.ranking.nearest` over the same vectors as the gallery's
snapshot has them, to the last bit. It stays on the thread that asks: what NumPy hands to a BLAS may
end up on several. Tested in ``tests/search/approximate/test_reranking.py``.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from msedge.search.candidates import unit_vectors
from msedge.search.encoder import Embeddings
from msedge.search.ranking import Positions, Similarities

_BLOCK = 4096
# A table does what `astype` does in half the time; 256 KB that stay in the cache.
_SINGLE = np.arange(65_536, dtype=np.uint16).view(np.float16).astype(np.float32)

Vectors = npt.NDArray[np.float16]


def nearest_of(
    vectors: Vectors, rows: Positions, query: npt.NDArray[np.floating], k: int
) -> tuple[Positions, Similarities]:
    """The first ``k`` of some rows by falling cosine similarity, ties by rising row.

    Args:
        vectors: ``(N, dim)``, about of length 1.
        rows: rising, ``(M,)``.
        query: a unit vector ``(dim,)``.
        k: how many; fewer come back where there are fewer.

    Returns:
        Rows ``(n,)`` and their similarities ``(n,)`` in [-1, 1].
    """
    single, double = query.astype(np.float32), query.astype(np.float64)
    if 0 < k < len(rows):
        blocks = [_scores(vectors[block], single) for block in _blocks(rows)]
        scores = np.concatenate(blocks)
        least = np.partition(scores, len(scores) - k)[len(scores) - k]
        # As in ranking.py, and twice that, since lengths are rounded too.
        rows = rows[scores >= least - 2 * (vectors.shape[1] + 4) * np.finfo(np.float32).eps]
    blocks = [
        (unit_vectors(vectors[block]) * double).sum(axis=1) for block in _blocks(rows)
    ]  # a sum along a row depends on nothing but that row
    exact = np.concatenate(blocks) if blocks else np.empty(0, np.float64)
    order = np.argsort(-exact, kind="stable")[: max(k, 0)]
    return rows[order], np.clip(exact[order], -1.0, 1.0)


def _blocks(rows: Positions) -> Iterator[Positions]:
    return (rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK))


def _scores(stored: Vectors, query: Embeddings) -> npt.NDArray[np.float32]:
    vectors = np.take(_SINGLE, stored.view(np.uint16))
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    scores: npt.NDArray[np.float32] = np.einsum("nd,d->n", vectors, query)
    scores /= np.maximum(lengths, np.float32(1e-12))
    return scores
