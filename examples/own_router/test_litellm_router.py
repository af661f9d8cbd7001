"""What a litellm.Router promises, asked synchronously and asynchronously."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_modelroute import RoutingInvariants, RoutingRequest
from pytest_modelroute.invariants import Providers


def isolated() -> Any:
    """
    The module, with nothing left of the router before.

    litellm keeps its clients, and the callbacks of every router ever made, for the whole process.
    """
    litellm_router = pytest.importorskip(
        "litellm_router", reason="needs the extra litellm: pip install 'pytest-modelroute[litellm]'"
    )
    import litellm

    litellm.in_memory_llm_clients_cache.flush_cache()
    litellm.logging_callback_manager._reset_all_callbacks()
    return litellm_router


class TestRouter(RoutingInvariants):
    """Synchronous."""

    tiers = ("gpt-5-mini", "gpt-5")
    fallbacks = {"gpt-5-mini": ("claude-haiku-4-5",), "gpt-5": ("claude-sonnet-4-6",)}
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
    cooldown = 30.0
    equivalences = ("whitespace", "case")

    def make_router(self, providers: Providers) -> Any:
        """Its own keys come from the environment."""
        return isolated().build()

    def ask(self, router: Any, request: RoutingRequest) -> str:
        """As the application does."""
        import litellm_router

        return litellm_router.answer(router, request.prompt)


class TestAsyncRouter(TestRouter):
    """Asynchronous."""

    async def ask(self, router: Any, request: RoutingRequest) -> str:
        """As the application does."""
        import litellm_router

        return await litellm_router.aanswer(router, request.prompt)
