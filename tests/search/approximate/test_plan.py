"""Which structure an index gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msedge.errors import ConfigError
from msedge.search.approximate.plan import padded, plan_for


class TestPlanFor:
    @pytest.mark.parametrize(
        ("count", "dim", "recall", "kind", "lists"),
        [
            (0, 256, 0.99, "hnsw", 0),
            (1, 256, 0.99, "hnsw", 0),
            (49_999, 256, 0.99, "hnsw", 0),
            (50_000, 256, 0.99, "ivf-pq", 512),
            (1_000_000, 512, 0.99, "ivf-pq", 2048),
            (1_000_000, 512, 0.9, "ivf-pq", 2048),
            (1_000_000, 512, 0.999, "ivf-sq", 2048),
            (1_000_000, 16, 0.99, "ivf-sq", 2048),
            (10_000_000, 128, 0.99, "ivf-pq", 8192),
            (100_000_000, 128, 0.99, "ivf-pq", 16_384),
        ],
    )
    def test_by_size_width_and_recall(self, count, dim, recall, kind, lists):
        plan = plan_for(count, dim, recall=recall)
        assert (plan.kind, plan.lists) == (kind, lists)

    @pytest.mark.parametrize("kind", ["hnsw", "ivf-sq", "ivf-pq"])
    def test_the_kind_that_is_asked_for(self, kind):
        assert plan_for(1000, 64, recall=0.9, kind=kind).kind == kind

    def test_a_million_of_512_numbers_stay_below_700_bytes_whatever_the_kind(self):
        for kind in ("hnsw", "ivf-sq", "ivf-pq"):
            assert plan_for(1_000_000, 512, recall=0.99, kind=kind).bytes_a_vector < 700

    @given(st.integers(0, 10**9), st.sampled_from(["hnsw", "ivf-sq", "ivf-pq", None]))
    def test_it_is_trained_on_photos_that_there_are(self, count, kind):
        plan = plan_for(count, 64, recall=0.99, kind=kind)
        assert 0 <= plan.training <= count
        assert plan.lists == 0 if plan.kind == "hnsw" else 1 <= plan.lists <= max(1, count)


class TestExceptions:
    @pytest.mark.parametrize("recall", [0.0, 1.0, -1.0, 2.0, float("nan")])
    def test_a_recall_that_is_no_share(self, recall):
        with pytest.raises(ConfigError, match=r"expected a share below 1"):
            plan_for(10, 4, recall=recall)

    def test_no_such_kind(self):
        with pytest.raises(ConfigError, match="expected hnsw, ivf-sq, ivf-pq"):
            plan_for(10, 4, recall=0.9, kind="flat")


@pytest.mark.parametrize(("dim", "width"), [(1, 4), (4, 4), (5, 8), (512, 512)])
def test_vectors_are_held_with_a_multiple_of_four_numbers(dim, width):
    assert padded(dim) == width
