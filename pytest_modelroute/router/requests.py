"""What the router is asked and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from pytest_modelroute.providers.exchange import FinishReason, Message, ProviderRequest, Tool, ToolCall, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """A request, before it is known which model answers it."""

    prompt: str
    step: str | None = None
    "The step of the application, which decides on the model."
    system: str | None = None
    history: tuple[Message, ...] = ()
    "Earlier messages, between the system prompt and the prompt."
    tools: tuple[Tool, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    "What goes into the body as it is: temperature, max_tokens, ..."

    def for_model(self, model: str) -> ProviderRequest:
        """The request to one model, in no format yet."""
        system = () if self.system is None else (Message(role="system", text=self.system),)
        return ProviderRequest(
            model=model,
            messages=(*system, *self.history, Message(role="user", text=self.prompt)),
            tools=self.tools,
            params=self.params,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelResponse:
    """An answer, and who gave it."""

    text: str
    model: str
    "The model that was asked, as named on the wire."
    model_answered: str
    "The model that the reply names."
    usage: Usage | None
    "None where the provider reported none."
    finish_reason: FinishReason
    tool_calls: tuple[ToolCall, ...]
    elapsed_s: float
    "Seconds from the first attempt to the answer, on the client's clock."
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a request will cost if its answer has so many tokens, before any call."""

    model: str
    "The alias of the model; for a dynamic step the dearest that it may be sent to."
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal
    "The classifier's call included, where the step has one."
