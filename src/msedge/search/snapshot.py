"""A gallery as it was at one moment, in memory: what a search looks through.

It never changes, so that many threads can search it while the next one is read. Tested in
``tests/search/test_snapshot.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from msedge.blas_threads import one_blas_thread
from msedge.search.encoder import Embeddings
from msedge.search.gallery_file import GalleryFile
from msedge.search.near_duplicates import NEAR_DUPLICATE, Group, collapse
from msedge.search.ranking import nearest

Ids = npt.NDArray[np.int64]

_LEAST_DEPTH = 500  # ranks that are looked through for near-duplicates of the hits


@dataclass(frozen=True, slots=True)
class Found:
    """One photo of an answer, by ids.

    Attributes:
        id: of the photo.
        similarity: cosine similarity to the query, in [-1, 1].
        copies: ids of its near-duplicates, best first.
    """

    id: int
    similarity: float
    copies: tuple[int, ...] = ()


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

    @classmethod
    def read(cls, file: GalleryFile) -> Self:
        """Everything that a file holds now."""
        version = file.version()  # first: what is written meanwhile is then read again
        ids, stored = file.vectors()
        vectors = stored.astype(np.float32)
        # float16 leaves lengths a little off 1.
        lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
        vectors /= np.maximum(lengths, np.float32(1e-12))[:, None]
        ids.flags.writeable = vectors.flags.writeable = False
        return cls(version, ids, vectors)

    def vector(self, photo: int) -> Embeddings | None:
        """The vector of a photo by its id, ``(dim,)``; None where it is not there."""
        (row,) = self._rows(np.array([photo], np.int64))
        return None if row < 0 else self.vectors[row]

    def allowed(self, only: Ids | None, without: tuple[int, ...]) -> npt.NDArray[np.bool_] | None:
        """Which rows count, ``(N,)``; None for all.

        Args:
            only: ids of the photos that do; None for all.
            without: ids of photos that do not, nor do their near-duplicates.
        """
        if only is None and not without:
            return None
        counts = np.full(len(self.ids), only is None)
        if only is not None:
            rows = self._rows(only)
            counts[rows[rows >= 0]] = True
        for photo in without:
            vector = self.vector(photo)
            if vector is not None:
                counts[self.vectors @ vector >= NEAR_DUPLICATE] = False
        return counts

    def search(
        self, query: Embeddings, k: int, *, allowed: npt.NDArray[np.bool_] | None, together: bool
    ) -> list[Found]:
        """The photos nearest to a query.

        Args:
            query: a unit vector ``(dim,)``.
            k: photos wanted, at least 1; groups of them where ``together``.
            allowed: the rows that count, ``(N,)``; None for all.
            together: whether near-duplicates are one. They are sought in the first 500 ranks, and
                further down where those do not make ``k`` groups.
        """
        # A BLAS with threads of its own leaves them spinning on the cores that embed.
        with one_blas_thread:
            depth = max(_LEAST_DEPTH, 2 * k) if together else k
            rows, similarities = nearest(self.vectors, query, depth, allowed=allowed)
            groups = [Group(place, ()) for place in range(len(rows))]
            if together:
                groups = collapse(self.vectors[rows], k)
                while len(groups) < k and len(rows) == depth:  # so many copies; look further down
                    depth *= 4
                    rows, similarities = nearest(self.vectors, query, depth, allowed=allowed)
                    groups = collapse(self.vectors[rows], k)
        ids = self.ids[rows].tolist()
        return [
            Found(
                ids[group.first],
                float(similarities[group.first]),
                tuple(ids[place] for place in group.others),
            )
            for group in groups
        ]

    def _rows(self, photos: Ids) -> npt.NDArray[np.int64]:
        """The row of each id; -1 where there is none."""
        if not len(self.ids):
            return np.full(len(photos), -1, np.int64)
        rows = np.minimum(np.searchsorted(self.ids, photos), len(self.ids) - 1)
        return np.where(self.ids[rows] == photos, rows, -1)
