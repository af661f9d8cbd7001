"""The windows of a budget: when one ends in a time zone, and which one a moment is in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from pytest_modelroute.invariants.promises import BudgetPromise

YEAR: Final = 2026
_MONDAY: Final = 0
_PLAIN_DAYS: Final = (date(YEAR, 6, 16), date(YEAR, 9, 9), date(YEAR, 3, 1), date(YEAR, 7, 1), date(YEAR + 1, 1, 1))
"Days that begin as any other: in the middle of a month, and the first ones of months and of a year."
_MONTHS: Final = ((YEAR, 3), (YEAR, 7), (YEAR, 4), (YEAR, 11), (YEAR + 1, 1))
_HOURS: Final = (datetime(YEAR, 6, 15, 10, tzinfo=UTC), datetime(YEAR, 6, 15, 23, tzinfo=UTC))


def key_of(budget: BudgetPromise, moment: datetime) -> tuple[Any, ...]:
    """Which window a moment is in; equal for moments of the same one."""
    local = moment.astimezone(ZoneInfo(budget.timezone))
    if budget.window == "hour":
        return (local.date(), local.hour, local.utcoffset())
    if budget.window == "week":
        return tuple(local.isocalendar())[:2]
    return (local.year, local.month) if budget.window == "month" else (local.date(),)


@lru_cache(maxsize=64)
def boundaries(window: str, timezone: str) -> tuple[datetime, ...]:
    """Moments at which a window begins, ordinary ones first, in UTC."""
    zone = ZoneInfo(timezone)
    if window == "hour":
        return tuple(dict.fromkeys(_hours(zone)))
    if window == "month":
        return tuple(_midnight(zone, date(year, month, 1)) for year, month in _MONTHS)
    changes = [day for change in changes_of(zone) for day in (change, change + timedelta(days=1))]
    if window == "week":
        days = [day + timedelta(days=(_MONDAY - day.weekday()) % 7) for day in (*_PLAIN_DAYS, *changes)]
    else:
        days = [*_PLAIN_DAYS, *changes]
    return tuple(dict.fromkeys(_midnight(zone, day) for day in days))


def _hours(zone: ZoneInfo) -> Iterator[datetime]:
    for hour in _HOURS:
        minutes = hour.astimezone(zone).minute
        yield hour - timedelta(minutes=minutes) if minutes else hour
    for day in changes_of(zone):
        yield _midnight(zone, day) + timedelta(hours=6)


def changes_of(zone: ZoneInfo) -> tuple[date, ...]:
    """The days of the year on which a zone's clocks change."""
    found: list[date] = []
    day = date(YEAR, 1, 1)
    while day.year == YEAR:
        following = day + timedelta(days=1)
        if _noon(zone, day).utcoffset() != _noon(zone, following).utcoffset():
            found.append(following)
        day = following
    return tuple(found)


def _noon(zone: ZoneInfo, day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=zone)


def _midnight(zone: ZoneInfo, day: date) -> datetime:
    """The first moment of a day, which is not 0:00 where the clocks skip it."""
    moment = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
    while moment.astimezone(zone).date() >= day:
        moment -= timedelta(minutes=15)
    while moment.astimezone(zone).date() < day:
        moment += timedelta(minutes=15)
    return moment
