"""
One port of the real server: what is answered there, and how its time passes.

Latencies pass for real, since the time-outs of the clients do, and the virtual clock of the test is moved along: to
the moment that an answer is scripted for, counted from when its request came. So calls at the same time overlap, and
the noise of the machine is in no measured time, but for a client that gives up, whose patience only it knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import httpx

from pytest_modelroute.providers.failures import Failure
from pytest_modelroute.providers.language import write_object
from pytest_modelroute.providers.registry import language_for, provider_behind
from pytest_modelroute.wire.addresses import HOST
from pytest_modelroute.wire.connection import Incoming, ScriptedConnection
from pytest_modelroute.wire.exchange import Exchange
from pytest_modelroute.wire.exchanges import Wire
from pytest_modelroute.wire.own_routes import OwnRoutes, Reply
from pytest_modelroute.wire.places import script_traceback
from pytest_modelroute.wire.recorded import Sent

_JSON: Final = [(b"content-type", b"application/json")]


class Register(Protocol):
    """Who keeps the connections."""

    def opened(self, connection: ScriptedConnection) -> None:
        """A client has connected."""
        ...

    def closed(self, connection: ScriptedConnection) -> None:
        """The connection is gone."""
        ...


class Endpoint:
    """One port: the connections to a provider's name."""

    def __init__(
        self,
        register: Register,
        loop: asyncio.AbstractEventLoop,
        wire: Wire,
        routes: OwnRoutes,
        name: str,
        port: int,
    ) -> None:
        """
        Answer for a name.

        Args:
            register: Told of connections.
            loop: The server's.
            wire: The test's.
            routes: What answers requests that are no call of a model.
            name: The provider's name.
            port: Where it is served.

        """
        self._loop = loop
        self._wire = wire
        self._routes = routes
        self._name = name
        self._port = port
        self._base = f"http://{HOST}:{port}"
        self.opened = register.opened
        self.closed = register.closed

    def answer(self, request: Incoming) -> Exchange | Reply | None:
        """What a script or a route answers, or an error that says what is wrong; None loses the connection."""
        try:
            exchange = self._wire.open(
                Sent(
                    method=request.method,
                    url=self._base + request.target,
                    host=HOST,
                    port=self._port,
                    path=request.path,
                    read_body=lambda: request.body,
                    client=request.header(b"user-agent").partition("/")[0] or "http",
                    read_headers=lambda: [
                        (name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers
                    ],
                )
            )
        except BaseException as error:  # noqa: BLE001 - whatever a script raises belongs to the test, not to this thread
            return self._refuse(request, error)
        return self._answer_other(request) if exchange is None else exchange

    def timeline(self, exchange: Exchange | None) -> _RealTime:
        """Real time from now on."""
        return _RealTime(self._loop, self._wire, exchange)

    def not_http(self, problem: str) -> None:
        """Fail the test, which has given a client a wrong address."""
        self._wire.fail(
            f"what was sent to {self._base}, the server of {self._name!r}, is no HTTP/1.1 ({problem}): its address "
            "begins with http://, not with https://"
        )

    def _refuse(self, request: Incoming, error: BaseException) -> Reply:
        """An error that no client retries, in the words of its language; the test fails with the whole message."""
        first, _, rest = str(error).partition("\n")
        said = f"{first} {rest.strip().splitlines()[0]}" if first.endswith(":") and rest else first
        language = language_for(request.method, request.path, provider_behind(self._name))
        assert language is not None  # noqa: S101 - only a call of a model can raise, for the type checker
        refusal = language.write_error(Failure(kind="bad_request", message=f"pytest-modelroute: {said}"))
        headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in refusal.headers.items()]
        return Reply(status=refusal.status, headers=[*_JSON, *headers], body=refusal.body)

    def _answer_other(self, request: Incoming) -> Reply | None:
        """A route of the test answers what is no call of a model; None where it loses the connection."""
        if self._routes:
            url = self._base + request.target
            try:
                reply = self._routes.answer(
                    httpx.Request(request.method, url, headers=list(request.headers), content=request.body)
                )
            except httpx.RequestError:
                return None
            except Exception as error:  # noqa: BLE001 - the user's code may raise anything
                trace = script_traceback(error)
                self._wire.fail(f"a route of mock_providers.http raised on {request.method} {url}: {error!r}{trace}")
                return _error(500, f"a route of the test raised {error!r}")
            if reply is not None:
                return reply
        self._wire.fail(
            f"{request.method} {request.path} came to the server of {self._name!r}: it is no call of a model that "
            "scripts of this version can answer, and no route of the test answers it.\n"
            f'To answer it: mock_providers.http.route(path="{request.path}").respond(...)'
        )
        return _error(404, f"nothing answers {request.method} {request.path}")


def _error(status: int, message: str) -> Reply:
    body = write_object({"error": {"message": f"pytest-modelroute: {message}"}})
    return Reply(status=status, headers=_JSON, body=body)


class _RealTime:
    """Time that passes for real, with the virtual clock of the test moved along: never further than is scripted."""

    def __init__(self, loop: asyncio.AbstractEventLoop, wire: Wire, exchange: Exchange | None) -> None:
        self._loop = loop
        self._clock = wire.clock
        self._exchange = exchange
        self._start = loop.time()
        self._began = wire.now if exchange is None else exchange.call.started_s
        if self._clock is not None and exchange is not None:
            exchange.moment = self._began

    def at(self, offset: float, then: Callable[[], None]) -> asyncio.Handle:
        return self._loop.call_at(self._start + offset, self._go_on, offset, then)

    def give_up(self) -> str:
        self._reach(self._loop.time() - self._start)
        return "cancelled"

    def _go_on(self, offset: float, then: Callable[[], None]) -> None:
        self._reach(offset)
        then()

    def _reach(self, offset: float) -> None:
        # By the moment that the call began at, so that calls at the same time add nothing to each other.
        if self._clock is not None:
            self._clock.reach(self._began + offset)
            if self._exchange is not None:
                self._exchange.moment = self._began + offset
