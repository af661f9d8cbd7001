"""Takes down what is seen while a scene is played: the calls at the wire, and how each request ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, cast

from pytest_modelroute.errors import PriceUnknown
from pytest_modelroute.invariants.answers import text_of
from pytest_modelroute.invariants.player import ScenePlayer
from pytest_modelroute.invariants.requests import RoutingRequest
from pytest_modelroute.invariants.scenes import Ask, Fails
from pytest_modelroute.invariants.seen import SeenAsk, SeenCall
from pytest_modelroute.wire.addresses import KEY_HEADERS
from pytest_modelroute.wire.call_log import ProviderCall
from pytest_modelroute.wire.faults import Refusal
from pytest_modelroute.wire.recorded import Sent

_DIGITS: Final = 6
"Of moments: microseconds, since a clock that runs on from law to law has no more of them in a float."


@dataclass(slots=True)
class Notes:
    """What one request leaves behind while it runs."""

    ask: Ask
    case: str
    request: RoutingRequest
    calls: list[ProviderCall] = field(default_factory=list[ProviderCall])
    started: float = 0.0
    ended: float = 0.0
    outcome: str = "answered"
    error: BaseException | None = None
    response: Any = None
    chunks: list[str] = field(default_factory=list[str])
    cost: Decimal | None = None


class Observer:
    """Turns the calls and the notes of one scene into what the laws are judged on."""

    def __init__(self) -> None:
        """Nothing is seen yet."""
        self._began = 0.0
        self._keys: dict[int, str | None] = {}

    def begin(self, now: float) -> None:
        """A scene begins at this moment of the virtual clock."""
        self._began = now
        self._keys = {}

    def since(self, moment: float) -> float:
        """Seconds from the beginning of the scene."""
        return round(moment - self._began, _DIGITS)

    def heed(self, call: ProviderCall, sent: Sent) -> None:
        """Keep the key that a call carries, which the log does not."""
        self._keys[call.number] = _key_of(sent)

    def seen_ask(self, player: ScenePlayer, notes: Notes, calls: Sequence[ProviderCall]) -> SeenAsk:
        """One request with its calls."""
        text = "".join(notes.chunks) or text_of(notes.response)
        return SeenAsk(
            ask=notes.ask,
            calls=tuple(self.seen_call(player, call) for call in calls),
            started=notes.started,
            ended=notes.ended,
            outcome=cast("Any", notes.outcome),
            text=text,
            chunks=tuple(notes.chunks),
            error=notes.error,
            response=notes.response,
            cost=notes.cost,
            request_after=_changes(notes.ask.request, notes.request),
        )

    def seen_call(self, player: ScenePlayer, call: ProviderCall) -> SeenCall:
        """One call, in seconds since the scene began."""
        told = player.told.get(call.number)
        behaviour = None if told is None else told.behaviour
        started = self.since(call.started_s)
        return SeenCall(
            number=call.number,
            model=call.model,
            provider=call.provider,
            role="answer" if told is None else told.role,
            started=started,
            ended=None if call.latency_s is None else round(started + call.latency_s, _DIGITS),
            status=call.status,
            error=call.error,
            completed=call.completed,
            streamed=call.stream,
            usage=call.usage,
            cost=_cost_of(call),
            text=call.text,
            prompt=call.prompt,
            messages=call.messages,
            params=call.params,
            body=call.request.body,
            tools=tuple(tool.name for tool in call.tools),
            key=self._keys.get(call.number),
            behaviour=behaviour,
            asked_to_wait=_asked_to_wait(behaviour),
            ttft=call.ttft_s,
        )


def _changes(before: RoutingRequest, after: RoutingRequest) -> Mapping[str, Any]:
    """What a router has changed in a request: name -> what it is now."""
    pairs = {
        "messages": (before.fresh_messages(), after.messages),
        "params": (dict(before.params), dict(after.params)),
        "options": (dict(before.options), dict(after.options)),
    }
    return {name: now for name, (was, now) in pairs.items() if was != now}


def _cost_of(call: ProviderCall) -> Decimal | None:
    try:
        return call.cost_usd
    except PriceUnknown:
        return None


def _asked_to_wait(behaviour: object) -> float | None:
    fault = behaviour.fault if isinstance(behaviour, Fails) else None
    if not isinstance(fault, Refusal):
        return None
    if fault.retry_after_ms is not None:
        return fault.retry_after_ms / 1000
    return fault.retry_after if fault.retry_after is not None else fault.retry_after_date


def _key_of(sent: Sent) -> str | None:
    headers = {name.lower(): value for name, value in sent.headers}
    for name in KEY_HEADERS:
        if name in headers:
            return headers[name].rpartition(" ")[2]
    return None
