from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from msedge.errors import ConfigError
from msedge.search.queries import AGAINST, combine, drawings_of

IMAGE = Image.new("RGB", (4, 4))
STROKES = [([0, 10], [0, 10]), ([5], [7])]


class TestDrawings:
    @pytest.mark.parametrize(
        "drawing",
        [
            "cat.png", Path("cat.png"), b"content", IMAGE, STROKES, [([0.5, 1], [2, 3])],
            [[[0, 10], [0, 10]]], ((np.arange(3), np.arange(3)),), [([], [])],
            [([0, 1], [2, 3], [10, 20])],
        ],
        ids=lambda drawing: type(drawing).__name__,
    )  # fmt: skip
    def test_one_is_one(self, drawing):
        (only,) = drawings_of(drawing)
        assert only is drawing

    @pytest.mark.parametrize(
        "drawings",
        [
            ["a.png", Path("b.png")], ("ab", "cd"), [IMAGE, b"content"], [STROKES],
            [STROKES, STROKES], [STROKES, "a.png"], [],
        ],
    )  # fmt: skip
    def test_several_are_several(self, drawings):
        assert drawings_of(drawings) == list(drawings)

    @pytest.mark.parametrize("wrong", [7, None, {"strokes": []}, [7], ["a.png", None], [[1, 2]]])
    def test_anything_else_is_refused_in_one_line(self, wrong):
        with pytest.raises(ConfigError, match="a drawing cannot be") as refused:
            drawings_of(wrong)
        assert "\n" not in str(refused.value)


class TestCombine:
    NOTHING = np.empty((0, 3), np.float32)

    def test_one_is_itself(self):
        vector = np.array([[0.6, 0.8, 0]], np.float32)
        np.testing.assert_allclose(combine(vector, self.NOTHING), vector[0], rtol=1e-6)

    def test_rocchio_by_hand(self):
        wanted = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
        unwanted = np.array([[0, 0, 1], [0, 1, 0]], np.float32)
        by_hand = np.array([0.5, 0.5 - AGAINST / 2, -AGAINST / 2])
        combined = combine(wanted, unwanted)
        np.testing.assert_allclose(combined, by_hand / np.linalg.norm(by_hand), rtol=1e-6)
        assert combined.dtype == np.float32
        assert np.linalg.norm(combined) == pytest.approx(1.0)

    def test_it_moves_away_from_what_is_not_wanted(self):
        rng = np.random.default_rng(0)
        for _ in range(20):
            wanted, unwanted = (v / np.linalg.norm(v) for v in rng.standard_normal((2, 1, 9)))
            moved = combine(wanted, unwanted)
            assert moved @ unwanted[0] < wanted[0] @ unwanted[0]
            assert moved @ wanted[0] > 0.8  # and still asks for what was wanted

    def test_the_same_for_and_against_stays_what_it_is(self):
        vector = np.array([[0, 1, 0]], np.float32)
        np.testing.assert_allclose(combine(vector, vector), vector[0])

    def test_nothing_wanted(self):
        with pytest.raises(ConfigError, match="nothing to look for"):
            combine(self.NOTHING, np.eye(3, dtype=np.float32))

    def test_opposites_cancel(self):
        vectors = np.array([[1, 0, 0], [-1, 0, 0]], np.float32)
        with pytest.raises(ConfigError, match="cancel each other out"):
            combine(vectors, self.NOTHING)
