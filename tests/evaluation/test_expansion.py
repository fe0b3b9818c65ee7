"""Neighbour expansion against plain loops, and the promise that each query stands alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from msedge.errors import ConfigError, ShapeError
from msedge.evaluation import expansion
from msedge.evaluation.evaluate import evaluate
from msedge.evaluation.expansion import check_expansion, expand_queries, smooth_gallery

POWERS = st.floats(0, 50)
SEEDS = st.integers(0, 10_000)
ROUNDING = 2e-7
"""Entries of unit vectors in float32, on a grid of 2**-25, after sums of them."""


def vectors(rows: int, dim: int, seed: int) -> np.ndarray:
    """Of all lengths, near enough for many positive cosines and some negative ones."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(rows, dim)) + 0.5
    return (directions * rng.uniform(0.1, 9, size=(rows, 1))).astype(np.float32)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)


def nearest(vector: np.ndarray, photos: np.ndarray, count: int) -> list[int]:
    return sorted(range(len(photos)), key=lambda photo: -(vector @ photos[photo]))[:count]


def plainly_smoothed(gallery: np.ndarray, neighbours: int, power: float) -> np.ndarray:
    photos, smoothed = unit(gallery), []
    for photo in photos:
        total = np.zeros(len(photo))
        for other in nearest(photo, photos, neighbours):
            total = total + max(photo @ photos[other], 0) ** power * photos[other]
        smoothed.append(total)
    return unit(np.array(smoothed))


def plainly_expanded(
    queries: np.ndarray, gallery: np.ndarray, neighbours: int, power: float
) -> np.ndarray:
    photos, expanded = unit(gallery), []
    for query in unit(queries):
        found = nearest(query, photos, neighbours)
        weights = [max(query @ photos[photo], 0) ** power for photo in found]
        pairs = zip(weights, found, strict=True)
        mean = sum(weight * photos[photo] for weight, photo in pairs) / sum(weights)
        expanded.append(query + mean)
    return unit(np.array(expanded))


def both(gallery: np.ndarray, queries: np.ndarray, **options) -> tuple[np.ndarray, np.ndarray]:
    return smooth_gallery(gallery, **options), expand_queries(queries, gallery, **options)


class TestSmoke:
    def test_unit_vectors_in_float32(self):
        for rows in both(vectors(30, 7, 0), vectors(11, 7, 1)):
            assert rows.dtype == np.float32
            assert np.linalg.norm(rows.astype(np.float64), axis=1) == pytest.approx(1, abs=ROUNDING)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
    def test_takes_tensors(self, dtype):
        gallery = torch.eye(3, dtype=dtype, requires_grad=True)
        for rows in both(gallery, gallery):
            assert rows.tolist() == np.eye(3).tolist()

    def test_what_is_given_stays_as_it_is(self):
        gallery, queries = vectors(9, 4, 0), vectors(5, 4, 1)
        smoothed, expanded = both(gallery, queries, neighbours=3)
        smoothed += 1
        expanded += 1
        np.testing.assert_array_equal(gallery, vectors(9, 4, 0))
        np.testing.assert_array_equal(queries, vectors(5, 4, 1))

    def test_finds_more_where_classes_lie_together(self):
        """What it is for: noise that each vector has of its own is averaged out."""
        rng, labels = np.random.default_rng(0), np.repeat(np.arange(8), 25)
        centres = rng.normal(size=(8, 32))
        photos, sketches = (centres[labels] + 1.5 * rng.normal(size=(200, 32)) for _ in range(2))
        smoothed = smooth_gallery(photos)
        found = [
            evaluate(queries, gallery, labels, labels).means()["mAP@all"]
            for queries, gallery in (
                (sketches, photos),
                (sketches, smoothed),
                (expand_queries(sketches, smoothed), smoothed),
            )
        ]
        assert found[0] + 0.05 < found[1]
        assert found[1] + 0.02 < found[2]


class TestExceptions:
    @pytest.mark.parametrize(
        ("gallery", "message"),
        [
            (np.ones(3), r"gallery must be a non-empty \(N, D\) array.*\(3,\)"),
            (np.ones((0, 3)), r"gallery must be a non-empty.*\(0, 3\)"),
            (np.eye(3, dtype=complex), "gallery must hold real numbers, got complex128"),
            (np.diag([1, 1, 0]), "gallery row 2 is all zeros and has no direction; remove it"),
            (np.diag([1, np.nan, 1]), "gallery row 1 holds NaN or infinity"),
        ],
    )
    def test_galleries(self, gallery, message):
        for expand in (smooth_gallery, lambda photos: expand_queries(np.eye(3), photos)):
            with pytest.raises(ShapeError, match=message) as caught:
                expand(gallery)
            assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("queries", "message"),
        [
            (np.ones((2, 4)), "queries have 4 dimensions but gallery has 3"),
            (np.diag([1, 0, 1]), "queries row 1 is all zeros"),
            (np.diag([1, np.inf, 1]), "queries row 1 holds NaN or infinity"),
        ],
    )
    def test_queries(self, queries, message):
        with pytest.raises(ShapeError, match=message):
            expand_queries(queries, np.eye(3))

    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"neighbours": 0}, ConfigError, "neighbours must be at least 1, such as 10, got 0"),
            ({"power": -0.5}, ConfigError, "power must be a number of at least 0.*got -0.5"),
            ({"power": float("nan")}, ConfigError, "power must be .* got nan"),
            ({"power": float("inf")}, ConfigError, "power must be .* got inf"),
            ({"chunk": 0}, ShapeError, "chunk must be at least 1, got 0"),
        ],
    )
    def test_options(self, options, error, message):
        for expand in (smooth_gallery, lambda photos, **o: expand_queries(np.eye(3), photos, **o)):
            with pytest.raises(error, match=message) as caught:
                expand(np.eye(3), **options)
            assert "\n" not in str(caught.value)

    def test_good_options_pass(self):
        check_expansion(neighbours=1, power=0)


class TestNumbers:
    @pytest.mark.parametrize("neighbours", [1, 2, 5, 40])
    @pytest.mark.parametrize("power", [0.5, 1, 3, 10])
    def test_plain_loops(self, neighbours, power):
        gallery, queries = vectors(40, 12, 2), vectors(23, 12, 3)
        smoothed, expanded = both(gallery, queries, neighbours=neighbours, power=power)
        expected = plainly_smoothed(gallery, neighbours, power)
        np.testing.assert_allclose(smoothed, expected, rtol=0, atol=ROUNDING)
        expected = plainly_expanded(queries, gallery, neighbours, power)
        np.testing.assert_allclose(expanded, expected, rtol=0, atol=ROUNDING)

    def test_defaults_are_ten_neighbours_and_the_third_power(self):
        gallery, queries = vectors(40, 12, 2), vectors(23, 12, 3)
        given_ = both(gallery, queries, neighbours=10, power=3.0)
        for found, expected in zip(both(gallery, queries), given_, strict=True):
            np.testing.assert_array_equal(found, expected)

    def test_by_hand(self):
        """The mean is of 1 * (1, 0) and 0.6**2 * (0.6, 0.8); the query's is the one photo's."""
        gallery = np.array([[5, 0], [3, 4]])
        smoothed = smooth_gallery(gallery, power=2)
        assert smoothed[0] == pytest.approx(np.array([1.216, 0.288]) / np.hypot(1.216, 0.288))
        expanded = expand_queries(np.array([[0, 2.0]]), gallery, power=2)
        assert expanded[0] == pytest.approx(np.array([0.6, 1.8]) / np.hypot(0.6, 1.8))

    def test_power_0_weighs_alike_what_is_on_the_same_side(self):
        gallery = np.array([[1, 0], [3, 4], [-1, 0.1], [0, -1]])
        expanded = expand_queries(np.array([[1, 1]]), gallery, power=0)
        expected = np.sqrt(0.5) + np.array([1.6, 0.8]) / 2
        assert expanded[0] == pytest.approx(expected / np.linalg.norm(expected))

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize("power", [0, 3])
    def test_opposites_do_not_cancel(self, power):
        gallery, queries = np.array([[0, 1], [0, -1]]), np.array([[0.3, 0], [0, -2]])
        smoothed, expanded = both(gallery, queries, power=power)
        assert smoothed.tolist() == [[0, 1], [0, -1]]
        assert expanded.tolist() == [[1, 0], [0, -1]]

    def test_a_high_power_of_small_cosines_leaves_the_nearest(self):
        gallery = np.array([[0.1, 1, 0], [0.05, 0, 1]])
        expanded = expand_queries(np.array([[1, 0, 0]]), gallery, power=400)  # 0.1**400 is 0
        expected = np.array([1, 0, 0]) + unit(gallery)[0]
        assert expanded[0] == pytest.approx(expected / np.linalg.norm(expected))
        beside = expand_queries(np.array([[1, 0, 0], [0, 1, 0]]), gallery, power=400)
        assert beside[0].tolist() == expanded[0].tolist()

    def test_a_gallery_smaller_than_the_neighbourhood(self):
        gallery, queries = vectors(4, 6, 5), vectors(3, 6, 6)
        whole = both(gallery, queries, neighbours=4)
        for found, expected in zip(both(gallery, queries, neighbours=99), whole, strict=True):
            np.testing.assert_array_equal(found, expected)
        alone = smooth_gallery(gallery[:1])
        np.testing.assert_allclose(alone, unit(gallery[:1]), rtol=0, atol=ROUNDING)


class TestDuplicates:
    def test_copies_get_the_same_vector(self):
        gallery = vectors(12, 5, 7)[[0, 1, 2, 1, 3, 1, 4, 5, 6, 7, 8, 2]]
        smoothed = smooth_gallery(gallery, neighbours=4)
        for rows in ([1, 3, 5], [2, 11]):
            assert np.ptp(smoothed[rows], axis=0) == pytest.approx(0, abs=ROUNDING)

    def test_more_copies_than_neighbours_change_nothing(self):
        gallery = np.repeat(vectors(3, 5, 8), 6, axis=0)
        smoothed = smooth_gallery(gallery, neighbours=6)
        np.testing.assert_allclose(smoothed, unit(gallery), rtol=0, atol=ROUNDING)

    def test_each_photo_is_its_own_neighbour_even_beside_nearer_ones(self):
        """Photos this near score higher with one another than with themselves, by rounding."""
        rng = np.random.default_rng(9)
        gallery = rng.normal(size=64) + 2e-4 * rng.normal(size=(200, 64))
        own = smooth_gallery(gallery, neighbours=1)
        np.testing.assert_allclose(own, unit(gallery), rtol=0, atol=ROUNDING)

    def test_a_copy_in_the_gallery_counts_again(self):
        once, twice = np.array([[1, 0], [3, 4]]), np.array([[1, 0], [3, 4], [3, 4]])
        query = np.array([[1, 0.2]])
        assert (expand_queries(query, twice)[0, 1] > expand_queries(query, once)[0, 1]).all()


class TestInvariants:
    @settings(deadline=None)
    @given(SEEDS, st.integers(1, 12), POWERS)
    def test_one_neighbour_is_the_photo_itself(self, seed, dim, power):
        gallery = vectors(20, dim, seed)
        smoothed = smooth_gallery(gallery, neighbours=1, power=power)
        np.testing.assert_allclose(smoothed, unit(gallery), rtol=0, atol=ROUNDING)

    @settings(deadline=None)
    @given(SEEDS, st.integers(1, 25), POWERS)
    def test_another_order_of_the_gallery_is_that_order_of_the_result(
        self, seed, neighbours, power
    ):
        gallery, queries = vectors(20, 9, seed), vectors(6, 9, seed + 1)
        order = np.random.default_rng(seed).permutation(20)
        options = {"neighbours": neighbours, "power": power}
        smoothed, expanded = both(gallery, queries, **options)
        reordered, unmoved = both(gallery[order], queries, **options)
        np.testing.assert_array_equal(reordered, smoothed[order])
        np.testing.assert_array_equal(unmoved, expanded)

    @settings(deadline=None)
    @given(SEEDS, st.lists(st.integers(0, 19), min_size=1, max_size=30), POWERS)
    def test_each_query_stands_alone(self, seed, rows, power):
        gallery, queries = vectors(30, 9, seed), vectors(20, 9, seed + 1)
        expanded = expand_queries(queries, gallery, power=power)
        some = expand_queries(queries[rows], gallery, power=power)
        np.testing.assert_array_equal(some, expanded[rows])

    @settings(deadline=None)
    @given(SEEDS, st.integers(1, 25), POWERS)
    def test_lengths_do_not_matter_but_directions(self, seed, neighbours, power):
        gallery, queries = vectors(20, 9, seed), vectors(6, 9, seed + 1)
        options = {"neighbours": neighbours, "power": power}
        longer = 2.0 ** np.random.default_rng(seed).integers(-9, 9, (20, 1))
        for found, expected in zip(
            both(gallery * longer, queries * 64, **options),
            both(gallery, queries, **options),
            strict=True,
        ):
            np.testing.assert_array_equal(found, expected)

    @settings(deadline=None)
    @given(SEEDS, st.integers(1, 25), st.integers(1, 3), POWERS)
    def test_neighbours_together_never_outweigh_the_query(self, seed, count, dim, power):
        """Photos on its own side alone count; in few dimensions opposites and ties are many."""
        rng = np.random.default_rng(seed)
        gallery, queries = (rng.integers(-2, 3, (20, dim)) + 0.25 for _ in range(2))
        expanded = expand_queries(queries, gallery, neighbours=count, power=power)
        assert np.linalg.norm(expanded, axis=1) == pytest.approx(1, abs=1e-6)
        assert (np.einsum("ij,ij->i", expanded, unit(queries)) >= np.sqrt(0.5) - 1e-6).all()


class TestRepeats:
    @pytest.mark.parametrize("chunk", [1, 7, 1000])
    def test_chunks_change_no_bit(self, chunk):
        gallery, queries = vectors(90, 33, 10), vectors(50, 33, 11)
        whole = both(gallery, queries)
        for found, expected in zip(both(gallery, queries, chunk=chunk), whole, strict=True):
            np.testing.assert_array_equal(found, expected)

    @pytest.mark.parametrize("rows", [1, 13])
    def test_blocks_of_sums_change_no_bit(self, monkeypatch, rows):
        gallery, queries = vectors(90, 33, 10), vectors(50, 33, 11)
        whole = both(gallery, queries)
        monkeypatch.setattr(expansion, "_ROWS", rows)
        for found, expected in zip(both(gallery, queries), whole, strict=True):
            np.testing.assert_array_equal(found, expected)

    def test_threads_and_layout_change_no_bit(self):
        gallery, queries = vectors(300, 129, 12), vectors(80, 129, 13)
        with threadpool_limits(1):
            whole = both(gallery, queries)
        with threadpool_limits(2):
            other = both(np.asfortranarray(gallery), torch.from_numpy(queries))
        for found, expected in zip(other, whole, strict=True):
            np.testing.assert_array_equal(found, expected)
