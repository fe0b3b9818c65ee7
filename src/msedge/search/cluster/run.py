"""One run: parts go out, results come in, and what came is committed every few seconds.

Only results that arrive here become part of the gallery, each part once; a part that Ray did twice
leaves a fragment that nobody commits. Tested in ``tests/search/cluster/test_indexing.py``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from msedge.errors import DataError, MSEdgeError
from msedge.search.cluster.plan import cut
from msedge.search.cluster.sidecars import DeadLetters
from msedge.search.cluster.summary import ClusterSummary, WorkerPace
from msedge.search.cluster.wire import Item, Part, PartResult, photo_held
from msedge.search.gallery_rows import NewPhoto
from msedge.search.index_summary import IndexWatcher, Skipped
from msedge.search.lance.fragments import write_fragment
from msedge.search.lance.gallery import LanceGallery
from msedge.search.store import Block

_SECONDS_A_COMMIT = 3.0
_SMALLER = 16  # photos a part, after the whole part has failed; then one
_ENOUGH = 8  # parts, from which on losing them is no accident of some photos
_DEADLY = "a worker died of it, or was lost with it, each time"

Ask = Callable[[Sequence[Part], bool], Iterator[PartResult | None]]
"""Has parts done; the flag says whether each worker is to have one at a time."""


class ClusterRun:
    """What is in hand between two commits."""

    def __init__(
        self,
        gallery: LanceGallery,
        gone: dict[str, list[int]],
        letters: DeadLetters,
        watcher: IndexWatcher | None,
        stop: threading.Event,
    ) -> None:
        """Take a gallery open for writing, and the ids of photos that are not where they were."""
        self._gallery, self._gone, self._letters = gallery, gone, letters
        self._watcher, self._stop = watcher, stop
        self._summary = ClusterSummary()
        self._items: dict[int, Item] = {}
        self._left: set[int] = set()
        self._total = 0
        self._fragments: list[str] = []
        self._remove: list[int] = []
        self._committed = time.monotonic()
        self._failed: dict[int, str] = {}  # why, by id

    def run(self, parts: Sequence[Part], ask: Ask) -> ClusterSummary:
        """Do everything, in parts, then in smaller ones what was not done.

        Args:
            parts: what to read.
            ask: has them done.

        Raises:
            DataError: nothing at all could be done; or the gallery cannot be written.
        """
        self._items = {item.id: item for part in parts for item in part.items}
        self._left = set(self._items)
        self._total = len(self._items)
        self._tell_progress()
        try:
            self._do(parts, ask)
        except MSEdgeError:
            self._commit()  # what came is in order, and need not be done again
            raise
        self._summary.left = len(self._left) if self._stop.is_set() else 0
        self._summary.stopped = bool(self._summary.left)
        if not self._summary.stopped:
            self._give_up()
            gone = [id for ids in self._gone.values() for id in ids]
            self._remove += gone
            self._summary.removed += len(gone)
        self._commit()
        self._summary.photos = self._gallery.count()
        return self._summary

    def _do(self, parts: Sequence[Part], ask: Ask) -> None:
        for size in (None, _SMALLER, 1):
            if not self._left or self._stop.is_set():
                return
            todo = list(parts)
            if size is not None:
                items = [item for id, item in self._items.items() if id in self._left]
                todo = cut(items, size)
                self._summary.parts_again += len(todo)
            self._pass(todo, ask, alone=size is not None)
            if len(self._left) == self._total and len(todo) >= _ENOUGH and not self._stop.is_set():
                why = next(iter(self._failed.values()), "each worker died, or none was started")
                raise DataError(
                    f"no worker has managed a single photo ({why}): nothing was changed; look at "
                    "the memory of the machines, and at Ray's logs"
                )

    def _pass(self, parts: Sequence[Part], ask: Ask, alone: bool) -> None:
        """Have parts done; and those of lost machines again, where these are many."""
        missing = {part.number: part for part in parts}
        before = 0
        while missing and len(missing) != before and not self._stop.is_set():
            before = len(missing)
            for result in ask(list(missing.values()), alone):
                part = missing.get(result.number) if result else None
                if result and part and self._take(part, result):
                    del missing[result.number]
                if self._is_due():
                    self._commit()
                if self._stop.is_set():
                    return
            if len(missing) < _ENOUGH:
                return

    def _take(self, part: Part, result: PartResult) -> bool:
        """Decide what a result means for the gallery; whether the part is done with."""
        if result.failed is not None:
            if result.hopeless:
                raise DataError(result.failed)
            self._failed |= {item.id: result.failed for item in part.items}
            return False
        self._fragments += result.fragments
        same = set(result.same)
        for id in result.written:
            self._count(self._items[id], id in same)
        self._hold(result)
        for id, reason, is_damaged in result.unread:
            self._pass_over(self._items[id], reason, is_damaged)
        done = {item.id for item in part.items}
        for id in done - {id for id, *_ in result.unread}:
            self._letters.drop(self._items[id].file.path)
        self._left -= done
        pace = self._summary.workers.setdefault(result.worker, WorkerPace(result.node))
        pace.photos += len(result.written) + len(result.held)
        pace.seconds += result.seconds
        self._tell_progress()
        return True

    def _count(self, item: Item, same: bool) -> None:
        """Note a photo that is in a fragment under its own id."""
        self._summary.embedded += 1
        if item.known_hash:
            self._remove.append(item.id)
        if same:  # touched
            self._summary.unchanged += 1
        elif item.known_hash:
            self._summary.changed += 1
        else:
            self._summary.new += 1

    def _hold(self, result: PartResult) -> None:
        """Write photos whose content lay elsewhere; the first of each takes over the id there."""
        rows: list[tuple[int, NewPhoto]] = []
        for id, told in result.held:
            item, photo = self._items[id], photo_held(told)
            same = photo.content_hash == item.known_hash
            moved = None if same else self._gone.get(photo.content_hash)
            if not moved:
                rows.append((id, photo))
                self._count(item, same)
                continue
            rows.append((moved.pop(0), photo))
            self._remove += [rows[-1][0], *([id] if item.known_hash else [])]
            self._summary.embedded += 1
            self._summary.moved += 1
        rows.sort(key=lambda row: row[0])
        if rows:
            block = Block([id for id, _ in rows], [photo for _, photo in rows])
            path, dim = self._gallery.path, self._gallery.model.dim
            self._fragments += write_fragment(path, dim, block)

    def _pass_over(self, item: Item, reason: str, is_damaged: bool) -> None:
        self._summary.skipped.append(Skipped(Path(item.file.path), reason))
        self._letters.add(item.file.path, reason)
        # What the gallery holds of a damaged file is no longer true; of one that cannot be opened
        # now it may be.
        if item.known_hash and is_damaged:
            self._remove.append(item.id)
            self._summary.removed += 1

    def _give_up(self) -> None:
        """Pass over the photos that were not done even one at a time."""
        for id in sorted(self._left):
            self._pass_over(self._items[id], self._failed.get(id, _DEADLY), is_damaged=False)
        self._left.clear()

    def _is_due(self) -> bool:
        late = time.monotonic() - self._committed >= _SECONDS_A_COMMIT
        return late and bool(self._fragments or self._remove)

    def _commit(self) -> None:
        """Make everything in hand part of the gallery, at once."""
        if self._fragments or self._remove:
            self._gallery.commit(self._fragments, removing=self._remove)
            self._fragments, self._remove = [], []
            if self._watcher:
                self._watcher.committed(self._total - len(self._left))
        self._letters.write()
        self._committed = time.monotonic()

    def _tell_progress(self) -> None:
        if self._watcher:
            self._watcher.progress(self._total - len(self._left), self._total)
