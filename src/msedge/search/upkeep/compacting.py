"""A gallery made as small as it can be, while others search it.

Tested in ``tests/search/upkeep/test_compacting.py``.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from msedge.data.images import one_line
from msedge.errors import DataError
from msedge.search.gallery_connections import open_to_write, told
from msedge.search.index_lock import sole_indexer
from msedge.search.locations import whole
from msedge.search.open_store import is_lance, open_store
from msedge.search.upkeep.statistics import bytes_below
from msedge.search.upkeep.watching import UpkeepWatcher, Watched

_PATIENCE = 500  # milliseconds for readers that are about to end


@dataclass(frozen=True, slots=True)
class Compacted:
    """What came of it.

    Attributes:
        bytes_before: on disk; None where that is not known.
        bytes_after: on disk.
        done: what was done, a line each.
        seconds: that it took.
    """

    bytes_before: int | None
    bytes_after: int | None
    done: tuple[str, ...]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Its fields, for JSON."""
        return asdict(self)


def compact_gallery(
    path: Path,
    *,
    watcher: UpkeepWatcher | None = None,
    stop: threading.Event | None = None,
) -> Compacted:
    """Give back the room of what was removed; no photo changes.

    A file of SQLite is written anew, for which there must be room. Of a Lance dataset, small
    fragments become few large ones, the index takes in what came since it was built, and old
    versions go.

    Args:
        path: of either kind; others may search it meanwhile.
        watcher: told how far it is.
        stop: set it to make an end soon; everything is then as it was, or as it was to be.

    Raises:
        DataError: there is no gallery of that name, it may not be written, the disk is full, or
            another process writes the gallery.
        StoppedError: ``stop`` was set.
    """
    begun = time.monotonic()
    path, watched = whole(path), Watched(watcher, stop)
    if is_lance(path):
        from msedge.search.upkeep.lance_state import compact_dataset

        before, after, done = compact_dataset(path, watched)
    else:
        before, after, done = _compact_file(path, watched)
    return Compacted(before, after, done, time.monotonic() - begun)


def _compact_file(path: Path, watched: Watched) -> tuple[int, int, tuple[str, ...]]:
    open_store(path, writable=True).close()  # which says what it is
    with sole_indexer(path):
        before = _size(path)
        watched.step("writing the file anew")
        try:
            with told(path), closing(open_to_write(path)) as connection:
                with watched.interrupting(connection):
                    connection.execute("VACUUM")
                connection.execute(f"PRAGMA busy_timeout = {_PATIENCE}")
                is_read = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except DataError as error:
            if getattr(error.__cause__, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise DataError(
                    f"the disk is full: {one_line(path)} is as it was; make room, of which "
                    f"compacting needs {before:,} bytes for a while"
                ) from error
            raise
        after = _size(path)
    done = ["wrote the file anew"]
    if is_read:
        done.append("others read the old one just now: it shrinks when the next writer closes it")
    return before, after, tuple(done)


def _size(path: Path) -> int:
    return bytes_below(path) + bytes_below(path.with_name(path.name + "-wal"))
