"""The vectors of a gallery file through the approximate index beside it, where there is one.

The index is of the gallery as it was when it was built. What has been put since is searched exactly
beside it, what has been removed is left out, so that an answer is always that of the gallery as it
is now. Tested in ``tests/search/test_approximate_view.py``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from msedge.errors import DataError
from msedge.search.candidates import Candidates, unit_vectors
from msedge.search.encoder import Embeddings
from msedge.search.gallery_view import Vectors
from msedge.search.snapshot import Snapshot, rows_of
from msedge.search.store import Ids

if TYPE_CHECKING:
    from msedge.search.approximate.index import ApproximateIndex
    from msedge.search.gallery_file import GalleryFile

SUFFIX = ".approximate"
"""What the name of the folder beside a gallery ends in."""

_MOST_BEHIND = 0.25  # share of the photos that may be searched exactly beside the index
_LEAST_BEHIND = 10_000

Mask = npt.NDArray[np.bool_]
Stamp = tuple[int, int]


@dataclass(frozen=True, slots=True)
class IndexedVectors:
    """An index, and what has changed since it was built.

    Attributes:
        index: the index, memory-mapped.
        stamp: of its folder.
        current: which rows of the index are still so ``(N,)``; None where all are.
        since: the photos that were put since.
    """

    index: ApproximateIndex
    stamp: Stamp
    current: Mask | None
    since: Snapshot

    @property
    def version(self) -> int:
        """Of the file."""
        return self.since.version

    def vector(self, photo: int) -> Embeddings | None:
        """The unit vector ``(dim,)`` of a photo by its id; None where it is not there."""
        (row,) = rows_of(self.index.ids, np.array([photo])) if abs(photo) < 2**63 else (-1,)
        if row >= 0 and (self.current is None or self.current[row]):
            vector: Embeddings = unit_vectors(self.index.vectors[row : row + 1])[0]
            return vector
        return self.since.vector(photo)

    def allowed(self, only: Ids) -> tuple[Mask, Mask]:
        """The rows of the index, and those of what came since, that belong to some photos."""
        counts = np.zeros(len(self.index.ids), np.bool_)
        rows = rows_of(self.index.ids, only)
        counts[rows[rows >= 0]] = True
        return counts if self.current is None else counts & self.current, self.since.allowed(only)

    def nearest(
        self, query: Embeddings, depth: int, allowed: tuple[Mask, Mask] | None
    ) -> Candidates:
        """The first photos of a ranking; see :meth:`Snapshot.nearest`."""
        old, new = (self.current, None) if allowed is None else allowed
        rows, similarities = self.index.nearest(query, depth, allowed=old)
        recent = self.since.nearest(query, depth, new)
        ids = np.concatenate([self.index.ids[rows], recent.ids])
        both = np.concatenate([similarities, recent.similarities])
        order = np.lexsort([ids, -both])[:depth]
        vectors = np.concatenate([unit_vectors(self.index.vectors[rows]), recent.vectors])
        return Candidates(ids[order], both[order], vectors[order])


def folder_of(gallery: Path) -> Path:
    """Where the approximate index of a gallery lies."""
    return gallery.with_name(gallery.name + SUFFIX)


class CurrentVectors:
    """The vectors of a gallery as it is now, by what is beside it."""

    def __init__(self, file: GalleryFile, *, exact: bool = False) -> None:
        """Take the gallery, and whether its index is not to be used; nothing is read yet."""
        self._file, self._exact = file, exact
        self._refused: Stamp | None = None  # of an index that will not do

    def read(self, before: Vectors | None = None) -> Vectors:
        """The vectors.

        Args:
            before: what this gave earlier; it comes back where nothing has changed since.
        """
        if before is not None and self.is_still(before):
            return before
        stamp = self._stamp()
        if stamp is not None and stamp != self._refused:
            known = isinstance(before, IndexedVectors) and before.stamp == stamp
            index = before.index if known else index_beside(self._file)  # type: ignore[union-attr]
            vectors = _brought_up_to_date(index, stamp, self._file) if index else None
            if vectors is not None:
                return vectors
            self._refused = stamp
        if isinstance(before, Snapshot):
            return before.after(self._file)
        return Snapshot.read(self._file)

    def is_still(self, vectors: Vectors) -> bool:
        """Whether :meth:`read` would give these again."""
        if vectors.version != self._file.version():
            return False
        stamp = self._stamp()
        if isinstance(vectors, IndexedVectors):
            return stamp == vectors.stamp
        return stamp in (None, self._refused)

    def _stamp(self) -> Stamp | None:
        """What changes when the index is made anew; None where there is none to use."""
        if self._exact:
            return None
        try:
            status = os.stat(folder_of(self._file.path) / "about.json")  # noqa: PTH116
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns


def index_beside(file: GalleryFile) -> ApproximateIndex | None:
    """The index beside a gallery; None where there is none, or it is damaged or another's."""
    from msedge.search.approximate.index import ApproximateIndex

    try:
        index = ApproximateIndex.open(folder_of(file.path))
    except (DataError, ModuleNotFoundError):  # a cache: without it, everything goes on
        return None
    about, model = index.about, file.model
    wanted = (file.identity(), model.fingerprint, model.dim)
    return index if (about.gallery, about.fingerprint, about.dim) == wanted else None


def _brought_up_to_date(
    index: ApproximateIndex, stamp: Stamp, file: GalleryFile
) -> IndexedVectors | None:
    most = max(_LEAST_BEHIND, int(_MOST_BEHIND * len(index.ids)))
    changes = file.changes(index.about.version, most=most)
    if changes is None:
        return None
    rows = rows_of(index.ids, np.concatenate([changes.removed, changes.ids]))
    current = None
    if (rows >= 0).any():
        current = np.ones(len(index.ids), np.bool_)
        current[rows[rows >= 0]] = False
    since = Snapshot(changes.version, changes.ids, unit_vectors(changes.vectors))
    return IndexedVectors(index, stamp, current, since)
