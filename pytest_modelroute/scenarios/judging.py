"""A played scenario as a timeline: each request judged by the laws of budgets, within its own window."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from pytest_modelroute.invariants.amounts import usd
from pytest_modelroute.invariants.law import Violation, all_laws
from pytest_modelroute.invariants.laws._amounts import total
from pytest_modelroute.invariants.laws.budget_windows import windows_of, wrong_window
from pytest_modelroute.invariants.laws.budgets import wrong_critical, wrong_rung
from pytest_modelroute.invariants.promises import BudgetPromise, Promises
from pytest_modelroute.invariants.seen import Played, SeenAsk, SeenCall
from pytest_modelroute.scenarios.timeline import Entry, Fate, Timeline

_SLACK: Final = Decimal("1e-9")


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What was played, and what is needed to judge it."""

    promises: Promises
    played: Played
    begin: datetime
    spends: frozenset[int]
    "The acts whose cost is the scenario's own doing: they may exceed the budget."
    preferred: Callable[[SeenAsk], str | None]

    @property
    def budget(self) -> BudgetPromise:
        """The promise that it is about."""
        assert self.promises.budget is not None  # noqa: S101 - checked when the scenario was made
        return self.promises.budget

    def asks(self) -> Iterator[tuple[int, SeenAsk]]:
        """Each request with the number of its act."""
        return ((number, ask) for number, act in enumerate(self.played.acts) for ask in act.asks)

    def in_window(self, calls: Sequence[SeenCall], at: float) -> list[SeenCall]:
        """The calls that began in the window of a moment (seconds since the beginning)."""
        windows = windows_of(self.budget, moment_call(at), self.begin)
        return [call for call in calls if windows & windows_of(self.budget, moment_call(call.started), self.begin)]


def moment_call(moment: float) -> SeenCall:
    """A call that takes no time, at a moment."""
    return SeenCall(number=0, model="", provider="", role="answer", started=moment, ended=moment)


def timeline_of(story: Story, title: str) -> Timeline:
    """The timeline of a story, and where promises broke."""
    entries: list[Entry] = []
    failures: list[str] = []
    for number, ask in story.asks():
        broken = next((_told(law, found) for law, found in _violations(story, number, ask) if found), "")
        entries.append(_entry(story, ask, broken))
        failures += [broken] if broken else []
    failures += [_told(law, found) for law, found in _of_the_whole(story) if found]
    return Timeline(title=title, entries=tuple(entries), failures=tuple(failures))


def _told(law: str, violation: Violation) -> str:
    return f"{law}: expected {violation.expected}; seen: {violation.seen}"


def _of_the_whole(story: Story) -> Iterator[tuple[str, Violation | None]]:
    """What the router says of its money, at the end."""
    if story.promises.has_spend_of:
        yield "spend_complete", all_laws()["spend_complete"].judge(story.promises, [story.played])


def _violations(story: Story, number: int, ask: SeenAsk) -> Iterator[tuple[str, Violation | None]]:
    promises, budget = story.promises, story.budget
    calls = story.played.calls
    earlier = story.in_window([call for call in calls if _before(call, ask)], ask.started)
    yield "budget_ceiling", _over_the_cap(story, number, ask)
    preferred = story.preferred(ask)
    if preferred is None or promises.load_balanced is not None:
        return
    if _is_critical(promises, ask):
        yield "critical_kept", wrong_critical(promises, ask, preferred, budget.cap - total(earlier))
        return
    if all(len(windows_of(budget, call, story.begin)) == 1 for call in earlier):
        yield "budget_ladder", wrong_rung(promises, earlier, ask, preferred)
    yield "budget_window", wrong_window(promises, story.played, number, ask, story.begin, preferred)


def _before(call: SeenCall, ask: SeenAsk) -> bool:
    return call.started < ask.started or (call.ended is not None and call.ended <= ask.started)


def _over_the_cap(story: Story, number: int, ask: SeenAsk) -> Violation | None:
    """A request that was served though its calls do not fit, in the order in which they were sent."""
    if number in story.spends or (_is_critical(story.promises, ask) and story.budget.critical_served is not False):
        return None
    cap = story.budget.cap + story.promises.max_overdraft
    for call in ask.calls:
        window = story.in_window(story.played.calls, call.started)
        others = [other for other in window if other.number < call.number]
        if not story.budget.reserved:
            others = [other for other in others if other.ended is not None and other.ended <= ask.started]
        before = total(others)
        counted = before + (call.cost or Decimal(0)) if story.budget.reserved else before
        over = counted > cap * (1 + _SLACK)
        if over and call.cost:
            return Violation(
                expected=f"{usd(cap)} at the most",
                seen=f"{call.model} was asked with {usd(before)} spent, for {usd(call.cost)} more",
            )
    return None


def _is_critical(promises: Promises, ask: SeenAsk) -> bool:
    return promises.critical is not None and bool(promises.critical(ask.ask.request))


def _entry(story: Story, ask: SeenAsk, broken: str) -> Entry:
    window = story.in_window(story.played.calls, ask.started)
    spent = total([call for call in window if call.started < ask.ended or call in ask.calls])
    preferred = story.preferred(ask)
    return Entry(
        moment=(story.begin + timedelta(seconds=ask.started)).astimezone(ZoneInfo(story.budget.timezone)),
        prompt=ask.ask.request.prompt,
        critical=_is_critical(story.promises, ask),
        fate=_fate(story.promises, ask, preferred),
        model=ask.answering[-1].model if ask.answering else None,
        preferred=preferred,
        cost_usd=total(ask.calls),
        spent_usd=spent,
        remaining_usd=story.budget.cap - spent,
        error="" if ask.error is None else f"{type(ask.error).__name__}: {ask.error}",
        text=ask.text,
        broken=broken,
    )


def _fate(promises: Promises, ask: SeenAsk, preferred: str | None) -> Fate:
    if ask.outcome == "cancelled":
        return "given up"
    if ask.error is not None:
        return "failed" if ask.answering else "refused"
    own, wanted = promises.rank(ask.head), promises.rank(preferred)
    return "downgraded" if own is not None and wanted is not None and own < wanted else "served"
