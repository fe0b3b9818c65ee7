"""What a gallery holds, and what lies beside it, in numbers.

Tested in ``tests/search/upkeep/test_statistics.py``.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from msedge.search.approximate_view import folder_of
from msedge.search.gallery_file import GalleryFile
from msedge.search.gallery_rows import STORED_VECTOR, Model, NewPhoto
from msedge.search.locations import location, whole
from msedge.search.open_store import open_store
from msedge.search.store import Store
from msedge.search.upkeep.approximate_state import ApproximateState, read_state
from msedge.search.upkeep.beside import THUMBNAILS
from msedge.search.upkeep.watching import UpkeepWatcher, Watched

_FOLDERS = 10
_ROWS = 4096


@dataclass(slots=True)
class Statistics:
    """Of one gallery at one moment.

    Attributes:
        gallery: where it lies.
        kind: ``sqlite`` or ``lance``.
        model: what made the vectors.
        version: rises with every change of the photos.
        bytes_a_vector: as it is stored.
        photos: how many there are.
        taken: first and last date, seconds of Unix time; None of an empty gallery.
        orientations: photos that are ``landscape``, ``portrait``, ``square``.
        folders: those with most photos directly in them, and how many that is.
        folder_count: all folders that photos lie directly in.
        same_content: photos whose file has the same bytes as another's before it.
        bytes_on_disk: of the gallery, without caches; None where that is not known.
        bytes_of_caches: by name: ``approximate``, ``thumbnails``.
        approximate: the index for approximate search; None where there is none.
        lance: what only a Lance dataset has: ``fragments``, ``versions``, ``unindexed``.
    """

    gallery: str
    kind: str
    model: Model
    version: int
    bytes_a_vector: int
    photos: int = 0
    taken: tuple[float, float] | None = None
    orientations: dict[str, int] = field(default_factory=dict)
    folders: list[tuple[str, int]] = field(default_factory=list)
    folder_count: int = 0
    same_content: int = 0
    bytes_on_disk: int | None = None
    bytes_of_caches: dict[str, int] = field(default_factory=dict)
    approximate: ApproximateState | None = None
    lance: dict[str, int] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Its fields, for JSON."""
        return asdict(self)


def gallery_statistics(
    path: Path,
    *,
    watcher: UpkeepWatcher | None = None,
    stop: threading.Event | None = None,
) -> Statistics:
    """Count what a gallery holds.

    Args:
        path: of either kind; it may be in use.
        watcher: told how far it is.
        stop: set it to make an end soon.

    Raises:
        DataError: there is no gallery of that name, or it cannot be read.
        StoppedError: ``stop`` was set.
    """
    path = whole(path)
    with closing(open_store(path)) as store:
        statistics = Statistics(
            location(path),
            "sqlite" if isinstance(store, GalleryFile) else "lance",
            store.model,
            store.version(),
            store.model.dim * STORED_VECTOR.itemsize,
        )
        _count_photos(store, statistics, Watched(watcher, stop))
        statistics.approximate = read_state(store)
        if isinstance(store, GalleryFile):
            _measure_files(path, statistics)
        else:
            from msedge.search.upkeep.lance_state import measure_dataset

            statistics.bytes_on_disk, statistics.lance = measure_dataset(store)
    return statistics


def bytes_below(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; 0 where there is none."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size if path.exists() else 0


def _count_photos(store: Store, statistics: Statistics, watched: Watched) -> None:
    orientations = Counter({"landscape": 0, "portrait": 0, "square": 0})
    folders: Counter[Path] = Counter()
    contents: set[int] = set()
    first, last = float("inf"), float("-inf")
    total = store.count()
    for block in store.blocks(_ROWS):
        for photo in block.photos:
            orientations[_orientation(photo)] += 1
            folders[photo.path.parent] += 1
            contents.add(hash(photo.content_hash))  # 64 bits: two in a billion photos may meet
            first, last = min(first, photo.taken), max(last, photo.taken)
        statistics.photos += len(block.ids)
        watched.progress("counting photos", statistics.photos, max(total, statistics.photos))
    statistics.orientations = dict(orientations)
    most = sorted(folders.items(), key=lambda item: (-item[1], os.fsencode(item[0])))
    statistics.folders = [(location(folder), count) for folder, count in most[:_FOLDERS]]
    statistics.folder_count = len(folders)
    statistics.same_content = statistics.photos - len(contents)
    statistics.taken = (first, last) if statistics.photos else None


def _orientation(photo: NewPhoto) -> str:
    if photo.width == photo.height:
        return "square"
    return "landscape" if photo.width > photo.height else "portrait"


def _measure_files(path: Path, statistics: Statistics) -> None:
    log = path.with_name(path.name + "-wal")
    statistics.bytes_on_disk = bytes_below(path) + bytes_below(log)
    caches = {"approximate": folder_of(path), "thumbnails": path.with_name(path.name + THUMBNAILS)}
    sizes = {name: bytes_below(cache) for name, cache in caches.items()}
    statistics.bytes_of_caches = {name: size for name, size in sizes.items() if size}
