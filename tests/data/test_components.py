"""Components against a flood fill that is as plain as can be."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from msedge.data.components import find_components


def flooded(mask: np.ndarray) -> np.ndarray:
    labels = np.full(mask.shape, -1)
    count = 0
    for row, column in zip(*np.nonzero(mask), strict=True):
        if labels[row, column] >= 0:
            continue
        waiting = [(row, column)]
        while waiting:
            y, x = waiting.pop()
            inside = 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1]
            if inside and mask[y, x] and labels[y, x] < 0:
                labels[y, x] = count
                waiting += [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        count += 1
    return labels


@settings(max_examples=150, deadline=None)
@given(arrays.arrays(bool, st.tuples(st.integers(1, 14), st.integers(1, 14))))
def test_agrees_with_a_flood_fill(mask):
    found, expected = find_components(mask), flooded(mask)
    np.testing.assert_array_equal(found.labels, expected)
    assert len(found.areas) == len(found.boxes) == expected.max() + 1
    for number, (area, box) in enumerate(zip(found.areas, found.boxes, strict=True)):
        rows, columns = np.nonzero(expected == number)
        assert area == len(rows)
        assert box.tolist() == [
            columns.min(),
            rows.min(),
            columns.max() + 1,
            rows.max() + 1,
        ]


def test_a_spiral_is_one():
    mask = np.zeros((21, 21), bool)
    for ring in range(0, 10, 2):
        mask[ring, ring : 21 - ring] = mask[20 - ring, ring : 21 - ring] = True
        mask[ring : 21 - ring, 20 - ring] = mask[ring + 2 : 21 - ring, ring] = True
        mask[ring + 2, ring : ring + 3] = True
    assert len(find_components(mask).areas) == 1


def test_nothing_and_the_pixels_of_some():
    nothing = find_components(np.zeros((3, 4), bool))
    assert nothing.areas.tolist() == []
    assert not nothing.pixels(np.zeros(0, bool)).any()
    found = find_components(np.eye(4, dtype=bool)[[0, 3, 2, 1]])
    assert found.areas.tolist() == [1, 3]
    np.testing.assert_array_equal(found.pixels(np.array([True, False])), found.labels == 0)
    assert found.labels.shape == (4, 4)
