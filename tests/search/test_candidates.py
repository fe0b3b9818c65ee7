from __future__ import annotations

import numpy as np
import pytest

from msedge.search.candidates import Candidates, found, unit_vectors
from msedge.search.ranking import nearest
from msedge.search.store import Found


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
        return Candidates(self.ids[rows], similarities, self.vectors[rows])


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
        assert hits == [Found(1, 1.0), Found(2, 1.0), Found(3, 1.0)]

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
