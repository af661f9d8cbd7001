"""
Reads the reply of a server along, as its bytes come, and tells who wants to know: HTTP/1.1, in the client's role.

The client reads the same bytes by itself. Whatever they are, it gets them: what cannot be read here ends the reading
along, and not the call.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Final, Protocol

import h11
import httpx

from pytest_modelroute.errors import ModelRouteError
from pytest_modelroute.wire.exchange import Exchange
from pytest_modelroute.wire.exchanges import Wire
from pytest_modelroute.wire.recorded import Pairs, Take, telling_why

_HEAD_BYTES: Final = 1 << 20
"A head may be as long as any client allows."
_HEADERS: Final = [("host", ""), ("connection", "upgrade"), ("upgrade", "any")]
"Of a request that allows for every reply, whatever the client asked."
_SWITCHING_PROTOCOLS: Final = 101


class Listener(Protocol):
    """Who wants to know of a reply. The moment at which it is told something is the moment at which that came."""

    def head(self, status: int, reason: str, headers: Pairs) -> None:
        """The head has come."""
        ...

    def piece(self, data: bytes) -> None:
        """More of the body has come, encoded as it was sent."""
        ...

    def end(self, *, complete: bool) -> None:
        """It is over, after its head."""
        ...

    def lost(self, kind: str) -> None:
        """It is over, and no head came: timeout, connection, cancelled, malformed."""
        ...

    def unreadable(self, problem: str) -> None:
        """What came is nothing that can be read along; the end is told next."""
        ...


class ReadAlong:
    """One reply."""

    def __init__(self, method: str, listener: Listener) -> None:
        """`method`: of the request, whose reply may have no body."""
        self.over = False
        "Whether the reply has ended."
        self.switched = False
        "Whether the server speaks another protocol from now on."
        self._listener = listener
        self._has_head = False
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES)
        try:
            self._http.send(h11.Request(method=method, target="/", headers=_HEADERS))
            self._http.send(h11.EndOfMessage())
        except h11.ProtocolError as error:
            self._give_up(str(error))

    def feed(self, data: bytes) -> None:
        """More has come."""
        if self.over or not data:  # nothing at all would be the end of the connection
            return
        try:
            self._http.receive_data(data)
            self._read()
        except h11.ProtocolError as error:
            self._give_up(str(error))

    def eof(self) -> None:
        """The server has closed the connection, which ends a reply that tells no length."""
        if self.over:
            return
        try:
            self._http.receive_data(b"")
            self._read()
        except h11.ProtocolError:
            pass  # in the middle of the reply, or before it
        self.lost("connection")

    def lost(self, kind: str) -> None:
        """The connection is gone: timeout, connection, cancelled. After the end it changes nothing."""
        if self.over:
            return
        self.over = True
        if self._has_head:
            self._listener.end(complete=False)
        else:
            self._listener.lost(kind)

    def watching(self) -> AbstractContextManager[None]:
        """Tell of an error that the client gets in place of the rest."""
        return telling_why(self.lost)

    def _read(self) -> None:
        while not self.over:
            event = self._http.next_event()
            if isinstance(event, h11.InformationalResponse):
                self._inform(event.status_code)
            elif isinstance(event, h11.Response):
                self._has_head = True
                headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers]
                self._listener.head(event.status_code, bytes(event.reason).decode("latin-1"), headers)
            elif isinstance(event, h11.Data):
                self._listener.piece(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                self.over = True
                self._listener.end(complete=True)
            else:
                return

    def _inform(self, status: int) -> None:
        if status == _SWITCHING_PROTOCOLS:
            self.switched = True
            self.lost("connection")

    def _give_up(self, problem: str) -> None:
        self._listener.unreadable(problem)
        self.lost("malformed")


def along_with(wire: Wire, found: Exchange | Take | None, method: str, url: str) -> ReadAlong:
    """Read the reply to a request along, for the exchange of a call or who takes it down; None for nobody."""
    if isinstance(found, Exchange):
        return ReadAlong(method, _OfCall(found, method))
    return ReadAlong(method, _Nobody() if found is None else _OfOther(wire, found, f"{method} {url.partition('?')[0]}"))


class _Nobody:
    """Nobody wants to know."""

    def head(self, status: int, reason: str, headers: Pairs) -> None: ...

    def piece(self, data: bytes) -> None: ...

    def end(self, *, complete: bool) -> None: ...

    def lost(self, kind: str) -> None: ...

    def unreadable(self, problem: str) -> None: ...


class _OfCall:
    def __init__(self, exchange: Exchange, method: str) -> None:
        self._exchange = exchange
        self._method = method
        self._status = 0
        self._headers: Pairs = ()
        self._seen: list[bytes] = []

    def head(self, status: int, reason: str, headers: Pairs) -> None:
        self._status, self._headers = status, headers
        self._exchange.begin(status, headers, reason)

    def piece(self, data: bytes) -> None:
        self._seen.append(data)
        self._exchange.piece(data)

    def end(self, *, complete: bool) -> None:
        self._exchange.finish(self._decode, whole=complete)

    def lost(self, kind: str) -> None:
        self._exchange.end(error=kind)

    def unreadable(self, problem: str) -> None:
        if self._exchange.is_taken:
            _cannot_be_recorded(self._exchange.wire, f"{self._method} {self._exchange.call.url}", problem)

    def _decode(self) -> bytes:
        body = b"".join(self._seen)
        content: bytes = httpx.Response(self._status, headers=list(self._headers), content=body).content
        return content


class _OfOther:
    def __init__(self, wire: Wire, take: Take, what: str) -> None:
        self._wire = wire
        self._what = what
        self._take = take
        self.head = take.head
        self.piece = take.piece

    def end(self, *, complete: bool) -> None:
        try:
            self._take.end(complete=complete)
        except ModelRouteError as error:  # the client has its reply, and goes on
            self._wire.fail(str(error))

    def lost(self, kind: str) -> None:
        del kind  # the log holds calls of models only
        self.end(complete=False)

    def unreadable(self, problem: str) -> None:
        _cannot_be_recorded(self._wire, self._what, problem)


def _cannot_be_recorded(wire: Wire, what: str, problem: str) -> None:
    wire.fail(f"the reply to {what} cannot be recorded: it is no HTTP/1.1 that can be read along ({problem})")
