"""The router: static steps, dynamic steps, and what cannot be routed."""

from __future__ import annotations

import pytest

from pytest_modelroute import MockProviders, ModelSettings, Settings, StepSettings, faults
from pytest_modelroute.errors import ProviderError, SettingsError
from pytest_modelroute.router import LLMClassifier, ModelClient, ModelRequest, ModelRouter

SOLVE = ModelRequest(prompt="Why?", step="solve")
CHAT = ModelRequest(prompt="Hi", step="chat")


@pytest.fixture
def router(settings: Settings, client: ModelClient) -> ModelRouter:
    """A router on the scripted providers."""
    return ModelRouter(settings, client=client)


def test_a_static_step_asks_its_own_model(mock_providers: MockProviders, router: ModelRouter) -> None:
    """One call, to the model of the step."""
    mock_providers.otherwise("Hello")
    router.route(CHAT)
    assert mock_providers.calls.models == ["gpt-quick"]


@pytest.mark.asyncio
async def test_a_static_step_asks_its_own_model_in_async_code(
    mock_providers: MockProviders, router: ModelRouter, client: ModelClient
) -> None:
    """One call, to the model of the step."""
    mock_providers.otherwise("Hello")
    await router.aroute(CHAT)
    await client.aclose()
    assert mock_providers.calls.models == ["gpt-quick"]


def test_the_answer_is_that_of_the_model(mock_providers: MockProviders, router: ModelRouter) -> None:
    """The classifier's label is not the answer."""
    mock_providers.on(model="gpt-judge").replies("MEDIUM")
    mock_providers.on(model="gpt-solid").replies("Because.")
    assert router.route(SOLVE).text == "Because."


LABELS = pytest.mark.parametrize(
    ("label", "model"),
    [("LOW", "gpt-quick"), ("MEDIUM", "gpt-solid"), ("HIGH", "claude-deep"), ("Hm, hard to say", "claude-deep")],
)


@LABELS
def test_a_dynamic_step_asks_the_model_of_the_label(
    mock_providers: MockProviders, router: ModelRouter, label: str, model: str
) -> None:
    """The classifier is asked first, then the first model of the tier it names."""
    mock_providers.on(model="gpt-judge").replies(label)
    mock_providers.otherwise("Because.")
    router.route(SOLVE)
    assert mock_providers.calls.models == ["gpt-judge", model]


@LABELS
@pytest.mark.asyncio
async def test_a_dynamic_step_asks_the_model_of_the_label_in_async_code(
    mock_providers: MockProviders, router: ModelRouter, client: ModelClient, label: str, model: str
) -> None:
    """Async code routes alike."""
    mock_providers.on(model="gpt-judge").replies(label)
    mock_providers.otherwise("Because.")
    await router.aroute(SOLVE)
    await client.aclose()
    assert mock_providers.calls.models == ["gpt-judge", model]


def test_a_failing_classifier_sends_a_request_to_the_strongest_tier(
    mock_providers: MockProviders, router: ModelRouter
) -> None:
    """The request is answered all the same."""
    mock_providers.on(model="gpt-judge").fails(faults.authentication())
    mock_providers.on(model="claude-deep").replies("Because.")
    assert router.route(SOLVE).model == "claude-deep"


def test_the_strongest_tier_is_the_last_of_the_settings(mock_providers: MockProviders, client: ModelClient) -> None:
    """Tiers of the project's own are ordered from weak to strong."""
    own = Settings(
        tiers=("cheap", "dear"),
        models={"judge": ModelSettings(model="gpt-judge"), "deep": ModelSettings(model="claude-deep", tier="dear")},
        steps={"solve": StepSettings(model="dynamic", classifier="judge")},
    )
    mock_providers.on(model="gpt-judge").replies("Hm")
    mock_providers.on(model="claude-deep").replies("Because.")
    assert ModelRouter(own, client=client).route(SOLVE).model == "claude-deep"


def test_the_labels_fit_the_tiers_of_the_settings(mock_providers: MockProviders, client: ModelClient) -> None:
    """LOW is the weakest tier, whatever the project calls it."""
    own = Settings(
        tiers=("cheap", "fair", "dear"),
        models={
            "judge": ModelSettings(model="gpt-judge"),
            "quick": ModelSettings(model="gpt-quick", tier="cheap"),
            "deep": ModelSettings(model="claude-deep", tier="dear"),
        },
        steps={"solve": StepSettings(model="dynamic", classifier="judge")},
    )
    mock_providers.on(model="gpt-judge").replies("LOW")
    mock_providers.on(model="gpt-quick", optional=True).replies("Because.")
    assert ModelRouter(own, client=client).route(SOLVE).model == "gpt-quick"


def test_a_classifier_that_is_given_wins(
    mock_providers: MockProviders, settings: Settings, client: ModelClient
) -> None:
    """A router's own classifier is asked in place of the step's."""
    classifier = LLMClassifier(client, "spare", labels={"one": "small"}, strongest="medium")
    mock_providers.otherwise("two")
    ModelRouter(settings, client=client, classifier=classifier).route(SOLVE)
    assert mock_providers.calls.models == ["gpt-spare", "gpt-solid"]


def test_a_classifier_that_is_given_serves_a_step_without_one(
    mock_providers: MockProviders, settings: Settings, client: ModelClient
) -> None:
    """The step needs to name none then."""
    mock_providers.otherwise("LOW")
    router = ModelRouter(settings, client=client, classifier=LLMClassifier(client, "judge"))
    assert router.route(ModelRequest(prompt="Why?", step="unjudged")).model == "gpt-quick"


def test_a_router_makes_its_own_client(
    mock_providers: MockProviders, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a client, one with the keys of the environment is used."""
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    mock_providers.on(model="gpt-quick").replies("Hello")
    router = ModelRouter(settings)
    answer = router.route(CHAT)
    router._client.close()
    assert answer.text == "Hello"


def test_an_error_of_the_model_is_the_callers(mock_providers: MockProviders, router: ModelRouter) -> None:
    """The router hides no failure behind another model."""
    mock_providers.on(model="gpt-quick").fails(faults.authentication())
    with pytest.raises(ProviderError, match="gpt-quick answered 401"):
        router.route(CHAT)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("lookup", "step 'lookup' is a tool step and calls no model"),
        ("chta", "there is no step 'chta' in the settings; known are: chat, solve, unjudged, lookup"),
        (None, "there is no step None in the settings; known are: chat, solve, unjudged, lookup"),
        (
            "unjudged",
            "step 'unjudged' is dynamic and names no classifier; give it one, or give one to ModelRouter",
        ),
    ],
    ids=["tool step", "unknown step", "no step", "no classifier"],
)
def test_what_cannot_be_routed_says_why(router: ModelRouter, step: str | None, message: str) -> None:
    """The message names the step and what is wrong with it."""
    with pytest.raises(SettingsError) as error:
        router.route(ModelRequest(prompt="Hi", step=step))
    assert str(error.value) == message


@pytest.mark.asyncio
@pytest.mark.parametrize("step", ["lookup", "chta", None, "unjudged"])
async def test_what_cannot_be_routed_cannot_be_routed_in_async_code(router: ModelRouter, step: str | None) -> None:
    """Async code is told alike."""
    with pytest.raises(SettingsError):
        await router.aroute(ModelRequest(prompt="Hi", step=step))


def test_a_router_without_steps_says_so() -> None:
    """Empty settings are named as such."""
    with pytest.raises(SettingsError, match=r"^there is no step 'chat' in the settings; known are: none$"):
        ModelRouter(Settings()).route(CHAT)


def test_the_first_model_of_a_tier_is_its_model(router: ModelRouter) -> None:
    """Of several models the first that the settings list answers for the tier."""
    assert router.model_of_tier("small") == "quick"


def test_a_tier_without_a_model_says_where_to_give_one() -> None:
    """The message names the tier and the table."""
    with pytest.raises(SettingsError) as error:
        ModelRouter(Settings()).model_of_tier("large")
    assert str(error.value) == "no model has the tier 'large'; give one in [tool.modelroute.models.<alias>]"
