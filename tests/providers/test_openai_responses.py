"""OpenAI responses, on bodies as their documentation shows them and as they were recorded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_modelroute.errors import MalformedExchange, StreamFailed
from pytest_modelroute.providers.exchange import Message, ProviderReply, ProviderRequest, Tool, ToolCall, Usage
from pytest_modelroute.providers.failures import Failure
from pytest_modelroute.providers.language import read_stream
from pytest_modelroute.providers.openai_responses import OpenAIResponses

PATH = "/v1/responses"
RESPONSES = OpenAIResponses()
REQUEST = ProviderRequest(model="asked", messages=(Message(role="user", text="abcdefgh"),))
MESSAGE = {
    "type": "message",
    "id": "msg_1",
    "status": "completed",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "hi", "annotations": []}],
}
CALL = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_9",
    "name": "weather",
    "arguments": '{"city": "Paris"}',
    "status": "completed",
}
USAGE = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 4},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 3},
    "total_tokens": 15,
}


def _bytes(value: object) -> bytes:
    return json.dumps(value).encode()


def _reply(**members: Any) -> dict[str, Any]:
    return {"id": "resp_1", "object": "response", "status": "completed", "error": None, "output": [MESSAGE], **members}


def _event(kind: str, **members: Any) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + _bytes({"type": kind, **members}) + b"\n\n"


def _delta(text: str) -> bytes:
    return _event("response.output_text.delta", item_id="msg_1", output_index=0, content_index=0, delta=text)


def _read(**members: Any) -> ProviderRequest:
    return RESPONSES.read_request(_bytes({"model": "m", "input": "Hi", **members}), PATH)


# Requests


def test_a_request_carries_its_key_as_a_bearer_token() -> None:
    """The key goes where OpenAI looks for it."""
    assert RESPONSES.write_request(REQUEST, "k").headers["authorization"] == "Bearer k"


def test_a_request_has_no_members_that_it_does_not_need() -> None:
    """The path is relative to a base that ends in /v1, and the input a list of messages."""
    wire = RESPONSES.write_request(REQUEST, "k")
    body = {"model": "asked", "input": [{"role": "user", "content": "abcdefgh"}]}
    assert (wire.path, json.loads(wire.body)) == ("/responses", body)


def test_a_system_prompt_is_sent_as_instructions() -> None:
    """The format keeps one place for it."""
    request = ProviderRequest(model="m", messages=(Message(role="system", text="Be brief."),))
    body = json.loads(RESPONSES.write_request(request, "k").body)
    assert body == {"model": "m", "instructions": "Be brief.", "input": []}


def test_a_system_prompt_in_parts_stays_an_item() -> None:
    """Instructions are a text."""
    parts = ({"type": "input_text", "text": "Be brief."},)
    request = ProviderRequest(model="m", messages=(Message(role="system", text="Be brief.", parts=parts),))
    body = json.loads(RESPONSES.write_request(request, "k").body)
    assert body == {"model": "m", "input": [{"role": "system", "content": [*parts]}]}


def test_a_text_is_the_message_of_a_user() -> None:
    """The shortest request of all."""
    assert _read().messages == (Message(role="user", text="Hi"),)


def test_instructions_are_the_first_message() -> None:
    """As a system prompt, whatever comes in the input."""
    messages = _read(instructions="Be brief.", input=[{"role": "developer", "content": "x"}]).messages
    assert messages == (Message(role="system", text="Be brief."), Message(role="developer", text="x"))


def test_null_instructions_are_none() -> None:
    """Some clients send what is left out as null."""
    assert _read(instructions=None).messages == (Message(role="user", text="Hi"),)


def test_items_that_are_no_messages_are_kept() -> None:
    """Calls of tools, their results and reasoning are parts of a message, and are written as they came."""
    output = {"type": "function_call_output", "call_id": "call_9", "output": "Rain"}
    request = _read(input=[{"role": "user", "content": "Weather?"}, CALL, output])
    assert [(message.role, message.text) for message in request.messages] == [
        ("user", "Weather?"),
        ("assistant", ""),
        ("tool", "Rain"),
    ]
    written = json.loads(RESPONSES.write_request(request, "k").body)
    assert written["input"] == [{"role": "user", "content": "Weather?"}, CALL, output]


def test_tools_are_read_flat() -> None:
    """A function has no object around it, and a tool of OpenAI's own goes by its type."""
    tools = [
        {"type": "function", "name": "now", "parameters": {"type": "object"}},
        {"type": "file_search", "vector_store_ids": []},
    ]
    assert _read(tools=tools).tools == (Tool(name="now", parameters={"type": "object"}), Tool(name="file_search"))


def test_a_stream_always_reports_usage() -> None:
    """There are no stream_options here that ask for it."""
    request = _read(stream=True)
    assert (request.stream, request.include_usage) == (True, True)


@pytest.mark.parametrize(
    "body", [{"input": "Hi"}, {"model": "m"}, {"model": "m", "input": 5}, {"model": "m", "input": ["Hi"]}]
)
def test_a_request_that_is_none_says_what_is_wrong(body: dict[str, Any]) -> None:
    """Other services have paths that end in /responses too."""
    with pytest.raises(MalformedExchange) as error:
        RESPONSES.read_request(_bytes(body), PATH)
    assert str(error.value) == (
        "an OpenAI response request needs a model (text) and an input (a text or a list of items); it has "
        f"{sorted(body)}"
    )


# Replies


def test_a_documented_reply_is_read() -> None:
    """Cached and reasoning tokens are taken out of the totals that include them."""
    body = _bytes(_reply(model="gpt-5-mini-2025-08-07", usage=USAGE))
    assert RESPONSES.read_reply(body) == ProviderReply(
        text="hi",
        model="gpt-5-mini-2025-08-07",
        usage=Usage(fresh_input=6, cache_read=4, output=2, reasoning=3),
    )


def test_the_smallest_reply_is_read() -> None:
    """A reply that says nothing but its text is one all the same."""
    body = b'{"output":[{"type":"message","content":[{"type":"output_text","text":"hi"}]}]}'
    assert RESPONSES.read_reply(body) == ProviderReply(text="hi")


def test_reasoning_beside_a_message_is_no_text() -> None:
    """Only messages are the answer."""
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Let me think"}]}
    assert RESPONSES.read_reply(_bytes(_reply(output=[reasoning, MESSAGE]))).text == "hi"


def test_a_refusal_is_no_text() -> None:
    """The client's output_text leaves it out too."""
    message = {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    assert RESPONSES.read_reply(_bytes(_reply(output=[message]))).text == ""


def test_a_tool_call_is_read_by_its_call_id() -> None:
    """Its result is sent back under that id, not under the item's."""
    assert RESPONSES.read_reply(_bytes(_reply(output=[CALL]))).tool_calls == (
        ToolCall(name="weather", arguments={"city": "Paris"}, id="call_9"),
    )


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("max_output_tokens", "length"), ("content_filter", "content_filter"), ("steered", "stop")],
)
def test_why_a_reply_is_incomplete_is_read(reason: str, finish: str) -> None:
    """What is not known is a plain stop."""
    body = _bytes(_reply(status="incomplete", incomplete_details={"reason": reason}))
    assert RESPONSES.read_reply(body).finish_reason == finish


def test_a_reply_that_failed_is_none() -> None:
    """A status 200 may hold an error, which is told by its code."""
    body = _reply(status="failed", output=[], error={"code": "rate_limit_exceeded", "message": "Slow down"})
    with pytest.raises(StreamFailed, match=r"^an OpenAI response ended in an error: Slow down$") as error:
        RESPONSES.read_reply(_bytes(body))
    assert (error.value.kind, error.value.code) == ("rate_limited", "rate_limit_exceeded")


def test_a_reply_without_output_is_malformed() -> None:
    """An error page in JSON is no answer."""
    with pytest.raises(
        MalformedExchange, match=r"^an OpenAI response reply has no list of output; it has \['detail'\]$"
    ):
        RESPONSES.read_reply(b'{"detail": "x"}')


# Streams


def test_a_recorded_stream_is_read() -> None:
    """The answer is the one in the last event; events that are not known are passed over."""
    body = (
        _event("response.created", sequence_number=0, response=_reply(output=[]))
        + _event("response.future_thing", sequence_number=1)
        + _delta("h")
        + _delta("i")
        + _event("response.completed", response=_reply(output=[MESSAGE, CALL], model="m-1", usage=USAGE))
    )
    assert read_stream(RESPONSES, body) == ProviderReply(
        text="hi",
        model="m-1",
        usage=Usage(fresh_input=6, cache_read=4, output=2, reasoning=3),
        tool_calls=(ToolCall(name="weather", arguments={"city": "Paris"}, id="call_9"),),
    )


def test_a_last_event_without_output_leaves_the_items_that_were_done() -> None:
    """Some compatible hosts repeat nothing."""
    body = (
        _delta("hi")
        + _event("response.output_item.done", output_index=1, item=CALL)
        + _event("response.output_item.done", output_index=0, item=MESSAGE)
        + _event("response.completed", response=_reply(output=None))
    )
    reply = read_stream(RESPONSES, body)
    assert (reply.text, [call.name for call in reply.tool_calls]) == ("hi", ["weather"])


def test_an_incomplete_stream_is_whole() -> None:
    """It ended as the provider meant it to."""
    incomplete = _reply(status="incomplete", incomplete_details={"reason": "max_output_tokens"})
    body = _delta("hi") + _event("response.incomplete", response=incomplete)
    assert read_stream(RESPONSES, body).finish_reason == "length"


def test_a_stream_that_was_cut_off_says_so() -> None:
    """Without its last event a stream is a part."""
    with pytest.raises(MalformedExchange) as error:
        read_stream(RESPONSES, _delta("hi"))
    assert str(error.value) == "the stream of an OpenAI response was cut off: no event says that it is completed"


FAILED = {"status": "failed", "error": {"code": "insufficient_quota", "message": "Used up"}}


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (
            _event("error", sequence_number=2, error={"type": "x", "code": "insufficient_quota", "message": "Used up"}),
            "quota_exhausted",
            "insufficient_quota",
        ),
        (
            _event("error", sequence_number=2, code="insufficient_quota", message="Used up", param=None),
            "quota_exhausted",
            "insufficient_quota",
        ),
        (_event("error", sequence_number=2, code=None, message="Used up", param=None), "server_error", None),
        (_event("response.failed", sequence_number=2, response=FAILED), "quota_exhausted", "insufficient_quota"),
    ],
    ids=["as recorded", "as documented", "without a code", "failed"],
)
def test_an_error_ends_a_stream_in_any_of_its_forms(body: bytes, kind: str, code: str | None) -> None:
    """An event of that name, with an object or flat, or a response that failed."""
    with pytest.raises(StreamFailed, match=r"^an OpenAI response ended in an error: Used up$") as error:
        read_stream(RESPONSES, _delta("hi") + body)
    assert (error.value.kind, error.value.code) == (kind, code)


def test_an_error_in_a_stream_is_written_as_it_was_recorded() -> None:
    """An object with type and code, under which the client raises."""
    frame = RESPONSES.write_stream_error(Failure(kind="rate_limited", message="Slow down")).decode()
    name, data, *_ = frame.splitlines()
    error = {"message": "Slow down", "type": "requests", "param": None, "code": "rate_limit_exceeded"}
    assert (name, json.loads(data.removeprefix("data: "))) == ("event: error", {"type": "error", "error": error})


def test_a_reply_without_usage_reports_null() -> None:
    """The member is there, as the client expects."""
    assert json.loads(RESPONSES.write_reply(REQUEST, ProviderReply(text="hi", reports_usage=False)))["usage"] is None


def test_a_reply_without_usage_is_written_with_an_estimate() -> None:
    """Four characters are a token: eight of the question, twelve of the answer."""
    usage = RESPONSES.read_reply(RESPONSES.write_reply(REQUEST, ProviderReply(text="x" * 12))).usage
    assert usage == Usage(fresh_input=2, output=3)
