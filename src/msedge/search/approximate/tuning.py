"""The least effort with which a structure finds what is wanted, measured against exact search.

Tested in ``tests/search/approximate/test_tuning.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from msedge.blas_threads import one_blas_thread
from msedge.search.approximate.effort import MEASURED_AT, Effort
from msedge.search.approximate.reranking import Vectors
from msedge.search.approximate.searcher import Searcher
from msedge.search.approximate.structure import full_width, is_graph
from msedge.search.candidates import unit_vectors
from msedge.search.encoder import Embeddings
from msedge.search.sample_queries import aim_for

_BLOCK = 8192
_LEAST = Effort(8, 100)
_LEAST_OF_GRAPH = Effort(64, 40)
_MOST_DEPTH = 6400
_WIDEST_WALK = 2048
_ROUNDING = 1e-6

Told = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Tuned:
    """An effort and what it finds.

    Attributes:
        effort: to search with.
        recall: share of the true first 20 found.
        sample: queries that it was measured with.
    """

    effort: Effort
    recall: float
    sample: int


def least_similarity(vectors: Vectors, queries: Embeddings, told: Told) -> npt.NDArray[np.float32]:
    """The similarity of the 20th photo to each query (or of the last), exactly, ``(Q,)``.

    Args:
        vectors: float16 ``(N, dim)``, read once, block by block.
        queries: unit vectors ``(Q, dim)``, float32.
        told: called with rows done and all rows; may raise to make an end.
    """
    wanted = min(MEASURED_AT, len(vectors))
    best = np.empty((len(queries), 0), np.float32)
    for start in range(0, len(vectors), _BLOCK):
        told(start, len(vectors))
        scores = queries @ unit_vectors(vectors[start : start + _BLOCK]).T
        best = np.concatenate([best, scores], axis=1)
        if best.shape[1] > wanted:
            best = -np.partition(-best, wanted - 1, axis=1)[:, :wanted]
    least: npt.NDArray[np.float32] = best.min(axis=1, initial=2.0)
    return least


def tuned(searcher: Searcher, queries: Embeddings, recall: float, told: Told) -> Tuned:
    """The effort that reaches a recall, or the best there is where none does.

    Whichever of width and depth gains more is doubled, until there is enough.

    Args:
        searcher: what is searched.
        queries: unit vectors ``(Q, dim)``, float32.
        recall: wanted, in (0, 1).
        told: as in :func:`least_similarity`.
    """
    first = _LEAST_OF_GRAPH if is_graph(searcher.structure) else _LEAST
    if not len(queries) or not len(searcher.vectors):
        return Tuned(first, 1.0, 0)
    least = least_similarity(searcher.vectors, queries, told)
    aim = aim_for(recall)
    widest = full_width(searcher.structure)
    if is_graph(searcher.structure):
        widest = min(widest, _WIDEST_WALK)
    most = Effort(widest, min(_MOST_DEPTH, 2 * widest + 20 * first.depth, len(searcher.vectors)))
    now = _measured(searcher, queries, least, first)
    while now.recall < aim:
        told(len(searcher.vectors), len(searcher.vectors))
        width, depth = now.effort.width, now.effort.depth
        both = (Effort(2 * width, depth), Effort(width, 2 * depth))
        tried = [
            _measured(searcher, queries, least, effort)
            for effort in both
            if effort.width < 2 * most.width and effort.depth < 2 * most.depth
        ]
        if not tried:
            break
        now = max(tried, key=lambda one: one.recall)
    return now


def _measured(
    searcher: Searcher, queries: Embeddings, least: npt.NDArray[np.float32], effort: Effort
) -> Tuned:
    wanted = min(MEASURED_AT, len(searcher.vectors))
    right = 0
    with one_blas_thread:
        for query, last in zip(queries, least, strict=True):
            _, similarities = searcher.nearest(query, wanted, effort)
            right += int(np.count_nonzero(similarities >= last - _ROUNDING))
    return Tuned(effort, right / (wanted * len(queries)), len(queries))
