"""What a ranking is worth: named definitions of AP@k and P@k, and the evaluation that uses them.

Papers print one name for different formulas; on the same ranking they differ by tens of points.
So a number never leaves this module without the name of its convention. Each convention is a pair
of pure functions from relevance in ranked order to one value a query, in a section of its own
below; ``standard`` is the textbook's and the default.

Symbols: ``rel[i]`` says whether rank i is relevant, ``h_i`` counts the relevant among the first i,
``prec(i) = h_i / i``, and ``R`` counts the relevant in the whole gallery.
Tested in ``tests/evaluation/test_conventions.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from msedge.errors import ShapeError
from msedge.evaluation.ranking import Array, Progress, rank_relevance

# ---------------------------------------------------------------------------------- standard


def standard_average_precision(
    relevance: npt.NDArray[np.bool_], k: int | None = None
) -> npt.NDArray[np.float64]:
    """AP@k: the sum of prec(i) over relevant ranks i <= k, divided by min(k, R).

    A query without any relevant photo gets 0. Source: Manning, Raghavan and Schütze,
    *Introduction to Information Retrieval* (2008), section 8.4; the cut-off divides by the most
    relevant photos that k places can hold, so that a perfect ranking reaches 1.

    Args:
        relevance: Bool ``(Q, M)`` in ranked order, each row a whole gallery.
        k: The last rank that counts; None for the whole gallery (AP@all).

    Returns:
        One value a query, ``(Q,)`` float64 in [0, 1].

    Raises:
        ShapeError: ``relevance`` is not a bool matrix, or ``k`` is below 1.

    >>> import numpy as np
    >>> ranked = np.array([[True, False, True, False, True]])
    >>> standard_average_precision(ranked).round(4), standard_average_precision(ranked, 2)
    (array([0.7556]), array([0.5]))
    """
    _check(relevance, k)
    query, rank = np.nonzero(relevance[:, :k])
    found = np.bincount(query, minlength=len(relevance))
    # `nonzero` walks row by row: an entry's place after its row's first is its count of hits.
    hits = np.arange(1, len(query) + 1) - np.repeat(np.cumsum(found) - found, found)
    total = np.bincount(query, weights=hits / (rank + 1), minlength=len(relevance))
    relevant = np.count_nonzero(relevance, axis=1)
    best = relevant if k is None else np.minimum(relevant, k)
    average: npt.NDArray[np.float64] = total / np.maximum(best, 1)
    return average


def standard_precision(relevance: npt.NDArray[np.bool_], k: int) -> npt.NDArray[np.float64]:
    """P@k: the share of relevant photos among the first k, ``h_k / k``.

    A gallery of fewer than k photos is still divided by k: the missing places count as wrong.

    Args:
        relevance: Bool ``(Q, M)`` in ranked order.
        k: The last rank that counts.

    Returns:
        One value a query, ``(Q,)`` float64 in [0, 1].

    Raises:
        ShapeError: ``relevance`` is not a bool matrix, or ``k`` is below 1.

    >>> import numpy as np
    >>> standard_precision(np.array([[True, False, True, False, True]]), 4)
    array([0.5])
    """
    _check(relevance, k)
    share: npt.NDArray[np.float64] = np.count_nonzero(relevance[:, :k], axis=1) / k
    return share


def _check(relevance: npt.NDArray[np.bool_], k: int | None) -> None:
    if relevance.ndim != 2 or relevance.dtype != np.bool_:
        raise ShapeError(
            f"relevance must be a bool (Q, M) array, got {relevance.dtype} {relevance.shape}"
        )
    if k is not None and k < 1:
        raise ShapeError(f"k must be at least 1, got {k}")


# -------------------------------------------------------------------------------- evaluation


@dataclass(frozen=True)
class Metrics:
    """Means over all queries, in [0, 1], with the convention that defines them.

    Attributes:
        convention: The name of the definition of AP@k and P@k.
        queries: Sketches asked with.
        gallery: Photos ranked.
        map_all: Mean AP over the whole ranking.
        map_at: Mean AP@k by k.
        p_at: Mean P@k by k; divided by k even where the gallery has fewer photos.
    """

    convention: str
    queries: int
    gallery: int
    map_all: float
    map_at: dict[int, float]
    p_at: dict[int, float]

    def headline(self) -> dict[str, float]:
        """The four figures that papers print, in percent and in their usual order.

        Raises:
            ShapeError: The evaluation was not made at 100 and 200.

        >>> Metrics("standard", 1, 300, 0.5, {100: 0.5, 200: 0.25}, {100: 1, 200: 0.75}).headline()
        {'mAP@200': 25.0, 'mAP@all': 50.0, 'P@100': 100.0, 'P@200': 75.0}
        """
        if not {100, 200} <= self.p_at.keys() or 200 not in self.map_at:
            raise ShapeError(
                f"the headline needs cut-offs 100 and 200, but the evaluation was made at "
                f"{sorted(self.p_at)}; evaluate with at=(100, 200, ...)"
            )
        return {
            "mAP@200": 100.0 * self.map_at[200],
            "mAP@all": 100.0 * self.map_all,
            "P@100": 100.0 * self.p_at[100],
            "P@200": 100.0 * self.p_at[200],
        }


def evaluate(
    queries: Array,
    gallery: Array,
    query_labels: Array,
    gallery_labels: Array,
    *,
    at: Sequence[int] = (100, 200),
    chunk: int = 256,
    progress: Progress | None = None,
) -> Metrics:
    """Rank the gallery for every query and average the ``standard`` AP and P over queries.

    A photo is relevant when its class id equals the sketch's. The result does not depend on
    ``chunk``, nor on the order of the queries, to the last bit. Runs on the GPU when ``gallery``
    is a CUDA tensor.

    Args:
        queries: Sketch vectors ``(Q, D)``, of any length but zero; normalised inside.
        gallery: Photo vectors ``(M, D)``, likewise.
        query_labels: Class ids ``(Q,)``, integers; each must occur in ``gallery_labels``.
        gallery_labels: Class ids ``(M,)``, integers.
        at: The cut-offs k of AP@k and P@k. A gallery of fewer than k photos is allowed: P@k still
            divides by k, and is then bounded below 1.
        chunk: Queries ranked at a time; bounds the memory.
        progress: Called with (queries ranked so far, Q) after each chunk.

    Returns:
        The means, with the name of their convention.

    Raises:
        ShapeError: An array has the wrong shape, type or range (the message names the first bad
            row), a query's class has no photo, or a cut-off is below 1.

    >>> import numpy as np
    >>> photos = np.array([[1, 0], [1, 1], [0, 1]])
    >>> metrics = evaluate(np.eye(2), photos, np.array([0, 1]), np.array([0, 1, 1]), at=(1, 2))
    >>> metrics.map_all, metrics.p_at
    (1.0, {1: 1.0, 2: 0.75})
    """
    for k in at:
        if k < 1:
            raise ShapeError(f"cut-offs in at must be at least 1, got {k}")
    overall: list[float] = []
    averages: dict[int, list[float]] = {k: [] for k in at}
    shares: dict[int, list[float]] = {k: [] for k in at}
    ranked = rank_relevance(
        queries, gallery, query_labels, gallery_labels, chunk=chunk, progress=progress
    )
    for relevance in ranked:
        overall.extend(standard_average_precision(relevance).tolist())
        for k in averages:
            averages[k].extend(standard_average_precision(relevance, k).tolist())
            shares[k].extend(standard_precision(relevance, k).tolist())
    return Metrics(
        convention="standard",
        queries=len(queries),
        gallery=len(gallery),
        map_all=_mean(overall),
        map_at={k: _mean(values) for k, values in averages.items()},
        p_at={k: _mean(values) for k, values in shares.items()},
    )


def _mean(values: list[float]) -> float:
    """The mean with a correctly rounded sum, which the order of the queries cannot change."""
    return math.fsum(values) / len(values)
