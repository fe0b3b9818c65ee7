"""The cost of a query as a gallery grows from ten thousand photos to ten million.

    MSEDGE_TEST_DATA=data python benchmarks/query_cost.py --figure query_cost.svg
    MSEDGE_TEST_DATA=data python benchmarks/query_cost.py --counts 10000,100000 --rounds 20

Four ways, the first 20 photos of real sketches among copies of real photos (``benchmarks/ann.py``
says how those are made), one after another on one thread but for Lance, which has its own:

* exact, all vectors in memory: one product over all of them (NumPy), the reference;
* approximate, beside a SQLite gallery: faiss, candidates ranked again from float16;
* a Lance dataset without an index: every vector is read from the disk's cache;
* a Lance dataset with its index.

Prints the median, its ratio to the reference, what was found of the true first 20, and how long the
index took to build.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import faiss
import lance
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from threadpoolctl import threadpool_limits

from ann import BLOCK, Copier, Matrix, Truth, exact_seconds, real_vectors, truth, written
from msedge.search.approximate.build import build
from msedge.search.approximate.index import ApproximateIndex
from msedge.search.ranking import Similarities
from msedge.search.stores.lance.dataset import schema_of
from msedge.search.stores.lance.store import LanceStore
from msedge.search.stores.reports import Model, Watched
from msedge.search.stores.store import AUTO, View
from query_cost_figure import Curve, cost_chart

FIRST = 20
EXACT, FAISS = "exact, all vectors in memory", "approximate index beside a SQLite gallery"
LANCE, LANCE_INDEX = "Lance, every vector read", "Lance, by its index"
ROWS_A_FILE = 1_000_000
Stored = npt.NDArray[np.float16]
Search = Callable[[Matrix], Similarities]


@dataclass
class Costs:
    """Milliseconds of a query, by way and number of photos."""

    counts: dict[str, list[int]] = field(default_factory=dict)
    medians: dict[str, list[float]] = field(default_factory=dict)

    def add(self, way: str, count: int, milliseconds: float) -> None:
        """One more point."""
        self.counts.setdefault(way, []).append(count)
        self.medians.setdefault(way, []).append(milliseconds)


def measured(search: Search, known: Truth) -> tuple[float, float]:
    """The median in milliseconds, and what was found of the true first 20."""
    seconds, right = [], []
    search(known.queries[0])
    for query, similarities in zip(known.queries, known.similarities, strict=True):
        begun = time.perf_counter()
        found = search(query)
        seconds.append(time.perf_counter() - begun)
        right.append(np.mean(found[:FIRST] >= similarities[FIRST - 1] - 1e-6))
    return 1000 * statistics.median(seconds), float(np.mean(right))


def rows(vectors: Stored, model: Model) -> Iterator[pa.RecordBatch]:
    """A gallery's rows, in a hundred folders."""
    schema = schema_of(model)
    for start in range(0, len(vectors), BLOCK):
        ids = np.arange(start, min(start + BLOCK, len(vectors)))
        count = len(ids)
        flat = pa.array(vectors[start : start + count].reshape(-1))
        yield pa.record_batch(
            [
                pa.array(ids + 1, pa.int64()),
                pa.array([b"/photos/%02d/%09d.jpg" % (n % 100, n) for n in ids], pa.binary()),
                pa.array(np.full(count, 150_000), pa.int64()),
                pa.array(np.full(count, 10**18) + ids, pa.int64()),
                pa.array([f"{n:064x}" for n in ids], pa.string()),
                pa.array(np.full(count, 640), pa.int32()),
                pa.array(np.full(count, 480), pa.int32()),
                pa.array(1e9 + ids, pa.float64()),
                pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
                pa.array(np.zeros(count)),  # no hubs
            ],
            schema=schema,
        )


def show(way: str, count: int, cost: float, recall: float, reference: float, note: str) -> None:
    """A line of the table."""
    print(
        f"{count:>11,}  {way:43} {cost:9.2f} ms  {reference / cost:7.1f}  {recall:.4f}  {note}",
        flush=True,
    )


def beside_sqlite(folder: Path, vectors: Stored, recall: float) -> tuple[Search, str]:
    """The approximate index, and what there is to say of it."""
    zeros = np.zeros(BLOCK)  # no hubs
    blocks = (
        (np.arange(at, min(at + BLOCK, len(vectors))), vectors[at : at + BLOCK], zeros)
        for at in range(0, len(vectors), BLOCK)
    )
    model = Model("copies", "f" * 64, vectors.shape[1])
    about = build(folder, blocks, count=len(vectors), model=model, version=1, recall=recall)
    assert about is not None
    index = ApproximateIndex.open(folder)
    index.vectors.sum(dtype=np.float32)  # as in a server that is in use
    note = (
        f"{about.kind}, {about.bytes / len(vectors):.0f} B a vector, built in {about.seconds:.0f} s"
    )
    return lambda query: index.nearest(query, FIRST)[1], note


def lance_costs(
    folder: Path, vectors: Stored, known: Truth, options: argparse.Namespace, costs: Costs
) -> None:
    """Both ways of a dataset."""
    count, model = len(vectors), Model("copies", "f" * 64, vectors.shape[1])
    reference = costs.medians[EXACT][-1]
    path = folder / "photos.lance"
    reader = pa.RecordBatchReader.from_batches(schema_of(model), rows(vectors, model))
    begun = time.perf_counter()
    lance.write_dataset(reader, str(path), max_rows_per_file=ROWS_A_FILE)
    wrote = time.perf_counter() - begun
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    with LanceStore.open(path, writable=True, memory=0) as gallery:

        def search(view: View) -> Search:
            return lambda query: np.array(
                [
                    hit.similarity
                    for hit in view.search(query, FIRST, filters=None, without=(), together=False)
                ]
            )

        if count <= options.most_read:
            cost, recall = measured(search(gallery.view()), known)
            costs.add(LANCE, count, cost)
            note = f"{size / count:.0f} B a photo on disk, written in {wrote:.0f} s"
            show(LANCE, count, cost, recall, reference, note)
        if count > options.most_indexed:
            return
        begun = time.perf_counter()
        gallery.build_index(options.recall, AUTO, Watched())
        state = gallery.index_state()
        built = time.perf_counter() - begun
        cost, recall = measured(search(gallery.view()), known)
    costs.add(LANCE_INDEX, count, cost)
    index = sum(f.stat().st_size for f in (path / "_indices").rglob("*") if f.is_file())
    note = (
        f"{state.kind}, {state.parameters['partitions']} partitions, {index / count:.0f} B a "
        f"photo, built in {built:.0f} s; {size / count:.0f} B a photo on disk"
    )
    show(LANCE_INDEX, count, cost, recall, reference, note)


def one_size(
    folder: Path,
    count: int,
    copier: Copier,
    sketches: Matrix,
    options: argparse.Namespace,
    costs: Costs,
) -> None:
    """Every way with so many photos."""
    vectors = written(folder / "vectors.f16", copier, count, options.dim)
    queries = sketches[: options.rounds]
    known = truth(vectors, queries, len(queries))
    with threadpool_limits(1):
        before = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)
        exact = 1000 * exact_seconds(vectors, queries[:20])["exact, NumPy"]
        faiss.omp_set_num_threads(before)
    costs.add(EXACT, count, exact)
    show(EXACT, count, exact, 1.0, exact, f"{4 * options.dim} B a vector")
    search, note = beside_sqlite(folder / "index", vectors, options.recall)
    cost, recall = measured(search, known)
    costs.add(FAISS, count, cost)
    show(FAISS, count, cost, recall, exact, note)
    del search
    gc.collect()
    lance_costs(folder, vectors, known, options, costs)


def arguments() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--counts", default="10000,100000,1000000,10000000")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--recall", type=float, default=0.99)
    parser.add_argument("--rounds", type=int, default=100, help="queries")
    parser.add_argument(
        "--most-read", type=int, default=1_000_000, help="photos that Lance reads without an index"
    )
    parser.add_argument(
        "--most-indexed",
        type=int,
        default=1_000_000,
        help="photos that Lance builds an index of; ten million take two cores over 20 minutes",
    )
    parser.add_argument("--vectors", type=Path, help="a .safetensors of `msedge evaluate`")
    parser.add_argument("--data", type=Path, help="a folder of photos")
    parser.add_argument("--sketches", type=Path, help="a folder of sketches, with --data")
    parser.add_argument("--folder", type=Path, help="where the files lie while it runs")
    parser.add_argument("--figure", type=Path, help="an SVG to draw")
    return parser.parse_args()


def figure(costs: Costs, options: argparse.Namespace) -> str:
    """The chart."""
    curves = [Curve(way, costs.counts[way], costs.medians[way]) for way in costs.counts]
    return cost_chart(
        "The first 20 photos of a sketch: median time as a gallery grows",
        f"Vectors of {options.dim} numbers, two cores; the first two on one thread, Lance on its "
        f"own threads. Indices were built to find {options.recall:g} of the true first 20; that of "
        f"Lance up to {options.most_indexed:,} photos.",
        curves,
    )


def main() -> None:
    """Run it."""
    options = arguments()
    counts: Sequence[int] = [int(count) for count in options.counts.split(",")]
    costs = Costs()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        photos, sketches = real_vectors(options, Path(name))
        copier = Copier(photos)
        sketches = sketches[np.random.default_rng(1).permutation(len(sketches))]
        print(f"load {os.getloadavg()[0]:.1f}; {options.dim} numbers a vector")
        print(f"{'photos':>11}  {'way':43} {'median':>12}  {'ratio':>7}  recall")
        for count in counts:
            with tempfile.TemporaryDirectory(dir=name) as folder:
                one_size(Path(folder), count, copier, sketches, options, costs)
    print(f"load {os.getloadavg()[0]:.1f}")
    if options.figure:
        options.figure.write_text(figure(costs, options))
        print(options.figure)


if __name__ == "__main__":
    main()
