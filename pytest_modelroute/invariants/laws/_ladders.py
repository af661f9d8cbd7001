"""Which model a budget leaves in the place of another, by the share of it that remains."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from pytest_modelroute.errors import PriceUnknown
from pytest_modelroute.invariants.promises import BudgetPromise, Promises
from pytest_modelroute.invariants.seen import SeenCall
from pytest_modelroute.providers.exchange import Usage, estimate_tokens, output_limit
from pytest_modelroute.providers.prices import PriceBook

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from pytest_modelroute.invariants.atlas import Atlas, Way

_LONGEST_ANSWER: Final = 4096
"Tokens that a router may reserve for an answer whose length nobody limits."
_CLOSE: Final = 1e-7
"The share of a budget within which a ladder of the user's own may see another one."


def budget_of(promises: Promises) -> BudgetPromise:
    """The budget of promises that have one."""
    assert promises.budget is not None  # noqa: S101 - what the laws of budgets need
    return promises.budget


def used_up(promises: Promises) -> Decimal:
    """USD after which nothing of a budget is left, nor of the overdraft that is promised."""
    return (budget_of(promises).cap + promises.max_overdraft) * Decimal("1.01")


def preferred_ways(promises: Promises, atlas: Atlas) -> SearchStrategy[Way]:
    """Requests that a ladder can move: those that go to any tier but the weakest, where there are some."""
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import ways

    moved = {model: found for model, found in atlas.ways.items() if found and (promises.rank(model) or 0) > 0}
    if not moved:
        return ways(promises, atlas)
    return st.sampled_from(tuple(moved)).flatmap(lambda model: st.sampled_from(moved[model]))


def models_left(promises: Promises, preferred: str, calls: Sequence[SeenCall]) -> frozenset[str] | None:
    """
    The models that the ladder leaves in the place of the preferred one once these calls were made.

    More than one where the usual ways to compute what remains (in floats, with amounts rounded to millionths) differ;
    None where nothing is promised.
    """
    budget = promises.budget
    if budget is None or budget.ladder is None or promises.rank(preferred) is None:
        return None
    costs = [call.cost or Decimal(0) for call in calls]
    if callable(budget.ladder):
        left = float(1 - sum(costs, Decimal(0)) / budget.cap)
        return frozenset(budget.ladder(max(0.0, share), preferred) for share in (left, left - _CLOSE, left + _CLOSE))
    high, low = budget.ladder
    stay = preferred if preferred == promises.tiers[-1] else promises.tiers[0]
    rungs = [
        promises.tiers[0] if below(low) else stay if below(high) else preferred for below in _ways(budget.cap, costs)
    ]
    return frozenset(rungs)


def _ways(cap: Decimal, costs: Sequence[Decimal]) -> Iterator[Callable[[float], bool]]:
    """The ways in which a router may find out whether a share of its budget, or less, remains."""
    spent = sum(costs, Decimal(0))
    rounded = sum((round(cost, 6) for cost in costs), Decimal(0))
    added = sum(map(float, costs))
    for amount in (spent, rounded):
        yield lambda share, amount=amount: (cap - amount) / cap <= Decimal(str(share))
    for number in (float(spent), added):
        money = float(cap)
        yield lambda share, number=number: (money - number) / money <= share
        yield lambda share, number=number: 1 - number / money <= share
        yield lambda share, number=number: money - number <= share * money
        yield lambda share, number=number: number / money >= 1 - share


def affords(promises: Promises, model: str, call: SeenCall | None, left: Decimal) -> bool:
    """
    Whether what is left of a budget covers the dearest call that a router may reserve for; True where nobody knows.

    A router that cannot reserve for a model may refuse, or ask a weaker one.
    """
    limit = None if call is None else output_limit(call.params)
    read = 0 if call is None else sum(estimate_tokens(message.text) for message in call.messages)
    usage = Usage(fresh_input=2 * read + 200, output=limit or _LONGEST_ANSWER)
    try:
        return PriceBook(own=promises.prices).cost(model, usage) * 2 <= left
    except PriceUnknown:
        return True
