"""The events of Bedrock's converse-stream, one a frame of AWS; and its usage, which stands in both forms alike."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from pytest_modelroute.errors import MalformedExchange, StreamFailed
from pytest_modelroute.providers.aws_frames import Frame, FrameDecoder, write_frame
from pytest_modelroute.providers.exchange import FinishReason, ProviderReply, ToolCall, Usage
from pytest_modelroute.providers.language import arguments_of, count, mapping, read_object, text_of, write_object

_WHAT: Final = "a Bedrock converse-stream"


def write_events(
    reply: ProviderReply, pieces: Sequence[str], *, stop_reason: str, usage: Mapping[str, int] | None
) -> list[bytes]:
    """
    An answer as a stream, one entry of frames for each piece of its text.

    Args:
        reply: What is answered.
        pieces: Its text, cut.
        stop_reason: Why it ends, in Bedrock's words.
        usage: In Bedrock's form; None for a stream that reports none.

    """
    entries = _write_text(pieces) if reply.text or not reply.tool_calls else [b""]
    first_tool = 1 if entries[0] else 0
    entries[0] = _event("messageStart", role="assistant") + entries[0]
    for index, call in enumerate(reply.tool_calls, start=first_tool):
        entries[-1] += b"".join(_write_tool_call(index, call))
    entries[-1] += _event("messageStop", stopReason=stop_reason)
    reported = {} if usage is None else {"usage": dict(usage)}
    entries[-1] += _event("metadata", **reported, metrics={"latencyMs": 0})
    return entries


def write_exception(word: str, message: str) -> bytes:
    """A refusal in the midst of a stream; its type begins with a small letter there."""
    kind = word[:1].lower() + word[1:]
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return write_frame(headers, write_object({"message": message}))


def write_usage(usage: Usage) -> dict[str, int]:
    """Usage in Bedrock's form."""
    return {
        "inputTokens": usage.fresh_input,
        "outputTokens": usage.total_output,
        "totalTokens": usage.fresh_input + usage.total_output,
        "cacheReadInputTokens": usage.cache_read,
        "cacheWriteInputTokens": usage.cache_write,
    }


def read_usage(usage: Mapping[str, Any]) -> Usage:
    """The input tokens exclude both cache buckets; the output tokens include reasoning, which is told apart nowhere."""
    return Usage(
        fresh_input=count(usage.get("inputTokens")),
        cache_read=count(usage.get("cacheReadInputTokens")),
        cache_write=count(usage.get("cacheWriteInputTokens")),
        output=count(usage.get("outputTokens")),
    )


class ConverseStream:
    """Joins what a stream brings."""

    def __init__(self, *, classify: Callable[[str, str], str], finishes: Mapping[str, FinishReason]) -> None:
        """
        Nothing has come yet.

        Args:
            classify: The class of an error, by its type and its message.
            finishes: Why an answer ended, by Bedrock's word; `stop` for any other.

        """
        self._classify = classify
        self._finishes = finishes
        self._frames = FrameDecoder()
        self._text = ""
        self._tools: dict[int, dict[str, str]] = {}
        self._stop_reason: str | None = None
        self._usage: Usage | None = None

    def feed(self, data: bytes) -> str:
        """
        Take more bytes.

        Raises:
            StreamFailed: The provider's error came in the stream.
            MalformedExchange: A piece of it is not in the format.

        """
        before = len(self._text)
        for frame in self._frames.feed(data):
            self._take(frame)
        return self._text[before:]

    def reply(self) -> ProviderReply:
        """The whole answer; MalformedExchange where the stream was cut off."""
        if self._stop_reason is None:
            raise MalformedExchange(f"the stream of {_WHAT} was cut off: no messageStop came")
        return ProviderReply(
            text=self._text,
            usage=self._usage,
            finish_reason=self._finishes.get(self._stop_reason, "stop"),
            tool_calls=tuple(
                ToolCall(name=tool["name"], id=tool["id"], arguments=arguments_of(tool["input"] or "{}"))
                for _index, tool in sorted(self._tools.items())
            ),
        )

    def _take(self, frame: Frame) -> None:
        if frame.headers.get(":message-type") != "event":
            self._fail(frame)
        value = read_object(frame.payload, what=f"{_WHAT} event")
        kind = frame.headers.get(":event-type")
        if kind == "contentBlockStart":
            tool = mapping(mapping(value.get("start")).get("toolUse"))
            if tool:
                named = {"name": str(tool.get("name", "")), "id": str(tool.get("toolUseId") or "call_1"), "input": ""}
                self._tools[count(value.get("contentBlockIndex"))] = named
        elif kind == "contentBlockDelta":
            self._add(count(value.get("contentBlockIndex")), mapping(value.get("delta")))
        elif kind == "messageStop":
            self._stop_reason = str(value.get("stopReason"))
        elif kind == "metadata" and value.get("usage"):
            self._usage = read_usage(mapping(value["usage"]))

    def _add(self, index: int, delta: Mapping[str, Any]) -> None:
        self._text += text_of(delta)
        more = mapping(delta.get("toolUse")).get("input")
        if isinstance(more, str) and index in self._tools:
            self._tools[index]["input"] += more

    def _fail(self, frame: Frame) -> None:
        kind = frame.headers.get(":exception-type") or frame.headers.get(":error-code") or "unknown"
        word = kind[:1].upper() + kind[1:]
        try:
            said = str(json.loads(frame.payload).get("message", ""))
        except (ValueError, AttributeError):
            said = frame.headers.get(":error-message", "")
        raise StreamFailed(
            f"the stream of {_WHAT} ended in an error: {word}: {said}", kind=self._classify(word, said), code=word
        )


def _write_text(pieces: Sequence[str]) -> list[bytes]:
    entries = [_event("contentBlockDelta", contentBlockIndex=0, delta={"text": piece}) for piece in pieces]
    entries[-1] += _event("contentBlockStop", contentBlockIndex=0)
    return entries


def _write_tool_call(index: int, call: ToolCall) -> Iterator[bytes]:
    yield _event(
        "contentBlockStart", contentBlockIndex=index, start={"toolUse": {"toolUseId": call.id, "name": call.name}}
    )
    text = write_object(call.arguments).decode()
    yield _event("contentBlockDelta", contentBlockIndex=index, delta={"toolUse": {"input": text}})
    yield _event("contentBlockStop", contentBlockIndex=index)


def _event(kind: str, **members: Any) -> bytes:
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return write_frame(headers, write_object(members))
