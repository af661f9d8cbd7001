"""`no_aliasing`: what the caller owns stays as it is, and requests and routers leave nothing to one another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pytest_modelroute.invariants.law import Law, Violation, register
from pytest_modelroute.invariants.laws._leniency import (
    arrow,
    failing,
    passing_faults,
    route_of,
    short_of_money,
    short_of_time,
)
from pytest_modelroute.invariants.promises import Promises
from pytest_modelroute.invariants.requests import RoutingRequest
from pytest_modelroute.invariants.scenes import Act, Ask, Scene, Script
from pytest_modelroute.invariants.seen import Played, SeenAsk, Trial

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from pytest_modelroute.invariants.atlas import Atlas, Way

_AGAIN: Final = "the same again"
_RECOVERED: Final = "failing, and an hour later"
_FRESH: Final = "a fresh router"
_BESIDE: Final = "another router failed before"
_HOUR: Final = 3600.0
_A_WHILE: Final = 2 * _HOUR
"After which whatever was left over by routers of other examples is forgotten, cooldowns above all."
_LATER: Final = datetime(2028, 6, 14, 12, tzinfo=UTC)
"The same for routers that go by the wall clock, which begins anew with each scene."


def _scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import labels, requests, ways

    again = st.builds(_again, requests(promises, atlas), labels(promises))
    asked = ways(promises, atlas, with_fallbacks=True) if promises.fallbacks else ways(promises, atlas)
    faults = st.builds(failing, passing_faults(promises), _times(promises))
    rest = _rest(promises)
    recovered = st.builds(partial(_recovered, rest), asked, faults)
    beside = st.builds(partial(_beside, rest), asked, faults, st.sampled_from(("healthy", "failing")))
    return st.one_of(again, recovered, beside)


def _times(promises: Promises) -> SearchStrategy[int]:
    from hypothesis import strategies as st

    longest = max((len(chain) for chain in promises.fallbacks.values()), default=1)
    return st.integers(1, max(1, longest))


def _rest(promises: Promises) -> float:
    """Seconds after which every promised cooldown is over: an hour at least."""
    rest = promises.cooldown
    seconds = [*rest.values()] if not isinstance(rest, float | int | None) else [rest or 0.0]
    return max(_HOUR, 2 * max(seconds, default=0.0))


def _again(request: RoutingRequest, label: str | None) -> Sequence[Scene]:
    acts = tuple(Act(asks=(Ask(request=request, label=label),), pause=float(bool(number))) for number in range(3))
    return [Scene(acts=acts, name=_AGAIN)]


def _recovered(rest: float, way: Way, script: Script) -> Sequence[Scene]:
    pauses = (max(rest, _A_WHILE), rest, rest)
    acts = tuple(Act(asks=(way.ask(),), script=script, pause=pause) for pause in pauses)
    return [Scene(acts=acts, name=_RECOVERED)]


def _beside(rest: float, way: Way, script: Script, then: str) -> Sequence[Scene]:
    last = script if then == "failing" else Script()
    alone = Act(asks=(way.ask(),), script=last, pause=max(rest, _A_WHILE), wall=_LATER + timedelta(seconds=2 * rest))
    before = Act(asks=(way.ask(),), script=script, pause=max(rest, _A_WHILE), wall=_LATER)
    after = Act(asks=(way.ask(router=1),), script=last, pause=0.1)
    return [Scene(acts=(alone,), name=_FRESH), Scene(acts=(before, after), name=_BESIDE)]


def _judge(promises: Promises, trial: Trial) -> Violation | None:
    for played in trial:
        found = next(_changed(played), None)
        if found is not None:
            return found
    if promises.load_balanced is not None or any(short_of_money(promises, played) for played in trial):
        return None
    if any(short_of_time(promises, played.asks) for played in trial):
        return None
    last = trial[-1]
    if last.scene.name == _BESIDE:
        return _shared(promises, trial[0], last)
    return _drifted(promises, last)


def _changed(played: Played) -> Iterator[Violation]:
    for name in played.changed:
        yield Violation(
            expected=f"the class's own `{name}` as it was declared",
            seen="the router changed it: it was handed the same object, and wrote to it",
            advice=f"copy what the constructor is given: self.{name} = copy.deepcopy({name})",
            play=played,
        )
    for ask in played.asks:
        for name, now in ask.request_after.items():
            yield Violation(
                expected=f"the caller's {name} as they were",
                seen=f"afterwards they were {_short(now)}",
                advice=f"make new {name} from the caller's in place of changing them",
                play=played,
            )


def _short(value: Any) -> str:
    said = repr(value)
    return said if len(said) <= 120 else f"{said[:117]}..."  # noqa: PLR2004 - a line of a terminal


def _drifted(promises: Promises, played: Played) -> Violation | None:
    """A request takes the route of the same request before it; one that a cache answers takes none."""
    first = played.asks[0]
    when = " an hour later" if played.scene.name == _RECOVERED else ""
    for number, ask in enumerate(played.asks[1:], start=2):
        if ask.answering and route_of(promises, ask) != route_of(promises, first):
            return Violation(
                expected=f"{arrow(route_of(promises, first))} each time, as the first time",
                seen=f"{arrow(route_of(promises, ask))} the {_ordinal(number)} time{when}",
                counts=_calls(ask),
            )
    return None


def _ordinal(number: int) -> str:
    return {2: "second", 3: "third"}[number]


def _calls(ask: SeenAsk) -> dict[int, str]:
    return {ask.answering[0].number: "from here on"} if ask.answering else {}


def _shared(promises: Promises, fresh: Played, beside: Played) -> Violation | None:
    """What one router goes through is nothing to another one."""
    alone, after = fresh.asks[0], beside.asks[-1]
    if not after.answering or route_of(promises, alone) == route_of(promises, after):
        return None
    return Violation(
        expected=f"{arrow(route_of(promises, alone))}, as on a fresh router",
        seen=f"{arrow(route_of(promises, after))} on a new router, since another one had failed before",
        counts=_calls(after),
        advice="look for state in class attributes, mutable default arguments and module-level dictionaries",
    )


register(
    Law(
        id="no_aliasing",
        family="handling",
        says="the caller's values stay as they are, the same request takes its route again, routers share no state.",
        why="a list that is popped, or a dictionary that is shared, makes the second request fail, in production.",
        needs=(),
        advice="copy lists and dictionaries before they are changed; keep what belongs to a request in local variables",
        scenes=_scenes,
        judge=_judge,
    )
)
