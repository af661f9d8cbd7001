"""OpenAI chat completions, on bodies as their documentation shows them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_modelroute.errors import MalformedExchange
from pytest_modelroute.providers.exchange import Message, ProviderReply, ProviderRequest, Tool, ToolCall, Usage
from pytest_modelroute.providers.failures import ErrorClass, Failure
from pytest_modelroute.providers.language import read_stream
from pytest_modelroute.providers.openai_chat import OpenAIChat

PATH = "/v1/chat/completions"
CHAT = OpenAIChat()
REQUEST = ProviderRequest(model="asked", messages=(Message(role="user", text="abcdefgh"),))
USAGE = {
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "total_tokens": 15,
    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 3},
}


def _bytes(value: object) -> bytes:
    return json.dumps(value).encode()


def _reply(**members: Any) -> bytes:
    return _bytes({"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}], **members})


def _chunk(content: str | None = None, *, finish: str | None = None, **members: Any) -> bytes:
    delta = {} if content is None else {"content": content}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + _bytes({"choices": [choice], **members}) + b"\n\n"


def _usage_of(usage: object) -> Usage | None:
    return CHAT.read_reply(_reply(usage=usage)).usage


# Requests


def test_a_request_carries_its_key_as_a_bearer_token() -> None:
    """The key goes where OpenAI looks for it."""
    assert CHAT.write_request(REQUEST, "k").headers["authorization"] == "Bearer k"


def test_a_request_goes_to_chat_completions() -> None:
    """The path is relative to a base that ends in /v1."""
    assert CHAT.write_request(REQUEST, "k").path == "/chat/completions"


def test_a_request_has_no_members_that_it_does_not_need() -> None:
    """Hosts that speak a part of the format are sent nothing that they may refuse."""
    body = json.loads(CHAT.write_request(REQUEST, "k").body)
    assert body == {"model": "asked", "messages": [{"role": "user", "content": "abcdefgh"}]}


def test_a_stream_that_does_not_ask_for_usage_is_read_so() -> None:
    """OpenAI reports the usage of a stream only where stream_options ask for it."""
    request = CHAT.read_request(_bytes({"model": "m", "messages": [], "stream": True}), PATH)
    assert (request.stream, request.include_usage) == (True, False)


def test_a_stream_without_usage_does_not_ask_for_it() -> None:
    """Hosts that do not know stream_options are not sent any."""
    request = ProviderRequest(model="m", messages=(), stream=True, include_usage=False)
    assert json.loads(CHAT.write_request(request, "k").body) == {"model": "m", "messages": [], "stream": True}


def test_null_content_is_an_empty_text() -> None:
    """An assistant message that only calls tools has no content."""
    request = CHAT.read_request(_bytes({"model": "m", "messages": [{"role": "assistant", "content": None}]}), PATH)
    assert request.messages == (Message(role="assistant", text=""),)


def test_the_body_of_a_request_is_kept_as_it_came() -> None:
    """What no field holds, such as an id of a tool call, is still there for a predicate."""
    body = {"model": "m", "messages": [{"role": "tool", "tool_call_id": "c1", "content": "4"}]}
    assert CHAT.read_request(_bytes(body), PATH).body == body


def test_a_tool_without_description_or_parameters_is_read() -> None:
    """Both are optional in the format."""
    tools = [{"type": "function", "function": {"name": "now"}}]
    assert CHAT.read_request(_bytes({"model": "m", "messages": [], "tools": tools}), PATH).tools == (Tool(name="now"),)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            b"{'model': 1}",
            (
                "an OpenAI chat completion request is not JSON (Expecting property name enclosed in double quotes: "
                "line 1 column 2 (char 1)): \"{'model': 1}\""
            ),
        ),
        (b"[1]", "an OpenAI chat completion request is not a JSON object: '[1]'"),
        (
            b'{"messages": []}',
            (
                "an OpenAI chat completion request needs a model (text) and messages (a list of objects); "
                "its model is missing, its messages are list, it has ['messages']"
            ),
        ),
        (
            b'{"model": "m"}',
            (
                "an OpenAI chat completion request needs a model (text) and messages (a list of objects); "
                "its model is str, its messages are missing, it has ['model']"
            ),
        ),
        (
            b'{"model": "m", "messages": [{"role": "user", "content": 5}]}',
            "an OpenAI chat completion: the content of a message of role 'user' is int, not text or parts",
        ),
        (
            b'{"model": "m", "messages": [{"role": "user", "content": ["a"]}]}',
            "an OpenAI chat completion: the content of a message of role 'user' is list, not text or parts",
        ),
    ],
    ids=["no JSON", "no object", "no model", "no messages", "content is a number", "content is a list of texts"],
)
def test_a_request_that_is_none_says_what_is_wrong(body: bytes, message: str) -> None:
    """Each way of being malformed has a message that shows what stood there."""
    with pytest.raises(MalformedExchange) as error:
        CHAT.read_request(body, PATH)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("body", "word"), [({"model": None, "messages": []}, "NoneType"), ({"model": "m", "messages": "hi"}, "str")]
)
def test_a_member_of_a_wrong_type_is_told_from_one_that_is_missing(body: object, word: str) -> None:
    """A model that is null and messages that are a text are named as what they are."""
    with pytest.raises(MalformedExchange, match=word):
        CHAT.read_request(_bytes(body), PATH)


def test_a_long_body_is_cut_in_the_message() -> None:
    """A megabyte of HTML does not fill the terminal."""
    with pytest.raises(MalformedExchange) as error:
        CHAT.read_reply(b"<html>" + b"x" * 1_000_000)
    assert str(error.value).endswith(": '<html>" + "x" * 114 + "...'")


# Replies


def test_a_documented_reply_is_read() -> None:
    """The reply of OpenAI's reference: cached and reasoning tokens are taken out of the totals that include them."""
    body = _reply(model="gpt-5-mini-2025-08-07", usage=USAGE)
    assert CHAT.read_reply(body) == ProviderReply(
        text="hi",
        model="gpt-5-mini-2025-08-07",
        usage=Usage(fresh_input=6, cache_read=4, output=2, reasoning=3),
    )


def test_the_smallest_reply_is_read() -> None:
    """A reply that names no model, reports no usage and gives no finish reason is one all the same."""
    assert CHAT.read_reply(b'{"choices":[{"message":{"content":"hi"}}]}') == ProviderReply(text="hi")


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
        ("something_new", "stop"),
    ],
)
def test_finish_reasons_are_read(said: str, read: str) -> None:
    """Each reason has its word here, and one that is not known is a plain stop."""
    body = _bytes({"choices": [{"message": {"content": "hi"}, "finish_reason": said}]})
    assert CHAT.read_reply(body).finish_reason == read


def test_content_in_parts_is_joined() -> None:
    """Some hosts answer with a list of parts."""
    parts = [{"type": "text", "text": "a"}, {"type": "thinking", "thinking": "x"}, {"type": "text", "text": "b"}]
    assert CHAT.read_reply(_bytes({"choices": [{"message": {"content": parts}}]})).text == "ab"


def test_the_first_choice_is_the_answer() -> None:
    """Of several choices the first counts."""
    choices = [{"message": {"content": "one"}}, {"message": {"content": "two"}}]
    assert CHAT.read_reply(_bytes({"choices": choices})).text == "one"


@pytest.mark.parametrize("arguments", ['{"city": "Par', "[1]", '"Paris"'])
def test_broken_arguments_of_a_tool_call_are_kept(arguments: str) -> None:
    """A model that breaks the JSON, or writes no object, does not make the reply malformed."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    reply = CHAT.read_reply(_bytes({"choices": [{"message": {"content": None, "tool_calls": [call]}}]}))
    assert reply.tool_calls == (ToolCall(name="f", arguments={"_raw": arguments}, id="c1"),)


def test_a_tool_call_without_arguments_has_none() -> None:
    """An empty text stands for no arguments."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}
    reply = CHAT.read_reply(_bytes({"choices": [{"message": {"content": None, "tool_calls": [call]}}]}))
    assert reply.tool_calls == (ToolCall(name="f", id="c1"),)


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        (None, None),
        ("many", None),
        ({"prompt_tokens": 7, "completion_tokens": 2}, Usage(fresh_input=7, output=2)),
        ({"prompt_tokens": 7, "prompt_tokens_details": None, "completion_tokens_details": None}, Usage(fresh_input=7)),
        ({"prompt_tokens": 7, "completion_tokens": "2"}, Usage(fresh_input=7)),
        ({"prompt_tokens": 7, "completion_tokens": -2}, Usage(fresh_input=7)),
        (
            {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 3}},
            Usage(fresh_input=4, cache_read=2, cache_write=3),
        ),
    ],
    ids=["null", "no object", "no details", "null details", "text", "negative", "cache write"],
)
def test_usage_is_read_leniently(usage: object, read: Usage | None) -> None:
    """Absent details are none, and nonsense counts as zero."""
    assert _usage_of(usage) == read


def test_more_cached_than_input_tokens_leave_no_negative_rest() -> None:
    """Hosts whose prompt_tokens exclude cached ones do not make fresh input negative."""
    assert _usage_of({"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 5}}) == Usage(cache_read=5)


def test_an_empty_usage_is_none_reported() -> None:
    """A usage object without a number says nothing, and must not make a call free."""
    assert _usage_of({}) is None


def test_a_bool_for_a_count_is_nonsense() -> None:
    """JSON's true is no number of tokens, and counts as zero like other nonsense."""
    assert _usage_of({"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": True}}) == Usage(fresh_input=3)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            b'{"id": "cut-off", "choices": [{"mess',
            (
                "an OpenAI chat completion reply is not JSON (Unterminated string starting at: line 1 column 32 "
                '(char 31)): \'{"id": "cut-off", "choices": [{"mess\''
            ),
        ),
        (b"\xff\xfe", "an OpenAI chat completion reply is not JSON ("),
        (b"null", "an OpenAI chat completion reply is not a JSON object: 'null'"),
        (b'{"id": "a"}', "an OpenAI chat completion reply has no choices; it has ['id']"),
        (b'{"choices": []}', "an OpenAI chat completion reply has no choices; it has ['choices']"),
    ],
    ids=["cut off", "no UTF-8", "no object", "no choices", "empty choices"],
)
def test_a_reply_that_is_none_says_what_is_wrong(body: bytes, message: str) -> None:
    """Each way of being malformed has a message that shows what stood there."""
    with pytest.raises(MalformedExchange) as error:
        CHAT.read_reply(body)
    assert str(error.value).startswith(message)


def test_a_reply_whose_content_is_no_text_is_malformed() -> None:
    """A number in place of the text is not passed on."""
    with pytest.raises(MalformedExchange, match="message of role 'assistant' is int, not text or parts"):
        CHAT.read_reply(b'{"choices":[{"message":{"content":5}}]}')


def test_deep_nesting_is_malformed() -> None:
    """A body that the JSON reader gives up on is malformed, not a crash of the test run."""
    with pytest.raises(MalformedExchange):
        CHAT.read_reply(b"[" * 100_000)


def test_a_reply_without_usage_is_written_with_an_estimate() -> None:
    """Four characters are a token: eight of the question, twelve of the answer."""
    usage = CHAT.read_reply(CHAT.write_reply(REQUEST, ProviderReply(text="x" * 12))).usage
    assert usage == Usage(fresh_input=2, output=3)


def test_a_reply_without_a_model_is_written_with_the_one_asked_for() -> None:
    """A provider always names a model."""
    assert CHAT.read_reply(CHAT.write_reply(REQUEST, ProviderReply(text="hi"))).model == "asked"


# Streams


def test_a_stream_without_usage_asked_for_reports_none() -> None:
    """The chunk with usage is sent only to those who ask for it."""
    request = ProviderRequest(model="m", messages=(), stream=True, include_usage=False)
    body = b"".join(CHAT.write_stream(request, ProviderReply(text="a b", usage=Usage(output=2)), ["a", " b"]))
    assert read_stream(CHAT, body).usage is None


def test_a_stream_ends_with_its_end_mark() -> None:
    """Clients wait for [DONE]."""
    assert CHAT.write_stream(REQUEST, ProviderReply(text="a"), ["a"])[-1].endswith(b"\n\ndata: [DONE]\n\n")


def test_a_stream_without_end_mark_is_read() -> None:
    """The finish reason tells the end; several hosts leave the mark out."""
    assert read_stream(CHAT, _chunk("hi") + _chunk(finish="length")) == ProviderReply(text="hi", finish_reason="length")


def test_nothing_after_the_end_mark_is_read() -> None:
    """The mark ends the stream."""
    assert read_stream(CHAT, _chunk("hi", finish="stop") + b"data: [DONE]\n\n" + _chunk("more")).text == "hi"


def test_the_null_usage_of_earlier_chunks_does_not_hide_the_last() -> None:
    """With usage asked for, every chunk but the last says null."""
    last = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}\n\n'
    body = _chunk("hi", usage=None) + _chunk(finish="stop", usage=None) + last
    assert read_stream(CHAT, body).usage == Usage(fresh_input=7, output=2)


def test_the_null_usage_of_a_later_chunk_does_not_hide_an_earlier_one() -> None:
    """Some hosts report the usage before the last chunk."""
    body = _chunk("hi", usage={"prompt_tokens": 7, "completion_tokens": 2}) + _chunk(finish="stop", usage=None)
    assert read_stream(CHAT, body).usage == Usage(fresh_input=7, output=2)


def test_a_tool_call_in_fragments_is_put_together() -> None:
    """Name and id come once, the arguments piece by piece, and calls are told apart by their index."""
    fragments: list[dict[str, Any]] = [
        {"index": 0, "id": "c1", "function": {"name": "weather", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"city": '}},
        {"index": 1, "id": "c2", "function": {"name": "time", "arguments": "{}"}},
        {"index": 0, "function": {"arguments": '"Paris"}'}},
    ]
    chunks = [_bytes({"choices": [{"index": 0, "delta": {"tool_calls": [fragment]}}]}) for fragment in fragments]
    body = b"".join(b"data: " + chunk + b"\n\n" for chunk in chunks) + _chunk(finish="tool_calls")
    assert read_stream(CHAT, body).tool_calls == (
        ToolCall(name="weather", arguments={"city": "Paris"}, id="c1"),
        ToolCall(name="time", id="c2"),
    )


def test_the_first_choice_of_a_stream_is_the_answer() -> None:
    """Of a stream with several choices the first counts, as in a whole reply."""
    choices = [{"index": 0, "delta": {"content": "a"}}, {"index": 1, "delta": {"content": "b"}}]
    ends = [{"index": 0, "delta": {}, "finish_reason": "stop"}, {"index": 1, "delta": {}, "finish_reason": "stop"}]
    body = b"".join(b"data: " + _bytes({"choices": [choice]}) + b"\n\n" for choice in (*choices, *ends))
    assert read_stream(CHAT, body).text == "a"


def test_a_null_error_in_a_chunk_is_no_error() -> None:
    """The client takes a chunk for an error only where it says one."""
    assert read_stream(CHAT, _chunk("hi", finish="stop", error=None)).text == "hi"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the stream of an OpenAI chat completion was cut off: no chunk gives a finish_reason"),
        (_chunk("hi"), "the stream of an OpenAI chat completion was cut off: no chunk gives a finish_reason"),
        (
            b"data: [DONE]\n\n",
            "the stream of an OpenAI chat completion was cut off: no chunk gives a finish_reason",
        ),
        (
            _chunk("hi") + b'data: {"choices": [{"del',
            (
                "a chunk of an OpenAI chat completion is not JSON (Unterminated string starting at: "
                'line 1 column 15 (char 14)): \'{"choices": [{"del\''
            ),
        ),
        (
            _chunk("hi") + b'data: {"error": {"message": "Out of luck", "type": "server_error"}}\n\n',
            "the stream of an OpenAI chat completion ended in an error: Out of luck",
        ),
    ],
    ids=["empty", "no finish reason", "only the end mark", "half a chunk", "error"],
)
def test_a_stream_that_did_not_end_well_says_so(body: bytes, message: str) -> None:
    """A stream that was cut off is told from one that ended in an error."""
    with pytest.raises(MalformedExchange) as error:
        read_stream(CHAT, body)
    assert str(error.value) == message


# Errors


@pytest.mark.parametrize(
    ("kind", "status", "kind_type", "code"),
    [
        ("rate_limited", 429, "requests", "rate_limit_exceeded"),
        ("quota_exhausted", 429, "insufficient_quota", "insufficient_quota"),
        ("authentication", 401, "invalid_request_error", "invalid_api_key"),
        ("not_found", 404, "invalid_request_error", "model_not_found"),
        ("context_overflow", 400, "invalid_request_error", "context_length_exceeded"),
        ("content_filtered", 400, None, "content_filter"),
        ("server_error", 500, "server_error", None),
        ("unavailable", 503, "server_error", None),
        ("overloaded", 503, "server_error", "overloaded"),
        ("bad_request", 400, "invalid_request_error", None),
    ],
)
def test_an_error_is_written_in_openais_words(
    kind: ErrorClass, status: int, kind_type: str | None, code: str | None
) -> None:
    """Status, type and code are those that OpenAI sends for this class."""
    error = CHAT.write_error(Failure(kind=kind, message="So it is"))
    assert (error.status, json.loads(error.body)) == (
        status,
        {"error": {"message": "So it is", "type": kind_type, "param": None, "code": code}},
    )


@pytest.mark.parametrize(
    ("kind", "word"),
    [("rate_limited", "rate_limit_exceeded"), ("authentication", "invalid_api_key"), ("unavailable", "server_error")],
)
def test_an_error_written_is_read_back(kind: ErrorClass, word: str) -> None:
    """The word is the code, or the type where there is no code."""
    assert CHAT.read_error(CHAT.write_error(Failure(kind=kind, message="So it is")).body) == (word, "So it is")


@pytest.mark.parametrize("body", [b"{}", b'{"error": null}', b'{"error": {}}'])
def test_an_error_without_words_has_none(body: bytes) -> None:
    """Nothing is made up."""
    assert CHAT.read_error(body) == (None, "")


@pytest.mark.parametrize(
    ("body", "read"),
    [
        (
            b'{"object":"error","message":"Requests rate limit exceeded","type":"rate_limited","code":"1300"}',
            ("1300", "Requests rate limit exceeded"),
        ),
        (b'{"error": "model not found"}', (None, "model not found")),
    ],
    ids=["mistral", "a text"],
)
def test_errors_of_hosts_with_a_shape_of_their_own_are_read(body: bytes, read: tuple[str | None, str]) -> None:
    """Mistral puts the members at the top, others say a plain text; the message is not lost."""
    assert CHAT.read_error(body) == read


def test_an_error_page_is_malformed() -> None:
    """HTML of a proxy is no error of a provider."""
    with pytest.raises(MalformedExchange, match="an OpenAI chat completion error is not JSON"):
        CHAT.read_error(b"<html>502</html>")
