"""Photos that an 8-bit network is fitted to, and others that it is then judged by.

A network of search sees photos, and drawings: a photo's edge view stands for the latter. Tested in
``tests/search/test_calibration.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt

from msedge.data.images import read_pixels
from msedge.errors import DataError
from msedge.models.photo_edges import edge_view
from msedge.search.ranking import Pixels

LEAST, MOST = 32, 256
"""Photos needed in all, and photos calibrated on where there are more."""

_HELD_OUT = 64  # photos at most, and no more than a quarter of those there are
_TOGETHER = 4  # photos in a batch, with as many edge views


class ViewedPhotos(Sequence[npt.NDArray[np.float32]]):
    """Batches of photos and their edge views, made when they are asked for.

    Each is ``(B, 3, H, W)`` float32 in [0, 1], half photos, half their edges.
    """

    def __init__(self, pixels: Sequence[Pixels]) -> None:
        """Take photos ``(3, H, W)``; those of one shape, in their order, make batches."""
        self.pixels = pixels
        by_shape: dict[tuple[int, ...], list[Pixels]] = {}
        for each in pixels:
            by_shape.setdefault(each.shape, []).append(each)
        self._batches = [
            alike[start : start + _TOGETHER]
            for alike in by_shape.values()
            for start in range(0, len(alike), _TOGETHER)
        ]

    def __len__(self) -> int:
        return len(self._batches)

    @overload
    def __getitem__(self, index: int) -> npt.NDArray[np.float32]: ...
    @overload
    def __getitem__(self, index: slice) -> list[npt.NDArray[np.float32]]: ...

    def __getitem__(
        self, index: int | slice
    ) -> npt.NDArray[np.float32] | list[npt.NDArray[np.float32]]:
        if isinstance(index, slice):
            return [self[each] for each in range(len(self))[index]]
        photos = np.stack(self._batches[index])
        return np.concatenate([photos.astype(np.float32) / np.float32(255), edge_view(photos)])


@dataclass(frozen=True, slots=True)
class CalibrationPhotos:
    """What was chosen; no photo is in both."""

    calibration: ViewedPhotos
    held_out: ViewedPhotos
    unreadable: int  # files that were chosen; others took their places


def choose_photos(
    paths: Sequence[Path],
    size: int,
    *,
    keep_shape: bool = False,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> CalibrationPhotos:
    """Draw photos at random, always the same ones for a seed, and read them.

    Args:
        paths: of all photos.
        size: side of the square that the network reads, in pixels.
        keep_shape: whether it reads as many pixels in a photo's own shape.
        seed: of the choice.
        progress: called with photos read and photos wanted.

    Raises:
        DataError: fewer than :data:`LEAST` of them can be read.
    """
    wanted = min(len(paths), MOST + _HELD_OUT)
    read: list[Pixels] = []
    unreadable = 0
    for row in np.random.default_rng(seed).permutation(len(paths)):
        if len(read) == wanted:
            break
        try:
            read.append(read_pixels(paths[row], size, keep_shape=keep_shape))
        except DataError:
            unreadable += 1
        if progress is not None:
            progress(len(read), wanted)
    if len(read) < LEAST:
        raise DataError(
            f"at least {LEAST} photos are needed to calibrate on and to check with, {len(read)} "
            "can be read; name a larger gallery or folder"
        )
    held_out = min(_HELD_OUT, len(read) // 4)
    return CalibrationPhotos(
        ViewedPhotos(read[held_out:]), ViewedPhotos(read[:held_out]), unreadable
    )
