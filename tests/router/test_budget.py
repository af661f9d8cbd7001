"""The budget tracker: reserve, settle, and the day of a time zone."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import settings as law
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from pytest_modelroute.errors import BudgetExceeded, SettingsError
from pytest_modelroute.router import BudgetTracker
from pytest_modelroute.router.budget import Reservation

ZURICH = ZoneInfo("Europe/Zurich")
TIERS = ("small", "medium", "large")


def usd(*amounts: str) -> tuple[Decimal, ...]:
    """Amounts as they are written."""
    return tuple(map(Decimal, amounts))


def test_what_is_reserved_cannot_be_reserved_again() -> None:
    """Two calls do not share the last cent."""
    budget = BudgetTracker("0.30")
    budget.reserve("0.20")
    with pytest.raises(BudgetExceeded):
        budget.reserve("0.11")
    budget.reserve("0.10")
    assert (budget.spent, budget.reserved, budget.remaining) == usd("0", "0.3", "0")


def test_a_settled_call_gives_the_rest_back() -> None:
    """What it cost is spent, and no more."""
    budget = BudgetTracker(1)
    budget.reserve("0.9").settle("0.1")
    assert (budget.spent, budget.reserved, budget.remaining) == usd("0.1", "0", "0.9")


def test_a_released_call_costs_nothing() -> None:
    """It was not made."""
    budget = BudgetTracker(1)
    budget.reserve(1).release()
    assert (budget.spent, budget.remaining) == usd("0", "1")


def test_only_the_first_end_of_a_reservation_counts() -> None:
    """A release after the settling gives nothing back twice."""
    budget = BudgetTracker(1)
    reservation = budget.reserve("0.5")
    reservation.settle("0.2")
    reservation.settle("0.3")
    reservation.release()
    assert (budget.spent, budget.reserved) == usd("0.2", "0")


def test_a_call_that_turns_out_dearer_is_booked_in_full() -> None:
    """The truth is booked, and everything after it refused."""
    budget = BudgetTracker(1)
    budget.reserve("0.5").settle("1.5")
    assert (budget.spent, budget.remaining) == (Decimal("1.5"), Decimal("-0.5"))
    with pytest.raises(BudgetExceeded):
        budget.reserve(0)


def test_a_call_that_costs_nothing_is_covered_by_a_budget_that_is_used_up() -> None:
    """A model of one's own has no price."""
    budget = BudgetTracker(1)
    budget.reserve(1).settle(1)
    budget.reserve(0).settle(0)
    assert budget.spent == 1


def test_the_refusal_says_what_remains() -> None:
    """And of which day."""
    budget = BudgetTracker(10, timezone="Europe/Zurich", wall_clock=lambda: 1_800_000_000.0)
    budget.reserve("9.996")
    with pytest.raises(BudgetExceeded) as error:
        budget.reserve("0.02")
    assert str(error.value) == (
        "the budget of 10 USD for 2027-01-15 (Europe/Zurich) has 0.004 USD left, and this call may cost 0.02 USD; "
        "it was not made"
    )


def test_a_float_counts_as_it_is_written() -> None:
    """Three times 0.1 are 0.3."""
    budget = BudgetTracker(0.3)
    for _ in range(3):
        budget.reserve(0.1).settle(0.1)
    assert budget.remaining == 0


@pytest.mark.parametrize(
    ("daily_usd", "told"),
    [
        (0, "input should be greater than 0, not 0"),
        (-1, "input should be greater than 0, not -1"),
        (float("nan"), "input should be a finite number, not 'nan'"),
        (Decimal("Infinity"), "input should be a finite number, not Decimal('Infinity')"),
        ("ten", "input should be a valid decimal, not 'ten'"),
    ],
)
def test_a_budget_that_is_none_is_refused(daily_usd: Any, told: str) -> None:
    """In the words of the settings file."""
    with pytest.raises(SettingsError) as error:
        BudgetTracker(daily_usd)
    assert str(error.value) == f"BudgetTracker: budget.daily_usd: {told}"


def test_a_time_zone_that_does_not_exist_is_refused() -> None:
    """In the words of the settings file."""
    with pytest.raises(SettingsError, match=r"^BudgetTracker: budget.timezone: there is no time zone 'Europe/Zurish'"):
        BudgetTracker(1, timezone="Europe/Zurish")


@pytest.mark.parametrize("amount", [-1, float("nan"), "Infinity", "much"])
def test_an_amount_that_is_none_is_refused(amount: Any) -> None:
    """A cost that was worked out wrongly must not free the budget."""
    budget = BudgetTracker(1)
    with pytest.raises(ValueError, match=r"^a reservation is a number of USD, 0 or more, not "):
        budget.reserve(amount)
    with pytest.raises(ValueError, match=r"^a cost is a number of USD, 0 or more, not "):
        budget.reserve("0.5").settle(amount)
    assert budget.reserved == Decimal("0.5")


# The day


class Wall:
    """A wall clock that is set by hand."""

    def __init__(self, moment: datetime) -> None:
        """Begin at a moment."""
        self.moment = moment

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return self.moment.timestamp()


def test_a_new_day_has_a_budget_of_its_own() -> None:
    """From midnight on, where the budget is counted."""
    wall = Wall(datetime(2026, 6, 30, 23, 59, 59, tzinfo=ZURICH))
    budget = BudgetTracker(1, timezone="Europe/Zurich", wall_clock=wall)
    budget.reserve(1).settle(1)
    assert budget.remaining == 0
    wall.moment += timedelta(seconds=1)
    assert (budget.remaining, budget.spent_on(date(2026, 6, 30))) == usd("1", "1")


def test_a_call_across_midnight_is_booked_once_on_the_day_of_its_reservation() -> None:
    """What it costs never counts on the next day."""
    wall = Wall(datetime(2026, 6, 30, 23, 59, 59, tzinfo=ZURICH))
    budget = BudgetTracker(1, timezone="Europe/Zurich", wall_clock=wall)
    reservation = budget.reserve("0.4")
    wall.moment += timedelta(seconds=2)
    reservation.settle("0.3")
    spent = [budget.spent_on(date(2026, 6, 30)), budget.spent_on(date(2026, 7, 1))]
    assert (*spent, budget.remaining) == usd("0.3", "0", "1")


ZONES = ["UTC", "Europe/Zurich", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia"]
MOMENTS = st.datetimes(datetime(2011, 1, 1), datetime(2030, 1, 1))  # noqa: DTZ001 - wall time, the zone comes with it


@law(deadline=None)
@given(local=MOMENTS, zone=st.sampled_from(ZONES))
def test_the_day_is_that_of_the_calendar_on_the_wall(local: datetime, zone: str) -> None:
    """Whatever the offset, and on the days on which it changes."""
    moment = local.replace(tzinfo=ZoneInfo(zone))
    seen = datetime.fromtimestamp(moment.timestamp(), ZoneInfo(zone))  # an hour that is left out does not exist
    assert BudgetTracker(1, timezone=zone, wall_clock=moment.timestamp).today == seen.date()


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 6, 1), 24)])
def test_a_day_is_as_long_as_the_clocks_make_it(day: date, hours: int) -> None:
    """23 hours when they go forward, 25 when they go back."""
    start = datetime(day.year, day.month, day.day, tzinfo=ZURICH).timestamp()
    wall = [start]
    budget = BudgetTracker(1, timezone="Europe/Zurich", wall_clock=lambda: wall[0])
    edges = []
    for moment in (start - 1, start, start + hours * 3600 - 1, start + hours * 3600):
        wall[0] = moment
        edges.append(budget.today == day)
    assert edges == [False, True, True, False]


# The ladder


@pytest.mark.parametrize(
    ("spent", "tiers"),
    [
        ("0", "small medium large"),
        ("0.4999999999", "small medium large"),
        ("0.5", "small small large"),
        ("0.7999999999", "small small large"),
        ("0.8", "small small small"),
        ("1", "small small small"),
        ("1.5", "small small small"),
    ],
)
def test_the_ladder_goes_down_as_the_budget_does(spent: str, tiers: str) -> None:
    """Exactly at a half and at a fifth of what remains."""
    budget = BudgetTracker(1)
    budget.reserve(0).settle(spent)
    assert " ".join(budget.ladder(TIERS)[tier] for tier in TIERS) == tiers


def test_calls_under_way_do_not_move_the_ladder() -> None:
    """Else it would climb again when they turn out cheaper."""
    budget = BudgetTracker(1)
    budget.reserve(1)
    assert budget.ladder(TIERS)["medium"] == "medium"


def test_the_ladder_can_have_other_rungs() -> None:
    """Here nothing changes before nine tenths are spent."""
    budget = BudgetTracker(1, ladder=(0.1, 0))
    budget.reserve(0).settle("0.89")
    assert budget.ladder(TIERS)["medium"] == "medium"
    budget.reserve(0).settle("0.01")
    assert budget.ladder(TIERS)["medium"] == "small"


def test_of_two_tiers_the_strong_one_stays_longer() -> None:
    """There is no one in the middle then."""
    budget = BudgetTracker(1)
    budget.reserve(0).settle("0.6")
    assert budget.ladder(("cheap", "dear")) == {"cheap": "cheap", "dear": "dear"}


COSTS = st.lists(st.decimals(0, 1, places=9), max_size=12)


@given(costs=COSTS, preferred=st.sampled_from(TIERS), cap=st.decimals("0.000001", 5, places=6))
def test_the_ladder_never_climbs_as_spend_grows(costs: list[Decimal], preferred: str, cap: Decimal) -> None:
    """Whatever is preferred, and never above it."""
    budget = BudgetTracker(cap)
    ranks = [TIERS.index(preferred)]
    for cost in costs:
        budget.reserve(0).settle(cost) if budget.remaining >= 0 else None
        ranks.append(TIERS.index(budget.ladder(TIERS)[preferred]))
    assert ranks == sorted(ranks, reverse=True)


# Never above the budget


class Budgets(RuleBasedStateMachine):
    """Any interleaving of reservations and their ends, over days."""

    reservations = Bundle("reservations")

    def __init__(self) -> None:
        """Nothing is reserved."""
        super().__init__()
        self.now = 0.0
        self.budget = BudgetTracker(1, wall_clock=lambda: self.now)
        self.under_way: dict[int, tuple[date, Decimal]] = {}
        self.booked: dict[date, Decimal] = {}
        self.number = 0

    @rule(target=reservations, amount=st.decimals(0, "1.2", places=3))
    def reserve(self, amount: Decimal) -> tuple[int, Reservation] | None:
        """It is covered exactly where a model of our own says so."""
        today = self.budget.today
        held = sum((usd for day, usd in self.under_way.values() if day == today), self.booked.get(today, Decimal(0)))
        try:
            reservation = self.budget.reserve(amount)
        except BudgetExceeded:
            assert held + amount > 1
            return None
        assert held + amount <= 1
        self.number += 1
        self.under_way[self.number] = (today, amount)
        return self.number, reservation

    @rule(taken=consumes(reservations), share=st.decimals(0, 1, places=2))
    def settle(self, taken: tuple[int, Reservation] | None, share: Decimal) -> None:
        """It is booked on the day of its reservation, and costs no more than was reserved."""
        if taken is not None:
            day, amount = self.under_way.pop(taken[0])
            taken[1].settle(amount * share)
            self.booked[day] = self.booked.get(day, Decimal(0)) + amount * share

    @rule(taken=consumes(reservations))
    def release(self, taken: tuple[int, Reservation] | None) -> None:
        """It cost nothing."""
        if taken is not None:
            del self.under_way[taken[0]]
            taken[1].release()

    @rule(hours=st.floats(0, 30))
    def pass_time(self, hours: float) -> None:
        """Perhaps until tomorrow."""
        self.now += hours * 3600

    @invariant()
    def nothing_is_above_the_budget(self) -> None:
        """On no day, and the books are those of our model."""
        assert all(self.budget.spent_on(day) == usd <= 1 for day, usd in self.booked.items())
        assert self.budget.remaining >= 0


TestBudgets = Budgets.TestCase


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Pausing(Decimal):
    """An amount that lets other threads run while it is added up."""

    def __radd__(self, other: Decimal | int) -> Decimal:
        """Add, after the others had their turn."""
        time.sleep(0)
        return Decimal(other) + Decimal(self)


@pytest.mark.usefixtures("hasty")
def test_threads_do_not_share_a_last_cent() -> None:
    """Of many calls at once exactly as many are covered as the budget holds."""
    budget = BudgetTracker(1)

    def call(_number: int) -> bool:
        try:
            reservation = budget.reserve(Pausing("0.01"))
        except BudgetExceeded:
            return False
        reservation.settle(Pausing("0.01"))
        return True

    with ThreadPoolExecutor(16) as pool:
        covered = sum(pool.map(call, range(1000)))
    assert (covered, budget.spent, budget.reserved) == (100, *usd("1", "0"))


def test_tasks_do_not_share_a_last_cent() -> None:
    """A call that is awaited holds its reservation."""
    budget = BudgetTracker(1)

    async def call() -> bool:
        try:
            reservation = budget.reserve("0.3")
        except BudgetExceeded:
            return False
        await asyncio.sleep(0)
        reservation.settle("0.3")
        return True

    async def calls() -> list[bool]:
        return await asyncio.gather(*(call() for _ in range(10)))

    assert (sum(asyncio.run(calls())), budget.spent) == (3, Decimal("0.9"))
