"""Scores against exact rational arithmetic, and every bad input by name."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from msedge.errors import ConfigError, ShapeError
from msedge.evaluation.scoring import (
    METRICS,
    class_ids,
    plain,
    scored,
    sign_codes,
    unit_vectors,
)

ALL = slice(None)


def vectors(rows: int, dim: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)


class TestSmoke:
    @pytest.mark.parametrize("metric", METRICS)
    def test_a_vector_is_nearest_to_itself(self, metric):
        rows = vectors(40, 24, seed=0)
        rows = sign_codes(rows) if metric == "hamming" else rows
        pair = scored(rows, rows, metric)
        assert pair.exact(ALL).argmax(axis=1).tolist() == list(range(40))
        assert pair.queries.dtype == pair.gallery.dtype == np.float32
        assert pair.metric == metric

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    def test_takes_tensors_of_any_float_type(self, dtype):
        rows = torch.eye(3, dtype=dtype, requires_grad=True)
        assert scored(rows, rows.detach()).exact(ALL).tolist() == np.eye(3).tolist()


class TestExceptions:
    good = np.eye(3, dtype=np.float32)

    @pytest.mark.parametrize("metric", METRICS)
    @pytest.mark.parametrize(
        ("queries", "gallery", "message"),
        [
            (np.ones(3), good, r"queries must be a non-empty \(N, D\) array.*\(3,\)"),
            (good, np.ones((0, 3)), r"gallery must be a non-empty.*\(0, 3\)"),
            (good, np.ones((3, 2)), "queries have 3 dimensions but gallery has 2"),
            (np.eye(3, dtype=complex), good, "queries must hold real numbers, got complex128"),
            (np.array([["a"]]), good, "queries must hold real numbers"),
        ],
    )
    def test_wrong_shapes_and_types(self, metric, queries, gallery, message):
        with pytest.raises(ShapeError, match=message) as caught:
            scored(queries, gallery, metric)
        assert "\n" not in str(caught.value)

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize("metric", ["cosine", "euclidean"])
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_the_first_row_that_is_not_finite_is_named(self, metric, value):
        rows = np.ones((9000, 2))
        rows[[5000, 5001, 8000], 1] = value, -value, value
        with pytest.raises(ShapeError, match="gallery row 5000 holds NaN or infinity; remove it"):
            scored(rows[:1], rows, metric)
        with pytest.raises(ShapeError, match="vectors row 5000 holds NaN"):
            sign_codes(rows)
        with pytest.raises(ShapeError, match="photos row 5000 holds NaN"):
            unit_vectors(rows, "photos")
        rows[0] = value
        for ask in (sign_codes, unit_vectors):
            with pytest.raises(ShapeError, match="vectors row 0 holds NaN"):
                ask(rows)

    def test_a_vector_without_direction_is_named(self):
        rows = np.ones((5000, 2))
        rows[4500] = 0
        with pytest.raises(ShapeError, match="queries row 4500 is all zeros"):
            scored(rows, self.good[:, :2])
        assert scored(rows, self.good[:, :2], "euclidean").exact([4500]).tolist() == [
            pytest.approx([-0.25, -0.25, 0])  # -|g|^2 / 2 in units of the longest vector, sqrt(2)
        ]

    @pytest.mark.parametrize("code", [[0.5, 1.0], [0, 2], [np.nan, 1], [-1, 0]])
    def test_what_is_no_code_is_named(self, code):
        with pytest.raises(ShapeError, match="gallery row 1 is no binary code; hamming wants 0"):
            scored(np.array([[1, 0]]), np.array([[1, 0], code]), "hamming")

    def test_what_is_no_code_is_named_far_down(self):
        codes = np.ones((1500, 2))
        codes[1100, 0] = 7
        with pytest.raises(ShapeError, match="queries row 1100 is no binary code"):
            scored(codes, codes[:9], "hamming")

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize("rows", [2, 700])
    def test_lengths_beyond_the_largest_number(self, rows):
        huge = np.ones((rows, 9))
        huge[-1] = 1e308
        for queries, gallery, name in ((huge, np.eye(9), "queries"), (np.eye(9), huge, "gallery")):
            with pytest.raises(ShapeError, match=f"{name} hold values too large to measure; scale"):
                scored(queries, gallery, "euclidean")

    def test_unit_vectors_and_signs_name_what_they_refuse(self):
        with pytest.raises(ShapeError, match="vectors row 0 is all zeros"):
            unit_vectors(np.zeros((2, 2)))
        with pytest.raises(ShapeError, match="photos must be a non-empty"):
            unit_vectors(np.ones(2), "photos")
        with pytest.raises(ShapeError, match="vectors must be a non-empty"):
            sign_codes(np.ones(2))

    def test_unknown_metric(self):
        with pytest.raises(ConfigError, match="unknown metric 'dot': expected one of cosine, eu"):
            scored(self.good, self.good, "dot")

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            (np.arange(4), "ids has 4 ids for 3 vectors"),
            (np.zeros((3, 1), int), "ids must be a 1-D array of integer ids"),
            (np.zeros(3), "ids must be a 1-D array of integer ids, got float64"),
        ],
    )
    def test_class_ids(self, labels, message):
        with pytest.raises(ShapeError, match=message):
            class_ids(labels, "ids", 3)


class TestNumbers:
    def test_cosine(self):
        queries, gallery = vectors(9, 33, 0), vectors(40, 33, 1)
        q, g = queries.astype(np.float64), gallery.astype(np.float64)
        cosine = (q @ g.T) / np.linalg.norm(q, axis=1)[:, None] / np.linalg.norm(g, axis=1)
        np.testing.assert_allclose(scored(queries, gallery).exact(ALL), cosine, rtol=0, atol=1e-7)

    def test_euclidean_ranks_as_the_distance_does(self):
        queries, gallery = vectors(9, 33, 0), 3 * vectors(40, 33, 1)
        distance = np.linalg.norm(queries[:, None] - gallery[None], axis=2)
        order = np.argsort(-scored(queries, gallery, "euclidean").exact(ALL), axis=1)
        np.testing.assert_array_equal(order, np.argsort(distance, axis=1))

    @given(seed=st.integers(0, 999), form=st.sampled_from(["01", "-11", "bool"]))
    def test_hamming_counts_the_bits_that_differ(self, seed, form):
        rng = np.random.default_rng(seed)
        q, g = rng.integers(0, 2, (3, 17)), rng.integers(0, 2, (5, 17))
        differ = (q[:, None] != g[None]).sum(axis=2)
        if form == "-11":
            q, g = 2 * q - 1, 2 * g - 1
        elif form == "bool":
            q, g = q.astype(bool), g.astype(bool)
        np.testing.assert_array_equal(scored(q, g, "hamming").exact(ALL), 17 - 2 * differ)

    def test_unit_vectors_are_those_that_cosine_compares(self):
        rows = 5 * vectors(700, 17, 7)
        unit = unit_vectors(rows)
        assert (unit.dtype, unit.shape) == (np.float32, (700, 17))
        assert np.array_equal(unit, scored(rows, rows).gallery)
        expected = rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
        np.testing.assert_allclose(unit, expected, rtol=0, atol=2.0**-24)

    def test_sign_codes(self):
        codes = sign_codes(np.array([[-0.5, 0.0, 2.0], [1, -1, -0.0]]))
        assert (codes.tolist(), codes.dtype) == ([[-1, 1, 1], [1, -1, 1]], np.int8)

    @pytest.mark.parametrize("metric", ["cosine", "euclidean"])
    def test_scores_are_exact(self, metric):
        """Against rational arithmetic on the stored entries: no rounding at all."""
        pair = scored(vectors(4, 301, 2), vectors(6, 301, 3), metric)
        q = [[Fraction(x) for x in row] for row in pair.queries.tolist()]
        g = [[Fraction(x) for x in row] for row in pair.gallery.tolist()]
        for row, query in enumerate(q):
            for column, photo in enumerate(g):
                expected = sum(a * b for a, b in zip(query, photo, strict=True))
                if metric == "euclidean":
                    expected -= sum(b * b for b in photo) / 2
                assert Fraction(pair.exact([row], [column])[0, 0].item()) == expected

    def test_equal_vectors_score_equal_wherever_they_stand(self):
        which = np.random.default_rng(4).integers(0, 5, size=5003)
        scores = scored(vectors(7, 129, 6), vectors(5, 129, 5)[which]).exact(ALL)
        for vector in range(5):
            assert (np.ptp(scores[:, which == vector], axis=1) == 0).all()

    @pytest.mark.parametrize("metric", ["cosine", "euclidean"])
    def test_parts_and_layout_change_no_bit(self, metric):
        queries, gallery = vectors(20, 96, 11), vectors(77, 96, 12)
        whole = scored(queries, gallery, metric).exact(ALL)
        turn = np.random.default_rng(13).permutation(96)
        other = scored(
            np.asfortranarray(queries[:, turn]), torch.from_numpy(gallery[:, turn]), metric
        )
        np.testing.assert_array_equal(other.exact(ALL), whole)
        columns = np.array([3, 70, 5])
        np.testing.assert_array_equal(other.exact([4], columns), whole[[4]][:, columns])

    @pytest.mark.parametrize("size", [1e-200, 1e200])
    def test_extreme_lengths_neither_vanish_nor_overflow(self, size):
        pair = scored(np.array([[size, size]]), np.array([[1.0, 0.0]]))
        assert pair.exact(ALL).item() == pytest.approx(0.5**0.5, abs=1e-7)

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize("size", [1e-310, 1e-200, 1e200, 1e306])
    def test_euclidean_does_not_depend_on_the_unit(self, size):
        queries, gallery = np.array([[1, 2], [-3, 1]]), np.array([[1, 1], [4, 0], [0, -2]])
        pair = scored(size * queries, size * gallery, "euclidean")
        expected = scored(queries, gallery, "euclidean").exact(ALL)
        np.testing.assert_allclose(pair.exact(ALL), expected, rtol=0, atol=1e-7)

    @pytest.mark.filterwarnings("error")
    def test_sums_that_overflow_are_no_infinity(self):
        assert scored(np.full((2, 9), 1e308), np.eye(9)).exact(ALL) == pytest.approx(1 / 3)

    def test_a_vector_beside_which_the_others_vanish_is_named(self):
        queries, gallery = vectors(9, 33, 0), vectors(40, 33, 1).astype(np.float64)
        expected = queries @ gallery.T - np.square(gallery).sum(axis=1) / 2
        gallery[7] *= 1e8
        with pytest.raises(
            ShapeError, match=r"gallery row 7 is \de\+0[78] times as long as the med"
        ):
            scored(queries, gallery, "euclidean")
        gallery[7] *= 1e-4
        scores = scored(queries, gallery, "euclidean").exact(ALL) * np.square(gallery[7]).sum()
        others = np.arange(40) != 7
        np.testing.assert_allclose(scores[:, others], expected[:, others], rtol=0, atol=0.05)

    def test_the_longest_may_be_65536_times_as_long(self):
        gallery = np.eye(3)
        gallery[1] *= 2.0**16
        scores = scored(np.eye(3), gallery, "euclidean").exact(ALL)
        assert scores[0].tolist() == [2.0**-33, -0.5, -(2.0**-33)]
        gallery[1] *= 1 + 2.0**-20
        with pytest.raises(ShapeError, match=r"gallery row 1 is 7e\+04 times as long as the med"):
            scored(np.eye(3), gallery, "euclidean")
        with pytest.raises(ShapeError, match=r"queries row 1 is 7e\+04 times as long as the med"):
            scored(gallery, np.eye(3), "euclidean")

    def test_vectors_that_are_all_zero_are_equally_near(self):
        assert scored(np.zeros((2, 3)), np.zeros((4, 3)), "euclidean").exact(ALL).tolist() == (
            np.zeros((2, 4)).tolist()
        )

    def test_one_row_with_a_few_photos(self):
        for metric in ("cosine", "euclidean"):
            pair = scored(vectors(5, 8, 0), vectors(9, 8, 1), metric)
            few = np.array([7, 0, 3])
            np.testing.assert_array_equal(pair.exact_row(2, few), pair.exact([2], few)[0])

    def test_plain_leaves_integers_integers(self):
        assert plain(torch.arange(3)).dtype == np.int64
        assert plain(torch.ones(2, dtype=torch.bfloat16)).dtype == np.float32
