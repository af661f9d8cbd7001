"""What a call costs, against figures worked out by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pytest_modelroute.errors import PriceUnknown
from pytest_modelroute.providers.exchange import Usage
from pytest_modelroute.providers.prices import Price, PriceBook

USAGE = Usage(fresh_input=1000, cache_read=200, cache_write=30, output=400, reasoning=50)


def test_openai_bills_cached_tokens_at_their_own_price() -> None:
    """gpt-4.1-mini: 0.40 in, 0.10 cached, 1.60 out per million; reasoning is output."""
    usage = Usage(fresh_input=1000, cache_read=200, output=400, reasoning=50)
    # 1000 * 0.40 + 200 * 0.10 + 450 * 1.60 = 400 + 20 + 720 = 1140 millionths
    assert PriceBook().cost("gpt-4.1-mini", usage, provider="openai") == Decimal("0.00114")


def test_anthropic_bills_both_cache_buckets_at_their_own_price() -> None:
    """claude-haiku-4-5: 1.00 in, 0.10 cache read, 1.25 cache write, 5.00 out per million."""
    # 1000 * 1.00 + 200 * 0.10 + 30 * 1.25 + 450 * 5.00 = 1000 + 20 + 37.5 + 2250 = 3307.5 millionths
    assert PriceBook().cost("claude-haiku-4-5", USAGE, provider="anthropic") == Decimal("0.0033075")


@pytest.mark.parametrize(
    ("dated", "family"),
    [("gpt-4.1-mini-2025-04-14", "gpt-4.1-mini"), ("claude-haiku-4-5-20251001", "claude-haiku-4-5")],
)
def test_a_dated_version_costs_what_its_family_costs(dated: str, family: str) -> None:
    """The version that a reply names is found under its family."""
    assert PriceBook().cost(dated, USAGE) == PriceBook().cost(family, USAGE)


def test_no_tokens_cost_nothing() -> None:
    """A model with a price and a usage of zeros is a cost of zero."""
    assert PriceBook().cost("gpt-4.1-mini", Usage(), provider="openai") == 0


def test_an_own_price_wins_over_the_listed_one() -> None:
    """A price of the settings is the only one that counts."""
    book = PriceBook(own={"gpt-4.1-mini": Price(input=Decimal(2), output=Decimal(3))})
    assert book.cost("gpt-4.1-mini", Usage(fresh_input=1000, output=1000)) == Decimal("0.005")


def test_an_own_price_of_zero_is_a_price() -> None:
    """A model that runs at home costs nothing, and that is known."""
    assert PriceBook(own={"llama": Price(input=Decimal(0), output=Decimal(0))}).cost("llama", USAGE) == 0


def test_each_bucket_has_its_own_price() -> None:
    """No bucket is priced twice or as another one."""
    price = Price(input=Decimal(1), cache_read=Decimal(10), cache_write=Decimal(100), output=Decimal(1000))
    usage = Usage(fresh_input=1_000_000, cache_read=2_000_000, cache_write=3_000_000, output=4_000_000)
    assert price.cost(usage) == 4321


def test_reasoning_is_billed_as_output() -> None:
    """Reasoning tokens cost what visible ones cost."""
    assert Price(input=Decimal(1), output=Decimal(2)).cost(Usage(reasoning=1_000_000)) == 2


@pytest.mark.parametrize("usage", [Usage(cache_read=1_000_000), Usage(cache_write=1_000_000)], ids=["read", "write"])
def test_a_cache_price_left_out_is_the_price_of_input(usage: Usage) -> None:
    """Without a price of their own, cached tokens are billed as fresh ones."""
    assert Price(input=Decimal(3), output=Decimal(7)).cost(usage) == 3


def test_a_cache_price_of_zero_is_a_price() -> None:
    """Zero is not taken for a price left out."""
    price = Price(input=Decimal(3), output=Decimal(7), cache_read=Decimal(0), cache_write=Decimal(0))
    assert price.cost(Usage(cache_read=1000, cache_write=1000)) == 0


def test_costs_are_exact_sums() -> None:
    """Ten thousand calls of a tenth of a millionth are exactly a thousandth, which floats would miss."""
    price = Price(input=Decimal("0.1"), output=Decimal(0))
    assert sum((price.cost(Usage(fresh_input=1)) for _ in range(10_000)), Decimal(0)) == Decimal("0.001")


def test_azure_has_the_price_that_is_listed_for_azure() -> None:
    """A model on Azure is looked up under Azure: 0.40 in, 1.60 out per million."""
    cost = PriceBook().cost("gpt-4.1-mini", Usage(fresh_input=1000, output=100), provider="azure")
    assert cost == Decimal("0.00056")


@pytest.mark.parametrize(
    ("model", "usd"),
    [
        # anthropic.claude-3-5-sonnet: 3.00 in, 15.00 out per million; claude-opus-5 in a region: 5.50 in, 27.50 out.
        ("anthropic.claude-3-5-sonnet-20240620-v1:0", "0.0045"),
        ("us.anthropic.claude-3-5-sonnet-20240620-v1:0", "0.0045"),
        ("eu.anthropic.claude-opus-5", "0.00825"),
        ("arn:aws:bedrock:eu-central-1:123456789012:inference-profile/eu.anthropic.claude-opus-5", "0.00825"),
        ("arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-opus-5", "0.00825"),
    ],
)
def test_a_model_of_bedrock_is_found_by_its_id_or_its_arn(model: str, usd: str) -> None:
    """The last part of an ARN is what is listed; a region may have a price of its own."""
    assert PriceBook().cost(model, Usage(fresh_input=1000, output=100), provider="aws") == Decimal(usd)


def test_an_inference_profile_of_ones_own_has_no_price() -> None:
    """Its ARN does not say which model answers."""
    model = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3"
    with pytest.raises(PriceUnknown, match="genai-prices does not list it for aws"):
        PriceBook().cost(model, USAGE, provider="aws")


def test_gemini_bills_cached_tokens_at_their_own_price() -> None:
    """gemini-2.5-flash: 0.30 in, 0.03 cached, 2.50 out per million; thoughts are output."""
    usage = Usage(fresh_input=1000, cache_read=200, output=400, reasoning=50)
    # 1000 * 0.30 + 200 * 0.03 + 450 * 2.50 = 300 + 6 + 1125 = 1431 millionths
    assert PriceBook().cost("gemini-2.5-flash", usage, provider="google") == Decimal("0.001431")


def test_a_provider_of_unknown_name_has_the_price_of_the_models_maker() -> None:
    """A gateway that nobody lists passes a model on at its maker's price."""
    cost = PriceBook().cost("gpt-4.1-mini", Usage(fresh_input=1000, output=100), provider="our-gateway")
    assert cost == Decimal("0.00056")


@pytest.mark.parametrize("provider", ["groq", "anthropic", "openai", "azure", "aws"])
def test_a_known_provider_that_does_not_list_a_model_has_no_price_for_it(provider: str) -> None:
    """The price that another provider asks is not borrowed."""
    with pytest.raises(PriceUnknown):
        PriceBook().cost("gemini-2.5-flash", USAGE, provider=provider)


def test_an_unknown_model_says_how_to_price_it() -> None:
    """The message can be pasted into the settings."""
    with pytest.raises(PriceUnknown) as error:
        PriceBook().cost("our-own-7b", USAGE)
    assert str(error.value) == (
        "'our-own-7b' has no price: genai-prices does not list it and the settings do not price it.\n"
        "Price it in the settings, in USD per million tokens (0 for a model that costs nothing):\n"
        "  [tool.modelroute.models.<alias>]\n"
        '  model = "our-own-7b"\n'
        "  input_price = 0.25\n"
        "  output_price = 2.00"
    )


def test_an_estimate_prices_a_text_and_the_length_of_an_answer() -> None:
    """Four characters a token: 401 of them are 101 tokens."""
    prices = PriceBook(own={"m": Price(input=Decimal(2), output=Decimal(10))})
    # 101 * 2 + 50 * 10 = 702 millionths
    assert prices.estimate("m", "x" * 401, output_tokens=50) == Decimal("0.000702")


def test_an_estimate_of_a_model_without_a_price_is_an_error() -> None:
    """Never 0 in its place."""
    with pytest.raises(PriceUnknown, match="'no-such-model' has no price"):
        PriceBook().estimate("no-such-model", "x", output_tokens=1)
