"""Which language a request is in, and whose host it goes to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from pytest_modelroute.providers.anthropic_messages import AnthropicMessages
from pytest_modelroute.providers.bedrock import BedrockConverse
from pytest_modelroute.providers.gemini import Gemini
from pytest_modelroute.providers.language import Language
from pytest_modelroute.providers.mistral import MistralChat
from pytest_modelroute.providers.ollama import OllamaChat
from pytest_modelroute.providers.openai_chat import OpenAIChat
from pytest_modelroute.providers.openai_embeddings import OpenAIEmbeddings
from pytest_modelroute.providers.openai_responses import OpenAIResponses

LANGUAGES: Final[tuple[Language, ...]] = (
    OpenAIChat(),
    AnthropicMessages(),
    Gemini(),
    BedrockConverse(),
    OpenAIResponses(),
    OpenAIEmbeddings(),
    MistralChat(),
    OllamaChat(),
)
"Every language spoken here, in the order in which they are asked; a router speaks the first of a provider."

BASE_URLS: Final[Mapping[str, str]] = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "deepseek": "https://api.deepseek.com/v1",
    "fireworks": "https://api.fireworks.ai/inference/v1",
    "google": "https://generativelanguage.googleapis.com",
    "groq": "https://api.groq.com/openai/v1",
    "mistral": "https://api.mistral.ai/v1",
    "ollama": "http://127.0.0.1:11434",
    "openrouter": "https://openrouter.ai/api/v1",
    "together": "https://api.together.xyz/v1",
    "x-ai": "https://api.x.ai/v1",
}
"Provider -> the base URL of its API. Any other name is fine where a base URL is given."

PROVIDERS: Final[tuple[str, ...]] = (*BASE_URLS, "aws", "azure")
"Every provider that is known here; AWS has a host for each region and Azure for each customer, so no one base URL."

# Not those on this machine: its name is nobody's, and a call to it is told by its path.
_HOSTS: Final[Mapping[str, str]] = {
    url.split("/")[2]: provider for provider, url in BASE_URLS.items() if url.startswith("https:")
}
_HOST_PATTERNS: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (re.compile(r".+\.openai\.azure\.com"), "azure"),
    (re.compile(r"([a-z0-9-]+-)?aiplatform(\.[a-z0-9-]+\.rep)?\.googleapis\.com"), "google"),
    (re.compile(r"(.+\.)?bedrock-runtime(-fips)?\.[a-z0-9-]+\.(vpce\.)?(amazonaws\.com(\.cn)?|api\.aws)"), "aws"),
)


def language_for(method: str, path: str, provider: str | None = None) -> Language | None:
    """
    The language of a request, or None where it is no call of a model in a language spoken here.

    Where several have the same path (Mistral speaks a dialect of OpenAI's), the provider's own goes before.
    """
    if method != "POST":
        return None
    spoken = [language for language in LANGUAGES if language.recognises(path)]
    return next((language for language in spoken if language.provider == provider), spoken[0] if spoken else None)


def language_of_provider(provider: str) -> Language:
    """The language that a provider is spoken to in by the router: its own, and OpenAI chat for everyone else."""
    return next((language for language in LANGUAGES if language.provider == provider), LANGUAGES[0])


def provider_behind(name: str | None) -> str | None:
    """The known provider that a name stands for: itself, or the one that it begins with, as openai for openai-2."""
    if name is None or name in PROVIDERS:
        return name
    return max((known for known in PROVIDERS if name.startswith(known)), key=len, default=None)


def provider_at(host: str) -> str | None:
    """Whose host this is, or None where it is nobody's that is known here."""
    if host in _HOSTS:
        return _HOSTS[host]
    return next((provider for pattern, provider in _HOST_PATTERNS if pattern.fullmatch(host)), None)
