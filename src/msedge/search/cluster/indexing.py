"""Indexing on a cluster: as :mod:`msedge.search.indexing`, by workers on many machines.

Parts of the work go out, results come in, and what came is committed every few seconds. Only
results that arrive here become part of the gallery, each part once; a part that was done twice
leaves rows that nobody commits. Tested in ``tests/search/cluster/``.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from msedge.data.images import one_line
from msedge.errors import ConfigError, DataError, MSEdgeError
from msedge.models.bank import Bank
from msedge.search.cluster.ray_cluster import Cluster, RayEngine, RayFailedError
from msedge.search.cluster.worker import Entry, NewEncoder, Part, PartResult, Work, onnx_encoder
from msedge.search.encoder import providers_of
from msedge.search.folders import moved_folders
from msedge.search.indexing import IndexSummary, IndexWatcher, Skipped
from msedge.search.locations import location, whole
from msedge.search.photo import Block, NewPhoto
from msedge.search.reading import BATCH
from msedge.search.sources import Choice, Found, find, is_below
from msedge.search.sources.plan import SHARDS, check_not_emptied, plan, with_shards_listed
from msedge.search.stores import LANCE_SUFFIX, open_or_create, store_class, written_by_one
from msedge.search.stores.reports import Model, StoppedError, Watched
from msedge.search.stores.store import Store

__all__ = ["Choice", "Cluster", "ClusterSummary", "index_on_ray"]

_PART = 512  # photos at most: what is lost with a worker, and what a fragment begins as
_PARTS_A_WORKER = 8  # at least, so that none waits long for the last
_SMALLER = 16  # photos a part, after the whole part has failed; then one
_ENOUGH = 8  # parts, from which on losing them is no accident of some photos
_SECONDS_A_COMMIT = 3.0
_DEADLY = "a worker died of it, or was lost with it, each time"


def index_on_ray(
    sources: Sequence[Path | str],
    gallery: Path,
    model: str,
    *,
    cluster: Cluster | None = None,
    choice: Choice | None = None,
    watcher: IndexWatcher | None = None,
    stop: threading.Event | None = None,
    encoder: NewEncoder = onnx_encoder,
) -> ClusterSummary:
    """Bring a gallery to hold the photos of some sources.

    Photos outside these sources stay as they are. A photo that is changed or moved keeps its id;
    what cannot be read is passed over and tried again next time. Stopped or killed at any moment,
    the next run goes on from the last commit, a few seconds before.

    Args:
        sources: folders, photos, tars and Parquet files, as paths or as URLs that fsspec knows.
        gallery: the dataset, ``.lance``; made when it is missing. All machines must reach it, and
            the sources, by these names.
        model: a model's name, or a model's file, that every machine has.
        cluster: where and how; None for this machine.
        choice: which photos count; None for all.
        watcher: told how it goes.
        stop: set it to make an end; what has come in is committed.
        encoder: what loads it, of a module that every machine has.

    Raises:
        DataError: a source is missing, unreadable or suddenly without photos; another process
            indexes into the gallery; it is not a gallery, or damaged; Ray has failed.
        WeightsError: the gallery was made by other weights; there is no such model.
        ConfigError: the gallery has one writer at a time; there is no such cluster, or it lacks
            what is asked for.
    """
    begun, cluster, choice = time.monotonic(), cluster or Cluster(), choice or Choice()
    if not store_class(gallery).is_shared:
        raise ConfigError(
            f"a cluster writes a Lance gallery, whose name ends in {LANCE_SUFFIX}, and not "
            f"{gallery}: give --gallery NAME{LANCE_SUFFIX}; `msedge gallery copy` brings over what "
            "another holds"
        )
    gallery = whole(gallery)
    if cluster.gpus and cluster.address is None:
        providers_of("cuda")  # before anything is started; elsewhere the workers will say so
    own = encoder(model, "cpu")
    found = find(sources, choice, without=gallery)
    if of_memory := [r for r in map(location, found.roots) if r.startswith("memory://")]:
        raise ConfigError(
            f"{one_line(of_memory[0])}: what lies in memory:// is seen by one process alone, and "
            "photos are read by others: write them to files or to an object store"
        )
    device = "cuda" if cluster.gpus else "cpu"
    hubs = own.bank.fingerprint_of_drawings if own.bank else ""
    work = Work(
        gallery, encoder, model, own.fingerprint, own.dim, cluster.threads, device, hubs=hubs
    )
    with ExitStack() as held:
        held.enter_context(written_by_one(gallery))
        store = open_or_create(gallery, Model(own.name, own.fingerprint, own.dim))
        held.enter_context(store).check_model(own)
        run = _Run(store, RayEngine(cluster, held), work, watcher, stop or threading.Event())
        run.bring_up_to_date(found, choice, own.bank)
    run.summary.seconds = time.monotonic() - begun
    return run.summary


@dataclass(slots=True)
class WorkerPace:
    """What one worker did."""

    photos: int = 0  # that it embedded
    seconds: float = 0.0  # that it worked on them, reading and writing included

    @property
    def photos_per_second(self) -> float:
        """While it worked."""
        return self.photos / self.seconds if self.seconds > 0 else 0.0


@dataclass(slots=True)
class ClusterSummary(IndexSummary):
    """What indexing on a cluster came to."""

    workers: dict[str, WorkerPace] = field(default_factory=dict)  # by address and process
    parts_again: int = 0  # that were done again, since a worker was lost with them

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON holds it."""
        workers = [
            {
                "worker": name,
                "node": name.rpartition(":")[0],
                "photos": pace.photos,
                "seconds": round(pace.seconds, 3),
                "photos_per_second": round(pace.photos_per_second, 1),
            }
            for name, pace in sorted(self.workers.items())
        ]
        told = IndexSummary.as_dict(self)
        return {**told, "workers": workers, "parts_again": self.parts_again}


@dataclass(slots=True)
class _Run:
    """What is in hand between two commits."""

    gallery: Store  # open for writing
    engine: RayEngine
    work: Work
    watcher: IndexWatcher | None
    stop: threading.Event
    summary: ClusterSummary = field(default_factory=ClusterSummary)
    gone: dict[str, list[int]] = field(default_factory=dict)  # ids by content hash
    has_others: bool = False  # photos outside the sources
    entries: dict[int, Entry] = field(default_factory=dict)  # by id
    left: set[int] = field(default_factory=set)  # ids of those that are not done with
    written: list[str] = field(default_factory=list)  # apart, not committed yet
    remove: list[int] = field(default_factory=list)  # ids, with the next commit
    failed: dict[int, str] = field(default_factory=dict)  # why a photo's part was, by id
    committed: float = field(default_factory=time.monotonic)

    def bring_up_to_date(self, found: Found, choice: Choice, bank: Bank | None) -> None:
        before = self.gallery.version()
        try:
            self.summary.hubs = self.gallery.bring_hubs(bank, Watched(stop=self.stop))
            found = self._plan(found, choice)
            self._tell_progress()
            self._do()
        except StoppedError:
            self.summary.photos, self.summary.stopped = self.gallery.count(), True
            return
        except MSEdgeError as error:
            self._commit()  # what came is in order, and need not be done again
            if isinstance(error, RayFailedError):
                raise DataError(
                    f"{error}: the gallery keeps the {self.gallery.count():,} photos that it has "
                    "now; once the cluster is well again, the same command goes on from there"
                ) from error
            raise
        if self.left and self.stop.is_set():
            self.summary.left, self.summary.stopped = len(self.left), True
        else:
            for id in sorted(self.left):  # not done even one at a time
                self._pass_over(id, self.failed.get(id, _DEADLY), is_damaged=False)
            gone = [id for ids in self.gone.values() for id in ids]
            self.remove += gone
            self.summary.removed += len(gone)
        self._commit()
        if self.gallery.version() != before and not self.summary.stopped:
            self.gallery.tidy()
        self.summary.photos = self.gallery.count()
        self.summary.pass_over(found)
        self._look_for_moved_folders(found)

    def _plan(self, found: Found, choice: Choice) -> Found:
        """Decide what is to be read, and under which ids; gives what was found, shards listed."""
        places, noted = self.gallery.places(), self.gallery.note(SHARDS)
        list_shards = partial(self.engine.list_shards, column=choice.column, stop=self.stop)
        found, note = with_shards_listed(found, places, choice, noted, list_shards)
        if not choice.allow_empty:
            check_not_emptied(found, places)
        if note != noted:
            self.gallery.write_note(SHARDS, note)
        self.has_others = any(not is_below(path, found.roots) for path in places)
        planned = plan(found, places)
        self.summary.unchanged, self.gone = planned.unchanged, planned.gone
        self.work = replace(self.work, elsewhere=frozenset(planned.gone))
        # A changed photo keeps its id, new ones follow each other.
        new = sum(item.path not in places for item in planned.to_read)
        ids = itertools.count(self.gallery.reserve_ids(new) if new else 0)
        for item in planned.to_read:
            place = places.get(item.path)
            id, known = (place.id, place.content_hash) if place else (next(ids), "")
            self.entries[id] = Entry(item, id, known)
        self.left = set(self.entries)
        return found

    def _do(self) -> None:
        total = len(self.left)
        for again, photos in enumerate((_PART, _SMALLER, 1)):
            if not self.left or self.stop.is_set():
                return
            if not again:  # small enough that all workers have some, whole batches each
                share = total // (self.engine.workers() * _PARTS_A_WORKER)
                photos = min(photos, max(BATCH, share // BATCH * BATCH))
            left = [entry for id, entry in self.entries.items() if id in self.left]
            starts = range(0, len(left), photos)
            parts = [Part(at, tuple(left[at : at + photos])) for at in starts]
            self.summary.parts_again += len(parts) if again else 0
            self._pass(parts, alone=again > 0)
            if len(self.left) == total and len(parts) >= _ENOUGH and not self.stop.is_set():
                why = next(iter(self.failed.values()), "each worker died, or none was started")
                raise DataError(
                    f"no worker has managed a single photo ({why}): nothing was changed; look at "
                    "the memory of the machines, and at Ray's logs"
                )

    def _pass(self, parts: Sequence[Part], alone: bool) -> None:
        """Have parts done; and those of lost machines again, where these are many."""
        missing, before = {part.number: part for part in parts}, 0
        while missing and len(missing) != before and not self.stop.is_set():
            before = len(missing)
            for result in self.engine.results(list(missing.values()), self.work, alone):
                part = missing.get(result.number) if result else None
                if result and part and self._take(part, result):
                    del missing[part.number]
                if time.monotonic() - self.committed >= _SECONDS_A_COMMIT:
                    self._commit()
                if self.stop.is_set():
                    return
            if len(missing) < _ENOUGH:
                return

    def _take(self, part: Part, result: PartResult) -> bool:
        """Decide what a result means for the gallery; whether the part is done with."""
        if result.failed is not None:
            if result.hopeless:
                raise DataError(result.failed)
            self.failed |= {entry.id: result.failed for entry in part.entries}
            return False
        self.written += result.written
        for id, same in result.ids.items():
            self._count(id, same)
        self._place(result.held)
        for id, reason, is_damaged in result.unread:
            self._pass_over(id, reason, is_damaged)
        self.left -= {entry.id for entry in part.entries}
        pace = self.summary.workers.setdefault(result.worker, WorkerPace())
        pace.photos += len(result.ids) + len(result.held)
        pace.seconds += result.seconds
        self._tell_progress()
        return True

    def _count(self, id: int, same: bool) -> None:
        """Note a photo that was written under its own id."""
        is_known = self.entries[id].known_hash != ""
        self.remove += [id] if is_known else []
        self.summary.embedded += 1
        self.summary.unchanged += same  # touched
        self.summary.changed += is_known and not same
        self.summary.new += not is_known

    def _place(self, held: Iterable[tuple[int, NewPhoto]]) -> None:
        """Write photos whose content lay elsewhere; the first of each takes over the id there."""
        photos: dict[int, NewPhoto] = {}
        for id, photo in held:
            known = self.entries[id].known_hash
            same = photo.content_hash == known
            if moved := None if same else self.gone.get(photo.content_hash):
                self.remove += [moved[0], id] if known else [moved[0]]
                photos[moved.pop(0)] = photo
                self.summary.embedded += 1
                self.summary.moved += 1
            else:
                photos[id] = photo
                self._count(id, same)
        if photos:
            block = Block(ids := sorted(photos), [photos[id] for id in ids])
            self.written += self.gallery.write_apart(self.work.gallery, self.work.dim, block)

    def _look_for_moved_folders(self, found: Found) -> None:
        """Workers tell no content of new photos, so that the gallery is asked for it."""
        new = [entry.item.path for entry in self.entries.values() if not entry.known_hash]
        if new and self.has_others:
            places = self.gallery.places()
            copies = [(path, places[path].content_hash) for path in new if path in places]
            self.summary.moved_folders = moved_folders(copies, places, found)

    def _pass_over(self, id: int, reason: str, is_damaged: bool) -> None:
        entry = self.entries[id]
        self.summary.skipped.append(Skipped(Path(entry.item.path), reason))
        if entry.known_hash and is_damaged:  # else what the gallery holds of it may be true still
            self.remove.append(id)
            self.summary.removed += 1

    def _commit(self) -> None:
        """Make everything in hand part of the gallery, at once."""
        if self.written or self.remove:
            self.gallery.commit(self.written, remove=self.remove)
            self.written, self.remove = [], []
            if self.watcher:
                self.watcher.committed(len(self.entries) - len(self.left))
        self.committed = time.monotonic()

    def _tell_progress(self) -> None:
        if self.watcher:
            self.watcher.progress(len(self.entries) - len(self.left), len(self.entries))
