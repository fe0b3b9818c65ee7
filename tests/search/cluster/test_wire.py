from __future__ import annotations

import dataclasses
import json
import os

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from msedge.search.cluster.wire import Item, Part, PartResult, ShardFile, held_photo, photo_held
from msedge.search.folders import FoundFile
from photo_files import new_photo

NAMES = st.binary(min_size=1, max_size=12).map(os.fsdecode)
WHOLE = st.integers(0, 2**62)
SHARDS = st.builds(ShardFile, NAMES, WHOLE, WHOLE, st.text(max_size=5))
ITEMS = st.builds(
    Item,
    st.builds(FoundFile, NAMES, WHOLE, WHOLE),
    WHOLE,
    st.sampled_from(["", "0" * 64]),
    st.none() | SHARDS,
)


@given(st.builds(Part, WHOLE, st.lists(ITEMS, max_size=9).map(tuple)))
def test_a_part_comes_back_whatever_its_names_are_made_of(part):
    assert Part.from_json(part.as_json()) == part


def test_places_within_shards_come_back_and_a_shard_is_told_once():
    shard = ShardFile("/a.tar", 1, 2, "")
    items = [Item(FoundFile(f"/a.tar/{n}", 1, 2), n, "", shard, (n * 512, 7)) for n in range(9)]
    part = Part(3, tuple(items))
    assert Part.from_json(part.as_json()) == part
    assert len(json.loads(part.as_json())["shards"]) == 1


def test_a_result_comes_back():
    photo = new_photo("/a\udcff\n.png", 3, dim=5)
    result = PartResult(
        4, ["{}"], [1, 2], [2], [(5, held_photo(photo))], [(6, "why", True)], "w", "n", 0.5, "no"
    )
    back = PartResult.from_json(result.as_json())
    assert (back.number, back.written, back.failed) == (4, [1, 2], "no")
    ((id, told),) = back.held
    again = photo_held(told)
    assert id == 5
    np.testing.assert_array_equal(again.vector, photo.vector)
    assert again.vector.dtype == np.float16
    zero = np.zeros(1)
    assert dataclasses.replace(again, vector=zero).path == photo.path
    assert (again.size, again.mtime_ns, again.taken) == (photo.size, photo.mtime_ns, photo.taken)
