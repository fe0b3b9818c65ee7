"""Means over seeds and how sure they are: Student's t-interval of the mean.

Seeds are few, so the normal distribution would make intervals too narrow: with three of them the
factor is 4.30 and not 1.96.

References:
    Student, The Probable Error of a Mean (Biometrika 1908).
    Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 26.7.3 and 26.7.4.

Tested in ``tests/benchmark/test_intervals.py``.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from msedge.errors import ShapeError

LEVEL = 0.95


@dataclass(frozen=True)
class SeedMean:
    """A mean over seeds, in the unit of the values.

    Attributes:
        count: how many seeds.
        mean: of their values.
        deviation: the sample standard deviation; None of a single seed.
        half: half the width of the mean's 95 % t-interval; None of a single seed.
    """

    count: int
    mean: float
    deviation: float | None
    half: float | None

    @property
    def ends(self) -> tuple[float, float] | None:
        """Both ends of the interval; None of a single seed."""
        return None if self.half is None else (self.mean - self.half, self.mean + self.half)


def over_seeds(values: Sequence[float]) -> SeedMean:
    """The mean of one value a seed, with its 95 % t-interval.

    Raises:
        ShapeError: there is no value.

    >>> found = over_seeds([49.1, 47.9, 49.1])
    >>> round(found.mean, 1), round(found.deviation, 1), round(found.half, 1)
    (48.7, 0.7, 1.7)
    """
    if not values:
        raise ShapeError("a mean over seeds needs at least one value; got none")
    count, mean = len(values), statistics.fmean(values)
    if count == 1:
        return SeedMean(count, mean, None, None)
    deviation = statistics.stdev(values)
    half = student_quantile(count - 1) * deviation / math.sqrt(count)
    return SeedMean(count, mean, deviation, half)


@lru_cache
def student_quantile(freedom: int, level: float = LEVEL) -> float:
    """How many standard errors a two-sided t-interval reaches to each side.

    Args:
        freedom: degrees of freedom, 1 or more.
        level: the share of such intervals that hold the true mean, in (0, 1).

    Raises:
        ShapeError: an argument is out of range.

    >>> round(student_quantile(2), 3)
    4.303
    """
    if freedom < 1 or not 0 < level < 1:
        raise ShapeError(
            f"Student's t needs 1 or more degrees of freedom and a level between 0 and 1, "
            f"got {freedom} and {level}"
        )
    low, high = 0.0, math.pi / 2
    while True:  # halves until two neighbouring numbers are left
        angle = (low + high) / 2
        if angle in (low, high):
            return math.sqrt(freedom) * math.tan(angle)
        low, high = (low, angle) if _within(angle, freedom) > level else (angle, high)


def _within(angle: float, freedom: int) -> float:
    """P(|t| < sqrt(freedom) tan(angle)), by the finite sums for whole degrees of freedom."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = 0.0
    for power in range(odd, freedom - 1, 2):
        total += term
        term *= cosine * cosine * (power + 1) / (power + 2)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total
