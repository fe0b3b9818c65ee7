"""The conventions against the packages they are named after, and against textbook loops.

Each comparison runs over thousands of cases, a case being one query with one cut-off. The
repositories' own files are compared by ``benchmarks/conventions.py``. The packages break ties in
their own ways, so they are given scores that fall strictly along the stable ranking: what is
compared is the metric.
"""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from pytorch_metric_learning.utils import accuracy_calculator
from sklearn.metrics import average_precision_score

from msedge.evaluation.conventions import convention, recall
from msedge.evaluation.hits import Hits
from msedge.models.torchvision_cure import ensure_torchvision

NAN = math.nan
EXACT = 1e-9
ABSENT = 6  # the class of the last query of every problem, which no photo has


@dataclass(frozen=True)
class Problem:
    """Seven queries, one of each class, over one gallery ranked for each of them.

    ``order`` holds gallery positions in ranked order and ``relevance`` what stands there, both
    ``(7, M)``; ``tied`` says whether a relevant photo stands next to a wrong one of its score.
    """

    labels: np.ndarray
    order: np.ndarray
    relevance: np.ndarray
    tied: bool

    @property
    def hits(self) -> Hits:
        return Hits.from_relevance(self.relevance)

    @property
    def empty(self) -> np.ndarray:
        return ~self.relevance.any(axis=1)

    @property
    def scores(self) -> np.ndarray:
        """One score a rank, strictly falling, all above 0 as torchmetrics wants them."""
        return np.linspace(1, 0.5, len(self.labels))


def random_problem(seed: int) -> Problem:
    """A random problem; every second one has five scores in all, so that most photos are tied."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, ABSENT, int(rng.integers(1, 70)))
    scores = rng.integers(0, 5 if seed % 2 else 10**9, (ABSENT + 1, len(labels)))
    order = np.argsort(-scores, axis=1, kind="stable")
    relevance = labels[order] == np.arange(ABSENT + 1)[:, None]
    ranked = np.take_along_axis(scores, order, axis=1)
    tied = (ranked[:, 1:] == ranked[:, :-1]) & (relevance[:, 1:] != relevance[:, :-1])
    return Problem(labels, order, relevance, bool(tied.any()))


PROBLEMS = [random_problem(seed) for seed in range(70)]
AT_K = [
    (each, k)
    for each in PROBLEMS
    for k in sorted({1, 4, 10, len(each.labels), len(each.labels) + 9})
]
AT_ALL = [(each, None) for each in PROBLEMS]


def compare(name, metric, reference, cases, within=EXACT) -> None:
    """Hold a convention's values to ``reference(row, scores, k)``, NaN meeting NaN."""
    ours = getattr(convention(name), metric)
    count = 0
    for each, k in cases:
        theirs = [reference(row, each.scores, k) for row in each.relevance]
        np.testing.assert_allclose(ours(each.hits, k), theirs, rtol=0, atol=within)
        count += len(theirs)
    assert count >= 1000


def test_the_cases_hold_every_situation():
    assert sum(each.tied for each in PROBLEMS) >= 25
    relevant = np.concatenate([each.relevance.sum(axis=1) for each, _ in AT_K])
    gallery = np.repeat([len(each.labels) for each, _ in AT_K], ABSENT + 1)
    k = np.repeat([k for _, k in AT_K], ABSENT + 1)
    assert len(k) >= 1000
    for situation in (
        relevant == 0,
        (relevant > 0) & (relevant < k) & (k < gallery),
        (relevant == k) & (k < gallery),
        relevant > k,
        (relevant > 0) & (k == gallery),
        (relevant > 0) & (k > gallery),
    ):
        assert situation.sum() >= 10


@pytest.mark.filterwarnings("ignore:No positive class found")
class TestScikitLearn:
    """It has no cut-off of its own, and is 0 without a relevant photo."""

    def test_on_the_first_k_it_is_hits(self):
        compare(
            "hits",
            "average_precision",
            lambda row, scores, k: average_precision_score(row[:k], scores[:k]),
            AT_K,
        )

    @pytest.mark.parametrize("name", ["standard", "hits", "total"])
    def test_on_all_it_is_what_these_three_share(self, name):
        """Where R is 0 it is 0 as ours is, but for ``total``, which divides by R: NaN."""
        for each in PROBLEMS:
            ours = convention(name).average_precision(each.hits, None)
            theirs = np.array([average_precision_score(row, each.scores) for row in each.relevance])
            theirs[each.empty] += NAN if name == "total" else 0.0
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=EXACT)

    def test_it_counts_tied_photos_as_one_step(self):
        """Ours goes by gallery order instead: why the cases' scores are distinct."""
        row = np.array([True, False])
        assert average_precision_score(row, [0.5, 0.5]) == 0.5
        assert convention("hits").average_precision(Hits.from_relevance(row[None]), None) == [1]


class TestTorchmetrics:
    """``top_k`` is ``hits``, 0 without a relevant photo."""

    @pytest.fixture
    def retrieval(self):
        """Its module; it imports torchvision, which may need the same cure as for timm."""
        ensure_torchvision()
        return importlib.import_module("torchmetrics.functional.retrieval")

    @pytest.fixture
    def double_precision(self, retrieval, monkeypatch):
        """Its own code with float64 for its float32: as shipped it rounds to seven digits."""

        class DoublePrecision:
            float32 = torch.float64

            def __getattr__(self, name):
                return getattr(torch, name)

        module = importlib.import_module(f"{retrieval.__name__}.average_precision")
        monkeypatch.setattr(module, "torch", DoublePrecision())
        monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)

    @staticmethod
    def reference(metric, **options):
        def of_case(row, scores, k):
            return metric(
                torch.from_numpy(scores), torch.from_numpy(row), top_k=k, **options
            ).item()

        return of_case

    def hold(self, retrieval, within):
        ap = self.reference(retrieval.retrieval_average_precision)
        compare("hits", "average_precision", ap, AT_K + AT_ALL, within)
        p = self.reference(retrieval.retrieval_precision, adaptive_k=True)
        compare("hits", "precision", p, AT_K, within)
        p = self.reference(retrieval.retrieval_precision, adaptive_k=False)
        compare("standard", "precision", p, AT_K, within)

    @pytest.mark.usefixtures("double_precision")
    def test_is_hits_and_without_adaptive_k_its_precision_is_standard(self, retrieval):
        self.hold(retrieval, EXACT)

    def test_as_shipped_they_agree_to_its_rounding(self, retrieval):
        self.hold(retrieval, 5e-7)


class TestPytorchMetricLearning:
    """With ``k`` its mean average precision is ``total``; M neighbours are the most it is given."""

    @staticmethod
    def calculate(each: Problem, k: int | None, per_class: bool):
        neighbours = torch.from_numpy(each.order[:, :k])
        calculator = accuracy_calculator.AccuracyCalculator(
            include=("mean_average_precision",),
            return_per_class=per_class,
            k=k,
            device=torch.device("cpu"),
            knn_func=lambda *_: (None, neighbours),
            kmeans_func=lambda *_: None,
        )
        # Its vectors are only counted here: the neighbours come from the ranking.
        queries, gallery = np.zeros((ABSENT + 1, 1)), np.zeros((len(each.labels), 1))
        found = calculator.get_accuracy(queries, np.arange(ABSENT + 1), gallery, each.labels)
        return found["mean_average_precision"]

    def test_its_calculator_is_total_and_leaves_out_queries_without_photos(self):
        count = 0
        for each, k in AT_K + AT_ALL:
            ours = convention("total").average_precision(each.hits, k)
            theirs = self.calculate(each, k, per_class=True)
            assert np.isnan(ours).tolist() == each.empty.tolist()
            assert ours[~each.empty] == pytest.approx(theirs, abs=EXACT)
            mean = self.calculate(each, k, per_class=False)
            assert np.nanmean(ours) == pytest.approx(mean, abs=EXACT)
            count += len(theirs)
        assert count >= 1000

    def test_its_functions_are_nan_without_a_relevant_photo_as_is_total(self):
        """Asked one query at a time: its means over several are NaN if one of them is."""
        for each, k in AT_K:
            counts = torch.bincount(torch.from_numpy(each.labels), minlength=ABSENT + 1)
            theirs = np.empty((2, ABSENT + 1))
            for query in range(ABSENT + 1):
                neighbours = torch.from_numpy(each.labels[each.order[query, :k]])[None]
                label = torch.tensor([[query]])
                theirs[:, query] = (
                    accuracy_calculator.mean_average_precision(
                        neighbours,
                        label,
                        False,
                        (label[0], counts[[query]]),
                        False,
                        False,
                        torch.eq,
                    ),
                    accuracy_calculator.precision_at_k(
                        neighbours, label, k, False, False, torch.eq
                    ),
                )
            ours = convention("total")
            ap, p = ours.average_precision(each.hits, k), ours.precision(each.hits, k)
            np.testing.assert_allclose([ap, p], theirs, rtol=0, atol=EXACT)


class TestTextbook:
    """Against the definitions, counted out in loops."""

    @staticmethod
    def interpolated_area(row, _, k):
        """The area under the curve of the first k; recall of 1 is what k places can hold.

        The precision at a recall is the best one at it or any higher (Manning, Raghavan and
        Schütze, 8.4; the VOC challenge since 2010).
        """
        shown = row[:k].tolist()
        reachable = min(int(row.sum()), len(shown))
        if not reachable:
            return NAN
        curve = [(sum(shown[:n]) / reachable, sum(shown[:n]) / n) for n in range(1, len(shown) + 1)]
        area = before = 0.0
        for place, (now, _) in enumerate(curve):
            area += (now - before) * max(precision for _, precision in curve[place:])
            before = now
        return area

    @staticmethod
    def precision_sum(row, k):
        shown = row[:k].tolist()
        return sum(sum(shown[:rank]) / rank for rank, r in enumerate(shown, start=1) if r)

    @pytest.mark.parametrize("name", ["sake", "zse"])
    def test_interpolated_average_precision(self, name):
        compare(name, "average_precision", self.interpolated_area, AT_K + AT_ALL)

    @pytest.mark.parametrize("name", ["standard", "hits", "total", "rank"])
    def test_average_precision(self, name):
        def plain(row, _, k):
            k = len(row) if k is None else k
            relevant, found = int(row.sum()), int(row[:k].sum())
            divisors = {"standard": min(k, relevant), "hits": found, "total": relevant, "rank": k}
            if not relevant:
                return NAN if name == "total" else 0.0
            return self.precision_sum(row, k) / divisors[name] if found else 0.0

        compare(name, "average_precision", plain, AT_K + AT_ALL)

    @pytest.mark.parametrize(
        ("name", "plain"),
        [
            ("standard", lambda row, k: row[:k].sum() / k),
            ("sake", lambda row, k: row[:k].mean()),
            ("zse", lambda row, k: row[: min(k, row.sum())].mean() if row.any() else NAN),
            ("hits", lambda row, k: row[:k].mean()),
            ("total", lambda row, k: row[:k].sum() / k),
            ("rank", lambda row, k: row[k] if k < len(row) else 0.0),
        ],
    )
    def test_precision(self, name, plain):
        compare(name, "precision", lambda row, _, k: plain(row, k), AT_K)

    def test_recall(self):
        for each, k in AT_K:
            plain = [row[:k].sum() / row.sum() if row.any() else NAN for row in each.relevance]
            np.testing.assert_array_equal(recall(each.hits, k), plain)
