"""What has changed since the recording: replies, models behind aliases, latency, cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from pytest_modelroute.cassettes.drift import Chosen, Estimate, Repeated
from pytest_modelroute.evaluation.statistics import Rate, percentile, sum_known
from pytest_modelroute.report.cassettes import counted
from pytest_modelroute.report.drift_limits import LimitSaid, RoutesMoved, limit_lines, route_lines
from pytest_modelroute.report.interaction import printable
from pytest_modelroute.report.numbers import short, show_usd, table
from pytest_modelroute.report.stats import in_ms, show_ms
from pytest_modelroute.wire.places import short_path

_CHANGES: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A live reply beside the recorded one."""

    repeated: Repeated
    equal: bool | None
    "By the scorer; None where there is nothing to compare, since the live call failed."
    prompt: str
    "What was asked; without secrets, as the replies are: what is cut for a line would hide one from redaction."
    recorded: str
    "The recorded reply."
    live: str
    "The live one; empty where the call failed."


@dataclass(slots=True, kw_only=True)
class ModelDrift:
    """What has changed of one model."""

    provider: str
    model: str
    compared: list[Compared] = field(default_factory=list[Compared])

    @property
    def answered(self) -> list[Compared]:
        """Where a live reply came."""
        return [each for each in self.compared if each.equal is not None]

    @property
    def changed(self) -> list[Compared]:
        """Where it is another one."""
        return [each for each in self.compared if each.equal is False]

    @property
    def equal(self) -> Rate:
        """The share of replies that are the same."""
        return Rate(len(self.answered) - len(self.changed), len(self.answered))

    @property
    def errors(self) -> Counter[str]:
        """Error class -> calls."""
        return Counter(each.repeated.error or "malformed" for each in self.compared if each.equal is None)

    @property
    def moved(self) -> Counter[tuple[str, str]]:
        """(The version that answered, the one that answers now) -> calls, where they differ."""
        pairs = ((each.repeated.of.call.model_answered, each.repeated.model_answered) for each in self.answered)
        return Counter(pair for pair in pairs if all(pair) and pair[0] != pair[1])

    @property
    def recorded_s(self) -> list[float]:
        """Sorted latencies as recorded, of the calls that were answered live."""
        return sorted(each.repeated.of.latency_s or 0.0 for each in self._timed)

    @property
    def live_s(self) -> list[float]:
        """Sorted latencies of the same calls now."""
        return sorted(each.repeated.latency_s for each in self._timed)

    @property
    def _timed(self) -> list[Compared]:
        return [each for each in self.answered if each.repeated.of.latency_s is not None]

    @property
    def recorded_usd(self) -> Decimal | None:
        """The cost of the answered calls as recorded; None where one of them has none."""
        return sum_known(each.repeated.of.call.recorded_cost() for each in self.answered)

    @property
    def live_usd(self) -> Decimal | None:
        """The cost of the same calls now; None where one of them has none."""
        return sum_known(each.repeated.cost for each in self.answered)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """All that drift has to say."""

    models: tuple[ModelDrift, ...]
    chosen: Chosen
    scorer: str
    not_made: int = 0
    "Calls that the cap did not cover."
    routes: tuple[RoutesMoved, ...] = ()
    limits: tuple[LimitSaid, ...] = ()
    without_settings: bool = False

    @property
    def found(self) -> bool:
        """Whether anything is other than it was recorded, or could not be asked."""
        return any(each.changed or each.moved or each.errors for each in self.models) or any(
            limit.would_break for limit in self.limits
        )


def by_model(compared: Iterable[Compared]) -> list[ModelDrift]:
    """The comparisons of each model, the most called one first."""
    groups: dict[tuple[str, str], ModelDrift] = {}
    for each in compared:
        call = each.repeated.of.call
        group = groups.setdefault((call.provider, call.model), ModelDrift(provider=call.provider, model=call.model))
        group.compared.append(each)
    return sorted(groups.values(), key=lambda group: (-len(group.compared), group.provider, group.model))


def estimate_line(chosen: Chosen, estimate: Estimate) -> str:
    """What is about to be asked, and what it may cost."""
    priced = f"about {show_usd(estimate.expected)} USD by the tokens recorded"
    unpriced = f" and what {', '.join(estimate.unpriced)} costs, which has no price" if estimate.unpriced else ""
    return f"asking live: {counted(len(chosen.calls), 'call')}, {priced}{unpriced}"


def drift_lines(drift: Drift) -> list[str]:
    """What has changed: verdict first, a line a model, the changed replies, routes and limits, what to do."""
    lines = [_verdict(drift), "", *table([_HEADINGS, *map(_row, drift.models)])]
    for model in drift.models:
        lines += _details(model)
    if drift.routes:
        lines += ["", "routes:", *(f"  {line}" for line in route_lines(drift.routes))]
    if drift.limits:
        lines += ["", "limits of the settings:", *(f"  {line}" for line in limit_lines(drift.limits))]
    elif drift.without_settings:
        lines += ["", "no settings were found, so that nothing is said of routes and limits"]
    return [*lines, *_not_asked(drift), *_next(drift)]


def drift_json(drift: Drift) -> dict[str, Any]:
    """The same for machines; amounts as text, so that they stay exact."""
    return {
        "drift": drift.found,
        "scorer": drift.scorer,
        "skipped": drift.chosen.skipped,
        "left_out_by_sample": drift.chosen.left_out,
        "not_made": drift.not_made,
        "models": [_model_json(model) for model in drift.models],
        "routes": [
            {"step": each.step, "model": each.model, "from": before, "to": after, "replies": number}
            for each in drift.routes
            for (before, after), number in each.tiers.items()
        ],
        "limits": [
            {
                "step": each.step,
                "limit": each.limit,
                "bound": each.bound,
                "model": each.model,
                "recorded": each.recorded,
                "live": each.live,
                "breaks": each.breaks,
                "broke_as_recorded": each.broke,
                "cannot_say": each.cannot_say,
            }
            for each in drift.limits
        ],
    }


def _model_json(model: ModelDrift) -> dict[str, Any]:
    low, high = model.equal.interval
    return {
        "provider": model.provider,
        "model": model.model,
        "calls": len(model.compared),
        "equal": model.equal.count,
        "changed": len(model.changed),
        "equal_interval": [round(low, 4), round(high, 4)],
        "errors": dict(model.errors),
        "moved": [{"from": a, "to": b, "calls": number} for (a, b), number in model.moved.items()],
        "latency_ms": {
            name: {"p50": in_ms(_at(values, 0.5)), "p95": in_ms(_at(values, 0.95))}
            for name, values in (("recorded", model.recorded_s), ("live", model.live_s))
        },
        "recorded_usd": None if model.recorded_usd is None else format(model.recorded_usd, "f"),
        "live_usd": None if model.live_usd is None else format(model.live_usd, "f"),
        "changes": [
            {
                "path": short_path(str(each.repeated.of.path)),
                "line": each.repeated.of.line,
                "interaction": each.repeated.of.number,
                "recorded": each.recorded,
                "live": each.live,
            }
            for each in model.changed
        ],
    }


def _verdict(drift: Drift) -> str:
    answered = sum(len(model.answered) for model in drift.models)
    changed = sum(len(model.changed) for model in drift.models)
    errors = sum(sum(model.errors.values()) for model in drift.models)
    moved = sum(bool(model.moved) for model in drift.models)
    broken = sum(limit.would_break for limit in drift.limits)
    if not drift.found:
        what = f"all {answered} replies are" if answered != 1 else "the one reply is"
        return f"no drift: {what} as recorded, by {drift.scorer}"
    found = [f"{changed} of {counted(answered, 'reply').replace('replys', 'replies')} changed, by {drift.scorer}"]
    if moved:
        found.append(f"{counted(moved, 'model')} {'answers' if moved == 1 else 'answer'} as another version")
    if broken:
        found.append(f"{counted(broken, 'limit')} would break")
    if errors:
        found.append(f"{counted(errors, 'live call')} failed")
    return f"drift: {'; '.join(found)}"


_HEADINGS: Final = (
    *("model", "equal", "95% interval", "changed", "errors", "p50 recorded", "p50 live", "p95 recorded", "p95 live"),
    *("USD recorded", "USD live"),
)


def _row(model: ModelDrift) -> tuple[str, ...]:
    low, high = model.equal.interval
    recorded, live = model.recorded_s, model.live_s
    return (
        f"{model.provider}/{model.model}",
        f"{model.equal.count}/{model.equal.n}",
        f"{low:.2f} to {high:.2f}" if model.equal.n else "",
        str(len(model.changed)),
        str(sum(model.errors.values()) or ""),
        show_ms(_at(recorded, 0.5)),
        show_ms(_at(live, 0.5)),
        show_ms(_at(recorded, 0.95)),
        show_ms(_at(live, 0.95)),
        _usd(model.recorded_usd),
        _usd(model.live_usd),
    )


def _details(model: ModelDrift) -> list[str]:
    lines: list[str] = []
    for (before, after), number in model.moved.most_common():
        lines.append(f"{model.model!r} answered as {before!r} and answers as {after!r} now ({counted(number, 'call')})")
    for error, number in model.errors.most_common():
        lines.append(f"{model.model!r}: {counted(number, 'live call')} failed: {error}")
    if model.changed:
        lines.append(f"changed replies of {model.model!r}:")
        lines += [f"  {_change(each)}" for each in model.changed[:_CHANGES]]
        more = len(model.changed) - _CHANGES
        lines += [f"  ... {more} more (all of them with --json)"] if more > 0 else []
    return ["", *lines] if lines else []


def _change(each: Compared) -> str:
    of = each.repeated.of
    said = f"{short(each.prompt, 40)!r}: {short(each.recorded)!r} -> {short(each.live)!r}"
    return printable(f"{short_path(str(of.path))}:{of.line}: {said}")


def _not_asked(drift: Drift) -> list[str]:
    skipped: Mapping[str, int] = drift.chosen.skipped
    lines = [f"  {number}: {reason}" for reason, number in sorted(skipped.items(), key=lambda pair: -pair[1])]
    if drift.chosen.left_out:
        lines.append(f"  {drift.chosen.left_out}: left out by --sample")
    if drift.not_made:
        lines.append(f"  {drift.not_made}: not covered by --max-usd")
    return ["", "not asked again:", *lines] if lines else []


def _next(drift: Drift) -> list[str]:
    if not drift.found:
        return []
    changed: Sequence[Compared] = [each for model in drift.models for each in model.changed]
    if changed:
        of = changed[0].repeated.of
        look = f"see a recording: modelroute cassettes show {short_path(str(of.path))} {of.number}"
        return ["", look, "take the new replies: pytest TEST --modelroute-record=all"]
    return ["", "take what is new: pytest TEST --modelroute-record=all"]


def _usd(amount: Decimal | None) -> str:
    return "unknown" if amount is None else show_usd(amount)


def _at(values: Sequence[float], share: float) -> float | None:
    return percentile(values, share) if values else None
