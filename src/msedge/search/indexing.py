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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from msedge.errors import ConfigError
from msedge.search.encoder import Encoder
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
from msedge.search.stores.reports import Model, StoppedError
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
    """What was passed over.

    Attributes:
        path: a file, or a folder that cannot be read.
        reason: why, in a few words.
    """

    path: Path
    reason: str


@dataclass(slots=True)
class IndexSummary:
    """What indexing came to.

    Attributes:
        new: photos that the gallery did not hold.
        changed: photos whose content is another than before.
        moved: photos that lie elsewhere than before, with the same content.
        removed: photos that are no longer there.
        unchanged: photos that are as they were.
        embedded: how many of the new and changed went through the network; the others have the
            content of one that did.
        skipped: what was passed over, by path; looked at again by the next run.
        photos: in the gallery now.
        left: photos still to be read, where indexing was asked to stop.
        stopped: whether it was asked to stop.
        seconds: that it took.
    """

    new: int = 0
    changed: int = 0
    moved: int = 0
    removed: int = 0
    unchanged: int = 0
    embedded: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    photos: int = 0
    left: int = 0
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
        names = ("new", "changed", "moved", "removed", "unchanged", "embedded", "photos", "left")
        return {
            **{name: getattr(self, name) for name in names},
            "stopped": self.stopped,
            "seconds": round(self.seconds, 3),
            "photos_per_second": round(self.photos_per_second, 1),
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
        folders: where the photos lie, each with everything below it; photos, tars, Parquet files
            and URLs as well.
        gallery: of either kind; made when it is missing.
        encoder: what makes the vectors; its ``photos`` is called from several threads.
        exclude: patterns of files and folders to leave out
            (:class:`~msedge.search.sources.Choice`); photos of theirs that the gallery holds are
            removed.
        hidden: whether names that begin with a dot count.
        allow_empty: whether a folder without photos is believed where the gallery has some.
        rebuild: embed everything anew with this encoder, the gallery's photos elsewhere
            included, into a gallery beside it that takes its place at the end.
        watcher: told how it goes.
        batch_size: photos that a thread reads and embeds together.
        workers: threads; ``None`` for the CPUs that this process may use.
        stop: set it to make an end after the photos in hand; they are committed.
        column: of the photos in Parquet files; ``None`` to find it.

    Returns:
        What it came to.

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
    pace = _Pace(encoder, batch_size, workers or usable_cpus(), watcher, stop or threading.Event())
    choice = Choice(tuple(exclude), hidden, column, allow_empty)
    model = Model(encoder.name, encoder.fingerprint, encoder.dim)
    with written_by_one(gallery):
        anew = _is_there(gallery, None if rebuild else encoder) and rebuild
        found = find(folders, choice, without=gallery)
        try:
            if anew:
                summary = _rebuild(found, choice, gallery, model, pace)
            else:
                summary = _update(found, choice, gallery, model, pace)
        except StoppedError:  # while shards were listed: nothing was changed
            with open_store(gallery) as store:
                summary = IndexSummary(photos=store.count(), stopped=True)
    summary.seconds = time.monotonic() - begun
    return summary


@dataclass(frozen=True, slots=True)
class _Pace:
    """How photos are read and embedded, and who is told."""

    encoder: Encoder
    batch_size: int
    workers: int
    watcher: IndexWatcher | None
    stop: threading.Event

    def list_shards(self, shards: Sequence[Item], column: str | None) -> Iterator[Listing]:
        """List shards, several at a time."""
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="list")
        try:
            for listing in pool.map(lambda shard: list_shard(shard, column), shards):
                if self.stop.is_set():
                    raise StoppedError
                yield listing
        finally:
            pool.shutdown(cancel_futures=True)


def _is_there(gallery: Path, encoder: Encoder | None) -> bool:
    """Whether there is a gallery; an encoder has to be the one that made it."""
    try:
        with open_store(gallery) as store:
            if encoder is not None:
                store.check_model(encoder)
    except MissingGalleryError:
        return False
    return True


def _update(found: Found, choice: Choice, gallery: Path, model: Model, pace: _Pace) -> IndexSummary:
    with open_or_create(gallery, model) as store:
        places = store.places()
        found, note = _listed(found, choice, store, pace, places, places)
        if note != store.note(SHARDS):
            store.write_note(SHARDS, note)
        summary = _Run(store, pace, places).run(plan(found, places))
    summary.pass_over(found)
    return summary


def _rebuild(
    found: Found, choice: Choice, gallery: Path, model: Model, pace: _Pace
) -> IndexSummary:
    with open_store(gallery, writable=True) as old:
        places = old.places()
        found, note = _listed(found, choice, old, pace, places, {})
        found = with_photos_elsewhere(found, places, choice.column)
        with old.successor(model) as new:
            new.write_note(SHARDS, note)
            known = new.places()
            summary = _Run(new, pace, known).run(plan(found, known, everything=True))
        # Not by renaming: whoever has the gallery open would go on with the old one.
        if not summary.stopped:
            old.take_over(new.path)
    summary.pass_over(found)
    return summary


def _listed(
    found: Found,
    choice: Choice,
    store: Store,
    pace: _Pace,
    places: Mapping[str, Place],
    known: Mapping[str, Place],
) -> tuple[Found, str]:
    """What was found, with the photos of all shards, of which known ones are not opened."""
    found, note = with_shards_listed(
        found,
        known,
        choice,
        store.note(SHARDS),
        lambda shards: pace.list_shards(shards, choice.column),
    )
    if not choice.allow_empty:
        check_not_emptied(found, places)
    return found, note


class _Run:
    """What is in hand between two commits."""

    def __init__(self, store: Store, pace: _Pace, places: Mapping[str, Place]) -> None:
        """Take a gallery open for writing, and what it holds; nothing is done yet."""
        self._store, self._pace, self._places = store, pace, places
        self._summary = IndexSummary()
        self._gone: dict[str, list[int]] = {}
        self._put: list[NewPhoto | Known] = []  # known content is copied from another photo
        self._move: list[tuple[int, Path, int, int]] = []
        self._remove: list[int] = []
        self._committed = time.monotonic()

    def run(self, plan: Plan) -> IndexSummary:
        """Bring the gallery to hold what was found."""
        summary, stop = self._summary, self._pace.stop
        self._gone, summary.unchanged = plan.gone, plan.unchanged
        known = {place.content_hash for place in self._places.values()}
        done, total = 0, len(plan.to_read)
        self._tell_progress(0, total)
        batches = embedded(
            plan.to_read,
            self._pace.encoder,
            workers=self._pace.workers,
            batch_size=self._pace.batch_size,
            known=known,
        )
        try:
            while not stop.is_set() and (batch := next(batches, None)) is not None:
                for item, photo in batch:
                    self._take(item, photo)
                done += len(batch)
                self._tell_progress(done, total)
                if self._is_due():
                    self._commit()
        finally:
            batches.close()
        summary.left, summary.stopped = total - done, done < total
        self._commit()
        self._embed_what_was_not_there()
        if not summary.stopped:
            gone = [id for ids in self._gone.values() for id in ids]
            self._remove += gone
            summary.removed += len(gone)
        self._commit()
        summary.photos = self._store.count()
        return summary

    def _take(self, item: Item, photo: Embedded) -> None:
        """Decide what a photo means for the gallery."""
        if isinstance(photo, Unreadable):
            self._pass_over(item, photo)
            return
        place, path = self._places.get(item.path), Path(item.path)
        state = photo.item.state if isinstance(photo, Known) else (photo.size, photo.mtime_ns)
        if place and place.content_hash == photo.content_hash:  # touched
            self._summary.unchanged += 1
            self._move.append((place.id, path, *state))
        elif moved := self._gone.get(photo.content_hash):
            self._summary.moved += 1
            self._move.append((moved.pop(0), path, *state))
        else:
            self._put.append(photo)
            if isinstance(photo, NewPhoto):
                self._summary.embedded += 1
                self._count(item.path)

    def _count(self, path: str) -> None:
        if path in self._places:
            self._summary.changed += 1
        else:
            self._summary.new += 1

    def _pass_over(self, item: Item, photo: Unreadable) -> None:
        self._summary.skipped.append(Skipped(Path(item.path), photo.reason))
        place = self._places.get(item.path)
        # What the gallery holds of a damaged file is no longer true; of one that cannot be
        # opened now it may be.
        if place and photo.is_damaged:
            self._remove.append(place.id)
            self._summary.removed += 1

    def _is_due(self) -> bool:
        photos = len(self._put) + len(self._move)
        late = time.monotonic() - self._committed >= _SECONDS_A_COMMIT
        return photos >= _PHOTOS_A_COMMIT or (late and photos > 0)

    def _commit(self) -> None:
        """Make everything in hand part of the gallery, at once."""
        put, waiting = self._with_copies()
        if put or self._move or self._remove:
            self._store.change(put=put, move=self._move, remove=self._remove)
            if self._pace.watcher:
                self._pace.watcher.committed(self._store.count())
        self._put, self._move, self._remove = waiting, [], []
        self._committed = time.monotonic()

    def _with_copies(self) -> tuple[list[NewPhoto], list[NewPhoto | Known]]:
        """What is to be put, copies included; and photos of which the content is not there yet."""
        # Before anything is changed: what they are copied from may be about to.
        twins = {each.content_hash: each for each in self._put if isinstance(each, NewPhoto)}
        put: list[NewPhoto] = []
        waiting: list[NewPhoto | Known] = []
        for photo in self._put:
            if isinstance(photo, NewPhoto):
                put.append(photo)
                continue
            twin = twins.get(photo.content_hash) or self._store.with_content(photo.content_hash)
            if twin is None:
                waiting.append(photo)
                continue
            twins[photo.content_hash] = twin
            self._count(photo.item.path)
            put.append(_copied(twin, photo.item))
        return put, waiting

    def _embed_what_was_not_there(self) -> None:
        """Embed photos whose content was to be copied from one that has changed meanwhile."""
        items = [photo.item for photo in self._put if isinstance(photo, Known)]
        self._put = []
        for batch in embedded(items, self._pace.encoder, workers=1, batch_size=1):
            for item, photo in batch:
                self._take(item, photo)

    def _tell_progress(self, done: int, total: int) -> None:
        if self._pace.watcher:
            self._pace.watcher.progress(done, total)


def _copied(twin: NewPhoto, item: Item) -> NewPhoto:
    """A photo of the same content as another; without a date of its own, of its file's."""
    has_date = twin.taken != twin.mtime_ns / 1e9
    return replace(
        twin,
        path=Path(item.path),
        size=item.size,
        mtime_ns=item.mtime_ns,
        taken=twin.taken if has_date else item.mtime_ns / 1e9,
    )
