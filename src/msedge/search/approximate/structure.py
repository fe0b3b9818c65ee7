"""The structures of faiss: trained, filled and asked for candidates.

Tested in ``tests/search/approximate/test_structure.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import faiss as typed_faiss
import numpy as np
import numpy.typing as npt

from msedge.search.approximate.plan import (
    COARSE_LINKS,
    GRAPH_OF_CENTRES_FROM,
    LINKS,
    IndexPlan,
    padded,
)
from msedge.search.encoder import Embeddings
from msedge.search.ranking import Positions

_ROUNDS = 8  # of k-means; more change recall by less than a thousandth
_BUILDING_BEAM = 100
_COARSE_BEAM = 64  # of the graph of centres, at least
_CENTRES = 16  # that 4 bits tell apart
_CODE_ROWS = 16_384  # that codes are trained on; faiss takes 4,096 of them

faiss: Any = typed_faiss  # the stubs that come with it do not know what it can do
Structure = Any
"""A `faiss.Index`."""

Continue = Callable[[int, int], None]


def trained(plan: IndexPlan, dim: int, sample: Embeddings, told: Continue) -> Structure:
    """An empty structure.

    Args:
        plan: what it is to be.
        dim: width of the vectors.
        sample: unit vectors to train it on, ``(n, dim)``.
        told: called with rounds done and rounds in all; may raise to make an end.
    """
    width = padded(dim)
    sample = _wide(sample, width)
    if plan.kind == "hnsw":
        graph = faiss.IndexHNSWSQ(
            width, faiss.ScalarQuantizer.QT_8bit, LINKS, faiss.METRIC_INNER_PRODUCT
        )
        graph.hnsw.efConstruction = _BUILDING_BEAM
        graph.train(_at_least(sample, 1))
        return graph
    sample = _at_least(sample, max(_CENTRES, plan.lists))
    centres = _coarse(_spherical_means(sample, plan.lists, told), plan.lists)
    if plan.kind == "ivf-sq":
        metric = faiss.METRIC_INNER_PRODUCT
        eight = faiss.ScalarQuantizer.QT_8bit
        lists = faiss.IndexIVFScalarQuantizer(centres, width, plan.lists, eight, metric, False)
    else:
        metric = faiss.METRIC_INNER_PRODUCT
        lists = faiss.IndexIVFPQFastScan(centres, width, plan.lists, width // 2, 4, metric)
        # What the centre leaves over needs fewer bits: at equal size and time, recall@20 of
        # sketches rises from 0.77 to 0.98.
        lists.by_residual = True
        lists.pq.cp.min_points_per_centroid = 1  # or it prints warnings
    lists.quantizer_trains_alone = 1
    # Thousands of tiny steps: two threads that wait for each other take longer than one.
    with one_thread():
        lists.train(sample[:: max(1, len(sample) // _CODE_ROWS)])
    told(_ROUNDS, _ROUNDS)
    return lists


def add(structure: Structure, vectors: Embeddings) -> None:
    """Put unit vectors ``(n, dim)`` behind those that are there."""
    structure.add(_wide(vectors, structure.d))


def is_graph(structure: Structure) -> bool:
    """Whether photos are found by walking a graph, rather than in lists."""
    return not hasattr(structure, "nlist")


def full_width(structure: Structure) -> int:
    """The width with which everything is looked at: all lists, or a beam as wide as the graph."""
    return max(1, int(getattr(structure, "nlist", structure.ntotal)))


def candidates(
    structure: Structure,
    query: Embeddings,
    width: int,
    depth: int,
    allowed: npt.NDArray[np.uint8] | None,
) -> Positions:
    """Rising rows that may be near a query; at most ``depth``, perhaps none.

    Args:
        structure: of whatever kind.
        query: unit vector ``(dim,)``.
        width: lists, or beam.
        depth: how many.
        allowed: a bit a row, the lowest of a byte first; None for all.
    """
    selector = None if allowed is None else faiss.IDSelectorBitmap(allowed)
    if not is_graph(structure):
        width = min(width, structure.nlist)
        beam = faiss.SearchParametersHNSW(efSearch=max(_COARSE_BEAM, 2 * width))
        of_centres = structure.nlist >= GRAPH_OF_CENTRES_FROM
        how = faiss.SearchParametersIVF(
            nprobe=width, sel=selector, quantizer_params=beam if of_centres else None
        )
    else:
        how = faiss.SearchParametersHNSW(efSearch=max(width, depth), sel=selector)
    with one_thread():
        _, found = _search_of(structure)(_wide(query[None], structure.d), depth, params=how)
    rows = found[0].astype(np.int64)
    return np.sort(rows[(rows >= 0) & (rows < structure.ntotal)])


def _search_of(structure: Structure) -> Any:
    """The search of faiss itself.

    ``faiss.contrib.torch_utils``, which pytorch-metric-learning imports, puts another in its place,
    which takes no parameters.
    """
    return getattr(structure, "search_numpy", structure.search)


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold faiss to one thread; OpenMP keeps this number for each thread that asks, by itself."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _spherical_means(sample: Embeddings, lists: int, told: Continue) -> Embeddings:
    centres = None
    for done in range(_ROUNDS):
        told(done, _ROUNDS)
        means = faiss.Kmeans(
            sample.shape[1],
            lists,
            niter=1,
            spherical=True,
            seed=done + 1,
            min_points_per_centroid=1,
            max_points_per_centroid=len(sample),
        )
        means.train(sample, init_centroids=centres)
        centres = means.centroids
    return centres  # type: ignore[return-value]


def _coarse(centres: Embeddings, lists: int) -> Structure:
    width, metric = centres.shape[1], faiss.METRIC_INNER_PRODUCT
    if lists < GRAPH_OF_CENTRES_FROM:
        flat = faiss.IndexFlat(width, metric)
        flat.add(centres)
        return flat
    graph = faiss.IndexHNSWFlat(width, COARSE_LINKS, metric)
    graph.hnsw.efConstruction = _BUILDING_BEAM
    graph.hnsw.efSearch = _COARSE_BEAM
    graph.add(centres)
    return graph


def _wide(vectors: Embeddings, width: int) -> Embeddings:
    """Zeros beside the numbers, which change no product."""
    missing = width - vectors.shape[1]
    if missing:
        vectors = np.pad(vectors, ((0, 0), (0, missing)))
    return np.ascontiguousarray(vectors, np.float32)


def _at_least(sample: Embeddings, rows: int) -> Embeddings:
    if len(sample) >= rows:
        return sample
    return np.resize(sample, (rows, sample.shape[1]))  # over again; zeros where there is nothing
