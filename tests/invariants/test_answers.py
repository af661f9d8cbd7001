"""The text in whatever a router gives back: the response objects of the clients themselves, and what wraps them."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from anthropic.types import Message
from google.genai.types import GenerateContentResponse
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response

from pytest_modelroute.invariants.answers import text_of

CHAT = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-5",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello there"}},
        {"index": 1, "finish_reason": "stop", "message": {"role": "assistant", "content": "another"}},
    ],
}
CHUNK = {
    "id": "c",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "gpt-5",
    "choices": [{"index": 0, "delta": {"content": "Hello there"}, "finish_reason": None}],
}
ANTHROPIC = {
    "id": "m",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": [{"type": "text", "text": "Hello "}, {"type": "text", "text": "there"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 1, "output_tokens": 2},
}
GEMINI = {"candidates": [{"content": {"role": "model", "parts": [{"text": "Hello "}, {"text": "there"}]}}]}
RESPONSES = {
    "id": "r",
    "object": "response",
    "created_at": 1,
    "model": "gpt-5",
    "output": [
        {
            "id": "o",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Hello there", "annotations": []}],
        }
    ],
    "parallel_tool_calls": False,
    "tool_choice": "auto",
    "tools": [],
}


@dataclass
class AgentResult:
    """As an agent of pydantic-ai returns it."""

    output: str
    usage_limits: int = 3


class LangchainMessage:
    """As a chat model of langchain returns it: text, or a list of blocks; `text` was a method for a while."""

    def __init__(self, content: Any) -> None:
        """Keep it."""
        self.content = content
        self.id = "run-1"

    def text(self) -> str:
        """Say what is not asked for."""
        return "not asked"


@pytest.mark.parametrize(
    "answer",
    [
        "Hello there",
        ChatCompletion.model_validate(CHAT),
        ChatCompletionChunk.model_validate(CHUNK),
        Response.model_validate(RESPONSES),
        Message.model_validate(ANTHROPIC),
        GenerateContentResponse.model_validate(GEMINI),
        CHAT,
        CHUNK,
        ANTHROPIC,
        GEMINI,
        RESPONSES,
        AgentResult("Hello there"),
        LangchainMessage("Hello there"),
        LangchainMessage(["Hello ", {"type": "text", "text": "there"}]),
        {"text": "Hello there", "model": "gpt-5"},
        {"answer": {"content": "Hello there"}},
        ["Hello ", "there"],
        SimpleNamespace(choices=[SimpleNamespace(text="Hello there", message=None)]),
        SimpleNamespace(choices=[], content="Hello there"),
        SimpleNamespace(response=SimpleNamespace(output_text="Hello there")),
    ],
    ids=lambda answer: type(answer).__name__,
)
def test_the_text_is_found(answer: Any) -> None:
    """In the objects of the clients, and in the same as mappings."""
    assert text_of(answer) == "Hello there"


@pytest.mark.parametrize("answer", [None, 3, 2.5, True, b"bytes", object(), [], {}, {"usage": {"input_tokens": 3}}])
def test_what_shows_no_text_has_none(answer: Any) -> None:
    """Numbers and bytes are no answer."""
    assert text_of(answer) == ""


def test_a_property_that_raises_shows_no_text() -> None:
    """As the text of a blocked answer does in some clients."""

    class Blocked:
        @property
        def text(self) -> str:
            raise ValueError("blocked")

        content = "held back"

    assert text_of(Blocked()) == "held back"


def test_what_holds_itself_ends() -> None:
    """Somewhere."""
    ring: dict[str, Any] = {}
    ring["content"] = ring
    assert text_of(ring) == ""


NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["text", "content", "choices", "message"]), inner),
    max_leaves=8,
)


@given(NESTED)
def test_whatever_comes_is_a_text(answer: Any) -> None:
    """A router may return anything, and no shape of it is an error of ours."""
    assert isinstance(text_of(answer), str)
