"""The stock scenarios: how budgets run out in life. The docstring of each is the first line of its timeline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from pytest_modelroute import faults
from pytest_modelroute.invariants.laws._windows import boundaries, changes_of
from pytest_modelroute.invariants.scenes import Fails, Good, Script
from pytest_modelroute.scenarios.budget import FITS

if TYPE_CHECKING:
    from datetime import datetime

    from pytest_modelroute.invariants.atlas import Way
    from pytest_modelroute.scenarios.budget import BudgetScenario

_CENT: Final = Decimal("0.01")
_MANY: Final = 5
_REFUSED: Final[Any] = faults.bad_request()


def _ways(scenario: BudgetScenario) -> Iterator[Way]:
    """One request for each model that requests are known to reach."""
    return (found[0] for found in scenario.atlas().ways.values() if found)


def _ask_all(scenario: BudgetScenario) -> None:
    """Ask each of them, and once more for a critical request where some are."""
    critical = scenario.promises.critical
    for way in _ways(scenario):
        _ask(scenario, way)
        if critical is not None and critical(replace(way.request, critical=True)):
            _ask(scenario, way, critical=True)


def _ask(scenario: BudgetScenario, way: Way, script: Script = FITS, **changes: Any) -> None:
    scenario.plan([scenario.request(way.request, label=way.label, **changes)], script)


def _spend_to(scenario: BudgetScenario, share: Decimal) -> None:
    """Spend until a share of the budget is left."""
    way = next(_ways(scenario))
    scenario.spend_to(share, request=way.request, label=way.label)


def _rungs(scenario: BudgetScenario) -> tuple[Decimal, Decimal]:
    ladder = scenario.budget.ladder
    high, low = (0.5, 0.2) if ladder is None or callable(ladder) else ladder
    return Decimal(str(high)), Decimal(str(low))


def _comfortable(scenario: BudgetScenario) -> None:
    """More than the first rung remains."""
    _ask_all(scenario)
    high, _ = _rungs(scenario)
    _spend_to(scenario, (1 + high) / 2)
    _ask_all(scenario)


def _tight(scenario: BudgetScenario) -> None:
    """What remains is between the rungs."""
    _spend_to(scenario, sum(_rungs(scenario), Decimal(0)) / 2)
    _ask_all(scenario)


def _critical(scenario: BudgetScenario) -> None:
    """What remains is below the last rung."""
    _spend_to(scenario, _rungs(scenario)[1] / 2)
    _ask_all(scenario)


def _exhausted(scenario: BudgetScenario) -> None:
    """The budget is used up, and a little more."""
    _spend_to(scenario, -(_CENT + scenario.promises.max_overdraft / scenario.budget.cap))
    _ask_all(scenario)


def _exact_boundaries(scenario: BudgetScenario) -> None:
    """A hundredth above each rung, at it, and a hundredth below."""
    shares = (rung + side for rung in _rungs(scenario) for side in (_CENT, Decimal(0), -_CENT))
    way = list(_ways(scenario))[-1]
    for share in shares:
        if 0 < share < 1:
            _spend_to(scenario, share)
            _ask(scenario, way)


def _dearer_than_remaining(scenario: BudgetScenario) -> None:
    """One request costs more than what remains, and others follow it."""
    _spend_to(scenario, Decimal("0.1"))
    way = next(_ways(scenario))
    scenario.spend_to(Decimal("-0.1"), request=way.request, label=way.label)
    _ask_all(scenario)


def _n_at_once(scenario: BudgetScenario) -> None:
    """Five requests at once, with room for one."""
    way = next(_ways(scenario))
    ask = scenario.request(way.request, label=way.label)
    scenario.plan([ask], Script(good=Good(leaves_calls=1.5)), spends=True)
    scenario.plan([ask] * _MANY, FITS)
    scenario.plan([ask], FITS)


def _around(scenario: BudgetScenario, boundary: datetime) -> None:
    scenario.set(boundary - timedelta(minutes=30))
    _spend_to(scenario, -(_CENT + scenario.promises.max_overdraft / scenario.budget.cap))
    ways = list(_ways(scenario))
    scenario.set(boundary - timedelta(seconds=90))
    for way in ways:
        _ask(scenario, way)
    scenario.set(boundary + timedelta(seconds=90))
    for way in ways:
        _ask(scenario, way)


def _midnight(scenario: BudgetScenario) -> None:
    """The budget is used up before the window ends, and whole again afterwards."""
    _around(scenario, boundaries(scenario.budget.window, scenario.budget.timezone)[0])


def _dst(scenario: BudgetScenario) -> None:
    """The same at the end of the days on which the zone's clocks change, or of another one where they never do."""
    budget = scenario.budget
    zone = ZoneInfo(budget.timezone)
    found = [
        boundary
        for boundary in sorted(boundaries(budget.window, budget.timezone))
        if any(boundary.astimezone(zone).date() == day + timedelta(days=1) for day in changes_of(zone))
    ]
    for boundary in found or boundaries(budget.window, budget.timezone)[1:2]:
        _around(scenario, boundary)


def _usage_at_the_end(scenario: BudgetScenario) -> None:
    """Streams say what they cost in their last chunk."""
    streams = scenario.promises.streams
    for way, share in zip(_ways(scenario), (Decimal("0.65"), Decimal("0.3")), strict=False):
        scenario.spend_to(share, request=way.request, label=way.label, stream=streams)
    _ask_all(scenario)


def _cancelled_streams(scenario: BudgetScenario) -> None:
    """Streams are closed after a few chunks: what was made by then is billed."""
    for way in _ways(scenario):
        prompt = f"{way.request.prompt[:150] or 'word'}\n" * 60
        slow = Script(good=Good(latency=1.0, chunks=6))
        streams = scenario.promises.streams
        _ask(scenario, way, slow, prompt=prompt, stream=streams, close_after=2 if streams else None)
    _ask_all(scenario)


def _billed_failures(scenario: BudgetScenario) -> None:
    """A filter holds back answers that are billed, until the first rung is passed."""
    way = next(_ways(scenario))
    held_back = Good(text="", finish_reason="content_filter", spends=scenario.budget.cap * Decimal("0.3"))
    for _ in range(2):
        _ask(scenario, way, Script(candidates=((held_back,),)))
    _ask_all(scenario)


def _unbilled_failures(scenario: BudgetScenario) -> None:
    """Refused calls cost nothing, and leave the budget whole."""
    way = next(_ways(scenario))
    error = Fails(_REFUSED)
    for _ in range(_MANY):
        _ask(scenario, way, Script(candidates=((error,),)))
    _ask_all(scenario)


STOCK: Final[Mapping[str, Callable[[BudgetScenario], None]]] = {
    "comfortable": _comfortable,
    "tight": _tight,
    "critical": _critical,
    "exhausted": _exhausted,
    "exact_boundaries": _exact_boundaries,
    "dearer_than_remaining": _dearer_than_remaining,
    "n_at_once": _n_at_once,
    "midnight": _midnight,
    "dst": _dst,
    "usage_at_the_end": _usage_at_the_end,
    "cancelled_streams": _cancelled_streams,
    "billed_failures": _billed_failures,
    "unbilled_failures": _unbilled_failures,
}
"Name -> the scenario."
BUDGET_SCENARIOS: Final = tuple(STOCK)
"The names of the stock scenarios, for `pytest.mark.parametrize`."
