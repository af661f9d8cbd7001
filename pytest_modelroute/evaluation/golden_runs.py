"""A routing of golden cases, and what it comes to: right, too weak, too strong, and for how much."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from statistics import fmean
from typing import Protocol, TypeAlias

from pytest_modelroute.evaluation.golden_cases import GoldenCase, Ladder
from pytest_modelroute.evaluation.outcomes import OutcomeMatrix
from pytest_modelroute.evaluation.routes import RouteError
from pytest_modelroute.evaluation.statistics import Interval, sum_known, wilson


class Prices(Protocol):
    """What a request will cost; a `PriceBook` is one."""

    def estimate(self, model: str, text: str, *, output_tokens: int) -> Decimal:
        """USD of a request of this text and an answer of so many tokens; PriceUnknown where nobody knows."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """What a case comes to on a model, as far as it is known."""

    cost_usd: Decimal | None = None
    latency_s: float | None = None
    right: bool | None = None
    "Whether the answer is right; None where that was not measured, or ended in an error."


Measure: TypeAlias = Callable[[GoldenCase, str], Worth]
"(case, model) -> what it comes to."


def measure_by(outcomes: OutcomeMatrix | None, prices: Prices | None, output_tokens: int) -> Measure:
    """Outcomes where there are some, since they were measured; else prices; else nothing is known."""
    if outcomes is not None:
        return lambda case, model: _measured(outcomes, case, model)
    if prices is not None:
        return lambda case, model: Worth(cost_usd=prices.estimate(model, case.text, output_tokens=output_tokens))
    return lambda _case, _model: Worth()


def _measured(outcomes: OutcomeMatrix, case: GoldenCase, model: str) -> Worth:
    outcome = outcomes.outcome(case.id, model)
    right = None if outcome.score is None else outcome.right
    return Worth(cost_usd=outcome.cost_usd, latency_s=outcome.latency_s, right=right)


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """The route that a case took, and what finding it cost."""

    model: str | None
    "As asked for on the wire, or its alias or tier; None where no model answered."
    overhead_usd: Decimal = Decimal(0)
    "Of the calls that are not the answer: classifiers, judges, rejected attempts."
    overhead_s: float = 0.0
    "Their seconds."


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """A golden case on the route that it takes."""

    case: GoldenCase
    model: str | None
    error: RouteError | None
    "Weaker than expected, stronger, or neither; None for the expected route."
    worth: Worth
    extra_usd: Decimal | None
    "What it costs more than the nearest expected route, overhead apart; negative where it is cheaper."


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """All cases under one routing."""

    name: str
    routed: Sequence[Routed]

    @classmethod
    def of(cls, name: str, taken: Mapping[str, Took], cases: Iterable[GoldenCase], by: Ruler) -> Run:
        """Send each case where `taken` says, by its id."""
        return cls(name=name, routed=[by.route(case, taken[case.id]) for case in cases])

    def within(self, cases: Iterable[GoldenCase]) -> Run:
        """The same routing of some of the cases."""
        ids = {case.id for case in cases}
        return Run(name=self.name, routed=[each for each in self.routed if each.case.id in ids])


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruler:
    """Judges a case on a route."""

    ladder: Ladder
    measure: Measure

    def route(self, case: GoldenCase, took: Took) -> Routed:
        """What comes of a case on a route."""
        if took.model is None:
            worth = Worth(cost_usd=took.overhead_usd)
            return Routed(case=case, model=None, error="other", worth=worth, extra_usd=None)
        model = self.ladder.model(took.model)
        error, found = self.ladder.routes.judge(model, case.expected), self.measure(case, model)
        worth = Worth(
            cost_usd=None if found.cost_usd is None else found.cost_usd + took.overhead_usd,
            latency_s=None if found.latency_s is None else found.latency_s + took.overhead_s,
            right=found.right,
        )
        extra = self._extra(case, error, found.cost_usd)
        return Routed(case=case, model=model, error=error, worth=worth, extra_usd=extra)

    def _extra(self, case: GoldenCase, error: RouteError | None, cost_usd: Decimal | None) -> Decimal | None:
        if error is None:
            return Decimal(0)
        if error == "other" or cost_usd is None:
            return None
        nearest = (min if error == "under" else max)(case.expected, key=self.ladder.rank)
        expected = self.measure(case, self.ladder.model(nearest)).cost_usd
        return None if expected is None else cost_usd - expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The sums of a routing; of one that is drawn by lot the expected values, which need not be whole."""

    name: str
    n: int
    right: float
    "Cases on an expected route."
    under: float
    "Cases on a weaker route than expected."
    over: float
    "Cases on a stronger route than expected."
    other: float
    "Cases that no model answered, or one without a place among the tiers, or one between those expected."
    saved_usd: Decimal | None
    "What under-routing saved; negative where the weaker route was the dearer one; None where a cost is not known."
    over_usd: Decimal | None
    "What over-routing cost more than the expected routes; negative where the stronger route was the cheaper one."
    cost_usd: Decimal | None
    "Of all cases, overhead included."
    latency_s: float | None
    "Mean seconds of the cases that were timed."
    answered: float
    "Cases of which it is known whether the answer is right."
    correct: float
    "Cases whose answer is right."
    by_lot: bool = False

    @classmethod
    def of(cls, run: Run) -> Tally:
        """Add up."""
        routed = run.routed
        errors = [each.error for each in routed]
        seconds = [each.worth.latency_s for each in routed if each.worth.latency_s is not None]
        known = [each.worth.right for each in routed if each.worth.right is not None]
        saved = sum_known(each.extra_usd for each in routed if each.error == "under")
        return cls(
            name=run.name,
            n=len(routed),
            right=errors.count(None),
            under=errors.count("under"),
            over=errors.count("over"),
            other=errors.count("other"),
            saved_usd=None if saved is None else -saved + 0,  # no negative nought
            over_usd=sum_known(each.extra_usd for each in routed if each.error == "over"),
            cost_usd=sum_known(each.worth.cost_usd for each in routed),
            latency_s=fmean(seconds) if seconds else None,
            answered=len(known),
            correct=sum(known),
        )

    @classmethod
    def of_a_lot(cls, name: str, tallies: Sequence[Tally]) -> Tally:
        """The expected values of drawing one of these routings for each case by itself, each with equal chance."""
        share = len(tallies)
        seconds = [tally.latency_s for tally in tallies if tally.latency_s is not None]
        return cls(
            name=name,
            n=tallies[0].n,
            right=sum(tally.right for tally in tallies) / share,
            under=sum(tally.under for tally in tallies) / share,
            over=sum(tally.over for tally in tallies) / share,
            other=sum(tally.other for tally in tallies) / share,
            saved_usd=_mean([tally.saved_usd for tally in tallies]),
            over_usd=_mean([tally.over_usd for tally in tallies]),
            cost_usd=_mean([tally.cost_usd for tally in tallies]),
            latency_s=fmean(seconds) if seconds else None,
            answered=sum(tally.answered for tally in tallies) / share,
            correct=sum(tally.correct for tally in tallies) / share,
            by_lot=True,
        )

    @property
    def agreement(self) -> float:
        """The share of cases on an expected route."""
        return self.right / self.n

    @property
    def interval(self) -> Interval | None:
        """Wilson's, at 95%, of the agreement; None for an expected value, which is exact."""
        return None if self.by_lot else wilson(int(self.right), self.n)

    @property
    def accuracy(self) -> float | None:
        """The share of right answers; None where none was measured."""
        return self.correct / self.answered if self.answered else None


def _mean(costs: Sequence[Decimal | None]) -> Decimal | None:
    total = sum_known(costs)
    return None if total is None else total / len(costs)
