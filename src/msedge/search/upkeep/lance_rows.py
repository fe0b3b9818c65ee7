"""Every row of a Lance dataset, looked at once, fragment by fragment.

Tested in ``tests/search/upkeep/test_lance.py``.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from lance.fragment import LanceFragment

from msedge.search.lance.datasets import reason
from msedge.search.lance.moment import Moment
from msedge.search.lance.schema import block_of, vectors_of
from msedge.search.store import Block, Ids
from msedge.search.upkeep.row_faults import FIELD, PATH, VECTOR, bad_vectors, is_place
from msedge.search.upkeep.watching import Watched

_EXAMPLES = 4
_ROWS = 4096
_AHEAD = 4  # batches; Lance's own settings take a gigabyte of memory for a million photos
_BUFFER = 2**25  # bytes read ahead
_FRAGMENT_BITS = 32  # a row's address is its fragment's number, then its place therein


@dataclass(slots=True)
class Rows:
    """What was seen.

    Attributes:
        unreadable: why, by the number of each fragment that cannot be read.
        lost: photos in these.
        bad: ids of photos that no search can use, by what is wrong.
        names: paths of the first few of these.
        repeated: addresses of rows whose id or path another row has, too, newest first.
        largest_id: of all photos, 0 of none.
    """

    unreadable: dict[int, str] = field(default_factory=dict)
    lost: int = 0
    bad: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    names: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    repeated: list[int] = field(default_factory=list)
    largest_id: int = 0


def look_at_rows(moment: Moment, watched: Watched) -> Rows:
    """Read a whole version of a dataset."""
    rows = Rows()
    ids: list[Ids] = []
    paths: list[npt.NDArray[np.int64]] = []
    addresses: list[npt.NDArray[np.uint64]] = []
    fragments = moment.dataset.get_fragments()
    total = sum(fragment.metadata.num_rows for fragment in fragments)
    done = 0
    for fragment in fragments:
        try:
            for batch in _batches(fragment):
                table = pa.Table.from_batches([batch])
                _judge(table, moment.dim, rows)
                ids.append(table["id"].to_numpy().copy())  # a view keeps the whole batch
                paths.append(_hashes(table))
                addresses.append(table["_rowaddr"].to_numpy().copy())
                done += table.num_rows
                watched.progress("checking photos", done, total)
        except (OSError, ValueError, RuntimeError, pa.ArrowException) as error:
            rows.unreadable[fragment.fragment_id] = reason(error)
            rows.lost += fragment.metadata.num_rows
    if ids:
        _compare(rows, np.concatenate(ids), np.concatenate(paths), np.concatenate(addresses))
    return rows


def _batches(fragment: LanceFragment) -> Iterator[pa.RecordBatch]:
    scanner = fragment.scanner(
        batch_size=_ROWS,
        batch_readahead=_AHEAD,
        io_buffer_size=_BUFFER,
        with_row_address=True,
    )
    yield from scanner.to_batches()


def _judge(table: pa.Table, dim: int, rows: Rows) -> None:
    bad = bad_vectors(vectors_of(table, dim))
    fields = [table[name].to_pylist() for name in ("id", "path", "size", "width", "height")]
    taken = np.isfinite(table["taken"].to_numpy())
    for at, (number, path, size, width, height) in enumerate(zip(*fields, strict=True)):
        if bad[at]:
            kind = VECTOR
        elif not is_place(path):
            kind = PATH
        elif number < 1 or size < 0 or width < 1 or height < 1 or not taken[at]:
            kind = FIELD
        else:
            continue
        rows.bad[kind].append(number)
        if len(rows.names[kind]) < _EXAMPLES:
            rows.names[kind].append(os.fsdecode(path))


def _hashes(table: pa.Table) -> npt.NDArray[np.int64]:
    return np.fromiter(map(hash, table["path"].to_pylist()), np.int64, table.num_rows)


def _compare(
    rows: Rows,
    ids: Ids,
    paths: npt.NDArray[np.int64],
    addresses: npt.NDArray[np.uint64],
) -> None:
    rows.largest_id = int(ids.max())
    twice = _repeats(ids) | _repeats(paths)
    twice &= ~np.isin(ids, [number for some in rows.bad.values() for number in some])
    rows.repeated = np.sort(addresses[twice])[::-1].tolist()


def _repeats(values: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    repeats: npt.NDArray[np.bool_] = counts[place] > 1
    return repeats


def rows_at(moment: Moment, addresses: list[int]) -> Iterator[Block]:
    """Rows by their addresses, one at a time, newest first."""
    wanted = np.array(sorted(addresses), np.uint64)
    for number in sorted({address >> _FRAGMENT_BITS for address in addresses}, reverse=True):
        fragment = moment.dataset.get_fragment(number)
        if fragment is None:
            continue
        there: dict[int, pa.Table] = {}
        for batch in _batches(fragment):
            for at in np.flatnonzero(np.isin(batch["_rowaddr"].to_numpy(), wanted)):
                row = pa.Table.from_batches([batch.slice(at, 1)])
                there[row["_rowaddr"][0].as_py()] = row
        for _, row in sorted(there.items(), reverse=True):
            yield block_of(row, moment.dim)
