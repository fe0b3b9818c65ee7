"""A search: candidates from the structure, ranked again exactly, as many as there are to be had.

Tested in ``tests/search/approximate/test_index.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from msedge.search.approximate.effort import Effort
from msedge.search.approximate.reranking import Vectors, nearest_of
from msedge.search.approximate.structure import Structure, candidates, full_width
from msedge.search.encoder import Embeddings
from msedge.search.ranking import Positions, Similarities

EXACT_ROWS = 4000
"""Rows up to which all of them are ranked: some milliseconds."""

_WIDER = 4


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
        if counting <= max(EXACT_ROWS, k):
            rows = np.arange(count) if allowed is None else np.flatnonzero(allowed)
        else:
            rows = self._candidates(query, k, counting, effort, allowed)
        return nearest_of(self.vectors, rows, query, k)

    def _candidates(
        self,
        query: Embeddings,
        k: int,
        counting: int,
        effort: Effort,
        allowed: npt.NDArray[np.bool_] | None,
    ) -> Positions:
        bits = None if allowed is None else np.packbits(allowed, bitorder="little")
        looked = effort.of(k, counting / len(self.vectors))
        width, most = looked.width, full_width(self.structure)
        depth = min(max(looked.depth, k), counting)
        while True:
            width = min(width, most)
            rows = candidates(self.structure, np.asarray(query, np.float32), width, depth, bits)
            # Where few rows count and all lie elsewhere, the first lists that hold some need not
            # hold the nearest: only a full set of candidates says that enough was looked at.
            if len(rows) >= depth or (allowed is None and len(rows) >= k):
                return rows
            if width == most:
                break
            width *= _WIDER
        if len(rows) >= k:
            return rows
        return np.arange(len(self.vectors)) if allowed is None else np.flatnonzero(allowed)
