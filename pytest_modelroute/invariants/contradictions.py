"""Promises that contradict each other, or could never be checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pytest_modelroute.invariants.promises import (
    BudgetPromise,
    Promises,
)
from pytest_modelroute.invariants.rewrites import STOCK
from pytest_modelroute.providers.failures import CALLERS_OWN, RECOVERABLE


def contradictions(promises: Promises) -> Iterator[str]:
    """What cannot all be promised at once, or can never be checked: one line each."""
    yield from _wrong_models(promises)
    yield from _wrong_failover(promises)
    yield from _wrong_numbers(promises)
    yield from _wrong_others(promises)


def _wrong_models(p: Promises) -> Iterator[str]:
    if not p.tiers or len(set(p.tiers)) < len(p.tiers):
        yield f"tiers = {p.tiers!r}: one model at least was expected, weakest first, and none of them twice"
    if p.safe_tier is not None and p.safe_tier not in p.tiers:
        yield f"safe_tier = {p.safe_tier!r} is none of the tiers: {', '.join(p.tiers)}"
    yield from _wrong_tiers(p, "categories", p.categories or {})
    if p.classifier is not None:
        yield from _wrong_tiers(p, "classifier.labels", p.classifier.labels)
        if not p.classifier.labels:
            yield "classifier has no labels; give it {label: tier}"
        if not 0 < p.classifier.overhead <= 1:
            yield f"classifier.overhead = {p.classifier.overhead!r}: a share above 0, at most 1, was expected"
    if p.categories is not None and "category" not in p.options:
        yield 'categories are declared, but requests never name one: add "category" to options'


def _wrong_tiers(p: Promises, what: str, table: Mapping[str, str]) -> Iterator[str]:
    for name, tier in table.items():
        if tier not in p.tiers:
            yield f"{what}: {name!r} leads to {tier!r}, which is none of the tiers: {', '.join(p.tiers)}"


def _wrong_failover(p: Promises) -> Iterator[str]:
    for head, chain in p.fallbacks.items():
        shown = " -> ".join((head, *chain))
        if not chain:
            yield f"fallbacks[{head!r}] is empty; leave it out"
        if head in chain or len(set(chain)) < len(chain):
            yield f"fallbacks: the chain {shown} names a model twice; each candidate is tried once a request"
    if p.recoverable is not None and not p.fallbacks:
        yield "recoverable says which errors reach the next candidate, but there are no fallbacks"
    for name in sorted((p.recoverable or frozenset()) - RECOVERABLE):
        if name in CALLERS_OWN:
            yield f"recoverable: {name!r} is the caller's own fault, which no fallback may hide; leave it out"
        else:
            yield f"recoverable: {name!r} is no error class; known are: {', '.join(sorted(RECOVERABLE))}"
    if p.cooldown is not None and not p.fallbacks:
        yield "cooldown lets a model rest while others answer, but there are no fallbacks"


def _wrong_numbers(p: Promises) -> Iterator[str]:
    if p.retries is not None and (type(p.retries) is not int or p.retries < 0):
        yield f"retries = {p.retries!r}: how often a candidate is asked again was expected, 0 or more"
    if p.deadline is not None and not p.deadline > 0:
        yield f"deadline = {p.deadline!r}: seconds above 0 were expected"
    if p.hedge_after is not None and not p.hedge_after >= 0:
        yield f"hedge_after = {p.hedge_after!r}: seconds, 0 or more, were expected"
    if p.hedge_after is not None and p.deadline is not None and p.hedge_after >= p.deadline:
        yield f"hedge_after = {p.hedge_after:g} s never comes within the deadline of {p.deadline:g} s"
    if p.max_overdraft < 0:
        yield f"max_overdraft = {p.max_overdraft}: USD, 0 or more, were expected"
    if p.max_overdraft and p.budget is None:
        yield "max_overdraft says by what a cap may be exceeded, but there is no budget"
    if p.budget is not None:
        yield from _wrong_budget(p.budget)


def _wrong_budget(budget: BudgetPromise) -> Iterator[str]:
    if not budget.cap > 0:
        yield f"budget.usd = {budget.usd!r}: an amount above 0 was expected"
    if budget.window not in ("day", "hour", "week", "month"):
        yield f"budget.window = {budget.window!r}: day, hour, week or month was expected"
    try:
        ZoneInfo(budget.timezone)
    except (ZoneInfoNotFoundError, ValueError):
        yield f"budget.timezone = {budget.timezone!r}: there is no such time zone; such as Europe/Zurich was expected"
    shares: Any = budget.ladder
    if isinstance(shares, tuple | list) and not (len(shares) == 2 and 1 >= shares[0] >= shares[1] >= 0):  # noqa: PLR2004  # pyright: ignore[reportUnknownArgumentType]
        yield f"budget.ladder = {shares!r}: two shares of the budget, falling, such as (0.5, 0.2), were expected"


def _wrong_others(p: Promises) -> Iterator[str]:
    for rewrite in p.equivalences:
        if isinstance(rewrite, str) and rewrite not in STOCK:
            yield f"equivalences: {rewrite!r} is no stock rewrite ({', '.join(STOCK)}); a function is fine too"
    tables: Mapping[str, Any] = {"capabilities": p.capabilities, "parameters": p.parameters, "cooldown": p.cooldown}
    for what, table in tables.items():
        for name in cast("Mapping[str, Any]", table) if isinstance(table, Mapping) else ():
            if name not in p.known_models:
                yield f"{what}: {name!r} is neither a tier nor in a chain of fallbacks"
    if p.cascade is not None:
        yield from _wrong_tiers(p, "cascade.tiers", {name: name for name in p.cascade.tiers})
        if p.cascade.confidence is not None and "{confidence" not in p.cascade.confidence:
            yield "cascade.confidence is a text with {text} and {confidence} in it"
    if p.agents is not None and not p.agents:
        yield "agents is empty; leave it out"
