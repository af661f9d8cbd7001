"""Scripted streams as real clients read them: text, pieces, pace and early ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import anthropic
import httpx
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_modelroute import MockProviders, Reply, ToolCall, VirtualTime
from pytest_modelroute.errors import ScriptError
from pytest_modelroute.testrun import TestRun

URL = "https://api.openai.com/v1/chat/completions"
BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
NewRun = Callable[[], TestRun]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def openai_pieces() -> list[str]:
    """The pieces of text that the openai client streams."""
    with openai.OpenAI(api_key="key", max_retries=0) as client:
        stream = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], stream=True)
        return [chunk.choices[0].delta.content for chunk in stream if chunk.choices[0].delta.content]


def openai_pieces_async() -> list[str]:
    """The same with the async client."""

    async def read() -> list[str]:
        async with openai.AsyncOpenAI(api_key="key", max_retries=0) as client:
            stream = await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "hi"}], stream=True
            )
            return [chunk.choices[0].delta.content async for chunk in stream if chunk.choices[0].delta.content]

    return asyncio.run(read())


def anthropic_pieces() -> list[str]:
    """The pieces of text that the anthropic client streams."""
    with (
        anthropic.Anthropic(api_key="key", max_retries=0) as client,
        client.messages.stream(model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}]) as stream,
    ):
        return list(stream.text_stream)


def anthropic_pieces_async() -> list[str]:
    """The same with the async client."""

    async def read() -> list[str]:
        async with (
            anthropic.AsyncAnthropic(api_key="key", max_retries=0) as client,
            client.messages.stream(model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}]) as stream,
        ):
            return [piece async for piece in stream.text_stream]

    return asyncio.run(read())


READERS = [openai_pieces, openai_pieces_async, anthropic_pieces, anthropic_pieces_async]
everywhere = pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)


@everywhere
def test_a_stream_comes_word_by_word(mock_providers: MockProviders, read: Callable[[], list[str]]) -> None:
    """Without chunks= a text is streamed in words, of which nothing is lost."""
    mock_providers.on().replies("one two  three")
    assert read() == ["one", " two", "  three"]


@everywhere
def test_a_stream_can_be_cut_as_one_likes(mock_providers: MockProviders, read: Callable[[], list[str]]) -> None:
    """The pieces that are given are the pieces that are sent."""
    mock_providers.on().replies("onetwothree", chunks=["onet", "wo", "three"])
    assert read() == ["onet", "wo", "three"]


@everywhere
def test_a_stream_has_the_number_of_pieces_asked_for(
    mock_providers: MockProviders, read: Callable[[], list[str]]
) -> None:
    """chunks=2 sends two pieces."""
    mock_providers.on().replies("one two three four", chunks=2)
    assert read() == ["one two", " three four"]


@everywhere
def test_a_stream_takes_its_latency(
    mock_providers: MockProviders, virtual_time: VirtualTime, read: Callable[[], list[str]]
) -> None:
    """When the last piece is read, the whole latency has passed."""
    mock_providers.on().replies("one two three", latency=1.5)
    read()
    assert virtual_time.now == 1.5


@everywhere
def test_a_complete_stream_is_logged_with_its_text(
    mock_providers: MockProviders, read: Callable[[], list[str]]
) -> None:
    """A stream that was read to its end counts as completed, with its latency and the time to its first chunk."""
    mock_providers.on().replies("one two three", latency=1.5, ttft=0.5)
    read()
    call = mock_providers.calls[0]
    assert (call.completed, call.text, call.latency_s, call.ttft_s) == (True, "one two three", 1.5, 0.5)


@settings(deadline=None, max_examples=20)
@given(text=TEXTS, chunks=st.none() | st.integers(1, 9))
def test_any_text_survives_a_stream(new_run: NewRun, text: str, chunks: int | None) -> None:
    """Whatever the text and however many the pieces, the clients put the same text together."""
    run = new_run()
    with run.listening(), run.virtual_time(), run.scripted() as scripts:
        scripts.on().replies(text, chunks=chunks)
        assert ["".join(read()) for read in (openai_pieces, anthropic_pieces)] == [text, text]


@settings(deadline=None, max_examples=60)
@given(chunks=st.integers(1, 8), latency=st.integers(0, 10_000), first=st.none() | st.integers(0, 10_000))
def test_any_stream_ends_at_its_latency(
    ask: Callable[..., httpx.Response], new_run: NewRun, chunks: int, latency: int, first: int | None
) -> None:
    """Whatever the number of pieces and the time to the first, the last one comes at the latency, give or take 1 ns."""
    ttft = None if first is None else min(first, latency) / 1000
    run = new_run()
    with run.listening(), run.virtual_time() as clock, run.scripted() as scripts:
        scripts.on().replies("a b c d e f g h", chunks=chunks, latency=latency / 1000, ttft=ttft)
        ask(stream=True)
        assert clock.now == pytest.approx(latency / 1000, rel=0, abs=chunks * 1e-9)


def test_each_piece_comes_at_its_time(mock_providers: MockProviders, virtual_time: VirtualTime) -> None:
    """The pieces are spread evenly from the first to the end."""
    mock_providers.on().replies("one two three", ttft=1, latency=3)
    with httpx.stream("POST", URL, json=BODY) as response:
        assert [virtual_time.now for _piece in response.iter_raw()] == [1, 2, 3]


def test_pieces_come_at_their_time_in_a_loop(mock_providers: MockProviders, virtual_time: VirtualTime) -> None:
    """An async stream has the same pace."""
    mock_providers.on().replies("one two three", latency=3)

    async def read() -> list[float]:
        async with httpx.AsyncClient() as client, client.stream("POST", URL, json=BODY) as response:
            return [virtual_time.now async for _piece in response.aiter_raw()]

    assert asyncio.run(read()) == [1, 2, 3]


def test_a_stream_is_read_once(mock_providers: MockProviders) -> None:
    """A second loop over a stream goes on where the first one stopped, as on a connection."""
    mock_providers.on().replies("one two three")
    with httpx.stream("POST", URL, json=BODY) as response:
        assert isinstance(response.stream, httpx.SyncByteStream)
        next(iter(response.stream))
        assert len(list(response.stream)) == 2


def test_the_head_of_a_stream_comes_with_the_first_piece(
    mock_providers: MockProviders, virtual_time: VirtualTime
) -> None:
    """A client gets the status of a stream when its first piece is due."""
    mock_providers.on().replies("one two", ttft=0.25, latency=1)
    with httpx.stream("POST", URL, json=BODY) as response:
        assert (response.status_code, virtual_time.now) == (200, 0.25)
        response.read()


def test_a_stream_of_one_piece_comes_at_its_latency(mock_providers: MockProviders, virtual_time: VirtualTime) -> None:
    """Where the first piece is the last one, it comes at the end, whatever the time to the first."""
    mock_providers.on().replies("one", ttft=0.25, latency=1)
    httpx.post(URL, json=BODY)
    assert virtual_time.now == 1


def test_an_empty_text_is_a_stream_too(mock_providers: MockProviders) -> None:
    """A reply without text streams no pieces and completes."""
    mock_providers.on().replies("")
    assert (openai_pieces(), mock_providers.calls[0].completed) == ([], True)


def test_a_stream_that_is_left_early_is_cancelled(mock_providers: MockProviders) -> None:
    """A client that stops reading leaves a call that did not complete."""
    mock_providers.on().replies("one two three", latency=3)
    with httpx.stream("POST", URL, json=BODY) as response:
        next(response.iter_raw())
    call = mock_providers.calls[0]
    assert (call.error, call.completed, call.latency_s) == ("cancelled", False, 1)


def test_an_async_stream_that_is_left_early_is_cancelled(mock_providers: MockProviders) -> None:
    """The same in a loop."""
    mock_providers.on().replies("one two three", latency=3)

    async def read() -> None:
        async with httpx.AsyncClient() as client, client.stream("POST", URL, json=BODY) as response:
            await anext(response.aiter_raw())

    asyncio.run(read())
    assert mock_providers.calls[0].error == "cancelled"


def test_usage_is_streamed_where_it_is_asked_for(mock_providers: MockProviders) -> None:
    """The last chunk of an OpenAI stream holds the usage where the request includes it."""
    mock_providers.on().replies("ok", usage={"fresh_input": 7, "output": 3})
    with openai.OpenAI(api_key="key") as client:
        *_, last = client.chat.completions.create(
            model="m",
            messages=[{"role": "user", "content": "hi"}],
            stream=True,
            stream_options={"include_usage": True},
        )
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (7, 3)


def test_usage_is_billed_where_it_is_not_streamed(mock_providers: MockProviders) -> None:
    """A scripted stream has a usage in the log although the client did not ask for it."""
    mock_providers.on().replies("one two", usage={"output": 3})
    openai_pieces()
    usage = mock_providers.calls[0].usage
    assert usage is not None
    assert usage.output == 3


def test_a_tool_call_is_streamed(mock_providers: MockProviders) -> None:
    """The anthropic client puts a streamed tool call together."""
    mock_providers.on().replies(Reply(text="", tool_calls=(ToolCall(name="find", arguments={"id": 7}),)))
    with (
        anthropic.Anthropic(api_key="key") as client,
        client.messages.stream(model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}]) as stream,
    ):
        block = stream.get_final_message().content[-1]
    assert block.type == "tool_use"
    assert (block.name, block.input) == ("find", {"id": 7})


def test_pieces_that_are_not_the_text_are_refused(mock_providers: MockProviders) -> None:
    """Pieces that say something else than the text are refused where they are given."""
    with pytest.raises(ScriptError, match=r"are not the text 'one two' in pieces"):
        mock_providers.on(optional=True).replies("one two", chunks=["three", " four"])


def test_pieces_that_are_not_a_functions_text_are_refused(new_run: NewRun) -> None:
    """Pieces that say something else than a function returned end the call, and are remembered."""
    run = new_run()
    with run.listening(), run.virtual_time(), run.scripted() as scripts:
        scripts.on().replies(lambda _call: "one two", chunks=["three", " four"])
        with pytest.raises(BaseException, match=r"are not the text 'one two' in pieces"):
            httpx.post(URL, json=BODY)
    assert len(run.wire.failures()) == 1
