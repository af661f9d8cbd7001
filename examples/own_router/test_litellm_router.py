"""What a litellm.Router promises, asked synchronously and asynchronously."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_modelroute import MockProviders, RoutingInvariants, RoutingRequest
from pytest_modelroute.faults import connect_error, rate_limit
from pytest_modelroute.invariants import Act, Ask, Fails, Providers, Scene, Script


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
    litellm.logging_callback_manager._reset_all_callbacks()  # noqa: SLF001 - it has no public way
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
    equivalences = ("whitespace", "case")
    known_violations = {
        "no_fallback_on_caller_error": "a Router retries and falls back after every error, 400, 401 and 403 included: "
        "https://docs.litellm.ai/docs/proxy/reliability"
    }

    def make_router(self, providers: Providers) -> Any:
        """
        Without cooldowns.

        Their ends are kept by a native extension, which reads the clock of the machine: virtual time cannot reach it,
        so that they can be neither promised nor left on where hours pass at once.
        """
        return isolated().build(cooldowns=False)

    def ask(self, router: Any, request: RoutingRequest) -> Any:
        """As the application does."""
        import litellm_router

        return litellm_router.answer(router, request.prompt)


class TestAsyncRouter(TestRouter):
    """Asynchronous."""

    retries = 3  # and not 1: see the last test of this file

    async def ask(self, router: Any, request: RoutingRequest) -> Any:
        """As the application does."""
        import litellm_router

        return await litellm_router.aanswer(router, request.prompt)


def test_a_model_rests_after_one_failure(mock_providers: MockProviders, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can be told of cooldowns without waiting for their end: the next request asks the backup at once."""
    monkeypatch.setenv("OPENAI_API_KEY", "not-needed")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "not-needed")
    litellm_router = isolated()
    mock_providers.on(model="gpt-5-mini").fails(rate_limit())
    mock_providers.on(model="claude-haiku-4-5").replies("In the post.")
    router = litellm_router.build()
    answers = [litellm_router.answer(router, "Where is my order?") for _ in range(2)]
    assert answers == ["In the post."] * 2
    assert mock_providers.calls.models == ["gpt-5-mini", "claude-haiku-4-5", "claude-haiku-4-5"]


class AsDocumented(TestAsyncRouter):
    """With the one retry that the router is built with."""

    retries = 1


@pytest.mark.xfail(raises=AssertionError, strict=True, reason="litellm 1.110.2; the report is in README.md")
def test_num_retries_counts_every_attempt() -> None:
    """After a refused connection each asynchronous attempt at Anthropic is sent once more, on top of num_retries=1."""
    refused = (Fails(connect_error()),)
    plain = Ask(request=RoutingRequest(prompt="Where is my order?"))
    AsDocumented.check("bounded_work", Scene(acts=(Act(asks=(plain,), script=Script(candidates=(refused, refused))),)))
