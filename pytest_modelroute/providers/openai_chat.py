"""OpenAI chat completions: POST {base}/chat/completions. Many other hosts speak it too."""

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
    write_object,
)
from pytest_modelroute.providers.sse import Event, write_event

CREATED: Final = 1_750_000_000
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
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class OpenAIChat:
    """The format of /chat/completions; its dialects differ in what a stream ends with, in usage and in errors."""

    name = "openai-chat"
    provider = "openai"
    stream_type = "text/event-stream"
    vocabulary = OPENAI_WORDS
    filters_content = True
    streams = True
    embeds = False
    what = "an OpenAI chat completion"
    "As messages name it."
    message_members: Mapping[str, Any] = {"refusal": None}
    "What its messages have beyond role, content and tool calls."

    def recognises(self, path: str) -> bool:
        """Any path that ends in /chat/completions, Azure's deployments included."""
        return path.endswith("/chat/completions")

    def read_request(self, body: bytes, path: str) -> ProviderRequest:  # noqa: ARG002 - the model is in the body
        """Read a request."""
        value, model, messages = open_request(body, what=self.what)
        return ProviderRequest(
            model=model,
            messages=messages,
            stream=value.get("stream") is True,
            include_usage=not value.get("stream") or mapping(value.get("stream_options")).get("include_usage") is True,
            tools=tuple(read_tool(entry) for entry in objects(value.get("tools")) or ()),
            params={key: entry for key, entry in value.items() if key not in _OWN_MEMBERS},
            body=value,
        )

    def write_request(self, request: ProviderRequest, key: str) -> WireRequest:
        """Write a request; the key travels as a bearer token."""
        value: dict[str, Any] = {
            "model": request.model,
            "messages": [_write_message(message) for message in request.messages],
            **request.params,
        }
        if request.tools:
            value["tools"] = [write_tool(tool) for tool in request.tools]
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
        message: dict[str, Any] = {"role": "assistant", "content": reply.text, **self.message_members}
        if reply.tool_calls:
            message["tool_calls"] = [_write_tool_call(call) for call in reply.tool_calls]
            message["content"] = reply.text or None
        choice = {"index": 0, "message": message, "finish_reason": reply.finish_reason, "logprobs": None}
        return write_object(
            {
                **_head(request, reply, "chat.completion"),
                "choices": [choice],
                **self.usage_member(request, reply),
            }
        )

    def write_stream(self, request: ProviderRequest, reply: ProviderReply, pieces: Sequence[str]) -> list[bytes]:
        """Write a stream."""
        head = _head(request, reply, "chat.completion.chunk")
        frames = [write_chunk(head, {"content": piece}) for piece in pieces]
        frames[0] = write_chunk(head, {"role": "assistant", "content": "", **self.message_members}) + frames[0]
        frames[-1] += b"".join(
            write_chunk(head, {"tool_calls": [{"index": index, **_write_tool_call(call)}]})
            for index, call in enumerate(reply.tool_calls)
        )
        frames[-1] += self.write_end(head, request, reply) + write_event("[DONE]")
        return frames

    def write_end(self, head: Mapping[str, Any], request: ProviderRequest, reply: ProviderReply) -> bytes:
        """The chunks that end a stream; usage comes in one of its own, only where the request asks for it."""
        end = write_chunk(head, {}, reply.finish_reason)
        if request.include_usage and reply.reports_usage:
            end += write_event({**head, "choices": [], **self.usage_member(request, reply)})
        return end

    def usage_member(self, request: ProviderRequest, reply: ProviderReply) -> dict[str, Any]:
        """The usage as a member of a reply or chunk; none where it is not reported."""
        return {"usage": write_usage(reply.usage or estimate_usage(request, reply.text))} if reply.reports_usage else {}

    def write_error(self, failure: Failure) -> WireError:
        """Write a refusal."""
        return openai_error(failure)

    def write_stream_error(self, failure: Failure) -> bytes:
        """Write a refusal as an event of the stream."""
        return write_event(self.write_error(failure).body.decode())

    def read_reply(self, body: bytes) -> ProviderReply:
        """Read a whole answer."""
        value = read_object(body, what=f"{self.what} reply")
        choices = objects(value.get("choices"))
        if not choices:
            raise MalformedExchange(f"{self.what} reply has no choices; it has {sorted(value)}")
        message = mapping(choices[0].get("message"))
        return ProviderReply(
            text=read_message("assistant", message.get("content"), what=self.what).text,
            model=str(value.get("model") or ""),
            usage=read_usage(value.get("usage")),
            finish_reason=_read_finish(choices[0].get("finish_reason"), self.what),
            tool_calls=tuple(_read_tool_call(entry) for entry in objects(message.get("tool_calls")) or ()),
        )

    def stream_reader(self) -> StreamReader:
        """Read a stream while it comes."""
        return _StreamReader(self)

    def read_error(self, body: bytes) -> tuple[str | None, str]:
        """Code (else type) and message of an error."""
        return error_words(read_object(body, what=f"{self.what} error"), "code", "type")


class _StreamReader(EventStreamReader):
    """Joins the chunks of a stream; of several choices (n > 1) the first is the answer, as in a whole reply."""

    def __init__(self, language: OpenAIChat) -> None:
        super().__init__()
        self._language = language
        self._model = ""
        self._stop = ""
        self._usage: Usage | None = None
        self._calls: dict[int, dict[str, Any]] = {}
        self._done = False

    def take(self, event: Event) -> None:
        self._done = self._done or event.data == "[DONE]"
        if self._done:
            return
        what = self._language.what
        value = read_object(event.data, what=f"a chunk of {what}")
        if value.get("error") or value.get("object") == "error":
            word, message = self._language.read_error(event.data.encode())
            kind = self._language.vocabulary.classify(None, word, message)
            raise StreamFailed(f"the stream of {what} ended in an error: {message}", kind=kind, code=word)
        self._model = str(value.get("model") or self._model)
        self._usage = read_usage(value.get("usage")) or self._usage
        for choice in objects(value.get("choices")) or ():
            if not choice.get("index"):
                self._take_choice(choice)

    def _take_choice(self, choice: Mapping[str, Any]) -> None:
        delta = mapping(choice.get("delta"))
        self.text += read_message("assistant", delta.get("content"), what=self._language.what).text
        self._stop = str(choice.get("finish_reason") or self._stop)
        for part in objects(delta.get("tool_calls")) or ():
            _merge_tool_call(self._calls, part)

    def finish(self) -> ProviderReply:
        what = self._language.what
        if not self._stop:
            raise MalformedExchange(f"the stream of {what} was cut off: no chunk gives a finish_reason")
        return ProviderReply(
            text=self.text,
            model=self._model,
            usage=self._usage,
            finish_reason=_read_finish(self._stop, what),
            tool_calls=tuple(_read_tool_call(self._calls[index]) for index in sorted(self._calls)),
        )


def openai_error(failure: Failure) -> WireError:
    """A refusal with OpenAI's type and code."""
    spoken = OPENAI_WORDS.say(failure.kind)
    error = {"message": failure.message, "type": spoken.type, "param": None, "code": spoken.word}
    return WireError(status=spoken.status, body=write_object({"error": error}))


def _head(request: ProviderRequest, reply: ProviderReply, kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-scripted", "object": kind, "created": CREATED, "model": reply.model or request.model}


def write_chunk(head: Mapping[str, Any], delta: Mapping[str, Any], finish: str | None = None, **members: Any) -> bytes:
    """One chunk of a stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
    return write_event({**head, "choices": [choice], **members})


def _read_finish(word: object, what: str) -> FinishReason:
    if word == "error":  # as Mistral and OpenRouter end a reply whose model failed
        raise StreamFailed(f"{what} ended in the finish_reason error", kind="server_error", code=None)
    return _FINISH.get(str(word), "stop")


def write_usage(usage: Usage, asked: str = "prompt", made: str = "completion") -> dict[str, Any]:
    """Usage as OpenAI's formats report it; they differ in their words for what is asked and what is made."""
    return {
        f"{asked}_tokens": usage.total_input,
        f"{made}_tokens": usage.total_output,
        "total_tokens": usage.total_input + usage.total_output,
        f"{asked}_tokens_details": {"cached_tokens": usage.cache_read, "cache_write_tokens": usage.cache_write},
        f"{made}_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def read_usage(value: object, asked: str = "prompt", made: str = "completion") -> Usage | None:
    """Usage as OpenAI's formats report it: input includes cached tokens, output includes reasoning."""
    usage = mapping(value)
    if not usage:
        return None
    details = mapping(usage.get(f"{asked}_tokens_details"))
    read, write = count(details.get("cached_tokens")), count(details.get("cache_write_tokens"))
    reasoning = count(mapping(usage.get(f"{made}_tokens_details")).get("reasoning_tokens"))
    return Usage(
        fresh_input=max(0, count(usage.get(f"{asked}_tokens")) - read - write),
        cache_read=read,
        cache_write=write,
        output=max(0, count(usage.get(f"{made}_tokens")) - reasoning),
        reasoning=reasoning,
    )


def write_tool(tool: Tool) -> dict[str, Any]:
    """A tool as chat completions, and Ollama, offer it."""
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": function}


def read_tool(entry: Mapping[str, Any]) -> Tool:
    """A tool as chat completions, and Ollama, offer it."""
    function = mapping(entry.get("function"))
    return Tool(
        name=str(function.get("name", "")),
        description=str(function.get("description") or ""),
        parameters=mapping(function.get("parameters")),
    )


def _write_message(message: Message) -> dict[str, Any]:
    if message.result_of is not None:
        return {"role": "tool", "tool_call_id": message.result_of.id, "content": message.text}
    written = {"role": message.role, "content": content_of(message)}
    if message.tool_calls:
        written["content"] = written["content"] or None
        written["tool_calls"] = [_write_tool_call(call) for call in message.tool_calls]
    return written


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
