"""Indexing: a gallery is brought to hold what lies in some sources.

Nothing that is as it was is read; content that has a vector is not embedded again. Work is
committed every few seconds, so that it can be stopped or killed at any moment and goes on from
there. :mod:`msedge.search.cluster` does the same on many machines. Tested in
``tests/search/test_indexing*.py``.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from msedge.errors import ConfigError
from msedge.search.encoder import Encoder
from msedge.search.folders import MovedFolder, moved_folders
from msedge.search.photo import NewPhoto, Place
from msedge.search.reading import BATCH, Embedded, Known, embedded
from msedge.search.sources import Choice, Found, check_sources, find
from msedge.search.sources.contents import Unreadable
from msedge.search.sources.objects import Item
from msedge.search.sources.plan import (
    SHARDS,
    Plan,
    check_not_emptied,
    plan,
    with_photos_elsewhere,
    with_shards_listed,
)
from msedge.search.sources.shards import Listing, list_shard
from msedge.search.stores import open_or_create, open_store, written_by_one
from msedge.search.stores.reports import Model, StoppedError, Watched
from msedge.search.stores.store import MissingGalleryError, Store
from msedge.system import usable_cpus

_PHOTOS_A_COMMIT = 512
_SECONDS_A_COMMIT = 3.0


class IndexWatcher(Protocol):
    """Someone who is told how indexing goes."""

    def say(self, message: str) -> None:
        """Hear a line of news."""

    def progress(self, done: int, total: int) -> None:
        """Hear how many of the photos that have to be read are done with."""

    def committed(self, photos: int) -> None:
        """Hear that what was done is safe in the gallery, which now holds so many photos."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was passed over, or a folder that cannot be read, and why in a few words."""

    path: Path
    reason: str


@dataclass(slots=True)
class IndexSummary:
    """What indexing came to, in photos."""

    new: int = 0
    changed: int = 0  # in content
    moved: int = 0  # with the same content
    removed: int = 0  # since they are no longer there
    unchanged: int = 0
    embedded: int = 0  # of the new and changed; the others have the content of one that was
    hubs: int = 0  # photos that were there, whose hubness was worked out from their vectors
    skipped: list[Skipped] = field(default_factory=list)  # by path; looked at again next time
    moved_folders: list[MovedFolder] = field(default_factory=list)  # to here, as it seems
    photos: int = 0  # in the gallery now
    left: int = 0  # to be read still, where indexing was asked to stop
    stopped: bool = False
    seconds: float = 0.0

    @property
    def photos_per_second(self) -> float:
        """New and changed photos a second."""
        return (self.new + self.changed) / self.seconds if self.seconds > 0 else 0.0

    def pass_over(self, found: Found) -> None:
        """Add what cannot be read among what was found, and put all by path."""
        passed_over = {**found.unread, **found.odd}
        self.skipped += [Skipped(Path(path), why) for path, why in passed_over.items()]
        self.skipped.sort(key=lambda skipped: os.fsencode(skipped.path))

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON holds it."""
        counts = "new changed moved removed unchanged embedded hubs photos left"
        return {
            **{name: getattr(self, name) for name in counts.split()},
            "stopped": self.stopped,
            "seconds": round(self.seconds, 3),
            "photos_per_second": round(self.photos_per_second, 1),
            "moved_folders": [each.as_dict() for each in self.moved_folders],
            "skipped": [{"path": str(s.path), "reason": s.reason} for s in self.skipped],
        }


def index(
    folders: Sequence[Path | str],
    gallery: Path,
    encoder: Encoder,
    *,
    exclude: Sequence[str] = (),
    hidden: bool = False,
    allow_empty: bool = False,
    rebuild: bool = False,
    watcher: IndexWatcher | None = None,
    batch_size: int = BATCH,
    workers: int | None = None,
    stop: threading.Event | None = None,
    column: str | None = None,
) -> IndexSummary:
    """Bring a gallery to hold the photos of some folders.

    Photos outside these folders stay as they are. A photo that is moved within what is looked
    at keeps its id and its vector. What cannot be read is passed over and tried again next time.

    Args:
        folders: with all that lies below; photos, tars, Parquet files and URLs as well.
        gallery: of either kind; made when it is missing.
        encoder: what makes the vectors; its ``photos`` is called from several threads.
        exclude: patterns to leave out (:class:`~msedge.search.sources.Choice`), also of what the
            gallery holds.
        hidden: whether names that begin with a dot count.
        allow_empty: whether a folder without photos is believed where the gallery has some.
        rebuild: embed everything anew, the gallery's photos elsewhere included, into a gallery
            beside it that takes its place at the end.
        watcher: told how it goes.
        batch_size: photos that a thread reads and embeds together.
        workers: threads; ``None`` for the CPUs that this process may use.
        stop: set it to make an end after the photos in hand; they are committed.
        column: of the photos in Parquet files; ``None`` to find it.

    Raises:
        DataError: a folder is missing, unreadable or suddenly without photos (nothing is changed
            then); another process indexes into the gallery; it is not a gallery, or damaged.
        WeightsError: the gallery was made by other weights.
        ConfigError: ``batch_size`` or ``workers`` is smaller than 1; or there is no such protocol.
    """
    if batch_size < 1 or (workers is not None and workers < 1):
        raise ConfigError(f"expected at least 1, got batch size {batch_size}, workers {workers}")
    begun = time.monotonic()
    check_sources(folders)  # before a lock or a file is made
    choice = Choice(tuple(exclude), hidden, column, allow_empty)
    workers, stop = workers or usable_cpus(), stop or threading.Event()
    run = _Run(encoder, choice, batch_size, workers, watcher, stop)
    with written_by_one(gallery):
        anew = _is_there(gallery, None if rebuild else encoder) and rebuild
        found = find(folders, choice, without=gallery)
        try:
            found = run.rebuild(found, gallery) if anew else run.update(found, gallery)
            run.summary.pass_over(found)
        except StoppedError:  # before the first photo was read: nothing, or hubness, was changed
            with open_store(gallery) as store:
                run.summary.photos, run.summary.stopped = store.count(), True
    run.summary.seconds = time.monotonic() - begun
    return run.summary


def _is_there(gallery: Path, encoder: Encoder | None) -> bool:
    """Whether there is a gallery; an encoder has to be the one that made it."""
    try:
        with open_store(gallery) as store:
            if encoder is not None:
                store.check_model(encoder)
    except MissingGalleryError:
        return False
    return True


@dataclass(slots=True)
class _Run:
    """What is in hand between two commits."""

    encoder: Encoder
    choice: Choice
    batch_size: int
    workers: int
    watcher: IndexWatcher | None
    stop: threading.Event
    summary: IndexSummary = field(default_factory=IndexSummary)
    store: Store = field(init=False)  # open for writing
    places: Mapping[str, Place] = field(init=False)  # that it held before
    gone: dict[str, list[int]] = field(default_factory=dict)  # ids by content hash
    put: list[NewPhoto | Known] = field(default_factory=list)  # known: copied from another photo
    move: list[tuple[int, Path, int, int]] = field(default_factory=list)
    remove: list[int] = field(default_factory=list)
    copies: list[tuple[str, str]] = field(default_factory=list)  # new, of known content, by hash
    committed: float = field(init=False)

    def update(self, found: Found, gallery: Path) -> Found:
        """Bring a gallery up to date; gives what was found, shards listed."""
        with open_or_create(gallery, self._model()) as store:
            places, before = store.places(), store.version()
            self.summary.hubs = store.bring_hubs(self.encoder.bank, Watched(stop=self.stop))
            found, note = self._listed(found, store, places, places)
            if note != store.note(SHARDS):
                store.write_note(SHARDS, note)
            self._do(plan(found, places), store, places)
            self.summary.moved_folders = moved_folders(self.copies, places, found)
            if store.version() != before and not self.summary.stopped:
                self._tidy(store)
        return found

    def rebuild(self, found: Found, gallery: Path) -> Found:
        """The same, with everything embedded anew."""
        with open_store(gallery, writable=True) as old:
            places = old.places()
            found, note = self._listed(found, old, places, {})
            found = with_photos_elsewhere(found, places, self.choice.column)
            with old.successor(self._model()) as new:
                new.write_note(SHARDS, note)
                new.bring_hubs(self.encoder.bank, Watched(stop=self.stop))
                known = new.places()
                self._do(plan(found, known, everything=True), new, known)
            # Not by renaming: whoever has the gallery open would go on with the old one.
            if not self.summary.stopped:
                old.take_over(new.path)
            self._tidy(old)
        return found

    def _tidy(self, store: Store) -> None:
        for line in store.tidy():
            if self.watcher:
                self.watcher.say(line)

    def _model(self) -> Model:
        return Model(self.encoder.name, self.encoder.fingerprint, self.encoder.dim)

    def _listed(
        self, found: Found, store: Store, places: Mapping[str, Place], known: Mapping[str, Place]
    ) -> tuple[Found, str]:
        """What was found, with the photos of all shards, of which known ones are not opened."""
        noted = store.note(SHARDS)
        found, note = with_shards_listed(found, known, self.choice, noted, self._list_shards)
        if not self.choice.allow_empty:
            check_not_emptied(found, places)
        return found, note

    def _list_shards(self, shards: Sequence[Item]) -> Iterator[Listing]:
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="list")
        try:
            for listing in pool.map(lambda shard: list_shard(shard, self.choice.column), shards):
                if self.stop.is_set():
                    raise StoppedError
                yield listing
        finally:
            pool.shutdown(cancel_futures=True)

    def _do(self, plan: Plan, store: Store, places: Mapping[str, Place]) -> None:
        self.store, self.places, self.committed = store, places, time.monotonic()
        self.gone, summary = plan.gone, self.summary
        summary.unchanged = plan.unchanged
        items, known = plan.to_read, {place.content_hash for place in places.values()}
        summary.left = total = len(items)
        self._tell_progress(total)
        batches = embedded(
            items, self.encoder, workers=self.workers, batch_size=self.batch_size, known=known
        )
        with closing(batches):
            while not self.stop.is_set() and (batch := next(batches, None)) is not None:
                self._take(batch)
                summary.left -= len(batch)
                self._tell_progress(total)
                in_hand, seconds = len(self.put) + len(self.move), time.monotonic() - self.committed
                if in_hand >= _PHOTOS_A_COMMIT or (in_hand and seconds >= _SECONDS_A_COMMIT):
                    self._commit()
        summary.stopped = summary.left > 0
        self._commit()
        # What was to be copied from photos that have changed meanwhile.
        missing = [photo.item for photo in self.put if isinstance(photo, Known)]
        self.put = []
        for batch in embedded(missing, self.encoder, workers=1, batch_size=1):
            self._take(batch)
        if not summary.stopped:
            gone = [id for ids in self.gone.values() for id in ids]
            self.remove += gone
            summary.removed += len(gone)
        self._commit()
        summary.photos = store.count()

    def _take(self, batch: Sequence[tuple[Item, Embedded]]) -> None:
        """Decide what photos mean for the gallery."""
        for item, photo in batch:
            place, path = self.places.get(item.path), Path(item.path)
            if isinstance(photo, Unreadable):
                self.summary.skipped.append(Skipped(path, photo.reason))
                # What the gallery holds of a damaged file is no longer true; of one that cannot be
                # opened now it may be.
                if place and photo.is_damaged:
                    self.remove.append(place.id)
                    self.summary.removed += 1
                continue
            state = photo.item.state if isinstance(photo, Known) else (photo.size, photo.mtime_ns)
            if place and place.content_hash == photo.content_hash:  # touched
                self.summary.unchanged += 1
                self.move.append((place.id, path, *state))
            elif moved := self.gone.get(photo.content_hash):
                self.summary.moved += 1
                self.move.append((moved.pop(0), path, *state))
            else:
                self.put.append(photo)
                if isinstance(photo, Known) and place is None:
                    self.copies.append((item.path, photo.content_hash))

    def _commit(self) -> None:
        """Make everything in hand part of the gallery, at once."""
        # Before anything is changed: what they are copied from may be about to.
        twins = {each.content_hash: each for each in self.put if isinstance(each, NewPhoto)}
        put: list[NewPhoto] = []
        waiting: list[NewPhoto | Known] = []  # for their content
        for photo in self.put:
            if isinstance(photo, Known):
                twin = twins.get(photo.content_hash) or self.store.with_content(photo.content_hash)
                if twin is None:
                    waiting.append(photo)
                    continue
                twins[photo.content_hash] = twin
                put.append(_copied(twin, photo.item))
            else:
                self.summary.embedded += 1
                put.append(photo)
        changed = sum(str(photo.path) in self.places for photo in put)
        self.summary.changed += changed
        self.summary.new += len(put) - changed
        if put or self.move or self.remove:
            self.store.change(put=put, move=self.move, remove=self.remove)
            if self.watcher:
                self.watcher.committed(self.store.count())
        self.put, self.move, self.remove = waiting, [], []
        self.committed = time.monotonic()

    def _tell_progress(self, total: int) -> None:
        if self.watcher:
            self.watcher.progress(total - self.summary.left, total)


def _copied(twin: NewPhoto, item: Item) -> NewPhoto:
    """A photo of the same content as another; without a date of its own, of its file's."""
    size, mtime_ns = item.state
    taken = mtime_ns / 1e9 if twin.taken == twin.mtime_ns / 1e9 else twin.taken
    return replace(twin, path=Path(item.path), size=size, mtime_ns=mtime_ns, taken=taken)
