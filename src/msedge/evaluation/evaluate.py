"""Every sketch asks, all photos are ranked, and each convention says what the rankings are worth.

One pass over the rankings serves any number of conventions and cut-offs. Values are kept for each
query, since intervals, class tables and paired tests need them. Tested in
``tests/evaluation/test_evaluate.py``; speed and memory in ``benchmarks/evaluation.py``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from msedge.errors import ConfigError, ShapeError
from msedge.evaluation.conventions import Convention, PerQuery, convention, recall
from msedge.evaluation.hits import Hits, check_cut_off
from msedge.evaluation.ranking import Progress, map_hits
from msedge.evaluation.scoring import Metric, class_ids

if TYPE_CHECKING:
    from msedge.evaluation.scoring import Array

Values = Mapping[str, PerQuery]


@dataclass(frozen=True)
class Metrics:
    """Means over all queries, in [0, 1], with the convention that defines them.

    Attributes:
        convention: The name of the definition of AP@k and P@k.
        queries: Sketches asked with.
        gallery: Photos ranked.
        map_all: Mean AP over the whole ranking.
        map_at: Mean AP@k by k.
        p_at: Mean P@k by k.
    """

    convention: str
    queries: int
    gallery: int
    map_all: float
    map_at: dict[int, float]
    p_at: dict[int, float]

    def headline(self) -> dict[str, float]:
        """The four figures that papers print, in percent and in their usual order.

        Raises:
            ShapeError: The evaluation was not made at 100 and 200.

        >>> Metrics("standard", 1, 300, 0.5, {100: 0.5, 200: 0.25}, {100: 1, 200: 0.75}).headline()
        {'mAP@200': 25.0, 'mAP@all': 50.0, 'P@100': 100.0, 'P@200': 75.0}
        """
        if not {100, 200} <= self.p_at.keys() or 200 not in self.map_at:
            raise ShapeError(
                f"the headline needs cut-offs 100 and 200, but the evaluation was made at "
                f"{sorted(self.p_at)}; evaluate with at=(100, 200, ...)"
            )
        return {
            "mAP@200": 100.0 * self.map_at[200],
            "mAP@all": 100.0 * self.map_all,
            "P@100": 100.0 * self.p_at[100],
            "P@200": 100.0 * self.p_at[200],
        }


@dataclass(frozen=True)
class Evaluation:
    """What each query's ranking is worth, under each convention asked for.

    Attributes:
        labels: ``(Q,)`` int64, the class id of each query, in the order given.
        relevant: ``(Q,)`` int64, how many photos of its class the gallery holds.
        gallery: Photos ranked.
        metric: How nearness was measured.
        at: The cut-offs k.
        values: Convention, then measure, to ``(Q,)`` float64 in [0, 1]. Measures are ``mAP@all``,
            then ``mAP@k``, ``P@k`` and ``recall@k`` for each k; those named mAP hold each query's
            AP, whose mean they are.
    """

    labels: npt.NDArray[np.int64]
    relevant: npt.NDArray[np.int64]
    gallery: int
    metric: Metric
    at: tuple[int, ...]
    values: Mapping[str, Values]

    def means(self, convention: str = "standard") -> dict[str, float]:
        """The mean of each measure over all queries, in [0, 1].

        Raises:
            ConfigError: The evaluation was not made under that convention.
        """
        return {measure: mean(values) for measure, values in self._of(convention).items()}

    def by_class(self, convention: str = "standard") -> dict[int, dict[str, float]]:
        """The mean of each measure over the queries of each class, by class id, rising.

        Raises:
            ConfigError: The evaluation was not made under that convention.
        """
        of = self._of(convention)
        return {
            int(label): {
                measure: mean(values[self.labels == label]) for measure, values in of.items()
            }
            for label in np.unique(self.labels)
        }

    def metrics(self, convention: str = "standard") -> Metrics:
        """The means as an object with the four figures that papers print.

        Raises:
            ConfigError: The evaluation was not made under that convention.
        """
        means = self.means(convention)
        return Metrics(
            convention=convention,
            queries=len(self.labels),
            gallery=self.gallery,
            map_all=means["mAP@all"],
            map_at={k: means[f"mAP@{k}"] for k in self.at},
            p_at={k: means[f"P@{k}"] for k in self.at},
        )

    def _of(self, convention: str) -> Values:
        if convention not in self.values:
            raise ConfigError(
                f"not evaluated under {convention!r}: expected one of {', '.join(self.values)}; "
                "name it in conventions"
            )
        return self.values[convention]


def evaluate(
    queries: Array,
    gallery: Array,
    query_labels: Array,
    gallery_labels: Array,
    *,
    at: Sequence[int] = (100, 200),
    conventions: Sequence[str] = ("standard",),
    metric: Metric = "cosine",
    chunk: int = 256,
    progress: Progress | None = None,
) -> Evaluation:
    """Rank the gallery for every query, and measure the rankings.

    A photo is relevant when its class id equals the sketch's. Rankings are exact, ties go by
    gallery order, and no value depends on ``chunk``, on the order of the queries, on threads or
    on the BLAS. Runs on the GPU when ``gallery`` is a CUDA tensor.

    Args:
        queries: Sketch vectors ``(Q, D)``; see :func:`~msedge.evaluation.scoring.scored`.
        gallery: Photo vectors ``(M, D)``, likewise.
        query_labels: Class ids ``(Q,)``, integers; each must occur in ``gallery_labels``.
        gallery_labels: Class ids ``(M,)``, integers.
        at: The cut-offs k. One above the size of the gallery is allowed; what it means, each
            convention says.
        conventions: Names from :data:`~msedge.evaluation.conventions.CONVENTIONS`.
        metric: ``cosine``, ``euclidean`` or ``hamming``.
        chunk: Queries ranked at a time; bounds the memory.
        progress: Called with (queries ranked so far, Q) after each chunk.

    Returns:
        The value of each query under each convention.

    Raises:
        ShapeError: An array has the wrong shape, type or range (the message names the first bad
            row), a query's class has no photo, or a cut-off is below 1 or beyond int32.
        ConfigError: There is no such convention or metric.

    >>> photos = np.array([[1, 0], [1, 1], [0, 1]])
    >>> found = evaluate(np.eye(2), photos, np.array([0, 1]), np.array([0, 1, 1]), at=[2])
    >>> found.means()
    {'mAP@all': 1.0, 'mAP@2': 1.0, 'P@2': 0.75, 'recall@2': 1.0}
    """
    chosen = [convention(name) for name in dict.fromkeys(conventions)]
    if not chosen:
        raise ConfigError("no convention was named; expected at least one")
    cut_offs = tuple(dict.fromkeys(int(k) for k in at))
    for k in cut_offs:
        check_cut_off(k, "cut-offs in at")
    measure = partial(_measured, chosen, cut_offs)
    parts = map_hits(
        measure, queries, gallery, query_labels, gallery_labels,
        metric=metric, chunk=chunk, progress=progress,
    )  # fmt: skip
    labels = class_ids(query_labels, "query_labels", len(queries))
    relevant = np.empty(len(labels), np.int64)
    values: dict[str, dict[str, PerQuery]] = {each.name: {} for each in chosen}
    for rows, count, found in parts:
        relevant[rows] = count
        for name, measures in found.items():
            for measure_name, part in measures.items():
                whole = values[name].setdefault(measure_name, np.empty(len(labels)))
                whole[rows] = part
    return Evaluation(
        labels=labels,
        relevant=relevant,
        gallery=len(gallery),
        metric=metric,
        at=cut_offs,
        values=values,
    )


def mean(values: PerQuery) -> float:
    """The mean with a correctly rounded sum, which the order of the queries cannot change."""
    return math.fsum(values.tolist()) / len(values)


def _measured(
    conventions: Sequence[Convention],
    cut_offs: Sequence[int],
    rows: npt.NDArray[np.int64],
    hits: Hits,
) -> tuple[npt.NDArray[np.int64], int, dict[str, dict[str, PerQuery]]]:
    """The queries' rows, their R, and the value of each measure under each convention."""
    recalls = {f"recall@{k}": recall(hits, k) for k in cut_offs}
    found = {
        each.name: {
            "mAP@all": each.average_precision(hits, None),
            **{f"mAP@{k}": each.average_precision(hits, k) for k in cut_offs},
            **{f"P@{k}": each.precision(hits, k) for k in cut_offs},
            **recalls,
        }
        for each in conventions
    }
    return rows, hits.ranks.shape[1], found
