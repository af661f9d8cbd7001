"""The real anthropic client reads what was scripted, in each of the ways it can be used."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import anthropic
import pytest

from pytest_modelroute import MockProviders, Reply, ToolCall, faults
from pytest_modelroute.providers.exchange import Message, Tool

if TYPE_CHECKING:
    from anthropic.types import Message as Answer
    from anthropic.types import MessageParam, ToolParam

HI: list[MessageParam] = [{"role": "user", "content": "Hi"}]
USAGE = {"fresh_input": 3, "cache_read": 2, "cache_write": 6, "output": 4, "reasoning": 1}
WEATHER = ToolCall(name="weather", arguments={"city": "Zürich", "days": [1, 2]}, id="toolu_7")
CLOCK = ToolCall(name="clock", id="toolu_8")
TOOL: ToolParam = {
    "name": "weather",
    "description": "The weather.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@dataclass(frozen=True)
class Seen:
    """What the client makes of a message."""

    text: str
    model: str
    stop_reason: str | None
    usage: dict[str, int | None]
    tool_calls: tuple[ToolCall, ...]


Ask: TypeAlias = Callable[[], Awaitable[Seen]]


def _seen(message: Answer) -> Seen:
    return Seen(
        text="".join(block.text for block in message.content if block.type == "text"),
        model=message.model,
        stop_reason=message.stop_reason,
        usage={
            "input": message.usage.input_tokens,
            "read": message.usage.cache_read_input_tokens,
            "written": message.usage.cache_creation_input_tokens,
            "output": message.usage.output_tokens,
        },
        tool_calls=tuple(
            ToolCall(name=block.name, arguments=dict(block.input), id=block.id)
            for block in message.content
            if block.type == "tool_use"
        ),
    )


async def _ask() -> Seen:
    with anthropic.Anthropic(api_key="k", max_retries=0) as client:
        return _seen(client.messages.create(model="m", messages=HI, max_tokens=9))


async def _ask_stream() -> Seen:
    with (
        anthropic.Anthropic(api_key="k", max_retries=0) as client,
        client.messages.stream(model="m", messages=HI, max_tokens=9) as stream,
    ):
        return _seen(stream.get_final_message())


async def _ask_async() -> Seen:
    async with anthropic.AsyncAnthropic(api_key="k", max_retries=0) as client:
        return _seen(await client.messages.create(model="m", messages=HI, max_tokens=9))


async def _ask_async_stream() -> Seen:
    async with (
        anthropic.AsyncAnthropic(api_key="k", max_retries=0) as client,
        client.messages.stream(model="m", messages=HI, max_tokens=9) as stream,
    ):
        return _seen(await stream.get_final_message())


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
    """The client's input excludes both cache buckets, and its output includes reasoning, as Anthropic's do."""
    mock_providers.on(model="m").replies("text", usage=USAGE, chunks=3)
    assert (await ask()).usage == {"input": 3, "read": 2, "written": 6, "output": 5}


@in_every_way
@pytest.mark.asyncio
async def test_the_model_is_the_scripted_one(mock_providers: MockProviders, ask: Ask) -> None:
    """The model that answers may have another name than the one asked for."""
    mock_providers.on(model="m").replies("text", model="m-2025")
    assert (await ask()).model == "m-2025"


@in_every_way
@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("reason", "word"),
    [("stop", "end_turn"), ("length", "max_tokens"), ("tool_calls", "tool_use"), ("content_filter", "refusal")],
)
async def test_the_stop_reason_is_the_scripted_one(
    mock_providers: MockProviders, ask: Ask, reason: Any, word: str
) -> None:
    """The words of this package are said in Anthropic's."""
    mock_providers.on(model="m").replies(Reply(text="text", finish_reason=reason))
    assert (await ask()).stop_reason == word


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
    """Anthropic gives no message with tool calls another stop reason, and agents loop by it."""
    mock_providers.on(model="m").replies(Reply(text="", tool_calls=(WEATHER,)))
    assert (await ask()).stop_reason == "tool_use"


def test_the_deltas_of_a_stream_are_the_scripted_pieces(mock_providers: MockProviders) -> None:
    """Pieces that a script gives are the texts that the client yields."""
    mock_providers.on(model="m").replies("one two", chunks=["o", "ne t", "wo"])
    with (
        anthropic.Anthropic(api_key="k") as client,
        client.messages.stream(model="m", messages=HI, max_tokens=9) as stream,
    ):
        assert list(stream.text_stream) == ["o", "ne t", "wo"]


@pytest.mark.asyncio
async def test_the_raw_events_of_a_stream_end_with_its_stop(mock_providers: MockProviders) -> None:
    """A client that reads events itself sees the whole message."""
    mock_providers.on(model="m").replies("one two", chunks=2)
    async with anthropic.AsyncAnthropic(api_key="k") as client:
        stream = await client.messages.create(model="m", messages=HI, max_tokens=9, stream=True)
        kinds = [event.type async for event in stream]
    assert kinds == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.rate_limit(), anthropic.RateLimitError),
        (faults.authentication(), anthropic.AuthenticationError),
        (faults.server_error(), anthropic.InternalServerError),
        (faults.overloaded(), anthropic.OverloadedError),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_fault_is_the_clients_own_error(
    mock_providers: MockProviders, fault: faults.Fault, error: type[anthropic.APIStatusError]
) -> None:
    """The status makes the client raise the class that it raises in life."""
    mock_providers.on(model="m").fails(fault)
    with anthropic.Anthropic(api_key="k", max_retries=0) as client, pytest.raises(error) as raised:
        client.messages.create(model="m", messages=HI, max_tokens=9)
    assert type(raised.value) is error


# What the client sends is what the log shows.


def test_a_request_is_logged_with_its_system_prompt_first(mock_providers: MockProviders) -> None:
    """The system prompt that the format keeps apart is the first message."""
    mock_providers.on(model="m").replies("text")
    with anthropic.Anthropic(api_key="k") as client:
        client.messages.create(model="m", system="Be brief.", messages=HI, max_tokens=9)
    assert mock_providers.calls[0].messages == (
        Message(role="system", text="Be brief."),
        Message(role="user", text="Hi"),
    )


def test_a_request_is_logged_with_its_parts(mock_providers: MockProviders) -> None:
    """Parts of the system prompt and of messages are joined and kept."""
    rules: Any = {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}
    text: Any = {"type": "text", "text": "What is this?"}
    image: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
    mock_providers.on(model="m").replies("A dot.")
    with anthropic.Anthropic(api_key="k") as client:
        client.messages.create(
            model="m", system=[rules], messages=[{"role": "user", "content": [image, text]}], max_tokens=9
        )
    assert mock_providers.calls[0].messages == (
        Message(role="system", text="Be brief.", parts=(rules,)),
        Message(role="user", text="What is this?", parts=(image, text)),
    )


def test_a_request_is_logged_with_its_prompt(mock_providers: MockProviders) -> None:
    """The beginning of the answer that a client may give does not hide the question."""
    mock_providers.on(model="m").replies("42}")
    with anthropic.Anthropic(api_key="k") as client:
        client.messages.create(
            model="m",
            messages=[{"role": "user", "content": "As JSON?"}, {"role": "assistant", "content": "{"}],
            max_tokens=9,
        )
    assert mock_providers.calls[0].prompt == "As JSON?"


def test_a_request_is_logged_with_its_tools(mock_providers: MockProviders) -> None:
    """Name, description and schema are read."""
    mock_providers.on(model="m").replies("text")
    with anthropic.Anthropic(api_key="k") as client:
        client.messages.create(model="m", messages=HI, tools=[TOOL], max_tokens=9)
    assert mock_providers.calls[0].tools == (
        Tool(
            name="weather",
            description="The weather.",
            parameters={"type": "object", "properties": {"city": {"type": "string"}}},
        ),
    )


def test_a_request_is_logged_with_its_parameters(mock_providers: MockProviders) -> None:
    """Everything that is no model, message, system prompt, tool or stream flag is a parameter, under its own name."""
    mock_providers.on(model="m").replies("text")
    with anthropic.Anthropic(api_key="k") as client:
        client.messages.create(
            model="m",
            system="s",
            messages=HI,
            tools=[TOOL],
            stop_sequences=["\n"],
            max_tokens=9,
            stream=True,
        ).close()
    assert mock_providers.calls[0].params == {"stop_sequences": ["\n"], "max_tokens": 9}


@pytest.mark.parametrize("stream", [True, False])
def test_a_request_is_logged_with_its_stream_flag(mock_providers: MockProviders, stream: bool) -> None:
    """Whether the client streams is seen on the wire."""
    mock_providers.on(model="m").replies("text")
    with anthropic.Anthropic(api_key="k") as client:
        client.messages.create(model="m", messages=HI, max_tokens=9, stream=stream)
    assert mock_providers.calls[0].stream is stream


def test_a_request_is_logged_under_its_provider(mock_providers: MockProviders) -> None:
    """The client's own host is Anthropic's."""
    mock_providers.on(model="m").replies("text")
    with anthropic.Anthropic(api_key="k") as client:
        client.messages.create(model="m", messages=HI, max_tokens=9)
    assert mock_providers.calls[0].provider == "anthropic"
