"""
Interception of aiohttp in process: a call of a model gets a connection in memory, whose other end plays its script.

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
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from io import BytesIO
from types import ModuleType
from typing import Any, Final, cast

import httpx

from pytest_modelroute.errors import VirtualTimeError
from pytest_modelroute.providers.registry import language_for
from pytest_modelroute.wire.connection import Incoming, ScriptedConnection
from pytest_modelroute.wire.exchange import Exchange
from pytest_modelroute.wire.exchanges import Wire
from pytest_modelroute.wire.memory import ClientEnd
from pytest_modelroute.wire.own_routes import OwnRoutes, Reply

_MODULE: Final = "aiohttp.connector"
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
        _listening.append(self)
        if len(_listening) == 1:
            _patch.install()

    def stop(self) -> None:
        """Stop listening."""
        _listening.remove(self)
        if not _listening:
            _patch.remove()

    async def connect(self, connector: Any, request: Any, limits: Any) -> Any:
        """The client's end of a connection in memory; None for a request that is not answered here."""
        wire, url = self.wire, request.url
        if wire.scripts is None or (language_for(request.method, url.path) is None and not self.routes):
            return None
        body = await _read_body(request)
        exchange = wire.open(
            method=request.method,
            url=str(url),
            host=url.host,
            port=url.port,
            path=url.path,
            body=lambda: body,
            client="aiohttp",
        )
        if exchange is None:
            reply = await self._ask_routes(request, body)
            return None if reply is None else _connect(connector, reply, limits)
        if exchange.answer is not None and exchange.answer.breaks == "refused":
            await _refuse(exchange, exchange.answer.delay, request, limits)
        return _connect(connector, exchange, limits)

    def passing_on(self, request: Any) -> AbstractContextManager[None]:
        """Let a request that is not answered here go on towards the network, where the guard stands."""
        by_proxy = request.proxy is not None
        return self.wire.passing_on(request.method, str(request.url), request.url.host, by_proxy=by_proxy)

    async def _ask_routes(self, request: Any, body: bytes) -> Reply | None:
        headers = [(name, value) for name, value in request.headers.items()]
        try:
            return await self.routes.aanswer(
                httpx.Request(request.method, str(request.url), headers=headers, content=body)
            )
        except httpx.RequestError as error:
            raise _cannot_connect(request, OSError(errno.ECONNREFUSED, str(error))) from None


def _connect(connector: Any, found: Exchange | Reply, limits: Any) -> Any:
    client = connector._factory()  # noqa: SLF001 - where its protocols are made
    exchange = found if isinstance(found, Exchange) else None
    connection = ScriptedConnection(_InMemory(found, client, limits), exchange=exchange, keep_alive=False)
    ClientEnd(asyncio.get_running_loop(), client, connection)
    return client


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

    def __init__(self, found: Exchange | Reply, client: Any, limits: Any) -> None:
        self._found = found
        self._client = client
        self._limits = limits

    def answer(self, request: Incoming) -> Exchange | Reply | None:
        del request
        return self._found

    def timeline(self, exchange: Exchange) -> _LoopTime:
        never_ends = exchange.answer is not None and exchange.answer.breaks in ("silent", "stalled")
        if never_ends and not self._limits.total and not self._limits.sock_read:
            exchange.waits_for_ever()
            self._client.read_timeout = _AT_ONCE
            self._client.start_timeout()
        return _LoopTime(exchange, self._limits)

    def not_http(self, problem: str) -> None:
        raise AssertionError(problem)  # pragma: no cover - aiohttp writes HTTP

    def opened(self, connection: ScriptedConnection) -> None:
        """Nobody keeps it."""

    def closed(self, connection: ScriptedConnection) -> None:
        """Nobody kept it."""


class _LoopTime:
    """Time that passes on the client's own loop, virtual or real."""

    def __init__(self, exchange: Exchange, limits: Any) -> None:
        self._exchange = exchange
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._due = 0.0
        self._reached = 0.0

    def at(self, offset: float, then: Callable[[], None]) -> asyncio.Handle:
        clock = self._exchange.wire.clock
        seconds, self._due = offset - self._due, offset
        if clock is not None:
            try:
                seconds = clock.left_to_loop(seconds)
            except VirtualTimeError as error:
                self._exchange.wire.fail(str(error))
                seconds = 0
        return self._loop.call_later(seconds, self._go_on, then)

    def give_up(self) -> str:
        elapsed = round(self._exchange.wire.now - self._exchange.call.started_s, 9)
        total, silence = self._limits.total, self._limits.sock_read
        is_late = (total and elapsed >= total) or (silence and round(elapsed - self._reached, 9) >= silence)
        return "timeout" if is_late else "cancelled"

    def _go_on(self, then: Callable[[], None]) -> None:
        self._reached = self._due
        then()


_listening: list[AiohttpMemory] = []
"Who listens, the newest last: a test that runs pytest may have one inside of another."


class _Patch(MetaPathFinder):
    """Replaces the methods of the connector where aiohttp is loaded; else waits for its import."""

    def __init__(self) -> None:
        self._originals: list[tuple[Any, str, Any]] = []

    def install(self) -> None:
        module = sys.modules.get(_MODULE)
        if module is not None:
            self._replace(module)
        else:
            sys.meta_path.insert(0, self)

    def remove(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        while self._originals:
            owner, name, original = self._originals.pop()
            setattr(owner, name, original)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        if fullname != _MODULE:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        loader: Any = None if spec is None else spec.loader
        if loader is not None:
            execute = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                if _listening:
                    self._replace(module)

            loader.exec_module = exec_module
        return spec

    def _replace(self, module: Any) -> None:
        connector = module.TCPConnector
        opening = getattr(connector, "_create_connection", None)
        if not inspect.iscoroutinefunction(opening) or [*inspect.signature(opening).parameters] != _ARGUMENTS:
            return

        async def create_connection(self: Any, req: Any, traces: Any, timeout: Any) -> Any:  # noqa: ASYNC109 - aiohttp's
            listener = _listening[-1]
            client = await listener.connect(self, req, timeout)
            if client is None:
                with listener.passing_on(req):
                    client = await opening(self, req, traces, timeout)
            return client

        async def connect(self: Any, req: Any, traces: Any, timeout: Any) -> Any:  # noqa: ASYNC109 - aiohttp's
            # A connection that was kept open would carry a call past us, and past the guard.
            if _listening[-1].wire.scripts is not None:
                for client, _since in self._conns.pop(req.connection_key, ()):
                    client.close()
            return await connecting(self, req, traces, timeout)

        connecting = connector.connect
        for name, stand_in in (("_create_connection", create_connection), ("connect", connect)):
            owner: Any = next(kind for kind in connector.__mro__ if name in vars(kind))
            original = cast("Any", vars(owner)[name])
            self._originals.append((owner, name, original))
            setattr(owner, name, stand_in)


_patch: Final = _Patch()
