"""Which language a request is in, and whose host it goes to."""

from __future__ import annotations

import pytest

from pytest_modelroute.providers.language import Language
from pytest_modelroute.providers.registry import (
    LANGUAGES,
    PROVIDERS,
    language_for,
    language_of_provider,
    provider_at,
)

OPENAI = LANGUAGES[0]
OWN = {
    "anthropic": "anthropic-messages",
    "aws": "bedrock-converse",
    "google": "gemini",
    "mistral": "mistral-chat",
    "ollama": "ollama-chat",
}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/chat/completions", "openai-chat"),
        ("/openai/v1/chat/completions", "openai-chat"),
        ("/openai/deployments/mine/chat/completions", "openai-chat"),
        ("/v1/messages", "anthropic-messages"),
        ("/proxy/v1/messages", "anthropic-messages"),
        ("/v1/models/gemini-2.5-flash:generateContent", "gemini"),
        ("/v1beta/models/gemini-2.5-flash:streamGenerateContent", "gemini"),
        ("/model/amazon.nova-lite-v1:0/converse", "bedrock-converse"),
        ("/model/amazon.nova-lite-v1:0/converse-stream", "bedrock-converse"),
        ("/v1/responses", "openai-responses"),
        ("/openai/v1/responses", "openai-responses"),
        ("/v1/embeddings", "openai-embeddings"),
        ("/openai/deployments/mine/embeddings", "openai-embeddings"),
        ("/api/chat", "ollama-chat"),
        ("/ollama/api/chat", "ollama-chat"),
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
        ("POST", "/v1/models/gemini-2.5-flash:countTokens"),
        ("POST", "/model/amazon.nova-lite-v1:0/invoke"),
        ("POST", "/v1/responses/input_tokens"),
        ("POST", "/v1/responses/resp_1/cancel"),
        ("POST", "/v1/moderations"),
        ("POST", "/api/generate"),
        ("GET", "/api/chat"),
        ("POST", "/orders"),
    ],
)
def test_what_asks_no_model_has_no_language(method: str, path: str) -> None:
    """Reading, counting tokens, moderation and an application's own paths are no calls of a model."""
    assert language_for(method, path) is None


@pytest.mark.parametrize(
    ("provider", "name"),
    [("mistral", "mistral-chat"), ("openai", "openai-chat"), ("groq", "openai-chat"), (None, "openai-chat")],
)
def test_a_path_that_several_languages_share_is_told_by_the_provider(provider: str | None, name: str) -> None:
    """Mistral answers chat completions in its own dialect; everybody else, known or not, in OpenAI's."""
    language = language_for("POST", "/v1/chat/completions", provider)
    assert language is not None
    assert language.name == name


@pytest.mark.parametrize("provider", sorted({*PROVIDERS, "a-host-of-ours"} - {*OWN}))
def test_a_provider_without_a_language_of_its_own_is_spoken_to_in_openai_chat(provider: str) -> None:
    """OpenAI's format is the one that others adopted."""
    assert language_of_provider(provider) is OPENAI


@pytest.mark.parametrize(("provider", "name"), OWN.items())
def test_a_provider_is_spoken_to_in_its_own_language(provider: str, name: str) -> None:
    """Some keep their own format."""
    assert language_of_provider(provider).name == name


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
def test_embeddings_are_never_the_language_of_a_router(language: Language) -> None:
    """A router asks for answers."""
    assert not language_of_provider(language.provider).embeds


@pytest.mark.parametrize(
    ("host", "provider"),
    [
        ("api.openai.com", "openai"),
        ("api.anthropic.com", "anthropic"),
        ("api.groq.com", "groq"),
        ("openrouter.ai", "openrouter"),
        ("api.x.ai", "x-ai"),
        ("ours.openai.azure.com", "azure"),
        ("generativelanguage.googleapis.com", "google"),
        ("aiplatform.googleapis.com", "google"),
        ("europe-west4-aiplatform.googleapis.com", "google"),
        ("aiplatform.eu.rep.googleapis.com", "google"),
        ("storage.googleapis.com", None),
        ("bedrock-runtime.eu-central-1.amazonaws.com", "aws"),
        ("bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "aws"),
        ("bedrock-runtime.cn-north-1.amazonaws.com.cn", "aws"),
        ("bedrock-runtime.us-east-1.api.aws", "aws"),
        ("vpce-1a2b.bedrock-runtime.us-east-1.vpce.amazonaws.com", "aws"),
        ("bedrock.us-east-1.amazonaws.com", None),
        ("s3.us-east-1.amazonaws.com", None),
        ("openai.azure.com.evil.example", None),
        ("llm.internal", None),
        ("127.0.0.1", None),
        ("localhost", None),
    ],
)
def test_a_provider_is_told_by_its_host(host: str, provider: str | None) -> None:
    """Known hosts have their name, and those of Azure, Vertex AI and Bedrock a pattern."""
    assert provider_at(host) == provider
