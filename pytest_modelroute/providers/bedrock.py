"""Amazon Bedrock's Converse: POST {base}/model/{model}/converse. Its streams (converse-stream) are not spoken."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NoReturn
from urllib.parse import quote, unquote

from pytest_modelroute.errors import MalformedExchange
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
from pytest_modelroute.providers.failures import ErrorClass, Failure, Spoken, Vocabulary, WireError
from pytest_modelroute.providers.language import (
    StreamReader,
    count,
    mapping,
    objects,
    read_object,
    text_of,
    write_object,
)
from pytest_modelroute.providers.parameters import NestedParameters

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
    streams = False
    embeds = False

    def recognises(self, path: str) -> bool:
        """Converse and its stream, which is then refused by name: left alone it would look like any other service."""
        return _PATH.search(path) is not None

    def read_request(self, body: bytes, path: str) -> ProviderRequest:
        """Read a request; the path names the model, an ARN included."""
        found = _PATH.search(path)
        if found is None:
            raise MalformedExchange(f"{_WHAT} request names its model in the path, which is {path!r}")
        if found["stream"]:
            _refuse_to_stream()
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
        if request.stream:
            _refuse_to_stream()
        value = _SAMPLING.write(request.params)
        value["messages"] = [
            {"role": message.role, "content": _content_of(message)}
            for message in request.messages
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
            path=f"/model/{quote(request.model, safe='')}/converse",
            headers={"authorization": f"Bearer {key}", "content-type": "application/json"},
            body=write_object(value),
        )

    def write_reply(self, request: ProviderRequest, reply: ProviderReply) -> bytes:
        """Write a whole answer; the format does not say which model answered."""
        content: list[dict[str, Any]] = [{"text": reply.text}] if reply.text or not reply.tool_calls else []
        content += [
            {"toolUse": {"toolUseId": call.id, "name": call.name, "input": dict(call.arguments)}}
            for call in reply.tool_calls
        ]
        value: dict[str, Any] = {
            "output": {"message": {"role": "assistant", "content": content}},
            "stopReason": _STOP_REASONS[reply.finish_reason],
            "metrics": {"latencyMs": 0},
        }
        if reply.reports_usage:
            value["usage"] = _write_usage(reply.usage or estimate_usage(request, reply.text))
        return write_object(value)

    def write_stream(self, request: ProviderRequest, reply: ProviderReply, pieces: Sequence[str]) -> list[bytes]:  # noqa: ARG002 - there is none
        """There is none: raises MalformedExchange."""
        _refuse_to_stream()

    def write_error(self, failure: Failure) -> WireError:
        """Write a refusal; its type stands in a header."""
        spoken = _WORDS.say(failure.kind)
        message = " ".join(filter(None, (_SAYS.get(failure.kind), failure.message)))
        return WireError(
            status=spoken.status,
            body=write_object({"message": message}),
            headers={_TYPE_HEADER: str(spoken.word)},
        )

    def write_stream_error(self, failure: Failure) -> bytes:  # noqa: ARG002 - there is none
        """There is none: raises MalformedExchange."""
        _refuse_to_stream()

    def read_reply(self, body: bytes) -> ProviderReply:
        """Read a whole answer."""
        value = read_object(body, what=f"{_WHAT} reply")
        blocks = objects(mapping(mapping(value.get("output")).get("message")).get("content"))
        if blocks is None:
            raise MalformedExchange(f"{_WHAT} reply has no content in its output message; it has {sorted(value)}")
        return ProviderReply(
            text="".join(text_of(block) for block in blocks),
            usage=_read_usage(mapping(value.get("usage"))) if value.get("usage") else None,
            finish_reason=_FINISH.get(str(value.get("stopReason")), "stop"),
            tool_calls=tuple(_read_tool_call(mapping(block["toolUse"])) for block in blocks if "toolUse" in block),
        )

    def stream_reader(self) -> StreamReader:
        """There is none: raises MalformedExchange."""
        _refuse_to_stream()

    def read_error(self, body: bytes) -> tuple[str | None, str]:
        """The message of an error, and its type where the body has it and not the header."""
        value = read_object(body, what=f"{_WHAT} error")
        word = str(value.get("__type") or "").rpartition("#")[2]
        return word or None, str(value.get("message") or value.get("Message") or "")


def _refuse_to_stream() -> NoReturn:
    raise MalformedExchange(
        "Bedrock's converse_stream is not spoken in this version, only converse is: let the application call converse "
        "where providers are scripted"
    )


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


def _write_usage(usage: Usage) -> dict[str, Any]:
    return {
        "inputTokens": usage.fresh_input,
        "outputTokens": usage.total_output,
        "totalTokens": usage.fresh_input + usage.total_output,
        "cacheReadInputTokens": usage.cache_read,
        "cacheWriteInputTokens": usage.cache_write,
    }


def _read_usage(usage: Mapping[str, Any]) -> Usage:
    """The input tokens exclude both cache buckets; the output tokens include reasoning, which is told apart nowhere."""
    return Usage(
        fresh_input=count(usage.get("inputTokens")),
        cache_read=count(usage.get("cacheReadInputTokens")),
        cache_write=count(usage.get("cacheWriteInputTokens")),
        output=count(usage.get("outputTokens")),
    )
