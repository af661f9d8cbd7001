"""
Two routings, or two models, on the same cases: what their difference is worth.

Pure functions of numbers, from the standard library alone, as `statistics`. Only cases on which the two differ say
anything; so all is a function of how many those are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist
from typing import NamedTuple, Self

from pytest_modelroute.evaluation.statistics import Interval, binomial_cdf


class Pairs(NamedTuple):
    """How often one of two is right where the other is wrong."""

    gains: int
    "Cases that only the first gets right."
    losses: int
    "Cases that only the second gets right."
    n: int

    @classmethod
    def of(cls, first: Iterable[bool], second: Iterable[bool]) -> Self:
        """Count two sequences that run over the same cases in the same order."""
        pairs = list(zip(first, second, strict=True))
        return cls(
            sum(one and not other for one, other in pairs), sum(other and not one for one, other in pairs), len(pairs)
        )

    @property
    def difference(self) -> float:
        """The share that the first gets right less that of the second; NaN for no case."""
        return (self.gains - self.losses) / self.n if self.n else math.nan

    @property
    def p_value(self) -> float:
        """The exact two-sided test of McNemar: a fair coin decides each case on which the two differ."""
        discordant = self.gains + self.losses
        return min(1.0, 2 * binomial_cdf(min(self.gains, self.losses), discordant, 0.5))

    @property
    def interval(self) -> Interval:
        """
        At 95%, of the difference (Bonett and Price 2012, the adjusted Wald interval).

        Unlike the plain Wald interval it has a width where the two never differ, which on few cases shows little.
        """
        if self.n == 0:
            return Interval(-1.0, 1.0)
        gain, loss = (self.gains + 1) / (self.n + 2), (self.losses + 1) / (self.n + 2)
        half = _Z * math.sqrt((gain + loss - (gain - loss) ** 2) / (self.n + 2))
        return Interval(max(-1.0, gain - loss - half), min(1.0, gain - loss + half))

    def cases_needed(self, margin: float) -> int:
        """
        About how many cases would settle it, at 5% and with power 80%, if they differ as often as these.

        Connor 1987, "Sample size for testing differences in proportions for the paired-sample design".

        Args:
            margin: The smallest difference that matters; a larger one that is seen here takes its place.

        """
        effect = max(margin, abs(self.difference) if self.n else 0.0)
        differ = max((self.gains + self.losses + 2) / (self.n + 2), effect)
        root = _Z * math.sqrt(differ) + _POWER * math.sqrt(max(0.0, differ - effect * effect))
        return max(self.n + 1, math.ceil(root * root / (effect * effect)))


_Z = NormalDist().inv_cdf(0.975)
_POWER = NormalDist().inv_cdf(0.8)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of several tests, adjusted so that any false alarm among them is rare (Holm 1979)."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted = [1.0] * len(p_values)
    floor = 0.0
    for place, index in enumerate(order):
        floor = max(floor, min(1.0, p_values[index] * (len(p_values) - place)))
        adjusted[index] = floor
    return adjusted


def chance_p_value(count: int, shares: Sequence[float]) -> float:
    """
    Two-sided p-value of a count of hits where case i is hit by chance with shares[i]; twice the smaller exact tail.

    The count's distribution is the Poisson binomial one, built case by case.
    """
    weights = [1.0]
    for share in shares:
        weights = [
            stay * (1 - share) + moved * share for stay, moved in zip([*weights, 0.0], [0.0, *weights], strict=True)
        ]
    return min(1.0, 2 * min(math.fsum(weights[: count + 1]), math.fsum(weights[count:])))
