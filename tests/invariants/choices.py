"""Trials made by hand, for judges: what was asked, which calls were seen, how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from pytest_modelroute.invariants import RoutingRequest
from pytest_modelroute.invariants.law import Violation, all_laws
from pytest_modelroute.invariants.promises import Promises
from pytest_modelroute.invariants.scenes import Act, Ask, Scene, Script
from pytest_modelroute.invariants.seen import Played, SeenAct, SeenAsk, SeenCall

NANO, MINI, LARGE = "gpt-5-nano", "gpt-5-mini", "gpt-5"
TIERS = (NANO, MINI, LARGE)


def call(model: str, number: int = 1, **changes: Any) -> SeenCall:
    """A good answer of a model, of 0.2 s."""
    known = {"role": "answer", "provider": "openai", "started": 0.0, "ended": 0.2, "status": 200}
    return SeenCall(**{"number": number, "model": model, **known, **changes})


def seen(
    *calls: SeenCall | str, request: RoutingRequest | None = None, label: str | None = None, **ends: Any
) -> SeenAsk:
    """One request with its calls; a text stands for a good answer of that model."""
    made = [call(entry, number) if isinstance(entry, str) else entry for number, entry in enumerate(calls, start=1)]
    return SeenAsk(
        **{
            "ask": Ask(request=request or RoutingRequest(prompt="Where is my order?"), label=label),
            "calls": tuple(made),
            "ended": max((entry.ended or 0.0 for entry in made), default=0.0),
            "outcome": "raised" if "error" in ends else "answered",
            **ends,
        }
    )


def played(*asks: SeenAsk, name: str = "", script: Script | None = None) -> Played:
    """A scene of these requests, in one act."""
    act = Act(asks=tuple(ask.ask for ask in asks), script=script or Script())
    return Played(scene=Scene(acts=(act,), name=name), acts=(SeenAct(asks=asks),))


def classified(label: str, *calls: SeenCall | str, cost: Decimal | None = Decimal(0), **ends: Any) -> SeenAsk:
    """A request whose classifier was asked first."""
    first = call("gpt-4.1-nano", role="classifier", ended=0.05, cost=cost, text=label)
    others = [call(entry, number) if isinstance(entry, str) else entry for number, entry in enumerate(calls, start=2)]
    later = [replace(entry, started=entry.started + 0.05, ended=(entry.ended or 0.0) + 0.05) for entry in others]
    return seen(first, *later, label=label, **ends)


def judged(law: str, trial: Sequence[Played], **promises: Any) -> Violation | None:
    """What a law says to a trial."""
    return all_laws()[law].judge(Promises(**{"tiers": TIERS, **promises}), trial)
