"""From vectors to numbers: against scikit-learn, and against the rankings in plain Python."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from msedge.errors import ConfigError, ShapeError
from msedge.evaluation.conventions import CONVENTIONS
from msedge.evaluation.evaluate import Evaluation, Metrics, evaluate
from msedge.evaluation.hits import Hits
from msedge.evaluation.scoring import METRICS, scored, sign_codes


def problem(seed: int = 0, queries: int = 23, gallery: int = 90, dim: int = 16, classes: int = 4):
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(queries, dim)).astype(np.float32),
        rng.normal(size=(gallery, dim)).astype(np.float32),
        rng.integers(0, classes, queries),
        np.arange(gallery) % classes,
    )


class TestSmoke:
    def test_perfect_retrieval_is_one(self):
        found = evaluate(np.eye(3), np.eye(3), np.arange(3), np.arange(3), at=(1,))
        assert found.metrics() == Metrics("standard", 3, 3, 1.0, {1: 1.0}, {1: 1.0})

    def test_takes_tensors(self):
        arrays = problem()
        assert evaluate(*map(torch.from_numpy, arrays)).means() == evaluate(*arrays).means()

    def test_reports_progress(self):
        seen = []
        evaluate(*problem(), chunk=10, progress=lambda done, total: seen.append((done, total)))
        assert seen == [(10, 23), (20, 23), (23, 23)]


class TestExceptions:
    def test_cut_offs_start_at_one(self):
        with pytest.raises(ShapeError, match="cut-offs in at must be at least 1, got 0"):
            evaluate(*problem(), at=(100, 0))

    def test_cut_offs_end_with_int32(self):
        largest = 2**31 - 1
        found = evaluate(*problem(), at=(largest,), conventions=tuple(CONVENTIONS))
        assert found.means("sake")[f"mAP@{largest}"] == found.means("sake")["mAP@all"]
        with pytest.raises(ShapeError, match="cut-offs in at must be at most 2,147,483,647, got 2"):
            evaluate(*problem(), at=(largest + 1,))

    def test_query_without_photos_is_named(self):
        queries, gallery, query_labels, gallery_labels = problem()
        query_labels[5] = 99
        with pytest.raises(ShapeError, match="query_labels row 5: class 99 has no photo"):
            evaluate(queries, gallery, query_labels, gallery_labels)

    def test_conventions_must_exist(self):
        with pytest.raises(ConfigError, match="unknown convention 'trec': expected one of stand"):
            evaluate(*problem(), conventions=("trec",))
        with pytest.raises(ConfigError, match="no convention was named"):
            evaluate(*problem(), conventions=())
        with pytest.raises(ConfigError, match="not evaluated under 'sake': expected one of standa"):
            evaluate(*problem()).means("sake")

    def test_headline_needs_its_cut_offs(self):
        with pytest.raises(ShapeError, match=r"evaluation was made at \[10, 200\]"):
            evaluate(*problem(), at=(200, 10)).metrics().headline()


class TestCardinality:
    def test_a_value_for_each_query_measure_and_convention(self):
        found = evaluate(*problem(), at=(10, 25, 10), conventions=tuple(CONVENTIONS))
        assert list(found.values) == list(CONVENTIONS)
        for measures in found.values.values():
            assert list(measures) == [
                "mAP@all", "mAP@10", "mAP@25", "P@10", "P@25", "recall@10", "recall@25",
            ]  # fmt: skip
            for values in measures.values():
                assert (values.shape, values.dtype) == ((23,), np.float64)
                assert ((values >= 0) & (values <= 1)).all()

    def test_metrics_hold_what_was_asked(self):
        metrics = evaluate(*problem(), at=(10, 25, 100, 200)).metrics()
        assert (metrics.convention, metrics.queries, metrics.gallery) == ("standard", 23, 90)
        assert list(metrics.map_at) == list(metrics.p_at) == [10, 25, 100, 200]

    def test_headline_is_the_four_in_percent(self):
        metrics = evaluate(*problem(), at=(10, 100, 200)).metrics()
        assert list(metrics.headline().items()) == [
            ("mAP@200", 100 * metrics.map_at[200]),
            ("mAP@all", 100 * metrics.map_all),
            ("P@100", 100 * metrics.p_at[100]),
            ("P@200", 100 * metrics.p_at[200]),
        ]

    def test_headline_needs_no_other_cut_offs(self):
        metrics = evaluate(*problem()).metrics()
        assert metrics.headline()["P@100"] == 100 * metrics.p_at[100]

    def test_what_is_known_of_the_queries(self):
        arrays = problem()
        found = evaluate(*arrays, metric="euclidean")
        np.testing.assert_array_equal(found.labels, arrays[2])
        np.testing.assert_array_equal(found.relevant, np.bincount(arrays[3])[arrays[2]])
        assert found.labels.dtype == found.relevant.dtype == np.int64
        assert (found.gallery, found.metric, found.at) == (90, "euclidean", (100, 200))


class TestNumbers:
    def test_map_all_agrees_with_scikit_learn(self):
        queries, gallery, query_labels, gallery_labels = problem(queries=40, gallery=300)
        cosine = (queries / np.linalg.norm(queries, axis=1, keepdims=True)) @ (
            gallery / np.linalg.norm(gallery, axis=1, keepdims=True)
        ).T
        reference = [
            average_precision_score(gallery_labels == label, row)
            for label, row in zip(query_labels, cosine, strict=True)
        ]
        found = evaluate(queries, gallery, query_labels, gallery_labels)
        np.testing.assert_allclose(found.values["standard"]["mAP@all"], reference, atol=1e-12)

    @pytest.mark.parametrize("metric", METRICS)
    @pytest.mark.parametrize("name", CONVENTIONS)
    def test_values_are_the_convention_of_the_ranking(self, name, metric):
        queries, gallery, query_labels, gallery_labels = problem()
        if metric == "hamming":
            queries, gallery = sign_codes(queries), sign_codes(gallery)
        order = np.argsort(
            -scored(queries, gallery, metric).exact(slice(None)), axis=1, kind="stable"
        )
        hits = Hits.from_relevance(gallery_labels[order] == query_labels[:, None])
        found = evaluate(
            queries, gallery, query_labels, gallery_labels,
            at=(5, 22, 200), conventions=(name,), metric=metric, chunk=7,
        ).values[name]  # fmt: skip
        each = CONVENTIONS[name]
        np.testing.assert_allclose(found["mAP@all"], each.average_precision(hits, None), atol=1e-15)
        for k in (5, 22, 200):
            np.testing.assert_allclose(
                found[f"mAP@{k}"], each.average_precision(hits, k), atol=1e-15
            )
            np.testing.assert_array_equal(found[f"P@{k}"], each.precision(hits, k))
            np.testing.assert_array_equal(found[f"recall@{k}"], hits.within(k) / hits.relevant)

    def test_means_by_class(self):
        found = evaluate(*problem(), at=(5,))
        classes = found.by_class()
        assert list(classes) == [0, 1, 2, 3]
        sizes = np.bincount(found.labels)
        for measure, whole in found.means().items():
            weighted = sum(sizes[label] * means[measure] for label, means in classes.items())
            assert weighted / 23 == pytest.approx(whole, abs=1e-15)
        values = found.values["standard"]["P@5"]
        assert classes[2]["P@5"] == pytest.approx(values[found.labels == 2].mean(), abs=1e-15)

    @settings(deadline=None, max_examples=25)
    @given(seed=st.integers(0, 2**32 - 1), chunk=st.integers(1, 61))
    def test_order_of_queries_and_chunk_change_no_bit(self, seed, chunk):
        queries, gallery, query_labels, gallery_labels = problem(seed % 100, queries=61)
        names = tuple(CONVENTIONS)
        whole = evaluate(queries, gallery, query_labels, gallery_labels, conventions=names)
        turn = np.random.default_rng(seed).permutation(61)
        turned = evaluate(
            queries[turn], gallery, query_labels[turn], gallery_labels,
            conventions=names, chunk=chunk,
        )  # fmt: skip
        for name in names:
            assert turned.means(name) == whole.means(name)
            for measure, values in whole.values[name].items():
                np.testing.assert_array_equal(turned.values[name][measure], values[turn])

    def test_order_of_the_gallery_and_length_of_vectors_change_no_bit(self):
        queries, gallery, query_labels, gallery_labels = problem(gallery=301)
        rng = np.random.default_rng(2)
        turn, lengths = rng.permutation(301), rng.uniform(0.1, 10, (301, 1))
        whole = evaluate(queries, gallery, query_labels, gallery_labels)
        other = evaluate(
            3.7 * queries, (lengths * gallery)[turn], query_labels, gallery_labels[turn]
        )
        assert other.means() == whole.means()


class TestSharing:
    @settings(deadline=None, max_examples=25)
    @given(seed=st.integers(0, 2**32 - 1), parts=st.integers(1, 9), metric=st.sampled_from(METRICS))
    def test_joined_parts_are_the_whole_to_the_last_bit(self, seed, parts, metric):
        queries, gallery, query_labels, gallery_labels = problem(seed % 100, queries=7)
        queries[seed % 7] *= 500  # euclidean measures all by the longest, whoever ranks it
        if metric == "hamming":
            queries, gallery = sign_codes(queries), sign_codes(gallery)
        arrays = (queries, gallery, query_labels, gallery_labels)
        options = {"metric": metric, "conventions": tuple(CONVENTIONS), "at": (5, 200)}
        whole = evaluate(*arrays, **options)
        turn = np.random.default_rng(seed).permutation(7)
        shares = [turn[rank::parts] for rank in range(parts)]  # some of them empty
        found = [evaluate(*arrays, rows=rows, chunk=2, **options) for rows in shares]
        joined = Evaluation.joined(found, shares)
        for name in CONVENTIONS:
            assert joined.means(name) == whole.means(name)
            assert list(joined.values[name]) == list(whole.values[name])
            for measure, values in whole.values[name].items():
                np.testing.assert_array_equal(joined.values[name][measure], values)
        np.testing.assert_array_equal(joined.labels, whole.labels)
        np.testing.assert_array_equal(joined.relevant, whole.relevant)
        for attribute in ("gallery", "metric", "at"):
            assert getattr(joined, attribute) == getattr(whole, attribute)

    def test_some_queries_in_the_order_asked_for(self):
        seen = []
        whole = evaluate(*problem())
        some = evaluate(
            *problem(), rows=np.array([22, 3, 8]), chunk=2, progress=lambda *move: seen.append(move)
        )
        np.testing.assert_array_equal(some.labels, whole.labels[[22, 3, 8]])
        np.testing.assert_array_equal(some.relevant, whole.relevant[[22, 3, 8]])
        for measure, values in whole.values["standard"].items():
            np.testing.assert_array_equal(some.values["standard"][measure], values[[22, 3, 8]])
        assert some.metrics().queries == 3
        assert seen == [(2, 3), (3, 3)]

    def test_an_error_is_the_same_for_every_share(self):
        queries, gallery, query_labels, gallery_labels = problem()
        query_labels[5] = 99
        for rows in ([5], [6, 7], []):
            with pytest.raises(ShapeError, match="query_labels row 5: class 99 has no photo"):
                evaluate(
                    queries, gallery, query_labels, gallery_labels, rows=np.array(rows, np.int64)
                )

    @pytest.mark.parametrize(
        ("rows", "reason"),
        [
            ([0, 23], "rows names query 23, expected 0 to 22"),
            ([-1], "rows names query -1"),
            ([3, 4, 3], "rows names a query twice"),
            ([0.5], "rows must be a 1-D array of integer positions, got float64"),
            ([[1, 2]], r"got int64 \(1, 2\)"),
        ],
    )
    def test_rows_that_are_none(self, rows, reason):
        with pytest.raises(ShapeError, match=reason):
            evaluate(*problem(), rows=np.array(rows))

    @pytest.mark.parametrize("rows", [([0, 1], [1, 2]), ([0, 1], [3, 4]), ([0, 1], [2])])
    def test_rows_that_do_not_make_a_whole(self, rows):
        parts = [evaluate(*problem(), rows=np.array(each)) for each in ([0, 1], [2, 3])]
        with pytest.raises(ShapeError, match=r"parts of \[2, 2\] queries cannot be joined at rows"):
            Evaluation.joined(parts, [np.array(each) for each in rows])

    @pytest.mark.parametrize(
        "other",
        [
            {"at": (10,)},
            {"conventions": ("sake",)},
            {"conventions": ("standard", "sake")},
            {"metric": "euclidean"},
        ],
    )
    def test_parts_of_different_evaluations(self, other):
        shares = [np.arange(12), np.arange(12, 23)]
        parts = [
            evaluate(*problem(), rows=shares[0]),
            evaluate(*problem(), rows=shares[1], **other),
        ]
        with pytest.raises(ShapeError, match="the parts differ in gallery, metric, cut-offs or co"):
            Evaluation.joined(parts, shares)


class TestHandicaps:
    @pytest.mark.parametrize("size", [90, 30_000])  # exact throughout, and through float32 first
    def test_they_are_taken_off_cosines(self, size):
        queries, gallery, asked, kept = problem(queries=60, gallery=size)
        handicaps = np.random.default_rng(1).uniform(-0.3, 0.6, size)
        found = evaluate(queries, gallery, asked, kept, handicaps=handicaps)
        pair = scored(queries, gallery)
        scores = pair.queries.astype(float) @ pair.gallery.T.astype(float) - handicaps
        wanted = [
            average_precision_score(kept == label, row)
            for label, row in zip(asked, scores, strict=True)
        ]
        assert found.values["standard"]["mAP@all"] == pytest.approx(wanted, abs=1e-9)

    def test_equal_ones_change_nothing(self):
        arrays = problem()
        found = evaluate(*arrays, handicaps=np.full(90, 0.25)).means()
        assert found == evaluate(*arrays).means()

    def test_what_will_not_do_is_refused(self):
        with pytest.raises(ConfigError, match="taken off a cosine, and not off euclidean"):
            evaluate(*problem(), metric="euclidean", handicaps=np.zeros(90))
        for bad in (np.zeros(89), np.full(90, np.nan), np.full(90, 2.0)):
            with pytest.raises(ShapeError, match="handicaps are numbers in"):
                evaluate(*problem(), handicaps=bad)
