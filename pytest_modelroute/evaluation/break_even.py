"""Whether a cascade pays: what it costs and how long it takes, beside always the strongest and each tier alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from statistics import fmean
from typing import Any, Final, Protocol, cast

from pytest_modelroute.errors import EvaluationError, PriceUnknown
from pytest_modelroute.evaluation.cascade_costs import BreakEven, MeasuredTier, TierAlone
from pytest_modelroute.evaluation.outcomes import Outcome, OutcomeMatrix
from pytest_modelroute.evaluation.statistics import Interval, Rate, mean_interval

_UNBOUNDED: Final = Interval(-math.inf, math.inf)


def break_even(
    evidence: OutcomeMatrix | Iterable[Any],
    *,
    tiers: Sequence[str] | None = None,
    accepts: Callable[[Outcome], bool] | None = None,
) -> BreakEven:
    """
    Say whether a cascade beats sending every request to its strongest tier, or to another one.

    The checks of a tier are to be a part of its cost and latency. An interval is that of a share (Wilson) where nothing
    but acceptance is uncertain, else that of all means together (Zou and Donner 2008: the distances to the ends of the
    single intervals add up in squares); over outcomes it is that of a ratio, paired by case.

    Args:
        evidence: One `MeasuredTier` a tier, weakest first; or the records of a router's metrics, of one step; or an
            `OutcomeMatrix` of one step.
        tiers: For an OutcomeMatrix: the models of the cascade, or their aliases, weakest first.
        accepts: For an OutcomeMatrix: which outcome a gate would accept; those with a full score where left out, as a
            gate that knows. Its own calls are not in the outcomes.

    Raises:
        EvaluationError: Fewer than two tiers, one of which nothing was measured, or a strongest one that costs nothing.
        PriceUnknown: A model has no price.

    """
    if isinstance(evidence, OutcomeMatrix):
        return _of_outcomes(evidence, tiers or (), accepts or (lambda outcome: outcome.right))
    if tiers is not None or accepts is not None:
        raise EvaluationError(
            "break_even: tiers= and accepts= go with an OutcomeMatrix, and say nothing of this evidence"
        )
    items = list(evidence)
    measured = [item for item in items if isinstance(item, MeasuredTier)]
    return _of_tiers(measured if measured and len(measured) == len(items) else _of_records(items))


# Measured tiers


def _of_tiers(tiers: Sequence[MeasuredTier]) -> BreakEven:
    _check_names([tier.name for tier in tiers])
    *below, strongest = tiers
    for tier in below:
        if not tier.n:
            raise EvaluationError(f"tier {tier.name!r} was measured on no request; give accepted= and n=")
    rates = [Rate(tier.accepted, tier.n) for tier in below]
    costs, seconds = [float(tier.cost_usd) for tier in tiers], [tier.latency_s for tier in tiers]
    _check_price(costs[-1], strongest.name)
    sure = dict(enumerate(rate.interval for rate in rates))
    at = len(rates)
    spent = {at + place: tier.cost_interval for place, tier in enumerate(tiers) if tier.cost_interval is not None}
    taken = {at + place: tier.latency_interval for place, tier in enumerate(tiers) if tier.latency_interval is not None}
    shares = [float(rate) for rate in rates]

    def saved(values: Sequence[float]) -> float:
        return 1 - _expected(values[:at], values[at:]) / values[-1] if values[-1] else -math.inf

    def later(values: Sequence[float]) -> float:
        return _expected(values[:at], values[at:]) - values[-1]

    return BreakEven(
        n=below[0].n,
        cascade_usd=_expected(shares, costs),
        cascade_s=_expected(shares, seconds),
        strongest=strongest.name,
        strongest_usd=costs[-1],
        strongest_s=seconds[-1],
        saved=saved([*shares, *costs]),
        saved_interval=_together(saved, [*shares, *costs], {**sure, **spent}),
        later_s=later([*shares, *seconds]),
        later_interval=_together(later, [*shares, *seconds], {**sure, **taken}),
        tiers=tuple(
            TierAlone(
                name=tier.name,
                acceptance=rate,
                pays_from=_pays_from(place, shares, costs),
                cost_usd=costs[place],
                latency_s=tier.latency_s,
                alone=rate,
            )
            for place, (tier, rate) in enumerate(zip(below, rates, strict=True))
        ),
        break_even=_first_break_even(shares, costs, costs[-1]),
    )


def _expected(shares: Sequence[float], each: Sequence[float]) -> float:
    """What a request takes in all, where each tier is asked once the ones before it did not do."""
    total = each[-1]
    for share, own in zip(reversed(shares), reversed(each[:-1]), strict=True):
        total = own + (1 - share) * total
    return total


def _pays_from(place: int, shares: Sequence[float], costs: Sequence[float]) -> float:
    """A tier saves what comes after it as often as it is accepted, and costs its own each time."""
    rest = _expected(shares[place + 1 :], costs[place + 1 :])
    return costs[place] / rest if rest else math.inf


def _first_break_even(shares: Sequence[float], costs: Sequence[float], strongest: float) -> float:
    rest = _expected(shares[1:], costs[1:])
    return max(0.0, 1 - (strongest - costs[0]) / rest) if rest else math.inf


def _together(
    of: Callable[[Sequence[float]], float], values: Sequence[float], intervals: Mapping[int, Interval]
) -> Interval:
    """The interval of what follows from independent values (Zou and Donner 2008), each with an interval of its own."""
    centre, below, above = of(values), 0.0, 0.0
    for place, interval in intervals.items():
        if math.isinf(interval.low) or math.isinf(interval.high):
            return _UNBOUNDED
        ends = [of([*values[:place], max(0.0, end), *values[place + 1 :]]) - centre for end in interval]
        below += min(0.0, *ends) ** 2
        above += max(0.0, *ends) ** 2
    return Interval(centre - math.sqrt(below), centre + math.sqrt(above))


# Records of a router's metrics


class _Try(Protocol):
    """A tier that was asked for a request, as the metrics of `pytest_modelroute.router` note it."""

    model: str
    outcome: str
    latency_s: float

    @property
    def cost_usd(self) -> Decimal: ...


def _of_records(records: Sequence[Any]) -> list[MeasuredTier]:
    """What the tiers of one step did; what was cancelled, or broke in the harness, says nothing."""
    climbs = [cast("Sequence[_Try]", record.tried) for record in records if getattr(record, "tried", None)]
    steps = sorted({str(record.step) for record in records if getattr(record, "tried", None)})
    if len(steps) > 1:
        raise EvaluationError(f"break_even: these are the records of several steps, {', '.join(steps)}; give one's")
    names = [each.model for each in max(climbs, key=len, default=())]
    _check_names(names)
    tries = [each for climb in climbs for each in climb if each.outcome.islower() and each.outcome != "cancelled"]
    if not any(each.model == names[-1] and each.outcome == "strongest" for each in tries):
        raise EvaluationError(
            f"break_even: no request came to the strongest tier after {names[-1]!r}, so what that costs was not "
            "measured; give one MeasuredTier a tier"
        )
    return [_of_tries(name, [each for each in tries if each.model == name], last=name == names[-1]) for name in names]


def _of_tries(name: str, tries: Sequence[_Try], *, last: bool) -> MeasuredTier:
    kept = [each for each in tries if last or each.outcome != "strongest"]
    if not kept:
        raise EvaluationError(f"tier {name!r} was measured on no request")
    return MeasuredTier.of(
        name,
        costs=[each.cost_usd for each in kept],
        latencies=[each.latency_s for each in kept],
        accepted=sum(each.outcome == "accepted" for each in kept),
        n=len(kept),
    )


# Outcomes


def _of_outcomes(matrix: OutcomeMatrix, tiers: Sequence[str], accepts: Callable[[Outcome], bool]) -> BreakEven:
    """Case by case: what each tier made of it is known, so that nothing is assumed of what the tiers have in common."""
    _check_names(tiers)
    rows = [[matrix.outcome(case, tier) for tier in tiers] for case in matrix.cases]
    # How many tiers a case takes: the first that is accepted, else all.
    heights = [next((at + 1 for at, each in enumerate(row[:-1]) if accepts(each)), len(row)) for row in rows]
    climbs = [row[:height] for row, height in zip(rows, heights, strict=True)]
    spent = [sum(map(_cost, climb)) for climb in climbs]
    taken = [sum(each.latency_s for each in climb) for climb in climbs]
    straight = [[_cost(each) for each in column] for column in zip(*rows, strict=True)]
    seconds = [[each.latency_s for each in column] for column in zip(*rows, strict=True)]
    _check_price(sum(straight[-1]), tiers[-1])
    saved = 1 - sum(spent) / sum(straight[-1])
    later = [ours - theirs for ours, theirs in zip(taken, seconds[-1], strict=True)]
    reached = [[climb[at] for climb in climbs if len(climb) > at] for at in range(len(tiers))]
    rates = [Rate(sum(map(accepts, column)), len(column)) for column in reached[:-1]]
    shares = [float(rate) if rate.n else 0.0 for rate in rates]
    costs = [fmean(map(_cost, column)) if column else fmean(straight[at]) for at, column in enumerate(reached)]
    return BreakEven(
        n=len(rows),
        cascade_usd=fmean(spent),
        cascade_s=fmean(taken),
        strongest=tiers[-1],
        strongest_usd=fmean(straight[-1]),
        strongest_s=fmean(seconds[-1]),
        saved=saved,
        saved_interval=_of_ratio(spent, straight[-1], saved),
        later_s=fmean(later),
        later_interval=mean_interval(later),
        tiers=tuple(
            TierAlone(
                name=name,
                acceptance=rates[at],
                pays_from=_pays_from(at, shares, costs),
                cost_usd=fmean(straight[at]),
                latency_s=fmean(seconds[at]),
                alone=Rate(sum(accepts(row[at]) for row in rows), len(rows)),
            )
            for at, name in enumerate(tiers[:-1])
        ),
        break_even=_first_break_even(shares, costs, fmean(straight[-1])),
    )


def _of_ratio(ours: Sequence[float], theirs: Sequence[float], saved: float) -> Interval:
    """The interval of 1 - mean/mean over pairs, from the residuals of the ratio (Cochran 1977, section 6.3)."""
    mean = fmean(theirs)
    low, high = mean_interval([(left - (1 - saved) * right) / mean for left, right in zip(ours, theirs, strict=True)])
    return Interval(saved - high, saved - low)


def _cost(outcome: Outcome) -> float:
    if outcome.cost_usd is None:
        raise PriceUnknown(
            f"the case {outcome.case!r} has no known cost on {outcome.model!r}; price it in the settings"
        )
    return float(outcome.cost_usd)


def _check_names(names: Sequence[str]) -> None:
    if len(names) < 2 or len(set(names)) < len(names):  # noqa: PLR2004 - one tier alone is no cascade
        given = ", ".join(names) or "none"
        raise EvaluationError(f"break_even: two tiers or more, weakest first and each once, were expected, not {given}")


def _check_price(cost: float, name: str) -> None:
    if not cost:
        raise EvaluationError(f"break_even: {name!r}, the strongest tier, costs nothing, so that nothing can be saved")
