"""
The price of a model at the time of recording, so that the cost of a replay stays that of the recording.

A snapshot is what one token of each kind costs. Some models cost more beyond a length of the context (Claude Sonnet 4.5
and Gemini 2.5 Pro beyond 200,000 tokens); a snapshot holds their price below it, so that it does not depend on the call
and can be compared with today's. The cost of a recording beyond that length comes out too low.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Final

from pytest_modelroute.errors import CassetteError, PriceUnknown
from pytest_modelroute.providers.exchange import Usage
from pytest_modelroute.providers.prices import Price, PriceBook

_MILLION: Final = 1_000_000
_ONE_TOKEN: Final[Mapping[str, Usage]] = {
    "input": Usage(fresh_input=1),
    "output": Usage(output=1),
    "cache_read": Usage(cache_read=1),
    "cache_write": Usage(cache_write=1),
}


def snapshot(prices: PriceBook, provider: str, model: str) -> Mapping[str, str] | None:
    """What a model costs now, in USD per million tokens by bucket, as a cassette keeps it; None for no price."""
    try:
        costs = {
            bucket: prices.cost(model, usage, provider=provider or None) * _MILLION
            for bucket, usage in _ONE_TOKEN.items()
        }
    except PriceUnknown:
        return None
    return {bucket: usd(cost) for bucket, cost in costs.items()}


def cost_of(price: Mapping[str, str] | None, usage: Usage) -> Decimal | None:
    """
    USD of a recorded call by the price that was kept with it; None where none was.

    Raises:
        CassetteError: The price was edited into something that is none.

    """
    return None if price is None else read_price(price).cost(usage)


def prices_then(model: str, price: Mapping[str, str]) -> PriceBook:
    """
    What a model cost at the time of recording, so that a replay costs what the recording did.

    Raises:
        CassetteError: The price was edited into something that is none.

    """
    return _prices_then(model, tuple(price.items()))


@lru_cache(maxsize=256)  # the recordings of a session have few models
def _prices_then(model: str, price: tuple[tuple[str, str], ...]) -> PriceBook:
    return PriceBook(own={model: read_price(dict(price))})


def read_price(price: Mapping[str, str]) -> Price:
    """
    The price that a cassette keeps.

    Raises:
        CassetteError: A bucket is missing, unknown or no amount.

    """
    if not {"input", "output"} <= price.keys() <= _ONE_TOKEN.keys():
        raise CassetteError(
            f"response.modelroute.price holds {', '.join(price) or 'nothing'}; expected were {', '.join(_ONE_TOKEN)}"
        )
    return Price(
        input=_amount(price, "input"),
        output=_amount(price, "output"),
        cache_read=_amount(price, "cache_read") if "cache_read" in price else None,
        cache_write=_amount(price, "cache_write") if "cache_write" in price else None,
    )


def usd(amount: Decimal) -> str:
    """An amount without zeros at its end and without an exponent."""
    return format(amount.normalize(), "f")


def _amount(price: Mapping[str, str], bucket: str) -> Decimal:
    text = price[bucket]
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise CassetteError(f"response.modelroute.price.{bucket}: {text!r} is no amount in USD, such as 0.25")
    return amount
