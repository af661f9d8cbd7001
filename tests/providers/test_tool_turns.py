"""Calls of tools and their results are written as the real client libraries write them."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import anthropic
import boto3  # type: ignore[import-untyped]
import httpx2
import ollama
import openai
import pytest
from google import genai
from google.genai import types
from mistralai.client import Mistral

from pytest_modelroute import MockProviders, ModelSettings, Settings
from pytest_modelroute.providers.exchange import Message, ProviderRequest, ToolCall
from pytest_modelroute.providers.registry import LANGUAGES
from pytest_modelroute.router import ModelClient, ModelRequest

ORDER = ToolCall(name="order", arguments={"number": 7}, id="call_7")
STOCK = ToolCall(name="stock", arguments={"item": "Rösti"}, id="call_8")
ASKED = "Where is order 7?"
TALK = (
    Message(role="user", text=ASKED),
    Message(role="assistant", text="I look.", tool_calls=(ORDER, STOCK)),
    Message(role="tool", text="on its way", result_of=ORDER),
    Message(role="tool", text="none left", result_of=STOCK),
)
SILENT = (*TALK[:1], Message(role="assistant", text="", tool_calls=(ORDER,)), TALK[2])


def _written(name: str, member: str, talk: tuple[Message, ...] = TALK) -> Any:
    """What our language writes for a conversation."""
    language = next(language for language in LANGUAGES if language.name == name)
    wire = language.write_request(ProviderRequest(model="m", messages=talk, params={"max_tokens": 9}), "k")
    return json.loads(wire.body)[member]


def _sent(providers: MockProviders, member: str) -> Any:
    """What the client sent; the prompt is the user's question, not the result of a tool in the user's name."""
    (call,) = providers.calls
    assert call.prompt == ASKED
    return call.request.body[member]


def _openai_call(call: ToolCall) -> Any:
    function = {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)}
    return {"id": call.id, "type": "function", "function": function}


def test_openai(mock_providers: MockProviders) -> None:
    """Arguments are a text, and each result is a message of its own."""
    mock_providers.otherwise("It is on its way.")
    messages: Any = [
        {"role": "user", "content": ASKED},
        {"role": "assistant", "content": "I look.", "tool_calls": [_openai_call(ORDER), _openai_call(STOCK)]},
        {"role": "tool", "tool_call_id": "call_7", "content": "on its way"},
        {"role": "tool", "tool_call_id": "call_8", "content": "none left"},
    ]
    openai.OpenAI(api_key="k").chat.completions.create(model="m", messages=messages)
    assert _written("openai-chat", "messages") == _sent(mock_providers, "messages")


def test_openai_takes_calls_without_a_word() -> None:
    """Their content is null then."""
    assert _written("openai-chat", "messages", SILENT)[1] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [_openai_call(ORDER)],
    }


def test_openai_responses(mock_providers: MockProviders) -> None:
    """Calls and results are items beside the messages."""
    mock_providers.otherwise("It is on its way.")
    items: Any = [
        {"role": "user", "content": ASKED},
        {"role": "assistant", "content": "I look."},
        *(
            {
                "type": "function_call",
                "call_id": call.id,
                "name": call.name,
                "arguments": json.dumps(call.arguments, ensure_ascii=False),
            }
            for call in (ORDER, STOCK)
        ),
        {"type": "function_call_output", "call_id": "call_7", "output": "on its way"},
        {"type": "function_call_output", "call_id": "call_8", "output": "none left"},
    ]
    openai.OpenAI(api_key="k").responses.create(model="m", input=items)
    assert _written("openai-responses", "input") == _sent(mock_providers, "input")
    assert [item.get("type") for item in _written("openai-responses", "input", SILENT)] == [
        None,
        "function_call",
        "function_call_output",
    ]


def test_anthropic(mock_providers: MockProviders) -> None:
    """The results of a turn are one message of the user."""
    mock_providers.otherwise("It is on its way.")
    messages: list[anthropic.types.MessageParam] = [
        {"role": "user", "content": ASKED},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "call_7", "name": "order", "input": {"number": 7}},
                {"type": "tool_use", "id": "call_8", "name": "stock", "input": {"item": "Rösti"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "call_7", "content": "on its way"},
                {"type": "tool_result", "tool_use_id": "call_8", "content": "none left"},
            ],
        },
    ]
    anthropic.Anthropic(api_key="k").messages.create(model="m", max_tokens=9, messages=messages)
    assert _written("anthropic-messages", "messages") == _sent(mock_providers, "messages")
    assert [part["type"] for part in _written("anthropic-messages", "messages", SILENT)[1]["content"]] == ["tool_use"]


def test_gemini(mock_providers: MockProviders) -> None:
    """Arguments and results are objects; a plain text is the output of a result."""
    mock_providers.otherwise("It is on its way.")
    results = ((ORDER, "on its way"), (STOCK, "none left"))
    calls = [types.FunctionCall(id=call.id, name=call.name, args=dict(call.arguments)) for call in (ORDER, STOCK)]
    found = [types.FunctionResponse(id=call.id, name=call.name, response={"output": text}) for call, text in results]
    contents: Any = [
        types.Content(role="user", parts=[types.Part(text=ASKED)]),
        types.Content(
            role="model", parts=[types.Part(text="I look."), *(types.Part(function_call=call) for call in calls)]
        ),
        types.Content(role="user", parts=[types.Part(function_response=result) for result in found]),
    ]
    with httpx2.Client() as http:
        options = types.HttpOptions(httpx_client=http)
        genai.Client(api_key="k", http_options=options).models.generate_content(model="m", contents=contents)
    assert _written("gemini", "contents") == _sent(mock_providers, "contents")


def test_mistral(mock_providers: MockProviders) -> None:
    """As OpenAI; its client reads what we write before it sends it."""
    mock_providers.otherwise("It is on its way.")
    with Mistral(api_key="k") as client:
        client.chat.complete(model="m", messages=_written("mistral-chat", "messages"))
    sent = _sent(mock_providers, "messages")
    assert [(entry["role"], entry["content"], entry.get("tool_call_id")) for entry in sent] == [
        ("user", ASKED, None),
        ("assistant", "I look.", None),
        ("tool", "on its way", "call_7"),
        ("tool", "none left", "call_8"),
    ]
    assert [(call["id"], call["function"]["name"]) for call in sent[1]["tool_calls"]] == [
        ("call_7", "order"),
        ("call_8", "stock"),
    ]


def test_ollama(mock_providers: MockProviders) -> None:
    """Arguments are an object, and a result names its tool."""
    mock_providers.otherwise("It is on its way.")
    ollama.Client().chat(model="m", messages=_written("ollama-chat", "messages"))
    sent = _sent(mock_providers, "messages")
    assert [call["function"] for call in sent[1]["tool_calls"]] == [
        {"name": "order", "arguments": {"number": 7}},
        {"name": "stock", "arguments": {"item": "Rösti"}},
    ]
    assert [(entry["role"], entry["content"], entry.get("tool_name")) for entry in sent[2:]] == [
        ("tool", "on its way", "order"),
        ("tool", "none left", "stock"),
    ]


def test_bedrock() -> None:
    """Its client checks each member before it writes it."""
    client: Any = boto3.client(
        "bedrock-runtime", region_name="eu-central-1", aws_access_key_id="id", aws_secret_access_key="secret"
    )
    bodies: list[bytes] = []

    def capture(params: Any, **_: Any) -> Any:
        bodies.append(params["body"])
        return SimpleNamespace(status_code=200), {}

    client.meta.events.register("before-call.bedrock-runtime.Converse", capture)
    written = _written("bedrock-converse", "messages")
    client.converse(modelId="m", messages=written)
    assert json.loads(bodies[0])["messages"] == written
    assert [sorted(part) for message in written for part in message["content"]] == [
        ["text"],
        ["text"],
        ["toolUse"],
        ["toolUse"],
        ["toolResult"],
        ["toolResult"],
    ]


@pytest.mark.parametrize("model", ["gpt-m", "claude-m", "gemini-m"])
def test_the_turns_of_a_request_come_after_its_prompt(mock_providers: MockProviders, model: str) -> None:
    """And the prompt stays the user's question."""
    mock_providers.otherwise("It is on its way.")
    client = ModelClient(
        Settings(models={"m": ModelSettings(model=model)}), keys=dict.fromkeys(("openai", "anthropic", "google"), "k")
    )
    client.send("m", ModelRequest(prompt=ASKED, system="Be kind.", turns=TALK[1:]))
    client.close()
    (call,) = mock_providers.calls
    assert call.prompt == ASKED
    assert [message.role for message in call.messages][:3] == ["system", "user", "assistant"]
