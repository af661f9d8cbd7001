"""Google Gemini: POST {base}/v1beta/models/{model}:generateContent, the same under /v1, and on Vertex AI."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, unquote

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
from pytest_modelroute.providers.failures import Failure, WireError
from pytest_modelroute.providers.google_errors import GOOGLE_WORDS, google_error, read_error_object, said_error
from pytest_modelroute.providers.language import (
    EventStreamReader,
    StreamReader,
    count,
    mapping,
    objects,
    read_object,
    text_of,
    write_object,
)
from pytest_modelroute.providers.parameters import NestedParameters, snake_case
from pytest_modelroute.providers.sse import Event, write_event
from pytest_modelroute.providers.tool_turns import in_parts

_WHAT: Final = "a Gemini generation"
_PATH: Final = re.compile(
    r"/(?P<kind>models|tunedModels|endpoints)/(?P<model>[^/]+):(?P<verb>generateContent|streamGenerateContent)(?:\?|$)"
)
_TUNED: Final = "tunedModels/"
"Tuned models, and endpoints of Vertex AI, are named with their kind."
_OWN_MEMBERS: Final = frozenset({"contents", "systemInstruction", "tools", "generationConfig"})
_SAMPLING: Final = NestedParameters("generationConfig", max_tokens="maxOutputTokens")
_ROLES: Final[Mapping[str, str]] = {"model": "assistant"}
_OWN_ROLES: Final[Mapping[str, str]] = {"assistant": "model"}
_FINISH_REASONS: Final[Mapping[FinishReason, str]] = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "content_filter": "SAFETY",
}
_FILTERED: Final = (
    *("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR"),
    *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"),
)
_FINISH: Final[Mapping[str, FinishReason]] = {
    "MAX_TOKENS": "length",
    **dict.fromkeys(_FILTERED, "content_filter"),
}


class Gemini:
    """
    The format of :generateContent and of :streamGenerateContent?alt=sse.

    A stream without alt=sse is one list of JSON in life; here it is server-sent events all the same.
    """

    name = "gemini"
    provider = "google"
    stream_type = "text/event-stream"
    vocabulary = GOOGLE_WORDS
    filters_content = True
    streams = True
    embeds = False

    def recognises(self, path: str) -> bool:
        """Any version of the API and any prefix, such as that of Vertex AI; counting tokens is no call of a model."""
        return _PATH.search(path) is not None

    def read_request(self, body: bytes, path: str) -> ProviderRequest:
        """Read a request; the path names the model and says whether it streams."""
        found = _PATH.search(path)
        if found is None:
            raise MalformedExchange(f"{_WHAT} request names its model in the path, which is {path!r}")
        sent = read_object(body, what=f"{_WHAT} request")
        value = {_own_name(name): entry for name, entry in sent.items()}
        contents = _listed(value.get("contents"))
        if contents is None:
            there = type(value["contents"]).__name__ if "contents" in value else "missing"
            raise MalformedExchange(
                f"{_WHAT} request needs contents (a list of objects); its contents are {there}, it has {sorted(value)}"
            )
        system = [value["systemInstruction"]] if value.get("systemInstruction") else []
        tools, others = _read_tools(_listed(value.get("tools")) or ())
        return ProviderRequest(
            model=("" if found["kind"] == "models" else f"{found['kind']}/") + unquote(found["model"]),
            messages=(
                *(_read_content(entry, role="system") for entry in system),
                *(_read_content(entry) for entry in contents),
            ),
            stream=found["verb"] == "streamGenerateContent",
            tools=tools,
            params={
                **{name: entry for name, entry in value.items() if name not in _OWN_MEMBERS},
                **_SAMPLING.read(value.get("generationConfig")),
                **({"tools": others} if others else {}),
            },
            body=sent,
        )

    def write_request(self, request: ProviderRequest, key: str) -> WireRequest:
        """Write a request; system messages move to the member that this format keeps for them."""
        value = _SAMPLING.write(request.params)
        value["contents"] = [
            {"role": _OWN_ROLES.get(message.role, message.role), "parts": _parts_of(message)}
            for message in in_parts(request.messages, text=_text, call=_write_tool_call, result=_write_result)
            if message.role != "system"
        ]
        system = [message for message in request.messages if message.role == "system"]
        if system:
            value["systemInstruction"] = {"parts": [part for message in system for part in _parts_of(message)]}
        if request.tools:
            declared = {"functionDeclarations": [_write_tool(tool) for tool in request.tools]}
            value["tools"] = [declared, *(value.get("tools") or ())]
        kind = _TUNED if request.model.startswith(_TUNED) else "models/"
        model = quote(request.model.removeprefix(_TUNED), safe="")
        verb = "streamGenerateContent?alt=sse" if request.stream else "generateContent"
        return WireRequest(
            path=f"/v1beta/{kind}{model}:{verb}",
            headers={"x-goog-api-key": key, "content-type": "application/json"},
            body=write_object(value),
        )

    def write_reply(self, request: ProviderRequest, reply: ProviderReply) -> bytes:
        """Write a whole answer; one that a filter held back has no candidate, but a blocked prompt."""
        parts = [{"text": reply.text}] if reply.text or not reply.tool_calls else []
        return write_object(_last(request, reply, parts))

    def write_stream(self, request: ProviderRequest, reply: ProviderReply, pieces: Sequence[str]) -> list[bytes]:
        """Write a stream of answers that add up; as in life each reports the usage so far, so that no sum is right."""
        head = {**_head(request, reply), **_usage_member(request, reply, so_far=True)}
        frames = [write_event({"candidates": [_candidate([{"text": piece}])], **head}) for piece in pieces[:-1]]
        parts = [{"text": pieces[-1]}] if pieces[-1] or not reply.tool_calls else []
        return [*frames, write_event(_last(request, reply, parts))]

    def write_error(self, failure: Failure) -> WireError:
        """Write a refusal; how long to wait, and which quota is used up, stand in its details."""
        return google_error(failure)

    def write_stream_error(self, failure: Failure) -> bytes:
        """Write a refusal as an event of the stream."""
        return write_event(google_error(failure).body.decode())

    def read_reply(self, body: bytes) -> ProviderReply:
        """Read a whole answer; of several candidates the first is the answer."""
        value = read_object(body, what=f"{_WHAT} reply")
        answer = _Answer()
        answer.add(value)
        if not answer.has_begun:
            raise MalformedExchange(f"{_WHAT} reply has no candidates; it has {sorted(value)}")
        return answer.reply()

    def stream_reader(self) -> StreamReader:
        """Read a stream while it comes."""
        return _StreamReader()

    def read_error(self, body: bytes) -> tuple[str | None, str]:
        """The reason of an error (else its status) and its message."""
        return said_error(read_error_object(body))


class _Answer:
    """Adds up what one reply, or the chunks of a stream, say."""

    def __init__(self) -> None:
        self.text = ""
        self.stop = ""
        self.has_begun = False
        self._model = ""
        self._usage: Usage | None = None
        self._calls: list[ToolCall] = []

    def add(self, value: Mapping[str, Any]) -> None:
        self._model = str(value.get("modelVersion") or self._model)
        self._usage = _read_usage(mapping(value.get("usageMetadata"))) or self._usage
        if mapping(value.get("promptFeedback")).get("blockReason"):
            self.has_begun, self.stop = True, "SAFETY"
        for candidate in (objects(value.get("candidates")) or [])[:1]:
            self.has_begun = True
            self.stop = str(candidate.get("finishReason") or self.stop)
            self._add_parts(objects(mapping(candidate.get("content")).get("parts")) or ())

    def _add_parts(self, parts: Iterable[Mapping[str, Any]]) -> None:
        for part in parts:
            self.text += _visible(part)
            call = mapping(part.get("functionCall"))
            if call:
                name, number = str(call.get("name", "")), str(call.get("id") or "call_1")
                self._calls.append(ToolCall(name=name, arguments=mapping(call.get("args")), id=number))

    def reply(self) -> ProviderReply:
        return ProviderReply(
            text=self.text,
            model=self._model,
            usage=self._usage,
            finish_reason=_FINISH.get(self.stop, "stop"),
            tool_calls=tuple(self._calls),
        )


class _StreamReader(EventStreamReader):
    """Joins the chunks of a stream, each of which has the form of a reply."""

    def __init__(self) -> None:
        super().__init__()
        self._answer = _Answer()

    def take(self, event: Event) -> None:
        value = read_object(event.data, what=f"a chunk of {_WHAT}")
        if value.get("error"):
            word, message = said_error(value)
            kind = GOOGLE_WORDS.classify(count(mapping(value["error"]).get("code")) or None, word, message)
            raise StreamFailed(f"the stream of {_WHAT} ended in an error: {message}", kind=kind, code=word)
        self._answer.add(value)
        self.text = self._answer.text

    def finish(self) -> ProviderReply:
        if not self._answer.stop:
            raise MalformedExchange(f"the stream of {_WHAT} was cut off: no chunk gives a finishReason")
        return self._answer.reply()


def _last(request: ProviderRequest, reply: ProviderReply, parts: list[dict[str, Any]]) -> dict[str, Any]:
    """A whole answer, or the last chunk of a stream."""
    value = {**_head(request, reply), **_usage_member(request, reply)}
    if reply.finish_reason == "content_filter" and not reply.text and not reply.tool_calls:
        return {"promptFeedback": {"blockReason": "SAFETY"}, **value}
    parts += [_write_tool_call(call) for call in reply.tool_calls]
    return {"candidates": [{**_candidate(parts), "finishReason": _FINISH_REASONS[reply.finish_reason]}], **value}


def _candidate(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"content": {"parts": parts, "role": "model"}, "index": 0}


def _head(request: ProviderRequest, reply: ProviderReply) -> dict[str, Any]:
    return {"modelVersion": reply.model or request.model, "responseId": "scripted"}


def _usage_member(request: ProviderRequest, reply: ProviderReply, *, so_far: bool = False) -> dict[str, Any]:
    """Prompt tokens include the cached ones, candidates' tokens exclude those of thoughts."""
    if not reply.reports_usage:
        return {}
    usage = reply.usage or estimate_usage(request, reply.text)
    counts = {"promptTokenCount": usage.total_input}
    if usage.cache_read:
        counts["cachedContentTokenCount"] = usage.cache_read
    if so_far:
        return {"usageMetadata": {**counts, "totalTokenCount": usage.total_input}}
    counts["candidatesTokenCount"] = usage.output
    if usage.reasoning:
        counts["thoughtsTokenCount"] = usage.reasoning
    return {"usageMetadata": {**counts, "totalTokenCount": usage.total_input + usage.total_output}}


def _read_usage(usage: Mapping[str, Any]) -> Usage | None:
    if not usage:
        return None
    cached = count(usage.get("cachedContentTokenCount"))
    return Usage(
        fresh_input=max(0, count(usage.get("promptTokenCount")) - cached) + count(usage.get("toolUsePromptTokenCount")),
        cache_read=cached,
        output=count(usage.get("candidatesTokenCount")),
        reasoning=count(usage.get("thoughtsTokenCount")),
    )


def _own_name(name: str) -> str:
    """The member that a name means: the API takes both spellings."""
    return next((own for own in _OWN_MEMBERS if name == snake_case(own)), name)


def _member(value: Mapping[str, Any], name: str) -> Any:
    """A member in either spelling."""
    return value.get(name, value.get(snake_case(name)))


def _listed(value: object) -> list[dict[str, Any]] | None:
    """A list of objects; the API takes a single one for a list."""
    single = mapping(value)
    return [single] if isinstance(value, dict) else objects(value)


def _read_content(value: object, *, role: str = "") -> Message:
    """A message; a single part of nothing but text is the text that it was made from."""
    content = mapping(value)
    role = role or str(content.get("role") or "user")
    role = _ROLES.get(role, role)
    parts = _listed(content.get("parts") or [])
    if parts is None or not isinstance(value, dict):
        there = type(content.get("parts", value)).__name__
        raise MalformedExchange(f"{_WHAT}: the parts of a message of role {role!r} are {there}, not a list of objects")
    text = "".join(_visible(part) for part in parts)
    plain = len(parts) == 1 and parts[0] == {"text": text}
    return Message(role=role, text=text, parts=None if plain else tuple(parts))


def _parts_of(message: Message) -> list[dict[str, Any]]:
    return [{"text": message.text}] if message.parts is None else [dict(part) for part in message.parts]


def _visible(part: Mapping[str, Any]) -> str:
    """The text of a part; empty for thoughts, calls, images and the like."""
    return "" if part.get("thought") is True else text_of(part)


def _text(text: str) -> dict[str, Any]:
    return {"text": text}


def _write_tool_call(call: ToolCall) -> dict[str, Any]:
    return {"functionCall": {"id": call.id, "name": call.name, "args": dict(call.arguments)}}


def _write_result(call: ToolCall, text: str) -> dict[str, Any]:
    return {"functionResponse": {"id": call.id, "name": call.name, "response": {"output": text}}}


def _write_tool(tool: Tool) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "parametersJsonSchema": dict(tool.parameters)}


def _read_tools(entries: Iterable[Mapping[str, Any]]) -> tuple[tuple[Tool, ...], list[dict[str, Any]]]:
    """The functions that are declared, and what else there is, such as Google's own search."""
    tools: list[Tool] = []
    others: list[dict[str, Any]] = []
    for entry in entries:
        rest = {name: value for name, value in entry.items() if snake_case(name) != "function_declarations"}
        others += [rest] if rest else []
        for declared in _listed(_member(entry, "functionDeclarations")) or ():
            schema = mapping(declared.get("parameters")) or mapping(_member(declared, "parametersJsonSchema"))
            description = str(declared.get("description") or "")
            tools.append(Tool(name=str(declared.get("name", "")), description=description, parameters=schema))
    return tuple(tools), others
