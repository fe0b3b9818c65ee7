"""One run of indexing over one gallery: reading ahead, embedding, and committing now and then.

Tested in ``tests/search/test_indexing.py``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

from msedge.search.embedding import Embedded, Embedder
from msedge.search.encoder import Encoder
from msedge.search.folders import Walk
from msedge.search.gallery_file import GalleryFile
from msedge.search.gallery_rows import NewPhoto, Place, Vector
from msedge.search.index_plan import plan_index
from msedge.search.index_summary import IndexSummary, IndexWatcher, Skipped
from msedge.search.photo_reading import ReadPhoto, Unreadable

_PHOTOS_A_COMMIT = 512
_SECONDS_A_COMMIT = 3.0


class IndexRun:
    """What is in hand between two commits."""

    def __init__(
        self,
        gallery: GalleryFile,
        encoder: Encoder,
        watcher: IndexWatcher | None,
        stop: threading.Event,
    ) -> None:
        """Take a gallery open for writing; nothing is done yet."""
        self._gallery, self._encoder, self._watcher, self._stop = gallery, encoder, watcher, stop
        self._summary = IndexSummary()
        self._places: dict[str, Place] = {}
        self._gone: dict[str, list[int]] = {}
        self._put: list[NewPhoto] = []
        self._move: list[tuple[int, Path, int]] = []
        self._copy: list[ReadPhoto] = []
        self._remove: list[int] = []
        self._committed = time.monotonic()

    def run(
        self, walk: Walk, batch_size: int, workers: int, *, everything: bool = False
    ) -> IndexSummary:
        """Bring the gallery to hold what was found.

        Args:
            walk: the files.
            batch_size: photos that a thread reads and embeds together.
            workers: threads.
            everything: whether photos outside the folders walked are to go.
        """
        self._places = self._gallery.places()
        plan = plan_index(walk, self._places, everything=everything)
        self._gone = plan.gone
        self._summary.unchanged = plan.unchanged
        embedder = Embedder(self._encoder, {p.content_hash for p in self._places.values()})
        done, total = 0, len(plan.to_read)
        self._tell_progress(0, total)
        batches = embedder.embed(plan.to_read, batch_size=batch_size, workers=workers)
        try:
            while not self._stop.is_set() and (batch := next(batches, None)) is not None:
                for item in batch:
                    self._take(item)
                done += len(batch)
                self._tell_progress(done, total)
                if self._is_due():
                    self._commit()
        finally:
            batches.close()
        self._summary.left, self._summary.stopped = total - done, done < total
        self._commit()
        self._embed_what_was_not_there(embedder)
        if not self._summary.stopped:
            self._remove += [id for ids in self._gone.values() for id in ids]
            self._summary.removed += sum(map(len, self._gone.values()))
        self._commit()
        self._summary.photos = self._gallery.count()
        return self._summary

    def _take(self, item: Embedded | Unreadable) -> None:
        """Decide what a file means for the gallery."""
        if isinstance(item, Unreadable):
            self._pass_over(item)
            return
        photo = item.photo
        file, known = photo.file, self._places.get(photo.file.path)
        if known and known.content_hash == photo.content_hash:  # touched
            self._summary.unchanged += 1
            self._move.append((known.id, Path(file.path), file.mtime_ns))
        elif moved := self._gone.get(photo.content_hash):
            self._summary.moved += 1
            self._move.append((moved.pop(0), Path(file.path), file.mtime_ns))
        elif item.vector is not None:
            self._add(item.photo, item.vector)
        else:
            self._copy.append(photo)

    def _add(self, photo: ReadPhoto, vector: Vector) -> None:
        file, look = photo.file, photo.look
        if look is None:
            raise ValueError("a photo that was not decoded has no vector of its own")
        self._summary.embedded += 1
        self._count(file.path)
        taken = file.mtime_ns / 1e9 if look.taken is None else look.taken
        self._put.append(
            NewPhoto(
                Path(file.path),
                file.size,
                file.mtime_ns,
                photo.content_hash,
                look.width,
                look.height,
                taken,
                vector,
            )
        )

    def _count(self, path: str) -> None:
        if path in self._places:
            self._summary.changed += 1
        else:
            self._summary.new += 1

    def _pass_over(self, item: Unreadable) -> None:
        self._summary.skipped.append(Skipped(Path(item.file.path), item.reason))
        known = self._places.get(item.file.path)
        # What the gallery holds of a damaged file is no longer true; of one that cannot be
        # opened now it may be.
        if known and item.is_damaged:
            self._remove.append(known.id)
            self._summary.removed += 1

    def _is_due(self) -> bool:
        photos = len(self._put) + len(self._move) + len(self._copy)
        late = time.monotonic() - self._committed >= _SECONDS_A_COMMIT
        return photos >= _PHOTOS_A_COMMIT or (late and photos > 0)

    def _commit(self) -> None:
        """Make everything in hand part of the gallery, in one transaction."""
        if self._put or self._move or self._copy or self._remove:
            with self._gallery.transaction():
                # Copies first: what they are copied from may be about to change.
                waiting = self._copied(self._copy)
                self._gallery.put(self._put)
                for move in self._move:
                    self._gallery.move(*move)
                self._gallery.remove(self._remove)
                waiting = self._copied(waiting)
            self._put, self._move, self._copy, self._remove = [], [], waiting, []
            if self._watcher:
                self._watcher.committed(self._gallery.count())
        self._committed = time.monotonic()

    def _copied(self, photos: Sequence[ReadPhoto]) -> list[ReadPhoto]:
        """Copy vectors of the same content; returns the photos whose content is not there."""
        waiting, copies = [], []
        for photo in photos:
            twin = self._gallery.with_content(photo.content_hash)
            if twin is None:
                waiting.append(photo)
                continue
            file = photo.file
            self._count(file.path)
            has_date = twin.taken != twin.mtime_ns / 1e9
            copies.append(
                NewPhoto(
                    Path(file.path),
                    file.size,
                    file.mtime_ns,
                    photo.content_hash,
                    twin.width,
                    twin.height,
                    twin.taken if has_date else file.mtime_ns / 1e9,
                    twin.vector,
                )
            )
        self._gallery.put(copies)
        return waiting

    def _embed_what_was_not_there(self, embedder: Embedder) -> None:
        """Embed photos whose content was to be copied from one that has changed meanwhile."""
        files, self._copy = [photo.file for photo in self._copy], []
        for file in files:
            for item in embedder.batch([file], anew=True):
                self._take(item)

    def _tell_progress(self, done: int, total: int) -> None:
        if self._watcher:
            self._watcher.progress(done, total)
