from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approximate_galleries import clustered
from msedge.search.ranking import (
    NEAR_DUPLICATE,
    Candidates,
    Found,
    Group,
    blends,
    collapse,
    found,
    nearest,
    unit_vectors,
)


def unit(vectors: np.ndarray) -> np.ndarray:
    vectors = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors.astype(np.float32)


def by_sorting(vectors, query, k, allowed=None):
    """The definition: all rows by falling exact cosine, ties by row."""
    exact = [sum(float(a) * float(b) for a, b in zip(row, query, strict=True)) for row in vectors]
    rows = [row for row in range(len(vectors)) if allowed is None or allowed[row]]
    return sorted(rows, key=lambda row: (-exact[row], row))[:k]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 60),
    k=st.integers(1, 80),
    masked=st.booleans(),
    distinct=st.integers(1, 60),
)
def test_it_is_what_sorting_everything_gives(seed, count, k, masked, distinct):
    rng = np.random.default_rng(seed)
    kinds = unit(rng.standard_normal((distinct, 7)))
    vectors, query = kinds[rng.integers(0, distinct, count)], unit(rng.standard_normal(7))
    allowed = rng.random(count) < 0.5 if masked else None
    rows, similarities = nearest(vectors, query, k, allowed=allowed)
    # Rows of equal vectors are equal here too; other near-ties may fall either way in the sum.
    wanted = by_sorting(vectors, query, k, allowed)
    np.testing.assert_allclose(vectors[rows] @ query, vectors[wanted] @ query, atol=1e-6)
    assert len(set(rows.tolist())) == len(rows) == len(wanted)
    assert allowed is None or allowed[rows].all()
    for one, other in zip(range(len(rows)), range(1, len(rows)), strict=False):
        assert similarities[one] >= similarities[other]
        if (vectors[rows[one]] == vectors[rows[other]]).all():
            assert similarities[one] == similarities[other]
            assert rows[one] < rows[other]


def test_equal_vectors_are_equal_wherever_they_stand():
    rng = np.random.default_rng(0)
    vectors = unit(rng.standard_normal((5000, 257)))
    places = np.sort(rng.choice(5000, 400, replace=False))
    vectors[places] = vectors[places[0]]
    rows, similarities = nearest(vectors, vectors[places[0]], 400)
    assert rows.tolist() == places.tolist()
    assert len(set(similarities.tolist())) == 1
    assert similarities[0] == pytest.approx(1.0, abs=1e-7)


def test_rounding_does_not_lose_the_best():
    """Scores that float32 cannot tell apart are told apart, at the border of the first k too."""
    query = unit(np.ones(64))
    vectors = np.repeat(query[None], 1000, axis=0)
    nudged = np.arange(0, 1000, 7)
    vectors[nudged, 0] = np.nextafter(vectors[0, 0], np.float32(1))
    for k in (1, len(nudged) - 1, len(nudged)):
        rows, _ = nearest(vectors, query, k)
        assert rows.tolist() == nudged[:k].tolist()


def test_more_than_there_are():
    vectors = unit(np.random.default_rng(0).standard_normal((3, 4)))
    assert sorted(nearest(vectors, vectors[0], 50)[0].tolist()) == [0, 1, 2]


def test_nothing_to_find():
    query = np.array([1, 0], np.float32)
    for vectors, allowed in (
        (np.empty((0, 2), np.float32), None),
        (np.eye(2, dtype=np.float32), np.zeros(2, np.bool_)),
    ):
        rows, similarities = nearest(vectors, query, 3, allowed=allowed)
        assert rows.shape == similarities.shape == (0,)
        assert rows.dtype == np.int64


def test_similarities_stay_within_their_range():
    vector = unit(np.full(33, 0.1))
    vectors = np.stack([vector, -vector]) * np.float32(1.0000001)
    _, similarities = nearest(vectors, vector, 2)
    assert similarities.max() <= 1.0
    assert similarities.min() >= -1.0


def circle(count: int, first: float = 0.0, step: float = 20.0) -> np.ndarray:
    angles = np.radians(first + step * np.arange(count))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


EAST = np.array([1, 0], np.float32)


class Looking:
    """Exact candidates, and how far down they were asked for."""

    def __init__(self, vectors, first: int = 1) -> None:
        self.vectors = np.asarray(vectors, np.float32)
        self.ids = np.arange(first, first + len(self.vectors))
        self.depths: list[int] = []

    def __call__(self, depth: int) -> Candidates:
        self.depths.append(depth)
        rows, similarities = nearest(self.vectors, EAST, depth)
        return Candidates(self.ids[rows], similarities, similarities, self.vectors[rows])


class TestTogether:
    def test_near_duplicates_are_one(self):
        look = Looking(np.concatenate([circle(3), circle(3, first=1)]), first=10)
        hits = found(look, 2, together=True)
        assert [(each.id, each.copies) for each in hits] == [(10, (13,)), (11, (14,))]
        assert [each.similarity for each in hits] == pytest.approx([1.0, np.cos(np.radians(20))])

    def test_apart_when_asked(self):
        look = Looking(np.concatenate([circle(3), circle(3, first=1)]))
        hits = found(look, 3, together=False)
        assert [each.id for each in hits] == [1, 4, 2]
        assert {each.copies for each in hits} == {()}
        assert look.depths == [3]

    def test_ties_by_id(self):
        hits = found(Looking([EAST] * 5), 3, together=False)
        assert hits == [Found(1, 1.0, 1.0), Found(2, 1.0, 1.0), Found(3, 1.0, 1.0)]

    def test_it_looks_as_far_down_as_it_takes(self):
        """A thousand copies of the best photo do not hide the others."""
        look = Looking(np.concatenate([[EAST] * 3000, circle(4, first=30, step=30)]))
        hits = found(look, 4, together=True)
        assert [each.id for each in hits] == [1, 3001, 3002, 3003]
        assert len(hits[0].copies) == 2999
        assert look.depths == [500, 2000, 8000]

    def test_fewer_groups_than_asked_for(self):
        (only,) = found(Looking([EAST] * 700), 20, together=True)
        assert only.copies == tuple(range(2, 701))

    def test_nothing_to_find(self):
        assert found(Looking(np.empty((0, 2))), 5, together=True) == []


class TestShunned:
    def test_what_is_shunned_goes_with_its_near_duplicates(self):
        look = Looking(np.concatenate([circle(3), circle(1, first=21)]))
        shunned = [look.vectors[1]]
        assert [each.id for each in found(look, 9, shunned=shunned, together=False)] == [1, 3]

    def test_more_is_looked_at_where_it_takes_the_first_hits_away(self):
        look = Looking(np.concatenate([[EAST] * 600, circle(3, first=30, step=30)]))
        hits = found(look, 2, shunned=[EAST], together=False)
        assert [each.id for each in hits] == [601, 602]
        assert look.depths == [500, 2000]


class TestUnitVectors:
    def test_of_length_one(self):
        stored = (circle(5) * 0.99).astype(np.float16)
        vectors = unit_vectors(stored)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)

    def test_a_vector_of_zeros_stays(self):
        np.testing.assert_array_equal(unit_vectors(np.zeros((1, 4), np.float16)), np.zeros((1, 4)))


def at(*degrees: float) -> np.ndarray:
    """Unit vectors in the plane."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


WITHIN = 0.9 * np.degrees(np.arccos(NEAR_DUPLICATE))  # degrees between near-duplicates


def test_copies_stand_behind_the_first():
    groups = collapse(at(0, 90, 1, 180, 91, 2), k=3)
    assert groups == [Group(0, (2, 5)), Group(1, (4,)), Group(3)]


def test_k_counts_groups_and_later_copies_still_join():
    assert collapse(at(0, 90, 180, 1), k=2) == [Group(0, (3,)), Group(1)]


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


class TestBlends:
    def test_they_are_unit_vectors_and_the_same_every_time(self):
        vectors = clustered(100, 12)
        made = [blends(vectors, np.random.default_rng(1), 50) for _ in range(2)]
        assert (made[0] == made[1]).all()
        assert np.linalg.norm(made[0], axis=1) == pytest.approx(np.ones(50), abs=1e-5)

    def test_opposites_give_one_of_the_two(self):
        vectors = np.array([[1, 0], [-1, 0]], np.float16)
        assert (np.abs(blends(vectors, np.random.default_rng(0))) == [1, 0]).all()

    def test_an_empty_gallery_has_none(self):
        assert blends(clustered(0, 4), np.random.default_rng(0)).shape == (0, 4)
