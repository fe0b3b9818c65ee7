"""Every row of a gallery's Lance dataset looked at once: what can be wrong, and its mending."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from lance import LanceDataset, LanceOperation

from msedge.data.images import one_line
from msedge.search.locations import is_remote
from msedge.search.photo import BAD_FACT, BAD_PATH, BAD_VECTOR, Block, Ids, NewPhoto, faults
from msedge.search.stores.copying import PART
from msedge.search.stores.lance import dataset as stored
from msedge.search.stores.lance.dataset import ROW_ADDRESS, told
from msedge.search.stores.lance.moment import Moment
from msedge.search.stores.reports import Problem, Watched, examples
from msedge.search.stores.store import EMBEDS_AGAIN, Store, problems_of_files

_COMPACTS = "`msedge gallery compact` makes few large ones of them"
_MANY = 100  # fragments or versions, from which opening and searching take longer
_EXAMPLES = 4
_LOOKED_UP = 500  # rows at a time
# Lance's own settings take a gigabyte of memory for a million photos.
_FRUGAL: dict[str, Any] = {"batch_size": 4096, "batch_readahead": 4, "io_buffer_size": 2**25}
_FAULTS = {
    BAD_VECTOR: "vectors that are not finite or not of length 1",
    BAD_PATH: "paths that are not absolute",
    BAD_FACT: "ids, sizes or dates that cannot be",
}


def problems_of(
    store: Store, now: Callable[[], Moment], watched: Watched, *, photos: bool
) -> Iterator[Problem]:
    """What is wrong with a dataset that opens; ``now`` gives its newest version."""
    watched.progress("checking photos")
    moment = now()
    rows = _look_at_rows(moment, watched)
    yield from _problems_of_rows(store, moment, rows)
    yield from _notes(now())
    half = store.path.with_name(store.path.name + PART)
    if not is_remote(store.path) and half.exists():
        what = f"half a copy that a killed process left ({one_line(half.name)})"
        yield Problem.found("leftovers", what, 1, "removes it", partial(_remove_half, half))
    if photos and not rows.unreadable:
        yield from problems_of_files(store, watched)


def _problems_of_rows(store: Store, moment: Moment, rows: _Rows) -> Iterator[Problem]:
    if rows.unreadable:
        why = next(iter(rows.unreadable.values()))
        what = f"{len(rows.unreadable):,} fragments with {rows.lost:,} photos cannot be read"
        # An object store that does not answer looks the same, and would cost all photos.
        if is_remote(store.path):
            advice, mend = "try again; else put a copy in its place", None
        else:
            advice = f"takes them out; {EMBEDS_AGAIN}"
            mend = partial(_take_out, moment, list(rows.unreadable))
        yield Problem.found("damage", f"{what} ({why})", rows.lost, advice, mend)
    for kind, ids in rows.bad.items():
        what = f"{len(ids):,} photos with {_FAULTS[kind]} ({examples(rows.names[kind])})"
        mend = partial(_remove, store, ids)
        yield Problem.found(kind, what, len(ids), f"removes them; {EMBEDS_AGAIN}", mend)
    if count := len(rows.repeated):
        what = f"{count:,} rows that share an id or a path with another"
        mend = partial(_keep_newest, store, moment, rows.repeated)
        yield Problem.found("repeated", what, count, "keeps the newest of each", mend)
    if (stored.said_next_id(moment.dataset) or 1) <= rows.largest_id:
        what = f"ids up to {rows.largest_id:,} are taken and may be given again"
        mend = partial(_raise_mark, store, rows.largest_id)
        yield Problem.found("ids", what, 1, "keeps them from that", mend)


def _notes(moment: Moment) -> Iterator[Problem]:
    fragments, versions, waiting = moment.parts().values()
    if fragments > _MANY:
        yield Problem.noted("fragments", f"{fragments:,} fragments", fragments, _COMPACTS)
    if versions > _MANY:
        what = f"{versions:,} versions"
        yield Problem.noted("versions", what, versions, "`msedge gallery compact` removes old ones")
    if waiting:
        what = f"the index does not know {waiting:,} photos yet, which are searched beside it"
        yield Problem.noted("unindexed", what, waiting, "`msedge gallery compact` takes them in")


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
    for start in range(0, len(addresses), _LOOKED_UP):
        some = addresses[start : start + _LOOKED_UP]
        with told(moment.path):
            rows = stored.matching(moment.dataset, stored.WHOLE, **{ROW_ADDRESS: some})
        newest_first = stored.block_of(rows.sort_by([(ROW_ADDRESS, "descending")]), moment.dim)
        for number, photo in zip(*newest_first, strict=True):
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
    """What was seen of them."""

    unreadable: dict[int, str] = field(default_factory=dict)  # why, by the fragment's number
    lost: int = 0  # photos in these
    bad: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))  # ids by fault
    names: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # a few of them
    repeated: list[int] = field(default_factory=list)  # addresses, newest first
    largest_id: int = 0


def _look_at_rows(moment: Moment, watched: Watched) -> _Rows:
    rows = _Rows()
    ids: list[Ids] = [np.empty(0, np.int64)]
    paths = [np.empty(0, np.int64)]  # hashes of them
    addresses = [np.empty(0, np.uint64)]
    fragments = moment.dataset.get_fragments()
    done, total = 0, sum(fragment.metadata.num_rows for fragment in fragments)
    for fragment in fragments:
        try:
            for batch in fragment.to_batches(with_row_address=True, **_FRUGAL):
                table = pa.Table.from_batches([batch])
                _judge(table, moment.dim, rows)
                ids.append(table["id"].to_numpy().copy())  # a view keeps the whole batch
                some = map(hash, table["path"].to_pylist())
                paths.append(np.fromiter(some, np.int64, table.num_rows))
                addresses.append(table[ROW_ADDRESS].to_numpy().copy())
                done += table.num_rows
                watched.progress("checking photos", done, total)
        except BaseException as error:
            if not stored.is_failure(error):
                raise
            rows.unreadable[fragment.fragment_id] = stored.reason(error)
            rows.lost += fragment.metadata.num_rows
    every = np.concatenate(ids)
    twice = _repeats(every) | _repeats(np.concatenate(paths))
    twice &= ~np.isin(every, [number for some in rows.bad.values() for number in some])
    rows.repeated = np.sort(np.concatenate(addresses)[twice])[::-1].tolist()
    rows.largest_id = int(every.max(initial=0))
    return rows


def _judge(table: pa.Table, dim: int, rows: _Rows) -> None:
    facts, vectors = stored.rows_of(table), stored.vectors_of(table, dim)
    for at, kind in faults(facts, [each.tobytes() for each in vectors], dim).items():
        number, path, *_ = facts[at]
        rows.bad[kind].append(number)
        if len(rows.names[kind]) < _EXAMPLES:
            rows.names[kind].append(os.fsdecode(path))


def _repeats(values: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    repeats: npt.NDArray[np.bool_] = counts[place] > 1
    return repeats
