"""A deadline holds for the whole request: retries, waits and slow bodies included."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import settings as law
from hypothesis import strategies as st

from pytest_modelroute import MockProviders, Settings, VirtualTime, faults
from pytest_modelroute.errors import ProviderError
from pytest_modelroute.router import ModelClient, ModelRequest

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS = {"openai": "k", "anthropic": "k"}
HI = ModelRequest(prompt="Hi")


@pytest.fixture
def ask(settings: Settings, new_client: Callable[..., ModelClient]) -> Callable[..., Any]:
    """Send a request with a deadline of ten seconds, on the clocks of the test."""

    def send(request: ModelRequest = HI, **options: Any) -> Any:
        return new_client(settings, **{"deadline": 10.0, **options}).send("quick", request)

    return send


def test_an_attempt_gets_the_time_that_is_left(
    mock_providers: MockProviders, ask: Callable[..., Any], virtual_time: VirtualTime
) -> None:
    """Two seconds of the first attempt and a wait of three leave five for the second, whatever the timeout."""
    mock_providers.on().fails(faults.rate_limit(retry_after=3), times=1, latency=2).then.fails(faults.read_timeout())
    with pytest.raises(ProviderError, match="ReadTimeout"):
        ask()
    assert virtual_time.now == 10.0


def test_nobody_sleeps_past_the_deadline(
    mock_providers: MockProviders, ask: Callable[..., Any], virtual_time: VirtualTime
) -> None:
    """An attempt after the wait could not end in time, so the error is raised at once."""
    mock_providers.on().fails(faults.rate_limit(retry_after=10))
    with pytest.raises(ProviderError) as error:
        ask()
    assert (error.value.kind, virtual_time.now) == ("rate_limited", 0.0)


def test_a_body_that_trickles_in_is_given_up(
    mock_providers: MockProviders, settings: Settings, new_client: Callable[..., ModelClient], virtual_time: VirtualTime
) -> None:
    """Each piece comes within the timeout of a read, but all of them do not."""
    mock_providers.on().replies("a b c d", latency=16, ttft=4, chunks=4)
    with pytest.raises(ProviderError) as error:
        "".join(new_client(settings, deadline=10.0).stream("quick", HI))
    assert (str(error.value), error.value.kind, error.value.text, virtual_time.now) == (
        "gpt-quick did not answer in time: the deadline of 10 s is over",
        "timeout",
        "a b",
        12.0,
    )


def test_a_whole_body_is_watched_too(mock_providers: MockProviders, ask: Callable[..., Any]) -> None:
    """Reading in pieces changes nothing in the answer."""
    mock_providers.on().replies("Hello", latency=9)
    assert ask().text == "Hello"


def test_a_request_may_bring_its_own_deadline(
    mock_providers: MockProviders, ask: Callable[..., Any], virtual_time: VirtualTime
) -> None:
    """It goes before that of the client."""
    mock_providers.on().fails(faults.read_timeout())
    with pytest.raises(ProviderError):
        ask(ModelRequest(prompt="Hi", deadline=4.0))
    assert virtual_time.now == 4.0


@pytest.mark.parametrize("deadline", [0, -1.0, float("nan")])
def test_a_deadline_is_above_zero(settings: Settings, deadline: float) -> None:
    """Anything else is a mistake."""
    with pytest.raises(ValueError, match=r"^deadline is a number of seconds above 0, not "):
        ModelClient(settings, deadline=deadline)
    with pytest.raises(ValueError, match=r"^ModelRequest.deadline is a number of seconds above 0, not "):
        ModelRequest(prompt="Hi", deadline=deadline)


FAILURES = st.sampled_from(
    [faults.rate_limit(retry_after=3), faults.overloaded(), faults.server_error(), faults.read_timeout()]
)


@law(deadline=None)
@given(
    failures=st.lists(st.tuples(FAILURES, st.floats(0, 20)), max_size=6),
    deadline=st.floats(0.001, 60),
    latency=st.floats(0, 30),
)
def test_a_request_ends_within_its_deadline(
    stage: Callable[..., Any],
    new_client: Callable[..., ModelClient],
    failures: list[tuple[faults.Fault, float]],
    deadline: float,
    latency: float,
) -> None:
    """In an answer or in an error, whatever fails how slowly."""
    settings = Settings.model_validate({"models": {"quick": {"model": "gpt-quick"}}})
    with stage() as (providers, clock):
        for fault, slowly in failures:
            providers.on(optional=True).fails(fault, times=1, latency=slowly)
        providers.otherwise("Hello", latency=latency)
        with suppress(ProviderError):
            new_client(settings, deadline=deadline, retries=8).send("quick", HI)
        assert clock.now <= deadline + 1e-8


@pytest.mark.asyncio
async def test_async_code_is_not_held_by_a_read_that_outlasts_the_deadline(
    mock_providers: MockProviders, settings: Settings, new_client: Callable[..., ModelClient], virtual_time: VirtualTime
) -> None:
    """The second piece would come after twelve seconds, well within the time-out of a read."""
    mock_providers.on().replies("a b", latency=12, ttft=4, chunks=2)
    with pytest.raises(ProviderError, match="the deadline of 10 s is over"):
        [piece async for piece in new_client(settings, deadline=10.0).astream("quick", HI)]
    assert virtual_time.now == 10.0
