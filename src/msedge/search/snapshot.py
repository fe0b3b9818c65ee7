"""A gallery's vectors as they were at one moment, in memory.

They never change, so that many threads can search them while the next ones are read. Tested in
``tests/search/test_snapshot.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from msedge.blas_threads import one_blas_thread
from msedge.search.candidates import Candidates, unit_vectors
from msedge.search.encoder import Embeddings
from msedge.search.ranking import nearest
from msedge.search.store import Ids

if TYPE_CHECKING:
    from msedge.search.gallery_file import GalleryFile

_LARGEST_ID = 2**63 - 1
_MOST_CHANGED = 0.25  # share of the photos; beyond it, reading all of them is as quick


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The vectors of a gallery.

    Attributes:
        version: of the file that they were read from.
        ids: of the photos, rising, ``(N,)``.
        vectors: unit vectors in that order, ``(N, dim)``, float32.
    """

    version: int
    ids: Ids
    vectors: Embeddings

    def __post_init__(self) -> None:
        self.ids.flags.writeable = self.vectors.flags.writeable = False

    @classmethod
    def read(cls, file: GalleryFile) -> Self:
        """Everything that a file holds now."""
        version = file.version()  # first: what is written meanwhile is then read again
        ids, stored = file.vectors()
        return cls(version, ids, unit_vectors(stored))

    def after(self, file: GalleryFile) -> Snapshot:
        """What the file holds now, of which only what has changed since this one is read."""
        changes = file.changes(self.version, most=int(_MOST_CHANGED * len(self.ids)))
        if changes is None:
            return Snapshot.read(file)
        stays = ~np.isin(self.ids, np.concatenate([changes.removed, changes.ids]))
        ids = np.concatenate([self.ids[stays], changes.ids])
        vectors = np.concatenate([self.vectors[stays], unit_vectors(changes.vectors)])
        order = np.argsort(ids, kind="stable")
        if not np.array_equal(order, np.arange(len(ids))):  # new ids are the last, changed ones not
            ids, vectors = ids[order], vectors[order]
        return Snapshot(changes.version, ids, vectors)

    def vector(self, photo: int) -> Embeddings | None:
        """The vector of a photo by its id, ``(dim,)``; None where it is not there."""
        if not 0 < photo <= _LARGEST_ID:
            return None
        (row,) = rows_of(self.ids, np.array([photo], np.int64))
        return None if row < 0 else self.vectors[row]

    def allowed(self, only: Ids) -> npt.NDArray[np.bool_]:
        """Which rows count, ``(N,)``, where only some photos do."""
        counts = np.zeros(len(self.ids), np.bool_)
        rows = rows_of(self.ids, only)
        counts[rows[rows >= 0]] = True
        return counts

    def nearest(
        self, query: Embeddings, depth: int, allowed: npt.NDArray[np.bool_] | None
    ) -> Candidates:
        """The first photos of a ranking.

        Args:
            query: a unit vector ``(dim,)``.
            depth: how many, at least 1; fewer come back where there are fewer.
            allowed: the rows that count, as :meth:`allowed` says; None for all.
        """
        # A BLAS with threads of its own leaves them spinning on the cores that embed.
        with one_blas_thread:
            rows, similarities = nearest(self.vectors, query, depth, allowed=allowed)
        return Candidates(self.ids[rows], similarities, self.vectors[rows])


def rows_of(ids: Ids, photos: Ids) -> npt.NDArray[np.int64]:
    """Where each photo stands among rising ids; -1 where it does not.

    >>> rows_of(np.array([2, 5, 9]), np.array([9, 1, 2])).tolist()
    [2, -1, 0]
    """
    if not len(ids):
        return np.full(len(photos), -1, np.int64)
    rows = np.minimum(np.searchsorted(ids, photos), len(ids) - 1)
    return np.where(ids[rows] == photos, rows, -1)
