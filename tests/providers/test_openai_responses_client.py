"""The real openai client reads scripted responses, in each of the ways it can be used."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import httpx
import openai
import pytest

from pytest_modelroute import MockProviders, Reply, ToolCall, faults
from pytest_modelroute.providers.exchange import Message, Tool, Usage

if TYPE_CHECKING:
    from openai.types.responses import FunctionToolParam, Response, ResponseInputParam

USAGE = {"fresh_input": 3, "cache_read": 2, "cache_write": 1, "output": 4, "reasoning": 1}
WEATHER = ToolCall(name="weather", arguments={"city": "Zürich", "days": [1, 2]}, id="call_7")
CLOCK = ToolCall(name="clock", id="call_8")
TOOL: FunctionToolParam = {
    "type": "function",
    "name": "weather",
    "description": "The weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}


@dataclass(frozen=True)
class Seen:
    """What the client makes of a response."""

    text: str
    model: str
    status: str | None
    reason: str | None
    usage: dict[str, int] | None
    tool_calls: tuple[ToolCall, ...]


Ask: TypeAlias = Callable[[], Awaitable[Seen]]


def _seen(response: Response) -> Seen:
    usage, details = response.usage, response.incomplete_details
    return Seen(
        text=response.output_text,
        model=response.model,
        status=response.status,
        reason=details.reason if details else None,
        usage=None
        if usage is None
        else {
            "input": usage.input_tokens,
            "cached": usage.input_tokens_details.cached_tokens,
            "written": usage.input_tokens_details.cache_write_tokens,
            "output": usage.output_tokens,
            "reasoning": usage.output_tokens_details.reasoning_tokens,
            "total": usage.total_tokens,
        },
        tool_calls=tuple(
            ToolCall(name=item.name, arguments=json.loads(item.arguments), id=item.call_id)
            for item in response.output
            if item.type == "function_call"
        ),
    )


def _seen_in(events: Iterable[Any]) -> Seen:
    """The answer that the last event holds, which is the one that the others built up."""
    came = list(events)
    whole = _seen(came[-1].response)
    assert [event.sequence_number for event in came] == list(range(len(came)))
    assert whole.text == "".join(event.delta for event in came if event.type == "response.output_text.delta")
    return whole


async def _ask() -> Seen:
    with openai.OpenAI(api_key="k", max_retries=0) as client:
        return _seen(client.responses.create(model="m", input="Hi"))


async def _ask_stream() -> Seen:
    with openai.OpenAI(api_key="k", max_retries=0) as client:
        return _seen_in(client.responses.create(model="m", input="Hi", stream=True))


async def _ask_helper() -> Seen:
    with (
        openai.OpenAI(api_key="k", max_retries=0) as client,
        client.responses.stream(model="m", input="Hi") as stream,
    ):
        return _seen_in(stream)


async def _ask_async() -> Seen:
    async with openai.AsyncOpenAI(api_key="k", max_retries=0) as client:
        return _seen(await client.responses.create(model="m", input="Hi"))


async def _ask_async_stream() -> Seen:
    async with openai.AsyncOpenAI(api_key="k", max_retries=0) as client:
        stream = await client.responses.create(model="m", input="Hi", stream=True)
        return _seen_in([event async for event in stream])


async def _ask_async_helper() -> Seen:
    async with (
        openai.AsyncOpenAI(api_key="k", max_retries=0) as client,
        client.responses.stream(model="m", input="Hi") as stream,
    ):
        return _seen_in([event async for event in stream])


async def _ask_with_the_older_httpx() -> Seen:
    with httpx.Client() as http, openai.OpenAI(api_key="k", max_retries=0, http_client=cast("Any", http)) as client:
        return _seen(client.responses.create(model="m", input="Hi"))


async def _ask_stream_with_the_older_httpx() -> Seen:
    with httpx.Client() as http, openai.OpenAI(api_key="k", max_retries=0, http_client=cast("Any", http)) as client:
        return _seen_in(client.responses.create(model="m", input="Hi", stream=True))


WAYS: dict[str, Ask] = {
    "sync": _ask,
    "sync stream": _ask_stream,
    "sync helper": _ask_helper,
    "async": _ask_async,
    "async stream": _ask_async_stream,
    "async helper": _ask_async_helper,
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
    """The client's totals include cached and reasoning tokens, as OpenAI's do; streams report usage unasked."""
    mock_providers.on(model="m").replies("text", usage=USAGE, chunks=3)
    assert (await ask()).usage == {"input": 6, "cached": 2, "written": 1, "output": 5, "reasoning": 1, "total": 11}


@in_every_way
@pytest.mark.asyncio
async def test_the_model_is_the_scripted_one(mock_providers: MockProviders, ask: Ask) -> None:
    """The model that answers may have another name than the one asked for."""
    mock_providers.on(model="m").replies("text", model="m-2025")
    assert (await ask()).model == "m-2025"


@in_every_way
@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("reason", "status", "why"),
    [
        ("stop", "completed", None),
        ("length", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
    ],
)
async def test_the_finish_reason_is_the_scripted_one(
    mock_providers: MockProviders, ask: Ask, reason: Any, status: str, why: str | None
) -> None:
    """A response that was not finished is incomplete, and says why."""
    mock_providers.on(model="m").replies(Reply(text="text", finish_reason=reason))
    seen = await ask()
    assert (seen.status, seen.reason) == (status, why)


@in_every_way
@pytest.mark.asyncio
@pytest.mark.parametrize("text", ["Let me see.", ""])
async def test_the_tool_calls_are_the_scripted_ones(mock_providers: MockProviders, ask: Ask, text: str) -> None:
    """Name, id and arguments of each call arrive, in their order, with a message before them or without."""
    mock_providers.on(model="m").replies(Reply(text=text, tool_calls=(WEATHER, CLOCK)))
    seen = await ask()
    assert (seen.text, seen.tool_calls) == (text, (WEATHER, CLOCK))


@in_every_way
@pytest.mark.asyncio
async def test_the_call_is_logged(mock_providers: MockProviders, ask: Ask) -> None:
    """Provider, format, text and usage stand in the log when the client has read its answer."""
    mock_providers.on(model="m").replies("text", usage=USAGE)
    await ask()
    call = mock_providers.calls[0]
    assert (call.provider, call.language, call.text, call.completed) == ("openai", "openai-responses", "text", True)
    assert call.usage == Usage(**USAGE)


def test_a_response_has_the_price_of_its_model(mock_providers: MockProviders) -> None:
    """Cached tokens cost a tenth, reasoning is output."""
    mock_providers.on(model="gpt-5-mini").replies(
        "text", usage={"fresh_input": 1000, "cache_read": 1000, "output": 90, "reasoning": 10}
    )
    with openai.OpenAI(api_key="k") as client:
        client.responses.create(model="gpt-5-mini", input="Hi")
    assert mock_providers.calls.cost_usd == Decimal("0.000475")


def test_the_pieces_of_a_stream_are_the_scripted_ones(mock_providers: MockProviders) -> None:
    """Pieces that a script gives are the deltas that the client yields."""
    mock_providers.on(model="m").replies("one two", chunks=["o", "ne t", "wo"])
    with openai.OpenAI(api_key="k") as client:
        events = client.responses.create(model="m", input="Hi", stream=True)
        deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert deltas == ["o", "ne t", "wo"]


def test_the_events_come_in_their_order(mock_providers: MockProviders) -> None:
    """A message and a call of a tool are opened, filled and closed, one after the other."""
    mock_providers.on(model="m").replies(Reply(text="Hm.", tool_calls=(CLOCK,)))
    with openai.OpenAI(api_key="k") as client:
        kinds = [event.type for event in client.responses.create(model="m", input="Hi", stream=True)]
    assert [kind.removeprefix("response.") for kind in kinds] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]


def test_the_helper_puts_the_final_response_together(mock_providers: MockProviders) -> None:
    """The client's own accumulation agrees with the last event, or it would raise."""
    mock_providers.on(model="m").replies(Reply(text="one two three", tool_calls=(WEATHER,)))
    with openai.OpenAI(api_key="k") as client, client.responses.stream(model="m", input="Hi") as stream:
        final = stream.get_final_response()
    assert (_seen(final).text, _seen(final).tool_calls) == ("one two three", (WEATHER,))


def test_structured_output_is_parsed(mock_providers: MockProviders) -> None:
    """A script's JSON becomes the object that the application asked for."""
    from pydantic import BaseModel

    class Ticket(BaseModel):
        urgent: bool

    mock_providers.on(model="m").replies('{"urgent": true}')
    with openai.OpenAI(api_key="k") as client:
        response = client.responses.parse(model="m", input="Hi", text_format=Ticket)
    assert response.output_parsed == Ticket(urgent=True)


def test_a_reply_repeats_what_was_asked(mock_providers: MockProviders) -> None:
    """OpenAI says what it understood of the request."""
    mock_providers.on(model="m").replies("text")
    with openai.OpenAI(api_key="k") as client:
        response = client.responses.create(
            model="m", input="Hi", instructions="Be brief.", temperature=0.2, tools=[TOOL]
        )
    assert (response.instructions, response.temperature, [tool.type for tool in response.tools]) == (
        "Be brief.",
        0.2,
        ["function"],
    )


# Errors


@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        (faults.rate_limit(), openai.RateLimitError, "rate_limit_exceeded"),
        (faults.quota_exhausted(), openai.RateLimitError, "insufficient_quota"),
        (faults.context_overflow(), openai.BadRequestError, "context_length_exceeded"),
        (faults.model_not_found(), openai.NotFoundError, "model_not_found"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_fault_is_the_clients_own_error(
    mock_providers: MockProviders, fault: faults.Fault, error: type[openai.APIStatusError], code: str
) -> None:
    """Status and body make the client raise the class and code that they make it raise in life."""
    mock_providers.on(model="m").fails(fault)
    with openai.OpenAI(api_key="k", max_retries=0) as client, pytest.raises(error) as raised:
        client.responses.create(model="m", input="Hi")
    assert (raised.value.code, mock_providers.calls[0].error) == (code, fault.kind)


@pytest.mark.parametrize("kind", ["overloaded", "rate_limited"])
def test_an_error_in_the_stream_is_raised_with_its_code(mock_providers: MockProviders, kind: Any) -> None:
    """The client raises its base class, without a status, after the pieces that came."""
    mock_providers.on(model="m").fails(faults.stream_error(after=1, text="one two", kind=kind))
    pieces: list[str] = []
    with openai.OpenAI(api_key="k", max_retries=0) as client:
        events = client.responses.create(model="m", input="Hi", stream=True)
        with pytest.raises(openai.APIError) as raised:
            pieces.extend(event.delta for event in events if event.type == "response.output_text.delta")
    codes = {"overloaded": "overloaded", "rate_limited": "rate_limit_exceeded"}
    assert (type(raised.value), raised.value.code, pieces) == (openai.APIError, codes[kind], ["one"])


def test_a_filtered_response_is_no_answer(mock_providers: MockProviders) -> None:
    """It is incomplete, has no text, and is logged as filtered."""
    mock_providers.on(model="m").fails(faults.content_filter())
    with openai.OpenAI(api_key="k") as client:
        seen = _seen(client.responses.create(model="m", input="Hi"))
    assert (seen.text, seen.reason, mock_providers.calls[0].error) == ("", "content_filter", "content_filtered")


# What the client sends is what the log shows.


def test_a_request_is_logged_with_its_messages(mock_providers: MockProviders) -> None:
    """Instructions come first; texts stay texts, parts are joined and kept."""
    image: Any = {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "auto"}
    text: Any = {"type": "input_text", "text": "What is this?"}
    asked: ResponseInputParam = [
        {"role": "developer", "content": "English."},
        {"role": "user", "content": [text, image]},
    ]
    mock_providers.on(model="m").replies("A dot.")
    with openai.OpenAI(api_key="k") as client:
        client.responses.create(model="m", input=asked, instructions="Be brief.")
    assert mock_providers.calls[0].messages == (
        Message(role="system", text="Be brief."),
        Message(role="developer", text="English."),
        Message(role="user", text="What is this?", parts=(text, image)),
    )


def test_a_loop_with_tools_is_logged_with_their_results(mock_providers: MockProviders) -> None:
    """The client sends its own output back, with what the tool said; the prompt is still the user's."""
    mock_providers.on(model="m").replies([Reply(tool_calls=(WEATHER,)), "It rains."])
    with openai.OpenAI(api_key="k") as client:
        first = client.responses.create(model="m", input="Weather?", tools=[TOOL])
        asked: list[Any] = [{"role": "user", "content": "Weather?"}, *first.output]
        asked.append({"type": "function_call_output", "call_id": WEATHER.id, "output": "Rain"})
        client.responses.create(model="m", input=asked, tools=[TOOL])
    call = mock_providers.calls[1]
    assert ([(message.role, message.text) for message in call.messages], call.prompt) == (
        [("user", "Weather?"), ("assistant", ""), ("tool", "Rain")],
        "Weather?",
    )


def test_a_request_is_logged_with_its_tools(mock_providers: MockProviders) -> None:
    """A function by its name, a tool of the provider's own by its type."""
    mock_providers.on(model="m").replies("text")
    with openai.OpenAI(api_key="k") as client:
        client.responses.create(model="m", input="Hi", tools=[TOOL, {"type": "web_search"}])
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    assert mock_providers.calls[0].tools == (
        Tool(name="weather", description="The weather.", parameters=parameters),
        Tool(name="web_search"),
    )


def test_a_request_is_logged_with_its_parameters(mock_providers: MockProviders) -> None:
    """Everything that has no field of its own is a parameter."""
    mock_providers.on(model="m").replies("text")
    with openai.OpenAI(api_key="k") as client:
        client.responses.create(model="m", input="Hi", temperature=0, max_output_tokens=99, store=False)
    assert mock_providers.calls[0].params == {"temperature": 0, "max_output_tokens": 99, "store": False}


@pytest.mark.parametrize("stream", [True, False])
def test_a_request_is_logged_with_its_stream_flag(mock_providers: MockProviders, stream: bool) -> None:
    """Whether the client streams is seen on the wire."""
    mock_providers.on(model="m").replies("text")
    with openai.OpenAI(api_key="k") as client:
        client.responses.create(model="m", input="Hi", stream=stream)
    assert mock_providers.calls[0].stream is stream


def test_azures_client_is_logged_as_azure(mock_providers: MockProviders) -> None:
    """The path is the same on Azure's host."""
    mock_providers.on(model="m", provider="azure").replies("text")
    with openai.AzureOpenAI(
        api_key="k", api_version="2025-04-01-preview", azure_endpoint="https://o.openai.azure.com"
    ) as client:
        client.responses.create(model="m", input="Hi")
    assert [(call.provider, call.language) for call in mock_providers.calls] == [("azure", "openai-responses")]
