"""Anthropic messages: POST {base}/v1/messages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pytest_modelroute.errors import MalformedExchange, StreamFailed
from pytest_modelroute.providers.exchange import (
    FinishReason,
    Message,
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
    text_of,
    write_object,
)
from pytest_modelroute.providers.sse import Event, write_event
from pytest_modelroute.providers.tool_turns import in_parts

_WHAT: Final = "an Anthropic message"
_OWN_MEMBERS: Final = frozenset({"model", "messages", "system", "stream", "tools"})
_DEFAULT_MAX_TOKENS: Final = 1024
"max_tokens is required by this format alone."
_WORDS: Final = Vocabulary(
    spoken={
        "rate_limited": Spoken(429, "rate_limit_error"),
        "quota_exhausted": Spoken(402, "billing_error"),
        "overloaded": Spoken(529, "overloaded_error"),
        "unavailable": Spoken(503, "api_error"),
        "server_error": Spoken(500, "api_error"),
        "timeout": Spoken(408, "timeout_error"),
        "not_found": Spoken(404, "not_found_error"),
        "context_overflow": Spoken(400, "invalid_request_error"),
        "authentication": Spoken(401, "authentication_error"),
        "permission": Spoken(403, "permission_error"),
        "bad_request": Spoken(400, "invalid_request_error"),
    },
    understood={"request_too_large": "context_overflow"},
    phrases={"prompt is too long": "context_overflow", "exceed context limit": "context_overflow"},
)
_STOP_REASONS: Final[Mapping[FinishReason, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_FINISH: Final[Mapping[str, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class AnthropicMessages:
    """The format of /v1/messages."""

    name = "anthropic-messages"
    provider = "anthropic"
    stream_type = "text/event-stream"
    vocabulary = _WORDS
    filters_content = True
    streams = True
    embeds = False

    def recognises(self, path: str) -> bool:
        """Any path that ends in /v1/messages; counting tokens is not a call of a model."""
        return path.endswith("/v1/messages")

    def read_request(self, body: bytes, path: str) -> ProviderRequest:  # noqa: ARG002 - the model is in the body
        """Read a request; the system prompt becomes the first message."""
        value, model, messages = open_request(body, what=_WHAT)
        system = [read_message("system", value["system"], what=_WHAT)] if "system" in value else []
        return ProviderRequest(
            model=model,
            messages=(*system, *messages),
            stream=value.get("stream") is True,
            tools=tuple(_read_tool(entry) for entry in objects(value.get("tools")) or ()),
            params={key: entry for key, entry in value.items() if key not in _OWN_MEMBERS},
            body=value,
        )

    def write_request(self, request: ProviderRequest, key: str) -> WireRequest:
        """Write a request; system messages move to the member that this format keeps for them."""
        value: dict[str, Any] = {
            "model": request.model,
            "max_tokens": _DEFAULT_MAX_TOKENS,
            "messages": [
                {"role": message.role, "content": content_of(message)}
                for message in in_parts(request.messages, text=_text, call=_write_tool_call, result=_write_result)
                if message.role != "system"
            ],
            **request.params,
        }
        system = [message for message in request.messages if message.role == "system"]
        if system:
            value["system"] = _write_system(system)
        if request.tools:
            value["tools"] = [
                {"name": tool.name, "description": tool.description, "input_schema": dict(tool.parameters)}
                for tool in request.tools
            ]
        if request.stream:
            value["stream"] = True
        return WireRequest(
            path="/v1/messages",
            headers={"x-api-key": key, "anthropic-version": "2023-06-01", "content-type": "application/json"},
            body=write_object(value),
        )

    def write_reply(self, request: ProviderRequest, reply: ProviderReply) -> bytes:
        """Write a whole answer."""
        content: list[dict[str, Any]] = []
        if reply.text or not reply.tool_calls:
            content.append(_text(reply.text))
        content += [_write_tool_call(call) for call in reply.tool_calls]
        usage = reply.usage or estimate_usage(request, reply.text)
        value = _head(request, reply, usage)
        value["content"] = content
        value["stop_reason"] = _STOP_REASONS[reply.finish_reason]
        if reply.reports_usage:
            value["usage"] |= _write_output(usage)
        return write_object(value)

    def write_stream(self, request: ProviderRequest, reply: ProviderReply, pieces: Sequence[str]) -> list[bytes]:
        """Write a stream; each frame needs its `event:` line, or clients read nothing."""
        usage = reply.usage or estimate_usage(request, reply.text)
        frames = _stream_text(pieces) if reply.text or not reply.tool_calls else [b""]
        first_tool = 1 if frames[0] else 0
        frames[0] = _frame("message_start", message=_head(request, reply, usage)) + frames[0]
        frames[-1] += b"".join(
            _stream_tool_call(index, call) for index, call in enumerate(reply.tool_calls, start=first_tool)
        )
        stop = {"stop_reason": _STOP_REASONS[reply.finish_reason], "stop_sequence": None}
        last_usage = {"usage": _write_output(usage)} if reply.reports_usage else {}
        frames[-1] += _frame("message_delta", delta=stop, **last_usage)
        frames[-1] += _frame("message_stop")
        return frames

    def write_error(self, failure: Failure) -> WireError:
        """Write a refusal; a prompt that is too long has no type of its own, only words."""
        spoken = _WORDS.say(failure.kind)
        message = f"prompt is too long: {failure.message}" if failure.kind == "context_overflow" else failure.message
        error = {"type": spoken.word, "message": message}
        body = write_object({"type": "error", "error": error, "request_id": "req_scripted"})
        return WireError(status=spoken.status, body=body)

    def write_stream_error(self, failure: Failure) -> bytes:
        """Write a refusal as the event of that name; its status, that of the stream, stays 200."""
        return write_event(self.write_error(failure).body.decode(), name="error")

    def read_reply(self, body: bytes) -> ProviderReply:
        """Read a whole answer."""
        value = read_object(body, what=f"{_WHAT} reply")
        blocks = objects(value.get("content"))
        if blocks is None:
            raise MalformedExchange(f"{_WHAT} reply has no list of content; it has {sorted(value)}")
        return ProviderReply(
            text="".join(text_of(block) for block in blocks),
            model=str(value.get("model") or ""),
            usage=_read_usage(mapping(value.get("usage"))) if value.get("usage") else None,
            finish_reason=_FINISH.get(str(value.get("stop_reason")), "stop"),
            tool_calls=tuple(_read_tool_call(block) for block in blocks if block.get("type") == "tool_use"),
        )

    def stream_reader(self) -> StreamReader:
        """Read a stream while it comes."""
        return _StreamReader()

    def read_error(self, body: bytes) -> tuple[str | None, str]:
        """Type and message of an error."""
        return error_words(read_object(body, what=f"{_WHAT} error"), "type")


class _StreamReader(EventStreamReader):
    """Joins the events of a stream; usage is cumulative, so that later numbers replace earlier ones."""

    def __init__(self) -> None:
        super().__init__()
        self._model = ""
        self._stop = ""
        self._usage: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}

    def take(self, event: Event) -> None:
        self._take_object(read_object(event.data, what=f"an event of {_WHAT}"))

    def _take_object(self, event: dict[str, Any]) -> None:
        kind, delta, index = event.get("type"), mapping(event.get("delta")), count(event.get("index"))
        if kind == "message_start":
            message = mapping(event.get("message"))
            self._model = str(message.get("model") or "")
            self._add(mapping(message.get("usage")))
        elif kind == "content_block_start":
            self._blocks[index] = {**mapping(event.get("content_block")), "_json": ""}
        elif kind == "content_block_delta":
            self.text += text_of(delta)
            if index in self._blocks:
                self._blocks[index]["_json"] += str(delta.get("partial_json") or "")
        elif kind == "message_delta":
            self._stop = str(delta.get("stop_reason") or self._stop)
            self._add(mapping(event.get("usage")))
        elif kind == "error":
            word, said = error_words(event, "type")
            failed = _WORDS.classify(None, word, said)
            raise StreamFailed(f"the stream of {_WHAT} ended in an error: {said}", kind=failed, code=word)

    def _add(self, usage: Mapping[str, Any]) -> None:
        # Later events repeat what they do not know as null.
        self._usage |= {name: value for name, value in usage.items() if value is not None}

    def finish(self) -> ProviderReply:
        if not self._stop:
            raise MalformedExchange(f"the stream of {_WHAT} was cut off: no event gives a stop_reason")
        tools = [block for _, block in sorted(self._blocks.items()) if block.get("type") == "tool_use"]
        return ProviderReply(
            text=self.text,
            model=self._model,
            usage=_read_usage(self._usage) if self._usage else None,
            finish_reason=_FINISH.get(self._stop, "stop"),
            tool_calls=tuple(_read_tool_call({**block, "input": arguments_of(block["_json"])}) for block in tools),
        )


def _head(request: ProviderRequest, reply: ProviderReply, usage: Usage) -> dict[str, Any]:
    head: dict[str, Any] = {
        "id": "msg_scripted",
        "type": "message",
        "role": "assistant",
        "model": reply.model or request.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }
    if reply.reports_usage:
        head["usage"] = {
            "input_tokens": usage.fresh_input,
            "cache_creation_input_tokens": usage.cache_write,
            "cache_read_input_tokens": usage.cache_read,
            "output_tokens": 0,
        }
    return head


def _frame(kind: str, **members: Any) -> bytes:
    return write_event({"type": kind, **members}, name=kind)


def _stream_text(pieces: Sequence[str]) -> list[bytes]:
    """The text as the first block of the content, one entry a piece."""
    frames = [_frame("content_block_delta", index=0, delta={"type": "text_delta", "text": piece}) for piece in pieces]
    frames[0] = _frame("content_block_start", index=0, content_block={"type": "text", "text": ""}) + frames[0]
    frames[-1] += _frame("content_block_stop", index=0)
    return frames


def _write_output(usage: Usage) -> dict[str, Any]:
    details = {"output_tokens_details": {"thinking_tokens": usage.reasoning}} if usage.reasoning else {}
    return {"output_tokens": usage.total_output, **details}


def _stream_tool_call(index: int, call: ToolCall) -> bytes:
    block: dict[str, Any] = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
    delta = {"type": "input_json_delta", "partial_json": json.dumps(dict(call.arguments), ensure_ascii=False)}
    return (
        _frame("content_block_start", index=index, content_block=block)
        + _frame("content_block_delta", index=index, delta=delta)
        + _frame("content_block_stop", index=index)
    )


def _read_usage(usage: Mapping[str, Any]) -> Usage:
    """input_tokens exclude both cache buckets; output_tokens include thinking."""
    output = count(usage.get("output_tokens"))
    thinking = min(output, count(mapping(usage.get("output_tokens_details")).get("thinking_tokens")))
    return Usage(
        fresh_input=count(usage.get("input_tokens")),
        cache_read=count(usage.get("cache_read_input_tokens")),
        cache_write=count(usage.get("cache_creation_input_tokens")),
        output=output - thinking,
        reasoning=thinking,
    )


def _write_system(messages: Sequence[Message]) -> Any:
    """One plain system message stays a string; several, or parts, become a list of parts."""
    if len(messages) == 1:
        return content_of(messages[0])
    return [part for message in messages for part in (message.parts or ({"type": "text", "text": message.text},))]


def _read_tool(entry: Mapping[str, Any]) -> Tool:
    return Tool(
        name=str(entry.get("name", "")),
        description=str(entry.get("description") or ""),
        parameters=mapping(entry.get("input_schema")),
    )


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _write_tool_call(call: ToolCall) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": dict(call.arguments)}


def _write_result(call: ToolCall, text: str) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call.id, "content": text}


def _read_tool_call(block: Mapping[str, Any]) -> ToolCall:
    return ToolCall(
        name=str(block.get("name", "")), arguments=mapping(block.get("input")), id=str(block.get("id") or "call_1")
    )
