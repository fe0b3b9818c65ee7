"""Records to tensors: batches of uint8 pixels, from the pixel cache or decoded by threads.

Pillow lets go of the interpreter's lock while it decodes, so threads are enough, and nothing has to
be copied between processes. What is kept in a :class:`~msedge.data.pixel_cache.PixelCache` is
decoded once; a batch of such images is one gather from a memory map. Everything else is decoded
each time it is asked for, a JPEG at the smallest scale that will do. ``benchmarks/data.py``
measures both.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from msedge.data.image_content import decode, read_content
from msedge.data.images import read_pixels
from msedge.data.layouts import DOMAINS, Record
from msedge.data.pixel_cache import PixelCache
from msedge.errors import ConfigError


class ImageSet:
    """The images of some records, all at one size.

    Attributes:
        records: one a row.
        classes: names that labels point into.
        labels: ``(N,)`` int64.
        domains: ``(N,)`` int64, 0 for a sketch and 1 for a photo.
    """

    def __init__(
        self,
        records: Sequence[Record],
        classes: Sequence[str],
        *,
        size: int,
        frame_sketches: bool = False,
        cache: PixelCache | None = None,
    ) -> None:
        """Take the records; nothing is read yet.

        Args:
            records: what to read; every class name must be one of ``classes``.
            classes: class names in the order of their labels.
            size: pixels on a side.
            frame_sketches: cut drawings out of their sheets (:func:`~msedge.data.sketches.
                frame_sketch`); photos stay whole.
            cache: where decoded images are kept, of the same size and framing; without one
                every image is decoded each time.

        Raises:
            ConfigError: ``size`` is smaller than 1, or the cache keeps other pixels.
        """
        if size < 1:
            raise ConfigError(f"image size must be at least 1 pixel, got {size}: pass a larger one")
        self.records = tuple(records)
        self.classes = tuple(classes)
        position = {name: label for label, name in enumerate(self.classes)}
        self.labels = torch.tensor(
            [position[r.class_name] for r in self.records], dtype=torch.int64
        )
        self.domains = torch.tensor(
            [DOMAINS.index(r.domain) for r in self.records], dtype=torch.int64
        )
        self._size = size
        self._frame_sketches = frame_sketches
        self._pool = ThreadPoolExecutor(max_workers=os.cpu_count() or 1)
        self._cache = cache
        self._kept = torch.full((len(self.records),), -1)
        if cache is not None:
            if cache.shown_as != self.shown_as:
                raise ConfigError(
                    f"the cache keeps images as {cache.shown_as}, these are {self.shown_as}; "
                    "open one for them"
                )
            self._kept = cache.rows_of(self.records)

    @property
    def shown_as(self) -> dict[str, int | bool]:
        """What is done to an image before it is seen."""
        return {"size": self._size, "frame_sketches": self._frame_sketches}

    def __len__(self) -> int:
        return len(self.records)

    def pixels(self, rows: Tensor) -> Tensor:
        """The pixels of some rows.

        Args:
            rows: ``(B,)`` int64, positions in the set.

        Returns:
            ``(B, 3, S, S)`` uint8, RGB, 0 to 255, channels last in memory; a copy.

        Raises:
            DataError: a file cannot be read; the message names it.
            IndexError: there is no such row.
        """
        return self._read(rows, pin=False)

    def shaped(self, rows: Tensor, side: int) -> list[npt.NDArray[np.uint8]]:
        """The pixels of some rows in their own shape, always read anew; sketches unframed.

        Args:
            rows: ``(B,)`` int64, positions in the set.
            side: of the square that has about as many pixels, see
                :func:`~msedge.data.images.kept_shape`.

        Returns:
            Arrays ``(3, H, W)`` uint8, RGB, 0 to 255.

        Raises:
            DataError: a file cannot be read; the message names it.
        """
        paths = [self.records[row].path for row in rows.tolist()]
        return list(self._pool.map(partial(read_pixels, size=side, keep_shape=True), paths))

    def stream(
        self, chunks: Iterable[Tensor], *, ahead: int = 2, pin: bool = False
    ) -> Iterator[Tensor]:
        """The pixels of chunks of rows, read by a thread while the caller computes.

        The chunks are asked for here, by the caller's thread, so that what they draw from random
        generators is drawn in order. Close the iterator to end the thread before the last chunk.

        Args:
            chunks: ``(B,)`` int64 each.
            ahead: how many chunks to read before they are asked for, at least 1.
            pin: put them into page-locked memory, from which a GPU copies while it computes.

        Yields:
            As :meth:`pixels`, one for each chunk, in order.

        Raises:
            DataError: as of :meth:`pixels`, at the turn of the chunk.
            ConfigError: ``ahead`` is smaller than 1.
        """
        if ahead < 1:
            raise ConfigError(f"chunks are read at least 1 ahead, not {ahead}")
        return self._stream(chunks, ahead, pin)

    def _stream(self, chunks: Iterable[Tensor], ahead: int, pin: bool) -> Iterator[Tensor]:
        reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="msedge-stream")
        coming: deque[Future[Tensor]] = deque()
        try:
            for rows in chunks:
                coming.append(reader.submit(self._read, rows, pin))
                if len(coming) > ahead:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            reader.shutdown(wait=True, cancel_futures=True)

    def _read(self, rows: Tensor, pin: bool) -> Tensor:
        kept = self._kept[rows].numpy()
        shape = (len(rows), self._size, self._size, 3)
        batch = torch.empty(shape, dtype=torch.uint8, pin_memory=pin)
        out = batch.numpy()
        left = np.arange(len(rows)) if self._cache is None else self._cache.copy(kept, out)
        if len(left):
            asked = rows.tolist()
            several = [(asked[place], int(kept[place]), out[place]) for place in left]
            list(self._pool.map(self._fill, *zip(*several, strict=True)))
        return batch.permute(0, 3, 1, 2)

    def _fill(self, row: int, kept: int, out: npt.NDArray[np.uint8]) -> None:
        if self._cache is not None and kept >= 0:
            self._cache.fetch(kept, out)
            return
        record = self.records[row]
        out[:] = decode(
            read_content(record.path),
            record,
            size=self._size,
            frame_sketches=self._frame_sketches,
        )
