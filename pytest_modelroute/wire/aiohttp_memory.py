"""
Interception of aiohttp in process: a call gets a connection in memory, whose other end plays its script or recording.

Everything above is aiohttp's own: sessions, limits, timeouts, the parser, the errors. The two methods of its connector
that stand in between are replaced while a test listens. Importing aiohttp takes about 170 ms, so that nobody pays for
it here: it is patched as it is loaded, before the test or in it. Should a version come without these methods, its
connections end at the network guard.
"""

from __future__ import annotations

import asyncio
import errno
import inspect
import os
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from io import BytesIO
from typing import Any, Final

import httpx

from pytest_modelroute.errors import VirtualTimeError
from pytest_modelroute.providers.registry import language_for
from pytest_modelroute.wire.aiohttp_live import read_along
from pytest_modelroute.wire.connection import Incoming, ScriptedConnection
from pytest_modelroute.wire.exchange import Exchange
from pytest_modelroute.wire.exchanges import Wire
from pytest_modelroute.wire.imports import ModulePatch, StandIns, begin_listening, end_listening
from pytest_modelroute.wire.memory import ClientEnd
from pytest_modelroute.wire.own_routes import OwnRoutes, Reply, recorded_reply
from pytest_modelroute.wire.read_along import along_with
from pytest_modelroute.wire.recorded import Pairs, Played, Sent, Take

_ARGUMENTS: Final = ["self", "req", "traces", "timeout"]
_AT_ONCE: Final = 0.001
"Seconds; 0 would be no timeout."


class AiohttpMemory:
    """Answers what aiohttp sends to models, from `start` to `stop`."""

    def __init__(self, wire: Wire, routes: OwnRoutes) -> None:
        """Not listening yet."""
        self.wire = wire
        self.routes = routes

    def start(self) -> None:
        """Begin to listen."""
        begin_listening(_listening, self, _patches)

    def stop(self) -> None:
        """Stop listening."""
        end_listening(_listening, self, _patches)

    @property
    def answers(self) -> bool:
        """Whether any request may be answered here, or taken down."""
        return self.wire.scripts is not None or self.wire.recordings is not None

    async def connect(self, connector: Any, request: Any, limits: Any, opening: Callable[[], Awaitable[Any]]) -> Any:
        """The client's end of a connection, in memory or opened; None where nothing is answered here, or taken down."""
        if not self.answers:
            return None
        found = await self._find(request)
        if isinstance(found, Reply) or (isinstance(found, Exchange) and found.answer is not None):
            return await self._connect(connector, found, request, limits)
        along = along_with(self.wire, found, request.method, str(request.url))
        with along.watching(), nullcontext() if isinstance(found, Exchange) else self.passing_on(request):
            client = await opening()
        client.force_close()  # kept open, it would carry a call of who waits for it past us
        if found is not None:
            read_along(client, along)
        return client

    def passing_on(self, request: Any) -> AbstractContextManager[None]:
        """Let a request that is not answered here go on towards the network, where the guard stands."""
        by_proxy = request.proxy is not None
        return self.wire.passing_on(request.method, str(request.url), request.url.host, by_proxy=by_proxy)

    async def _find(self, request: Any) -> Exchange | Reply | Take | None:
        """What answers a request, or takes its reply down; None for one that goes straight to the network."""
        wire, url = self.wire, request.url
        if wire.recordings is None and language_for(request.method, url.path) is None and not self.routes:
            return None
        body = await _read_body(request)

        def headers() -> Pairs:
            return [(name.lower(), value) for name, value in request.headers.items()]

        sent = Sent(
            method=request.method,
            url=str(url),
            host=url.host,
            port=url.port,
            path=url.path,
            read_body=lambda: body,
            client="aiohttp",
            read_headers=headers,
        )
        exchange = wire.open(sent)
        if exchange is not None:
            return exchange
        reply = await self._ask_routes(request, body) if self.routes else None
        found = reply or wire.open_other(sent)
        return recorded_reply(found, request.method) if isinstance(found, Played) else found

    async def _connect(self, connector: Any, found: Exchange | Reply, request: Any, limits: Any) -> Any:
        exchange = found if isinstance(found, Exchange) else None
        if exchange is not None and exchange.answer is not None and exchange.answer.breaks == "refused":
            await _refuse(exchange, exchange.answer.delay, request, limits)
        client = connector._factory()  # noqa: SLF001 - where its protocols are made
        host = _InMemory(self.wire, found, client, limits)
        connection = ScriptedConnection(host, exchange=exchange, keep_alive=False)
        ClientEnd(asyncio.get_running_loop(), client, connection)
        return client

    async def _ask_routes(self, request: Any, body: bytes) -> Reply | None:
        headers = [(name, value) for name, value in request.headers.items()]
        try:
            return await self.routes.aanswer(
                httpx.Request(request.method, str(request.url), headers=headers, content=body)
            )
        except httpx.RequestError as error:
            raise _cannot_connect(request, OSError(errno.ECONNREFUSED, str(error))) from None


async def _refuse(exchange: Exchange, delay: float, request: Any, limits: Any) -> None:
    """The connection is refused after its delay, or runs into the client's time limit for connecting."""
    try:
        async with asyncio.timeout(limits.sock_connect):
            await exchange.wire.asleep(delay)
    except BaseException as error:
        exchange.end(error="timeout" if isinstance(error, TimeoutError) else "cancelled")
        raise
    exchange.end()
    raise _cannot_connect(request, ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED)))


def _cannot_connect(request: Any, error: OSError) -> Exception:
    from aiohttp import ClientConnectorError

    return ClientConnectorError(request.connection_key, error)


class _Body:
    """Takes what a payload of aiohttp writes."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    async def write(self, piece: bytes) -> None:
        self.pieces.append(bytes(piece))


async def _read_body(request: Any) -> bytes:
    """The body of a request that is not sent yet; one that can be read only once is replaced by its bytes."""
    payload = request.body
    if isinstance(payload, bytes):  # none at all
        return payload
    taken = _Body()
    await payload.write(taken)
    body = b"".join(taken.pieces)
    from aiohttp.payload import BytesPayload

    if not isinstance(payload, BytesPayload):
        again = BytesIO(body)  # as bytes, a long one would be warned of
        if hasattr(request, "update_body"):
            await request.update_body(again)
        else:  # before aiohttp 3.12
            request.update_body_from_data(again)
    return body


class _InMemory:
    """The host of a connection in memory, which carries one request, whose answer is known."""

    def __init__(self, wire: Wire, found: Exchange | Reply, client: Any, limits: Any) -> None:
        self._wire = wire
        self._found = found
        self._client = client
        self._limits = limits

    def answer(self, request: Incoming) -> Exchange | Reply | None:
        del request
        return self._found

    def timeline(self, exchange: Exchange | None) -> _LoopTime:
        answer = None if exchange is None else exchange.answer
        never_ends = answer is not None and answer.breaks in ("silent", "stalled")
        if exchange is not None and never_ends and not self._limits.total and not self._limits.sock_read:
            exchange.waits_for_ever()
            self._client.read_timeout = _AT_ONCE
            self._client.start_timeout()
        return _LoopTime(self._wire, self._limits, self._wire.now if exchange is None else exchange.call.started_s)

    def not_http(self, problem: str) -> None:
        raise AssertionError(problem)  # pragma: no cover - aiohttp writes HTTP

    def opened(self, connection: ScriptedConnection) -> None:
        """Nobody keeps it."""

    def closed(self, connection: ScriptedConnection) -> None:
        """Nobody kept it."""


class _LoopTime:
    """Time that passes on the client's own loop, virtual or real."""

    def __init__(self, wire: Wire, limits: Any, start: float) -> None:
        self._wire = wire
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._start = start
        self._due = 0.0
        self._reached = 0.0

    def at(self, offset: float, then: Callable[[], None]) -> asyncio.Handle:
        clock = self._wire.clock
        seconds, self._due = offset - self._due, offset
        if clock is not None:
            try:
                seconds = clock.left_to_loop(seconds)
            except VirtualTimeError as error:
                self._wire.fail(str(error))
                seconds = 0
        return self._loop.call_later(seconds, self._go_on, then)

    def give_up(self) -> str:
        elapsed = round(self._wire.now - self._start, 9)
        total, silence = self._limits.total, self._limits.sock_read
        is_late = (total and elapsed >= total) or (silence and round(elapsed - self._reached, 9) >= silence)
        return "timeout" if is_late else "cancelled"

    def _go_on(self, then: Callable[[], None]) -> None:
        self._reached = self._due
        then()


_listening: list[AiohttpMemory] = []
"Who listens, the newest last: a test that runs pytest may have one inside of another."


def _stand_ins(module: Any) -> StandIns:
    connector = module.TCPConnector
    opening = getattr(connector, "_create_connection", None)
    if not inspect.iscoroutinefunction(opening) or [*inspect.signature(opening).parameters] != _ARGUMENTS:
        return

    async def create_connection(self: Any, req: Any, traces: Any, timeout: Any) -> Any:  # noqa: ASYNC109 - aiohttp's
        listener = _listening[-1]
        client = await listener.connect(self, req, timeout, lambda: opening(self, req, traces, timeout))
        if client is None:
            with listener.passing_on(req):
                client = await opening(self, req, traces, timeout)
        return client

    async def connect(self: Any, req: Any, traces: Any, timeout: Any) -> Any:  # noqa: ASYNC109 - aiohttp's
        # A connection that was kept open would carry a call past us, and past the guard.
        if _listening[-1].answers:
            for client, _since in self._conns.pop(req.connection_key, ()):
                client.close()
        return await connecting(self, req, traces, timeout)

    connecting = connector.connect
    yield connector, "_create_connection", create_connection
    yield connector, "connect", connect


_patches: Final = [ModulePatch("aiohttp.connector", _stand_ins)]
