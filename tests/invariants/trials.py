"""What was seen, made by hand, for tests of judges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from pytest_modelroute import faults
from pytest_modelroute.invariants.law import Law, Violation, all_laws
from pytest_modelroute.invariants.promises import Promises
from pytest_modelroute.invariants.requests import RoutingRequest
from pytest_modelroute.invariants.scenes import Act, Ask, Behaviour, Fails, Good, Scene
from pytest_modelroute.invariants.seen import Played, SeenAct, SeenAsk, SeenCall
from pytest_modelroute.wire.faults import AnyFault

_numbers = count(1)


def law(law_id: str) -> Law:
    """A law by its id."""
    return all_laws()[law_id]


def judged(law_id: str, promises: Promises, *plays: Played) -> Violation | None:
    """What a law says to what was seen."""
    return law(law_id).judge(promises, plays)


def call(model: str, started: float = 0.0, ended: float | None = 1.0, **seen: Any) -> SeenCall:
    """One call of an answering model at openai."""
    behaviour: Behaviour = seen.pop("behaviour", Good())
    values = {"provider": "openai", "role": "answer", "status": 200, "behaviour": behaviour, **seen}
    return SeenCall(number=next(_numbers), model=model, started=started, ended=ended, **values)


def failing(name: str = "server_error") -> Fails:
    """A fault by its name."""
    fault: AnyFault = getattr(faults, name)()
    return Fails(fault)


def asked(*calls: SeenCall, request: RoutingRequest | None = None, **seen: Any) -> SeenAsk:
    """One request and its calls."""
    ended = seen.pop("ended", max((seen.ended or 0.0 for seen in calls), default=0.0))
    return SeenAsk(ask=Ask(request=request or RoutingRequest(prompt="hi")), calls=calls, ended=ended, **seen)


def played(*asks: SeenAsk, name: str = "", **seen: Any) -> Played:
    """A scene of requests one after the other."""
    acts: Sequence[SeenAct] = [SeenAct(asks=(ask,)) for ask in asks]
    scene = Scene(acts=tuple(Act(asks=(ask.ask,)) for ask in asks), name=name)
    return Played(scene=replace(scene), acts=tuple(acts), **seen)
