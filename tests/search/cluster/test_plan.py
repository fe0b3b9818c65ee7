from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msedge.errors import DataError
from msedge.search.cluster.plan import PART, Choice, cut, parts_of, plan_work, with_ids
from msedge.search.cluster.shards import Listing
from msedge.search.cluster.sources import Sources
from msedge.search.cluster.wire import Item
from msedge.search.folders import FoundFile
from msedge.search.gallery_rows import Place

TAR = FoundFile("/p/s.tar", 100, 7)
LISTING = Listing(TAR, ("b.png", "a.png", ".c.png"), ((512, 5), (2048, 6), (4096, 7)))


def plan(sources, places=None, records=None, choice=None, listings=()):
    listed = []

    def list_shards(shards):
        listed.extend(shard.path for shard in shards)
        return [listing for listing in listings if listing.shard in shards]

    found = plan_work(sources, places or {}, records or {}, choice or Choice(), list_shards)
    return found, listed


class TestPlan:
    def test_photos_of_a_shard_follow_each_other_as_they_lie_there(self):
        sources = Sources(["/p"], [FoundFile("/p/z.png", 1, 1), FoundFile("/p/a.png", 1, 1)], [TAR])
        found, listed = plan(sources, listings=[LISTING])
        assert [file.path for file in found.to_read] == [
            "/p/a.png", "/p/s.tar/b.png", "/p/s.tar/a.png", "/p/z.png",
        ]  # fmt: skip
        assert listed == ["/p/s.tar"]
        shard, spot = found.spots["/p/s.tar/a.png"]
        assert (shard.path, shard.size, shard.mtime_ns, spot) == ("/p/s.tar", 100, 7, (2048, 6))
        (record,) = found.records
        assert (record.path, record.photos) == ("/p/s.tar", 2)

    def test_a_shard_that_is_whole_in_the_gallery_is_not_opened(self):
        sources = Sources(["/p"], [], [TAR])
        first, _ = plan(sources, listings=[LISTING])
        records = {record.path: record for record in first.records}
        places = {f"/p/s.tar/{n}.png": Place(i, 100, 7, f"{i}") for i, n in enumerate("ab")}
        again, listed = plan(sources, places, records)
        assert (again.unchanged, again.to_read, again.gone, listed) == (2, [], {}, [])

    @pytest.mark.parametrize(
        ("size", "mtime", "photos", "choice"),
        [
            (101, 7, 2, Choice()),
            (100, 8, 2, Choice()),
            (100, 7, 1, Choice()),
            (100, 7, 2, Choice(hidden=True)),
            (100, 7, 2, Choice(exclude=("a.*",))),
        ],
    )
    def test_else_it_is(self, size, mtime, photos, choice):
        sources = Sources(["/p"], [], [TAR])
        first, _ = plan(sources, listings=[LISTING])
        records = {record.path: record for record in first.records}
        places = {
            f"/p/s.tar/{n}.png": Place(i, size, mtime, "") for i, n in enumerate("ab"[:photos])
        }
        assert plan(sources, places, records, choice, [LISTING])[1] == ["/p/s.tar"]

    def test_photos_that_left_a_shard_are_gone_and_others_stay(self):
        places = {
            "/p/s.tar/b.png": Place(1, 100, 7, "x"),
            "/p/s.tar/old.png": Place(2, 100, 7, "y"),
            "/elsewhere/s.tar/a.png": Place(3, 1, 1, "z"),
        }
        found, _ = plan(Sources(["/p"], [], [TAR]), places, listings=[LISTING])
        assert found.gone == {"y": [2]}
        assert found.unchanged == 1

    def test_photos_of_a_shard_that_cannot_be_listed_stay(self):
        places = {"/p/s.tar/b.png": Place(1, 100, 7, "x")}
        sources = Sources(["/p"], [FoundFile("/p/a.png", 1, 1)], [TAR])
        found, _ = plan(sources, places, listings=[Listing(TAR, unread="damaged")])
        assert (found.gone, found.unread) == ({}, {"/p/s.tar": "damaged"})

    def test_a_source_that_is_suddenly_empty_is_not_believed(self):
        places = {"/p/a.png": Place(1, 100, 7, "x")}
        with pytest.raises(DataError, match="--allow-empty"):
            plan(Sources(["/p"]), places)
        assert plan(Sources(["/p"]), places, choice=Choice(allow_empty=True))[0].gone == {"x": [1]}


class TestIds:
    def test_new_photos_follow_each_other_and_changed_ones_keep_theirs(self):
        sources = Sources(["/p"], [FoundFile(f"/p/{n}.png", 1, 1) for n in "abcd"])
        places = {"/p/b.png": Place(7, 2, 2, "old")}
        found, _ = plan(sources, places)
        asked = []

        def reserve(count):
            asked.append(count)
            return 20

        items = with_ids(found, places, reserve)
        assert [(item.file.path, item.id, item.known_hash) for item in items] == [
            ("/p/a.png", 20, ""),
            ("/p/b.png", 7, "old"),
            ("/p/c.png", 21, ""),
            ("/p/d.png", 22, ""),
        ]
        assert asked == [3]

    def test_none_are_reserved_for_nothing(self):
        places = {"/p/b.png": Place(7, 2, 2, "old")}
        found, _ = plan(Sources(["/p"], [FoundFile("/p/b.png", 1, 1)]), places)
        assert [item.id for item in with_ids(found, places, lambda _: 1 / 0)] == [7]


@given(st.integers(0, 3000), st.integers(1, 40))
def test_parts_hold_everything_once_in_whole_batches(count, workers):
    items = [Item(FoundFile(f"/{n}", 1, 1), n) for n in range(count)]
    parts = parts_of(items, workers)
    assert [item for part in parts for item in part.items] == items
    assert [part.number for part in parts] == list(range(len(parts)))
    assert all(len(part.items) <= PART and len(part.items) % 16 == 0 for part in parts[:-1])


def test_cutting():
    items = [Item(FoundFile(f"/{n}", 1, 1), n) for n in range(5)]
    assert [(part.number, len(part.items)) for part in cut(items, 2, 7)] == [(7, 2), (8, 2), (9, 1)]
