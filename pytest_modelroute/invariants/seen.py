"""What was seen when a scene was played: the calls at the wire, and what the router gave back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from pytest_modelroute.invariants.scenes import Ask, Behaviour, Scene
from pytest_modelroute.providers.exchange import Message, Usage

Role: TypeAlias = Literal["answer", "classifier", "judge", "helper", "embedding"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenCall:
    """One provider call, in seconds since its scene began."""

    number: int
    model: str
    provider: str
    role: Role
    started: float
    ended: float | None = None
    "None for one that was still under way when the scene was over."
    status: int | None = None
    error: str | None = None
    "The error class, cancelled, or None for a whole, good answer."
    completed: bool = True
    streamed: bool = False
    usage: Usage | None = None
    cost: Decimal | None = Decimal(0)
    "USD; None where it has no price."
    text: str = ""
    prompt: str = ""
    messages: tuple[Message, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    body: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tools: tuple[str, ...] = ()
    key: str | None = None
    "The key that it carried, without its scheme."
    behaviour: Behaviour | str | None = None
    "As the scene has it; a text for what a classifier answered."
    asked_to_wait: float | None = None
    "Seconds that its error asked to wait, in whatever form."
    ttft: float | None = None

    @property
    def candidate(self) -> tuple[str, str]:
        """Who was asked: one model at one host."""
        return self.provider, self.model


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenAsk:
    """One request, its provider calls in the order of their sending, and how it ended."""

    ask: Ask
    calls: tuple[SeenCall, ...] = ()
    started: float = 0.0
    ended: float = 0.0
    outcome: Literal["answered", "raised", "cancelled"] = "answered"
    text: str = ""
    "The text of the answer, as far as it can be told."
    chunks: tuple[str, ...] = ()
    "The pieces of a stream."
    error: BaseException | None = None
    response: Any = None
    cost: Decimal | None = None
    "What the router says that it cost, by `cost_of`."
    request_after: Mapping[str, Any] = field(default_factory=dict[str, Any])
    "Messages, params and options of the request after the call, where they were changed."

    @property
    def answering(self) -> tuple[SeenCall, ...]:
        """The calls of the candidates: those that are neither of a classifier, nor of a judge, helper or embedder."""
        return tuple(call for call in self.calls if call.role == "answer")

    @property
    def entries(self) -> tuple[tuple[str, str], ...]:
        """The candidates in the order of their being entered; retries of one are one entry."""
        found: list[tuple[str, str]] = []
        for call in self.answering:
            if not found or found[-1] != call.candidate:
                found.append(call.candidate)
        return tuple(found)

    @property
    def models(self) -> tuple[str, ...]:
        """The models of the entries."""
        return tuple(model for _, model in self.entries)

    @property
    def head(self) -> str | None:
        """The model that was asked first: what the router chose."""
        return next((call.model for call in self.answering), None)

    @property
    def route(self) -> str | None:
        """The model of the last completed answering call."""
        return next((call.model for call in reversed(self.answering) if call.completed), None)

    @property
    def elapsed(self) -> float:
        """Seconds."""
        return round(self.ended - self.started, 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenAct:
    """The requests of one act, and what the router says that it has spent by its end."""

    asks: tuple[SeenAsk, ...]
    spent: Decimal | None = None
    "By `spend_of`; None where the class has none."
    began: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """One scene with everything that was seen."""

    scene: Scene
    acts: tuple[SeenAct, ...]
    spent_before: Decimal | None = None
    building: tuple[SeenCall, ...] = ()
    "Provider calls of `make_router`."
    refused_while_building: tuple[str, ...] = ()
    "Connections beyond this machine that `make_router` tried."
    changed: tuple[str, ...] = ()
    "The attributes of the class that were changed meanwhile."
    leftovers: tuple[str, ...] = ()
    "Tasks and threads that were left running."
    not_built: BaseException | None = None
    "What `make_router` raised where keys were missing; nobody was asked then."
    keyed: frozenset[str] = frozenset()
    "The names whose key `make_router` took from `providers`."
    endless: str | None = None
    "What says that a request never ended, where one did not: the rest of its scene was not played."

    @property
    def asks(self) -> tuple[SeenAsk, ...]:
        """All requests in order."""
        return tuple(ask for act in self.acts for ask in act.asks)

    @property
    def calls(self) -> tuple[SeenCall, ...]:
        """All provider calls of requests, in the order of their sending."""
        return tuple(sorted((call for ask in self.asks for call in ask.calls), key=lambda call: call.number))

    @property
    def only(self) -> SeenAsk:
        """The one request of a scene that has one."""
        (ask,) = self.asks
        return ask


Trial: TypeAlias = Sequence[Played]
"The scenes of one example, each played by a router of its own."
