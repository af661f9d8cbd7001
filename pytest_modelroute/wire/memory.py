"""A connection in memory: two transports of asyncio on one loop, each of which hands to the other what is written."""

from __future__ import annotations

import asyncio
import errno
import os
from typing import Any, Protocol

from pytest_modelroute.wire.connection import ScriptedConnection


class ClientEnd(asyncio.Transport):
    """
    The transport of a client, whose other end is a scripted connection.

    What goes either way arrives in a later turn of the loop, as from a socket. But that the client closes is seen at
    once: a test may look at the log in the very next line.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, client: asyncio.Protocol, connection: ScriptedConnection
    ) -> None:
        """Connect the two protocols."""
        super().__init__()
        self._loop = loop
        self._client = client
        self._connection = connection
        self._is_closing = False
        client.connection_made(self)
        connection.connection_made(ServerEnd(self))

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ARG002 - nothing is known of a socket
        """Nothing of what a socket knows."""
        return default

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._is_closing

    def get_write_buffer_size(self) -> int:
        """Nothing waits to be sent."""
        return 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Hand it to the server."""
        self._loop.call_soon(self._arrive, bytes(data))

    def close(self) -> None:
        """End both connections."""
        self.abort()

    def abort(self) -> None:
        """End both connections."""
        if not self._is_closing:
            self._is_closing = True
            self._connection.connection_lost(None)
            self._loop.call_soon(self._client.connection_lost, None)

    def _arrive(self, data: bytes) -> None:
        if not self._is_closing:
            self._connection.data_received(data)

    def send(self, data: bytes) -> None:
        """Hand the client what the server writes."""
        self._loop.call_soon(self._hand_over, data)

    def hang_up(self, error: Exception | None) -> None:
        """The server closes, or resets, the connection, once all that it wrote has arrived."""
        self._loop.call_soon(self._lose, error)

    def _hand_over(self, data: bytes) -> None:
        if not self._is_closing:
            self._client.data_received(data)

    def _lose(self, error: Exception | None) -> None:
        if not self._is_closing:
            self._is_closing = True
            if error is None:
                self._client.eof_received()
            self._client.connection_lost(error)
            self._connection.connection_lost(None)


class OtherEnd(Protocol):
    """Who gets what the server writes."""

    def send(self, data: bytes) -> None:
        """The server has written this."""
        ...

    def hang_up(self, error: Exception | None) -> None:
        """The server closes the connection after what it wrote, or resets it."""
        ...


class ServerEnd(asyncio.Transport):
    """The transport of a scripted connection."""

    def __init__(self, other: OtherEnd) -> None:
        """Hand everything to the other end."""
        super().__init__()
        self._other = other

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ARG002 - as above
        """Nothing of what a socket knows."""
        return default

    def get_write_buffer_size(self) -> int:
        """Nothing waits to be sent."""
        return 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Hand it to the client."""
        self._other.send(bytes(data))

    def close(self) -> None:
        """End the connection after what was written."""
        self._other.hang_up(None)

    def abort(self) -> None:
        """Reset the connection."""
        self._other.hang_up(ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)))
