"""
Which routes and which limits of the settings would change, as far as a cassette can tell.

A cassette knows the model of a call and not its step: so a limit is judged on all calls of the model that the settings
give the step, and limits that need the cases are named as what cannot be said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Final

from pytest_modelroute.evaluation.statistics import percentile
from pytest_modelroute.evaluation.thresholds import LIMITS
from pytest_modelroute.report.interaction import printable
from pytest_modelroute.report.numbers import short, show_value

if TYPE_CHECKING:
    from pytest_modelroute.report.drift import ModelDrift

_SHARE: Final = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class StepKnown:
    """What the settings say of a step."""

    step: str
    model: str | None = None
    "Its model on the wire; None where a classifier chooses, or the settings do not say."
    classifier: str | None = None
    "The model on the wire that classifies its requests."
    limits: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutesMoved:
    """How the replies of a classifier changed, and which routes with them."""

    step: str
    model: str
    replies: int
    labels: Mapping[tuple[str, str], int]
    "(Recorded reply, live reply) -> how many."
    tiers: Mapping[tuple[str, str], int]
    "(Tier before, tier now) -> how many requests move, as the router of this package reads labels."


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSaid:
    """One limit of a step, and what the live calls say of it."""

    step: str
    limit: str
    bound: float
    model: str = ""
    recorded: float | None = None
    "In the unit of the limit."
    live: float | None = None
    cannot_say: str | None = None
    "Why nothing is said; None where something is."

    @property
    def breaks(self) -> bool:
        """Whether the live calls break it."""
        return self.live is not None and self.live > self.bound

    @property
    def would_break(self) -> bool:
        """Whether the live calls break what the recorded ones held."""
        return self.breaks and not self.broke

    @property
    def broke(self) -> bool:
        """Whether the recorded ones did already."""
        return self.recorded is not None and self.recorded > self.bound


def routes_moved(
    steps: Iterable[StepKnown], models: Sequence[ModelDrift], tier_of: Callable[[str], str]
) -> list[RoutesMoved]:
    """
    What the changed replies of classifiers do to routes.

    Args:
        steps: Of the settings.
        models: What has changed.
        tier_of: The tier that a reply of a classifier stands for.

    """
    found: list[RoutesMoved] = []
    for step in steps:
        for model in models:
            if step.classifier != model.model or not model.answered:
                continue
            pairs = [(each.recorded.strip(), each.live.strip()) for each in model.changed]
            tiers = Counter((tier_of(before), tier_of(after)) for before, after in pairs)
            found.append(
                RoutesMoved(
                    step=step.step,
                    model=model.model,
                    replies=len(model.answered),
                    labels=Counter(pair for pair in pairs if pair[0] != pair[1]),
                    tiers={pair: number for pair, number in tiers.items() if pair[0] != pair[1]},
                )
            )
    return found


def limits_said(steps: Iterable[StepKnown], models: Sequence[ModelDrift]) -> list[LimitSaid]:
    """What can be said of each limit of the settings, those that would break first."""
    said = [each for step in steps for each in _of_step(step, models)]
    return sorted(
        said, key=lambda each: (not each.would_break, not each.breaks, each.cannot_say is not None, each.step)
    )


def _of_step(step: StepKnown, models: Sequence[ModelDrift]) -> Iterator[LimitSaid]:
    measured = [model for model in models if model.model == step.model and model.answered]
    for limit, bound in step.limits.items():
        if limit not in _MEASURES:
            needs = "it needs the cases, which a cassette does not know"
            yield LimitSaid(step=step.step, limit=limit, bound=bound, cannot_say=needs)
        elif step.model is None:
            why = "the settings do not give the step one model"
            yield LimitSaid(step=step.step, limit=limit, bound=bound, cannot_say=why)
        elif not measured:
            why = f"no call of {step.model!r} was answered live"
            yield LimitSaid(step=step.step, limit=limit, bound=bound, cannot_say=why)
        for model in measured if limit in _MEASURES else ():
            recorded, live = _MEASURES[limit](model)
            unknown = None if live is not None else "a live call has no price, or no latency was recorded"
            yield LimitSaid(
                step=step.step,
                limit=limit,
                bound=bound,
                model=model.model,
                recorded=recorded,
                live=live,
                cannot_say=unknown,
            )


Measure = tuple[float | None, float | None]
"As recorded, and live."


def _p95_ms(model: ModelDrift) -> Measure:
    recorded, live = model.recorded_s, model.live_s
    return (percentile(recorded, _SHARE) * 1000, percentile(live, _SHARE) * 1000) if live else (None, None)


def _mean_ms(model: ModelDrift) -> Measure:
    recorded, live = model.recorded_s, model.live_s
    return (fmean(recorded) * 1000, fmean(live) * 1000) if live else (None, None)


def _mean_usd(model: ModelDrift) -> Measure:
    count, recorded, live = len(model.answered), model.recorded_usd, model.live_usd
    return (
        None if recorded is None else float(recorded / count),
        None if live is None else float(live / count),
    )


_MEASURES: Final[Mapping[str, Callable[[ModelDrift], Measure]]] = {
    "max_latency_ms": _p95_ms,
    "max_mean_latency_ms": _mean_ms,
    "max_cost_usd": _mean_usd,
}


def route_lines(routes: Sequence[RoutesMoved]) -> list[str]:
    """What changes of routes."""
    lines: list[str] = []
    for each in routes:
        changed = sum(each.labels.values())
        replies = "reply" if each.replies == 1 else "replies"
        lines.append(
            f"step {each.step!r} asks {each.model!r} for labels: {changed} of {each.replies} {replies} changed"
            + (f": {_pairs(each.labels)}" if changed else "")
        )
        if changed:
            moved = _pairs(each.tiers) or "none"
            lines.append(f"  requests that change their tier, as the router of this package reads labels: {moved}")
    return lines


def _pairs(counts: Mapping[tuple[str, str], int]) -> str:
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return printable(", ".join(f"{short(a, 24)!r} -> {short(b, 24)!r} {number}" for (a, b), number in ordered[:6]))


def limit_lines(limits: Sequence[LimitSaid]) -> list[str]:
    """What is said of each limit."""
    lines = [_limit_line(each) for each in limits if each.cannot_say is None]
    silent: dict[tuple[str, str], list[str]] = {}
    for each in limits:
        if each.cannot_say is not None:
            silent.setdefault((each.step, each.cannot_say), []).append(each.limit)
    lines += [f"cannot say   {step}: {', '.join(names)}: {why}" for (step, why), names in silent.items()]
    if any(each.cannot_say is None for each in limits):
        lines.append("(judged on single calls of the step's model, whichever step made them)")
    return [*lines, "(limits that stand in markers of tests are not known here)"]


def _limit_line(each: LimitSaid) -> str:
    kind = LIMITS[each.limit]
    word = "holds      "
    if each.breaks:
        word = "broken still" if each.broke else "would break"
    recorded = "not known" if each.recorded is None else show_value(each.recorded, kind.unit)
    live, bound = (show_value(value or 0.0, kind.unit) for value in (each.live, each.bound))
    return (
        f"{word:<12} {each.step}: {kind.measure} of {each.model!r} {recorded} recorded, {live} live, "
        f"limit {each.limit}={bound}"
    )
