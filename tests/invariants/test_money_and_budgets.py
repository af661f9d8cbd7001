"""The laws of money and budgets find what is wrong, say it in words, and leave correct routers alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pytest_modelroute.invariants.binding import promises_of
from pytest_modelroute.invariants.checking import check_law
from pytest_modelroute.invariants.law import all_laws
from pytest_modelroute.invariants.laws._amounts import agree, reported
from pytest_modelroute.invariants.laws._ladders import models_left
from pytest_modelroute.invariants.laws._windows import boundaries, changes_of, key_of
from pytest_modelroute.invariants.promises import BudgetPromise, Promises
from pytest_modelroute.invariants.requests import RoutingRequest
from pytest_modelroute.invariants.scenes import Act, Ask, Scene
from pytest_modelroute.invariants.seen import Played, SeenAct, SeenAsk, SeenCall
from pytest_modelroute.invariants.telling import tell
from pytest_modelroute.providers.exchange import Usage
from tests.invariants import correct_budgets
from tests.invariants.correct import Correct
from tests.invariants.defects import budgets, money

LAWS = (*money.DEFECTS, *budgets.DEFECTS)
TIERS = ("gpt-5-nano", "gpt-5-mini", "gpt-5")


DEFECTS = [
    pytest.param(law, kind, id=f"{law}-{kind.__name__}")
    for table in (money.DEFECTS, budgets.DEFECTS)
    for law, kinds in table.items()
    for kind in kinds
]


def said(law: str, kind: Any) -> str:
    """The report of a law that finds something."""
    return tell(check_law(kind, law), name=kind.__name__)


@pytest.mark.parametrize(("law", "kind"), DEFECTS)
def test_each_defect_is_found(law: str, kind: Any) -> None:
    """A law of money finds the router that breaks it."""
    assert check_law(kind, law).status == "violated"


@pytest.mark.parametrize("kind", [Correct, *correct_budgets.ALL])
def test_correct_routers_keep_the_laws(kind: Any) -> None:
    """None of these laws fires on a router that does what it promises."""
    for law in LAWS:
        if all_laws()[law].binds(promises_of(kind)):
            finding = check_law(kind, law, profile="quick")
            assert finding.violation is None, law


def test_a_wrong_bill_names_the_tokens_of_each_bucket() -> None:
    """Whoever reads the report can compute the price again."""
    text = said("cost_exact", money.CachedTwice)
    assert "read from the cache" in text
    assert "cost_of says" in text


def test_a_call_that_was_given_up_is_named_where_nothing_was_booked() -> None:
    """The report says which call is billed, and that it was not debited."""
    text = said("spend_complete", money.FreeWhenGivenUp)
    assert "expected: an estimate debited for what was given up" in text
    assert ", debited nothing" in text


def test_calls_at_once_are_told_with_the_sum_that_they_reach() -> None:
    """The report shows by how much the cap was exceeded, and by which call."""
    text = said("budget_ceiling", budgets.CheckThenAct)
    assert "expected: 1 USD at the most, in whatever order the calls end" in text
    assert "USD by now" in text


def test_a_rung_is_told_with_the_share_that_is_left() -> None:
    """The report names the preferred model, the one that was asked, and what remained."""
    text = said("budget_ladder", budgets.OpenRungs)
    assert "expected: gpt-5-nano for a request that prefers gpt-5-mini, with 50 % left" in text
    assert "seen:     gpt-5-mini was asked" in text


def test_a_late_midnight_is_told_in_the_time_of_its_zone() -> None:
    """The report shows the moment as the zone's clocks do."""
    text = said("budget_window", budgets.UtcMidnight)
    assert "00:01:30 in Europe/Zurich: 0 USD of 1 USD were spent in this day" in text
    assert "import datetime" in text


# ------------------------------------------------------------------- leniencies


def call(number: int, **changes: Any) -> SeenCall:
    """A call that cost a cent."""
    given: dict[str, Any] = {
        "number": number,
        "model": "gpt-5-mini",
        "provider": "openai",
        "role": "answer",
        "started": float(number),
        "ended": number + 0.5,
        "status": 200,
        "usage": Usage(output=5_000),
        "cost": Decimal("0.01"),
        **changes,
    }
    return SeenCall(**given)


def played(*asks: SeenAsk, spent: str | None = None) -> Played:
    """A scene of requests one after another."""
    scene = Scene(acts=tuple(Act(asks=(ask.ask,), wall=datetime(2026, 6, 15, 12, tzinfo=UTC)) for ask in asks))
    amount = None if spent is None else Decimal(spent)
    acts = tuple(SeenAct(asks=(ask,), spent=amount) for ask in asks)
    return Played(scene=scene, acts=acts, spent_before=None if spent is None else Decimal(0))


def asked(*calls: SeenCall, **changes: Any) -> SeenAsk:
    """A request with its calls."""
    started = calls[0].started if calls else 0.0
    return SeenAsk(ask=Ask(request=RoutingRequest(prompt="hi")), calls=calls, started=started, ended=started, **changes)


def judged(law: str, promises: Promises, *plays: Played) -> bool:
    """Whether a law is broken."""
    return all_laws()[law].judge(promises, plays) is not None


PLAIN = Promises(tiers=TIERS, has_spend_of=True, has_cost_of=True, budget=BudgetPromise(1))


@pytest.mark.parametrize(
    ("cost", "broken"), [("0.01", False), ("0.03", False), ("0.0100004", False), ("0.02", True), ("0.0101", True)]
)
def test_cost_of_may_mean_the_answer_alone_or_the_whole_request(cost: str, broken: bool) -> None:
    """A classifier at two cents and an answer at one: one cent is right, and three are, and two are not."""
    request = asked(call(1, role="classifier", cost=Decimal("0.02")), call(2), cost=Decimal(cost))
    assert judged("cost_exact", PLAIN, played(request)) is broken


@pytest.mark.parametrize(
    ("changes", "spent", "broken"),
    [
        ({}, "0.01", False),
        ({}, "0.009", True),
        ({}, "0.02", True),
        ({"error": "cancelled", "completed": False}, "0.0001", False),
        ({"error": "cancelled", "completed": False}, "0", True),
        ({"streamed": True, "body": {"messages": []}}, "0.005", False),
        ({"streamed": True, "body": {"messages": []}}, "0", True),
        ({"streamed": True, "body": {"messages": [], "stream_options": {"include_usage": True}}}, "0.005", True),
        ({"error": "content_filtered", "completed": False}, "0", True),
        ({"error": "rate_limited", "completed": False, "status": 429, "cost": Decimal(0)}, "0", False),
        ({"error": "rate_limited", "completed": False, "status": 429, "cost": Decimal(0)}, "0.01", True),
        ({"error": "connection", "completed": False, "status": None, "cost": Decimal(0)}, "0.01", False),
        ({"ended": None, "completed": False, "cost": Decimal(0)}, "0.01", False),
    ],
)
def test_what_must_be_debited_is_what_the_router_can_know(changes: dict[str, Any], spent: str, broken: bool) -> None:
    """To the last token where a reply says so, something above 0 where a call was given up, nothing for a refusal."""
    assert judged("spend_complete", PLAIN, played(asked(call(1, **changes)), spent=spent)) is broken


def test_a_stream_of_anthropic_always_reports_its_usage() -> None:
    """Only OpenAI's format has to be asked for it."""
    assert reported(call(1, provider="anthropic", streamed=True, body={"messages": []}))


@pytest.mark.parametrize(("reserved", "broken"), [(True, True), (False, False)])
def test_calls_under_way_together_may_exceed_a_cap_without_reservation(reserved: bool, broken: bool) -> None:
    """Where no reservation is promised, only who began afterwards must be refused."""
    calls = [call(number, cost=Decimal("0.6"), started=0.0, ended=1.0) for number in (1, 2)]
    promises = replace(PLAIN, budget=BudgetPromise(1, reserved=reserved))
    assert judged("budget_ceiling", promises, played(*map(asked, calls))) is broken


def test_an_overdraft_that_is_promised_is_no_violation() -> None:
    """max_overdraft is on top of the cap."""
    request = asked(call(1, cost=Decimal("1.05")))
    assert judged("budget_ceiling", PLAIN, played(request))
    assert not judged("budget_ceiling", replace(PLAIN, max_overdraft=Decimal("0.05")), played(request))


@pytest.mark.parametrize(("model", "broken"), [("gpt-5-mini", True), ("gpt-5-nano", False), (None, False)])
def test_a_refusal_is_not_the_business_of_the_ladder(model: str | None, broken: bool) -> None:
    """At half of the budget the medium tier is wrong, the small one right, and nobody at all may be right."""
    fresh = played(asked(call(1)))
    second = asked(call(2, model=model)) if model else asked(error=RuntimeError("no money"))
    assert judged("budget_ladder", PLAIN, fresh, played(asked(call(1, cost=Decimal("0.5"))), second)) is broken


def test_a_router_that_cannot_reserve_for_its_model_may_ask_a_weaker_one() -> None:
    """With a cap of a cent, half of it pays no long answer of the strongest tier."""
    promises = replace(PLAIN, budget=BudgetPromise("0.01"))
    fresh = played(asked(call(1, model="gpt-5")))
    first, second = call(1, model="gpt-5", cost=Decimal("0.004")), call(2, model="gpt-5-nano")
    assert not judged("budget_ladder", promises, fresh, played(asked(first), asked(second)))


def test_floats_may_fall_on_either_side_of_a_rung() -> None:
    """12 500 tokens at 2e-06 are not 0.025 in floats."""
    promises = replace(PLAIN, budget=BudgetPromise("0.05"))
    spent = call(1, cost=Decimal("0.025"), usage=Usage(output=12_500))
    assert models_left(promises, "gpt-5-mini", [spent]) == frozenset({"gpt-5-nano", "gpt-5-mini"})


@pytest.mark.parametrize(
    ("served", "spent", "model", "broken"),
    [
        (None, "0.9", "gpt-5", False),
        (None, "0.9", "gpt-5-nano", True),
        (None, "1.1", None, False),
        (None, "1.1", "gpt-5", False),
        (True, "1.1", None, True),
        (False, "1.1", "gpt-5", True),
        (False, "1.1", None, False),
    ],
)
def test_a_critical_request_is_served_without_a_budget_as_promised(
    served: bool | None, spent: str, model: str | None, broken: bool
) -> None:
    """Never by a weaker model; refused or served as critical_served says."""
    promises = replace(PLAIN, critical=lambda _: True, budget=BudgetPromise(1, critical_served=served))
    fresh = played(asked(call(1, model="gpt-5")))
    second = asked(call(2, model=model)) if model else asked(error=RuntimeError("no money"))
    spending = played(asked(call(1, model="gpt-5", cost=Decimal(spent))), second)
    assert judged("critical_kept", promises, fresh, spending) is broken


def test_a_model_for_which_something_is_booked_has_a_price_that_we_do_not_know() -> None:
    """A router with a price list of its own is not accused of having none."""
    dark = asked(call(1, model="acme-1", cost=None))
    assert judged("price_known", PLAIN, played(dark, spent="0"))
    assert not judged("price_known", PLAIN, played(dark, spent="0.02"))


@pytest.mark.parametrize(
    ("one", "other", "same"), [("1", "1.0000005", True), ("1", "1.00001", False), ("0", "0.00001", False)]
)
def test_amounts_agree_within_a_rounding_to_millionths(one: str, other: str, same: bool) -> None:
    """Where they are large enough for that to be a rounding."""
    assert agree(Decimal(one), Decimal(other)) is same


# ---------------------------------------------------------------------- windows


@pytest.mark.parametrize("timezone", ["Europe/Zurich", "America/Havana", "Asia/Beirut", "Asia/Kolkata"])
@pytest.mark.parametrize("window", ["hour", "day", "week", "month"])
def test_a_boundary_is_where_the_window_changes(window: str, timezone: str) -> None:
    """A second before it is another window than the moment itself, also where midnight is skipped."""
    budget = BudgetPromise(1, window=window, timezone=timezone)
    for boundary in boundaries(window, timezone):
        assert key_of(budget, boundary - timedelta(seconds=1)) != key_of(budget, boundary)
        assert key_of(budget, boundary) == key_of(budget, boundary + timedelta(minutes=30))


def test_both_changes_of_the_clocks_are_among_the_days() -> None:
    """The midnights around them are where naive arithmetic goes wrong."""
    assert changes_of(ZoneInfo("Europe/Zurich")) == (date(2026, 3, 29), date(2026, 10, 25))
    assert datetime(2026, 10, 25, 23, tzinfo=UTC) in boundaries("day", "Europe/Zurich")
