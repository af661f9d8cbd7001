"""Which language a request is in, and whose host it goes to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pytest_modelroute.providers.anthropic_messages import AnthropicMessages
from pytest_modelroute.providers.language import Language
from pytest_modelroute.providers.openai_chat import OpenAIChat

LANGUAGES: Final[tuple[Language, ...]] = (OpenAIChat(), AnthropicMessages())
"Every language spoken here, in the order in which they are asked whether a path is theirs."

BASE_URLS: Final[Mapping[str, str]] = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "deepseek": "https://api.deepseek.com/v1",
    "fireworks": "https://api.fireworks.ai/inference/v1",
    "groq": "https://api.groq.com/openai/v1",
    "mistral": "https://api.mistral.ai/v1",
    "openrouter": "https://openrouter.ai/api/v1",
    "together": "https://api.together.xyz/v1",
    "x-ai": "https://api.x.ai/v1",
}
"Provider -> the base URL of its API. Any other name is fine where a base URL is given."

_HOSTS: Final[Mapping[str, str]] = {url.split("/")[2]: provider for provider, url in BASE_URLS.items()}
_AZURE: Final = ".openai.azure.com"


def language_for(method: str, path: str) -> Language | None:
    """The language of a request, or None where it is no call of a model in a language spoken here."""
    if method != "POST":
        return None
    for language in LANGUAGES:
        if language.recognises(path):
            return language
    return None


def language_of_provider(provider: str) -> Language:
    """The language that a provider is spoken to in: Anthropic's for anthropic, OpenAI chat for everyone else."""
    return LANGUAGES[1] if provider == "anthropic" else LANGUAGES[0]


def provider_of(host: str, language: Language) -> str:
    """Whose host this is; azure for Azure's, and the owner of the language for hosts that are not known."""
    if host.endswith(_AZURE):
        return "azure"
    return _HOSTS.get(host, language.provider)


def is_provider_host(host: str) -> bool:
    """Whether a host is a known provider's, who would bill a call."""
    return host in _HOSTS or host.endswith(_AZURE)
