"""What there is of an index for approximate search, whatever it was built with.

Tested in ``tests/search/upkeep/test_statistics.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from msedge.search.approximate_view import folder_of, index_beside
from msedge.search.gallery_file import GalleryFile
from msedge.search.store import Store

if TYPE_CHECKING:
    from msedge.search.lance.gallery import LanceGallery


@dataclass(frozen=True, slots=True)
class ApproximateState:
    """An index, what it finds, and how old it is.

    Attributes:
        kind: of the index.
        parameters: what it was built and is searched with.
        recall: share of the true first 20 that it found when it was built.
        recall_wanted: what was asked for.
        queries: over which that was measured.
        photos: that it was built of.
        behind: photos put or removed since; they are searched exactly.
        bytes_a_vector: in memory; None where that is not known.
        seconds: that building took.
    """

    kind: str
    recall: float
    recall_wanted: float
    queries: int
    photos: int
    behind: int
    seconds: float
    bytes_a_vector: float | None = None
    parameters: dict[str, Any] = field(default_factory=dict)


def read_state(store: Store) -> ApproximateState | None:
    """The index of a gallery; None where there is none that serves it."""
    if not isinstance(store, GalleryFile):
        from msedge.search.upkeep.lance_state import read_index

        return read_index(cast("LanceGallery", store))
    index = index_beside(store) if folder_of(store.path).exists() else None
    if index is None:
        return None
    about = index.about
    changed = store.changed(about.version)
    return ApproximateState(
        kind=about.kind,
        recall=about.recall_measured,
        recall_wanted=about.recall_wanted,
        queries=about.sample,
        photos=about.count,
        behind=about.count if changed is None else changed,
        seconds=about.seconds,
        bytes_a_vector=about.bytes / max(about.count, 1),
        parameters=dict(about.parameters),
    )
