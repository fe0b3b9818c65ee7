"""Means over seeds: against SciPy, and against figures worked by hand."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from msedge.benchmark.intervals import over_seeds, student_quantile
from msedge.errors import ShapeError

values = st.lists(st.floats(0, 100), min_size=2, max_size=12)


class TestQuantile:
    @pytest.mark.parametrize("freedom", [*range(1, 12), 29, 30, 99, 1000])
    @pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
    def test_is_scipy_s(self, freedom, level):
        expected = stats.t.ppf((1 + level) / 2, freedom)
        assert student_quantile(freedom, level) == pytest.approx(expected, rel=1e-9)

    @pytest.mark.parametrize(("freedom", "level"), [(0, 0.95), (2, 0.0), (2, 1.0)])
    def test_refuses_what_has_none(self, freedom, level):
        with pytest.raises(ShapeError, match="Student's t needs"):
            student_quantile(freedom, level)


class TestOverSeeds:
    @given(values)
    def test_is_scipy_s_interval(self, drawn):
        found = over_seeds(drawn)
        assert found.mean == pytest.approx(statistics.fmean(drawn))
        error = stats.sem(drawn)
        if error > 1e-9:
            low, high = stats.t.interval(0.95, len(drawn) - 1, statistics.fmean(drawn), error)
            assert found.ends == pytest.approx((low, high), rel=1e-6, abs=1e-6)

    def test_the_published_page_s_three_seeds(self):
        found = over_seeds([49.1, 47.9, 49.1])
        assert found.deviation == pytest.approx(math.sqrt(0.48))
        assert found.half == pytest.approx(4.302653 * 0.4, rel=1e-6)

    def test_a_single_seed_has_no_interval(self):
        assert over_seeds([3.0]).ends is None

    def test_equal_seeds_have_no_width(self):
        assert over_seeds([2.0, 2.0]).ends == (2.0, 2.0)

    def test_nothing_has_no_mean(self):
        with pytest.raises(ShapeError, match="at least one value"):
            over_seeds([])
