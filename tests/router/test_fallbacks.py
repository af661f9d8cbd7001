"""Fallback chains: who is asked after whom, what is not hidden, and what an outage of all looks like."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import settings as law
from hypothesis import strategies as st

from pytest_modelroute import MockProviders, Settings, VirtualTime, faults
from pytest_modelroute.errors import BudgetExceeded, FallbacksFailed, ModelRouteError, ProviderError, SettingsError
from pytest_modelroute.providers.exchange import Message, Tool
from pytest_modelroute.router import RECOVERABLE, BudgetTracker, FallbackChain, ModelClient, ModelRequest, ModelRouter

if TYPE_CHECKING:
    from collections.abc import Callable

CHAT = ModelRequest(prompt="Hi", step="chat")
MODELS = ["gpt-first", "claude-second", "gpt-third"]
RECOVERABLE_FAULTS = [
    faults.rate_limit(),
    faults.quota_exhausted(),
    faults.overloaded(),
    faults.unavailable(),
    faults.server_error(),
    faults.request_timeout(),
    faults.connect_error(),
    faults.connection_reset(),
    faults.read_timeout(),
    faults.model_not_found(),
    faults.context_overflow(),
    faults.content_filter(),
    faults.malformed_body(),
    faults.html_page(),
    faults.empty_body(),
    faults.stream_cut(after=0),
    faults.stream_stalled(after=0),
    faults.stream_corrupted(after=0),
    faults.stream_error(after=0),
]
CALLERS_FAULTS = [faults.authentication(), faults.permission(), faults.bad_request()]


def _name(fault: faults.Fault) -> str:
    return fault.name


@pytest.fixture
def router(chained: Settings, new_client: Callable[..., ModelClient]) -> ModelRouter:
    """A router that asks every candidate once."""
    return ModelRouter(chained, client=new_client(chained, retries=0))


def _route(router: ModelRouter, request: ModelRequest = CHAT) -> str:
    return router.route(request).text


def _stream(router: ModelRouter, request: ModelRequest = CHAT) -> str:
    return "".join(router.stream(request))


ways = pytest.mark.parametrize("ask", [_route, _stream])


@ways
@pytest.mark.parametrize("fault", RECOVERABLE_FAULTS, ids=_name)
def test_what_may_be_better_elsewhere_goes_to_the_next_candidate(
    mock_providers: MockProviders, router: ModelRouter, ask: Callable[[ModelRouter], str], fault: faults.Fault
) -> None:
    """Decided by the class of the error, streaming or not."""
    mock_providers.on(model="gpt-first").fails(fault)
    mock_providers.on(model="claude-second").replies("Hello")
    assert ask(router) == "Hello"


@ways
@pytest.mark.parametrize("fault", CALLERS_FAULTS, ids=_name)
def test_what_is_the_callers_own_fault_is_not_hidden(
    mock_providers: MockProviders, router: ModelRouter, ask: Callable[[ModelRouter], str], fault: faults.Fault
) -> None:
    """A wrong key stays wrong; an answer of another model would hide it for ever."""
    mock_providers.on(model="gpt-first").fails(fault)
    with pytest.raises(ProviderError) as error:
        ask(router)
    assert (error.value.kind, mock_providers.calls.models) == (fault.kind, ["gpt-first"])


@ways
def test_an_empty_answer_is_an_answer(
    mock_providers: MockProviders, router: ModelRouter, ask: Callable[[ModelRouter], str]
) -> None:
    """Nobody answers in its place."""
    mock_providers.on(model="gpt-first").replies("")
    assert ask(router) == ""


@pytest.mark.asyncio
async def test_async_code_falls_back_alike(
    mock_providers: MockProviders, chained: Settings, client: ModelClient
) -> None:
    """Whole and streamed."""
    mock_providers.on(model="gpt-first").fails(faults.model_not_found())
    mock_providers.on(model="claude-second").replies("Hello")
    router = ModelRouter(chained, client=ModelClient(chained, keys={"openai": "k", "anthropic": "k"}))
    whole = (await router.aroute(CHAT)).text
    streamed = "".join([piece async for piece in router.astream(CHAT)])
    await router._client.aclose()
    assert (whole, streamed) == ("Hello", "Hello")


def test_an_answer_says_in_whose_place_it_stands(mock_providers: MockProviders, router: ModelRouter) -> None:
    """Only where it is a fallback's."""
    mock_providers.on(model="gpt-first").fails(faults.overloaded(), times=1).then.replies("Hello")
    mock_providers.on(model="claude-second").replies("Hello")
    answers = [router.route(CHAT) for _ in range(2)]
    assert [(answer.model, answer.fallback_of) for answer in answers] == [
        ("claude-second", "gpt-first"),
        ("gpt-first", None),
    ]


def test_when_all_fail_the_error_says_what_failed_first(mock_providers: MockProviders, router: ModelRouter) -> None:
    """And lists the others; its attributes are those of the first."""
    mock_providers.on(model="gpt-first").fails(faults.rate_limit(retry_after=9))
    mock_providers.on(model="claude-second").fails(faults.overloaded())
    mock_providers.on(model="gpt-third").fails(faults.connect_error())
    with pytest.raises(FallbacksFailed) as caught:
        router.route(CHAT)
    error = caught.value
    assert str(error) == (
        "every candidate failed, the first because gpt-first answered 429 (rate_limit_exceeded): Rate limit reached\n"
        "  gpt-first: rate_limited, status 429, asked once\n"
        "  claude-second: overloaded, status 529, asked once\n"
        "  gpt-third: connection, asked once"
    )
    assert (error.kind, error.status, error.model, error.retry_after) == ("rate_limited", 429, "gpt-first", 9.0)
    assert [type(failure) for failure in error.failures] == [ProviderError] * 3


def test_a_single_candidate_fails_with_its_own_error(mock_providers: MockProviders, router: ModelRouter) -> None:
    """There is nothing to list."""
    mock_providers.otherwise(faults.overloaded())
    with pytest.raises(ProviderError) as error:
        router.route(ModelRequest(prompt="Hi", step="chat", no_fallbacks=True))
    assert not isinstance(error.value, FallbacksFailed)


def test_a_callers_fault_of_a_fallback_tells_what_came_before(
    mock_providers: MockProviders, router: ModelRouter
) -> None:
    """It is raised as it is, and does not mask the outage."""
    mock_providers.on(model="gpt-first").fails(faults.overloaded())
    mock_providers.on(model="claude-second").fails(faults.authentication())
    with pytest.raises(ProviderError, match="claude-second answered 401") as error:
        router.route(CHAT)
    assert error.value.__notes__ == ["before it: gpt-first answered 503 (overloaded): Overloaded"]


@ways
def test_a_request_may_do_without_fallbacks(
    mock_providers: MockProviders, router: ModelRouter, ask: Callable[..., str]
) -> None:
    """Its first error is the answer, streaming or not."""
    mock_providers.otherwise(faults.overloaded())
    with pytest.raises(ProviderError):
        ask(router, ModelRequest(prompt="Hi", step="chat", no_fallbacks=True))
    assert mock_providers.calls.models == ["gpt-first"]


def test_after_the_first_piece_the_error_is_the_callers(mock_providers: MockProviders, router: ModelRouter) -> None:
    """A fallback would say the beginning again."""
    mock_providers.on(model="gpt-first").fails(faults.stream_error(after=1, text="one two three"))
    pieces: list[str] = []
    with pytest.raises(ProviderError) as error:
        pieces.extend(router.stream(CHAT))
    assert (error.value.text, mock_providers.calls.models) == ("one", ["gpt-first"])


def test_the_classes_that_fall_back_can_be_chosen(
    mock_providers: MockProviders, chained: Settings, new_client: Callable[..., ModelClient]
) -> None:
    """Here only a rate limit does."""
    mock_providers.on(model="gpt-first").fails(faults.overloaded())
    router = ModelRouter(chained, client=new_client(chained, retries=0), recoverable={"rate_limited"})
    with pytest.raises(ProviderError):
        router.route(CHAT)
    assert mock_providers.calls.models == ["gpt-first"]


def test_a_fallback_that_the_budget_does_not_cover_is_passed_over(
    mock_providers: MockProviders, chained: Settings, new_client: Callable[..., ModelClient]
) -> None:
    """The error tells what failed first, and who was not asked."""
    mock_providers.on(model="gpt-first").fails(faults.read_timeout())
    router = ModelRouter(chained, client=new_client(chained, retries=0), budget=BudgetTracker("0.000101"))
    with pytest.raises(FallbacksFailed) as error:
        router.route(ModelRequest(prompt="Hi", step="chat", params={"max_tokens": 10}))
    assert [type(failure) for failure in error.value.failures] == [ProviderError, BudgetExceeded, BudgetExceeded]
    assert "\n  not asked: the budget of 0.000101 USD for " in str(error.value)


def test_after_the_deadline_nobody_is_asked(
    mock_providers: MockProviders, router: ModelRouter, virtual_time: VirtualTime
) -> None:
    """A fallback that cannot answer in time is not begun."""
    mock_providers.on(model="gpt-first").fails(faults.read_timeout())
    with pytest.raises(FallbacksFailed) as error:
        router.route(ModelRequest(prompt="Hi", step="chat", deadline=10))
    assert str(error.value).splitlines()[1:] == [
        "  gpt-first: timeout, asked once",
        "  claude-second: timeout, not asked",
        "  gpt-third: timeout, not asked",
    ]
    assert str(error.value.failures[1]) == "claude-second was not asked: the deadline of 10 s is over"
    assert virtual_time.now == 10.0


# Chains by themselves


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ((), "a fallback chain has no candidate; give it one at least"),
        (("a", "a"), "the fallback chain a -> a comes back to 'a'; each candidate is tried once, so name it once"),
        (
            ("a", "b", "c", "b"),
            "the fallback chain a -> b -> c -> b comes back to 'b'; each candidate is tried once, so name it once",
        ),
    ],
    ids=["empty", "itself", "cycle"],
)
def test_a_chain_that_cannot_end_is_refused(candidates: tuple[str, ...], message: str) -> None:
    """When it is made, and not in an outage."""
    with pytest.raises(SettingsError) as error:
        FallbackChain(candidates)
    assert str(error.value) == message


def test_an_error_class_that_does_not_exist_is_refused(chained: Settings) -> None:
    """By a chain and by a router."""
    message = "^recoverable names 'rate_limit', which is no error class; known are: rate_limited, quota_exhausted, "
    with pytest.raises(SettingsError, match=message):
        FallbackChain(["a"], recoverable={"rate_limit"})
    with pytest.raises(SettingsError, match=message):
        ModelRouter(chained, client=ModelClient(chained, keys={}), recoverable={"rate_limit"})


def test_a_chain_is_played_by_a_client(
    mock_providers: MockProviders, chained: Settings, new_client: Callable[..., ModelClient]
) -> None:
    """Also without a router."""
    mock_providers.on(model="gpt-first").fails(faults.overloaded())
    mock_providers.on(model="gpt-third").replies("Hello")
    client = new_client(chained, retries=0)
    chain = FallbackChain(["first", "third"])
    assert client.run(chain.walk(lambda alias: client.routine(alias, CHAT))).text == "Hello"


# Laws

ANY_FAULT = st.sampled_from([*RECOVERABLE_FAULTS, *CALLERS_FAULTS])
GOOD = st.sampled_from(["Hello", ""])
OUTCOMES = st.lists(st.one_of(ANY_FAULT, GOOD), min_size=3, max_size=3)


def _play(providers: MockProviders, outcomes: list[faults.Fault | str]) -> None:
    for model, outcome in zip(MODELS, outcomes, strict=True):
        script = providers.on(model=model, optional=True)
        script.replies(outcome) if isinstance(outcome, str) else script.fails(outcome)


def _expected(outcomes: list[faults.Fault | str]) -> tuple[list[str], str | None]:
    """Who is asked, and the class of the error in which it ends."""
    for number, outcome in enumerate(outcomes, start=1):
        if isinstance(outcome, str):
            return MODELS[:number], None
        if outcome.kind not in RECOVERABLE:
            return MODELS[:number], outcome.kind
    first = outcomes[0]
    assert isinstance(first, faults.Fault)
    return MODELS, first.kind


def _ends(ask: Callable[[ModelRouter], str], router: ModelRouter) -> str | None:
    try:
        ask(router)
    except ProviderError as error:
        return error.kind
    return None


@law(deadline=None)
@given(outcomes=OUTCOMES)
def test_candidates_are_tried_in_their_order_and_once(
    stage: Callable[..., Any],
    chained: Settings,
    new_client: Callable[..., ModelClient],
    outcomes: list[faults.Fault | str],
) -> None:
    """Until one answers, or the fault is the caller's; the first failure names the class."""
    router = ModelRouter(chained, client=new_client(chained, retries=0))
    with stage() as (providers, _):
        _play(providers, outcomes)
        kind = _ends(_route, router)
        assert (providers.calls.models, kind) == _expected(outcomes)


@law(deadline=None)
@given(outcomes=OUTCOMES)
def test_streaming_and_not_streaming_take_the_same_route(
    stage: Callable[..., Any],
    chained: Settings,
    new_client: Callable[..., ModelClient],
    outcomes: list[faults.Fault | str],
) -> None:
    """The same models in the same order, and the same class of end."""
    router = ModelRouter(chained, client=new_client(chained, retries=1))
    seen = []
    for ask in (_route, _stream):
        with stage() as (providers, _):
            _play(providers, outcomes)
            kind = _ends(ask, router)
            seen.append((providers.calls.models, kind))
    assert seen[0] == seen[1]


@law(deadline=None)
@given(outcomes=OUTCOMES, retries=st.integers(0, 3), stream=st.booleans())
def test_work_is_bounded(
    stage: Callable[..., Any],
    chained: Settings,
    new_client: Callable[..., ModelClient],
    outcomes: list[faults.Fault | str],
    retries: int,
    stream: bool,
) -> None:
    """Each candidate is entered once, and asked no more than its retries allow."""
    router = ModelRouter(chained, client=new_client(chained, retries=retries))
    with stage() as (providers, _):
        _play(providers, outcomes)
        _ends(_stream if stream else _route, router)
        asked = providers.calls.models
    assert [*dict.fromkeys(asked)] == MODELS[: len(set(asked))]
    assert all(asked.count(model) <= 1 + retries for model in MODELS)
    assert asked == sorted(asked, key=MODELS.index)


PARAMS = st.dictionaries(st.sampled_from(["temperature", "max_tokens", "user", "stop"]), st.integers(0, 9), max_size=4)


@law(deadline=None)
@given(params=PARAMS, system=st.none() | st.text(max_size=9), prompt=st.text(max_size=9), tools=st.booleans())
def test_every_candidate_gets_the_callers_request(
    stage: Callable[..., Any],
    chained: Settings,
    new_client: Callable[..., ModelClient],
    params: dict[str, Any],
    system: str | None,
    prompt: str,
    tools: bool,
) -> None:
    """Under its own name, with its own key and what its format requires, and nothing of another's."""
    offered = (Tool(name="t", description="d", parameters={"type": "object"}),) if tools else ()
    request = ModelRequest(prompt=prompt, system=system, step="chat", params=params, tools=offered)
    before = copy.deepcopy((request, chained))
    with stage() as (providers, _):
        _play(providers, [faults.overloaded(), faults.overloaded(), "Hello"])
        ModelRouter(chained, client=new_client(chained, retries=0)).route(request)
        calls = list(providers.calls)
    said = [] if system is None else [Message(role="system", text=system)]
    for call, model in zip(calls, MODELS, strict=True):
        required = {"max_tokens": 1024} if model.startswith("claude") else {}
        assert (call.model, list(call.messages), call.tools, dict(call.params)) == (
            model,
            [*said, Message(role="user", text=prompt)],
            offered,
            {**required, **params},
        )
    assert (request, chained) == before


@law(deadline=None)
@given(outcomes=OUTCOMES)
def test_a_request_is_routed_as_if_it_were_the_first(
    stage: Callable[..., Any],
    chained: Settings,
    new_client: Callable[..., ModelClient],
    outcomes: list[faults.Fault | str],
) -> None:
    """No call leaves anything behind for the next one."""
    router = ModelRouter(chained, client=new_client(chained, retries=0))
    with stage() as (providers, _):
        _play(providers, outcomes)
        ends = [_ends(ask, router) for ask in (_route, _stream, _route)]
        asked = providers.calls.models
    models, kind = _expected(outcomes)
    assert (asked, ends) == (models * 3, [kind] * 3)


def test_what_is_not_the_routers_is_not_caught(chained: Settings) -> None:
    """A mistake in the settings is told, and not taken for an outage."""
    with pytest.raises(SettingsError, match="there is no key"):
        ModelRouter(chained, client=ModelClient(chained, keys={})).route(CHAT)
    assert issubclass(SettingsError, ModelRouteError)
