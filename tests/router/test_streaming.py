"""Streams: pieces of text while they come, the whole answer afterwards, and never a part in place of the whole."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest
from hypothesis import given
from hypothesis import settings as law
from hypothesis import strategies as st

from pytest_modelroute import MockProviders, ModelSettings, Reply, Settings, ToolCall, Usage, VirtualTime, faults
from pytest_modelroute.errors import ModelRouteError, ProviderError
from pytest_modelroute.providers.exchange import split_text
from pytest_modelroute.providers.registry import language_of_provider
from pytest_modelroute.router import ModelClient, ModelRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HI = ModelRequest(prompt="Hi")
both_formats = pytest.mark.parametrize("alias", ["quick", "deep"], ids=["openai", "anthropic"])


@both_formats
def test_the_pieces_are_those_of_the_provider(mock_providers: MockProviders, client: ModelClient, alias: str) -> None:
    """One for each chunk with text."""
    mock_providers.otherwise("Good morning", chunks=["Good ", "morning"])
    assert list(client.stream(alias, HI)) == ["Good ", "morning"]


@both_formats
@pytest.mark.asyncio
async def test_the_pieces_are_those_of_the_provider_in_async_code(
    mock_providers: MockProviders, client: ModelClient, alias: str
) -> None:
    """Async code gets what sync code gets."""
    mock_providers.otherwise("Good morning", chunks=["Good ", "morning"])
    pieces = [piece async for piece in client.astream(alias, HI)]
    await client.aclose()
    assert pieces == ["Good ", "morning"]


def test_a_piece_comes_when_it_is_sent(
    mock_providers: MockProviders, client: ModelClient, virtual_time: VirtualTime
) -> None:
    """Nothing is held back until the end."""
    mock_providers.otherwise("Good morning", chunks=["Good ", "morning"], ttft=1, latency=5)
    assert [(piece, virtual_time.now) for piece in client.stream("quick", HI)] == [("Good ", 1.0), ("morning", 5.0)]


@both_formats
def test_the_response_is_that_of_a_whole_answer(mock_providers: MockProviders, client: ModelClient, alias: str) -> None:
    """Usage, finish reason and tool calls included."""
    call = ToolCall(name="weather", arguments={"city": "Zürich"}, id="call_7")
    reply = Reply(text="Let me see", tool_calls=(call,), usage=Usage(fresh_input=3, output=4))
    mock_providers.otherwise(reply)
    stream = client.stream(alias, HI)
    text = "".join(stream)
    assert (text, stream.response) == ("Let me see", client.send(alias, HI))


@pytest.mark.asyncio
async def test_the_response_is_that_of_a_whole_answer_in_async_code(
    mock_providers: MockProviders, client: ModelClient
) -> None:
    """Also where it is read in a block."""
    mock_providers.otherwise("Good morning")
    async with client.astream("quick", HI) as stream:
        text = "".join([piece async for piece in stream])
    response = await client.asend("quick", HI)
    await client.aclose()
    assert (text, stream.response) == ("Good morning", response)


def test_an_answer_without_text_has_no_piece(mock_providers: MockProviders, client: ModelClient) -> None:
    """An empty answer is an answer."""
    mock_providers.otherwise("")
    stream = client.stream("quick", HI)
    assert (list(stream), stream.response.text) == ([], "")


NOT_YET = "this stream has no response: it was not read to its end"


def test_there_is_no_response_before_the_end(mock_providers: MockProviders, client: ModelClient) -> None:
    """The message says what to do."""
    mock_providers.otherwise("Good morning", chunks=2)
    with client.stream("quick", HI) as stream:
        next(stream)
        with pytest.raises(ModelRouteError, match=NOT_YET):
            _ = stream.response


@pytest.mark.asyncio
async def test_there_is_no_response_before_the_end_in_async_code(
    mock_providers: MockProviders, client: ModelClient
) -> None:
    """The message is the same."""
    mock_providers.otherwise("Good morning", chunks=2)
    async with client.astream("quick", HI) as stream:
        await anext(stream)
        with pytest.raises(ModelRouteError, match=NOT_YET):
            _ = stream.response
    await client.aclose()


def test_a_stream_can_be_closed_early(mock_providers: MockProviders, client: ModelClient) -> None:
    """Nothing more comes, nothing poses as the whole answer, and the provider sees the connection close."""
    mock_providers.otherwise("Good morning", chunks=2)
    with client.stream("quick", HI) as stream:
        next(stream)
    assert list(stream) == []
    with pytest.raises(ModelRouteError, match=NOT_YET):
        _ = stream.response
    assert mock_providers.calls[0].error == "cancelled"


@pytest.mark.asyncio
async def test_a_stream_can_be_closed_early_in_async_code(mock_providers: MockProviders, client: ModelClient) -> None:
    """The connection is closed at once, not when the garbage is collected."""
    mock_providers.otherwise("Good morning", chunks=2)
    async with client.astream("quick", HI) as stream:
        await anext(stream)
    await client.aclose()
    assert [piece async for piece in stream] == []
    assert mock_providers.calls[0].error == "cancelled"


def test_a_stream_that_is_never_read_asks_nobody(mock_providers: MockProviders, client: ModelClient) -> None:
    """The first piece is when the request is sent."""
    mock_providers.on(optional=True).replies("Hello")
    client.stream("quick", HI).close()
    assert len(mock_providers.calls) == 0


@pytest.mark.asyncio
async def test_a_task_that_is_cancelled_closes_its_stream(mock_providers: MockProviders, client: ModelClient) -> None:
    """No connection is left open by a hedge that lost."""
    mock_providers.otherwise("Good morning", chunks=2, ttft=1, latency=100)

    async def read() -> list[str]:
        return [piece async for piece in client.astream("quick", HI)]

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(read(), timeout=5)
    await client.aclose()
    assert mock_providers.calls[0].error == "cancelled"


def test_a_stream_of_bedrock_comes_in_pieces_too(
    mock_providers: MockProviders, new_client: Callable[..., ModelClient]
) -> None:
    """Its frames are binary; nobody has to know which provider answers."""
    url = "https://bedrock-runtime.eu-central-1.amazonaws.com"
    settings = Settings(models={"it": ModelSettings(model="m", provider="aws", base_url=url)})
    mock_providers.otherwise("Good morning")
    stream = new_client(settings).stream("it", HI)
    assert (list(stream), stream.response.text) == (["Good", " morning"], "Good morning")


# Streams that break off

BREAKING = [faults.stream_cut, faults.stream_stalled, faults.stream_corrupted, faults.stream_error]


@both_formats
@pytest.mark.parametrize("fault", BREAKING)
def test_a_stream_that_breaks_off_is_an_error(
    mock_providers: MockProviders, client: ModelClient, alias: str, fault: Callable[..., faults.Fault]
) -> None:
    """Never a short answer; what came is in the error, and no retry repeats it."""
    mock_providers.otherwise(fault(after=2, text="one two three four"))
    pieces: list[str] = []
    with pytest.raises(ProviderError) as error:
        pieces.extend(client.stream(alias, HI))
    assert (error.value.kind, error.value.text, len(mock_providers.calls)) == (fault().kind, "one two", 1)


@pytest.mark.parametrize("fault", BREAKING)
@pytest.mark.asyncio
async def test_a_stream_that_breaks_off_is_an_error_in_async_code(
    mock_providers: MockProviders, client: ModelClient, fault: Callable[..., faults.Fault]
) -> None:
    """Async code is told alike."""
    mock_providers.otherwise(fault(after=2, text="one two three four"))
    with pytest.raises(ProviderError) as error:
        _ = [piece async for piece in client.astream("quick", HI)]
    await client.aclose()
    assert (error.value.kind, error.value.text) == (fault().kind, "one two")


@both_formats
def test_a_stream_that_fails_before_its_first_piece_is_tried_again(
    mock_providers: MockProviders, client: ModelClient, alias: str
) -> None:
    """Nothing would be repeated."""
    mock_providers.on().fails(faults.stream_error(after=0), times=1).then.replies("Hello")
    stream = client.stream(alias, HI)
    assert ("".join(stream), stream.response.attempts) == ("Hello", 2)


def test_a_filter_that_ends_a_stream_is_an_error(mock_providers: MockProviders, client: ModelClient) -> None:
    """What came before it is in the error."""
    mock_providers.otherwise(Reply(text="one two", finish_reason="content_filter"))
    with pytest.raises(ProviderError) as error:
        "".join(client.stream("quick", HI))
    assert (error.value.kind, error.value.text) == ("content_filtered", "one two")


def test_a_stream_whose_last_frame_lacks_its_end_is_whole(played: Callable[..., ModelClient]) -> None:
    """Its text is handed on all the same."""
    body = b'data: {"choices": [{"delta": {"content": "Hello"}, "finish_reason": "stop"}]}'
    client = played(httpx.Response(200, content=body))
    assert list(client.stream("quick", HI)) == ["Hello"]


class _Bytes(httpx.SyncByteStream):
    """A body in pieces; says whether it was closed."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        yield from self.pieces

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("status", [200, 503], ids=["not an answer", "an error"])
def test_a_body_that_is_no_stream_is_closed(played: Callable[..., ModelClient], status: int) -> None:
    """No connection is left open by what went wrong."""
    body = _Bytes([b"<html>"])
    with pytest.raises(ProviderError):
        "".join(played(httpx.Response(status, stream=body), retries=0).stream("quick", HI))
    assert body.closed


def test_a_broken_stream_is_closed_before_the_next_attempt(played: Callable[..., ModelClient]) -> None:
    """Retries do not pile up connections."""
    body = _Bytes([b'data: {"error": {"message": "Busy", "code": "overloaded"}}\n\n', b"data: more\n\n"])
    answer = httpx.Response(200, json={"choices": []})
    with pytest.raises(ProviderError):
        "".join(played(httpx.Response(200, stream=body), answer).stream("quick", HI))
    assert body.closed


# Laws


@law(deadline=None)
@given(
    alias=st.sampled_from(["quick", "deep"]),
    text=st.text(max_size=80),
    chunks=st.integers(1, 9),
    cut=st.integers(1, 50),
)
def test_a_stream_is_read_alike_however_it_is_cut(alias: str, text: str, chunks: int, cut: int) -> None:
    """Pieces of the network are not pieces of the text; joined, the text is that of the whole answer."""
    settings = Settings(models={"quick": ModelSettings(model="gpt-q"), "deep": ModelSettings(model="claude-d")})
    model = settings.models[alias]
    language = language_of_provider(model.provider_name)
    frames = b"".join(
        language.write_stream(HI.for_model(model.model, stream=True), Reply(text=text), split_text(text, chunks))
    )
    body = _Bytes([frames[start : start + cut] for start in range(0, len(frames), cut)])
    with httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, stream=body))) as http:
        stream = ModelClient(settings, http=http, keys={"openai": "k", "anthropic": "k"}).stream(alias, HI)
        assert ("".join(stream), stream.response.text, body.closed) == (text, text, True)
