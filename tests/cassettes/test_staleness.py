"""Which recordings do not say any more what a live call would."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelroute.cassettes.deprecations import Deprecation, deprecation_of
from pytest_modelroute.cassettes.facts import Facts
from pytest_modelroute.cassettes.recorded_price import cost_of, snapshot
from pytest_modelroute.cassettes.staleness import find_stale, other_versions
from pytest_modelroute.errors import CassetteError
from pytest_modelroute.providers.exchange import Usage
from pytest_modelroute.providers.prices import Price, PriceBook

NOW = datetime(2026, 11, 24, 15, tzinfo=UTC)
COMMAND = "pytest tests/test_support.py --modelroute-record=all"
PRICES = PriceBook(own={"gpt-x": Price(input=Decimal("0.25"), output=Decimal(2))})


def recorded(day: str = "2026-11-01", *, model: str = "gpt-x", provider: str = "openai", **more: Any) -> Facts:
    """What is known of a recording."""
    return Facts(recorded_at=f"{day}T10:00:00Z", latency_s=0.5, provider=provider, model=model, **more)


def stale(
    *recordings: Facts, deprecations: Mapping[str, Deprecation] | None = None, prices: PriceBook = PRICES
) -> list[str]:
    """The messages, each behind its kind."""
    found = find_stale(
        recordings,
        now=NOW,
        max_age_days=180,
        prices=prices,
        command=COMMAND,
        deprecated=lambda _, model: (deprecations or {}).get(model),
    )
    return [f"{each.kind}: {each.message}" for each in found]


def test_a_fresh_recording_is_not_stale() -> None:
    """Of a model that is not withdrawn, at today's price."""
    assert stale(recorded(price=snapshot(PRICES, "openai", "gpt-x"), model_answered="gpt-x-2026")) == []


def test_recordings_that_are_too_old_are_counted_by_model() -> None:
    """One line a model, with the oldest of them."""
    recordings = [recorded("2026-05-27"), recorded("2026-03-02"), recorded("2026-01-02"), recorded("2026-05-30")]
    assert stale(*recordings, recorded("2026-02-03", model="small"), recorded("2026-02-04", model="")) == [
        "old: 3 recordings of 'gpt-x' are older than 180 days (the oldest of 2026-01-02); record them again: "
        + COMMAND,
        "old: 1 recording of 'small' is older than 180 days (of 2026-02-03); record it again: " + COMMAND,
        "old: 1 recording is older than 180 days (of 2026-02-04); record it again: " + COMMAND,
    ]


@pytest.mark.parametrize(("moment", "old"), [("2026-05-28T15:00:00Z", False), ("2026-05-28T14:59:59Z", True)])
def test_a_recording_is_old_after_so_many_days(moment: str, old: bool) -> None:
    """To the second."""
    facts = Facts(recorded_at=moment, latency_s=0.0)
    assert bool(stale(facts)) is old


@pytest.mark.parametrize("moment", ["2026-05-01T15:00:00", "2026-05-01T15:00:00+02:00"])
def test_a_time_without_a_zone_is_utc(moment: str) -> None:
    """Whoever edited it."""
    assert len(stale(Facts(recorded_at=moment, latency_s=0.0))) == 1


def test_a_time_that_is_none_is_an_error() -> None:
    """It names the place and what was expected."""
    with pytest.raises(CassetteError) as raised:
        stale(Facts(recorded_at="yesterday", latency_s=0.0))
    assert str(raised.value) == (
        "response.modelroute.recorded_at: 'yesterday' is no time, such as 2026-11-24T15:00:00Z"
    )


@pytest.mark.parametrize(
    ("deprecation", "what"),
    [
        (Deprecation(ends=date(2026, 11, 24), source="the maker"), "was shut down on 2026-11-24 (the maker)"),
        (Deprecation(ends=date(2026, 11, 25), source="the maker"), "will be shut down on 2026-11-25 (the maker)"),
        (Deprecation(source="a list"), "is deprecated (a list)"),
    ],
)
def test_a_withdrawn_model_is_said_to_be_so(deprecation: Deprecation, what: str) -> None:
    """With the day, where it is known, and who says so."""
    assert stale(recorded(), recorded(), recorded(model="fine"), deprecations={"gpt-x": deprecation}) == [
        f"deprecated: 'gpt-x' {what}, and 2 recordings asked it; choose another model and record again: {COMMAND}"
    ]


def test_a_price_that_changed_is_shown_before_and_after() -> None:
    """Only the buckets that changed; a cache price left out is that of input."""
    then = {"input": "0.30", "output": "2.00", "cache_read": "0.25"}
    assert stale(recorded(price=then), recorded(price=then), recorded(price=then | {"output": "1"})) == [
        f"repriced: the price of 'gpt-x' has changed since {made}: input 0.3 -> 0.25, {output}"
        f"cache_write 0.3 -> 0.25 USD per million tokens; record {them} again: {COMMAND}"
        for made, output, them in (
            ("2 recordings were made", "", "them"),
            ("1 recording was made", "output 1 -> 2, ", "it"),
        )
    ]


@pytest.mark.parametrize("price", [None, {"input": "0.250", "output": "2"}], ids=["none then", "the same"])
def test_a_price_that_did_not_change_is_not_stale(price: Mapping[str, str] | None) -> None:
    """Nor one that was not known."""
    assert stale(recorded(price=price)) == []


def test_a_model_that_lost_its_price_is_not_repriced() -> None:
    """There is nothing to compare with."""
    assert stale(recorded(model="unknown-model", price={"input": "1", "output": "1"})) == []


def test_an_alias_that_answers_as_another_version_is_told() -> None:
    """Since when, and how many recordings are of before."""
    recordings = [
        recorded("2026-09-01", model_answered="gpt-x-b"),
        recorded("2026-07-02", model_answered="gpt-x-a"),
        recorded("2026-10-01", model_answered="gpt-x-b"),
        recorded("2026-06-01", model_answered="gpt-x-a"),
    ]
    (message,) = stale(*recordings)
    assert message == (
        "another_version: 'gpt-x' answered as 'gpt-x-a' until 2026-07-02 and as 'gpt-x-b' from 2026-09-01 on; "
        f"record what is older again (2 recordings): {COMMAND}"
    )


def test_the_last_of_several_moves_is_told() -> None:
    """All recordings before it are of before."""
    recordings = [recorded(f"2026-0{month}-01", model_answered=f"gpt-x-{month}") for month in (8, 6, 7)]
    (found,) = other_versions(recordings, command=COMMAND)
    assert found.message == (
        "'gpt-x' answered as 'gpt-x-7' until 2026-07-01 and as 'gpt-x-8' from 2026-08-01 on; "
        f"record what is older again (2 recordings): {COMMAND}"
    )


@pytest.mark.parametrize(
    "recordings",
    [
        [recorded("2026-06-01", model_answered="a"), recorded("2026-07-01", model_answered="a")],
        [recorded("2026-06-01", model_answered="a"), recorded("2026-06-01", model_answered="b")],
        [recorded(f"2026-0{month}-01", model_answered=version) for month, version in ((6, "a"), (7, "b"), (8, "a"))],
        [recorded("2026-06-01", model_answered="a"), recorded("2026-07-01", model_answered="b", provider="azure")],
        [recorded("2026-06-01", model_answered="a"), recorded("2026-07-01", model_answered="")],
        [recorded("2026-06-01", model_answered="a", model=""), recorded("2026-07-01", model_answered="b", model="")],
    ],
    ids=["one version", "at once", "in turns", "another provider", "not named", "no model"],
)
def test_nothing_is_told_where_no_version_replaced_another(recordings: list[Facts]) -> None:
    """A gateway that balances between versions is no drift."""
    assert other_versions(recordings, command=COMMAND) == []


@pytest.mark.parametrize(
    ("provider", "model", "ends"),
    [
        ("openai", "gpt-4o-2024-05-13", date(2026, 10, 23)),
        ("openai", "gpt-5-mini", date(2026, 12, 11)),
        ("openai-2", "gpt-5-mini", date(2026, 12, 11)),
        ("anthropic", "claude-opus-4-1-20250805", date(2026, 8, 5)),
    ],
)
def test_what_providers_withdraw_is_known(provider: str, model: str, ends: date) -> None:
    """By their own dates, and by which day's state of them."""
    maker = "Anthropic" if provider == "anthropic" else "OpenAI"
    assert deprecation_of(provider, model) == Deprecation(
        ends=ends, source=f"{maker}'s deprecations, as known in 2026-11"
    )


@pytest.mark.parametrize(
    ("provider", "model"), [("google", "gemini-2.0-flash-001"), ("mistral", "magistral-small-latest")]
)
def test_what_genai_prices_marks_is_known(provider: str, model: str) -> None:
    """It names no day."""
    found = deprecation_of(provider, model)
    assert found is not None
    assert found.ends is None
    assert found.source.startswith("genai-prices 0.")


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4o"),
        ("azure", "gpt-4"),
        ("aws", "anthropic.claude-opus-4-1-20250805-v1:0"),
        ("ollama", "gemini-2.0-flash"),
        ("google", "gemini-3-flash-preview"),
        ("my-gateway", "gpt-4"),
        ("", ""),
    ],
)
def test_nothing_is_said_of_a_model_that_its_host_still_serves(provider: str, model: str) -> None:
    """Each platform has dates of its own."""
    assert deprecation_of(provider, model) is None


def test_the_table_of_anthropic_agrees_with_its_client() -> None:
    """What the official client warns of has the day that it names."""
    # By its module: it is no part of the client's public interface.
    warned: dict[str, str] = import_module("anthropic.resources.messages.messages").DEPRECATED_MODELS
    for model, day in warned.items():
        found = deprecation_of("anthropic", model)
        if found is not None:
            month, number, year = day.replace(",", "").split()
            said = datetime.strptime(f"{month} {number.rstrip('stndrh')} {year}", "%B %d %Y").replace(tzinfo=UTC)
            assert found.ends == said.date()
    assert deprecation_of("anthropic", "claude-sonnet-4-5") is not None
    assert "claude-sonnet-4-5" in warned


def test_a_snapshot_is_what_a_million_tokens_of_each_kind_cost() -> None:
    """Listed prices and those of the settings alike; as text, without zeros at the end."""
    assert snapshot(PRICES, "openai", "gpt-x") == {
        "input": "0.25",
        "output": "2",
        "cache_read": "0.25",
        "cache_write": "0.25",
    }
    assert snapshot(PriceBook(), "anthropic", "claude-haiku-4-5") == {
        "input": "1",
        "output": "5",
        "cache_read": "0.1",
        "cache_write": "1.25",
    }


def test_a_model_without_a_price_has_no_snapshot() -> None:
    """Never one of zeros."""
    assert snapshot(PriceBook(), "", "unknown-model") is None


def test_a_snapshot_holds_the_price_of_a_short_context() -> None:
    """Gemini 2.5 Pro costs 1.25 up to 200,000 tokens of context, and 2.50 beyond."""
    assert (snapshot(PriceBook(), "google", "gemini-2.5-pro") or {})["input"] == "1.25"


counts = st.integers(0, 50_000)


@given(st.builds(Usage, fresh_input=counts, cache_read=counts, cache_write=counts, output=counts, reasoning=counts))
@pytest.mark.parametrize(
    ("provider", "model"), [("openai", "gpt-4.1-mini"), ("anthropic", "claude-haiku-4-5"), ("openai", "gpt-x")]
)
def test_a_snapshot_costs_what_the_live_price_costs(provider: str, model: str, usage: Usage) -> None:
    """To the last digit, below the length where a price changes."""
    assert cost_of(snapshot(PRICES, provider, model), usage) == PRICES.cost(model, usage, provider=provider)


def test_a_call_without_a_price_has_no_cost() -> None:
    """It is not 0."""
    assert cost_of(None, Usage(output=5)) is None


@pytest.mark.parametrize(
    ("price", "message"),
    [
        ({"input": "free", "output": "1"}, "response.modelroute.price.input: 'free' is no amount in USD, such as 0.25"),
        ({"input": "1", "output": "-1"}, "response.modelroute.price.output: '-1' is no amount in USD, such as 0.25"),
        (
            {"input": "1", "output": "1", "cache_read": "inf"},
            "response.modelroute.price.cache_read: 'inf' is no amount in USD, such as 0.25",
        ),
        ({}, "response.modelroute.price holds nothing; expected were input, output, cache_read, cache_write"),
        (
            {"input": "1", "image": "1"},
            "response.modelroute.price holds input, image; expected were input, output, cache_read, cache_write",
        ),
    ],
)
def test_a_price_that_is_none_is_an_error(price: Mapping[str, str], message: str) -> None:
    """It names the place and what was expected."""
    with pytest.raises(CassetteError) as raised:
        cost_of(price, Usage(output=1))
    assert str(raised.value) == message
