"""
Interception of httpx and httpx2 in process, through respx's Mocker, at the transport that would open the connection.

At that level custom clients, event hooks and wrapping transports (retries, logging) all run as in life, applications
mounted in process (ASGI, WSGI) are left alone, and both libraries are served by one object. respx patches and
unpatches; calls of models are answered here without its router, whose record of every call costs time and memory.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, ClassVar

import httpx
from respx import MockRouter
from respx.mocks import Mocker

from pytest_modelroute.wire.aiohttp_memory import AiohttpMemory
from pytest_modelroute.wire.exchange import Exchange
from pytest_modelroute.wire.exchanges import Wire
from pytest_modelroute.wire.own_routes import OwnRoutes, Reply
from pytest_modelroute.wire.recorded import Played, Sent, Take
from pytest_modelroute.wire.socket_memory import SocketMemory
from pytest_modelroute.wire.travelling import atravel, travel

_LIBRARIES = tuple(name for name in ("httpx", "httpx2") if find_spec(name) is not None)


class WireMocker(Mocker):
    """Sends what goes through the network transports of httpx and httpx2 to the wires that listen, the newest first."""

    name: ClassVar[str] = "modelroute"
    targets: ClassVar[list[str]] = [
        f"{library}._transports.default.{transport}"
        for library in _LIBRARIES
        for transport in ("HTTPTransport", "AsyncHTTPTransport")
    ]
    target_methods: ClassVar[list[str]] = ["handle_request", "handle_async_request"]
    wires: ClassVar[list[tuple[Wire, OwnRoutes]]] = []

    @classmethod
    def mock(cls, spec: Any) -> Any:
        """The function that stands in for a transport's method."""
        library = sys.modules[spec.__module__.partition(".")[0]]

        def handle_request(transport: Any, request: Any) -> Any:
            wire, _routes = cls.wires[-1]
            sent = _sent(request, library)
            trip = wire.trip(sent)
            if trip is not None:
                return travel(trip, lambda redirected: handle_request(transport, redirected), request, library)
            exchange = wire.open(sent)
            if exchange is None:
                return _other(spec, transport, request, sent, library)
            if exchange.answer is None:
                with exchange.watching():
                    return _observed(exchange, spec(transport, request), library)
            return _run(_respond(exchange, request, library), exchange.wire.sleep)

        async def handle_async_request(transport: Any, request: Any) -> Any:
            wire, _routes = cls.wires[-1]
            await request.aread()
            sent = _sent(request, library)
            trip = wire.trip(sent)
            if trip is not None:
                return await atravel(
                    trip, lambda redirected: handle_async_request(transport, redirected), request, library
                )
            exchange = wire.open(sent)
            if exchange is None:
                return await _aother(spec, transport, request, sent, library)
            if exchange.answer is None:
                with exchange.watching():
                    return _observed(exchange, await spec(transport, request), library)
            return await _run_async(_respond(exchange, request, library), exchange)

        return handle_async_request if inspect.iscoroutinefunction(spec) else handle_request


def _other(spec: Any, transport: Any, request: Any, sent: Sent, library: Any) -> Any:
    """A request that is no call of a model: the test's own routes answer, a recording, or the network."""
    wire, routes = WireMocker.wires[-1]
    with _raising_in(library, request):
        reply = routes.answer(_as_httpx(request)) if routes else None
    found = reply or wire.open_other(sent)
    if isinstance(found, Played):
        wire.sleep(found.latency_s)
    if isinstance(found, Reply | Played):
        return _translate(found, library)
    with _passing_on(wire, transport, request):
        return _taken(found, spec(transport, request), library)


async def _aother(spec: Any, transport: Any, request: Any, sent: Sent, library: Any) -> Any:
    """The same for an asynchronous client."""
    wire, routes = WireMocker.wires[-1]
    with _raising_in(library, request):
        reply = await routes.aanswer(_as_httpx(request)) if routes else None
    found = reply or wire.open_other(sent)
    if isinstance(found, Played):
        await wire.asleep(found.latency_s)
    if isinstance(found, Reply | Played):
        return _translate(found, library)
    with _passing_on(wire, transport, request):
        return _taken(found, await spec(transport, request), library)


class Interception:
    """Keeps one wire listening, from `start` to `stop`."""

    def __init__(self, wire: Wire) -> None:
        """Prepare the respx router that belongs to the wire."""
        self._wire = wire
        self.http = MockRouter(using=WireMocker.name, assert_all_called=False)
        self.routes = OwnRoutes(self.http)
        self._others = (AiohttpMemory(wire, self.routes), SocketMemory(wire, self.routes))

    def start(self) -> None:
        """Begin to listen."""
        for library in _LIBRARIES:
            import_module(f"{library}._transports.default")
        WireMocker.wires.append((self._wire, self.routes))
        self.http.start()
        for other in self._others:
            other.start()

    def stop(self) -> None:
        """Stop listening."""
        for other in self._others:
            other.stop()
        self.http.stop(quiet=True)
        WireMocker.wires.remove((self._wire, self.routes))


def _sent(request: Any, library: ModuleType) -> Sent:
    """A request of either library; its body is read when it is asked for, or was before."""
    url = request.url
    return Sent(
        method=request.method,
        url=str(url),
        host=url.host,
        port=url.port,
        path=url.path,
        read_body=request.read,
        client=library.__name__,
        read_headers=request.headers.multi_items,
    )


@contextmanager
def _raising_in(library: Any, request: Any) -> Generator[None]:
    """What the test's own respx routes raise is raised in the client's library."""
    try:
        yield
    except httpx.RequestError as error:
        kind = getattr(library, type(error).__name__, library.RequestError)
        raise kind(str(error), request=request) from None


def _as_httpx(request: Any) -> httpx.Request:
    return httpx.Request(request.method, str(request.url), headers=request.headers.raw, content=request.content)


def _translate(reply: Reply | Played, library: Any) -> Any:
    """A whole reply in the client's library."""
    return library.Response(reply.status, headers=reply.headers, content=reply.body)


def _passing_on(wire: Wire, transport: Any, request: Any) -> AbstractContextManager[None]:
    by_proxy = "Proxy" in type(getattr(transport, "_pool", None)).__name__
    return wire.passing_on(request.method, str(request.url), request.url.host, by_proxy=by_proxy)


def _respond(exchange: Exchange, request: Any, library: Any) -> Generator[float, None, Any]:
    """
    Play an answer: yields the seconds to wait, returns the response, raises what the library raises in life.

    The client's read timeout counts from byte to byte, as in httpx: it is compared with each wait alone.
    """
    answer = exchange.answer
    assert answer is not None  # noqa: S101 - the caller's condition, for the type checker
    timeouts: dict[str, float | None] = request.extensions.get("timeout") or {}
    refused = answer.breaks == "refused"
    limit = timeouts.get("connect" if refused else "read")
    silent = answer.breaks == "silent"
    if silent and limit is None:
        limit = exchange.waits_for_ever()
    # A negative one has run out before it began.
    limit = None if limit is None else max(0.0, limit)
    if limit is not None and (silent or answer.delay > limit):
        yield limit
        exchange.end(error="timeout")
        if refused:
            raise library.ConnectTimeout("The connection attempt timed out", request=request)
        raise library.ReadTimeout("The read operation timed out", request=request)
    yield answer.delay
    if refused:
        exchange.end()
        raise library.ConnectError("All connection attempts failed", request=request)
    if answer.breaks == "reset":
        exchange.end()
        raise library.ReadError("[Errno 104] Connection reset by peer", request=request)
    exchange.begin(answer.status)
    if answer.frames is not None:
        body = {"stream": _stream_class(_Frames, library)(exchange, request, library, limit)}
    else:
        body = {"content": answer.body}
        exchange.end()
    return library.Response(answer.status, headers=dict(answer.headers), request=request, **body)


def _run(steps: Generator[float, None, Any], sleep: Callable[[float], None]) -> Any:
    while True:
        try:
            seconds = next(steps)
        except StopIteration as end:
            return end.value
        sleep(seconds)


async def _run_async(steps: Generator[float, None, Any], exchange: Exchange) -> Any:
    try:
        while True:
            try:
                seconds = next(steps)
            except StopIteration as end:
                return end.value
            await exchange.wire.asleep(seconds)
    except BaseException:
        # Cancelled while it waited, by a hedge or a timeout of the code under test.
        exchange.end(error="cancelled")
        raise


@cache
def _stream_class(logic: type[Any], library: Any) -> type[Any]:
    """The logic of a stream as a class that the library takes for a stream of its own, sync and async."""
    return type(logic.__name__, (logic, library.SyncByteStream, library.AsyncByteStream), {})


class _Frames:
    """The frames of a scripted stream, each at its time."""

    def __init__(self, exchange: Exchange, request: Any, library: Any, limit: float | None) -> None:
        self._exchange = exchange
        self._request = request
        self._library = library
        self._limit = limit
        # One for the life of the stream: a client that reads on after the end finds nothing more.
        self._rest = self._steps()

    def _steps(self) -> Iterator[tuple[float, bytes]]:
        """Each wait and what comes after it; a wait beyond the client's timeout ends the stream."""
        answer = self._exchange.answer
        assert answer is not None  # noqa: S101 - only made for an answer
        limit = self._limit
        for gap, frame in answer.frames or ():
            if limit is not None and gap > limit:
                yield from self._time_out(limit)
            yield gap, frame
        if answer.breaks == "stalled":
            yield from self._time_out(self._exchange.waits_for_ever() if limit is None else limit)
        if answer.breaks == "cut":
            self._exchange.end()
            raise self._library.RemoteProtocolError(
                "peer closed connection without sending complete message body (incomplete chunked read)",
                request=self._request,
            )

    def _time_out(self, limit: float) -> Iterator[tuple[float, bytes]]:
        yield limit, b""
        self._exchange.end(error="timeout")
        raise self._library.ReadTimeout("The read operation timed out", request=self._request)

    def __iter__(self) -> Iterator[bytes]:
        for gap, frame in self._rest:
            if gap:
                self._exchange.wire.sleep(gap)
            if frame:
                # Before it is handed over: clients stop reading at the end marker.
                self._exchange.frame_sent()
                yield frame

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for gap, frame in self._rest:
            if gap:
                await self._exchange.wire.asleep(gap)
            if frame:
                # Before it is handed over: clients stop reading at the end marker.
                self._exchange.frame_sent()
                yield frame

    def close(self) -> None:
        self._exchange.end(error="cancelled")

    async def aclose(self) -> None:
        self._exchange.end(error="cancelled")


class _Watched:
    """The stream of a reply from the network, read along as the client reads it."""

    def __init__(self, stream: Any, see: Callable[[bytes], None], finish: Callable[[bytes, bool], None]) -> None:
        self._stream = stream
        self._see = see
        self._end = finish
        self._seen: list[bytes] = []

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._stream:
            self._take(piece)
            yield piece
        self._finish(whole=True)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._stream:
            self._take(piece)
            yield piece
        self._finish(whole=True)

    def _take(self, piece: bytes) -> None:
        self._see(piece)
        self._seen.append(piece)

    def _finish(self, *, whole: bool) -> None:
        self._end(b"".join(self._seen), whole)

    def close(self) -> None:
        self._stream.close()
        self._finish(whole=False)

    async def aclose(self) -> None:
        await self._stream.aclose()
        self._finish(whole=False)


def _observed(exchange: Exchange, response: Any, library: Any) -> Any:
    """A reply of the network, read along without touching it."""

    def finish(seen: bytes, whole: bool) -> None:
        def decode() -> bytes:
            content: bytes = library.Response(response.status_code, headers=response.headers, content=seen).content
            return content

        exchange.finish(decode, whole=whole)

    exchange.begin(response.status_code, response.headers.multi_items(), response.reason_phrase)
    response.stream = _stream_class(_Watched, library)(response.stream, exchange.piece, finish)
    return response


def _taken(take: Take | None, response: Any, library: Any) -> Any:
    """A reply of the network to a request that is no call of a model; taken down where something is recorded."""
    if take is not None:
        take.head(response.status_code, response.reason_phrase, response.headers.multi_items())

        def finish(_seen: bytes, whole: bool) -> None:
            take.end(complete=whole)

        response.stream = _stream_class(_Watched, library)(response.stream, take.piece, finish)
    return response
