"""Routers whose money is wrong, each in one way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, ClassVar

from pytest_modelroute.invariants import RoutingInvariants
from tests.invariants.correct import Correct
from tests.invariants.support_router import CLASSIFIER, FALLBACKS, HOSTS, PRICES, SupportRouter


class _CachedTwice(SupportRouter):
    def cost(self, model: str, usage: Mapping[str, Any]) -> Decimal:
        hit = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        return super().cost(model, usage) + hit * Decimal(PRICES[model][0]) / 1_000_000


class CachedTwice(Correct):
    """Cached tokens are charged at the price of fresh ones, and again at their own."""

    router_type = _CachedTwice


class _NoDiscount(SupportRouter):
    def cost(self, model: str, usage: Mapping[str, Any]) -> Decimal:
        return super().cost(model, {**usage, "prompt_tokens_details": None})


class NoDiscount(Correct):
    """Cached tokens are charged as if they were fresh."""

    router_type = _NoDiscount


class _ReasoningTwice(SupportRouter):
    def cost(self, model: str, usage: Mapping[str, Any]) -> Decimal:
        thought = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
        return super().cost(model, {**usage, "completion_tokens": usage["completion_tokens"] + thought})


class ReasoningTwice(Correct):
    """Reasoning tokens are added to an output that counts them already."""

    router_type = _ReasoningTwice


class _FailedOnesBooked(SupportRouter):
    @asynccontextmanager
    async def paid(self, model: str, body: Mapping[str, Any]) -> AsyncIterator[list[Any]]:
        async with super().paid(model, body) as bill:
            try:
                yield bill
            except Exception:
                if not bill:
                    bill.append(None)
                raise


class FailedOnesBooked(Correct):
    """A refused call stays booked at what was reserved for it."""

    router_type = _FailedOnesBooked


class _FreeFallbacks(SupportRouter):
    def booked(self, model: str, usage: Mapping[str, Any] | None, body: Mapping[str, Any]) -> Decimal:
        held_back = usage is not None and self.blocked
        self.blocked = False
        return Decimal(0) if held_back else super().booked(model, usage, body)

    blocked = False

    async def once(self, model: str, body: Mapping[str, Any], until: float, bill: list[Any]) -> str:
        try:
            return await super().once(model, body, until, bill)
        except Exception:
            self.blocked = True
            raise


class FreeFallbacks(Correct):
    """What a failed attempt was billed is forgotten once the next one answers."""

    router_type = _FreeFallbacks


class _FreeStreams(SupportRouter):
    async def persist_stream(self, model: str, request: Any, until: float) -> AsyncIterator[str]:
        body = self.body(model, request, stream=True)
        async for piece in self.pieces(model, body, until, []):
            yield piece


class FreeStreams(Correct):
    """Streams are never debited."""

    router_type = _FreeStreams


class _FreeWhenGivenUp(SupportRouter):
    @asynccontextmanager
    async def paid(self, model: str, body: Mapping[str, Any]) -> AsyncIterator[list[Any]]:
        before, total = (None if self.budget is None else dict(self.budget.spent)), self.total
        try:
            async with super().paid(model, body) as bill:
                yield bill
        except (asyncio.CancelledError, GeneratorExit):
            self.total = total
            if self.budget is not None and before is not None:
                self.budget.spent = before
            raise


class FreeWhenGivenUp(Correct):
    """A call that the caller gives up is not debited, though the provider bills it."""

    router_type = _FreeWhenGivenUp


class _FreeClassifier(SupportRouter):
    def booked(self, model: str, usage: Mapping[str, Any] | None, body: Mapping[str, Any]) -> Decimal:
        return Decimal(0) if model == CLASSIFIER else super().booked(model, usage, body)


class FreeClassifier(Correct):
    """The classifier's calls are not debited."""

    router_type = _FreeClassifier


class _LostUpdates(SupportRouter):
    @asynccontextmanager
    async def paid(self, model: str, body: Mapping[str, Any]) -> AsyncIterator[list[Any]]:
        before = self.total
        async with super().paid(model, body) as bill:
            yield bill
        self.total = before + sum((self.booked(model, entry, body) for entry in bill), Decimal(0))


class LostUpdates(Correct):
    """The sum is read before a call and written after it, so that calls at once overwrite each other."""

    router_type = _LostUpdates


UNPRICED = "acme-large-1"


class _FreeOfCharge(SupportRouter):
    def __init__(self, url: Any, key: Any, **options: Any) -> None:
        super().__init__(url, key, **options)
        self.hosts[UNPRICED] = (url("openai-2"), key("openai-2"))
        self.fallbacks = {model: [UNPRICED] for model in FALLBACKS}

    def cost(self, model: str, usage: Mapping[str, Any]) -> Decimal:
        return super().cost(model, usage) if model in PRICES else Decimal(0)


class FreeOfCharge(Correct):
    """A fallback that the price table does not know counts as free."""

    router_type = _FreeOfCharge
    fallbacks = dict.fromkeys(FALLBACKS, (UNPRICED,))
    parameters: ClassVar[Any] = None


class _AnyModel(SupportRouter):
    async def choose(self, request: Any, until: float) -> str:
        model = request.options.get("model") or await super().choose(request, until)
        self.hosts.setdefault(model, self.hosts[next(iter(HOSTS))])
        return model

    def cost(self, model: str, usage: Mapping[str, Any]) -> Decimal:
        return super().cost(model, usage) if model in PRICES else Decimal(0)


class AnyModel(Correct):
    """A model that a request names is asked whatever it costs."""

    router_type = _AnyModel
    options: ClassVar[Any] = (*Correct.options, "model")


DEFECTS: dict[str, list[type[RoutingInvariants]]] = {
    "cost_exact": [CachedTwice, NoDiscount, ReasoningTwice, FailedOnesBooked],
    "spend_complete": [FreeFallbacks, FreeStreams, FreeWhenGivenUp, FreeClassifier, LostUpdates],
    "price_known": [FreeOfCharge, AnyModel],
}
