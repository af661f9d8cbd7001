"""One request of a client that waits on its own thread, and its answer, which is played where the client reads."""

from __future__ import annotations

from collections.abc import Callable

from pytest_modelroute.wire.connection import Incoming, ScriptedConnection
from pytest_modelroute.wire.exchange import Exchange
from pytest_modelroute.wire.exchanges import Wire
from pytest_modelroute.wire.memory import ServerEnd
from pytest_modelroute.wire.own_routes import Reply
from pytest_modelroute.wire.recorded import Take

Found = Exchange | Reply | Take | None
"What answers a request, or takes its live reply down; None for one that goes straight to the network."


class SocketAnswer:
    """
    The other end of a connection in memory, for one request.

    Attributes:
        request: The request, once it is whole.
        is_live: Whether it goes to the network.
        live: Whose live reply that gives; None for nobody's.

    """

    def __init__(self, wire: Wire, find: Callable[[Incoming], Found]) -> None:
        """Nothing is sent yet."""
        self.request: Incoming | None = None
        self.is_live = False
        self.live: Exchange | Take | None = None
        self._wire = wire
        self._find = find
        self._time: _CallersTime | None = None
        self._came = bytearray()
        self._ended = False
        self._error: Exception | None = None
        self._connection = ScriptedConnection(self, keep_alive=False)
        self._connection.connection_made(ServerEnd(self))

    @property
    def has_come(self) -> bool:
        """Whether there are bytes that were not read yet."""
        return bool(self._came)

    @property
    def is_readable(self) -> bool:
        """Whether reading does not have to wait."""
        return bool(self._came) or self._ended

    def ask(self, data: bytes) -> None:
        """
        Take more of the request; with its last byte it is decided who answers.

        Raises:
            UnrecordedCall: Nobody does.

        """
        if not self._ended:
            self._connection.data_received(data)

    def read(self, size: int, limit: float | None) -> bytes:
        """
        At most so many bytes of the answer, empty at its end; time passes until some are there.

        Raises:
            TimeoutError: None came within the limit, in seconds; None waits for as long as it takes.
            ConnectionResetError: The connection was lost.

        """
        while not self._came and not self._ended:
            self._wait(limit)
        if not self._came and self._error is not None:
            raise self._error
        data = bytes(self._came[:size])
        del self._came[:size]
        return data

    def close(self) -> None:
        """The client has closed the connection."""
        self._ended = True
        self._connection.connection_lost(None)

    def _wait(self, limit: float | None) -> None:
        if self._time is None:  # the request is not whole, so that nobody would ever answer
            self._ended = True
            return
        try:
            self._time.go_on(limit)
        except TimeoutError:
            self.close()
            raise

    def answer(self, request: Incoming) -> Exchange | Reply | None:
        """What is played; None where the request goes to the network."""
        self.request = request
        found = self._find(request)
        if isinstance(found, Reply) or (isinstance(found, Exchange) and found.answer is not None):
            return found
        self.is_live, self.live = True, found
        return None

    def timeline(self, exchange: Exchange | None) -> _CallersTime:
        """Time that passes where the client waits for it."""
        self._time = _CallersTime(self._wire, exchange)
        return self._time

    def not_http(self, problem: str) -> None:
        """Fail the test: nobody can say what was asked."""
        self._wire.fail(f"what was sent over a connection of http.client is no HTTP/1.1 ({problem})")

    def opened(self, connection: ScriptedConnection) -> None:
        """It is kept already."""

    def closed(self, connection: ScriptedConnection) -> None:
        """Nothing is kept elsewhere."""

    def send(self, data: bytes) -> None:
        """Keep what the answer says until it is read."""
        self._came += data

    def hang_up(self, error: Exception | None) -> None:
        """Nothing more will come."""
        self._ended = True
        self._error = error


class _Due:
    """What goes on at a moment."""

    def __init__(self, offset: float, then: Callable[[], None]) -> None:
        self.offset = offset
        self.then = then

    def cancel(self) -> None:
        """Nobody reads on, so that it never comes to it."""


class _CallersTime:
    """Time that passes on the client's own thread, while it waits in a read."""

    def __init__(self, wire: Wire, exchange: Exchange | None) -> None:
        self._wire = wire
        self._exchange = exchange
        self._start = wire.now
        self._reached = 0.0
        self._due: _Due | None = None
        self._timed_out = False

    def at(self, offset: float, then: Callable[[], None]) -> _Due:
        self._due = _Due(offset, then)
        return self._due

    def give_up(self) -> str:
        return "timeout" if self._timed_out else "cancelled"

    def go_on(self, limit: float | None) -> None:
        """Let time pass to what is due next, and do that."""
        due, self._due = self._due, None
        if due is None and limit is None and self._exchange is not None:
            limit = self._exchange.waits_for_ever()
        left = None if due is None else self._left(due.offset)
        if due is None or left is None or (limit is not None and left > limit):
            self._timed_out = True
            self._wire.sleep(limit or 0.0)
            raise TimeoutError("timed out")
        if left:
            self._wire.sleep(left)
        self._reached = due.offset
        due.then()

    def _left(self, offset: float) -> float:
        """The seconds until then: what the client did since is in them, where its thread has a clock."""
        clock = self._wire.clock
        if clock is not None and not clock.is_here():
            return round(offset - self._reached, 9)
        return max(0.0, round(self._start + offset - self._wire.now, 9))
