"""An answer as it goes over the wire: when, with which status, in which pieces. Independent of who sends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pytest_modelroute.providers.exchange import ProviderReply, ProviderRequest, Usage, estimate_usage, split_text
from pytest_modelroute.providers.language import Language
from pytest_modelroute.wire.faults import Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is sent, and what the provider knows of it (the usage it bills, the error class)."""

    delay: float
    "Seconds until the head of the response."
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    frames: tuple[tuple[float, bytes], ...] = ()
    "Of a stream: (seconds since the piece before, bytes)."
    fault: Fault | None = None
    reply: ProviderReply | None = None
    usage: Usage | None = None
    by: str = ""
    "Which script."


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a reply comes: seconds in all, seconds to the first chunk, number or texts of the chunks."""

    latency: float = 0.0
    ttft: float | None = None
    chunks: int | tuple[str, ...] | None = None


def answer_with_reply(language: Language, request: ProviderRequest, reply: ProviderReply, pace: Pace) -> Answer:
    """A good answer, whole or as a stream, as the request asks."""
    usage = reply.usage or estimate_usage(request, reply.text)
    # A provider answers as the model it was asked for, unless a script says otherwise.
    reply = replace(reply, usage=usage, model=reply.model or request.model)
    if not request.stream:
        return Answer(
            delay=pace.latency,
            headers={"content-type": "application/json"},
            body=language.write_reply(request, reply),
            reply=reply,
            usage=usage,
        )
    pieces = list(pace.chunks) if isinstance(pace.chunks, tuple) else split_text(reply.text, pace.chunks)
    frames = language.write_stream(request, reply, pieces)
    first = pace.latency / len(frames) if pace.ttft is None else pace.ttft
    gap = (pace.latency - first) / (len(frames) - 1) if len(frames) > 1 else 0.0
    if len(frames) == 1:
        first = pace.latency
    return Answer(
        delay=first,
        headers={"content-type": "text/event-stream"},
        frames=tuple((gap if index else 0.0, frame) for index, frame in enumerate(frames)),
        reply=reply,
        usage=usage,
    )


def answer_with_fault(language: Language, fault: Fault, latency: float) -> Answer:
    """An error in the provider's own words, a broken body, or a fault of the transport."""
    headers = {"content-type": "application/json"}
    if fault.retry_after is not None:
        wait = fault.retry_after
        headers["retry-after"] = str(int(wait)) if wait == int(wait) else str(wait)
    status = fault.status or 0
    body = fault.body if fault.body is not None else language.write_error(status, fault.kind, fault.message)
    return Answer(delay=latency, status=status, headers=headers, body=body, fault=fault)
