"""OpenAI chat completions: POST {base}/chat/completions. Many other hosts speak it too."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

from pytest_modelroute.errors import MalformedExchange
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
from pytest_modelroute.providers.language import (
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
from pytest_modelroute.providers.sse import read_events, write_event

_WHAT: Final = "an OpenAI chat completion"
_CREATED: Final = 1_750_000_000
"A fixed time, so that the same script always gives the same bytes."
_OWN_MEMBERS: Final = frozenset({"model", "messages", "stream", "stream_options", "tools"})
_CODES: Final[Mapping[str, tuple[str, str | None]]] = {
    "rate_limited": ("requests", "rate_limit_exceeded"),
    "authentication": ("invalid_request_error", "invalid_api_key"),
    "server_error": ("server_error", None),
    "unavailable": ("server_error", None),
    "overloaded": ("server_error", "overloaded"),
}
"Error class -> the type and code that OpenAI sends."
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

    def recognises(self, path: str) -> bool:
        """Any path that ends in /chat/completions, Azure's deployments included."""
        return path.endswith("/chat/completions")

    def read_request(self, body: bytes) -> ProviderRequest:
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
                "usage": _write_usage(reply.usage or estimate_usage(request, reply.text)),
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
        if request.include_usage:
            usage = _write_usage(reply.usage or estimate_usage(request, reply.text))
            tail += write_event({**head, "choices": [], "usage": usage})
        frames[-1] += tail + write_event("[DONE]")
        return frames

    def write_error(self, status: int, kind: str, message: str) -> bytes:
        """Write the body of an error."""
        fallback = "invalid_request_error" if status < 500 else "server_error"  # noqa: PLR2004
        kind_type, code = _CODES.get(kind, (fallback, None))
        return write_object({"error": {"message": message, "type": kind_type, "param": None, "code": code}})

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

    def read_stream(self, body: bytes) -> ProviderReply:
        """Read a stream that has ended."""
        text, model, finish = "", "", ""
        usage: Usage | None = None
        calls: dict[int, dict[str, Any]] = {}
        for value in _chunks(body):
            model = str(value.get("model") or model)
            usage = _read_usage(value.get("usage")) or usage
            # Of several choices (n > 1) the first is the answer, as in a whole reply.
            for choice in (choice for choice in objects(value.get("choices")) or () if not choice.get("index")):
                delta = mapping(choice.get("delta"))
                text += read_message("assistant", delta.get("content"), what=_WHAT).text
                finish = str(choice.get("finish_reason") or finish)
                for part in objects(delta.get("tool_calls")) or ():
                    _merge_tool_call(calls, part)
        if not finish:
            raise MalformedExchange(f"the stream of {_WHAT} was cut off: no chunk gives a finish_reason")
        return ProviderReply(
            text=text,
            model=model,
            usage=usage,
            finish_reason=_FINISH.get(finish, "stop"),
            tool_calls=tuple(_read_tool_call(calls[index]) for index in sorted(calls)),
        )

    def read_error(self, body: bytes) -> tuple[str | None, str]:
        """Code (else type) and message of an error."""
        return error_words(read_object(body, what=f"{_WHAT} error"), "code", "type")


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


def _chunks(body: bytes) -> Iterator[dict[str, Any]]:
    for event in read_events(body):
        if event.data == "[DONE]":
            return
        value = read_object(event.data, what=f"a chunk of {_WHAT}")
        if value.get("error"):
            message = mapping(value["error"]).get("message")
            raise MalformedExchange(f"the stream of {_WHAT} ended in an error: {message}")
        yield value
