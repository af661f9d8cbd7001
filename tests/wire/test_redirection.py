"""A request to one model, as it is sent to another one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelroute.errors import RecordingError
from pytest_modelroute.providers.registry import LANGUAGES, language_for
from pytest_modelroute.wire.redirection import Outgoing, Target, redirect

OPENAI = "https://api.openai.com/v1/chat/completions"
AZURE = "https://shop.openai.azure.com/openai/deployments/gpt-4.1/chat/completions?api-version=2024-10-21"
GEMINI = "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:generateContent"
BEDROCK = "https://bedrock-runtime.eu-central-1.amazonaws.com/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse"
HELLO: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]


def send(
    target: Target, body: dict[str, Any], *, url: str = OPENAI, provider: str = "openai", **headers: str
) -> Outgoing:
    """Redirect a call."""
    path = url.partition("?")[0].removeprefix("https://").partition("/")[2]
    language = language_for("POST", f"/{path}", provider)
    assert language is not None
    request = language.read_request(json.dumps(body).encode(), f"/{path}")
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return redirect(target, language, request, url=url, provider=provider, headers=lambda: pairs)


def target(model: str, provider: str, base_url: str | None = None) -> Target:
    """A target with a key."""
    return Target(model=model, provider=provider, base_url=base_url, key="our-key")


def test_what_stays_with_its_provider_is_sent_as_it_came_but_for_the_model() -> None:
    """So it is what the code under test sends once it chooses this model; its key, its organisation and all."""
    body = {"model": "gpt-4.1", "messages": HELLO, "temperature": 0.5, "user": "u1", "stream": False}
    sent = send(target("gpt-5", "openai"), body, authorization="Bearer theirs", content_length="99", x_org="acme")
    assert sent.url == OPENAI
    assert json.loads(sent.body) == {**body, "model": "gpt-5"}
    assert sent.headers == [("authorization", "Bearer theirs"), ("x-org", "acme")]


def test_a_base_url_of_the_settings_under_which_the_call_went_is_the_same_place() -> None:
    """Query and path stay."""
    url = "https://gateway.example.com/v1/chat/completions?team=shop"
    there = target("gpt-5", "openai", "https://gateway.example.com/v1/")
    sent = send(there, {"model": "gpt-4.1", "messages": HELLO}, url=url, provider="openai", authorization="Bearer t")
    assert (sent.url, sent.headers) == (url, [("authorization", "Bearer t")])


def test_another_host_of_the_same_language_gets_the_same_words_and_its_own_key() -> None:
    """Groq speaks OpenAI's language; a key of OpenAI is never sent there."""
    body = {
        "model": "gpt-4.1",
        "messages": [*HELLO, {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}],
    }
    sent = send(target("llama-3", "groq"), body, authorization="Bearer theirs", user_agent="shop/1")
    assert sent.url == "https://api.groq.com/openai/v1/chat/completions"
    assert json.loads(sent.body) == {**body, "model": "llama-3"}
    assert dict(sent.headers) == {
        "authorization": "Bearer our-key",
        "content-type": "application/json",
        "user-agent": "shop/1",
    }


def test_another_language_says_the_same() -> None:
    """Roles, limits and stop words have other names there; what is between client and provider stays behind."""
    messages = [{"role": "developer", "content": "Be short."}, *HELLO]
    body = {"model": "gpt-5", "messages": messages, "max_completion_tokens": 64, "stop": "END", "temperature": 0}
    sent = send(target("claude-haiku-4-5", "anthropic"), {**body, "user": "u1", "store": True})
    assert sent.url == "https://api.anthropic.com/v1/messages"
    assert json.loads(sent.body) == {
        "model": "claude-haiku-4-5",
        "system": "Be short.",
        "messages": HELLO,
        "max_tokens": 64,
        "stop_sequences": ["END"],
        "temperature": 0,
    }


def test_the_limit_of_the_responses_api_is_told_to_others_by_their_name() -> None:
    """And OpenAI's own second language is kept for its own models."""
    url = "https://api.openai.com/v1/responses"
    body = {"model": "gpt-5", "input": "hi", "max_output_tokens": 64}
    own = send(target("gpt-5-mini", "openai"), body, url=url)
    other = send(target("claude-haiku-4-5", "anthropic"), body, url=url)
    assert (own.url, json.loads(own.body)) == (url, {**body, "model": "gpt-5-mini"})
    assert json.loads(other.body)["max_tokens"] == 64


@pytest.mark.parametrize(
    ("url", "provider", "model", "expected"),
    [
        (AZURE, "azure", "gpt-5 mini", AZURE.replace("gpt-4.1", "gpt-5%20mini")),
        (GEMINI, "google", "gemini-2.5-pro", GEMINI.replace("2.5-flash", "2.5-pro")),
    ],
)
def test_a_model_in_the_path_is_replaced_there(url: str, provider: str, model: str, expected: str) -> None:
    """Azure names the deployment, Google the model."""
    body = {"model": "gpt-4.1", "messages": HELLO, "contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    assert send(target(model, provider), body, url=url, provider=provider).url == expected


@pytest.mark.parametrize(
    ("there", "url", "provider", "headers", "problem"),
    [
        (target("amazon.nova-lite-v1:0", "aws"), OPENAI, "openai", {}, "calls of aws are signed by its own client"),
        (
            target("amazon.nova-lite-v1:0", "aws"),
            BEDROCK,
            "aws",
            {"authorization": "AWS4-HMAC-SHA256 Credential=x"},
            "calls of aws are signed by its own client",
        ),
        (target("gpt-5", "azure"), OPENAI, "openai", {}, "the address of provider 'azure' is not known"),
        (
            target("gpt-5", "azure"),
            AZURE.replace("gpt-4.1", "ours"),
            "azure",
            {},
            "the address of 'gpt-5' cannot be made of that of another model",
        ),
    ],
)
def test_what_cannot_be_reached_says_so(
    there: Target, url: str, provider: str, headers: dict[str, str], problem: str
) -> None:
    """A signature holds for one request, and an address that is not known is not guessed."""
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]}
    with pytest.raises(RecordingError, match=problem):
        send(there, body, url=url, provider=provider, **headers)


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "f"}}]},
        {"role": "tool", "tool_call_id": "1", "content": "42"},
    ],
)
def test_a_conversation_with_calls_of_tools_is_not_told_by_halves(message: dict[str, Any]) -> None:
    """Without them the target would be asked something else."""
    with pytest.raises(RecordingError, match="a conversation with calls of tools cannot be told in anthropic-messages"):
        send(target("claude-haiku-4-5", "anthropic"), {"model": "m", "messages": [*HELLO, message]})


def test_tools_on_offer_are_told() -> None:
    """They are no call yet."""
    tool = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
    sent = send(target("claude-haiku-4-5", "anthropic"), {"model": "m", "messages": HELLO, "tools": [tool]})
    assert json.loads(sent.body)["tools"] == [{"name": "f", "description": "d", "input_schema": {"type": "object"}}]


PROVIDERS = ("openai", "anthropic", "google", "mistral", "groq", "ollama")
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1)


@given(prompt=WORDS, system=WORDS, provider=st.sampled_from(PROVIDERS), limit=st.integers(1, 4096))
def test_whichever_the_language_the_target_is_asked_the_same(
    prompt: str, system: str, provider: str, limit: int
) -> None:
    """Read back in the target's language, the request has the words, the limit and the target's model."""
    body = {
        "model": "m",
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": prompt}],
        "max_tokens": limit,
    }
    sent = send(target("other", provider), body)
    path = "/" + sent.url.partition("?")[0].split("/", 3)[3]
    read = sent.language.read_request(sent.body, path)
    assert (read.model, [message.text for message in read.messages]) == ("other", [system, prompt])
    assert limit in read.params.values() or limit in read.params.get("options", {}).values()
    assert sent.language in LANGUAGES
