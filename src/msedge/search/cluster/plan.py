"""What has to be read so that a gallery holds what its sources hold, in which order, as which ids.

Photos are compared as the single-machine index compares them; those of a shard by the shard's size
and time. Tested in ``tests/search/cluster/test_plan.py``.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from msedge.search.cluster.shards import Listing, shard_kind
from msedge.search.cluster.sidecars import ShardRecord
from msedge.search.cluster.sources import Sources, wanted_within
from msedge.search.cluster.wire import Item, Part, ShardFile
from msedge.search.cluster.worker import BATCH
from msedge.search.folders import FoundFile, Walk
from msedge.search.gallery_rows import Place
from msedge.search.index_plan import check_not_emptied, plan_index

PART = 512
"""Photos a part at most: what is lost with a worker, and what a fragment begins as."""

_PARTS_A_WORKER = 8  # at least, so that none waits long for the last

Spots = dict[str, tuple[ShardFile, tuple[int, int]]]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which photos count.

    Attributes:
        exclude: patterns of names to leave out.
        hidden: whether names that begin with a dot count.
        column: of the photos in Parquet files; None to find it.
        allow_empty: whether a source without photos is believed.
    """

    exclude: tuple[str, ...] = ()
    hidden: bool = False
    column: str | None = None
    allow_empty: bool = False

    def asked(self) -> str:
        """What of it decides how many photos a shard holds, as text."""
        return json.dumps([sorted(self.exclude), self.hidden, self.column])


@dataclass(slots=True)
class WorkPlan:
    """Sources held against a gallery.

    Attributes:
        to_read: new photos and changed ones, in the order in which they get ids.
        spots: of those that lie in shards: the shard, and where in it.
        unchanged: how many are as they were.
        gone: ids of the photos that are no longer where they were, by content hash.
        unread: what cannot be read, with the reason.
        records: what the shards hold.
    """

    to_read: list[FoundFile]
    spots: Spots
    unchanged: int
    gone: dict[str, list[int]]
    unread: dict[str, str]
    records: list[ShardRecord] = field(default_factory=list)


def plan_work(
    sources: Sources,
    places: Mapping[str, Place],
    records: Mapping[str, ShardRecord],
    choice: Choice,
    list_shards: Callable[[Sequence[FoundFile]], Iterable[Listing]],
) -> WorkPlan:
    """Compare what was found with what is known.

    Args:
        sources: what was found.
        places: the photos that are known, by path.
        records: what shards held when they were last listed, by path.
        choice: which photos count.
        list_shards: lists shards, in any order; called for those that may hold something new.

    Raises:
        DataError: a source is suddenly without photos.
    """
    known = _by_shard(places, {shard.path for shard in sources.shards})
    unread = dict(sources.unread)
    entries = [(os.fsencode(file.path), 0, file) for file in sources.files]
    kept: list[ShardRecord] = []
    to_list = []
    for shard in sources.shards:
        record = records.get(shard.path)
        if record and _is_whole(record, shard, known.get(shard.path, []), choice):
            kept.append(record)
            entries += [
                (os.fsencode(shard.path), 0, FoundFile(path, shard.size, shard.mtime_ns))
                for path, _ in known.get(shard.path, [])
            ]
        else:
            to_list.append(shard)
    spots: Spots = {}
    for listing in list_shards(to_list) if to_list else ():
        if listing.unread is not None:
            unread[listing.shard.path] = listing.unread
            continue
        kept.append(_take(listing, choice, entries, spots))
    entries.sort(key=lambda entry: entry[:2])
    walk = Walk(tuple(sources.roots), [file for *_, file in entries], unread)
    if not choice.allow_empty:
        check_not_emptied(walk, places)
    plan = plan_index(walk, places)
    return WorkPlan(plan.to_read, spots, plan.unchanged, plan.gone, unread, kept)


def with_ids(
    plan: WorkPlan, places: Mapping[str, Place], reserve: Callable[[int], int]
) -> list[Item]:
    """Give ids to what is to be read: a changed photo keeps its own, new ones follow each other.

    Args:
        plan: what is to be read.
        places: the photos that are known, by path.
        reserve: gives the first of so many ids in a row.
    """
    new = sum(file.path not in places for file in plan.to_read)
    next_id = reserve(new) if new else 0
    items = []
    for file in plan.to_read:
        shard, spot = plan.spots.get(file.path, (None, (0, 0)))
        place = places.get(file.path)
        if place is None:
            items.append(Item(file, next_id, "", shard, spot))
            next_id += 1
        else:
            items.append(Item(file, place.id, place.content_hash, shard, spot))
    return items


def parts_of(items: Sequence[Item], workers: int) -> list[Part]:
    """Cut the work into parts: small enough that all workers have some, whole batches each."""
    share = len(items) // (max(workers, 1) * _PARTS_A_WORKER)
    size = min(PART, max(BATCH, share // BATCH * BATCH))
    return cut(items, size)


def cut(items: Sequence[Item], size: int, first: int = 0) -> list[Part]:
    """Parts of so many photos, numbered from one on."""
    return [
        Part(first + number, tuple(items[at : at + size]))
        for number, at in enumerate(range(0, len(items), size))
    ]


def _by_shard(places: Mapping[str, Place], shards: set[str]) -> dict[str, list[tuple[str, Place]]]:
    """The known photos of each shard."""
    found: dict[str, list[tuple[str, Place]]] = defaultdict(list)
    if not shards:
        return found
    for path, place in places.items():
        at = path.find("/", 1)
        while at >= 0:
            if shard_kind(path[:at]) and path[:at] in shards:
                found[path[:at]].append((path, place))
                break
            at = path.find("/", at + 1)
    return found


def _is_whole(
    record: ShardRecord, shard: FoundFile, known: Sequence[tuple[str, Place]], choice: Choice
) -> bool:
    identity = (shard.size, shard.mtime_ns)
    return (
        (record.size, record.mtime_ns) == identity
        and record.asked == choice.asked()
        and record.photos == len(known)
        and all((place.size, place.mtime_ns) == identity for _, place in known)
    )


def _take(
    listing: Listing, choice: Choice, entries: list[tuple[bytes, int, FoundFile]], spots: Spots
) -> ShardRecord:
    shard = listing.shard
    file = ShardFile(shard.path, shard.size, shard.mtime_ns, listing.column)
    wanted = wanted_within(shard.path, choice.exclude, choice.hidden)
    photos = 0
    for name, spot in zip(listing.names, listing.spots, strict=True):
        if wanted(name):
            path = f"{shard.path}/{name}"
            entries.append(
                (os.fsencode(shard.path), spot[0], FoundFile(path, shard.size, shard.mtime_ns))
            )
            spots[path] = (file, spot)
            photos += 1
    return ShardRecord(shard.path, shard.size, shard.mtime_ns, photos, choice.asked())
