"""What the router is asked and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from pytest_modelroute.providers.exchange import FinishReason, Message, ProviderRequest, Tool, ToolCall, Usage
from pytest_modelroute.router.calls import Bill

_SET_BY_THE_ROUTER: Final = ("model", "messages", "stream")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """A request, before it is known which model answers it."""

    prompt: str
    step: str | None = None
    "The step of the application, which decides on the model."
    system: str | None = None
    history: tuple[Message, ...] = ()
    "Earlier messages, between the system prompt and the prompt."
    turns: tuple[Message, ...] = ()
    "Messages after the prompt: what the model said to it, the calls of tools it asked for, and their results."
    tools: tuple[Tool, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    "What goes into the body as it is: temperature, max_tokens, ..."
    explicit_category: str | None = None
    "LOW, MEDIUM, HIGH or a tier: obeyed by a dynamic step in place of its classifier."
    no_fallbacks: bool = False
    "Whether an error of the first candidate is the answer."
    no_hedge: bool = False
    "Whether the models of a step that speculates are asked one after the other, each after the failure of another."
    deadline: float | None = None
    "Seconds that the whole request may take, back-off and fallbacks included; the client's where left out."

    def __post_init__(self) -> None:
        """Refuse what would be sent in the place of the router's own, and a deadline that is none."""
        for name in _SET_BY_THE_ROUTER:
            if name in self.params:
                raise ValueError(f"ModelRequest.params holds {name!r}, which the router sets itself; leave it out")
        check_seconds("ModelRequest.deadline", self.deadline)

    def for_model(self, model: str, *, stream: bool = False) -> ProviderRequest:
        """The request to one model, in no format yet."""
        system = () if self.system is None else (Message(role="system", text=self.system),)
        return ProviderRequest(
            model=model,
            messages=(*system, *self.history, Message(role="user", text=self.prompt), *self.turns),
            stream=stream,
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
    "How often the model was asked."
    tier: str | None = None
    "The tier of the model in the settings."
    fallback_of: str | None = None
    "The model in whose place this one answered, as named on the wire."
    escalations: int = 0
    "How far up its cascade a request went: 0 where the first tier answered, 1 where the second did ..."
    confidence: float | None = None
    "How sure the model said it was, 0 to 1; None where it was not asked."
    bill: Bill = field(default_factory=Bill, compare=False, repr=False)
    wasted: Bill = field(default_factory=Bill, compare=False, repr=False)
    "The part of the bill for models whose answers were not used: of a cascade's tiers, and of those that speculate."

    @property
    def cost_usd(self) -> Decimal:
        """
        USD of all attempts for this answer: failed ones that are billed, fallbacks, classifiers and judges included.

        Raises:
            PriceUnknown: A model has no price.

        """
        return self.bill.cost_usd

    @property
    def wasted_usd(self) -> Decimal:
        """USD of `wasted`; PriceUnknown where a model has no price."""
        return self.wasted.cost_usd


def check_seconds(name: str, value: float | None) -> None:
    """Refuse a time that cannot be waited for; None is no limit."""
    if value is not None and not value > 0:
        raise ValueError(f"{name} is a number of seconds above 0, not {value!r}")
