from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from msedge.search.near_duplicates import NEAR_DUPLICATE, Group, collapse


def at(*degrees: float) -> np.ndarray:
    """Unit vectors in the plane."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


WITHIN = 0.9 * np.degrees(np.arccos(NEAR_DUPLICATE))  # degrees between near-duplicates


def test_copies_stand_behind_the_first():
    groups = collapse(at(0, 90, 1, 180, 91, 2), k=3)
    assert groups == [Group(0, (2, 5)), Group(1, (4,)), Group(3, ())]


def test_k_counts_groups_and_later_copies_still_join():
    assert collapse(at(0, 90, 180, 1), k=2) == [Group(0, (3,)), Group(1, ())]


def test_a_chain_of_likeness_is_not_one_group():
    groups = collapse(at(0, WITHIN, 2 * WITHIN, 3 * WITHIN), k=9)
    assert groups == [Group(0, (1,)), Group(2, (3,))]


def test_the_threshold_counts_as_near():
    vectors = np.array([[1, 0], [0.5, np.sqrt(0.75)]], np.float32)
    assert collapse(vectors, k=2, threshold=0.5) == [Group(0, (1,))]
    assert len(collapse(vectors, k=2, threshold=0.51)) == 2


def test_nothing_makes_no_group():
    assert collapse(np.empty((0, 4), np.float32), k=3) == []


@settings(max_examples=50, deadline=None)
@given(
    degrees=st.lists(st.floats(0, 360, allow_nan=False), max_size=30),
    k=st.integers(1, 12),
)
def test_groups_part_the_ranking(degrees, k):
    vectors = at(*degrees) if degrees else np.empty((0, 2), np.float32)
    groups = collapse(vectors, k)
    firsts = [group.first for group in groups]
    everyone = [place for group in groups for place in (group.first, *group.others)]
    assert firsts == sorted(firsts)
    assert len(groups) <= k
    assert len(everyone) == len(set(everyone))
    if len(groups) < k:
        assert sorted(everyone) == list(range(len(vectors)))
    for group in groups:
        assert all(other > group.first for other in group.others)
        assert all(vectors[o] @ vectors[group.first] > NEAR_DUPLICATE - 1e-5 for o in group.others)
    for index, first in enumerate(firsts):
        assert all(vectors[first] @ vectors[f] < NEAR_DUPLICATE + 1e-5 for f in firsts[:index])
