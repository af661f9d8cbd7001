"""The end of a budget's window: what is asked around it, and how that is judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from pytest_modelroute.invariants.amounts import usd
from pytest_modelroute.invariants.law import Violation
from pytest_modelroute.invariants.laws._amounts import total, unpriced
from pytest_modelroute.invariants.laws._ladders import budget_of, preferred_ways, rungs_of, used_up
from pytest_modelroute.invariants.laws._windows import boundaries, key_of
from pytest_modelroute.invariants.promises import BudgetPromise, Promises
from pytest_modelroute.invariants.scenes import Act, Ask, Good, Scene, Script
from pytest_modelroute.invariants.seen import Played, SeenAct, SeenAsk, SeenCall, Trial

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from pytest_modelroute.invariants.atlas import Atlas, Way

_BEFORE: Final = timedelta(minutes=30)
_BESIDE_S: Final = 90.0


def window_scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    """What is asked around the end of a window."""
    from hypothesis import strategies as st

    budget = budget_of(promises)

    def build(way: Way, boundary: datetime, *, across: bool) -> Sequence[Scene]:
        acts = _across(budget, way, boundary) if across else _around(promises, way, boundary)
        return [way.scene(name="nothing spent yet"), Scene(acts=acts, name="around the end of the window")]

    return st.builds(
        build,
        preferred_ways(promises, atlas),
        st.sampled_from(boundaries(budget.window, budget.timezone)),
        across=st.sampled_from((False, False, True)) if not callable(budget.ladder) else st.just(value=False),
    )


def _around(promises: Promises, way: Way, boundary: datetime) -> tuple[Act, ...]:
    """The budget is used up before the boundary; asked again right before it, and right after."""
    gone = Script(good=Good(spends_up_to=used_up(promises)))
    asks: tuple[Ask, ...] = (way.ask(),)
    return (
        Act(asks=asks, script=gone, wall=boundary - _BEFORE),
        Act(asks=asks, pause=_BEFORE.total_seconds() - _BESIDE_S),
        Act(asks=asks, pause=2 * _BESIDE_S),
    )


def _across(budget: BudgetPromise, way: Way, boundary: datetime) -> tuple[Act, ...]:
    """A call is under way at the boundary. Booked once it leaves enough; booked twice it does not."""
    share = Decimal("0.6")
    rungs = rungs_of(budget)
    if rungs is not None:
        share = (1 - Decimal(str(rungs[0]))) * Decimal("0.9")
    asks: tuple[Ask, ...] = (way.ask(),)
    return (
        Act(
            asks=asks,
            script=Script(good=Good(spends_up_to=budget.cap * share, latency=3.0)),
            wall=boundary - timedelta(seconds=1.5),
        ),
        Act(asks=asks, pause=_BESIDE_S),
    )


def budget_window(promises: Promises, trial: Trial) -> Violation | None:
    """
    Each request by what was spent in its own window.

    A call across a boundary may be booked in either window, but in one. A router that serves the weakest model when the
    budget is gone is the business of other laws.
    """
    fresh, around = trial
    preferred, begin = fresh.asks[0].head, around.scene.acts[0].wall
    if preferred is None or begin is None or unpriced(around.calls):
        return None
    for number, act in enumerate(around.acts):
        for ask in act.asks:
            violation = wrong_window(promises, around, number, ask, begin, preferred)
            if violation is not None:
                return replace(violation, play=around)
    return None


def wrong_window(
    promises: Promises, played: Played, number: int, ask: SeenAsk, begin: datetime, preferred: str
) -> Violation | None:
    """
    A request that is refused though a new window has begun, or served though none has.

    Args:
        promises: Those of the router.
        played: The scene.
        number: The act of the request.
        ask: The request.
        begin: What the wall clock showed when the scene began.
        preferred: The model that the request goes to where nothing is spent.

    """
    budget = budget_of(promises)
    window = key_of(budget, begin + timedelta(seconds=ask.started))
    if window != key_of(budget, begin + timedelta(seconds=ask.ended)):
        return None
    earlier = [call for act in played.acts[:number] for call in _calls(act)]
    keys = {call.number: windows_of(budget, call, begin) for call in earlier}
    surely = total(call for call in earlier if keys[call.number] == {window})
    perhaps = total(call for call in earlier if window in keys[call.number])
    first = next(iter(ask.answering), None)
    local = (begin + timedelta(seconds=ask.started)).astimezone(ZoneInfo(budget.timezone))
    moment = f"{local:%Y-%m-%d %H:%M:%S} in {budget.timezone}"
    if (
        surely >= budget.cap + promises.max_overdraft
        and first is not None
        and not _weakest_alone(promises, first, preferred)
    ):
        return Violation(
            expected=f"a refusal at {moment}: the budget of this {budget.window} was used up",
            seen=f"{first.model} was asked, as if a new {budget.window} had begun",
            counts={first.number: f"{usd(surely)} of {usd(budget.cap)} were spent in the same {budget.window}"},
        )
    if not _untouched(promises, preferred, perhaps) or (first is not None and first.model == preferred):
        return None
    came = f"{first.model} was asked" if first is not None else _refusal(ask)
    if first is None and ask.error is None:
        return None  # answered from somewhere else
    return Violation(
        expected=f"{preferred} at {moment}: {usd(perhaps)} of {usd(budget.cap)} were spent in this {budget.window}",
        seen=f"{came}, as if what was spent before the {budget.window} began still counted",
        counts={call.number: f"the {budget.window} before" for call in earlier if window not in keys[call.number]},
    )


def _calls(act: SeenAct) -> tuple[SeenCall, ...]:
    return tuple(call for ask in act.asks for call in ask.calls)


def windows_of(budget: BudgetPromise, call: SeenCall, begin: datetime) -> set[tuple[object, ...]]:
    """The windows that a call touched."""
    moments = (call.started, call.started if call.ended is None else call.ended)
    return {key_of(budget, begin + timedelta(seconds=moment)) for moment in moments}


def _weakest_alone(promises: Promises, call: SeenCall, preferred: str) -> bool:
    return call.model == promises.tiers[0] and preferred != promises.tiers[0]


def _untouched(promises: Promises, preferred: str, spent: Decimal) -> bool:
    """Whether what was spent leaves a request where it would be with a whole budget."""
    budget = budget_of(promises)
    if budget.ladder is None:
        return spent <= budget.cap * Decimal("0.7")
    if not callable(budget.ladder):
        return (budget.cap - spent) / budget.cap > Decimal(str(budget.ladder[0])) + Decimal("0.001")
    return spent == 0 or (
        budget.ladder(float(1 - spent / budget.cap), preferred) == preferred and spent * 100 < budget.cap
    )


def _refusal(ask: SeenAsk) -> str:
    return f"ask raised {type(ask.error).__name__}: {str(ask.error)[:120]}"
