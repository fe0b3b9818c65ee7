from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msedge.search.ranking import nearest


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
