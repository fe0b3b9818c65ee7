"""Whether a sketch finds the one photo that it was drawn from, not only a photo of its class.

Acc@k is the share of sketches whose source photo is among the first k, ranked by the same scores
and the same rule for ties as classes are. Two galleries are asked: the photos of the sketch's own
class, and all photos.

References:
    Yu et al., Sketch Me That Shoe (CVPR 2016): Acc@k among the photos of one class.
    Sangkloy et al., The Sketchy Database (SIGGRAPH 2016): recall@k of the source photo.

Tested in ``tests/evaluation/test_fine_grained.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from msedge.errors import ShapeError
from msedge.evaluation.scoring import Metric, Scored, class_ids, scored

if TYPE_CHECKING:
    from msedge.evaluation.scoring import Array

UNKNOWN = -1
"""The source id of a sketch or photo for which none is known."""

_COLUMNS = 4096
"""Photos scored at a time, so that memory does not grow with the gallery."""


@dataclass(frozen=True)
class FineGrained:
    """How often sketches find their own source photo.

    Attributes:
        queries: Sketches counted: those whose source photo is known and in the gallery.
        left_out: The other sketches.
        within_class: k to Acc@k among the photos of the sketch's class, in [0, 1].
        whole_gallery: k to Acc@k among all photos, in [0, 1].
    """

    queries: int
    left_out: int
    within_class: dict[int, float]
    whole_gallery: dict[int, float]


class _Ids(NamedTuple):
    """What is known of each sketch, or of each photo: its class, and the photo behind it."""

    labels: npt.NDArray[np.int64]
    sources: npt.NDArray[np.int64]


def fine_grained(
    queries: Array,
    gallery: Array,
    query_labels: Array,
    gallery_labels: Array,
    query_sources: Array,
    gallery_sources: Array,
    *,
    at: Sequence[int] = (1, 5, 10),
    metric: Metric = "cosine",
    handicaps: npt.NDArray[np.float64] | None = None,
    chunk: int = 256,
) -> FineGrained:
    """Accuracy at finding each sketch's source photo, within its class and in the whole gallery.

    A source photo's rank is 1, plus the photos strictly nearer, plus those as near that stand
    before it in the gallery. Where the gallery holds it more than once, the best-ranked copy
    counts; copies of other photos take up ranks like any photo. About ``chunk * 130`` kB and
    ``D * 33`` kB are in use beside the vectors, whatever the size of the gallery.

    Args:
        queries: Sketch vectors ``(Q, D)``, as :func:`~msedge.evaluation.scoring.scored` takes them.
        gallery: Photo vectors ``(M, D)``, likewise.
        query_labels: Class ids ``(Q,)``, integers.
        gallery_labels: Class ids ``(M,)``, integers.
        query_sources: ``(Q,)`` integers: the id of the photo that a sketch was drawn from, -1
            where it is not known.
        gallery_sources: ``(M,)`` integers: the id of the photo itself; copies share one, and -1 is
            no sketch's source.
        at: The k of Acc@k, each at least 1. From the size of a class on, Acc@k within it is 1.
        metric: What makes a photo near.
        handicaps: Taken off the scores of each photo ``(M,)``; for ``cosine`` alone.
        chunk: Sketches ranked at a time.

    Raises:
        ShapeError: An array has the wrong shape, type or range, no sketch has its source photo in
            the gallery, or a sketch and its source photo are of different classes.
        ConfigError: There is no such metric.

    >>> import numpy as np
    >>> photos, of_one_class = np.array([[3.0, 1.0], [1.0, 3.0]]), np.zeros(2, int)
    >>> sketches, drawn_from = np.array([[1.0, 0.0], [2.0, 1.0]]), np.array([0, 1])
    >>> fine_grained(
    ...     sketches, photos, of_one_class, of_one_class, drawn_from, np.arange(2), at=(1, 2)
    ... ).within_class
    {1: 0.5, 2: 1.0}
    """
    for name, value in [("chunk", chunk), *(("each k of at", k) for k in at)]:
        if value < 1:
            raise ShapeError(f"{name} must be at least 1, got {value}")
    if not at:
        raise ShapeError("at must name at least one k, got none")
    sets = scored(queries, gallery, metric, handicaps)
    asked = _Ids(
        class_ids(query_labels, "query_labels", len(sets.queries)),
        class_ids(query_sources, "query_sources", len(sets.queries)),
    )
    kept = _Ids(
        class_ids(gallery_labels, "gallery_labels", len(sets.gallery)),
        class_ids(gallery_sources, "gallery_sources", len(sets.gallery)),
    )
    rows = np.flatnonzero((asked.sources != UNKNOWN) & np.isin(asked.sources, kept.sources))
    if not rows.size:
        raise ShapeError(
            "no sketch has its source photo in the gallery; number sketches and photos by the "
            "same ids, or leave fine-grained accuracy out"
        )
    _check_classes(asked, kept, rows)
    chunks = [rows[start : start + chunk] for start in range(0, len(rows), chunk)]
    ranks = np.concatenate([_ranks(sets, asked, kept, part) for part in chunks], axis=1)
    within_class, whole_gallery = ({k: float(np.mean(rank <= k)) for k in at} for rank in ranks)
    return FineGrained(len(rows), len(asked.sources) - len(rows), within_class, whole_gallery)


def _ranks(
    sets: Scored, asked: _Ids, kept: _Ids, rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Ranks ``(2, rows)`` of the source photos: within the class, and in the whole gallery."""
    labels, sources = asked.labels[rows, None], asked.sources[rows, None]
    copies = np.flatnonzero(np.isin(kept.sources, sources))
    own = np.where(kept.sources[copies] == sources, sets.exact(rows, copies), -np.inf)
    best = own.argmax(axis=1, keepdims=True)  # of equal copies the first in the gallery
    score, position = np.take_along_axis(own, best, axis=1), copies[best]
    ranks = np.ones((2, len(rows)), np.int64)
    for start in range(0, len(kept.labels), _COLUMNS):
        columns = slice(start, start + _COLUMNS)
        scores = sets.exact(rows, columns)
        earlier = np.arange(start, start + scores.shape[1]) < position
        ahead = (scores > score) | ((scores == score) & earlier)
        ranks[0] += np.count_nonzero(ahead & (kept.labels[columns] == labels), axis=1)
        ranks[1] += np.count_nonzero(ahead, axis=1)
    return ranks


def _check_classes(asked: _Ids, kept: _Ids, rows: npt.NDArray[np.int64]) -> None:
    """Refuse a source photo that is not of its sketch's class: it has no rank within it."""
    drawn = np.flatnonzero(np.isin(kept.sources, asked.sources[rows]))
    sources, first = np.unique(kept.sources[drawn], return_index=True)
    photos = drawn[first]
    for name, ids, those in [("query", asked, rows), ("gallery", kept, drawn)]:
        same = photos[np.searchsorted(sources, ids.sources[those])]
        wrong = np.flatnonzero(ids.labels[those] != kept.labels[same])
        if wrong.size:
            row, photo = those[wrong[0]], same[wrong[0]]
            raise ShapeError(
                f"{name}_labels row {row}: class {ids.labels[row]}, but its source photo, gallery "
                f"row {photo}, is of class {kept.labels[photo]}; give a photo, its copies and its "
                "sketches one class"
            )
