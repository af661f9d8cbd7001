"""The daily budget: a call is reserved before it is made and settled afterwards, so that no two share a last cent."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from threading import Lock
from zoneinfo import ZoneInfo

from pytest_modelroute.config import read_settings
from pytest_modelroute.errors import BudgetExceeded

Amount = Decimal | int | float | str
"USD; a float counts as the decimal number that it is written as."


@dataclass(slots=True)
class _Day:
    spent: Decimal = Decimal(0)
    reserved: Decimal = Decimal(0)


class BudgetTracker:
    """
    What one day may cost, in the days of a time zone.

    `reserve` before a call, `settle` after it: what is spent and reserved never exceeds the budget, whatever threads
    and tasks do at once. A call that turns out dearer than it was reserved for is booked in full all the same, so
    reserve for the most that a call may cost. The day of a call is the one on which it was reserved.
    """

    def __init__(
        self,
        daily_usd: Amount,
        *,
        timezone: str = "UTC",
        ladder: tuple[Amount, Amount] = ("0.5", "0.2"),
        wall_clock: Callable[[], float] | None = None,
    ) -> None:
        """
        Nothing is spent yet.

        Args:
            daily_usd: The budget of a day.
            timezone: Where the day begins at midnight, such as Europe/Zurich.
            ladder: The shares of the budget at which the ladder goes down; see `ladder`.
            wall_clock: Seconds since the epoch; `time.time` where left out.

        Raises:
            SettingsError: A budget that is not above 0 (one of 0 would refuse every call), or no such time zone.

        """
        table = {"daily_usd": daily_usd, "timezone": timezone, "ladder": ladder}
        budget = read_settings({"budget": table}, where="BudgetTracker").budget
        assert budget is not None  # noqa: S101 - given above, for the type checker
        self.daily_usd = budget.daily_usd
        self.timezone = budget.timezone
        self.rungs = budget.ladder
        self._zone = ZoneInfo(budget.timezone)
        self._high, self._low = (share * self.daily_usd for share in budget.ladder)
        self._wall_clock = wall_clock
        self._lock = Lock()
        self._days: dict[date, _Day] = {}

    @property
    def today(self) -> date:
        """The day it is where the budget is counted."""
        now = (self._wall_clock or time.time)()
        return datetime.fromtimestamp(now, self._zone).date()

    @property
    def spent(self) -> Decimal:
        """USD spent today."""
        return self.spent_on(self.today)

    @property
    def reserved(self) -> Decimal:
        """USD reserved today for calls under way."""
        return self._days.get(self.today, _Day()).reserved

    @property
    def remaining(self) -> Decimal:
        """USD that may still be reserved today; below 0 where calls turned out dearer than they were reserved for."""
        return self.daily_usd - self.spent - self.reserved

    def spent_on(self, day: date) -> Decimal:
        """USD spent on a day."""
        return self._days.get(day, _Day()).spent

    def ladder(self, tiers: Sequence[str]) -> dict[str, str]:
        """
        Tier -> the tier that what remains of the budget (is not spent) leaves in its place.

        While more than half of it remains, each stays. At or below half every tier but the strongest goes to the
        weakest: medium to small, and large stays. At or below a fifth all do. Calls under way do not count, so that a
        day never climbs back up.

        Args:
            tiers: All tiers, weakest first.

        """
        left = self.daily_usd - self.spent
        stay = tiers if left > self._high else tiers[-1:] if left > self._low else ()
        return {tier: tier if tier in stay else tiers[0] for tier in tiers}

    def reserve(self, usd: Amount) -> Reservation:
        """
        Set money aside for a call.

        Args:
            usd: What it may cost.

        Raises:
            BudgetExceeded: What remains of today's budget does not cover it.

        """
        amount = _usd(usd, "a reservation")
        today = self.today
        with self._lock:
            day = self._days.setdefault(today, _Day())
            if day.spent + day.reserved + amount > self.daily_usd:
                left = self.daily_usd - day.spent - day.reserved
                raise BudgetExceeded(
                    f"the budget of {self.daily_usd:f} USD for {today} ({self._zone.key}) has {left:f} USD left, and "
                    f"this call may cost {amount:f} USD; it was not made"
                )
            day.reserved += amount
        return Reservation(day, amount, self._lock)


class Reservation:
    """Money that is set aside for one call. Only its first end counts."""

    def __init__(self, day: _Day, usd: Decimal, lock: Lock) -> None:
        """Made by `BudgetTracker.reserve`."""
        self._day = day
        self._usd: Decimal | None = usd
        self._lock = lock

    def settle(self, usd: Amount) -> None:
        """Book what the call cost, and give the rest back."""
        actual = _usd(usd, "a cost")
        with self._lock:
            if self._usd is not None:
                self._day.reserved -= self._usd
                self._day.spent += actual
                self._usd = None

    def release(self) -> None:
        """Give everything back: the call was not made, or cost nothing."""
        self.settle(0)


def _usd(value: Amount, what: str) -> Decimal:
    try:
        amount = value if isinstance(value, Decimal) else Decimal(str(value))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"{what} is a number of USD, 0 or more, not {value!r}")
    return amount
