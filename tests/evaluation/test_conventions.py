"""The formulas against scikit-learn, against plain Python, and against worked examples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from msedge.errors import ShapeError
from msedge.evaluation.conventions import (
    Metrics,
    evaluate,
    standard_average_precision,
    standard_precision,
)

# One query a row, worked by hand: relevant at ranks 1, 3, 6; at none of the first 2; everywhere.
WORKED = np.array(
    [
        [True, False, True, False, False, True],
        [False, False, True, True, False, False],
        [True, True, True, True, True, True],
    ]
)


def plain_average_precision(row: list[bool], k: int | None) -> float:
    depth = len(row) if k is None else k
    hits, total = 0, 0.0
    for rank, relevant in enumerate(row[:depth], start=1):
        if relevant:
            hits += 1
            total += hits / rank
    best = min(depth, sum(row))
    return total / best if best else 0.0


def plain_precision(row: list[bool], k: int) -> float:
    return sum(row[:k]) / k


def problem(seed: int = 0, queries: int = 23, gallery: int = 90, dim: int = 16, classes: int = 4):
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(queries, dim)).astype(np.float32),
        rng.normal(size=(gallery, dim)).astype(np.float32),
        rng.integers(0, classes, queries),
        np.arange(gallery) % classes,
    )


@st.composite
def rankings(draw):
    width = draw(st.integers(1, 12))
    row = st.lists(st.booleans(), min_size=width, max_size=width)
    return draw(st.lists(row, min_size=1, max_size=5))


class TestSmoke:
    def test_perfect_retrieval_is_one(self):
        metrics = evaluate(np.eye(3), np.eye(3), np.arange(3), np.arange(3), at=(1,))
        assert metrics == Metrics("standard", 3, 3, 1.0, {1: 1.0}, {1: 1.0})

    def test_takes_tensors(self):
        arrays = problem()
        assert evaluate(*map(torch.from_numpy, arrays)) == evaluate(*arrays)

    def test_reports_progress(self):
        seen = []
        evaluate(*problem(), chunk=10, progress=lambda done, total: seen.append((done, total)))
        assert seen == [(10, 23), (20, 23), (23, 23)]


class TestExceptions:
    @pytest.mark.parametrize("relevance", [np.ones((2, 3)), np.ones(3, bool)])
    def test_relevance_must_be_a_bool_matrix(self, relevance):
        with pytest.raises(ShapeError, match=r"bool \(Q, M\)"):
            standard_average_precision(relevance)
        with pytest.raises(ShapeError, match=r"bool \(Q, M\)"):
            standard_precision(relevance, 1)

    def test_cut_offs_start_at_one(self):
        with pytest.raises(ShapeError, match="k must be at least 1, got 0"):
            standard_average_precision(WORKED, 0)
        with pytest.raises(ShapeError, match="k must be at least 1, got -1"):
            standard_precision(WORKED, -1)
        with pytest.raises(ShapeError, match="cut-offs in at must be at least 1, got 0"):
            evaluate(*problem(), at=(100, 0))

    def test_query_without_photos_is_named(self):
        queries, gallery, query_labels, gallery_labels = problem()
        query_labels[5] = 99
        with pytest.raises(ShapeError, match="query_labels row 5: class 99 has no photo"):
            evaluate(queries, gallery, query_labels, gallery_labels)

    def test_headline_needs_its_cut_offs(self):
        with pytest.raises(ShapeError, match=r"evaluation was made at \[10, 200\]"):
            evaluate(*problem(), at=(200, 10)).headline()


class TestCardinality:
    def test_one_value_a_query(self):
        for values in (standard_average_precision(WORKED, 2), standard_precision(WORKED, 2)):
            assert (values.shape, values.dtype) == ((3,), np.float64)

    def test_metrics_hold_what_was_asked(self):
        metrics = evaluate(*problem(), at=(10, 25, 100, 200))
        assert (metrics.convention, metrics.queries, metrics.gallery) == ("standard", 23, 90)
        assert list(metrics.map_at) == list(metrics.p_at) == [10, 25, 100, 200]

    def test_headline_is_the_four_in_percent(self):
        metrics = evaluate(*problem(), at=(10, 100, 200))
        assert list(metrics.headline().items()) == [
            ("mAP@200", 100 * metrics.map_at[200]),
            ("mAP@all", 100 * metrics.map_all),
            ("P@100", 100 * metrics.p_at[100]),
            ("P@200", 100 * metrics.p_at[200]),
        ]


class TestNumbers:
    @pytest.mark.parametrize(
        ("k", "expected"),
        [
            (None, [(1 + 2 / 3 + 3 / 6) / 3, (1 / 3 + 2 / 4) / 2, 1]),
            (3, [(1 + 2 / 3) / 3, (1 / 3) / 2, 1]),
            (1, [1, 0, 1]),
            (200, [(1 + 2 / 3 + 3 / 6) / 3, (1 / 3 + 2 / 4) / 2, 1]),
        ],
    )
    def test_average_precision_worked_by_hand(self, k, expected):
        assert standard_average_precision(WORKED, k) == pytest.approx(expected, abs=1e-15)

    def test_precision_worked_by_hand(self):
        assert standard_precision(WORKED, 4).tolist() == [0.5, 0.5, 1.0]

    def test_precision_divides_by_k_beyond_the_gallery(self):
        assert standard_precision(WORKED, 12).tolist() == [3 / 12, 2 / 12, 6 / 12]

    @settings(deadline=None)
    @given(rows=rankings(), k=st.one_of(st.none(), st.integers(1, 15)))
    def test_formulas_agree_with_plain_python(self, rows, k):
        relevance = np.array(rows)
        assert standard_average_precision(relevance, k) == pytest.approx(
            [plain_average_precision(row, k) for row in rows], abs=1e-12
        )
        if k is not None:
            assert standard_precision(relevance, k).tolist() == [
                plain_precision(r, k) for r in rows
            ]

    def test_map_all_agrees_with_scikit_learn(self):
        queries, gallery, query_labels, gallery_labels = problem(queries=40, gallery=300)
        cosine = (queries / np.linalg.norm(queries, axis=1, keepdims=True)) @ (
            gallery / np.linalg.norm(gallery, axis=1, keepdims=True)
        ).T
        reference = np.mean(
            [
                average_precision_score(gallery_labels == label, row)
                for label, row in zip(query_labels, cosine, strict=True)
            ]
        )
        metrics = evaluate(queries, gallery, query_labels, gallery_labels)
        assert metrics.map_all == pytest.approx(reference, abs=1e-9)

    @settings(deadline=None, max_examples=40)
    @given(seed=st.integers(0, 2**32), k=st.integers(1, 12))
    def test_evaluation_agrees_with_plain_python(self, seed, k):
        """From vectors with many exact ties (small whole entries) to numbers, in plain Python."""
        rng = np.random.default_rng(seed)
        queries, gallery = np.eye(3)[rng.integers(0, 3, 4)], rng.integers(0, 3, (9, 3))
        gallery[:, 0] += 1  # no vector is zero
        query_labels, gallery_labels = rng.integers(0, 3, 4), np.arange(9) % 3
        rows = []
        for query, label in zip(queries.tolist(), query_labels.tolist(), strict=True):
            axis = query.index(1)
            # For a query along an axis, squared cosines are fractions that compare exactly.
            score = [g[axis] ** 2 * 10**12 // sum(x * x for x in g) for g in gallery.tolist()]
            order = sorted(range(9), key=lambda i: -score[i])
            rows.append([bool(gallery_labels[i] == label) for i in order])
        metrics = evaluate(queries, gallery, query_labels, gallery_labels, at=(k,))
        mean_ap = np.mean([plain_average_precision(row, k) for row in rows])
        assert metrics.map_at[k] == pytest.approx(mean_ap, abs=1e-12)
        assert metrics.p_at[k] == pytest.approx(np.mean([plain_precision(r, k) for r in rows]))

    def test_order_of_queries_and_chunk_change_no_bit(self):
        queries, gallery, query_labels, gallery_labels = problem(queries=61)
        whole = evaluate(queries, gallery, query_labels, gallery_labels)
        turn = np.random.default_rng(1).permutation(61)
        for chunk in (1, 7, 61):
            turned = evaluate(
                queries[turn], gallery, query_labels[turn], gallery_labels, chunk=chunk
            )
            assert turned == whole

    def test_length_of_vectors_does_not_matter(self):
        queries, gallery, query_labels, gallery_labels = problem()
        lengths = np.random.default_rng(2).uniform(0.1, 10, (90, 1))
        plain = evaluate(queries, gallery, query_labels, gallery_labels)
        assert evaluate(3.7 * queries, lengths * gallery, query_labels, gallery_labels) == plain
