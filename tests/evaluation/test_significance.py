"""Intervals and p-values against SciPy, all signs there are, and what they promise in the end."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from msedge.errors import ConfigError, ShapeError
from msedge.evaluation import significance
from msedge.evaluation.significance import Comparison, Interval, bootstrap, compare


def skewed(queries: int, seed: int) -> np.ndarray:
    """Values in [0, 1] that pile up near 0, as average precisions do."""
    return np.random.default_rng(seed).beta(0.5, 1.5, queries)


def both_ends(result: Interval | Comparison) -> tuple[float, float]:
    return result.low, result.high


class TestSmoke:
    def test_an_interval_holds_its_mean_and_keeps_the_order_of_measures(self):
        values = {"mAP@all": skewed(300, 0), "P@100": skewed(300, 1)}
        found = bootstrap(values)
        assert list(found) == ["mAP@all", "P@100"]
        for measure, interval in found.items():
            assert interval.mean == pytest.approx(values[measure].mean(), rel=1e-12)
            assert interval.low < interval.mean < interval.high

    def test_a_comparison_takes_second_less_first(self):
        first = skewed(300, 0)
        found = compare({"b": first, "a": first}, {"a": first + 0.25, "b": first})
        assert list(found) == ["b", "a"]
        assert found["a"].difference == pytest.approx(found["a"].second - found["a"].first)
        assert found["a"].difference == pytest.approx(0.25)
        assert found["b"].difference == 0.0

    def test_counts_and_truth_values_are_numbers_too(self):
        found = bootstrap({"found": np.array([True, False]), "rank": np.array([1, 3])})
        assert (found["found"].mean, found["rank"].mean) == (0.5, 2.0)


class TestExceptions:
    good = np.linspace(0, 1, 5)

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({}, "values has no measure"),
            ({"P@1": np.zeros((5, 1))}, r"values\['P@1'\] must hold a number.*float64 \(5, 1\)"),
            ({"P@1": np.zeros(0)}, "1-D and not empty"),
            ({"P@1": np.array(["a"])}, r"must hold a number for each query.*<U1"),
            ({"P@1": good, "P@2": good[:4]}, r"values\['P@2'\] has 4 queries.*have 5"),
            ({"P@1": good, "R@1": np.array([0, 1, 0, np.nan, 1])}, r"\['R@1'\].*for query 3"),
            ({"P@1": np.array([np.inf])}, "not finite for query 0"),
        ],
    )
    def test_values_that_are_not_one_number_a_query(self, values, message):
        for call in (bootstrap, lambda v: compare(v, v)):
            with pytest.raises(ShapeError) as caught:
                call(values)
            assert "\n" not in str(caught.value)
        with pytest.raises(ShapeError, match=message):
            bootstrap(values)

    def test_systems_that_cannot_be_paired(self):
        with pytest.raises(ShapeError, match=r"only one of first and second has P@1, P@2; give"):
            compare({"P@1": self.good}, {"P@2": self.good})
        with pytest.raises(ShapeError, match="first has 5 queries but second has 4"):
            compare({"P@1": self.good}, {"P@1": self.good[:4]})
        with pytest.raises(ShapeError, match=r"^first\['P@1'\] is not finite for query 0"):
            compare({"P@1": np.full(5, np.nan)}, {"P@1": self.good})
        with pytest.raises(ShapeError, match=r"^second\['P@1'\] is not finite for query 0"):
            compare({"P@1": self.good}, {"P@1": np.full(5, np.nan)})

    @pytest.mark.parametrize(
        "options",
        [{"resamples": 0}, {"seed": -1}, {"level": 0.0}, {"level": 1.0}, {"level": float("nan")}],
    )
    def test_options_out_of_range(self, options):
        values = {"P@1": self.good}
        for call in (lambda **o: bootstrap(values, **o), lambda **o: compare(values, values, **o)):
            with pytest.raises(ConfigError, match=f"{next(iter(options))} must"):
                call(**options)


class TestReproducibility:
    def test_options_that_are_left_out(self):
        one, two = {"AP": skewed(4, 0)}, {"AP": skewed(4, 1)}
        assert bootstrap(one) == bootstrap(one, resamples=2000, seed=0, level=0.95)
        assert compare(one, two) == compare(one, two, resamples=10_000, seed=0, level=0.95)

    def test_signs_are_not_those_by_which_queries_were_drawn(self):
        """Else p-value and interval of one seed would err together."""
        one, two = {"AP": skewed(12, 0)}, {"AP": skewed(12, 1)}
        found = [compare(one, two, seed=seed, resamples=200)["AP"] for seed in range(40)]
        correlation = np.corrcoef([each.p_value for each in found], [each.low for each in found])
        assert abs(correlation[0, 1]) < 0.5

    def test_the_seed_decides(self):
        one, two = {"AP": skewed(80, 0)}, {"AP": skewed(80, 1)}
        assert bootstrap(one, seed=3) == bootstrap(one, seed=3)
        assert bootstrap(one, seed=3) != bootstrap(one, seed=4)
        p_values = [compare(one, two, seed=seed, resamples=500)["AP"].p_value for seed in (3, 3, 4)]
        assert p_values[0] == p_values[1] != p_values[2]

    def test_blocks_do_not_change_the_draws(self, monkeypatch):
        one, two = {"AP": skewed(83, 0)}, {"AP": skewed(83, 0) + 0.02 * skewed(83, 1) - 0.004}
        whole = bootstrap(one)["AP"], compare(one, two, resamples=500)["AP"]
        monkeypatch.setattr(significance, "_BATCH", 7 * 83)
        parts = bootstrap(one)["AP"], compare(one, two, resamples=500)["AP"]
        assert parts[0].low == pytest.approx(whole[0].low, rel=1e-12)
        assert parts[1].p_value == whole[1].p_value
        assert both_ends(parts[1]) == pytest.approx(both_ends(whole[1]), rel=1e-12)

    def test_memory_does_not_grow_with_resamples(self):
        values = {"AP": skewed(20_000, 0)}  # 800 resamples at once would be 128 MB of weights
        for call in (bootstrap, lambda v, **o: compare(v, v, **o)):
            tracemalloc.start()
            try:
                call(values, resamples=800)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert peak < 40e6


class TestBootstrap:
    @pytest.mark.parametrize("level", [0.8, 0.95])
    @pytest.mark.parametrize("queries", [25, 400])
    def test_agrees_with_scipy(self, queries, level):
        values = skewed(queries, queries)
        reference = stats.bootstrap(
            (values,), np.mean, n_resamples=20_000, confidence_level=level, method="percentile",
            rng=np.random.default_rng(1),
        )  # fmt: skip
        found = bootstrap({"AP": values}, resamples=20_000, level=level)["AP"]
        # An end's Monte Carlo error is about 0.02 standard errors of the mean at 20,000 draws.
        tolerance = 0.1 * float(reference.standard_error)
        assert both_ends(found) == pytest.approx(
            tuple(reference.confidence_interval), abs=tolerance
        )

    @pytest.mark.parametrize("level", [0.5, 0.95])
    def test_as_many_intervals_hold_the_true_mean_as_promised(self, level):
        """A thousand samples of 80 normal values, their true mean 0.3."""
        samples = np.random.default_rng(0).normal(0.3, 0.1, (1000, 80))
        found = bootstrap({str(i): sample for i, sample in enumerate(samples)}, level=level)
        held = np.mean([each.low <= 0.3 <= each.high for each in found.values()])
        assert held == pytest.approx(level, abs=0.045)

    def test_width_is_that_of_the_normal_approximation(self):
        values = skewed(2000, 5)
        found = bootstrap({"AP": values}, resamples=8000)["AP"]
        expected = 2 * 1.96 * values.std() / np.sqrt(2000)
        assert found.high - found.low == pytest.approx(expected, rel=0.05)

    def test_measures_share_their_draws(self):
        """Drawn apart, two measures of the same queries would not move together."""
        values = skewed(60, 2)
        found = bootstrap({"AP": values, "scaled": 3 * values + 1})
        assert both_ends(found["scaled"]) == pytest.approx(
            [3 * end + 1 for end in both_ends(found["AP"])], rel=1e-12
        )
        assert both_ends(bootstrap({"AP": values})["AP"]) == pytest.approx(
            both_ends(found["AP"]), rel=1e-12
        )

    def test_what_is_the_same_for_every_query_has_no_width(self):
        found = bootstrap({"P@1": np.full(37, 0.1)})["P@1"]
        assert found.low == found.high == pytest.approx(0.1, rel=1e-15)

    def test_rounding_does_not_carry_an_interval_beyond_the_values(self):
        """In floats the mean of 0.03 and 0.6, less what 0.03 lacks of it, is below 0.03."""
        values = {"P@1": np.array([0.03, 0.6]), "wider": np.array([-1.0, 2.0])}
        found = bootstrap(values, resamples=60)
        for measure, each in values.items():
            assert both_ends(found[measure]) == (each.min(), each.max())

    def test_a_single_query_is_a_point(self):
        assert bootstrap({"P@1": np.array([0.5])}) == {"P@1": Interval(0.5, 0.5, 0.5)}

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(st.floats(0, 1), min_size=1, max_size=30),
        st.floats(0.05, 0.95),
        st.integers(0, 2**40),
    )
    def test_an_interval_lies_within_the_values(self, values, level, seed):
        found = bootstrap({"AP": np.array(values)}, resamples=50, seed=seed, level=level)["AP"]
        assert min(values) - 1e-12 <= found.low <= found.high <= max(values) + 1e-12


class TestCompare:
    def test_agrees_with_scipy(self):
        rng = np.random.default_rng(0)
        first = skewed(60, 0)
        for shift in (0.0, 0.02, 0.05):
            second = first + rng.normal(shift, 0.12, 60)
            reference = stats.permutation_test(
                (second, first), lambda a, b, axis: np.mean(a - b, axis=axis), vectorized=True,
                permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(1),
            )  # fmt: skip
            found = compare({"AP": first}, {"AP": second}, resamples=20_000)["AP"]
            assert found.difference == pytest.approx(reference.statistic)
            # Four standard errors of the difference of two proportions from 20,000 draws.
            tolerance = 4 * np.sqrt(2 * reference.pvalue * (1 - reference.pvalue) / 20_000) + 1e-4
            assert found.p_value == pytest.approx(reference.pvalue, abs=tolerance)

    @pytest.mark.parametrize("seed", range(6))
    def test_agrees_with_every_sign_where_draws_tie(self, seed):
        """P@10 of 12 queries: in floats 0.3 - 0.2 and 0.8 - 0.7 differ, in tenths they tie."""
        rng = np.random.default_rng(seed)
        first = rng.integers(0, 8, 12)
        second = first + rng.integers(-1, 3, 12)
        tenths = second - first
        signs = np.array(list(itertools.product([-1, 1], repeat=12)))
        exact = np.mean(np.abs(signs @ tenths) >= abs(tenths.sum()))
        found = compare({"P@10": first / 10}, {"P@10": second / 10}, resamples=20_000)["P@10"]
        tolerance = 4 * np.sqrt(exact * (1 - exact) / 20_000) + 1e-4
        assert found.p_value == pytest.approx(exact, abs=tolerance)

    def test_float_noise_is_no_difference(self):
        values = skewed(50, 0)
        noisy = values * (1 + 2e-16 * np.arange(50))
        assert (noisy != values).any()
        assert compare({"AP": values}, {"AP": noisy}, resamples=200)["AP"].p_value == 1.0

    def test_equal_systems_have_p_1_and_no_width(self):
        values = {"AP": skewed(40, 0), "zero": np.zeros(40)}
        for found in compare(values, values, resamples=100).values():
            assert (found.difference, *both_ends(found), found.p_value) == (0.0, 0.0, 0.0, 1.0)

    def test_the_least_p_is_one_draw_in_all(self):
        found = compare({"P@1": np.zeros(64)}, {"P@1": np.ones(64)}, resamples=999)["P@1"]
        assert found == Comparison(0.0, 1.0, 1.0, 1.0, 1.0, 0.001)

    def test_p_is_uniform_where_nothing_differs(self):
        """Two thousand pairs of equally good systems, compared over 40 queries each."""
        rng = np.random.default_rng(0)
        first, second = rng.normal(0.3, 0.1, (2, 2000, 40))
        found = compare(
            {str(i): each for i, each in enumerate(first)},
            {str(i): each for i, each in enumerate(second)},
            resamples=2000,
        )
        p_values = np.array([each.p_value for each in found.values()])
        for bound in (0.05, 0.25, 0.5, 0.75):
            assert np.mean(p_values <= bound) == pytest.approx(bound, abs=0.04)
        assert np.mean(p_values <= 0.01) < 0.02

    def test_pairing_finds_what_the_spread_over_queries_hides(self):
        first = skewed(200, 0)
        second = first + np.random.default_rng(1).normal(0.02, 0.03, 200)
        found = compare({"AP": first}, {"AP": second})["AP"]
        assert found.p_value < 0.001
        assert 0 < found.low < found.difference < found.high
        assert stats.ttest_ind(first, second).pvalue > 0.3

    def test_the_interval_is_the_bootstrap_of_the_differences(self):
        first, second = skewed(90, 0), skewed(90, 1)
        found = compare({"AP": first}, {"AP": second}, resamples=700, seed=5, level=0.9)["AP"]
        alone = bootstrap({"d": second - first}, resamples=700, seed=5, level=0.9)["d"]
        assert both_ends(found) == both_ends(alone)

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=20),
        st.integers(0, 1000),
    )
    def test_neither_order_of_systems_nor_of_scale_matters(self, pairs, seed):
        first, second = np.array(pairs).T
        options = {"resamples": 99, "seed": seed}
        found = compare({"AP": first}, {"AP": second}, **options)["AP"]
        turned = compare({"AP": second}, {"AP": first}, **options)["AP"]
        halved = compare({"AP": first / 2}, {"AP": second / 2}, **options)["AP"]
        assert found.p_value == turned.p_value == halved.p_value
        assert 0.01 <= found.p_value <= 1
        assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low), abs=1e-12)
