"""Amazon Bedrock's Converse: POST {base}/model/{model}/converse, and converse-stream (bedrock_stream.py)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, unquote

from pytest_modelroute.errors import MalformedExchange
from pytest_modelroute.providers.bedrock_stream import (
    ConverseStream,
    read_usage,
    write_events,
    write_exception,
    write_usage,
)
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
from pytest_modelroute.providers.failures import ErrorClass, Failure, Spoken, Vocabulary, WireError
from pytest_modelroute.providers.language import (
    StreamReader,
    mapping,
    objects,
    read_object,
    text_of,
    write_object,
)
from pytest_modelroute.providers.parameters import NestedParameters
from pytest_modelroute.providers.tool_turns import in_parts

_WHAT: Final = "a Bedrock converse"
_PATH: Final = re.compile(r"/model/(?P<model>.+)/converse(?P<stream>-stream)?$")
_OWN_MEMBERS: Final = frozenset({"messages", "system", "toolConfig", "inferenceConfig"})
_SAMPLING: Final = NestedParameters("inferenceConfig", max_tokens="maxTokens")
_TYPE_HEADER: Final = "x-amzn-errortype"
_WORDS: Final = Vocabulary(
    spoken={
        "rate_limited": Spoken(429, "ThrottlingException"),
        "quota_exhausted": Spoken(429, "ThrottlingException"),
        "overloaded": Spoken(503, "ServiceUnavailableException"),
        "unavailable": Spoken(503, "ServiceUnavailableException"),
        "server_error": Spoken(500, "InternalServerException"),
        "timeout": Spoken(408, "ModelTimeoutException"),
        "not_found": Spoken(404, "ResourceNotFoundException"),
        "context_overflow": Spoken(400, "ValidationException"),
        "authentication": Spoken(403, "UnrecognizedClientException"),
        "permission": Spoken(403, "AccessDeniedException"),
        "bad_request": Spoken(400, "ValidationException"),
    },
    understood={
        "ModelNotReadyException": "unavailable",
        "ModelErrorException": "server_error",
        "ServiceQuotaExceededException": "quota_exhausted",
        **dict.fromkeys(
            ("ExpiredTokenException", "InvalidSignatureException", "MissingAuthenticationTokenException"),
            "authentication",
        ),
    },
    word_header=_TYPE_HEADER,
    phrases={
        "input is too long": "context_overflow",
        "prompt is too long": "context_overflow",
        "too many tokens per day": "quota_exhausted",
        "model identifier is invalid": "not_found",
    },
)
_STATUSES: Final = {spoken.word: spoken.status for spoken in _WORDS.spoken.values()}
_SAYS: Final[Mapping[ErrorClass, str]] = {
    "context_overflow": "Input is too long for requested model.",
    "quota_exhausted": "Too many tokens per day, please wait before trying again.",
}
"What tells an error from others of the same type."
_STOP_REASONS: Final[Mapping[FinishReason, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "content_filtered",
}
_FINISH: Final[Mapping[str, FinishReason]] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
}


class BedrockConverse:
    """The format of /model/{model}/converse."""

    name = "bedrock-converse"
    provider = "aws"
    stream_type = "application/vnd.amazon.eventstream"
    vocabulary = _WORDS
    filters_content = True
    streams = True
    embeds = False

    def recognises(self, path: str) -> bool:
        """Converse and its stream."""
        return _PATH.search(path) is not None

    def read_request(self, body: bytes, path: str) -> ProviderRequest:
        """Read a request; the path names the model, an ARN included."""
        found = _PATH.search(path)
        if found is None:
            raise MalformedExchange(f"{_WHAT} request names its model in the path, which is {path!r}")
        value = read_object(body, what=f"{_WHAT} request")
        messages = objects(value.get("messages"))
        if messages is None:
            there = type(value["messages"]).__name__ if "messages" in value else "missing"
            raise MalformedExchange(
                f"{_WHAT} request needs messages (a list of objects); its messages are {there}, it has {sorted(value)}"
            )
        system = [_read_message("system", value["system"])] if "system" in value else []
        tool_config = dict(mapping(value.get("toolConfig")))
        entries = objects(tool_config.pop("tools", None)) or []
        others = [entry for entry in entries if "toolSpec" not in entry]
        tool_config |= {"tools": others} if others else {}
        return ProviderRequest(
            model=unquote(found["model"]),
            stream=found["stream"] is not None,
            messages=(
                *system,
                *(_read_message(str(entry.get("role", "")), entry.get("content")) for entry in messages),
            ),
            tools=tuple(_read_tool(mapping(entry["toolSpec"])) for entry in entries if "toolSpec" in entry),
            params={
                **{name: entry for name, entry in value.items() if name not in _OWN_MEMBERS},
                **_SAMPLING.read(value.get("inferenceConfig")),
                **({"toolConfig": tool_config} if tool_config else {}),
            },
            body=value,
        )

    def write_request(self, request: ProviderRequest, key: str) -> WireRequest:
        """Write a request; the key is a Bedrock API key, since nothing here signs requests."""
        value = _SAMPLING.write(request.params)
        value["messages"] = [
            {"role": message.role, "content": _content_of(message)}
            for message in in_parts(request.messages, text=_text, call=_write_tool_call, result=_write_result)
            if message.role != "system"
        ]
        system = [message for message in request.messages if message.role == "system"]
        if system:
            value["system"] = [block for message in system for block in _content_of(message)]
        if request.tools:
            tool_config = mapping(value.get("toolConfig"))
            others = objects(tool_config.get("tools")) or []
            value["toolConfig"] = {**tool_config, "tools": [*map(_write_tool, request.tools), *others]}
        return WireRequest(
            path=f"/model/{quote(request.model, safe='')}/converse{'-stream' if request.stream else ''}",
            headers={"authorization": f"Bearer {key}", "content-type": "application/json"},
            body=write_object(value),
        )

    def write_reply(self, request: ProviderRequest, reply: ProviderReply) -> bytes:
        """Write a whole answer; the format does not say which model answered."""
        content: list[dict[str, Any]] = [_text(reply.text)] if reply.text or not reply.tool_calls else []
        content += [_write_tool_call(call) for call in reply.tool_calls]
        value: dict[str, Any] = {
            "output": {"message": {"role": "assistant", "content": content}},
            "stopReason": _STOP_REASONS[reply.finish_reason],
            "metrics": {"latencyMs": 0},
        }
        if reply.reports_usage:
            value["usage"] = write_usage(reply.usage or estimate_usage(request, reply.text))
        return write_object(value)

    def write_stream(self, request: ProviderRequest, reply: ProviderReply, pieces: Sequence[str]) -> list[bytes]:
        """Write a stream; usage comes last."""
        usage = write_usage(reply.usage or estimate_usage(request, reply.text)) if reply.reports_usage else None
        return write_events(reply, pieces, stop_reason=_STOP_REASONS[reply.finish_reason], usage=usage)

    def write_error(self, failure: Failure) -> WireError:
        """Write a refusal; its type stands in a header."""
        spoken = _WORDS.say(failure.kind)
        return WireError(
            status=spoken.status,
            body=write_object({"message": _message_of(failure)}),
            headers={_TYPE_HEADER: str(spoken.word)},
        )

    def write_stream_error(self, failure: Failure) -> bytes:
        """Write a refusal as a frame of that type; the status of the stream stays 200."""
        return write_exception(str(_WORDS.say(failure.kind).word), _message_of(failure))

    def read_reply(self, body: bytes) -> ProviderReply:
        """Read a whole answer."""
        value = read_object(body, what=f"{_WHAT} reply")
        blocks = objects(mapping(mapping(value.get("output")).get("message")).get("content"))
        if blocks is None:
            raise MalformedExchange(f"{_WHAT} reply has no content in its output message; it has {sorted(value)}")
        return ProviderReply(
            text="".join(text_of(block) for block in blocks),
            usage=read_usage(mapping(value.get("usage"))) if value.get("usage") else None,
            finish_reason=_FINISH.get(str(value.get("stopReason")), "stop"),
            tool_calls=tuple(_read_tool_call(mapping(block["toolUse"])) for block in blocks if "toolUse" in block),
        )

    def stream_reader(self) -> StreamReader:
        """Read a stream while it comes."""
        # The type alone says not all: with the status that it has in a whole reply it does.
        return ConverseStream(
            classify=lambda word, said: _WORDS.classify(_STATUSES.get(word), word, said), finishes=_FINISH
        )

    def read_error(self, body: bytes) -> tuple[str | None, str]:
        """The message of an error, and its type where the body has it and not the header."""
        value = read_object(body, what=f"{_WHAT} error")
        word = str(value.get("__type") or "").rpartition("#")[2]
        return word or None, str(value.get("message") or value.get("Message") or "")


def _message_of(failure: Failure) -> str:
    return " ".join(filter(None, (_SAYS.get(failure.kind), failure.message)))


def _read_message(role: str, content: object) -> Message:
    """A message; a single block of nothing but text is the text that it was made from."""
    blocks = objects(content)
    if blocks is None:
        raise MalformedExchange(
            f"{_WHAT}: the content of a message of role {role!r} is {type(content).__name__}, not a list of objects"
        )
    text = "".join(text_of(block) for block in blocks)
    return Message(role=role, text=text, parts=None if blocks == [{"text": text}] else tuple(blocks))


def _content_of(message: Message) -> Iterable[dict[str, Any]]:
    return [{"text": message.text}] if message.parts is None else [dict(part) for part in message.parts]


def _text(text: str) -> dict[str, Any]:
    return {"text": text}


def _write_tool_call(call: ToolCall) -> dict[str, Any]:
    return {"toolUse": {"toolUseId": call.id, "name": call.name, "input": dict(call.arguments)}}


def _write_result(call: ToolCall, text: str) -> dict[str, Any]:
    return {"toolResult": {"toolUseId": call.id, "content": [_text(text)]}}


def _read_tool(spec: Mapping[str, Any]) -> Tool:
    return Tool(
        name=str(spec.get("name", "")),
        description=str(spec.get("description") or ""),
        parameters=mapping(mapping(spec.get("inputSchema")).get("json")),
    )


def _write_tool(tool: Tool) -> dict[str, Any]:
    # An empty description is refused.
    described = {"description": tool.description} if tool.description else {}
    return {"toolSpec": {"name": tool.name, **described, "inputSchema": {"json": dict(tool.parameters)}}}


def _read_tool_call(block: Mapping[str, Any]) -> ToolCall:
    return ToolCall(
        name=str(block.get("name", "")),
        arguments=mapping(block.get("input")),
        id=str(block.get("toolUseId") or "call_1"),
    )
