"""Runs of indexing for tests: an encoder that counts, a watcher that remembers, what is held."""

from __future__ import annotations

import os
import threading

from encoders import ColourEncoder
from msedge.search.gallery_file import GalleryFile
from msedge.search.indexing import index


class CountingEncoder(ColourEncoder):
    """Counts the photos that it embeds."""

    def __init__(self, fingerprint="colours-1"):
        super().__init__(fingerprint)
        self.count = 0
        self._lock = threading.Lock()

    def photos(self, pixels):
        with self._lock:
            self.count += len(pixels)
        return super().photos(pixels)


class Listener:
    def __init__(self, at_progress=None):
        self.moves, self.commits, self.at_progress = [], [], at_progress

    def say(self, message):
        pass

    def progress(self, done, total):
        self.moves.append((done, total))
        if self.at_progress:
            self.at_progress(done)

    def committed(self, photos):
        self.commits.append(photos)


def run(root, gallery, encoder=None, **options):
    folders = root if isinstance(root, list) else [root]
    return index(folders, gallery, encoder or ColourEncoder(), workers=2, batch_size=4, **options)


def counts(summary):
    """New, changed, moved, removed, unchanged."""
    names = ("new", "changed", "moved", "removed", "unchanged")
    return tuple(getattr(summary, name) for name in names)


def held(gallery):
    """All that a gallery says of photos, but for their ids."""
    with GalleryFile.open(gallery) as file:
        vectors = file.vectors()[1]
        return {
            os.fsencode(photo.path): (
                photo.size, photo.mtime_ns, photo.content_hash, photo.width, photo.height,
                photo.taken, vector.tobytes(),
            )
            for photo, vector in zip(file.photos(), vectors, strict=True)
        }  # fmt: skip


def id_of(gallery, path):
    with GalleryFile.open(gallery) as file:
        return next(photo.id for photo in file.photos() if photo.path == path)
