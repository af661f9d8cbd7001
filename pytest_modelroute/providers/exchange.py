"""What is said in an exchange with a provider, whatever the format on the wire."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final, Literal, TypeAlias

_LIMITS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_RESULTS: Final = ("toolResult", "functionResponse", "function_response")
"The members that make a part the result of a tool: Bedrock's and Gemini's; Anthropic's has a type."
FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """
    Tokens of one call in buckets that do not overlap, so that each is priced once.

    Providers count differently: OpenAI's prompt_tokens include cached ones and its completion_tokens include reasoning,
    Anthropic's input_tokens exclude both cache buckets. Readers of a format undo that here.
    """

    fresh_input: int = 0
    "Input tokens processed anew."
    cache_read: int = 0
    "Input tokens served from the provider's cache."
    cache_write: int = 0
    "Input tokens written to the provider's cache."
    output: int = 0
    "Visible output tokens."
    reasoning: int = 0
    "Output tokens spent on reasoning, billed as output."

    def __post_init__(self) -> None:
        """Refuse counts that no provider can report."""
        for name in ("fresh_input", "cache_read", "cache_write", "output", "reasoning"):
            value = getattr(self, name)
            if type(value) is not int or value < 0:
                raise ValueError(f"Usage.{name} is a number of tokens, 0 or more, not {value!r}")

    @property
    def total_input(self) -> int:
        """All input tokens, cached or not."""
        return self.fresh_input + self.cache_read + self.cache_write

    @property
    def total_output(self) -> int:
        """All output tokens, reasoning included."""
        return self.output + self.reasoning


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a request; `text` joins its text parts, `parts` keeps them as sent (None for a plain string)."""

    role: str
    text: str
    parts: tuple[Mapping[str, Any], ...] | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    "The calls of tools that a message of the assistant asks for; written, and read back as the parts of its format."
    result_of: ToolCall | None = None
    "The call whose result this is, in a message of role tool."


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool that a request offers to the model."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    "JSON schema of the arguments."


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call of a tool that a model asks for."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    id: str = "call_1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRequest:
    """A request to a model, read from the wire or to be written to it."""

    model: str
    messages: tuple[Message, ...]
    "In the order sent; a system prompt is a message of role system, also where the format keeps it apart."
    stream: bool = False
    include_usage: bool = True
    "Whether a stream reports usage (OpenAI asks for it with stream_options.include_usage)."
    tools: tuple[Tool, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    "Everything else in the body: temperature, max_tokens, ..."
    body: Mapping[str, Any] = field(default_factory=dict[str, Any], compare=False)
    "The JSON body as it came."

    @property
    def prompt(self) -> str:
        """The text of the last user message that is no result of a tool, or of the last message where there is none."""
        for message in reversed(self.messages):
            if message.role == "user" and not _is_result(message):
                return message.text
        return self.messages[-1].text if self.messages else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderReply:
    """A model's answer, read from the wire or to be written to it."""

    text: str = ""
    model: str = ""
    "The model that says it answered; empty for the one that was asked."
    usage: Usage | None = None
    reports_usage: bool = True
    "Whether the answer says what it used, as every provider should."
    finish_reason: FinishReason = "stop"
    "A reply that calls tools has stopped for them, so `stop` becomes `tool_calls` there."
    tool_calls: tuple[ToolCall, ...] = ()
    vectors: tuple[tuple[float, ...], ...] = ()
    "Of an embedding: one for each input; made from the words of the inputs where left out."

    def __post_init__(self) -> None:
        """Keep the finish reason true, and the ids of the calls apart; refuse a text that is none."""
        if not isinstance(self.text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"Reply.text is a text, not {self.text!r}")
        if not self.tool_calls:
            return
        calls = [
            replace(call, id=f"call_{number}") if number > 1 and call.id == "call_1" else call
            for number, call in enumerate(self.tool_calls, start=1)
        ]
        object.__setattr__(self, "tool_calls", tuple(calls))
        if self.finish_reason == "stop":
            object.__setattr__(self, "finish_reason", "tool_calls")


@dataclass(frozen=True, slots=True, kw_only=True)
class WireRequest:
    """A request as HTTP carries it."""

    path: str
    "Relative to the provider's base URL."
    headers: Mapping[str, str]
    body: bytes


def _is_result(message: Message) -> bool:
    """Whether it is nothing but results of tools, which several formats send in the user's name."""
    return bool(message.parts) and all(
        part.get("type") == "tool_result" or any(name in part for name in _RESULTS) for part in message.parts or ()
    )


def estimate_tokens(text: str) -> int:
    """
    Tokens of a text by the rule of thumb of four characters each; at least 1 for any text.

    Scripted replies without a `usage=` and estimates before a call use it; a measured usage always wins.
    """
    return math.ceil(len(text) / 4)


def output_limit(params: Mapping[str, Any]) -> int | None:
    """The most tokens that a request lets an answer have, under whichever name; None where it sets no limit."""
    limit = next((params[name] for name in _LIMITS if params.get(name)), None)
    return limit if type(limit) is int and limit > 0 else None


def estimate_usage(request: ProviderRequest, reply_text: str) -> Usage:
    """The usage of an exchange by `estimate_tokens`."""
    return Usage(
        fresh_input=sum(estimate_tokens(message.text) for message in request.messages),
        output=estimate_tokens(reply_text),
    )


def split_text(text: str, chunks: int | None) -> list[str]:
    """
    Cut a text into pieces for a stream; joined they are the text again.

    Args:
        text: What to cut.
        chunks: How many pieces at the most; None for one a word, 20 at the most.

    """
    words = re.findall(r"\s*\S+\s*$|\s*\S+|\s+", text)
    count = min(len(words), 20) if chunks is None else max(1, min(chunks, len(words)))
    if count <= 1:
        return [text]
    edges = [round(index * len(words) / count) for index in range(count + 1)]
    return ["".join(words[start:end]) for start, end in pairwise(edges)]
