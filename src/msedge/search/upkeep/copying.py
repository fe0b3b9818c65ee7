"""A gallery copied into another, of the same kind or not, and compared with it afterwards.

The copy is of one moment, whoever writes the gallery meanwhile. It is made under another name and
renamed when it is whole and has been read again and found equal. Tested in
``tests/search/upkeep/test_copying.py``.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from msedge.data.images import one_line
from msedge.errors import ConfigError, DataError
from msedge.search.gallery_connections import put_in_place, remove_database
from msedge.search.gallery_file import GalleryFile
from msedge.search.index_lock import sole_indexer
from msedge.search.locations import is_remote, location, whole
from msedge.search.open_store import LANCE_SUFFIX, is_lance, open_store
from msedge.search.store import Block, Store
from msedge.search.upkeep.digest import Digest
from msedge.search.upkeep.last_id import last_id, never_give_again
from msedge.search.upkeep.watching import UpkeepWatcher, Watched

PART = "-new"
"""What the name of a copy ends in until it is whole."""

_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy came to.

    Attributes:
        photos: in it.
        digest: of everything that it holds, equal to that of what was copied.
        seconds: that it took, comparing included.
    """

    photos: int
    digest: str
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Its fields, for JSON."""
        return asdict(self)


def copy_gallery(
    source: Path,
    target: Path,
    *,
    watcher: UpkeepWatcher | None = None,
    stop: threading.Event | None = None,
) -> Copied:
    """Copy a gallery, with every id, field and vector as it is.

    Caches (the approximate index, thumbnails) are not copied. Memory does not grow with the
    gallery. Whatever ends it, the copy is there whole or not at all.

    Args:
        source: a gallery of either kind; it may be in use.
        target: where the copy goes, ``.lance`` for a Lance dataset, which may lie in an object
            store; else a file of SQLite.
        watcher: told how far it is.
        stop: set it to make an end soon.

    Raises:
        DataError: the gallery cannot be read, something of the target's name is there, the disk is
            full, or the copy is not equal to what was copied.
        ConfigError: a file of SQLite is asked for in an object store.
        StoppedError: ``stop`` was set.
    """
    begun = time.monotonic()
    watched = Watched(watcher, stop)
    target = whole(target)
    with closing(open_store(source)) as store:
        if is_lance(target):
            from msedge.search.upkeep.copying_to_lance import write_lance

            copied = write_lance(store, target, watched)
        elif is_remote(target):
            raise ConfigError(
                f"{one_line(location(target))}: in an object store a gallery is a Lance dataset: "
                f"give a name that ends in {LANCE_SUFFIX}"
            )
        else:
            copied = _write_file(store, target, watched)
    return Copied(copied.count, copied.value(), time.monotonic() - begun)


def refuse_existing(target: Path) -> None:
    """Fail where a file or folder of the name is there.

    Raises:
        DataError: it is.
    """
    if os.path.lexists(target):
        raise DataError(f"{one_line(target)} is there already: name another gallery to make")


def blocks_of(store: Store, digest: Digest, watched: Watched) -> Iterator[Block]:
    """What a gallery holds at one moment, taken into a digest as it passes."""
    total = store.count()
    watched.progress("copying", 0, total)
    for block in store.blocks(_ROWS):
        digest.take(block)
        yield block
        watched.progress("copying", digest.count, max(total, digest.count))


def check_equal(copy: Store, wanted: Digest, watched: Watched) -> None:
    """Read a copy again and compare it with what was copied.

    Raises:
        DataError: they differ.
    """
    found = Digest()
    for block in copy.blocks(_ROWS):
        found.take(block)
        watched.progress("comparing", found.count, wanted.count)
    if (found.count, found.value()) != (wanted.count, wanted.value()):
        raise DataError(
            f"the copy holds {found.count:,} photos that are not the {wanted.count:,} that were "
            "copied, and is not kept: check the disk, and try again"
        )


def _write_file(store: Store, target: Path, watched: Watched) -> Digest:
    refuse_existing(target)
    part = target.with_name(target.name + PART)
    with sole_indexer(target):
        refuse_existing(target)
        try:
            with _blamed_on(target):
                remove_database(part)  # what a kill left
                digest = Digest()
                with GalleryFile.create(part, store.model) as copy:
                    for block in blocks_of(store, digest, watched):
                        copy.put_with_ids(block)
                    never_give_again(copy, max(last_id(store), digest.last_id))
                with GalleryFile.open(part) as copy:
                    check_equal(copy, digest, watched)
                put_in_place(part, target)
        finally:
            remove_database(part)
    return digest


@contextmanager
def _blamed_on(target: Path) -> Iterator[None]:
    """Say of a failure what was not made because of it."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot write {one_line(target)} ({error.strerror}): choose another place"
        ) from error
    except DataError as error:
        if getattr(error.__cause__, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise DataError(
                f"the disk is full: make room for {one_line(target)}, or copy to another disk"
            ) from error
        raise
