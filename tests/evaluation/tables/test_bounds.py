"""The bounds at worked points, and that each is reached: none could be tighter."""

from __future__ import annotations

from decimal import Decimal
from itertools import product
from math import log

import pytest

from msedge.evaluation import conventions
from msedge.evaluation.tables import bounds
from msedge.evaluation.tables.splits import PROTOCOLS


def average_precision(ranking: list[int], divisor: int) -> float:
    hits, total = 0, 0.0
    for rank, relevant in enumerate(ranking, start=1):
        hits += relevant
        total += relevant * hits / rank
    return total / divisor


def test_the_conventions_are_those_of_the_package():
    assert set(bounds.CONVENTIONS) == set(conventions.CONVENTIONS)


class TestMostApAboveP:
    @pytest.mark.parametrize("k", [1, 100, 200, 276])
    def test_large_classes_leave_nothing(self, k):
        assert bounds.most_ap_above_p(["sketchy-25-sake", "sketchy-25-sempcyc"], k) == 0

    def test_skyscraper_leaves_a_point_at_200(self):
        assert bounds.most_ap_above_p(["sketchy-21"], 200) == Decimal("0.05") * Decimal("0.195")
        assert bounds.most_ap_above_p(["sketchy-21"], 161) == 0

    def test_as_deep_as_the_smallest_of_the_other_classes(self):
        assert bounds.most_ap_above_p(["quickdraw-30"], 1304) == 0
        assert bounds.most_ap_above_p(["quickdraw-30"], 1305) is None

    def test_the_most_of_several(self):
        several = ["sketchy-25-sake", "sketchy-21"]
        assert bounds.most_ap_above_p(several, 200) == Decimal("0.00975")

    @pytest.mark.parametrize(
        ("protocols", "k"),
        [
            (["tuberlin-30-sempcyc"], 200),
            (["tuberlin-30-sake", "tuberlin-30-sempcyc"], 200),
            (["sketchy-21"], 277),
            (["tuberlin-30-sake"], 402),
            ([], 200),
        ],
    )
    def test_unknown_sizes_leave_it_open(self, protocols, k):
        assert bounds.most_ap_above_p(protocols, k) is None

    @pytest.mark.parametrize(("relevant", "k"), [(1, 4), (3, 4), (5, 9)])
    def test_a_perfect_ranking_of_a_small_class_reaches_it(self, relevant, k):
        perfect = [1] * relevant + [0] * (k - relevant)
        gap = average_precision(perfect, relevant) - sum(perfect) / k
        assert gap == pytest.approx(1 - relevant / k)


class TestMostPrecision:
    @pytest.mark.parametrize(
        ("protocols", "k", "most"),
        [
            (["sketchy-21"], 200, "0.9922"),  # 1 - 0.04 * (1 - 161/200)
            (["sketchy-21"], 100, "1"),
            (["sketchy-25-sake"], 200, "1"),
            (["sketchy-21", "sketchy-25-sake"], 200, "1"),
            (["tuberlin-30-sempcyc"], 200, "1"),
            ([], 200, "1"),
        ],
    )
    def test_worked_by_hand(self, protocols, k, most):
        assert bounds.most_precision(protocols, k) == Decimal(most)

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_falls_with_depth(self, protocol):
        ceilings = [bounds.most_precision([protocol], k) for k in (10, 100, 200, 500, 5000)]
        assert ceilings == sorted(ceilings, reverse=True)


class TestPrecisionRange:
    @pytest.mark.parametrize(("k", "deeper"), [(1, 2), (2, 5), (3, 6)])
    def test_is_what_all_rankings_give(self, k, deeper):
        seen: dict[Decimal, list[Decimal]] = {}
        for ranking in product((0, 1), repeat=deeper):
            at_k, at_deeper = (Decimal(sum(ranking[:cut])) / cut for cut in (k, deeper))
            seen.setdefault(at_k, []).append(at_deeper)
        for precision, reached in seen.items():
            expected = (float(min(reached)), float(max(reached)))
            found = bounds.precision_range(precision, k, deeper)
            assert tuple(map(float, found)) == pytest.approx(expected)


class TestLeastAp:
    @pytest.mark.parametrize(("precision", "least"), [("0", 0.0), ("1", 1.0)])
    def test_ends(self, precision, least):
        assert float(bounds.least_ap(Decimal(precision))) == least

    @pytest.mark.parametrize("k", [1, 3, 8])
    def test_no_ranking_is_below(self, k):
        for ranking in product((0, 1), repeat=k):
            least = bounds.least_ap(Decimal(sum(ranking)) / k)
            assert average_precision(list(ranking), k) >= float(least) - 1e-12

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
    def test_misses_first_come_close_to_it(self, share):
        k = 2000
        hits = round(share * k)
        worst = average_precision([0] * (k - hits) + [1] * hits, k)
        formula = share + (1 - share) * log(1 - share)
        assert float(bounds.least_ap(Decimal(str(share)))) == pytest.approx(formula)
        assert worst == pytest.approx(formula, abs=1e-3)
