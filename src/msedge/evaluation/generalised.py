"""Galleries that also hold photos of seen classes: generalised zero-shot retrieval.

A searcher's gallery does not end at the classes that training left out. In the generalised setting
sketches of unseen classes are asked of unseen and seen photos together, and a network that sees
everything as what it was trained on loses. Dutta and Akata, Semantically Tied Paired Cycle
Consistency for Zero-Shot Sketch-Based Image Retrieval (CVPR 2019), set it up; papers since add
either 20 % of the seen images or all of them, so a figure needs its share beside it.

Tested in ``tests/evaluation/test_generalised.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from msedge.errors import ConfigError, ShapeError
from msedge.evaluation.scoring import class_ids, plain

if TYPE_CHECKING:
    from msedge.evaluation.scoring import Array


def with_seen(
    gallery: Array,
    gallery_labels: Array,
    seen: Array,
    seen_labels: Array,
    *,
    share: float = 1.0,
    seed: int = 0,
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """The gallery, followed by a share of the seen photos of each class.

    Args:
        gallery: Vectors of the unseen photos ``(M, D)``.
        gallery_labels: Their class ids ``(M,)``, integers.
        seen: Vectors of the seen photos ``(N, D)``, from the same network.
        seen_labels: Their class ids ``(N,)``, integers; none of them in ``gallery_labels``.
        share: Of the photos of each seen class, in (0, 1]; see :func:`share_of`.
        seed: Of the draw.

    Returns:
        Vectors ``(M + S, D)`` and class ids ``(M + S,)``; the first M are the gallery's, the
        others seen photos in the order given.

    Raises:
        ShapeError: An array has the wrong shape or type, or a class is seen and unseen.
        ConfigError: ``share`` or ``seed`` is out of range.

    >>> vectors, labels = with_seen(np.eye(2), np.array([7, 7]), np.eye(2), np.array([4, 5]))
    >>> vectors.shape, labels.tolist()
    ((4, 2), [7, 7, 4, 5])
    """
    unseen_photos, seen_photos = _matrix(gallery, "gallery"), _matrix(seen, "seen")
    if unseen_photos.shape[1] != seen_photos.shape[1]:
        raise ShapeError(
            f"gallery has {unseen_photos.shape[1]} dimensions but seen has "
            f"{seen_photos.shape[1]}; both must come from the same network"
        )
    unseen_ids = class_ids(gallery_labels, "gallery_labels", len(unseen_photos))
    seen_ids = class_ids(seen_labels, "seen_labels", len(seen_photos))
    both = np.flatnonzero(np.isin(seen_ids, unseen_ids))
    if both.size:
        raise ShapeError(
            f"seen_labels row {both[0]}: class {seen_ids[both[0]]} is in the unseen gallery too; "
            "give the seen photos of the same protocol, with ids of their own"
        )
    rows = share_of(seen_ids, share, seed)
    return (
        np.concatenate([unseen_photos, seen_photos[rows]]),
        np.concatenate([unseen_ids, seen_ids[rows]]),
    )


def share_of(labels: Array, share: float, seed: int = 0) -> npt.NDArray[np.int64]:
    """Draw the same share of every class, without replacement.

    Of a class with n members ``round(share * n)`` are kept, but at least one. What is drawn of a
    class depends on the seed, its id and n alone: other classes do not change it, and a greater
    share holds the smaller ones.

    Args:
        labels: Class ids ``(N,)``, integers.
        share: In (0, 1].
        seed: Of the draw.

    Returns:
        The rows kept, int64, rising.

    Raises:
        ShapeError: ``labels`` is not a 1-D array of integers.
        ConfigError: ``share`` or ``seed`` is out of range.

    >>> labels = np.repeat([3, 8], [10, 5])
    >>> labels[share_of(labels, 0.2)].tolist()
    [3, 3, 8]
    """
    if not 0 < share <= 1:
        raise ConfigError(f"share must lie above 0 and at most at 1, such as 0.2, got {share}")
    if seed < 0:
        raise ConfigError(f"seed must be 0 or more, got {seed}")
    given = plain(labels)
    ids = class_ids(given, "labels", given.size)
    kept = np.zeros(len(ids), bool)
    for label in np.unique(ids):
        members = np.flatnonzero(ids == label)
        # A stream for each class; NumPy takes no negative numbers as seeds.
        rng = np.random.default_rng([seed, int(label.astype(np.uint64))])
        kept[rng.permutation(members)[: max(1, round(share * len(members)))]] = True
    return np.flatnonzero(kept)


def _matrix(vectors: Array, name: str) -> npt.NDArray[Any]:
    values = plain(vectors)
    if values.ndim != 2 or 0 in values.shape:
        raise ShapeError(f"{name} must be a non-empty (N, D) array, got shape {values.shape}")
    return values
