"""Cooldown: who failed rests until the latest moment that a failure asks for, and is used again afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelroute import MockProviders, Settings, VirtualTime, faults
from pytest_modelroute.errors import FallbacksFailed, ProviderError
from pytest_modelroute.router import Cooldown, ModelClient, ModelRequest, ModelRouter

if TYPE_CHECKING:
    from collections.abc import Callable

CHAT = ModelRequest(prompt="Hi", step="chat")


def _error(kind: str = "overloaded", retry_after: float | None = None) -> ProviderError:
    return ProviderError("m answered 529", model="m", status=529, code=None, retry_after=retry_after, kind=kind)


class Clock:
    """Seconds, set by hand."""

    def __init__(self) -> None:
        """Begin at 0."""
        self.now = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock at 0."""
    return Clock()


@pytest.mark.parametrize(
    ("kind", "retry_after", "rest"),
    [
        ("overloaded", None, 30.0),
        ("timeout", None, 30.0),
        ("overloaded", 5.0, 30.0),
        ("overloaded", 90.0, 90.0),
        ("server_error", None, 0.0),
        ("server_error", 4.0, 4.0),
        ("context_overflow", None, 0.0),
        ("authentication", None, 0.0),
    ],
)
def test_a_failure_asks_for_a_rest(clock: Clock, kind: str, retry_after: float | None, rest: float) -> None:
    """By its class for the seconds of the cooldown, and for as long as the provider says at least."""
    cooldown = Cooldown(30, clock=clock)
    cooldown.note("a", _error(kind, retry_after))
    assert (cooldown.rest("a"), cooldown.rest("b")) == (rest, 0.0)


@pytest.mark.parametrize(("own", "rest"), [(5.0, 5.0), (0.0, 0.0)])
def test_a_candidates_own_seconds_go_before(clock: Clock, own: float, rest: float) -> None:
    """0 means that it never rests."""
    cooldown = Cooldown(30, own={"a": own}, clock=clock)
    cooldown.note("a", _error())
    assert cooldown.rest("a") == rest


def test_a_cooldown_of_zero_is_off(clock: Clock) -> None:
    """Also where the provider asks for patience."""
    cooldown = Cooldown(0, clock=clock)
    cooldown.note("a", _error(retry_after=90))
    assert cooldown.error("a") is None


def test_the_classes_that_cool_can_be_chosen(clock: Clock) -> None:
    """Here a server error does, and an overload does not."""
    cooldown = Cooldown(30, cooling={"server_error"}, clock=clock)
    for kind in ("server_error", "overloaded"):
        cooldown.note(kind, _error(kind))
    assert (cooldown.rest("server_error"), cooldown.rest("overloaded")) == (30.0, 0.0)


@pytest.mark.parametrize("seconds", [-1, float("nan")])
def test_a_cooldown_is_a_number_of_seconds(seconds: float) -> None:
    """The message names what has it."""
    with pytest.raises(ValueError, match=r"^a cooldown is a number of seconds, 0 or more; seconds has "):
        Cooldown(seconds)
    with pytest.raises(ValueError, match=r"^a cooldown is a number of seconds, 0 or more; a has "):
        Cooldown(own={"a": seconds})


def test_the_error_of_who_rests_tells_why(clock: Clock) -> None:
    """With the class of its failure, and how long it rests."""
    cooldown = Cooldown(30, clock=clock)
    cooldown.note("a", _error())
    clock.now = 10
    error = cooldown.error("a")
    assert error is not None
    assert (str(error), error.kind, error.retry_after, error.attempts) == (
        "m was not asked: it rests for 20 s more, since m answered 529",
        "overloaded",
        20.0,
        0,
    )


FAILURES = st.lists(st.tuples(st.floats(0, 100), st.none() | st.floats(0, 200)), min_size=1, max_size=8)


@given(failures=FAILURES, seconds=st.floats(0.001, 100))
def test_a_rest_ends_at_the_latest_moment_of_all_failures(
    failures: list[tuple[float, float | None]], seconds: float
) -> None:
    """A shorter rest never cuts a longer one short."""
    clock = Clock()
    cooldown, latest = Cooldown(seconds, clock=clock), 0.0
    for after, retry_after in failures:
        clock.now += after
        cooldown.note("a", _error(retry_after=retry_after))
        latest = max(latest, clock.now + max(seconds, retry_after or 0.0))
    assert clock.now + cooldown.rest("a") == pytest.approx(latest)
    clock.now = latest
    assert cooldown.error("a") is None


# In a router


@pytest.fixture
def new_router(chained: Settings, new_client: Callable[..., ModelClient]) -> Callable[..., ModelRouter]:
    """Make routers whose failed candidates rest."""

    def make(**options: float) -> ModelRouter:
        return ModelRouter(chained, client=new_client(chained, retries=0), cooldown=Cooldown(**options))  # type: ignore[arg-type]

    return make


def test_who_rests_is_passed_over_until_it_wakes(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter], virtual_time: VirtualTime
) -> None:
    """And is the first again afterwards."""
    mock_providers.on(model="gpt-first").fails(faults.overloaded(), times=1).then.replies("Hello")
    mock_providers.on(model="claude-second").replies("Hello")
    router = new_router(seconds=30.0)
    for moment in (0, 29.999, 30):
        virtual_time.advance(moment - virtual_time.now)
        router.route(CHAT)
    assert mock_providers.calls.models == ["gpt-first", "claude-second", "claude-second", "gpt-first"]


def test_the_providers_wish_outlasts_the_cooldown(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter], virtual_time: VirtualTime
) -> None:
    """Retry-After is obeyed from request to request."""
    mock_providers.on(model="gpt-first").fails(faults.rate_limit(retry_after=300), times=1).then.replies("Hello")
    mock_providers.on(model="claude-second").replies("Hello")
    router = new_router(seconds=30.0)
    for moment in (0, 299, 300):
        virtual_time.advance(moment - virtual_time.now)
        router.route(CHAT)
    assert mock_providers.calls.models == ["gpt-first", "claude-second", "claude-second", "gpt-first"]


def test_streams_rest_alike(mock_providers: MockProviders, new_router: Callable[..., ModelRouter]) -> None:
    """A stream that broke off is a failure as well."""
    mock_providers.on(model="gpt-first").fails(faults.stream_cut(after=1), times=1)
    mock_providers.on(model="claude-second").replies("Hello")
    router = new_router()
    with pytest.raises(ProviderError):
        "".join(router.stream(CHAT))
    assert router.route(CHAT).fallback_of == "gpt-first"


def test_a_request_for_candidates_that_all_rest_fails_at_once(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """With the failures for which they do; nobody is asked before its time."""
    mock_providers.otherwise(faults.overloaded())
    router = new_router()
    with pytest.raises(FallbacksFailed):
        router.route(CHAT)
    with pytest.raises(FallbacksFailed) as error:
        router.route(CHAT)
    assert str(error.value) == (
        "every candidate failed, the first because gpt-first was not asked: it rests for 30 s more, since gpt-first "
        "answered 503 (overloaded): Overloaded\n"
        "  gpt-first: overloaded, status 503, not asked\n"
        "  claude-second: overloaded, status 529, not asked\n"
        "  gpt-third: overloaded, status 503, not asked"
    )
    assert len(mock_providers.calls) == 3


def test_an_error_of_the_caller_lets_nobody_rest(
    mock_providers: MockProviders, new_router: Callable[..., ModelRouter]
) -> None:
    """The next request may be right."""
    mock_providers.on(model="gpt-first").fails(faults.bad_request(), times=1).then.replies("Hello")
    router = new_router()
    with pytest.raises(ProviderError):
        router.route(CHAT)
    assert router.route(CHAT).model == "gpt-first"
