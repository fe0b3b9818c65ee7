"""A gallery's dataset at one version: what a search looks through.

Where all vectors fit into memory they are held there and searched exactly: for 100,000 photos that
is twice as quick as letting Lance read them for every query, and an object store is asked once
(``benchmarks/lance_search.py``). Beyond that Lance searches, by its vector index where there
is one. Tested in ``tests/search/lance/test_view.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

from msedge.search.candidates import found
from msedge.search.encoder import Embeddings
from msedge.search.filters import Filters
from msedge.search.gallery_rows import Photo
from msedge.search.lance.moment import Moment
from msedge.search.lance.resident import Resident
from msedge.search.lance.scanned import Scanned
from msedge.search.lance.vector_index import read_tuning
from msedge.search.store import Found

IN_MEMORY = 512 * 2**20
"""Bytes up to which vectors, as float32, are held in memory: 524,288 of 256 dimensions."""

_FLOAT32_BYTES = 4


class LanceView:
    """One version of a gallery. Any number of threads may search it."""

    def __init__(
        self, moment: Moment, *, exact: bool, memory: int, before: LanceView | None = None
    ) -> None:
        """Read what a search needs at hand.

        Args:
            moment: the version.
            exact: whether to search exactly, whatever index there is.
            memory: bytes that vectors may take.
            before: an earlier view of the gallery, from which what has not changed is taken.
        """
        self._moment = moment
        self._vectors: Resident | Scanned
        if moment.count() * moment.dim * _FLOAT32_BYTES <= memory:
            earlier = None if before is None else before._vectors
            self._vectors = Resident(moment, earlier if isinstance(earlier, Resident) else None)
        else:
            self._vectors = Scanned(moment, None if exact else read_tuning(moment))

    @property
    def version(self) -> int:
        """Of the dataset."""
        return self._moment.version

    def vector(self, photo: int) -> Embeddings | None:
        """The unit vector ``(dim,)`` of a photo by its id; None where it is not there."""
        return self._vectors.vector(photo)

    def photos(self, ids: Sequence[int]) -> list[Photo]:
        """Photos in the order asked for; ids that are not there are left out."""
        return self._moment.photos(ids)

    def search(
        self,
        query: Embeddings,
        k: int,
        *,
        filters: Filters | None,
        without: tuple[int, ...],
        together: bool,
    ) -> list[Found]:
        """The photos nearest to a query; see :class:`~msedge.search.store.View`."""
        shunned = [vector for photo in without if (vector := self.vector(photo)) is not None]
        return found(
            lambda depth: self._vectors.nearest(query, depth, filters),
            k,
            shunned=shunned,
            together=together,
        )
