"""What a connection of http.client has in place of its socket: it answers in memory, or connects after all."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from pytest_modelroute.wire.connection import Incoming
from pytest_modelroute.wire.exchange import Exchange
from pytest_modelroute.wire.exchanges import Wire
from pytest_modelroute.wire.read_along import ReadAlong, along_with
from pytest_modelroute.wire.socket_answer import Found, SocketAnswer


class Finder(Protocol):
    """Who finds the answers to what is sent over a connection."""

    @property
    def wire(self) -> Wire:
        """The test's."""
        ...

    def find(self, connection: Any, request: Incoming) -> Found:
        """The answer to a request, or who takes the live one down."""
        ...

    def url(self, connection: Any, request: Incoming) -> str:
        """Where a request goes, behind a proxy or not."""
        ...

    def passing_on(self, connection: Any, request: Incoming) -> AbstractContextManager[None]:
        """Let a request that is no call of a model go on to the network."""
        ...


class SocketStandIn:
    """
    The socket of one connection, whose requests are decided one by one, each when it is whole.

    It has what http.client and the libraries above it use of a socket; of one that is connected it has everything.
    """

    makefile: Any = socket.socket.makefile
    _decref_socketios: Any = getattr(socket.socket, "_decref_socketios")  # noqa: B009 - private; makefile calls it

    def __init__(
        self,
        connection: Any,
        connect: Callable[[], Any],
        finder: Callable[[], Finder | None],
        real: Any = None,
    ) -> None:
        """
        Nothing is sent yet.

        Args:
            connection: The client's.
            connect: Connects it for real, and gives the socket.
            finder: Gives who answers; None where nobody does any more.
            real: The socket of a connection that was open before.

        """
        self._io_refs = 0  # makefile counts the files that read from here
        self._closed = False
        self._connection = connection
        self._connect = connect
        self._finder = finder
        self._real = real
        self._timeout = _timeout_of(connection) if real is None else real.gettimeout()
        self._options: list[tuple[Any, ...]] = []
        self._sent: list[bytes] = []
        self._answer: SocketAnswer | None = None
        self._along: ReadAlong | None = None
        self._signal: _Signal | None = None

    def __getattr__(self, name: str) -> Any:
        """What else a socket has, such as the certificate of its peer."""
        if self.__dict__.get("_real") is None:
            raise AttributeError(f"a connection in memory has no socket to ask for {name!r}")
        return getattr(self._real, name)

    def sendall(self, data: Any, flags: int = 0) -> None:
        """
        Take more of a request; with its last byte it is decided who answers it.

        Raises:
            UnrecordedCall: Nobody does.

        """
        piece = bytes(memoryview(data))
        finder = self._finder()
        if finder is None:
            self._end("cancelled")
        if finder is None or (self._along is not None and self._along.switched):
            self._live_socket().sendall(piece, flags)
            return
        answer = self._answer
        if answer is None or answer.request is not None:
            self._end("cancelled")
            self._sent.clear()
            connection = self._connection
            answer = self._answer = SocketAnswer(finder.wire, lambda request: finder.find(connection, request))
        self._sent.append(piece)
        answer.ask(piece)
        if answer.request is not None:
            self._go_on(finder, answer, answer.request)

    def send(self, data: Any, flags: int = 0) -> int:
        """The same; all of it is taken."""
        self.sendall(data, flags)
        return len(memoryview(data).cast("B"))

    def _go_on(self, finder: Finder, answer: SocketAnswer, request: Incoming) -> None:
        """The request is whole."""
        sent = b"".join(self._sent)
        if not answer.is_live:
            self._drop_real()
            return
        self._along = along_with(finder.wire, answer.live, request.method, finder.url(self._connection, request))
        is_call = isinstance(answer.live, Exchange)
        with self._along.watching(), nullcontext() if is_call else finder.passing_on(self._connection, request):
            self._live_socket().sendall(sent)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """At most so many bytes of the answer, when they come."""
        answer = self._answer
        if answer is not None and (answer.has_come or not answer.is_live):
            return answer.read(size, self._timeout)
        if self._real is None:
            return b""
        along = self._along
        if along is None:
            return bytes(self._real.recv(size, flags))
        with along.watching():
            data = bytes(self._real.recv(size, flags))
        if data:
            along.feed(data)
        elif size:
            along.eof()
        return data

    def recv_into(self, buffer: Any, size: int = 0, flags: int = 0) -> int:
        """The same, into a buffer."""
        view = memoryview(buffer).cast("B")
        data = self.recv(size or len(view), flags)
        view[: len(data)] = data
        return len(data)

    def settimeout(self, seconds: float | None) -> None:
        """How long a read may wait."""
        self._timeout = seconds
        if self._real is not None:
            self._real.settimeout(seconds)

    def gettimeout(self) -> float | None:
        """How long a read may wait; None for as long as it takes."""
        return self._timeout

    def setsockopt(self, *option: Any) -> None:
        """Kept for the socket that there may be."""
        self._options.append(option)
        if self._real is not None:
            self._real.setsockopt(*option)

    def fileno(self) -> int:
        """A descriptor that can be read where this can, for select and poll."""
        answer = self._answer
        if self._real is not None and (answer is None or not answer.has_come):
            return int(self._real.fileno())
        if self._closed and not self._io_refs:
            return -1
        if self._signal is None:
            self._signal = _Signal()
        return self._signal.fileno(is_readable=answer is not None and answer.is_readable)

    def shutdown(self, how: int) -> None:
        """No more is read, or sent."""
        if self._real is not None:
            self._real.shutdown(how)
        elif how != socket.SHUT_WR and self._answer is not None:
            self._answer.close()

    def close(self) -> None:
        """Close it, once no file reads from it any more."""
        self._closed = True
        if self._io_refs:
            return
        self._end("cancelled")
        self._drop_real()
        if self._signal is not None:
            self._signal.close()

    def _end(self, kind: str) -> None:
        """What is under way is not read on."""
        if self._along is not None:
            self._along.lost(kind)
            self._along = None
        if self._answer is not None:
            self._answer.close()
            self._answer = None

    def _live_socket(self) -> Any:
        if self._real is None:
            self._real = self._connect()
            for option in self._options:
                self._real.setsockopt(*option)
            self._real.settimeout(self._timeout)
        return self._real

    def _drop_real(self) -> None:
        real, self._real = self._real, None
        if real is not None:
            real.close()


class _Signal:
    """A pair of sockets, of which one can be read when it has to be."""

    def __init__(self) -> None:
        self._told, self._tells = socket.socketpair()
        self._is_readable = False

    def fileno(self, *, is_readable: bool) -> int:
        if is_readable and not self._is_readable:
            self._tells.send(b".")
        elif self._is_readable and not is_readable:
            self._told.recv(1)
        self._is_readable = is_readable
        return self._told.fileno()

    def close(self) -> None:
        self._told.close()
        self._tells.close()


def _timeout_of(connection: Any) -> float | None:
    """The time limit of a connection of http.client; a mark of its own stands for the one of the module."""
    seconds = getattr(connection, "timeout", None)
    return seconds if seconds is None or isinstance(seconds, int | float) else socket.getdefaulttimeout()
