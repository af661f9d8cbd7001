"""Ollama's chat, on bodies as its documentation shows them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_modelroute.errors import MalformedExchange, StreamFailed
from pytest_modelroute.providers.exchange import Message, ProviderReply, ProviderRequest, Tool, ToolCall, Usage
from pytest_modelroute.providers.failures import Failure
from pytest_modelroute.providers.language import read_stream
from pytest_modelroute.providers.ollama import OllamaChat

CHAT = OllamaChat()
REQUEST = ProviderRequest(model="asked", messages=(Message(role="user", text="abcdefgh"),))
END: dict[str, Any] = {"done": True, "done_reason": "stop", "prompt_eval_count": 26, "eval_count": 298}


def _bytes(value: object) -> bytes:
    return json.dumps(value).encode()


def _line(content: str | None = "", **members: Any) -> bytes:
    message = {"role": "assistant", "content": content}
    return _bytes({"model": "llama3.2", "message": message, "done": False, **members}) + b"\n"


def _read(**members: Any) -> ProviderRequest:
    return CHAT.read_request(_bytes({"model": "m", "messages": [], **members}), "/api/chat")


# Requests


def test_a_request_says_whether_it_streams() -> None:
    """Silence would mean a stream."""
    wire = CHAT.write_request(REQUEST, "k")
    body = {"model": "asked", "messages": [{"role": "user", "content": "abcdefgh"}], "stream": False}
    assert (wire.path, wire.headers["authorization"], json.loads(wire.body)) == ("/api/chat", "Bearer k", body)


@pytest.mark.parametrize(("members", "stream"), [({}, True), ({"stream": True}, True), ({"stream": False}, False)])
def test_a_request_streams_unless_it_says_no(members: dict[str, Any], stream: bool) -> None:
    """The default of Ollama is not that of others."""
    assert _read(**members).stream is stream


def test_options_are_parameters() -> None:
    """num_predict is called max_tokens everywhere else."""
    params = _read(options={"temperature": 0, "num_predict": 9}, format="json", think=True).params
    assert params == {"temperature": 0, "max_tokens": 9, "format": "json", "think": True}


def test_parameters_are_options() -> None:
    """But for the few that stand beside them."""
    params = {"temperature": 0, "max_tokens": 9, "format": "json", "keep_alive": "5m"}
    body = json.loads(CHAT.write_request(ProviderRequest(model="m", messages=(), params=params), "k").body)
    assert body == {
        "model": "m",
        "messages": [],
        "stream": False,
        "format": "json",
        "keep_alive": "5m",
        "options": {"temperature": 0, "num_predict": 9},
    }


@pytest.mark.parametrize(
    ("params", "options"),
    [
        ({"stop": "END"}, {"stop": ["END"]}),
        ({"stop": ["END"]}, {"stop": ["END"]}),
        ({"max_completion_tokens": 9}, {"num_predict": 9}),
    ],
    ids=["a word to stop at", "words to stop at", "another name"],
)
def test_parameters_of_others_are_put_into_ollamas_form(params: dict[str, Any], options: dict[str, Any]) -> None:
    """A fallback keeps its parameters, whoever it falls back to."""
    wire = CHAT.write_request(ProviderRequest(model="m", messages=(), params=params), "k")
    assert json.loads(wire.body)["options"] == options


def test_parts_that_are_texts_are_sent_as_one() -> None:
    """Ollama's content is a text."""
    parts = ({"type": "text", "text": "a"}, {"type": "text", "text": "b"})
    request = ProviderRequest(model="m", messages=(Message(role="user", text="ab", parts=parts),))
    assert json.loads(CHAT.write_request(request, "k").body)["messages"] == [{"role": "user", "content": "ab"}]


def test_tools_have_the_form_of_openais() -> None:
    """A function in an object of that name."""
    tools = [{"type": "function", "function": {"name": "now", "description": "The time."}}]
    assert _read(tools=tools).tools == (Tool(name="now", description="The time."),)


def test_a_request_that_is_none_says_what_is_wrong() -> None:
    """An application's own /api/chat is told by its body."""
    with pytest.raises(MalformedExchange, match=r"^an Ollama chat request needs a model"):
        CHAT.read_request(b'{"messages": []}', "/api/chat")


# Replies


def test_a_documented_reply_is_read() -> None:
    """Two counts are the usage; durations are passed over."""
    calls = [{"function": {"name": "weather", "arguments": {"city": "Paris"}}}, {"function": {"name": "now"}}]
    message = {"role": "assistant", "content": "Hello!", "tool_calls": calls}
    body = {"model": "llama3.2", "message": message, "total_duration": 5191566416, **END}
    assert CHAT.read_reply(_bytes(body)) == ProviderReply(
        text="Hello!",
        model="llama3.2",
        usage=Usage(fresh_input=26, output=298),
        tool_calls=(ToolCall(name="weather", arguments={"city": "Paris"}), ToolCall(name="now", id="call_2")),
    )


def test_a_cached_prompt_is_not_counted() -> None:
    """Older servers leave the count out then."""
    body = {"message": {"role": "assistant", "content": "hi"}, "done": True, "eval_count": 3}
    assert CHAT.read_reply(_bytes(body)).usage == Usage(output=3)


def test_a_reply_without_counts_reports_no_usage() -> None:
    """Nothing is made up."""
    assert CHAT.read_reply(b'{"message": {"role": "assistant"}, "done": true}').usage is None


def test_a_reply_without_a_message_is_malformed() -> None:
    """An answer of another endpoint is none of this one."""
    with pytest.raises(MalformedExchange, match=r"^an Ollama chat reply has no message; it has \['response'\]$"):
        CHAT.read_reply(b'{"response": "hi"}')


def test_a_reply_without_usage_is_written_without_counts() -> None:
    """As an old server does."""
    value = json.loads(CHAT.write_reply(REQUEST, ProviderReply(text="hi", reports_usage=False)))
    assert (sorted(value), value["done"]) == (["created_at", "done", "done_reason", "message", "model"], True)


# Streams


def test_a_documented_stream_is_read() -> None:
    """Blank lines are passed over, and the last line may lack its end."""
    body = _line("Hel") + b"\n" + _line("lo") + _line(**END).rstrip()
    assert read_stream(CHAT, body) == ProviderReply(
        text="Hello", model="llama3.2", usage=Usage(fresh_input=26, output=298)
    )


def test_a_stream_is_ascii() -> None:
    """Readers of lines split at more characters than the line feed."""
    frame = b"".join(CHAT.write_stream(REQUEST, ProviderReply(text="a\u2028b\x85"), ["a\u2028b\x85"]))
    assert (frame.isascii(), len(frame.decode().splitlines())) == (True, 2)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the stream of an Ollama chat was cut off: no line says that it is done"),
        (_line("hi"), "the stream of an Ollama chat was cut off: no line says that it is done"),
        (
            _line("hi") + b'{"model": "lla',
            (
                "a line of an Ollama chat is not JSON (Unterminated string starting at: line 1 column 11 (char 10)): "
                '\'{"model": "lla\''
            ),
        ),
        (
            _line("hi") + b'{"error":"an error was encountered while running the model"}\n',
            "the stream of an Ollama chat ended in an error: an error was encountered while running the model",
        ),
    ],
    ids=["empty", "not done", "half a line", "error"],
)
def test_a_stream_that_did_not_end_well_says_so(body: bytes, message: str) -> None:
    """A stream that was cut off is told from one that ended in an error."""
    with pytest.raises(MalformedExchange) as error:
        read_stream(CHAT, body)
    assert str(error.value) == message


@pytest.mark.parametrize(("kind", "read"), [("overloaded", "overloaded"), ("unavailable", "server_error")])
def test_the_class_of_an_error_in_a_stream_is_told_by_its_words_alone(kind: Any, read: str) -> None:
    """There is no status and no code."""
    frame = CHAT.write_stream_error(Failure(kind=kind, message="So it is"))
    with pytest.raises(StreamFailed) as error:
        read_stream(CHAT, _line("hi") + frame)
    assert (error.value.kind, error.value.code) == (read, None)


# Errors


def test_an_error_is_a_message() -> None:
    """And a status, nothing else."""
    error = CHAT.write_error(Failure(kind="not_found", message="model 'x' not found"))
    assert (error.status, json.loads(error.body)) == (404, {"error": "model 'x' not found"})


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (503, "server busy, please try again.  maximum pending requests exceeded", "overloaded"),
        (503, "Server overloaded, please retry shortly (ref: 1)", "overloaded"),
        (503, "down", "unavailable"),
        (400, "prompt too long; exceeded max context length by 4096 tokens", "context_overflow"),
        (400, "the input length exceeds the context length", "context_overflow"),
        (400, "invalid options", "bad_request"),
        (404, "model 'x' not found", "not_found"),
        (502, "bad gateway", "unavailable"),
    ],
)
def test_recorded_errors_are_understood(status: int, message: str, kind: str) -> None:
    """By the status, and where several classes share one by the words."""
    word, said = CHAT.read_error(_bytes({"error": message}))
    assert (CHAT.vocabulary.classify(status, word, said), said) == (kind, message)
