"""Reads a live reply of aiohttp along: between its transport and its protocol, where the bytes are plain."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from pytest_modelroute.wire.read_along import ReadAlong


def read_along(client: Any, along: ReadAlong) -> None:
    """Tell `along` what a connected protocol of aiohttp receives."""
    closing = client.close

    def close() -> None:
        # Heard at once: a test may look at the log in the very next line. The client closes while it handles the error.
        along.lost("timeout" if isinstance(sys.exception(), TimeoutError) else "cancelled")
        closing()

    client.close = close
    client.transport.set_protocol(_Between(client, along))


class _Between(asyncio.Protocol):
    """The protocol that the transport sees; the client's own hears everything after it."""

    def __init__(self, client: Any, along: ReadAlong) -> None:
        self._client = client
        self._along = along

    def data_received(self, data: bytes) -> None:
        self._along.feed(data)
        self._client.data_received(data)

    def eof_received(self) -> bool | None:
        self._along.eof()
        keeps_open: bool | None = self._client.eof_received()
        return keeps_open

    def connection_lost(self, exc: Exception | None) -> None:
        self._along.lost("connection")
        self._client.connection_lost(exc)

    def pause_writing(self) -> None:
        self._client.pause_writing()

    def resume_writing(self) -> None:
        self._client.resume_writing()
