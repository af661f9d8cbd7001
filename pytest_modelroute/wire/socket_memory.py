"""
Interception of http.client in process, and of what stands on it: urllib, urllib3, requests, botocore, httplib2.

Everything above the socket is the client's own: pools, redirects, retries, timeouts, the parser, the errors. Where
calls are recorded a connection gets a stand-in for its socket, and each request is decided when it is whole. With
scripts alone nothing changes: those connections meet the network guard, and are served by the real server; but where
the laws of a router are tried they are answered in process too.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from types import ModuleType
from typing import Any, Final, cast
from urllib.parse import unquote, urlsplit

import httpx

from pytest_modelroute.wire.connection import Incoming
from pytest_modelroute.wire.exchanges import Wire
from pytest_modelroute.wire.imports import ModulePatch, StandIns, begin_listening, end_listening
from pytest_modelroute.wire.own_routes import OwnRoutes, recorded_reply
from pytest_modelroute.wire.recorded import Pairs, Played, Sent
from pytest_modelroute.wire.socket_answer import Found
from pytest_modelroute.wire.socket_stand_in import SocketStandIn

_MODULES: Final = ("http.client", "urllib3.connection", "httplib2")
"Where the classes of connections are that connect by themselves; all are children of http.client.HTTPConnection."
_HTTPS_PORT: Final = 443
_DEFAULT_PORTS: Final = {"http": 80, "https": _HTTPS_PORT}


class SocketMemory:
    """Answers what goes over connections of http.client where it may (see `_finder`), from `start` to `stop`."""

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

    def find(self, connection: Any, request: Incoming) -> Found:
        """
        The answer to a request, or who takes the live one down; None where it goes straight to the network.

        Raises:
            UnrecordedCall: Nothing answers.

        """
        url = self.url(connection, request)
        parts = urlsplit(url)

        def headers() -> Pairs:
            return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers]

        sent = Sent(
            method=request.method,
            url=url,
            host=parts.hostname or "",
            port=parts.port or _DEFAULT_PORTS.get(parts.scheme),
            path=unquote(parts.path),
            read_body=lambda: request.body,
            client=request.header(b"user-agent").partition("/")[0] or "http",
            read_headers=headers,
        )
        exchange = self.wire.open(sent)
        if exchange is not None:
            return exchange
        if self.routes:
            try:
                reply = self.routes.answer(
                    httpx.Request(request.method, url, headers=list(request.headers), content=request.body)
                )
            except httpx.RequestError as error:
                raise ConnectionRefusedError(errno.ECONNREFUSED, str(error)) from None
            if reply is not None:
                return reply
        found = self.wire.open_other(sent)
        return recorded_reply(found, request.method) if isinstance(found, Played) else found

    def url(self, connection: Any, request: Incoming) -> str:
        """Where a request goes: through a proxy too, that is what it asks of it."""
        if _is_absolute(request.target):
            return request.target
        scheme = "https" if connection.default_port == _HTTPS_PORT else "http"
        host, port = _target_of(connection)
        if ":" in host:
            host = f"[{host.strip('[]')}]"
        return f"{scheme}://{host}{'' if port in (None, _DEFAULT_PORTS[scheme]) else f':{port}'}{request.target}"

    def passing_on(self, connection: Any, request: Incoming) -> AbstractContextManager[None]:
        """Let a request that is not answered here go on towards the network, where the guard stands."""
        url = self.url(connection, request)
        by_proxy = _is_absolute(request.target) or bool(connection._tunnel_host)  # noqa: SLF001 - where it is kept
        return self.wire.passing_on(request.method, url, urlsplit(url).hostname or "", by_proxy=by_proxy)


def _is_absolute(target: str) -> bool:
    return target.startswith(("http://", "https://"))


def _target_of(connection: Any) -> tuple[str, int | None]:
    """Host and port that are spoken to: at the end of a tunnel, where there is one."""
    if connection._tunnel_host:  # noqa: SLF001 - as above
        return connection._tunnel_host, connection._tunnel_port  # noqa: SLF001
    return connection.host, connection.port


_listening: list[SocketMemory] = []
"Who listens, the newest last: a test that runs pytest may have one inside of another."
_connecting: ContextVar[Any] = ContextVar("modelroute_connecting", default=None)
"The connection that is connected for real; its class may call that of its parent."


def _finder() -> SocketMemory | None:
    """Who answers: a wire may get its recordings after it has begun to listen."""
    if not _listening:
        return None
    wire = _listening[-1].wire
    return _listening[-1] if wire.recordings is not None or wire.all_in_process else None


def _stand_ins(module: ModuleType) -> StandIns:
    from http.client import HTTPConnection

    classes = {each for each in vars(module).values() if isinstance(each, type) and issubclass(each, HTTPConnection)}
    for kind in cast("set[Any]", classes):
        if "connect" in vars(kind):
            yield kind, "connect", _connect(cast("Any", vars(kind)["connect"]))
        if kind is HTTPConnection and module.__name__ == HTTPConnection.__module__:
            yield kind, "putrequest", _putrequest(vars(kind)["putrequest"])


def _connect(original: Callable[[Any], None]) -> Any:
    def connect(self: Any) -> None:
        if _finder() is None or _connecting.get() is self:
            original(self)
            return
        self.sock = SocketStandIn(self, lambda: _connected(self, original), _finder)
        if hasattr(self, "is_verified"):  # urllib3 warns of a connection that is not
            self.is_verified = True
            self._has_connected_to_proxy = bool(self.proxy)

    return connect


def _connected(connection: Any, original: Callable[[Any], None]) -> Any:
    """Connect for real; gives the socket, and leaves the connection its stand-in."""
    stand_in, connection.sock = connection.sock, None
    token = _connecting.set(connection)
    try:
        original(connection)
    except BaseException:
        if connection.sock is not None:
            connection.sock.close()
        raise
    else:
        return connection.sock
    finally:
        _connecting.reset(token)
        connection.sock = stand_in


def _putrequest(original: Callable[..., None]) -> Any:
    def putrequest(self: Any, *args: Any, **options: Any) -> None:
        # A connection that was open before would carry a call past us.
        if _finder() is not None and _leads_out(self.sock):
            connect = cast("Any", type(self)).connect
            self.sock = SocketStandIn(self, lambda: _connected(self, connect), _finder, self.sock)
        original(self, *args, **options)

    return putrequest


def _leads_out(sock: Any) -> bool:
    is_inet = getattr(sock, "family", None) in (socket.AF_INET, socket.AF_INET6)
    return is_inet and not isinstance(sock, SocketStandIn)


_patches: Final = [ModulePatch(module, _stand_ins) for module in _MODULES]
