"""Which language a request is in, and whose host it goes to."""

from __future__ import annotations

import pytest

from pytest_modelroute.providers.registry import (
    BASE_URLS,
    LANGUAGES,
    language_for,
    language_of_provider,
    provider_at,
)

OPENAI, ANTHROPIC = LANGUAGES[:2]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/chat/completions", "openai-chat"),
        ("/openai/v1/chat/completions", "openai-chat"),
        ("/openai/deployments/mine/chat/completions", "openai-chat"),
        ("/v1/messages", "anthropic-messages"),
        ("/proxy/v1/messages", "anthropic-messages"),
    ],
)
def test_a_language_is_told_by_the_path(path: str, name: str) -> None:
    """A prefix of the path, such as a gateway's, does not matter."""
    language = language_for("POST", path)
    assert language is not None
    assert language.name == name


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/chat/completions"),
        ("POST", "/v1/messages/count_tokens"),
        ("POST", "/v1/messages/batches"),
        ("POST", "/v1/embeddings"),
        ("POST", "/orders"),
    ],
)
def test_what_asks_no_model_has_no_language(method: str, path: str) -> None:
    """Reading, counting tokens, embeddings and an application's own paths are no calls of a model."""
    assert language_for(method, path) is None


@pytest.mark.parametrize("provider", sorted({*BASE_URLS, "azure", "a-host-of-ours"} - {"anthropic"}))
def test_every_provider_but_anthropic_is_spoken_to_in_openai_chat(provider: str) -> None:
    """OpenAI's format is the one that others adopted."""
    assert language_of_provider(provider) is OPENAI


def test_anthropic_is_spoken_to_in_its_own_language() -> None:
    """Anthropic keeps its own format."""
    assert language_of_provider("anthropic") is ANTHROPIC


@pytest.mark.parametrize(
    ("host", "provider"),
    [
        ("api.openai.com", "openai"),
        ("api.anthropic.com", "anthropic"),
        ("api.groq.com", "groq"),
        ("openrouter.ai", "openrouter"),
        ("api.x.ai", "x-ai"),
        ("ours.openai.azure.com", "azure"),
        ("openai.azure.com.evil.example", None),
        ("llm.internal", None),
    ],
)
def test_a_provider_is_told_by_its_host(host: str, provider: str | None) -> None:
    """Known hosts have their name, and Azure's any subdomain."""
    assert provider_at(host) == provider
