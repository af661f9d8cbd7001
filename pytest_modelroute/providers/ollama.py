"""Ollama's chat: POST {host}/api/chat, which streams lines of JSON unless it is told not to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pytest_modelroute.errors import MalformedExchange, StreamFailed
from pytest_modelroute.providers.exchange import (
    FinishReason,
    Message,
    ProviderReply,
    ProviderRequest,
    ToolCall,
    Usage,
    WireRequest,
    estimate_usage,
)
from pytest_modelroute.providers.failures import Failure, Spoken, Vocabulary, WireError
from pytest_modelroute.providers.language import (
    StreamReader,
    content_of,
    count,
    error_words,
    mapping,
    objects,
    open_request,
    read_message,
    read_object,
    write_object,
)
from pytest_modelroute.providers.openai_chat import read_tool, write_tool

_WHAT: Final = "an Ollama chat"
_CREATED: Final = "2025-06-15T15:06:40Z"
"A fixed time, so that the same script always gives the same bytes."
_OWN_MEMBERS: Final = frozenset({"model", "messages", "stream", "tools", "options"})
_TOP_MEMBERS: Final = frozenset({"format", "keep_alive", "think", "logprobs", "top_logprobs", "truncate", "shift"})
"Parameters that stand beside the options, in which all others are."
_NAMES: Final[Mapping[str, str]] = {"num_predict": "max_tokens"}
"Options that have another name everywhere else."
_OPTIONS: Final[Mapping[str, str]] = {"max_tokens": "num_predict", "max_completion_tokens": "num_predict"}
"Parameters that have another name here."
_NS_PER_TOKEN: Final = 1_000_000
_LOAD_NS: Final = 1_000_000
_WORDS: Final = Vocabulary(
    spoken={
        "rate_limited": Spoken(429, None),
        "quota_exhausted": Spoken(402, None),
        "overloaded": Spoken(503, None),
        "unavailable": Spoken(503, None),
        "server_error": Spoken(500, None),
        "timeout": Spoken(408, None),
        "not_found": Spoken(404, None),
        "context_overflow": Spoken(400, None),
        "authentication": Spoken(401, None),
        "permission": Spoken(403, None),
        "bad_request": Spoken(400, None),
    },
    phrases={
        "server busy": "overloaded",
        "server overloaded": "overloaded",
        "exceeded max context length": "context_overflow",
        "exceeds the context length": "context_overflow",
    },
)
_PREFIXES: Final[Mapping[str, str]] = {
    "overloaded": "server busy, please try again: ",
    "context_overflow": "prompt too long; exceeded max context length: ",
}
"What it says for a class that has no code and no status of its own."


class OllamaChat:
    """The format of /api/chat."""

    name = "ollama-chat"
    provider = "ollama"
    stream_type = "application/x-ndjson"
    vocabulary = _WORDS
    filters_content = False
    streams = True
    embeds = False

    def recognises(self, path: str) -> bool:
        """Any path that ends in /api/chat."""
        return path.endswith("/api/chat")

    def read_request(self, body: bytes, path: str) -> ProviderRequest:  # noqa: ARG002 - the model is in the body
        """Read a request; one that does not say whether it streams does."""
        value, model, messages = open_request(body, what=_WHAT)
        options = {_NAMES.get(name, name): entry for name, entry in mapping(value.get("options")).items()}
        return ProviderRequest(
            model=model,
            messages=messages,
            stream=value.get("stream") is not False,
            tools=tuple(read_tool(entry) for entry in objects(value.get("tools")) or ()),
            params={**{key: entry for key, entry in value.items() if key not in _OWN_MEMBERS}, **options},
            body=value,
        )

    def write_request(self, request: ProviderRequest, key: str) -> WireRequest:
        """Write a request; the key is for Ollama's own cloud, one on this machine takes any."""
        options = {
            _OPTIONS.get(name, name): entry for name, entry in request.params.items() if name not in _TOP_MEMBERS
        }
        if isinstance(options.get("stop"), str):  # one word as it is, as OpenAI takes it
            options["stop"] = [options["stop"]]
        value: dict[str, Any] = {
            "model": request.model,
            "messages": [_write_message(message) for message in request.messages],
            "stream": request.stream,
            **{name: entry for name, entry in request.params.items() if name in _TOP_MEMBERS},
        }
        if options:
            value["options"] = options
        if request.tools:
            value["tools"] = [write_tool(tool) for tool in request.tools]
        return WireRequest(
            path="/api/chat",
            headers={"authorization": f"Bearer {key}", "content-type": "application/json"},
            body=write_object(value),
        )

    def write_reply(self, request: ProviderRequest, reply: ProviderReply) -> bytes:
        """Write a whole answer."""
        message: dict[str, Any] = {"content": reply.text}
        if reply.tool_calls:
            message["tool_calls"] = _write_tool_calls(reply.tool_calls)
        return _line(request, reply, message, **_write_end(request, reply))

    def write_stream(self, request: ProviderRequest, reply: ProviderReply, pieces: Sequence[str]) -> list[bytes]:
        """Write a stream; its last line says that it is done, and what it used."""
        frames = [_line(request, reply, {"content": piece}, done=False) for piece in pieces]
        if reply.tool_calls:
            calls = {"content": "", "tool_calls": _write_tool_calls(reply.tool_calls)}
            frames[-1] += _line(request, reply, calls, done=False)
        frames[-1] += _line(request, reply, {"content": ""}, **_write_end(request, reply))
        return frames

    def write_error(self, failure: Failure) -> WireError:
        """Write a refusal: a status and a message, no code."""
        message = _PREFIXES.get(failure.kind, "") + failure.message
        return WireError(status=_WORDS.say(failure.kind).status, body=write_object({"error": message}))

    def write_stream_error(self, failure: Failure) -> bytes:
        """Write a refusal as a line of the stream."""
        return self.write_error(failure).body + b"\n"

    def read_reply(self, body: bytes) -> ProviderReply:
        """Read a whole answer."""
        value = read_object(body, what=f"{_WHAT} reply")
        if not isinstance(value.get("message"), dict):
            raise MalformedExchange(f"{_WHAT} reply has no message; it has {sorted(value)}")
        return _read([value])

    def stream_reader(self) -> StreamReader:
        """Read a stream while it comes."""
        return _StreamReader()

    def read_error(self, body: bytes) -> tuple[str | None, str]:
        """Only a message; Ollama has no codes."""
        return error_words(read_object(body, what=f"{_WHAT} error"))


class _StreamReader:
    """Joins the lines of a stream."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self._rest = b""
        self._lines: list[dict[str, Any]] = []

    def feed(self, data: bytes) -> str:
        """Take more bytes."""
        self._rest += data
        if b"\n" not in data:
            return ""
        *lines, self._rest = self._rest.split(b"\n")
        return "".join(self._take(line) for line in lines)

    def reply(self) -> ProviderReply:
        """The whole answer."""
        rest, self._rest = self._rest, b""
        self._take(rest)
        if not self._lines or not self._lines[-1].get("done"):
            raise MalformedExchange(f"the stream of {_WHAT} was cut off: no line says that it is done")
        return _read(self._lines)

    def _take(self, line: bytes) -> str:
        if not line.strip():
            return ""
        value = read_object(line, what=f"a line of {_WHAT}")
        if value.get("error"):
            word, message = error_words(value)
            kind = _WORDS.classify(None, word, message)
            raise StreamFailed(f"the stream of {_WHAT} ended in an error: {message}", kind=kind, code=word)
        self._lines.append(value)
        return _text(value)


def _read(lines: Sequence[Mapping[str, Any]]) -> ProviderReply:
    """The answer in one line or several; the last one says why it ended, and what it used."""
    end = lines[-1]
    calls = [call for line in lines for call in objects(mapping(line.get("message")).get("tool_calls")) or ()]
    return ProviderReply(
        text="".join(_text(line) for line in lines),
        model=str(end.get("model") or ""),
        usage=_read_usage(end),
        finish_reason="length" if end.get("done_reason") == "length" else "stop",
        tool_calls=tuple(_read_tool_call(call) for call in calls),
    )


def _text(line: Mapping[str, Any]) -> str:
    return read_message("assistant", mapping(line.get("message")).get("content"), what=_WHAT).text


def _write_message(message: Message) -> dict[str, Any]:
    if message.result_of is not None:
        return {"role": "tool", "content": message.text, "tool_name": message.result_of.name}
    calls = {"tool_calls": _write_tool_calls(message.tool_calls)} if message.tool_calls else {}
    return {"role": message.role, "content": _write_content(message), **calls}


def _write_content(message: Message) -> Any:
    """A text, which is all that Ollama takes; other parts are sent as they are, for it to refuse."""
    return message.text if all(part.get("type") == "text" for part in message.parts or ()) else content_of(message)


def _line(request: ProviderRequest, reply: ProviderReply, message: Mapping[str, Any], **members: Any) -> bytes:
    """One line, in ASCII: clients split at U+2028 and its like too."""
    value = {
        "model": reply.model or request.model,
        "created_at": _CREATED,
        "message": {"role": "assistant", **message},
        **members,
    }
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _write_end(request: ProviderRequest, reply: ProviderReply) -> dict[str, Any]:
    reason: FinishReason = "length" if reply.finish_reason == "length" else "stop"
    end = {"done": True, "done_reason": reason}
    if not reply.reports_usage:
        return end
    usage = reply.usage or estimate_usage(request, reply.text)
    # A made-up pace, so that tokens a second can be computed.
    asked_ns, made_ns = usage.total_input * _NS_PER_TOKEN, usage.total_output * _NS_PER_TOKEN
    return {
        **end,
        "total_duration": _LOAD_NS + asked_ns + made_ns,
        "load_duration": _LOAD_NS,
        "prompt_eval_count": usage.total_input,
        "prompt_eval_duration": asked_ns,
        "eval_count": usage.total_output,
        "eval_duration": made_ns,
    }


def _read_usage(end: Mapping[str, Any]) -> Usage | None:
    """Two counts; a cached prompt and thinking are not told apart."""
    if "prompt_eval_count" not in end and "eval_count" not in end:
        return None
    return Usage(fresh_input=count(end.get("prompt_eval_count")), output=count(end.get("eval_count")))


def _write_tool_calls(calls: Iterable[ToolCall]) -> list[dict[str, Any]]:
    return [
        {"id": call.id, "function": {"index": index, "name": call.name, "arguments": dict(call.arguments)}}
        for index, call in enumerate(calls)
    ]


def _read_tool_call(entry: Mapping[str, Any]) -> ToolCall:
    """Arguments are an object here, no text."""
    function = mapping(entry.get("function"))
    return ToolCall(
        name=str(function.get("name", "")),
        arguments=mapping(function.get("arguments")),
        id=str(entry.get("id") or "call_1"),
    )
