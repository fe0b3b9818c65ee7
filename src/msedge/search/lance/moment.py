"""What is read from one version of a gallery's dataset.

Tested in ``tests/search/lance/test_gallery.py``, as the methods that use it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa

from msedge.search.filters import Filters, condition
from msedge.search.gallery_rows import Photo, Place, stored_path
from msedge.search.lance.changes import literal
from msedge.search.lance.datasets import told
from msedge.search.lance.schema import PHOTO, block_of, photos_of
from msedge.search.store import Block, Ids

_IDS_A_FILTER = 1000  # beyond that, reading all photos is quicker
_LARGEST_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Moment:
    """One version of a gallery's dataset; threads may share it.

    Every method raises :class:`~msedge.errors.DataError` where its files cannot be read.

    Attributes:
        path: of the gallery.
        dataset: at the version.
        dim: width of the vectors.
    """

    path: Path
    dataset: lance.LanceDataset
    dim: int

    @property
    def version(self) -> int:
        """The version's number."""
        return int(self.dataset.version)

    def table(self, columns: Sequence[str], where: str | None = None, **scan: Any) -> pa.Table:
        """Columns of the rows that match."""
        with told(self.path):
            return self.dataset.scanner(columns=list(columns), filter=where, **scan).to_table()

    def count(self, where: str | None = None) -> int:
        """How many photos match."""
        with told(self.path):
            return int(self.dataset.count_rows(where))

    def photos(self, ids: Sequence[int] | None = None) -> list[Photo]:
        """Photos in the order asked for, without those that are not there; None for all, by id."""
        if ids is None:
            return sorted(photos_of(self.table(PHOTO)), key=lambda photo: photo.id)
        wanted = [int(number) for number in ids]
        possible = sorted({number for number in wanted if 0 < number <= _LARGEST_ID})
        if not possible:
            return []
        where = f"id IN ({', '.join(map(str, possible))})"
        few = len(possible) <= _IDS_A_FILTER
        found = {photo.id: photo for photo in photos_of(self.table(PHOTO, where if few else None))}
        return [found[number] for number in wanted if number in found]

    def ids(self, filters: Filters | None = None) -> Ids:
        """The ids ``(M,)`` of the photos that match, rising."""
        where = None if filters is None else condition_of(filters)
        return np.sort(self.table(["id"], where)["id"].to_numpy())

    def id_at(self, path: Path) -> int | None:
        """The id of the photo of an absolute path; None where there is none."""
        where = f"path = {literal(stored_path(path))}"
        found = self.table(["id"], where)["id"].to_pylist()
        return min(found, default=None)

    def folders(self) -> list[tuple[Path, int]]:
        """The folders that photos lie in, sorted, and how many lie directly in each."""
        paths = self.table(["path"])["path"].to_pylist()
        counts = Counter(os.path.dirname(path) for path in paths)  # noqa: PTH120
        return [(Path(os.fsdecode(folder)), count) for folder, count in sorted(counts.items())]

    def places(self) -> dict[str, Place]:
        """What is known of every path (as text), to compare with the files that are there."""
        rows = self.table(["path", "id", "size", "mtime_ns", "content_hash"])
        columns = (column.to_pylist() for column in rows.columns)
        return {os.fsdecode(path): Place(*rest) for path, *rest in zip(*columns, strict=True)}

    def blocks(self, rows: int) -> Iterator[Block]:
        """Everything, so many photos at a time, by rising id."""
        ids = self.table(["id"], scan_in_order=True)["id"].to_numpy()
        order = np.argsort(ids, kind="stable")
        for start in range(0, len(ids), rows):
            with told(self.path):
                some = self.dataset.take(order[start : start + rows].tolist())
            yield block_of(some, self.dim)


def condition_of(filters: Filters) -> str:
    """Filters as Lance writes them."""
    text, values = condition(filters)
    parts = text.split("?")
    return parts[0] + "".join(
        literal(value) + part for value, part in zip(values, parts[1:], strict=True)
    )
