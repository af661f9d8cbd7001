"""Speculation: several models at once or hedged, whose answer wins, and what becomes of the others."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given
from hypothesis import settings as law
from hypothesis import strategies as st

from pytest_modelroute import MockProviders, ModelSettings, ProviderCall, Settings, StepSettings, VirtualTime, faults
from pytest_modelroute.errors import BudgetExceeded, FallbacksFailed, PriceUnknown, ProviderError, SettingsError
from pytest_modelroute.router import BudgetTracker, Cooldown, ModelClient, ModelRequest, ModelResponse, ModelRouter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from pytest_modelroute.router.metrics import RouteRecord

USAGE = {"fresh_input": 100, "output": 10}
NAMES = {"small": "gpt-small", "large": "claude-large", "spare": "gpt-spare"}
BOTH = ModelRequest(prompt="Hi", step="both")
HEDGED = ModelRequest(prompt="Hi", step="hedged")


@pytest.fixture(scope="session")
def racing() -> Settings:
    """Two at once and three hedged after two seconds; every call of USAGE costs 0.0002 USD."""
    return Settings(
        models={
            alias: ModelSettings(model=name, input_price=Decimal(1), output_price=Decimal(10))
            for alias, name in NAMES.items()
        },
        steps={
            "both": StepSettings(model="small", speculate=("small", "large")),
            "hedged": StepSettings(model="small", speculate=("small", "large", "spare"), hedge_after=2),
            "chat": StepSettings(model="small"),
        },
    )


@pytest.fixture
def new_router(racing: Settings, new_client: Callable[..., ModelClient]) -> Callable[..., ModelRouter]:
    """Routers that ask every model once."""
    return lambda **options: ModelRouter(racing, client=new_client(racing, retries=0), **options)


@pytest.fixture
def router(new_router: Callable[..., ModelRouter]) -> ModelRouter:
    """A router without a budget."""
    return new_router()


def _noted(router: ModelRouter) -> RouteRecord:
    (record,) = router.metrics.records
    return record


def _alone() -> bool:
    """Whether no task is left but that of the test."""
    return asyncio.all_tasks() == {asyncio.current_task()}


async def _streamed(router: ModelRouter, request: ModelRequest) -> list[str]:
    return [piece async for piece in router.astream(request)]


@pytest.mark.asyncio
async def test_of_two_at_once_the_first_answer_wins(
    mock_providers: MockProviders, router: ModelRouter, virtual_time: VirtualTime
) -> None:
    """Though it is not the first in the settings; nothing is left running."""
    mock_providers.on(model="gpt-small").replies("slow", latency=3)
    mock_providers.on(model="claude-large").replies("fast", latency=1)
    response = await router.aroute(BOTH)
    assert (response.text, response.model, virtual_time.now, _alone()) == ("fast", "claude-large", 1.0, True)


@pytest.mark.asyncio
async def test_of_two_answers_at_the_same_time_the_first_in_the_settings_wins(
    mock_providers: MockProviders, router: ModelRouter
) -> None:
    """So that the same test has the same route each time."""
    mock_providers.otherwise("Hello")
    assert (await router.aroute(BOTH)).model == "gpt-small"


@pytest.mark.asyncio
async def test_the_one_that_loses_is_cancelled_and_booked_as_far_as_it_ran(
    mock_providers: MockProviders, router: ModelRouter
) -> None:
    """Its input was read by the provider, so it is paid for: on the bill of the answer, and as wasted."""
    mock_providers.on(model="gpt-small").replies("slow", latency=3, usage=USAGE)
    mock_providers.on(model="claude-large").replies("fast", latency=1, usage=USAGE)
    response = await router.aroute(BOTH)
    record = _noted(router)
    assert [call.completed for call in mock_providers.calls] == [False, True]
    assert (record.asked, record.attempts, record.error) == (("small", "large"), 2, None)
    assert response.wasted_usd == record.wasted_usd == Decimal("0.000001")  # one token of input
    assert response.cost_usd == record.cost_usd == Decimal("0.000201")


@pytest.mark.asyncio
async def test_totals_tell_what_speculation_did_cost(mock_providers: MockProviders, router: ModelRouter) -> None:
    """An answer that comes too late by nothing is paid for in full; steps that do not speculate waste nothing."""
    mock_providers.otherwise("Hello", usage=USAGE, latency=1)
    for request in (BOTH, HEDGED, ModelRequest(prompt="Hi", step="chat")):
        await router.aroute(request)
    totals = router.metrics.totals()
    assert (totals.requests, totals.speculated, totals.wasted_usd) == (3, 1, Decimal("0.0002"))


@pytest.mark.asyncio
async def test_a_hedge_is_asked_after_its_delay(
    mock_providers: MockProviders, router: ModelRouter, virtual_time: VirtualTime
) -> None:
    """Two seconds without an answer, and two more for the third."""
    mock_providers.on(model="gpt-small").replies("1", latency=20)
    mock_providers.on(model="claude-large").replies("2", latency=20)
    mock_providers.on(model="gpt-spare").replies("3", latency=1)
    response = await router.aroute(HEDGED)
    assert [call.started_s for call in mock_providers.calls] == [0.0, 2.0, 4.0]
    assert (response.text, virtual_time.now, response.fallback_of) == ("3", 5.0, None)


@pytest.mark.asyncio
async def test_an_answer_in_time_needs_no_hedge(mock_providers: MockProviders, router: ModelRouter) -> None:
    """Nobody else is asked."""
    mock_providers.on(model="gpt-small").replies("1", latency=1.9)
    await router.aroute(HEDGED)
    assert (mock_providers.calls.models, _noted(router).asked, _alone()) == (["gpt-small"], ("small",), True)


@pytest.mark.asyncio
async def test_a_failure_starts_the_next_at_once(
    mock_providers: MockProviders, router: ModelRouter, virtual_time: VirtualTime
) -> None:
    """And the hedge after it waits its own time. The answer stands in the place of the first."""
    mock_providers.on(model="gpt-small").fails(faults.overloaded(), latency=0.5)
    mock_providers.on(model="claude-large").replies("2", latency=2.4)
    mock_providers.on(model="gpt-spare").replies("3", latency=9)
    response = await router.aroute(HEDGED)
    assert [call.started_s for call in mock_providers.calls] == [0.0, 0.5, 2.5]
    assert (response.text, virtual_time.now, response.fallback_of) == ("2", 2.9, "gpt-small")


@pytest.mark.parametrize("fault", [faults.overloaded(), faults.authentication(), faults.connect_error()], ids=str)
@pytest.mark.asyncio
async def test_one_that_fails_does_not_sink_the_other(
    mock_providers: MockProviders, router: ModelRouter, fault: faults.Fault
) -> None:
    """Not even by what is the caller's own fault, once the other is under way."""
    mock_providers.on(model="gpt-small").fails(fault)
    mock_providers.on(model="claude-large").replies("fine", latency=1)
    assert (await router.aroute(BOTH)).text == "fine"


@pytest.mark.asyncio
async def test_what_no_model_is_to_hide_starts_no_hedge(mock_providers: MockProviders, router: ModelRouter) -> None:
    """A wrong key is raised as it is."""
    mock_providers.on(model="gpt-small").fails(faults.authentication())
    with pytest.raises(ProviderError) as error:
        await router.aroute(HEDGED)
    assert (error.value.kind, mock_providers.calls.models) == ("authentication", ["gpt-small"])


@pytest.mark.asyncio
async def test_what_no_model_is_to_hide_is_raised_where_the_others_fail_too(
    mock_providers: MockProviders, router: ModelRouter
) -> None:
    """With the others as notes."""
    mock_providers.on(model="gpt-small").fails(faults.overloaded())
    mock_providers.on(model="claude-large").fails(faults.authentication(), latency=1)
    with pytest.raises(ProviderError, match="claude-large answered 401") as error:
        await router.aroute(BOTH)
    assert error.value.__notes__ == ["beside it: gpt-small answered 503 (overloaded): Overloaded"]


@pytest.mark.asyncio
async def test_when_all_fail_the_error_tells_of_all(mock_providers: MockProviders, router: ModelRouter) -> None:
    """In the order in which they failed."""
    mock_providers.on(model="gpt-small").fails(faults.overloaded(), latency=2)
    mock_providers.on(model="claude-large").fails(faults.rate_limit(), latency=1)
    with pytest.raises(FallbacksFailed) as error:
        await router.aroute(BOTH)
    assert str(error.value).splitlines()[1:] == [
        "  claude-large: rate_limited, status 429, asked once",
        "  gpt-small: overloaded, status 503, asked once",
    ]
    assert (_noted(router).error, _noted(router).wasted_usd, _alone()) == ("rate_limited", Decimal(0), True)


def _says_yes(response: ModelResponse) -> bool:
    return response.text == "yes"


@pytest.mark.asyncio
async def test_an_answer_that_is_not_accepted_does_not_win(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """It is paid for all the same."""
    mock_providers.on(model="gpt-small").replies("no", usage=USAGE)
    mock_providers.on(model="claude-large").replies("yes", usage=USAGE, latency=1)
    router = new_router(accept={"both": _says_yes})
    assert (await router.aroute(BOTH)).model == "claude-large"
    assert (_noted(router).wasted_usd, _noted(router).cost_usd) == (Decimal("0.0002"), Decimal("0.0004"))


@pytest.mark.asyncio
async def test_an_answer_that_is_not_accepted_starts_the_next_at_once(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter], virtual_time: VirtualTime
) -> None:
    """As a failure does."""
    mock_providers.on(model="gpt-small").replies("no", latency=1)
    mock_providers.on(model="claude-large").replies("yes", latency=1)
    response = await new_router(accept={"hedged": _says_yes}).aroute(HEDGED)
    assert (response.text, virtual_time.now) == ("yes", 2.0)


@pytest.mark.asyncio
async def test_where_no_answer_is_accepted_the_error_says_so(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """No answer that was refused is passed off as one that will do."""
    mock_providers.on(model="gpt-small").replies("no")
    mock_providers.on(model="claude-large").replies("perhaps", latency=1)
    router = new_router(accept={"both": _says_yes})
    with pytest.raises(FallbacksFailed) as error:
        await router.aroute(BOTH)
    assert str(error.value) == (
        "every candidate failed, the first because gpt-small answered, but its answer was not accepted: 'no'\n"
        "  gpt-small: not_accepted, status 200, asked once\n"
        "  claude-large: not_accepted, status 200, asked once"
    )
    assert (_noted(router).error, _noted(router).wasted_usd) == ("not_accepted", _noted(router).cost_usd)


@pytest.mark.asyncio
async def test_a_gate_that_does_not_decide_is_an_error(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """A truthy thing, such as the coroutine of an async gate, is no yes; the other call is given up."""
    mock_providers.on(model="gpt-small").replies("no")
    mock_providers.on(model="claude-large").replies("perhaps", latency=1)
    router = new_router(accept={"both": lambda _response: "yes"})
    with pytest.raises(SettingsError, match=r"^accept says True or False of an answer; it returned 'yes'$"):
        await router.aroute(BOTH)
    assert (_noted(router).error, _alone()) == ("SettingsError", True)


@pytest.mark.asyncio
async def test_a_gate_is_for_a_step_that_speculates(new_router: Callable[..., ModelRouter]) -> None:
    """Else it would never be asked."""
    with pytest.raises(SettingsError) as error:
        new_router(accept={"chat": _says_yes})
    assert str(error.value) == (
        "accept has a gate for 'chat', a step that does not speculate; those that do: both, hedged"
    )


@pytest.mark.asyncio
async def test_a_stream_is_won_by_the_first_piece(
    mock_providers: MockProviders, router: ModelRouter, virtual_time: VirtualTime
) -> None:
    """The winner's stream is read on, also where the other would have ended before."""
    mock_providers.on(model="gpt-small").replies("a b", latency=2, ttft=1.5, chunks=2, usage=USAGE)
    mock_providers.on(model="claude-large").replies("c d", latency=9, ttft=1, chunks=2, usage=USAGE)
    stream = router.astream(BOTH)
    assert [piece async for piece in stream] == ["c", " d"]
    assert (stream.response.text, stream.response.model, virtual_time.now) == ("c d", "claude-large", 9.0)
    assert [call.completed for call in mock_providers.calls] == [False, True]
    assert stream.response.cost_usd == _noted(router).cost_usd == Decimal("0.000201")


@pytest.mark.asyncio
async def test_a_stream_without_text_is_an_answer(mock_providers: MockProviders, router: ModelRouter) -> None:
    """It wins when it has ended."""
    mock_providers.on(model="gpt-small").replies("", latency=1)
    mock_providers.on(model="claude-large").replies("late", latency=2, ttft=2)
    assert await _streamed(router, BOTH) == []


@pytest.mark.asyncio
async def test_of_two_first_pieces_at_the_same_time_one_stream_is_closed(
    mock_providers: MockProviders, router: ModelRouter
) -> None:
    """And booked as far as it came."""
    mock_providers.otherwise("one two", chunks=2)
    assert await _streamed(router, BOTH) == ["one", " two"]
    assert [call.completed for call in mock_providers.calls] == [True, False]
    assert _noted(router).wasted.output_tokens == 1


@pytest.mark.asyncio
async def test_after_the_first_piece_the_error_is_the_callers(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """The others are gone by then; the model that broke off rests."""
    mock_providers.on(model="gpt-small").fails(faults.stream_cut(after=1, text="one two"))
    mock_providers.on(model="claude-large").replies("three", latency=9)
    cooldown, pieces = Cooldown(30), list[str]()
    router = new_router(cooldown=cooldown)
    with pytest.raises(ProviderError) as error:
        pieces.extend([piece async for piece in router.astream(BOTH)])
    assert (error.value.text, cooldown.rest("small"), _alone()) == ("one", 30.0, True)


@pytest.mark.asyncio
async def test_a_stream_that_is_closed_early_gives_up_the_winner_too(
    mock_providers: MockProviders, router: ModelRouter
) -> None:
    """And is booked."""
    mock_providers.otherwise("one two three", chunks=3, latency=3)
    async with router.astream(BOTH) as stream:
        assert await anext(stream) == "one"
    assert [call.completed for call in mock_providers.calls] == [False, False]
    assert (_noted(router).error, _noted(router).asked, _alone()) == ("cancelled", ("small", "large"), True)


@pytest.mark.asyncio
async def test_a_stream_with_a_gate_comes_whole(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """Nobody is given text that is not accepted."""
    mock_providers.on(model="gpt-small").replies("no no", chunks=2)
    mock_providers.on(model="claude-large").replies("yes", latency=1)
    assert await _streamed(new_router(accept={"both": _says_yes}), BOTH) == ["yes"]


@pytest.mark.asyncio
async def test_the_callers_own_cancellation_cancels_all(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter], virtual_time: VirtualTime
) -> None:
    """At its moment, and both are booked."""
    mock_providers.otherwise("late", latency=9)
    budget = BudgetTracker(1)
    router = new_router(budget=budget)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await router.aroute(BOTH)
    assert (virtual_time.now, _alone(), budget.reserved) == (1.0, True, Decimal(0))
    assert budget.spent == _noted(router).cost_usd == _noted(router).wasted_usd == Decimal("0.000002")


@pytest.mark.asyncio
async def test_a_deadline_holds_for_all(
    mock_providers: MockProviders, router: ModelRouter, virtual_time: VirtualTime
) -> None:
    """Whoever is under way is given up."""
    mock_providers.otherwise("late", latency=20)
    with pytest.raises(FallbacksFailed) as error:
        await router.aroute(ModelRequest(prompt="Hi", step="hedged", deadline=5))
    assert (error.value.kind, len(error.value.failures), virtual_time.now, _alone()) == ("timeout", 3, 5.0, True)


@pytest.mark.asyncio
async def test_bodies_that_trickle_in_are_given_up_at_the_deadline(racing: Settings, virtual_time: VirtualTime) -> None:
    """Each piece comes within the timeout of a read, which alone would let them go on."""

    async def trickle() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(3)
            yield b" "

    async with httpx.AsyncClient(
        transport=httpx.MockTransport(lambda _: httpx.Response(200, content=trickle()))
    ) as http:
        client = ModelClient(racing, async_http=http, keys={"openai": "k", "anthropic": "k"})
        router = ModelRouter(racing, client=client)
        with pytest.raises(FallbacksFailed) as error:
            await router.aroute(ModelRequest(prompt="Hi", step="both", deadline=5))
    assert [str(failure) for failure in error.value.failures] == [
        "gpt-small did not answer in time: the deadline of 5 s is over",
        "claude-large did not answer in time: the deadline of 5 s is over",
    ]
    assert (virtual_time.now, _noted(router).wasted.input_tokens, _alone()) == (5.0, 2, True)


@pytest.mark.asyncio
async def test_no_hedge_starts_after_the_deadline(
    mock_providers: MockProviders, router: ModelRouter, virtual_time: VirtualTime
) -> None:
    """Nor at it."""
    mock_providers.otherwise("late", latency=20)
    with pytest.raises(ProviderError):
        await router.aroute(ModelRequest(prompt="Hi", step="hedged", deadline=2))
    assert (mock_providers.calls.models, virtual_time.now) == (["gpt-small"], 2.0)


def test_who_was_not_asked_since_the_time_is_over_does_not_rest(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """It did nothing that asks for a rest."""
    mock_providers.otherwise("late", latency=20)
    cooldown = Cooldown(30)
    with pytest.raises(FallbacksFailed):
        new_router(cooldown=cooldown).route(ModelRequest(prompt="Hi", step="both", no_hedge=True, deadline=5))
    assert (mock_providers.calls.models, cooldown.rest("small"), cooldown.rest("large")) == (["gpt-small"], 30.0, 0.0)


@pytest.mark.asyncio
async def test_a_hedge_that_the_budget_does_not_cover_is_not_asked(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """The one under way answers."""
    mock_providers.on(model="gpt-small").replies("1", latency=9, usage=USAGE)
    budget = BudgetTracker("0.0011")  # one call of 101 tokens is reserved at 0.001001
    router = new_router(budget=budget, answer_tokens=100)
    assert (await router.aroute(HEDGED)).text == "1"
    assert (mock_providers.calls.models, _noted(router).asked) == (["gpt-small"], ("small",))
    assert (budget.spent, budget.reserved) == (Decimal("0.0002"), Decimal(0))


@pytest.mark.asyncio
async def test_who_the_budget_does_not_cover_is_listed_last(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """What failed is told before what was not asked."""
    mock_providers.on(model="gpt-small").fails(faults.overloaded(), latency=1)
    router = new_router(budget=BudgetTracker("0.0011"), answer_tokens=100)
    with pytest.raises(FallbacksFailed) as error:
        await router.aroute(BOTH)
    lines = str(error.value).splitlines()
    assert lines[1] == "  gpt-small: overloaded, status 503, asked once"
    assert lines[2].startswith("  not asked: the budget of 0.0011 USD")


@pytest.mark.asyncio
async def test_a_budget_that_covers_nobody_is_an_error(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """Before any call."""
    with pytest.raises(BudgetExceeded):
        await new_router(budget=BudgetTracker("0.0001")).aroute(BOTH)
    assert len(mock_providers.calls) == 0


@pytest.mark.asyncio
async def test_a_model_without_a_price_is_not_asked_within_a_budget(
    mock_providers: MockProviders, new_client: Callable[..., ModelClient]
) -> None:
    """As everywhere, and the other is given up."""
    priced = ModelSettings(model="gpt-small", input_price=Decimal(1), output_price=Decimal(1))
    settings = Settings(
        models={"small": priced, "odd": ModelSettings(model="nobody-knows-me", provider="mine", base_url="http://x")},
        steps={"both": StepSettings(model="small", speculate=("small", "odd"))},
    )
    mock_providers.on(model="gpt-small").replies("late", latency=1)
    client = ModelClient(settings, keys={"openai": "k", "mine": "k"})
    with pytest.raises(PriceUnknown):
        await ModelRouter(settings, client=client, budget=BudgetTracker(1)).aroute(BOTH)
    assert (mock_providers.calls.models, _alone()) == (["gpt-small"], True)
    await client.aclose()


@pytest.mark.asyncio
async def test_totals_add_up_what_cascades_and_what_speculation_wasted(
    mock_providers: MockProviders, racing: Settings, new_client: Callable[..., ModelClient]
) -> None:
    """One rejected tier and one that lost, each with a count of its own."""
    steps = {**racing.steps, "climbs": StepSettings(model="small", cascade=("small", "large"))}
    both_ways = racing.model_copy(update={"steps": steps})
    mock_providers.otherwise("Hello", usage=USAGE, latency=1)
    router = ModelRouter(both_ways, client=new_client(both_ways, retries=0), gates={"climbs": lambda _: False})
    answers = [await router.aroute(request) for request in (BOTH, ModelRequest(prompt="Hi", step="climbs"))]
    totals = router.metrics.totals()
    assert [answer.wasted_usd for answer in answers] == [Decimal("0.0002")] * 2
    assert (totals.speculated, totals.cascades, totals.escalated, totals.wasted_usd) == (1, 1, 1, Decimal("0.0004"))


@pytest.mark.asyncio
async def test_who_rests_is_passed_over(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter], virtual_time: VirtualTime
) -> None:
    """A failure in a race lets a model rest, as in a chain."""
    mock_providers.on(model="gpt-small").fails(faults.rate_limit(retry_after=60))
    mock_providers.on(model="claude-large").replies("fine", latency=1)
    router = new_router(cooldown=Cooldown(30))
    answers = [await router.aroute(HEDGED) for _ in range(2)]
    assert mock_providers.calls.models == ["gpt-small", "claude-large", "claude-large"]
    assert ([answer.fallback_of for answer in answers], virtual_time.now) == (["gpt-small", "gpt-small"], 2.0)


@pytest.mark.asyncio
async def test_a_request_may_do_without_hedges(
    mock_providers: MockProviders, router: ModelRouter, virtual_time: VirtualTime
) -> None:
    """Then one is asked after the failure of another, however long it takes."""
    mock_providers.on(model="gpt-small").fails(faults.overloaded(), latency=30)
    mock_providers.on(model="claude-large").replies("fine", latency=5)
    response = await router.aroute(ModelRequest(prompt="Hi", step="hedged", no_hedge=True))
    assert (response.text, response.fallback_of, virtual_time.now) == ("fine", "gpt-small", 35.0)


@pytest.mark.asyncio
async def test_a_request_may_do_without_fallbacks(mock_providers: MockProviders, router: ModelRouter) -> None:
    """Then the step's own model is asked alone, also in sync code."""
    mock_providers.on(model="gpt-small").replies("fine", latency=30)
    request = ModelRequest(prompt="Hi", step="hedged", no_fallbacks=True)
    assert [(await router.aroute(request)).text, router.route(request).text] == ["fine", "fine"]
    assert mock_providers.calls.models == ["gpt-small", "gpt-small"]


@pytest.mark.asyncio
async def test_an_error_that_is_no_providers_is_raised_and_noted(
    mock_providers: MockProviders, racing: Settings
) -> None:
    """Here that of the settings: the key of one model is missing."""
    mock_providers.on(model="gpt-small").replies("late", latency=1)
    client = ModelClient(racing, keys={"openai": "k"})
    router = ModelRouter(racing, client=client)
    with pytest.raises(SettingsError, match="keys has none for 'anthropic'"):
        await router.aroute(BOTH)
    await client.aclose()
    assert (_noted(router).error, _alone()) == ("SettingsError", True)


def test_sync_code_cannot_give_up_a_call(
    mock_providers: MockProviders, racing: Settings, new_client: Callable[..., ModelClient]
) -> None:
    """So it says what to do in place of blocking on the slowest, whole and streamed; nobody is asked."""
    router = ModelRouter(racing, client=new_client(racing))
    for ask in (router.route, lambda request: list(router.stream(request))):
        with pytest.raises(SettingsError) as error:
            ask(BOTH)
        assert str(error.value) == (
            "several models are asked at once in async code alone, since sync code cannot give up a call: use aroute "
            "or astream, or ModelRequest(no_hedge=True), which asks one after the other"
        )
    assert (len(mock_providers.calls), [record.error for record in router.metrics.records]) == (
        0,
        ["SettingsError"] * 2,
    )


def test_sync_code_can_ask_one_after_the_other(
    mock_providers: MockProviders, racing: Settings, new_client: Callable[..., ModelClient]
) -> None:
    """Gate, fallback and bill are the same; a stream with a gate comes whole."""
    mock_providers.on(model="gpt-small").replies("no", usage=USAGE)
    mock_providers.on(model="claude-large").replies("yes", usage=USAGE)
    router = ModelRouter(racing, client=new_client(racing), accept={"both": _says_yes})
    request = ModelRequest(prompt="Hi", step="both", no_hedge=True)
    assert (router.route(request).cost_usd, list(router.stream(request))) == (Decimal("0.0004"), ["yes"])


def test_an_estimate_counts_all_that_are_asked_at_once(
    racing: Settings, new_client: Callable[..., ModelClient]
) -> None:
    """And no hedge."""
    router = ModelRouter(racing, client=new_client(racing))
    both, hedged = (router.estimate(request, output_tokens=10).cost_usd for request in (BOTH, HEDGED))
    assert (both, hedged) == (Decimal("0.000202"), Decimal("0.000101"))


ENDS = st.tuples(
    st.integers(1, 6),
    st.sampled_from(["yes", "no", faults.overloaded(), faults.connection_reset(), faults.malformed_body()]),
)


@law(deadline=None, max_examples=30)
@given(ends=st.lists(ENDS, min_size=3, max_size=3), hedge_after=st.sampled_from([0.0, 1.5, 4.5]), stream=st.booleans())
def test_the_first_accepted_answer_wins_and_every_call_ends_and_is_booked_once(
    stage: Callable[..., Any],
    racing: Settings,
    ends: list[tuple[int, Any]],
    hedge_after: float,
    stream: bool,
) -> None:
    """At its own time, with nothing left running or reserved; a model of the race that is played by hand agrees."""
    step = StepSettings(model="small", speculate=tuple(NAMES), hedge_after=hedge_after)
    settings = racing.model_copy(update={"steps": {"race": step}})
    budget, request = BudgetTracker(1), ModelRequest(prompt="Hi", step="race")

    async def ask() -> tuple[str | None, float, bool]:
        client = ModelClient(settings, keys={"openai": "k", "anthropic": "k"}, retries=0)
        router = ModelRouter(settings, client=client, budget=budget, accept={"race": _says_yes})
        asked = router.astream(request)
        try:
            _ = [piece async for piece in asked] if stream else None
            response = asked.response if stream else await router.aroute(request)
            winner: str | None = response.model
        except ProviderError:
            winner = None
        now, alone = clock.now, _alone()
        await client.aclose()
        assert _noted(router).cost_usd == budget.spent
        return winner, now, alone

    with stage() as (providers, clock):
        for name, (latency, end) in zip(NAMES.values(), ends, strict=True):
            script = providers.on(model=name, optional=True)
            if isinstance(end, str):
                script.replies(end, latency=latency)
            else:
                script.fails(end, latency=latency)
        winner, now, alone = asyncio.run(ask())
        calls = list(providers.calls)
        billed = sum((_booked(call, settings) for call in calls), Decimal(0))
    assert (winner, now) == _by_hand(ends, hedge_after)
    assert alone
    assert all(call.completed or call.error is not None for call in calls)
    assert (budget.spent, budget.reserved) == (billed, Decimal(0))


def _booked(call: ProviderCall, settings: Settings) -> Decimal:
    """What a call costs: its answer; its one token of input where it was given up, whatever would have come."""
    if call.completed and call.usage is not None:
        return settings.prices().cost(call.model, call.usage)
    return Decimal("0.000001") if call.error == "cancelled" else Decimal(0)


def _by_hand(ends: list[tuple[int, Any]], hedge_after: float) -> tuple[str | None, float]:
    """(who wins, when it is over): starts are one `hedge_after` after the last, or the end of one that is no answer."""
    waiting = list(zip(NAMES.values(), ends, strict=True))
    running: list[tuple[float, str, Any]] = []
    now = last = 0.0
    while waiting or running:
        starts = len(waiting) if not hedge_after else 0 if running and now < last + hedge_after else 1
        for name, (latency, end) in waiting[:starts]:
            running.append((now + latency, name, end))
            last = now
        waiting = waiting[starts:]
        done_at, name, end = min(running, key=lambda entry: entry[0])
        if waiting and last + hedge_after < done_at:
            now = last + hedge_after
            continue
        now = done_at
        if end == "yes":
            return name, now
        running.remove((done_at, name, end))
        last = -hedge_after  # a failure starts the next at once
    return None, now
