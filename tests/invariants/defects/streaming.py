"""Defects of streams."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

import httpx

from pytest_modelroute.invariants import RoutingInvariants
from tests.invariants.correct import Correct
from tests.invariants.support_router import CallFailed, SupportRouter


class _NoStreamedFallback(SupportRouter):
    async def stream(self, request: Any) -> AsyncIterator[str]:
        until = 1e9
        model = self.downgrade(await self.choose(request, until), critical=request.critical)
        async for piece in self.persist_stream(model, request, until):
            yield piece


class NoStreamedFallback(Correct):
    """Streams have no fallbacks: only whole answers do."""

    router_type = _NoStreamedFallback


class _FallsBackMidway(SupportRouter):
    def goes_on(self, error: CallFailed) -> bool:
        return True


class FallsBackMidway(Correct):
    """When a stream breaks off, the next model begins from the beginning, after what was delivered already."""

    router_type = _FallsBackMidway


class _HalfIsEnough(SupportRouter):
    async def pieces(self, model: str, body: Mapping[str, Any], until: float, bill: list[Any]) -> AsyncIterator[str]:
        began = False
        try:
            async for piece in super().pieces(model, body, until, bill):
                began = True
                yield piece
        except CallFailed:
            if not began:
                raise


class HalfIsEnough(Correct):
    """A stream that breaks off after some text ends as if it were whole."""

    router_type = _HalfIsEnough


class _SkipsBrokenEvents(SupportRouter):
    async def pieces(self, model: str, body: Mapping[str, Any], until: float, bill: list[Any]) -> AsyncIterator[str]:
        bill.append(None)
        began = False
        url, headers = self.hosts[model][0] + "/chat/completions", self.headers(model)
        try:
            async with self.http.stream("POST", url, json=body, headers=headers) as reply:
                if reply.status_code >= 400:
                    await reply.aread()
                    self.check(model, reply)
                async for line in reply.aiter_lines():
                    with suppress(ValueError, LookupError):
                        text = json.loads(line.removeprefix("data:"))["choices"][0]["delta"]["content"]
                        began = True
                        yield text
        except httpx.TransportError as error:
            raise CallFailed("connection", model, repr(error), began=began) from error


class SkipsBrokenEvents(Correct):
    """Events that cannot be read are skipped, errors in the stream among them."""

    router_type = _SkipsBrokenEvents


class _GoesOnWhenClosed(SupportRouter):
    async def stream(self, request: Any) -> AsyncIterator[str]:
        try:
            async for piece in super().stream(request):
                yield piece
        except GeneratorExit:
            await self.answer(request)
            raise


class GoesOnWhenClosed(Correct):
    """A stream that the caller closes is taken for one that failed, and another model is asked."""

    router_type = _GoesOnWhenClosed


DEFECTS: dict[str, list[type[RoutingInvariants]]] = {
    "stream_parity": [NoStreamedFallback, FallsBackMidway, HalfIsEnough, SkipsBrokenEvents, GoesOnWhenClosed],
}
