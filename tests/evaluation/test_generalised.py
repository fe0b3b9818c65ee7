"""Generalised galleries: what is added, how it is drawn, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from msedge.errors import ConfigError, ShapeError
from msedge.evaluation.generalised import share_of, with_seen

SHARES = st.floats(0, 1, exclude_min=True)
LABELS = st.lists(st.integers(-3, 3), min_size=1, max_size=60).map(np.array)


def numbered(rows: int, dim: int = 3) -> np.ndarray:
    """Vectors of which each says its row."""
    return np.repeat(np.arange(rows, dtype=np.float32)[:, None], dim, axis=1)


class TestSmoke:
    def test_the_gallery_comes_first_and_whole(self):
        vectors, labels = with_seen(
            numbered(3), np.array([1, 0, 1]), 100 + numbered(4), np.array([9, 8, 9, 8])
        )
        assert vectors[:, 0].tolist() == [0, 1, 2, 100, 101, 102, 103]
        assert labels.tolist() == [1, 0, 1, 9, 8, 9, 8]
        assert (vectors.dtype, labels.dtype) == (np.float32, np.int64)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_takes_tensors(self, dtype):
        eye = torch.eye(2, dtype=dtype, requires_grad=True)
        vectors, labels = with_seen(eye, torch.tensor([0, 1]), eye, torch.tensor([2, 2]), share=0.5)
        assert isinstance(vectors, np.ndarray)
        assert vectors.shape == (3, 2)
        assert labels.tolist() == [0, 1, 2]
        assert share_of(torch.tensor([4, 4, 4]), 1.0).tolist() == [0, 1, 2]

    def test_what_is_given_stays_as_it_is(self):
        gallery, seen = numbered(3), numbered(5)
        vectors, _ = with_seen(gallery, np.zeros(3, int), seen, np.ones(5, int))
        vectors += 1
        np.testing.assert_array_equal(gallery, numbered(3))
        np.testing.assert_array_equal(seen, numbered(5))


class TestExceptions:
    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            ({"seen_labels": np.array([5, 6, 1])}, ShapeError, "seen_labels row 2: class 1 is in"),
            ({"seen": numbered(3, dim=4)}, ShapeError, "gallery has 3 dimensions but seen has 4"),
            ({"gallery": np.ones(3)}, ShapeError, r"gallery must be a non-empty.*\(3,\)"),
            ({"seen": np.ones((0, 3))}, ShapeError, r"seen must be a non-empty.*\(0, 3\)"),
            ({"gallery_labels": np.arange(2)}, ShapeError, "gallery_labels has 2 ids for 3"),
            ({"seen_labels": np.full(3, 0.5)}, ShapeError, "seen_labels must be a 1-D array"),
            ({"share": 0.0}, ConfigError, "share must lie above 0.*got 0.0"),
            ({"share": 1.5}, ConfigError, "share must lie above 0.*got 1.5"),
            ({"share": float("nan")}, ConfigError, "share must lie above 0.*got nan"),
            ({"seed": -1}, ConfigError, "seed must be 0 or more, got -1"),
        ],
    )
    def test_bad_input(self, change, error, message):
        arguments = {
            "gallery": numbered(3),
            "gallery_labels": np.arange(3),
            "seen": numbered(3),
            "seen_labels": np.array([5, 6, 7]),
        }
        with pytest.raises(error, match=message) as caught:
            with_seen(**(arguments | change))
        assert "\n" not in str(caught.value)

    def test_a_share_of_what_has_no_class(self):
        with pytest.raises(ShapeError, match="labels must be a 1-D array"):
            share_of(np.zeros((2, 2), int), 0.5)


class TestShare:
    @pytest.mark.parametrize(("members", "kept"), [(1, 1), (2, 1), (5, 1), (8, 2), (100, 20)])
    def test_a_fifth_of_a_class_but_never_none(self, members, kept):
        assert len(share_of(np.zeros(members, int), 0.2)) == kept

    @settings(deadline=None)
    @given(LABELS, SHARES, st.integers(0, 2**40))
    def test_every_class_keeps_its_share(self, labels, share, seed):
        rows = share_of(labels, share, seed)
        assert (np.diff(rows) > 0).all()
        assert rows.dtype == np.int64
        for label in set(labels.tolist()):
            members = int((labels == label).sum())
            assert (labels[rows] == label).sum() == max(1, round(share * members))

    @settings(deadline=None)
    @given(LABELS, SHARES, st.integers(0, 99))
    def test_other_classes_do_not_change_a_draw(self, labels, share, seed):
        rows = share_of(labels, share, seed)
        for label in set(labels.tolist()):
            members = np.flatnonzero(labels == label)
            alone = members[share_of(labels[members], share, seed)]
            assert rows[labels[rows] == label].tolist() == alone.tolist()

    @settings(deadline=None)
    @given(LABELS, SHARES, SHARES)
    def test_a_greater_share_holds_the_smaller(self, labels, one, other):
        less, more = (set(share_of(labels, share).tolist()) for share in sorted((one, other)))
        assert less <= more
        assert share_of(labels, 1.0).tolist() == list(range(len(labels)))

    def test_seed_and_class_decide_the_draw(self):
        labels = np.repeat([0, 1], 50)
        rows = share_of(labels, 0.2, seed=1)
        assert rows.tolist() == share_of(labels, 0.2, seed=1).tolist()
        assert rows.tolist() != share_of(labels, 0.2, seed=2).tolist()
        assert rows[:10].tolist() != (rows[10:] - 50).tolist()
        assert share_of(labels, 0.2).tolist() == share_of(labels, 0.2, seed=0).tolist()

    def test_all_seen_photos_where_no_share_is_given_and_the_draw_of_seed_0(self):
        sets = numbered(1), np.array([0]), 100 + numbered(30), np.repeat([1, 2], 15)
        assert with_seen(*sets)[0].tolist() == with_seen(*sets, share=1.0)[0].tolist()
        drawn = with_seen(*sets, share=0.4)[0].tolist()
        assert drawn == with_seen(*sets, share=0.4, seed=0)[0].tolist()
        assert drawn != with_seen(*sets, share=0.4, seed=1)[0].tolist()

    def test_every_photo_is_drawn_as_often(self):
        drawn = np.zeros(20)
        for seed in range(1500):
            drawn[share_of(np.zeros(20, int), 0.25, seed)] += 1
        # A quarter of 1,500 draws each, within five standard deviations.
        assert drawn == pytest.approx(375, abs=5 * np.sqrt(1500 * 0.25 * 0.75))

    def test_seen_photos_are_those_of_the_share(self):
        labels = np.repeat([4, 2, 6], [10, 7, 1])
        vectors, ids = with_seen(
            numbered(2), np.array([0, 1]), 100 + numbered(18), labels, share=0.3, seed=5
        )
        rows = share_of(labels, 0.3, seed=5)
        assert (vectors[2:, 0] - 100).tolist() == rows.tolist()
        assert ids[2:].tolist() == labels[rows].tolist()
