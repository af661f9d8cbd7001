"""pydantic-ai: agents on a FallbackModel, one for easy and one for hard questions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from pydantic_ai import Agent
from pydantic_ai.exceptions import ModelAPIError, ModelHTTPError
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic
    from openai import AsyncOpenAI

EASY, HARD = "gpt-5-mini", "gpt-5"
BACKUPS = {EASY: "claude-haiku-4-5", HARD: "claude-sonnet-4-6"}


def is_outage(error: Exception) -> bool:
    """Whether another model may do better; FallbackModel by itself goes on after every error of an API."""
    if isinstance(error, ModelHTTPError):
        return error.status_code in (402, 404, 408, 429) or error.status_code >= 500
    return isinstance(error, ModelAPIError)


class Desk:
    """Answers questions."""

    def __init__(self, openai_client: AsyncOpenAI, anthropic_client: AsyncAnthropic, **options: object) -> None:
        """Use these clients, which retry by themselves."""
        ours = OpenAIProvider(openai_client=openai_client)
        theirs = AnthropicProvider(anthropic_client=anthropic_client)
        options = options or {"fallback_on": is_outage}
        self.agents = {
            model: Agent(
                FallbackModel(
                    OpenAIChatModel(model, provider=ours), AnthropicModel(BACKUPS[model], provider=theirs), **options
                )
            )
            for model in (EASY, HARD)
        }

    def agent(self, question: str) -> Agent:
        """Long questions are hard ones."""
        return self.agents[HARD if len(question.split()) > 60 else EASY]

    async def answer(self, question: str) -> str:
        """The whole answer."""
        answer: str = (await self.agent(question).run(question)).output
        return answer

    async def stream(self, question: str) -> AsyncIterator[str]:
        """Its pieces."""
        async with self.agent(question).run_stream(question) as run:
            async for piece in run.stream_text(delta=True, debounce_by=None):
                yield piece
