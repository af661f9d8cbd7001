"""What the assistant on two providers promises."""

from __future__ import annotations

from collections.abc import AsyncIterator

from anthropic import AsyncAnthropic
from openai import AsyncOpenAI
from two_providers import BACKUPS, DEADLINE_S, EASY, HARD, Assistant

from pytest_modelroute import RoutingInvariants, RoutingRequest
from pytest_modelroute.invariants import Providers


class TestAssistant(RoutingInvariants):
    """Each client asks twice, so that a minute is enough for both."""

    tiers = (EASY, HARD)
    fallbacks = {model: (backup,) for model, backup in BACKUPS.items()}
    recoverable = {
        "rate_limited",
        "quota_exhausted",
        "overloaded",
        "unavailable",
        "server_error",
        "timeout",
        "connection",
        "not_found",
    }
    retries = 1
    deadline = DEADLINE_S
    streams = True
    equivalences = ("case",)
    refuses = (ValueError,)  # a request without messages

    def make_router(self, providers: Providers) -> Assistant:
        """Clients that give up after ten seconds."""
        del providers  # the calls are intercepted
        return Assistant(AsyncOpenAI(max_retries=1, timeout=10), AsyncAnthropic(max_retries=1, timeout=10))

    async def ask(self, router: Assistant, request: RoutingRequest) -> str:
        """The whole answer."""
        return await router.answer(request.messages)

    def stream(self, router: Assistant, request: RoutingRequest) -> AsyncIterator[str]:
        """The pieces."""
        return router.stream(request.messages)
