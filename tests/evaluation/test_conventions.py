"""The conventions on examples worked by hand, and what holds for each of them on any ranking.

Their agreement with the code that they are named after is tested in
``test_conventions_originals.py``.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msedge.errors import ConfigError, ShapeError
from msedge.evaluation.conventions import CONVENTIONS, convention, recall
from msedge.evaluation.hits import Hits

NAN = math.nan
# Relevant at ranks 1, 4, 5 and 8 of 8: precision there is 1, 1/2, 3/5 and 1/2.
WORKED = Hits.from_relevance(np.array([[True, False, False, True, True, False, False, True]]))


@st.composite
def rankings(draw):
    width = draw(st.integers(1, 14))
    row = st.lists(st.booleans(), min_size=width, max_size=width)
    return np.array(draw(st.lists(row, min_size=1, max_size=5)))


class TestSmoke:
    def test_all_are_there_by_name(self):
        assert list(CONVENTIONS) == ["standard", "sake", "zse", "hits", "total", "rank"]
        assert all(convention(name).name == name for name in CONVENTIONS)

    def test_one_ranking_reads_differently_under_each(self):
        values = [convention(name).average_precision(WORKED, 5).item() for name in CONVENTIONS]
        assert (
            len({round(value, 6) for value in values}) == 4
        )  # R <= k: sake is zse, standard total


class TestExceptions:
    def test_unknown_convention_names_the_known(self):
        with pytest.raises(
            ConfigError, match="unknown convention 'voc': expected one of standard, sake, zse"
        ):
            convention("voc")

    @pytest.mark.parametrize("name", CONVENTIONS)
    @pytest.mark.parametrize("k", [0, -1])
    def test_cut_offs_start_at_one(self, name, k):
        for ask in (convention(name).average_precision, convention(name).precision, recall):
            with pytest.raises(ShapeError, match=f"k must be at least 1, got {k}"):
                ask(WORKED, k)


class TestCardinality:
    @pytest.mark.parametrize("name", CONVENTIONS)
    @pytest.mark.parametrize("queries", [0, 1, 4])
    def test_one_value_a_query(self, name, queries):
        hits = Hits.from_relevance(np.eye(queries, 5, dtype=bool))
        ap, p = convention(name).average_precision, convention(name).precision
        for values in (ap(hits, None), ap(hits, 3), p(hits, 3), recall(hits, 3)):
            assert (values.shape, values.dtype) == ((queries,), np.float64)


class TestNumbers:
    @pytest.mark.parametrize(
        ("name", "at_3", "at_5", "at_all", "at_20"),
        [
            ("standard", "1/3", "21/40", "13/20", "13/20"),
            ("sake", "1/3", "11/20", "27/40", "27/40"),
            ("zse", "1/3", "11/20", "27/40", "27/40"),
            ("hits", "1", "7/10", "13/20", "13/20"),
            ("total", "1/4", "21/40", "13/20", "13/20"),
            ("rank", "1/3", "21/50", "13/40", "13/100"),
        ],
    )
    def test_average_precision_worked_by_hand(self, name, at_3, at_5, at_all, at_20):
        for k, expected in ((3, at_3), (5, at_5), (None, at_all), (20, at_20)):
            (value,) = convention(name).average_precision(WORKED, k)
            assert value == pytest.approx(float(Fraction(expected)), abs=1e-15)

    @pytest.mark.parametrize(
        ("name", "at_3", "at_5", "at_20"),
        [
            ("standard", "1/3", "3/5", "1/5"),
            ("sake", "1/3", "3/5", "1/2"),
            ("zse", "1/3", "1/2", "1/2"),
            ("hits", "1/3", "3/5", "1/2"),
            ("total", "1/3", "3/5", "1/5"),
            ("rank", "1", "0", "0"),
        ],
    )
    def test_precision_worked_by_hand(self, name, at_3, at_5, at_20):
        for k, expected in ((3, at_3), (5, at_5), (20, at_20)):
            assert convention(name).precision(WORKED, k) == [float(Fraction(expected))]

    def test_precision_at_one_rank_looks_at_the_next_alone(self):
        found = [convention("rank").precision(WORKED, k).item() for k in range(1, 10)]
        assert found == [0, 0, 1, 1, 0, 0, 1, 0, 0]

    def test_recall_worked_by_hand(self):
        assert [recall(WORKED, k).tolist() for k in (3, 5, 20)] == [[0.25], [0.75], [1.0]]

    @pytest.mark.parametrize(
        ("name", "ap", "p"),
        [
            ("standard", 0.0, 0.0),
            ("sake", NAN, 0.0),
            ("zse", NAN, NAN),
            ("hits", 0.0, 0.0),
            ("total", NAN, 0.0),
            ("rank", 0.0, 0.0),
        ],
    )
    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize("k", [1, 3, 9])
    def test_a_query_without_any_relevant_photo(self, name, ap, p, k):
        hits = Hits.from_relevance(np.zeros((1, 5), bool))
        np.testing.assert_array_equal(convention(name).average_precision(hits, k), [ap])
        np.testing.assert_array_equal(convention(name).precision(hits, k), [p])
        assert np.isnan(recall(hits, k)).all()

    @pytest.mark.parametrize("name", CONVENTIONS)
    @pytest.mark.parametrize("k", [1, 200, 2000, 20000])
    def test_a_query_does_not_see_its_neighbours(self, name, k):
        """Rows are filled up to the longest of their matrix: that must not change a bit."""
        rng = np.random.default_rng(k)
        relevance = rng.random((12, 12000)) < rng.random((12, 1)) ** 4
        relevance[5] = False
        together = Hits.from_relevance(relevance)
        alone = [Hits.from_relevance(row[None]) for row in relevance]
        assert np.ptp(together.relevant) > 5000
        for ask in (convention(name).average_precision, convention(name).precision, recall):
            values = np.concatenate([ask(hits, k) for hits in alone])
            np.testing.assert_array_equal(ask(together, k), values)

    @settings(deadline=None)
    @given(relevance=rankings(), k=st.integers(1, 18))
    def test_range_and_order(self, relevance, k):
        """From 0 to 1 wherever something is relevant, and the lenient never below the strict."""
        hits, some = Hits.from_relevance(relevance), relevance.any(axis=1)
        ap = {name: each.average_precision(hits, k) for name, each in CONVENTIONS.items()}
        for name, each in CONVENTIONS.items():
            for values in (ap[name], each.precision(hits, k), recall(hits, k)):
                assert not np.isnan(values[some]).any()
                assert (((values >= 0) & (values <= 1 + 1e-12)) | np.isnan(values)).all()
        for low, high in (("standard", "sake"), ("standard", "hits"), ("total", "standard")):
            assert (ap[low][some] <= ap[high][some] + 1e-12).all()

    @settings(deadline=None)
    @given(relevance=rankings(), k=st.integers(1, 14))
    def test_only_hits_exceeds_the_precision_where_k_are_relevant(self, relevance, k):
        hits = Hits.from_relevance(relevance)
        enough = hits.relevant >= k
        bound = convention("standard").precision(hits, k)[enough]
        for name in CONVENTIONS.keys() - {"hits"}:
            assert (convention(name).average_precision(hits, k)[enough] <= bound + 1e-12).all()

    def test_hits_does_exceed_it(self):
        hits = Hits.from_relevance(np.array([[True, False, True, True]]))
        assert convention("hits").average_precision(hits, 2) == [1.0]
        assert convention("hits").precision(hits, 2) == [0.5]

    @settings(deadline=None)
    @given(relevant=st.integers(1, 12), wrong=st.integers(0, 12), k=st.none() | st.integers(1, 30))
    def test_a_perfect_ranking_is_one_unless_the_divisor_is_out_of_reach(self, relevant, wrong, k):
        hits = Hits.from_relevance(np.arange(relevant + wrong)[None] < relevant)
        ap = {name: each.average_precision(hits, k).item() for name, each in CONVENTIONS.items()}
        assert [ap[name] for name in ("standard", "sake", "zse", "hits")] == pytest.approx([1] * 4)
        reached = min(k or relevant, relevant)
        assert ap["total"] == pytest.approx(reached / relevant)
        assert ap["rank"] == pytest.approx(reached / (k or relevant + wrong))
