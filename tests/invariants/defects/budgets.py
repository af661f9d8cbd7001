"""Routers whose budget does not hold, each in one way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from pytest_modelroute.invariants import BudgetPromise, RoutingInvariants
from tests.invariants.correct import Correct
from tests.invariants.support_router import ZONE, Budget, OutOfBudget, SupportRouter


def _router_with(budget: type[Budget]) -> type[SupportRouter]:
    """The correct router with another budget."""

    class Router(SupportRouter):
        def __init__(self, url: Any, key: Any, **options: Any) -> None:
            super().__init__(url, key, **options)
            assert self.budget is not None
            self.budget = budget(self.budget.usd, self.budget.wall_clock)

    return Router


class _CheckThenAct(Budget):
    def reserve(self, amount: Decimal) -> str:
        if self.today() + amount > self.usd:
            raise OutOfBudget("nothing left")
        return self.day()

    def settle(self, day: str, reserved: Decimal, actual: Decimal) -> None:
        super().settle(day, Decimal(0), actual)


class CheckThenAct(Correct):
    """Every call is checked against what is spent, and none against what is under way."""

    router_type = _router_with(_CheckThenAct)


class _ChecksWhatIsGone(_CheckThenAct):
    def reserve(self, amount: Decimal) -> str:
        del amount
        if self.today() >= self.usd:
            raise OutOfBudget("nothing left")
        return self.day()


class ChecksWhatIsGone(Correct):
    """A call is made as long as anything is left, whatever it may cost."""

    router_type = _router_with(_ChecksWhatIsGone)


class _StreamsUnchecked(SupportRouter):
    async def persist_stream(self, model: str, request: Any, until: float) -> AsyncIterator[str]:
        body = self.body(model, request, stream=True)
        bill: list[Any] = []
        try:
            async for piece in self.pieces(model, body, until, bill):
                yield piece
        finally:
            actual = sum((self.booked(model, entry, body) for entry in bill), Decimal(0))
            self.total += actual
            if self.budget is not None:
                self.budget.settle(self.budget.day(), Decimal(0), actual)


class StreamsUnchecked(Correct):
    """Streams are booked, but never asked whether there is money for them."""

    router_type = _StreamsUnchecked


class _OnlyLogs(Budget):
    def reserve(self, amount: Decimal) -> str:
        self.reserved += amount
        return self.day()


class OnlyLogs(Correct):
    """The budget is watched and never enforced."""

    router_type = _router_with(_OnlyLogs)


class NeverRefuses(Correct):
    """The budget is watched and never enforced, where no reservation was promised either."""

    router_type = _router_with(_OnlyLogs)
    budget = BudgetPromise(1, timezone=ZONE, reserved=False)


def _ladder(high: str, low: str, *, open_end: bool = False) -> type[SupportRouter]:
    class Router(SupportRouter):
        def downgrade(self, model: str, *, critical: bool) -> str:
            if self.budget is None or critical:
                return model
            left = self.budget.left() / self.budget.usd
            low_rung, high_rung = (
                left < Decimal(rung) or (left == Decimal(rung) and not open_end) for rung in (low, high)
            )
            return "gpt-5-nano" if low_rung or (high_rung and model == "gpt-5-mini") else model

    return Router


class OpenRungs(Correct):
    """A rung begins below its share in place of at it."""

    router_type = _ladder("0.5", "0.2", open_end=True)


class LateRung(Correct):
    """The last rung comes at a tenth in place of a fifth."""

    router_type = _ladder("0.5", "0.1")


class NoLadder(Correct):
    """Requests stay where they are, however little is left."""

    router_type = _ladder("-1", "-1")


class _BySpent(SupportRouter):
    def downgrade(self, model: str, *, critical: bool) -> str:
        if self.budget is None or critical:
            return model
        spent = self.budget.today() / self.budget.usd
        if spent <= Decimal("0.2") and model != "gpt-5":
            return model
        return "gpt-5-nano" if spent > Decimal("0.5") else model


class BySpent(Correct):
    """The shares are compared with what is spent in place of what is left."""

    router_type = _BySpent


class _StrongestToo(SupportRouter):
    def downgrade(self, model: str, *, critical: bool) -> str:
        if self.budget is not None and not critical and self.budget.left() * 2 <= self.budget.usd:
            return "gpt-5-nano"
        return model


class StrongestToo(Correct):
    """The strongest tier goes down at the first rung already."""

    router_type = _StrongestToo


class _CriticalToo(SupportRouter):
    def downgrade(self, model: str, *, critical: bool) -> str:
        del critical
        return super().downgrade(model, critical=False)


class CriticalToo(Correct):
    """Critical requests go down the ladder like all others."""

    router_type = _CriticalToo


class _CriticalAtTheEnd(SupportRouter):
    def downgrade(self, model: str, *, critical: bool) -> str:
        assert self.budget is not None
        low = self.budget.left() * 10 <= self.budget.usd
        return "gpt-5-nano" if low else super().downgrade(model, critical=critical)


class CriticalAtTheEnd(Correct):
    """Critical requests go down with the last tenth of the budget."""

    router_type = _CriticalAtTheEnd


class CriticalRefused(Correct):
    """Critical requests are promised whatever remains, and refused when the budget is gone."""

    budget = BudgetPromise(1, timezone=ZONE, critical_served=True)


class _Utc(Budget):
    def day(self) -> str:
        return datetime.fromtimestamp(self.wall_clock(), UTC).date().isoformat()


class UtcMidnight(Correct):
    """The day begins at midnight in UTC."""

    router_type = _router_with(_Utc)


class _WinterTime(Budget):
    def day(self) -> str:
        return (datetime.fromtimestamp(self.wall_clock(), UTC) + timedelta(hours=1)).date().isoformat()


class WinterTime(Correct):
    """The zone's offset of winter is used all year."""

    router_type = _router_with(_WinterTime)


class _Rolling(Budget):
    began: float | None = None
    number = 0

    def day(self) -> str:
        now = self.wall_clock()
        if self.began is None:
            self.began = now
        if now - self.began >= 86400:
            self.began, self.number = now, self.number + 1
        return str(self.number)


class RollingDay(Correct):
    """The day begins 24 hours after the first call of the last one."""

    router_type = _router_with(_Rolling)


class _Never(Budget):
    def day(self) -> str:
        return "always"


class NeverReset(Correct):
    """Nothing is ever forgotten."""

    router_type = _router_with(_Never)


class _Twice(Budget):
    def settle(self, day: str, reserved: Decimal, actual: Decimal) -> None:
        super().settle(day, reserved, actual)
        if day != self.day():
            super().settle(self.day(), Decimal(0), actual * 2)


class BookedTwice(Correct):
    """A call across midnight is booked again on the new day, which starts with a loan."""

    router_type = _router_with(_Twice)


DEFECTS: dict[str, list[type[RoutingInvariants]]] = {
    "budget_ceiling": [CheckThenAct, ChecksWhatIsGone, StreamsUnchecked, OnlyLogs, NeverRefuses],
    "budget_ladder": [OpenRungs, LateRung, NoLadder, BySpent, StrongestToo],
    "critical_kept": [CriticalToo, CriticalAtTheEnd, CriticalRefused],
    "budget_window": [UtcMidnight, WinterTime, RollingDay, NeverReset, BookedTwice],
}
