"""How quickly a Lance gallery answers: from memory, by reading every vector, by its index.

Claims, on two cores, with photos of 256 dimensions:

* 100,000 of them, held in memory, are searched at least 1.5 times as fast as Lance reads and
  compares them all;
* the index over a million answers at least 5 times as fast as that, and finds 95% of the true
  first 20.

Times are of whole answers: 20 groups of near-duplicates and what is known of each.

    python benchmarks/lance_search.py [--photos 1000000] [--folder DIR]

Vectors are clusters of low rank with noise, as embeddings are; queries are drawn like them and are
no photos of the gallery.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from msedge.search.filters import Filters
from msedge.search.photo import Block, NewPhoto
from msedge.search.ranking import Embeddings
from msedge.search.stores.lance.store import LanceStore
from msedge.search.stores.reports import Model, Watched
from msedge.search.stores.store import AUTO, View

DIM, RANK, BLOCK, QUERIES = 256, 32, 50_000, 40
RECALL = 0.95


class Clusters:
    """Unit vectors that lie as embeddings do."""

    def __init__(self, photos: int) -> None:
        self._random = np.random.default_rng(0)
        self._centres = self._random.standard_normal((max(200, photos // 200), RANK))
        self._widen = self._random.standard_normal((RANK, DIM))

    def drawn(self, count: int) -> Embeddings:
        """So many, ``(count, dim)``."""
        inner = self._centres[self._random.integers(0, len(self._centres), count)]
        inner = inner + 0.7 * self._random.standard_normal(inner.shape)
        vectors = inner @ self._widen + 0.8 * self._random.standard_normal((count, DIM))
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def write_gallery(path: Path, photos: int, clusters: Clusters) -> None:
    """A gallery of so many photos in a hundred folders, by blocks, in one commit."""
    with LanceStore.create(path, Model("clusters", "0" * 64, DIM)) as gallery:
        fragments: list[str] = []
        for start in range(0, photos, BLOCK):
            count = min(BLOCK, photos - start)
            first = gallery.reserve_ids(count)
            vectors = clusters.drawn(count).astype(np.float16)
            ids = list(range(first, first + count))
            block = Block(ids, [photo(number, vectors[at]) for at, number in enumerate(ids)])
            fragments += LanceStore.write_apart(path, DIM, block)
        gallery.commit(fragments)


def photo(number: int, vector: np.ndarray[tuple[int], np.dtype[np.float16]]) -> NewPhoto:
    """The photo of a number."""
    path = Path(f"/photos/{number % 100:02}/{number:08}.jpg")
    return NewPhoto(path, number, number, f"{number:064}", 640, 480, float(number), vector=vector)


def milliseconds(asked: Callable[[Embeddings], object], queries: Embeddings) -> float:
    """The median over queries, the first of which is not counted."""
    times = []
    for query in queries:
        begun = time.perf_counter()
        asked(query)
        times.append(1000 * (time.perf_counter() - begun))
    return statistics.median(times[1:])


def searching(view: View, filters: Filters | None = None) -> Callable[[Embeddings], object]:
    """As a page searches: 20 groups of near-duplicates, and what is known of them."""

    def ask(query: Embeddings) -> object:
        found = view.search(query, 20, filters=filters, without=(), together=True)
        return view.photos([each.id for each in found])

    return ask


def main() -> None:
    """Measure, and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="where to keep the gallery; else a new one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = (options.folder or Path(folder)) / f"clusters-{options.photos}.lance"
        clusters = Clusters(options.photos)
        if not path.exists():
            write_gallery(path, options.photos, clusters)
        measure(path, clusters.drawn(QUERIES))


def measure(path: Path, queries: Embeddings) -> None:
    """Print medians, and what they are beside reading every vector."""
    below = Filters(folder=Path("/photos/07"))
    with LanceStore.open(path, exact=True, memory=0) as gallery:
        print(f"{gallery.count():,} photos of {gallery.model.dim} dimensions")
        reading = milliseconds(searching(gallery.view()), queries)
        print(f"reading every vector    {reading:8.1f} ms")
        some = milliseconds(searching(gallery.view(), below), queries)
        print(f"  of one folder in 100  {some:8.1f} ms")
    begun = time.perf_counter()
    with LanceStore.open(path, memory=2**40) as gallery:
        view = gallery.view()
        print(f"reading into memory     {1000 * (time.perf_counter() - begun):8.1f} ms, once")
        told("in memory", milliseconds(searching(view), queries), reading)
        told("  of one folder in 100", milliseconds(searching(view, below), queries), some)
    with LanceStore.open(path, writable=True, memory=0) as gallery:
        gallery.build_index(RECALL, AUTO, Watched())
        state = gallery.index_state()
        print(
            f"index built in {state.seconds:.1f} s: {state.parameters}, finds "
            f"{state.recall:.1%} of the first 20"
        )
        told("by the index", milliseconds(searching(gallery.view()), queries), reading)
        told(
            "  of one folder in 100", milliseconds(searching(gallery.view(), below), queries), some
        )


def told(what: str, took: float, reading: float) -> None:
    """Print a median, and how many times as fast it is."""
    print(f"{what:23} {took:8.1f} ms, {reading / took:5.1f} times as fast as reading")


if __name__ == "__main__":
    main()
