"""What a gallery is stored in, as searching sees it, and one moment of it.

A store says what photos there are; a view is the store as it was at one moment, and is what one
search looks through. SQLite's is :class:`~msedge.search.gallery_file.GalleryFile`; Lance's is
:class:`~msedge.search.lance.gallery.LanceGallery`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from msedge.search.encoder import Embeddings, Encoder
from msedge.search.filters import Filters
from msedge.search.gallery_rows import Model, NewPhoto, Photo

Ids = npt.NDArray[np.int64]


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


class Block(NamedTuple):
    """Some photos of a gallery.

    Attributes:
        ids: rising.
        photos: in that order, each with its vector.
    """

    ids: list[int]
    photos: list[NewPhoto]


class View(Protocol):
    """A gallery as it was at one moment. Any number of threads may search it."""

    @property
    def version(self) -> int:
        """Of the store that it was read from."""

    def vector(self, photo: int) -> Embeddings | None:
        """The unit vector ``(dim,)`` of a photo by its id; None where it is not there."""

    def photos(self, ids: Sequence[int]) -> list[Photo]:
        """Photos in the order asked for; ids that are not there, or no longer, are left out."""

    def search(
        self,
        query: Embeddings,
        k: int,
        *,
        filters: Filters | None,
        without: tuple[int, ...],
        together: bool,
    ) -> list[Found]:
        """The photos nearest to a query.

        Args:
            query: a unit vector ``(dim,)``.
            k: photos wanted, at least 1; groups of them where ``together``.
            filters: which photos count; its folder is absolute.
            without: ids of photos that do not count, nor do their near-duplicates.
            together: whether near-duplicates are one.
        """


class Store(Protocol):
    """Where a gallery lies. Reading is safe from any number of threads."""

    path: Path
    model: Model

    def check_model(self, encoder: Encoder) -> None:
        """Refuse an encoder whose vectors do not compare with the gallery's (WeightsError)."""

    def count(self) -> int:
        """How many photos there are."""

    def version(self) -> int:
        """A number that rises with every change of the photos."""

    def view(self, last: View | None = None) -> View:
        """The gallery as it is now.

        Args:
            last: an earlier view of this store; it comes back where nothing has changed since.
        """

    def is_current(self, view: View) -> bool:
        """Whether :meth:`view` would give the same view again."""

    def photos(self, ids: Sequence[int] | None = None) -> list[Photo]:
        """Photos in the order asked for, None for all by rising id."""

    def id_at(self, path: Path) -> int | None:
        """The id of the photo of an absolute path; None where there is none."""

    def folders(self) -> list[tuple[Path, int]]:
        """The folders that photos lie in, sorted, and how many lie directly in each."""

    def blocks(self, rows: int = 4096) -> Iterator[Block]:
        """Everything, by rising id, as it was at one moment."""

    def close(self) -> None:
        """Let go of the files."""
