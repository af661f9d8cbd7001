"""The verdict on a step: each limit beside what was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan
from random import Random
from statistics import fmean
from typing import Final

from pytest_modelroute.errors import EvaluationError
from pytest_modelroute.evaluation.cases import MISSING, Case
from pytest_modelroute.evaluation.results import LabelScores, StepEvaluation
from pytest_modelroute.evaluation.statistics import (
    Interval,
    Rate,
    f1_interval,
    f1_score,
    mean_interval,
    percentile,
    percentile_interval,
    wilson,
)
from pytest_modelroute.evaluation.thresholds import LIMITS, LimitKind, StepThreshold

_RESAMPLES: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A measured value with its evidence."""

    value: float
    interval: Interval
    n: int
    count: int | None = None
    "k of a share k/n."


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One limit and what was measured against it."""

    limit: str
    bound: float
    measured: Measured
    judged: float
    "The value that is compared with the limit: the estimate, or the bound of its interval."
    ok: bool

    @property
    def kind(self) -> LimitKind:
        """What the limit is judged on."""
        return LIMITS[self.limit]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a step holds its limits."""

    threshold: StepThreshold | None
    checks: tuple[Check, ...]
    errors: int
    "Cases that ended in an error; one is enough to fail."

    @property
    def ok(self) -> bool:
        """Whether every limit holds and no case ended in an error."""
        return not self.errors and all(check.ok for check in self.checks)

    @property
    def broken(self) -> tuple[Check, ...]:
        """The limits that do not hold."""
        return tuple(check for check in self.checks if not check.ok)


def check_judgeable(threshold: StepThreshold, cases: Sequence[Case]) -> None:
    """
    Refuse a limit that these cases cannot show, before a model is asked.

    Raises:
        EvaluationError: A limit on routes without expected routes, on labels without expected outputs.

    """
    limits = set(threshold.limits)
    if limits & _ROUTE_LIMITS and not any(case.expected_routes for case in cases):
        raise EvaluationError(_NO_ROUTES)
    if limits & _LABEL_LIMITS and all(case.expected_output is MISSING for case in cases):
        raise EvaluationError(_NO_LABELS)


_ROUTE_LIMITS: Final = {"max_misroute_rate", "max_underroute_rate", "max_overroute_rate"}
_LABEL_LIMITS: Final = {"min_precision", "min_recall", "min_f1"}
_NO_ROUTES: Final = "a limit on routes, but no case has an expected_route, so nothing would be measured"
_NO_LABELS: Final = (
    "a limit on precision, recall or F1, but no case has an expected_output, so nothing would be measured"
)


def judge(evaluation: StepEvaluation, threshold: StepThreshold | None) -> Verdict:
    """
    Judge a step by its limits; without limits only errors fail it.

    Raises:
        EvaluationError: A limit judges something that the cases do not tell (routes without expected routes).
        PriceUnknown: A limit on cost, and a call without a price.

    """
    checks: list[Check] = []
    # Where every case ended in an error there is nothing to measure, and the errors fail the step.
    if threshold is not None and evaluation.scored:
        for limit, bound in threshold.limits.items():
            measured = _MEASURES[limit](evaluation, threshold, threshold.confidence or 0.95)
            checks.append(_check(limit, bound, measured, threshold.confidence is not None))
    return Verdict(threshold=threshold, checks=tuple(checks), errors=len(evaluation.errors))


def _check(limit: str, bound: float, measured: Measured, by_interval: bool) -> Check:
    lower = LIMITS[limit].bound == "min"
    judged = measured.value if not by_interval else measured.interval.low if lower else measured.interval.high
    # A value that was not measured never passes, whatever its interval.
    ok = not isnan(measured.value) and (judged >= bound if lower else judged <= bound)
    return Check(limit=limit, bound=bound, measured=measured, judged=judged, ok=ok)


def _share(rate: Rate, confidence: float) -> Measured:
    return Measured(value=float(rate), interval=wilson(rate.count, rate.n, confidence), n=rate.n, count=rate.count)


def _mean(values: list[float], confidence: float, factor: float = 1.0) -> Measured:
    low, high = mean_interval(values, confidence)
    return Measured(
        value=fmean(values) * factor, interval=Interval(max(0.0, low * factor), high * factor), n=len(values)
    )


def _accuracy(evaluation: StepEvaluation, _threshold: StepThreshold, confidence: float) -> Measured:
    return _share(evaluation.accuracy, confidence)


def _pass_rate(evaluation: StepEvaluation, _threshold: StepThreshold, confidence: float) -> Measured:
    return _share(evaluation.pass_rate, confidence)


def _mean_score(evaluation: StepEvaluation, _threshold: StepThreshold, confidence: float) -> Measured:
    low, high = mean_interval(evaluation.scores, confidence)
    # A score lies between 0 and 1, so its mean does, whatever the formula says of a few cases.
    return Measured(
        value=evaluation.mean_score, interval=Interval(max(0.0, low), min(1.0, high)), n=len(evaluation.scores)
    )


def _precision(evaluation: StepEvaluation, threshold: StepThreshold, confidence: float) -> Measured:
    if threshold.positive is None:
        return _macro(evaluation, confidence, lambda hits, alarms, _misses: _ratio(hits, hits + alarms))
    return _share(_positive(evaluation, threshold.positive).precision, confidence)


def _recall(evaluation: StepEvaluation, threshold: StepThreshold, confidence: float) -> Measured:
    if threshold.positive is None:
        return _macro(evaluation, confidence, lambda hits, _alarms, misses: _ratio(hits, hits + misses))
    return _share(_positive(evaluation, threshold.positive).recall, confidence)


def _f1(evaluation: StepEvaluation, threshold: StepThreshold, confidence: float) -> Measured:
    if threshold.positive is None:
        return _macro(evaluation, confidence, f1_score)
    scores = _positive(evaluation, threshold.positive)
    counts = scores.hits, scores.false_alarms, scores.misses
    return Measured(value=f1_score(*counts), interval=f1_interval(*counts, confidence), n=sum(counts))


def _positive(evaluation: StepEvaluation, label: str) -> LabelScores:
    scores = _labelled(evaluation).labels.get(label)
    if scores is None or not scores.hits + scores.misses:
        labels = ", ".join(sorted({expected for expected, _ in evaluation.confusion}))
        raise EvaluationError(f"positive={label!r}: no case expects this label; the cases expect {labels}")
    return scores


def _labelled(evaluation: StepEvaluation) -> StepEvaluation:
    """The evaluation, where its cases have labels at all."""
    if not evaluation.confusion:
        raise EvaluationError(_NO_LABELS)
    return evaluation


def _ratio(count: int, n: int) -> float:
    # A label that is never given has no precision; scikit-learn counts it as 0 too.
    return count / n if n else 0.0


def _macro(evaluation: StepEvaluation, confidence: float, score: Callable[[int, int, int], float]) -> Measured:
    """The mean over the expected labels, with a percentile bootstrap over the cases (seeded: a run repeats exactly)."""
    confusion = _labelled(evaluation).confusion
    labels = sorted({expected for expected, _ in confusion})
    pairs, weights, n = list(confusion), list(confusion.values()), len(evaluation.scored)

    def macro(counts: Mapping[tuple[str, str], int]) -> float:
        hits: dict[str, int] = dict.fromkeys(labels, 0)
        alarms, misses = dict(hits), dict(hits)
        for (expected, given), cases in counts.items():
            if expected == given:
                hits[expected] += cases
            else:
                misses[expected] += cases
                alarms[given] = alarms.get(given, 0) + cases
        seen = [label for label in labels if hits[label] + misses[label]]
        return fmean(score(hits[label], alarms[label], misses[label]) for label in seen)

    random = Random(0)  # noqa: S311 - resampling, not secrecy
    samples: list[float] = []
    for _ in range(_RESAMPLES):
        drawn: dict[tuple[str, str], int] = {}
        for pair in random.choices(pairs, weights, k=n):
            drawn[pair] = drawn.get(pair, 0) + 1
        samples.append(macro(drawn))
    samples.sort()
    tail = (1 - confidence) / 2
    return Measured(
        value=macro(confusion), interval=Interval(percentile(samples, tail), percentile(samples, 1 - tail)), n=n
    )


def _latency(evaluation: StepEvaluation, _threshold: StepThreshold, confidence: float) -> Measured:
    times = evaluation.elapsed_ms
    return Measured(value=percentile(times, 0.95), interval=percentile_interval(times, 0.95, confidence), n=len(times))


def _mean_latency(evaluation: StepEvaluation, _threshold: StepThreshold, confidence: float) -> Measured:
    return _mean(list(evaluation.elapsed_ms), confidence)


def _mean_cost(evaluation: StepEvaluation, _threshold: StepThreshold, confidence: float) -> Measured:
    # The value is divided as Decimal: a limit that is met exactly is met.
    return replace(_mean(_costs(evaluation), confidence), value=float(evaluation.cost_usd / evaluation.n))


def _total_cost(evaluation: StepEvaluation, _threshold: StepThreshold, confidence: float) -> Measured:
    measured = _mean(_costs(evaluation), confidence, factor=evaluation.n)
    return replace(measured, value=float(evaluation.cost_usd))


def _costs(evaluation: StepEvaluation) -> list[float]:
    if not evaluation.calls:
        raise EvaluationError(
            f"a limit on cost, but {evaluation.step!r} made no provider call, so nothing was measured"
        )
    return [float(cost) for cost in evaluation.costs_usd]


def _misroutes(evaluation: StepEvaluation, _threshold: StepThreshold, confidence: float) -> Measured:
    return _share(_routed(evaluation.misroute_rate), confidence)


def _underroutes(evaluation: StepEvaluation, _threshold: StepThreshold, confidence: float) -> Measured:
    return _share(_ranked(evaluation, evaluation.underroute_rate), confidence)


def _overroutes(evaluation: StepEvaluation, _threshold: StepThreshold, confidence: float) -> Measured:
    return _share(_ranked(evaluation, evaluation.overroute_rate), confidence)


def _routed(rate: Rate) -> Rate:
    if not rate.n:
        raise EvaluationError(_NO_ROUTES)
    return rate


def _ranked(evaluation: StepEvaluation, rate: Rate) -> Rate:
    routes = evaluation.routes
    for result in evaluation.routed:
        for route in (*result.case.expected_routes, *([result.route] if result.route else [])):
            if routes.rank(route) is None:
                raise EvaluationError(
                    f"which route is the weaker cannot be told: {route!r} (case {result.case.id!r}) has no tier; "
                    "give each model a tier in [tool.modelroute.models.<alias>]"
                )
    return _routed(rate)


def _escalations(evaluation: StepEvaluation, _threshold: StepThreshold, confidence: float) -> Measured:
    if not evaluation.calls:
        raise EvaluationError("a limit on escalations, but no provider was called, so nothing was measured")
    return _share(evaluation.escalation_rate, confidence)


_MEASURES: Final[Mapping[str, Callable[[StepEvaluation, StepThreshold, float], Measured]]] = {
    "min_accuracy": _accuracy,
    "min_pass_rate": _pass_rate,
    "min_mean_score": _mean_score,
    "min_precision": _precision,
    "min_recall": _recall,
    "min_f1": _f1,
    "max_latency_ms": _latency,
    "max_mean_latency_ms": _mean_latency,
    "max_cost_usd": _mean_cost,
    "max_total_cost_usd": _total_cost,
    "max_misroute_rate": _misroutes,
    "max_underroute_rate": _underroutes,
    "max_overroute_rate": _overroutes,
    "max_escalation_rate": _escalations,
}
