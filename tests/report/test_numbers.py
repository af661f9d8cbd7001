"""Numbers, tables and values as reports show them."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelroute.evaluation.cases import Case
from pytest_modelroute.evaluation.results import CaseResult, StepEvaluation
from pytest_modelroute.evaluation.statistics import Interval
from pytest_modelroute.evaluation.verdict import Check, Measured
from pytest_modelroute.providers.exchange import ProviderReply, ProviderRequest
from pytest_modelroute.report.numbers import short, show_check, show_cost, show_interval, show_usd, show_value, table
from pytest_modelroute.wire.call_log import ProviderCall

AMOUNTS = st.decimals(min_value=Decimal("1e-12"), max_value=Decimal(10**6), allow_nan=False)


def _check(limit: str, bound: float, value: float, **fields: Any) -> Check:
    measured = Measured(
        value=value, interval=fields.pop("interval", Interval(value, value)), n=10, count=fields.pop("count", None)
    )
    return Check(
        limit=limit, bound=bound, measured=measured, judged=fields.pop("judged", value), ok=fields.pop("ok", True)
    )


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "0"),
        ("0E-9", "0"),
        ("0.00000465", "0.00000465"),
        ("0.0000046512345", "0.000004651"),
        ("0.1", "0.10"),
        ("0.125", "0.125"),
        ("1", "1.00"),
        ("1.5", "1.50"),
        ("12.3456", "12.35"),
        ("1234.5678", "1234.57"),
        ("1E+3", "1000.00"),
        ("1E-7", "0.0000001"),
        ("0.99999", "1.00"),
        ("-0.0005", "-0.0005"),
    ],
)
def test_an_amount_has_four_significant_digits(amount: str, shown: str) -> None:
    """At least two decimals, and no noughts behind them."""
    assert show_usd(Decimal(amount)) == shown


@given(AMOUNTS)
def test_an_amount_is_never_in_scientific_notation(amount: Decimal) -> None:
    """Digits and a point, as prices are written."""
    assert set(show_usd(amount)) <= set("0123456789.")


@given(AMOUNTS)
def test_an_amount_is_shown_to_within_its_last_digit(amount: Decimal) -> None:
    """Four significant digits, or cents where those are finer."""
    assert abs(Decimal(show_usd(amount)) - amount) <= max(amount / 2000, Decimal("1e-15"))


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.8, "share", "0.800"),
        (180.0, "ms", "180 ms"),
        (0.01234, "ms", "0.01234 ms"),
        (999.96, "ms", "1000 ms"),
        (123456.7, "ms", "123457 ms"),
        (0.00000465, "usd", "0.00000465 USD"),
        (1e-7, "usd", "0.0000001 USD"),
        (math.nan, "share", "not measured"),
        (math.nan, "usd", "not measured"),
    ],
)
def test_a_value_is_shown_in_its_unit(value: float, unit: str, shown: str) -> None:
    """NaN is told in words, whatever the unit."""
    assert show_value(value, unit) == shown


@pytest.mark.parametrize("unit", ["ms", "usd"])
def test_a_value_without_a_bound_is_told_in_words(unit: str) -> None:
    """Infinity is a word of programmers."""
    assert show_value(math.inf, unit) == "unbounded"


@pytest.mark.parametrize(
    ("interval", "unit", "shown"),
    [
        (Interval(0.301, 0.954), "share", "95% 0.301 to 0.954"),
        (Interval(180, math.inf), "ms", "95% 180 to unbounded"),
        (Interval(-math.inf, math.inf), "usd", "too few cases for an interval"),
        (Interval(0.0001, 0.0002), "usd", "95% 0.0001 to 0.0002"),
    ],
)
def test_an_interval_names_its_unit_no_second_time(interval: Interval, unit: str, shown: str) -> None:
    """An end that the cases cannot bound is told in words."""
    assert show_interval(interval, unit, 0.95) == shown


@pytest.mark.parametrize(("confidence", "shown"), [(0.9, "90%"), (0.995, "99.5%"), (0.95, "95%")])
def test_an_interval_names_its_confidence(confidence: float, shown: str) -> None:
    """In percent, without digits that say nothing."""
    assert show_interval(Interval(0, 1), "share", confidence) == f"{shown} 0.000 to 1.000"


@pytest.mark.parametrize(
    ("check", "line"),
    [
        (
            _check("min_accuracy", 0.9, 0.75, count=3, interval=Interval(0.301, 0.954), ok=False),
            "FAIL  accuracy 0.750 (3/10, 95% 0.301 to 0.954)  limit min_accuracy=0.90",
        ),
        (
            _check("min_accuracy", 0.925, 0.95, count=9),
            "ok    accuracy 0.950 (9/10, 95% 0.950 to 0.950)  limit min_accuracy=0.925",
        ),
        (
            _check("max_latency_ms", 500, 180, interval=Interval(180, math.inf)),
            "ok    p95 latency 180 ms (n=10, 95% 180 to unbounded)  limit max_latency_ms=500",
        ),
        (
            _check("max_cost_usd", 0.01, 0.005),
            "ok    mean cost 0.005 USD (n=10, 95% 0.005 to 0.005)  limit max_cost_usd=0.01",
        ),
    ],
)  # fmt: skip
def test_a_check_is_one_line(check: Check, line: str) -> None:
    """Verdict, measure, value, evidence, limit."""
    assert show_check(check, None) == line


def test_a_check_by_its_bound_shows_the_bound() -> None:
    """The value that was compared, at the confidence that was asked for."""
    check = _check("min_accuracy", 0.9, 0.95, count=9, interval=Interval(0.8, 0.99), judged=0.8, ok=False)
    assert show_check(check, 0.9) == (
        "FAIL  accuracy 0.950 (9/10, 90% 0.800 to 0.990, judged by the bound 0.800)  limit min_accuracy=0.90"
    )


def test_a_bound_that_does_not_exist_says_what_is_missing() -> None:
    """Below 72 cases a p95 limit with confidence= fails whatever was measured, which must be told."""
    check = _check("max_latency_ms", 500, 180, interval=Interval(180, math.inf), judged=math.inf, ok=False)
    assert "judged by the bound, which takes more cases than 10" in show_check(check, 0.95)


@pytest.mark.parametrize(
    ("limit", "bound", "shown"),
    [
        ("max_cost_usd", 0.00001, "0.00001"),
        ("max_total_cost_usd", 1234567.5, "1234567.5"),
        ("max_latency_ms", 1234567, "1234567"),
    ],
)
def test_a_limit_is_shown_as_it_was_written(limit: str, bound: float, shown: str) -> None:
    """Never in scientific notation, never rounded: it has to be found in the code again."""
    assert show_check(_check(limit, bound, 0.1), None).endswith(f"limit {limit}={shown}")


def _cost(calls: list[ProviderCall]) -> str:
    result = CaseResult(case=Case(id="one", inputs="hi"), score=1.0, calls=calls)
    return show_cost(StepEvaluation(step="s", results=[result, result], clock="real"))


def test_a_cost_is_shown_in_all_and_by_case() -> None:
    """Nothing called costs nothing."""
    assert _cost([]) == "cost 0 USD, 0 a case"


def test_a_cost_without_usage_is_unknown() -> None:
    """The call and what is missing are named."""
    call = ProviderCall(
        number=7,
        provider="openai",
        language="openai-chat",
        url="https://api.openai.com/v1/chat/completions",
        client="httpx",
        request=ProviderRequest(model="gpt-small", messages=()),
        step="s",
        case="one",
        started_s=0.0,
        status=200,
        reply=ProviderReply(text="a"),
    )
    assert _cost([call]) == "cost unknown (call 7 to 'gpt-small' has no cost: its reply reported no usage)"


def test_a_table_is_aligned() -> None:
    """Columns as wide as their widest cell, nothing behind the last."""
    assert table([("a", "bb"), ("ccc", "d")]) == ["  a    bb", "  ccc  d"]


def test_a_column_without_a_value_is_left_out() -> None:
    """A heading alone says nothing."""
    assert table([("a", "b", "c"), ("1", "", "3")], indent="") == ["a  c", "1  3"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("  two\n\t lines ", "two lines"),
        (3, "3"),
        (None, "None"),
        ({"a": "b\nc"}, "{'a': 'b\\nc'}"),
        ("x" * 48, "x" * 48),
        ("x" * 49, "x" * 45 + "..."),
        ("", ""),
    ],
)
def test_a_value_is_shown_on_one_line(value: object, shown: str) -> None:
    """White space becomes a space, and what is too long is cut."""
    assert short(value) == shown


@given(st.text() | st.lists(st.text()), st.integers(4, 100))
def test_a_value_is_never_longer_than_asked_for(value: object, limit: int) -> None:
    """Nor more than one line."""
    text = short(value, limit)
    assert (len(text) <= limit, len(text.splitlines()) <= 1) == (True, True)
