"""What several laws are lenient about: faults that pass, requests short of time or money, routes that may vary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from pytest_modelroute.invariants.laws._amounts import total
from pytest_modelroute.invariants.promises import Promises
from pytest_modelroute.invariants.scenes import Fails, Script
from pytest_modelroute.invariants.seen import Played, SeenAsk, SeenCall

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

NO_TIME: Final = 0.6
"The share of a deadline from which on it may be what ended a request."
NO_MONEY: Final = Decimal("0.2")
"The share of a budget from which on it may be what changed a route: the rungs of ladders are well above."
_PASSING: Final = ("server_error", "unavailable", "rate_limited", "overloaded")
_ALWAYS_RECOVERABLE: Final = ("server_error", "unavailable")


def passing_faults(promises: Promises) -> SearchStrategy[Fails]:
    """Faults that soon pass by themselves, and that reach the next candidate; of all that are promised to do so."""
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import FAULTS_BY_CLASS

    named = _ALWAYS_RECOVERABLE if promises.recoverable is None else promises.recoverable
    found = [FAULTS_BY_CLASS[name][0] for name in _PASSING if name in named]
    return st.sampled_from(found).map(Fails) if found else st.nothing()


def failing(fault: Fails, times: int) -> Script:
    """The first so many candidates of a request fail."""
    return Script(candidates=((fault,),) * times)


def short_of_time(promises: Promises, asks: Iterable[SeenAsk]) -> bool:
    """Whether a promised deadline may have cut one of the requests short."""
    limit = promises.deadline
    return limit is not None and any(ask.elapsed > NO_TIME * limit for ask in asks)


def short_of_money(promises: Promises, played: Played) -> bool:
    """Whether what was spent in a scene may have changed what a promised budget allows."""
    if promises.budget is None:
        return False
    return total(played.calls) > NO_MONEY * promises.budget.cap


def route_of(promises: Promises, ask: SeenAsk) -> tuple[str, ...]:
    """The models that a request entered; without their order where several are asked at once."""
    return tuple(sorted(set(ask.models))) if promises.hedge_after is not None else ask.models


def arrow(models: Sequence[str]) -> str:
    """A route in words."""
    return " -> ".join(models) or "no model"


def ended_as(ask: SeenAsk) -> str:
    """How a request ended, in words that fit after its route."""
    if ask.error is not None:
        return f"raised {type(ask.error).__name__}"
    return "was closed by the caller" if ask.outcome == "cancelled" else "was answered"


def is_still_open(call: SeenCall) -> bool:
    """Whether a call was under way when everything was over."""
    return call.ended is None and call.error is None
