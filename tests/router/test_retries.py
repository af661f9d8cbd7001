"""When the router's client asks again, and how long it waits before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from pytest_modelroute import MockProviders, Settings, VirtualTime, faults
from pytest_modelroute.errors import ProviderError
from pytest_modelroute.router import ModelClient, ModelRequest

if TYPE_CHECKING:
    from collections.abc import Callable

HI = ModelRequest(prompt="Hi")
LIMITED = {"error": {"message": "Slow down", "type": "requests", "code": "rate_limit_exceeded"}}
KEYS = {"openai": "k", "anthropic": "k"}


def _response(status: int, **headers: str) -> httpx.Response:
    return httpx.Response(
        status, json=LIMITED, headers={name.replace("_", "-"): text for name, text in headers.items()}
    )


def _plain(status: int) -> httpx.Response:
    """An error whose status alone tells its class."""
    return httpx.Response(status, json={"error": {"message": "No"}}, headers={"retry-after": "1"})


def test_a_retry_waits_as_long_as_the_provider_asks(
    mock_providers: MockProviders, client: ModelClient, naps: list[float]
) -> None:
    """Retry-After is obeyed to the second."""
    mock_providers.on(model="gpt-quick").fails(faults.rate_limit(retry_after=2), times=2).replies("Hello")
    client.send("quick", HI)
    assert naps == [2.0, 2.0]


@pytest.mark.asyncio
async def test_an_async_retry_waits_as_long_as_the_provider_asks(
    mock_providers: MockProviders, client: ModelClient, naps: list[float]
) -> None:
    """Retry-After is obeyed by the async sleep."""
    mock_providers.on(model="claude-deep").fails(faults.overloaded(retry_after=7.5), times=1).replies("Hello")
    await client.asend("deep", HI)
    await client.aclose()
    assert naps == [7.5]


def test_an_answer_counts_its_attempts(mock_providers: MockProviders, client: ModelClient) -> None:
    """Two failures and an answer are three attempts."""
    mock_providers.on(model="gpt-quick").fails(faults.unavailable(), times=2).replies("Hello")
    assert client.send("quick", HI).attempts == 3


def test_the_time_of_an_answer_includes_the_waits(mock_providers: MockProviders, client: ModelClient) -> None:
    """Seconds are counted from the first attempt, on the client's clock."""
    mock_providers.on(model="gpt-quick").fails(faults.rate_limit(retry_after=5), times=2).replies("Hello")
    assert client.send("quick", HI).elapsed_s == 10.0


def test_every_attempt_sends_the_same_request(mock_providers: MockProviders, client: ModelClient) -> None:
    """A retry changes nothing."""
    mock_providers.on(model="gpt-quick").fails(faults.server_error(), times=1).replies("Hello")
    client.send("quick", HI)
    assert mock_providers.calls[0].request.body == mock_providers.calls[1].request.body


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 529])
def test_what_may_pass_is_asked_again(played: Callable[..., ModelClient], naps: list[float], status: int) -> None:
    """Limits, timeouts and faults of the server are tried twice more."""
    with pytest.raises(ProviderError):
        played(_plain(status)).send("quick", HI)
    assert naps == [1.0, 1.0]


@pytest.mark.parametrize("status", [302, 400, 401, 402, 403, 404, 409, 413, 422])
def test_what_stays_wrong_is_not_asked_again(
    played: Callable[..., ModelClient], naps: list[float], status: int
) -> None:
    """A wrong key or a wrong request is wrong the next time too, whatever Retry-After says."""
    with pytest.raises(ProviderError):
        played(_plain(status)).send("quick", HI)
    assert naps == []


def test_a_quota_used_up_is_not_asked_again(played: Callable[..., ModelClient], naps: list[float]) -> None:
    """OpenAI says 429 to it as well, and only the code tells them apart."""
    quota = {"error": {"message": "Pay first", "type": "insufficient_quota", "code": "insufficient_quota"}}
    with pytest.raises(ProviderError):
        played(httpx.Response(429, json=quota, headers={"retry-after": "1"})).send("quick", HI)
    assert naps == []


def test_the_longest_wait_is_a_minute(played: Callable[..., ModelClient], naps: list[float]) -> None:
    """A Retry-After of exactly the cap is obeyed."""
    with pytest.raises(ProviderError):
        played(_response(429, retry_after="60")).send("quick", HI)
    assert naps == [60.0, 60.0]


@pytest.mark.parametrize("header", ["60.5", "3600", "inf"])
def test_a_longer_wait_is_an_error_at_once(played: Callable[..., ModelClient], naps: list[float], header: str) -> None:
    """A provider that asks for an hour does not hold up the application."""
    with pytest.raises(ProviderError):
        played(_response(429, retry_after=header)).send("quick", HI)
    assert naps == []


def test_an_error_carries_the_wait_that_was_asked_for(played: Callable[..., ModelClient]) -> None:
    """A caller can decide on the wait itself."""
    with pytest.raises(ProviderError) as error:
        played(_response(429, retry_after="3600")).send("quick", HI)
    assert error.value.retry_after == 3600.0


def test_a_wait_below_zero_is_none(played: Callable[..., ModelClient], naps: list[float]) -> None:
    """Nobody sleeps for less than no time."""
    with pytest.raises(ProviderError):
        played(_response(429, retry_after="-5")).send("quick", HI)
    assert naps == [0.0, 0.0]


@pytest.mark.parametrize("header", [None, "Wed, 21 Oct 2026 07:28:00 GMT", "soon"])
def test_waits_without_seconds_back_off(
    played: Callable[..., ModelClient], naps: list[float], header: str | None
) -> None:
    """Without seconds to obey, waits double from half a second and are spread downwards by a quarter at most."""
    response = _response(503) if header is None else _response(503, retry_after=header)
    with pytest.raises(ProviderError):
        played(response, retries=4).send("quick", HI)
    bounds = [(0.375, 0.5), (0.75, 1.0), (1.5, 2.0), (3.0, 4.0)]
    assert [low <= nap <= high for nap, (low, high) in zip(naps, bounds, strict=True)] == [True] * 4


def test_waits_are_spread(mock_providers: MockProviders, client: ModelClient, naps: list[float]) -> None:
    """Many clients that fail together do not come back together."""
    mock_providers.on(model="gpt-quick").fails(faults.server_error())
    for _ in range(20):
        with pytest.raises(ProviderError):
            client.send("quick", HI)
    assert len(set(naps)) > len(naps) / 2


def test_without_retries_the_first_error_is_final(played: Callable[..., ModelClient], naps: list[float]) -> None:
    """retries=0 means one attempt."""
    with pytest.raises(ProviderError):
        played(_response(503), retries=0).send("quick", HI)
    assert naps == []


def test_the_last_error_is_the_one_raised(played: Callable[..., ModelClient]) -> None:
    """After the retries the caller sees how it ended."""
    with pytest.raises(ProviderError) as error:
        played(_response(500), _response(502), _response(503)).send("quick", HI)
    assert error.value.status == 503


def test_a_refused_connection_is_tried_again(
    mock_providers: MockProviders, client: ModelClient, naps: list[float]
) -> None:
    """A connection error may pass."""
    mock_providers.on(model="gpt-quick").fails(faults.connect_error(), times=1).replies("Hello")
    client.send("quick", HI)
    assert len(naps) == 1


def test_a_refused_connection_is_an_error_without_status(mock_providers: MockProviders, client: ModelClient) -> None:
    """Nobody answered, and the error says why."""
    mock_providers.on(model="gpt-quick").fails(faults.connect_error())
    with pytest.raises(ProviderError) as error:
        client.send("quick", HI)
    assert (str(error.value), error.value.status, error.value.code) == (
        "gpt-quick gave no answer (ConnectError: All connection attempts failed)",
        None,
        "connection",
    )


def test_no_answer_in_time_is_an_error_without_status(mock_providers: MockProviders, client: ModelClient) -> None:
    """A read timeout is told from a refused connection."""
    mock_providers.on(model="claude-deep").fails(faults.read_timeout())
    with pytest.raises(ProviderError) as error:
        client.send("deep", HI)
    assert (str(error.value), error.value.status, error.value.code) == (
        "claude-deep gave no answer (ReadTimeout: The read operation timed out)",
        None,
        "timeout",
    )


@pytest.mark.asyncio
async def test_a_refused_connection_is_an_error_in_async_code(
    mock_providers: MockProviders, client: ModelClient
) -> None:
    """Async code sees the same error."""
    mock_providers.on(model="gpt-quick").fails(faults.connect_error())
    with pytest.raises(ProviderError, match="ConnectError"):
        await client.asend("quick", HI)
    await client.aclose()


def test_the_timeout_of_the_client_is_the_one_that_counts(
    mock_providers: MockProviders, settings: Settings, virtual_time: VirtualTime
) -> None:
    """Three attempts of four seconds pass before a silent provider is given up."""
    mock_providers.on(model="gpt-quick").fails(faults.read_timeout())
    client = ModelClient(settings, keys=KEYS, timeout=4.0, sleep=lambda _: None)
    with pytest.raises(ProviderError):
        client.send("quick", HI)
    client.close()
    assert virtual_time.now == 12.0


def test_the_clock_is_looked_up_when_it_is_needed(mock_providers: MockProviders, settings: Settings) -> None:
    """A client made without clock or sleep lets virtual time pass."""
    mock_providers.on(model="gpt-quick").fails(faults.rate_limit(retry_after=30), times=1).replies("Hello", latency=2)
    client = ModelClient(settings, keys=KEYS)
    answer = client.send("quick", HI)
    client.close()
    assert answer.elapsed_s == 32.0


@pytest.mark.asyncio
async def test_the_async_sleep_is_looked_up_when_it_is_needed(
    mock_providers: MockProviders, settings: Settings
) -> None:
    """An async client made without clock or sleep lets virtual time pass."""
    mock_providers.on(model="gpt-quick").fails(faults.rate_limit(retry_after=30), times=1).replies("Hello", latency=2)
    client = ModelClient(settings, keys=KEYS)
    answer = await client.asend("quick", HI)
    await client.aclose()
    assert answer.elapsed_s == 32.0
