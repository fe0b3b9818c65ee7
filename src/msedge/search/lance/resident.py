"""A gallery's vectors in memory, brought from one version to the next by reading what is new.

Tested in ``tests/search/lance/test_resident.py``.
"""

from __future__ import annotations

import json
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from msedge.search.candidates import Candidates, unit_vectors
from msedge.search.encoder import Embeddings
from msedge.search.filters import Filters
from msedge.search.gallery_rows import check_finite
from msedge.search.lance.datasets import told
from msedge.search.lance.moment import Moment
from msedge.search.lance.schema import vectors_of
from msedge.search.snapshot import Snapshot, rows_of
from msedge.search.store import Ids

_FILTERS_KEPT = 32


class Resident:
    """All vectors of one version, searched exactly; threads may share it."""

    def __init__(self, moment: Moment, before: Resident | None = None) -> None:
        """Read a version.

        Args:
            moment: the version.
            before: an earlier one; rows of fragments that it has too are not read again.
        """
        self._moment = moment
        # Ids by what Lance says of their fragment: the same words, the same rows.
        self._fragments: dict[str, Ids] = {}
        ids: list[Ids] = [np.empty(0, np.int64)]
        vectors: list[Embeddings] = [np.empty((0, moment.dim), np.float32)]
        with told(moment.path):
            for fragment in moment.dataset.get_fragments():
                words = json.dumps(fragment.metadata.to_json(), sort_keys=True)
                taken = None if before is None else before._taken(words)
                if taken is None:
                    rows = fragment.to_table(columns=["id", "vector"])
                    numbers, stored = rows["id"].to_numpy(), vectors_of(rows, moment.dim)
                    check_finite(stored, numbers)
                    taken = numbers, unit_vectors(stored)
                self._fragments[words] = taken[0]
                ids.append(taken[0])
                vectors.append(taken[1])
        every = np.concatenate(ids)
        order = np.argsort(every, kind="stable")
        self._snapshot = Snapshot(moment.version, every[order], np.concatenate(vectors)[order])
        # A page asks with the same filters at each stroke.
        self._allowed = lru_cache(_FILTERS_KEPT)(self._read_allowed)

    def vector(self, photo: int) -> Embeddings | None:
        """The unit vector ``(dim,)`` of a photo by its id; None where it is not there."""
        return self._snapshot.vector(photo)

    def nearest(self, query: Embeddings, depth: int, filters: Filters | None) -> Candidates:
        """The first photos that match, out of all."""
        allowed = None if filters is None else self._allowed(filters)
        return self._snapshot.nearest(query, depth, allowed)

    def _read_allowed(self, filters: Filters) -> npt.NDArray[np.bool_]:
        return self._snapshot.allowed(self._moment.ids(filters))

    def _taken(self, words: str) -> tuple[Ids, Embeddings] | None:
        ids = self._fragments.get(words)
        if ids is None:
            return None
        return ids, self._snapshot.vectors[rows_of(self._snapshot.ids, ids)]
