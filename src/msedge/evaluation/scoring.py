"""Two sets of vectors made comparable: checked, and put where nearness is exact arithmetic.

Whatever the measure, nearness becomes one score, ``q . g + offset``, larger for nearer:

* ``cosine``: vectors of length 1.
* ``euclidean``: ``q . g - |g|^2 / 2``, which falls as the distance rises.
* ``hamming``: codes of -1 and 1, whose product falls by 2 for each bit that differs.

With ``cosine`` photos may have handicaps, which are taken off: ``q . g - handicap``.

Entries are rounded to float32 and to a grid of 2**-25 of the largest length. A product of two
entries is then a whole multiple of 2**-50, and by Cauchy-Schwarz every partial sum stays below
2**51 such units: float64 adds them without rounding, in any order. So a score in float64 is exact,
the same for every chunk, thread count, BLAS and device, and equal vectors score equal. Tested in
``tests/evaluation/test_scoring.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from msedge.errors import ConfigError, ShapeError

if TYPE_CHECKING:
    import torch

    Array: TypeAlias = npt.NDArray[Any] | torch.Tensor

Metric = Literal["cosine", "euclidean", "hamming"]
METRICS: tuple[Metric, ...] = get_args(Metric)

_GRID = np.float64(2.0**25)
_TINY = 1e-200
"""Squares of lengths between this and its inverse neither overflow nor vanish."""
_OUTLIER = 2.0**16
"""Times the median length, up to which the grid is fine enough: 2**-9 of that length."""
_ROWS = 512
"""Vectors prepared at a time: their float64 copies stay in the cache, and never are a whole set."""


@dataclass(frozen=True)
class Scored:
    """Two sets between which a score in float64 is exact; made by :func:`scored`.

    Attributes:
        queries: ``(Q, D)`` float32, on the grid.
        gallery: ``(M, D)`` float32, likewise.
        offset: ``(M,)`` float64, added to the scores of a photo; None for none.
        metric: What the score measures.
    """

    queries: npt.NDArray[np.float32]
    gallery: npt.NDArray[np.float32]
    offset: npt.NDArray[np.float64] | None
    metric: Metric

    def exact(
        self,
        rows: slice | npt.NDArray[np.integer[Any]],
        columns: slice | npt.NDArray[np.integer[Any]] = slice(None),
    ) -> npt.NDArray[np.float64]:
        """Scores of some queries with some photos, ``(rows, columns)``; larger is nearer."""
        asked, kept = self.queries[rows].astype(np.float64), self.gallery[columns]
        scores = np.empty((len(asked), len(kept)))
        for start in range(0, len(kept), _ROWS):  # never the whole gallery in float64
            part = kept[start : start + _ROWS].astype(np.float64)
            np.matmul(asked, part.T, out=scores[:, start : start + _ROWS])
        if self.offset is not None:
            scores += self.offset[columns]
        return scores

    def exact_row(self, row: int, columns: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.float64]:
        """Scores of one query with a few photos, ``(columns,)``."""
        few = self.gallery.take(columns, axis=0).astype(np.float64)
        scores: npt.NDArray[np.float64] = few @ self.queries[row].astype(np.float64)
        return scores if self.offset is None else scores + self.offset[columns]


def scored(
    queries: Array,
    gallery: Array,
    metric: Metric = "cosine",
    handicaps: npt.NDArray[np.float64] | None = None,
) -> Scored:
    """Check two sets of vectors and make them comparable.

    Args:
        queries: Sketch vectors ``(Q, D)``: real numbers, for ``cosine`` of any length but zero,
            for ``hamming`` codes of 0 and 1, of -1 and 1, or of truth values.
        gallery: Photo vectors ``(M, D)``, likewise.
        metric: ``cosine``, ``euclidean`` or ``hamming``.
        handicaps: Taken off the scores of each photo ``(M,)``, in [-1, 1], rounded to 2**-50; for
            ``cosine`` alone.

    Raises:
        ShapeError: A set has the wrong shape, type or values, or for ``euclidean`` a vector is over
            65,536 times as long as the median one; the message names the first row.
        ConfigError: There is no such metric, or it knows no handicaps.

    >>> import numpy as np
    >>> scored(np.array([[3, 4]]), np.array([[4, 3], [0, 2]])).exact([0]).round(4)
    array([[0.96, 0.8 ]])
    """
    if metric not in METRICS:
        raise ConfigError(f"unknown metric {metric!r}: expected one of {', '.join(METRICS)}")
    if handicaps is not None and metric != "cosine":
        raise ConfigError(f"handicaps are taken off a cosine, and not off {metric}")
    asked, kept = _matrix(queries, "queries"), _matrix(gallery, "gallery")
    if asked.shape[1] != kept.shape[1]:
        raise ShapeError(
            f"queries have {asked.shape[1]} dimensions but gallery has {kept.shape[1]}; "
            "both must come from the same network"
        )
    if metric == "hamming":
        return Scored(_codes(asked, "queries"), _codes(kept, "gallery"), None, metric)
    if metric == "cosine":
        near, far = unit_vectors(asked, "queries"), unit_vectors(kept, "gallery")
        offset = None if handicaps is None else _offset(handicaps, len(far))
        return Scored(near, far, offset, metric)
    longest = _longest(asked, kept)
    near, far = _shrunk(asked, longest), _shrunk(kept, longest)
    squares = [
        np.square(far[start : start + _ROWS].astype(np.float64)).sum(axis=1)
        for start in range(0, len(far), _ROWS)
    ]
    return Scored(near, far, np.concatenate(squares) / -2, metric)


def _offset(
    handicaps: npt.NDArray[np.float64] | None, count: int
) -> npt.NDArray[np.float64] | None:
    """What is added to scores where something is taken off them: whole multiples of 2**-50."""
    if handicaps is None:
        return None
    if handicaps.shape != (count,) or not (np.abs(handicaps) <= 1).all():
        raise ShapeError(
            f"handicaps are numbers in [-1, 1], one a photo: expected shape ({count},), got "
            f"{handicaps.shape}"
        )
    units: npt.NDArray[np.float64] = np.round(handicaps * -(_GRID**2))
    return units / _GRID**2


def unit_vectors(vectors: Array, name: str = "vectors") -> npt.NDArray[np.float32]:
    """Vectors of length 1, the very ones that ``cosine`` compares, ``(N, D)`` on the grid.

    Args:
        vectors: ``(N, D)`` real numbers, of any length but zero.
        name: What to call them in an error.

    Raises:
        ShapeError: Not a non-empty matrix of numbers, or a vector has no direction; the message
            names the first row.
    """
    return _unit(_matrix(vectors, name), name)


def sign_codes(vectors: Array) -> npt.NDArray[np.int8]:
    """Binary codes of real vectors: 1 where a value is at least 0, -1 elsewhere, ``(N, D)``.

    Raises:
        ShapeError: Not a non-empty matrix of numbers.
    """
    values = _matrix(vectors, "vectors")
    for start in range(0, len(values), _ROWS):
        _finite(values[start : start + _ROWS], "vectors", start)
    return np.where(values >= 0, np.int8(1), np.int8(-1))


def class_ids(labels: Array, name: str, count: int) -> npt.NDArray[np.int64]:
    """Class ids ``(count,)`` as int64.

    Raises:
        ShapeError: Not one integer a vector.
    """
    values = plain(labels)
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise ShapeError(
            f"{name} must be a 1-D array of integer ids, got {values.dtype} {values.shape}"
        )
    if len(values) != count:
        raise ShapeError(f"{name} has {len(values)} ids for {count} vectors; give one id a vector")
    return values.astype(np.int64)


def plain(array: Array) -> npt.NDArray[Any]:
    """A tensor or array as NumPy on the CPU; bfloat16, which NumPy lacks, becomes float32."""
    if hasattr(array, "detach"):
        tensor = array.detach().cpu()
        return np.asarray((tensor.float() if tensor.is_floating_point() else tensor).numpy())
    return np.asarray(array)


def _matrix(vectors: Array, name: str) -> npt.NDArray[Any]:
    values = plain(vectors)
    if values.ndim != 2 or 0 in values.shape:
        raise ShapeError(f"{name} must be a non-empty (N, D) array, got shape {values.shape}")
    if values.dtype.kind not in "fiub":
        raise ShapeError(f"{name} must hold real numbers, got {values.dtype}")
    return values


def _unit(values: npt.NDArray[Any], name: str) -> npt.NDArray[np.float32]:
    """Vectors of length 1."""
    unit = np.empty(values.shape, np.float32)
    for start in range(0, len(values), _ROWS):
        rows = _finite(values[start : start + _ROWS], name, start)
        squares = np.einsum("ij,ij->i", rows, rows)
        if not ((squares > _TINY) & (squares < 1 / _TINY)).all():
            largest = np.abs(rows).max(axis=1, keepdims=True)
            zero = np.flatnonzero(largest == 0)
            if zero.size:
                raise ShapeError(
                    f"{name} row {start + zero[0]} is all zeros and has no direction; remove it"
                )
            rows = rows / largest  # keeps the squares from overflowing or vanishing
            squares = np.einsum("ij,ij->i", rows, rows)
        unit[start : start + _ROWS] = _on_grid(rows, 1 / np.sqrt(squares[:, None]))
    return unit


def _on_grid(
    rows: npt.NDArray[np.float64], factor: npt.NDArray[np.float64] | float
) -> npt.NDArray[np.float64]:
    """Rows times a factor, rounded to the grid."""
    scaled = rows * (factor * _GRID)
    np.rint(scaled, out=scaled)
    scaled *= 1 / _GRID
    return scaled


def _longest(queries: npt.NDArray[Any], gallery: npt.NDArray[Any]) -> float:
    """The greatest length of a vector, of which the others must not be a trifle."""
    lengths = {"queries": _lengths(queries, "queries"), "gallery": _lengths(gallery, "gallery")}
    both = np.concatenate(list(lengths.values()))
    longest, usual = both.max(), np.median(both[both > 0]) if both.any() else 0.0
    for name, each in lengths.items():
        row = int(each.argmax())
        if each[row] == longest and longest / _OUTLIER > usual:
            raise ShapeError(
                f"{name} row {row} is {longest / usual:.0e} times as long as the median vector, "
                "too long to compare the others beside it; remove it, or use cosine"
            )
    return float(longest)


def _lengths(values: npt.NDArray[Any], name: str) -> npt.NDArray[np.float64]:
    lengths = np.zeros(len(values))
    for start in range(0, len(values), _ROWS):
        rows = _finite(values[start : start + _ROWS], name, start)
        largest = np.abs(rows).max()
        if largest:  # dividing keeps the squares from overflowing or vanishing
            with np.errstate(over="ignore"):
                lengths[start : start + _ROWS] = largest * np.linalg.norm(rows / largest, axis=1)
    if not np.isfinite(lengths).all():
        raise ShapeError(f"{name} hold values too large to measure; scale them down")
    return lengths


def _shrunk(values: npt.NDArray[Any], longest: float) -> npt.NDArray[np.float32]:
    """Vectors divided by a length, so that all have at most 1."""
    shrunk = np.empty(values.shape, np.float32)
    for start in range(0, len(values), _ROWS):
        rows = values[start : start + _ROWS].astype(np.float64)
        shrunk[start : start + _ROWS] = _on_grid(rows / (longest or 1.0), 1.0)
    return shrunk


def _codes(values: npt.NDArray[Any], name: str) -> npt.NDArray[np.float32]:
    """Codes as -1 and 1."""
    codes = np.empty(values.shape, np.float32)
    for start in range(0, len(values), _ROWS):
        rows = values[start : start + _ROWS]
        zero, minus = rows == 0, rows == -1
        low = zero | minus
        both = zero.any(axis=1) & minus.any(axis=1)  # signs of three kinds, of which 0 is neither
        other = np.flatnonzero(both | ~(low | (rows == 1)).all(axis=1))
        if other.size:
            raise ShapeError(
                f"{name} row {start + other[0]} is no binary code; hamming wants 0 and 1, or -1 "
                "and 1 (sign codes of real vectors: --binary, or sign_codes)"
            )
        codes[start : start + _ROWS] = np.where(low, -1.0, 1.0)
    return codes


def _finite(values: npt.NDArray[Any], name: str, first: int) -> npt.NDArray[np.float64]:
    """Rows as float64, row by row over contiguous memory, so that each depends on itself alone."""
    rows = np.ascontiguousarray(values, dtype=np.float64)
    # A sum is finite only where all of its terms are; one that overflows is looked at again.
    with np.errstate(over="ignore", invalid="ignore"):
        finite = np.isfinite(rows.sum())
    if not finite:
        unusable = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if unusable.size:
            raise ShapeError(
                f"{name} row {first + unusable[0]} holds NaN or infinity; remove it or encode anew"
            )
    return rows
