"""An index for approximate search, built of a gallery of either kind.

Tested in ``tests/search/upkeep/test_approximating.py``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from msedge.errors import ConfigError
from msedge.search.approximate_due import APPROXIMATE_FROM, RECALL
from msedge.search.approximate_view import folder_of
from msedge.search.gallery_file import GalleryFile
from msedge.search.locations import whole
from msedge.search.open_store import open_store
from msedge.search.store import Ids
from msedge.search.upkeep.approximate_state import ApproximateState, read_state
from msedge.search.upkeep.watching import StoppedError, UpkeepWatcher, Watched

if TYPE_CHECKING:
    from msedge.search.approximate.index import Kind

AUTO = "auto"
_ROWS = 16_384


@dataclass(frozen=True, slots=True)
class Built:
    """What came of it.

    Attributes:
        state: of the index; None where none was built.
        why_not: where none was built.
        seconds: that it took.
    """

    state: ApproximateState | None
    why_not: str
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Its fields, for JSON."""
        return asdict(self)


def build_approximate(
    path: Path,
    *,
    recall: float = RECALL,
    kind: str = AUTO,
    force: bool = False,
    watcher: UpkeepWatcher | None = None,
    stop: threading.Event | None = None,
) -> Built:
    """Build the index of a gallery, in place of the one that is there.

    Args:
        path: the gallery; others may search and write it meanwhile.
        recall: the share of the true first 20 photos that a search is to find, in (0, 1).
        kind: ``hnsw``, ``ivf-sq``, ``ivf-pq``, or ``auto``, which chooses by the gallery's size.
        force: whether to build one, too, where searching exactly is quick.
        watcher: told how far it is.
        stop: set it to make an end soon; the earlier index stays then.

    Raises:
        DataError: the gallery cannot be read, or another process builds its index.
        ConfigError: no such kind or recall, or one that a Lance dataset does not have.
        StoppedError: ``stop`` was set.
    """
    if not 0 < recall < 1:
        raise ConfigError(f"a recall of {recall:g}: expected a share below 1, such as {RECALL}")
    begun = time.monotonic()
    path, watched = whole(path), Watched(watcher, stop)
    with closing(open_store(path)) as store:
        photos = store.count()
        if photos < (1 if force else APPROXIMATE_FROM):
            return Built(None, _quick_enough(photos), time.monotonic() - begun)
        if isinstance(store, GalleryFile):
            _build_beside(store, recall, kind, watched)
        else:
            from msedge.search.upkeep.lance_state import build_index

            if kind != AUTO:
                raise ConfigError(f"--kind {kind}: a Lance dataset chooses its own, leave it out")
            build_index(store, recall, watched)
    with closing(open_store(path)) as store:
        return Built(read_state(store), "", time.monotonic() - begun)


def _quick_enough(photos: int) -> str:
    return (
        f"{photos:,} photos are searched exactly in a moment, no index was built; from "
        f"{APPROXIMATE_FROM:,} it pays (--force builds one nevertheless)"
    )


def _build_beside(file: GalleryFile, recall: float, kind: str, watched: Watched) -> None:
    from msedge.search.approximate.build import build

    if file.identity() is None:  # made by an earlier release
        GalleryFile.open(file.path, writable=True).close()
    built = build(
        folder_of(file.path),
        _vectors(file),
        count=file.count(),
        model=file.model,
        # Read before the vectors: what is put meanwhile is then searched beside the index.
        version=file.version(),
        gallery=file.identity(),
        recall=recall,
        kind=None if kind == AUTO else cast("Kind", kind),
        watcher=_Steps(watched),
        stop=watched.stop,
    )
    if built is None:
        raise StoppedError


def _vectors(file: GalleryFile) -> Iterator[tuple[Ids, npt.NDArray[np.float16]]]:
    for block in file.blocks(_ROWS):
        yield np.array(block.ids, np.int64), np.stack([photo.vector for photo in block.photos])


class _Steps:
    """Hears the name of each step, then how far it is."""

    def __init__(self, watched: Watched) -> None:
        self._watched, self._step = watched, ""

    def say(self, message: str) -> None:
        self._step = message
        self._watched.step(message)

    def progress(self, done: int, total: int) -> None:
        self._watched.progress(self._step, done, total)
