"""Who says how hard a request is: the request itself, a classifier of one's own, or the one of the step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import settings as law
from hypothesis import strategies as st

from pytest_modelroute import MockProviders, Settings, faults
from pytest_modelroute.errors import ProviderError, SettingsError
from pytest_modelroute.router import Classifier, LLMClassifier, ModelClient, ModelRequest, ModelRouter

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_modelroute.router.calls import RequestContext

MODELS = {"small": "gpt-quick", "medium": "gpt-solid", "large": "claude-deep"}


def _solve(category: str | None = None, prompt: str = "Why?") -> ModelRequest:
    return ModelRequest(prompt=prompt, step="solve", explicit_category=category)


@pytest.mark.parametrize(
    ("category", "model"),
    [
        ("LOW", "gpt-quick"),
        ("medium", "gpt-solid"),
        ("High", "claude-deep"),
        ("small", "gpt-quick"),
        ("large", "claude-deep"),
    ],
)
def test_a_category_that_the_request_names_is_obeyed(
    mock_providers: MockProviders, settings: Settings, client: ModelClient, category: str, model: str
) -> None:
    """No classifier is asked."""
    mock_providers.otherwise("Because.")
    ModelRouter(settings, client=client).route(_solve(category))
    assert mock_providers.calls.models == [model]


def test_a_category_needs_no_classifier(mock_providers: MockProviders, settings: Settings, client: ModelClient) -> None:
    """A step without one can be asked by category."""
    mock_providers.otherwise("Because.")
    request = ModelRequest(prompt="Why?", step="unjudged", explicit_category="LOW")
    assert ModelRouter(settings, client=client).route(request).model == "gpt-quick"


def test_a_step_with_a_model_of_its_own_keeps_it(
    mock_providers: MockProviders, settings: Settings, client: ModelClient
) -> None:
    """A category decides where a classifier would, and nowhere else."""
    mock_providers.otherwise("Hello")
    request = ModelRequest(prompt="Hi", step="chat", explicit_category="HIGH")
    assert ModelRouter(settings, client=client).route(request).model == "gpt-quick"


def test_a_category_that_does_not_exist_shows_those_that_do(settings: Settings, client: ModelClient) -> None:
    """Words and tiers."""
    with pytest.raises(SettingsError) as error:
        ModelRouter(settings, client=client).route(_solve("HUGE"))
    assert str(error.value) == ("there is no category 'HUGE'; known are: LOW, MEDIUM, HIGH, small, medium, large")


class ByName(Classifier):
    """A classifier of one's own: the first word of a prompt is its tier."""

    def classify(self, prompt: str, *, context: RequestContext | None = None) -> str:
        """The first word."""
        return prompt.partition(" ")[0]


@pytest.mark.asyncio
async def test_a_classifier_of_ones_own_needs_one_method(
    mock_providers: MockProviders, settings: Settings, client: ModelClient
) -> None:
    """In sync and in async code."""
    mock_providers.otherwise("Because.")
    router = ModelRouter(settings, client=client, classifier=ByName())
    sync = router.route(_solve(prompt="medium please")).model
    asynchronous = (await router.aroute(_solve(prompt="large please"))).model
    await client.aclose()
    assert (sync, asynchronous) == ("gpt-solid", "claude-deep")


def test_a_tier_that_does_not_exist_is_told(settings: Settings, client: ModelClient) -> None:
    """A classifier that names one is set up wrongly."""
    with pytest.raises(SettingsError, match=r"^no model has the tier 'huge'"):
        ModelRouter(settings, client=client, classifier=ByName()).route(_solve(prompt="huge"))


def test_a_classifiers_call_is_held_to_the_deadline_of_its_request(
    mock_providers: MockProviders, settings: Settings, client: ModelClient, naps: list[float]
) -> None:
    """Its retries wait no longer than the request may."""
    mock_providers.on(model="gpt-judge").fails(faults.rate_limit(retry_after=20))
    mock_providers.on(model="claude-deep").replies("Because.")
    request = ModelRequest(prompt="Why?", step="solve", deadline=10)
    assert ModelRouter(settings, client=client).route(request).model == "claude-deep"
    assert naps == []


def test_the_deadline_holds_for_the_whole_route(
    mock_providers: MockProviders, settings: Settings, new_client: Callable[..., ModelClient]
) -> None:
    """What the classifier took is not there for the answer."""
    mock_providers.on(model="gpt-judge").replies("HIGH", latency=6)
    mock_providers.on(model="claude-deep").replies("Because.", latency=5)
    with pytest.raises(ProviderError, match="ReadTimeout"):
        ModelRouter(settings, client=new_client(settings)).route(ModelRequest(prompt="Why?", step="solve", deadline=10))


@pytest.mark.parametrize("name", ["model", "messages", "stream"])
def test_a_parameter_that_is_the_routers_own_is_refused(name: str) -> None:
    """It would change who is asked, or what."""
    with pytest.raises(ValueError, match=f"^ModelRequest.params holds '{name}', which the router sets itself"):
        ModelRequest(prompt="Hi", params={name: "x"})


# Laws


@law(deadline=None)
@given(prompts=st.lists(st.text(max_size=30), min_size=1, max_size=5), stream=st.booleans())
def test_the_same_requests_take_the_same_routes(
    stage: Callable[..., Any], new_client: Callable[..., ModelClient], prompts: list[str], stream: bool
) -> None:
    """In any order, whole or streamed: a route follows from its request and the answers alone."""
    settings = Settings.model_validate(
        {
            "models": {
                "judge": {"model": "gpt-judge"},
                **{tier: {"model": name, "tier": tier} for tier, name in MODELS.items()},
            },
            "steps": {"solve": {"model": "dynamic", "classifier": "judge"}},
        }
    )

    def judge(call: Any) -> str:
        return ["LOW", "medium.", "Hm", "HIGH"][len(call.prompt) % 4]

    def route(router: ModelRouter, prompt: str) -> str:
        if stream:
            reading = router.stream(_solve(prompt=prompt))
            "".join(reading)
            return reading.response.model
        return router.route(_solve(prompt=prompt)).model

    with stage() as (providers, _):
        providers.on(model="gpt-judge", optional=True).replies(judge)
        providers.otherwise("Because.")
        router = ModelRouter(settings, client=new_client(settings))
        forwards = {prompt: route(router, prompt) for prompt in prompts}
        backwards = {prompt: route(router, prompt) for prompt in reversed(prompts)}
        expected = {
            prompt: MODELS[LLMClassifier(new_client(settings), "judge").read(judge(_solve(prompt=prompt)))]
            for prompt in prompts
        }
    assert forwards == backwards == expected
