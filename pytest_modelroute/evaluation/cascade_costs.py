"""What a cascade costs beside its tiers: the evidence, the result, and the result in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from statistics import fmean
from typing import Final, Literal, TypeAlias

from pytest_modelroute.errors import EvaluationError
from pytest_modelroute.evaluation.statistics import Interval, Rate, mean_interval

Verdict: TypeAlias = Literal["saves", "costs more", "inconclusive"]
_MANY: Final = 100_000
"Requests beyond which it does not matter how many would settle a comparison."


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredTier:
    """What was measured of one tier, on the requests that reached it."""

    name: str
    cost_usd: Decimal | float
    "Mean USD a request, its checks included."
    latency_s: float
    "Mean seconds a request, its checks included."
    accepted: int = 0
    "How many of its answers were accepted. Not looked at for the last tier, whose answer comes back in any case."
    n: int = 0
    "Of how many requests; one that failed counts as not accepted."
    cost_interval: Interval | None = None
    "That of the mean, at 95%; None where the mean counts as exact."
    latency_interval: Interval | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot have been measured."""
        if not 0 <= self.accepted <= self.n:
            raise EvaluationError(f"tier {self.name!r}: {self.accepted} of {self.n} answers cannot be accepted")
        for what, value in {"cost_usd": self.cost_usd, "latency_s": self.latency_s}.items():
            if not 0 <= value < math.inf:
                raise EvaluationError(f"tier {self.name!r}: {what} is {value!r}; a number, 0 or more, was expected")

    @classmethod
    def of(
        cls, name: str, *, costs: Sequence[Decimal | float], latencies: Sequence[float], accepted: int = 0, n: int = 0
    ) -> MeasuredTier:
        """Means with their intervals, from the single values: a cost in USD and seconds for each request."""
        spent = [float(cost) for cost in costs]
        return cls(
            name=name,
            cost_usd=sum(map(Decimal, costs), Decimal(0)) / len(costs),
            latency_s=fmean(latencies),
            accepted=accepted,
            n=n,
            cost_interval=mean_interval(spent),
            latency_interval=mean_interval(latencies),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TierAlone:
    """A tier in the cascade, and in its place."""

    name: str
    acceptance: Rate
    "Of the requests that reach it in the cascade."
    pays_from: float
    "The acceptance above which the cascade is cheaper with this tier than without it; above 1 it never is."
    cost_usd: float
    "Mean USD where every request goes straight to it."
    latency_s: float
    alone: Rate
    "The share of its answers that are accepted then."


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEven:
    """A cascade beside always the strongest tier and beside each other tier alone; `str()` says it in words."""

    n: int
    "Requests on which the acceptance of the first tier was measured."
    cascade_usd: float
    "Expected USD a request."
    cascade_s: float
    "Expected seconds a request."
    strongest: str
    strongest_usd: float
    strongest_s: float
    saved: float
    "The share of the cost of always the strongest that the cascade saves; below 0 where it costs more."
    saved_interval: Interval
    "At 95%."
    later_s: float
    "Seconds by which an answer of the cascade comes later."
    later_interval: Interval
    tiers: tuple[TierAlone, ...]
    "All but the strongest, weakest first."
    break_even: float
    "The acceptance of the first tier at which the cascade costs what always the strongest does; above 1 for none."

    @property
    def verdict(self) -> Verdict:
        """Decided by the interval, not by the estimate."""
        low, high = self.saved_interval
        return "saves" if low > 0 else "costs more" if high < 0 else "inconclusive"

    @property
    def needed(self) -> int | None:
        """About how many requests would settle an inconclusive comparison; None for more than 100,000."""
        end = self.saved_interval.low if self.saved > 0 else self.saved_interval.high
        if not self.saved or math.isinf(end):
            return None
        number = math.ceil(self.n * ((self.saved - end) / self.saved) ** 2) + 1
        return number if number <= _MANY else None

    def __str__(self) -> str:
        """The verdict, and what it rests on."""
        return "\n".join([self._headline(), *(line for tier in self.tiers for line in _lines(tier, self))])

    def _headline(self) -> str:
        low, high = self.saved_interval
        share = f"saves {_percent(self.saved)}% [{_percent(low)}, {_percent(high)}] per request against"
        if self.verdict == "costs more":
            share = f"costs {_percent(-self.saved)}% [{_percent(-high)}, {_percent(-low)}] more per request than"
        told = f"the cascade {share} always {self.strongest}, at {self.later_s:+.1f} s"
        if self.verdict != "inconclusive":
            return f"{told} (n={self.n})"
        needed = f"more than {_MANY:,}" if self.needed is None else f"some {self.needed:,}"
        return f"inconclusive: n={self.n}, {told}; {needed} requests would settle it"


def _lines(tier: TierAlone, whole: BreakEven) -> list[str]:
    if tier.pays_from > 1:
        pays = f"{tier.name} never pays: it costs more than what comes after it"
    else:
        pays = f"{tier.name} pays from an acceptance of {_percent(tier.pays_from)}% on"
    change = tier.cost_usd / whole.cascade_usd - 1 if whole.cascade_usd else 0.0
    cheaper = f"{_percent(abs(change))}% {'less' if change < 0 else 'more'}"
    low, high = tier.alone.interval
    refused = f"{_percent(1 - tier.alone)}% [{_percent(1 - high)}, {_percent(1 - low)}] of its answers"
    straight = f"straight to {tier.name} costs {cheaper} than the cascade, at {tier.latency_s - whole.cascade_s:+.1f} s"
    return [
        f"  {pays}; {_rate(tier.acceptance)} was measured",
        f"  {straight}, and {refused} would not be accepted",
    ]


def _rate(rate: Rate) -> str:
    if not rate.n:
        return "nothing"
    low, high = rate.interval
    return f"{_percent(rate)}% [{_percent(low)}, {_percent(high)}] of n={rate.n}"


def _percent(share: float) -> str:
    return "?" if math.isinf(share) or math.isnan(share) else str(round(100 * share))
