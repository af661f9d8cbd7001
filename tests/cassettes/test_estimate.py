"""What a recording session says before its first live call."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from pytest_modelroute.cassettes.estimate import describe_estimate
from pytest_modelroute.cassettes.facts import Facts
from pytest_modelroute.cassettes.interaction import Interaction, RecordedRequest, RecordedResponse
from pytest_modelroute.providers.prices import Price, PriceBook
from tests.cassettes.making import JSON_HEADERS, Shelf

PRICES = PriceBook(own={"m": Price(input=Decimal(1), output=Decimal(2))})
CAP = Decimal("0.5")


def asked(model: str = "m") -> Interaction:
    """A recorded call: 100 tokens in, 50 out."""
    usage = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
    message = {"index": 0, "message": {"role": "assistant", "content": "LOW"}, "finish_reason": "stop"}
    return Interaction(
        request=RecordedRequest(
            method="POST",
            url="http://127.0.0.1:8000/v1/chat/completions",
            headers=JSON_HEADERS,
            body=json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}]}).encode(),
        ),
        response=RecordedResponse(
            status=200,
            headers=JSON_HEADERS,
            body=json.dumps({"model": model, "choices": [message], "usage": usage}).encode(),
        ),
        facts=Facts(recorded_at="2026-11-24T15:00:00Z", latency_s=0.25),
    )


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """A project with cassettes."""
    return Shelf(tmp_path)


def test_all_costs_what_the_recordings_before_would_cost_today(shelf: Shelf) -> None:
    """Two calls of 100 tokens in at 1 USD a million, and 50 out at 2; a test that is new cannot be known."""
    path, new = shelf.put(asked(), asked()), shelf.folder / "new.yaml"
    assert describe_estimate([(path, PRICES), (new, PRICES)], mode="all", cap=CAP) == (
        "modelroute: recording anew in 2 tests: the 2 calls recorded before cost 0.0004 USD today; "
        "1 cassette not recorded yet; the cap is 0.5 USD"
    )


def test_new_replays_what_is_there_at_no_cost(shelf: Shelf) -> None:
    """They are replayed; what is missing is not known before."""
    path = shelf.put(asked())
    assert describe_estimate([(path, PRICES)], mode="new", cap=None) == (
        "modelroute: recording what is missing in 1 test: 1 call recorded already cost nothing; "
        "no cap (--modelroute-max-usd)"
    )


def test_a_shared_cassette_is_counted_once(shelf: Shelf) -> None:
    """However many tests share it."""
    path = shelf.put(asked())
    line = describe_estimate([(path, PRICES), (path, PRICES)], mode="all", cap=CAP)
    assert line.startswith("modelroute: recording anew in 2 tests: the 1 call recorded before cost 0.0002 USD today;")


def test_calls_without_a_price_are_counted_apart(shelf: Shelf) -> None:
    """They are no calls at 0."""
    path = shelf.put(asked(), asked("nameless"))
    line = describe_estimate([(path, PRICES)], mode="all", cap=CAP)
    assert "the 2 calls recorded before cost 0.0002 USD today (1 of unknown cost);" in line


def test_a_cassette_that_cannot_be_read_is_left_to_its_test(shelf: Shelf) -> None:
    """It is one more that is not recorded yet."""
    path = shelf.put(asked())
    path.write_text("cut", "utf-8")
    assert "1 cassette not recorded yet" in describe_estimate([(path, PRICES)], mode="all", cap=CAP)


def test_a_cassette_without_calls_of_models_says_that_nothing_is_known(shelf: Shelf) -> None:
    """A cassette of other requests, all of them."""
    assert "no call of a model is known yet" in describe_estimate([], mode="all", cap=CAP)
