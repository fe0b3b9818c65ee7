"""Rank a gallery of photos for each sketch: exact, in bounded memory, the same on every machine.

A ranking is the gallery positions by falling score (see :mod:`~msedge.evaluation.scoring`), ties by
gallery order. Scores are exact, so that definition holds to the last bit for every chunk size,
thread count, BLAS and device. Tested in ``tests/evaluation/test_ranking.py``.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import local
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from msedge.blas_threads import one_blas_thread
from msedge.errors import ShapeError
from msedge.evaluation.filtering import (
    RankFilter,
    TooCoarseError,
    exact_ranks,
    float32_errors,
    tied_ranks,
)
from msedge.evaluation.hits import Hits
from msedge.evaluation.scoring import Metric, Scored, class_ids, scored

if TYPE_CHECKING:
    from msedge.evaluation.scoring import Array

Progress: TypeAlias = Callable[[int, int], None]
Integers: TypeAlias = npt.NDArray[np.int64]
Block: TypeAlias = tuple[slice, slice]
Result = TypeVar("Result")
Finish: TypeAlias = Callable[[Block, npt.NDArray[np.int32]], Result]

_BLOCK = 32
"""Queries that are sorted at a time: their scores stay in the cache."""
_SMALL = 1 << 20
"""Pairs up to which float64 throughout costs nothing worth saving."""


def map_hits(
    function: Callable[[Integers, Hits], Result],
    queries: Array,
    gallery: Array,
    query_labels: Array,
    gallery_labels: Array,
    *,
    metric: Metric = "cosine",
    handicaps: npt.NDArray[np.float64] | None = None,
    chunk: int = 256,
    rows: Integers | None = None,
    progress: Progress | None = None,
) -> Iterator[Result]:
    """Call a function with some queries of one class and their hits, until each had its turn.

    Inputs are checked at the call, before the first part is asked for. Beside the vectors and two
    float32 copies of them, each thread uses about ``chunk * M * 4`` bytes (float32) or three times
    as much (float64). The work runs on the GPU when ``gallery`` is a CUDA tensor, on the CPU
    otherwise, with equal results. On the CPU, from the first part to the last, or until the
    iterator is closed, the BLAS of the whole process is held to one thread.

    Args:
        function: Called with positions of queries ``(n,)`` and hits ``(n, R)``, in any thread, and
            at times twice with the same, of which one result counts: it should only compute.
        queries: Sketch vectors ``(Q, D)``; see :func:`~msedge.evaluation.scoring.scored`.
        gallery: Photo vectors ``(M, D)``, likewise.
        query_labels: Class ids ``(Q,)``, integers; each must occur in ``gallery_labels``.
        gallery_labels: Class ids ``(M,)``, integers.
        metric: ``cosine``, ``euclidean`` or ``hamming``.
        handicaps: Taken off the scores of each photo ``(M,)``; for ``cosine`` alone.
        chunk: Queries that a thread ranks at a time.
        rows: Positions ``(n,)`` of the only queries to rank, each once; without it, all. Every
            query is checked, so that those who share them out get the same errors.
        progress: Called with (queries ranked so far, of how many) after each chunk is ranked.

    Yields:
        What the function returned, class by class.

    Raises:
        ShapeError: An array has the wrong shape, type or range; the message names the first row.

    >>> import numpy as np
    >>> sketches, photos = np.eye(3), np.array([[0, 1, 0], [1, 0, 0], [1, 1, 1]])
    >>> def ranks(rows, hits):
    ...     return rows.tolist(), hits.ranks.tolist()
    >>> list(map_hits(ranks, sketches, photos, np.array([1, 0, 0]), np.array([0, 1, 0])))
    [([1, 2], [[1, 2], [1, 2]]), ([0], [[1]])]
    """
    device = gallery.device if getattr(gallery, "is_cuda", False) else None
    pair = scored(queries, gallery, metric, handicaps)
    asked = class_ids(query_labels, "query_labels", len(pair.queries))
    kept = class_ids(gallery_labels, "gallery_labels", len(pair.gallery))
    _refuse_absent(asked, kept)
    _positive(chunk, "chunk")
    work = _by_class(pair, asked, kept, chunk, _rows(rows, len(asked)))

    def finish(block: Block, ranks: npt.NDArray[np.int32]) -> Result:
        return function(work.order[block[0]], Hits(ranks, len(kept)))

    # As a generator this function would check nothing until its first part was asked for.
    def parts() -> Iterator[Result]:
        rank = _rank_on_cpu(work, finish) if device is None else _rank_on_cuda(work, finish, device)
        for blocks, results in zip(work.chunks, rank, strict=True):
            yield from results
            if progress is not None:
                progress(blocks[-1][0].stop, len(work.order))

    return parts()


def top_k(
    queries: Array, gallery: Array, k: int, *, metric: Metric = "cosine", chunk: int = 256
) -> tuple[npt.NDArray[np.float32], Integers]:
    """The first ``k`` photos of each query's ranking, the same as :func:`map_hits` has.

    Args:
        queries: Sketch vectors ``(Q, D)``; see :func:`~msedge.evaluation.scoring.scored`.
        gallery: Photo vectors ``(M, D)``, likewise.
        k: Photos to return for each query, 1 to M.
        metric: ``cosine``, ``euclidean`` or ``hamming``.
        chunk: Queries scored at a time.

    Returns:
        Scores ``(Q, k)``, float32, falling, and gallery positions ``(Q, k)``, int64. With
        ``cosine`` a score is the cosine similarity, in [-1, 1].

    Raises:
        ShapeError: An array has the wrong shape, type or range, or ``k`` exceeds the gallery.

    >>> similarity, positions = top_k(np.eye(2), np.array([[0, 2], [1, 1], [0, 5]]), k=2)
    >>> positions
    array([[1, 0],
           [0, 2]])
    """
    pair = scored(queries, gallery, metric)
    _positive(chunk, "chunk")
    _positive(k, "k")
    size = len(pair.gallery)
    if k > size:
        raise ShapeError(f"k is {k} but the gallery has {size} photos; ask for fewer")
    found = np.empty((len(pair.queries), k), np.float32)
    positions = np.empty((len(pair.queries), k), np.int64)
    for start in range(0, len(found), chunk):
        scores = pair.exact(slice(start, start + chunk))
        least = np.partition(scores, size - k, axis=1)[:, size - k]
        for row, (values, bound) in enumerate(zip(scores, least, strict=True), start):
            candidates = np.flatnonzero(values >= bound)  # in gallery order, as ties want it
            best = candidates[np.argsort(-values[candidates], kind="stable")[:k]]
            positions[row], found[row] = best, values[best]
    if metric == "cosine":
        np.clip(found, -1.0, 1.0, out=found)  # rounding to the grid can lengthen a vector a little
    return found, positions


def _refuse_absent(query_labels: Integers, gallery_labels: Integers) -> None:
    """Refuse queries that nothing in the gallery answers.

    Raises:
        ShapeError: A query's class has no photo; names the first row.
    """
    absent = np.flatnonzero(~np.isin(query_labels, gallery_labels))
    if absent.size:
        row = int(absent[0])
        raise ShapeError(
            f"query_labels row {row}: class {query_labels[row]} has no photo in the gallery; "
            "drop such queries or add photos of their class"
        )


def _rows(rows: Integers | None, queries: int) -> Integers:
    """The queries to rank: all of them where none are named.

    Raises:
        ShapeError: One of them does not exist, or is named twice.
    """
    if rows is None:
        return np.arange(queries)
    named = np.asarray(rows)
    if named.ndim != 1 or named.dtype.kind not in "iu":
        raise ShapeError(
            f"rows must be a 1-D array of integer positions, got {named.dtype} {named.shape}"
        )
    beyond = named[(named < 0) | (named >= queries)]
    if beyond.size:
        raise ShapeError(f"rows names query {beyond[0]}, expected 0 to {queries - 1}")
    if len(np.unique(named)) != len(named):
        raise ShapeError("rows names a query twice; name each once")
    return named.astype(np.int64)


def _positive(value: int, name: str) -> None:
    """Refuse a count below 1.

    Raises:
        ShapeError: It is.
    """
    if value < 1:
        raise ShapeError(f"{name} must be at least 1, got {value}")


@dataclass(frozen=True)
class _Work:
    """Both sets in order of class, and within one in the order given.

    Attributes:
        pair: The vectors so ordered.
        order: Which query stands in each row.
        position: Which photo stands in each column.
        chunks: Rows to score together; in each, blocks of rows of one class with the columns of
            its photos.
    """

    pair: Scored
    order: Integers
    position: Integers
    chunks: list[list[Block]]

    @property
    def most_rows(self) -> int:
        """Rows of the largest chunk."""
        return max(int(blocks[-1][0].stop - blocks[0][0].start) for blocks in self.chunks)


def _by_class(pair: Scored, asked: Integers, kept: Integers, chunk: int, rows: Integers) -> _Work:
    order = rows[np.argsort(asked[rows], kind="stable")]
    position = np.argsort(kept, kind="stable")
    labels, columns = asked[order], kept[position]
    offset = None if pair.offset is None else pair.offset[position]
    ordered = Scored(pair.queries[order], pair.gallery[position], offset, pair.metric)
    ends = np.append(np.flatnonzero(np.diff(labels)) + 1, len(labels))
    chunks = []
    for start in range(0, len(labels), chunk):
        stop = min(start + chunk, len(labels))
        blocks = []
        while start < stop:
            end = min(start + _BLOCK, stop, ends[np.searchsorted(ends, start, side="right")])
            first = np.searchsorted(columns, labels[start], side="left")
            last = np.searchsorted(columns, labels[start], side="right")
            blocks.append((slice(start, int(end)), slice(int(first), int(last))))
            start = int(end)
        chunks.append(blocks)
    return _Work(ordered, order, position, chunks)


def _rank_on_cpu(work: _Work, finish: Finish[Result]) -> Iterator[list[Result]]:
    """Each thread takes a chunk from the product to the end, with a BLAS of one thread.

    A BLAS with threads of its own would leave them spinning on the cores that sort.
    """
    pair = work.pair
    small = len(pair.queries) * len(pair.gallery) <= _SMALL
    # Codes are full of ties, which float64 settles best.
    errors = () if small or pair.metric == "hamming" else float32_errors(pair.gallery.shape[1])
    own, too_small = local(), set[float]()  # a set, since two threads may find out the same

    def one(blocks: list[Block]) -> list[Result]:
        for error in errors:
            if error in too_small:
                continue
            if getattr(own, "error", None) != error:
                own.error, own.filter = error, RankFilter(pair, work.position, error, _BLOCK)
                own.room = np.empty((work.most_rows, len(pair.gallery)), np.float32)
            try:
                return _filtered(pair, blocks, own.filter, own.room, finish)
            except TooCoarseError:
                too_small.add(error)
        return _exactly(work, blocks, finish)

    threads = _threads()
    with one_blas_thread, ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[list[Result]]] = deque()
        for blocks in work.chunks:
            waiting.append(pool.submit(one, blocks))
            if len(waiting) > 2 * threads:  # a slow reader must not let results pile up
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _filtered(
    pair: Scored,
    blocks: list[Block],
    rank_filter: RankFilter,
    room: npt.NDArray[np.float32],
    finish: Finish[Result],
) -> list[Result]:
    """One chunk through float32 scores."""
    first = blocks[0][0].start
    asked = pair.queries[first : blocks[-1][0].stop]
    scores = np.matmul(asked, pair.gallery.T, out=room[: len(asked)])
    if pair.offset is not None:
        scores += pair.offset.astype(np.float32)
    done = []
    for rows, relevant in blocks:
        part = scores[rows.start - first : rows.stop - first]
        done.append(finish((rows, relevant), rank_filter.ranks(part, relevant, rows.start)))
    return done


def _exactly(work: _Work, blocks: list[Block], finish: Finish[Result]) -> list[Result]:
    """One chunk in exact arithmetic throughout."""
    pair, first = work.pair, blocks[0][0].start
    asked = slice(first, blocks[-1][0].stop)
    scores: npt.NDArray[Any]
    rank: Callable[[npt.NDArray[Any], slice, Integers], npt.NDArray[np.int32]]
    if pair.metric == "hamming":
        # Products of codes are whole numbers of at most D: exact in float32 already.
        whole = np.int16 if pair.queries.shape[1] < 2**15 else np.int32
        scores, rank = (pair.queries[asked] @ pair.gallery.T).astype(whole), tied_ranks
    else:
        scores, rank = pair.exact(asked), exact_ranks
    return [
        finish(
            (rows, relevant),
            rank(scores[rows.start - first : rows.stop - first], relevant, work.position),
        )
        for rows, relevant in blocks
    ]


def _threads() -> int:
    """The cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def _rank_on_cuda(work: _Work, finish: Finish[Result], device: Any) -> Iterator[list[Result]]:
    """The same ranks on a GPU: exact scores, a stable sort, in float64."""
    import torch

    # In gallery order again: a stable sort then breaks ties as the definition asks.
    columns = np.argsort(work.position)
    gallery = torch.from_numpy(work.pair.gallery[columns]).to(device, torch.float64)
    offset = work.pair.offset
    shift = None if offset is None else torch.from_numpy(offset[columns]).to(device)
    column = torch.from_numpy(columns).to(device)
    for blocks in work.chunks:
        found = []
        for asked, relevant in blocks:
            part = torch.from_numpy(work.pair.queries[asked]).to(device, torch.float64) @ gallery.T
            if shift is not None:
                part += shift
            order = column[part.sort(dim=1, descending=True, stable=True).indices]
            hit = (order >= relevant.start) & (order < relevant.stop)
            ranks = hit.nonzero()[:, 1].view(len(part), -1) + 1
            found.append(finish((asked, relevant), ranks.cpu().numpy().astype(np.int32)))
        yield found
