"""Each provider's real client is given `url` and `key` as they are; those that nothing intercepts call for real."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anthropic
import boto3  # type: ignore[import-untyped]
import ollama
import openai
import pytest
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import (  # type: ignore[import-untyped]
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    ReadTimeoutError,
)
from google import genai
from google.genai import types
from mistralai.client import Mistral

from pytest_modelroute import CallLog, MockProviders, VirtualTime
from pytest_modelroute.faults import connection_reset, overloaded, rate_limit, read_timeout
from pytest_modelroute.testrun import TestRun

pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession")  # of google-genai
HELLO: Any = [{"role": "user", "content": "hi"}]


def by_openai(url: str, key: str) -> str | None:
    """OpenAI's client, which is everybody's."""
    with openai.OpenAI(base_url=url, api_key=key) as client:
        return client.chat.completions.create(model="m", messages=HELLO).choices[0].message.content


def by_azure(url: str, key: str) -> str | None:
    """OpenAI's client for Azure, whose path holds the deployment."""
    client = openai.AzureOpenAI(azure_endpoint=url, api_key=key, api_version="2024-10-21")
    with client:
        return client.chat.completions.create(model="m", messages=HELLO).choices[0].message.content


def by_anthropic(url: str, key: str) -> str | None:
    """Anthropic's client."""
    with anthropic.Anthropic(base_url=url, api_key=key) as client:
        block = client.messages.create(model="m", max_tokens=9, messages=HELLO).content[0]
    return getattr(block, "text", None)


def by_google(url: str, key: str) -> str | None:
    """Google's client."""
    with genai.Client(api_key=key, http_options=types.HttpOptions(base_url=url)) as client:
        return client.models.generate_content(model="m", contents="hi").text


def by_google_async(url: str, key: str) -> str | None:
    """Google's client on aiohttp, which it takes for async calls."""

    async def ask() -> str | None:
        client = genai.Client(api_key=key, http_options=types.HttpOptions(base_url=url))
        async with client.aio as opened:
            return (await opened.models.generate_content(model="m", contents="hi")).text

    return asyncio.run(ask())


def by_mistral(url: str, key: str) -> str | None:
    """Mistral's client."""
    with Mistral(server_url=url, api_key=key) as client:
        reply: Any = client.chat.complete(model="m", messages=HELLO)
    text: str = reply.choices[0].message.content
    return text


def by_ollama(url: str, key: str) -> str | None:
    """Ollama's client, which needs no key."""
    del key
    return ollama.Client(host=url).chat(model="m", messages=HELLO).message.content


def bedrock(url: str, **options: Any) -> Any:
    """A boto3 client; the pair of keys is any: nobody checks the signature."""
    return boto3.client(
        "bedrock-runtime",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="not-a-real-id",
        aws_secret_access_key="not-a-real-secret",
        config=Config(**{"retries": {"total_max_attempts": 1}, **options}),
    )


def converse(client: Any) -> str:
    """The text of an answer."""
    reply = client.converse(modelId="m", messages=[{"role": "user", "content": [{"text": "hi"}]}])
    text: str = reply["output"]["message"]["content"][0]["text"]
    return text


def by_boto3(url: str, key: str) -> str | None:
    """AWS's client, on urllib3: over the socket."""
    del key
    return converse(bedrock(url))


CLIENTS: dict[str, tuple[str, Callable[[str, str], str | None], str, str]] = {
    "openai": ("openai", by_openai, "openai-chat", "httpx2"),
    "openai-2": ("openai-2", by_openai, "openai-chat", "httpx2"),
    "groq": ("groq", by_openai, "openai-chat", "httpx2"),
    "own": ("cheap-host", by_openai, "openai-chat", "httpx2"),
    "azure": ("azure", by_azure, "openai-chat", "httpx2"),
    "anthropic": ("anthropic", by_anthropic, "anthropic-messages", "httpx2"),
    "google": ("google", by_google, "gemini", "httpx2"),
    "google on aiohttp": ("google", by_google_async, "gemini", "aiohttp"),
    "mistral": ("mistral", by_mistral, "mistral-chat", "httpx2"),
    "ollama": ("ollama", by_ollama, "ollama-chat", "httpx"),
    "aws": ("aws", by_boto3, "bedrock-converse", "Boto3"),
}
"""The provider's name, its client, the format that the log shows, and the library that calls."""


@pytest.mark.parametrize(("name", "ask", "language", "library"), CLIENTS.values(), ids=CLIENTS)
def test_the_client_takes_url_and_key_as_they_are(
    mock_providers: MockProviders,
    call_log: CallLog,
    name: str,
    ask: Callable[[str, str], str | None],
    language: str,
    library: str,
) -> None:
    """The call is the name's, in the provider's format."""
    url, key = mock_providers.url(name), mock_providers.key(name)
    mock_providers.on(provider=name).replies("hello")
    assert ask(url, key) == "hello"
    assert (call_log[0].provider, call_log[0].language, call_log[0].client) == (name, language, library)


def test_google_on_aiohttp_streams_in_virtual_time(mock_providers: MockProviders, virtual_time: VirtualTime) -> None:
    """Its async client is on aiohttp, without a URL of ours: the provider's own host is answered in memory."""
    mock_providers.on(provider="google").replies("one two three", latency=6, chunks=3)

    async def ask() -> str:
        client = genai.Client(api_key="x")
        async with client.aio as opened:
            stream = await opened.models.generate_content_stream(model="m", contents="hi")
            return "".join([chunk.text or "" async for chunk in stream])

    assert asyncio.run(ask()) == "one two three"
    assert virtual_time.now == 6.0


def test_google_on_aiohttp_gets_its_own_error(mock_providers: MockProviders, virtual_time: VirtualTime) -> None:
    """A refusal is the SDK's error, on this stack too."""
    mock_providers.on(provider="google").fails(overloaded(), latency=1)

    async def ask() -> None:
        client = genai.Client(api_key="x")
        async with client.aio as opened:
            await opened.models.generate_content(model="m", contents="hi")

    with pytest.raises(genai.errors.ServerError, match="503"):
        asyncio.run(ask())
    assert virtual_time.now == 1.0


def test_boto3_retries_in_virtual_time(
    mock_providers: MockProviders, call_log: CallLog, virtual_time: VirtualTime
) -> None:
    """The back-off of botocore is a sleep on the test's thread."""
    mock_providers.on(provider="aws").fails(rate_limit(), times=2).then.replies("hello")
    client = bedrock(mock_providers.url("aws"), retries={"mode": "standard", "total_max_attempts": 3})
    assert converse(client) == "hello"
    assert [call.status for call in call_log] == [429, 429, 200]
    assert virtual_time.now > 0.0


def test_boto3_gets_its_own_errors(mock_providers: MockProviders, call_log: CallLog) -> None:
    """A refusal, a reset and a time-out, each as botocore says it."""
    mock_providers.on(provider="aws").replies([rate_limit(), connection_reset(), read_timeout()])
    client = bedrock(mock_providers.url("aws"), read_timeout=0.05)
    for error in (ClientError, ConnectionClosedError, ReadTimeoutError):
        with pytest.raises(error):
            converse(client)
    assert [call.error for call in call_log] == ["rate_limited", "connection", "timeout"]


def test_boto3_is_told_where_the_scripts_are(new_run: Callable[[], TestRun]) -> None:
    """A client that was not given the URL is refused, and the failure says what to give it."""
    run = new_run()
    with run.listening(), run.virtual_time(), run.scripted() as scripts:
        scripts.otherwise("hello")
        with pytest.raises(EndpointConnectionError):
            converse(bedrock("https://bedrock-runtime.us-east-1.amazonaws.com"))
    (failure,) = run.wire.failures()
    assert failure.startswith("a connection to bedrock-runtime.us-east-1.amazonaws.com was refused (boto")
    assert 'give it mock_providers.url("aws") as its base URL' in failure
