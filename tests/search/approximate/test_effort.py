"""How much a search looks at."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from msedge.search.approximate.effort import Effort


class TestOf:
    def test_what_was_measured_is_what_is_used(self):
        assert Effort(16, 400).of(20, 1.0) == Effort(16, 400)
        assert Effort(16, 400).of(3, 1.0) == Effort(16, 400)

    def test_a_page_of_500_looks_at_twice_as_many_lists_and_more_candidates(self):
        assert Effort(16, 400).of(500, 1.0) == Effort(36, 1360)

    def test_where_few_rows_count_they_lie_in_more_lists(self):
        assert Effort(16, 400).of(20, 0.01) == Effort(51, 400)

    @given(st.integers(1, 500), st.floats(0.001, 1.0))
    def test_there_are_always_as_many_candidates_as_are_wanted(self, k, share):
        assert Effort(1, 20).of(k, share).depth >= k
