"""The vectors of a gallery file at one moment: all in memory, or through the index beside it.

An index is of the gallery as it was when it was built. What has been put since is searched exactly
beside it, what has been removed is left out, so that an answer is always that of the gallery as it
is now. Tested in ``tests/search/stores/test_views.py`` and ``test_upkeep.py``.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from msedge.errors import DataError
from msedge.search.filters import Filters, condition
from msedge.search.photo import LARGEST_ID, STORED_VECTOR, Ids, check_finite, checked_hubness
from msedge.search.ranking import Candidates, Embeddings, unit_vectors
from msedge.search.stores.reports import IndexState, Watched
from msedge.search.stores.sqlite.connections import comes_from, may_come_from, newest_state
from msedge.search.stores.sqlite.file import NOTE, beside, knows_changes, read_meta
from msedge.search.stores.store import AUTO, HUBS, Store, Vectors
from msedge.search.stores.vectors import Kept, Mask, Resident, mask_of, rows_of

if TYPE_CHECKING:
    from msedge.search.approximate.index import About, ApproximateIndex

SUFFIX = ".approximate"  # of the folder beside a gallery

_IN_STATE = "@"  # stands between a gallery and its state in what an index says it is of
_ROWS_A_FETCH = 4096
_ROWS_A_BLOCK = 16_384
_MOST_CHANGED = 0.25  # share of the photos; beyond it, reading all of them is as quick
_MOST_BEHIND = 0.25  # share of the photos that may be searched exactly beside the index
_LEAST_BEHIND = 10_000

Stamp = tuple[int, int]
Reading = Callable[[], AbstractContextManager[sqlite3.Connection]]


@dataclass(frozen=True, slots=True)
class _Exact(Resident):
    """All vectors, in memory."""

    _allowed: Kept

    def nearest(
        self, query: Embeddings, depth: int, filters: Filters | None, hub_share: float = 0.0
    ) -> Candidates:
        return self.first(query, depth, self._allowed.get(filters), hub_share)


@dataclass(frozen=True, slots=True)
class _Indexed:
    """An index, and what has changed since it was built."""

    index: ApproximateIndex
    stamp: Stamp
    current: Mask | None  # which of its rows are still so; None where all are
    since: Resident
    _allowed: Kept

    @property
    def version(self) -> int:
        return self.since.version

    def vector(self, photo: int) -> Embeddings | None:
        (row,) = rows_of(self.index.ids, np.array([photo])) if 0 < photo <= LARGEST_ID else (-1,)
        if row >= 0 and (self.current is None or self.current[row]):
            vector: Embeddings = unit_vectors(self.index.vectors[row : row + 1])[0]
            return vector
        return self.since.vector(photo)

    def nearest(
        self, query: Embeddings, depth: int, filters: Filters | None, hub_share: float = 0.0
    ) -> Candidates:
        old, new = self._allowed.get(filters) or (self.current, None)
        rows, found = self.index.nearest(query, depth, allowed=old, hub_share=hub_share)
        recent = self.since.first(query, depth, new, hub_share)
        ids = np.concatenate([self.index.ids[rows], recent.ids])
        both = np.concatenate([found, recent.similarities])
        scores = np.concatenate([found - hub_share * self.index.hubness[rows], recent.scores])
        order = np.lexsort([ids, -scores])[:depth]
        vectors = np.concatenate([unit_vectors(self.index.vectors[rows]), recent.vectors])
        return Candidates(ids[order], both[order], scores[order], vectors[order])


class CurrentVectors:
    """The vectors of a gallery as it is now, through the index beside it unless ``exact``."""

    def __init__(self, path: Path, reading: Reading, *, exact: bool) -> None:
        self._folder, self._reading, self._exact = folder_of(path), reading, exact
        self._refused: Stamp | None = None  # of an index that will not do

    def read(self, before: Vectors | None) -> Vectors:
        """The vectors; what this gave before where nothing has changed since."""
        if before is not None and self.is_still(before):
            return before
        stamp = self._stamp()
        if stamp is not None and stamp != self._refused:
            known = before.index if isinstance(before, _Indexed) and before.stamp == stamp else None
            index = self._if_ours(known) if known else self._index()
            if index and (vectors := self._through_index(index, stamp)):
                return vectors
            self._refused = stamp
        now = self._resident(before if isinstance(before, _Exact) else None)
        allowed = Kept(lambda filters: now.allowed(self._matching(filters)))
        return _Exact(
            now.version, now.ids, now.rows, now.hubness, now.hubs, now.state, _allowed=allowed
        )

    def is_still(self, vectors: Vectors) -> bool:
        """Whether :meth:`read` would give these again."""
        with self._reading() as connection:
            now = read_meta(connection)[1], newest_state(connection)
        resident = vectors.since if isinstance(vectors, _Indexed) else cast(_Exact, vectors)
        used = (vectors.stamp,) if isinstance(vectors, _Indexed) else (None, self._refused)
        return (resident.version, resident.state) == now and self._stamp() in used

    def state(self) -> IndexState | None:
        """The index beside, and how far it is behind; None where there is none that serves."""
        if (index := self._index()) is None:
            return None
        about = index.about
        with self._reading() as connection:
            if about.hubs != hubs_of(connection):
                return None
            changed = count_changes(connection, about.version)
        return IndexState(
            kind=about.kind,
            recall=about.recall_measured,
            recall_wanted=about.recall_wanted,
            queries=about.sample,
            photos=about.count,
            behind=about.count if changed is None else changed,
            seconds=about.seconds,
            bytes_a_vector=about.bytes / max(about.count, 1),
            parameters=dict(about.parameters),
        )

    def build(self, store: Store, recall: float, kind: str, watched: Watched) -> None:
        """Build the index; see :meth:`~msedge.search.stores.store.Store.build_index`."""
        from msedge.search.approximate.build import build

        with self._reading() as connection:
            # Read before the vectors: what is put meanwhile is then searched beside the index.
            model, version, identity = read_meta(connection)
            state, hubs = newest_state(connection), hubs_of(connection)
        blocks = (
            (
                np.array(block.ids, np.int64),
                np.stack([photo.vector for photo in block.photos]),
                np.array([photo.hubness if hubs else 0.0 for photo in block.photos]),
            )
            for block in store.blocks(_ROWS_A_BLOCK)
        )
        build(
            self._folder,
            blocks,
            count=store.count(),
            model=model,
            version=version,
            gallery=f"{identity}{_IN_STATE}{state}",
            hubs=hubs,
            recall=recall,
            kind=None if kind == AUTO else cast("Any", kind),
            watched=watched,
        )

    def _index(self) -> ApproximateIndex | None:
        """The index beside; None where there is none, or it is damaged or another's."""
        if not self._folder.exists():
            return None
        try:
            from msedge.search.approximate.index import ApproximateIndex

            index = ApproximateIndex.open(self._folder)
        except (DataError, ModuleNotFoundError):  # a cache: without it, everything goes on
            return None
        return self._if_ours(index)

    def _if_ours(self, index: ApproximateIndex) -> ApproximateIndex | None:
        with self._reading() as connection:
            return index if is_of(connection, index.about) else None

    def _stamp(self) -> Stamp | None:
        """What changes when the index is made anew; None where there is none to use."""
        if self._exact:
            return None
        try:
            status = os.stat(self._folder / "about.json")  # noqa: PTH116
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns

    def _resident(self, before: Resident | None) -> Resident:
        """All vectors; only what has changed is read where little has."""
        changes = None
        if before is not None:
            most = _MOST_CHANGED * len(before.ids)
            changes = self._changes(before.version, most, before.hubs, before.state)
        if before is None or changes is None:
            with self._reading() as connection:
                return _read_vectors(connection)
        gone, new = changes
        stays = ~np.isin(before.ids, gone)
        ids = np.concatenate([before.ids[stays], new.ids])
        rows = np.concatenate([before.rows[stays], new.rows])
        hubness = np.concatenate([before.hubness[stays], new.hubness])
        order = np.argsort(ids, kind="stable")
        if not np.array_equal(order, np.arange(len(ids))):  # new ids are the last, changed ones not
            ids, rows, hubness = ids[order], rows[order], hubness[order]
        return Resident(new.version, ids, rows, hubness, new.hubs, new.state)

    def _through_index(self, index: ApproximateIndex, stamp: Stamp) -> Vectors | None:
        """An index brought up to date; None where it is too far behind, or of other hubs."""
        most = max(_LEAST_BEHIND, _MOST_BEHIND * len(index.ids))
        if (changes := self._changes(index.about.version, most, index.about.hubs)) is None:
            return None
        gone, since = changes
        stays = ~mask_of(index.ids, gone)

        def allowed(filters: Filters) -> tuple[Mask, Mask]:
            only = self._matching(filters)
            return mask_of(index.ids, only) & stays, since.allowed(only)

        return _Indexed(index, stamp, None if stays.all() else stays, since, Kept(allowed))

    def _changes(
        self, since: int, most: float, hubs: str, state: str = ""
    ) -> tuple[Ids, Resident] | None:
        """What is no longer as it was at a version, and what is new; None of too much.

        None, too, where the gallery has other hubs now, which changes all, or never was in that
        state: one of before was put back.
        """
        with self._reading() as connection:
            count = count_changes(connection, since)
            if count is None or count > most or hubs != hubs_of(connection):
                return None
            if state and not comes_from(connection, state):
                return None
            query = "SELECT id FROM removed WHERE version > ?"
            removed = [number for (number,) in connection.execute(query, (since,))]
            new = _read_vectors(connection, since)
        return np.concatenate([np.array(removed, np.int64), new.ids]), new

    def _matching(self, filters: Filters) -> Ids:
        where, values = condition(filters)
        with self._reading() as connection:
            rows = connection.execute(f"SELECT id FROM photos WHERE {where}", values)
            return np.fromiter((number for (number,) in rows), np.int64)


def folder_of(gallery: Path) -> Path:
    """Where the approximate index of a gallery lies."""
    return beside(gallery, SUFFIX)


def is_of(connection: sqlite3.Connection, about: About) -> bool:
    """Whether an index is of a gallery, of its past, and of the model that made its vectors.

    A copy of before the index, put back, is the same gallery with another past. An index that an
    earlier release built does not say of which it is.
    """
    model, _, identity = read_meta(connection)
    gallery, _, state = (about.gallery or "").partition(_IN_STATE)
    wanted = (identity, model.fingerprint, model.dim)
    is_same = (gallery, about.fingerprint, about.dim) == wanted
    return is_same and (not state or may_come_from(connection, state))


def hubs_of(connection: sqlite3.Connection) -> str:
    """Of whose drawings the photos' hubness is; empty where it does not count."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (NOTE + HUBS,)).fetchone()
    return "" if row is None else str(row[0])


def count_changes(connection: sqlite3.Connection, since: int) -> int | None:
    """How many photos were put or removed after a version; None where that is not known."""
    if not knows_changes(connection, since) or since > read_meta(connection)[1]:
        return None
    (count,) = connection.execute(
        "SELECT (SELECT count(*) FROM photos WHERE version > ?1)"
        " + (SELECT count(*) FROM removed WHERE version > ?1)",
        (since,),
    ).fetchone()
    return int(count)


def _read_vectors(connection: sqlite3.Connection, since: int | None = None) -> Resident:
    """All vectors, or those that were put after a version."""
    model, version, _ = read_meta(connection)
    where = "" if since is None else f"WHERE version > {since:d}"
    (count,) = connection.execute(f"SELECT count(*) FROM photos {where}").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    if count * model.dim * STORED_VECTOR.itemsize > pages * size:  # no room is made for these
        raise sqlite3.DatabaseError("a vector is cut short")
    ids = np.empty(count, np.int64)
    vectors = np.empty((count, model.dim), STORED_VECTOR)
    hubness, hubs = np.zeros(count), hubs_of(connection)
    columns = "id, vector, hubness" if hubs else "id, vector, 0.0"
    found = connection.execute(f"SELECT {columns} FROM photos {where} ORDER BY id")
    for start in range(0, count, _ROWS_A_FETCH):
        numbers, blobs, near = zip(*found.fetchmany(_ROWS_A_FETCH), strict=True)
        block = slice(start, start + len(numbers))
        ids[block] = numbers
        vectors[block] = decoded(blobs, model.dim)
        check_finite(vectors[block], numbers)
        hubness[block] = checked_hubness(near, numbers)
    rows = unit_vectors(vectors.astype(np.float16, copy=False))
    return Resident(version, ids, rows, hubness, hubs, newest_state(connection))


def decoded(blobs: Sequence[Any], dim: int) -> npt.NDArray[Any]:
    """Vectors ``(n, dim)`` as they lie in the file."""
    if not all(isinstance(blob, bytes) for blob in blobs):
        raise sqlite3.DatabaseError("a vector is something else")
    content = b"".join(blobs)
    if len(content) != len(blobs) * dim * STORED_VECTOR.itemsize:
        raise sqlite3.DatabaseError("a vector is cut short")
    return np.frombuffer(content, STORED_VECTOR).reshape(len(blobs), dim)
