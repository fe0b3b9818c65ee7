"""What there is of a Lance dataset beside its photos: fragments, versions, its index, its bytes.

Tested in ``tests/search/upkeep/test_lance.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msedge.search.lance.datasets import told
from msedge.search.lance.gallery import LanceGallery
from msedge.search.lance.moment import Moment
from msedge.search.lance.vector_index import NAME, read_tuning
from msedge.search.locations import is_remote
from msedge.search.upkeep.approximate_state import ApproximateState
from msedge.search.upkeep.watching import Watched


def read_index(gallery: LanceGallery) -> ApproximateState | None:
    """The index on vectors; None where there is none."""
    moment = gallery.now(afresh=True)
    tuning = read_tuning(moment)
    if tuning is None:
        return None
    return ApproximateState(
        kind=tuning.kind,
        recall=tuning.recall,
        recall_wanted=tuning.wanted,
        queries=tuning.queries,
        photos=tuning.photos,
        behind=unindexed(moment),
        bytes_a_vector=_index(moment).total_size_bytes / max(tuning.photos, 1),
        seconds=tuning.seconds,
        parameters={
            "partitions": tuning.partitions,
            "probes": tuning.probes,
            "refine": tuning.refine,
        },
    )


def unindexed(moment: Moment) -> int:
    """How many photos the index on vectors does not know yet; 0 where there is no index."""
    with told(moment.path):
        index = _index(moment)
        if index is None:
            return 0
        known = {number for segment in index.segments for number in segment.fragment_ids}
        return sum(
            fragment.metadata.num_rows
            for fragment in moment.dataset.get_fragments()
            if fragment.fragment_id not in known
        )


def _index(moment: Moment) -> Any:
    """What Lance says of the index on vectors; None where there is none."""
    return next((each for each in moment.dataset.describe_indices() if each.name == NAME), None)


def measure_dataset(gallery: LanceGallery) -> tuple[int | None, dict[str, int]]:
    """Bytes on disk (None of a remote dataset), and what is counted of a dataset alone."""
    moment = gallery.now(afresh=True)
    with told(gallery.path):
        counts = {
            "fragments": len(moment.dataset.get_fragments()),
            "versions": len(moment.dataset.versions()),
            "unindexed": unindexed(moment),
        }
    return _bytes(gallery.path), counts


def build_index(gallery: LanceGallery, recall: float, watched: Watched) -> None:
    """Build the index on vectors, and those on ids and paths."""
    gallery.build_index(recall=recall, telling=watched.step)


def compact_dataset(path: Path, watched: Watched) -> tuple[int | None, int | None, tuple[str, ...]]:
    """Compact a dataset: bytes before and after (None of a remote one), and what was done."""
    with LanceGallery.open(path, writable=True) as gallery:
        before = _bytes(path)
        waiting = unindexed(gallery.now(afresh=True))
        compacted = gallery.compact(telling=watched.step)
        known = waiting - unindexed(gallery.now(afresh=True))
        done: tuple[str, ...] = (
            f"fragments: {compacted.fragments_before:,} before, {compacted.fragments_after:,} now",
            f"old versions removed: {compacted.versions_removed:,} "
            f"({compacted.bytes_removed:,} bytes); younger ones stay, for those who read them",
        )
        if known > 0:
            done += (f"photos taken into the index: {known:,}",)
        return before, _bytes(path), done


def _bytes(path: Path) -> int | None:
    if is_remote(path):
        return None
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
