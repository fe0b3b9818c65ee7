"""Where galleries lie: which kind of store a path names, and what is done to one by its path.

A name that ends in ``.lance`` is a Lance dataset (:mod:`.lance`), which may lie in an object store;
any other a file of SQLite (:mod:`.sqlite`). Nothing else in the package tells the two apart. Who
watches long work is told how far it is; where its ``stop`` is set, it ends soon with a
:class:`~.reports.StoppedError`. Tested in ``tests/search/stores/``.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from msedge.data.images import one_line
from msedge.errors import ConfigError
from msedge.locks import sole_indexer
from msedge.search.locations import is_remote, location, whole
from msedge.search.stores.reports import Finding, IndexState, Model, Told, Watched, Watcher
from msedge.search.stores.store import (
    APPROXIMATE_FROM,
    AUTO,
    RECALL,
    RESTORING,
    MissingGalleryError,
    Store,
)

LANCE_SUFFIX = ".lance"


def store_class(path: Path) -> type[Store]:
    """The kind of store that a path names; a ConfigError for SQLite in an object store."""
    if path.suffix == LANCE_SUFFIX:
        from msedge.search.stores.lance.store import LanceStore

        return LanceStore
    if is_remote(path):
        raise ConfigError(
            f"{one_line(location(path))}: in an object store a gallery is a Lance dataset, whose "
            f"name ends in {LANCE_SUFFIX}: make one with `msedge gallery copy`"
        )
    from msedge.search.stores.sqlite.store import SqliteStore

    return SqliteStore


def open_store(path: Path, *, writable: bool = False, exact: bool = False) -> Store:
    """Open a gallery of either kind; see :meth:`~msedge.search.stores.store.Store.open`."""
    return store_class(path).open(path, writable=writable, exact=exact)


def open_or_create(path: Path, model: Model) -> Store:
    """A gallery open for writing, made where it is missing."""
    try:
        return open_store(path, writable=True)
    except MissingGalleryError:
        return store_class(path).create(path, model)


def written_by_one(path: Path) -> AbstractContextManager[None]:
    """Keep other indexers out of a gallery, as :func:`.locks.sole_indexer` does.

    Two that index at once into a remote one are told apart by their commits alone.
    """
    return nullcontext() if is_remote(path) else sole_indexer(path)


@dataclass(frozen=True)
class Copied(Told):
    """What a copy came to; its digest of everything equals that of what was copied."""

    photos: int
    digest: str
    seconds: float


def copy_gallery(
    source: Path,
    target: Path,
    *,
    watcher: Watcher | None = None,
    stop: threading.Event | None = None,
) -> Copied:
    """Copy a gallery into another, of the same kind or not, and compare the two.

    Every id, fact and vector stays as it is. The copy is of one moment, whoever writes the gallery
    meanwhile; it is made under another name, and renamed when it has been read again and found
    equal. Caches (the approximate index, thumbnails) are not copied. Memory does not grow with the
    gallery.

    Raises:
        DataError: the gallery cannot be read, something of the target's name is there, the disk is
            full, or the copy is not equal to what was copied.
        ConfigError: a file of SQLite is asked for in an object store.
    """
    begun = time.monotonic()
    target = whole(target)
    if is_remote(target) and target.suffix != LANCE_SUFFIX:
        raise ConfigError(
            f"{one_line(location(target))}: in an object store a gallery is a Lance dataset: "
            f"give a name that ends in {LANCE_SUFFIX}"
        )
    with open_store(source) as store:
        digest = store_class(target).write_copy(store, target, Watched(watcher, stop))
    return Copied(digest.count, digest.value(), time.monotonic() - begun)


@dataclass(frozen=True)
class Restored(Told):
    """What it came to that a gallery was put in the place of another."""

    photos: int
    kept: str  # where what was there before lies now; empty where nothing was
    seconds: float


def restore_gallery(
    backup: Path,
    gallery: Path,
    *,
    watcher: Watcher | None = None,
    stop: threading.Event | None = None,
) -> Restored:
    """Put a copy of a backup in a gallery's place, which may be damaged or served meanwhile.

    The backup stays as it is, and what was in the place is kept under another name. Who has that
    open sees it, or the copy, and nothing between.

    Raises:
        DataError: the backup cannot be read, another process indexes into the gallery, something
            else than a gallery has its name, or the disk is full; then nothing has changed.
        ConfigError: the gallery lies in an object store, or is the backup itself.
    """
    begun = time.monotonic()
    backup, gallery = whole(backup), whole(gallery)
    kind = store_class(gallery)
    if is_remote(gallery):
        raise ConfigError(
            f"{one_line(location(gallery))}: an object store cannot rename: copy the backup to "
            "another name with `msedge gallery copy`, and serve that"
        )
    gallery = Path(os.path.realpath(gallery))  # a link goes on to lead there
    if Path(os.path.realpath(backup)) == gallery:
        raise ConfigError(f"{one_line(gallery)} cannot be restored from itself: name its backup")
    part = gallery.with_name(f"{gallery.name}{RESTORING}{gallery.suffix}")
    with open_store(backup) as store, sole_indexer(gallery):
        kind.remove(part)  # what a kill left
        try:
            digest = kind.write_copy(store, part, Watched(watcher, stop))
            kept = kind.put_in_place(part, gallery)
        finally:
            kind.remove(part)
    return Restored(digest.count, "" if kept is None else str(kept), time.monotonic() - begun)


def check_gallery(
    path: Path,
    *,
    repair: bool = False,
    photos: bool = False,
    watcher: Watcher | None = None,
    stop: threading.Event | None = None,
) -> list[Finding]:
    """What is wrong with a gallery; ``photos`` looks for the files of all photos, too.

    ``repair`` mends what can be mended, which stays so where it is stopped; nobody may be writing
    the gallery then. A damaged file is left as it is; what can be read of it goes into a new one.

    Raises:
        DataError: there is no gallery of that name, it may not be read, or is to be repaired while
            another process writes it.
    """
    path = whole(path)
    kind = store_class(path)
    if not is_remote(path) and not os.path.lexists(path):
        kind.open(path)  # which says so
    alone = repair and not kind.is_shared
    with written_by_one(path) if alone else nullcontext():
        problems = kind.problems(path, Watched(watcher, stop), alone=alone, photos=photos)
        return [each.mended() if repair else each.finding for each in problems]


@dataclass(frozen=True)
class Built(Told):
    """What building an index came to: its state, or why none was built."""

    state: IndexState | None
    why_not: str
    seconds: float


def build_approximate(
    path: Path,
    *,
    recall: float = RECALL,
    kind: str = AUTO,
    force: bool = False,
    watcher: Watcher | None = None,
    stop: threading.Event | None = None,
) -> Built:
    """Build the index for approximate search of a gallery, in place of the one that is there.

    Args:
        path: the gallery; others may search and write it meanwhile.
        recall: the share of the true first 20 photos that a search is to find, in (0, 1).
        kind: ``hnsw``, ``ivf-sq``, ``ivf-pq``, or ``auto``, which chooses by the gallery's size.
        force: whether to build one, too, where searching exactly is quick.
        watcher: told how far it is.
        stop: where it is set, the earlier index stays.

    Raises:
        DataError: the gallery cannot be read, or another process builds its index.
        ConfigError: no such kind or recall, or one that a Lance dataset does not have.
    """
    if not 0 < recall < 1:
        raise ConfigError(f"a recall of {recall:g}: expected a share below 1, such as {RECALL}")
    begun = time.monotonic()
    with open_store(path) as store:
        photos = store.count()
        if photos < (1 if force else APPROXIMATE_FROM):
            why_not = (
                f"{photos:,} photos are searched exactly in a moment, no index was built; from "
                f"{APPROXIMATE_FROM:,} it pays (--force builds one nevertheless)"
            )
            return Built(None, why_not, time.monotonic() - begun)
        store.build_index(recall, kind, Watched(watcher, stop))
        return Built(store.index_state(), "", time.monotonic() - begun)
