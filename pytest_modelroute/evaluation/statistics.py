"""
Intervals and percentiles, from the standard library alone.

Stands on the ground: pure functions of numbers. Each formula names its source; the tests compare with scipy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from statistics import NormalDist, fmean, stdev
from typing import NamedTuple, Self


class Interval(NamedTuple):
    """A confidence interval, both ends included."""

    low: float
    high: float


class Rate(float):
    """
    A share of cases: a float that remembers k, n and its Wilson interval.

    Attributes:
        count: k, the cases that count.
        n: Of how many.
        interval: At 95%.

    """

    count: int
    n: int

    def __new__(cls, count: int, n: int) -> Self:
        """The share k/n; NaN where n is 0, which compares false with every limit."""
        rate = super().__new__(cls, count / n if n else math.nan)
        rate.count = count
        rate.n = n
        return rate

    def __getnewargs__(self) -> tuple[int, int]:  # type: ignore[override]
        """For copies and pickles."""
        return self.count, self.n

    @property
    def interval(self) -> Interval:
        """The Wilson interval at 95%."""
        return wilson(self.count, self.n)

    def __repr__(self) -> str:
        """The value with its evidence."""
        if not self.n:
            return "no cases"
        low, high = self.interval
        return f"{float(self):.3f} ({self.count}/{self.n}, 95% {low:.3f} to {high:.3f})"


def wilson(count: int, n: int, confidence: float = 0.95) -> Interval:
    """
    The score interval of a share k/n (Wilson 1927, two-sided, without continuity correction).

    Unlike the normal approximation it stays in 0..1 and is honest at 0 of n and n of n. (0, 1) where n is 0.
    """
    if n == 0:
        return Interval(0.0, 1.0)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = count / n
    scale = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / scale
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / scale
    low = 0.0 if count == 0 else max(0.0, centre - half)
    high = 1.0 if count == n else min(1.0, centre + half)
    return Interval(low, high)


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """
    Student's t interval of a mean; unbounded for fewer than two values.

    Right for many cases whatever the distribution, and rough for a few cases with a long tail.
    """
    n = len(values)
    if n < 2:  # noqa: PLR2004 - one value says nothing of its spread
        return Interval(-math.inf, math.inf)
    mean = fmean(values)
    half = t_quantile((1 + confidence) / 2, n - 1) * stdev(values, mean) / math.sqrt(n)
    return Interval(mean - half, mean + half)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of sorted values: the smallest value with at least this share at or below it."""
    return ordered[max(0, math.ceil(share * len(ordered) - 1e-9) - 1)]


def percentile_interval(ordered: Sequence[float], share: float, confidence: float = 0.95) -> Interval:
    """
    The order-statistic interval of a percentile, free of any distribution (David and Nagaraja 2003, section 7.1).

    An end is infinite where so few values cannot bound it: above the 95th percentile that takes at least 72 of them.
    """
    n = len(ordered)
    tail = (1 - confidence) / 2
    low = _rank_with_tail(n, share, tail)
    high = _rank_with_tail(n, 1 - share, tail)
    return Interval(
        ordered[low - 1] if low >= 1 else -math.inf,
        ordered[n - high] if high >= 1 else math.inf,
    )


def _rank_with_tail(n: int, share: float, tail: float) -> int:
    """The largest rank r with P(fewer than r of n values lie below the percentile) at most `tail`; 0 for none."""
    low, high = 0, n
    while low < high:
        middle = (low + high + 1) // 2
        if binomial_cdf(middle - 1, n, share) <= tail:
            low = middle
        else:
            high = middle - 1
    return low


def f1_score(hits: int, false_alarms: int, misses: int) -> float:
    """The harmonic mean of precision and recall; NaN for a label that neither occurs nor is given."""
    total = 2 * hits + false_alarms + misses
    return 2 * hits / total if total else math.nan


def f1_interval(hits: int, false_alarms: int, misses: int, confidence: float = 0.95) -> Interval:
    """
    The interval of F1 through F* = hits / (hits + false alarms + misses), which is a share; F1 = 2 F* / (1 + F*).

    Hand, Christen and Kirielle 2021, "F*: an interpretable transformation of the F-measure". The interval of F* is
    Wilson's.
    """
    low, high = wilson(hits, hits + false_alarms + misses, confidence)
    return Interval(2 * low / (1 + low), 2 * high / (1 + high))


def binomial_cdf(k: int, n: int, share: float) -> float:
    """P(at most k of n), by the regularised incomplete beta function (Abramowitz and Stegun 26.5.24)."""
    if k < 0:
        return 0.0
    return 1.0 if k >= n else incomplete_beta(n - k, k + 1, 1 - share)


def t_quantile(probability: float, degrees: int) -> float:
    """The quantile of Student's t, by bisection of its distribution function; probability above 0.5."""
    low, high = 0.0, 1.0
    while _t_cdf(high, degrees) < probability:
        high *= 2
    # Halving until the ends are neighbours: some 60 steps, and no derivative to go wrong.
    while low < (middle := (low + high) / 2) < high:
        if _t_cdf(middle, degrees) < probability:
            low = middle
        else:
            high = middle
    return high


def _t_cdf(t: float, degrees: int) -> float:
    if t * t < 1:  # near the middle the tail is one half, and what is left of it after subtraction is noise
        return 0.5 + incomplete_beta(0.5, degrees / 2, t * t / (degrees + t * t)) / 2
    return 1 - incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t)) / 2


def incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function, by its continued fraction (Abramowitz and Stegun 26.5.8)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(b, a, 1 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    return front * _beta_fraction(a, b, x) / a


def _beta_fraction(a: float, b: float, x: float) -> float:
    """Lentz's evaluation of the fraction, until a step changes nothing that a float can hold."""
    tiny = 1e-300
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or tiny)
    value = d
    for step in range(1, 10_000):
        even = step * (b - step) * x / ((a + 2 * step - 1) * (a + 2 * step))
        odd = -(a + step) * (a + b + step) * x / ((a + 2 * step) * (a + 2 * step + 1))
        change = 1.0
        for term in (even, odd):
            d = 1 / (1 + term * d or tiny)
            c = 1 + term / c or tiny
            change = c * d
            value *= change
        if abs(change - 1) < 1e-15:  # noqa: PLR2004 - the resolution of a float
            break
    return value


def sum_known(values: Iterable[Decimal | None]) -> Decimal | None:
    """The sum of some amounts; None where one of them is not known, since a sum without it would pass for all."""
    total = Decimal(0)
    for value in values:
        if value is None:
            return None
        total += value
    return total
