"""The real openai client reads what was scripted, in each of the ways it can be used."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import httpx
import openai
import pytest

from pytest_modelroute import MockProviders, Reply, ToolCall, faults
from pytest_modelroute.providers.exchange import Message, Tool

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletion, ChatCompletionMessageParam, ChatCompletionToolParam

HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hi"}]
USAGE = {"fresh_input": 3, "cache_read": 2, "output": 4, "reasoning": 1}
WEATHER = ToolCall(name="weather", arguments={"city": "Zürich", "days": [1, 2]}, id="call_7")
CLOCK = ToolCall(name="clock", id="call_8")
TOOL: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


@dataclass(frozen=True)
class Seen:
    """What the client makes of a completion."""

    text: str | None
    model: str
    finish_reason: str
    usage: dict[str, int | None] | None
    tool_calls: tuple[ToolCall, ...]


Ask: TypeAlias = Callable[[], Awaitable[Seen]]


def _seen(completion: ChatCompletion) -> Seen:
    choice, usage = completion.choices[0], completion.usage
    calls = [call for call in choice.message.tool_calls or () if call.type == "function"]
    return Seen(
        text=choice.message.content,
        model=completion.model,
        finish_reason=choice.finish_reason,
        usage=None
        if usage is None
        else {
            "prompt": usage.prompt_tokens,
            "cached": usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else None,
            "completion": usage.completion_tokens,
            "reasoning": usage.completion_tokens_details.reasoning_tokens if usage.completion_tokens_details else None,
            "total": usage.total_tokens,
        },
        tool_calls=tuple(
            ToolCall(name=call.function.name, arguments=json.loads(call.function.arguments), id=call.id)
            for call in calls
        ),
    )


# get_final_completion() raises for the finish reasons length and content_filter: the snapshot is what the client read.


async def _ask() -> Seen:
    with openai.OpenAI(api_key="k", max_retries=0) as client:
        return _seen(client.chat.completions.create(model="m", messages=HI))


async def _ask_stream() -> Seen:
    with (
        openai.OpenAI(api_key="k", max_retries=0) as client,
        client.chat.completions.stream(model="m", messages=HI, stream_options={"include_usage": True}) as stream,
    ):
        stream.until_done()
        return _seen(stream.current_completion_snapshot)


async def _ask_async() -> Seen:
    async with openai.AsyncOpenAI(api_key="k", max_retries=0) as client:
        return _seen(await client.chat.completions.create(model="m", messages=HI))


async def _ask_async_stream() -> Seen:
    async with (
        openai.AsyncOpenAI(api_key="k", max_retries=0) as client,
        client.chat.completions.stream(model="m", messages=HI, stream_options={"include_usage": True}) as stream,
    ):
        await stream.until_done()
        return _seen(stream.current_completion_snapshot)


async def _ask_with_the_older_httpx() -> Seen:
    with httpx.Client() as http, openai.OpenAI(api_key="k", max_retries=0, http_client=cast("Any", http)) as client:
        return _seen(client.chat.completions.create(model="m", messages=HI))


async def _ask_stream_with_the_older_httpx() -> Seen:
    with (
        httpx.Client() as http,
        openai.OpenAI(api_key="k", max_retries=0, http_client=cast("Any", http)) as client,
        client.chat.completions.stream(model="m", messages=HI, stream_options={"include_usage": True}) as stream,
    ):
        stream.until_done()
        return _seen(stream.current_completion_snapshot)


WAYS: dict[str, Ask] = {
    "sync": _ask,
    "sync stream": _ask_stream,
    "async": _ask_async,
    "async stream": _ask_async_stream,
    "httpx": _ask_with_the_older_httpx,
    "httpx stream": _ask_stream_with_the_older_httpx,
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
    """The client's totals include cached and reasoning tokens, as OpenAI's do."""
    mock_providers.on(model="m").replies("text", usage=USAGE, chunks=3)
    assert (await ask()).usage == {"prompt": 5, "cached": 2, "completion": 5, "reasoning": 1, "total": 10}


@in_every_way
@pytest.mark.asyncio
async def test_the_model_is_the_scripted_one(mock_providers: MockProviders, ask: Ask) -> None:
    """The model that answers may have another name than the one asked for."""
    mock_providers.on(model="m").replies("text", model="m-2025")
    assert (await ask()).model == "m-2025"


@in_every_way
@pytest.mark.asyncio
async def test_the_model_is_the_one_asked_for_by_default(mock_providers: MockProviders, ask: Ask) -> None:
    """A script that names no model answers as the one asked for."""
    mock_providers.on(model="m").replies("text")
    assert (await ask()).model == "m"


@in_every_way
@pytest.mark.asyncio
@pytest.mark.parametrize("reason", ["stop", "length", "content_filter"])
async def test_the_finish_reason_is_the_scripted_one(mock_providers: MockProviders, ask: Ask, reason: Any) -> None:
    """The words of this package are OpenAI's own."""
    mock_providers.on(model="m").replies(Reply(text="text", finish_reason=reason))
    assert (await ask()).finish_reason == reason


@in_every_way
@pytest.mark.asyncio
async def test_the_tool_calls_are_the_scripted_ones(mock_providers: MockProviders, ask: Ask) -> None:
    """Name, id and arguments of each call arrive, in their order."""
    mock_providers.on(model="m").replies(
        Reply(text="Let me see.", tool_calls=(WEATHER, CLOCK), finish_reason="tool_calls")
    )
    assert (await ask()).tool_calls == (WEATHER, CLOCK)


@in_every_way
@pytest.mark.asyncio
async def test_a_reply_that_calls_tools_has_stopped_for_them(mock_providers: MockProviders, ask: Ask) -> None:
    """OpenAI gives no reply with tool calls another finish reason, and agents loop by it."""
    mock_providers.on(model="m").replies(Reply(text="", tool_calls=(WEATHER,)))
    assert (await ask()).finish_reason == "tool_calls"


def test_the_chunks_of_a_stream_are_the_scripted_pieces(mock_providers: MockProviders) -> None:
    """Pieces that a script gives are the deltas that the client yields."""
    mock_providers.on(model="m").replies("one two", chunks=["o", "ne t", "wo"])
    with openai.OpenAI(api_key="k") as client:
        chunks = list(client.chat.completions.create(model="m", messages=HI, stream=True))
    assert [chunk.choices[0].delta.content for chunk in chunks if chunk.choices[0].delta.content] == ["o", "ne t", "wo"]


def test_a_stream_without_usage_asked_for_reports_none(mock_providers: MockProviders) -> None:
    """The client sees no usage in any chunk."""
    mock_providers.on(model="m").replies("text", usage=USAGE)
    with openai.OpenAI(api_key="k") as client:
        chunks = list(client.chat.completions.create(model="m", messages=HI, stream=True))
    assert [chunk.usage for chunk in chunks] == [None] * len(chunks)


@pytest.mark.asyncio
async def test_usage_asked_for_comes_in_one_last_chunk_without_choices(mock_providers: MockProviders) -> None:
    """Code that reads choices[0] of every chunk meets the empty list that it meets in life."""
    mock_providers.on(model="m").replies("text", usage=USAGE)
    async with openai.AsyncOpenAI(api_key="k") as client:
        stream = await client.chat.completions.create(
            model="m", messages=HI, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    assert [index for index, chunk in enumerate(chunks) if not chunk.choices] == [len(chunks) - 1]


@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        (faults.rate_limit(), openai.RateLimitError, "rate_limit_exceeded"),
        (faults.authentication(), openai.AuthenticationError, "invalid_api_key"),
        (faults.server_error(), openai.InternalServerError, None),
        (faults.unavailable(), openai.InternalServerError, None),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_fault_is_the_clients_own_error(
    mock_providers: MockProviders, fault: faults.Fault, error: type[openai.APIStatusError], code: str | None
) -> None:
    """Status and body make the client raise the class and code that they make it raise in life."""
    mock_providers.on(model="m").fails(fault)
    with openai.OpenAI(api_key="k", max_retries=0) as client, pytest.raises(error) as raised:
        client.chat.completions.create(model="m", messages=HI)
    assert raised.value.code == code


# What the client sends is what the log shows.


def test_a_request_is_logged_with_its_messages(mock_providers: MockProviders) -> None:
    """Texts stay texts, and parts are joined and kept."""
    image: Any = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    text: Any = {"type": "text", "text": "What is this?"}
    messages: list[ChatCompletionMessageParam] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [text, image]},
    ]
    mock_providers.on(model="m").replies("A dot.")
    with openai.OpenAI(api_key="k") as client:
        client.chat.completions.create(model="m", messages=messages)
    assert mock_providers.calls[0].messages == (
        Message(role="system", text="Be brief."),
        Message(role="user", text="What is this?", parts=(text, image)),
    )


def test_a_request_is_logged_with_its_prompt(mock_providers: MockProviders) -> None:
    """The prompt is the last user message, in front of whatever the tools said since."""
    messages: list[ChatCompletionMessageParam] = [
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": "Rain"},
    ]
    mock_providers.on(model="m").replies("It rains.")
    with openai.OpenAI(api_key="k") as client:
        client.chat.completions.create(model="m", messages=messages)
    assert mock_providers.calls[0].prompt == "Weather?"


def test_a_request_is_logged_with_its_tools(mock_providers: MockProviders) -> None:
    """Name, description and schema are read from the function."""
    mock_providers.on(model="m").replies("text")
    with openai.OpenAI(api_key="k") as client:
        client.chat.completions.create(model="m", messages=HI, tools=[TOOL])
    assert mock_providers.calls[0].tools == (
        Tool(
            name="weather",
            description="The weather.",
            parameters={"type": "object", "properties": {"city": {"type": "string"}}},
        ),
    )


def test_a_request_is_logged_with_its_parameters(mock_providers: MockProviders) -> None:
    """Everything that is no model, message, tool or stream option is a parameter, under its own name."""
    mock_providers.on(model="m").replies("text")
    with openai.OpenAI(api_key="k") as client:
        client.chat.completions.create(
            model="m",
            messages=HI,
            temperature=0,
            max_completion_tokens=9,
            tools=[TOOL],
            tool_choice="auto",
            stream=True,
            stream_options={"include_usage": True},
        ).close()
    assert mock_providers.calls[0].params == {"temperature": 0, "max_completion_tokens": 9, "tool_choice": "auto"}


@pytest.mark.parametrize("stream", [True, False])
def test_a_request_is_logged_with_its_stream_flag(mock_providers: MockProviders, stream: bool) -> None:
    """Whether the client streams is seen on the wire."""
    mock_providers.on(model="m").replies("text")
    with openai.OpenAI(api_key="k") as client:
        client.chat.completions.create(model="m", messages=HI, stream=stream)
    assert mock_providers.calls[0].stream is stream


def test_azures_client_is_logged_as_azure(mock_providers: MockProviders) -> None:
    """A deployment's path is a chat completion, and its host is Azure's."""
    mock_providers.on(model="m", provider="azure").replies("text")
    with openai.AzureOpenAI(
        api_key="k", api_version="2024-10-21", azure_endpoint="https://o.openai.azure.com"
    ) as client:
        client.chat.completions.create(model="m", messages=HI)
    assert [(call.provider, call.model) for call in mock_providers.calls] == [("azure", "m")]
