"""aiohttp in process with recordings: recorded from a live provider, replayed without it."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from typing import Any
from unittest.mock import MagicMock

import aiohttp
import openai
import pytest

from pytest_modelroute.errors import UnrecordedCall
from pytest_modelroute.wire.aiohttp_live import read_along
from pytest_modelroute.wire.read_along import along_with
from pytest_modelroute.wire.recorded import Played
from tests.wire.taped import GAP, Shelf, both, chat_reply, new_run, provider, recording, replaying

CHAT = "/v1/chat/completions"
URL = f"https://api.example.com{CHAT}"
Ask = Callable[[aiohttp.ClientSession, str], Awaitable[Any]]


def body_of(prompt: str, **params: Any) -> dict[str, Any]:
    """A chat request in OpenAI's format."""
    return {"model": "m", "messages": [{"role": "user", "content": prompt}], **params}


async def post(session: aiohttp.ClientSession, url: str, prompt: str = "hi", **params: Any) -> tuple[int, bytes]:
    """Status and body of an answer."""
    async with session.post(url + CHAT, json=body_of(prompt, **params)) as reply:
        return reply.status, await reply.read()


def in_loop(ask: Ask, url: str = "", **options: Any) -> Any:
    """Run an async function with a session, in a loop of its own."""

    async def main() -> Any:
        async with aiohttp.ClientSession(**options) as session:
            return await ask(session, url)

    return asyncio.run(main())


@pytest.mark.parametrize("prompt", ["hi", "zip", "refuse"])
def test_a_whole_answer_is_replayed(prompt: str) -> None:
    """Status and body are what the provider said, and the log holds the same call."""
    seen = both(lambda url: in_loop(lambda session, base: post(session, base, prompt), url))
    assert seen.live == seen.replayed
    live, replayed = seen.recorded.wire.calls[0], seen.replay.wire.calls[0]
    assert (live.status, live.text, live.usage, live.error) == (
        replayed.status,
        replayed.text,
        replayed.usage,
        replayed.error,
    )
    assert (live.answered_by, replayed.answered_by) == ("network", "a tape")
    assert replayed.latency_s == pytest.approx(seen.now)


def test_a_prompt_of_megabytes_is_replayed() -> None:
    """A live request that is longer than the socket takes at once is sent, and recorded, whole."""
    prompt = "word " * 1_000_000
    body = json.dumps(body_of(prompt)).encode()

    async def ask(session: aiohttp.ClientSession, url: str) -> bool:
        async with session.post(url + CHAT, data=io.BytesIO(body)) as reply:
            return await reply.read() == chat_reply(f"re: {prompt}")

    seen = both(lambda url: in_loop(ask, url))
    assert seen.live
    assert seen.replayed


def test_a_stream_is_replayed() -> None:
    """A stream keeps its pieces and their times."""
    seen = both(lambda url: in_loop(lambda session, base: post(session, base, stream=True), url))
    assert seen.live == seen.replayed
    (tape,) = seen.shelf.tapes
    assert (len(tape.pieces), tape.complete, tape.reason) == (4, True, "OK")
    for run in (seen.recorded, seen.replay):
        (call,) = run.wire.calls
        assert (call.text, call.completed) == ("re: hi", True)
        assert call.ttft_s is not None
        assert call.latency_s is not None
        assert call.latency_s - call.ttft_s >= 3 * GAP * 0.9


def test_another_request_is_replayed() -> None:
    """A request that is no call of a model is replayed too, after its latency."""

    async def ask(session: aiohttp.ClientSession, url: str) -> Any:
        async with session.get(f"{url}/orders?id=3") as reply:
            return await reply.json(), reply.headers["content-encoding"], reply.headers["set-cookie"]

    seen = both(lambda url: in_loop(ask, url))
    assert seen.live == seen.replayed == ({"path": "/orders?id=3"}, "gzip", "a=1")
    assert len(seen.recorded.wire.calls) == len(seen.replay.wire.calls) == 0
    assert seen.now > 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_cut_answer_is_cut_again(stream: bool) -> None:
    """What broke off breaks off, live and replayed."""

    async def ask(session: aiohttp.ClientSession, url: str) -> Any:
        with pytest.raises(aiohttp.ClientPayloadError):
            await post(session, url, "cut", stream=stream)

    seen = both(lambda url: in_loop(ask, url))
    assert [tape.complete for tape in seen.shelf.tapes] == [False]
    for run in (seen.recorded, seen.replay):
        assert run.wire.calls[0].error == ("cut off" if stream else "malformed")


@pytest.mark.parametrize("limit", [0, 3])
def test_many_tasks_are_replayed_side_by_side(limit: int) -> None:
    """Each task has its own answer, also where few connections are shared; times overlap."""
    words = [str(number) for number in range(20)]

    async def ask(session: aiohttp.ClientSession, url: str) -> list[Any]:
        return await asyncio.gather(*(post(session, url, word) for word in words))

    def run(url: str) -> Any:
        async def main() -> Any:
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=limit)) as session:
                return await ask(session, url)

        return asyncio.run(main())

    seen = both(run)
    assert seen.live == seen.replayed
    assert len(seen.shelf.tapes) == 20
    latencies = [call.latency_s or 0 for call in seen.replay.wire.calls]
    assert max(latencies) <= seen.now
    if not limit:
        assert seen.now == pytest.approx(max(latencies))


def test_a_connection_from_before_the_test_carries_nothing_past_us() -> None:
    """A session whose connection is open already is recorded, and replayed."""
    shelf = Shelf()

    async def ask(session: aiohttp.ClientSession, url: str) -> None:
        await post(session, url, "before")
        with recording(shelf):
            await post(session, url)
            await post(session, url, "again")
        with replaying(shelf):
            assert (await post(session, url))[0] == 200

    with provider() as server:
        in_loop(ask, server.url)
    assert (len(shelf.tapes), len(server.peers)) == (2, 3)


def test_an_unrecorded_call_is_raised_in_the_test() -> None:
    """The client does not hide it, and it fails the test."""

    async def ask(session: aiohttp.ClientSession, url: str) -> None:
        await post(session, url, "new")

    async def get(session: aiohttp.ClientSession, url: str) -> None:
        await session.get(f"{url}/orders")

    with replaying(Shelf()) as (run, _clock):
        for asked in (ask, get):
            with pytest.raises(UnrecordedCall, match="nothing is recorded for"):
                in_loop(asked, "http://127.0.0.1:9")
    assert (len(run.wire.failures()), run.wire.calls[0].error) == (2, "unrecorded")


def on_shelf(method: str, url: str, body: bytes, *, latency: float) -> Shelf:
    """One recorded answer."""
    shelf, reply = Shelf(live=False), chat_reply("hi")
    shelf.put(method, url, body, Played(status=200, headers=(), body=reply, plain=reply, latency_s=latency))
    return shelf


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_timeout_is_the_clients_own(method: str) -> None:
    """A recorded latency beyond the client's limit is its own error, at the right moment."""
    shelf = on_shelf(method, URL, b"" if method == "GET" else json.dumps(body_of("hi")).encode(), latency=60)

    async def ask(session: aiohttp.ClientSession, _url: str) -> None:
        await session.request(method, URL, json=None if method == "GET" else body_of("hi"))

    with replaying(shelf) as (run, clock):
        with pytest.raises(aiohttp.SocketTimeoutError):
            in_loop(ask, timeout=aiohttp.ClientTimeout(sock_read=3))
        assert clock.now == 3.0
    assert [(call.error, call.latency_s) for call in run.wire.calls] == ([("timeout", 3.0)] if method == "POST" else [])


def test_a_live_call_that_is_too_slow_is_one() -> None:
    """The time limit of the client ends the recording of a call as a time-out."""
    shelf = Shelf()

    async def ask(session: aiohttp.ClientSession, url: str) -> None:
        with pytest.raises(TimeoutError):
            await post(session, url, "slow")

    with provider() as server, recording(shelf) as run:
        in_loop(ask, server.url, timeout=aiohttp.ClientTimeout(total=0.05))
    assert (run.wire.calls[0].error, shelf.tapes[0].complete) == ("timeout", False)


def test_a_live_call_that_is_cancelled_is_so_in_the_next_line() -> None:
    """A hedge that is called off is in the log at once."""
    shelf = Shelf()

    async def ask(session: aiohttp.ClientSession, url: str) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(post(session, url, "slow"), 0.05)
        assert shelf.tapes[0].complete is False

    with provider() as server, recording(shelf) as run:
        in_loop(ask, server.url)
    assert run.wire.calls[0].error == "cancelled"


def test_a_server_that_is_not_there_is_not_there() -> None:
    """A live call that cannot connect is the client's own error, and is logged."""
    shelf = Shelf()

    async def ask(session: aiohttp.ClientSession, url: str) -> None:
        with pytest.raises(aiohttp.ClientConnectorError):
            await post(session, url)

    with provider() as server:
        url = server.url
    with recording(shelf) as run:
        in_loop(ask, url)
    assert (run.wire.calls[0].error, shelf.tapes[0].complete) == ("connection", False)


def test_a_host_that_is_let_through_is_asked() -> None:
    """What goes straight to the network is answered there, replaying too; a call of a model is logged."""

    async def ask(session: aiohttp.ClientSession, url: str) -> Any:
        async with session.get(url) as reply:
            return await post(session, url), await reply.json()

    with provider() as server, replaying(Shelf(straight=True)) as (run, _clock):
        assert in_loop(ask, server.url) == ((200, chat_reply("re: hi")), {"path": "/"})
        assert [call.text for call in run.wire.calls] == ["re: hi"]


def test_openais_aiohttp_client_is_replayed() -> None:
    """The official client over aiohttp, whole and streamed."""

    async def ask(url: str) -> Any:
        http_client = openai.DefaultAioHttpClient()
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k", http_client=http_client) as client:
            whole = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
            stream = await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "hi"}], stream=True
            )
            words = [chunk.choices[0].delta.content async for chunk in stream]
        return whole.choices[0].message.content, words

    seen = both(lambda url: asyncio.run(ask(url)))
    assert seen.live == seen.replayed == ("re: hi", ["re: ", "hi", None])
    assert [tape.complete for tape in seen.shelf.tapes] == [True, True]


def test_without_recordings_connections_are_kept() -> None:
    """A test that only listens leaves aiohttp alone."""

    async def ask(session: aiohttp.ClientSession, url: str) -> None:
        await post(session, url)
        await post(session, url)

    run = new_run()
    with provider() as server, run.listening():
        in_loop(ask, server.url)
    assert len(set(server.peers)) == 1


@pytest.mark.parametrize("what", ["pause_writing", "resume_writing"])
def test_a_client_is_told_to_wait_with_what_it_sends(what: str) -> None:
    """Who reads along stands between, and passes on what the transport says of a full buffer."""
    client, run = MagicMock(), new_run()
    read_along(client, along_with(run.wire, None, "POST", URL))
    (between,) = client.transport.set_protocol.call_args.args
    getattr(between, what)()
    getattr(client, what).assert_called_once_with()
