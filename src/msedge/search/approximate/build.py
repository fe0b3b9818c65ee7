"""Building an index beside a gallery, while others search the one that is there.

Vectors go to disk as they come; in memory are the sample that the structure is trained on, the
structure, and a block of vectors. Tested in ``tests/search/approximate/test_build.py`` and
``test_build_killed.py``.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import faiss
import numpy as np

from msedge.data.images import one_line
from msedge.errors import DataError
from msedge.search.approximate.about import About, size, write_about
from msedge.search.approximate.index import mapped, read_structure
from msedge.search.approximate.plan import IndexPlan, Kind, plan_for
from msedge.search.approximate.reranking import Vectors
from msedge.search.approximate.searcher import Searcher
from msedge.search.approximate.structure import Structure, add, trained
from msedge.search.approximate.tuning import Tuned, tuned
from msedge.search.approximate.vector_files import sole_builder, sweep, write_vectors
from msedge.search.candidates import unit_vectors
from msedge.search.encoder import Embeddings
from msedge.search.gallery_rows import STORED_VECTOR, Model
from msedge.search.sample_queries import blends
from msedge.search.store import Ids

_BLOCK = 16_384


class BuildWatcher(Protocol):
    """Someone who is told how building goes."""

    def say(self, message: str) -> None:
        """Hear a line of news."""

    def progress(self, done: int, total: int) -> None:
        """Hear how far the step that was said last is."""


class _StopError(Exception):
    """The build is to end."""


def build(
    folder: Path,
    blocks: Iterable[tuple[Ids, Vectors]],
    *,
    count: int,
    model: Model,
    version: int,
    recall: float,
    gallery: str | None = None,
    kind: Kind | None = None,
    watcher: BuildWatcher | None = None,
    stop: threading.Event | None = None,
    queries: Embeddings | None = None,
) -> About | None:
    """Build the index of a gallery in place of the one in ``folder``, which stays until the end.

    Args:
        folder: where it lies; made where it is missing.
        blocks: ids ``(n,)`` that rise through all blocks, and vectors ``(n, dim)``, float16.
        count: about how many there are, for the watcher.
        model: that made them.
        version: of the gallery, read before them.
        recall: share of the true first 20 photos that a search is to find, in (0, 1). Where it
            cannot be had, the best there is stands in what comes back, and the watcher is told.
        gallery: its identity.
        kind: the structure; None to choose by size.
        watcher: told how far it is.
        stop: set it to make an end soon.
        queries: unit vectors ``(Q, dim)`` as people will ask; None for blends of photos.

    Returns:
        What was built; None where it was stopped.

    Raises:
        DataError: the folder cannot be written, another process builds into it, or ids fall.
        ShapeError: vectors are not float16 ``(n, dim)`` and finite.
        ConfigError: no such kind or recall.
    """
    plan_for(count, model.dim, recall=recall, kind=kind)  # what is wrong is said before the work
    begun = time.monotonic()
    building = _Building(folder, watcher, stop)
    with sole_builder(folder):
        try:
            sweep(folder)
            rows = write_vectors(building.ids, building.vectors, blocks, model.dim,
                                 building.step("writing vectors", count))  # fmt: skip
            plan = plan_for(rows, model.dim, recall=recall, kind=kind)
            vectors = mapped(building.vectors, STORED_VECTOR, (rows, model.dim))
            building.write(_filled(plan, vectors, building))
            found = _measured(building, vectors, queries, recall)
            about = About(
                gallery=gallery,
                version=version,
                fingerprint=model.fingerprint,
                dim=model.dim,
                count=rows,
                kind=plan.kind,
                parameters={
                    "lists": plan.lists,
                    "width": found.effort.width,
                    "depth": found.effort.depth,
                },
                recall_wanted=recall,
                recall_measured=found.recall,
                sample=found.sample,
                seconds=round(time.monotonic() - begun, 3),
                bytes=size(building.structure),
                faiss=faiss.__version__,
            )
            building.check()
            write_about(folder, about, building.files())
        except _StopError:
            return None
        except OSError as error:
            reason = error.strerror or str(error)
            raise DataError(
                f"cannot write the approximate index {one_line(folder)} ({reason}): make room; "
                "what stood there is untouched"
            ) from error
        finally:
            sweep(folder)
    if found.recall < recall:
        building.say(f"recall {found.recall:.4f} is less than the {recall:g} wanted")
    return about


class _Building:
    """The new files, and those who are told of them."""

    def __init__(
        self, folder: Path, watcher: BuildWatcher | None, stop: threading.Event | None
    ) -> None:
        token = secrets.token_hex(4)
        self.ids, self.vectors, self.structure = (
            folder / f"{what}-{token}" for what in ("ids", "vectors", "structure")
        )
        self._watcher, self._stop = watcher, stop

    def files(self) -> dict[str, str]:
        return {"ids": self.ids.name, "vectors": self.vectors.name,
                "structure": self.structure.name}  # fmt: skip

    def say(self, message: str) -> None:
        if self._watcher is not None:
            self._watcher.say(message)

    def check(self) -> None:
        if self._stop is not None and self._stop.is_set():
            raise _StopError

    def step(self, name: str, total: int | None = None) -> Callable[[int, int], None]:
        """Begin a step; what comes back is to be called as it goes, and ends it when asked to."""
        self.say(name)
        self.check()

        def told(done: int, of: int) -> None:
            self.check()
            if self._watcher is not None:
                self._watcher.progress(done, max(done, of if total is None else total))

        return told

    def write(self, structure: Structure) -> None:
        try:
            faiss.write_index(structure, str(self.structure))
            with self.structure.open("rb") as written:
                os.fsync(written.fileno())
            read_structure(self.structure)
        except RuntimeError as error:  # faiss says no more than that it could not
            raise OSError(None, "the disk took less than was written") from error


def _filled(plan: IndexPlan, vectors: Vectors, building: _Building) -> Structure:
    building.say(f"{plan.kind}: {plan.reason}")
    told = building.step("training")
    rng = np.random.default_rng(len(vectors))
    chosen = np.sort(rng.choice(len(vectors), plan.training, replace=False, shuffle=False))
    structure = trained(plan, vectors.shape[1], unit_vectors(vectors[chosen]), told)
    told = building.step("filling")
    for start in range(0, len(vectors), _BLOCK):
        told(start, len(vectors))
        add(structure, unit_vectors(vectors[start : start + _BLOCK]))
    told(len(vectors), len(vectors))
    return structure


def _measured(
    building: _Building, vectors: Vectors, queries: Embeddings | None, recall: float
) -> Tuned:
    told = building.step("measuring")
    if queries is None:
        queries = blends(vectors, np.random.default_rng(len(vectors)))
    searcher = Searcher(read_structure(building.structure), vectors)
    return tuned(searcher, np.asarray(queries, np.float32), recall, told)
