"""
Faults that a provider can show, as values for `mock_providers.on(...).fails(...)`.

Each carries the error class that routers decide on (see `ErrorClass`). How a fault looks on the wire is a matter of the
provider's language: its status, its code, its form of a blocked answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from pytest_modelroute.errors import ScriptError
from pytest_modelroute.providers.exchange import split_text
from pytest_modelroute.providers.failures import ErrorClass

_CENTURY = 100 * 365 * 86_400
_TEXT = "This answer is only here to be broken off."


def is_seconds(value: object) -> bool:
    """Whether a value is a finite number, 0 or more."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that goes wrong in a call; made by the functions below."""

    name: str
    "The function that makes it, as messages show it."
    kind: ErrorClass | None
    "The error class; None for a reply that is odd and yet good."


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal(Fault):
    """The provider refuses, in its own words."""

    message: str
    retry_after: float | None = None
    "Seconds, in the header of that name."
    retry_after_ms: float | None = None
    "Milliseconds, in the header retry-after-ms, which clients obey before the other."
    retry_after_date: float | None = None
    "Seconds from the answer on, sent as a date."

    def __post_init__(self) -> None:
        """Refuse a Retry-After that no header can carry."""
        if self.retry_after_date is not None and is_seconds(self.retry_after_date) and self.retry_after_date > _CENTURY:
            raise ScriptError(
                f"{self.name}(retry_after_date={self.retry_after_date!r}): that is over a hundred years ahead"
            )
        waits = ("retry_after", self.retry_after), ("retry_after_ms", self.retry_after_ms)
        units = {"retry_after_ms": "milliseconds"}
        for name, value in (*waits, ("retry_after_date", self.retry_after_date)):
            if value is not None and not is_seconds(value):
                unit = units.get(name, "seconds")
                raise ScriptError(f"{self.name}({name}={value!r}): a number of {unit}, 0 or more, was expected")
        if self.retry_after is not None and self.retry_after_date is not None:
            raise ScriptError(
                f"{self.name}(retry_after=..., retry_after_date=...): one header carries both; give one of them"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class LostConnection(Fault):
    """The transport fails before any answer."""

    how: Literal["refused", "reset", "silent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BadBody(Fault):
    """An answer with status 200 that is none."""

    body: bytes
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filtered(Fault):
    """A content filter holds the answer back; each provider has its own form for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenReply(Fault):
    """A reply that begins well and goes wrong: a stream after some pieces, a whole reply in the middle of its body."""

    how: Literal["cut", "stalled", "corrupted", "error"]
    text: str
    after: int
    "How many pieces of the stream are good."

    def __post_init__(self) -> None:
        """Refuse a number of pieces that cannot be counted off."""
        if type(self.after) is not int or self.after < 0:
            raise ScriptError(f"{self.name}(after={self.after!r}): a number of pieces, 0 or more, was expected")
        pieces = len(split_text(self.text, None))
        if self.after >= pieces:
            raise ScriptError(
                f"{self.name}(after={self.after}): its text has {pieces} piece{'s' * (pieces != 1)} (words, 20 at the "
                "most); a smaller number was expected, or a longer text="
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class OddReply(Fault):
    """A whole, good reply that is not quite what was asked for."""

    text: str
    model: str | None = None
    "The model it names in place of the one that was asked."
    reports_usage: bool = True
    first_token_s: float = 0.0
    "Seconds until its first token."


AnyFault: TypeAlias = Refusal | LostConnection | BadBody | Filtered | BrokenReply | OddReply


def rate_limit(
    *, retry_after: float | None = None, retry_after_ms: float | None = None, retry_after_date: float | None = None
) -> Fault:
    """
    429 with the provider's rate limit error.

    Args:
        retry_after: Seconds, in the header Retry-After (Gemini says them in the body).
        retry_after_ms: Milliseconds, in OpenAI's header retry-after-ms, which goes before.
        retry_after_date: Seconds from the answer on, sent as an HTTP date, which holds whole seconds: rounded up.

    """
    return Refusal(
        name="rate_limit",
        kind="rate_limited",
        message="Rate limit reached",
        retry_after=retry_after,
        retry_after_ms=retry_after_ms,
        retry_after_date=retry_after_date,
    )


def quota_exhausted() -> Fault:
    """The budget at the provider is used up: OpenAI's 429 with another code. No retry helps."""
    return Refusal(
        name="quota_exhausted",
        kind="quota_exhausted",
        message="You exceeded your current quota, please check your plan and billing details",
    )


def overloaded(*, retry_after: float | None = None) -> Fault:
    """The service has too much to do: 529 from Anthropic, 429 with a code of its own from Mistral, 503 from others."""
    return Refusal(name="overloaded", kind="overloaded", message="Overloaded", retry_after=retry_after)


def unavailable(*, retry_after: float | None = None) -> Fault:
    """503, a service that is down for a while."""
    return Refusal(name="unavailable", kind="unavailable", message="Service unavailable", retry_after=retry_after)


def server_error() -> Fault:
    """500, an error inside the provider."""
    return Refusal(name="server_error", kind="server_error", message="The server had an error")


def request_timeout() -> Fault:
    """408 (504 from Gemini), the provider gave up waiting; the client's own time-out is `read_timeout`."""
    return Refusal(name="request_timeout", kind="timeout", message="The request timed out")


def model_not_found() -> Fault:
    """404, a model that is gone or was never there; 400 with a code of its own from Mistral."""
    return Refusal(name="model_not_found", kind="not_found", message="The model does not exist")


def context_overflow() -> Fault:
    """400, a prompt longer than the model can read."""
    return Refusal(
        name="context_overflow",
        kind="context_overflow",
        message="input of 250000 tokens is longer than the maximum context length of 200000 tokens",
    )


def authentication() -> Fault:
    """401 (400 from Gemini, 403 from Bedrock), a wrong key; no fallback should hide it."""
    return Refusal(name="authentication", kind="authentication", message="Invalid API key")


def permission() -> Fault:
    """403, a key that may not use the model."""
    return Refusal(name="permission", kind="permission", message="This key has no access to the model")


def bad_request() -> Fault:
    """400, a request that is wrong wherever it is sent; 422 from Mistral."""
    return Refusal(name="bad_request", kind="bad_request", message="The request is not valid")


def content_filter() -> Fault:
    """
    The provider's filter holds the answer back, in the provider's own form.

    An error 400 from Azure and 403 from Mistral; a reply with status 200 from OpenAI (finish reason content_filter),
    Anthropic (stop reason refusal), Gemini (a blocked prompt, without a candidate) and Bedrock. A provider that has no
    filter, such as Ollama, cannot be scripted with one.
    """
    return Filtered(name="content_filter", kind="content_filtered")


def connect_error() -> Fault:
    """The connection is refused; the client's own library raises its ConnectError."""
    return LostConnection(name="connect_error", kind="connection", how="refused")


def connection_reset() -> Fault:
    """The connection is lost after the request was sent, before any answer."""
    return LostConnection(name="connection_reset", kind="connection", how="reset")


def read_timeout() -> Fault:
    """No reply ever comes: the client waits as long as its own read timeout and raises its ReadTimeout."""
    return LostConnection(name="read_timeout", kind="timeout", how="silent")


def malformed_body(body: bytes = b'{"id": "cut-off", "choices": [{"mess') -> Fault:
    """200 with a body that is not JSON, as after a broken proxy."""
    if not isinstance(body, bytes):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ScriptError(f"malformed_body({body!r}): the bytes of the body were expected")
    return BadBody(name="malformed_body", kind="malformed", body=body)


def html_page() -> Fault:
    """200 with a page of HTML, as from a captive portal or a proxy that apologises."""
    return BadBody(
        name="html_page",
        kind="malformed",
        body=b"<!doctype html><title>Please wait</title><p>We are working on it.</p>",
        content_type="text/html; charset=utf-8",
    )


def empty_body() -> Fault:
    """200 with nothing in it."""
    return BadBody(name="empty_body", kind="malformed", body=b"")


def missing_usage(text: str = _TEXT) -> Fault:
    """A good reply that does not say what it used, so that it cannot be priced."""
    return OddReply(name="missing_usage", kind=None, text=text, reports_usage=False)


def another_model(model: str, text: str = _TEXT) -> Fault:
    """A good reply that names another model than the one that was asked: a silent substitution."""
    if type(model) is not str or not model:
        raise ScriptError(f"another_model({model!r}): the name of the model that answers was expected")
    return OddReply(name="another_model", kind=None, text=text, model=model)


def slow_first_token(seconds: float, text: str = _TEXT) -> Fault:
    """A good reply whose first token takes so long; a client that reads no stream waits as long for the whole."""
    if not is_seconds(seconds):
        raise ScriptError(f"slow_first_token({seconds!r}): a number of seconds, 0 or more, was expected")
    return OddReply(name="slow_first_token", kind=None, text=text, first_token_s=seconds)


def stream_cut(*, after: int = 1, text: str = _TEXT) -> Fault:
    """The connection ends after so many pieces, before the end marker; a whole reply ends in the middle of its body."""
    return BrokenReply(name="stream_cut", kind="connection", how="cut", text=text, after=after)


def stream_stalled(*, after: int = 1, text: str = _TEXT) -> Fault:
    """Nothing more comes after so many pieces: the client's read timeout ends it."""
    return BrokenReply(name="stream_stalled", kind="timeout", how="stalled", text=text, after=after)


def stream_corrupted(*, after: int = 1, text: str = _TEXT) -> Fault:
    """The piece after so many is broken in the middle of its JSON, and so is a whole reply."""
    return BrokenReply(name="stream_corrupted", kind="malformed", how="corrupted", text=text, after=after)


def stream_error(*, after: int = 1, text: str = _TEXT, kind: ErrorClass = "overloaded") -> Fault:
    """
    The provider's error comes in the stream after so many pieces, under the status 200 that it began with.

    Without a stream it is the plain error. `kind` is one that providers have words for: overloaded, server_error,
    rate_limited, unavailable.
    """
    if kind not in get_args(ErrorClass):
        raise ScriptError(
            f"stream_error(kind={kind!r}): an error class was expected: {', '.join(get_args(ErrorClass))}"
        )
    return BrokenReply(name="stream_error", kind=kind, how="error", text=text, after=after)
