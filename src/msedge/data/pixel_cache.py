"""Decoded images of a dataset, kept in a folder of bounded size from one run to the next.

Decoding is what makes an epoch wait: copying pixels takes a small part of it. So it is done once
for a dataset and a size, and every later epoch and run copies from a file
(:mod:`~msedge.data.pixel_pack`) that the system keeps in memory as long as there is room. A process
uses a row when its checksum is right and its image's file is the one that was decoded; an image
that changed is decoded anew. Several processes may fill and read one folder. It may be deleted at
any time, and ``benchmarks/data.py`` measures what it saves. Tested in
``tests/data/test_pixel_cache.py``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL
import torch
from torch import Tensor

import msedge
from msedge.data.image_content import content_hash, decode, file_state, read_content
from msedge.data.images import one_line
from msedge.data.layouts import Record
from msedge.data.pixel_folder import open_pack, pack_path
from msedge.data.pixel_pack import PixelPack, Source, pack_bytes, rows_within
from msedge.errors import DataError

_FORMAT = 1

Pixels = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int64]


class PixelCache:
    """Decoded images of one dataset at one size, packed in one memory-mapped file.

    Attributes:
        path: of the file; there is none where not even one image fits.
        capacity: how many of the images fit, the first ones.
        count: how many images there are.
        shown_as: what was done to the images.
    """

    def __init__(
        self, path: Path, pack: PixelPack | None, records: Sequence[Record], size: int, framed: bool
    ) -> None:
        """Take an open file; use :meth:`open`."""
        self.path, self._pack = path, pack
        self.count, self.capacity = len(records), pack.rows if pack else 0
        self.shown_as: dict[str, int | bool] = {"size": size, "frame_sketches": framed}
        self._size, self._framed = size, framed
        self._records = tuple(records[: self.capacity])
        self._row_of = {_name(record): row for row, record in enumerate(self._records)}
        # Checksums of the rows that this process has verified; 0 where it has not.
        self._verified = np.zeros(self.capacity, np.uint32)

    @classmethod
    def open(
        cls,
        folder: Path,
        records: Sequence[Record],
        *,
        size: int,
        frame_sketches: bool,
        limit_gb: float,
    ) -> PixelCache:
        """Open the file of a dataset, or begin it; others go where the folder is too full.

        Args:
            folder: where such files are kept; made when it is missing.
            records: of the whole dataset, so that all its parts and runs share one file.
            size: pixels on a side.
            frame_sketches: cut drawings out of their sheets.
            limit_gb: the most gigabytes of all files of the folder together. Those of other
                datasets go first, least recently used first; of a dataset that is larger by
                itself the first images are kept.

        Raises:
            DataError: the folder cannot be written, or the disk is too full.
        """
        rows = int(min(len(records), rows_within(limit_gb * 1e9, size)))
        key = _key(records, size, frame_sketches)
        pack = open_pack(folder, key, rows, size, most_bytes=limit_gb * 1e9)
        return cls(pack_path(folder, key), pack, records, size, frame_sketches)

    @property
    def gigabytes(self) -> float:
        """Of the file."""
        return pack_bytes(self.capacity, self._size) / 1e9 if self.capacity else 0.0

    def rows_of(self, records: Sequence[Record]) -> Tensor:
        """Where some images are kept.

        Args:
            records: of this dataset or not.

        Returns:
            ``(N,)`` int64, -1 where one has no place here.
        """
        rows = [self._row_of.get(_name(record), -1) for record in records]
        return torch.tensor(rows, dtype=torch.int64)

    def copy(self, rows: Rows, out: Pixels) -> Rows:
        """Copy the images that this process has met before, with no work for each in Python.

        Args:
            rows: ``(B,)``, as of :meth:`rows_of`.
            out: ``(B, size, size, 3)``, contiguous.

        Returns:
            The positions in ``rows`` that were not copied: those of -1, those to :meth:`fetch`
            first, and those that another process has changed meanwhile.
        """
        if self._pack is None:
            return np.arange(len(rows))
        known = rows.clip(0)
        expected = self._verified[known]
        ready = (rows >= 0) & (expected != 0) & (self._pack.checks(known) == expected)
        if ready.all():
            self._pack.copy(rows, out)
        else:
            for position in np.flatnonzero(ready):
                self._pack.copy(rows[position : position + 1], out[position : position + 1])
        ready &= self._pack.checks(known) == expected
        return np.flatnonzero(~ready)

    def fetch(self, row: int, out: Pixels) -> None:
        """Get one image: from the file where it stands there unharmed, else decoded and put there.

        Args:
            row: as of :meth:`rows_of`, at least 0.
            out: ``(size, size, 3)``, contiguous.

        Raises:
            DataError: the image cannot be read, or the file not be written.
        """
        if self._pack is None:
            raise IndexError(f"row {row} of no rows")
        record = self._records[row]
        state = file_state(record.path)
        found = self._pack.verified(row, out)
        if found is not None and found[0].state == state:
            self._verified[row] = found[1]
            return
        content = read_content(record.path)
        source = Source(state, content_hash(content))
        if found is None or found[0].content != source.content:
            out[:] = decode(content, record, size=self._size, frame_sketches=self._framed)
        try:
            self._verified[row] = self._pack.write(row, source, out)
        except OSError as error:
            raise DataError(
                f"cannot write decoded images to {one_line(self.path)} "
                f"({error.strerror or error}); choose another --cache-dir, or pass --no-cache"
            ) from error


def _name(record: Record) -> tuple[str, str]:
    return os.path.abspath(record.path), record.domain  # noqa: PTH100  # a Path takes ten times as long


def _key(records: Sequence[Record], size: int, framed: bool) -> str:
    settings = [_FORMAT, msedge.__version__, PIL.__version__, size, framed]
    digest = hashlib.blake2b(json.dumps(settings).encode(), digest_size=16)
    for record in records:
        digest.update("\0".join(_name(record)).encode(errors="surrogateescape") + b"\n")
    return digest.hexdigest()
