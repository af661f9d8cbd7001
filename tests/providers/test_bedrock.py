"""Amazon Bedrock's Converse, on bodies as its documentation shows them and as boto3 sends them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_modelroute.errors import MalformedExchange, StreamFailed
from pytest_modelroute.providers.aws_frames import FrameDecoder, sealed, write_frame
from pytest_modelroute.providers.bedrock import BedrockConverse
from pytest_modelroute.providers.exchange import Message, ProviderReply, ProviderRequest, Tool, ToolCall, Usage
from pytest_modelroute.providers.failures import ErrorClass, Failure
from pytest_modelroute.providers.language import read_stream, read_wire_error

PATH = "/model/amazon.nova-lite-v1%3A0/converse"
BEDROCK = BedrockConverse()
REQUEST = ProviderRequest(model="asked", messages=(Message(role="user", text="abcdefgh"),))
ARN = "arn:aws:bedrock:eu-central-1:123456789012:inference-profile/eu.anthropic.claude-haiku-4-5-20251001-v1:0"
ENCODED_ARN = ARN.replace(":", "%3A").replace("/", "%2F")


def _bytes(value: object) -> bytes:
    return json.dumps(value).encode()


def _request(**members: Any) -> ProviderRequest:
    return BEDROCK.read_request(_bytes({"messages": [{"role": "user", "content": [{"text": "hi"}]}], **members}), PATH)


def _reply(*blocks: Any, **members: Any) -> bytes:
    message = {"role": "assistant", "content": blocks or [{"text": "hi"}]}
    return _bytes({"output": {"message": message}, "stopReason": "end_turn", **members})


def _written(request: ProviderRequest) -> Any:
    return json.loads(BEDROCK.write_request(request, "k").body)


# Requests


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/model/anthropic.claude-3-5-sonnet-20240620-v1%3A0/converse", "anthropic.claude-3-5-sonnet-20240620-v1:0"),
        ("/model/eu.anthropic.claude-haiku-5-5/converse", "eu.anthropic.claude-haiku-5-5"),
        (f"/model/{ENCODED_ARN}/converse", ARN),
        (f"/model/{ARN}/converse", ARN),
        ("/gateway/model/m/converse", "m"),
    ],
)
def test_the_path_names_the_model(path: str, model: str) -> None:
    """Encoded as boto3 sends it, or decoded as HTTP libraries give it; an ARN has a slash in it."""
    request = BEDROCK.read_request(b'{"messages": []}', path)
    assert (BEDROCK.recognises(path), request.model, request.stream) == (True, model, False)


@pytest.mark.parametrize(
    "path", ["/model/m/invoke", "/model/m/count-tokens", "/model/m/converse/x", "/model//converse"]
)
def test_other_calls_of_the_service_are_not_recognised(path: str) -> None:
    """Each model's own format, and counting tokens, are not spoken here."""
    assert not BEDROCK.recognises(path)


def test_a_request_as_boto3_sends_it_is_read() -> None:
    """Every member in its place; what has no name of its own here is kept as it was sent."""
    request = _request(
        system=[{"text": "be brief"}],
        inferenceConfig={"maxTokens": 5, "temperature": 0.5, "topP": 0.1, "stopSequences": ["x"]},
        toolConfig={
            "tools": [
                {
                    "toolSpec": {
                        "name": "weather",
                        "description": "The weather",
                        "inputSchema": {"json": {"type": "object"}},
                    }
                },
                {"cachePoint": {"type": "default"}},
            ],
            "toolChoice": {"auto": {}},
        },
        additionalModelRequestFields={"top_k": 5},
    )
    assert request == ProviderRequest(
        model="amazon.nova-lite-v1:0",
        messages=(Message(role="system", text="be brief"), Message(role="user", text="hi")),
        tools=(Tool(name="weather", description="The weather", parameters={"type": "object"}),),
        params={
            "max_tokens": 5,
            "temperature": 0.5,
            "top_p": 0.1,
            "stop": ["x"],
            "toolConfig": {"toolChoice": {"auto": {}}, "tools": [{"cachePoint": {"type": "default"}}]},
            "additionalModelRequestFields": {"top_k": 5},
        },
    )


def test_a_conversation_with_calls_and_images_is_read() -> None:
    """Blocks beyond a single text are kept as sent."""
    image = {"image": {"format": "png", "source": {"bytes": "AA=="}}}
    call = {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"city": "Bern"}}}
    messages = [
        {"role": "user", "content": [{"text": "a"}, image, {"text": "b"}]},
        {"role": "assistant", "content": [call]},
    ]
    assert _request(messages=messages).messages == (
        Message(role="user", text="ab", parts=({"text": "a"}, image, {"text": "b"})),
        Message(role="assistant", text="", parts=(call,)),
    )


def test_a_request_carries_its_key_as_a_bearer_token() -> None:
    """As Bedrock's own API keys travel; nothing is signed."""
    wire = BEDROCK.write_request(ProviderRequest(model=ARN, messages=()), "k")
    assert (wire.headers["authorization"], wire.path) == ("Bearer k", f"/model/{ENCODED_ARN}/converse")


def test_a_request_is_written_as_documented() -> None:
    """System messages and parameters move to the members that the format keeps for them."""
    request = ProviderRequest(
        model="m",
        messages=(Message(role="system", text="a"), Message(role="user", text="hi"), Message(role="system", text="b")),
        params={"max_tokens": 5, "temperature": 0, "top_p": 0.9, "stop": "END", "requestMetadata": {"team": "x"}},
    )
    assert _written(request) == {
        "messages": [{"role": "user", "content": [{"text": "hi"}]}],
        "system": [{"text": "a"}, {"text": "b"}],
        "inferenceConfig": {"maxTokens": 5, "temperature": 0, "topP": 0.9, "stopSequences": ["END"]},
        "requestMetadata": {"team": "x"},
    }


def test_tools_are_written_beside_what_else_is_configured() -> None:
    """A description that is empty would be refused, and is left out."""
    request = ProviderRequest(
        model="m",
        messages=(),
        tools=(Tool(name="clock", parameters={"type": "object"}),),
        params={"toolConfig": {"toolChoice": {"any": {}}, "tools": [{"cachePoint": {"type": "default"}}]}},
    )
    assert _written(request)["toolConfig"] == {
        "tools": [
            {"toolSpec": {"name": "clock", "inputSchema": {"json": {"type": "object"}}}},
            {"cachePoint": {"type": "default"}},
        ],
        "toolChoice": {"any": {}},
    }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "a Bedrock converse request is not JSON (Expecting value: line 1 column 1 (char 0)): ''"),
        (b"3", "a Bedrock converse request is not a JSON object: '3'"),
        (
            b'{"system": []}',
            (
                "a Bedrock converse request needs messages (a list of objects); "
                "its messages are missing, it has ['system']"
            ),
        ),
        (
            b'{"messages": "hi"}',
            (
                "a Bedrock converse request needs messages (a list of objects); "
                "its messages are str, it has ['messages']"
            ),
        ),
        (
            b'{"messages": [{"role": "user", "content": "hi"}]}',
            "a Bedrock converse: the content of a message of role 'user' is str, not a list of objects",
        ),
        (
            b'{"messages": [], "system": "be brief"}',
            "a Bedrock converse: the content of a message of role 'system' is str, not a list of objects",
        ),
    ],
    ids=["no JSON", "no object", "no messages", "messages are a text", "content is a text", "system is a text"],
)
def test_a_request_that_is_none_says_what_is_wrong(body: bytes, message: str) -> None:
    """Each way of being malformed has a message that shows what stood there."""
    with pytest.raises(MalformedExchange) as error:
        BEDROCK.read_request(body, PATH)
    assert str(error.value) == message


def test_a_path_without_a_model_is_no_request() -> None:
    """The model is named nowhere else."""
    with pytest.raises(MalformedExchange) as error:
        BEDROCK.read_request(b'{"messages": []}', "/converse")
    assert str(error.value) == "a Bedrock converse request names its model in the path, which is '/converse'"


# Streams


def test_a_stream_has_a_path_of_its_own() -> None:
    """The body does not say that a stream is asked for."""
    stream = BEDROCK.read_request(b'{"messages": []}', "/model/m/converse-stream")
    assert (stream.model, stream.stream) == ("m", True)
    assert BEDROCK.write_request(stream, "k").path == "/model/m/converse-stream"


def test_a_stream_tells_its_events_by_the_headers_of_its_frames() -> None:
    """As boto3 names them; usage comes last."""
    body = b"".join(BEDROCK.write_stream(REQUEST, ProviderReply(text="a b", usage=Usage(output=2)), ["a ", "b"]))
    frames = list(FrameDecoder().feed(body))
    assert [frame.headers[":event-type"] for frame in frames] == [
        "messageStart",
        "contentBlockDelta",
        "contentBlockDelta",
        "contentBlockStop",
        "messageStop",
        "metadata",
    ]
    assert json.loads(frames[1].payload) == {"contentBlockIndex": 0, "delta": {"text": "a "}}


def test_a_stream_may_report_no_usage() -> None:
    """Then it is not known."""
    reply = ProviderReply(text="hi", reports_usage=False)
    assert read_stream(BEDROCK, b"".join(BEDROCK.write_stream(REQUEST, reply, ["hi"]))).usage is None


def test_a_stream_is_read_however_it_is_cut() -> None:
    """A frame may come in many pieces."""
    body = b"".join(BEDROCK.write_stream(REQUEST, ProviderReply(text="grüezi"), ["grü", "ezi"]))
    reader = BEDROCK.stream_reader()
    assert "".join(reader.feed(body[at : at + 1]) for at in range(len(body))) == reader.reply().text == "grüezi"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("rate_limited", "ThrottlingException"),
        ("context_overflow", "ValidationException"),
        ("server_error", "InternalServerException"),
    ],
)
def test_a_stream_may_end_in_an_error(kind: ErrorClass, code: str) -> None:
    """A frame of the error's type; the status stays 200."""
    error = BEDROCK.write_stream_error(Failure(kind=kind, message="So it is"))
    with pytest.raises(StreamFailed, match="So it is") as raised:
        read_stream(BEDROCK, error)
    assert (raised.value.kind, raised.value.code) == (kind, code)


def test_an_error_without_a_type_is_an_error_of_the_server() -> None:
    """AWS has frames that tell an error in their headers alone."""
    frame = write_frame({":message-type": "error", ":error-code": "internalError", ":error-message": "broken"}, b"")
    with pytest.raises(StreamFailed, match="InternalError: broken") as raised:
        read_stream(BEDROCK, frame)
    assert raised.value.kind == "server_error"


def test_events_that_are_not_known_are_passed_over() -> None:
    """Bedrock adds some, such as those of reasoning."""
    frames = BEDROCK.write_stream(REQUEST, ProviderReply(text="hi"), ["hi"])
    thought = {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "hm"}}}
    new = [
        write_frame({":message-type": "event", ":event-type": "later"}, b"{}"),
        write_frame({":message-type": "event", ":event-type": "contentBlockDelta"}, _bytes(thought)),
    ]
    assert read_stream(BEDROCK, b"".join([*new, *frames])).text == "hi"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda body: body[:-1] + bytes([body[-1] ^ 1]), "a frame of an AWS stream does not fit its checksum"),
        (lambda _body: bytes(12), "a frame of an AWS stream is 0 bytes long, with 0 of headers"),
        (lambda body: body[:-1], "the stream of a Bedrock converse-stream was cut off: no messageStop came"),
    ],
    ids=["another byte", "no length", "cut"],
)
def test_a_damaged_frame_is_told(damage: Any, message: str) -> None:
    """Its checksum tells it; what was cut is not taken for the end."""
    start = write_frame({":message-type": "event", ":event-type": "messageStart"}, b"{}")
    with pytest.raises(MalformedExchange) as error:
        read_stream(BEDROCK, damage(start))
    assert str(error.value) == message


def test_a_header_that_is_no_text_ends_what_is_read_of_the_headers() -> None:
    """A time stamp says nothing of what a frame is, and comes last where it comes."""
    stamp = bytes([1]) + b"t" + bytes([8]) + bytes(8)
    said = b"\x01a" + bytes([7]) + b"\x00\x01b"
    (frame,) = FrameDecoder().feed(sealed(said + stamp, b"{}"))
    assert frame.headers == {"a": "b"}


# Replies


def test_a_documented_reply_is_read() -> None:
    """The input tokens exclude both cache buckets, and no model is named."""
    usage = {
        "inputTokens": 10,
        "outputTokens": 5,
        "totalTokens": 15,
        "cacheReadInputTokens": 4,
        "cacheWriteInputTokens": 2,
    }
    assert BEDROCK.read_reply(_reply(usage=usage, metrics={"latencyMs": 12})) == ProviderReply(
        text="hi", usage=Usage(fresh_input=10, cache_read=4, cache_write=2, output=5)
    )


def test_the_smallest_reply_is_read() -> None:
    """A reply that reports no usage and gives no reason is one all the same."""
    assert BEDROCK.read_reply(b'{"output":{"message":{"content":[{"text":"hi"}]}}}') == ProviderReply(text="hi")


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("content_filtered", "content_filter"),
        ("guardrail_intervened", "content_filter"),
        ("malformed_model_output", "stop"),
        ("something_new", "stop"),
    ],
)
def test_stop_reasons_are_read(said: str, read: str) -> None:
    """Each reason has its word here, and one that is not known is a plain stop."""
    assert BEDROCK.read_reply(_reply(stopReason=said)).finish_reason == read


def test_text_is_joined_around_other_blocks() -> None:
    """Reasoning is no text, and calls are read apart."""
    reply = BEDROCK.read_reply(
        _reply(
            {"reasoningContent": {"reasoningText": {"text": "hm"}}},
            {"text": "a"},
            {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"city": "Bern"}}},
            {"text": "b"},
        )
    )
    assert (reply.text, reply.tool_calls) == ("ab", (ToolCall(name="weather", arguments={"city": "Bern"}, id="t1"),))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>", "a Bedrock converse reply is not JSON (Expecting value: line 1 column 1 (char 0)): '<html>'"),
        (b"[]", "a Bedrock converse reply is not a JSON object: '[]'"),
        (
            b'{"stopReason": "end_turn"}',
            "a Bedrock converse reply has no content in its output message; it has ['stopReason']",
        ),
    ],
    ids=["no JSON", "no object", "no output"],
)
def test_a_reply_that_is_none_says_what_is_wrong(body: bytes, message: str) -> None:
    """Each way of being malformed has a message that shows what stood there."""
    with pytest.raises(MalformedExchange) as error:
        BEDROCK.read_reply(body)
    assert str(error.value) == message


def test_a_reply_is_written_as_documented() -> None:
    """Every member of the reference, in its place; reasoning is output."""
    reply = ProviderReply(
        text="hi", usage=Usage(fresh_input=10, cache_read=4, cache_write=2, output=3, reasoning=2), model="other"
    )
    assert json.loads(BEDROCK.write_reply(REQUEST, reply)) == {
        "output": {"message": {"role": "assistant", "content": [{"text": "hi"}]}},
        "stopReason": "end_turn",
        "metrics": {"latencyMs": 0},
        "usage": {
            "inputTokens": 10,
            "outputTokens": 5,
            "totalTokens": 15,
            "cacheReadInputTokens": 4,
            "cacheWriteInputTokens": 2,
        },
    }


def test_a_reply_of_tool_calls_alone_has_no_text_block() -> None:
    """A first block of empty text would hide the call from code that takes the first block."""
    value = json.loads(BEDROCK.write_reply(REQUEST, ProviderReply(tool_calls=(ToolCall(name="f", id="t1"),))))
    assert value["output"]["message"]["content"] == [{"toolUse": {"toolUseId": "t1", "name": "f", "input": {}}}]


def test_a_reply_without_usage_is_written_with_an_estimate() -> None:
    """Four characters are a token: eight of the question, twelve of the answer."""
    usage = BEDROCK.read_reply(BEDROCK.write_reply(REQUEST, ProviderReply(text="x" * 12))).usage
    assert usage == Usage(fresh_input=2, output=3)


def test_a_reply_may_report_no_usage() -> None:
    """A provider that does not say what it used cannot be priced."""
    assert BEDROCK.read_reply(BEDROCK.write_reply(REQUEST, ProviderReply(text="x", reports_usage=False))).usage is None


# Errors


@pytest.mark.parametrize(
    ("kind", "status", "word", "message"),
    [
        ("rate_limited", 429, "ThrottlingException", "So it is"),
        (
            "quota_exhausted",
            429,
            "ThrottlingException",
            "Too many tokens per day, please wait before trying again. So it is",
        ),
        ("overloaded", 503, "ServiceUnavailableException", "So it is"),
        ("server_error", 500, "InternalServerException", "So it is"),
        ("timeout", 408, "ModelTimeoutException", "So it is"),
        ("not_found", 404, "ResourceNotFoundException", "So it is"),
        ("context_overflow", 400, "ValidationException", "Input is too long for requested model. So it is"),
        ("authentication", 403, "UnrecognizedClientException", "So it is"),
        ("permission", 403, "AccessDeniedException", "So it is"),
        ("bad_request", 400, "ValidationException", "So it is"),
    ],
)
def test_an_error_is_written_in_amazons_words(kind: ErrorClass, status: int, word: str, message: str) -> None:
    """The type stands in a header, the message alone in the body."""
    error = BEDROCK.write_error(Failure(kind=kind, message="So it is"))
    assert (error.status, error.headers, json.loads(error.body)) == (
        status,
        {"x-amzn-errortype": word},
        {"message": message},
    )


@pytest.mark.parametrize(
    ("headers", "body", "read"),
    [
        ({"x-amzn-errortype": "ThrottlingException"}, {"message": "a"}, ("ThrottlingException", "a")),
        (
            {"x-amzn-errortype": "ThrottlingException:http://internal.amazon.com/coral/com.amazon.bedrock/"},
            {"message": "a"},
            ("ThrottlingException", "a"),
        ),
        ({}, {"__type": "com.amazon.coral.service#ValidationException", "Message": "a"}, ("ValidationException", "a")),
        ({}, {"__type": "ValidationException"}, ("ValidationException", "")),
        ({}, {"message": None}, (None, "")),
    ],
    ids=["header", "header with an origin", "body", "body without an origin", "none"],
)
def test_the_type_of_an_error_is_read(
    headers: dict[str, str], body: dict[str, Any], read: tuple[str | None, str]
) -> None:
    """The header goes before the body, and both may say where the type is defined."""
    assert read_wire_error(BEDROCK, _bytes(body), headers) == read


@pytest.mark.parametrize(
    ("status", "word", "message", "kind"),
    [
        (429, "ThrottlingException", "Too many requests, please wait before trying again.", "rate_limited"),
        (429, "ThrottlingException", "Too many tokens per day, please wait before trying again.", "quota_exhausted"),
        (429, "ModelNotReadyException", "", "unavailable"),
        (424, "ModelErrorException", "", "server_error"),
        (400, "ServiceQuotaExceededException", "", "quota_exhausted"),
        (400, "ValidationException", "The provided model identifier is invalid.", "not_found"),
        (400, "ValidationException", "prompt is too long: 208310 tokens > 200000 maximum", "context_overflow"),
        (400, "ValidationException", "1 validation error detected", "bad_request"),
        (403, "ExpiredTokenException", "", "authentication"),
        (403, "AccessDeniedException", "", "permission"),
    ],
)
def test_errors_are_understood(status: int, word: str, message: str, kind: str) -> None:
    """Where one type stands for several causes, a phrase of the message tells them apart."""
    assert BEDROCK.vocabulary.classify(status, word, message) == kind


def test_an_error_page_is_malformed() -> None:
    """HTML of a proxy is no error of a provider."""
    with pytest.raises(MalformedExchange, match="a Bedrock converse error is not JSON"):
        BEDROCK.read_error(b"<html>502</html>")
