"""The photos nearest to a query, exactly, and what becomes of them: near-duplicates, hits.

One product over the whole matrix takes a few milliseconds for 100,000 photos (measured by
``benchmarks/search.py``). float32 products round, and round differently from row to row, so
whatever could belong to the answer is scored again in float64: equal vectors then have equal
similarities, and a ranking is the same on every machine. However candidates are found, exactly or
not, what follows is the same. Tested in ``tests/search/test_ranking.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Embeddings = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
Positions = npt.NDArray[np.int64]
Similarities = npt.NDArray[np.float64]

NEAR_DUPLICATE = 0.985
"""Cosine similarity from which two photos count as one.

Copies, resized or recompressed, are told by their vectors alone: equal content has equal vectors,
and an embedding hardly moves when a picture is scaled or compressed again. Of 3,125 different
photos no two reach it with the shipped model (the most alike: 0.982), and all their copies that
were saved again as JPEG of quality 75 or doubled in size do (the least: 0.993); see
``benchmarks/search_choices.py``. To hide a photo is worse than to show one twice, so copies that
lost detail or margins, which overlap with different photos, may stay apart.
"""

SAMPLE = 256
"""Queries that an index's recall is measured with, unless told otherwise."""

_BLOCK = 4096  # rows that are scored in float64 at a time
_LEAST_DEPTH = 500  # ranks that are looked through for near-duplicates of the hits
_DEEPER = 4
# A sample says what it says of itself: half of what may be missed is kept back for other queries.
_KEPT_BACK = 0.5


@dataclass(frozen=True, slots=True)
class Candidates:
    """The first photos of a ranking.

    Attributes:
        ids: ``(n,)``.
        similarities: to the query, falling, ties by rising id, ``(n,)``.
        vectors: unit vectors ``(n, dim)``, float32.
    """

    ids: Ids
    similarities: Similarities
    vectors: Embeddings


@dataclass(frozen=True, slots=True)
class Found:
    """One photo of an answer, by ids.

    Attributes:
        id: of the photo.
        similarity: cosine similarity to the query, in [-1, 1].
        copies: ids of its near-duplicates, best first.
    """

    id: int
    similarity: float
    copies: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """Places in a ranking that show one picture.

    Attributes:
        first: the best of them.
        others: the near-duplicates of the first, by falling rank.
    """

    first: int
    others: tuple[int, ...] = ()


def nearest(
    vectors: Embeddings,
    query: npt.NDArray[np.floating],
    k: int,
    *,
    allowed: npt.NDArray[np.bool_] | None = None,
) -> tuple[Positions, Similarities]:
    """The first ``k`` rows by falling cosine similarity, ties by rising row.

    Args:
        vectors: unit vectors ``(N, dim)``, float32.
        query: a unit vector ``(dim,)``.
        k: how many, at least 1; fewer come back where there are fewer.
        allowed: ``(N,)``; only the rows where it is true count.

    Returns:
        Rows ``(n,)`` and their similarities ``(n,)`` in [-1, 1], where ``n`` is the smaller of
        ``k`` and the number of rows that count.

    Example:
        >>> rows, similarities = nearest(np.eye(3, dtype=np.float32), np.array([0.0, 0.6, 0.8]), 2)
        >>> rows.tolist(), similarities.tolist()
        ([2, 1], [0.8, 0.6])
    """
    rows = _likely(vectors @ query.astype(np.float32), k, vectors.shape[1], allowed)
    exact = _similarities(vectors, rows, query.astype(np.float64))
    order = np.argsort(-exact, kind="stable")[:k]  # `rows` rise, so ties keep that order
    return rows[order], np.clip(exact[order], -1.0, 1.0)


def found(
    look: Callable[[int], Candidates],
    k: int,
    *,
    shunned: Sequence[Embeddings] = (),
    together: bool,
) -> list[Found]:
    """The hits of a query.

    Args:
        look: gives the first so many candidates of the ranking; fewer only where there are no more.
        k: photos wanted, at least 1; groups of near-duplicates where ``together``.
        shunned: unit vectors ``(dim,)``; what is a near-duplicate of one does not count.
        together: whether near-duplicates are one hit. They are sought in the first 500 ranks, and
            further down where those do not make ``k`` groups.
    """
    depth = max(_LEAST_DEPTH, 2 * k) if together or shunned else k
    while True:
        candidates = look(depth)
        counts = np.ones(len(candidates.ids), np.bool_)
        for vector in shunned:
            counts &= candidates.vectors @ vector < NEAR_DUPLICATE
        kept = np.flatnonzero(counts)
        if together:
            groups = collapse(candidates.vectors[kept], k)
        else:
            groups = [Group(place) for place in range(min(k, len(kept)))]
        if len(groups) == k or len(candidates.ids) < depth:
            break
        depth *= _DEEPER
    ids = candidates.ids[kept].tolist()
    similarities = candidates.similarities[kept].tolist()
    return [
        Found(ids[group.first], similarities[group.first], tuple(ids[at] for at in group.others))
        for group in groups
    ]


def collapse(vectors: Embeddings, k: int, *, threshold: float = NEAR_DUPLICATE) -> list[Group]:
    """Part a ranking into groups of near-duplicates, best first.

    Each photo belongs to the first group whose best photo it is a near-duplicate of. Compared is
    with a group's best only: chains of likeness, as a film's frames make them, would otherwise
    swallow a whole folder.

    Args:
        vectors: unit vectors ``(n, dim)`` by rank.
        k: groups to form at most; what belongs to none of them is left out.
        threshold: cosine similarity from which two count as one.

    Returns:
        At most ``k`` groups.

    Example:
        >>> collapse(np.array([[1, 0], [0, 1], [1, 0]], np.float32), k=2)
        [Group(first=0, others=(2,)), Group(first=1, others=())]
    """
    free: npt.NDArray[np.bool_] = np.ones(len(vectors), np.bool_)
    groups: list[Group] = []
    for first in range(len(vectors)):
        if len(groups) == k:
            break
        if not free[first]:
            continue
        like = free & (vectors @ vectors[first] >= threshold)
        like[: first + 1] = False
        free &= ~like
        groups.append(Group(first, tuple(np.flatnonzero(like).tolist())))
    return groups


def unit_vectors(stored: npt.NDArray[np.float16]) -> Embeddings:
    """Vectors as they are stored, ``(N, dim)``, at length 1, which float16 leaves a little off."""
    vectors = stored.astype(np.float32)
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    vectors /= np.maximum(lengths, np.float32(1e-12))[:, None]
    return vectors


def blends(
    vectors: npt.NDArray[np.float16], rng: np.random.Generator, count: int = SAMPLE
) -> Embeddings:
    """Queries for a gallery of which none are known: halfway between two photos each.

    Drawings lie beside the photos rather than among them. Such blends need as many lists as
    sketches of real people do, which photos with noise do not (``benchmarks/ann.py``).

    Args:
        vectors: float16 ``(N, dim)``.
        rng: chooses the photos.
        count: how many.
    """
    if not len(vectors):
        return np.empty((0, vectors.shape[1]), np.float32)
    pairs = rng.integers(len(vectors), size=(2, count))
    both = unit_vectors(vectors[pairs[0]]) + unit_vectors(vectors[pairs[1]])
    lengths = np.linalg.norm(both, axis=1, keepdims=True)
    return np.where(
        lengths > 0.01, both / np.maximum(lengths, 0.01), unit_vectors(vectors[pairs[0]])
    )


def aim_for(recall: float) -> float:
    """What is to be reached on a sample where a recall is wanted of all queries.

    >>> aim_for(0.99)
    0.995
    """
    return 1.0 - (1.0 - recall) * _KEPT_BACK


def _likely(
    scores: npt.NDArray[np.float32], k: int, dim: int, allowed: npt.NDArray[np.bool_] | None
) -> Positions:
    """Rising rows among which the first ``k`` are, whatever rounding did to the scores."""
    if allowed is not None:
        scores = np.where(allowed, scores, np.float32(-np.inf))
        k = min(k, int(np.count_nonzero(allowed)))
    if k < 1 or not len(scores):
        return np.empty(0, np.int64)
    if k < len(scores):
        least = np.partition(scores, len(scores) - k)[len(scores) - k]
        # Higham, Accuracy and Stability of Numerical Algorithms (2002), 3.1: a product of unit
        # vectors is off by at most dim * eps / 2, and both sides of the comparison may be.
        chosen = scores >= least - dim * np.finfo(np.float32).eps
    else:
        chosen = np.isfinite(scores)
    return np.flatnonzero(chosen)


def _similarities(
    vectors: Embeddings, rows: Positions, query: npt.NDArray[np.float64]
) -> Similarities:
    # A sum along a row depends on nothing but that row; a product of matrices may not.
    blocks = [
        (vectors[rows[start : start + _BLOCK]] * query).sum(axis=1)
        for start in range(0, len(rows), _BLOCK)
    ]
    return np.concatenate(blocks) if blocks else np.empty(0, np.float64)
