"""What a recording session may spend, and what it has spent."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pytest_modelroute.cassettes.spending import Purse
from pytest_modelroute.errors import CassetteError, RecordingError
from pytest_modelroute.providers.exchange import Message, ProviderRequest, Usage
from pytest_modelroute.providers.prices import Price, PriceBook
from pytest_modelroute.wire.call_log import ProviderCall

PRICES = PriceBook(own={"m": Price(input=Decimal(1), output=Decimal(2))})


def call(model: str = "m", prompt: str = "abcd" * 100, **params: Any) -> ProviderCall:
    """A live call that has just begun: 100 tokens of input."""
    return ProviderCall(
        number=1,
        provider="house",
        language="openai-chat",
        url="http://house/v1/chat/completions",
        client="httpx",
        request=ProviderRequest(model=model, messages=(Message(role="user", text=prompt),), params=params),
        step=None,
        case=None,
        started_s=0.0,
        prices=PRICES,
    )


def ended(live: ProviderCall, output: int) -> None:
    """Its reply has come."""
    live.status, live.usage = 200, Usage(fresh_input=100, output=output)


def test_a_call_pays_what_it_has_cost_and_not_what_was_reserved(tmp_path: Path) -> None:
    """100 tokens in at 1 USD a million, 50 out at 2."""
    purse, live = Purse(tmp_path, "run", Decimal(1)), call(max_tokens=500)
    pay = purse.admit(live)
    ended(live, 50)
    pay()
    assert purse.spent() == (1, Decimal("0.0002"), 0)


def test_a_call_that_the_rest_of_the_cap_does_not_cover_is_not_made(tmp_path: Path) -> None:
    """The message says what it may cost, what is spent and what is under way."""
    purse = Purse(tmp_path, "run", Decimal("0.002"))
    live = call(max_tokens=400)
    purse.admit(live)  # 0.0009 reserved
    ended(call(), 1)
    purse.admit(call(max_tokens=400))
    with pytest.raises(RecordingError) as refused:
        purse.admit(call(max_tokens=400))
    assert str(refused.value) == (
        "a call of 'm' was not made: it may cost 0.0009 USD, and of --modelroute-max-usd 0.002 are spent 0 and "
        "reserved for calls under way 0.0018.\n"
        "What is recorded so far is kept in the journal: run again with a higher cap to go on"
    )


def test_a_request_without_a_limit_is_taken_for_1024_tokens_of_output(tmp_path: Path) -> None:
    """100 in and 1,024 out cost 0.002148 USD."""
    with pytest.raises(RecordingError, match=r"it may cost 0\.002148 USD"):
        Purse(tmp_path, "run", Decimal("0.001")).admit(call())


def test_a_model_without_a_price_cannot_be_held_to_a_cap(tmp_path: Path) -> None:
    """The message says how to price it."""
    with pytest.raises(RecordingError, match=r"(?s)a call of 'nameless' was not made: .*cannot count it.*input_price"):
        Purse(tmp_path, "run", Decimal(1)).admit(call("nameless"))


def test_without_a_cap_a_model_without_a_price_is_counted_apart(tmp_path: Path) -> None:
    """Its cost is unknown, not 0."""
    purse, live = Purse(tmp_path, "run", None), call("nameless")
    pay = purse.admit(live)
    ended(live, 5)
    pay()
    assert purse.spent() == (1, Decimal(0), 1)


def test_threads_and_processes_pay_from_one_purse(tmp_path: Path) -> None:
    """Of 20 calls at once, each with a purse of its own on the same session, the cap holds for all."""

    def ask(_number: int) -> bool:
        live = call(max_tokens=400)
        try:
            pay = Purse(tmp_path, "run", Decimal("0.0045")).admit(live)
        except RecordingError:
            return False
        ended(live, 400)
        pay()
        return True

    with ThreadPoolExecutor(20) as pool:
        admitted = sum(pool.map(ask, range(20)))
    assert admitted == 5
    assert Purse(tmp_path, "run", None).spent() == (5, Decimal("0.0045"), 0)


def test_another_session_has_a_purse_of_its_own(tmp_path: Path) -> None:
    """What an earlier run has spent does not count."""
    live = call()
    pay = Purse(tmp_path, "yesterday", None).admit(live)
    ended(live, 1)
    pay()
    assert Purse(tmp_path, "today", None).spent() == (0, Decimal(0), 0)


def test_a_damaged_book_is_one_error_that_names_it(tmp_path: Path) -> None:
    """It is no licence to spend."""
    purse = Purse(tmp_path, "run", None)
    purse.admit(call())
    purse.path.write_text("{", "utf-8")
    with pytest.raises(CassetteError, match=r"run\.json: what was spent cannot be read: .*; delete the file"):
        purse.admit(call())
