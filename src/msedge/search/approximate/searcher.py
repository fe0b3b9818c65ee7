"""A search: candidates from the structure, ranked again exactly, as many as there are to be had.

Tested in ``tests/search/approximate/test_index.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from msedge.search.approximate.effort import Effort
from msedge.search.approximate.reranking import Vectors, nearest_of
from msedge.search.approximate.structure import Structure, candidates, full_width, is_graph
from msedge.search.encoder import Embeddings
from msedge.search.ranking import Positions, Similarities

EXACT_ROWS = 4000
"""Rows up to which all of them are ranked: some milliseconds."""

_WIDER = 4
_NEARLY_ALL = 0.9  # share of the rows that count, above which they lie everywhere
_MANY = 8  # a walk to every eighth photo takes longer than ranking all of them

Found = tuple[Positions, Similarities]


@dataclass(frozen=True, slots=True)
class Searcher:
    """What is searched.

    Attributes:
        structure: of faiss.
        vectors: float16 ``(N, dim)``, memory-mapped.
    """

    structure: Structure
    vectors: Vectors

    def nearest(
        self,
        query: Embeddings,
        k: int,
        effort: Effort,
        allowed: npt.NDArray[np.bool_] | None = None,
    ) -> tuple[Positions, Similarities]:
        """The nearest rows; see :meth:`ApproximateIndex.nearest`."""
        count = len(self.vectors)
        counting = count if allowed is None else int(np.count_nonzero(allowed))
        if counting == count:
            allowed = None
        k = min(k, counting)
        if counting > max(EXACT_ROWS, k):
            if allowed is None or not is_graph(self.structure):
                found = self._looked_up(query, k, counting, effort, allowed)
            else:
                found = self._walked(query, k, counting, effort, allowed)
            if len(found[0]) == k:
                return found
        rows = np.arange(count) if allowed is None else np.flatnonzero(allowed)
        return nearest_of(self.vectors, rows, query, k)

    def _looked_up(
        self,
        query: Embeddings,
        k: int,
        counting: int,
        effort: Effort,
        allowed: npt.NDArray[np.bool_] | None,
    ) -> Found:
        """What some lists hold, or a walk; fewer than ``k`` where all of it holds fewer."""
        bits = None if allowed is None else np.packbits(allowed, bitorder="little")
        share = counting / len(self.vectors)
        looked, most = effort.of(k, share), full_width(self.structure)
        width, depth = min(looked.width, most), min(max(looked.depth, k), counting)
        single = np.asarray(query, np.float32)
        found: Found | None = None
        while True:
            rows = candidates(self.structure, single, width, depth, bits)
            before, found = found, nearest_of(self.vectors, rows, query, k)
            full = len(found[0]) == k
            # What counts may lie far from the query: then the first lists that hold some of it
            # need not hold the nearest. Where four times as many find nothing else, they do.
            settled = share >= _NEARLY_ALL or (before and np.array_equal(before[0], found[0]))
            if (full and settled) or width == most:
                return found
            width = min(_WIDER * width, most)

    def _walked(
        self,
        query: Embeddings,
        k: int,
        counting: int,
        effort: Effort,
        allowed: npt.NDArray[np.bool_],
    ) -> Found:
        """What a graph finds; fewer than ``k`` where what counts is seldom near.

        A walk that sees only what counts ends where that begins, far from the nearest of it. So it
        sees everything, and what counts of that is kept.
        """
        count = len(self.vectors)
        looked = effort.of(math.ceil(k * count / counting), 1.0)
        rows = np.empty(0, np.int64)
        if looked.depth <= count // _MANY:
            single = np.asarray(query, np.float32)
            rows = candidates(self.structure, single, looked.width, looked.depth, None)
        return nearest_of(self.vectors, rows[allowed[rows]], query, k)
