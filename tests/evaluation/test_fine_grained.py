"""Fine-grained accuracy against ranking everything by hand, with ties, copies and lost sources."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from msedge.errors import ConfigError, ShapeError
from msedge.evaluation import fine_grained as module
from msedge.evaluation.fine_grained import FineGrained, fine_grained
from msedge.evaluation.scoring import METRICS, scored

AT = (1, 2, 3, 5, 8)


def by_hand(scores, query_labels, gallery_labels, query_sources, gallery_sources) -> FineGrained:
    """Sorts the whole gallery for each sketch and looks for its photo, one at a time."""
    within, whole = [], []
    for row, source in enumerate(query_sources):
        if source == -1 or source not in gallery_sources:
            continue
        ranking = sorted(range(len(gallery_sources)), key=lambda i: (-scores[row][i], i))
        own = [i for i in ranking if gallery_labels[i] == query_labels[row]]
        for ranks, photos in ((within, own), (whole, ranking)):
            ranks.append(next(at for at, i in enumerate(photos, 1) if gallery_sources[i] == source))
    return FineGrained(
        len(whole),
        len(query_sources) - len(whole),
        {k: float(np.mean(np.array(within) <= k)) for k in AT},
        {k: float(np.mean(np.array(whole) <= k)) for k in AT},
    )


@st.composite
def cases(draw):
    """Codes of 3 bits, so that most scores tie; few sources, so that most photos have copies."""
    kinds = draw(st.integers(1, 6))
    class_of = draw(st.lists(st.integers(0, 2), min_size=kinds, max_size=kinds))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    photos = rng.integers(0, kinds, draw(st.integers(1, 12)))
    sketches = rng.integers(-1, kinds, draw(st.integers(1, 9)))
    sketches[0] = photos[0]
    photo_labels, sketch_labels = np.take(class_of, photos), np.take(class_of, sketches)
    # Photos that nobody drew: no id, any class.
    photos[1:][rng.random(len(photos) - 1) < 0.2] = -1
    return (
        rng.integers(0, 2, (len(sketches), 3)),
        rng.integers(0, 2, (len(photos), 3)),
        sketch_labels, photo_labels, sketches, photos,
    )  # fmt: skip


class TestSmoke:
    def test_a_sketch_equal_to_its_photo_finds_it(self):
        photos = np.random.default_rng(0).normal(size=(40, 16))
        labels = np.repeat(np.arange(4), 10)
        drawn = np.array([3, 3, 25])
        found = fine_grained(photos[drawn], photos, labels[drawn], labels, drawn, np.arange(40))
        assert found == FineGrained(3, 0, {1: 1.0, 5: 1.0, 10: 1.0}, {1: 1.0, 5: 1.0, 10: 1.0})

    def test_takes_tensors(self):
        eye, ids = torch.eye(3, requires_grad=True), torch.arange(3)
        found = fine_grained(eye, eye, ids, ids, ids, ids, at=[1])
        assert found == FineGrained(3, 0, {1: 1.0}, {1: 1.0})


class TestExceptions:
    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            ({"queries": np.eye(2)}, ShapeError, "queries have 2 dimensions but gallery has 3"),
            ({"query_labels": np.zeros(2, int)}, ShapeError, "query_labels has 2 ids for 3"),
            ({"gallery_labels": np.zeros(3)}, ShapeError, "gallery_labels must be a 1-D array"),
            ({"query_sources": np.arange(4)}, ShapeError, "query_sources has 4 ids for 3"),
            ({"gallery_sources": np.arange(2)}, ShapeError, "gallery_sources has 2 ids for 3"),
            ({"query_sources": np.array([-1, 7, 8])}, ShapeError, "no sketch has its source photo"),
            ({"query_sources": -np.ones(3, int), "gallery_sources": -np.ones(3, int)}, ShapeError,
             "no sketch has its source photo"),
            ({"query_labels": np.array([5, 5, 6])}, ShapeError,
             "query_labels row 2: class 6, but its source photo, gallery row 2, is of class 5"),
            ({"gallery_sources": np.array([0, 1, 1]), "gallery_labels": np.array([5, 5, 6])},
             ShapeError, "gallery_labels row 2: class 6, but its source photo, gallery row 1, is"),
            ({"at": ()}, ShapeError, "at must name at least one k"),
            ({"at": (1, 0)}, ShapeError, "each k of at must be at least 1, got 0"),
            ({"chunk": 0}, ShapeError, "chunk must be at least 1, got 0"),
            ({"metric": "manhattan"}, ConfigError, "unknown metric 'manhattan'"),
        ],
    )  # fmt: skip
    def test_bad_input(self, change, error, message):
        arguments = {
            "queries": np.eye(3),
            "gallery": np.eye(3),
            "query_labels": np.full(3, 5),
            "gallery_labels": np.full(3, 5),
            "query_sources": np.arange(3),
            "gallery_sources": np.arange(3),
        }
        with pytest.raises(error, match=message) as caught:
            fine_grained(**(arguments | change))
        assert "\n" not in str(caught.value)

    def test_photos_that_nobody_drew_may_share_an_id_across_classes(self):
        found = fine_grained(
            np.eye(3)[:1], np.eye(3), np.array([1]), np.array([1, 1, 2]),
            np.array([0]), np.array([0, 9, 9]), at=[1],
        )  # fmt: skip
        assert found == FineGrained(1, 0, {1: 1.0}, {1: 1.0})


class TestNumbers:
    def test_sketches_without_their_photo_are_counted_apart(self):
        found = fine_grained(
            np.eye(4), np.eye(4)[:2], np.zeros(4, int), np.zeros(2, int),
            np.array([0, -1, 5, 0]), np.array([0, -1]), at=[1],
        )  # fmt: skip
        # The last sketch is as far from one photo as from the other: its own stands first.
        assert found == FineGrained(2, 2, {1: 1.0}, {1: 1.0})

    def test_ties_fall_by_gallery_order(self):
        photos = np.ones((4, 2))
        for source, rank in [(0, 1), (1, 2), (2, 3), (3, 4)]:
            found = fine_grained(
                photos[:1], photos, np.array([1]), np.array([0, 1, 0, 1]) if source % 2 else
                np.array([1, 0, 1, 0]), np.array([source]), np.arange(4), at=(1, 2, 3, 4),
            )  # fmt: skip
            assert found.whole_gallery == {k: float(rank <= k) for k in (1, 2, 3, 4)}
            assert found.within_class == {k: float((rank + 1) // 2 <= k) for k in (1, 2, 3, 4)}

    def test_the_best_ranked_copy_counts(self):
        photos = np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 0.1], [1.0, 0.0]])
        arguments = (np.array([[1.0, 0.0]]), photos, np.zeros(1, int), np.zeros(4, int))
        alone = fine_grained(*arguments, np.array([7]), np.array([7, 1, 2, 3]), at=(1, 3, 4))
        twice = fine_grained(*arguments, np.array([7]), np.array([7, 1, 7, 3]), at=(1, 2))
        assert alone.whole_gallery == {1: 0.0, 3: 0.0, 4: 1.0}
        assert twice.whole_gallery == {1: 0.0, 2: 1.0}

    @settings(max_examples=150, deadline=None)
    @given(cases(), st.integers(1, 10), st.integers(1, 13))
    def test_hamming_agrees_with_ranking_by_hand(self, case, chunk, columns):
        queries, gallery, *ids = case
        differing = (queries[:, None] != gallery[None]).sum(axis=2)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_COLUMNS", columns)
            found = fine_grained(queries, gallery, *ids, at=AT, metric="hamming", chunk=chunk)
        assert found == by_hand(-differing, *ids)

    @pytest.mark.parametrize("metric", METRICS)
    @settings(max_examples=50, deadline=None)
    @given(case=cases(), columns=st.integers(1, 13))
    def test_every_metric_agrees_with_ranking_its_exact_scores(self, metric, case, columns):
        queries, gallery, *ids = case
        if metric != "hamming":  # whole numbers of either sign, none of them a zero vector
            queries, gallery = 3 * queries - 1, 2 * gallery - 1
        scores = scored(queries, gallery, metric).exact(slice(None))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_COLUMNS", columns)
            found = fine_grained(queries, gallery, *ids, at=AT, metric=metric, chunk=2)
        assert found == by_hand(scores, *ids)

    def test_chance_is_k_in_the_gallery(self):
        rng = np.random.default_rng(0)
        sketches, photos = rng.normal(size=(3000, 8)), rng.normal(size=(100, 8))
        drawn = rng.integers(0, 100, 3000)
        labels = np.arange(100) // 20
        found = fine_grained(sketches, photos, labels[drawn], labels, drawn, np.arange(100))
        for k in (1, 5, 10):
            assert found.within_class[k] == pytest.approx(k / 20, abs=0.04)
            assert found.whole_gallery[k] == pytest.approx(k / 100, abs=0.025)


def test_memory_does_not_grow_with_the_gallery():
    rng = np.random.default_rng(0)
    photos = rng.normal(size=(60_000, 4)).astype(np.float32)
    labels, sources = np.zeros(60_000, int), np.arange(60_000)
    arguments = (photos[:64], photos, labels[:64], labels, sources[:64], sources)
    fine_grained(*(each[:100] for each in arguments))  # imports and caches, once
    tracemalloc.start()
    try:
        fine_grained(*arguments, chunk=64)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Scores of 64 sketches with all photos would be 31 MB; the ids and vectors here are 5 MB.
    assert peak < 20e6
