"""The nearest of some rows, beside exact search over the same vectors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approximate_galleries import clustered, drawn, exactly
from msedge.search.approximate.reranking import nearest_of


class TestNearestOf:
    @pytest.mark.parametrize("dim", [1, 3, 64, 130])
    @pytest.mark.parametrize("k", [1, 20, 4999, 5000, 9000])
    def test_all_rows_rank_as_in_exact_search_to_the_last_bit(self, dim, k):
        vectors, query = clustered(5000, dim), drawn(1, dim)[0]
        rows, similarities = nearest_of(vectors, np.arange(5000), query, k)
        assert (rows.tolist(), similarities.tolist()) == exactly(vectors, query, k)

    @given(st.data())
    @settings(max_examples=30, deadline=None)
    def test_some_rows_rank_as_in_exact_search_that_allows_only_them(self, data):
        vectors = clustered(60, 5, seed=data.draw(st.integers(0, 5)))
        vectors[data.draw(st.integers(0, 59)) :] = vectors[0]  # ties
        allowed = np.array(data.draw(st.lists(st.booleans(), min_size=60, max_size=60)))
        query, k = drawn(1, 5)[0], data.draw(st.integers(1, 70))
        rows, similarities = nearest_of(vectors, np.flatnonzero(allowed), query, k)
        assert (rows.tolist(), similarities.tolist()) == exactly(vectors, query, k, allowed)

    def test_ties_are_by_rising_row(self):
        vectors = np.tile(clustered(1, 8), (100, 1))
        rows, similarities = nearest_of(vectors, np.arange(50, 100), drawn(1, 8)[0], 7)
        assert rows.tolist() == list(range(50, 57))
        assert len(set(similarities.tolist())) == 1

    def test_none_of_none(self):
        rows, similarities = nearest_of(clustered(3, 4), np.arange(0), drawn(1, 4)[0], 5)
        assert (rows.tolist(), similarities.tolist()) == ([], [])
