"""Rankings against plain sorts, and the promise that nothing but the vectors decides them."""

from __future__ import annotations

import os
from threading import Barrier

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from msedge.errors import ShapeError
from msedge.evaluation import ranking
from msedge.evaluation.filtering import RankFilter, TooCoarseError
from msedge.evaluation.ranking import map_hits, top_k
from msedge.evaluation.scoring import METRICS, scored, sign_codes


def vectors(rows: int, dim: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)


def problem(seed=0, queries=60, gallery=400, dim=32, classes=5, metric="cosine"):
    rng = np.random.default_rng(seed)
    asked, kept = vectors(queries, dim, seed + 1), vectors(gallery, dim, seed + 2)
    if metric == "hamming":
        asked, kept = sign_codes(asked), sign_codes(kept)
    return (
        asked,
        kept,
        rng.integers(0, classes, queries),
        rng.permutation(np.arange(gallery) % classes),
    )


def together(rows, hits):
    return rows, hits


def ranks_of(*arrays, **options) -> list[list[int]]:
    """The ranks of every query, in the order given."""
    ranks: dict[int, list[int]] = {}
    for rows, hits in map_hits(together, *arrays, **options):
        ranks |= dict(zip(rows.tolist(), hits.ranks.tolist(), strict=True))
    return [ranks[row] for row in range(len(ranks))]


def plain_ranks(asked, kept, asked_ids, kept_ids, metric="cosine") -> list[list[int]]:
    """By a stable sort of each query's exact scores."""
    scores = scored(asked, kept, metric).exact(slice(None))
    order = np.argsort(-scores, axis=1, kind="stable")
    return [
        (np.flatnonzero(kept_ids[row] == label) + 1).tolist()
        for row, label in zip(order, asked_ids, strict=True)
    ]


@pytest.fixture
def always_filtered(monkeypatch):
    monkeypatch.setattr(ranking, "_SMALL", 0)


class TestSmoke:
    def test_finds_each_vector_itself(self):
        gallery = vectors(50, 16, seed=0)
        similarity, positions = top_k(gallery, gallery, 1)
        assert positions[:, 0].tolist() == list(range(50))
        assert similarity[:, 0] == pytest.approx(1.0, abs=2e-7)
        assert similarity.max() <= 1.0
        assert ranks_of(gallery, gallery, np.arange(50), np.arange(50)) == [[1]] * 50

    def test_takes_tensors(self):
        arrays = problem()
        assert ranks_of(*map(torch.from_numpy, arrays)) == ranks_of(*arrays)

    def test_reports_progress_chunk_by_chunk(self):
        seen = []
        labels, data = np.zeros(5, int), vectors(5, 4, seed=1)
        ranks_of(data, data, labels, labels, chunk=2, progress=lambda *at: seen.append(at))
        assert seen == [(2, 5), (4, 5), (5, 5)]


class TestExceptions:
    good = np.eye(3, dtype=np.float32)
    ids = np.arange(3)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"gallery": np.ones((3, 2))}, "queries have 3 dimensions but gallery has 2"),
            ({"gallery": np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0]])}, "gallery row 2 is all zero"),
            ({"query_labels": np.arange(4)}, "query_labels has 4 ids for 3 vectors"),
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
            map_hits(together, **(arguments | change))  # not iterated
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("k", "message"),
        [(0, "^k must be at least 1"), (4, "^k is 4 but the gallery has 3 photos")],
    )
    def test_k_outside_the_gallery(self, k, message):
        with pytest.raises(ShapeError, match=message):
            top_k(self.good, self.good, k)

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            (np.array([0, 3]), "rows names query 3, expected 0 to 2"),
            (np.array([2, -1]), "rows names query -1, expected 0 to 2"),
            (np.array([1, 1]), "rows names a query twice"),
            (np.array([0.0]), r"rows must be a 1-D array of integer positions, got float64 \(1,\)"),
            (np.array([[0]]), r"got int64 \(1, 1\)"),
        ],
    )
    def test_rows_that_are_none(self, rows, message):
        arrays = self.good, self.good, self.ids, self.ids
        with pytest.raises(ShapeError, match=message):
            map_hits(together, *arrays, rows=rows)
        found = map_hits(together, *arrays, rows=np.array([2, 0]))
        assert [rows.tolist() for rows, _ in found] == [[0], [2]]

    def test_a_chunk_of_nothing(self):
        with pytest.raises(ShapeError, match=r"^chunk must be at least 1, got 0"):
            top_k(self.good, self.good, 1, chunk=0)


class TestCardinality:
    @pytest.mark.parametrize("chunk", [1, 7, 1000])
    def test_each_query_comes_once_with_its_class(self, chunk):
        asked, kept, asked_ids, kept_ids = problem(queries=90)
        seen = []
        for rows, hits in map_hits(together, asked, kept, asked_ids, kept_ids, chunk=chunk):
            (label,) = set(asked_ids[rows].tolist())
            assert hits.ranks.shape == (len(rows), np.count_nonzero(kept_ids == label))
            assert (hits.gallery, hits.ranks.dtype) == (400, np.int32)
            seen += rows.tolist()
        assert sorted(seen) == list(range(90))

    def test_top_k_shapes_and_types(self):
        similarity, positions = top_k(vectors(5, 4, 0), vectors(7, 4, 1), 3, chunk=2)
        assert (similarity.shape, similarity.dtype) == ((5, 3), np.float32)
        assert (positions.shape, positions.dtype) == ((5, 3), np.int64)


class TestNumbers:
    @pytest.mark.parametrize("metric", METRICS)
    @pytest.mark.parametrize("chunk", [1, 13, 256])
    def test_ranks_are_those_of_a_plain_sort(self, metric, chunk):
        arrays = problem(metric=metric)
        assert ranks_of(*arrays, metric=metric, chunk=chunk) == plain_ranks(*arrays, metric)

    @pytest.mark.parametrize("metric", METRICS)
    @pytest.mark.parametrize("chunk", [1, 13, 256])
    @pytest.mark.usefixtures("always_filtered")
    def test_large_sets_go_another_way_to_the_same_ranks(self, metric, chunk):
        arrays = problem(metric=metric, gallery=3000)
        assert ranks_of(*arrays, metric=metric, chunk=chunk) == plain_ranks(*arrays, metric)

    @pytest.mark.parametrize("metric", METRICS)
    @pytest.mark.usefixtures("always_filtered")
    def test_many_queries_of_one_class_go_in_blocks(self, metric):
        arrays = problem(metric=metric, queries=150, gallery=1000, classes=2)
        assert ranks_of(*arrays, metric=metric) == plain_ranks(*arrays, metric)

    @pytest.mark.parametrize("metric", METRICS)
    @pytest.mark.parametrize("small", [0, 1 << 20])
    def test_fewer_photos_than_queries(self, metric, small, monkeypatch):
        monkeypatch.setattr(ranking, "_SMALL", small)
        arrays = problem(metric=metric, queries=60, gallery=9, classes=3)
        assert ranks_of(*arrays, metric=metric) == plain_ranks(*arrays, metric)

    def test_codes_longer_than_a_short_integer_counts(self):
        arrays = problem(metric="hamming", queries=4, gallery=9, dim=40_000, classes=2)
        arrays[1][:4] = arrays[0]  # all 40,000 bits alike
        assert ranks_of(*arrays, metric="hamming") == plain_ranks(*arrays, "hamming")

    @settings(deadline=None, max_examples=40)
    @given(seed=st.integers(0, 2**32), small=st.sampled_from([0, 1 << 20]))
    def test_ties_fall_by_gallery_order(self, seed, small):
        """Whole entries give many equal scores; queries along an axis compare exactly."""
        rng = np.random.default_rng(seed)
        asked, kept = np.eye(3)[rng.integers(0, 3, 6)], rng.integers(0, 3, (40, 3))
        kept[:, 0] += 1  # no vector is zero
        asked_ids, kept_ids = rng.integers(0, 3, 6), np.arange(40) % 3
        expected = []
        for query, label in zip(asked.tolist(), asked_ids.tolist(), strict=True):
            axis = query.index(1)
            score = [g[axis] ** 2 * 10**12 // sum(x * x for x in g) for g in kept.tolist()]
            order = sorted(range(40), key=lambda i: -score[i])
            expected.append([r for r, i in enumerate(order, 1) if kept_ids[i] == label])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ranking, "_SMALL", small)
            assert ranks_of(asked, kept, asked_ids, kept_ids) == expected

    @pytest.mark.usefixtures("always_filtered")
    def test_a_coarse_product_falls_back_to_float64(self, monkeypatch):
        """First with a wider bound, then without float32; no chunk is lost or repeated."""
        arrays = problem(queries=100)
        tried, real = [], RankFilter.ranks

        def too_coarse(self, *given):
            tried.append(self.trusted)
            if len(tried) > 3:
                raise TooCoarseError
            return real(self, *given)

        monkeypatch.setattr(RankFilter, "ranks", too_coarse)
        monkeypatch.setattr(ranking, "_threads", lambda: 1)
        assert ranks_of(*arrays, chunk=20) == plain_ranks(*arrays)
        assert len(set(tried)) == 3

    @pytest.mark.usefixtures("always_filtered")
    def test_two_threads_find_a_bound_too_small_at_once(self, monkeypatch):
        arrays, met = problem(queries=40), Barrier(2, timeout=30)

        def too_coarse(*_):
            met.wait()
            raise TooCoarseError

        monkeypatch.setattr(RankFilter, "ranks", too_coarse)
        monkeypatch.setattr(ranking, "_threads", lambda: 2)
        assert ranks_of(*arrays, chunk=20) == plain_ranks(*arrays)

    def test_class_ids_at_the_ends_of_their_range(self):
        ids = np.array([2**63 - 1, -(2**63), 0])
        asked, kept, asked_ids, kept_ids = problem(classes=3)
        found = ranks_of(asked, kept, ids[asked_ids], ids[kept_ids])
        assert found == plain_ranks(asked, kept, asked_ids, kept_ids)

    def test_top_k_is_the_start_of_the_ranking(self):
        asked, kept = vectors(9, 33, 0), vectors(40, 33, 1)
        scores = scored(asked, kept).exact(slice(None))
        similarity, positions = top_k(asked, kept, 11)
        np.testing.assert_array_equal(positions, np.argsort(-scores, axis=1, kind="stable")[:, :11])
        np.testing.assert_array_equal(
            similarity, np.take_along_axis(scores, positions, axis=1).astype(np.float32)
        )

    @pytest.mark.parametrize("metric", METRICS)
    @pytest.mark.parametrize("k", [1, 39, 40])
    def test_top_k_by_every_metric(self, metric, k):
        asked, kept, *_ = problem(queries=9, gallery=40, metric=metric)
        scores = scored(asked, kept, metric).exact(slice(None))
        found, positions = top_k(asked, kept, k, metric=metric, chunk=4)
        np.testing.assert_array_equal(positions, np.argsort(-scores, axis=1, kind="stable")[:, :k])
        exact = np.take_along_axis(scores, positions, axis=1)
        np.testing.assert_array_equal(found, exact.astype(np.float32))

    def test_ties_of_top_k_fall_by_gallery_order(self):
        """A gallery of 5 distinct vectors, each at many places, with float32 BLAS's worst sizes."""
        which = np.random.default_rng(4).integers(0, 5, size=203)
        _, positions = top_k(vectors(7, 129, 6), vectors(5, 129, 5)[which], 203)
        for order in positions:
            for vector in range(5):
                places = np.flatnonzero(which == vector)
                np.testing.assert_array_equal(order[which[order] == vector], places)

    def test_top_k_cuts_through_a_tie_by_gallery_order(self):
        gallery = np.array([[0, 1], [1, 0], [1, 1], [2, 0], [1, 0], [3, 0]])
        assert top_k(np.array([[1, 0]]), gallery, 3)[1].tolist() == [[1, 3, 4]]

    def test_similarity_never_exceeds_one(self):
        """Constant vectors, whose entries are all rounded the same way."""
        for dim in range(2, 600):
            similarity = top_k(np.ones((1, dim)), np.ones((1, dim)), 1)[0].item()
            assert 1 - 1e-6 < similarity <= 1
            assert top_k(np.ones((1, dim)), -np.ones((1, dim)), 1)[0].item() == -similarity

    @pytest.mark.parametrize("metric", METRICS)
    def test_the_way_over_the_gpu_ranks_alike(self, metric, monkeypatch):
        """The same tensors and the same sort, on the CPU: what can be shown without a GPU."""
        asked, kept, *ids = problem(gallery=1500, dim=64, metric=metric)
        kept = kept[np.arange(1500) % 400]  # with many ties
        expected = ranks_of(asked, kept, *ids, metric=metric)
        used = []

        def with_torch(work, finish):
            used.append(work)
            return ranking._rank_on_cuda(work, finish, torch.device("cpu"))

        monkeypatch.setattr(ranking, "_rank_on_cpu", with_torch)
        assert ranks_of(asked, kept, *ids, metric=metric, chunk=13) == expected
        assert used

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    @pytest.mark.parametrize("metric", METRICS)
    def test_gpu_agrees_to_the_last_rank(self, metric):
        asked, kept, asked_ids, kept_ids = problem(gallery=1500, dim=512, metric=metric)
        kept = kept[np.arange(1500) % 999]
        on_gpu = torch.from_numpy(kept).cuda()
        assert ranks_of(asked, on_gpu, asked_ids, kept_ids, metric=metric) == ranks_of(
            asked, kept, asked_ids, kept_ids, metric=metric
        )


class TestThreads:
    def test_as_many_as_cores_that_may_be_used(self, monkeypatch):
        assert ranking._threads() == len(os.sched_getaffinity(0))
        monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS and Windows
        monkeypatch.setattr(os, "cpu_count", lambda: 7)
        assert ranking._threads() == 7
        monkeypatch.setattr(os, "cpu_count", lambda: None)
        assert ranking._threads() == 1


class TestInvariance:
    """What must not matter does not, to the last rank, on the way that large sets take."""

    @settings(deadline=None, max_examples=25)
    @given(
        seed=st.integers(0, 2**32),
        metric=st.sampled_from(METRICS),
        chunk=st.integers(1, 70),
        small=st.sampled_from([0, 1 << 20]),
    )
    def test_chunk_and_order_of_queries(self, seed, metric, chunk, small):
        asked, kept, asked_ids, kept_ids = problem(seed % 1000, metric=metric)
        turn = np.random.default_rng(seed).permutation(len(asked))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ranking, "_SMALL", small)
            whole = ranks_of(asked, kept, asked_ids, kept_ids, metric=metric)
            turned = ranks_of(
                asked[turn], kept, asked_ids[turn], kept_ids, metric=metric, chunk=chunk
            )
        assert turned == [whole[row] for row in turn]

    @settings(deadline=None, max_examples=25)
    @given(
        seed=st.integers(0, 2**32),
        metric=st.sampled_from(["cosine", "euclidean"]),
        small=st.sampled_from([0, 1 << 20]),
    )
    def test_order_of_a_gallery_without_ties(self, seed, metric, small):
        asked, kept, asked_ids, kept_ids = problem(seed % 1000, gallery=1500)
        turn = np.random.default_rng(seed).permutation(len(kept))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ranking, "_SMALL", small)
            whole = ranks_of(asked, kept, asked_ids, kept_ids, metric=metric)
            turned = ranks_of(asked, kept[turn], asked_ids, kept_ids[turn], metric=metric)
        assert turned == whole

    @settings(deadline=None, max_examples=25)
    @given(
        seed=st.integers(0, 2**32),
        scale=st.floats(1e-3, 1e3),
        small=st.sampled_from([0, 1 << 20]),
    )
    def test_length_of_vectors(self, seed, scale, small):
        asked, kept, asked_ids, kept_ids = problem(seed % 1000)
        asked = asked.astype(np.float64)  # in float32 the scaling itself would round
        lengths = np.random.default_rng(seed).uniform(0.1, 10, (len(kept), 1))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ranking, "_SMALL", small)
            whole = ranks_of(asked, kept, asked_ids, kept_ids)
            assert ranks_of(scale * asked, lengths * kept, asked_ids, kept_ids) == whole
            far = ranks_of(asked, kept, asked_ids, kept_ids, metric="euclidean")
            both = (scale * asked, scale * kept.astype(np.float64))
            assert ranks_of(*both, asked_ids, kept_ids, metric="euclidean") == far
