"""Cascades: the tiers are asked until a gate accepts an answer; sync, async and streamed."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from pytest_modelroute import MockProviders, ModelSettings, Settings, StepSettings, VirtualTime, faults
from pytest_modelroute.errors import (
    AnswerRejected,
    BudgetExceeded,
    FallbacksFailed,
    ProviderError,
    SettingsError,
    VerifierFailed,
)
from pytest_modelroute.router import (
    BudgetTracker,
    ConfidenceGate,
    Cooldown,
    FallbackChain,
    Gate,
    ModelClient,
    ModelRequest,
    ModelResponse,
    ModelRouter,
    Ruling,
    parses_as_json,
)

if TYPE_CHECKING:
    from pytest_modelroute.router import RequestContext

MODELS = {"small": "gpt-small", "medium": "gpt-medium", "large": "claude-large"}
USAGE = {"fresh_input": 100, "output": 10}
COST = Decimal("0.0002")
"100 and 10 tokens at 1 and 10 USD per million, as every model here costs."


def _model(name: str, tier: str | None = None) -> ModelSettings:
    return ModelSettings(model=name, tier=tier, input_price=Decimal(1), output_price=Decimal(10))


@pytest.fixture(scope="module")
def climbing() -> Settings:
    """Steps with cascades over three tiers."""
    tiers = tuple(MODELS)
    return Settings(
        models={
            **{alias: _model(name, alias) for alias, name in MODELS.items()},
            "judge": _model("gpt-judge"),
            "spare": _model("gpt-spare"),
        },
        steps={
            "climb": StepSettings(model="small", cascade=tiers),
            "backed": StepSettings(model="small", cascade=("small", "large"), fallbacks=("spare",)),
            "vital": StepSettings(model="small", cascade=tiers, critical=True),
            "judged": StepSettings(model="small", cascade=("small", "large"), judge="judge"),
            "solve": StepSettings(model="dynamic", cascade=tiers, classifier="judge"),
            "plain": StepSettings(model="small"),
        },
    )


def _good(text: str) -> bool:
    return text.startswith("good")


GATES = dict.fromkeys(("climb", "backed", "vital", "solve"), _good)


@pytest.fixture
def new_router(climbing: Settings, new_client: Callable[..., ModelClient]) -> Callable[..., ModelRouter]:
    """Make a router whose gate accepts what begins with `good`."""

    def make(gates: Any = None, *, retries: int = 0, deadline: float | None = None, **options: Any) -> ModelRouter:
        client = new_client(climbing, retries=retries, deadline=deadline)
        return ModelRouter(climbing, client=client, gates={**GATES, **(gates or {})}, **options)

    return make


def _climb(step: str = "climb", **members: Any) -> ModelRequest:
    return ModelRequest(prompt="Hi", step=step, params={"max_tokens": 10}, **members)


def _answers(providers: MockProviders, **answers: Any) -> None:
    """Alias -> what it answers, a text or a fault."""
    for alias, said in answers.items():
        script = providers.on(model={**MODELS, "judge": "gpt-judge", "spare": "gpt-spare"}[alias])
        script.fails(said) if isinstance(said, faults.Fault) else script.replies(said, usage=USAGE)


# Who answers


@pytest.mark.parametrize(
    ("answers", "asked"),
    [
        ({"small": "good"}, ["gpt-small"]),
        ({"small": "bad", "medium": "good"}, ["gpt-small", "gpt-medium"]),
        ({"small": "bad", "medium": "bad", "large": "good"}, list(MODELS.values())),
        ({"small": "bad", "medium": "bad", "large": "bad"}, list(MODELS.values())),
        ({"small": faults.overloaded(), "medium": "good"}, ["gpt-small", "gpt-medium"]),
        ({"small": "bad", "medium": faults.malformed_body(), "large": "bad"}, list(MODELS.values())),
    ],
    ids=["first", "second", "third", "strongest unchecked", "failed", "rejected and failed"],
)
@pytest.mark.parametrize("way", ["route", "aroute", "stream", "astream"])
def test_a_cascade_climbs_until_an_answer_will_do(
    mock_providers: MockProviders,
    new_router: Callable[..., ModelRouter],
    answers: dict[str, Any],
    asked: list[str],
    way: str,
) -> None:
    """A rejected answer and a failure lead on; that of the strongest tier comes back whatever it is."""
    _answers(mock_providers, **answers)
    response = _ask(new_router(), _climb(), way)
    assert mock_providers.calls.models == asked
    assert (response.model, response.escalations) == (asked[-1], len(asked) - 1)
    assert response.text == list(answers.values())[-1]
    assert response.fallback_of is None


def _ask(router: ModelRouter, request: ModelRequest, way: str) -> ModelResponse:
    """The answer in one of the four ways; streamed text is that of the response."""

    async def collect() -> tuple[str, ModelResponse]:
        if way == "aroute":
            response = await router.aroute(request)
            return response.text, response
        stream = router.astream(request)
        pieces = [piece async for piece in stream]
        return "".join(pieces), stream.response

    if way in ("aroute", "astream"):
        text, response = asyncio.run(collect())
    elif way == "stream":
        with router.stream(request) as stream:
            text = "".join(stream)
        response = stream.response
    else:
        response = router.route(request)
        text = response.text
    assert text == response.text
    return response


def test_an_error_that_is_the_callers_own_ends_the_climb(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """No stronger model hides it; what was before it is told."""
    _answers(mock_providers, small="bad", medium=faults.authentication())
    with pytest.raises(ProviderError) as error:
        new_router().route(_climb())
    assert error.value.kind == "authentication"
    assert error.value.__notes__ == [
        "before it: gpt-small answered, and the answer was rejected: _good says no",
    ]


def test_when_the_strongest_fails_its_own_error_comes_back(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """A rejected answer is no failure, and told beside it."""
    _answers(mock_providers, small="bad", medium="bad", large=faults.overloaded())
    with pytest.raises(ProviderError) as error:
        new_router().route(_climb())
    assert not isinstance(error.value, FallbacksFailed)
    assert (error.value.model, len(error.value.__notes__)) == ("claude-large", 2)


def test_when_several_fail_the_error_tells_of_all(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """As in a fallback chain."""
    _answers(mock_providers, small=faults.overloaded(), medium="bad", large=faults.overloaded())
    with pytest.raises(FallbacksFailed) as error:
        new_router().route(_climb())
    assert [failure.model for failure in error.value.failures if isinstance(failure, ProviderError)] == [
        "gpt-small",
        "claude-large",
    ]
    assert error.value.__notes__ == ["before it: gpt-medium answered, and the answer was rejected: _good says no"]


def test_the_fallbacks_come_after_the_strongest(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """They stand in its place, and their answer is not checked either."""
    _answers(mock_providers, small="bad", large=faults.overloaded(), spare="bad")
    response = new_router().route(_climb("backed"))
    assert (response.model, response.fallback_of, response.escalations) == ("gpt-spare", "claude-large", 1)


def test_without_fallbacks_an_error_is_the_answer(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """Also that of a tier: a stronger one would stand in for it."""
    _answers(mock_providers, small=faults.overloaded())
    with pytest.raises(ProviderError, match=r"^gpt-small answered 503"):
        new_router().route(_climb("backed", no_fallbacks=True))


def test_without_fallbacks_a_rejected_answer_leads_on(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """It is no error."""
    _answers(mock_providers, small="bad", large="good")
    assert new_router().route(_climb("backed", no_fallbacks=True)).model == "claude-large"


def test_without_fallbacks_a_tier_that_rests_is_an_error(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """As one that fails is."""
    _answers(mock_providers, small=faults.overloaded(), large="good")
    router = new_router(cooldown=Cooldown(30))
    router.route(_climb("backed"))
    with pytest.raises(ProviderError, match=r"^gpt-small was not asked: it rests"):
        router.route(_climb("backed", no_fallbacks=True))


def test_the_classes_that_are_recoverable_are_the_routers(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """A failure of another class is raised."""
    _answers(mock_providers, small=faults.overloaded())
    with pytest.raises(ProviderError):
        new_router(recoverable=["timeout"]).route(_climb())


def test_a_tier_that_rests_is_passed_over(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """The next one is asked at once; that is an escalation too."""
    _answers(mock_providers, small=faults.overloaded(), medium="good")
    router = new_router(cooldown=Cooldown(30))
    assert [router.route(_climb()).escalations for _ in range(2)] == [1, 1]
    assert mock_providers.calls.models == ["gpt-small", "gpt-medium", "gpt-medium"]


def test_a_strongest_tier_that_rests_is_escalated_past(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """Its fallback answers in its place, as high up as it."""
    _answers(mock_providers, small="bad", large=faults.overloaded(), spare="fine")
    router = new_router(cooldown=Cooldown(30))
    assert [router.route(_climb("backed")).escalations for _ in range(2)] == [1, 1]
    assert mock_providers.calls.models[3:] == ["gpt-small", "gpt-spare"]


# Where it begins


@pytest.mark.parametrize(
    ("category", "asked"), [("LOW", "gpt-small"), ("MEDIUM", "gpt-medium"), ("HIGH", "claude-large")]
)
def test_a_dynamic_step_begins_where_its_category_says(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter], category: str, asked: str
) -> None:
    """Whether the request names it or the classifier."""
    mock_providers.on(model="gpt-judge").replies(category)
    mock_providers.on(model=asked).replies("good")
    router = new_router()
    assert router.route(_climb("solve", explicit_category=category)).model == asked
    assert router.route(_climb("solve")).model == asked


def test_a_cascade_without_the_tier_that_is_named_sends_the_request_there(
    mock_providers: MockProviders, new_client: Callable[..., ModelClient], climbing: Settings
) -> None:
    """Where nothing in it is strong enough."""
    step = StepSettings(model="dynamic", cascade=("small", "medium"), classifier="judge")
    settings = Settings(models=climbing.models, steps={"solve": step})
    _answers(mock_providers, large="bad")
    router = ModelRouter(settings, client=new_client(settings), gates={"solve": _good})
    assert router.route(_climb("solve", explicit_category="HIGH")).model == "claude-large"


# What the tiers are asked


def test_confidence_is_asked_of_those_whose_answer_is_checked(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """The strongest is asked the request as it is."""
    _answers(mock_providers, small="Answer: 4\nConfidence: 30%", medium="perhaps 4", large="4")
    response = new_router({"climb": ConfidenceGate(0.8)}).route(_climb(system="Be brief."))
    systems = [call.request.messages[0].text for call in mock_providers.calls]
    assert systems[2] == "Be brief."
    assert all(system.startswith("Be brief.\n\nGive your answer") for system in systems[:2])
    assert (response.text, response.confidence) == ("4", None)


def test_what_a_model_says_of_itself_is_not_in_its_answer(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """It is beside it."""
    _answers(mock_providers, small="Answer: 4\nConfidence: 90%")
    response = new_router({"climb": ConfidenceGate(0.8)}).route(_climb())
    assert (response.text, response.confidence) == ("4", 0.9)


@pytest.mark.parametrize(("said", "reason"), [("90%", "it does not parse as JSON"), ("30%", "its confidence 0.3 is")])
def test_of_several_gates_each_has_to_accept(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter], said: str, reason: str
) -> None:
    """In their order, each on what the one before it read."""
    _answers(mock_providers, small=f"Answer: {{\nConfidence: {said}", medium="Answer: {}\nConfidence: 90%")
    router = new_router({"climb": [ConfidenceGate(0.8), parses_as_json()]})
    assert router.route(_climb()).text == "{}"
    first, second = router.metrics.records[0].tried
    assert first.reason.startswith(reason)
    assert (first.outcome, second.outcome, second.confidence) == ("rejected", "accepted", 0.9)


class _Longer(Gate):
    """A gate of a user's own: it sees the request, and says no without a reason."""

    def check(
        self, request: ModelRequest, response: ModelResponse, *, context: RequestContext | None = None
    ) -> Ruling | bool:
        return len(response.text) > len(request.prompt)


@pytest.mark.parametrize("way", ["route", "aroute"])
def test_a_gate_of_ones_own_sees_the_request(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter], way: str
) -> None:
    """One method is enough."""
    _answers(mock_providers, small="no", medium="yes")
    router = new_router({"climb": _Longer()})
    assert _ask(router, _climb(), way).model == "gpt-medium"
    assert router.metrics.records[0].tried[0].reason == "_Longer says no"


async def _good_later(text: str) -> bool:
    await asyncio.sleep(1)
    return _good(text)


@pytest.mark.parametrize("way", ["aroute", "astream"])
def test_an_async_function_serves_async_code(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter], way: str
) -> None:
    """It is awaited."""
    _answers(mock_providers, small="bad", medium="good")
    assert _ask(new_router({"climb": _good_later}), _climb(), way).model == "gpt-medium"


@pytest.mark.parametrize("way", ["route", "aroute", "stream", "astream"])
def test_a_verifier_that_breaks_is_an_error_and_no_verdict(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter], way: str
) -> None:
    """It neither lets an answer pass nor spends money on the next tier."""
    _answers(mock_providers, small="bad")
    router = new_router({"climb": len})
    with pytest.raises(VerifierFailed, match=r"^the verifier len failed over the answer of gpt-small, 'bad' "):
        _ask(router, _climb(), way)
    (record,) = router.metrics.records
    assert (record.error, record.tried[0].outcome) == ("VerifierFailed", "VerifierFailed")


# Streams


def test_text_of_a_rejected_answer_never_reaches_the_caller(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """Whoever is checked is heard to the end first; the strongest comes as it speaks."""
    for model, chunks in {
        "gpt-small": ["bad ", "one"],
        "gpt-medium": ["bad ", "too"],
        "claude-large": ["a ", "b"],
    }.items():
        mock_providers.on(model=model).replies("".join(chunks), chunks=chunks)
    assert list(new_router().stream(_climb())) == ["a ", "b"]


def test_an_accepted_answer_comes_in_one_piece(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """Nothing of it is known to be good before its end."""
    mock_providers.on(model="gpt-small").replies("good one", chunks=["good ", "one"])
    assert list(new_router().stream(_climb())) == ["good one"]


def test_an_accepted_answer_without_text_is_no_piece(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """As in any other stream."""
    _answers(mock_providers, small="")
    assert list(new_router({"climb": lambda _text: True}).stream(_climb())) == []


def test_the_strongest_breaks_off_with_an_error(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """Its text is with the caller already, so that no fallback repeats it."""
    _answers(mock_providers, small="bad", large=faults.stream_cut(after=1, text="good one"))
    with pytest.raises(ProviderError) as error:
        "".join(new_router().stream(_climb("backed")))
    assert error.value.text


def test_a_stream_that_is_closed_before_the_end_is_noted(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """What the tiers before it cost is wasted, and its own part is booked."""
    mock_providers.on(model="gpt-small").replies("bad", usage=USAGE)
    mock_providers.on(model="claude-large").replies("1234 678", chunks=["1234", " 678"])
    router = new_router()
    with router.stream(_climb("backed")) as stream:
        next(stream)
    (record,) = router.metrics.records
    assert [tier.outcome for tier in record.tried] == ["rejected", "cancelled"]
    assert record.wasted_usd == record.cost_usd == COST + Decimal("0.000011")


# Time


def test_a_deadline_holds_for_the_whole_climb(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter], virtual_time: VirtualTime
) -> None:
    """The next tier has what the last one left, and nobody is asked after it."""
    mock_providers.on(model="gpt-small").replies("bad", latency=6)
    mock_providers.on(model="gpt-medium").replies("good", latency=6)
    with pytest.raises(FallbacksFailed, match=r"^every candidate failed, the first because gpt-medium gave no answer"):
        new_router().route(_climb(deadline=10))
    assert virtual_time.now == 10
    assert mock_providers.calls.models == ["gpt-small", "gpt-medium"]


def _slow(text: str) -> bool:
    import time

    time.sleep(20)
    return _good(text)


async def _slow_later(text: str) -> bool:
    await asyncio.sleep(20)
    return _good(text)


@pytest.mark.parametrize(("way", "verifier", "ended"), [("route", _slow, 20), ("aroute", _slow_later, 10)])
def test_a_verifier_that_takes_too_long_accepts_nothing(
    mock_providers: MockProviders,
    new_router: Callable[..., ModelRouter],
    virtual_time: VirtualTime,
    way: str,
    verifier: Any,
    ended: float,
) -> None:
    """In async code it is given up at the deadline; nobody can interrupt a sync one."""
    _answers(mock_providers, small="good")
    router = new_router({"backed": verifier}, cooldown=Cooldown(30))
    with pytest.raises(ProviderError, match="was not asked: the deadline of 10 s is over") as error:
        _ask(router, _climb("backed", deadline=10), way)
    (note,) = error.value.__notes__
    assert note.endswith(f"the answer was rejected: {verifier.__name__} did not end before the deadline")
    assert virtual_time.now == ended


def test_who_is_not_asked_for_want_of_time_does_not_rest(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """The next request finds it awake."""
    mock_providers.on(model="gpt-small").replies("bad", latency=5)
    _answers(mock_providers, large="good")
    router = new_router(cooldown=Cooldown(30))
    with pytest.raises(ProviderError):
        router.route(_climb("backed", deadline=5))
    assert router.route(_climb("backed")).model == "claude-large"


# Money


@pytest.mark.parametrize(
    ("spent", "step", "asked"),
    [
        ("0.49", "climb", list(MODELS.values())),
        ("0.5", "climb", ["gpt-small", "claude-large"]),
        ("0.8", "climb", ["gpt-small"]),
        ("0.8", "vital", list(MODELS.values())),
    ],
)
def test_the_ladder_takes_tiers_out_of_a_cascade(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter], spent: str, step: str, asked: list[str]
) -> None:
    """Each goes where the ladder sends it, and is asked once; a critical step keeps all."""
    mock_providers.otherwise("bad")
    budget = BudgetTracker(1)
    budget.reserve(0).settle(spent)
    router = new_router(budget=budget)
    router.route(_climb(step))
    assert mock_providers.calls.models == asked
    assert router.metrics.records[0].downgraded is (len(asked) < 3)


def test_all_calls_of_a_climb_are_booked(mock_providers: MockProviders, new_router: Callable[..., ModelRouter]) -> None:
    """On the response, in the metrics, and in the budget."""
    _answers(mock_providers, small="bad", medium="good")
    budget = BudgetTracker(1)
    router = new_router(budget=budget)
    response = router.route(_climb())
    assert response.cost_usd == router.metrics.totals().cost_usd == budget.spent == 2 * COST
    assert response.wasted_usd == router.metrics.totals().wasted_usd == COST
    assert budget.reserved == 0


def test_who_is_not_covered_is_not_asked(mock_providers: MockProviders, new_router: Callable[..., ModelRouter]) -> None:
    """The rejected answer does not come back in its place; it is told in the notes."""
    _answers(mock_providers, small="bad")
    router = new_router(budget=BudgetTracker("0.00025"))
    with pytest.raises(BudgetExceeded) as error:
        router.route(_climb("vital"))
    assert error.value.__notes__ == ["before it: gpt-small answered, and the answer was rejected: _good says no"]
    (record,) = router.metrics.records
    assert ([tier.model for tier in record.tried], record.escalations) == (["gpt-small"], 0)


def test_without_money_the_first_tier_is_refused(new_router: Callable[..., ModelRouter]) -> None:
    """No dearer one is tried."""
    with pytest.raises(BudgetExceeded):
        new_router(budget=BudgetTracker("0.00001")).route(_climb("vital"))


@pytest.mark.parametrize("way", ["route", "aroute"])
@pytest.mark.parametrize(("verdict", "asked"), [("ACCEPT", []), ("REJECT", ["claude-large"])])
def test_the_judge_of_a_step_is_its_gate(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter], way: str, verdict: str, asked: list[str]
) -> None:
    """Its call is on the same bill, and wasted with the answer that it rejects."""
    mock_providers.on(model="gpt-judge").replies(verdict, usage=USAGE)
    mock_providers.otherwise("4", usage=USAGE)
    budget = BudgetTracker(1)
    response = _ask(new_router(budget=budget), _climb("judged"), way)
    assert mock_providers.calls.models == ["gpt-small", "gpt-judge", *asked]
    assert response.cost_usd == budget.spent == (2 + len(asked)) * COST
    assert response.wasted_usd == 2 * len(asked) * COST
    assert budget.reserved == 0


def test_a_judge_that_the_budget_does_not_cover_accepts_nothing(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """What nobody judged is not known to be good."""
    _answers(mock_providers, small="4")
    router = new_router(budget=BudgetTracker("0.00021"))
    with pytest.raises(BudgetExceeded):
        router.route(_climb("judged"))
    assert router.metrics.records[0].tried[0].reason.startswith("judge was not asked: the budget of 0.00021 USD")


def test_a_judge_that_fails_leads_on(mock_providers: MockProviders, new_router: Callable[..., ModelRouter]) -> None:
    """Its outage is no outage of the step."""
    _answers(mock_providers, small="4", judge=faults.overloaded(), large="5")
    assert new_router().route(_climb("judged")).text == "5"


def test_an_estimate_is_of_all_tiers(new_router: Callable[..., ModelRouter]) -> None:
    """So that no request costs more, judges and fallbacks apart: three times 1 and 10 tokens."""
    estimate = new_router().estimate(_climb())
    assert (estimate.model, estimate.cost_usd) == ("large", 3 * Decimal("0.000101"))


def test_an_estimate_counts_what_a_gate_asks_for_on_top(new_router: Callable[..., ModelRouter]) -> None:
    """The question for the confidence is a part of the prompt."""
    with_question = new_router({"climb": ConfidenceGate()}).estimate(_climb()).cost_usd
    assert with_question > new_router().estimate(_climb()).cost_usd


def test_an_estimate_of_a_dynamic_cascade_has_the_classifier_too(new_router: Callable[..., ModelRouter]) -> None:
    """On top of all tiers."""
    router = new_router()
    assert router.estimate(_climb("solve")).cost_usd > router.estimate(_climb()).cost_usd


# What is noted


def test_what_a_climb_took_is_noted_by_tier(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """Outcome, cost and time of each."""
    mock_providers.on(model="gpt-small").replies("bad", usage=USAGE, latency=1)
    mock_providers.on(model="gpt-medium").fails(faults.overloaded(), latency=2)
    mock_providers.on(model="claude-large").replies("fine", usage=USAGE, latency=3)
    router = new_router()
    router.route(_climb())
    (record,) = router.metrics.records
    assert [(tier.model, tier.outcome, tier.latency_s, tier.cost_usd) for tier in record.tried] == [
        ("gpt-small", "rejected", 1, COST),
        ("gpt-medium", "overloaded", 2, 0),
        ("claude-large", "strongest", 3, COST),
    ]
    assert (record.cascade, record.attempts, record.escalated) == (tuple(MODELS), 3, True)


def test_the_totals_have_the_rate_of_escalation(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """Of the requests with a cascade."""
    mock_providers.on(model="gpt-small").replies(["good", "bad", "good", "good", "plain"], usage=USAGE)
    mock_providers.on(model="gpt-medium").replies("good", usage=USAGE)
    router = new_router()
    for step in ("climb", "climb", "climb", "climb", "plain"):
        router.route(_climb(step))
    totals = router.metrics.totals()
    assert (totals.cascades, totals.escalated, totals.escalation_rate, totals.wasted_usd) == (4, 1, 0.25, COST)
    assert math.isnan(router.metrics.totals("plain").escalation_rate)


# What is refused


def test_a_cascade_without_a_gate_is_refused(climbing: Settings, client: ModelClient) -> None:
    """When the router is made."""
    with pytest.raises(SettingsError) as error:
        ModelRouter(climbing, client=client)
    assert str(error.value) == (
        "step 'climb' has a cascade, and nothing says which answers will do: give ModelRouter a gate, "
        "gates={'climb': ...}, or the step a judge"
    )


def test_a_gate_without_a_cascade_is_refused(new_router: Callable[..., ModelRouter]) -> None:
    """It would never be asked."""
    with pytest.raises(SettingsError) as error:
        new_router({"plain": _good})
    assert str(error.value) == (
        "gates names 'plain', which is no step with a cascade; steps with one are: climb, backed, vital, judged, solve"
    )


@pytest.mark.parametrize("given", [None, 0.8, "0.8", [], [0.8], ConfidenceGate])
def test_what_is_no_gate_is_refused(new_router: Callable[..., ModelRouter], given: Any) -> None:
    """A threshold, nothing, or a class in place of its object."""
    with pytest.raises(
        SettingsError, match=r"^gates\['climb'\] is .*; a gate, a function of the text of an answer, or"
    ):
        new_router({"climb": given})


def _rejected(alias: str) -> Any:
    """Ask a candidate whose answer is rejected."""
    yield 0.0
    raise AnswerRejected(f"{alias} is rejected")


def test_a_chain_that_is_rejected_throughout_raises_the_last_rejection(client: ModelClient) -> None:
    """For who walks a chain without a strongest tier."""
    with pytest.raises(AnswerRejected, match=r"^second is rejected") as error:
        client.run(FallbackChain(["first", "second"]).walk(_rejected))
    assert error.value.__notes__ == ["before it: first is rejected"]
