"""aiohttp in process, in virtual time: sessions, limits, timeouts and errors are its own, the connection is ours."""

from __future__ import annotations

import asyncio
import importlib
import io
import json
import sys
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import httpx
import openai
import pytest

from pytest_modelroute import CallLog, MockProviders, VirtualTime
from pytest_modelroute.errors import MalformedExchange, NetworkBlocked, ScriptRaised, UnscriptedCall
from pytest_modelroute.faults import (
    Fault,
    connect_error,
    connection_reset,
    html_page,
    rate_limit,
    read_timeout,
    stream_cut,
    stream_error,
    stream_stalled,
)
from pytest_modelroute.testrun import TestRun
from pytest_modelroute.wire import aiohttp_memory
from pytest_modelroute.wire.imports import ModulePatch

URL = "https://api.openai.com/v1/chat/completions"
OTHER_PLUGINS = ("respx", "asyncio", "anyio", "randomly", "xdist", "hypothesispytest", "cov")
NewRun = Callable[[], TestRun]


def body_of(prompt: str = "hi", **params: Any) -> dict[str, Any]:
    """A chat request in OpenAI's format."""
    return {"model": "m", "messages": [{"role": "user", "content": prompt}], **params}


async def ask(session: aiohttp.ClientSession, prompt: str = "hi", **params: Any) -> str:
    """The text of an answer."""
    async with session.post(URL, json=body_of(prompt, **params)) as reply:
        reply.raise_for_status()
        text: str = (await reply.json())["choices"][0]["message"]["content"]
        return text


def in_loop(run: Callable[[aiohttp.ClientSession], Any], **options: Any) -> Any:
    """Run an async function with a session, in a loop of its own."""

    async def main() -> Any:
        async with aiohttp.ClientSession(**options) as session:
            return await run(session)

    return asyncio.run(main())


# Time


def test_a_call_takes_its_latency_in_virtual_time(
    mock_providers: MockProviders, call_log: CallLog, virtual_time: VirtualTime
) -> None:
    """A minute passes at once, and is measured to the nanosecond."""
    mock_providers.on(model="m").replies("hello", latency=60)
    assert in_loop(ask) == "hello"
    assert virtual_time.now == 60.0
    assert (call_log[0].client, call_log[0].latency_s, call_log[0].provider) == ("aiohttp", 60.0, "openai")


def test_calls_overlap(mock_providers: MockProviders, virtual_time: VirtualTime) -> None:
    """Ten calls of a second side by side take a second."""
    mock_providers.otherwise("ok", latency=1)

    async def run(session: aiohttp.ClientSession) -> list[str]:
        return await asyncio.gather(*(ask(session) for _ in range(10)))

    assert in_loop(run) == ["ok"] * 10
    assert virtual_time.now == 1.0


def test_the_limit_of_a_connector_counts(mock_providers: MockProviders, virtual_time: VirtualTime) -> None:
    """Ten calls of a second over two connections take five."""
    mock_providers.otherwise("ok", latency=1)

    async def run() -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=2)) as session:
            await asyncio.gather(*(ask(session) for _ in range(10)))

    asyncio.run(run())
    assert virtual_time.now == 5.0


def test_each_piece_of_a_stream_comes_at_its_time(
    mock_providers: MockProviders, call_log: CallLog, virtual_time: VirtualTime
) -> None:
    """The stream is read as it comes."""
    mock_providers.on(model="m").replies("a b c", latency=2, ttft=0.4, chunks=3)

    async def run(session: aiohttp.ClientSession) -> list[float]:
        async with session.post(URL, json=body_of(stream=True)) as reply:
            return [virtual_time.now async for _piece in reply.content.iter_any()]

    assert in_loop(run) == [0.4, 1.2, 2.0]
    assert (call_log[0].ttft_s, call_log[0].latency_s) == (0.4, 2.0)


def test_a_read_timeout_is_the_clients_own(
    mock_providers: MockProviders, call_log: CallLog, virtual_time: VirtualTime
) -> None:
    """The time limit between two reads is kept by a timer of aiohttp's."""
    mock_providers.on(model="m").replies("too late", latency=60)
    with pytest.raises(aiohttp.SocketTimeoutError):
        in_loop(ask, timeout=aiohttp.ClientTimeout(sock_read=3))
    assert virtual_time.now == 3.0
    assert (call_log[0].error, call_log[0].latency_s) == ("timeout", 3.0)


def test_a_total_timeout_is_the_clients_own(
    mock_providers: MockProviders, call_log: CallLog, virtual_time: VirtualTime
) -> None:
    """So is the time limit of the whole, for a stream whose every piece is in time."""
    mock_providers.on(model="m").replies("a b c d", latency=8, chunks=4)

    async def run(session: aiohttp.ClientSession) -> None:
        async with session.post(URL, json=body_of(stream=True)) as reply:
            await reply.read()

    with pytest.raises(asyncio.TimeoutError):
        in_loop(run, timeout=aiohttp.ClientTimeout(total=4.5, sock_read=3))
    assert virtual_time.now == 4.5
    assert call_log[0].error == "timeout"


def test_a_cancelled_call_is_in_the_log_in_the_next_line(mock_providers: MockProviders, call_log: CallLog) -> None:
    """A hedge that is called off is billed as far as it ran, without a turn of the loop in between."""
    mock_providers.on(model="m").replies("ok", latency=10, usage={"fresh_input": 5, "output": 100})

    async def run(session: aiohttp.ClientSession) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ask(session), 4)
        assert call_log[0].error == "cancelled"

    in_loop(run)
    assert call_log[0].usage is not None
    assert (call_log[0].usage.fresh_input, call_log[0].usage.output) == (5, 40)


def test_a_stream_that_is_left_early_is_cancelled(mock_providers: MockProviders, call_log: CallLog) -> None:
    """A client that leaves a stream has closed its connection."""
    mock_providers.on(model="m").replies("a b c d", latency=8, chunks=4)

    async def run(session: aiohttp.ClientSession) -> None:
        async with session.post(URL, json=body_of(stream=True)) as reply:
            await reply.content.readany()

    in_loop(run)
    assert call_log[0].error == "cancelled"


def test_a_loop_in_another_thread_adds_its_latencies(
    mock_providers: MockProviders, call_log: CallLog, virtual_time: VirtualTime
) -> None:
    """A thread has no clock of its own: what its calls take is added to the test's, at once."""
    mock_providers.otherwise("ok", latency=30)
    said: list[str] = []
    thread = threading.Thread(target=lambda: said.append(in_loop(ask)))
    thread.start()
    thread.join(10)
    assert said == ["ok"]
    assert virtual_time.now == 30.0
    assert call_log[0].latency_s == 30.0


def test_a_loop_that_keeps_its_clock_fails_the_test(new_run: NewRun) -> None:
    """The time of uvloop is its own: a latency cannot pass there, and the client goes on at once."""
    uvloop = pytest.importorskip("uvloop")
    run = new_run()
    with run.listening(), run.virtual_time(), run.scripted() as scripts:
        scripts.otherwise("ok", latency=5)

        async def main() -> str:
            async with aiohttp.ClientSession() as session:
                return await ask(session)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            assert runner.run(main()) == "ok"
    (failure,) = run.wire.failures()
    assert failure.startswith("a scripted latency cannot pass in virtual time here")


def test_real_time_is_kept_where_time_is_real(new_run: NewRun) -> None:
    """Without a virtual clock the loop's own timers count."""
    run = new_run()
    with run.listening(), run.scripted() as scripts:
        scripts.otherwise("ok", latency=0.02)
        assert in_loop(ask) == "ok"
    latency = run.wire.calls[0].latency_s
    assert latency is not None
    assert 0.02 <= latency < 5


# Labels and errors of ours


def test_each_call_has_the_label_of_its_own_task(mock_providers: MockProviders, call_log: CallLog) -> None:
    """Also where the calls share a session and wait for each other's connections."""
    mock_providers.on(model="m").replies(lambda call: f"{call.step}", latency=1)

    async def run() -> list[tuple[str, str]]:
        async def one(step: str) -> tuple[str, str]:
            with call_log.label(step=step):
                return step, await ask(session)

        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=3)) as session:
            return await asyncio.gather(*(one(f"step {number}") for number in range(12)))

    assert all(step == said for step, said in asyncio.run(run()))


def test_an_unscripted_call_is_raised_in_the_test(new_run: NewRun) -> None:
    """As on httpx: `except Exception` does not catch it, and the message shows the line that called."""
    run = new_run()
    with run.listening(), run.virtual_time(), run.scripted():

        async def swallow(session: aiohttp.ClientSession) -> None:
            try:
                await ask(session)
            except Exception:  # noqa: BLE001 - as an application does
                raise AssertionError("swallowed") from None

        with pytest.raises(UnscriptedCall, match=r"called at .*test_aiohttp_memory\.py:\d+, in ask: async with"):
            in_loop(swallow)
    assert len(run.wire.failures()) == 1


def test_a_script_that_raises_is_raised_in_the_test(new_run: NewRun) -> None:
    """As on httpx, with what the script raised as its cause."""
    run = new_run()
    with run.listening(), run.virtual_time(), run.scripted() as scripts:
        scripts.on(model="m").replies(lambda call: call.params["colour"])
        with pytest.raises(ScriptRaised) as error:
            in_loop(ask)
    assert isinstance(error.value.__cause__, KeyError)


def test_a_body_that_cannot_be_read_is_raised_in_the_test(new_run: NewRun) -> None:
    """A known provider's host takes calls of models alone."""
    run = new_run()
    with run.listening(), run.virtual_time(), run.scripted():

        async def broken(session: aiohttp.ClientSession) -> None:
            await session.post(URL, data=b"{broken")

        with pytest.raises(MalformedExchange):
            in_loop(broken)
    assert run.wire.failures()[0].startswith(f"a call of {URL} cannot be read: ")


# Faults


@pytest.mark.parametrize(
    ("fault", "error", "logged"),
    [
        (connect_error(), aiohttp.ClientConnectorError, "connection"),
        (connection_reset(), aiohttp.ClientOSError, "connection"),
        (read_timeout(), aiohttp.SocketTimeoutError, "timeout"),
        (stream_cut(), aiohttp.ClientPayloadError, "connection"),
        (stream_stalled(), aiohttp.SocketTimeoutError, "timeout"),
        (html_page(), aiohttp.ContentTypeError, "malformed"),
        (rate_limit(retry_after=2), aiohttp.ClientResponseError, "rate_limited"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_faults_are_aiohttps_own_errors(
    mock_providers: MockProviders,
    call_log: CallLog,
    virtual_time: VirtualTime,
    fault: Fault,
    error: type[Exception],
    logged: str,
    *,
    stream: bool,
) -> None:
    """What aiohttp raises in life."""
    mock_providers.on(model="m").fails(fault, latency=1)
    with pytest.raises(error):
        in_loop(lambda session: ask(session, stream=stream), timeout=aiohttp.ClientTimeout(sock_read=5))
    assert call_log[0].error == logged
    assert virtual_time.now > 0.0


def test_a_refused_connection_is_refused_as_the_system_does(mock_providers: MockProviders) -> None:
    """The error carries the errno, and the host."""
    mock_providers.on(model="m").fails(connect_error())
    with pytest.raises(aiohttp.ClientConnectorError, match=r"Cannot connect to host api.openai.com:443") as error:
        in_loop(ask)
    assert isinstance(error.value.os_error, ConnectionRefusedError)


def test_a_connection_that_is_refused_too_late_times_out(
    mock_providers: MockProviders, call_log: CallLog, virtual_time: VirtualTime
) -> None:
    """The time limit for connecting counts, and that for reading does not."""
    mock_providers.on(model="m").fails(connect_error(), latency=30)
    with pytest.raises(aiohttp.ConnectionTimeoutError):
        in_loop(ask, timeout=aiohttp.ClientTimeout(sock_connect=3, sock_read=1))
    assert virtual_time.now == 3.0
    assert call_log[0].error == "timeout"


def test_a_refusal_that_is_not_waited_for_is_cancelled(mock_providers: MockProviders, call_log: CallLog) -> None:
    """A task that is called off while it connects ends its call."""
    mock_providers.on(model="m").fails(connect_error(), latency=30)

    async def run(session: aiohttp.ClientSession) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ask(session), 2)

    in_loop(run, timeout=aiohttp.ClientTimeout(sock_connect=10))
    assert call_log[0].error == "cancelled"


@pytest.mark.parametrize("fault", [read_timeout(), stream_stalled()], ids=lambda fault: fault.name)
def test_nobody_waits_for_ever(new_run: NewRun, fault: Fault) -> None:
    """A client without any time limit would hang the test: it fails, and goes on."""
    run = new_run()
    with run.listening(), run.virtual_time(), run.scripted() as scripts:
        scripts.on(model="m").fails(fault)
        with pytest.raises(aiohttp.SocketTimeoutError):
            in_loop(lambda session: ask(session, stream=True), timeout=aiohttp.ClientTimeout())
    assert run.wire.failures() == [
        "call 1 to 'm' is scripted to get no answer, and would wait for ever: the client has no read timeout"
    ]


def test_an_error_in_the_stream_comes_under_its_good_status(mock_providers: MockProviders, call_log: CallLog) -> None:
    """The frame of the error is a part of a stream that began well."""
    mock_providers.on(model="m").fails(stream_error())

    async def run(session: aiohttp.ClientSession) -> tuple[int, bytes]:
        async with session.post(URL, json=body_of(stream=True)) as reply:
            return reply.status, await reply.read()

    status, content = in_loop(run)
    assert (status, b'"error"' in content) == (200, True)
    assert call_log[0].error == "overloaded"


def test_openais_aiohttp_client_retries_in_virtual_time(
    mock_providers: MockProviders, call_log: CallLog, virtual_time: VirtualTime
) -> None:
    """The SDK's variant on aiohttp: back-off, time-outs and streams in the test's time."""
    mock_providers.on(model="m").fails(rate_limit(retry_after=3), times=1).then.replies("a b", latency=1)

    async def run() -> str:
        async with openai.AsyncOpenAI(api_key="x", http_client=openai.DefaultAioHttpClient()) as client:
            messages: Any = [{"role": "user", "content": "hi"}]
            stream = await client.chat.completions.create(model="m", messages=messages, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert asyncio.run(run()) == "a b"
    assert virtual_time.now == 4.0
    assert [call.client for call in call_log] == ["aiohttp", "aiohttp"]


def test_openais_aiohttp_client_times_out(mock_providers: MockProviders, virtual_time: VirtualTime) -> None:
    """Its read timeout is aiohttp's."""
    mock_providers.on(model="m").replies("late", latency=60)

    async def run() -> None:
        client = openai.AsyncOpenAI(api_key="x", http_client=openai.DefaultAioHttpClient(), timeout=3, max_retries=0)
        async with client:
            await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])

    with pytest.raises(openai.APITimeoutError):
        asyncio.run(run())
    assert virtual_time.now == 3.0


# Bodies


async def pieces() -> AsyncIterator[bytes]:
    """A body that can be read once."""
    for piece in (b'{"model": "m", "messages": [{"role"', b': "user", "content": "in pieces"}]}'):
        yield piece


@pytest.mark.parametrize(
    "data",
    [lambda: json.dumps(body_of("whole")), lambda: json.dumps(body_of("whole")).encode(), pieces],
    ids=["text", "bytes", "pieces"],
)
def test_a_body_of_any_kind_is_read(mock_providers: MockProviders, call_log: CallLog, data: Callable[[], Any]) -> None:
    """Also one that can be read only once, and is sent after that."""
    mock_providers.otherwise("ok")

    async def run(session: aiohttp.ClientSession) -> int:
        async with session.post(URL, data=data()) as reply:
            return reply.status

    assert in_loop(run) == 200
    assert call_log[0].prompt in ("whole", "in pieces")


def test_a_prompt_and_an_answer_of_ten_megabytes_pass(mock_providers: MockProviders) -> None:
    """They are written and read in aiohttp's own pieces."""
    mock_providers.on(model="m").replies(lambda call: call.prompt)

    async def run(session: aiohttp.ClientSession) -> str:
        async with session.post(URL, data=io.BytesIO(json.dumps(body_of("x" * 10_000_000)).encode())) as reply:
            text: str = (await reply.json())["choices"][0]["message"]["content"]
            return text

    assert len(in_loop(run)) == 10_000_000


# What is no call of a model


def test_routes_of_the_test_answer_other_requests(mock_providers: MockProviders, virtual_time: VirtualTime) -> None:
    """`mock_providers.http` serves aiohttp too, with a route that may be asynchronous."""

    async def order(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(5)
        return httpx.Response(200, json={"asked": request.content.decode(), "by": request.headers["x-by"]})

    mock_providers.http.put("https://shop.example/orders/7").mock(side_effect=order)

    async def run(session: aiohttp.ClientSession) -> Any:
        async with session.put(
            "https://shop.example/orders/7", data=pieces_of_order(), headers={"x-by": "me"}
        ) as reply:
            return await reply.json()

    assert in_loop(run) == {"asked": "seven", "by": "me"}
    assert virtual_time.now == 5.0


async def pieces_of_order() -> AsyncIterator[bytes]:
    """A body of another request that can be read once."""
    yield b"seven"


def test_a_route_that_fails_is_a_connection_that_fails(mock_providers: MockProviders) -> None:
    """An error of httpx in a route is the nearest error of aiohttp."""
    mock_providers.http.get("https://shop.example/").mock(side_effect=httpx.ConnectError("down"))

    async def run(session: aiohttp.ClientSession) -> None:
        await session.get("https://shop.example/")

    with pytest.raises(aiohttp.ClientConnectorError, match="down"):
        in_loop(run)


def test_what_nothing_answers_meets_the_guard(new_run: NewRun) -> None:
    """A request to another host goes to the socket, where the guard stands."""
    run = new_run()
    with run.listening(), run.virtual_time(), run.scripted() as scripts:
        scripts.http.get("https://other.example/").respond()

        async def ask_shop(session: aiohttp.ClientSession) -> None:
            await session.get("https://shop.example/")

        with pytest.raises(aiohttp.ClientConnectorError) as error:
            in_loop(ask_shop)
    assert isinstance(error.value.os_error, NetworkBlocked)
    (failure,) = run.wire.failures()
    assert failure.startswith("a connection to shop.example was refused (aiohttp)")
    assert "GET https://shop.example/ is no provider call that scripts of this version can answer" in failure
    assert 'To answer it: mock_providers.http.route(host="shop.example").respond(...)' in failure


def test_a_proxy_on_this_machine_carries_nothing_out(new_run: NewRun, serve: Any) -> None:
    """The host behind a proxy is checked before the proxy is asked."""
    asked: list[str] = []
    proxy = serve(lambda handler: asked.append(handler.path))
    run = new_run()
    with run.listening(), run.virtual_time(), run.scripted() as scripts:
        scripts.otherwise("ok")

        async def by_proxy(session: aiohttp.ClientSession) -> int:
            with pytest.raises(OSError, match=r"a connection to shop\.example was refused"):
                await session.get("http://shop.example/", proxy=proxy)
            async with session.post(URL, json=body_of(), proxy=proxy) as reply:
                return reply.status

        assert in_loop(by_proxy) == 200
    assert asked == []
    assert run.wire.failures()[0].startswith("a connection to shop.example was refused (aiohttp)")


def test_another_service_with_such_a_path_is_not_ours(mock_providers: MockProviders, serve: Any) -> None:
    """A POST to a path like a model's with another body, on a host that is nobody's, goes where it is sent."""

    def respond(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("content-length", "4")
        handler.end_headers()
        handler.wfile.write(b"mine")

    base = serve(respond)

    async def run(session: aiohttp.ClientSession) -> bytes:
        async with session.post(f"{base}/v1/chat/completions", json={"not": "a model's"}) as reply:
            return await reply.read()

    assert in_loop(run) == b"mine"


def test_a_connection_that_was_kept_from_before_is_not_used(new_run: NewRun, serve: Any) -> None:
    """A session that has an open connection to the host would carry the call past the scripts."""

    def respond(handler: Any) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("content-length", "4")
        handler.end_headers()
        handler.wfile.write(b"real")

    base = serve(respond)

    async def main() -> list[bytes]:
        seen: list[bytes] = []
        async with aiohttp.ClientSession() as session:
            for scripted in (False, True):
                run = new_run()
                with run.listening():
                    if not scripted:
                        async with session.post(f"{base}/v1/chat/completions", json=body_of()) as reply:
                            seen.append(await reply.read())
                        continue
                    with run.scripted() as scripts:
                        scripts.otherwise("scripted")
                        async with session.post(f"{base}/v1/chat/completions", json=body_of()) as reply:
                            seen.append(await reply.read())
        return seen

    real, scripted = asyncio.run(main())
    assert real == b"real"
    assert b"scripted" in scripted


def test_a_test_without_scripts_is_left_alone(new_run: NewRun, serve: Any) -> None:
    """Where replies come from the network, aiohttp's connections are its own."""

    def respond(handler: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b"real")

    base, run = serve(respond), new_run()
    with run.listening():

        async def call(session: aiohttp.ClientSession) -> bytes:
            async with session.post(f"{base}/v1/chat/completions", json=body_of()) as reply:
                return await reply.read()

        assert in_loop(call) == b"real"


# Before and after its import, and versions to come


def test_aiohttp_may_be_imported_in_the_test(pytester: pytest.Pytester) -> None:
    """A function that imports aiohttp in its body is intercepted as well, in every test, and aiohttp left as it was."""
    pytester.makeini("[pytest]\n")
    pytester.makepyfile(
        """
        import asyncio, sys

        def call():
            import aiohttp

            async def main():
                async with aiohttp.ClientSession() as session:
                    body = {"model": "m", "messages": []}
                    async with session.post("https://api.openai.com/v1/chat/completions", json=body) as reply:
                        return await reply.text()

            return asyncio.run(main())

        def test_first(mock_providers):
            assert "aiohttp" not in sys.modules
            mock_providers.otherwise("first")
            assert "first" in call()

        def test_second(mock_providers):
            mock_providers.otherwise("second")
            assert "second" in call()

        def test_afterwards():
            from aiohttp.connector import BaseConnector, TCPConnector
            assert TCPConnector._create_connection.__module__ == "aiohttp.connector"
            assert BaseConnector.connect.__module__ == "aiohttp.connector"
            assert "connect" not in vars(TCPConnector)
        """
    )
    off = [word for name in OTHER_PLUGINS for word in ("-p", f"no:{name}")]
    pytester.runpytest_subprocess(*off).assert_outcomes(passed=3)


def test_a_test_in_a_test_has_its_own_scripts(new_run: NewRun) -> None:
    """The innermost listens, and the outer one goes on after it."""
    outer, inner = new_run(), new_run()
    with outer.listening(), outer.virtual_time(), outer.scripted() as scripts:
        scripts.otherwise("outer")
        with inner.listening(), inner.virtual_time(), inner.scripted() as others:
            others.otherwise("inner")
            assert in_loop(ask) == "inner"
        assert in_loop(ask) == "outer"
    assert (len(outer.wire.calls), len(inner.wire.calls)) == (1, 1)


@pytest.mark.parametrize("missing", ["_create_connection", "arguments"])
def test_a_version_without_our_methods_meets_the_guard(
    new_run: NewRun, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """Should aiohttp change inside, its connections end at the guard, loudly, which says what to do."""
    module = importlib.import_module("aiohttp.connector")
    original = module.TCPConnector._create_connection

    async def changed(self: Any, request: Any, *others: Any) -> Any:
        return await original(self, request, *others)

    if missing == "arguments":
        monkeypatch.setattr(module.TCPConnector, "_create_connection", changed)
    else:
        monkeypatch.setattr(aiohttp_memory, "_ARGUMENTS", ["other"])
    run = new_run()
    with run.listening(), run.virtual_time(), run.scripted() as scripts:
        scripts.otherwise("ok")
        with pytest.raises(aiohttp.ClientConnectorError):
            in_loop(ask)
    (failure,) = run.wire.failures()
    assert failure.startswith("a connection to api.openai.com was refused (aiohttp)")
    assert 'give it mock_providers.url("openai") as its base URL' in failure


def test_the_finder_waits_for_one_module_alone() -> None:
    """An import of anything else is not touched, and a module that is not there is not found."""
    patch = ModulePatch("no_such_module", lambda _module: ())
    patch.install()
    assert (patch in sys.meta_path, patch.find_spec("json")) == (True, None)
    patch.remove()
    assert patch not in sys.meta_path
