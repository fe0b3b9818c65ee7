"""Rank a gallery of photos for each sketch: exact, in bounded memory, the same on every machine.

A ranking is the gallery positions by falling cosine similarity, ties by gallery order. Two things
make that definition hold to the last bit, for every chunk size, thread count, BLAS and device:

* **The product is exact.** Unit vectors are rounded to a grid of 2**-26 (finer than float32 is
  around 1), so a product of two entries is a whole multiple of 2**-52, and by Cauchy-Schwarz every
  partial sum stays below 2**53 such units: float64 adds them without rounding, in any order.
  Each similarity is then rounded once, to float32. Equal vectors therefore get equal similarity,
  which a float32 product does not promise (its last bits depend on the column's place in a block).
* **The order is of unique keys.** Similarity and gallery position are packed into one int64, so
  no sort needs to be stable and ``topk`` cannot choose among ties.

Tested in ``tests/evaluation/test_ranking.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from msedge.errors import ShapeError

Array: TypeAlias = npt.NDArray[Any] | torch.Tensor
Progress: TypeAlias = Callable[[int, int], None]

_GRID = 2.0**26


def rank_relevance(
    queries: Array,
    gallery: Array,
    query_labels: Array,
    gallery_labels: Array,
    *,
    chunk: int = 256,
    progress: Progress | None = None,
) -> Iterator[npt.NDArray[np.bool_]]:
    """Yield, for each chunk of queries, which ranks hold a photo of the query's class.

    Inputs are checked at the call, before the first chunk is asked for. At any time about
    ``chunk * M * 30`` bytes are in use beside the vectors. The work runs on the GPU when
    ``gallery`` is a CUDA tensor, on the CPU otherwise, with equal results.

    Args:
        queries: Sketch vectors ``(Q, D)``, of any length but zero; normalised here.
        gallery: Photo vectors ``(M, D)``, likewise.
        query_labels: Class ids ``(Q,)``, integers; each must occur in ``gallery_labels``.
        gallery_labels: Class ids ``(M,)``, integers.
        chunk: Queries ranked at a time.
        progress: Called with (queries ranked so far, Q) after each chunk is ranked.

    Yields:
        Relevance ``(chunk, M)``, bool; column 0 is the best-ranked photo. The last may be shorter.

    Raises:
        ShapeError: An array has the wrong shape, type or range; the message names the first row.

    >>> import numpy as np
    >>> sketches, photos = np.eye(3), np.array([[0, 1, 0], [1, 0, 0], [1, 1, 1]])
    >>> next(rank_relevance(sketches, photos, np.array([1, 0, 0]), np.array([0, 1, 2])))
    array([[ True, False, False],
           [ True, False, False],
           [False,  True, False]])
    """
    asked, kept = _unit_pair(queries, gallery)
    asked_ids = _labels(query_labels, "query_labels", len(asked))
    kept_ids = _labels(gallery_labels, "gallery_labels", len(kept))
    absent = np.flatnonzero(~np.isin(asked_ids, kept_ids))
    if absent.size:
        row = int(absent[0])
        raise ShapeError(
            f"query_labels row {row}: class {asked_ids[row]} has no photo in the gallery; "
            "drop such queries or add photos of their class"
        )
    _positive(chunk, "chunk")

    # As a generator this function would check nothing until its first chunk was asked for.
    def chunks() -> Iterator[npt.NDArray[np.bool_]]:
        for start in range(0, len(asked), chunk):
            stop = min(start + chunk, len(asked))
            ranked = _rank(_similarity(asked[start:stop], kept))
            relevance: npt.NDArray[np.bool_] = kept_ids[ranked] == asked_ids[start:stop, None]
            if progress is not None:
                progress(stop, len(asked))
            yield relevance

    return chunks()


def top_k(
    queries: Array, gallery: Array, k: int, *, chunk: int = 256
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """The first ``k`` photos of each query's ranking.

    The same ranking as :func:`rank_relevance`, without sorting all of it.

    Args:
        queries: Sketch vectors ``(Q, D)``, of any length but zero; normalised here.
        gallery: Photo vectors ``(M, D)``, likewise.
        k: Photos to return for each query, 1 to M.
        chunk: Queries ranked at a time.

    Returns:
        Cosine similarity ``(Q, k)``, float32 in [-1, 1], falling, and gallery positions
        ``(Q, k)``, int64.

    Raises:
        ShapeError: An array has the wrong shape, type or range, or ``k`` exceeds the gallery.

    >>> import numpy as np
    >>> similarity, positions = top_k(np.eye(2), np.array([[0, 2], [1, 1], [0, 5]]), k=2)
    >>> positions
    array([[1, 0],
           [0, 2]])
    """
    asked, kept = _unit_pair(queries, gallery)
    _positive(chunk, "chunk")
    _positive(k, "k")
    if k > len(kept):
        raise ShapeError(f"k is {k} but the gallery has {len(kept)} photos; ask for fewer")
    found = np.empty((len(asked), k), np.float32)
    positions = np.empty((len(asked), k), np.int64)
    for start in range(0, len(asked), chunk):
        part = _similarity(asked[start : start + chunk], kept)
        best = _keys(part).topk(k, dim=1).indices
        found[start : start + chunk] = part.gather(1, best).cpu().numpy()
        positions[start : start + chunk] = best.cpu().numpy()
    return found, positions


def _similarity(queries: torch.Tensor, gallery: torch.Tensor) -> torch.Tensor:
    """Cosine similarity ``(Q, M)`` float32 of vectors on the grid: exact, then rounded once."""
    return (queries @ gallery.T).clamp_(-1.0, 1.0).float()


def _keys(similarity: torch.Tensor) -> torch.Tensor:
    """Unique int64 keys ``(Q, M)``: greater means earlier in the ranking.

    The high half is the similarity's bits, reordered so that they compare as whole numbers do;
    the low half counts the gallery backwards.
    """
    # Adding zero turns -0.0, which some BLAS return, into the 0.0 that it ties with.
    bits = (similarity + 0.0).view(torch.int32)
    ordered = torch.where(bits >= 0, bits, bits ^ 0x7FFFFFFF).long()
    size = similarity.shape[1]
    backwards = torch.arange(size - 1, -1, -1, dtype=torch.int64, device=similarity.device)
    return ordered.mul_(1 << 32).add_(backwards)


def _rank(similarity: torch.Tensor) -> npt.NDArray[np.int64]:
    """Gallery positions ``(Q, M)`` in ranked order."""
    keys = _keys(similarity)
    if keys.is_cuda:
        rising = keys.sort(dim=1).values.cpu().numpy()
    else:
        # NumPy sorts integers with vector instructions, several times faster than torch does.
        rising = keys.numpy()
        rising.sort(axis=1)
    positions: npt.NDArray[np.int64] = (similarity.shape[1] - 1) - (rising[:, ::-1] & 0xFFFFFFFF)
    return positions


def _unit_pair(queries: Array, gallery: Array) -> tuple[torch.Tensor, torch.Tensor]:
    """Both sets checked, normalised, on the grid and on the device that will do the work."""
    asked, kept = _unit(queries, "queries"), _unit(gallery, "gallery")
    if asked.shape[1] != kept.shape[1]:
        raise ShapeError(
            f"queries have {asked.shape[1]} dimensions but gallery has {kept.shape[1]}; "
            "both must come from the same network"
        )
    on_gpu = isinstance(gallery, torch.Tensor) and gallery.is_cuda
    device = gallery.device if on_gpu else torch.device("cpu")
    return torch.from_numpy(asked).to(device), torch.from_numpy(kept).to(device)


def _unit(vectors: Array, name: str) -> npt.NDArray[np.float64]:
    """Vectors ``(N, D)`` of length 1, rounded to the grid on which products are exact."""
    values = _plain(vectors)
    if values.ndim != 2 or 0 in values.shape:
        raise ShapeError(f"{name} must be a non-empty (N, D) array, got shape {values.shape}")
    if values.dtype.kind not in "fiu":
        raise ShapeError(f"{name} must hold real numbers, got {values.dtype}")
    # Row by row over contiguous memory, so that a row's result depends on that row alone.
    rows = np.ascontiguousarray(values, dtype=np.float64)
    unusable = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if unusable.size:
        raise ShapeError(
            f"{name} row {unusable[0]} holds NaN or infinity; remove it or encode anew"
        )
    largest = np.abs(rows).max(axis=1, keepdims=True)
    zero = np.flatnonzero(largest == 0)
    if zero.size:
        raise ShapeError(f"{name} row {zero[0]} is all zeros and has no direction; remove it")
    rows = rows / largest  # keeps the squares below from overflowing or vanishing
    rows /= np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    grid: npt.NDArray[np.float64] = np.rint(rows * _GRID) / _GRID
    return grid


def _labels(labels: Array, name: str, count: int) -> npt.NDArray[np.int64]:
    """Class ids ``(count,)`` as int64."""
    values = _plain(labels)
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise ShapeError(
            f"{name} must be a 1-D array of integer ids, got {values.dtype} {values.shape}"
        )
    if len(values) != count:
        raise ShapeError(f"{name} has {len(values)} ids for {count} vectors; give one id a vector")
    return values.astype(np.int64)


def _plain(array: Array) -> npt.NDArray[Any]:
    """A tensor or array as NumPy on the CPU; bfloat16, which NumPy lacks, becomes float32."""
    if isinstance(array, torch.Tensor):
        array = array.detach().cpu()
        return (array.float() if array.dtype == torch.bfloat16 else array).numpy()
    return np.asarray(array)


def _positive(value: int, name: str) -> None:
    if value < 1:
        raise ShapeError(f"{name} must be at least 1, got {value}")
