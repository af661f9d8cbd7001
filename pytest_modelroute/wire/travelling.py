"""Calls of httpx and httpx2 that another model answers: sent there over the client's own transport."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytest_modelroute.wire.detour import Trip
from pytest_modelroute.wire.own_routes import Reply
from pytest_modelroute.wire.redirection import Outgoing


def travel(trip: Trip, handle: Callable[[Any], Any], request: Any, library: Any) -> Any:
    """Send a call to another model, over the same transport, and answer as it does."""
    outgoing = trip.outgoing()
    if isinstance(outgoing, Outgoing):
        with trip.sending():
            response = handle(_redirected(outgoing, request, library))
            response.read()
        outgoing = trip.arrived(outgoing, response.status_code, response.headers.multi_items(), response.content)
    return _response(outgoing, library)


async def atravel(trip: Trip, handle: Callable[[Any], Any], request: Any, library: Any) -> Any:
    """The same for an asynchronous client."""
    outgoing = trip.outgoing()
    if isinstance(outgoing, Outgoing):
        with trip.sending():
            response = await handle(_redirected(outgoing, request, library))
            await response.aread()
        outgoing = trip.arrived(outgoing, response.status_code, response.headers.multi_items(), response.content)
    return _response(outgoing, library)


def _redirected(outgoing: Outgoing, request: Any, library: Any) -> Any:
    """In the client's library, and as patient as its own request."""
    return library.Request(
        "POST", outgoing.url, headers=outgoing.headers, content=outgoing.body, extensions=dict(request.extensions)
    )


def _response(reply: Reply, library: Any) -> Any:
    return library.Response(reply.status, headers=reply.headers, content=reply.body)
