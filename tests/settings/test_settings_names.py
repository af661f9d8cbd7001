"""What the settings say of models: routes, aliases, providers and hosts."""

from __future__ import annotations

import pytest

from pytest_modelroute.config import ModelSettings, Settings, StepSettings
from pytest_modelroute.evaluation.routes import Routes

SETTINGS = Settings(
    models={
        "cheap": ModelSettings(model="gpt-4.1-nano", tier="small"),
        "default": ModelSettings(model="gpt-4.1-nano", tier="small"),
        "good": ModelSettings(model="claude-sonnet-4-5", tier="large"),
        "bare": ModelSettings(model="house-model"),
    },
    steps={
        "classify": StepSettings(model="dynamic", classifier="bare"),
        "answer": StepSettings(model="good"),
    },
)


def test_routes_are_what_the_settings_say_of_models() -> None:
    """Aliases and tiers by the model on the wire, the order of tiers, and the models that classify."""
    assert SETTINGS.routes() == Routes(
        aliases={"gpt-4.1-nano": ["cheap", "default"], "claude-sonnet-4-5": ["good"], "house-model": ["bare"]},
        tiers={"gpt-4.1-nano": "small", "claude-sonnet-4-5": "large"},
        order=("small", "medium", "large"),
        helpers=frozenset({"house-model"}),
    )


def test_a_judge_is_no_route() -> None:
    """Its call comes after the answer, and answers nobody."""
    step = StepSettings(model="cheap", cascade=("cheap", "good"), judge="bare")
    assert Settings(models=SETTINGS.models, steps={"a": step}).routes().helpers == {"house-model"}


def test_the_models_that_answer_are_each_named_once() -> None:
    """One that only classifies is none of them."""
    assert list(SETTINGS.answering_models()) == ["cheap", "good"]


@pytest.mark.parametrize(
    ("model", "steps"),
    [
        (ModelSettings(model="m", tier="small"), {"a": StepSettings(model="dynamic", classifier="both")}),
        (ModelSettings(model="m"), {"a": StepSettings(model="both", classifier="both")}),
        (ModelSettings(model="m"), {"a": StepSettings(model="dynamic", classifier="both", cascade=("both",))}),
    ],
)
def test_a_classifier_that_answers_too_is_a_model_that_answers(
    model: ModelSettings, steps: dict[str, StepSettings]
) -> None:
    """By its tier, or as a step's own."""
    assert list(Settings(models={"both": model}, steps=steps).answering_models()) == ["both"]


@pytest.mark.parametrize(
    ("name", "models"), [("cheap", ("gpt-4.1-nano",)), ("gpt-4.1-nano", ("gpt-4.1-nano",)), ("other", ("other",))]
)
def test_an_alias_stands_for_its_model_and_any_other_name_for_itself(name: str, models: tuple[str, ...]) -> None:
    """Scripts may use either."""
    assert SETTINGS.models_of(name) == models


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        (ModelSettings(model="claude-sonnet-4-5"), "anthropic"),
        (ModelSettings(model="gemini-2.5-flash"), "google"),
        (ModelSettings(model="gpt-4.1"), "openai"),
        (ModelSettings(model="llama-3", provider="groq"), "groq"),
        (ModelSettings(model="claude-sonnet-4-5", provider="openrouter"), "openrouter"),
    ],
)
def test_a_provider_is_as_given_or_by_the_name_of_the_model(model: ModelSettings, provider: str) -> None:
    """Most of those that are not named speak OpenAI's format."""
    assert model.provider_name == provider


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://llm.example.com/v1", "llm.example.com"),
        ("http://localhost:8000/v1", "localhost"),
        ("https://llm.example.com", "llm.example.com"),
        ("llm.example.com/v1", "llm.example.com"),
    ],
)
def test_a_model_at_an_address_of_its_own_names_its_host(url: str, host: str) -> None:
    """Calls are known by their host."""
    settings = Settings(models={"house": ModelSettings(model="m", provider="groq", base_url=url)})
    assert settings.provider_hosts() == [(host, "groq")]


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://LLM.example.com/v1", "llm.example.com"),
        ("https://llm.example.com//v1", "llm.example.com"),
        ("https://user:secret@llm.example.com/v1", "llm.example.com"),
        ("http://[::1]:8000/v1", "::1"),
    ],
    ids=["upper case", "double slash", "password", "ipv6"],
)
def test_a_host_is_the_one_that_a_client_calls(url: str, host: str) -> None:
    """Clients fold its case and know what else a URL may hold."""
    settings = Settings(models={"house": ModelSettings(model="m", provider="groq", base_url=url)})
    assert settings.provider_hosts() == [(host, "groq")]


@pytest.mark.parametrize(
    "model",
    [
        ModelSettings(model="m", provider="groq"),
        ModelSettings(model="m", base_url="https://llm.example.com/v1"),
    ],
    ids=["no address", "no provider"],
)
def test_a_host_needs_an_address_and_a_provider(model: ModelSettings) -> None:
    """With one of them alone there is nothing to say."""
    assert Settings(models={"house": model}).provider_hosts() == []


def test_the_providers_are_the_known_ones_and_those_named_here() -> None:
    """Scripts may name a provider of the project's own."""
    settings = Settings(models={"house": ModelSettings(model="m", provider="acme")})
    assert {"acme", "openai", "anthropic"} <= settings.providers()
