"""Queries to measure an index with, for a gallery of which no real ones are known.

Tested in ``tests/search/test_sample_queries.py``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from msedge.search.candidates import unit_vectors
from msedge.search.encoder import Embeddings

SAMPLE = 256
"""Queries that recall is measured with, unless told otherwise."""

# A sample says what it says of itself: half of what may be missed is kept back for the others.
_KEPT_BACK = 0.5


def aim_for(recall: float) -> float:
    """What is to be reached on a sample where a recall is wanted of all queries.

    >>> aim_for(0.99)
    0.995
    """
    return 1.0 - (1.0 - recall) * _KEPT_BACK


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
