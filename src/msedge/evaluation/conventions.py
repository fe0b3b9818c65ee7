"""What a ranking is worth: the named definitions of AP@k and P@k that papers print as one name.

On the same ranking they differ by tens of points, so a number never leaves this package without
the name of its convention. Each takes the ranks of the relevant photos
(:class:`~msedge.evaluation.hits.Hits`) and gives one value a query.

Symbols: ``rank_t`` is the rank of the t-th relevant photo, so that precision there is
``t / rank_t``; ``h_k`` counts the relevant among the first k, ``R`` those in the whole gallery of
``M`` photos. Values of a query without any relevant photo are those of the original code, NaN
where it divides by zero. Ranks beyond M do not exist: k counts as M in sums. Tested in
``tests/evaluation/test_conventions.py``, against independent implementations in
``test_conventions_originals.py`` beside it, and by ``benchmarks/conventions.py`` against the
papers' own files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from msedge.errors import ConfigError
from msedge.evaluation.hits import Hits

PerQuery: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Convention:
    """A named definition of AP@k and P@k.

    Attributes:
        name: How it is asked for.
        average_precision: ``(hits, k)`` to AP@k, ``(Q,)`` float64; k None for the whole gallery.
        precision: ``(hits, k)`` to P@k, ``(Q,)`` float64.
        ap_formula: AP@k in one line.
        p_formula: P@k in one line.
        used_by: The code and papers that it reproduces.
    """

    name: str
    average_precision: Callable[[Hits, int | None], PerQuery]
    precision: Callable[[Hits, int], PerQuery]
    ap_formula: str
    p_formula: str
    used_by: str


def convention(name: str) -> Convention:
    """The convention of a name.

    Raises:
        ConfigError: There is none of that name.

    >>> import numpy as np
    >>> hits = Hits.from_relevance(np.array([[True, False, True, False, True]]))
    >>> convention("standard").average_precision(hits, 2)
    array([0.5])
    >>> convention("hits").average_precision(hits, 2)
    array([1.])
    """
    try:
        return CONVENTIONS[name]
    except KeyError:
        raise ConfigError(
            f"unknown convention {name!r}: expected one of {', '.join(CONVENTIONS)}"
        ) from None


def recall(hits: Hits, k: int) -> PerQuery:
    """Recall@k, ``h_k / R``, the same under every convention: ``(Q,)``, NaN where R is 0."""
    return _ratio(hits.within(k), hits.relevant)


# --------------------------------------------------------------------------------- AP@k


def _standard_ap(hits: Hits, k: int | None) -> PerQuery:
    """Divided by the most relevant photos that k places can hold: a perfect ranking has 1."""
    best = np.minimum(hits.relevant, hits.last(k))
    return _precision_sum(hits, k) / np.maximum(best, 1)


def _voc_ap(hits: Hits, k: int | None) -> PerQuery:
    """The area under the interpolated curve: a hit counts the best precision from it to k."""
    last = hits.last(k)
    width = min(hits.ranks.shape[1], last)
    counted, ranks = hits.ranks[:, :width] <= last, hits.ranks[:, :width]
    precision = np.where(counted, np.arange(1, width + 1) / ranks, 0.0)
    best_from_here = np.maximum.accumulate(precision[:, ::-1], axis=1)
    return _ratio(
        best_from_here.sum(axis=1, where=counted[:, ::-1]), np.minimum(hits.relevant, last)
    )


def _hits_ap(hits: Hits, k: int | None) -> PerQuery:
    """Divided by the relevant found: one hit at rank 1 and nothing more is a perfect score."""
    return _precision_sum(hits, k) / np.maximum(hits.within(k), 1)


def _total_ap(hits: Hits, k: int | None) -> PerQuery:
    """Divided by all relevant in the gallery, reachable or not."""
    return _ratio(_precision_sum(hits, k), hits.relevant)


def _rank_ap(hits: Hits, k: int | None) -> PerQuery:
    """Divided by k, whether or not there are k relevant photos."""
    return _precision_sum(hits, k) / (hits.gallery if k is None else k)


# ---------------------------------------------------------------------------------- P@k


def _standard_p(hits: Hits, k: int) -> PerQuery:
    """The missing places of a gallery with fewer than k photos count as wrong."""
    return hits.within(k) / k


def _existing_p(hits: Hits, k: int) -> PerQuery:
    """Divided by the places that exist, min(k, M)."""
    return hits.within(k) / hits.last(k)


def _zse_p(hits: Hits, k: int) -> PerQuery:
    """Hits among the first min(k, R), divided by as many."""
    places = np.minimum(hits.relevant, hits.last(k))
    found = np.count_nonzero(hits.ranks <= places[:, None], axis=1)
    return _ratio(found, places)


def _rank_p(hits: Hits, k: int) -> PerQuery:
    """Whether the photo at rank k + 1 is relevant (``rel[:, k]`` counted from 0); 0 if none is."""
    after = hits.last(k) + 1
    relevant: PerQuery = ((hits.ranks == after) & (after <= hits.gallery)).any(axis=1).astype(float)
    return relevant


def _precision_sum(hits: Hits, k: int | None) -> PerQuery:
    """The precision at each relevant rank up to k, added up: ``(Q,)``."""
    last = hits.last(k)
    ranks = hits.ranks[:, :last]  # the t-th hit stands at rank t at best
    precision = np.arange(1, ranks.shape[1] + 1) / ranks
    total: PerQuery = precision.sum(axis=1, where=ranks <= last)
    return total


def _ratio(above: npt.NDArray[np.generic], below: npt.NDArray[np.int64]) -> PerQuery:
    """A quotient that is NaN, without a warning, where the divisor is 0."""
    quotient: PerQuery = np.divide(above, below, out=np.full(len(below), np.nan), where=below > 0)
    return quotient


_SUM = "sum of t / rank_t over rank_t <= k"

CONVENTIONS: dict[str, Convention] = {
    each.name: each
    for each in (
        Convention(
            "standard", _standard_ap, _standard_p,
            f"{_SUM}, divided by min(k, R)", "h_k / k",
            "Manning, Raghavan and Schütze, Introduction to Information Retrieval (2008), 8.4",
        ),
        Convention(
            "sake", _voc_ap, _existing_p,
            "sum of the best precision from rank_t to k over rank_t <= k, divided by min(k, R, M)",
            "h_k / min(k, M)",
            "SAKE (ICCV 2019), EGFF (2022), ACNet (2023); TVT, PSKD by descent",
        ),
        Convention(
            "zse", _voc_ap, _zse_p,
            "as sake", "hits in the first min(k, R), divided by min(k, R)",
            "ZSE-SBIR (CVPR 2023)",
        ),
        Convention(
            "hits", _hits_ap, _existing_p,
            f"{_SUM}, divided by h_k (0 if none)", "h_k / min(k, M)",
            "SEM-PCYC (CVPR 2019); scikit-learn on the first k; torchmetrics with top_k",
        ),
        Convention(
            "total", _total_ap, _standard_p,
            f"{_SUM}, divided by R", "h_k / k",
            "pytorch-metric-learning with k",
        ),
        Convention(
            "rank", _rank_ap, _rank_p,
            f"{_SUM}, divided by k", "whether the photo at rank k + 1 is relevant",
            "CVAE (ECCV 2018) for AP; Doodle2Search (CVPR 2019), TCN (2021) for P",
        ),
    )
}  # fmt: skip
"""All definitions by name; ``standard`` is the default of this package."""
