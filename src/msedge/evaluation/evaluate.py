"""Every sketch asks, all photos are ranked, and each convention says what the rankings are worth.

One pass over the rankings serves any number of conventions and cut-offs. Values are kept for each
query, since intervals, class tables and paired tests need them. Tested in
``tests/evaluation/test_evaluate.py``; speed and memory in ``benchmarks/evaluation.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

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
Number = TypeVar("Number", np.int64, np.float64)


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

    @classmethod
    def joined(
        cls, parts: Sequence[Evaluation], rows: Sequence[npt.NDArray[np.int64]]
    ) -> Evaluation:
        """The evaluation of all queries, from evaluations that shared them out.

        Args:
            parts: What :func:`evaluate` made of ``rows`` of the same queries and gallery.
            rows: ``(n,)`` of each part, the positions of its queries; together 0 to Q - 1.

        Raises:
            ShapeError: The rows are not each query once, or the parts differ in more than them.
        """
        sizes, named = [len(part.labels) for part in parts], [len(each) for each in rows]
        places = np.concatenate([np.asarray(each, np.int64) for each in rows])
        if named != sizes or not np.array_equal(np.sort(places), np.arange(sum(sizes))):
            raise ShapeError(
                f"parts of {sizes} queries cannot be joined at rows of {named}; "
                f"name each query once, from 0 to {sum(sizes) - 1}"
            )
        first = parts[0]
        if any(part._kind() != first._kind() for part in parts):
            raise ShapeError(
                "the parts differ in gallery, metric, cut-offs or conventions; evaluate the same "
                "in each"
            )
        order = np.argsort(places)

        def whole(of_parts: Iterable[npt.NDArray[Number]]) -> npt.NDArray[Number]:
            return np.concatenate(list(of_parts))[order]

        return cls(
            labels=whole(part.labels for part in parts),
            relevant=whole(part.relevant for part in parts),
            gallery=first.gallery,
            metric=first.metric,
            at=first.at,
            values={
                name: {
                    measure: whole(part.values[name][measure] for part in parts)
                    for measure in measures
                }
                for name, measures in first.values.items()
            },
        )

    def _kind(self) -> tuple[object, ...]:
        return self.gallery, self.metric, self.at, list(self.values)

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
    handicaps: npt.NDArray[np.float64] | None = None,
    chunk: int = 256,
    rows: npt.NDArray[np.int64] | None = None,
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
        handicaps: Taken off the scores of each photo ``(M,)``; for ``cosine`` alone.
        chunk: Queries ranked at a time; bounds the memory.
        rows: Positions ``(n,)`` of the only queries to rank, each once, possibly none; without
            it, all. :meth:`Evaluation.joined` puts such parts together. Every query is checked
            and weighs in as ever, so no value depends on who else is ranked.
        progress: Called with (queries ranked so far, of how many) after each chunk.

    Returns:
        The value of each query, in the order of ``rows`` where these are given, under each
        convention.

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
    parts = map_hits(
        partial(_measured, chosen, cut_offs), queries, gallery, query_labels, gallery_labels,
        metric=metric, handicaps=handicaps, chunk=chunk, rows=rows, progress=progress,
    )  # fmt: skip
    labels = class_ids(query_labels, "query_labels", len(queries))
    place = np.arange(len(labels))  # of a query in what is returned
    if rows is not None:
        labels = labels[rows]
        place[rows] = np.arange(len(labels))
    relevant = np.empty(len(labels), np.int64)
    values: dict[str, dict[str, PerQuery]] = {
        each.name: {measure: np.empty(len(labels)) for measure in _measures(cut_offs)}
        for each in chosen
    }
    for asked, count, found in parts:
        relevant[place[asked]] = count
        for name, measures in found.items():
            for measure, part in measures.items():
                values[name][measure][place[asked]] = part
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


def _measures(cut_offs: Sequence[int]) -> list[str]:
    """The names of the values that :func:`_measured` gives, in the order of reading."""
    at = [f"{measure}@{k}" for measure in ("mAP", "P", "recall") for k in cut_offs]
    return ["mAP@all", *at]


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
