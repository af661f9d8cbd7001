"""OpenAI chat completions: POST {base}/chat/completions. Many other hosts speak it too."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from pytest_modelroute.errors import MalformedExchange, StreamFailed
from pytest_modelroute.providers.exchange import (
    FinishReason,
    ProviderReply,
    ProviderRequest,
    Tool,
    ToolCall,
    Usage,
    WireRequest,
    estimate_usage,
)
from pytest_modelroute.providers.failures import Failure, Spoken, Vocabulary, WireError
from pytest_modelroute.providers.language import (
    EventStreamReader,
    StreamReader,
    arguments_of,
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
from pytest_modelroute.providers.sse import Event, write_event

_WHAT: Final = "an OpenAI chat completion"
_CREATED: Final = 1_750_000_000
"A fixed time, so that the same script always gives the same bytes."
_OWN_MEMBERS: Final = frozenset({"model", "messages", "stream", "stream_options", "tools"})
_REFUSED: Final = "invalid_request_error"
OPENAI_WORDS: Final = Vocabulary(
    spoken={
        "rate_limited": Spoken(429, "rate_limit_exceeded", "requests"),
        "quota_exhausted": Spoken(429, "insufficient_quota", "insufficient_quota"),
        "overloaded": Spoken(503, "overloaded", "server_error"),
        "unavailable": Spoken(503, None, "server_error"),
        "server_error": Spoken(500, None, "server_error"),
        "timeout": Spoken(408, None, "timeout"),
        "not_found": Spoken(404, "model_not_found", _REFUSED),
        "context_overflow": Spoken(400, "context_length_exceeded", _REFUSED),
        "content_filtered": Spoken(400, "content_filter", None),
        "authentication": Spoken(401, "invalid_api_key", _REFUSED),
        "permission": Spoken(403, None, _REFUSED),
        "bad_request": Spoken(400, None, _REFUSED),
    },
    understood={
        "requests": "rate_limited",
        "tokens": "rate_limited",
        "billing_hard_limit_reached": "quota_exhausted",
        "string_above_max_length": "context_overflow",
    },
)
"The codes of OpenAI, which its other formats share."
_FINISH: Final[Mapping[str, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class OpenAIChat:
    """The format of /chat/completions."""

    name = "openai-chat"
    provider = "openai"
    stream_type = "text/event-stream"
    vocabulary = OPENAI_WORDS
    filters_content = True
    streams = True

    def recognises(self, path: str) -> bool:
        """Any path that ends in /chat/completions, Azure's deployments included."""
        return path.endswith("/chat/completions")

    def read_request(self, body: bytes, path: str) -> ProviderRequest:  # noqa: ARG002 - the model is in the body
        """Read a request."""
        value, model, messages = open_request(body, what=_WHAT)
        return ProviderRequest(
            model=model,
            messages=messages,
            stream=value.get("stream") is True,
            include_usage=not value.get("stream") or mapping(value.get("stream_options")).get("include_usage") is True,
            tools=tuple(_read_tool(entry) for entry in objects(value.get("tools")) or ()),
            params={key: entry for key, entry in value.items() if key not in _OWN_MEMBERS},
            body=value,
        )

    def write_request(self, request: ProviderRequest, key: str) -> WireRequest:
        """Write a request; the key travels as a bearer token."""
        value: dict[str, Any] = {
            "model": request.model,
            "messages": [{"role": message.role, "content": content_of(message)} for message in request.messages],
            **request.params,
        }
        if request.tools:
            value["tools"] = [
                {
                    "type": "function",
                    "function": {
                        "name": tool.name,
                        "description": tool.description,
                        "parameters": dict(tool.parameters),
                    },
                }
                for tool in request.tools
            ]
        if request.stream:
            value["stream"] = True
            if request.include_usage:
                value["stream_options"] = {"include_usage": True}
        return WireRequest(
            path="/chat/completions",
            headers={"authorization": f"Bearer {key}", "content-type": "application/json"},
            body=write_object(value),
        )

    def write_reply(self, request: ProviderRequest, reply: ProviderReply) -> bytes:
        """Write a whole answer."""
        message: dict[str, Any] = {"role": "assistant", "content": reply.text, "refusal": None}
        if reply.tool_calls:
            message["tool_calls"] = [_write_tool_call(call) for call in reply.tool_calls]
            message["content"] = reply.text or None
        choice = {"index": 0, "message": message, "finish_reason": reply.finish_reason, "logprobs": None}
        return write_object(
            {
                **_head(request, reply, "chat.completion"),
                "choices": [choice],
                **_usage_member(request, reply),
            }
        )

    def write_stream(self, request: ProviderRequest, reply: ProviderReply, pieces: Sequence[str]) -> list[bytes]:
        """Write a stream; usage comes in a last chunk of its own, only where the request asks for it."""
        head = _head(request, reply, "chat.completion.chunk")

        def chunk(delta: Mapping[str, Any], finish: FinishReason | None = None) -> bytes:
            choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
            return write_event({**head, "choices": [choice]})

        frames = [chunk({"content": piece}) for piece in pieces]
        frames[0] = chunk({"role": "assistant", "content": "", "refusal": None}) + frames[0]
        tail = b"".join(
            chunk({"tool_calls": [{"index": index, **_write_tool_call(call)}]})
            for index, call in enumerate(reply.tool_calls)
        )
        tail += chunk({}, reply.finish_reason)
        if request.include_usage and reply.reports_usage:
            tail += write_event({**head, "choices": [], **_usage_member(request, reply)})
        frames[-1] += tail + write_event("[DONE]")
        return frames

    def write_error(self, failure: Failure) -> WireError:
        """Write a refusal."""
        return openai_error(failure)

    def write_stream_error(self, failure: Failure) -> bytes:
        """Write a refusal as an event of the stream."""
        return write_event(openai_error(failure).body.decode())

    def read_reply(self, body: bytes) -> ProviderReply:
        """Read a whole answer."""
        value = read_object(body, what=f"{_WHAT} reply")
        choices = objects(value.get("choices"))
        if not choices:
            raise MalformedExchange(f"{_WHAT} reply has no choices; it has {sorted(value)}")
        message = mapping(choices[0].get("message"))
        return ProviderReply(
            text=read_message("assistant", message.get("content"), what=_WHAT).text,
            model=str(value.get("model") or ""),
            usage=_read_usage(value.get("usage")),
            finish_reason=_FINISH.get(str(choices[0].get("finish_reason")), "stop"),
            tool_calls=tuple(_read_tool_call(entry) for entry in objects(message.get("tool_calls")) or ()),
        )

    def stream_reader(self) -> StreamReader:
        """Read a stream while it comes."""
        return _StreamReader()

    def read_error(self, body: bytes) -> tuple[str | None, str]:
        """Code (else type) and message of an error."""
        return error_words(read_object(body, what=f"{_WHAT} error"), "code", "type")


class _StreamReader(EventStreamReader):
    """Joins the chunks of a stream; of several choices (n > 1) the first is the answer, as in a whole reply."""

    def __init__(self) -> None:
        super().__init__()
        self._model = ""
        self._stop = ""
        self._usage: Usage | None = None
        self._calls: dict[int, dict[str, Any]] = {}
        self._done = False

    def take(self, event: Event) -> None:
        self._done = self._done or event.data == "[DONE]"
        if self._done:
            return
        value = read_object(event.data, what=f"a chunk of {_WHAT}")
        if value.get("error"):
            word, message = error_words(value, "code", "type")
            kind = OPENAI_WORDS.classify(None, word, message)
            raise StreamFailed(f"the stream of {_WHAT} ended in an error: {message}", kind=kind, code=word)
        self._model = str(value.get("model") or self._model)
        self._usage = _read_usage(value.get("usage")) or self._usage
        for choice in objects(value.get("choices")) or ():
            if not choice.get("index"):
                self._take_choice(choice)

    def _take_choice(self, choice: Mapping[str, Any]) -> None:
        delta = mapping(choice.get("delta"))
        self.text += read_message("assistant", delta.get("content"), what=_WHAT).text
        self._stop = str(choice.get("finish_reason") or self._stop)
        for part in objects(delta.get("tool_calls")) or ():
            _merge_tool_call(self._calls, part)

    def finish(self) -> ProviderReply:
        if not self._stop:
            raise MalformedExchange(f"the stream of {_WHAT} was cut off: no chunk gives a finish_reason")
        return ProviderReply(
            text=self.text,
            model=self._model,
            usage=self._usage,
            finish_reason=_FINISH.get(self._stop, "stop"),
            tool_calls=tuple(_read_tool_call(self._calls[index]) for index in sorted(self._calls)),
        )


def openai_error(failure: Failure) -> WireError:
    """A refusal with OpenAI's type and code."""
    spoken = OPENAI_WORDS.say(failure.kind)
    error = {"message": failure.message, "type": spoken.type, "param": None, "code": spoken.word}
    return WireError(status=spoken.status, body=write_object({"error": error}))


def _usage_member(request: ProviderRequest, reply: ProviderReply) -> dict[str, Any]:
    if not reply.reports_usage:
        return {}
    return {"usage": _write_usage(reply.usage or estimate_usage(request, reply.text))}


def _head(request: ProviderRequest, reply: ProviderReply, kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-scripted", "object": kind, "created": _CREATED, "model": reply.model or request.model}


def _write_usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.total_input,
        "completion_tokens": usage.total_output,
        "total_tokens": usage.total_input + usage.total_output,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read, "cache_write_tokens": usage.cache_write},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def _read_usage(value: Any) -> Usage | None:
    """prompt_tokens include the cached ones, completion_tokens include reasoning."""
    if not isinstance(value, dict) or not value:
        return None
    usage = cast("dict[str, Any]", value)
    prompt, completion = mapping(usage.get("prompt_tokens_details")), mapping(usage.get("completion_tokens_details"))
    read, write = count(prompt.get("cached_tokens")), count(prompt.get("cache_write_tokens"))
    reasoning = count(completion.get("reasoning_tokens"))
    return Usage(
        fresh_input=max(0, count(usage.get("prompt_tokens")) - read - write),
        cache_read=read,
        cache_write=write,
        output=max(0, count(usage.get("completion_tokens")) - reasoning),
        reasoning=reasoning,
    )


def _read_tool(entry: Mapping[str, Any]) -> Tool:
    function = mapping(entry.get("function"))
    return Tool(
        name=str(function.get("name", "")),
        description=str(function.get("description") or ""),
        parameters=mapping(function.get("parameters")),
    )


def _write_tool_call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": json.dumps(dict(call.arguments), ensure_ascii=False)}
    return {"id": call.id, "type": "function", "function": function}


def _read_tool_call(entry: Mapping[str, Any]) -> ToolCall:
    function = mapping(entry.get("function"))
    return ToolCall(
        name=str(function.get("name", "")),
        arguments=arguments_of(function.get("arguments")),
        id=str(entry.get("id") or "call_1"),
    )


def _merge_tool_call(calls: dict[int, dict[str, Any]], part: Mapping[str, Any]) -> None:
    """A stream sends a tool call in fragments: the name once, the arguments piece by piece."""
    known = calls.setdefault(count(part.get("index")), {"function": {"name": "", "arguments": ""}})
    function = mapping(part.get("function"))
    known["id"] = part.get("id") or known.get("id")
    known["function"]["name"] += str(function.get("name") or "")
    known["function"]["arguments"] += str(function.get("arguments") or "")
