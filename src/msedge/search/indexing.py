"""Indexing: a gallery is brought to hold what lies in some folders.

Nothing that is as it was is read; content that has a vector is not embedded again. Work is
committed every few seconds, so that it can be stopped or killed at any moment and goes on from
there. Tested in ``tests/search/test_indexing*.py`` and
``tests/search/test_rebuilding.py``.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from msedge.errors import ConfigError
from msedge.search.cpus import usable_cpus
from msedge.search.encoder import Encoder
from msedge.search.folders import Walk, walk_folders
from msedge.search.gallery_connections import remove_database
from msedge.search.gallery_file import GalleryFile
from msedge.search.gallery_rows import Model
from msedge.search.index_lock import sole_indexer
from msedge.search.index_plan import check_not_emptied, with_photos_elsewhere
from msedge.search.index_run import IndexRun
from msedge.search.index_summary import IndexSummary, IndexWatcher, Skipped

REBUILDING = "-rebuild"
"""What the name of a gallery's successor ends in while it is made."""

_BATCH = 16


def index(
    folders: Sequence[Path],
    gallery: Path,
    encoder: Encoder,
    *,
    exclude: Sequence[str] = (),
    hidden: bool = False,
    allow_empty: bool = False,
    rebuild: bool = False,
    watcher: IndexWatcher | None = None,
    batch_size: int = _BATCH,
    workers: int | None = None,
    stop: threading.Event | None = None,
) -> IndexSummary:
    """Bring a gallery to hold the photos of some folders.

    Photos outside these folders stay as they are. A photo that is moved within what is looked
    at keeps its id and its vector. What cannot be read is passed over and tried again next time.

    Args:
        folders: where the photos lie, each with everything below it.
        gallery: the file; made when it is missing.
        encoder: what makes the vectors; its ``photos`` is called from several threads.
        exclude: patterns of files and folders to leave out (:func:`walk_folders`); photos of
            theirs that the gallery holds are removed.
        hidden: whether names that begin with a dot count.
        allow_empty: whether a folder without photos is believed where the gallery has some.
        rebuild: embed everything anew with this encoder, the gallery's photos elsewhere
            included, into a file beside the gallery that takes its place at the end.
        watcher: told how it goes.
        batch_size: photos that a thread reads and embeds together.
        workers: threads; ``None`` for the CPUs that this process may use.
        stop: set it to make an end after the photos in hand; they are committed.

    Returns:
        What it came to.

    Raises:
        DataError: a folder is missing, unreadable or suddenly without photos (nothing is changed
            then); another process indexes into the gallery; the file is not a gallery, or damaged.
        WeightsError: the gallery was made by other weights.
        ConfigError: ``batch_size`` or ``workers`` is smaller than 1.
    """
    if batch_size < 1 or (workers is not None and workers < 1):
        raise ConfigError(f"expected at least 1, got batch size {batch_size}, workers {workers}")
    begun = time.monotonic()
    model = Model(encoder.name, encoder.fingerprint, encoder.dim)
    pace = (batch_size, workers or usable_cpus())
    stop = stop or threading.Event()
    _check_folders(folders, exclude, hidden, gallery)
    with sole_indexer(gallery):
        anew = rebuild and os.path.lexists(gallery)
        if os.path.lexists(gallery) and not anew:
            with GalleryFile.open(gallery) as file:
                file.check_model(encoder)
        walk = walk_folders(folders, exclude=exclude, hidden=hidden, without=gallery)
        if anew:
            summary = _rebuild(walk, gallery, model, encoder, watcher, pace, stop, allow_empty)
        else:
            with _opened(gallery, model) as file:
                if not allow_empty:
                    check_not_emptied(walk, file.places())
                summary = IndexRun(file, encoder, watcher, stop).run(walk, *pace)
    passed_over = walk.unread | walk.odd
    summary.skipped += [Skipped(Path(path), why) for path, why in passed_over.items()]
    summary.skipped.sort(key=lambda skipped: os.fsencode(skipped.path))
    summary.seconds = time.monotonic() - begun
    return summary


def _check_folders(
    folders: Sequence[Path], exclude: Sequence[str], hidden: bool, gallery: Path
) -> None:
    """Fail before a lock or a file is made where the walk would fail at once."""
    if not folders:
        raise ConfigError("no folder to index: name at least one")
    for folder in folders:
        if not folder.is_dir():
            walk_folders([folder], exclude=exclude, hidden=hidden, without=gallery)


def _opened(gallery: Path, model: Model) -> GalleryFile:
    if os.path.lexists(gallery):
        return GalleryFile.open(gallery, writable=True)
    return GalleryFile.create(gallery, model)


def _rebuild(
    walk: Walk,
    gallery: Path,
    model: Model,
    encoder: Encoder,
    watcher: IndexWatcher | None,
    pace: tuple[int, int],
    stop: threading.Event,
    allow_empty: bool,
) -> IndexSummary:
    successor = gallery.with_name(gallery.name + REBUILDING)
    with GalleryFile.open(gallery, writable=True) as old:
        places = old.places()
        if not allow_empty:
            check_not_emptied(walk, places)
        whole = with_photos_elsewhere(walk, places)
        with _successor(successor, model) as new:
            summary = IndexRun(new, encoder, watcher, stop).run(whole, *pace, everything=True)
        if summary.stopped:
            return summary
        # Not by renaming: whoever has the gallery open would go on with the old file, and the log
        # beside it would be taken for the new one's.
        old.take_over(successor)
    remove_database(successor)
    return summary


def _successor(path: Path, model: Model) -> GalleryFile:
    """What an earlier rebuild left, where it was made by the same weights; else a new file."""
    if os.path.lexists(path):
        with GalleryFile.open(path) as left:
            same = (left.model.fingerprint, left.model.dim) == (model.fingerprint, model.dim)
        if not same:
            remove_database(path)
    return _opened(path, model)
