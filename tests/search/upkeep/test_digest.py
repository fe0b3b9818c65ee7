from __future__ import annotations

import numpy as np
import pytest

from kept_galleries import photo, unit
from msedge.search.store import Block
from msedge.search.upkeep.digest import Digest


def digest(*blocks):
    made = Digest()
    for block in blocks:
        made.take(block)
    return made


def test_it_does_not_depend_on_how_photos_come_in_blocks():
    several = [photo(n) for n in range(5)]
    whole = digest(Block([1, 2, 5, 7, 9], several))
    ends = Block([5], several[2:3]), Block([7, 9], several[3:])
    parts = digest(Block([1, 2], several[:2]), Block([], []), *ends)
    assert whole.value() == parts.value()
    assert (whole.count, whole.last_id) == (parts.count, parts.last_id) == (5, 9)


@pytest.mark.parametrize(
    "change",
    [{"path": "/b.jpg"}, {"size": 1}, {"mtime_ns": 1}, {"content_hash": "x"}, {"width": 1},
     {"height": 1}, {"taken": 1.5}, {"vector": unit(9)}],
)  # fmt: skip
def test_every_field_counts(change):
    before, after = photo(1, path="/a.jpg"), photo(1, **({"path": "/a.jpg"} | change))
    assert digest(Block([1], [before])).value() != digest(Block([1], [after])).value()


def test_every_bit_of_a_vector_and_the_id_count():
    changed = unit(1)
    changed.view(np.uint16)[0] ^= 1
    values = {
        digest(Block([number], [photo(1, vector=vector)])).value()
        for number in (1, 2)
        for vector in (unit(1), changed)
    }
    assert len(values) == 4


def test_bytes_do_not_move_from_a_field_to_the_next():
    one = photo(1, path="/ab", content_hash="c")
    other = photo(1, path="/a", content_hash="bc")
    assert digest(Block([1], [one])).value() != digest(Block([1], [other])).value()


def test_a_sign_of_zero_that_sqlite_does_not_keep_does_not_count():
    values = [digest(Block([1], [photo(1, taken=zero)])).value() for zero in (0.0, -0.0)]
    assert values[0] == values[1]


@pytest.mark.parametrize("ids", [[2, 1], [1, 1], [0, 1]])
def test_ids_rise(ids):
    with pytest.raises(ValueError, match="comes after"):
        digest(Block(ids, [photo(1), photo(2)]))
