"""The real mistralai client, which validates strictly, reads what was scripted, in each of the ways it can be used."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias

import httpx2
import pytest
from mistralai.client import Mistral
from mistralai.client.errors import HTTPValidationError, ResponseValidationError, SDKError

from pytest_modelroute import MockProviders, Reply, ToolCall, faults
from pytest_modelroute.providers.exchange import Message, Tool, Usage

HI: list[Any] = [{"role": "user", "content": "Hi"}]
USAGE = {"fresh_input": 3, "cache_read": 2, "output": 4}
WEATHER = ToolCall(name="weather", arguments={"city": "Zürich", "days": [1, 2]}, id="D681PevKs")
CLOCK = ToolCall(name="clock", id="E792QfwLt")
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


@dataclass
class Seen:
    """What the client makes of a completion."""

    text: str = ""
    model: str = ""
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None
    tool_calls: list[ToolCall] = field(default_factory=list)

    def take(self, message: Any, finish_reason: Any, model: str, usage: Any) -> None:
        """Add a message, or a part of one."""
        self.text += message.content or ""
        self.model = model
        self.finish_reason = finish_reason
        if usage:
            self.usage = {"prompt": usage.prompt_tokens, "completion": usage.completion_tokens}
            self.usage |= {"total": usage.total_tokens, "details": usage.prompt_tokens_details}
        self.tool_calls += [
            ToolCall(name=call.function.name, arguments=json.loads(call.function.arguments), id=call.id)
            for call in message.tool_calls or ()
        ]


Ask: TypeAlias = Callable[[], Awaitable[Seen]]


def _seen(reply: Any) -> Seen:
    seen, (choice,) = Seen(), reply.choices
    seen.take(choice.message, choice.finish_reason, reply.model, reply.usage)
    return seen


def _seen_in(events: Iterable[Any]) -> Seen:
    seen = Seen()
    for event in events:
        (choice,) = event.data.choices
        seen.take(choice.delta, choice.finish_reason, event.data.model, event.data.usage)
    return seen


async def _ask() -> Seen:
    with Mistral(api_key="k") as client:
        return _seen(client.chat.complete(model="m", messages=HI))


async def _ask_stream() -> Seen:
    with Mistral(api_key="k") as client, client.chat.stream(model="m", messages=HI) as stream:
        return _seen_in(stream)


async def _ask_async() -> Seen:
    async with Mistral(api_key="k") as client:
        return _seen(await client.chat.complete_async(model="m", messages=HI))


async def _ask_async_stream() -> Seen:
    async with Mistral(api_key="k") as client, await client.chat.stream_async(model="m", messages=HI) as stream:
        return _seen_in([event async for event in stream])


WAYS: dict[str, Ask] = {
    "sync": _ask,
    "sync stream": _ask_stream,
    "async": _ask_async,
    "async stream": _ask_async_stream,
}
in_every_way = pytest.mark.parametrize("ask", WAYS.values(), ids=WAYS.keys())


@in_every_way
@pytest.mark.asyncio
@pytest.mark.parametrize("text", ["Good morning to you", "", "Zürich \u2028 \"x\"\r\n\n 'y' 🦦", "  padded  "])
async def test_the_text_is_the_scripted_one(mock_providers: MockProviders, ask: Ask, text: str) -> None:
    """Every character arrives, in one piece or in three."""
    mock_providers.on(model="m").replies(text, chunks=3)
    assert (await ask()).text == text


@in_every_way
@pytest.mark.asyncio
async def test_the_usage_is_the_scripted_one(mock_providers: MockProviders, ask: Ask) -> None:
    """Input includes cached tokens; a stream reports usage unasked, in its last chunk."""
    mock_providers.on(model="m").replies("text", usage=USAGE, chunks=3)
    assert (await ask()).usage == {"prompt": 5, "completion": 4, "total": 9, "details": {"cached_tokens": 2}}


@in_every_way
@pytest.mark.asyncio
async def test_the_model_is_the_scripted_one(mock_providers: MockProviders, ask: Ask) -> None:
    """The model that answers may have another name than the one asked for."""
    mock_providers.on(model="m").replies("text", model="m-2509")
    assert (await ask()).model == "m-2509"


@in_every_way
@pytest.mark.asyncio
@pytest.mark.parametrize("reason", ["stop", "length"])
async def test_the_finish_reason_is_the_scripted_one(mock_providers: MockProviders, ask: Ask, reason: Any) -> None:
    """The words are OpenAI's."""
    mock_providers.on(model="m").replies(Reply(text="text", finish_reason=reason))
    assert (await ask()).finish_reason == reason


@in_every_way
@pytest.mark.asyncio
async def test_the_tool_calls_are_the_scripted_ones(mock_providers: MockProviders, ask: Ask) -> None:
    """Name, id and arguments of each call arrive, in their order."""
    mock_providers.on(model="m").replies(Reply(text="Let me see.", tool_calls=(WEATHER, CLOCK)))
    seen = await ask()
    assert (seen.tool_calls, seen.finish_reason) == ([WEATHER, CLOCK], "tool_calls")


@in_every_way
@pytest.mark.asyncio
async def test_the_call_is_logged(mock_providers: MockProviders, ask: Ask) -> None:
    """Provider, format, text and usage stand in the log when the client has read its answer."""
    mock_providers.on(model="m", provider="mistral").replies("text", usage=USAGE)
    await ask()
    call = mock_providers.calls[0]
    assert (call.provider, call.language, call.text, call.completed) == ("mistral", "mistral-chat", "text", True)
    assert call.usage == Usage(**USAGE)


def test_a_completion_has_the_price_of_its_model(mock_providers: MockProviders) -> None:
    """By Mistral's price list, in USD."""
    mock_providers.on().replies("text", usage={"fresh_input": 1000, "output": 100})
    with Mistral(api_key="k") as client:
        client.chat.complete(model="mistral-large-latest", messages=HI)
    assert mock_providers.calls.cost_usd == Decimal("0.0026")


def test_the_chunks_of_a_stream_are_the_scripted_pieces(mock_providers: MockProviders) -> None:
    """Pieces that a script gives are the deltas that the client yields."""
    mock_providers.on(model="m").replies("one two", chunks=["o", "ne t", "wo"])
    with Mistral(api_key="k") as client, client.chat.stream(model="m", messages=HI) as stream:
        deltas = [event.data.choices[0].delta.content for event in stream]
    assert [delta for delta in deltas if delta] == ["o", "ne t", "wo"]


def test_openais_client_on_mistrals_host_speaks_its_dialect(mock_providers: MockProviders) -> None:
    """The format belongs to the host, whichever client asks it; usage comes unasked."""
    import openai

    mock_providers.on(model="m").replies("text")
    with openai.OpenAI(api_key="k", base_url="https://api.mistral.ai/v1") as client:
        chunks = list(client.chat.completions.create(model="m", messages=HI, stream=True))
    assert (mock_providers.calls[0].language, chunks[-1].usage is not None) == ("mistral-chat", True)


# Errors


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (faults.rate_limit(), 429, "1300"),
        (faults.overloaded(), 429, "3505"),
        (faults.quota_exhausted(), 402, "2303"),
        (faults.unavailable(), 503, "3800"),
        (faults.server_error(), 500, None),
        (faults.request_timeout(), 408, None),
        (faults.model_not_found(), 400, "1500"),
        (faults.context_overflow(), 400, "3051"),
        (faults.authentication(), 401, None),
        (faults.permission(), 403, "1910"),
        (faults.content_filter(), 403, "1920"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
@in_every_way
@pytest.mark.asyncio
async def test_a_fault_is_the_clients_own_error(
    mock_providers: MockProviders, ask: Ask, fault: faults.Fault, status: int, code: str | None
) -> None:
    """The client has one class for nearly all; status and code, in the body, tell them apart."""
    mock_providers.on(model="m").fails(fault)
    with pytest.raises(SDKError) as raised:
        await ask()
    error = raised.value
    assert (error.status_code, json.loads(error.body)["code"], len(mock_providers.calls)) == (status, code, 1)
    assert mock_providers.calls[0].error == fault.kind


@in_every_way
@pytest.mark.asyncio
async def test_a_bad_request_is_an_error_of_another_class(mock_providers: MockProviders, ask: Ask) -> None:
    """A handler of SDKError alone does not catch it."""
    mock_providers.on(model="m").fails(faults.bad_request())
    with pytest.raises(HTTPValidationError) as raised:
        await ask()
    assert (raised.value.status_code, isinstance(raised.value, SDKError)) == (422, False)
    assert json.loads(raised.value.body)["message"]["detail"][0]["msg"] == "The request is not valid"


@in_every_way
@pytest.mark.asyncio
async def test_an_error_of_the_transport_comes_through(mock_providers: MockProviders, ask: Ask) -> None:
    """The client wraps none: an application meets errors of httpx2."""
    mock_providers.on(model="m").fails(faults.connect_error())
    with pytest.raises(httpx2.ConnectError):
        await ask()


@pytest.mark.parametrize("ask", [_ask, _ask_async])
@pytest.mark.asyncio
async def test_a_reply_without_usage_is_not_accepted(mock_providers: MockProviders, ask: Ask) -> None:
    """The client takes usage for granted."""
    mock_providers.on(model="m").fails(faults.missing_usage())
    with pytest.raises(ResponseValidationError):
        await ask()


@pytest.mark.parametrize("kind", ["overloaded", "rate_limited", "server_error"])
def test_an_error_in_the_stream_does_not_validate(mock_providers: MockProviders, kind: Any) -> None:
    """The client knows no errors in a stream: it raises that the event lacks what a chunk must have."""
    mock_providers.on(model="m").fails(faults.stream_error(after=1, text="one two", kind=kind))
    texts: list[Any] = []
    with (
        Mistral(api_key="k") as client,
        pytest.raises(ResponseValidationError, match=r"data\.choices\n +Field required"),
    ):
        texts.extend(event.data.choices[0].delta.content for event in client.chat.stream(model="m", messages=HI))
    assert (texts, mock_providers.calls[0].error) == (["", "one"], kind)


# What the client sends is what the log shows.


def test_a_request_is_logged_with_its_messages(mock_providers: MockProviders) -> None:
    """Texts stay texts, and parts are joined and kept."""
    parts: list[Any] = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": "https://a/b.png"},
    ]
    messages: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": parts}]
    mock_providers.on(model="m").replies("A dot.")
    with Mistral(api_key="k") as client:
        client.chat.complete(model="m", messages=messages)
    assert mock_providers.calls[0].messages == (
        Message(role="system", text="Be brief."),
        Message(role="user", text="What is this?", parts=tuple(parts)),
    )


def test_a_request_is_logged_with_its_tools(mock_providers: MockProviders) -> None:
    """Name, description and schema are read from the function."""
    mock_providers.on(model="m").replies("text")
    with Mistral(api_key="k") as client:
        client.chat.complete(model="m", messages=HI, tools=[TOOL])
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    assert mock_providers.calls[0].tools == (Tool(name="weather", description="The weather.", parameters=parameters),)


def test_a_request_is_logged_with_its_parameters(mock_providers: MockProviders) -> None:
    """Mistral's own parameters too."""
    mock_providers.on(model="m").replies("text")
    with Mistral(api_key="k") as client:
        client.chat.complete(model="m", messages=HI, temperature=0, max_tokens=9, random_seed=1)
    params = mock_providers.calls[0].params
    assert (params["temperature"], params["max_tokens"], params["random_seed"]) == (0, 9, 1)


@pytest.mark.parametrize("ask", [_ask, _ask_stream])
@pytest.mark.asyncio
async def test_a_request_is_logged_with_its_stream_flag(mock_providers: MockProviders, ask: Ask) -> None:
    """Whether the client streams is seen on the wire."""
    mock_providers.on(model="m").replies("text")
    await ask()
    assert mock_providers.calls[0].stream is (ask is _ask_stream)
