"""Anthropic messages, on bodies as their documentation shows them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_modelroute.errors import MalformedExchange
from pytest_modelroute.providers.anthropic_messages import AnthropicMessages
from pytest_modelroute.providers.exchange import Message, ProviderReply, ProviderRequest, Tool, ToolCall, Usage
from pytest_modelroute.providers.failures import ErrorClass, Failure
from pytest_modelroute.providers.language import read_stream
from pytest_modelroute.providers.sse import read_events

PATH = "/v1/messages"
MESSAGES = AnthropicMessages()
REQUEST = ProviderRequest(model="asked", messages=(Message(role="user", text="abcdefgh"),))
USAGE = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 2,
    "cache_read_input_tokens": 4,
    "output_tokens": 5,
    "service_tier": "standard",
}


def _bytes(value: object) -> bytes:
    return json.dumps(value).encode()


def _reply(**members: Any) -> bytes:
    return _bytes({"content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn", **members})


def _event(kind: str, **members: Any) -> bytes:
    return f"event: {kind}\ndata: ".encode() + _bytes({"type": kind, **members}) + b"\n\n"


def _start(usage: object = None) -> bytes:
    return _event("message_start", message={"model": "claude", "content": [], "usage": usage})


def _text(text: str) -> bytes:
    return _event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


def _stop(reason: str = "end_turn", usage: object = None) -> bytes:
    return _event("message_delta", delta={"stop_reason": reason}, usage=usage) + _event("message_stop")


# Requests


def test_a_request_carries_its_key_in_its_own_header() -> None:
    """The key goes where Anthropic looks for it."""
    assert MESSAGES.write_request(REQUEST, "k").headers["x-api-key"] == "k"


def test_a_request_names_the_version_of_the_format() -> None:
    """Anthropic refuses requests without a version."""
    assert MESSAGES.write_request(REQUEST, "k").headers["anthropic-version"] == "2023-06-01"


def test_a_request_without_max_tokens_is_given_some() -> None:
    """The format requires the member; nothing else is added."""
    assert json.loads(MESSAGES.write_request(REQUEST, "k").body) == {
        "model": "asked",
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": "abcdefgh"}],
    }


def test_the_max_tokens_of_a_request_win() -> None:
    """What is asked for replaces the default."""
    request = ProviderRequest(model="m", messages=(), params={"max_tokens": 5})
    assert json.loads(MESSAGES.write_request(request, "k").body)["max_tokens"] == 5


def test_one_system_message_moves_to_its_own_member() -> None:
    """A single system text stays a text, outside of the messages."""
    request = ProviderRequest(
        model="m", messages=(Message(role="user", text="hi"), Message(role="system", text="rules"))
    )
    body = json.loads(MESSAGES.write_request(request, "k").body)
    assert (body["system"], body["messages"]) == ("rules", [{"role": "user", "content": "hi"}])


def test_several_system_messages_become_parts() -> None:
    """The member has room for one text or for many parts, and those of a message keep what they carry."""
    cached = {"type": "text", "text": "b", "cache_control": {"type": "ephemeral"}}
    request = ProviderRequest(
        model="m", messages=(Message(role="system", text="a"), Message(role="system", text="b", parts=(cached,)))
    )
    assert json.loads(MESSAGES.write_request(request, "k").body)["system"] == [{"type": "text", "text": "a"}, cached]


def test_a_system_prompt_in_parts_is_the_first_message() -> None:
    """Its text is joined and its parts are kept."""
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    request = MESSAGES.read_request(_bytes({"model": "m", "messages": [], "system": parts}), PATH)
    assert request.messages == (Message(role="system", text="ab", parts=tuple(parts)),)


def test_a_tool_without_description_is_read() -> None:
    """The description is optional in the format."""
    body = _bytes({"model": "m", "messages": [], "tools": [{"name": "now", "input_schema": {"type": "object"}}]})
    assert MESSAGES.read_request(body, PATH).tools == (Tool(name="now", parameters={"type": "object"}),)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "an Anthropic message request is not JSON (Expecting value: line 1 column 1 (char 0)): ''"),
        (b"3", "an Anthropic message request is not a JSON object: '3'"),
        (
            b'{"messages": []}',
            (
                "an Anthropic message request needs a model (text) and messages (a list of objects); "
                "its model is missing, its messages are list, it has ['messages']"
            ),
        ),
        (
            b'{"model": "m"}',
            (
                "an Anthropic message request needs a model (text) and messages (a list of objects); "
                "its model is str, its messages are missing, it has ['model']"
            ),
        ),
        (
            b'{"model": "m", "messages": [{"role": "user", "content": {}}]}',
            "an Anthropic message: the content of a message of role 'user' is dict, not text or parts",
        ),
        (
            b'{"model": "m", "messages": [], "system": 5}',
            "an Anthropic message: the content of a message of role 'system' is int, not text or parts",
        ),
    ],
    ids=["no JSON", "no object", "no model", "no messages", "content is an object", "system is a number"],
)
def test_a_request_that_is_none_says_what_is_wrong(body: bytes, message: str) -> None:
    """Each way of being malformed has a message that shows what stood there."""
    with pytest.raises(MalformedExchange) as error:
        MESSAGES.read_request(body, PATH)
    assert str(error.value) == message


# Replies


def test_a_documented_reply_is_read() -> None:
    """The reply of Anthropic's reference: input_tokens exclude both cache buckets."""
    assert MESSAGES.read_reply(_reply(model="claude-haiku-4-5-20251001", usage=USAGE)) == ProviderReply(
        text="hi",
        model="claude-haiku-4-5-20251001",
        usage=Usage(fresh_input=10, cache_read=4, cache_write=2, output=5),
    )


def test_the_smallest_reply_is_read() -> None:
    """A reply that names no model, reports no usage and gives no stop reason is one all the same."""
    assert MESSAGES.read_reply(b'{"content":[{"type":"text","text":"hi"}]}') == ProviderReply(text="hi")


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("something_new", "stop"),
    ],
)
def test_stop_reasons_are_read(said: str, read: str) -> None:
    """Each reason has its word here, and one that is not known is a plain stop."""
    assert MESSAGES.read_reply(_reply(stop_reason=said)).finish_reason == read


def test_text_blocks_are_joined_around_others() -> None:
    """Thinking and tool use are no text."""
    blocks = [
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": "a"},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
        {"type": "text", "text": "b"},
    ]
    assert MESSAGES.read_reply(_reply(content=blocks)).text == "ab"


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        (None, None),
        ({}, None),
        ({"input_tokens": 3, "output_tokens": 2}, Usage(fresh_input=3, output=2)),
        ({"input_tokens": 3, "cache_read_input_tokens": None, "output_tokens": "x"}, Usage(fresh_input=3)),
    ],
    ids=["null", "empty", "no cache", "nonsense"],
)
def test_usage_is_read_leniently(usage: object, read: Usage | None) -> None:
    """An absent bucket is none, and nonsense counts as zero."""
    assert MESSAGES.read_reply(_reply(usage=usage)).usage == read


def test_thinking_that_is_told_apart_is_reasoning() -> None:
    """Where output_tokens_details count the thinking, it is taken out of the output that includes it."""
    usage = {"input_tokens": 3, "output_tokens": 9, "output_tokens_details": {"thinking_tokens": 7}}
    assert MESSAGES.read_reply(_reply(usage=usage)).usage == Usage(fresh_input=3, output=2, reasoning=7)


def test_a_bool_for_a_count_is_nonsense() -> None:
    """JSON's true is no number of tokens, and counts as zero like other nonsense."""
    assert MESSAGES.read_reply(_reply(usage={"input_tokens": 3, "output_tokens": True})).usage == Usage(fresh_input=3)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>", "an Anthropic message reply is not JSON (Expecting value: line 1 column 1 (char 0)): '<html>'"),
        (b'"hi"', "an Anthropic message reply is not a JSON object: '\"hi\"'"),
        (b'{"id": "m"}', "an Anthropic message reply has no list of content; it has ['id']"),
        (b'{"content": "hi"}', "an Anthropic message reply has no list of content; it has ['content']"),
    ],
    ids=["no JSON", "no object", "no content", "content is a text"],
)
def test_a_reply_that_is_none_says_what_is_wrong(body: bytes, message: str) -> None:
    """Each way of being malformed has a message that shows what stood there."""
    with pytest.raises(MalformedExchange) as error:
        MESSAGES.read_reply(body)
    assert str(error.value) == message


def test_a_reply_of_tool_calls_alone_has_no_text_block() -> None:
    """A first block of empty text would hide the tool call from code that takes the first block."""
    reply = ProviderReply(text="", tool_calls=(ToolCall(name="f"),), finish_reason="tool_calls")
    assert [block["type"] for block in json.loads(MESSAGES.write_reply(REQUEST, reply))["content"]] == ["tool_use"]


def test_a_reply_without_usage_is_written_with_an_estimate() -> None:
    """Four characters are a token: eight of the question, twelve of the answer."""
    usage = MESSAGES.read_reply(MESSAGES.write_reply(REQUEST, ProviderReply(text="x" * 12))).usage
    assert usage == Usage(fresh_input=2, output=3)


def test_reasoning_is_written_as_output() -> None:
    """Anthropic counts thinking in output_tokens."""
    reply = ProviderReply(text="hi", usage=Usage(output=4, reasoning=3))
    assert json.loads(MESSAGES.write_reply(REQUEST, reply))["usage"]["output_tokens"] == 7


# Streams


def test_the_events_of_a_stream_are_named_and_in_order() -> None:
    """Clients read events by their name, in the order that Anthropic documents."""
    body = b"".join(MESSAGES.write_stream(REQUEST, ProviderReply(text="a b"), ["a", " b"]))
    assert [event.name for event in read_events(body)] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_the_name_of_an_event_is_its_type() -> None:
    """Name and type never differ."""
    body = b"".join(MESSAGES.write_stream(REQUEST, ProviderReply(text="a", tool_calls=(ToolCall(name="f"),)), ["a"]))
    events = list(read_events(body))
    assert [event.name for event in events] == [json.loads(event.data)["type"] for event in events]


def test_a_stream_of_tool_calls_alone_has_no_text_block() -> None:
    """A stream says what the whole reply says: no block of empty text in front of the tool call."""
    reply = ProviderReply(text="", tool_calls=(ToolCall(name="f"),), finish_reason="tool_calls")
    events = [json.loads(event.data) for event in read_events(b"".join(MESSAGES.write_stream(REQUEST, reply, [""])))]
    blocks = [event["content_block"]["type"] for event in events if event["type"] == "content_block_start"]
    assert blocks == ["tool_use"]


def test_a_documented_stream_is_read() -> None:
    """The numbers of the last event replace those of the first."""
    body = b"".join(
        [
            _start({"input_tokens": 10, "cache_read_input_tokens": 4, "output_tokens": 1}),
            _event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
            _event("ping"),
            _text("h"),
            _text("i"),
            _event("content_block_stop", index=0),
            _stop("max_tokens", {"output_tokens": 5}),
        ]
    )
    assert read_stream(MESSAGES, body) == ProviderReply(
        text="hi",
        model="claude",
        usage=Usage(fresh_input=10, cache_read=4, output=5),
        finish_reason="length",
    )


def test_a_null_in_the_last_usage_replaces_no_number() -> None:
    """The last event may say null for what the first has counted, and the client keeps the first number then."""
    body = _start({"input_tokens": 10, "output_tokens": 1}) + _text("hi")
    body += _stop(usage={"input_tokens": None, "output_tokens": 5})
    assert read_stream(MESSAGES, body).usage == Usage(fresh_input=10, output=5)


def test_a_stream_that_reports_no_usage_has_none() -> None:
    """Nothing is estimated when reading."""
    assert read_stream(MESSAGES, _start() + _text("hi") + _stop()).usage is None


def test_a_tool_call_in_fragments_is_put_together() -> None:
    """The arguments come piece by piece, for the block that their index names."""
    body = b"".join(
        [
            _start(),
            _event(
                "content_block_start", index=1, content_block={"type": "tool_use", "id": "t1", "name": "f", "input": {}}
            ),
            _event("content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": '{"city": "Pa'}),
            _event("content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": 'ris"}'}),
            _stop("tool_use"),
        ]
    )
    assert read_stream(MESSAGES, body).tool_calls == (ToolCall(name="f", arguments={"city": "Paris"}, id="t1"),)


def test_thinking_in_a_stream_is_no_text() -> None:
    """Deltas of thinking and signatures add nothing to the text."""
    thinking = _event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "hm"})
    assert read_stream(MESSAGES, _start() + thinking + _text("hi") + _stop()).text == "hi"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the stream of an Anthropic message was cut off: no event gives a stop_reason"),
        (_start() + _text("hi"), "the stream of an Anthropic message was cut off: no event gives a stop_reason"),
        (
            _start() + b'event: content_block_delta\ndata: {"type"',
            (
                "an event of an Anthropic message is not JSON (Expecting ':' delimiter: line 1 column 8 (char 7)): "
                "'{\"type\"'"
            ),
        ),
        (
            _start() + _event("error", error={"type": "overloaded_error", "message": "Overloaded"}),
            "the stream of an Anthropic message ended in an error: Overloaded",
        ),
    ],
    ids=["empty", "no stop reason", "half an event", "error"],
)
def test_a_stream_that_did_not_end_well_says_so(body: bytes, message: str) -> None:
    """A stream that was cut off is told from one that ended in an error."""
    with pytest.raises(MalformedExchange) as error:
        read_stream(MESSAGES, body)
    assert str(error.value) == message


# Errors


@pytest.mark.parametrize(
    ("kind", "status", "kind_type"),
    [
        ("rate_limited", 429, "rate_limit_error"),
        ("quota_exhausted", 402, "billing_error"),
        ("overloaded", 529, "overloaded_error"),
        ("authentication", 401, "authentication_error"),
        ("not_found", 404, "not_found_error"),
        ("server_error", 500, "api_error"),
        ("unavailable", 503, "api_error"),
        ("bad_request", 400, "invalid_request_error"),
    ],
)
def test_an_error_is_written_in_anthropics_words(kind: ErrorClass, status: int, kind_type: str) -> None:
    """Status and type are those that Anthropic sends for this class."""
    error = MESSAGES.write_error(Failure(kind=kind, message="So it is"))
    assert (error.status, json.loads(error.body)) == (
        status,
        {"type": "error", "error": {"type": kind_type, "message": "So it is"}, "request_id": "req_scripted"},
    )


def test_a_prompt_that_is_too_long_is_told_by_its_message() -> None:
    """Anthropic has no type of its own for it."""
    error = MESSAGES.write_error(Failure(kind="context_overflow", message="250000 tokens > 200000 maximum"))
    assert MESSAGES.read_error(error.body) == (
        "invalid_request_error",
        "prompt is too long: 250000 tokens > 200000 maximum",
    )


@pytest.mark.parametrize("body", [b"{}", b'{"error": null}', b'{"type": "error", "error": {}}'])
def test_an_error_without_words_has_none(body: bytes) -> None:
    """Nothing is made up."""
    assert MESSAGES.read_error(body) == (None, "")


def test_an_error_page_is_malformed() -> None:
    """HTML of a proxy is no error of a provider."""
    with pytest.raises(MalformedExchange, match="an Anthropic message error is not JSON"):
        MESSAGES.read_error(b"<html>502</html>")
