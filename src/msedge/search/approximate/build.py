"""Building an index beside a gallery, while others search the one that is there.

Vectors go to disk as they come; in memory are the sample that the structure is trained on, the
structure, and a block of vectors. Then the least effort with which it finds what is wanted is
measured against exact search.

The structures, of a million vectors of 512 numbers, with sketches as queries, on one core
(``benchmarks/ann.py``, ``--choices`` for every structure):

* ``ivf-pq`` (lists, 4 bits for every two numbers, of what the list's centre leaves over): 145 bytes
  a vector, 0.9986 of the first 20 in 2.0 ms, ranking 800 vectors again: the usual one, since memory
  is what runs out first;
* ``ivf-sq`` (lists, 8 bits a number): 525 bytes; its candidates are so nearly in order that few
  need be ranked again: 0.991 in 1.2 ms, and recalls that ``ivf-pq`` reaches only by thousands;
* ``hnsw`` (a graph over 8 bits a number, by arithmetic 655 bytes): for too few photos to train on.

Lists: Jegou, Douze, Schmid, Product Quantization for Nearest Neighbor Search (PAMI 2011). Four
bits: Andre, Kermarrec, Le Scouarnec, Cache locality is not enough (VLDB 2015). Graph: Malkov,
Yashunin, Efficient and robust approximate nearest neighbor search using hierarchical navigable
small world graphs (PAMI 2020). Faiss: Douze et al. (2024), arXiv:2401.08281. Tested in
``tests/search/approximate/test_build.py`` and ``test_index.py``.
"""

from __future__ import annotations

import math
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import faiss as typed_faiss
import numpy as np
from faiss.contrib.exhaustive_search import knn_ground_truth

from msedge.blas_threads import one_blas_thread
from msedge.data.images import one_line
from msedge.errors import ConfigError, DataError, ShapeError
from msedge.models.bank import HUB_SHARE
from msedge.search.approximate.index import (
    COARSE_BEAM,
    GRAPH_OF_CENTRES_FROM,
    MEASURED_AT,
    NAME,
    STORED_HUBNESS,
    STORED_ID,
    About,
    ApproximateIndex,
    Kind,
    Vectors,
    mapped,
    one_thread,
    read_content,
    widened,
    write_about,
)
from msedge.search.encoder import Embeddings
from msedge.search.photo import STORED_VECTOR, Ids, Reals
from msedge.search.ranking import aim_for, blends, unit_vectors
from msedge.search.stores.reports import Model, Watched

if sys.platform != "win32":
    import fcntl

faiss: Any = typed_faiss  # the stubs that come with it do not know what it can do

_METRIC = faiss.METRIC_INNER_PRODUCT
_GRAPH_BELOW = 50_000  # photos; a graph of so many is built in seconds
_PRECISE_FROM = 0.997  # wanted recall
_FEW_DIMS = 32  # two numbers of so few, in 4 bits, say too little of a vector
_MOST_LISTS = 65_536
_ROWS_A_LIST = 50  # that its centre is trained on
_ROWS_OF_A_GRAPH = 65_536  # that its 8 bits are trained on
_ROUNDS = 8  # of k-means; more change recall by less than a thousandth
_BUILDING_BEAM = 100
_CENTRES = 16  # that 4 bits tell apart
_CODE_ROWS = 16_384  # that codes are trained on; faiss takes 4,096 of them
_BLOCK = 16_384  # rows that are filled in, or compared exactly, at a time
_OF_LISTS, _OF_GRAPH = {"width": 8, "depth": 100}, {"width": 64, "depth": 40}
_LEAST = {"hnsw": _OF_GRAPH, "ivf-sq": _OF_LISTS, "ivf-pq": _OF_LISTS}
_MOST_DEPTH, _WIDEST_WALK = 6400, 2048
_ROUNDING = 1e-6
_LOCK = "lock"
_OURS = re.compile(r"(ids|vectors|structure|hubness)-[0-9a-f]{8}|\.about-[0-9a-f]{8}\.json")

Told = Callable[[int, int], None]  # what is done and what there is in all; raises StoppedError


def build(
    folder: Path,
    blocks: Iterable[tuple[Ids, Vectors, Reals]],
    *,
    count: int,
    model: Model,
    version: int,
    recall: float,
    gallery: str | None = None,
    hubs: str = "",
    kind: Kind | None = None,
    watched: Watched | None = None,
    queries: Embeddings | None = None,
) -> About:
    """Build the index of a gallery in place of the one in ``folder``, which stays until the end.

    Args:
        folder: where it lies; made where it is missing.
        blocks: ids ``(n,)`` that rise through all blocks, vectors ``(n, dim)``, float16, and
            hubness ``(n,)``.
        count: about how many there are, to tell how far it is.
        model: that made them.
        version: of the gallery, read before them.
        recall: share of the true first 20 photos that a search is to find, in (0, 1). Where it
            cannot be had, the best there is stands in what comes back, and is told.
        gallery: its identity, and its state.
        hubs: whose drawings the hubness is of; empty where it does not count.
        kind: the structure; None to choose by size.
        watched: told how far it is.
        queries: unit vectors ``(Q, dim)`` as people will ask; None for blends of photos.

    Raises:
        DataError: the folder cannot be written, another process builds into it, or ids fall.
        ShapeError: vectors are not float16 ``(n, dim)`` and finite.
        ConfigError: no such kind or recall.
        StoppedError: it was asked to stop.
    """
    plan_for(count, model.dim, recall=recall, kind=kind)  # what is wrong is said before the work
    begun = time.monotonic()
    token = secrets.token_hex(4)
    kinds = ("ids", "vectors", "structure", *["hubness"] * bool(hubs))
    files = {what: folder / f"{what}-{token}" for what in kinds}
    watched = watched or Watched()
    with sole_builder(folder):
        try:
            sweep(folder)
            told = _begun(watched, "writing vectors", count)
            rows = _write_vectors(files, blocks, model.dim, told)
            kind, lists, why = plan_for(rows, model.dim, recall=recall, kind=kind)
            watched.progress(f"{kind}: {why}")
            vectors = mapped(files["vectors"], STORED_VECTOR, (rows, model.dim))
            hubness = None
            if hubs:
                hubness = mapped(files["hubness"], STORED_HUBNESS, (rows,))
            filled = _filled(kind, lists, vectors, hubness, watched)
            structure = _written(files["structure"], filled)
            about = About(
                gallery=gallery,
                version=version,
                fingerprint=model.fingerprint,
                dim=model.dim,
                count=rows,
                kind=kind,
                parameters={"lists": lists, **_LEAST[kind]},
                recall_wanted=recall,
                recall_measured=1.0,
                sample=0,
                seconds=0.0,
                bytes=files["structure"].stat().st_size,
                faiss=faiss.__version__,
                hubs=hubs,
            )
            ids = mapped(files["ids"], STORED_ID, (rows,))
            near = np.zeros(rows) if hubness is None else hubness
            index = ApproximateIndex(about, ids, vectors, near, structure)
            about = _tuned(index, queries, _begun(watched, "measuring"))
            watched.progress("measuring", rows, rows)
            about = replace(about, seconds=round(time.monotonic() - begun, 3))
            write_about(folder, about, files)
        except OSError as error:
            raise DataError(
                f"cannot write the approximate index {one_line(folder)} "
                f"({error.strerror or error}): make room; what stood there is untouched"
            ) from error
        finally:
            sweep(folder)
    if about.recall_measured < recall:
        watched.progress(f"recall {about.recall_measured:.4f} is less than the {recall:g} wanted")
    return about


def plan_for(
    count: int, dim: int, *, recall: float, kind: Kind | None = None
) -> tuple[Kind, int, str]:
    """The structure for so many vectors, its lists (a graph has none), and why.

    Example:
        >>> plan_for(1_000_000, 512, recall=0.99)
        ('ivf-pq', 2048, 'the smallest, and quick')
    """
    if not 0 < recall < 1:
        raise ConfigError(f"a recall of {recall:g}: expected a share below 1, such as 0.99")
    if kind is not None:
        if kind not in get_args(Kind):
            raise ConfigError(f"no kind {kind!r}: expected {', '.join(get_args(Kind))}")
        why = "asked for"
    elif count < _GRAPH_BELOW:
        kind, why = "hnsw", f"fewer than {_GRAPH_BELOW:,} photos: too few to train lists on"
    elif dim < _FEW_DIMS:
        kind, why = "ivf-sq", f"fewer than {_FEW_DIMS} numbers a vector: 8 bits each are not many"
    elif recall >= _PRECISE_FROM:
        kind = "ivf-sq"
        why = f"a recall of {recall:g}: 8 bits a number leave the order nearly exact"
    else:
        kind, why = "ivf-pq", "the smallest, and quick"
    # About two a square root of the photos, a power of two.
    wanted = 2 ** round(math.log2(max(1.0, 2 * math.sqrt(count))))
    lists = 0 if kind == "hnsw" else max(1, min(wanted, count // 8, _MOST_LISTS))
    return kind, lists, why


@contextmanager
def sole_builder(folder: Path) -> Iterator[None]:
    """Keep others from building into a folder, which is made; DataError where one does."""
    if folder.is_symlink():  # nothing of ours is one, and it may lead to somebody's own files
        raise DataError(
            f"{one_line(folder)} is a link, and an index is built into no other folder: remove it"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise DataError(
            f"cannot write the approximate index {one_line(folder)} ({error.strerror}): keep the "
            "gallery in a folder that can be written to"
        ) from error
    try:
        if sys.platform != "win32":  # the system lets go of it, however its holder ends
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise DataError(f"another process is building {one_line(folder)}: wait for it") from error
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """As the sole builder, remove files of earlier and of killed builds, and no other's."""
    try:
        kept = {str(file["name"]) for file in read_content(folder)["files"].values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        kept = set()  # there is none that could be opened
    for path in folder.iterdir():
        if path.name not in kept and _OURS.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


def remove_index(folder: Path) -> None:
    """As the sole builder, remove an index, and its folder unless that holds something else."""
    (folder / NAME).unlink(missing_ok=True)
    sweep(folder)
    (folder / _LOCK).unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def _begun(watched: Watched, step: str, total: int = 0) -> Told:
    watched.progress(step)
    return lambda done, of: watched.progress(step, done, max(done, total or of))


def _write_vectors(
    files: Mapping[str, Path],
    blocks: Iterable[tuple[Ids, Vectors, Reals]],
    dim: int,
    told: Told,
) -> int:
    """Write what blocks hold to files; gives how many rows there were."""
    rows, last = 0, np.empty(0, np.int64)
    with ExitStack() as opened:
        written = {
            what: opened.enter_context(path.open("wb"))
            for what, path in files.items()
            if what != "structure"
        }
        for numbers, stored, hubness in blocks:
            told(rows, rows)
            if stored.shape != (len(numbers), dim) or stored.dtype != np.float16:
                came = f"{len(numbers)} ids came with {stored.dtype} vectors {stored.shape}"
                raise ShapeError(f"{came}: expected float16 ({len(numbers)}, {dim})")
            if not np.isfinite(stored).all():
                raise ShapeError("vectors that are not finite: embed these photos again")
            risen = np.concatenate([last, numbers])
            if len(fallen := np.flatnonzero(risen[1:] <= risen[:-1])):
                before, after = risen[fallen[0] :][:2]
                raise DataError(f"ids of photos have to rise, after {before} came {after}")
            written["ids"].write(numbers.astype(STORED_ID).tobytes())
            written["vectors"].write(stored.astype(STORED_VECTOR).tobytes())
            if "hubness" in written:
                written["hubness"].write(hubness.astype(STORED_HUBNESS).tobytes())
            rows, last = rows + len(numbers), risen[-1:]
        for file in written.values():
            file.flush()
            os.fsync(file.fileno())
    told(rows, rows)
    return rows


def _written(path: Path, structure: Any) -> Any:
    """A structure as it is found on disk."""
    try:
        faiss.write_index(structure, str(path))
        with path.open("rb") as written:
            os.fsync(written.fileno())
        return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:  # faiss says no more than that it could not
        raise OSError(None, "the disk took less than was written") from error


def _filled(
    kind: Kind, lists: int, vectors: Vectors, hubness: Reals | None, watched: Watched
) -> Any:
    """A structure that is trained on a sample, with all vectors in it, and their hubness."""
    told = _begun(watched, "training")
    rng, count = np.random.default_rng(len(vectors)), len(vectors)
    training = min(count, _ROWS_A_LIST * lists or _ROWS_OF_A_GRAPH)
    chosen = np.sort(rng.choice(count, training, replace=False, shuffle=False))
    near = None if hubness is None else hubness[chosen]
    structure = _trained(kind, lists, widened(unit_vectors(vectors[chosen]), near), told)
    for block in _blocks(vectors, hubness, _begun(watched, "filling")):
        structure.add(block)
    return structure


def _blocks(vectors: Vectors, hubness: Reals | None, told: Told) -> Iterator[Embeddings]:
    """Vectors as the structure holds them."""
    for start in range(0, len(vectors), _BLOCK):
        told(start, len(vectors))
        rows = slice(start, start + _BLOCK)
        yield widened(unit_vectors(vectors[rows]), None if hubness is None else hubness[rows])
    told(len(vectors), len(vectors))


def _trained(kind: Kind, lists: int, sample: Embeddings, told: Told) -> Any:
    """An empty structure, trained on unit vectors ``(n, width)``."""
    width = sample.shape[1]
    if len(sample) < max(_CENTRES, lists):  # over again; zeros where there is nothing
        sample = np.resize(sample, (max(_CENTRES, lists), width))
    if kind == "hnsw":
        structure = faiss.index_factory(width, "HNSW16,SQ8", _METRIC)
        structure.hnsw.efConstruction = _BUILDING_BEAM
        structure.train(sample)
        return structure
    # What the centre leaves over (r) needs fewer bits: at equal size and time, recall@20 of
    # sketches rises from 0.77 to 0.98.
    code = "SQ8" if kind == "ivf-sq" else f"PQ{width // 2}x4fsr"
    of_centres = "_HNSW32" if lists >= GRAPH_OF_CENTRES_FROM else ""
    structure = faiss.index_factory(width, f"IVF{lists}{of_centres},{code}", _METRIC)
    coarse = faiss.downcast_index(structure.quantizer)
    if of_centres:
        coarse.hnsw.efConstruction, coarse.hnsw.efSearch = _BUILDING_BEAM, COARSE_BEAM
    coarse.add(_spherical_means(sample, lists, told))  # `train` leaves them as they are
    if kind == "ivf-sq":
        structure.by_residual = False
    else:
        structure.pq.cp.min_points_per_centroid = 1  # or it prints warnings
    # Thousands of tiny steps: two threads that wait for each other take longer than one.
    with one_thread():
        structure.train(sample[:: max(1, len(sample) // _CODE_ROWS)])
    told(_ROUNDS, _ROUNDS)
    return structure


def _spherical_means(sample: Embeddings, lists: int, told: Told) -> Any:
    """The centres ``(lists, width)``, a round at a time so that it can be told and ended."""
    width, centres = sample.shape[1], None
    limits = {"min_points_per_centroid": 1, "max_points_per_centroid": len(sample)}
    for done in range(_ROUNDS):
        told(done, _ROUNDS)
        means = faiss.Kmeans(width, lists, niter=1, spherical=True, seed=done + 1, **limits)
        means.train(sample, init_centroids=centres)
        centres = means.centroids
    return centres


def _tuned(index: ApproximateIndex, queries: Embeddings | None, told: Told) -> About:
    """What an index says with the effort that reaches the recall wanted, or the best there is."""
    now, count = index.about, len(index.vectors)
    given = blends(index.vectors, np.random.default_rng(count)) if queries is None else queries
    asked = np.asarray(given, np.float32)
    if not len(asked) or not count:
        return now
    # The score of the 20th photo of each query (or of the last), exactly.
    share = HUB_SHARE if now.hubs else 0.0
    wanted, hubness = min(MEASURED_AT, count), index.hubness if now.hubs else None
    blocks = _blocks(index.vectors, hubness, told)
    whole = widened(asked, np.full(len(asked), -share) if now.hubs else None)
    nearest, _ = knn_ground_truth(whole, blocks, wanted, _METRIC, ngpu=0)  # type: ignore[no-untyped-call]
    least = nearest[:, -1:] - _ROUNDING

    def measured(effort: Mapping[str, int]) -> About:
        tried = replace(index, about=replace(index.about, parameters=effort))
        with one_blas_thread:
            found = [tried.nearest(query, wanted, hub_share=share) for query in asked]
        scores = [near - share * index.hubness[rows] for rows, near in found]
        recall = float(np.mean(np.stack(scores) >= least))
        return replace(tried.about, recall_measured=recall, sample=len(asked))

    widest = min(index.full_width, _WIDEST_WALK) if index.is_graph else index.full_width
    deepest = min(_MOST_DEPTH, 2 * widest + 20 * now.parameters["depth"], count)
    most = {"width": widest, "depth": deepest}
    now = measured(now.parameters)
    while now.recall_measured < aim_for(now.recall_wanted):
        told(count, count)
        effort = now.parameters
        doubled = [{**effort, what: 2 * effort[what]} for what in most if effort[what] < most[what]]
        if not doubled:
            break
        now = max(map(measured, doubled), key=lambda about: about.recall_measured)
    return now
