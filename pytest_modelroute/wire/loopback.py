"""
The real server: the scripts of a test behind sockets on 127.0.0.1, for clients that cannot be intercepted in process.

Each provider's name has a port of its own, so that Retry-After, cool-downs and prices belong to a name. One thread
serves them all, from the first `url` to the end of the test.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from contextvars import Context
from functools import partial
from threading import Event, Thread, get_ident
from typing import Any, Final, cast

from pytest_modelroute.errors import ScriptError
from pytest_modelroute.wire.addresses import HOST
from pytest_modelroute.wire.call_log import nothing
from pytest_modelroute.wire.connection import ScriptedConnection
from pytest_modelroute.wire.endpoint import Endpoint
from pytest_modelroute.wire.exchanges import Wire
from pytest_modelroute.wire.own_routes import OwnRoutes

_PATIENCE_S: Final = 5.0
"How long to wait for the thread of the server; only the code of a script can keep it."
_HOPS: Final = 8
"Turns of the server's loop until all that clients have sent, or closed, by now is taken in, new connections included."


class LoopbackServer:
    """A port on 127.0.0.1 for each name asked for, from the first to `stop`."""

    def __init__(self, wire: Wire, routes: OwnRoutes) -> None:
        """Serve nothing yet."""
        self._wire = wire
        self._routes = routes
        self._ports: dict[str, int] = {}
        self._listening: list[asyncio.Server] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None
        self._connections: dict[Any, ScriptedConnection] = {}
        self._stopped = False
        self._reached = False

    def port(self, name: str, port: int | None) -> int:
        """
        The port of a provider's name; the first call opens it.

        Args:
            name: Any name.
            port: A fixed one; None for any that is free.

        Raises:
            ScriptError: The port cannot be had, or the name has another one.

        """
        known = self._ports.get(name)
        if self._stopped:
            raise ScriptError(f"url({name!r}): the test is over, and its server with it")
        if known is None:
            known = self._open(name, port)
        elif port not in (None, known):
            raise ScriptError(f"url({name!r}, port={port!r}): {name!r} is served at port {known} already")
        return known

    def settle(self) -> None:
        """Wait until what clients have sent or closed by now is taken in, so that the log shows it."""
        guard = self._wire.guard
        if guard is not None and not guard.connected and not self._reached:
            return  # nobody has a connection, and asking the other thread takes longer than an intercepted call
        scripts = self._wire.scripts
        # The code of a script may ask the log too, while the server waits for its turn with the scripts.
        if self._is_asked_from_outside() and (scripts is None or scripts.answers_for != get_ident()):
            self._ask(lambda: True)

    def is_idle(self, client: Any, server: Any) -> bool:
        """
        Whether nothing is under way on a connection: neither a request nor an answer, so that nobody waits for it.

        An answer that ended just now is in the client's socket by then: who waits there looks once more.

        Args:
            client: The client's own address of the connection, as `getsockname` says it.
            server: The server's address, as `getpeername` says it.

        """
        is_ours = isinstance(server, tuple) and cast("tuple[Any, ...]", server)[1] in self._wire.served
        if not is_ours or not self._is_asked_from_outside():
            return False

        def ask() -> bool:
            connection = self._connections.get(client)
            return connection is not None and connection.idle

        return self._ask(ask)

    def is_own(self, thread: Thread) -> bool:
        """Whether a thread is the server's."""
        return thread is self._thread

    def stop(self) -> None:
        """Close the ports and every connection, and end the thread."""
        self._stopped = True
        self._wire.served.clear()
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        self._loop = None
        self._wire.calls.settle = nothing
        loop.call_soon_threadsafe(self._close_ports, loop)
        thread.join(_PATIENCE_S)
        if thread.is_alive():
            self._wire.fail(
                f"the server behind mock_providers.url(...) did not stop within {_PATIENCE_S:g} s: a function of a "
                "script is still running there, and keeps it"
            )

    def _open(self, name: str, port: int | None) -> int:
        sock = _listen(name, port, self._ports)
        loop = self._loop or self._start()
        number: int = sock.getsockname()[1]
        endpoint = Endpoint(self, loop, self._wire, self._routes, name, number)
        self._ports[name] = number
        self._wire.served[number] = name

        async def serve() -> None:
            def connect() -> ScriptedConnection:
                return ScriptedConnection(endpoint)

            self._listening.append(await loop.create_server(connect, sock=sock, backlog=1024))

        # In a context of its own: the label of whoever asks first is not that of every call.
        Context().run(asyncio.run_coroutine_threadsafe, serve(), loop).result(_PATIENCE_S)
        return number

    def _start(self) -> asyncio.AbstractEventLoop:
        # Not new_event_loop: a policy of the tests (uvloop's) would decide on our loop.
        loop = self._loop = asyncio.SelectorEventLoop()
        loop.set_exception_handler(self._break_down)
        self._thread = Thread(target=_run, args=(loop,), name="modelroute-server", daemon=True)
        self._thread.start()
        if self._wire.clock is not None:
            # Else a client's idle connection would keep the test's loop in real time.
            self._wire.clock.idle_peer(self.is_idle, thread=self._thread)
        self._wire.calls.settle = self.settle
        return loop

    def _break_down(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, ConnectionError):
            self._wire.fail(f"the server behind mock_providers.url(...) broke down: {error or context['message']!r}")

    def _is_asked_from_outside(self) -> bool:
        """Whether the server runs, and the caller is not its own thread, as the function of a script is."""
        return self._loop is not None and self._thread is not None and self._thread.ident != get_ident()

    def _ask(self, question: Callable[[], bool]) -> bool:
        """The answer, from the server's thread, once it has taken in all that is there; False where it is kept."""
        loop, said, answer = self._loop, Event(), [False]
        assert loop is not None  # noqa: S101 - the callers' condition, for the type checker

        def ask() -> None:
            answer[0] = question()
            said.set()

        loop.call_soon_threadsafe(_after_turns, loop, _HOPS, ask)
        said.wait(_PATIENCE_S)
        return answer[0]

    def _close_ports(self, loop: asyncio.AbstractEventLoop) -> None:
        # Accept no more, but let what is accepted get its transport, some turns later: a server that is closed in
        # between loses the socket.
        for server in self._listening:
            for sock in server.sockets:
                loop.remove_reader(sock.fileno())
        _after_turns(loop, _HOPS, partial(self._close_connections, loop))

    def _close_connections(self, loop: asyncio.AbstractEventLoop) -> None:
        for server in self._listening:
            server.close()
        for connection in list(self._connections.values()):
            connection.abort()
        _after_turns(loop, _HOPS, loop.stop)

    def opened(self, connection: ScriptedConnection) -> None:
        """Remember a connection by the address of its client."""
        self._reached = True
        self._connections[connection.client] = connection

    def closed(self, connection: ScriptedConnection) -> None:
        """Forget it."""
        self._connections.pop(connection.client, None)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


def _after_turns(loop: asyncio.AbstractEventLoop, turns: int, then: Callable[[], object]) -> None:
    if turns:
        loop.call_soon(_after_turns, loop, turns - 1, then)
    else:
        then()


def _listen(name: str, port: int | None, taken: dict[str, int]) -> socket.socket:
    what = f"url({name!r}, port={port!r})"
    if port is not None and (type(port) is not int or not 0 < port < 2**16):
        raise ScriptError(f"{what}: a port from 1 to 65535 was expected; leave it out for any that is free")
    owner = next((other for other, number in taken.items() if number == port), None)
    if owner is not None:
        raise ScriptError(f"{what}: that is the port of {owner!r} already; each name has one of its own")
    # With its protocol named, or asyncio does not switch off the delay of small writes, and each stream loses 40 ms.
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            # The connections of a test before, which the system remembers for a while, do not keep its port.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((HOST, port or 0))
        sock.listen(1024)
    except OSError as error:
        sock.close()
        why = (
            "is in use by another program, or by another worker of xdist,"
            if error.errno == errno.EADDRINUSE
            else f"cannot be had ({error.strerror})"
        )
        raise ScriptError(
            f"{what}: the port {why} on {HOST}; give another one, or leave it out for any that is free"
        ) from None
    return sock
