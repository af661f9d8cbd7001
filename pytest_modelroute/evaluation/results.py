"""`StepEvaluation`: what a step did on its cases, as numbers with their evidence."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from pytest_modelroute.evaluation.cases import MISSING, Case
from pytest_modelroute.evaluation.routes import RouteError, Routes
from pytest_modelroute.evaluation.statistics import Interval, Rate, f1_interval, f1_score, mean_interval, percentile
from pytest_modelroute.wire.call_log import CallLog, ProviderCall

if TYPE_CHECKING:
    from pytest_modelroute.evaluation.tiers import StepOutcomes


def label_of(value: object) -> str:
    """A value as a label; the value of a member of an enumeration."""
    return str(value.value if isinstance(value, Enum) else value)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """One case after its run."""

    case: Case
    output: object = None
    score: float | None = None
    "0 to 1; None where the case ended in an error."
    passed: bool = False
    "Whether the score reached the scorer's pass mark."
    error: str | None = None
    "What the code under test raised, with its traceback."
    error_kind: str | None = None
    "The class of what it raised."
    elapsed_s: float = 0.0
    calls: Sequence[ProviderCall] = ()
    route: str | None = None
    "The model that answered; None where none completed."
    route_error: RouteError | None = None
    escalated: bool = False
    "Whether more than one tier was called."

    @property
    def right(self) -> bool:
        """Whether the score is full."""
        return self.score == 1.0

    @property
    def labels(self) -> tuple[str, str]:
        """The expected and the given label."""
        expected = label_of(self.case.expected_output)
        given = expected if self.right else label_of(self.output)
        return expected, given if self.right or given != expected else f"{given} ({type(self.output).__name__})"

    @property
    def cost_usd(self) -> Decimal:
        """The cost of the case's calls; PriceUnknown where one has no price."""
        return sum((call.cost_usd for call in self.calls), Decimal(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelScores:
    """How one label fares: of those given how many were right, of those expected how many were found."""

    label: str
    hits: int
    false_alarms: int
    misses: int

    @property
    def precision(self) -> Rate:
        """Hits among the cases given this label."""
        return Rate(self.hits, self.hits + self.false_alarms)

    @property
    def recall(self) -> Rate:
        """Hits among the cases that expect this label."""
        return Rate(self.hits, self.hits + self.misses)

    @property
    def f1(self) -> float:
        """The harmonic mean of both."""
        return f1_score(self.hits, self.false_alarms, self.misses)

    @property
    def f1_interval(self) -> Interval:
        """At 95%."""
        return f1_interval(self.hits, self.false_alarms, self.misses)


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Elapsed times of the cases in milliseconds; percentiles by nearest rank."""

    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    mean_ms: float
    mean_interval_ms: Interval
    clock: Literal["virtual", "real", "recorded"]


@dataclass(frozen=True, kw_only=True, repr=False)
class StepEvaluation:
    """
    A step's evaluation.

    Cases that ended in an error are in `errors` and count in no rate: an exception is not a wrong answer.
    """

    step: str | None
    results: Sequence[CaseResult]
    clock: Literal["virtual", "real", "recorded"]
    routes: Routes = field(default_factory=Routes, repr=False)
    outcomes: StepOutcomes | None = None
    "What every model made of every case, where that was recorded."

    def __repr__(self) -> str:
        """The step, its size and its accuracy; not the results."""
        return f"StepEvaluation(step={self.step!r}, n={self.n}, errors={len(self.errors)}, accuracy={self.accuracy!r})"

    @property
    def n(self) -> int:
        """The cases that were run, errors included."""
        return len(self.results)

    @cached_property
    def scored(self) -> Sequence[CaseResult]:
        """The cases that have a score."""
        return [result for result in self.results if result.error is None]

    @cached_property
    def errors(self) -> Sequence[CaseResult]:
        """The cases whose run raised."""
        return [result for result in self.results if result.error is not None]

    @cached_property
    def accuracy(self) -> Rate:
        """The share of cases with a full score."""
        return self._rate(self.scored, lambda result: result.right)

    @cached_property
    def pass_rate(self) -> Rate:
        """The share of cases whose score reached the pass mark."""
        return self._rate(self.scored, lambda result: result.passed)

    @cached_property
    def scores(self) -> Sequence[float]:
        """The scores, in the order of the cases."""
        return [result.score for result in self.scored if result.score is not None]

    @cached_property
    def mean_score(self) -> float:
        """The mean of the scores; NaN without one."""
        return fmean(self.scores) if self.scores else math.nan

    @property
    def mean_score_interval(self) -> Interval:
        """Student's t, at 95%."""
        return mean_interval(self.scores)

    @cached_property
    def confusion(self) -> Counter[tuple[str, str]]:
        """
        (expected label, given label) -> cases, of those that expect one.

        The scorer decides what is right: a right case was given its expected label, a wrong one never was.
        """
        return Counter(result.labels for result in self.scored if result.case.expected_output is not MISSING)

    @cached_property
    def labels(self) -> dict[str, LabelScores]:
        """Label -> its scores, for every label that is expected or given."""
        expected: Counter[str] = Counter()
        given: Counter[str] = Counter()
        for (wanted, got), cases in self.confusion.items():
            expected[wanted] += cases
            given[got] += cases
        return {
            label: LabelScores(
                label=label,
                hits=(hits := self.confusion[label, label]),
                false_alarms=given[label] - hits,
                misses=expected[label] - hits,
            )
            for label in sorted({*expected, *given})
        }

    @cached_property
    def routed(self) -> Sequence[CaseResult]:
        """The cases that say which route is right."""
        return [result for result in self.scored if result.case.expected_routes]

    @cached_property
    def misroutes(self) -> Counter[tuple[str, str]]:
        """(expected route, model that answered) -> cases, right ones included."""
        return Counter((" or ".join(result.case.expected_routes), result.route or "none") for result in self.routed)

    @cached_property
    def misroute_rate(self) -> Rate:
        """The share of routed cases that took another route than expected."""
        return self._rate(self.routed, lambda result: result.route_error is not None)

    @cached_property
    def underroute_rate(self) -> Rate:
        """The share of routed cases that took a weaker tier than expected."""
        return self._rate(self.routed, lambda result: result.route_error == "under")

    @cached_property
    def overroute_rate(self) -> Rate:
        """The share of routed cases that took a stronger tier than expected."""
        return self._rate(self.routed, lambda result: result.route_error == "over")

    @cached_property
    def escalation_rate(self) -> Rate:
        """The share of cases that needed more than one tier."""
        return self._rate(self.scored, lambda result: result.escalated)

    @cached_property
    def elapsed_ms(self) -> Sequence[float]:
        """Elapsed times, sorted."""
        return sorted(result.elapsed_s * 1000 for result in self.scored)

    @cached_property
    def latency(self) -> Latency | None:
        """Latency percentiles; None where every case ended in an error."""
        times = self.elapsed_ms
        if not times:
            return None
        p50, p90, p95, p99 = (percentile(times, share) for share in (0.50, 0.90, 0.95, 0.99))
        return Latency(
            p50_ms=p50,
            p90_ms=p90,
            p95_ms=p95,
            p99_ms=p99,
            max_ms=times[-1],
            mean_ms=fmean(times),
            mean_interval_ms=mean_interval(times),
            clock=self.clock,
        )

    @cached_property
    def calls(self) -> CallLog:
        """All provider calls of all cases."""
        return CallLog(call for result in self.results for call in result.calls)

    @cached_property
    def costs_usd(self) -> Sequence[Decimal]:
        """Cost of each case, errors included: they are billed too. PriceUnknown where a call has no price."""
        return [result.cost_usd for result in self.results]

    @property
    def cost_usd(self) -> Decimal:
        """The sum over all cases."""
        return sum(self.costs_usd, Decimal(0))

    @staticmethod
    def _rate(results: Sequence[CaseResult], counts: Callable[[CaseResult], bool]) -> Rate:
        return Rate(sum(1 for result in results if counts(result)), len(results))
