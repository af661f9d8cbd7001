"""The class that promises everything the correct router keeps; defects are shown on subclasses of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

from pytest_modelroute.invariants import BudgetPromise, Classifier, RoutingInvariants
from tests.invariants.support_router import (
    CLASSIFIER,
    FALLBACKS,
    LABELS,
    RECOVERABLE,
    TIERS,
    ZONE,
    Answer,
    SupportRouter,
)


class Correct(RoutingInvariants):
    """Every promise that one router can make at once; cascades, hedges and agents have routers of their own."""

    router_type: type[SupportRouter] = SupportRouter
    tiers = TIERS
    safe_tier = "gpt-5"
    classifier = Classifier(CLASSIFIER, labels=LABELS)
    fallbacks = FALLBACKS
    recoverable = RECOVERABLE
    retries = 1
    deadline = 30.0
    honours_retry_after = True
    cooldown = 60.0
    streams = True
    budget = BudgetPromise(1, timezone=ZONE)
    options = ("no_fallbacks", "retries", "deadline", "category")
    equivalences = ("whitespace", "case", "preamble", "typos")
    monotone = True
    parameters = {"gpt-4.1": {"temperature": 0.3}}

    @staticmethod
    def critical(request: Any) -> bool:
        return bool(request.critical)

    def make_router(self, providers: Any) -> SupportRouter:
        return self.router_type(providers.url, providers.key)

    async def ask(self, router: SupportRouter, request: Any) -> Answer:
        return await router.answer(request)

    def stream(self, router: SupportRouter, request: Any) -> AsyncIterator[str]:
        return router.stream(request)

    def spend_of(self, router: SupportRouter) -> Decimal:
        return router.total

    def cost_of(self, router: SupportRouter, response: Answer) -> Decimal:
        return response.cost
