"""Neighbour expansion: vectors drawn towards the photos that lie nearest to them, before ranking.

A gallery knows more than each of its vectors: photos of one thing lie together, and what one of
them shows badly its neighbours show well. :func:`smooth_gallery` replaces each photo by a mean of
its neighbourhood, :func:`expand_queries` adds to each sketch the photos that it finds first.
Neither sees a label, and neither sees another query, so that a query's ranking does not depend on
who else asks. Both see the gallery, which in a test is of the unseen classes: this is re-ranking.
The published figures of zero-shot sketch-based retrieval are without it, so a comparison has to
say which of the two it shows.

References:
    Chum, Philbin, Sivic, Isard and Zisserman, Total Recall: Automatic Query Expansion with a
    Generative Feature Model for Object Retrieval (ICCV 2007).
    Turcot and Lowe, Better Matching with Fewer Features: The Selection of Useful Features in Large
    Database Recognition Problems (ICCV Workshops 2009).
    Arandjelovic and Zisserman, Three Things Everyone Should Know to Improve Object Retrieval
    (CVPR 2012).
    Radenovic, Tolias and Chum, Fine-Tuning CNN Image Retrieval with No Human Annotation
    (TPAMI 2019).

Tested in ``tests/evaluation/test_expansion.py``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from msedge.errors import ConfigError
from msedge.evaluation.ranking import top_k
from msedge.evaluation.scoring import unit_vectors

if TYPE_CHECKING:
    from msedge.evaluation.scoring import Array

_ROWS = 512
"""Vectors expanded at a time: their float64 sums never are a whole set."""


def smooth_gallery(
    gallery: Array, *, neighbours: int = 10, power: float = 3.0, chunk: int = 256
) -> npt.NDArray[np.float32]:
    """Each photo becomes the weighted mean of itself and the photos nearest to it.

    The weight of a neighbour is ``max(cosine, 0) ** power``, and that of the photo itself 1. Every
    mean is of the vectors given, not of those already smoothed. Adding neighbours to a gallery's
    vectors is Turcot and Lowe's (2009) and Arandjelovic and Zisserman's (2012) database-side
    feature augmentation; the weights are those of Radenovic et al.'s alpha query expansion (2019).

    Neighbours are exactly those of :func:`~msedge.evaluation.ranking.top_k`, ties by gallery order,
    and sums are float64 in the order of the ranking: no bit depends on ``chunk`` or on threads. In
    another order of the gallery, equally near photos are added in that order, and another of them
    may be the last to count. No label is looked at. About ``chunk * M * 16`` and
    ``M * neighbours * 12`` bytes are in use beside copies of the vectors. Runs on the CPU.

    Args:
        gallery: Photo vectors ``(M, D)``, real numbers of any length but zero.
        neighbours: Photos in each mean, the photo itself among them; 1 changes nothing. All of the
            gallery where it holds fewer.
        power: The greater, the less a far neighbour counts; 0 weighs all of positive cosine alike.
        chunk: Photos whose neighbours are sought at a time.

    Returns:
        Unit vectors ``(M, D)``, float32, in the order given.

    Raises:
        ShapeError: ``gallery`` has the wrong shape, type or range (the message names the first bad
            row), or ``chunk`` is below 1.
        ConfigError: ``neighbours`` is below 1, or ``power`` is negative or not finite.

    >>> smooth_gallery(np.array([[2, 0], [3, 4], [0, -1]]), neighbours=2).round(3)
    array([[ 0.989,  0.151],
           [ 0.714,  0.7  ],
           [ 0.   , -1.   ]], dtype=float32)
    """
    check_expansion(neighbours=neighbours, power=power)
    photos = unit_vectors(gallery, "gallery")
    similarity, positions = top_k(gallery, gallery, min(neighbours, len(photos)), chunk=chunk)
    _count_itself(similarity, positions)
    smoothed = np.empty_like(photos)
    for rows in _blocks(len(photos)):
        mean = _weighted_mean(photos, similarity[rows], positions[rows], power)
        smoothed[rows] = unit_vectors(mean)
    return smoothed


def expand_queries(
    queries: Array, gallery: Array, *, neighbours: int = 10, power: float = 3.0, chunk: int = 256
) -> npt.NDArray[np.float32]:
    """Each query becomes the sum of itself and the weighted mean of the photos nearest to it.

    Each query stands alone: no other query is looked at, and no label. The mean weighs a photo by
    ``max(cosine, 0) ** power``, divided by the sum of those weights; a query with no photo at a
    positive cosine stays as it is. The sum is brought to length 1. This is Chum et al.'s query
    expansion (2007) with the weights of Radenovic et al.'s alpha query expansion (2019), who add
    the weighted photos without dividing by the sum of their weights: here the query counts as much
    as all its neighbours together, however many and near they are.

    This is re-ranking: published figures of this field are without it, and a comparison must say
    which it shows. A query that is itself in the gallery finds itself first.

    Exact and repeatable as :func:`smooth_gallery` is, and within the same memory, with N for M.

    Args:
        queries: Sketch vectors ``(N, D)``, real numbers of any length but zero.
        gallery: Photo vectors ``(M, D)``, likewise; of a smoothed gallery, the smoothed ones.
        neighbours: Photos added to each query. All of the gallery where it holds fewer.
        power: The greater, the less a far photo counts; 0 weighs all of positive cosine alike.
        chunk: Queries whose neighbours are sought at a time.

    Returns:
        Unit vectors ``(N, D)``, float32, in the order given.

    Raises:
        ShapeError: A set has the wrong shape, type or range (the message names the first bad row),
            or ``chunk`` is below 1.
        ConfigError: ``neighbours`` is below 1, or ``power`` is negative or not finite.

    >>> expand_queries(np.array([[1, 0]]), np.array([[0, 1], [3, 4]]), neighbours=1).round(3)
    array([[0.894, 0.447]], dtype=float32)
    """
    check_expansion(neighbours=neighbours, power=power)
    asked, photos = unit_vectors(queries, "queries"), unit_vectors(gallery, "gallery")
    similarity, positions = top_k(queries, gallery, min(neighbours, len(photos)), chunk=chunk)
    expanded = np.empty_like(asked)
    for rows in _blocks(len(asked)):
        mean = _weighted_mean(photos, similarity[rows], positions[rows], power)
        expanded[rows] = unit_vectors(asked[rows] + mean)
    return expanded


def check_expansion(*, neighbours: int = 1, power: float = 0.0) -> None:
    """Refuse options that :func:`smooth_gallery` and :func:`expand_queries` cannot use.

    Raises:
        ConfigError: ``neighbours`` or ``power`` is out of range.
    """
    if neighbours < 1:
        raise ConfigError(f"neighbours must be at least 1, such as 10, got {neighbours}")
    if not (math.isfinite(power) and power >= 0):
        raise ConfigError(f"power must be a number of at least 0, such as 3, got {power}")


def _count_itself(similarity: npt.NDArray[np.float32], positions: npt.NDArray[np.int64]) -> None:
    """Make each photo a neighbour of its own, with cosine 1, in place.

    Copies and photos as near as rounding can tell may come first, and push it out of its own list.
    """
    own = np.arange(len(positions))
    pushed_out = ~(positions == own[:, None]).any(axis=1)
    positions[pushed_out, -1] = own[pushed_out]
    similarity[positions == own[:, None]] = 1.0


def _weighted_mean(
    photos: npt.NDArray[np.float32],
    similarity: npt.NDArray[np.float32],
    positions: npt.NDArray[np.int64],
    power: float,
) -> npt.NDArray[np.float64]:
    """Means ``(n, D)`` of the photos at ``(n, k)`` positions; zeros where no cosine is positive.

    Photos of positive cosine alone have a weight, so that neither a mean nor its sum with the query
    can cancel to nothing: each of them has a positive product with the vector whose mean it is.
    """
    cosine = np.maximum(similarity.astype(np.float64), 0.0)
    # A ratio to the nearest: else a high power of small cosines would vanish, and all weights be 0.
    nearest = cosine.max(axis=1, keepdims=True)
    weights = np.where(cosine > 0, (cosine / np.where(nearest > 0, nearest, 1.0)) ** power, 0.0)
    total, mean = np.zeros(len(weights)), np.zeros((len(weights), photos.shape[1]))
    # One neighbour after the other: a product of matrices would leave the order to the BLAS.
    for weight, position in zip(weights.T, positions.T, strict=True):
        total += weight
        mean += weight[:, None] * photos[position]
    mean /= np.where(total > 0, total, 1.0)[:, None]
    return mean


def _blocks(count: int) -> list[slice]:
    return [slice(start, start + _ROWS) for start in range(0, count, _ROWS)]
