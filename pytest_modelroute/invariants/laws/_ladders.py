"""Which model a budget leaves in the place of another, by the share of it that remains."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import product
from math import isclose
from typing import TYPE_CHECKING, Final

from pytest_modelroute.errors import PriceUnknown
from pytest_modelroute.invariants.laws._amounts import total
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
"The share of a budget by which usual ways to compute what remains may differ."


def budget_of(promises: Promises) -> BudgetPromise:
    """The budget of promises that have one."""
    assert promises.budget is not None  # noqa: S101 - what the laws of budgets need
    return promises.budget


def rungs_of(budget: BudgetPromise) -> tuple[float, float] | None:
    """The shares of a stock ladder, falling; None for a function of the user's own, or no ladder."""
    return None if budget.ladder is None or callable(budget.ladder) else budget.ladder


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
    if callable(budget.ladder):
        left = float(1 - total(calls) / budget.cap)
        return frozenset(budget.ladder(max(0.0, share), preferred) for share in (left, left - _CLOSE, left + _CLOSE))
    prices = PriceBook(own=promises.prices)
    high, low = (_at_or_below(budget.cap, calls, rung, prices) for rung in budget.ladder)
    stay = preferred if preferred == promises.tiers[-1] else promises.tiers[0]
    return frozenset(
        promises.tiers[0] if at_low else stay if at_high else preferred for at_high, at_low in product(high, low)
    )


def _at_or_below(cap: Decimal, calls: Sequence[SeenCall], rung: float, prices: PriceBook) -> set[bool]:
    """Whether a share of a budget remains, or less: the answers that the usual ways to find out give."""
    spent, share = total(calls), Decimal(str(rung))
    exact = (cap - spent) / cap
    if abs(float(exact - share)) > _CLOSE:
        return {exact <= share}
    rounded = sum((round(call.cost or Decimal(0), 6) for call in calls), Decimal(0))
    money = float(cap)
    # A router in floats adds up the calls one by one, each by its price for a token, a thousand or a million.
    costs = [_in_floats(call, prices) for call in calls]
    found = [exact <= share, (cap - rounded) / cap <= share]
    for number in (float(spent), *(sum(ways) for ways in zip(*costs, strict=True))):
        found += [(money - number) / money <= rung, 1 - number / money <= rung]
        found += [money - number <= rung * money, number / money >= 1 - rung]
    return set(found)


def _in_floats(call: SeenCall, prices: PriceBook) -> Sequence[float]:
    """What a call costs when it is computed in floats, in the usual ways."""
    cost = float(call.cost or 0)
    usage = call.usage or Usage()
    found = [cost]
    for batch in (1, 1_000, 1_000_000):
        try:
            read, made = (
                float(prices.cost(call.model, Usage(**{kind: batch}), provider=call.provider))
                for kind in ("fresh_input", "output")
            )
        except PriceUnknown:
            read = made = 0.0
        found.append((usage.fresh_input * read + usage.total_output * made) / batch)
        found.append(usage.fresh_input / batch * read + usage.total_output / batch * made)
    return [number if isclose(number, cost, rel_tol=1e-9) else cost for number in found]


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
