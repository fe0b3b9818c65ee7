"""Vectors that lie as photos do, in clusters, and indices of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from msedge.search.approximate.build import build
from msedge.search.approximate.index import About, ApproximateIndex
from msedge.search.ranking import nearest, unit_vectors
from msedge.search.stores.reports import Model

Half = npt.NDArray[np.float16]


def clustered(count: int, dim: int, *, seed: int = 0, kinds: int = 40, spread: float = 0.6) -> Half:
    """Unit vectors around so many centres."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(dim).standard_normal((kinds, dim))
    vectors = centres[rng.integers(kinds, size=count)]
    vectors = vectors + spread * rng.standard_normal((count, dim))
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / lengths).astype(np.float16)


def ids_of(count: int) -> npt.NDArray[np.int64]:
    """Rising, with gaps."""
    return np.arange(count, dtype=np.int64) * 3 + 7


def blocks(
    vectors: Half, rows: int = 1000, hubness: npt.NDArray[np.float64] | None = None
) -> Iterator[tuple[npt.NDArray[np.int64], Half, npt.NDArray[np.float64]]]:
    """As a gallery gives them."""
    ids = ids_of(len(vectors))
    near = np.zeros(len(vectors)) if hubness is None else hubness
    for start in range(0, len(vectors), rows):
        some = slice(start, start + rows)
        yield ids[some], vectors[some], near[some]


def built(
    folder: Path,
    vectors: Half,
    *,
    recall: float = 0.95,
    hubness: npt.NDArray[np.float64] | None = None,
    **options: Any,
) -> About | None:
    """Build an index of vectors, and of their hubness where there is some."""
    hubs = "" if hubness is None else "a bank"
    options = {"version": 1, "count": len(vectors), "hubs": hubs} | options
    model = Model("a model", "f" * 64, vectors.shape[1])
    return build(folder, blocks(vectors, hubness=hubness), model=model, recall=recall, **options)


def index_of(folder: Path, vectors: Half, **options: Any) -> ApproximateIndex:
    """Build an index of vectors and open it."""
    built(folder, vectors, **options)
    return ApproximateIndex.open(folder)


def exactly(
    vectors: Half, query: npt.NDArray[Any], k: int, allowed: npt.NDArray[np.bool_] | None = None
) -> tuple[list[int], list[float]]:
    """What exact search says."""
    rows, similarities = nearest(unit_vectors(vectors), query, k, allowed=allowed)
    return rows.tolist(), similarities.tolist()


def drawn(count: int, dim: int, seed: int = 9) -> npt.NDArray[np.float32]:
    """Queries beside the photos."""
    return unit_vectors(clustered(count, dim, seed=seed, spread=1.0))
