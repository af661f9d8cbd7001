"""What a call costs, in USD as Decimal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from pytest_modelroute.errors import PriceUnknown
from pytest_modelroute.providers.exchange import Usage, estimate_tokens
from pytest_modelroute.providers.registry import PROVIDERS, provider_behind

_MILLION = Decimal(1_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """USD per million tokens; a cache price left out is the price of fresh input."""

    input: Decimal
    output: Decimal
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None

    def cost(self, usage: Usage) -> Decimal:
        """USD of a usage: each bucket times its price; reasoning is billed as output."""
        cache_read = self.input if self.cache_read is None else self.cache_read
        cache_write = self.input if self.cache_write is None else self.cache_write
        return (
            usage.fresh_input * self.input
            + usage.cache_read * cache_read
            + usage.cache_write * cache_write
            + usage.total_output * self.output
        ) / _MILLION


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceBook:
    """
    Prices by model: the project's own first, then the table of genai-prices, whose version the project pins.

    Cache writes are priced as those of the shortest lifetime, where a provider sells several.
    """

    own: Mapping[str, Price] = field(default_factory=dict[str, Price])
    "Model -> its price."
    by_provider: Mapping[tuple[str, str], Price] = field(default_factory=dict[tuple[str, str], Price])
    "(provider, model) -> its price there, which goes before."
    aliases: Mapping[str, str] = field(default_factory=dict[str, str])
    "Model -> its alias in the settings, for the message where it has no price."

    def cost(self, model: str, usage: Usage, *, provider: str | None = None) -> Decimal:
        """
        USD of one call.

        Args:
            model: The model as asked for on the wire; dated versions are found under their family.
            usage: What the reply reported.
            provider: Whose price, where several providers serve the model.

        Raises:
            PriceUnknown: Neither the project nor genai-prices prices the model. Never 0 in its place.

        """
        price = self.by_provider.get((provider or "", model)) or self.own.get(model)
        return price.cost(usage) if price is not None else _listed_cost(model, usage, provider, self.aliases.get(model))

    def estimate(self, model: str, text: str, *, output_tokens: int) -> Decimal:
        """
        USD of one call before it is made: four characters of the text a token, and an answer of so many tokens.

        Raises:
            PriceUnknown: As `cost`.

        """
        return self.cost(model, Usage(fresh_input=estimate_tokens(text), output=output_tokens))


def _listed_cost(model: str, usage: Usage, provider: str | None, alias: str | None) -> Decimal:
    from genai_prices import Usage as ListedUsage
    from genai_prices import calc_price

    # A host that is not known may serve a model under a name of its own; a provider that is known and does not list the
    # model must not be priced as somebody else.
    provider_id = provider if provider in PROVIDERS else None
    # An ARN of AWS ends in the name that is listed.
    name = model.rpartition("/")[2] if model.startswith("arn:") else model
    listed = ListedUsage(
        input_tokens=usage.total_input,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write,
        output_tokens=usage.total_output,
    )
    # A second host of a provider, such as openai-2, has its prices where it lists the model.
    for whose_id in dict.fromkeys((provider_behind(provider), provider_id)):
        try:
            return Decimal(calc_price(listed, name, provider_id=whose_id).total_price)
        except LookupError:
            continue
    whose = f" for {provider_id}" if provider_id else ""
    raise PriceUnknown(
        f"{model!r} has no price: genai-prices does not list it{whose} and the settings do not price it.\n"
        "Price it in the settings, in USD per million tokens (0 for a model that costs nothing):\n"
        f"  [tool.modelroute.models.{alias or '<alias>'}]\n"
        f'  model = "{model}"\n'
        "  input_price = 0.25\n"
        "  output_price = 2.00"
    )
