"""Runs of indexing for tests: an encoder that counts, a watcher that remembers, what is held."""

from __future__ import annotations

import os
import threading

from encoders import ColourEncoder
from msedge.search.indexing import index
from msedge.search.photo import NAMES
from msedge.search.stores import open_store


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


def rows_of(gallery):
    """Everything that a gallery holds, by id."""
    with open_store(gallery) as store:
        blocks = list(store.blocks())
    return {id: photo for each in blocks for id, photo in zip(*each, strict=True)}


def held(gallery):
    """All that a gallery says of photos, but for their ids."""
    return {
        os.fsencode(photo.path): (
            *(getattr(photo, name) for name in NAMES if name != "path"),
            photo.vector.tobytes(),
        )
        for photo in rows_of(gallery).values()
    }


def id_of(gallery, path):
    return next(id for id, photo in rows_of(gallery).items() if photo.path == path)
