"""Connected components of a mask, in NumPy alone: what of an ink is one mark.

Search is installed without SciPy or OpenCV. Rows are cut into runs, runs that touch are joined,
and joined runs share the smallest of their numbers (union-find, every step over all runs at once).
Tested in ``tests/data/test_components.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Components:
    """The components of a mask, numbered from 0 in the order of their first pixel.

    Attributes:
        labels: ``(H, W)`` number of each pixel's component, -1 outside of the mask.
        areas: ``(N,)`` pixels of each.
        boxes: ``(N, 4)`` left, top, right and bottom of each; right and bottom lie just outside.
    """

    labels: npt.NDArray[np.int32]
    areas: _Ints
    boxes: _Ints

    def pixels(self, chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """The mask ``(H, W)`` of some components, chosen by ``(N,)``."""
        return np.append(chosen, False)[self.labels]  # -1 is the last: outside of all


def find_components(mask: npt.NDArray[np.bool_]) -> Components:
    """Join the pixels of a mask that touch, corners included.

    Args:
        mask: ``(H, W)``.

    Example:
        >>> found = find_components(np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 0, 0]], bool))
        >>> found.areas.tolist(), found.boxes.tolist()
        ([3, 1], [[0, 0, 3, 2], [0, 3, 1, 4]])
    """
    height, width = mask.shape
    step = width + 2  # a row and a gap, so that runs of different rows never meet on the line
    line = np.zeros((height, step), np.int8)
    line[:, 1:-1] = mask
    turns = np.diff(line.reshape(-1), append=0)
    starts, ends = np.flatnonzero(turns == 1) + 1, np.flatnonzero(turns == -1) + 1
    numbers = _join(len(starts), *_touching(starts, ends, step))
    count = int(numbers.max(initial=-1)) + 1

    change = np.zeros(height * step + 1, np.int32)
    change[starts] += (numbers + 1).astype(np.int32)
    change[ends] -= (numbers + 1).astype(np.int32)
    labels = np.cumsum(change, dtype=np.int32)[:-1].reshape(height, step)[:, 1:-1] - 1

    areas = np.bincount(numbers, weights=ends - starts, minlength=count).astype(np.int64)
    rows, lefts, rights = starts // step, starts % step - 1, (ends - 1) % step
    boxes = np.tile(np.array([width, height, 0, 0], np.int64), (count, 1))
    np.minimum.at(boxes[:, 0], numbers, lefts)
    np.minimum.at(boxes[:, 1], numbers, rows)
    np.maximum.at(boxes[:, 2], numbers, rights)
    np.maximum.at(boxes[:, 3], numbers, rows + 1)
    return Components(np.ascontiguousarray(labels), areas, boxes)


def _touching(starts: _Ints, ends: _Ints, step: int) -> tuple[_Ints, _Ints]:
    """Pairs of runs, one a row below the other, that share a side or a corner."""
    first = np.searchsorted(ends, starts + step, side="left")
    behind = np.searchsorted(starts, ends + step, side="right")
    counts = np.maximum(behind - first, 0)
    upper = np.repeat(np.arange(len(starts)), counts)
    within = np.arange(len(upper)) - np.repeat(np.cumsum(counts) - counts, counts)
    return upper, np.repeat(first, counts) + within


def _join(count: int, one: _Ints, other: _Ints) -> _Ints:
    """Number of each run's component."""
    parents = np.arange(count)
    while True:
        of_one, of_other = parents[one], parents[other]
        apart = of_one != of_other
        if not apart.any():
            break
        low = np.minimum(of_one[apart], of_other[apart])
        np.minimum.at(parents, np.maximum(of_one[apart], of_other[apart]), low)
        while True:  # every run points at its component's first
            nearer = parents[parents]
            if np.array_equal(nearer, parents):
                break
            parents = nearer
    return np.unique(parents, return_inverse=True)[1].reshape(-1)
