"""The test's own HTTP routes, `mock_providers.http`: what answers requests that are no call of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from respx.models import AllMockedAssertionError, PassThrough

from pytest_modelroute.wire.recorded import Played

if TYPE_CHECKING:
    import httpx
    from respx import MockRouter

_OF_THE_CONNECTION: Final = (b"connection", b"keep-alive", b"transfer-encoding")
_OF_THE_MESSAGE: Final = (b"content-encoding", b"content-length", b"transfer-encoding")
"Headers that say how a body was sent, and not what it is."


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A whole reply, as HTTP carries it."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes
    delay: float = 0.0
    "Seconds until it is sent."


class OwnRoutes:
    """A respx router, asked without its transport, for whichever client a request came from."""

    def __init__(self, router: MockRouter) -> None:
        """Ask this router."""
        self._router = router

    def __bool__(self) -> bool:
        """Whether there is a route to ask."""
        return len(self._router.routes) > 0

    def answer(self, request: httpx.Request) -> Reply | None:
        """
        What a route replies; None where none matches, or the one that does lets the request pass.

        Raises:
            httpx.RequestError: The route is one that raises it.

        """
        try:
            return _reply(self._router.handler(request))
        except (AllMockedAssertionError, PassThrough):
            return None

    async def aanswer(self, request: httpx.Request) -> Reply | None:
        """The same for routes that may be asynchronous."""
        try:
            reply = await self._router.async_handler(request)
            await reply.aread()
        except (AllMockedAssertionError, PassThrough):
            return None
        return _reply(reply)


def _reply(reply: httpx.Response) -> Reply:
    body = reply.read()
    headers = [(name, value) for name, value in reply.headers.raw if name.lower() not in _OF_THE_MESSAGE]
    return Reply(status=reply.status_code, headers=headers, body=body)


def recorded_reply(played: Played, method: str) -> Reply:
    """A recorded reply to a request that is no call of a model."""
    pairs = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in played.headers]
    left_out = {*_OF_THE_CONNECTION, b"" if method == "HEAD" else b"content-length"}  # HEAD has a length and no body
    headers = [(name, value) for name, value in pairs if name not in left_out]
    return Reply(status=played.status, headers=headers, body=played.body, delay=played.latency_s)
