"""A request to one model as it would have been sent to another one: same words, other address, maybe other language."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, cast
from urllib.parse import quote, urlsplit

from pytest_modelroute.errors import RecordingError
from pytest_modelroute.providers.exchange import ProviderRequest, output_limit
from pytest_modelroute.providers.language import Language, write_object
from pytest_modelroute.providers.registry import BASE_URLS, language_of_provider, provider_behind
from pytest_modelroute.wire.recorded import Pairs

_OF_THE_BODY: Final = frozenset({"connection", "content-encoding", "content-length", "host", "transfer-encoding"})
_LIMITS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_LIMIT_OF: Final[Mapping[str, str]] = {"openai-responses": "max_output_tokens"}
"Language -> its word for the most tokens of an answer, where that is not max_tokens."
_BOOKKEEPING: Final = frozenset({"metadata", "prompt_cache_key", "safety_identifier", "service_tier", "store", "user"})
"Parameters that are between a client and its provider, and change no answer."
_TOOL_MEMBERS: Final = frozenset(
    {"tool_calls", "tool_call_id", "function_call", "functionCall", "functionResponse", "toolUse", "toolResult"}
)
_TOOL_TYPES: Final = frozenset({"tool_use", "tool_result", "function_call", "function_call_output"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A model that calls are sent to in place of another one."""

    model: str
    "As asked for on the wire."
    provider: str
    base_url: str | None = None
    "Where it is served, if not at its provider's own address."
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A request as it is sent to a target."""

    url: str
    headers: Pairs
    body: bytes
    language: Language


def redirect(
    target: Target,
    language: Language,
    request: ProviderRequest,
    *,
    url: str,
    provider: str,
    headers: Callable[[], Pairs],
) -> Outgoing:
    """
    A request as it is sent to a target.

    What stays with its provider is sent as it came, but for the model: so it is what the code under test would send if
    it had chosen this model.

    Args:
        target: The model that is to answer.
        language: That of the request.
        request: What was asked.
        url: Where it was sent.
        provider: To whom.
        headers: Gives the headers it was sent with.

    Raises:
        RecordingError: It cannot be said to the target, or the target cannot be reached.

    """
    stays = url.startswith(f"{_base(target)}/") if target.base_url is not None else provider == target.provider
    spoken = _language(target, language, provider)
    asked = replace(request, model=target.model)
    if spoken.name != language.name:
        asked = _translated(asked, language, spoken)
        body = None
    else:
        body = write_object({**request.body, "model": target.model} if "model" in request.body else request.body)
    if stays and body is not None:
        sent = [pair for pair in headers() if pair[0].lower() not in _OF_THE_BODY]
        address = _with_model(url, request.model, target.model)
        _check(spoken, body, address, sent, target)
        return Outgoing(url=address, headers=sent, body=body, language=spoken)
    written = spoken.write_request(asked, target.key)
    sent = [*written.headers.items(), *_user_agent(headers())]
    return Outgoing(url=_address(target) + written.path, headers=sent, body=body or written.body, language=spoken)


def _language(target: Target, language: Language, provider: str) -> Language:
    """The request's own where the target's provider speaks it too (OpenAI has two), else that of the provider."""
    known = provider_behind(target.provider)
    if target.provider == provider or known == language.provider:
        return language
    return language_of_provider(known or target.provider)


def _base(target: Target) -> str:
    return (target.base_url or "").rstrip("/")


def _address(target: Target) -> str:
    known = provider_behind(target.provider) or ""
    if known == "aws":
        raise RecordingError("calls of aws are signed by its own client, so that none can be sent in its place")
    if target.base_url is None and known not in BASE_URLS:
        raise RecordingError(f"the address of provider {target.provider!r} is not known; give the model a base_url")
    return _base(target) or BASE_URLS[known]


def _with_model(url: str, model: str, other: str) -> str:
    """The address with another model, in the formats that name it in the path."""
    address, separator, query = url.partition("?")
    spellings = "|".join(re.escape(name) for name in {model, quote(model, safe=""), quote(model, safe=":")})
    path = re.sub(rf"(?<=/)(?:{spellings})(?=[/:]|$)", lambda _found: quote(other, safe=""), address)
    return path + separator + query


def _check(language: Language, body: bytes, url: str, headers: Pairs, target: Target) -> None:
    """Refuse what would not ask the target, or would be refused there for its signature."""
    if any(name.lower() == "authorization" and value.startswith("AWS4-") for name, value in headers):
        raise RecordingError("calls of aws are signed by its own client, so that none can be sent in its place")
    model = language.read_request(body, urlsplit(url).path).model
    # Azure asks the deployment that the path names, whatever the body says.
    deployment = url.partition("/deployments/")[2].partition("/")[0]
    if model != target.model or deployment not in ("", quote(target.model, safe="")):
        raise RecordingError(f"the address of {target.model!r} cannot be made of that of another model")


def _translated(request: ProviderRequest, language: Language, spoken: Language) -> ProviderRequest:
    """The request without what another provider does not know; its parameters under their other names."""
    if any(_tool_talk(value) for name, value in request.body.items() if name != "tools"):
        raise RecordingError(f"a conversation with calls of tools cannot be told in {spoken.name} by {language.name}")
    params = {name: value for name, value in request.params.items() if name not in _BOOKKEEPING and name not in _LIMITS}
    limit = output_limit(request.params)
    if limit is not None:
        params[_LIMIT_OF.get(spoken.name, "max_tokens")] = limit
    stop = params.pop("stop", None) or params.pop("stop_sequences", None)
    if stop is not None:
        params |= (
            {"stop_sequences": [stop] if isinstance(stop, str) else stop} if _is_anthropic(spoken) else {"stop": stop}
        )
    messages = tuple(
        replace(message, role="system") if message.role == "developer" else message for message in request.messages
    )
    return replace(request, params=params, messages=messages)


def _is_anthropic(language: Language) -> bool:
    return language.provider == "anthropic"


def _tool_talk(value: object) -> bool:
    """Whether calls of tools, or their results, are told somewhere in a part of a body."""
    return any(_TOOL_MEMBERS & each.keys() or each.get("type") in _TOOL_TYPES for each in _objects(value))


def _objects(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        yield members
        for member in members.values():
            yield from _objects(member)
    elif isinstance(value, list):
        for entry in cast("list[object]", value):
            yield from _objects(entry)


def _user_agent(headers: Pairs) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers if name.lower() == "user-agent"]
