"""Vectors of one moment in memory, searched exactly.

They never change, so that many threads can search them while the next ones are read. Tested in
``tests/search/stores/test_views.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from msedge.blas_threads import one_blas_thread
from msedge.search.filters import Filters
from msedge.search.photo import LARGEST_ID, Ids
from msedge.search.ranking import Candidates, Embeddings, nearest

Mask = npt.NDArray[np.bool_]

_FILTERS_KEPT = 32


@dataclass(frozen=True, slots=True)
class Kept:
    """What some filters come to, kept while the photos stay as they are.

    A page asks with the same filters at each stroke; reading which of 100,000 photos match takes a
    tenth of a second, ten times what ranking does.

    Attributes:
        read: finds it out.
    """

    read: Callable[[Filters], Any]
    _known: dict[Filters, Any] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def get(self, filters: Filters | None) -> Any:
        """What they come to; None for no filters."""
        if filters is None:
            return None
        known = self._known.get(filters)
        if known is None:
            known = self.read(filters)
            with self._lock:
                if len(self._known) >= _FILTERS_KEPT:
                    self._known.clear()
                self._known[filters] = known
        return known


@dataclass(frozen=True, slots=True)
class Resident:
    """The vectors of a gallery, in memory.

    Attributes:
        version: of the store that they were read from.
        ids: of the photos, rising, ``(N,)``.
        rows: unit vectors in that order, ``(N, dim)``, float32.
    """

    version: int
    ids: Ids
    rows: Embeddings

    def __post_init__(self) -> None:
        self.ids.flags.writeable = self.rows.flags.writeable = False

    def vector(self, photo: int) -> Embeddings | None:
        """The vector of a photo by its id, ``(dim,)``; None where it is not there."""
        if not 0 < photo <= LARGEST_ID:
            return None
        (row,) = rows_of(self.ids, np.array([photo], np.int64))
        return None if row < 0 else self.rows[row]

    def allowed(self, only: Ids) -> Mask:
        """Which rows count, ``(N,)``, where only some photos do."""
        return mask_of(self.ids, only)

    def first(self, query: Embeddings, depth: int, allowed: Mask | None) -> Candidates:
        """The first photos of a ranking.

        Args:
            query: a unit vector ``(dim,)``.
            depth: how many, at least 1; fewer come back where there are fewer.
            allowed: the rows that count, as :meth:`allowed` says; None for all.
        """
        # A BLAS with threads of its own leaves them spinning on the cores that embed.
        with one_blas_thread:
            rows, similarities = nearest(self.rows, query, depth, allowed=allowed)
        return Candidates(self.ids[rows], similarities, self.rows[rows])


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
    """Which of rising ids are among some photos.

    >>> mask_of(np.array([2, 5, 9]), np.array([9, 1, 2])).tolist()
    [True, False, True]
    """
    mask = np.zeros(len(ids), np.bool_)
    rows = rows_of(ids, photos)
    mask[rows[rows >= 0]] = True
    return mask
