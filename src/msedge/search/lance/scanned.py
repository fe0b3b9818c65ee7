"""A gallery's vectors left where they lie: Lance finds candidates, which are ranked again exactly.

Tested in ``tests/search/lance/test_scanned.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from msedge.blas_threads import one_blas_thread
from msedge.search.candidates import Candidates, unit_vectors
from msedge.search.encoder import Embeddings
from msedge.search.filters import Filters
from msedge.search.lance.moment import Moment, condition_of
from msedge.search.lance.schema import vectors_of
from msedge.search.lance.vector_index import Tuning
from msedge.search.ranking import nearest

_FILTERS_KEPT = 32
_MORE = 100  # candidates beyond those asked for: Lance's distances round, and may swap neighbours


class Scanned:
    """The vectors of one version; threads may share it."""

    def __init__(self, moment: Moment, tuning: Tuning | None) -> None:
        """Take a version, and how its index is asked; None reads all vectors for each query."""
        self._moment = moment
        self._tuning = tuning
        self._count = lru_cache(_FILTERS_KEPT)(moment.count)

    def vector(self, photo: int) -> Embeddings | None:
        """The unit vector ``(dim,)`` of a photo by its id; None where it is not there."""
        if not self._moment.photos([photo]):
            return None
        rows = self._moment.table(["vector"], f"id = {photo:d}")
        vectors: Embeddings = unit_vectors(vectors_of(rows, self._moment.dim)[:1])[0]
        return vectors

    def nearest(self, query: Embeddings, depth: int, filters: Filters | None) -> Candidates:
        """The first photos that match; fewer than ``depth`` only where there are no more."""
        where = None if filters is None else condition_of(filters)
        matching = self._count(where)
        for effort in self._efforts(depth + _MORE, where):
            candidates = self._scored(query, depth, where, effort)
            if len(candidates.ids) == min(depth, matching):
                break
        return candidates

    def _efforts(self, count: int, where: str | None) -> Iterator[dict[str, Any]]:
        """What Lance is asked for so many candidates, and what next where it gives fewer."""
        if self._tuning is not None:
            # Photos that match lie scattered: as many of them are looked at as without filters.
            scarce = self._count(None) / max(1, self._count(where))
            probes = min(self._tuning.partitions, math.ceil(self._tuning.probes * scarce))
            by_index = {"k": count * self._tuning.refine, "minimum_nprobes": probes}
            yield by_index | {"maximum_nprobes": probes}
            yield by_index  # as many parts as it takes
        yield {"k": count, "use_index": False}

    def _scored(
        self, query: Embeddings, depth: int, where: str | None, effort: dict[str, Any]
    ) -> Candidates:
        rows = self._moment.table(
            ["id", "vector"],
            where,
            nearest={"column": "vector", "q": query, "metric": "cosine", **effort},
            prefilter=True,
            disable_scoring_autoprojection=True,
        )
        ids = rows["id"].to_numpy()
        order = np.argsort(ids, kind="stable")
        vectors = unit_vectors(vectors_of(rows, self._moment.dim)[order])
        with one_blas_thread:
            places, similarities = nearest(vectors, query, depth)
        return Candidates(ids[order][places], similarities, vectors[places])
