"""A gallery file as it was at one moment: what a search looks through.

Tested in ``tests/search/test_gallery_view.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

from msedge.search.candidates import Candidates, found
from msedge.search.encoder import Embeddings
from msedge.search.filters import Filters
from msedge.search.gallery_rows import Photo
from msedge.search.store import Found, Ids

if TYPE_CHECKING:
    from msedge.search.gallery_file import GalleryFile

_FILTERS_KEPT = 32


class Vectors(Protocol):
    """Vectors of one moment: all in memory, or the approximate index and what came after it."""

    @property
    def version(self) -> int:
        """Of the file that they were read from."""

    def vector(self, photo: int) -> Embeddings | None:
        """The unit vector ``(dim,)`` of a photo by its id; None where it is not there."""

    def allowed(self, only: Ids) -> Any:
        """Which rows count where only some photos do, as :meth:`nearest` takes it."""

    def nearest(self, query: Embeddings, depth: int, allowed: Any) -> Candidates:
        """The first photos of a ranking, out of those allowed; None allows all."""


class GalleryView:
    """The vectors of one moment, and the file for what else is known of a photo."""

    def __init__(self, file: GalleryFile, vectors: Vectors) -> None:
        """Take both; the file stays open for as long as the view is used."""
        self.vectors = vectors
        self._file = file
        self._matched: dict[Filters, Any] = {}
        self._lock = Lock()

    @property
    def version(self) -> int:
        """Of the file that the vectors were read from."""
        return self.vectors.version

    def vector(self, photo: int) -> Embeddings | None:
        """The unit vector ``(dim,)`` of a photo by its id; None where it is not there."""
        return self.vectors.vector(photo)

    def photos(self, ids: Sequence[int]) -> list[Photo]:
        """Photos in the order asked for, as they are now; ids that have gone are left out."""
        return self._file.photos(ids) if ids else []

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
        allowed = None if filters is None else self._allowed(filters)
        shunned = [vector for photo in without if (vector := self.vector(photo)) is not None]
        return found(
            lambda depth: self.vectors.nearest(query, depth, allowed),
            k,
            shunned=shunned,
            together=together,
        )

    def _allowed(self, filters: Filters) -> Any:
        """The rows that match, kept while the photos stay as they are: a page asks at each stroke.

        Reading them takes a tenth of a second for 100,000 photos, ten times what ranking does.
        """
        allowed = self._matched.get(filters)
        if allowed is None:
            allowed = self.vectors.allowed(self._file.ids(filters))
            with self._lock:
                if len(self._matched) >= _FILTERS_KEPT:
                    self._matched.clear()
                self._matched[filters] = allowed
        return allowed
