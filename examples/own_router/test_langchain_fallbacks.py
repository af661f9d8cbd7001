"""What a chain with fallbacks promises."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from pytest_modelroute import RoutingInvariants, RoutingRequest
from pytest_modelroute.invariants import Providers

pytest.importorskip("langchain_openai", reason="needs the extra langchain: pip install 'pytest-modelroute[langchain]'")
pytest.importorskip(
    "langchain_anthropic", reason="needs the extra langchain: pip install 'pytest-modelroute[langchain]'"
)


class TestWithFallbacks(RoutingInvariants):
    """The chain, asynchronous and streaming."""

    tiers = ("gpt-5-mini", "claude-sonnet-4-6")
    fallbacks = {"gpt-5-mini": ("claude-haiku-4-5",), "claude-sonnet-4-6": ("gpt-5",)}
    recoverable = {
        "rate_limited",
        "quota_exhausted",
        "overloaded",
        "unavailable",
        "server_error",
        "connection",
        "not_found",
    }
    retries = 1
    streams = True
    equivalences = ("whitespace", "case")

    def make_router(self, providers: Providers) -> Any:
        """Import it here: langchain takes seconds."""
        import langchain_fallbacks

        return langchain_fallbacks.build()

    async def ask(self, router: Any, request: RoutingRequest) -> Any:
        """The whole answer."""
        return await router.ainvoke(request.prompt)

    def stream(self, router: Any, request: RoutingRequest) -> AsyncIterator[str]:
        """The pieces."""
        import langchain_fallbacks

        return langchain_fallbacks.stream(router, request.prompt)
