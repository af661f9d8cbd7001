"""A client's own timeout against scripted latencies, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import ModuleType
from typing import Any

import httpx
import httpx2
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_modelroute import MockProviders, VirtualTime
from pytest_modelroute.faults import read_timeout
from pytest_modelroute.testrun import TestRun

URL = "https://api.openai.com/v1/chat/completions"
BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
Post = Callable[..., Any]


def sync_post(library: ModuleType, *, timeout: float | None, **members: Any) -> Any:
    """Post with a client of the library."""
    return library.post(URL, json={**BODY, **members}, timeout=timeout)


def async_post(library: ModuleType, *, timeout: float | None, **members: Any) -> Any:
    """Post with an async client of the library."""

    async def post() -> Any:
        async with library.AsyncClient(timeout=timeout) as client:
            return await client.post(URL, json={**BODY, **members})

    return asyncio.run(post())


everywhere = pytest.mark.parametrize("library", [httpx, httpx2])
either_way = pytest.mark.parametrize("post", [sync_post, async_post])


@everywhere
@either_way
def test_a_latency_beyond_the_timeout_times_out(mock_providers: MockProviders, library: ModuleType, post: Post) -> None:
    """A reply that comes too late raises the ReadTimeout of the client's own library."""
    mock_providers.on().replies("late", latency=2.001)
    with pytest.raises(library.ReadTimeout):
        post(library, timeout=2)


@everywhere
@either_way
def test_a_timeout_takes_exactly_its_time(
    mock_providers: MockProviders, virtual_time: VirtualTime, library: ModuleType, post: Post
) -> None:
    """The client gives up after its timeout, not after the latency."""
    mock_providers.on().replies("late", latency=60)
    with pytest.raises(library.ReadTimeout):
        post(library, timeout=2.5)
    assert virtual_time.now == 2.5


@everywhere
@either_way
def test_a_latency_equal_to_the_timeout_is_in_time(
    mock_providers: MockProviders, library: ModuleType, post: Post
) -> None:
    """A reply that comes on the last moment counts."""
    mock_providers.on().replies("just", latency=2)
    assert post(library, timeout=2).status_code == 200


@everywhere
@either_way
def test_no_timeout_waits_for_ever(
    mock_providers: MockProviders, virtual_time: VirtualTime, library: ModuleType, post: Post
) -> None:
    """A client without a timeout waits a day."""
    mock_providers.on().replies("ok", latency=86_400)
    post(library, timeout=None)
    assert virtual_time.now == 86_400


@everywhere
@either_way
def test_the_gap_between_chunks_times_out(mock_providers: MockProviders, library: ModuleType, post: Post) -> None:
    """A stream whose chunks come too far apart raises ReadTimeout, although the first chunk was in time."""
    mock_providers.on().replies("a b", ttft=1, latency=4)
    with pytest.raises(library.ReadTimeout):
        post(library, timeout=2, stream=True)


@everywhere
@either_way
def test_a_gap_takes_exactly_the_timeout(
    mock_providers: MockProviders, virtual_time: VirtualTime, library: ModuleType, post: Post
) -> None:
    """In a stream the timeout counts anew from each chunk."""
    mock_providers.on().replies("a b c", ttft=1, latency=9)
    with pytest.raises(library.ReadTimeout):
        post(library, timeout=2, stream=True)
    assert virtual_time.now == 3


@everywhere
@either_way
def test_a_long_stream_of_short_gaps_is_in_time(mock_providers: MockProviders, library: ModuleType, post: Post) -> None:
    """A stream may take longer than the timeout as long as no gap does."""
    mock_providers.on().replies("a b c d", latency=8)
    assert post(library, timeout=2, stream=True).status_code == 200


@everywhere
@either_way
def test_a_read_timeout_comes_after_the_clients_own(
    mock_providers: MockProviders, virtual_time: VirtualTime, library: ModuleType, post: Post
) -> None:
    """A provider that never answers is waited for as long as the client's timeout."""
    mock_providers.on().fails(read_timeout())
    with pytest.raises(library.ReadTimeout):
        post(library, timeout=7)
    assert virtual_time.now == 7


def test_a_timed_out_call_is_logged(mock_providers: MockProviders) -> None:
    """The log says that a call timed out, and how long it took."""
    mock_providers.on().replies("late", latency=60)
    with pytest.raises(httpx.ReadTimeout):
        sync_post(httpx, timeout=2)
    call = mock_providers.calls[0]
    assert (call.error, call.latency_s, call.status) == ("timeout", 2, None)


def test_a_stream_that_times_out_is_logged(mock_providers: MockProviders) -> None:
    """The log says that a stream timed out after its head had come."""
    mock_providers.on().replies("a b", ttft=1, latency=60)
    with pytest.raises(httpx.ReadTimeout):
        sync_post(httpx, timeout=2, stream=True)
    call = mock_providers.calls[0]
    assert (call.error, call.latency_s, call.ttft_s, call.status) == ("timeout", 3, 1, 200)


def test_openai_raises_its_own_timeout(mock_providers: MockProviders) -> None:
    """The timeout of an openai client ends in APITimeoutError."""
    mock_providers.on().replies("late", latency=5)
    with openai.OpenAI(api_key="key", max_retries=0, timeout=1) as client, pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])


def test_a_retried_timeout_takes_its_time_each_time(mock_providers: MockProviders, virtual_time: VirtualTime) -> None:
    """A client that retries waits its timeout for each call, beside its back-off."""
    mock_providers.on().replies("late", latency=60)
    with openai.OpenAI(api_key="key", max_retries=1, timeout=10) as client, pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
    assert 20 < virtual_time.now < 30


@settings(deadline=None, max_examples=60)
@given(latency=st.integers(0, 5_000), timeout=st.integers(1, 5_000))
def test_a_call_takes_the_shorter_of_latency_and_timeout(
    ask: Callable[..., httpx.Response], new_run: Callable[[], TestRun], latency: int, timeout: int
) -> None:
    """For any latency and timeout in milliseconds, the call ends at the earlier of them, to the nanosecond."""
    run = new_run()
    with run.listening(), run.virtual_time() as clock, run.scripted() as scripts:
        scripts.on().replies("ok", latency=latency / 1000)
        late = False
        try:
            ask(timeout=timeout / 1000)
        except httpx.ReadTimeout:
            late = True
        assert (late, clock.now) == (latency > timeout, min(latency, timeout) / 1000)
