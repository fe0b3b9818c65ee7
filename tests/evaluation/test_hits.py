"""The ranks of relevant photos against a plain count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from msedge.errors import ShapeError
from msedge.evaluation.hits import MOST_K, Hits

# Relevant at ranks 1, 3 and 6; at none; at 4 alone; everywhere.
RELEVANCE = np.array(
    [
        [True, False, True, False, False, True],
        [False, False, False, False, False, False],
        [False, False, False, True, False, False],
        [True, True, True, True, True, True],
    ]
)

relevance_matrices = arrays.arrays(
    np.bool_, st.tuples(st.integers(0, 6), st.integers(0, 15)), elements=st.booleans()
)


class TestSmoke:
    def test_ranks_rise_and_are_filled_with_one_beyond_the_gallery(self):
        hits = Hits.from_relevance(RELEVANCE)
        assert hits.ranks.tolist() == [
            [1, 3, 6, 7, 7, 7],
            [7, 7, 7, 7, 7, 7],
            [4, 7, 7, 7, 7, 7],
            [1, 2, 3, 4, 5, 6],
        ]
        assert (hits.gallery, hits.ranks.dtype) == (6, np.int32)


class TestExceptions:
    @pytest.mark.parametrize(
        ("relevance", "named"),
        [
            (np.ones((2, 3)), r"float64 \(2, 3\)"),
            (np.ones((2, 3), np.int64), r"int64 \(2, 3\)"),
            (np.ones(3, bool), r"bool \(3,\)"),
            (np.ones((1, 2, 3), bool), r"bool \(1, 2, 3\)"),
        ],
    )
    def test_relevance_must_be_a_bool_matrix(self, relevance, named):
        with pytest.raises(ShapeError, match=r"must be a bool \(Q, M\) array, got " + named):
            Hits.from_relevance(relevance)

    @pytest.mark.parametrize("k", [0, -1])
    def test_cut_offs_start_at_one(self, k):
        hits = Hits.from_relevance(RELEVANCE)
        for ask in (hits.last, hits.within):
            with pytest.raises(ShapeError, match=f"k must be at least 1, got {k}"):
                ask(k)

    def test_cut_offs_end_with_int32(self):
        hits = Hits.from_relevance(RELEVANCE)
        assert hits.last(MOST_K) == hits.gallery
        for ask in (hits.last, hits.within):
            with pytest.raises(ShapeError, match="k must be at most 2,147,483,647, got 2147483648"):
                ask(MOST_K + 1)


class TestCardinality:
    @pytest.mark.parametrize(
        ("queries", "gallery"), [(0, 5), (3, 0), (0, 0)], ids=["queries", "gallery", "both"]
    )
    def test_may_be_empty(self, queries, gallery):
        hits = Hits.from_relevance(np.zeros((queries, gallery), bool))
        assert hits.ranks.shape == (queries, 0)
        assert hits.gallery == gallery
        assert hits.relevant.tolist() == [0] * queries

    def test_no_relevant_photo_at_all_needs_no_column(self):
        assert Hits.from_relevance(np.zeros((4, 9), bool)).ranks.shape == (4, 0)


class TestNumbers:
    def test_counts_worked_by_hand(self):
        hits = Hits.from_relevance(RELEVANCE)
        assert hits.relevant.tolist() == [3, 0, 1, 6]
        assert hits.within(1).tolist() == [1, 0, 0, 1]
        assert hits.within(3).tolist() == [2, 0, 0, 3]
        assert hits.within(None).tolist() == [3, 0, 1, 6]

    @pytest.mark.parametrize("k", [6, 7, 8, 200])
    def test_filling_is_never_counted(self, k):
        assert Hits.from_relevance(RELEVANCE).within(k).tolist() == [3, 0, 1, 6]

    def test_the_gallery_bounds_the_last_rank(self):
        hits = Hits.from_relevance(RELEVANCE)
        assert [hits.last(k) for k in (1, 5, 6, 7, None)] == [1, 5, 6, 6, 6]

    @settings(deadline=None)
    @given(relevance=relevance_matrices, k=st.none() | st.integers(1, 20))
    def test_agrees_with_a_plain_count(self, relevance, k):
        hits = Hits.from_relevance(relevance)
        gallery = relevance.shape[1]
        plain = [[rank for rank, r in enumerate(row, start=1) if r] for row in relevance.tolist()]
        width = max((len(row) for row in plain), default=0)
        filled = [row + [gallery + 1] * (width - len(row)) for row in plain]
        assert hits.ranks.tolist() == filled
        assert hits.relevant.tolist() == [len(row) for row in plain]
        assert hits.within(k).tolist() == [
            sum(rank <= (gallery if k is None else k) for rank in row) for row in plain
        ]

    @settings(deadline=None)
    @given(relevance=relevance_matrices)
    def test_the_relevance_can_be_had_back(self, relevance):
        hits = Hits.from_relevance(relevance)
        ranks = np.arange(1, hits.gallery + 1)
        assert ((hits.ranks[:, :, None] == ranks).any(axis=1) == relevance).all()
