"""The router and the day's budget: what is reserved, what is booked, who is downgraded and who is refused."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import settings as law
from hypothesis import strategies as st

from pytest_modelroute import MockProviders, ModelSettings, Reply, Settings, StepSettings, VirtualTime, faults
from pytest_modelroute.config import BudgetSettings
from pytest_modelroute.errors import BudgetExceeded, PriceUnknown, ProviderError, SettingsError
from pytest_modelroute.router import BudgetTracker, ModelClient, ModelRequest, ModelRouter

if TYPE_CHECKING:
    from collections.abc import Callable

TIERS = {"small": "gpt-small", "medium": "gpt-medium", "large": "claude-large"}
USAGE = {"fresh_input": 100, "output": 10}
COST = Decimal("0.0002")
"100 and 10 tokens at 1 and 10 USD per million, as every model here costs."


def _model(name: str, tier: str | None = None) -> ModelSettings:
    return ModelSettings(model=name, tier=tier, input_price=Decimal(1), output_price=Decimal(10))


@pytest.fixture(scope="session")
def tiered() -> Settings:
    """A step on each tier, one that is critical, one with a fallback, one that is classified."""
    return Settings(
        models={**{tier: _model(name, tier) for tier, name in TIERS.items()}, "judge": _model("gpt-judge")},
        steps={
            **{tier: StepSettings(model=tier) for tier in TIERS},
            "vital": StepSettings(model="medium", critical=True),
            "backed": StepSettings(model="medium", fallbacks=("large", "small")),
            "untiered": StepSettings(model="judge"),
            "solve": StepSettings(model="dynamic", classifier="judge"),
        },
    )


def _request(step: str, **members: Any) -> ModelRequest:
    return ModelRequest(prompt="Hi", step=step, params={"max_tokens": 10}, **members)


@pytest.fixture
def new_router(tiered: Settings, new_client: Callable[..., ModelClient]) -> Callable[..., ModelRouter]:
    """Make a router with a budget of 1 USD of which so much is spent."""

    def make(spent: str = "0", **options: Any) -> ModelRouter:
        budget = BudgetTracker(1)
        budget.reserve(0).settle(spent)
        return ModelRouter(tiered, client=new_client(tiered, retries=0), budget=budget, **options)

    return make


def _budget(router: ModelRouter) -> BudgetTracker:
    assert router.budget is not None
    return router.budget


def _books(router: ModelRouter) -> tuple[Decimal, Decimal]:
    """What is spent and what is reserved."""
    return _budget(router).spent, _budget(router).reserved


@pytest.mark.parametrize(
    ("spent", "step", "model"),
    [
        ("0.49", "medium", "gpt-medium"),
        ("0.5", "medium", "gpt-small"),
        ("0.5", "large", "claude-large"),
        ("0.8", "large", "gpt-small"),
        ("0.8", "vital", "gpt-medium"),
        ("0.8", "untiered", "gpt-judge"),
    ],
)
def test_the_ladder_chooses_the_model(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter], spent: str, step: str, model: str
) -> None:
    """Critical steps, and models without a tier, stay what they are."""
    mock_providers.otherwise("Hello")
    new_router(spent).route(_request(step))
    assert mock_providers.calls.models == [model]


def test_a_category_goes_down_the_ladder_too(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """Whoever names it."""
    mock_providers.otherwise("Hello")
    new_router("0.8").route(_request("solve", explicit_category="HIGH"))
    assert mock_providers.calls.models == ["gpt-small"]


def test_fallbacks_go_down_the_ladder_too(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """An outage is no way around the budget; who comes twice by it is tried once."""
    mock_providers.otherwise(faults.overloaded())
    with pytest.raises(ProviderError):
        new_router("0.5").route(_request("backed"))
    with pytest.raises(ProviderError):
        new_router("0.8").route(_request("backed"))
    assert mock_providers.calls.models == ["gpt-small", "claude-large", "gpt-small"]


def test_what_a_call_cost_is_booked(mock_providers: MockProviders, new_router: Callable[..., ModelRouter]) -> None:
    """And nothing stays reserved."""
    mock_providers.otherwise("Hello", usage=USAGE)
    router = new_router()
    assert router.route(_request("small")).cost_usd == COST
    assert _books(router) == (COST, Decimal(0))


def test_the_classifiers_call_is_booked(mock_providers: MockProviders, new_router: Callable[..., ModelRouter]) -> None:
    """It is a part of what the answer cost."""
    mock_providers.on(model="gpt-judge").replies("HIGH", usage=USAGE)
    mock_providers.on(model="claude-large").replies("Hello", usage=USAGE)
    router = new_router()
    assert router.route(_request("solve")).cost_usd == 2 * COST
    assert _budget(router).spent == 2 * COST


def test_a_failed_attempt_that_reports_usage_is_booked(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """A filtered answer is billed like any other."""
    mock_providers.on(model="gpt-medium").replies(Reply(text="", finish_reason="content_filter"), usage=USAGE)
    mock_providers.on(model="claude-large").replies("Hello", usage=USAGE)
    router = new_router()
    assert router.route(_request("backed")).cost_usd == 2 * COST
    assert _budget(router).spent == 2 * COST


@pytest.mark.parametrize(
    "fault", [faults.overloaded(), faults.connect_error(), faults.malformed_body()], ids=lambda fault: fault.name
)
def test_a_failed_attempt_that_is_not_billed_costs_nothing(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter], fault: faults.Fault
) -> None:
    """What was reserved for it is given back."""
    mock_providers.otherwise(fault)
    router = new_router()
    with pytest.raises(ProviderError):
        router.route(_request("small"))
    assert _books(router) == (Decimal(0), Decimal(0))


def test_an_answer_without_usage_is_booked_as_it_is_estimated(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """Never as nothing: a token of prompt and two of answer."""
    mock_providers.otherwise(faults.missing_usage("1234 678"))
    router = new_router()
    router.route(_request("small"))
    assert _budget(router).spent == Decimal("0.000021")


def test_a_call_that_takes_too_long_is_booked_its_input(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """The provider was at work on it."""
    mock_providers.otherwise(faults.read_timeout())
    router = new_router()
    with pytest.raises(ProviderError):
        router.route(_request("small"))
    assert _budget(router).spent == Decimal("0.000001")


def test_a_stream_is_booked_at_its_end(mock_providers: MockProviders, new_router: Callable[..., ModelRouter]) -> None:
    """As a whole answer is."""
    mock_providers.otherwise("Hello", usage=USAGE)
    router = new_router()
    "".join(router.stream(_request("small")))
    assert _books(router) == (COST, Decimal(0))


def test_a_stream_that_is_closed_early_is_booked_as_far_as_it_came(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """A token of prompt and one of answer."""
    mock_providers.otherwise("1234 678", chunks=["1234", " 678"])
    router = new_router()
    with router.stream(_request("small")) as stream:
        next(stream)
        assert _budget(router).reserved > 0
    assert _books(router) == (Decimal("0.000011"), Decimal(0))


def test_a_stream_that_breaks_off_is_booked_as_far_as_it_came(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """Its error gives nothing back."""
    mock_providers.otherwise(faults.stream_cut(after=1, text="1234 678"))
    router = new_router()
    with pytest.raises(ProviderError):
        "".join(router.stream(_request("small")))
    assert _books(router) == (Decimal("0.000011"), Decimal(0))


@pytest.mark.asyncio
async def test_a_cancelled_call_is_booked_as_far_as_is_known(mock_providers: MockProviders, tiered: Settings) -> None:
    """Its input; and nothing stays reserved."""
    mock_providers.otherwise("Hello", latency=60)
    client, budget = ModelClient(tiered, keys={"openai": "k"}), BudgetTracker(1)
    router = ModelRouter(tiered, client=client, budget=budget)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(router.aroute(_request("small")), timeout=5)
    await client.aclose()
    assert _books(router) == (Decimal("0.000001"), Decimal(0))


REFUSED = "^the budget of 1 USD for .* USD left, and this call may cost 0.000101 USD; it was not made$"


@pytest.mark.parametrize("step", ["small", "vital"])
def test_without_money_no_call_is_made(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter], step: str
) -> None:
    """Not even for a critical step: it keeps its model, up to the budget."""
    router = new_router("0.9999")
    with pytest.raises(BudgetExceeded, match=REFUSED):
        router.route(_request(step))
    assert len(mock_providers.calls) == 0


def test_without_money_nobody_is_classified(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """The question costs something too."""
    with pytest.raises(BudgetExceeded):
        new_router("0.99999").route(_request("solve"))
    assert len(mock_providers.calls) == 0


def test_a_request_without_a_limit_is_reserved_a_long_answer(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """1,024 tokens where nothing else is said: a cent and a bit."""
    request = ModelRequest(prompt="Hi", step="small")
    with pytest.raises(BudgetExceeded, match=r"may cost 0.010241 USD"):
        new_router("0.99").route(request)
    mock_providers.otherwise("Hello")
    new_router("0.99", answer_tokens=99).route(request)


def test_a_model_without_a_price_is_not_called(mock_providers: MockProviders, tiered: Settings) -> None:
    """Its calls could cost anything."""
    models = {**tiered.models, "own": ModelSettings(model="our-7b")}
    settings = Settings(models=models, steps={"own": StepSettings(model="own")})
    client = ModelClient(settings, keys={"openai": "k"})
    with pytest.raises(PriceUnknown, match="'our-7b' has no price"):
        ModelRouter(settings, client=client, budget=BudgetTracker(1)).route(_request("own"))
    assert len(mock_providers.calls) == 0


def test_without_a_budget_a_model_needs_no_price(mock_providers: MockProviders) -> None:
    """Only who asks what it cost is told that nobody knows."""
    settings = Settings(models={"own": ModelSettings(model="our-7b")}, steps={"own": StepSettings(model="own")})
    mock_providers.otherwise("Hello")
    client = ModelClient(settings, keys={"openai": "k"})
    answer = ModelRouter(settings, client=client).route(_request("own"))
    client.close()
    with pytest.raises(PriceUnknown):
        _ = answer.cost_usd


def test_the_budget_of_the_settings_is_kept(
    mock_providers: MockProviders, tiered: Settings, virtual_time: VirtualTime, new_client: Callable[..., ModelClient]
) -> None:
    """By the day of its time zone, on the clock of the client."""
    budget = BudgetSettings(daily_usd=Decimal("0.0002"), timezone="Europe/Zurich")
    settings = tiered.model_copy(update={"budget": budget})
    virtual_time.set(datetime(2026, 6, 30, 21, 59, tzinfo=UTC))
    mock_providers.otherwise("Hello", usage=USAGE)
    router = ModelRouter(settings, client=new_client(settings))
    router.route(_request("small"))
    with pytest.raises(BudgetExceeded, match=r"2026-06-30 \(Europe/Zurich\)"):
        router.route(_request("small"))
    virtual_time.advance(60)
    router.route(_request("small"))


def test_a_ladder_that_leads_nowhere_is_refused() -> None:
    """When the router is made, and not when the money is short."""
    settings = Settings(models={"large": _model("claude-large", "large")})
    with pytest.raises(SettingsError, match=r"^no model has the tier 'small'"):
        ModelRouter(settings, client=ModelClient(settings, keys={}), budget=BudgetTracker(1))


def test_a_budget_needs_no_tiers() -> None:
    """It is a limit then, without a ladder."""
    settings = Settings(models={"one": _model("gpt-one")})
    budget = BudgetTracker(1)
    assert ModelRouter(settings, client=ModelClient(settings, keys={}), budget=budget).budget is budget


# Laws


CALLS = st.lists(
    st.tuples(st.sampled_from(["small", "large", "vital", "backed"]), st.floats(0, 5), st.booleans()), max_size=12
)


@law(deadline=None)
@given(calls=CALLS, cap=st.decimals("0.0001", "0.001", places=4))
def test_calls_at_once_never_spend_more_than_the_budget(
    stage: Callable[..., Any],
    tiered: Settings,
    new_client: Callable[..., ModelClient],
    calls: list[tuple[str, float, bool]],
    cap: Decimal,
) -> None:
    """However they overlap and whoever gives up, while answers are no longer than they may be; and all is booked."""
    budget = BudgetTracker(cap)
    router = ModelRouter(tiered, client=new_client(tiered, retries=0), budget=budget)
    each = Decimal("0.000101")

    async def call(step: str, start: float, patient: bool) -> Decimal:
        await asyncio.sleep(start)
        try:
            answer = await asyncio.wait_for(router.aroute(_request(step)), timeout=10 if patient else 0.5)
        except BudgetExceeded:
            return Decimal(0)
        except TimeoutError:
            return Decimal("0.000001")
        return answer.cost_usd

    async def all_calls() -> list[Decimal]:
        return await asyncio.gather(*(call(*each_call) for each_call in calls))

    with stage() as (providers, _):
        providers.otherwise("Hello", usage={"fresh_input": 1, "output": 10}, latency=lambda call: call.number % 3)
        costs = asyncio.run(all_calls())
        answered = [call for call in providers.calls if call.completed]
    assert costs.count(each) == len(answered)
    assert budget.spent == sum(costs) <= cap
    assert budget.reserved == 0


OUTCOMES = st.sampled_from(
    [
        "Hello",
        "",
        Reply(text="", finish_reason="content_filter"),
        faults.rate_limit(),
        faults.overloaded(),
        faults.connect_error(),
        faults.connection_reset(),
        faults.malformed_body(),
        faults.model_not_found(),
        faults.authentication(),
    ]
)


@law(deadline=None)
@given(outcomes=st.lists(OUTCOMES, min_size=1, max_size=8), stream=st.booleans())
def test_what_the_providers_bill_is_booked_to_the_last_digit(
    stage: Callable[..., Any],
    tiered: Settings,
    new_client: Callable[..., ModelClient],
    outcomes: list[Any],
    stream: bool,
) -> None:
    """Answers, retries, filtered answers and fallbacks, whole and streamed."""
    budget, prices = BudgetTracker(1), tiered.prices()
    router = ModelRouter(tiered, client=new_client(tiered, retries=1), budget=budget)
    with stage() as (providers, _):
        for outcome in outcomes:
            script = providers.on(optional=True)
            script.fails(outcome, times=1) if isinstance(outcome, faults.Fault) else script.replies([outcome])
        providers.otherwise("Hello")
        for _request_number in range(2):
            with suppress(ProviderError):
                "".join(router.stream(_request("backed"))) if stream else router.route(_request("backed"))
        billed = [prices.cost(call.model, call.usage) for call in providers.calls if call.usage is not None]
    assert budget.spent == sum(billed)
    assert budget.reserved == 0


@law(deadline=None)
@given(
    spent=st.decimals(0, 1, places=4),
    step=st.sampled_from(["small", "medium", "large", "vital"]),
    more=st.decimals(0, 1, places=4),
)
def test_a_step_never_climbs_the_ladder(
    stage: Callable[..., Any],
    tiered: Settings,
    new_client: Callable[..., ModelClient],
    spent: Decimal,
    step: str,
    more: Decimal,
) -> None:
    """As spend grows its model gets no stronger; a critical one stays."""
    budget = BudgetTracker(1)
    router = ModelRouter(tiered, client=new_client(tiered), budget=budget)
    with stage() as (providers, _):
        providers.otherwise("Hello")
        for amount in (spent, min(more, 1 - spent)):
            budget.reserve(0).settle(amount)
            try:
                router.route(_request(step))
            except BudgetExceeded:
                break
        ranks = [list(TIERS.values()).index(model) for model in providers.calls.models]
    assert ranks == sorted(ranks, reverse=True)
    assert step != "vital" or set(ranks) <= {1}


def test_a_routers_own_request_is_left_as_it_was(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """No step of the way writes into it."""
    mock_providers.otherwise("Hello")
    request = _request("small")
    before = replace(request, params=dict(request.params))
    new_router().route(request)
    assert request == before
