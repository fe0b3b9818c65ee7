"""Every row of a gallery's Lance dataset looked at once: what can be wrong, and its mending.

Tested in ``tests/search/stores/test_lance.py``.
"""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from lance import LanceDataset, LanceOperation
from lance.fragment import LanceFragment

from msedge.data.images import one_line
from msedge.search.locations import is_remote
from msedge.search.photo import BAD_FACT, BAD_PATH, BAD_VECTOR, Block, Ids, NewPhoto, faults
from msedge.search.stores.copying import PART
from msedge.search.stores.lance.dataset import (
    ADDRESS,
    FRAGMENT_BITS,
    block_of,
    is_failure,
    reason,
    rows_of,
    said_next_id,
    told,
    vectors_of,
)
from msedge.search.stores.lance.moment import Moment, unindexed
from msedge.search.stores.reports import Problem, Watched, examples
from msedge.search.stores.store import EMBEDS_AGAIN, Store, problems_of_files

_COMPACTS = "`msedge gallery compact` makes few large ones of them"
_MANY = 100  # fragments or versions, from which opening and searching take longer
_EXAMPLES = 4
_ROWS = 4096
_AHEAD = 4  # batches; Lance's own settings take a gigabyte of memory for a million photos
_BUFFER = 2**25  # bytes read ahead
_FAULTS = {
    BAD_VECTOR: "vectors that are not finite or not of length 1",
    BAD_PATH: "paths that are not absolute",
    BAD_FACT: "ids, sizes or dates that cannot be",
}


def problems_of(
    store: Store, now: Callable[[], Moment], watched: Watched, *, photos: bool
) -> Iterator[Problem]:
    """What is wrong with a dataset that opens; nothing is changed before a problem is mended.

    Args:
        store: of the dataset.
        now: gives its newest version.
        watched: told how far it is.
        photos: whether the photos' files are looked for, too.
    """
    watched.progress("checking photos")
    moment = now()
    rows = _look_at_rows(moment, watched)
    yield from _problems_of_rows(store, moment, rows)
    yield from _notes(now())
    yield from _leftovers(store.path)
    if photos and not rows.unreadable:
        yield from problems_of_files(store, watched)


def _problems_of_rows(store: Store, moment: Moment, rows: _Rows) -> Iterator[Problem]:
    if rows.unreadable:
        why = next(iter(rows.unreadable.values()))
        what = (
            f"{len(rows.unreadable):,} fragments with {rows.lost:,} photos cannot be read ({why})"
        )
        # An object store that does not answer looks the same, and would cost all photos.
        if is_remote(store.path):
            advice, mend = "try again; else put a copy in its place", None
        else:
            advice = f"takes them out; {EMBEDS_AGAIN}"
            mend = partial(_take_out, moment, list(rows.unreadable))
        yield Problem.found("damage", what, rows.lost, advice, mend)
    for kind, ids in rows.bad.items():
        what = f"{len(ids):,} photos with {_FAULTS[kind]} ({examples(rows.names[kind])})"
        mend = partial(_remove, store, ids)
        yield Problem.found(kind, what, len(ids), f"removes them; {EMBEDS_AGAIN}", mend)
    if count := len(rows.repeated):
        what = f"{count:,} rows that share an id or a path with another"
        mend = partial(_keep_newest, store, moment, rows.repeated)
        yield Problem.found("repeated", what, count, "keeps the newest of each", mend)
    if (said_next_id(moment.dataset) or 1) <= rows.largest_id:
        what = f"ids up to {rows.largest_id:,} are taken and may be given again"
        mend = partial(_raise_mark, store, rows.largest_id)
        yield Problem.found("ids", what, 1, "keeps them from that", mend)


def _notes(moment: Moment) -> Iterator[Problem]:
    with told(moment.path):
        fragments, versions = len(moment.dataset.get_fragments()), len(moment.dataset.versions())
    if fragments > _MANY:
        yield Problem.noted("fragments", f"{fragments:,} fragments", fragments, _COMPACTS)
    if versions > _MANY:
        what = f"{versions:,} versions"
        yield Problem.noted("versions", what, versions, "`msedge gallery compact` removes old ones")
    if waiting := unindexed(moment):
        what = f"the index does not know {waiting:,} photos yet, which are searched beside it"
        yield Problem.noted("unindexed", what, waiting, "`msedge gallery compact` takes them in")


def _leftovers(path: Path) -> Iterator[Problem]:
    half = path.with_name(path.name + PART)
    if not is_remote(path) and half.exists():
        what = f"half a copy that a killed process left ({one_line(half.name)})"
        yield Problem.found("leftovers", what, 1, "removes it", partial(_remove_half, half))


# Mending


def _take_out(moment: Moment, fragments: list[int]) -> str:
    operation = LanceOperation.Update(
        removed_fragment_ids=fragments, updated_fragments=[], new_fragments=[]
    )
    with told(moment.path):
        LanceDataset.commit(moment.dataset, operation, read_version=moment.version)
    return f"taken out; {EMBEDS_AGAIN}"


def _remove(store: Store, ids: list[int]) -> str:
    with store.open(store.path, writable=True) as now:
        now.commit([], remove=ids)
    return f"removed; {EMBEDS_AGAIN}"


def _keep_newest(store: Store, moment: Moment, addresses: list[int]) -> str:
    kept: dict[int, NewPhoto] = {}
    paths: set[Path] = set()
    with told(moment.path):
        for (number,), (photo,) in _rows_at(moment, addresses):
            if number not in kept and photo.path not in paths:
                kept[number] = photo
                paths.add(photo.path)
    ids = sorted(kept)
    with store.open(store.path, writable=True) as now:
        now.put_with_ids(Block(ids, [kept[number] for number in ids]))  # replaces the others
    return f"kept {len(ids):,}"


def _raise_mark(store: Store, largest: int) -> str:
    with store.open(store.path, writable=True) as now:
        now.spare_ids(largest)
    return "done"


def _remove_half(half: Path) -> str:
    shutil.rmtree(half)
    return "removed"


# Looking


@dataclass(slots=True)
class _Rows:
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


def _look_at_rows(moment: Moment, watched: Watched) -> _Rows:
    """Read a whole version of a dataset."""
    rows = _Rows()
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
                some = map(hash, table["path"].to_pylist())
                paths.append(np.fromiter(some, np.int64, table.num_rows))
                addresses.append(table[ADDRESS].to_numpy().copy())
                done += table.num_rows
                watched.progress("checking photos", done, total)
        except BaseException as error:
            if not is_failure(error):
                raise
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


def _judge(table: pa.Table, dim: int, rows: _Rows) -> None:
    facts = rows_of(table)
    for at, kind in faults(facts, [each.tobytes() for each in vectors_of(table, dim)], dim).items():
        number, path, *_ = facts[at]
        rows.bad[kind].append(number)
        if len(rows.names[kind]) < _EXAMPLES:
            rows.names[kind].append(os.fsdecode(path))


def _compare(
    rows: _Rows,
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


def _rows_at(moment: Moment, addresses: list[int]) -> Iterator[Block]:
    """Rows by their addresses, one at a time, newest first."""
    wanted = np.array(sorted(addresses), np.uint64)
    for number in sorted({address >> FRAGMENT_BITS for address in addresses}, reverse=True):
        fragment = moment.dataset.get_fragment(number)
        if fragment is None:
            continue
        found: dict[int, pa.Table] = {}
        for batch in _batches(fragment):
            for at in np.flatnonzero(np.isin(batch[ADDRESS].to_numpy(), wanted)):
                row = pa.Table.from_batches([batch.slice(at, 1)])
                found[row[ADDRESS][0].as_py()] = row
        for _, row in sorted(found.items(), reverse=True):
            yield block_of(row, moment.dim)
