"""Approximate search beside exact search, over a million vectors that lie as photos do.

Claim, on one core: of 1,000,000 vectors of 512 numbers, the index finds at least 0.99 of the true
first 20 of a sketch in at most 3 ms (median), in at most 700 bytes a vector of memory. The float16
vectors, from which candidates are ranked again, stay on disk and are mapped.

    MSEDGE_TEST_DATA=data python benchmarks/ann.py
    MSEDGE_TEST_DATA=data python benchmarks/ann.py --count 10000000 --dim 128
    MSEDGE_TEST_DATA=data python benchmarks/ann.py --choices     # every structure, for the plan
    python benchmarks/ann.py --vectors vectors.safetensors       # as `msedge evaluate` stores them
    python benchmarks/ann.py --data PHOTOS [--sketches SKETCHES]

There are no million photos to try with, so each real one is copied with differences (``copies``):
a Gaussian mixture of the differences to its 10 nearest real photos, which spreads copies where
photos of that kind lie and nowhere else, and noise with the covariance of all such differences,
since 10 directions are too few. Their sizes (0.7, 0.3) make the similarity of nearest neighbours
among as many copies as there are photos that of the photos; the script prints both. Queries are
real sketches, which lie beside the photos, and copies that are not in the index.

Widths beyond a model's come from two models side by side; smaller ones from its principal
components. Without data, the sample set is drawn and embedded.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from msedge.data.drawings import drawing_pixels, open_drawing
from msedge.data.sample import SAMPLE_CLASSES, draw_photo, draw_sketch
from msedge.data.vectors import load_vectors
from msedge.search.approximate.build import build
from msedge.search.approximate.index import ApproximateIndex
from msedge.search.encoder import OnnxEncoder
from msedge.search.photo import NewPhoto
from msedge.search.ranking import nearest, unit_vectors
from msedge.search.reading import embedded as embedded_photos
from msedge.search.sources import find
from msedge.search.stores.reports import Model
from search_accuracy import PHOTOS, SKETCHES, data

MODELS = ("msedge-lite", "msedge-lite-sketchy21")
NEAR, ALONG, NOISE = 10, 0.7, 0.3
BLOCK, DEEPEST, TIMED_EXACTLY = 8192, 500, 10
KINDS = ("hnsw", "ivf-sq", "ivf-pq")
Matrix = npt.NDArray[np.float32]


def unit(vectors: npt.NDArray[np.floating]) -> Matrix:
    """Rows at length 1."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)


class Copier:
    """Makes copies of photos, with differences as between photos."""

    def __init__(self, photos: Matrix) -> None:
        likeness = photos @ photos.T
        np.fill_diagonal(likeness, -1)
        near = np.argsort(-likeness, axis=1)[:, :NEAR]
        self._photos, self._differences = photos, photos[near] - photos[:, None]
        flat = self._differences.reshape(-1, photos.shape[1])
        covariance = flat.T @ flat / len(flat) + 1e-9 * np.eye(photos.shape[1], dtype=np.float32)
        self._noise = np.linalg.cholesky(covariance).T.astype(np.float32)

    def copies(self, count: int, rng: np.random.Generator) -> Matrix:
        """Unit vectors ``(count, dim)``."""
        chosen = rng.integers(len(self._photos), size=count)
        weights = rng.standard_normal((count, 1, NEAR), np.float32) * np.float32(ALONG / NEAR**0.5)
        noise = rng.standard_normal((count, self._photos.shape[1]), np.float32) @ self._noise
        along = np.matmul(weights, self._differences[chosen])[:, 0]
        return unit(self._photos[chosen] + along + np.float32(NOISE) * noise)


def embedded(photos: Path, sketches: Path | None, model: str) -> tuple[Matrix, Matrix]:
    """Vectors of the photos and sketches in two folders."""
    encoder, threads = OnnxEncoder.load(model, threads=1), len(os.sched_getaffinity(0))
    batches = embedded_photos(find([photos]).files, encoder, workers=threads, known=set())
    rows = [row.vector for batch in batches for _, row in batch if isinstance(row, NewPhoto)]

    def of_sketches(paths: Sequence[Path]) -> Matrix:
        size = encoder.image_size
        return encoder.sketches(np.stack([drawing_pixels(open_drawing(p), size) for p in paths]))

    files = sorted(sketches.rglob("*.png")) if sketches else []
    with ThreadPoolExecutor(threads) as pool:
        drawn = list(
            pool.map(of_sketches, [files[at : at + 16] for at in range(0, len(files), 16)])
        )
    found = np.stack(rows).astype(np.float32)
    return found, np.concatenate(drawn) if drawn else np.empty((0, encoder.dim), np.float32)


def drawn_folders(folder: Path, count: int = 600) -> tuple[Path, Path]:
    """The sample set as files."""
    rng = np.random.default_rng(0)
    for number in range(count):
        name = SAMPLE_CLASSES[number % len(SAMPLE_CLASSES)]
        for kind, draw in (("photo", draw_photo), ("sketch", draw_sketch)):
            (folder / kind).mkdir(exist_ok=True)
            draw(name, rng).save(folder / kind / f"{number}.png")
    return folder / "photo", folder / "sketch"


def real_vectors(options: argparse.Namespace, folder: Path) -> tuple[Matrix, Matrix]:
    """Photos and sketches with the width that is asked for."""
    if options.vectors:
        read = load_vectors(options.vectors)
        sides = [(read.embeddings[read.of("photo")], read.embeddings[read.of("sketch")])]
        print(f"vectors of {options.vectors}")
    else:
        photos, sketches = options.data or data(PHOTOS), options.sketches
        if photos is None:
            photos, sketches = drawn_folders(folder)
            print("no data: photos and sketches of the sample set are drawn")
        elif not options.data:
            sketches = data(SKETCHES)
        dim = OnnxEncoder.load(MODELS[0]).dim
        sides = [embedded(photos, sketches, name) for name in MODELS[: 1 + (options.dim > dim)]]
    photos, sketches = (np.hstack([unit(side[kind]) for side in sides]) for kind in (0, 1))
    if not len(sketches):
        print("no sketches: every eighth photo stands for one, and is left out")
        photos, sketches = np.delete(photos, np.s_[::8], axis=0), photos[::8]
    if photos.shape[1] < options.dim:
        raise SystemExit(f"--dim {options.dim}: there are {photos.shape[1]} numbers a vector")
    if photos.shape[1] > options.dim:
        _, vectors = np.linalg.eigh(photos.T @ photos)
        photos, sketches = (side @ vectors[:, -options.dim :] for side in (photos, sketches))
    return unit(photos), unit(sketches)


def show_likeness(photos: Matrix, copier: Copier) -> None:
    """Whether copies lie as photos do."""
    sets = {
        "photos": photos,
        "as many copies": copier.copies(len(photos), np.random.default_rng(2)),
    }
    print("similarity to the nearest and to the 10th (5 %, median, 95 %)")
    for name, vectors in sets.items():
        likeness = vectors @ vectors.T
        np.fill_diagonal(likeness, -1)
        ranked = -np.sort(-likeness, axis=1)
        each = (np.quantile(ranked[:, rank], [0.05, 0.5, 0.95]).round(2) for rank in (0, 9))
        print(f"  {len(vectors):,} {name:15}", *each)


@dataclass
class Truth:
    """Queries, and the similarities of their first 500, exactly."""

    queries: Matrix
    sketches: int
    similarities: Matrix


def written(path: Path, copier: Copier, count: int, dim: int) -> npt.NDArray[np.float16]:
    """A file of copies."""
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        for start in range(0, count, BLOCK):
            vectors = copier.copies(min(BLOCK, count - start), rng)
            file.write(vectors.astype(np.float16).tobytes())
    return np.asarray(np.memmap(path, np.float16, "r", shape=(count, dim)))


def truth(vectors: npt.NDArray[np.float16], queries: Matrix, sketches: int) -> Truth:
    """Exact search, all queries at once."""
    best = np.empty((len(queries), 0), np.float32)
    for start in range(0, len(vectors), BLOCK):
        scores = queries @ unit_vectors(vectors[start : start + BLOCK]).T
        best = np.concatenate([best, scores], axis=1)
        if best.shape[1] > DEEPEST:
            best = -np.partition(-best, DEEPEST - 1, axis=1)[:, :DEEPEST]
    return Truth(queries, sketches, -np.sort(-best, axis=1))


def exact_seconds(
    vectors: npt.NDArray[np.float16], queries: Matrix, chunk: int = 1_000_000
) -> dict[str, float]:
    """Median seconds a query of NumPy and of IndexFlatIP on one thread; chunks bound memory."""
    taken: dict[str, list[float]] = {}
    for start in range(0, len(vectors), chunk):
        end = min(start + chunk, len(vectors))
        part = np.empty((end - start, vectors.shape[1]), np.float32)
        for at in range(start, end, BLOCK):
            part[at - start : at - start + BLOCK] = unit_vectors(vectors[at : min(at + BLOCK, end)])
        flat = faiss.IndexFlatIP(part.shape[1])
        flat.add(part)
        sides = {
            "exact, NumPy": lambda query, part=part: nearest(part, query, 20),
            "exact, faiss IndexFlatIP": lambda query, flat=flat: flat.search(query[None], 20),
        }
        for name, search in sides.items():
            seconds = []
            for query in queries:
                begun = time.perf_counter()
                search(query)
                seconds.append(time.perf_counter() - begun)
            taken.setdefault(name, []).append(statistics.median(seconds))
        del flat, part
    return {name: sum(parts) for name, parts in taken.items()}


def anonymous() -> int:
    """Bytes of this process that no file stands behind."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) * 1024
    return 0


def own_bytes(folder: Path) -> int:
    """What opening and asking an index adds to the memory of a process of its own."""
    code = (
        "import sys; from pathlib import Path; import numpy as np; from ann import anonymous;"
        "from msedge.search.approximate.index import ApproximateIndex; before = anonymous();"
        "index = ApproximateIndex.open(Path(sys.argv[1]));"
        "index.nearest(np.asarray(index.vectors[0], np.float32), 20); print(anonymous() - before)"
    )
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    here = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run(
        [sys.executable, "-c", code, folder], check=True, capture_output=True, text=True, env=here
    )
    return int(done.stdout)


def show_index(
    folder: Path, vectors: npt.NDArray[np.float16], known: Truth, kind: str | None, recall: float
) -> float:
    """Build one, search it, print what came of it; the median seconds of a sketch."""
    count, dim = vectors.shape
    zeros = np.zeros(BLOCK)  # no hubs
    blocks = (
        (np.arange(at, min(at + BLOCK, count), dtype=np.int64), vectors[at : at + BLOCK], zeros)
        for at in range(0, count, BLOCK)
    )
    model = Model("copies", "f" * 64, dim)
    about = build(folder, blocks, count=count, model=model, version=1, recall=recall, kind=kind)
    assert about is not None
    index = ApproximateIndex.open(folder)
    index.vectors.sum(dtype=np.float32)  # into the system's cache, as in a server that is in use
    own = own_bytes(folder)
    print(
        f"{about.kind} {dict(about.parameters)}: built in {about.seconds:.0f} s; recall@20 "
        f"{about.recall_measured:.4f} by its own sample ({recall} wanted)\n"
        f"  the index has {about.bytes / count:.0f} bytes a vector; a fresh process that searches "
        f"it has {own / count:.0f} of its own; mapped besides: {2 * dim + 8} of vectors and ids"
    )
    middle = 0.0
    for k in (20, 100, 500):
        seconds, right = [], []
        for query, similarities in zip(known.queries, known.similarities, strict=True):
            begun = time.perf_counter()
            _, found = index.nearest(query, k)
            seconds.append(time.perf_counter() - begun)
            right.append(np.mean(found >= similarities[min(k, count) - 1] - 1e-6))
        of_sketches, n = seconds[: known.sketches], known.sketches
        print(
            f"  first {k:3}: recall {np.mean(right[:n]):.4f} of sketches, {np.mean(right[n:]):.4f} "
            f"of photos; median {1000 * statistics.median(of_sketches):.2f} ms, p95 "
            f"{1000 * np.quantile(of_sketches, 0.95):.2f} ms"
        )
        middle = middle or statistics.median(of_sketches)
    return middle


def arguments() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--kind", choices=KINDS)
    parser.add_argument("--recall", type=float, default=0.99)
    parser.add_argument("--queries", type=int, default=400, help="sketches; half as many photos")
    parser.add_argument("--vectors", type=Path, help="a .safetensors of `msedge evaluate`")
    parser.add_argument("--data", type=Path, help="a folder of photos")
    parser.add_argument("--sketches", type=Path, help="a folder of sketches, with --data")
    parser.add_argument("--choices", action="store_true", help="every structure in turn")
    parser.add_argument("--folder", type=Path, help="where the files lie while it runs")
    return parser.parse_args()


def main() -> None:
    """Run it."""
    options = arguments()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        photos, sketches = real_vectors(options, folder)
        copier, rng = Copier(photos), np.random.default_rng(1)
        show_likeness(photos, copier)
        vectors = written(folder / "vectors.f16", copier, options.count, options.dim)
        asked = sketches[rng.permutation(len(sketches))[: options.queries]]
        queries = np.concatenate([asked, copier.copies(max(1, len(asked) // 2), rng)])
        print(
            f"{options.count:,} x {options.dim}, {len(asked)} sketches and "
            f"{len(queries) - len(asked)} photos as queries; load {os.getloadavg()[0]:.1f}"
        )
        known = truth(vectors, queries, len(asked))
        with threadpool_limits(1):
            before = faiss.omp_get_max_threads()
            faiss.omp_set_num_threads(1)
            exact = exact_seconds(vectors, asked[:TIMED_EXACTLY])
            faiss.omp_set_num_threads(before)
        kinds: Sequence[str | None] = KINDS if options.choices else [options.kind]
        for kind in kinds:
            middle = show_index(folder / "index", vectors, known, kind, options.recall)
            for name, seconds in exact.items():
                print(f"  {name}: {1000 * seconds:.1f} ms, ratio {seconds / middle:.0f}")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"peak of this process {peak:.1f} GB, mapped files included; load "
            f"{os.getloadavg()[0]:.1f}"
        )


if __name__ == "__main__":
    main()
