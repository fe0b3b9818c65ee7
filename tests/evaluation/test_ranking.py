"""Rankings against exact arithmetic, and the promise that nothing but the vectors decides them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from msedge.errors import ShapeError
from msedge.evaluation.ranking import _keys, rank_relevance, top_k


def vectors(rows: int, dim: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)


def relevance_of(queries, gallery, query_labels, gallery_labels, **options) -> np.ndarray:
    return np.concatenate(
        list(rank_relevance(queries, gallery, query_labels, gallery_labels, **options))
    )


class TestSmoke:
    def test_finds_each_vector_itself(self):
        gallery = vectors(50, 16, seed=0)
        similarity, positions = top_k(gallery, gallery, 1)
        assert positions[:, 0].tolist() == list(range(50))
        assert similarity[:, 0] == pytest.approx(1.0, abs=2e-7)
        assert similarity.max() <= 1.0

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    def test_takes_tensors_of_any_float_type(self, dtype):
        queries = torch.eye(3, dtype=dtype, requires_grad=True)
        gallery = torch.tensor([[0, 1, 0], [0, 0, 1], [1, 0, 0]], dtype=dtype)
        assert top_k(queries, gallery, 1)[1].tolist() == [[2], [0], [1]]

    def test_reports_progress_chunk_by_chunk(self):
        seen = []
        labels = np.zeros(5, int)
        data = vectors(5, 4, seed=1)
        for _ in rank_relevance(
            data, data, labels, labels, chunk=2, progress=lambda *at: seen.append(at)
        ):
            pass
        assert seen == [(2, 5), (4, 5), (5, 5)]


class TestExceptions:
    good = np.eye(3, dtype=np.float32)
    ids = np.arange(3)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"queries": np.ones(3)}, r"queries must be a non-empty \(N, D\) array.*\(3,\)"),
            ({"gallery": np.ones((0, 3))}, r"gallery must be a non-empty.*\(0, 3\)"),
            ({"gallery": np.ones((3, 2))}, "queries have 3 dimensions but gallery has 2"),
            ({"queries": np.eye(3, dtype=complex)}, "queries must hold real numbers"),
            ({"queries": np.array([[1, 0, 0], [0, np.nan, 0], [np.inf, 0, 0]])}, "queries row 1 h"),
            ({"gallery": np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0]])}, "gallery row 2 is all zero"),
            ({"query_labels": np.arange(4)}, "query_labels has 4 ids for 3 vectors"),
            ({"gallery_labels": np.zeros((3, 1), int)}, "gallery_labels must be a 1-D array"),
            ({"gallery_labels": np.zeros(3)}, "gallery_labels must be a 1-D array of integer ids"),
            ({"query_labels": np.array([0, 7, 8])}, "query_labels row 1: class 7 has no photo"),
            ({"chunk": 0}, "chunk must be at least 1, got 0"),
        ],
    )
    def test_bad_input_fails_at_the_call(self, change, message):
        arguments = {
            "queries": self.good,
            "gallery": self.good,
            "query_labels": self.ids,
            "gallery_labels": self.ids,
        }
        with pytest.raises(ShapeError, match=message) as caught:
            rank_relevance(**(arguments | change))  # not iterated
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(("k", "message"), [(0, "k must be at least 1"), (4, "has 3 photos")])
    def test_k_outside_the_gallery(self, k, message):
        with pytest.raises(ShapeError, match=message):
            top_k(self.good, self.good, k)


class TestCardinality:
    @pytest.mark.parametrize("chunk", [1, 2, 5, 100])
    def test_chunks_cover_the_queries(self, chunk):
        labels = np.zeros(5, int)
        chunks = list(
            rank_relevance(
                vectors(5, 4, 0), vectors(7, 4, 1), labels, np.zeros(7, int), chunk=chunk
            )
        )
        assert [len(part) for part in chunks] == [
            len(labels[i : i + chunk]) for i in range(0, 5, chunk)
        ]
        assert all(part.shape[1] == 7 and part.dtype == np.bool_ for part in chunks)

    def test_top_k_shapes_and_types(self):
        similarity, positions = top_k(vectors(5, 4, 0), vectors(7, 4, 1), 3, chunk=2)
        assert (similarity.shape, similarity.dtype) == ((5, 3), np.float32)
        assert (positions.shape, positions.dtype) == ((5, 3), np.int64)


class TestNumbers:
    def test_similarity_is_the_cosine(self):
        queries, gallery = vectors(9, 33, 0), vectors(40, 33, 1)
        similarity, positions = top_k(queries, gallery, 40)
        q, g = queries.astype(np.float64), gallery.astype(np.float64)
        cosine = (q @ g.T) / np.linalg.norm(q, axis=1)[:, None] / np.linalg.norm(g, axis=1)
        np.testing.assert_allclose(
            similarity, np.take_along_axis(cosine, positions, axis=1), rtol=0, atol=1e-7
        )
        np.testing.assert_array_equal(positions, np.argsort(-cosine, axis=1))

    def test_similarity_is_exact_on_the_grid(self):
        """Against rational arithmetic: one rounding, to float32, and none before it."""
        queries, gallery = vectors(4, 64, 2), vectors(11, 64, 3)

        def grid(rows):
            rows = rows.astype(np.float64)
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            return [[Fraction(round(x * 2**26), 2**26) for x in row] for row in rows.tolist()]

        expected = [
            [
                np.float32(float(sum(a * b for a, b in zip(q, g, strict=True))))
                for g in grid(gallery)
            ]
            for q in grid(queries)
        ]
        similarity, positions = top_k(queries, gallery, 11)
        np.testing.assert_array_equal(
            similarity, np.take_along_axis(np.array(expected), positions, 1)
        )

    def test_ties_fall_by_gallery_order(self):
        """A gallery of 5 distinct vectors, each at many places, with float32 BLAS's worst sizes."""
        rng = np.random.default_rng(4)
        which = rng.integers(0, 5, size=203)
        gallery = vectors(5, 129, 5)[which]
        queries = vectors(7, 129, 6)
        similarity, positions = top_k(queries, gallery, 203)
        for row, order in zip(similarity, positions, strict=True):
            for vector in range(5):
                places = np.flatnonzero(which == vector)
                np.testing.assert_array_equal(order[which[order] == vector], places)
                assert len(set(row[which[order] == vector].tolist())) == 1

    def test_top_k_cuts_through_a_tie_by_gallery_order(self):
        gallery = np.array([[0, 1], [1, 0], [1, 1], [2, 0], [1, 0], [3, 0]])
        assert top_k(np.array([[1, 0]]), gallery, 3)[1].tolist() == [[1, 3, 4]]

    def test_similarity_never_exceeds_one(self):
        """Constant vectors, whose entries are all rounded the same way."""
        for dim in range(2, 600):
            similarity = top_k(np.ones((1, dim)), np.ones((1, dim)), 1)[0].item()
            assert 1 - 1e-6 < similarity <= 1

    def test_keys_order_as_similarity_then_position(self):
        values = torch.tensor([[0.5, -0.0, 1.0, 0.0, -0.5, -1.0, 1e-30, -1e-30, 0.5, -0.5]])
        keys = _keys(values)[0].tolist()
        expected = sorted(range(10), key=lambda i: (-values[0, i].item(), i))
        assert sorted(range(10), key=lambda i: -keys[i]) == expected
        assert len(set(keys)) == 10

    def test_relevance_follows_the_ranking(self):
        queries, gallery = vectors(6, 8, 7), vectors(30, 8, 8)
        query_labels, gallery_labels = np.arange(6) % 3, np.arange(30) % 3
        _, positions = top_k(queries, gallery, 30)
        np.testing.assert_array_equal(
            relevance_of(queries, gallery, query_labels, gallery_labels, chunk=4),
            gallery_labels[positions] == query_labels[:, None],
        )

    @pytest.mark.parametrize("chunk", [1, 3, 64])
    def test_chunk_size_changes_no_bit(self, chunk):
        queries, gallery = vectors(65, 100, 9), vectors(301, 100, 10)
        whole, part = top_k(queries, gallery, 301), top_k(queries, gallery, 301, chunk=chunk)
        np.testing.assert_array_equal(part[0], whole[0])
        np.testing.assert_array_equal(part[1], whole[1])

    def test_layout_and_order_of_dimensions_change_no_bit(self):
        queries, gallery = vectors(20, 96, 11), vectors(77, 96, 12)
        whole = top_k(queries, gallery, 77)
        turn = np.random.default_rng(13).permutation(96)
        other = top_k(np.asfortranarray(queries[:, turn]), torch.from_numpy(gallery[:, turn]), 77)
        np.testing.assert_array_equal(other[0], whole[0])
        np.testing.assert_array_equal(other[1], whole[1])

    @pytest.mark.parametrize("scale", [2.0**-60, 2.0**60])
    def test_length_of_vectors_does_not_matter(self, scale):
        queries, gallery = vectors(5, 12, 14), vectors(20, 12, 15)
        plain, scaled = top_k(queries, gallery, 20), top_k(queries * scale, gallery / scale, 20)
        np.testing.assert_array_equal(scaled[0], plain[0])
        np.testing.assert_array_equal(scaled[1], plain[1])

    @pytest.mark.parametrize("size", [1e-200, 1e200])
    def test_extreme_lengths_neither_vanish_nor_overflow(self, size):
        similarity, _ = top_k(np.array([[size, size]]), np.array([[1.0, 0.0]]), 1)
        assert similarity[0, 0] == pytest.approx(0.5**0.5, abs=1e-7)

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    def test_gpu_agrees_to_the_last_bit(self):
        queries, gallery = vectors(65, 512, 16), vectors(999, 512, 17)[np.arange(1500) % 999]
        on_gpu = torch.from_numpy(gallery).cuda()
        for cpu, gpu in zip(top_k(queries, gallery, 50), top_k(queries, on_gpu, 50), strict=True):
            np.testing.assert_array_equal(gpu, cpu)
        ids = np.arange(1500) % 7
        np.testing.assert_array_equal(
            relevance_of(queries, on_gpu, ids[:65], ids),
            relevance_of(queries, gallery, ids[:65], ids),
        )
