"""What a client is told to reach a provider's stand-in: the shape of its base URL, and a key that is none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final

from pytest_modelroute.errors import ScriptError
from pytest_modelroute.providers.registry import BASE_URLS, provider_behind

HOST: Final = "127.0.0.1"
"Where the stand-ins are."
_AS_IN_OPENAI: Final = "/v1"
"Of a name that says nothing: most such hosts speak as OpenAI does."
_WITHOUT_PATH: Final = frozenset({"aws", "azure", "google", "mistral", "ollama"})
"Whose own client adds the whole path to its base URL, the version included."
_KEY_BEGINS: Final[Mapping[str, str]] = {
    "openai": "sk-",
    "anthropic": "sk-ant-",
    "deepseek": "sk-",
    "fireworks": "fw_",
    "google": "AIza-",
    "groq": "gsk_",
    "openrouter": "sk-or-",
    "x-ai": "xai-",
}
KEY_VARIABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "anthropic": ("ANTHROPIC_API_KEY",),
    "aws": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "azure": ("AZURE_OPENAI_API_KEY",),
    "deepseek": ("DEEPSEEK_API_KEY",),
    "fireworks": ("FIREWORKS_API_KEY",),
    "google": ("GEMINI_API_KEY",),
    "groq": ("GROQ_API_KEY",),
    "mistral": ("MISTRAL_API_KEY",),
    "openai": ("OPENAI_API_KEY",),
    "openrouter": ("OPENROUTER_API_KEY",),
    "together": ("TOGETHER_API_KEY",),
    "x-ai": ("XAI_API_KEY",),
}
"Provider -> the environment variables that its own client reads; all of them are needed."
KEY_HEADERS: Final = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
"The headers that carry keys, in lower case."
_SIMILAR: Final = 0.8


def base_path(name: str) -> str:
    """The path that the client of a provider expects at the end of its base URL; "" for none."""
    known = provider_behind(name)
    if known is None:
        return _AS_IN_OPENAI
    return "" if known in _WITHOUT_PATH else "/".join(["", *BASE_URLS[known].split("/")[3:]])


def fake_key(name: str) -> str:
    """
    A key in the shape of the provider's, which says itself that it is none.

    Each name has one of its own, so that a test can see that a key was sent to nobody else.
    """
    begin = _KEY_BEGINS.get(provider_behind(name) or "", "")
    return f"{begin}not-a-real-key-{re.sub(r'[^A-Za-z0-9]+', '-', name)}"


def check_name(name: object, declared: set[str]) -> str:
    """
    The name of a provider, or of a host of the user's own.

    Raises:
        ScriptError: No name, or one that is so close to a known one that it must be a slip.

    """
    if not isinstance(name, str) or not name.strip():
        raise ScriptError(f"url({name!r}): the name of a provider was expected, such as 'openai', or one of your own")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name) or name.endswith("-"):
        raise ScriptError(f"url({name!r}): a name of letters, digits, dots and dashes was expected, such as openai-2")
    if name in declared or provider_behind(name) is not None:
        return name
    nearest = get_close_matches(name.lower(), sorted(declared), n=1, cutoff=_SIMILAR)
    if nearest:
        raise ScriptError(
            f"url({name!r}): there is no provider {name!r}; did you mean {nearest[0]!r}? A name of your own is fine "
            f"where it is less alike, or begins with the provider's: {nearest[0]}-2"
        )
    return name
