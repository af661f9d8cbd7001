"""
One connection of a client that is answered by scripts, byte for byte: HTTP/1.1 behind any transport of asyncio.

The loopback server puts it behind a socket, the interception of aiohttp behind a connection in memory. It knows the
answer and when its pieces are due, not whether that time is real.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol, cast
from urllib.parse import unquote

import h11

from pytest_modelroute.wire.answers import Answer
from pytest_modelroute.wire.exchange import Exchange
from pytest_modelroute.wire.own_routes import Reply

_RESET_ON_CLOSE: Final = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
"SO_LINGER with a time of 0: closing the socket sends RST."
_LOST: Final = ("refused", "reset")
"How a connection ends before any answer; one that was accepted can no longer be refused, so that both are a reset."


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A request as it was read from the connection."""

    method: str
    target: str
    headers: Iterable[tuple[bytes, bytes]]
    body: bytes

    @property
    def path(self) -> str:
        """The target without its query, decoded as the clients' libraries show it."""
        return unquote(self.target.partition("?")[0])

    def header(self, name: bytes) -> str:
        """A header by its name in lower case; empty where it was not sent."""
        return next((value.decode("latin-1") for key, value in self.headers if key == name), "")


class Timer(Protocol):
    """What is due at a moment."""

    def cancel(self) -> None:
        """Leave it."""
        ...


class Timeline(Protocol):
    """How the time of one answer passes, in seconds since its request came."""

    def at(self, offset: float, then: Callable[[], None]) -> Timer:
        """Go on at a moment, which is after the last one."""
        ...

    def give_up(self) -> str:
        """The client did not wait for the rest: what keeps the call from completing, cancelled or timeout."""
        ...


class Host(Protocol):
    """Who finds the answers of a connection."""

    def answer(self, request: Incoming) -> Exchange | Reply | None:
        """The exchange whose answer is played, a reply that is sent whole, or None for a connection that is lost."""
        ...

    def timeline(self, exchange: Exchange | None) -> Timeline:
        """How the time of this exchange passes, from now on; None for a reply to a request that is none."""
        ...

    def not_http(self, problem: str) -> None:
        """What came is no HTTP/1.1."""
        ...

    def opened(self, connection: ScriptedConnection) -> None:
        """A client has connected."""
        ...

    def closed(self, connection: ScriptedConnection) -> None:
        """The connection is gone."""
        ...


class ScriptedConnection(asyncio.Protocol):
    """Reads requests, one after another, and plays their answers."""

    def __init__(self, host: Host, *, exchange: Exchange | None = None, keep_alive: bool = True) -> None:
        """`exchange`: the one that is under way before its request is read, so that losing the connection ends it."""
        self.client: Any = None
        "The address of the client; None before it has connected, and in memory."
        self._host = host
        self._keep_alive = keep_alive
        self._exchange = exchange
        self._transport: asyncio.Transport
        self._http = h11.Connection(h11.SERVER)
        self._request: h11.Request | None = None
        self._method = b""
        self._body: list[bytes] = []
        self._timeline: Timeline | None = None
        self._offset = 0.0
        self._timer: Timer | None = None
        self._reading = False
        self._never_goes_on = False

    @property
    def idle(self) -> bool:
        """Whether nothing is under way: neither a request nor an answer that will come."""
        return (
            ((self._exchange is None and self._timer is None) or self._never_goes_on)
            and self._request is None
            and self._http.their_state in (h11.IDLE, h11.CLOSED, h11.DONE)
            and not self._http.trailing_data[0]
            and not self._transport.get_write_buffer_size()
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The client has connected."""
        self._transport = cast("asyncio.Transport", transport)
        self.client = transport.get_extra_info("peername")
        self._host.opened(self)

    def data_received(self, data: bytes) -> None:
        """More of a request has come."""
        try:
            self._http.receive_data(data)
            self._read()
        except h11.RemoteProtocolError as error:
            self._refuse_bytes(str(error))

    def eof_received(self) -> None:
        """The client sends no more; one that does so before its answer has come has given it up."""
        self._give_up()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - how it was lost does not matter
        """The connection is gone."""
        self._give_up()
        self._host.closed(self)

    def abort(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    def _read(self) -> None:
        """Take what has come; an answer that is sent at once lets the next request be read here too."""
        if self._reading:
            return
        self._reading = True
        try:
            while self._take(self._http.next_event()):
                pass
        finally:
            self._reading = False

    def _take(self, event: object) -> bool:
        """Whether there may be more to take."""
        if isinstance(event, h11.Request):
            self._request = event
        elif isinstance(event, h11.Data):
            self._body.append(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            self._answer()
        else:
            if event is h11.NEED_DATA and self._http.they_are_waiting_for_100_continue:
                self._send(h11.InformationalResponse(status_code=100, headers=[]))
            return False
        return True

    def _answer(self) -> None:
        request = self._request
        assert request is not None  # noqa: S101 - it came before its end, for the type checker
        self._request, self._method = None, request.method
        body, self._body = b"".join(self._body), []
        incoming = Incoming(
            method=request.method.decode("ascii"),
            target=request.target.decode("latin-1"),
            headers=request.headers,
            body=body,
        )
        found = self._host.answer(incoming)
        if isinstance(found, Exchange):
            self._exchange = found
            self._timeline, self._offset = self._host.timeline(found), 0.0
            self._play(found, _answer_of(found))
        elif found is None:
            self._reset()
        elif found.delay:
            self._timeline, self._offset = self._host.timeline(None), 0.0
            self._after(found.delay, partial(self._reply, found))
        else:
            self._reply(found)

    def _reply(self, reply: Reply) -> None:
        headers = [(name, value) for name, value in reply.headers if name.lower() != b"connection"]
        if all(name.lower() != b"content-length" for name, _value in headers):
            headers.append((b"content-length", str(len(reply.body)).encode()))
        self._send_whole(reply.status, headers, reply.body)

    def _play(self, exchange: Exchange, answer: Answer) -> None:
        if answer.breaks == "silent":
            self._never_goes_on = True
        else:
            self._after(answer.delay, partial(self._begin, exchange, answer))

    def _begin(self, exchange: Exchange, answer: Answer) -> None:
        if answer.breaks in _LOST:
            exchange.end()
            self._reset()
            return
        exchange.begin(answer.status)
        headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in answer.headers.items()]
        if answer.frames is not None:
            self._send(h11.Response(status_code=answer.status, headers=self._with_close(headers)))
            self._play_frames(exchange, answer, 0)
            return
        # Before it is sent: the client may look at the log as soon as it has the last byte.
        exchange.end()
        headers.append((b"content-length", str(len(answer.body)).encode()))
        self._send_whole(answer.status, headers, answer.body)

    def _play_frames(self, exchange: Exchange, answer: Answer, first: int) -> None:
        frames = answer.frames or ()
        for number in range(first, len(frames)):
            gap, frame = frames[number]
            if gap:
                self._after(gap, partial(self._play_late_frame, exchange, answer, number))
                return
            self._send_frame(exchange, frame)
        self._end_frames(exchange, answer)

    def _play_late_frame(self, exchange: Exchange, answer: Answer, number: int) -> None:
        self._send_frame(exchange, (answer.frames or ())[number][1])
        self._play_frames(exchange, answer, number + 1)

    def _send_frame(self, exchange: Exchange, frame: bytes) -> None:
        # Counted before it is sent: the last one ends the exchange.
        exchange.frame_sent()
        self._send(h11.Data(data=frame))

    def _end_frames(self, exchange: Exchange, answer: Answer) -> None:
        if answer.breaks == "stalled":
            self._never_goes_on = True
            return
        exchange.end()
        if answer.breaks == "cut":
            self._exchange = self._timer = None
            self._transport.close()
            return
        self._send(h11.EndOfMessage())
        self._done()

    def _after(self, seconds: float, then: Callable[[], None]) -> None:
        assert self._timeline is not None  # noqa: S101 - only called for an exchange, for the type checker
        if seconds:
            self._offset += seconds
            self._timer = self._timeline.at(self._offset, then)
        else:
            then()

    def _send_whole(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        http = self._http
        parts = [
            http.send(h11.Response(status_code=status, headers=self._with_close(headers))),
            http.send(h11.Data(data=b"" if self._method == b"HEAD" else body)),
            http.send(h11.EndOfMessage()),
        ]
        self._transport.write(b"".join(part for part in parts if part))
        self._done()

    def _with_close(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        return headers if self._keep_alive else [*headers, (b"connection", b"close")]

    def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            self._transport.write(data)

    def _done(self) -> None:
        """The answer is sent: go on to the next request, or close where the client or HTTP/1.0 wants it."""
        self._exchange = self._timer = self._timeline = None
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            try:
                self._read()
            except h11.RemoteProtocolError as error:
                self._refuse_bytes(str(error))
        else:
            self._transport.close()

    def _refuse_bytes(self, problem: str) -> None:
        self._host.not_http(problem)
        self._method = b""  # of the request before
        body = problem.encode()
        length = str(len(body)).encode()
        headers = [(b"content-type", b"text/plain"), (b"connection", b"close"), (b"content-length", length)]
        self._send_whole(400, headers, body)

    def _reset(self) -> None:
        self._exchange = self._timer = None
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()

    def _give_up(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        exchange, self._exchange = self._exchange, None
        if exchange is None or exchange.ended:
            return
        word = "cancelled" if self._timeline is None else self._timeline.give_up()
        exchange.end(error="timeout" if _answer_of(exchange).breaks in ("silent", "stalled") else word)


def _answer_of(exchange: Exchange) -> Answer:
    assert exchange.answer is not None  # noqa: S101 - hosts play scripted exchanges alone, for the type checker
    return exchange.answer
