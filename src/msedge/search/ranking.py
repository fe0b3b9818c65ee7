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
photos no two reach it with the shipped model (the most alike: 0.965); of their copies that were
saved again as JPEG of quality 75, 99 % do, of those doubled in size all; see
``benchmarks/search_choices.py``. To hide a photo is worse than to show one twice, so copies that
lost detail or margins, which overlap with different photos, may stay apart.
"""

SAMPLE = 256  # queries that an index's recall is measured with, unless told otherwise

_BLOCK = 4096  # rows that are scored in float64 at a time
_LEAST_DEPTH = 500  # ranks that are looked through for near-duplicates of the hits
_DEEPER = 4


@dataclass(frozen=True, slots=True)
class Candidates:
    """The first photos of a ranking by score, ties by rising id; unit vectors ``(n, dim)``."""

    ids: Ids
    similarities: Similarities
    scores: Similarities  # similarities less what is taken off each; equal where nothing is
    vectors: Embeddings


@dataclass(frozen=True, slots=True)
class Found:
    """A hit by its id, what ranks it, and its near-duplicates' ids, best first."""

    id: int
    similarity: float  # cosine, in [-1, 1]
    score: float  # that less a share of the photo's hubness; equal to it where no drawing is asked
    copies: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """Places in a ranking that show one picture, best first."""

    first: int
    others: tuple[int, ...] = ()


def nearest(
    vectors: Embeddings,
    query: npt.NDArray[np.floating],
    k: int,
    *,
    allowed: npt.NDArray[np.bool_] | None = None,
    handicaps: Similarities | None = None,
) -> tuple[Positions, Similarities]:
    """The first ``k`` rows of ``(N, dim)`` unit vectors, or as many as are allowed, ``(N,)``.

    They are ranked by falling cosine similarity to a unit vector ``(dim,)``, less their handicaps
    in [-1, 1], ``(N,)``, where there are some; ties by rising row. They come with their
    similarities in [-1, 1].

    Example:
        >>> rows, similarities = nearest(np.eye(3, dtype=np.float32), np.array([0.0, 0.6, 0.8]), 2)
        >>> rows.tolist(), similarities.tolist()
        ([2, 1], [0.8, 0.6])
    """
    likely = vectors @ query.astype(np.float32)
    if handicaps is not None:
        likely -= handicaps.astype(np.float32)
    rows = _likely(likely, k, vectors.shape[1], allowed)
    double = query.astype(np.float64)
    # A sum along a row depends on nothing but that row; a product of matrices may not.
    parts = (vectors[rows[at : at + _BLOCK]] for at in range(0, len(rows), _BLOCK))
    exact = np.concatenate([np.empty(0), *((part * double).sum(axis=1) for part in parts)])
    scores = exact if handicaps is None else exact - handicaps[rows]
    order = np.argsort(-scores, kind="stable")[:k]  # `rows` rise, so ties keep that order
    return rows[order], np.clip(exact[order], -1.0, 1.0)


def found(
    look: Callable[[int], Candidates], k: int, *, shunned: Sequence[Embeddings] = (), together: bool
) -> list[Found]:
    """The first ``k`` hits of a query, groups of near-duplicates where ``together``.

    Near-duplicates are sought in the first 500 ranks, and further down where those do not make
    ``k`` groups. Those of the shunned vectors do not count. To look is to get the first so many
    candidates; fewer only where there are no more.
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
    similarities, scores = candidates.similarities[kept].tolist(), candidates.scores[kept].tolist()
    return [
        Found(
            ids[group.first],
            similarities[group.first],
            scores[group.first],
            tuple(ids[at] for at in group.others),
        )
        for group in groups
    ]


def collapse(vectors: Embeddings, k: int, *, threshold: float = NEAR_DUPLICATE) -> list[Group]:
    """Part a ranking, unit vectors ``(n, dim)``, into at most ``k`` groups of near-duplicates.

    Each photo belongs to the first group whose best photo it is a near-duplicate of. Compared is
    with a group's best only: chains of likeness, as a film's frames make them, would otherwise
    swallow a whole folder. What belongs to none of the groups is left out.

    Example:
        >>> collapse(np.array([[1, 0], [0, 1], [1, 0]], np.float32), k=2)
        [Group(first=0, others=(2,)), Group(first=1, others=())]
    """
    free: npt.NDArray[np.bool_] = np.ones(len(vectors), np.bool_)
    groups: list[Group] = []
    for first in range(len(vectors)):
        if len(groups) == k:
            break
        if free[first]:
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
    """So many queries for a gallery of which none are known: halfway between two photos each.

    Drawings lie beside the photos rather than among them. Such blends need as many lists as
    sketches of real people do, which photos with noise do not (``benchmarks/ann.py``).
    """
    if not len(vectors):
        return np.empty((0, vectors.shape[1]), np.float32)
    one, other = (
        unit_vectors(vectors[rows]) for rows in rng.integers(len(vectors), size=(2, count))
    )
    both = one + other
    lengths = np.linalg.norm(both, axis=1, keepdims=True)
    return np.where(lengths > 0.01, both / np.maximum(lengths, 0.01), one)


def aim_for(recall: float) -> float:
    """What a sample is to reach, so that all queries have a recall: it may miss half as much."""
    return 1.0 - (1.0 - recall) / 2


def _likely(
    scores: npt.NDArray[np.float32], k: int, dim: int, allowed: npt.NDArray[np.bool_] | None
) -> Positions:
    """Rising rows among which the first ``k`` are, whatever rounding did to the scores."""
    if allowed is not None:
        scores = np.where(allowed, scores, np.float32(-np.inf))
        k = min(k, int(np.count_nonzero(allowed)))
    if k < 1:
        return np.empty(0, np.int64)
    if k >= len(scores):
        return np.flatnonzero(np.isfinite(scores))
    least = np.partition(scores, len(scores) - k)[len(scores) - k]
    # Higham, Accuracy and Stability of Numerical Algorithms (2002), 3.1: a product of unit vectors
    # is off by at most dim * eps / 2, and both sides of the comparison may be. So may what is taken
    # off a product, and the difference, which is below 2: by eps at most, together.
    return np.flatnonzero(scores >= least - (dim + 4) * np.finfo(np.float32).eps)
