"""OpenAI responses: POST {base}/responses."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count as count_up
from typing import Any, Final

from pytest_modelroute.errors import MalformedExchange, StreamFailed
from pytest_modelroute.providers.exchange import (
    FinishReason,
    Message,
    ProviderReply,
    ProviderRequest,
    Tool,
    ToolCall,
    WireRequest,
    estimate_usage,
)
from pytest_modelroute.providers.failures import Failure, WireError
from pytest_modelroute.providers.language import (
    EventStreamReader,
    StreamReader,
    arguments_of,
    content_of,
    count,
    error_words,
    mapping,
    objects,
    read_message,
    read_object,
    text_of,
    write_object,
)
from pytest_modelroute.providers.openai_chat import CREATED, OPENAI_WORDS, openai_error, read_usage, write_usage
from pytest_modelroute.providers.sse import Event, write_event

_WHAT: Final = "an OpenAI response"
_OWN_MEMBERS: Final = frozenset({"model", "input", "instructions", "stream", "tools"})
_CALL_TYPES: Final = frozenset({"function_call", "function_call_output"})
_ECHOED: Final[Mapping[str, Any]] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
}
"Members of the request that a reply repeats, and what it says where they were left out."
_REASONS: Final[Mapping[FinishReason, str]] = {"length": "max_output_tokens", "content_filter": "content_filter"}
"Why a reply is incomplete; any other is completed."
_FINISH: Final[Mapping[str, FinishReason]] = {reason: finish for finish, reason in _REASONS.items()}
_ENDS: Final = ("response.completed", "response.incomplete")


class OpenAIResponses:
    """The format of /responses."""

    name = "openai-responses"
    provider = "openai"
    stream_type = "text/event-stream"
    vocabulary = OPENAI_WORDS
    filters_content = True
    streams = True
    embeds = False

    def recognises(self, path: str) -> bool:
        """Any path that ends in /responses; counting the tokens of an input is not a call of a model."""
        return path.endswith("/responses")

    def read_request(self, body: bytes, path: str) -> ProviderRequest:  # noqa: ARG002 - the model is in the body
        """Read a request; the instructions become the first message, calls of tools and their results messages too."""
        value = read_object(body, what=f"{_WHAT} request")
        model, messages = value.get("model"), _read_input(value.get("input"))
        if not isinstance(model, str) or messages is None:
            raise MalformedExchange(
                f"{_WHAT} request needs a model (text) and an input (a text or a list of items); it has {sorted(value)}"
            )
        instructions = value.get("instructions")
        system = [read_message("system", instructions, what=_WHAT)] if instructions is not None else []
        return ProviderRequest(
            model=model,
            messages=(*system, *messages),
            stream=value.get("stream") is True,
            tools=tuple(_read_tool(entry) for entry in objects(value.get("tools")) or ()),
            params={key: entry for key, entry in value.items() if key not in _OWN_MEMBERS},
            body=value,
        )

    def write_request(self, request: ProviderRequest, key: str) -> WireRequest:
        """Write a request; a system prompt in front, where it is a text, becomes the instructions."""
        first, messages = request.messages[:1], request.messages
        value: dict[str, Any] = {"model": request.model}
        if first and first[0].role == "system" and first[0].parts is None:
            value["instructions"], messages = first[0].text, messages[1:]
        value |= {"input": [item for message in messages for item in _write_items(message)], **request.params}
        if request.tools:
            value["tools"] = [
                {
                    "type": "function",
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": dict(tool.parameters),
                }
                for tool in request.tools
            ]
        if request.stream:
            value["stream"] = True
        return WireRequest(
            path="/responses",
            headers={"authorization": f"Bearer {key}", "content-type": "application/json"},
            body=write_object(value),
        )

    def write_reply(self, request: ProviderRequest, reply: ProviderReply) -> bytes:
        """Write a whole answer."""
        return write_object(_write_response(request, reply))

    def write_stream(self, request: ProviderRequest, reply: ProviderReply, pieces: Sequence[str]) -> list[bytes]:
        """Write a stream of named events, counted from 0; the last one holds the whole answer."""
        numbers = count_up()

        def event(kind: str, **members: Any) -> bytes:
            return write_event({"type": kind, "sequence_number": next(numbers), **members}, name=kind)

        whole = _write_response(request, reply)
        begun: dict[str, Any] = {
            **whole,
            "status": "in_progress",
            "incomplete_details": None,
            "output": [],
            "usage": None,
        }
        begin = event("response.created", response=begun) + event("response.in_progress", response=begun)
        items: list[dict[str, Any]] = whole["output"]
        frames = _text_events(event, items[0], pieces) if items[0]["type"] == "message" else [b""]
        frames[0] = begin + frames[0]
        for index, item in enumerate(items):
            if item["type"] == "function_call":
                frames[-1] += _call_events(event, index, item)
        frames[-1] += event(f"response.{whole['status']}", response=whole)
        return frames

    def write_error(self, failure: Failure) -> WireError:
        """Write a refusal."""
        return openai_error(failure)

    def write_stream_error(self, failure: Failure) -> bytes:
        """Write a refusal as the event of that name; it bears no number, since what came before is not known here."""
        error = json.loads(openai_error(failure).body)["error"]
        return write_event({"type": "error", "error": error}, name="error")

    def read_reply(self, body: bytes) -> ProviderReply:
        """Read a whole answer; StreamFailed for one that the provider says has failed."""
        return _read_response(read_object(body, what=f"{_WHAT} reply"))

    def stream_reader(self) -> StreamReader:
        """Read a stream while it comes."""
        return _StreamReader()

    def read_error(self, body: bytes) -> tuple[str | None, str]:
        """Code (else type) and message of an error."""
        return error_words(read_object(body, what=f"{_WHAT} error"), "code", "type")


class _StreamReader(EventStreamReader):
    """Joins the events of a stream; the answer is the one in its last event, else the items that were done."""

    def __init__(self) -> None:
        super().__init__()
        self._items: dict[int, dict[str, Any]] = {}
        self._response: dict[str, Any] | None = None

    def take(self, event: Event) -> None:
        value = read_object(event.data, what=f"an event of {_WHAT}")
        kind, delta = value.get("type"), value.get("delta")
        if kind == "response.output_text.delta" and isinstance(delta, str):
            self.text += delta
        elif kind == "response.output_item.done":
            self._items[count(value.get("output_index"))] = mapping(value.get("item"))
        elif kind in _ENDS:
            self._response = mapping(value.get("response"))
        elif kind == "response.failed":
            raise _failed(mapping(value.get("response")))
        elif kind == "error":
            # Documented with code and message beside the type, sent with an object around them.
            raise _failed(value if "error" in value else {"error": value | {"type": None}})

    def finish(self) -> ProviderReply:
        if self._response is None:
            raise MalformedExchange(f"the stream of {_WHAT} was cut off: no event says that it is completed")
        items = [item for _, item in sorted(self._items.items())]
        reply = _read_response({**self._response, "output": self._response.get("output") or items})
        return replace(reply, text=self.text or reply.text)


def _failed(value: Mapping[str, Any]) -> StreamFailed:
    word, message = error_words(value, "code", "type")
    kind = OPENAI_WORDS.classify(None, word, message)
    return StreamFailed(f"{_WHAT} ended in an error: {message}", kind=kind, code=word)


def _read_input(value: object) -> list[Message] | None:
    if isinstance(value, str):
        return [Message(role="user", text=value)]
    items = objects(value)
    return None if items is None else [_read_item(item) for item in items]


def _read_item(item: Mapping[str, Any]) -> Message:
    """A message; what is none, such as the call of a tool or its result, is kept as the one part of a message."""
    kind = item.get("type", "message")
    if kind == "message":
        return read_message(str(item.get("role", "")), item.get("content"), what=_WHAT)
    output = item.get("output")
    role = "tool" if kind == "function_call_output" else "assistant"
    return Message(role=role, text=output if isinstance(output, str) else "", parts=(item,))


def _write_items(message: Message) -> list[Mapping[str, Any]]:
    """A message; the calls of tools beside it are items of their own, and so is the result of one."""
    if message.result_of is not None:
        return [{"type": "function_call_output", "call_id": message.result_of.id, "output": message.text}]
    calls: list[Mapping[str, Any]] = [_write_call(call) for call in message.tool_calls]
    return calls if calls and not message.text else [_write_item(message), *calls]


def _write_call(call: ToolCall) -> Mapping[str, Any]:
    arguments = json.dumps(dict(call.arguments), ensure_ascii=False)
    return {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": arguments}


def _write_item(message: Message) -> Mapping[str, Any]:
    if message.parts is not None and len(message.parts) == 1 and message.parts[0].get("type") in _CALL_TYPES:
        return message.parts[0]
    return {"role": message.role, "content": content_of(message)}


def _read_tool(entry: Mapping[str, Any]) -> Tool:
    """A function, or a tool of the provider's own, which goes by its type."""
    return Tool(
        name=str(entry.get("name") or entry.get("type") or ""),
        description=str(entry.get("description") or ""),
        parameters=mapping(entry.get("parameters")),
    )


def _write_response(request: ProviderRequest, reply: ProviderReply) -> dict[str, Any]:
    reason = _REASONS.get(reply.finish_reason)
    status = "completed" if reason is None else "incomplete"
    usage = write_usage(reply.usage or estimate_usage(request, reply.text), "input", "output")
    return {
        "id": "resp_scripted",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": None,
        "incomplete_details": None if reason is None else {"reason": reason},
        "model": reply.model or request.model,
        "output": _write_output(reply, status),
        **{name: request.body.get(name, default) for name, default in _ECHOED.items()},
        "usage": usage if reply.reports_usage else None,
    }


def _write_output(reply: ProviderReply, status: str) -> list[dict[str, Any]]:
    text: dict[str, Any] = {"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []}
    message: dict[str, Any] = {"type": "message", "id": "msg_scripted", "status": status, "role": "assistant"}
    message["content"] = [text]
    calls = [
        {
            "type": "function_call",
            "id": f"fc_{number}",
            "call_id": call.id,
            "name": call.name,
            "arguments": json.dumps(dict(call.arguments), ensure_ascii=False),
            "status": "completed",
        }
        for number, call in enumerate(reply.tool_calls, start=1)
    ]
    return [*([message] if reply.text or not calls else []), *calls]


def _text_events(event: Any, item: Mapping[str, Any], pieces: Iterable[str]) -> list[bytes]:
    """The events of a message, the first item of the output, one entry a piece of its text."""
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    part = item["content"][0]
    begin = event("response.output_item.added", output_index=0, item={**item, "status": "in_progress", "content": []})
    begin += event("response.content_part.added", **place, part={**part, "text": ""})
    frames = [event("response.output_text.delta", **place, delta=piece, logprobs=[]) for piece in pieces]
    frames[0] = begin + frames[0]
    frames[-1] += (
        event("response.output_text.done", **place, text=part["text"], logprobs=[])
        + event("response.content_part.done", **place, part=part)
        + event("response.output_item.done", output_index=0, item=item)
    )
    return frames


def _call_events(event: Any, index: int, item: Mapping[str, Any]) -> bytes:
    """The events of the call of a tool."""
    place = {"item_id": item["id"], "output_index": index}
    begun = {**item, "status": "in_progress", "arguments": ""}
    frames: bytes = (
        event("response.output_item.added", output_index=index, item=begun)
        + event("response.function_call_arguments.delta", **place, delta=item["arguments"])
        + event("response.function_call_arguments.done", **place, arguments=item["arguments"])
        + event("response.output_item.done", output_index=index, item=item)
    )
    return frames


def _read_response(value: Mapping[str, Any]) -> ProviderReply:
    if value.get("status") == "failed" or value.get("error"):
        raise _failed(value)
    items = objects(value.get("output"))
    if items is None:
        raise MalformedExchange(f"{_WHAT} reply has no list of output; it has {sorted(value)}")
    parts = [part for item in items if item.get("type") == "message" for part in objects(item.get("content")) or ()]
    reason = str(mapping(value.get("incomplete_details")).get("reason"))
    return ProviderReply(
        text="".join(text_of(part) for part in parts),
        model=str(value.get("model") or ""),
        usage=read_usage(value.get("usage"), "input", "output"),
        finish_reason=_FINISH.get(reason, "stop"),
        tool_calls=tuple(_read_call(item) for item in items if item.get("type") == "function_call"),
    )


def _read_call(item: Mapping[str, Any]) -> ToolCall:
    return ToolCall(
        name=str(item.get("name", "")),
        arguments=arguments_of(item.get("arguments")),
        id=str(item.get("call_id") or "call_1"),
    )
