"""What a request will cost, before any call: four characters a token, and an answer as long as it may be."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from pytest_modelroute.providers.exchange import Usage, estimate_tokens, output_limit
from pytest_modelroute.providers.prices import PriceBook
from pytest_modelroute.router.requests import ModelRequest

if TYPE_CHECKING:
    from pytest_modelroute.config import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a request will cost if its answer has so many tokens."""

    model: str
    "The alias of the model; for a dynamic step the dearest that it may be sent to."
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal
    "The classifier's call included, where the step has one."


def estimate_call(
    settings: Settings, prices: PriceBook, alias: str, request: ModelRequest, output_tokens: int
) -> Estimate:
    """One call of one model; `output_tokens` is for a request without a limit of its own."""
    model, params = settings.model(alias), request.params
    texts = (request.system or "", request.prompt, *(message.text for message in (*request.history, *request.turns)))
    usage = Usage(fresh_input=sum(map(estimate_tokens, texts)), output=output_limit(params) or output_tokens)
    return Estimate(
        model=alias,
        input_tokens=usage.fresh_input,
        output_tokens=usage.output,
        cost_usd=prices.cost(model.model, usage, provider=model.provider_name),
    )
