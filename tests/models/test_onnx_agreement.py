"""Cosine distances between vectors of the same images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msedge.models.onnx_agreement import BOUNDS, Agreement, agreement


def vectors(seed: int, count: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 5)).astype(np.float32)


@given(st.integers(0, 99), st.integers(1, 6))
def test_as_one_minus_the_cosine_however_it_is_split(seed, split):
    one, other = vectors(seed), vectors(seed + 100)
    cosines = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    starts = range(0, 6, split)
    found = agreement((one[s : s + split], other[s : s + split]) for s in starts)
    assert found.images == 6
    assert found.mean == pytest.approx((1 - cosines).mean(), abs=1e-6)
    assert found.worst == pytest.approx((1 - cosines).max(), abs=1e-6)


def test_of_the_same_vectors_there_is_none():
    assert agreement([(vectors(0), 3 * vectors(0))]).worst < 1e-13


def test_a_small_distance_keeps_its_digits():
    turned = np.array([[1, 1e-5]], np.float32)
    found = agreement([(np.array([[1, 0]], np.float32), turned)])
    assert found.worst == pytest.approx(5e-11, rel=1e-3)


def test_no_image():
    with pytest.raises(ValueError, match="need at least one array"):
        agreement([])


@pytest.mark.parametrize("precision", BOUNDS)
def test_bounds(precision):
    bound = BOUNDS[precision]
    assert bound.holds(Agreement(bound.mean, bound.worst, 1))
    assert not bound.holds(Agreement(2 * bound.mean, bound.worst, 1))
    assert not bound.holds(Agreement(bound.mean, 2 * bound.worst, 1))
    assert not bound.holds(Agreement(float("nan"), float("nan"), 1))
