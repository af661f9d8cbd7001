"""Reads a live reply of aiohttp along: between its transport and its protocol, where the bytes are plain."""

from __future__ import annotations

import asyncio
from typing import Any

from pytest_modelroute.wire.read_along import ReadAlong


def read_along(client: Any, along: ReadAlong, limits: Any) -> None:
    """Tell `along` what a connected protocol of aiohttp receives; `limits` are the client's timeouts."""
    between = _Between(client, along, limits)
    closing = client.close

    def close() -> None:
        # Heard at once: a test may look at the log in the very next line.
        between.closed()
        closing()

    client.close = close
    client.transport.set_protocol(between)


class _Between(asyncio.Protocol):
    """The protocol that the transport sees; the client's own hears everything after it."""

    def __init__(self, client: Any, along: ReadAlong, limits: Any) -> None:
        self._client = client
        self._along = along
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._start = self._heard = self._loop.time()

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
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

    def closed(self) -> None:
        """The client gives up what has not come, by its own timeouts or otherwise."""
        now = self._loop.time()
        total, silence = self._limits.total, self._limits.sock_read
        is_late = (total and now - self._start >= total) or (silence and now - self._heard >= silence)
        self._along.lost("timeout" if is_late else "cancelled")
