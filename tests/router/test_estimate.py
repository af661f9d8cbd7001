"""Estimates before a call, against figures worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from pytest_modelroute import CallLog, MockProviders, ModelSettings, Settings, StepSettings
from pytest_modelroute.errors import PriceUnknown, SettingsError
from pytest_modelroute.providers.exchange import Message
from pytest_modelroute.router import Estimate, LLMClassifier, ModelClient, ModelRequest, ModelRouter
from pytest_modelroute.router.classifier import INSTRUCTION

# 40 characters of prompt and 8 of system prompt are 10 and 2 tokens.
PROMPT = ModelRequest(prompt="x" * 40, system="y" * 8, step="chat")
DYNAMIC = replace(PROMPT, step="solve")
QUESTION_TOKENS = -(-len(INSTRUCTION) // 4) + 10


@pytest.fixture
def router(settings: Settings, client: ModelClient) -> ModelRouter:
    """A router whose models cost 1, 2, 4 and 8 USD per million input tokens, and ten times that for output."""
    return ModelRouter(settings, client=client)


def test_a_static_step_costs_what_its_model_costs(router: ModelRouter) -> None:
    """12 tokens at 2 USD and 256 at 20 USD per million are 24 + 5120 millionths."""
    assert router.estimate(PROMPT) == Estimate(
        model="quick", input_tokens=12, output_tokens=256, cost_usd=Decimal("0.005144")
    )


def test_the_length_of_the_answer_can_be_given(router: ModelRouter) -> None:
    """12 tokens at 2 USD and 100 at 20 USD per million are 24 + 2000 millionths."""
    assert router.estimate(PROMPT, output_tokens=100).cost_usd == Decimal("0.002024")


def test_max_tokens_of_the_request_win(router: ModelRouter) -> None:
    """12 tokens at 2 USD and 5 at 20 USD per million are 24 + 100 millionths."""
    request = replace(PROMPT, params={"max_tokens": 5})
    assert router.estimate(request, output_tokens=100).cost_usd == Decimal("0.000124")


def test_the_history_is_input(router: ModelRouter) -> None:
    """Two earlier messages of one token each are two more."""
    history = (Message(role="user", text="abcd"), Message(role="assistant", text="efgh"))
    assert router.estimate(replace(PROMPT, history=history)).input_tokens == 14


def test_a_listed_price_serves_where_the_settings_have_none() -> None:
    """gpt-4.1-mini at 0.40 and 1.60 USD per million: 12 and 100 tokens are 4.8 + 160 millionths."""
    settings = Settings(
        models={"mini": ModelSettings(model="gpt-4.1-mini")}, steps={"chat": StepSettings(model="mini")}
    )
    assert ModelRouter(settings).estimate(PROMPT, output_tokens=100).cost_usd == Decimal("0.0001648")


def test_a_dynamic_step_costs_its_dearest_model_and_the_question(router: ModelRouter) -> None:
    """Deep: 12 * 8 + 256 * 80 millionths; the question: its tokens at 1 and five at 10 millionths."""
    millionths = 12 * 8 + 256 * 80 + QUESTION_TOKENS * 1 + 5 * 10
    assert router.estimate(DYNAMIC) == Estimate(
        model="deep", input_tokens=12, output_tokens=256, cost_usd=Decimal(millionths) / 1_000_000
    )


def test_only_the_first_model_of_a_tier_counts(router: ModelRouter) -> None:
    """A spare that no label leads to is not the dearest, whatever it costs."""
    assert router.estimate(DYNAMIC).model == "deep"


def test_a_classifier_that_is_given_is_in_the_estimate(settings: Settings, client: ModelClient) -> None:
    """The question goes to the quick model, at 2 and 20 millionths a token."""
    router = ModelRouter(settings, client=client, classifier=LLMClassifier(client, "quick"))
    millionths = 12 * 8 + 256 * 80 + QUESTION_TOKENS * 2 + 5 * 20
    assert router.estimate(DYNAMIC).cost_usd == Decimal(millionths) / 1_000_000


@pytest.mark.parametrize("step", ["chat", "solve"])
def test_an_estimate_makes_no_call(
    mock_providers: MockProviders, call_log: CallLog, settings: Settings, step: str
) -> None:
    """No provider is asked, and no key is needed."""
    mock_providers.otherwise("LOW")
    ModelRouter(settings, client=ModelClient(settings, keys={})).estimate(replace(PROMPT, step=step))
    assert len(call_log) == 0


def test_a_model_without_a_price_has_no_estimate() -> None:
    """An unknown price is an error, never zero."""
    settings = Settings(models={"own": ModelSettings(model="our-7b")}, steps={"chat": StepSettings(model="own")})
    with pytest.raises(PriceUnknown, match="'our-7b' has no price"):
        ModelRouter(settings).estimate(PROMPT)


def test_a_tool_step_has_no_estimate(router: ModelRouter) -> None:
    """A step that calls no model costs no tokens."""
    with pytest.raises(SettingsError, match="step 'lookup' is a tool step and calls no model"):
        router.estimate(replace(PROMPT, step="lookup"))


def test_a_dynamic_step_without_any_tier_says_so() -> None:
    """Settings without a model to choose are an error of the settings."""
    settings = Settings(
        models={"judge": ModelSettings(model="gpt-4.1-mini")},
        steps={"solve": StepSettings(model="dynamic", classifier="judge")},
    )
    with pytest.raises(SettingsError, match="tier"):
        ModelRouter(settings).estimate(DYNAMIC)


def test_max_tokens_that_are_none_are_none_given(router: ModelRouter) -> None:
    """A parameter that is passed through as None sets no length."""
    assert router.estimate(replace(PROMPT, params={"max_tokens": None})).output_tokens == 256
