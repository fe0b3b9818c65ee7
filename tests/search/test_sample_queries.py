from __future__ import annotations

import numpy as np
import pytest

from approximate_galleries import clustered
from msedge.search.sample_queries import blends


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
