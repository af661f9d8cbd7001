"""What may be spent, and what is left to requests once it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from pytest_modelroute.invariants.amounts import usd
from pytest_modelroute.invariants.law import Law, Violation, register
from pytest_modelroute.invariants.laws._amounts import total, unpriced
from pytest_modelroute.invariants.laws._ladders import (
    affords,
    budget_of,
    models_left,
    preferred_ways,
    rungs_of,
    used_up,
)
from pytest_modelroute.invariants.laws.budget_windows import budget_window, window_scenes
from pytest_modelroute.invariants.promises import BudgetPromise, Promises
from pytest_modelroute.invariants.requests import RoutingRequest
from pytest_modelroute.invariants.scenes import Act, Good, Scene, Script
from pytest_modelroute.invariants.seen import Played, SeenAsk, SeenCall, Trial

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from pytest_modelroute.invariants.atlas import Atlas, Way

_LENGTHS: Final[tuple[dict[str, int], ...]] = ({}, {"max_tokens": 200})
_CENT: Final = Decimal("0.01")
_FLOATS: Final = Decimal("1e-9")


def _steady(promises: Promises) -> bool:
    """Whether the same request goes to the same model every time."""
    return promises.load_balanced is None


def _ceiling_scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import ways

    def build(
        way: Way, others: Sequence[Way], calls: float, gap: float, params: dict[str, int], *, stream: bool
    ) -> Sequence[Scene]:
        fits = Script(good=Good(fits=True, latency=0.5))
        first = Act(
            asks=(way.ask(request=_with(way.request, params)),),
            script=Script(good=Good(leaves_calls=calls, latency=0.5)),
        )
        at_once = tuple(
            other.ask(at=gap * number, request=_with(other.request, params, stream=stream))
            for number, other in enumerate(others)
        )
        acts = [first, Act(asks=at_once, script=fits)]
        if not stream:
            acts.append(Act(asks=(way.ask(request=_with(way.request, params)),), script=fits))
        return [Scene(acts=tuple(acts))]

    known = ways(promises, atlas)
    return st.builds(
        build,
        known,
        st.lists(known, min_size=2, max_size=6).flatmap(lambda found: st.just(sorted(found, key=str))),
        st.sampled_from((1.5, 2.5, 1.2, 0.0)),
        st.sampled_from((0.0, 0.01)),
        st.sampled_from(_LENGTHS),
        stream=st.booleans() if promises.streams else st.just(value=False),
    )


def _with(request: RoutingRequest, params: dict[str, int], *, stream: bool = False) -> RoutingRequest:
    return replace(request, params={**request.params, **params}, stream=stream)


def _budget_ceiling(promises: Promises, trial: Trial) -> Violation | None:
    """
    The money that went over the wire, whatever the router says of it.

    Without a promise to reserve, calls that were under way together may exceed the cap; but nobody is served whose
    request began when it was used up.
    """
    budget = budget_of(promises)
    (played,) = trial
    cap = budget.cap + promises.max_overdraft
    slack = cap * _FLOATS
    if unpriced(played.calls):
        return None
    if not budget.reserved:
        return _served_late(played, cap + slack)
    spent = total(played.calls)
    if spent <= cap + slack:
        return None
    over = [call for number, call in enumerate(played.calls) if total(played.calls[: number + 1]) > cap + slack]
    return Violation(
        expected=f"{usd(cap)} at the most, in whatever order the calls end",
        seen=f"{usd(spent)} were spent: {usd(spent - cap)} too much",
        counts={call.number: f"{usd(total(played.calls[: played.calls.index(call) + 1]))} by now" for call in over},
    )


def _served_late(played: Played, cap: Decimal) -> Violation | None:
    for ask in played.asks:
        before = total(call for call in played.calls if call.ended is not None and call.ended <= ask.started)
        dear = [call for call in ask.answering if call.cost]
        if dear and before > cap:
            return Violation(
                expected=f"a refusal, since {usd(before)} of {usd(cap)} were spent before the request",
                seen=f"{dear[0].model} was asked",
                counts={dear[0].number: f"{usd(before)} were spent before"},
            )
    return None


register(
    Law(
        id="budget_ceiling",
        family="budgets",
        says="no interleaving of calls spends more than the budget, but for the overdraft that is promised.",
        why="calls that are checked at the same moment all see the same money, and together spend it several times.",
        needs=("budget",),
        advice="reserve the most that a call may cost before it is made, in one step that no other task or thread can "
        "come between, and settle it afterwards",
        scenes=_ceiling_scenes,
        judge=_budget_ceiling,
    )
)


def _levels(budget: BudgetPromise) -> Sequence[Decimal]:
    """Shares of a budget that remain: each rung, a hundredth above and below it, nearly everything, and nearly none."""
    rungs = [Decimal(str(share)) for share in rungs_of(budget) or (0.5, 0.2)]
    near = [share + side * _CENT for share in rungs for side in (0, 1, -1)]
    return tuple(dict.fromkeys(share for share in (*near, Decimal("0.9"), _CENT) if 0 < share < 1))


def _ladder_scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    budget = budget_of(promises)
    levels = st.lists(st.sampled_from(_levels(budget)), min_size=1, max_size=3, unique=True)

    def build(way: Way, shares: Sequence[Decimal]) -> Sequence[Scene]:
        targets = [budget.cap * (1 - share) for share in sorted(shares, reverse=True)]
        scripts = [*(Script(good=Good(spends_up_to=target)) for target in targets), Script(good=Good(fits=True))]
        spending = Scene(acts=tuple(Act(asks=(way.ask(),), script=script) for script in scripts), name="as it is spent")
        return [way.scene(name="nothing spent yet"), spending]

    return st.builds(build, preferred_ways(promises, atlas), levels)


def _budget_ladder(promises: Promises, trial: Trial) -> Violation | None:
    """
    The model of each request by what was spent before it, with and without its own classification.

    A refusal is none of this law's business: a reservation may not fit. Nor is a weaker model, where the one that is
    left by the ladder could not be reserved for.
    """
    fresh, spending = trial
    preferred = fresh.asks[0].head
    if preferred is None or unpriced(spending.calls):
        return None
    for ask in spending.asks:
        before = [call for call in spending.calls if ask.calls and call.number < ask.calls[0].number]
        violation = wrong_rung(promises, before, ask, preferred)
        if violation is not None:
            return replace(violation, play=spending)
    return None


def wrong_rung(promises: Promises, before: Sequence[SeenCall], ask: SeenAsk, preferred: str) -> Violation | None:
    """
    A request that was asked on another rung than the ladder has for it.

    Args:
        promises: Those of the router.
        before: The calls that were made from the same budget before.
        ask: The request.
        preferred: The model that it goes to where nothing is spent.

    """
    budget = budget_of(promises)
    first = next(iter(ask.answering), None)
    if first is None:
        return None
    own = [call for call in ask.calls if call.number < first.number]
    allowed: set[str] = set()
    for calls in (before, [*before, *own]):
        models = models_left(promises, preferred, calls)
        if models is None:
            return None
        allowed |= models
    left = budget.cap - total(before)
    if first.model in allowed or _cannot_reserve(promises, allowed, first, left):
        return None
    share = left / budget.cap
    return Violation(
        expected=f"{' or '.join(sorted(allowed))} for a request that prefers {preferred}, with {_percent(share)} left",
        seen=f"{first.model} was asked",
        counts={
            **{call.number: f"{usd(call.cost or Decimal(0))} of {usd(budget.cap)}" for call in before if call.cost},
            first.number: f"{usd(left)} of {usd(budget.cap)} left",
        },
    )


def _cannot_reserve(promises: Promises, allowed: set[str], seen: SeenCall, left: Decimal) -> bool:
    """Whether a weaker model was asked than the ladder leaves, since that one could not be paid."""
    rank = promises.rank(seen.model)
    stronger = [model for model in allowed if rank is not None and (promises.rank(model) or 0) > rank]
    return bool(stronger) and not all(affords(promises, model, seen, left) for model in stronger)


def _percent(share: Decimal) -> str:
    return f"{share * 100:.4f}".rstrip("0").rstrip(".") + " %"


register(
    Law(
        id="budget_ladder",
        family="budgets",
        says="as the budget is spent, requests go down the declared ladder, at its rungs exactly, and never back up.",
        why="a budget that is gone by noon refuses everybody in the afternoon; the ladder is what makes it last.",
        needs=("budget",),
        when=lambda promises: _steady(promises) and promises.budget is not None and promises.budget.ladder is not None,
        advice="at or below a rung (<=, not <) counts as below; compare the share that is left, not what is spent",
        scenes=_ladder_scenes,
        judge=_budget_ladder,
    )
)


def _critical_ways(promises: Promises, atlas: Atlas) -> Sequence[Way]:
    """Requests that the class calls critical, as it says itself; those that the ladder would move first."""
    found: list[Way] = []
    ordered = sorted(atlas.ways.items(), key=lambda item: -(promises.rank(item[0]) or 0))
    for way in (way for _, ways in ordered for way in ways):
        changed = replace(way, request=replace(way.request, critical=True))
        if _is_critical(promises, changed.request):
            found.append(changed)
    moved = [way for way in found if (promises.rank(way.model) or 0) > 0]
    return moved or found


def _is_critical(promises: Promises, request: RoutingRequest) -> bool:
    try:
        return promises.critical is not None and bool(promises.critical(request))
    except Exception:  # noqa: BLE001 - a predicate of the user's own that this request is not made for
        return False


def _critical_scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    budget = budget_of(promises)
    ways = _critical_ways(promises, atlas)
    if not ways:
        return st.nothing()
    levels = (*(budget.cap * (1 - share) for share in _levels(budget)), used_up(promises))

    def build(way: Way, targets: Sequence[Decimal]) -> Sequence[Scene]:
        scripts = [
            *(Script(good=Good(spends_up_to=target)) for target in sorted(targets)),
            Script(good=Good(fits=True)),
        ]
        spending = Scene(acts=tuple(Act(asks=(way.ask(),), script=script) for script in scripts), name="as it is spent")
        return [way.scene(name="nothing spent yet"), spending]

    targets = st.lists(st.sampled_from(levels), min_size=1, max_size=2, unique=True)
    return st.builds(build, st.sampled_from(ways), targets)


def _critical_kept(promises: Promises, trial: Trial) -> Violation | None:
    fresh, spending = trial
    preferred = fresh.asks[0].head
    if preferred is None or unpriced(spending.calls):
        return None
    for ask in spending.asks:
        before = total(call for call in spending.calls if not ask.calls or call.number < ask.calls[0].number)
        violation = wrong_critical(promises, ask, preferred, budget_of(promises).cap - before)
        if violation is not None:
            return replace(violation, play=spending)
    return None


def wrong_critical(promises: Promises, ask: SeenAsk, preferred: str, left: Decimal) -> Violation | None:
    """A critical request that went to another model than the preferred one, with so many USD left, or was refused."""
    budget = budget_of(promises)
    first = next(iter(ask.answering), None)
    money = f"with {usd(left)} of {usd(budget.cap)} left" if left > 0 else "though nothing of the budget was left"
    if first is not None and first.model != preferred:
        return Violation(
            expected=f"{preferred}, as with a whole budget: the request is critical",
            seen=f"{first.model} was asked, {money}",
            counts={first.number: "a critical request on another model"},
        )
    if first is not None and budget.critical_served is False and left <= -promises.max_overdraft:
        return Violation(
            expected="a refusal: critical_served=False says that nothing is served without a budget",
            seen=f"{first.model} was asked",
            counts={first.number: "the budget was used up before"},
        )
    if first is None and budget.critical_served and ask.calls == () and ask.error is not None:
        return Violation(
            expected=f"{preferred}: critical_served=True says that critical requests are served whatever remains",
            seen=f"ask raised {type(ask.error).__name__}: {ask.error}",
        )
    return None


register(
    Law(
        id="critical_kept",
        family="budgets",
        says="a critical request is never answered by a weaker model to save money.",
        why="the step that must not go wrong is the one that a tight budget quietly gives to the weakest model.",
        needs=("critical", "budget"),
        when=_steady,
        advice="ask whether a request is critical before the ladder, on every path: streams and categories too",
        scenes=_critical_scenes,
        judge=_critical_kept,
    )
)


register(
    Law(
        id="budget_window",
        family="budgets",
        says="a new window of the budget begins when it does in its time zone, also when clocks change, not before.",
        why="a budget that is reset by another clock refuses customers after midnight, or is spent twice in a day.",
        needs=("budget",),
        when=_steady,
        advice="derive the window from datetime.fromtimestamp(now, ZoneInfo(...)), for the moment of the reservation, "
        "and keep what was spent by window in place of a sum that is set to 0",
        scenes=window_scenes,
        judge=budget_window,
    )
)
