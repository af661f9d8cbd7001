"""The laws of a cascade, over every way to ask and everything that a tier may answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import settings as law
from hypothesis import strategies as st

from pytest_modelroute import ModelSettings, Settings, StepSettings, faults
from pytest_modelroute.errors import ProviderError
from pytest_modelroute.router import BudgetTracker, ModelRequest, ModelRouter

if TYPE_CHECKING:
    from pytest_modelroute import MockProviders
    from pytest_modelroute.router import ModelClient

TIERS = ("gpt-one", "gpt-two", "claude-three", "gpt-four")
SPARE = "gpt-spare"
USAGE = {"fresh_input": 100, "output": 10}

ANSWERS = {"good": True, "bad": False, "": False, "good " * 50: True}
"What a tier may say -> whether the gate accepts it."
RECOVERABLE = (
    faults.overloaded(),
    faults.rate_limit(),
    faults.connect_error(),
    faults.connection_reset(),
    faults.malformed_body(),
    faults.model_not_found(),
    faults.content_filter(),
)
FINAL = (faults.authentication(), faults.bad_request())
OUTCOMES = st.sampled_from([*ANSWERS, *ANSWERS, *RECOVERABLE, *FINAL])
WAYS = st.sampled_from(["route", "aroute", "stream", "astream"])


@dataclass
class Expected:
    """What a cascade owes: who is asked, and whose answer comes back, if any does."""

    asked: list[str]
    answer: str | None


def _expected(outcomes: dict[str, Any], tiers: tuple[str, ...], *, fallback: bool) -> Expected:
    """By the rules, and without the router."""
    asked: list[str] = []
    for model in (*tiers, *([SPARE] if fallback else [])):
        asked.append(model)
        said = outcomes[model]
        if said in FINAL:
            return Expected(asked, None)
        if isinstance(said, str) and (ANSWERS[said] or model in (tiers[-1], SPARE)):
            return Expected(asked, said)
    return Expected(asked, None)


def _settings(tiers: tuple[str, ...], *, fallback: bool) -> Settings:
    models = {
        model: ModelSettings(model=model, input_price=Decimal(1), output_price=Decimal(10)) for model in (*tiers, SPARE)
    }
    step = StepSettings(model=tiers[0], cascade=tiers, fallbacks=(SPARE,) if fallback else ())
    return Settings(models=models, steps={"climb": step})


def _script(providers: MockProviders, outcomes: dict[str, Any]) -> None:
    for model, said in outcomes.items():
        script = providers.on(model=model, optional=True)
        script.fails(said) if isinstance(said, faults.Fault) else script.replies(said, usage=USAGE)


def _heard(router: ModelRouter, request: ModelRequest, way: str) -> list[str]:
    """The pieces of text that reach the caller, also where an error ends them."""
    pieces: list[str] = []
    take = pieces.append  # one by one, so that an error takes none of them away

    async def listen() -> None:
        if way == "aroute":
            pieces.append((await router.aroute(request)).text)
        else:
            async for piece in router.astream(request):
                take(piece)

    with suppress(ProviderError):
        if way == "route":
            pieces.append(router.route(request).text)
        elif way == "stream":
            pieces.extend(router.stream(request))
        else:
            asyncio.run(listen())
    return pieces


@law(max_examples=60, deadline=None)
@given(
    outcomes=st.fixed_dictionaries(dict.fromkeys((*TIERS, SPARE), OUTCOMES)),
    height=st.integers(1, len(TIERS)),
    fallback=st.booleans(),
    way=WAYS,
)
def test_a_cascade_climbs_if_and_only_if_an_answer_is_rejected_or_fails(
    stage: Callable[..., Any],
    new_client: Callable[..., ModelClient],
    outcomes: dict[str, Any],
    height: int,
    fallback: bool,
    way: str,
) -> None:
    """Each tier is asked once at most; what comes back was accepted or is the strongest's; every call is booked."""
    tiers = TIERS[:height]
    settings = _settings(tiers, fallback=fallback)
    expected = _expected(outcomes, tiers, fallback=fallback)
    budget = BudgetTracker(1)
    client = new_client(settings, retries=0)
    router = ModelRouter(settings, client=client, budget=budget, gates={"climb": lambda text: text.startswith("good")})
    with stage() as (providers, _):
        _script(providers, outcomes)
        heard = _heard(router, ModelRequest(prompt="Hi", step="climb", params={"max_tokens": 100}), way)
        asked = providers.calls.models
        billed = [settings.prices().cost(call.model, call.usage) for call in providers.calls if call.usage is not None]
    (record,) = router.metrics.records
    assert asked == expected.asked
    assert "".join(heard) == (expected.answer or "")
    assert (record.error is None) == (expected.answer is not None)
    assert [tier.model for tier in record.tried] == [model for model in asked if model != SPARE]
    assert record.escalations == len(record.tried) - 1
    assert budget.spent == record.cost_usd == sum(billed)
    assert budget.reserved == 0
    answered = sum(not tier.is_wasted for tier in record.tried)
    assert answered == (expected.answer is not None and asked[-1] != SPARE)
    assert record.wasted_usd == sum(tier.cost_usd for tier in record.tried[: len(record.tried) - answered])


@law(max_examples=25, deadline=None)
@given(
    outcomes=st.fixed_dictionaries(dict.fromkeys((*TIERS, SPARE), OUTCOMES)),
    ways=st.tuples(WAYS, WAYS),
)
def test_every_way_to_ask_climbs_alike(
    stage: Callable[..., Any],
    new_client: Callable[..., ModelClient],
    outcomes: dict[str, Any],
    ways: tuple[str, str],
) -> None:
    """Sync, async and streamed: the same tiers with the same outcomes, at the same cost."""
    settings = _settings(TIERS, fallback=True)
    seen: list[Any] = []
    for way in ways:
        router = ModelRouter(
            settings, client=new_client(settings, retries=0), gates={"climb": lambda text: text.startswith("good")}
        )
        with stage() as (providers, _):
            _script(providers, outcomes)
            _heard(router, ModelRequest(prompt="Hi", step="climb"), way)
        (record,) = router.metrics.records
        seen.append(
            (record.error, record.model, record.cost_usd, [(tier.model, tier.outcome) for tier in record.tried])
        )
    assert seen[0] == seen[1]


@pytest.mark.asyncio
async def test_climbs_at_once_do_not_meet(
    mock_providers: MockProviders, new_client: Callable[..., ModelClient]
) -> None:
    """Each has a record, a bill and a height of its own."""
    settings = _settings(TIERS[:3], fallback=False)
    heights = [0, 1, 2, 0, 2, 1]

    def say(call: Any) -> str:
        height = int(call.prompt)
        return "good" if TIERS.index(call.model) >= height else "bad"

    mock_providers.otherwise(say, usage=USAGE, latency=lambda call: 1 + call.number % 3)
    client = new_client(settings, retries=0)
    router = ModelRouter(settings, client=client, gates={"climb": lambda text: text.startswith("good")})
    requests = [ModelRequest(prompt=str(height), step="climb") for height in heights]
    responses = await asyncio.gather(*map(router.aroute, requests))
    assert [response.escalations for response in responses] == heights
    assert [response.cost_usd for response in responses] == [Decimal("0.0002") * (height + 1) for height in heights]
