"""An answer as it goes over the wire: when, with which status, in which pieces. Independent of who sends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Protocol

from pytest_modelroute.errors import ScriptError
from pytest_modelroute.providers.exchange import ProviderReply, ProviderRequest, Usage, estimate_usage, split_text
from pytest_modelroute.providers.failures import ErrorClass, Failure
from pytest_modelroute.providers.language import Language
from pytest_modelroute.providers.registry import provider_behind
from pytest_modelroute.providers.vectors import embedded
from pytest_modelroute.wire.faults import BadBody, BrokenReply, Fault, Filtered, LostConnection, OddReply, Refusal

if TYPE_CHECKING:
    from pytest_modelroute.wire.call_log import ProviderCall

_JSON = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is sent, and what the provider knows of it (the usage it bills, the error class)."""

    delay: float
    "Seconds until the head of the response."
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    frames: tuple[tuple[float, bytes], ...] | None = None
    "A body that comes in pieces: (seconds since the piece before, bytes); None for one that comes whole."
    breaks: Literal["refused", "reset", "silent", "cut", "stalled"] | None = None
    "How the transport fails: the first three before any response, the others after the last piece."
    kind: str | None = None
    "The error class that it shows, `malformed` or `cut off`; None for a good answer."
    retry_date_s: float | None = None
    "Seconds from the answer on that its Retry-After names as a date."
    reply: ProviderReply | None = None
    usage: Usage | None = None
    pieces: int = 0
    "How many pieces the provider made or would have made, for what it bills of a stream that ended early."
    lasts: float | None = None
    "Seconds that it took when it was recorded; None for a scripted one."


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a reply comes: seconds in all, seconds to the first chunk, number or texts of the chunks."""

    latency: float = 0.0
    ttft: float | None = None
    chunks: int | tuple[str, ...] | None = None


class Answering(Protocol):
    """
    Who answers the calls of a wire: scripts of a test, or of a scene.

    Attributes:
        answers_for: The thread whose call is being answered; None while there is none.

    """

    answers_for: int | None

    def answer(self, call: ProviderCall, language: Language, *, strict: bool) -> Answer | None:
        """The answer to a call; None for one that others may answer, where it is not strict."""
        ...


def answer_with_reply(language: Language, request: ProviderRequest, reply: ProviderReply, pace: Pace) -> Answer:
    """
    A good answer, whole or as a stream, as the request asks.

    Raises:
        ScriptError: The language has no form for this reply.

    """
    if reply.finish_reason == "content_filter" and not language.filters_content:
        raise ScriptError(f"{language.name} has no form for an answer that a content filter held back")
    if language.embeds:
        reply = embedded(request, reply)
    usage = reply.usage or estimate_usage(request, reply.text)
    # A provider answers as the model it was asked for, unless a script says otherwise.
    reply = replace(reply, usage=usage, model=reply.model or request.model)
    # What is not reported cannot be known, as in life; and what is filtered is no answer.
    known = usage if reply.reports_usage else None
    seen = reply if known is usage else replace(reply, usage=None)
    kind: ErrorClass | None = "content_filtered" if reply.finish_reason == "content_filter" else None
    if not request.stream:
        return Answer(
            delay=pace.latency,
            headers=_JSON,
            body=language.write_reply(request, reply),
            kind=kind,
            reply=seen,
            usage=known,
        )
    pieces = list(pace.chunks) if isinstance(pace.chunks, tuple) else split_text(reply.text, pace.chunks)
    frames = language.write_stream(request, reply, pieces)
    first = pace.latency / len(frames) if pace.ttft is None else pace.ttft
    gap = (pace.latency - first) / (len(frames) - 1) if len(frames) > 1 else 0.0
    if len(frames) == 1:
        first = pace.latency
    return Answer(
        delay=first,
        headers={"content-type": language.stream_type},
        frames=tuple((gap if index else 0.0, frame) for index, frame in enumerate(frames)),
        kind=kind,
        reply=seen,
        usage=known,
        pieces=len(frames),
    )


def answer_with_fault(
    language: Language, request: ProviderRequest, fault: Fault, latency: float, provider: str
) -> Answer:
    """
    An error in the provider's own words, a broken or odd reply, or a fault of the transport.

    Raises:
        ScriptError: The provider has no form for this fault.

    """
    match fault:
        case Refusal():
            return _refuse(language, fault, latency)
        case LostConnection():
            return Answer(delay=latency, breaks=fault.how, kind=fault.kind)
        case BadBody():
            return Answer(delay=latency, headers={"content-type": fault.content_type}, body=fault.body, kind=fault.kind)
        case Filtered():
            return _filter(language, request, latency, provider)
        case BrokenReply():
            return _break(language, request, fault, latency)
        case OddReply():
            return _odd(language, request, fault, latency)
        case _:  # pragma: no cover - the functions of the module make no other
            raise ScriptError(f"{fault!r} is no fault of pytest_modelroute.faults")


def _refuse(language: Language, fault: Refusal, latency: float) -> Answer:
    assert fault.kind is not None  # noqa: S101 - a refusal has a class, for the type checker
    wait = fault.retry_after
    error = language.write_error(Failure(kind=fault.kind, message=fault.message, retry_after=wait))
    headers = {**_JSON, **error.headers}
    if wait is not None and not language.vocabulary.retry_in_body:
        headers["retry-after"] = _number(wait)
    if fault.retry_after_ms is not None:
        headers["retry-after-ms"] = _number(fault.retry_after_ms)
    return Answer(
        delay=latency,
        status=error.status,
        headers=headers,
        body=error.body,
        kind=fault.kind,
        retry_date_s=fault.retry_after_date,
    )


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def _filter(language: Language, request: ProviderRequest, latency: float, provider: str) -> Answer:
    has_word = not language.filters_content and "content_filtered" in language.vocabulary.spoken
    if provider_behind(provider) == "azure" or has_word:
        refusal = Refusal(
            name="content_filter",
            kind="content_filtered",
            message="The response was filtered due to the prompt triggering the content management policy",
        )
        return _refuse(language, refusal, latency)
    reply = ProviderReply(finish_reason="content_filter")
    return answer_with_reply(language, request, reply, Pace(latency=latency))


def _odd(language: Language, request: ProviderRequest, fault: OddReply, latency: float) -> Answer:
    reply = ProviderReply(text=fault.text, model=fault.model or "", reports_usage=fault.reports_usage)
    whole = latency + fault.first_token_s
    pace = Pace(latency=whole, ttft=fault.first_token_s or None)
    return answer_with_reply(language, request, reply, pace)


def _break(language: Language, request: ProviderRequest, fault: BrokenReply, latency: float) -> Answer:
    whole = answer_with_reply(language, request, ProviderReply(text=fault.text), Pace(latency=latency))
    good = [] if whole.frames is None else list(whole.frames[: fault.after])
    if fault.how == "error":
        assert fault.kind is not None  # noqa: S101 - it has a class, for the type checker
        message = f"scripted: {fault.kind}"
        if whole.frames is None:
            return _refuse(language, Refusal(name=fault.name, kind=fault.kind, message=message), latency)
        failure = Failure(kind=fault.kind, message=message)
        good.append((whole.frames[fault.after][0], language.write_stream_error(failure)))
    elif fault.how == "corrupted":
        if whole.frames is None:
            return replace(whole, body=whole.body[: len(whole.body) // 2], kind=fault.kind)
        gap, frame = whole.frames[fault.after]
        good += [(gap, _corrupt(frame)), *whole.frames[fault.after + 1 :]]
    elif whole.frames is None:
        good = [(0.0, whole.body[: len(whole.body) // 2])]
    breaks = fault.how if fault.how in ("cut", "stalled") else None
    return replace(whole, frames=tuple(good), breaks=breaks, kind=fault.kind)


def _corrupt(frame: bytes) -> bytes:
    """The frame with its first line of JSON broken off in the middle; a frame of AWS has no lines."""
    start = frame.index(b"{")
    end = frame.find(b"\n", start)
    end = end if end >= 0 else len(frame)
    return frame[: (start + end) // 2] + frame[end:]
