"""
A scene: what a fresh router is asked, when, and how the providers behave meanwhile.

Everything here is a plain value, so that a scene can be generated, made smaller, printed and pasted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias

from pytest_modelroute.invariants.requests import RoutingRequest
from pytest_modelroute.providers.exchange import ToolCall, Usage
from pytest_modelroute.wire.faults import Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Good:
    """A whole, good answer."""

    text: str | None = None
    "The class's own `answers`, or a plain sentence, where left out."
    latency: float = 0.2
    usage: Usage | None = None
    "By the length of the texts where left out."
    spends: Decimal | None = None
    "USD that the call is to cost: its output is as long as that takes. Instead of `usage`."
    spends_up_to: Decimal | None = None
    "USD that all calls of the scene are to have cost with this one; classification is free. Instead of `usage`."
    leaves_calls: float | None = None
    """
    How many of the calls that come next the budget is to have room for after this one, each as long as it may be.
    Instead of `usage`.
    """
    fits: bool = False
    """
    Whether the answer is as long as the request allows (100 tokens where it sets no limit), and all else free: what a
    reservation can know before the call. Instead of `usage`.
    """
    ttft: float | None = None
    chunks: int | None = None
    finish_reason: str = "stop"
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Fails:
    """A fault of `pytest_modelroute.faults`, after so many seconds."""

    fault: Fault
    latency: float = 0.1


Behaviour: TypeAlias = Good | Fails


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """
    How the providers behave; whatever is not said here is answered well.

    Counters begin anew with each request: the second entry of a row is for the second call of that candidate within
    one request, and the last entry is for all that follow.
    """

    candidates: tuple[tuple[Behaviour, ...], ...] = ()
    """
    By the order in which a request enters its candidates: the first row is for the first one that it asks, whichever
    that is. What needs to know no route, and so works for every router.
    """
    models: Mapping[str, tuple[Behaviour, ...]] = field(default_factory=dict[str, tuple[Behaviour, ...]])
    "By model; goes before `candidates`."
    label: str | Fails | None = None
    "What a declared classifier answers; its first label where left out."
    good: Good = field(default_factory=Good)
    "What everybody else answers."


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request."""

    request: RoutingRequest = field(default_factory=RoutingRequest)
    at: float = 0.0
    "Seconds after the beginning of its act."
    cancel_after: float | None = None
    "Seconds after which the caller gives up (async routers); None for never."
    label: str | None = None
    "What a declared classifier answers to this request; that of the script where left out."
    close_after: int | None = None
    "After how many chunks the caller closes a stream; None for reading it to its end."
    router: int = 0
    "Which router is asked: another number is another one from `make_router`, built when it is first asked."
    script: Script | None = None
    "How the providers behave to this request alone; as the act says where left out."


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Requests that are made at once, or at their moments; the next act begins when all have ended."""

    asks: tuple[Ask, ...]
    script: Script = field(default_factory=Script)
    pause: float = 0.0
    "Seconds that pass before it begins."
    wall: datetime | None = None
    "What the wall clock shows when it begins, with a time zone; None for what it shows anyway."
    times: int = 1
    "How often it is played, one turn after another; {n} in a prompt is then the number of the turn."


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What one fresh router goes through."""

    acts: tuple[Act, ...]
    name: str = ""
    "What it is for, where a trial has several."
    keys: tuple[str, ...] | None = None
    "The providers whose keys the environment holds; None for all that are known."
    order: tuple[str, ...] = ()
    "The order in which `providers.candidates` gives the candidates; as they are declared where left out."


def turns(scene: Scene) -> Iterator[Act]:
    """The acts as they are played: one that is played several times is as many acts."""
    for act in scene.acts:
        if act.times == 1:
            yield act
            continue
        for number in range(1, act.times + 1):
            yield replace(act, times=1, asks=tuple(_numbered(ask, number) for ask in act.asks))


def _numbered(ask: Ask, number: int) -> Ask:
    prompt = ask.request.prompt.replace("{n}", str(number))
    return replace(ask, request=replace(ask.request, prompt=prompt))


def one(request: RoutingRequest, script: Script | None = None, *, name: str = "", label: str | None = None) -> Scene:
    """The scene of one request."""
    return Scene(acts=(Act(asks=(Ask(request=request, label=label),), script=script or Script()),), name=name)
