"""An approximate index on disk, opened: nothing is read until it is searched.

Tested in ``tests/search/approximate/test_index.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import faiss
import numpy as np
import numpy.typing as npt

from msedge.errors import DataError
from msedge.search.approximate.about import NAME, About, read_about, unusable
from msedge.search.approximate.effort import Effort
from msedge.search.approximate.plan import padded
from msedge.search.approximate.reranking import Vectors
from msedge.search.approximate.searcher import Searcher
from msedge.search.encoder import Embeddings
from msedge.search.gallery_rows import STORED_VECTOR
from msedge.search.ranking import Positions, Similarities
from msedge.search.store import Ids

_ID = np.dtype("<i8")
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class ApproximateIndex:
    """A gallery's vectors and what finds the near ones. Any number of threads may search it.

    It stays as it is when another is built in its place, and when its folder is deleted.

    Attributes:
        about: what it says of itself.
        ids: of the photos, rising, ``(N,)``, memory-mapped.
        vectors: in that order, as the gallery holds them, ``(N, dim)``, float16, memory-mapped.
    """

    about: About
    ids: Ids
    vectors: Vectors
    _searcher: Searcher

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Map what :func:`~msedge.search.approximate.build.build` wrote.

        Raises:
            DataError: it is missing, damaged or of a newer format.
        """
        for attempt in range(_ATTEMPTS):
            before = _stamp(folder)
            try:
                return cls._open(folder)
            except DataError:
                # Another may have been built in its place while this one was being opened.
                if _stamp(folder) == before or attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    @classmethod
    def _open(cls, folder: Path) -> Self:
        about, files = read_about(folder)
        try:
            ids = mapped(files["ids"], _ID, (about.count,))
            vectors = mapped(files["vectors"], STORED_VECTOR, (about.count, about.dim))
            structure = read_structure(files["structure"])
            if min(about.parameters["width"], about.parameters["depth"]) < 1:
                raise ValueError("it is searched with nothing")
        except (KeyError, OSError, ValueError, TypeError, RuntimeError) as error:
            raise unusable(folder, "a file of it is damaged") from error
        if (structure.ntotal, structure.d) != (about.count, padded(about.dim)):
            raise unusable(folder, "its files do not belong together")
        return cls(about, ids, vectors, Searcher(structure, vectors))

    def nearest(
        self, query: Embeddings, k: int, *, allowed: npt.NDArray[np.bool_] | None = None
    ) -> tuple[Positions, Similarities]:
        """The first ``k`` rows by falling cosine similarity, ties by rising row.

        Which rows are candidates is approximate; their similarities and order are exact. Where at
        most some thousand rows count, so is everything.

        Args:
            query: a unit vector ``(dim,)``.
            k: how many, at least 1.
            allowed: ``(N,)``; only the rows where it is true count.

        Returns:
            Rows ``(n,)`` and their similarities ``(n,)`` in [-1, 1], where ``n`` is the smaller of
            ``k`` and the number of rows that count.
        """
        parameters = self.about.parameters
        effort = Effort(parameters["width"], parameters["depth"])
        return self._searcher.nearest(query, k, effort, allowed)


def mapped(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """An array of a file of exactly that size, read as it is used; ValueError where it is not."""
    if path.stat().st_size != dtype.itemsize * int(np.prod(shape)):
        raise ValueError(f"{path} does not hold {shape} of {dtype}")
    if not np.prod(shape):
        return np.empty(shape, dtype)  # an empty file cannot be mapped
    return np.asarray(np.memmap(path, dtype, "r", shape=shape))


def read_structure(path: Path) -> Any:
    """A structure of faiss, read as it is used; RuntimeError where it is none."""
    return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)


def _stamp(folder: Path) -> tuple[int, int] | None:
    try:
        status = (folder / NAME).stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
