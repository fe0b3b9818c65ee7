"""Vectors of one moment in memory, searched exactly.

They never change, so that many threads can search them while the next ones are read. Tested in
``tests/search/stores/test_views.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from msedge.blas_threads import one_blas_thread
from msedge.search.filters import Filters
from msedge.search.photo import LARGEST_ID, Ids, Reals
from msedge.search.ranking import Candidates, Embeddings, nearest

Mask = npt.NDArray[np.bool_]

_FILTERS_KEPT = 32


class Kept:
    """What some filters come to, kept while the photos stay as they are.

    A page asks with the same filters at each stroke; reading which of 100,000 photos match takes a
    tenth of a second, ten times what ranking does.
    """

    def __init__(self, read: Callable[[Filters], Any]) -> None:
        self._known = lru_cache(_FILTERS_KEPT)(read)

    def get(self, filters: Filters | None) -> Any:
        """What they come to; None for no filters."""
        return None if filters is None else self._known(filters)


@dataclass(frozen=True, slots=True)
class Resident:
    """The unit vectors ``(N, dim)`` of a gallery's version, by rising ids ``(N,)``."""

    version: int
    ids: Ids
    rows: Embeddings
    hubness: Reals  # (N,), zeros where the gallery has no hubs
    hubs: str  # whose they are; empty where it has none
    state: str  # what the store calls it, where numbers of versions may repeat; else empty

    def __post_init__(self) -> None:
        for each in (self.ids, self.rows, self.hubness):
            each.flags.writeable = False

    def vector(self, photo: int) -> Embeddings | None:
        """The vector of a photo by its id, ``(dim,)``; None where it is not there."""
        if not 0 < photo <= LARGEST_ID:
            return None
        (row,) = rows_of(self.ids, np.array([photo], np.int64))
        return None if row < 0 else self.rows[row]

    def allowed(self, only: Ids) -> Mask:
        """Which rows count, ``(N,)``, where only some photos do."""
        return mask_of(self.ids, only)

    def first(
        self, query: Embeddings, depth: int, allowed: Mask | None, hub_share: float
    ) -> Candidates:
        """The first so many photos by score, of the rows that :meth:`allowed` lets count."""
        handicaps = hub_share * self.hubness if hub_share and self.hubs else None
        # A BLAS with threads of its own leaves them spinning on the cores that embed.
        with one_blas_thread:
            rows, found = nearest(self.rows, query, depth, allowed=allowed, handicaps=handicaps)
        scores = found if handicaps is None else found - handicaps[rows]
        return Candidates(self.ids[rows], found, scores, self.rows[rows])


def rows_of(ids: Ids, photos: Ids) -> npt.NDArray[np.int64]:
    """Where each photo stands among rising ids; -1 where it does not.

    >>> rows_of(np.array([2, 5, 9]), np.array([9, 1, 2])).tolist()
    [2, -1, 0]
    """
    if not len(ids):
        return np.full(len(photos), -1, np.int64)
    rows = np.minimum(np.searchsorted(ids, photos), len(ids) - 1)
    return np.where(ids[rows] == photos, rows, -1)


def mask_of(ids: Ids, photos: Ids) -> Mask:
    """Which of rising ids are among some photos."""
    mask = np.zeros(len(ids), np.bool_)
    rows = rows_of(ids, photos)
    mask[rows[rows >= 0]] = True
    return mask
