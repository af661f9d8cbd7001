"""Mistral's dialect of chat completions, on bodies as its documentation shows them and as they were recorded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_modelroute.errors import MalformedExchange, StreamFailed
from pytest_modelroute.providers.exchange import Message, ProviderReply, ProviderRequest, ToolCall, Usage
from pytest_modelroute.providers.failures import ErrorClass, Failure
from pytest_modelroute.providers.language import read_stream
from pytest_modelroute.providers.mistral import MistralChat

CHAT = MistralChat()
REQUEST = ProviderRequest(model="asked", messages=(Message(role="user", text="abcdefgh"),), stream=True)


def _bytes(value: object) -> bytes:
    return json.dumps(value).encode()


def _chunk(delta: dict[str, Any], finish: str | None = None, **members: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + _bytes({"id": "cmpl-1", "model": "m-1", "choices": [choice], **members}) + b"\n\n"


# Requests


def test_a_stream_is_not_asked_for_its_usage() -> None:
    """Mistral refuses members that it does not know, and reports usage anyway."""
    body = json.loads(CHAT.write_request(REQUEST, "k").body)
    assert body == {"model": "asked", "messages": [{"role": "user", "content": "abcdefgh"}], "stream": True}


def test_a_request_that_is_none_names_mistral() -> None:
    """Messages name the format that was expected."""
    with pytest.raises(MalformedExchange, match=r"^a Mistral chat completion request needs a model"):
        CHAT.read_request(b"{}", "/v1/chat/completions")


# Replies


def test_a_recorded_reply_is_read() -> None:
    """Cached tokens stand in details, as with OpenAI."""
    call = {"id": "D681PevKs", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}, "index": 0}
    message = {"role": "assistant", "content": "", "tool_calls": [call]}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}
    body = {
        "model": "m-1",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
        "usage": usage,
    }
    assert CHAT.read_reply(_bytes(body)) == ProviderReply(
        model="m-1",
        usage=Usage(fresh_input=6, cache_read=4, output=5),
        tool_calls=(ToolCall(name="weather", arguments={"city": "Paris"}, id="D681PevKs"),),
    )


def test_a_reply_has_every_member_that_the_client_requires() -> None:
    """And none of OpenAI's own."""
    value = json.loads(CHAT.write_reply(REQUEST, ProviderReply(text="hi", usage=Usage(fresh_input=2, output=1))))
    assert value == {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": 1_750_000_000,
        "model": "asked",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "hi"},
                "finish_reason": "stop",
                "logprobs": None,
            }
        ],
        "usage": {
            "prompt_tokens": 2,
            "completion_tokens": 1,
            "total_tokens": 3,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
    }


def test_a_reply_that_ran_into_the_models_own_length_is_cut_short() -> None:
    """Mistral tells the limit of the model from that of the request."""
    body = {"choices": [{"message": {"content": "hi"}, "finish_reason": "model_length"}]}
    assert CHAT.read_reply(_bytes(body)).finish_reason == "length"


def test_a_reply_that_ended_in_an_error_is_none() -> None:
    """The model failed under status 200."""
    body = {"choices": [{"message": {"content": "h"}, "finish_reason": "error"}]}
    with pytest.raises(StreamFailed, match=r"^a Mistral chat completion ended in the finish_reason error$") as error:
        CHAT.read_reply(_bytes(body))
    assert error.value.kind == "server_error"


# Streams


def test_usage_comes_with_the_last_chunk() -> None:
    """Not in one without choices, as from OpenAI; code that reads choices[0] is safe."""
    last = CHAT.write_stream(REQUEST, ProviderReply(text="hi"), ["hi"])[-1].decode().split("\n\n")[-3]
    value = json.loads(last.removeprefix("data: "))
    assert (value["choices"][0]["finish_reason"], value["usage"]["prompt_tokens"]) == ("stop", 2)


def test_a_recorded_stream_is_read() -> None:
    """Role first, usage last."""
    usage = {"prompt_tokens": 7, "total_tokens": 9, "completion_tokens": 2}
    body = (
        _chunk({"role": "assistant", "content": ""})
        + _chunk({"content": "hi"})
        + _chunk({"content": ""}, "stop", usage=usage)
    )
    assert read_stream(CHAT, body + b"data: [DONE]\n\n") == ProviderReply(
        text="hi", model="m-1", usage=Usage(fresh_input=7, output=2)
    )


@pytest.mark.parametrize(
    ("end", "kind", "code"),
    [
        (_chunk({}, "error"), "server_error", None),
        (
            b'data: {"object":"error","message":"Internal error","type":"internal_error","code":"3000"}\n\n',
            "server_error",
            "3000",
        ),
        (b'data: {"object":"error","message":"x","type":"rate_limited","code":"1300"}\n\n', "rate_limited", "1300"),
    ],
    ids=["finish reason", "object", "rate limit"],
)
def test_an_error_ends_a_stream_in_either_form(end: bytes, kind: str, code: str | None) -> None:
    """A finish reason, or the object of a refusal."""
    with pytest.raises(StreamFailed) as error:
        read_stream(CHAT, _chunk({"content": "hi"}) + end)
    assert (error.value.kind, error.value.code) == (kind, code)


# Errors


@pytest.mark.parametrize(
    ("kind", "status", "type_", "code"),
    [
        ("rate_limited", 429, "rate_limited", "1300"),
        ("overloaded", 429, "service_tier_capacity_exceeded", "3505"),
        ("quota_exhausted", 402, "billing_api_budget_exhausted", "2303"),
        ("not_found", 400, "invalid_model", "1500"),
        ("content_filtered", 403, "guardrail_violation", "1920"),
        ("permission", 403, "tier_not_allowed", "1910"),
    ],
)
def test_an_error_is_written_in_mistrals_words(kind: ErrorClass, status: int, type_: str, code: str) -> None:
    """Status, type and code are those that were recorded for this class."""
    error = CHAT.write_error(Failure(kind=kind, message="So it is"))
    assert (error.status, json.loads(error.body)) == (
        status,
        {
            "object": "error",
            "message": "So it is",
            "type": type_,
            "param": None,
            "code": code,
            "raw_status_code": status,
        },
    )


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (
            400,
            {"object": "error", "message": "top_k sampling is not enabled for this model", "code": "3051"},
            "bad_request",
            "top_k sampling is not enabled for this model",
        ),
        (
            400,
            {
                "object": "error",
                "message": "Prompt contains 159202 tokens, too large for model with 131072 maximum context length",
                "type": "invalid_request_invalid_args",
                "code": "3051",
            },
            "context_overflow",
            "Prompt contains 159202 tokens, too large for model with 131072 maximum context length",
        ),
        (
            429,
            {"object": "error", "message": "Not enough capacity", "type": "backend_out_of_capacity", "code": "3505"},
            "overloaded",
            "Not enough capacity",
        ),
        (
            429,
            {"object": "error", "message": "Too busy", "type": "service_tier_capacity_exceeded", "code": None},
            "overloaded",
            "Too busy",
        ),
        (
            422,
            {
                "object": "error",
                "message": {"detail": [{"loc": ["body", "n"], "msg": "Extra inputs are not permitted"}]},
                "type": "invalid_request_error",
                "code": None,
            },
            "bad_request",
            "Extra inputs are not permitted",
        ),
        (422, {"detail": [{"msg": "one"}, {"msg": "two"}]}, "bad_request", "one; two"),
        (401, {"detail": "Unauthorized"}, "authentication", "Unauthorized"),
        (401, {"message": "Unauthorized", "request_id": "x"}, "authentication", "Unauthorized"),
    ],
    ids=[
        "vague code",
        "too long",
        "capacity",
        "type alone",
        "details",
        "documented details",
        "detail",
        "message alone",
    ],
)
def test_recorded_errors_are_understood(status: int, body: dict[str, Any], kind: str, message: str) -> None:
    """A code that stands for several classes does not tell: there the message does."""
    word, said = CHAT.read_error(_bytes(body))
    assert (CHAT.vocabulary.classify(status, word, said), said) == (kind, message)
