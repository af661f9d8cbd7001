"""The real ollama client reads what was scripted, in each of the ways it can be used."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import ollama
import pytest

from pytest_modelroute import MockProviders, Reply, ToolCall, faults
from pytest_modelroute.errors import PriceUnknown, ScriptRaised
from pytest_modelroute.providers.exchange import Message, Tool, Usage
from pytest_modelroute.testrun import TestRun

HI = [{"role": "user", "content": "Hi"}]
USAGE = {"fresh_input": 5, "output": 4}
WEATHER = ToolCall(name="weather", arguments={"city": "Zürich", "days": [1, 2]})
CLOCK = ToolCall(name="clock", id="call_2")


@dataclass
class Seen:
    """What the client makes of a chat."""

    text: str = ""
    model: str | None = ""
    done_reason: str | None = None
    usage: tuple[int | None, int | None] = (None, None)
    tool_calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


Ask: TypeAlias = Callable[[], Awaitable[Seen]]


def _seen(parts: Iterable[ollama.ChatResponse]) -> Seen:
    seen = Seen()
    for part in parts:
        seen.text += part.message.content or ""
        seen.model, seen.done_reason = part.model, part.done_reason
        seen.usage = (part.prompt_eval_count, part.eval_count)
        calls = part.message.tool_calls or ()
        seen.tool_calls += [(call.function.name, dict(call.function.arguments)) for call in calls]
    return seen


async def _ask() -> Seen:
    return _seen([ollama.Client().chat(model="m", messages=HI)])


async def _ask_stream() -> Seen:
    return _seen(ollama.Client().chat(model="m", messages=HI, stream=True))


async def _ask_async() -> Seen:
    return _seen([await ollama.AsyncClient().chat(model="m", messages=HI)])


async def _ask_async_stream() -> Seen:
    stream = await ollama.AsyncClient().chat(model="m", messages=HI, stream=True)
    return _seen([part async for part in stream])


WAYS: dict[str, Ask] = {
    "sync": _ask,
    "sync stream": _ask_stream,
    "async": _ask_async,
    "async stream": _ask_async_stream,
}
in_every_way = pytest.mark.parametrize("ask", WAYS.values(), ids=WAYS.keys())


@in_every_way
@pytest.mark.asyncio
@pytest.mark.parametrize(
    "text", ["Good morning to you", "", "Zürich \u2028 \x85 \x1d \"x\"\r\n\n 'y' 🦦", "  padded  "]
)
async def test_the_text_is_the_scripted_one(mock_providers: MockProviders, ask: Ask, text: str) -> None:
    """Every character arrives, in one piece or in three, also those at which the client would split a line."""
    mock_providers.on(model="m").replies(text, chunks=3)
    assert (await ask()).text == text


@in_every_way
@pytest.mark.asyncio
async def test_the_usage_is_the_scripted_one(mock_providers: MockProviders, ask: Ask) -> None:
    """Two counts, in a whole reply and in the last line of a stream."""
    mock_providers.on(model="m").replies("text", usage=USAGE, chunks=3)
    assert (await ask()).usage == (5, 4)


@in_every_way
@pytest.mark.asyncio
async def test_the_model_is_the_scripted_one(mock_providers: MockProviders, ask: Ask) -> None:
    """The model that answers may have another name than the one asked for."""
    mock_providers.on(model="m").replies("text", model="m:8b")
    assert (await ask()).model == "m:8b"


@in_every_way
@pytest.mark.asyncio
@pytest.mark.parametrize("reason", ["stop", "length"])
async def test_the_finish_reason_is_the_scripted_one(mock_providers: MockProviders, ask: Ask, reason: Any) -> None:
    """Ollama knows these two."""
    mock_providers.on(model="m").replies(Reply(text="text", finish_reason=reason))
    assert (await ask()).done_reason == reason


@in_every_way
@pytest.mark.asyncio
async def test_the_tool_calls_are_the_scripted_ones(mock_providers: MockProviders, ask: Ask) -> None:
    """Arguments are an object, and a reply that calls tools has plainly stopped."""
    mock_providers.on(model="m").replies(Reply(text="Let me see.", tool_calls=(WEATHER, CLOCK)))
    seen = await ask()
    assert (seen.tool_calls, seen.done_reason) == ([("weather", WEATHER.arguments), ("clock", {})], "stop")


@in_every_way
@pytest.mark.asyncio
async def test_the_call_is_logged(mock_providers: MockProviders, ask: Ask) -> None:
    """The provider is told by the path: 127.0.0.1 may be anybody's."""
    mock_providers.on(model="m", provider="ollama").replies("text", usage=USAGE)
    await ask()
    call = mock_providers.calls[0]
    assert (call.provider, call.language, call.text, call.completed) == ("ollama", "ollama-chat", "text", True)
    assert (call.usage, call.url) == (Usage(**USAGE), "http://127.0.0.1:11434/api/chat")


@pytest.mark.parametrize("host", ["http://localhost:11434", "https://gpu.example.com", "http://10.0.0.9:8080/ollama"])
def test_another_host_is_ollamas_too(mock_providers: MockProviders, host: str) -> None:
    """Behind a gateway as well."""
    mock_providers.on(model="m").replies("text")
    ollama.Client(host=host).chat(model="m", messages=HI)
    assert mock_providers.calls[0].provider == "ollama"


def test_the_pieces_of_a_stream_are_the_scripted_ones(mock_providers: MockProviders) -> None:
    """Pieces that a script gives are the parts that the client yields."""
    mock_providers.on(model="m").replies("one two", chunks=["o", "ne t", "wo"])
    parts = [part.message.content for part in ollama.Client().chat(model="m", messages=HI, stream=True)]
    assert [part for part in parts if part] == ["o", "ne t", "wo"]


def test_tokens_a_second_can_be_computed(mock_providers: MockProviders) -> None:
    """Durations are in nanoseconds, and none is 0 where tokens were made."""
    mock_providers.on(model="m").replies("text", usage=USAGE)
    reply = ollama.Client().chat(model="m", messages=HI)
    assert reply.eval_count is not None
    assert reply.eval_duration is not None
    assert reply.eval_count / reply.eval_duration * 1e9 == 1000


def test_a_request_that_does_not_say_so_streams(mock_providers: MockProviders) -> None:
    """Plain HTTP gets the stream that Ollama gives unless it is told not to."""
    mock_providers.on(model="m").replies("one two")
    body = {"model": "m", "messages": HI}
    streamed = httpx.post("http://127.0.0.1:11434/api/chat", json=body)
    whole = httpx.post("http://127.0.0.1:11434/api/chat", json={**body, "stream": False})
    assert [reply.headers["content-type"] for reply in (streamed, whole)] == [
        "application/x-ndjson",
        "application/json",
    ]
    assert [len(reply.text.splitlines()) for reply in (streamed, whole)] == [3, 1]


# Price


def test_a_local_model_has_no_price_unless_the_settings_give_one(mock_providers: MockProviders) -> None:
    """The message says how: 0 for a model that costs nothing but electricity."""
    mock_providers.on(model="llama3.2").replies("text", usage=USAGE)
    ollama.Client().chat(model="llama3.2", messages=HI)
    with pytest.raises(PriceUnknown) as raised:
        _ = mock_providers.calls.cost_usd
    assert str(raised.value) == (
        "'llama3.2' has no price: genai-prices does not list it for ollama and the settings do not price it.\n"
        "Price it in the settings, in USD per million tokens (0 for a model that costs nothing):\n"
        "  [tool.modelroute.models.<alias>]\n"
        '  model = "llama3.2"\n'
        "  input_price = 0.25\n"
        "  output_price = 2.00"
    )


# Errors


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (faults.rate_limit(), 429),
        (faults.quota_exhausted(), 402),
        (faults.overloaded(), 503),
        (faults.unavailable(), 503),
        (faults.server_error(), 500),
        (faults.request_timeout(), 408),
        (faults.model_not_found(), 404),
        (faults.context_overflow(), 400),
        (faults.authentication(), 401),
        (faults.permission(), 403),
        (faults.bad_request(), 400),
    ],
    ids=lambda value: getattr(value, "name", None),
)
@in_every_way
@pytest.mark.asyncio
async def test_a_fault_is_the_clients_own_error(
    mock_providers: MockProviders, ask: Ask, fault: faults.Fault, status: int
) -> None:
    """One class, with the status and Ollama's message."""
    mock_providers.on(model="m").fails(fault)
    with pytest.raises(ollama.ResponseError) as raised:
        await ask()
    assert (raised.value.status_code, mock_providers.calls[0].error) == (status, fault.kind)


def test_a_prompt_that_is_too_long_is_told_by_its_words(mock_providers: MockProviders) -> None:
    """Ollama has no codes: the message is all there is."""
    mock_providers.on(model="m").fails(faults.context_overflow())
    with pytest.raises(ollama.ResponseError, match=r"^prompt too long; exceeded max context length: "):
        ollama.Client().chat(model="m", messages=HI)


@pytest.mark.parametrize("kind", ["overloaded", "server_error"])
def test_an_error_in_the_stream_has_no_status(mock_providers: MockProviders, kind: Any) -> None:
    """The client raises the same class, with status -1, after the pieces that came."""
    mock_providers.on(model="m").fails(faults.stream_error(after=1, text="one two", kind=kind))
    pieces: list[str | None] = []
    with pytest.raises(ollama.ResponseError, match=f"scripted: {kind}") as raised:
        pieces.extend(part.message.content for part in ollama.Client().chat(model="m", messages=HI, stream=True))
    assert (raised.value.status_code, pieces, mock_providers.calls[0].error) == (-1, ["one"], kind)


def test_a_corrupted_line_is_broken_json(mock_providers: MockProviders) -> None:
    """The piece is lost in the middle of its line."""
    mock_providers.on(model="m").fails(faults.stream_corrupted(after=1, text="one two three"))
    with pytest.raises(ValueError, match=r"Unterminated string"):
        list(ollama.Client().chat(model="m", messages=HI, stream=True))


def test_a_refused_connection_looks_different_in_a_stream(mock_providers: MockProviders) -> None:
    """The client has an error of its own for whole replies, and lets httpx through for streams."""
    mock_providers.on(model="m").fails(faults.connect_error())
    with pytest.raises(ConnectionError, match="Failed to connect to Ollama"):
        ollama.Client().chat(model="m", messages=HI)
    with pytest.raises(httpx.ConnectError):
        list(ollama.Client().chat(model="m", messages=HI, stream=True))


@pytest.mark.parametrize(
    "script",
    [
        lambda script: script.fails(faults.content_filter()),
        lambda script: script.replies(Reply(text="x", finish_reason="content_filter")),
    ],
    ids=["fault", "reply"],
)
def test_ollama_filters_nothing(script: Callable[[Any], Any]) -> None:
    """A filter cannot be scripted for a provider that has none."""
    run = TestRun(test="test", settings=None, thresholds=[], folders=[], only_case=None, fail=pytest.fail)
    with run.listening(), run.virtual_time(), run.scripted() as scripts:
        script(scripts.on(model="m"))
        with pytest.raises(ScriptRaised, match="ollama-chat has no form for an answer that a content filter held back"):
            ollama.Client().chat(model="m", messages=HI)


# What the client sends is what the log shows.


def test_a_request_is_logged_with_its_messages(mock_providers: MockProviders) -> None:
    """The results of tools too; images stay in the body."""
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather?", "images": [b"\x00"]},
        {"role": "assistant", "tool_calls": [{"function": {"name": "weather", "arguments": {}}}]},
        {"role": "tool", "tool_name": "weather", "content": "Rain"},
    ]
    mock_providers.on(model="m").replies("It rains.")
    ollama.Client().chat(model="m", messages=messages)
    call = mock_providers.calls[0]
    assert (call.messages, call.prompt) == (
        (
            Message(role="system", text="Be brief."),
            Message(role="user", text="Weather?"),
            Message(role="assistant", text=""),
            Message(role="tool", text="Rain"),
        ),
        "Weather?",
    )
    assert call.request.body["messages"][1]["images"] == ["AA=="]


def test_a_request_is_logged_with_its_tools(mock_providers: MockProviders) -> None:
    """The client makes a tool of a function."""

    def weather(city: str) -> str:
        """
        The weather.

        Args:
            city: Where.

        """
        return city

    mock_providers.on(model="m").replies("text")
    ollama.Client().chat(model="m", messages=HI, tools=[weather])
    (tool,) = mock_providers.calls[0].tools
    assert (tool.name, tool.description, list(tool.parameters["properties"])) == ("weather", "The weather.", ["city"])
    assert isinstance(tool, Tool)


def test_a_request_is_logged_with_its_parameters(mock_providers: MockProviders) -> None:
    """Options are parameters, and the limit of tokens has the name that it has elsewhere."""
    mock_providers.on(model="m").replies("text")
    ollama.Client().chat(
        model="m", messages=HI, options={"temperature": 0, "num_predict": 9, "num_ctx": 4096}, keep_alive="5m"
    )
    params = {"temperature": 0, "max_tokens": 9, "num_ctx": 4096, "keep_alive": "5m"}
    assert mock_providers.calls[0].params == params


def test_settings_price_a_local_model_at_nothing(pytester: pytest.Pytester) -> None:
    """With a price of 0 the calls of a local model count, and cost nothing."""
    Path("modelroute.toml").write_text(
        '[models.local]\nprovider = "ollama"\nmodel = "llama3.2"\ninput_price = 0\noutput_price = 0\n', "utf-8"
    )
    pytester.makeini("[pytest]\n")
    pytester.makepyfile(
        """
        import ollama

        def test_it(mock_providers):
            mock_providers.on(model="local").replies("text")
            ollama.Client().chat(model="llama3.2", messages=[{"role": "user", "content": "Hi"}])
            assert mock_providers.calls.cost_usd == 0
        """
    )
    pytester.runpytest_inprocess("-p", "no:randomly", "-p", "no:asyncio").assert_outcomes(passed=1)
