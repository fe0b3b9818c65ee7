"""The filter against float64 throughout, where float32 is at its worst."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msedge.evaluation import filtering
from msedge.evaluation.filtering import (
    RankFilter,
    TooCoarseError,
    exact_ranks,
    float32_errors,
)
from msedge.evaluation.scoring import Scored, scored


def problem(kind: str, seed: int = 0, queries: int = 12, gallery: int = 700, dim: int = 64):
    """Vectors with something that float32 cannot tell apart, or hardly."""
    rng = np.random.default_rng(seed)
    asked, kept = rng.normal(size=(queries, dim)), rng.normal(size=(gallery, dim))
    if kind == "equal":  # each vector at about ten places
        kept = kept[rng.integers(0, gallery // 10, gallery)]
    elif kind == "almost equal":  # differences at the last bits of float32
        kept = kept[rng.integers(0, gallery // 10, gallery)]
        kept *= 1 + 1e-7 * rng.normal(size=kept.shape)
    elif kind == "crowded":  # all photos within a few hundred float32 steps
        kept = kept[:1] + 1e-5 * rng.normal(size=kept.shape)
    elif kind == "positive":
        asked, kept = np.exp(asked), np.exp(kept)
    elif kind == "few values":
        asked, kept = np.sign(asked), np.sign(kept)
    return asked, kept


def through_filter(scores, relevant: slice, pair, position, error: float) -> np.ndarray:
    """In blocks of 5 queries, one filter for all."""
    rank_filter = RankFilter(pair, position, error, block=5)
    return np.concatenate(
        [
            rank_filter.ranks(scores[start : start + 5], relevant, start)
            for start in range(0, len(scores), 5)
        ]
    )


def both(asked, kept, relevant: slice, metric: str = "cosine", turn: int = 0):
    """Ranks through the filter and in float64; columns stand in the gallery in another order."""
    pair = scored(asked, kept, metric)
    position = np.random.default_rng(turn).permutation(len(kept))
    scores = pair.queries @ pair.gallery.T
    if pair.offset is not None:
        scores += pair.offset.astype(np.float32)
    found = through_filter(scores, relevant, pair, position, max(float32_errors(kept.shape[1])))
    return found, exact_ranks(pair.exact(slice(None)), relevant, position), pair, position


def brute(pair, relevant: slice, position) -> np.ndarray:
    """By sorting a list of (score, place) for each query."""
    rows = []
    for scores in pair.exact(slice(None)).tolist():
        order = sorted(range(len(scores)), key=lambda c: (-scores[c], position[c]))
        rows.append(
            [rank for rank, c in enumerate(order, 1) if relevant.start <= c < relevant.stop]
        )
    return np.array(rows)


KINDS = ["plain", "equal", "almost equal", "crowded", "positive", "few values"]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("relevant", [slice(0, 1), slice(30, 100), slice(100, 700), slice(0, 700)])
def test_filter_and_float64_agree_with_a_plain_sort(kind, relevant, metric):
    found, exact, pair, position = both(*problem(kind), relevant, metric)
    expected = brute(pair, relevant, position)
    np.testing.assert_array_equal(exact, expected)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == exact.dtype == np.int32


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(KINDS),
    gallery=st.integers(10, 3000),
    dim=st.sampled_from([1, 2, 7, 64, 300]),
    share=st.floats(0.01, 0.99),
)
def test_filter_agrees_with_float64(seed, kind, gallery, dim, share):
    asked, kept = problem(kind, seed, 4, gallery, dim)
    first = seed % gallery
    relevant = slice(first, min(gallery, first + max(1, int(share * gallery))))
    found, exact, _, _ = both(asked, kept, relevant, turn=seed)
    np.testing.assert_array_equal(found, exact)


def test_close_calls_are_made_and_few(monkeypatch):
    """The filter works in earnest: it asks for some exact scores, and for far fewer than all."""
    asked, kept = problem("plain", gallery=20000, queries=8)
    pair = scored(asked, kept)
    counted, real = [], Scored.exact_row

    def exact_row(self, row, columns):
        counted.append(len(columns))
        return real(self, row, columns)

    monkeypatch.setattr(Scored, "exact_row", exact_row)
    monkeypatch.delattr(Scored, "exact")  # nothing is scored against the whole gallery
    through_filter(
        pair.queries @ pair.gallery.T, slice(0, 400), pair, np.arange(20000), float32_errors(64)[0]
    )
    assert 0 < sum(counted) < 0.02 * 8 * 20000


def test_without_the_exact_scores_the_ranks_would_be_wrong(monkeypatch):
    """What the filter settles matters: float32 alone ranks these vectors differently."""
    asked, kept = problem("almost equal", gallery=5000)
    relevant = slice(0, 2500)
    _, exact, pair, position = both(asked, kept, relevant)
    monkeypatch.setattr(
        filtering, "_near_irrelevant", lambda _, places, *__: np.zeros(places.shape, bool)
    )
    alone = through_filter(
        pair.queries @ pair.gallery.T, relevant, pair, position, float32_errors(64)[0]
    )
    assert (alone != exact).any()


@pytest.mark.parametrize("dim", [1, 64, 512])
def test_bounds_grow_with_the_root_of_the_dimension(dim):
    usual = (dim**0.5 / 2 + 6) * 2.0**-24
    assert float32_errors(dim) == pytest.approx((usual, 2 * usual, 4 * usual), rel=1e-12)


@pytest.mark.parametrize("kind", ["plain", "positive", "few values", "crowded"])
@pytest.mark.parametrize("dim", [3, 64, 512, 2048])
def test_float32_products_keep_well_within_the_bound(kind, dim):
    asked, kept = problem(kind, 1, 50, 500, dim)
    pair = scored(asked, kept)
    off = np.abs(pair.queries @ pair.gallery.T - pair.exact(slice(None))).max()
    assert off <= max(float32_errors(dim)) / 2


@pytest.mark.parametrize(("share", "noticed"), [(0.4, False), (0.6, True)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_score_may_be_off_by_half_the_error(share, noticed, sign):
    asked, kept = problem("plain", queries=1)
    pair, error = scored(asked, kept), 1e-3
    scores = pair.queries @ pair.gallery.T
    scores[0, 0] += sign * share * error  # of the photos that are always looked at
    rank_filter = RankFilter(pair, np.arange(700), error, block=1)
    if noticed:
        with pytest.raises(TooCoarseError):
            rank_filter.ranks(scores, slice(600, 700), 0)
    else:
        exact = exact_ranks(pair.exact(slice(None)), slice(600, 700), np.arange(700))
        np.testing.assert_array_equal(rank_filter.ranks(scores, slice(600, 700), 0), exact)


def test_scores_that_are_too_coarse_are_noticed():
    """Products in half precision, as some libraries make of float32 when they are told to."""
    asked, kept = problem("plain", gallery=5000)
    pair = scored(asked, kept)
    coarse = (pair.queries @ pair.gallery.T).astype(np.float16).astype(np.float32)
    with pytest.raises(TooCoarseError):
        through_filter(coarse, slice(0, 2500), pair, np.arange(5000), float32_errors(64)[0])
