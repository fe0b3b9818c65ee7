"""Records to tensors: batches of uint8 pixels, decoded by threads and kept when they fit.

Pillow lets go of the interpreter's lock while it decodes, so threads are enough, and nothing has to
be copied between processes. A set that fits the cache is decoded once; every later epoch reads
memory.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler, Sampler, SequentialSampler

from msedge.data.images import read_pixels
from msedge.data.layouts import DOMAINS, Record
from msedge.data.sketches import read_sketch


class Batch(NamedTuple):
    """Images with what is known of them.

    Attributes:
        images: ``(B, 3, S, S)`` uint8, RGB.
        labels: ``(B,)`` int64, positions in the set's class names.
        domains: ``(B,)`` int64, 0 for a sketch and 1 for a photo.
        rows: ``(B,)`` int64, positions in the set.
    """

    images: Tensor
    labels: Tensor
    domains: Tensor
    rows: Tensor


class ImageSet(Dataset[Batch]):
    """The images of some records, all at one size.

    Attributes:
        records: one a row.
        classes: names that labels point into.
        labels: ``(N,)`` int64.
        domains: ``(N,)`` int64.
    """

    def __init__(
        self,
        records: Sequence[Record],
        classes: Sequence[str],
        *,
        size: int,
        frame_sketches: bool = False,
        cache_gb: float = 4.0,
    ) -> None:
        """Take the records; nothing is read yet.

        Args:
            records: what to read; every class name must be one of ``classes``.
            classes: class names in the order of their labels.
            size: pixels on a side.
            frame_sketches: cut drawings out of their sheets (:func:`~msedge.data.sketches.
                frame_sketch`); photos stay whole.
            cache_gb: a set of at most so many gigabytes of pixels is kept in memory; 0 keeps none.
        """
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
        self._cache: Tensor | None = None
        self._cached = torch.zeros(len(self.records), dtype=torch.bool)
        if len(self.records) * 3 * size * size <= cache_gb * 1e9:
            self._cache = torch.empty(len(self.records), 3, size, size, dtype=torch.uint8)

    @property
    def shown_as(self) -> dict[str, int | bool]:
        """What is done to an image before it is seen."""
        return {"size": self._size, "frame_sketches": self._frame_sketches}

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, row: int) -> Batch:
        return self.__getitems__([row])

    def __getitems__(self, rows: Sequence[int]) -> Batch:
        """The images of several rows as one batch.

        Raises:
            DataError: a file cannot be read; the message names it.
        """
        index = torch.as_tensor(rows)
        if self._cache is None:
            images = torch.stack(list(self._pool.map(self._decode, rows)))
        else:
            missing = [row for row in rows if not self._cached[row]]
            for row, pixels in zip(missing, self._pool.map(self._decode, missing), strict=True):
                self._cache[row] = pixels
                self._cached[row] = True
            images = self._cache[index]
        return Batch(images, self.labels[index], self.domains[index], index)

    def batches(self, batch_size: int, *, shuffle: bool) -> DataLoader[Batch]:
        """A loader of batches; shuffled by torch's generator, the last incomplete batch dropped."""
        return _loader(self, batch_size, shuffle)

    def rows(self, batch_size: int, *, shuffle: bool) -> DataLoader[Batch]:
        """As :meth:`batches`, in the same order, but without reading any image."""
        return _loader(_Unread(self.labels, self.domains), batch_size, shuffle)

    def _decode(self, row: int) -> Tensor:
        record = self.records[row]
        framed = self._frame_sketches and record.domain == "sketch"
        read = read_sketch if framed else read_pixels
        return torch.from_numpy(read(record.path, self._size))


class _Unread(Dataset[Batch]):
    """What is known of a set's images, without their pixels."""

    def __init__(self, labels: Tensor, domains: Tensor) -> None:
        self._labels, self._domains = labels, domains

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, row: int) -> Batch:
        return self.__getitems__([row])

    def __getitems__(self, rows: Sequence[int]) -> Batch:
        index = torch.as_tensor(rows)
        nothing = torch.empty((len(index), 3, 0, 0), dtype=torch.uint8)
        return Batch(nothing, self._labels[index], self._domains[index], index)


def _loader(images: ImageSet | _Unread, batch_size: int, shuffle: bool) -> DataLoader[Batch]:
    sampler: Sampler[int] = RandomSampler(images) if shuffle else SequentialSampler(images)
    return DataLoader(
        images, batch_size, sampler=sampler, collate_fn=_as_is, drop_last=shuffle, num_workers=0
    )


def _as_is(batch: Any) -> Any:
    return batch
