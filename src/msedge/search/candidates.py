"""From candidates to hits: near-duplicates put together, unwanted ones taken out.

However candidates are found, exactly or not, what follows is the same. Tested in
``tests/search/test_candidates.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from msedge.search.encoder import Embeddings
from msedge.search.near_duplicates import NEAR_DUPLICATE, Group, collapse
from msedge.search.ranking import Similarities
from msedge.search.store import Found, Ids

_LEAST_DEPTH = 500  # ranks that are looked through for near-duplicates of the hits
_DEEPER = 4


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
        kept = _not_like(candidates, shunned)
        groups = _groups(candidates.vectors[kept], k, together=together)
        if len(groups) == k or len(candidates.ids) < depth:
            break
        depth *= _DEEPER
    ids = candidates.ids[kept].tolist()
    similarities = candidates.similarities[kept].tolist()
    return [
        Found(ids[group.first], similarities[group.first], tuple(ids[at] for at in group.others))
        for group in groups
    ]


def unit_vectors(stored: npt.NDArray[np.float16]) -> Embeddings:
    """Vectors as they are stored, ``(N, dim)``, at length 1, which float16 leaves a little off."""
    vectors = stored.astype(np.float32)
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    vectors /= np.maximum(lengths, np.float32(1e-12))[:, None]
    return vectors


def _not_like(candidates: Candidates, shunned: Sequence[Embeddings]) -> npt.NDArray[np.int64]:
    counts = np.ones(len(candidates.ids), np.bool_)
    for vector in shunned:
        counts &= candidates.vectors @ vector < NEAR_DUPLICATE
    return np.flatnonzero(counts)


def _groups(vectors: Embeddings, k: int, *, together: bool) -> list[Group]:
    if together:
        return collapse(vectors, k)
    return [Group(place, ()) for place in range(min(k, len(vectors)))]
