"""What agents on a FallbackModel promise."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from pytest_modelroute import RoutingInvariants, RoutingRequest
from pytest_modelroute.invariants import Providers

pytest.importorskip("pydantic_ai", reason="needs the extra pydantic-ai: pip install 'pytest-modelroute[pydantic-ai]'")

if TYPE_CHECKING:
    from pydantic_ai_fallback import Desk


class TestFallbackModel(RoutingInvariants):
    """With a `fallback_on` of its own."""

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
    streams = True
    equivalences = ("whitespace", "case")

    def make_router(self, providers: Providers) -> Desk:
        """With clients of its own: those that pydantic-ai makes by itself are shared by the whole process."""
        from anthropic import AsyncAnthropic
        from openai import AsyncOpenAI
        from pydantic_ai_fallback import Desk

        return Desk(AsyncOpenAI(max_retries=1), AsyncAnthropic(max_retries=1))

    async def ask(self, router: Desk, request: RoutingRequest) -> str:
        """The whole answer."""
        return await router.answer(request.prompt)

    def stream(self, router: Desk, request: RoutingRequest) -> AsyncIterator[str]:
        """The pieces."""
        return router.stream(request.prompt)


class TestFallbackModelAsItComes(TestFallbackModel):
    """Without one: what is the caller's own fault goes on to the next model as well."""

    known_violations = {
        "no_fallback_on_caller_error": "FallbackModel goes on after every ModelAPIError, 400 and 401 included: "
        "https://ai.pydantic.dev/models/overview/#fallback-model"
    }

    def make_router(self, providers: Providers) -> Desk:
        """With the default `fallback_on`."""
        from anthropic import AsyncAnthropic
        from openai import AsyncOpenAI
        from pydantic_ai.exceptions import ModelAPIError
        from pydantic_ai_fallback import Desk

        return Desk(AsyncOpenAI(max_retries=1), AsyncAnthropic(max_retries=1), fallback_on=(ModelAPIError,))
