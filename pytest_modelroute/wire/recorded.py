"""
What the wire knows of recordings: a request as it is sent, a reply as it is replayed, and who takes a live one down.

Where recordings come from is the affair of the cassettes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from pytest_modelroute.errors import MalformedExchange, StreamFailed
from pytest_modelroute.providers.exchange import ProviderReply, ProviderRequest, estimate_usage
from pytest_modelroute.providers.language import Language, read_stream, read_wire_error
from pytest_modelroute.providers.prices import PriceBook
from pytest_modelroute.wire.answers import Answer
from pytest_modelroute.wire.call_log import ProviderCall
from pytest_modelroute.wire.case_run import Heard

Pairs = Sequence[tuple[str, str]]
"Headers: name and value, in the order sent."
HOP_BY_HOP: Final = frozenset({"connection", "content-length", "keep-alive", "transfer-encoding"})
"Headers that belong to a connection, and not to what is said over it."
FIRST_ERROR: Final = 400
"The first status that is an error."


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A request on its way; its headers and its body take time to read, and most requests are known without."""

    method: str
    url: str
    host: str
    port: int | None = None
    path: str
    read_body: Callable[[], bytes]
    client: str
    "The HTTP library."
    read_headers: Callable[[], Pairs] = tuple
    heard: Heard | None = None
    "What its case was answered before, where a case is run on several models."

    @property
    def body(self) -> bytes:
        """Its body, encoded as it is sent."""
        return self.read_body()

    @property
    def headers(self) -> Pairs:
        """Its headers."""
        return self.read_headers()


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A recorded reply."""

    status: int
    headers: Pairs
    body: bytes
    plain: bytes
    "The body without its content encoding."
    latency_s: float
    ttft_s: float | None = None
    chunks: Sequence[tuple[float, int]] | None = None
    "The pieces of a stream: (seconds since the piece before, bytes)."
    complete: bool = True
    where: str = ""
    "Which recording it is, for the log."
    prices: PriceBook | None = None
    "What its model cost at the time of recording; None where that is not known."

    def frames(self) -> tuple[tuple[float, bytes], ...] | None:
        """The pieces of a stream with the seconds before each; None for a reply that came whole."""
        if self.chunks is None:
            return None
        frames: list[tuple[float, bytes]] = []
        start = 0
        for gap, size in self.chunks:
            # The first one comes with the head of the response.
            frames.append((gap if frames else 0.0, self.body[start : start + size]))
            start += size
        return tuple(frames)


class Take(Protocol):
    """Takes a live reply down, on the real clock."""

    def head(self, status: int, reason: str, headers: Pairs) -> None:
        """The head of the response has come."""
        ...

    def piece(self, data: bytes) -> None:
        """More of its body has come, as it was sent: encoded, if it is."""
        ...

    def end(self, *, complete: bool) -> float | None:
        """It is over; what the call log knows of the call is known. Gives the seconds that a replay will take."""
        ...


class Recordings(Protocol):
    """The recordings of a test."""

    def play(self, sent: Sent, call: ProviderCall | None) -> Played | None:
        """
        The recorded reply; None for a request that goes to the network.

        Raises:
            UnrecordedCall: There is none, and nothing is recorded now.

        """
        ...

    def take(self, sent: Sent, call: ProviderCall | None) -> Take | None:
        """
        Who takes down the reply that the network is about to give; None where nobody does.

        Raises:
            UnrecordedCall: The call must not be made: no key, or the cap is reached.

        """
        ...


@contextmanager
def telling_why(end: Callable[[str], None]) -> Generator[None]:
    """Tell what kept a call from getting its reply, where an error comes in place of it; the error goes on."""
    try:
        yield
    except BaseException as error:
        given_up = isinstance(error, asyncio.CancelledError | GeneratorExit)
        kind = "timeout" if "Timeout" in type(error).__name__ else "connection"
        end("cancelled" if given_up else kind)
        raise


def replayed(language: Language, played: Played, request: ProviderRequest) -> Answer:
    """A recorded reply as an answer: its pieces at their times, and what the provider says in it."""
    frames = played.frames()
    if frames is None and (request.stream or not played.complete):
        frames = ((0.0, played.body),)
    headers = joined(played.headers)
    reply, error = read_reply(language, played.status, played.plain, headers, stream=request.stream)
    usage = None if reply is None else reply.usage
    if not played.complete:  # it is billed as far as it ran, and has not said what that was
        usage = estimate_usage(request, _text_so_far(language, played.plain))
    return Answer(
        delay=played.latency_s if played.ttft_s is None else played.ttft_s,
        status=played.status,
        headers=headers,
        body=played.body,
        frames=frames,
        breaks=None if played.complete else "cut",
        kind=error,
        reply=reply,
        usage=usage,
        pieces=len(frames or ()),
        lasts=played.latency_s,
    )


def read_reply(
    language: Language, status: int | None, body: bytes, headers: dict[str, str], *, stream: bool
) -> tuple[ProviderReply | None, str | None]:
    """The reply in a body, and what was wrong with it: an error class, `malformed` or `cut off`; None for nothing."""
    if status is None or status >= FIRST_ERROR:
        try:
            word, message = read_wire_error(language, body, headers)
        except MalformedExchange:
            word, message = None, ""
        return None, language.vocabulary.classify(status, word, message)
    try:
        reply = read_stream(language, body) if stream else language.read_reply(body)
    except StreamFailed as error:
        return None, error.kind
    except MalformedExchange:
        return None, "cut off" if stream else "malformed"
    return reply, "content_filtered" if reply.finish_reason == "content_filter" else None


def _text_so_far(language: Language, body: bytes) -> str:
    try:
        return language.stream_reader().feed(body)
    except MalformedExchange:
        return ""


def joined(headers: Pairs) -> dict[str, str]:
    """Headers as a mapping in lower case, without those of the connection; values of one name are joined."""
    values: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        if key not in HOP_BY_HOP:
            values[key] = f"{values[key]}, {value}" if key in values else value
    return values
