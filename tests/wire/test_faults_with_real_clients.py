"""Scripted faults as the real clients show them: the errors that an application catches in life."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest

from pytest_modelroute import MockProviders, VirtualTime
from pytest_modelroute.faults import (
    Fault,
    authentication,
    connect_error,
    malformed_body,
    overloaded,
    rate_limit,
    read_timeout,
    server_error,
    unavailable,
)

OPENAI_URL = "https://api.openai.com/v1/chat/completions"
BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def ask_openai(client: openai.OpenAI) -> str | None:
    """Ask a model through a client, which is closed then."""
    with client:
        reply = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
    return reply.choices[0].message.content


def ask_openai_async(client: Callable[[], openai.AsyncOpenAI]) -> str | None:
    """The same in an event loop."""

    async def ask() -> str | None:
        async with client() as opened:
            reply = await opened.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
        return reply.choices[0].message.content

    return asyncio.run(ask())


def openai_sync(retries: int = 0) -> str | None:
    """The openai client as it is."""
    return ask_openai(openai.OpenAI(api_key="key", max_retries=retries))


def openai_sync_httpx(retries: int = 0) -> str | None:
    """The openai client over a client of the older httpx."""
    client = httpx.Client()
    return ask_openai(openai.OpenAI(api_key="key", max_retries=retries, http_client=client))  # type: ignore[arg-type]


def openai_async(retries: int = 0) -> str | None:
    """The async openai client as it is."""
    return ask_openai_async(lambda: openai.AsyncOpenAI(api_key="key", max_retries=retries))


def openai_async_httpx(retries: int = 0) -> str | None:
    """The async openai client over a client of the older httpx."""
    return ask_openai_async(
        lambda: openai.AsyncOpenAI(api_key="key", max_retries=retries, http_client=httpx.AsyncClient())  # type: ignore[arg-type]
    )


def text_of(reply: anthropic.types.Message) -> str | None:
    """The text of a message."""
    block = reply.content[0]
    return block.text if block.type == "text" else None


def anthropic_sync(retries: int = 0) -> str | None:
    """The anthropic client."""
    with anthropic.Anthropic(api_key="key", max_retries=retries) as client:
        return text_of(client.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}]))


def anthropic_async(retries: int = 0) -> str | None:
    """The async anthropic client."""

    async def ask() -> str | None:
        async with anthropic.AsyncAnthropic(api_key="key", max_retries=retries) as client:
            return text_of(
                await client.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}])
            )

    return asyncio.run(ask())


Client = Callable[..., str | None]
OPENAI: list[Client] = [openai_sync, openai_sync_httpx, openai_async, openai_async_httpx]
ANTHROPIC: list[Client] = [anthropic_sync, anthropic_async]
FAULTS: list[tuple[Fault, type[Exception], type[Exception]]] = [
    (rate_limit(retry_after=3), openai.RateLimitError, anthropic.RateLimitError),
    (overloaded(), openai.InternalServerError, anthropic.OverloadedError),
    (unavailable(), openai.InternalServerError, anthropic.ServiceUnavailableError),
    (server_error(), openai.InternalServerError, anthropic.InternalServerError),
    (authentication(), openai.AuthenticationError, anthropic.AuthenticationError),
    (connect_error(), openai.APIConnectionError, anthropic.APIConnectionError),
    (read_timeout(), openai.APITimeoutError, anthropic.APITimeoutError),
    (malformed_body(), json.JSONDecodeError, json.JSONDecodeError),
]
MATRIX = [
    pytest.param(client, fault, error, id=f"{client.__name__}-{fault.name}")
    for fault, of_openai, of_anthropic in FAULTS
    for clients, error in ((OPENAI, of_openai), (ANTHROPIC, of_anthropic))
    for client in clients
]
ALL = pytest.mark.parametrize("client", [*OPENAI, *ANTHROPIC], ids=lambda client: client.__name__)


@pytest.mark.parametrize(("client", "fault", "error"), MATRIX)
def test_the_client_raises_what_it_does_in_life(
    mock_providers: MockProviders, client: Client, fault: Fault, error: type[Exception]
) -> None:
    """Each fault shows in each client as the very error class that an application catches."""
    mock_providers.on().fails(fault)
    with pytest.raises(Exception, match=r".") as caught:
        client()
    assert type(caught.value) is error


@pytest.mark.parametrize(("client", "fault", "error"), MATRIX)
def test_the_log_keeps_the_error_class(
    mock_providers: MockProviders, client: Client, fault: Fault, error: type[Exception]
) -> None:
    """The log names the error class that a fault stands for, whichever client meets it."""
    mock_providers.on().fails(fault)
    with pytest.raises(error):
        client()
    assert mock_providers.calls[0].error == fault.kind


@pytest.mark.parametrize(
    ("client", "library"),
    [
        (openai_sync, httpx2),
        (openai_async, httpx2),
        (anthropic_sync, httpx2),
        (anthropic_async, httpx2),
        (openai_sync_httpx, httpx),
        (openai_async_httpx, httpx),
    ],
)
@pytest.mark.parametrize(("fault", "name"), [(connect_error(), "ConnectError"), (read_timeout(), "ReadTimeout")])
def test_the_cause_is_of_the_clients_own_library(
    mock_providers: MockProviders, client: Client, library: object, fault: Fault, name: str
) -> None:
    """A fault of the transport is raised as the library under the client raises it."""
    mock_providers.on().fails(fault)
    with pytest.raises((openai.APIConnectionError, anthropic.APIConnectionError)) as caught:
        client()
    assert type(caught.value.__cause__) is getattr(library, name)


@ALL
def test_a_good_reply_arrives(mock_providers: MockProviders, client: Client) -> None:
    """Each client reads the text of a scripted reply."""
    mock_providers.on().replies("hello")
    assert client() == "hello"


@ALL
def test_a_client_waits_as_long_as_retry_after_says(
    mock_providers: MockProviders, virtual_time: VirtualTime, client: Client
) -> None:
    """A client that is told to come back in 3 seconds sleeps exactly 3 seconds of virtual time."""
    mock_providers.on().fails(rate_limit(retry_after=3), times=1).then.replies("ok")
    client(retries=1)
    assert virtual_time.now == 3


@ALL
def test_a_client_gives_up_after_its_retries(mock_providers: MockProviders, client: Client) -> None:
    """A client that retries twice sends three calls."""
    mock_providers.on().fails(overloaded())
    with pytest.raises((openai.APIStatusError, anthropic.APIStatusError)):
        client(retries=2)
    assert len(mock_providers.calls) == 3


@ALL
def test_back_off_passes_in_virtual_time(
    mock_providers: MockProviders, virtual_time: VirtualTime, client: Client
) -> None:
    """The back-off of a client without Retry-After moves the test's clock."""
    mock_providers.on().fails(unavailable(), times=1).then.replies("ok")
    client(retries=1)
    assert virtual_time.now > 0


@pytest.mark.parametrize("client", ANTHROPIC)
def test_an_hour_of_retry_after_passes_at_once(
    mock_providers: MockProviders, virtual_time: VirtualTime, client: Client
) -> None:
    """An hour that a provider asks for, which anthropic obeys, passes on the test's clock only."""
    mock_providers.on().fails(rate_limit(retry_after=3600), times=1).then.replies("ok")
    client(retries=1)
    assert virtual_time.now == 3600


def test_openai_reads_the_code_of_a_rate_limit(mock_providers: MockProviders) -> None:
    """An application can tell a rate limit from an empty account by its code."""
    mock_providers.on().fails(rate_limit())
    with pytest.raises(openai.RateLimitError) as caught:
        openai_sync()
    assert caught.value.code == "rate_limit_exceeded"


def test_a_default_timeout_is_waited_for(mock_providers: MockProviders, virtual_time: VirtualTime) -> None:
    """A read timeout takes the 600 seconds that openai waits by itself."""
    mock_providers.on().fails(read_timeout())
    with pytest.raises(openai.APITimeoutError):
        openai_sync()
    assert virtual_time.now == 600


def test_a_fault_meets_a_stream_too(mock_providers: MockProviders) -> None:
    """A stream that is asked for and refused raises before its first chunk."""
    mock_providers.on().fails(overloaded())
    with (
        anthropic.Anthropic(api_key="key", max_retries=0) as client,
        pytest.raises(anthropic.OverloadedError),
        client.messages.stream(model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}]),
    ):
        pass


def test_a_malformed_body_may_be_ones_own(mock_providers: MockProviders) -> None:
    """The bytes given to malformed_body are sent as they are."""
    mock_providers.on().fails(malformed_body(b"<html>gateway</html>"))
    assert httpx.post(OPENAI_URL, json=BODY).content == b"<html>gateway</html>"


def test_both_libraries_are_served_in_one_test(mock_providers: MockProviders) -> None:
    """Clients of httpx and httpx2 meet the same script in one test, and the log tells them apart."""
    mock_providers.on().replies(["one", "two"])
    httpx.post(OPENAI_URL, json=BODY)
    httpx2.post(OPENAI_URL, json=BODY)
    assert [call.client for call in mock_providers.calls] == ["httpx", "httpx2"]


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_a_plain_client_meets_its_own_connect_error(mock_providers: MockProviders, library: Any) -> None:
    """Without an SDK in between, the library's own error comes out, with the request that it belongs to."""
    mock_providers.on().fails(connect_error())
    with pytest.raises(library.ConnectError) as caught:
        library.post(OPENAI_URL, json=BODY)
    assert str(caught.value.request.url) == OPENAI_URL


def test_a_slow_refusal_is_a_connect_timeout(mock_providers: MockProviders) -> None:
    """A connection that is refused later than the client waits for one ends in its ConnectTimeout."""
    mock_providers.on().fails(connect_error(), latency=10)
    with pytest.raises(httpx.ConnectTimeout):
        httpx.post(OPENAI_URL, json=BODY, timeout=httpx.Timeout(5))
