"""The real server: its ports, its clock, its log, and what it does about everything that is no good call."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from pytest_modelroute import CallLog, MockProviders, VirtualTime
from pytest_modelroute.errors import ScriptError
from pytest_modelroute.faults import Fault, read_timeout, stream_stalled
from pytest_modelroute.testrun import TestRun
from pytest_modelroute.wire.loopback import LoopbackServer

NewRun = Callable[[], TestRun]


def body_of(prompt: str = "hi", **params: Any) -> bytes:
    """A chat request in OpenAI's format."""
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": prompt}], **params}).encode()


@contextmanager
def connected(url: str, *, timeout: float | None = 10) -> Iterator[http.client.HTTPConnection]:
    """A connection of the standard library, which nothing intercepts."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=timeout)
    try:
        yield connection
    finally:
        connection.close()


def ask(url: str, body: bytes | None = None, path: str = "/chat/completions", *, method: str = "POST") -> Any:
    """Status and JSON of one request on a connection of its own."""
    with connected(url) as connection:
        connection.request(method, urlsplit(url).path + path, body_of() if body is None else body)
        reply = connection.getresponse()
        content = reply.read()
    return reply.status, json.loads(content or b"null")


@pytest.fixture
def failing(new_run: NewRun) -> Iterator[tuple[TestRun, MockProviders]]:
    """A test in the test, whose failures are looked at."""
    run = new_run()
    with run.listening(), run.virtual_time(), run.scripted() as scripts:
        yield run, scripts


# Ports and names


def test_each_name_has_a_port_of_its_own_and_keeps_it(mock_providers: MockProviders) -> None:
    """Two names are two hosts; asked again, a name is where it was."""
    first, second = mock_providers.url("openai"), mock_providers.url("openai-2")
    assert first != second
    assert mock_providers.url("openai") == first


def test_a_port_may_be_chosen(mock_providers: MockProviders) -> None:
    """A fixed port is for clients that cannot be told another."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert mock_providers.url("openai", port=port) == f"http://127.0.0.1:{port}/v1"
    assert mock_providers.url("openai", port=port) == mock_providers.url("openai")


def test_a_port_that_was_used_a_moment_ago_can_be_had_again(new_run: NewRun) -> None:
    """Connections of the test before do not keep a fixed port."""
    ports = set[int | None]()
    for _ in range(2):
        run = new_run()
        with run.listening(), run.virtual_time(), run.scripted() as scripts:
            scripts.otherwise("ok")
            url = scripts.url("openai", port=next(iter(ports), None))
            ports.add(urlsplit(url).port)
            assert ask(url)[0] == 200
    assert len(ports) == 1


def test_a_port_in_use_is_one_clear_error(mock_providers: MockProviders) -> None:
    """The message names the port, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ScriptError) as error:
            mock_providers.url("openai", port=port)
    assert str(error.value) == (
        f"url('openai', port={port}): the port is in use by another program, or by another worker of xdist, on "
        "127.0.0.1; give another one, or leave it out for any that is free"
    )


def test_a_port_of_another_name_is_one_clear_error(mock_providers: MockProviders) -> None:
    """Two names on one port could not be told apart."""
    port = urlsplit(mock_providers.url("openai")).port
    with pytest.raises(ScriptError, match="that is the port of 'openai' already; each name has one of its own"):
        mock_providers.url("anthropic", port=port)


def test_a_name_has_one_port(mock_providers: MockProviders) -> None:
    """A name that is served cannot be moved."""
    port = urlsplit(mock_providers.url("openai")).port
    with pytest.raises(ScriptError, match=rf"'openai' is served at port {port} already"):
        mock_providers.url("openai", port=1)


@pytest.mark.parametrize("port", [0, -1, 65536, "80", 80.0, True])
def test_what_is_no_port_is_one_clear_error(mock_providers: MockProviders, port: Any) -> None:
    """A port is a number that exists."""
    with pytest.raises(ScriptError, match="a port from 1 to 65535 was expected; leave it out for any that is free"):
        mock_providers.url("openai", port=port)


def test_a_port_that_the_system_refuses_says_why(
    mock_providers: MockProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ports below 1024 are not for everyone."""

    def bind(_sock: socket.socket, _address: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", bind)
    with pytest.raises(ScriptError, match=r"the port cannot be had \(Permission denied\) on 127.0.0.1"):
        mock_providers.url("openai", port=80)


def test_a_test_that_is_over_serves_no_more(new_run: NewRun) -> None:
    """A fixture of the user's that asks too late is told so."""
    run = new_run()
    with run.listening(), run.virtual_time(), run.scripted() as scripts:
        pass
    with pytest.raises(ScriptError, match=r"^url\('openai'\): the test is over, and its server with it$"):
        scripts.url("openai")


# From the first use to the end


def test_nothing_runs_until_a_url_is_asked_for(mock_providers: MockProviders) -> None:
    """A test that needs no server has none."""
    assert "modelroute-server" not in {thread.name for thread in threading.enumerate()}
    mock_providers.url("openai")
    assert "modelroute-server" in {thread.name for thread in threading.enumerate()}


def test_the_end_of_the_test_leaves_nothing_behind(new_run: NewRun) -> None:
    """Thread and ports are gone, and connections that were still open are closed."""
    run = new_run()
    with run.listening(), run.virtual_time(), run.scripted() as scripts:
        address = ("127.0.0.1", urlsplit(scripts.url("openai")).port)
        idle = socket.create_connection(address)
        # Not accepted yet, perhaps, when the test ends.
        late = socket.create_connection(address)
    assert "modelroute-server" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    for connection in (idle, late):
        connection.settimeout(5)
        with suppress(ConnectionResetError):
            assert connection.recv(1) == b""
        connection.close()
    assert run.wire.failures() == []


def test_a_call_that_waits_at_the_end_of_the_test_is_ended(failing: tuple[TestRun, MockProviders]) -> None:
    """Its client is let go, and its entry in the log is not left open."""
    run, scripts = failing
    scripts.on(model="m").fails(read_timeout())
    with connected(scripts.url("openai")) as connection:
        connection.request("POST", "/v1/chat/completions", body_of())
        assert run.wire.calls[0].latency_s is None
        run.wire.calls.settle()
        _server_of(scripts).stop()
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            connection.getresponse()
    assert run.wire.calls[0].error == "timeout"


def _server_of(scripts: MockProviders) -> LoopbackServer:
    server: LoopbackServer = scripts._serve.__self__  # type: ignore[union-attr]
    return server


def test_a_script_that_does_not_return_fails_the_test_and_not_the_run(
    failing: tuple[TestRun, MockProviders], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of the test does not wait for ever for the code of a script."""
    run, scripts = failing
    entered, go_on = threading.Event(), threading.Event()

    def answer(_call: object) -> str:
        entered.set()
        go_on.wait(10)
        return "late"

    scripts.on(model="m").replies(answer)
    url = scripts.url("openai")
    with ThreadPoolExecutor(1) as pool:
        reply = pool.submit(ask, url)
        assert entered.wait(5)
        monkeypatch.setattr("pytest_modelroute.wire.loopback._PATIENCE_S", 0.05)
        server = _server_of(scripts)
        server.stop()
        go_on.set()
        assert reply.result()[0] == 200
        assert server._thread is not None
        server._thread.join(5)
    (failure,) = run.wire.failures()
    assert failure == (
        "the server behind mock_providers.url(...) did not stop within 0.05 s: a function of a script is still running "
        "there, and keeps it"
    )


def test_another_policy_of_event_loops_is_none_of_the_servers(
    mock_providers: MockProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A project that runs on uvloop has our server on a loop of asyncio all the same."""
    import asyncio

    def new_event_loop() -> Any:
        raise AssertionError("asked the policy")

    monkeypatch.setattr(asyncio, "new_event_loop", new_event_loop)
    mock_providers.otherwise("ok")
    assert ask(mock_providers.url("openai"))[0] == 200


# Answers


@pytest.mark.parametrize("path", ["/chat/completions", "/v1/chat/completions"])
def test_a_client_that_adds_the_version_itself_is_answered_too(mock_providers: MockProviders, path: str) -> None:
    """With /v1 once, twice or not at all, the path tells the format."""
    mock_providers.otherwise("ok")
    for base in (mock_providers.url("openai"), mock_providers.url("openai").removesuffix("/v1")):
        status, reply = ask(base, path=path)
        assert (status, reply["choices"][0]["message"]["content"]) == (200, "ok")


def test_a_name_of_ones_own_is_the_calls_provider(mock_providers: MockProviders, call_log: CallLog) -> None:
    """Scripts, the log and prices go by the name; the format by the path, the price list by the provider behind."""
    url = mock_providers.url("openai-2")
    mock_providers.on(provider="openai-2").replies("ok", usage={"fresh_input": 1_000_000})
    assert ask(url, body_of(model="gpt-4.1-nano"))[0] == 200
    call = call_log[0]
    assert (call.provider, call.language, call.cost_usd) == ("openai-2", "openai-chat", Decimal("0.1"))


def test_a_name_may_speak_any_language(mock_providers: MockProviders, call_log: CallLog) -> None:
    """What a host speaks is told by the path, whatever its name."""
    url = mock_providers.url("cheap-host")
    mock_providers.on(provider="cheap-host").replies("ok")
    status, reply = ask(url, body_of(max_tokens=5), path="/messages")
    assert (status, reply["content"][0]["text"]) == (200, "ok")
    assert call_log[0].language == "anthropic-messages"


def test_the_client_is_what_it_says_of_itself(mock_providers: MockProviders, call_log: CallLog) -> None:
    """The log names the client of the other side by its user agent."""
    mock_providers.otherwise("ok")
    url = mock_providers.url("openai")
    with connected(url) as connection:
        for agent in ("curl/8.5", None):
            headers = {} if agent is None else {"user-agent": agent}
            connection.request("POST", "/v1/chat/completions", body_of(), headers)
            connection.getresponse().read()
    assert [call.client for call in call_log] == ["curl", "http"]


def test_in_process_the_name_comes_from_the_port(mock_providers: MockProviders, call_log: CallLog) -> None:
    """A client on httpx that is given the URL needs no socket, and counts as a call of the name."""
    url = mock_providers.url("openai-2").replace("127.0.0.1", "localhost")
    mock_providers.on(provider="openai-2").replies("ok", latency=60)
    reply = httpx.post(f"{url}/chat/completions", content=body_of(), timeout=None)  # noqa: S113 - time is virtual
    assert reply.status_code == 200
    assert (call_log[0].client, call_log[0].provider) == ("httpx", "openai-2")


def test_a_prompt_of_ten_megabytes_is_read(mock_providers: MockProviders, call_log: CallLog) -> None:
    """A long document comes in many pieces, and is one prompt."""
    mock_providers.on(model="m").replies(lambda call: str(len(call.prompt)))
    status, reply = ask(mock_providers.url("openai"), body_of("x" * 10_000_000))
    assert (status, reply["choices"][0]["message"]["content"]) == (200, "10000000")


def test_a_reply_of_ten_megabytes_arrives(mock_providers: MockProviders) -> None:
    """A long answer is written as the client reads it."""
    mock_providers.on(model="m").replies("y" * 10_000_000)
    assert len(ask(mock_providers.url("openai"))[1]["choices"][0]["message"]["content"]) == 10_000_000


def test_many_pieces_without_a_pause_are_one_stream(mock_providers: MockProviders) -> None:
    """A stream of thousands of pieces needs no depth of calls."""
    pieces = [f"{number} " for number in range(3_000)]
    mock_providers.on(model="m").replies("".join(pieces), chunks=pieces)
    url = mock_providers.url("openai")
    with connected(url) as connection:
        connection.request("POST", "/v1/chat/completions", body_of(stream=True))
        frames = connection.getresponse().read().count(b"data: ")
    assert frames > 3_000


# Time


def test_latency_is_real_and_moves_the_virtual_clock(
    mock_providers: MockProviders, call_log: CallLog, virtual_time: VirtualTime
) -> None:
    """The client waits as long as the script says, and the measured time holds no noise."""
    mock_providers.on(model="m").replies("ok", latency=0.03)
    url = mock_providers.url("openai")
    start = real_now()
    ask(url)
    assert real_now() - start >= 0.03
    assert virtual_time.now == 0.03
    assert call_log[0].latency_s == 0.03


def real_now() -> float:
    """Seconds of a clock that nobody moves: this thread's `time` is virtual."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(time.perf_counter).result()


def test_each_piece_of_a_stream_moves_the_clock(
    mock_providers: MockProviders, call_log: CallLog, virtual_time: VirtualTime
) -> None:
    """The first piece has its time, and the last one the latency."""
    mock_providers.on(model="m").replies("a b c", latency=0.05, ttft=0.01, chunks=3)
    url = mock_providers.url("openai")
    with connected(url) as connection:
        connection.request("POST", "/v1/chat/completions", body_of(stream=True))
        reply = connection.getresponse()
        assert virtual_time.now >= 0.01
        reply.read()
    assert virtual_time.now == 0.05
    assert (call_log[0].ttft_s, call_log[0].latency_s) == (0.01, 0.05)


def test_calls_at_the_same_time_overlap(
    mock_providers: MockProviders, call_log: CallLog, virtual_time: VirtualTime
) -> None:
    """Ten calls of 0.1 s side by side take 0.1 s, not a second."""
    mock_providers.on(model="m").replies("ok", latency=0.1)
    url = mock_providers.url("openai")
    together = threading.Barrier(10)

    def call() -> int:
        together.wait(5)
        status: int = ask(url)[0]
        return status

    with ThreadPoolExecutor(10) as pool:
        assert [each.result() for each in [pool.submit(call) for _ in range(10)]] == [200] * 10
    assert virtual_time.now == 0.1
    assert {call.latency_s for call in call_log} == {0.1}


def test_a_client_that_gives_up_is_cancelled_and_billed_as_far_as_it_ran(
    mock_providers: MockProviders, call_log: CallLog
) -> None:
    """Hanging up in the middle of a stream ends the exchange: the input, and the pieces that were sent, are billed."""
    pieces = [f"{number} " for number in range(10)]
    mock_providers.on(model="m").replies(
        "".join(pieces), latency=5, ttft=0.01, chunks=pieces, usage={"fresh_input": 7, "output": 100}
    )
    with connected(mock_providers.url("openai")) as connection:
        connection.request("POST", "/v1/chat/completions", body_of(stream=True))
        reply = connection.getresponse()
        reply.readline()
        reply.close()
    call = call_log[0]
    assert (call.error, call.status) == ("cancelled", 200)
    assert call.usage is not None
    assert (call.usage.fresh_input, call.usage.output) == (7, 10)


def test_a_time_out_is_the_clients_own(
    mock_providers: MockProviders, call_log: CallLog, virtual_time: VirtualTime
) -> None:
    """A client that waits 0.05 s for an answer that takes 5 gives up long before, and the clock has moved as far."""
    mock_providers.on(model="m").replies("too late", latency=5, usage={"output": 1000})
    with connected(mock_providers.url("openai"), timeout=0.05) as connection:
        connection.request("POST", "/v1/chat/completions", body_of())
        with pytest.raises(TimeoutError):
            connection.getresponse()
    call = call_log[0]
    assert call.error == "cancelled"
    assert 0 < virtual_time.now < 5
    assert call.latency_s == pytest.approx(virtual_time.now)
    assert call.usage is not None
    assert 0 < call.usage.output < 1000


def test_a_client_that_never_reads_its_answer_is_logged_by_then(
    mock_providers: MockProviders, call_log: CallLog
) -> None:
    """A call that was sent and dropped at once is in the log in the very next line."""
    mock_providers.on(model="m").replies("ok", latency=5)
    for _ in range(20):
        with connected(mock_providers.url("openai")) as connection:
            connection.request("POST", "/v1/chat/completions", body_of())
    assert [call.error for call in call_log] == ["cancelled"] * 20


def test_real_time_has_no_clock_to_move(new_run: NewRun) -> None:
    """Where time is real, a latency is what it took."""
    run = new_run()
    with run.listening(), run.scripted() as scripts:
        scripts.on(model="m").replies("ok", latency=0.02)
        ask(scripts.url("openai"))
        latency = run.wire.calls[0].latency_s
    assert latency is not None
    assert 0.02 <= latency < 5


# The log


def test_calls_belong_to_the_running_case(mock_providers: MockProviders, evaluate_step: Any) -> None:
    """A call over a socket carries no label: it is the case's that is being run."""
    mock_providers.otherwise("ok", latency=0.01)
    url = mock_providers.url("openai")
    cases = [{"id": name, "inputs": name, "expected_output": "ok"} for name in ("a", "b")]
    result = evaluate_step(cases, run=lambda _: ask(url)[1]["choices"][0]["message"]["content"], step="s")
    assert [(call.step, call.case) for each in result.results for call in each.calls] == [("s", "a"), ("s", "b")]
    assert [each.elapsed_s for each in result.results] == [0.01, 0.01]


def test_a_call_that_a_case_gave_up_is_in_its_cost_and_time(mock_providers: MockProviders, evaluate_step: Any) -> None:
    """The evaluation waits until the server has seen the client hang up."""
    mock_providers.on(model="m").replies("ok", latency=5, usage={"fresh_input": 10, "output": 10})
    url = mock_providers.url("openai")

    def run(_inputs: object) -> str:
        with connected(url, timeout=0.02) as connection:
            connection.request("POST", "/v1/chat/completions", body_of())
            with pytest.raises(TimeoutError):
                connection.getresponse()
        return "ok"

    result = evaluate_step([{"inputs": "x", "expected_output": "ok"}], run=run, step="s")
    (call,) = result.results[0].calls
    assert (call.error, call.usage.fresh_input) == ("cancelled", 10)
    assert 0 < result.results[0].elapsed_s < 5


def test_a_label_of_who_asked_first_is_not_every_calls(mock_providers: MockProviders, call_log: CallLog) -> None:
    """The server's thread takes no context along from the line that started it."""
    mock_providers.otherwise("ok")
    with call_log.label(step="plan"):
        url = mock_providers.url("openai")
    ask(url)
    assert call_log[0].step is None


def test_a_script_may_ask_the_log(mock_providers: MockProviders, call_log: CallLog) -> None:
    """The code of a script reads the log on the server's own thread, and in the test's while the server waits."""
    entered, sent = threading.Event(), threading.Event()

    def answer(call: Any) -> str:
        if call.prompt == "in process":
            entered.set()
            assert sent.wait(5)
        return str(len(mock_providers.calls))

    mock_providers.on(model="m").replies(answer)
    url = mock_providers.url("openai")

    def send() -> Any:
        assert entered.wait(5)
        with connected(url) as connection:
            connection.request("POST", "/v1/chat/completions", body_of("over a socket"))
            sent.set()
            return json.loads(connection.getresponse().read())["choices"][0]["message"]["content"]

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(send)
        httpx.post("https://api.openai.com/v1/chat/completions", content=body_of("in process"))
        assert other.result(10) == "2"


def test_a_connection_without_a_call_is_idle(mock_providers: MockProviders) -> None:
    """A client that keeps its connection waits for nothing; one whose answer is under way does."""
    mock_providers.on(model="m").replies("ok", latency=0.2)
    url = mock_providers.url("openai")
    server = _server_of(mock_providers)
    with connected(url) as connection:
        connection.connect()
        ends = connection.sock.getsockname(), connection.sock.getpeername()
        assert server.is_idle(*ends)
        connection.request("POST", "/v1/chat/completions", body_of())
        assert not server.is_idle(*ends)
        connection.getresponse().read()
        assert server.is_idle(*ends)
    assert not server.is_idle(*ends)
    assert not server.is_idle(ends[0], ("127.0.0.1", 1))
    assert not server.is_idle("", "")  # as the ends of a Unix socket are called


@pytest.mark.parametrize("fault", [read_timeout(), stream_stalled()], ids=lambda fault: fault.name)
def test_an_answer_that_never_comes_is_nothing_to_wait_for(mock_providers: MockProviders, fault: Fault) -> None:
    """A connection whose script leaves it waiting is as good as idle: the client's own time limit ends it."""
    mock_providers.on(model="m").fails(fault)
    url = mock_providers.url("openai")
    with connected(url) as connection:
        connection.request("POST", "/v1/chat/completions", body_of(stream=True))
        assert _server_of(mock_providers).is_idle(connection.sock.getsockname(), connection.sock.getpeername())


# What is no good call


def test_an_unscripted_call_gets_an_error_that_is_not_retried(failing: tuple[TestRun, MockProviders]) -> None:
    """The client reads what is wrong at once, in the format's own words, and the test fails with all of it."""
    run, scripts = failing
    scripts.on(model="other", optional=True).replies("x")
    url = scripts.url("openai")
    status, reply = ask(url)
    assert status == 400
    assert reply["error"]["message"] == (
        f"pytest-modelroute: no script answers this provider call: POST {url}/chat/completions  model 'm'"
    )
    (failure,) = run.wire.failures()
    assert failure.startswith("no script answers this provider call:\n  POST http://127.0.0.1:")
    assert "other model" in failure
    assert run.wire.calls[0].error == "unscripted"


def test_an_anthropic_client_gets_its_own_form_of_error(failing: tuple[TestRun, MockProviders]) -> None:
    """The language of the path is the language of the error."""
    _, scripts = failing
    status, reply = ask(scripts.url("anthropic"), body_of(max_tokens=1), path="/v1/messages")
    assert (status, reply["type"], reply["error"]["type"]) == (400, "error", "invalid_request_error")


@pytest.mark.parametrize(
    "body",
    [b"{broken", b"\xff\xfe\xfa", b"", b"[]", b'{"model": "m"}'],
    ids=["cut", "no utf-8", "empty", "list", "half"],
)
def test_a_body_that_cannot_be_read_fails_the_test(failing: tuple[TestRun, MockProviders], body: bytes) -> None:
    """A request that is none is told to the client and to the test."""
    run, scripts = failing
    scripts.otherwise("ok")
    status, reply = ask(scripts.url("openai"), body)
    assert status == 400
    (failure,) = run.wire.failures()
    assert reply["error"]["message"].startswith("pytest-modelroute: ")
    assert failure.startswith("a call of http://127.0.0.1:")
    assert failure.endswith(reply["error"]["message"].removeprefix("pytest-modelroute: "))


def test_a_script_that_raises_shows_its_own_traceback(run: Callable[..., pytest.RunResult]) -> None:
    """The client, in another thread or process, got an error 400; the test shows the line of the script."""
    result = run(
        "import urllib.error, urllib.request\n"
        "GOLD = {}\n"
        "def answer(call):\n"
        "    return GOLD[call.prompt]\n"
        "def test_it(mock_providers):\n"
        "    mock_providers.on().replies(answer)\n"
        "    url = mock_providers.url('openai') + '/chat/completions'\n"
        '    body = b\'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}\'\n'
        "    with pytest.raises(urllib.error.HTTPError, match='400'):\n"
        "        urllib.request.urlopen(url, body)\n"
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "script on().replies(answer)  (test_it.py:*) raised on call 1 (KeyError: 'hi')",
            "the script's own traceback:",
            "Traceback (most recent call last):",
            '  File "*test_it.py", line *, in answer',
            "KeyError: 'hi'",
        ]
    )


def test_a_script_that_fails_the_test_fails_it(failing: tuple[TestRun, MockProviders]) -> None:
    """pytest.fail in the function of a script is no Exception, and does not kill the server."""
    run, scripts = failing
    scripts.on(model="m").replies(lambda call: pytest.fail(f"never ask {call.prompt!r}"))
    status, reply = ask(scripts.url("openai"))
    assert (status, reply["error"]["message"]) == (400, "pytest-modelroute: never ask 'hi'")
    assert run.wire.failures()[0].startswith("never ask 'hi'")


def test_a_request_that_is_no_call_of_a_model_fails_the_test(failing: tuple[TestRun, MockProviders]) -> None:
    """A list of models, say, is answered by a route of the test's own, or not at all."""
    run, scripts = failing
    status, reply = ask(scripts.url("openai"), path="/models?limit=1", method="GET", body=b"")
    assert (status, reply) == (404, {"error": {"message": "pytest-modelroute: nothing answers GET /v1/models"}})
    (failure,) = run.wire.failures()
    assert failure == (
        "GET /v1/models came to the server of 'openai': it is no call of a model that scripts of this version can "
        "answer, and no route of the test answers it.\n"
        'To answer it: mock_providers.http.route(path="/v1/models").respond(...)'
    )


def test_routes_of_the_test_answer_the_rest(mock_providers: MockProviders) -> None:
    """`mock_providers.http` serves the real server too."""
    mock_providers.http.route(path="/v1/models").respond(json={"data": []}, headers={"x-by": "route"})
    assert ask(mock_providers.url("openai"), path="/models", method="GET", body=b"") == (200, {"data": []})


def test_a_head_request_to_a_route_has_no_body(mock_providers: MockProviders) -> None:
    """HEAD is answered as HTTP wants it, and the connection goes on."""
    mock_providers.http.route(path="/health").respond(text="fine")
    with connected(mock_providers.url("openai")) as connection:
        for method, body in (("HEAD", b""), ("GET", b"fine")):
            connection.request(method, "/health")
            reply = connection.getresponse()
            assert (reply.status, reply.read()) == (200, body)


def test_a_route_that_raises_an_error_of_httpx_loses_the_connection(mock_providers: MockProviders) -> None:
    """The connection is reset: the server has no other way to fail without an answer."""
    mock_providers.http.route(path="/health").mock(side_effect=httpx.ConnectError)
    with pytest.raises(ConnectionResetError):
        ask(mock_providers.url("openai").removesuffix("/v1"), path="/health", method="GET", body=b"")


def test_a_route_that_raises_fails_the_test(failing: tuple[TestRun, MockProviders]) -> None:
    """A mistake in the user's function is shown with its traceback, and the server goes on."""
    run, scripts = failing

    def broken(_request: httpx.Request) -> httpx.Response:
        raise KeyError("colour")

    scripts.http.route(path="/v1/models").mock(side_effect=broken)
    status, reply = ask(scripts.url("openai"), path="/models", method="GET", body=b"")
    assert (status, reply["error"]["message"]) == (
        500,
        "pytest-modelroute: a route of the test raised KeyError('colour')",
    )
    (failure,) = run.wire.failures()
    assert failure.startswith("a route of mock_providers.http raised on GET http://127.0.0.1:")
    assert "in broken" in failure


def test_https_is_told_as_what_it_is(failing: tuple[TestRun, MockProviders]) -> None:
    """A client that was told https:// gets no further than its first bytes, and the test says why."""
    import ssl

    run, scripts = failing
    port = urlsplit(scripts.url("openai")).port
    context = ssl.create_default_context()
    with socket.create_connection(("127.0.0.1", port)) as sock, pytest.raises(ssl.SSLError):
        context.wrap_socket(sock, server_hostname="localhost")
    (failure,) = run.wire.failures()
    assert failure.startswith(f"what was sent to http://127.0.0.1:{port}, the server of 'openai', is no HTTP/1.1 (")
    assert failure.endswith("its address begins with http://, not with https://")


def test_a_breakdown_of_the_server_fails_the_test(
    failing: tuple[TestRun, MockProviders], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake of ours is no traceback in the log of asyncio, but a failure that names it."""
    run, scripts = failing
    scripts.otherwise("ok")

    def broken(*_args: object) -> None:
        raise ValueError("a mistake")

    monkeypatch.setattr("pytest_modelroute.wire.endpoint.Endpoint.timeline", broken)
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        ask(scripts.url("openai"))
    assert run.wire.failures() == [
        "the server behind mock_providers.url(...) broke down: ValueError('a mistake')",
    ]


def test_calls_over_a_socket_are_ambiguous_while_several_cases_run(failing: tuple[TestRun, MockProviders]) -> None:
    """With concurrency such a call belongs to no case, and the message says so."""
    run, scripts = failing
    scripts.otherwise("ok")
    run.wire.unlabelled_is_ambiguous = True
    ask(scripts.url("openai"))
    (failure,) = run.wire.failures()
    assert "carries no label (it came over a socket, or from a thread) while several cases were under way" in failure
    assert "evaluate with concurrency=1" in failure


def test_garbage_behind_a_call_is_refused_after_its_answer(failing: tuple[TestRun, MockProviders]) -> None:
    """What comes while an answer is under way is read after it."""
    run, scripts = failing
    scripts.on(model="m").replies("ok", latency=0.01)
    content = body_of()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(content)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", urlsplit(scripts.url("openai")).port)) as sock:
        sock.settimeout(10)
        sock.sendall(head + content + b"nonsense\r\n\r\n")
        got = b""
        while piece := sock.recv(65536):
            got += piece
    assert (got.count(b"HTTP/1.1 200"), got.count(b"HTTP/1.1 400")) == (1, 1)
    assert "is no HTTP/1.1 (illegal request line" in run.wire.failures()[0]


@pytest.mark.parametrize("passes", [False, True], ids=["no match", "passes on"])
def test_a_route_that_does_not_answer_leaves_a_404(failing: tuple[TestRun, MockProviders], *, passes: bool) -> None:
    """A route that matches nothing, or lets the request pass, has nowhere to pass it on to."""
    run, scripts = failing
    route = scripts.http.route(path="/v1/models" if passes else "/other")
    if passes:
        route.pass_through()
    assert ask(scripts.url("openai"), path="/models", method="GET", body=b"")[0] == 404
    assert run.wire.failures()[0].startswith("GET /v1/models came to the server of 'openai'")


def test_the_clock_is_only_moved_forward(virtual_time: VirtualTime) -> None:
    """A moment that has passed is reached already."""
    virtual_time.reach(2.5)
    virtual_time.reach(1)
    assert virtual_time.now == 2.5


def test_the_clock_loses_nothing_between_threads(virtual_time: VirtualTime) -> None:
    """Sleeps of the test add up exactly while another thread asks for moments that are past."""
    over = threading.Event()

    def ask_for_the_past() -> None:
        while not over.is_set():
            virtual_time.reach(0)

    thread = threading.Thread(target=ask_for_the_past)
    thread.start()
    for _ in range(20_000):
        time.sleep(0.001)
    over.set()
    thread.join()
    assert virtual_time.now == 20.0
