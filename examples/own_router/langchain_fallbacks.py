"""langchain: a chat model with fallbacks, in a chain."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anthropic
import openai
from langchain_anthropic import ChatAnthropic
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import Runnable, RunnableBranch
from langchain_openai import ChatOpenAI

EASY, HARD = "gpt-5-mini", "claude-sonnet-4-6"
BACKUPS = {EASY: "claude-haiku-4-5", HARD: "gpt-5"}
OUTAGES = (
    openai.APIConnectionError,
    openai.RateLimitError,
    openai.InternalServerError,
    openai.NotFoundError,
    anthropic.APIConnectionError,
    anthropic.PaymentRequiredError,
    anthropic.RateLimitError,
    anthropic.InternalServerError,
    anthropic.NotFoundError,
)
"After these another model may do better; `with_fallbacks` by itself goes on after every exception."


def build(*, exceptions: tuple[type[Exception], ...] = OUTAGES) -> Runnable[str, str]:
    """The chain: questions of more than 60 words go to the strong model."""

    def with_backup(model: str) -> Runnable[str, str]:
        first, second = chat(model), chat(BACKUPS[model])
        return first.with_fallbacks([second], exceptions_to_handle=exceptions) | StrOutputParser()

    return RunnableBranch((lambda question: len(question.split()) > 60, with_backup(HARD)), with_backup(EASY))


def chat(model: str) -> ChatOpenAI | ChatAnthropic:
    """A model that is asked twice at most."""
    if model.startswith("claude"):
        return ChatAnthropic(model=model, max_retries=1)
    return ChatOpenAI(model=model, max_retries=1)


async def stream(chain: Runnable[str, str], question: str) -> AsyncIterator[str]:
    """The answer piece by piece."""
    async for piece in chain.astream(question):
        yield piece
