"""Scenarios lead a router through its budget, say what became of it, and where a promise broke."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

import pytest

from pytest_modelroute import Settings
from pytest_modelroute.errors import PromiseError, ScriptError
from pytest_modelroute.invariants import Good, RoutingInvariants, RoutingRequest, Script
from pytest_modelroute.invariants.checking import Surroundings
from pytest_modelroute.router import BudgetTracker, ModelClient, ModelRouter
from pytest_modelroute.scenarios import BUDGET_SCENARIOS, BudgetScenarios
from tests.invariants.correct_budgets import CorrectLoose, CorrectThreaded
from tests.invariants.defects import budgets, money

LONG = "Why is the sky blue, and why is it red in the evening?"


@pytest.fixture
def scenarios() -> BudgetScenarios:
    """What the fixture of the plugin hands out."""
    return BudgetScenarios(Surroundings())


def own_router() -> ModelRouter:
    """Our own router, with a budget, a dynamic step and a critical one."""
    tiers = {"small": "gpt-4.1-nano", "medium": "gpt-4.1-mini", "large": "gpt-4.1"}
    settings = Settings.model_validate(
        {
            "models": {tier: {"model": model, "tier": tier} for tier, model in tiers.items()},
            "steps": {
                "answer": {"model": "dynamic", "classifier": "small"},
                "safety": {"model": "large", "critical": True},
                "lookup": {"model": "none"},
            },
        }
    )
    client = ModelClient(settings, keys={"openai": "x"})
    return ModelRouter(settings, client=client, budget=BudgetTracker("2.50", timezone="Asia/Tokyo"))


@pytest.mark.parametrize("name", BUDGET_SCENARIOS)
def test_a_correct_router_keeps_its_promises_in_every_stock_scenario(name: str, scenarios: BudgetScenarios) -> None:
    """Reserved, under a lock, in floats."""
    timeline = scenarios.run(name, CorrectThreaded)
    assert timeline.ok
    assert "every promise held" in str(timeline)


@pytest.mark.parametrize("name", ["tight", "exact_boundaries", "exhausted", "n_at_once", "midnight"])
def test_our_own_router_keeps_its_promises(name: str, scenarios: BudgetScenarios) -> None:
    """Its factory is enough: what it promises stands in its settings."""
    assert scenarios.run(name, own_router).ok


@pytest.mark.parametrize(
    ("name", "kind", "law"),
    [
        ("tight", budgets.NoLadder, "budget_ladder"),
        ("exact_boundaries", budgets.OpenRungs, "budget_ladder"),
        ("critical", budgets.CriticalToo, "critical_kept"),
        ("exhausted", budgets.CriticalRefused, "critical_kept"),
        ("exhausted", budgets.OnlyLogs, "budget_ceiling"),
        ("n_at_once", budgets.CheckThenAct, "budget_ceiling"),
        ("midnight", budgets.UtcMidnight, "budget_window"),
        ("midnight", budgets.NeverReset, "budget_window"),
        ("cancelled_streams", money.FreeWhenGivenUp, "spend_complete"),
        ("usage_at_the_end", money.FreeStreams, "spend_complete"),
        ("billed_failures", money.FreeFallbacks, "spend_complete"),
        ("unbilled_failures", money.FailedOnesBooked, "spend_complete"),
    ],
)
def test_a_stock_scenario_fails_a_router_that_breaks_its_promise(
    name: str, kind: type[RoutingInvariants], law: str, scenarios: BudgetScenarios
) -> None:
    """The failure is the timeline, with the law, what was expected and what was seen."""
    with pytest.raises(AssertionError, match=f"{law}: expected ") as error:
        scenarios.run(name, kind)
    assert str(error.value).startswith(f"{kind.__name__}, {name}: ")


def test_a_scenario_by_hand_tells_what_became_of_each_request(scenarios: BudgetScenarios) -> None:
    """Served, downgraded at a rung, refused at the end."""
    scenario = scenarios(CorrectThreaded)
    assert scenario.timeline().entries == ()
    first = scenario.ask(LONG)
    scenario.spend("1.5")
    second = scenario.ask(LONG)
    scenario.spend(scenario.remaining)
    third = scenario.ask(LONG)
    assert [first.fate, second.fate, third.fate] == ["served", "downgraded", "refused"]
    assert (second.model, second.preferred) == ("gpt-5-nano", "gpt-5-mini")
    assert third.error == "Refused: "
    assert abs(scenario.remaining) < Decimal("0.00001")
    assert scenario.timeline().spent_usd == scenario.spent
    assert "downgraded by gpt-5-nano instead of gpt-5-mini" in str(scenario.timeline())


def test_money_is_whole_again_in_the_next_window(scenarios: BudgetScenarios) -> None:
    """`remaining` is that of the day that it is."""
    scenario = scenarios(CorrectThreaded)
    scenario.spend(2)
    assert scenario.remaining == Decimal("0.5")
    scenario.advance(86_400)
    assert scenario.remaining == Decimal("2.5")
    assert scenario.ask(LONG).fate == "served"


def test_a_moment_is_set_before_and_between_requests(scenarios: BudgetScenarios) -> None:
    """Forward only, and with a time zone."""
    scenario = scenarios(CorrectThreaded)
    moment = datetime(2026, 7, 1, 9, tzinfo=UTC)
    scenario.set(moment)
    scenario.ask(LONG)
    scenario.set(moment + timedelta(hours=1))
    assert scenario.ask(LONG).moment.astimezone(UTC) == moment + timedelta(hours=1)
    with pytest.raises(ScriptError, match="and time moves forward"):
        scenario.set(moment)
    with pytest.raises(ScriptError, match="has no time zone; give it one"):
        scenario.set(datetime(2026, 7, 1))  # noqa: DTZ001 - what the error is about
    with pytest.raises(ScriptError, match=r"advance\(-1\): time moves forward"):
        scenario.advance(-1)


def test_requests_at_once_are_served_as_far_as_the_money_goes(scenarios: BudgetScenarios) -> None:
    """One of three fits."""
    scenario = scenarios(CorrectThreaded)
    scenario.plan([scenario.request(LONG)], Script(good=Good(leaves_calls=1.5)), spends=True)
    fates = [entry.fate for entry in scenario.ask_many(3, LONG)]
    assert sorted(fates) == ["downgraded", "refused", "refused"]


def test_without_reservation_calls_at_once_may_exceed_the_budget(scenarios: BudgetScenarios) -> None:
    """Where the class says reserved=False."""
    scenario = scenarios(CorrectLoose)
    scenario.plan([scenario.request()], Script(good=Good(leaves_calls=1.5)), spends=True)
    assert [entry.fate for entry in scenario.ask_many(3)] == ["served"] * 3
    assert scenario.remaining < 0
    assert scenario.ask().fate == "refused"


def test_a_broken_promise_is_only_told_where_it_is_not_checked(scenarios: BudgetScenarios) -> None:
    """`check=False` gives the timeline back."""
    timeline = scenarios.run("tight", budgets.NoLadder, check=False)
    assert not timeline.ok
    assert "BROKEN budget_ladder" in str(timeline)
    scenario = scenarios(budgets.NoLadder, check=False)
    scenario.spend("0.6", label="MEDIUM")
    assert scenario.ask(RoutingRequest(prompt="hi"), label="MEDIUM").broken.startswith("budget_ladder: expected")


class NoBudget(CorrectThreaded):
    """Promises none."""

    budget: ClassVar[Any] = None


@pytest.mark.parametrize(
    ("subject", "problem"),
    [
        (NoBudget, "NoBudget promises no budget; add budget = BudgetPromise"),
        (dict, r"budget_scenario\(dict\): dict\(\) returned dict; a class of RoutingInvariants"),
        (7, r"budget_scenario\(7\): a class of RoutingInvariants that promises a budget was expected"),
        (lambda: ModelRouter(Settings()), "its router has no budget; give it a BudgetTracker"),
    ],
)
def test_what_has_no_budget_is_refused(subject: Any, problem: str, scenarios: BudgetScenarios) -> None:
    """One error that says what was expected."""
    with pytest.raises(PromiseError, match=problem):
        scenarios(subject)


def test_what_does_not_exist_is_refused(scenarios: BudgetScenarios) -> None:
    """With the nearest name."""
    with pytest.raises(ScriptError, match="no stock scenario 'midnite'; did you mean 'midnight'"):
        scenarios.run("midnite", CorrectThreaded)
    with pytest.raises(ScriptError, match="no stock scenario 'x'; known are: comfortable, tight"):
        scenarios.run("x", CorrectThreaded)
    with pytest.raises(ScriptError, match="a request has no 'prio'; known are: prompt, system"):
        scenarios(CorrectThreaded).ask(LONG, prio=1)
    with pytest.raises(ScriptError, match=r"ask_many\(0\): 1 or more was expected"):
        scenarios(CorrectThreaded).ask_many(0)
    with pytest.raises(ScriptError, match=r"spend\(0\): an amount of USD above 0 was expected"):
        scenarios(CorrectThreaded).spend(0)
