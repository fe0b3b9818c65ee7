"""Which classes are held out: properties that must hold for any names."""

from __future__ import annotations

import os
import random
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from msedge.errors import ConfigError
from msedge.training.selection import draw_classes, hold_out

names = st.lists(st.text(min_size=1, max_size=12), unique=True, min_size=4, max_size=40)
shares = st.floats(0.01, 0.5)


class TestProperties:
    @given(names, shares)
    def test_disjoint_and_covering(self, classes, share):
        trained, held_out = hold_out(classes, share)
        assert not set(trained) & set(held_out)
        assert sorted([*trained, *held_out]) == sorted(classes)

    @given(names, shares)
    def test_sorted_and_of_the_asked_size(self, classes, share):
        trained, held_out = hold_out(classes, share)
        assert list(trained) == sorted(trained)
        assert list(held_out) == sorted(held_out)
        assert len(held_out) == max(2, round(share * len(classes)))

    @given(names, shares, st.randoms(use_true_random=False))
    def test_order_does_not_matter(self, classes, share, chance: random.Random):
        shuffled = chance.sample(classes, len(classes))
        assert hold_out(shuffled, share) == hold_out(classes, share)

    @given(names, st.text(min_size=1, max_size=12))
    def test_a_new_class_displaces_one_at_most(self, classes, new):
        assume(new not in classes)
        before, after = (set(hold_out(c, 0.1)[1]) for c in (classes, [*classes, new]))
        assert len(before - after) <= 1


class TestDrawn:
    @given(names, st.data(), st.integers(0, 2**63 - 1))
    def test_fewer_are_among_more(self, classes, data, seed):
        few, more = sorted(data.draw(st.tuples(*[st.integers(0, len(classes))] * 2)))
        drawn = draw_classes(classes, few, seed)
        assert len(set(drawn)) == few
        assert list(drawn) == sorted(drawn)
        assert set(drawn) <= set(draw_classes(classes[::-1], more, seed)) <= set(classes)

    def test_another_seed_draws_others(self):
        classes = [f"{index:02d}" for index in range(100)]
        assert len({draw_classes(classes, 10, seed) for seed in range(5)}) == 5

    def test_stays_as_it_is(self):
        """Runs of different versions must draw the same classes to be compared."""
        assert draw_classes(["ape", "bee", "cat", "dog", "eel"], 2, 0) == ("ape", "eel")

    def test_more_than_there_are(self):
        with pytest.raises(ConfigError, match="sketch_classes: 3 cannot be drawn, 2 classes"):
            draw_classes(["ape", "bee"], 3, 0)


class TestNumbers:
    def test_looks_arbitrary(self):
        """Not the first, nor the last, nor every tenth of the names."""
        classes = [f"{index:02d}" for index in range(100)]
        held_out = [int(name) for name in hold_out(classes, 0.1)[1]]
        assert len(held_out) == 10
        assert min(held_out) < 50 < max(held_out)
        assert len({b - a for a, b in pairwise(held_out)}) > 3

    def test_stays_as_it_is(self):
        """Runs of different versions must hold out the same classes to be compared."""
        assert hold_out(["ape", "bee", "cat", "dog", "eel"], 0.1)[1] == ("bee", "eel")

    def test_names_that_are_not_utf_8(self):
        """Linux allows any bytes in the name of a folder; Python marks them."""
        names = [os.fsdecode(name) for name in (b"caf\xe9", b"cr\xeape", b"tea", b"water")]
        trained, held_out = hold_out(names, 0.1)
        assert sorted([*trained, *held_out]) == sorted(names)


class TestExceptions:
    @pytest.mark.parametrize(("count", "share"), [(0, 0.1), (1, 0.1), (3, 0.1), (4, 0.7)])
    def test_too_few_classes(self, count, share):
        with pytest.raises(ConfigError, match=f"{count} seen classes are too few.*--select last"):
            hold_out([f"class {i}" for i in range(count)], share)

    def test_four_are_enough(self):
        trained, held_out = hold_out(["a", "b", "c", "d"], 0.1)
        assert (len(trained), len(held_out)) == (2, 2)
