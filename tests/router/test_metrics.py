"""What the router notes of its decisions."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from pytest_modelroute import MockProviders, ModelSettings, Settings, StepSettings, Usage, VirtualTime, faults
from pytest_modelroute.errors import BudgetExceeded, PriceUnknown, ProviderError
from pytest_modelroute.providers.prices import Price, PriceBook
from pytest_modelroute.router import BudgetTracker, ModelClient, ModelRequest, ModelRouter, RoutingMetrics
from pytest_modelroute.router.calls import Bill
from pytest_modelroute.router.metrics import RouteRecord, Totals

if TYPE_CHECKING:
    from collections.abc import Callable

USAGE = {"fresh_input": 100, "output": 10}


@pytest.fixture(scope="session")
def staffed() -> Settings:
    """A classified step and one with a fallback; every model costs 1 and 10 USD per million tokens."""

    def model(name: str, tier: str | None = None) -> ModelSettings:
        return ModelSettings(model=name, tier=tier, input_price=Decimal(1), output_price=Decimal(10))

    return Settings(
        models={
            "judge": model("gpt-judge"),
            "small": model("gpt-small", "small"),
            "large": model("gpt-large", "large"),
        },
        steps={
            "solve": StepSettings(model="dynamic", classifier="judge", task_type="reasoning", fallbacks=("small",)),
            "chat": StepSettings(model="small"),
        },
    )


@pytest.fixture
def router(staffed: Settings, new_client: Callable[..., ModelClient]) -> ModelRouter:
    """A router that asks each model once."""
    return ModelRouter(staffed, client=new_client(staffed, retries=0))


SOLVE = ModelRequest(prompt="Why?", step="solve")
CHAT = ModelRequest(prompt="Hi", step="chat")


def _noted(router: ModelRouter) -> RouteRecord:
    (record,) = router.metrics.records
    return record


def test_a_route_is_noted_whole(mock_providers: MockProviders, router: ModelRouter) -> None:
    """The classifier's call and the fallback included, in virtual time."""
    mock_providers.on(model="gpt-judge").replies("HIGH", usage=USAGE, latency=1)
    mock_providers.on(model="gpt-large").fails(faults.overloaded(), latency=2)
    mock_providers.on(model="gpt-small").replies("Because.", usage=USAGE, latency=4)
    router.route(SOLVE)
    record = _noted(router)
    assert record == RouteRecord(
        step="solve",
        task_type="reasoning",
        category="large",
        candidates=("large", "small"),
        downgraded=False,
        tier="small",
        model="gpt-small",
        fallback_of="gpt-large",
        attempts=3,
        latency_s=7.0,
        error=None,
        bill=record.bill,
    )
    assert (record.cost_usd, record.bill.input_tokens, record.bill.output_tokens) == (Decimal("0.0004"), 200, 20)


def test_a_failure_is_noted_with_its_class(mock_providers: MockProviders, router: ModelRouter) -> None:
    """And with the tier that was to answer."""
    mock_providers.otherwise(faults.overloaded())
    with pytest.raises(ProviderError):
        router.route(CHAT)
    record = _noted(router)
    assert (record.error, record.model, record.tier, record.attempts) == ("overloaded", None, "small", 1)


def test_a_refusal_of_the_budget_is_noted(staffed: Settings, new_client: Callable[..., ModelClient]) -> None:
    """By the name of the error, and without a call."""
    router = ModelRouter(staffed, client=new_client(staffed), budget=BudgetTracker("0.0000001"))
    with pytest.raises(BudgetExceeded):
        router.route(CHAT)
    assert (_noted(router).error, _noted(router).attempts) == ("BudgetExceeded", 0)


def test_a_downgrade_is_noted(
    mock_providers: MockProviders, staffed: Settings, new_client: Callable[..., ModelClient]
) -> None:
    """The category stays what the request named."""
    mock_providers.otherwise("Because.")
    budget = BudgetTracker(1)
    budget.reserve(0).settle("0.9")
    router = ModelRouter(staffed, client=new_client(staffed), budget=budget)
    router.route(ModelRequest(prompt="Why?", step="solve", explicit_category="HIGH"))
    record = _noted(router)
    assert (record.category, record.tier, record.downgraded) == ("large", "small", True)


def test_a_stream_is_noted_at_its_end(mock_providers: MockProviders, router: ModelRouter) -> None:
    """Not when it begins."""
    mock_providers.otherwise("Good morning", chunks=2)
    stream = router.stream(CHAT)
    next(stream)
    assert router.metrics.records == ()
    "".join(stream)
    assert _noted(router).error is None


def test_a_stream_that_is_closed_early_is_noted_as_cancelled(
    mock_providers: MockProviders, router: ModelRouter
) -> None:
    """It has no answer, and no error."""
    mock_providers.otherwise("Good morning", chunks=2)
    with router.stream(CHAT) as stream:
        next(stream)
    assert (_noted(router).error, _noted(router).model) == ("cancelled", None)


@pytest.mark.asyncio
async def test_a_cancelled_request_is_noted(
    mock_providers: MockProviders, staffed: Settings, virtual_time: VirtualTime
) -> None:
    """With the time that it took."""
    mock_providers.otherwise("Hello", latency=60)
    client = ModelClient(staffed, keys={"openai": "k"})
    router = ModelRouter(staffed, client=client)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(router.aroute(CHAT), timeout=5)
    await client.aclose()
    assert (_noted(router).error, _noted(router).latency_s) == ("cancelled", 5.0)


def test_metrics_can_be_shared(
    mock_providers: MockProviders, staffed: Settings, new_client: Callable[..., ModelClient]
) -> None:
    """By the routers of an application."""
    mock_providers.otherwise("Hello")
    metrics = RoutingMetrics()
    for _ in range(2):
        ModelRouter(staffed, client=new_client(staffed), metrics=metrics).route(CHAT)
    assert len(metrics.records) == 2


def _record(step: str = "chat", **members: Any) -> RouteRecord:
    usage = Usage(fresh_input=100, output=10)
    bill = Bill(
        charges=(("openai", "m", usage),), prices=PriceBook(own={"m": Price(input=Decimal(1), output=Decimal(10))})
    )
    return replace(RouteRecord(step=step, model="m", attempts=1, latency_s=0.5, error=None, bill=bill), **members)


def test_totals_are_the_sum_of_the_records() -> None:
    """Of all steps, or of one."""
    metrics = RoutingMetrics()
    metrics.add(_record())
    metrics.add(_record(model=None, error="overloaded", attempts=3))
    metrics.add(_record("solve", fallback_of="n", downgraded=True))
    assert metrics.totals() == Totals(
        requests=3,
        errors=1,
        fallbacks=1,
        downgrades=1,
        attempts=5,
        input_tokens=300,
        output_tokens=30,
        latency_s=1.5,
        cost_usd=Decimal("0.0006"),
        models={"m": 2},
    )
    assert (metrics.totals("solve").requests, metrics.totals("none").requests) == (1, 0)


def test_a_total_with_an_unknown_price_is_an_error() -> None:
    """Never a sum without it."""
    metrics = RoutingMetrics()
    bill = Bill(charges=(("openai", "our-7b", Usage(output=1)),))
    metrics.add(_record(bill=bill))
    with pytest.raises(PriceUnknown):
        metrics.totals()


def test_only_the_last_records_are_kept() -> None:
    """A router that runs for months does not fill the memory."""
    metrics = RoutingMetrics(keep=2)
    for step in ("a", "b", "c"):
        metrics.add(_record(step))
    assert [record.step for record in metrics.records] == ["b", "c"]


def test_threads_lose_no_record() -> None:
    """Whoever reads meanwhile."""
    metrics = RoutingMetrics()

    def work(_number: int) -> int:
        metrics.add(_record())
        return len(metrics.records)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(500)))
    assert metrics.totals().requests == 500
