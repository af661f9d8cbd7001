"""One model asked, as often as its errors may pass and the time allows; a routine, so without any I/O of its own."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import Final

import httpx

from pytest_modelroute.errors import MalformedExchange, ProviderError
from pytest_modelroute.providers.exchange import ProviderReply, WireRequest
from pytest_modelroute.providers.language import Language
from pytest_modelroute.providers.prices import PriceBook
from pytest_modelroute.router.calls import Attempt, Bill, Clocks, RequestContext
from pytest_modelroute.router.outcomes import (
    error_of_body,
    error_of_deadline,
    error_of_filter,
    error_of_response,
    error_of_transport,
)
from pytest_modelroute.router.requests import ModelRequest, ModelResponse
from pytest_modelroute.router.routine import Read, Routine, Send

RETRIED: Final = frozenset({"rate_limited", "overloaded", "unavailable", "server_error", "timeout", "connection"})
"Error classes that may pass by themselves; a model that is gone or a quota that is used up stays so."
_FIRST_BACKOFF_S: Final = 0.5
_LONGEST_WAIT_S: Final = 60.0
_PHASES: Final = ("connect", "read", "write", "pool")

parse_url = lru_cache(maxsize=256)(httpx.URL)
"Parsing a URL takes longer than everything else that is done for a call here."


@dataclass(slots=True, kw_only=True)
class Target:
    """A model, and where and how it is asked."""

    model: str
    tier: str | None
    provider: str
    language: Language
    base_url: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often and how long a model is asked."""

    retries: int
    timeout: float
    clocks: Clocks
    prices: PriceBook

    def before_retry(self, error: ProviderError, number: int) -> float | None:
        """
        Seconds to wait before the next attempt, None for none.

        As long as the provider asks, else exponential back-off with jitter. None where the error stays, where the
        provider asks for more than a minute, and where a part of the text is with the caller already.
        """
        if number > self.retries or error.kind not in RETRIED or error.text:
            return None
        if error.retry_after is None:
            return _FIRST_BACKOFF_S * 2.0 ** (number - 1) * random.uniform(0.75, 1.0)  # noqa: S311 - spread, not secrecy
        return error.retry_after if error.retry_after <= _LONGEST_WAIT_S else None


def ask(
    target: Target,
    request: ModelRequest,
    context: RequestContext,
    patience: Patience,
    *,
    stream: bool,
    fallback_of: str | None,
) -> Routine[ModelResponse]:
    """
    Ask a model; one whose format has no stream is asked for the whole, which is one piece then.

    Raises:
        ProviderError: It did not answer, also after the retries; or the deadline is over. No attempt begins that could
            not end in time, and nobody sleeps past the deadline.

    """
    sent = request.for_model(target.model, stream=stream)
    wire = target.language.write_request(sent, target.key)
    outgoing = _post(parse_url(target.base_url + wire.path), wire)
    clocks = patience.clocks
    start = now = clocks.now()
    for number in count(1):
        if now >= context.until:
            raise error_of_deadline(target.model, context.deadline, asked=False)
        outgoing.extensions["timeout"] = dict.fromkeys(_PHASES, min(patience.timeout, context.until - now))
        attempt = Attempt(request=sent, provider=target.provider)
        context.attempts.append(attempt)
        try:
            reply = yield from _once(outgoing, attempt, target, context, clocks)
        except ProviderError as error:
            attempt.fail(error)
            error.attempts = number
            wait, now = patience.before_retry(error, number), clocks.now()
            if wait is None or now + wait >= context.until:
                raise
        else:
            return ModelResponse(
                text=reply.text,
                model=target.model,
                model_answered=reply.model or target.model,
                usage=reply.usage,
                finish_reason=reply.finish_reason,
                tool_calls=reply.tool_calls,
                elapsed_s=clocks.now() - start,
                attempts=number,
                tier=target.tier,
                fallback_of=fallback_of,
                bill=Bill.of(context.attempts, patience.prices),
            )
        yield wait
        now = clocks.now()
    raise AssertionError("the last attempt returns or raises")  # pragma: no cover - for the type checker


def _post(url: httpx.URL, wire: WireRequest) -> httpx.Request:
    """The request with all of its headers: httpx takes three times as long to add those that it adds itself."""
    headers = {"Host": url.netloc.decode("ascii"), "Content-Length": str(len(wire.body)), **wire.headers}
    request = httpx.Request("POST", url, headers=headers, stream=httpx.ByteStream(wire.body))
    request.read()
    return request


def _once(
    outgoing: httpx.Request, attempt: Attempt, target: Target, context: RequestContext, clocks: Clocks
) -> Routine[ProviderReply]:
    """One attempt."""
    model, language, stream = target.model, target.language, attempt.request.stream
    # A body that trickles in outlasts any timeout of a single read, so a deadline is watched from piece to piece.
    in_pieces = stream or context.deadline is not None
    came = yield Send(outgoing, in_pieces)
    if isinstance(came, httpx.RequestError):
        raise error_of_transport(came, model)
    if not came.is_success:
        raise error_of_response(came, language, model, clocks.wall_now())
    try:
        if stream:
            reader = language.stream_reader()
            yield from _read_on(reader.feed, attempt, context, clocks)
            reply = reader.reply()
            rest = reply.text[len(attempt.text) :]
            if rest:
                attempt.pieces.append(rest)
                yield rest
        elif in_pieces:
            body = bytearray()
            yield from _read_on(body.extend, attempt, context, clocks)
            reply = language.read_reply(bytes(body))
        else:
            reply = language.read_reply(came.content)
    except MalformedExchange as error:
        raise error_of_body(error, model, text=attempt.text) from None
    attempt.reported = reply.usage
    if reply.finish_reason == "content_filter":
        raise error_of_filter(model, text=attempt.text)
    attempt.kind, attempt.pieces = None, [reply.text]
    return reply


def _read_on(
    take: Callable[[bytes], str | None], attempt: Attempt, context: RequestContext, clocks: Clocks
) -> Routine[None]:
    """Read to the end of the body, and hand on the text that `take` finds in it."""
    model = attempt.request.model
    while (data := (yield Read(within=context.until - clocks.now()))) is not None:
        failed = isinstance(data, httpx.RequestError)
        if clocks.now() > context.until or (failed and clocks.now() == context.until):
            raise error_of_deadline(model, context.deadline, asked=True, text=attempt.text)
        if failed:
            raise error_of_transport(data, model, text=attempt.text)
        piece = take(data)
        if piece:
            attempt.pieces.append(piece)
            yield piece
