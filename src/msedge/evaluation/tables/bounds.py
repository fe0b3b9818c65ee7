"""What one metric of a ranking allows another to be: inequalities, each with its proof.

They hold for the means over any set of queries, so a published row that breaks one was not drawn
from one ranking under the conventions for which it is proved. ``rel``, ``h_k`` (relevant in the
top k), ``prec(i)`` and ``R`` (relevant in the gallery) are as in
:mod:`msedge.evaluation.conventions`; S_k is the sum of prec(i) over relevant ranks i <= k. Of six
conventions in use:

========== ========================================== ==========================================
convention AP@k                                       P@k
========== ========================================== ==========================================
standard   S_k / min(k, R)                            h_k / k
sake       VOC-interpolated, recall over min(k, R)    h_k / k
zse        as ``sake``                                hits in the top min(k, R), by min(k, R)
hits       S_k / h_k                                  h_k / k
total      S_k / R                                    h_k / k
rank       S_k / k                                    relevance at rank k + 1 alone
========== ========================================== ==========================================

No bound joins mAP@all to the others here: AP@all weighs what comes after rank k by R - h_k, and
with classes of 161 to 2,922 photos what is left of a true bound is too wide to be broken.
Tested in ``tests/evaluation/tables/test_bounds.py`` and, on simulated rankings, in
``test_lint.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from msedge.evaluation.tables.splits import CLASS_SIZES

CONVENTIONS = ("standard", "sake", "zse", "hits", "total", "rank")
AP_AT_MOST_P = frozenset({"standard", "sake", "zse", "total"})
"""Conventions for which :func:`most_ap_above_p` is proved."""
AP_AT_LEAST = frozenset({"standard", "sake", "zse", "hits"})
"""Conventions for which :func:`least_ap` is proved."""
P_COUNTS = frozenset({"standard", "sake", "zse", "hits", "total"})
"""Conventions for which :func:`precision_range` is proved."""
P_BY_K = frozenset({"standard", "sake", "hits", "total"})
"""Conventions for which :func:`most_precision` is proved."""


def most_ap_above_p(protocols: Iterable[str], k: int) -> Decimal | None:
    """How far mAP@k can lie above P@k, for the conventions in ``AP_AT_MOST_P``.

    With R >= k nothing: each of the h_k hits adds at most 1/k to AP@k (its precision, interpolated
    or not, is at most 1; ``total`` divides by R >= k), so AP@k <= h_k / k = P@k. With R < k the
    difference is at most 1 - R/k. Where P@k = h_k / k, AP@k <= h_k / R, so it is at most
    h_k (1/R - 1/k), and h_k <= R. Under ``zse``, with n hits at ranks R+1 to k, those within the
    top R add at most P@k; each of the n later ones adds at most (1/R) R/(R+n), since a ranking of
    which at most R - n hits lie in the top R has a precision of at most R/(R+n) beyond it; and
    n/(R+n) <= 1 - R/k for n <= k - R. The mean over queries weighs this with the share of the
    queries whose class is so small.

    Args:
        protocols: The ids that the split may stand for; the most any of them allows is returned.
        k: The cut-off.

    Returns:
        The difference, in [0, 1]; None where class sizes are not known well enough.
    """
    differences = []
    for protocol in protocols:
        sizes = CLASS_SIZES.get(protocol)
        if sizes is None or k > sizes.others:
            return None
        differences.append(sum((s.most_share * s.missing(k) for s in sizes.short), Decimal(0)))
    return max(differences, default=None)


def most_precision(protocols: Iterable[str], k: int) -> Decimal:
    """The highest P@k that a gallery of unique photos allows, for the conventions in ``P_BY_K``.

    h_k <= R, so P@k <= R/k for a class with R < k; the other queries can reach 1.

    Args:
        protocols: The ids that the split may stand for; the most any of them allows is returned.
        k: The cut-off.

    Returns:
        The bound, in [0, 1]; 1 where no class is known to be small.
    """
    bounds = []
    for protocol in protocols:
        short = CLASS_SIZES[protocol].short if protocol in CLASS_SIZES else ()
        bounds.append(1 - sum((s.least_share * s.missing(k) for s in short), Decimal(0)))
    return max(bounds, default=Decimal(1))


def precision_range(precision: Decimal, k: int, deeper: int) -> tuple[Decimal, Decimal]:
    """What P@k leaves open for P at a deeper cut-off K, for the conventions in ``P_COUNTS``.

    The top K hold the top k, so h_k <= h_K <= h_k + (K - k). Dividing by K gives
    (k/K) P@k <= P@K <= 1 - (k/K) (1 - P@k). ``zse`` has min(k, R) and min(K, R) for k and K, whose
    quotient is no smaller, and both ends only move inwards as it grows. Means keep linear bounds.

    Args:
        precision: P@k in [0, 1].
        k: Its cut-off.
        deeper: The cut-off K > k.

    Returns:
        The least and the most.

    >>> precision_range(Decimal("0.6"), 100, 200)
    (Decimal('0.30'), Decimal('0.80'))
    """
    ratio = Decimal(k) / deeper
    return ratio * precision, 1 - ratio * (1 - precision)


def least_ap(precision: Decimal) -> Decimal:
    """The least mAP@k that P@k allows, for the conventions in ``AP_AT_LEAST``: p + (1-p) ln(1-p).

    With h hits in the top k, S_k is least when all m = k - h misses come first, and then it is the
    sum of j / (m + j) over j = 1..h. The terms grow with j, so the sum is at least the integral of
    x / (m + x) from 0 to h, which is h - m ln(k/m). AP@k is at least S_k / k (the four divide by
    min(k, R) or h_k, none by more than k; interpolation only adds), that is p + (1-p) ln(1-p) with
    p = h/k. Under ``zse`` with R < k the same holds of the top R. The bound is convex in p (its
    second derivative is 1/(1-p)), so by Jensen it holds of the means.

    Args:
        precision: P@k in [0, 1].

    Returns:
        The bound, in [0, 1]; it grows with ``precision``.

    >>> least_ap(Decimal("0.5")).quantize(Decimal("0.0001"))
    Decimal('0.1534')
    """
    missed = 1 - precision
    return precision + missed * missed.ln() if missed else precision
