"""Recall is what exact search says it is, and effort rises until there is enough."""

from __future__ import annotations

import pytest

from approximate_galleries import clustered, drawn, exactly, index_of
from msedge.search.approximate.tuning import least_similarity


def heard(_done, _total):
    pass


class TestLeastSimilarity:
    @pytest.mark.parametrize("count", [1, 5, 20, 20_000])
    def test_it_is_that_of_the_last_of_the_first_20(self, count):
        vectors, queries = clustered(count, 6), drawn(5, 6)
        last = [exactly(vectors, query, 20)[1][-1] for query in queries]
        assert least_similarity(vectors, queries, heard) == pytest.approx(last, abs=1e-6)


class TestTuned:
    def test_the_recall_that_is_stored_is_that_of_an_independent_count(self, tmp_path):
        vectors, queries = clustered(20_000, 24), drawn(60, 24)
        index = index_of(tmp_path / "index", vectors, kind="ivf-pq", recall=0.9, queries=queries)
        right = sum(
            len(set(index.nearest(query, 20)[0].tolist()) & set(exactly(vectors, query, 20)[0]))
            for query in queries
        )
        assert index.about.sample == 60
        assert right / 1200 == pytest.approx(index.about.recall_measured, abs=1e-9)
        assert right / 1200 >= 0.9

    def test_a_higher_recall_takes_more_effort(self, tmp_path):
        vectors = clustered(20_000, 24)
        low, high = (
            index_of(tmp_path / str(recall), vectors, kind="ivf-pq", recall=recall).about
            for recall in (0.3, 0.999)
        )
        assert low.parameters["width"] * low.parameters["depth"] < (
            high.parameters["width"] * high.parameters["depth"]
        )
        assert low.recall_measured < high.recall_measured
        assert high.recall_measured >= 0.999
