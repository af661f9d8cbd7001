"""Two clients, asynchronous: what one provider cannot answer, the other one does."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import AsyncIterator, Sequence
from typing import Any

import anthropic
import openai

EASY, HARD = "gpt-5-mini", "claude-sonnet-4-6"
BACKUPS = {EASY: "claude-haiku-4-5", HARD: "gpt-5"}
DEADLINE_S = 60.0
MAX_TOKENS = 1000
Messages = Sequence[Any]


class Assistant:
    """Hard questions go to Anthropic, easy ones to OpenAI; each is the other's backup."""

    def __init__(self, openai_client: openai.AsyncOpenAI, anthropic_client: anthropic.AsyncAnthropic) -> None:
        """Use these clients."""
        self.openai = openai_client
        self.anthropic = anthropic_client

    async def answer(self, messages: Messages) -> str:
        """The whole answer, within a minute."""
        model = model_for(messages)
        async with asyncio.timeout(DEADLINE_S):
            try:
                return await self.ask(model, messages)
            except Exception as first:
                if not is_outage(first):
                    raise
                try:
                    return await self.ask(BACKUPS[model], messages)
                except Exception as second:
                    raise second from first  # the clients raise `from None`: nobody would see what failed first

    async def stream(self, messages: Messages) -> AsyncIterator[str]:
        """The answer piece by piece; once the first one is out, nobody else can continue it."""
        model, begun = model_for(messages), False
        async with asyncio.timeout(DEADLINE_S):
            try:
                async for piece in self.pieces(model, messages):
                    begun = True
                    yield piece
            except Exception as first:
                if begun or not is_outage(first):
                    raise
                try:
                    async for piece in self.pieces(BACKUPS[model], messages):
                        yield piece
                except Exception as second:
                    raise second from first

    async def ask(self, model: str, messages: Messages) -> str:
        """One model's answer."""
        if model.startswith("claude"):
            message = await self.anthropic.messages.create(
                model=model, max_tokens=MAX_TOKENS, **for_anthropic(messages)
            )
            return "".join(block.text for block in message.content if block.type == "text")
        reply = await self.openai.chat.completions.create(model=model, messages=list(messages))
        return reply.choices[0].message.content or ""

    async def pieces(self, model: str, messages: Messages) -> AsyncIterator[str]:
        """The pieces of one model's answer."""
        if model.startswith("claude"):
            async with self.anthropic.messages.stream(
                model=model, max_tokens=MAX_TOKENS, **for_anthropic(messages)
            ) as stream:
                async for piece in stream.text_stream:
                    yield piece
            return
        async with await self.openai.chat.completions.create(
            model=model, messages=list(messages), stream=True
        ) as chunks:
            async for chunk in chunks:
                if chunk.choices and chunk.choices[0].delta.content:
                    yield chunk.choices[0].delta.content


def model_for(messages: Messages) -> str:
    """Long questions are hard ones."""
    return HARD if len(text_of(messages)) > 400 else EASY


def text_of(messages: Messages) -> str:
    """The text of the last message, which may be a list of parts."""
    if not messages:
        raise ValueError("there is no message to answer")
    content = messages[-1]["content"]
    text = content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
    return unicodedata.normalize("NFC", text)  # else an accent may count twice, and decide


def for_anthropic(messages: Messages) -> dict[str, Any]:
    """The messages as Anthropic wants them: the system prompt apart."""
    system = "\n".join(message["content"] for message in messages if message["role"] == "system")
    rest = [message for message in messages if message["role"] != "system"]
    return {"messages": rest, **({"system": system} if system else {})}


def is_outage(error: Exception) -> bool:
    """Whether another provider may do better: not where the request itself is wrong."""
    if isinstance(error, openai.APIConnectionError | anthropic.APIConnectionError):
        return True
    status = getattr(error, "status_code", 0)
    return status in (402, 404, 408, 429) or status >= 500
