"""Prices of the settings: exact, complete, and before those of genai-prices."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest

from pytest_modelroute.config import ModelSettings, Settings, read_settings
from pytest_modelroute.errors import SettingsError
from pytest_modelroute.providers.exchange import Usage
from pytest_modelroute.providers.prices import Price


def _problem(**model: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        read_settings({"models": {"house": {"model": "house-model", **model}}}, where="modelroute.toml")
    return str(caught.value).removeprefix("modelroute.toml: ")


def _model(**prices: Any) -> ModelSettings:
    tables = {"models": {"house": {"model": "house-model", **prices}}}
    return read_settings(tables, where="modelroute.toml").models["house"]


@pytest.mark.parametrize(
    ("written", "price"), [(0.1, "0.1"), (1e-7, "1E-7"), (2, "2"), ("0.25", "0.25"), (0, "0"), (0.0, "0.0")]
)
def test_a_price_is_the_decimal_that_was_written(written: object, price: str) -> None:
    """0.1 is not its binary neighbour."""
    assert str(_model(input_price=written, output_price=1).input_price) == price


@pytest.mark.parametrize(
    "prices",
    [{"input_price": 1}, {"output_price": 1}, {"cache_read_price": 1}, {"cache_write_price": 1, "input_price": 1}],
)
def test_a_price_that_is_incomplete_is_refused(prices: dict[str, Any]) -> None:
    """Half a price would be half a cost."""
    assert _problem(**prices) == "models.house: input_price and output_price belong together"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (-1, "input should be greater than or equal to 0, not -1"),
        ("cheap", "input should be a valid decimal, not 'cheap'"),
        (math.nan, "input should be a finite number, not 'nan'"),
        (math.inf, "input should be a finite number, not 'inf'"),
        (True, "decimal input should be an integer, float, string or Decimal object, not True"),
    ],
)
@pytest.mark.parametrize("key", ["input_price", "output_price", "cache_read_price", "cache_write_price"])
def test_an_impossible_price_is_refused(key: str, value: object, problem: str) -> None:
    """Each of them by its key."""
    prices = {"input_price": 1, "output_price": 1, key: value}
    assert _problem(**prices) == f"models.house.{key}: {problem}"


def test_a_model_has_the_price_that_was_written() -> None:
    """All four buckets."""
    model = _model(input_price=1, output_price=2, cache_read_price=0.5, cache_write_price=1.25)
    assert model.price == Price(
        input=Decimal(1), output=Decimal(2), cache_read=Decimal("0.5"), cache_write=Decimal("1.25")
    )


def test_a_model_without_a_price_has_none() -> None:
    """And not 0."""
    assert _model().price is None


def test_prices_of_the_settings_are_found_by_the_model_on_the_wire() -> None:
    """Calls know the model, not the alias."""
    settings = Settings(
        models={"house": ModelSettings(model="gpt-4.1", input_price=Decimal(3), output_price=Decimal(5))}
    )
    assert settings.prices().cost("gpt-4.1", Usage(fresh_input=1_000_000, output=1_000_000)) == 8


def test_a_model_without_a_price_is_left_to_genai_prices() -> None:
    """An alias alone does not make it free."""
    settings = Settings(models={"small": ModelSettings(model="gpt-4.1-nano")})
    assert settings.prices().own == {}


def test_a_budget_is_the_decimal_that_was_written() -> None:
    """As prices are."""
    settings = read_settings({"budget": {"daily_usd": 0.1}}, where="modelroute.toml")
    assert settings.budget is not None
    assert settings.budget.daily_usd == Decimal("0.1")
