"""Keeping a gallery's dataset quick: few large fragments, an index that knows every photo.

Servers may answer from the dataset and others may change its photos meanwhile. Tested in
``tests/search/lance/test_compacting.py``.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from lance import LanceDataset

from msedge.data.images import one_line
from msedge.errors import DataError
from msedge.search.lance.changes import anchor_of
from msedge.search.lance.datasets import is_conflict, told
from msedge.search.locations import location

if TYPE_CHECKING:
    from msedge.search.lance.gallery import LanceGallery

KEPT = timedelta(hours=1)
"""How long versions that nobody needs any more are kept.

Servers move on to a new version within a second, and a search takes less; a copy or check of the
whole gallery, which reads one version from end to end, may take the hour.
"""

_TRIES = 20  # at what a change of photos, or another upkeep, may get in the way of
_SECONDS_BEFORE_NEXT_TRY = 0.05


@dataclass(frozen=True, slots=True)
class Compacted:
    """What compacting has done.

    Attributes:
        fragments_before: files of rows that there were.
        fragments_after: that there are now.
        versions_removed: of the dataset.
        bytes_removed: with them.
    """

    fragments_before: int
    fragments_after: int
    versions_removed: int
    bytes_removed: int


def compact(
    gallery: LanceGallery,
    *,
    kept: timedelta = KEPT,
    telling: Callable[[str], None] | None = None,
) -> Compacted:
    """Put small fragments together, bring the indices up to date, remove old versions.

    Files that no version names, as writers leave them that die, go when they are a week old.

    Args:
        gallery: others may read and change it meanwhile.
        kept: versions that are younger stay.
        telling: told what is being done; may raise to make an end between two steps.

    Raises:
        DataError: the dataset cannot be read or written, or others change it all the time.
    """
    tell = telling or (lambda _: None)
    before = len(gallery.now(afresh=True).dataset.get_fragments())
    tell("putting fragments together")
    _retried(gallery, lambda dataset: _put_together(dataset, spare_anchor=True))
    if _may_shrink(gallery.now(afresh=True).dataset):
        # The oldest fragment, which every change of photos names: only while nobody changes any.
        with suppress(_HinderedError):
            _tried(gallery, lambda dataset: _put_together(dataset, spare_anchor=False))
    tell("bringing the indices up to date")
    _retried(gallery, _index_the_new)
    tell("removing old versions")
    with told(gallery.path):
        dataset = gallery.own_dataset()
        removed = dataset.cleanup_old_versions(kept, error_if_tagged_old_versions=False)
    after = len(gallery.now(afresh=True).dataset.get_fragments())
    return Compacted(before, after, removed.old_versions, removed.bytes_removed)


def _put_together(dataset: LanceDataset, *, spare_anchor: bool) -> None:
    anchor = anchor_of(dataset)
    spared = [anchor] if spare_anchor and anchor is not None else []
    dataset.optimize.compact_files(excluded_fragment_ids=spared)


def _may_shrink(dataset: LanceDataset) -> bool:
    """Whether compacting with the oldest fragment would do more than without."""
    fragments = dataset.get_fragments()
    return len(fragments) > 1 or any(each.num_deletions for each in fragments)


def _index_the_new(dataset: LanceDataset) -> None:
    if dataset.describe_indices():
        dataset.optimize.optimize_indices()


def _retried(gallery: LanceGallery, step: Callable[[LanceDataset], None]) -> None:
    for tried in range(_TRIES):
        with suppress(_HinderedError):
            _tried(gallery, step)
            return
        time.sleep(random.random() * _SECONDS_BEFORE_NEXT_TRY * (tried + 1))
    raise DataError(
        f"gallery {one_line(location(gallery.path))}: other processes change it all the time: "
        "try again when they have ended"
    )


def _tried(gallery: LanceGallery, step: Callable[[LanceDataset], None]) -> None:
    with told(gallery.path):
        try:
            step(gallery.own_dataset())
        except OSError as error:
            if is_conflict(error):
                raise _HinderedError from error
            raise


class _HinderedError(Exception):
    """Another process has changed what was to be changed."""
