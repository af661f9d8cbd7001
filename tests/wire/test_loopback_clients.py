"""The real server with clients that nobody intercepts: other libraries, other processes, other languages."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import AsyncMock

import aiohttp
import pytest
import requests
import urllib3

from pytest_modelroute import CallLog, MockProviders, VirtualTime
from pytest_modelroute.faults import (
    Fault,
    connect_error,
    connection_reset,
    html_page,
    malformed_body,
    overloaded,
    rate_limit,
    read_timeout,
    stream_cut,
    stream_error,
    stream_stalled,
)
from pytest_modelroute.wire.aiohttp_memory import AiohttpMemory

LONG, SHORT = 10, 0.05
"""Seconds until a client gives up: where an answer comes, and where none does."""
Post = Callable[[str, dict[str, Any], float], tuple[int, str]]
"""Sends a body to a URL and waits so long; gives the status and the whole text, or raises what the library raises."""


def body_of(prompt: str = "hi", **params: Any) -> dict[str, Any]:
    """A chat request in OpenAI's format."""
    return {"model": "m", "messages": [{"role": "user", "content": prompt}], **params}


def by_requests(url: str, body: dict[str, Any], timeout: float) -> tuple[int, str]:
    """The library that most code has."""
    reply = requests.post(url, json=body, timeout=timeout)
    return reply.status_code, reply.text


def by_urllib3(url: str, body: dict[str, Any], timeout: float) -> tuple[int, str]:
    """What requests and boto3 stand on."""
    with urllib3.PoolManager(timeout=timeout, retries=False) as pool:
        reply = pool.request("POST", url, json=body)
        return reply.status, reply.data.decode()


def by_aiohttp(url: str, body: dict[str, Any], timeout: float) -> tuple[int, str]:
    """An async client over a real socket, in a loop of the test's thread."""

    async def post() -> tuple[int, str]:
        limits = aiohttp.ClientTimeout(sock_read=timeout)
        async with aiohttp.ClientSession(timeout=limits) as session, session.post(url, json=body) as reply:
            return reply.status, await reply.text()

    return asyncio.run(post())


CLIENTS: dict[str, Post] = {"requests": by_requests, "urllib3": by_urllib3, "aiohttp": by_aiohttp}


@pytest.fixture(params=CLIENTS)
def post(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Post:
    """Each client; aiohttp without its connections in memory."""
    monkeypatch.setattr(AiohttpMemory, "connect", AsyncMock(return_value=None))
    return CLIENTS[request.param]


@pytest.fixture
def url(mock_providers: MockProviders) -> str:
    """Where chat completions are."""
    return mock_providers.url("openai") + "/chat/completions"


def test_a_whole_answer(mock_providers: MockProviders, virtual_time: VirtualTime, url: str, post: Post) -> None:
    """Text and time are the script's."""
    mock_providers.on(model="m").replies("hello", latency=0.02)
    status, text = post(url, body_of(), LONG)
    assert (status, json.loads(text)["choices"][0]["message"]["content"]) == (200, "hello")
    assert virtual_time.now >= 0.02


def test_a_stream(mock_providers: MockProviders, call_log: CallLog, url: str, post: Post) -> None:
    """All its frames, and the end marker."""
    mock_providers.on(model="m").replies("a b c", latency=0.03, chunks=3)
    status, text = post(url, body_of(stream=True), LONG)
    frames = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    words = [frame["choices"][0]["delta"].get("content") or "" for frame in frames]
    assert (status, "".join(words)) == (200, "a b c")
    assert text.endswith("data: [DONE]\n\n")
    assert call_log[0].completed


@pytest.mark.parametrize(
    ("fault", "status", "part"),
    [
        (rate_limit(retry_after=2), 429, "rate_limit_exceeded"),
        (overloaded(), 503, "error"),
        (malformed_body(), 200, '"mess'),
        (html_page(), 200, "<!doctype html>"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_bad_answer(
    mock_providers: MockProviders, url: str, post: Post, fault: Fault, status: int, part: str
) -> None:
    """Status and body are those of the fault."""
    mock_providers.on(model="m").fails(fault)
    got, text = post(url, body_of(), LONG)
    assert got == status
    assert part in text


def test_an_error_in_the_stream(mock_providers: MockProviders, url: str, post: Post) -> None:
    """It comes under the status that the stream began with."""
    mock_providers.on(model="m").fails(stream_error(after=2))
    status, text = post(url, body_of(stream=True), LONG)
    assert status == 200
    assert '"error"' in text.splitlines()[-2]


RESET = requests.ConnectionError, urllib3.exceptions.ProtocolError, aiohttp.ClientOSError
SILENT = requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError, aiohttp.SocketTimeoutError
CUT = requests.exceptions.ChunkedEncodingError, urllib3.exceptions.ProtocolError, aiohttp.ClientPayloadError
# requests says of a stream that stops in its middle that it lost the connection.
STALLED = (requests.ConnectionError, *SILENT)


@pytest.mark.parametrize(
    ("fault", "errors", "logged"),
    [
        (connect_error(), RESET, "connection"),
        (connection_reset(), RESET, "connection"),
        (read_timeout(), SILENT, "timeout"),
        (stream_cut(), CUT, "connection"),
        (stream_stalled(), STALLED, "timeout"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_lost_connection(
    mock_providers: MockProviders,
    call_log: CallLog,
    url: str,
    post: Post,
    fault: Fault,
    errors: tuple[type[Exception], ...],
    logged: str,
    *,
    stream: bool,
) -> None:
    """Each library raises what it raises in life; a connection that was accepted is refused by a reset."""
    mock_providers.on(model="m").fails(fault)
    with pytest.raises(errors):
        post(url, body_of(stream=stream), SHORT if logged == "timeout" else LONG)
    assert call_log[0].error == logged


def test_the_server_goes_on_after_every_fault(mock_providers: MockProviders, url: str, post: Post) -> None:
    """A connection that was lost loses none of the others."""
    waits = {connection_reset(): LONG, stream_cut(): LONG, read_timeout(): SHORT, connect_error(): LONG}
    mock_providers.on(model="m").replies([*waits, "fine"])
    for wait in waits.values():
        with pytest.raises((*RESET, *SILENT, *CUT)):
            post(url, body_of(), wait)
    assert "fine" in post(url, body_of(), LONG)[1]


def test_requests_keeps_its_connection_and_retries(
    mock_providers: MockProviders, call_log: CallLog, virtual_time: VirtualTime, url: str
) -> None:
    """urllib3's own Retry obeys Retry-After, whose wait passes in virtual time."""
    mock_providers.on(model="m").fails(rate_limit(retry_after=30), times=2).then.replies("hello")
    retries = urllib3.Retry(total=3, allowed_methods=None, status_forcelist=[429])
    with requests.Session() as session:
        session.mount("http://", requests.adapters.HTTPAdapter(max_retries=retries))
        reply = session.post(url, json=body_of(), timeout=5)
    assert reply.json()["choices"][0]["message"]["content"] == "hello"
    assert [call.status for call in call_log] == [429, 429, 200]
    assert virtual_time.now == 60.0


def test_a_stream_is_read_while_it_comes(mock_providers: MockProviders, url: str) -> None:
    """The first words are there before the last ones are sent."""
    mock_providers.on(model="m").replies("a b", latency=0.2, ttft=0.01, chunks=2)
    with requests.post(url, json=body_of(stream=True), stream=True, timeout=5) as reply:
        lines = (line for line in reply.iter_lines() if b'"content":"a"' in line)
        assert next(lines)
        assert mock_providers.calls[0].latency_s is None


def test_aiohttp_on_a_socket_does_not_jump_ahead(
    mock_providers: MockProviders, virtual_time: VirtualTime, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A time limit of the loop beside a real answer is not reached by a jump of the virtual clock."""
    monkeypatch.setattr(AiohttpMemory, "connect", AsyncMock(return_value=None))
    mock_providers.on(model="m").replies("in time", latency=0.05)

    async def ask() -> str:
        session = aiohttp.ClientSession()
        async with session, asyncio.timeout(30), session.post(url, json=body_of()) as reply:
            return await reply.text()

    assert "in time" in asyncio.run(ask())
    assert 0.05 <= virtual_time.now < 30


def test_a_connection_that_is_kept_open_holds_no_time(
    mock_providers: MockProviders, virtual_time: VirtualTime, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An idle connection to the server is nothing to wait for: an hour passes at once beside it."""
    monkeypatch.setattr(AiohttpMemory, "connect", AsyncMock(return_value=None))
    mock_providers.on(model="m").replies("ok")

    async def ask() -> int:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(keepalive_timeout=7200)) as session:
            async with session.post(url, json=body_of()) as reply:
                await reply.read()
            await asyncio.sleep(3600)
            return len(session.connector._conns) if session.connector is not None else 0

    assert asyncio.run(ask()) == 1
    assert virtual_time.now == 3600.0


def test_a_time_limit_beside_an_answer_that_never_comes_passes_at_once(
    mock_providers: MockProviders, virtual_time: VirtualTime, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop on the test's thread need not wait for real for a script that says nothing."""
    monkeypatch.setattr(AiohttpMemory, "connect", AsyncMock(return_value=None))
    mock_providers.on(model="m").fails(read_timeout())

    async def ask() -> None:
        limits = aiohttp.ClientTimeout(sock_read=1000)
        async with aiohttp.ClientSession(timeout=limits) as session:
            await session.post(url, json=body_of())

    with pytest.raises(aiohttp.SocketTimeoutError):
        asyncio.run(ask())
    assert virtual_time.now == pytest.approx(1000.0, abs=1)


def run_python(source: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own, which knows nothing of this test."""
    return subprocess.run([sys.executable, "-c", source, *args], capture_output=True, text=True, timeout=60, check=True)


def test_another_process(mock_providers: MockProviders, call_log: CallLog, virtual_time: VirtualTime, url: str) -> None:
    """A child with the standard library alone."""
    mock_providers.on(model="m").replies("from the parent", latency=0.02)
    source = (
        "import json, sys, urllib.request\n"
        "body = json.dumps({'model': 'm', 'messages': [{'role': 'user', 'content': 'hi'}]}).encode()\n"
        "reply = json.load(urllib.request.urlopen(sys.argv[1], body))\n"
        "print(reply['choices'][0]['message']['content'])\n"
    )
    assert run_python(source, url).stdout.strip() == "from the parent"
    assert virtual_time.now == 0.02
    assert call_log[0].client == "Python-urllib"


def test_an_application_in_another_process(mock_providers: MockProviders, call_log: CallLog) -> None:
    """The real SDKs over real sockets: retries, streams, errors; told of the server by the environment."""
    mock_providers.on(provider="openai").fails(rate_limit(retry_after=0), times=1).then.replies("a b", chunks=2)
    mock_providers.on(provider="anthropic").replies("from Claude")
    source = (
        "import sys, anthropic, openai\n"
        "hello = [{'role': 'user', 'content': 'hi'}]\n"
        "client = openai.OpenAI(base_url=sys.argv[1], api_key=sys.argv[2])\n"
        "stream = client.chat.completions.create(model='m', messages=hello, stream=True)\n"
        "print(''.join(chunk.choices[0].delta.content or '' for chunk in stream))\n"
        "client = anthropic.Anthropic(base_url=sys.argv[3], api_key=sys.argv[4])\n"
        "print(client.messages.create(model='c', max_tokens=9, messages=hello).content[0].text)\n"
    )
    words = [word for name in ("openai", "anthropic") for word in (mock_providers.url(name), mock_providers.key(name))]
    assert run_python(source, *words).stdout.splitlines() == ["a b", "from Claude"]
    assert [call.status for call in call_log] == [429, 200, 200]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(mock_providers: MockProviders, call_log: CallLog, url: str) -> None:
    """A stream on the command line, and a connection that is cut with curl's own exit codes."""
    mock_providers.on(model="m").replies(["hello", connection_reset(), stream_cut(), read_timeout()])
    command = ["curl", "--silent", "--no-buffer", "--max-time", "5", "--data", json.dumps(body_of(stream=True)), url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert '"content":"hello"' in done.stdout
    assert done.stdout.endswith("data: [DONE]\n\n")
    patient = [*command[:4], str(SHORT), *command[5:]]
    codes = [
        subprocess.run(each, capture_output=True, timeout=30, check=False).returncode
        for each in (command, command, patient)
    ]
    assert codes == [56, 18, 28]  # a failure to receive, a transfer that ended early, a time-out
    assert {call.client for call in call_log} == {"curl"}


NODE = """
const [url] = process.argv.slice(1);
const body = {model: 'm', messages: [{role: 'user', content: 'hi'}]};
const post = (more, signal) => fetch(url, {method: 'POST', body: JSON.stringify({...body, ...more}), signal});
const whole = await (await post({})).json();
console.log(whole.choices[0].message.content);
let text = '';
for await (const piece of (await post({stream: true})).body) text += Buffer.from(piece).toString();
console.log(text.trim().split('\\n\\n').length);
for (const signal of [undefined, AbortSignal.timeout(50)]) {
    try { await post({}, signal); } catch (error) { console.log(error.cause?.code ?? error.name); }
}
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_node(mock_providers: MockProviders, call_log: CallLog, url: str) -> None:
    """Another language: fetch of node reads an answer, a stream, a reset, and gives up in time."""
    mock_providers.on(model="m").replies(["from a script", "a b c", connection_reset(), read_timeout()])
    command = ["node", "--input-type=module", "--eval", NODE, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == ["from a script", "6", "ECONNRESET", "TimeoutError"]
    assert [call.error for call in call_log] == [None, None, "connection", "timeout"]


def test_threads_share_the_server(mock_providers: MockProviders, call_log: CallLog, url: str) -> None:
    """Eight threads with twenty calls each get their own answers."""
    barrier = threading.Barrier(8)
    mock_providers.on(model="m").replies(lambda call: call.prompt.upper())

    def work(name: str) -> list[str]:
        barrier.wait(10)
        with requests.Session() as session:
            replies = [session.post(url, json=body_of(f"{name}{number}"), timeout=10).json() for number in range(20)]
        return [reply["choices"][0]["message"]["content"] for reply in replies]

    with ThreadPoolExecutor(8) as pool:
        for name, texts in zip("abcdefgh", pool.map(work, "abcdefgh"), strict=True):
            assert texts == [f"{name}{number}".upper() for number in range(20)]
    assert len(call_log) == 160
    assert sorted(call.number for call in call_log) == list(range(1, 161))


def test_a_client_that_hangs_up_leaves_no_trace(
    mock_providers: MockProviders, url: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is printed or logged by whatever a client does with its end."""
    mock_providers.on(model="m").replies("a b c", latency=30, ttft=0.001)
    content = json.dumps(body_of(stream=True)).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(content)}\r\n\r\n".encode()
    port = int(url.split(":")[2].partition("/")[0])
    for sent in (b"", head[:20], head, head + content[:5], head + content):
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(sent)
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(head + content)
        sock.recv(10)
        # With bytes unread, closing sends a reset.
    assert [call.error for call in mock_providers.calls] == ["cancelled"] * 2
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_real_seconds_pass_for_other_threads(mock_providers: MockProviders, url: str) -> None:
    """Who waits in another thread waits for real: its clock is the machine's."""
    mock_providers.on(model="m").replies("ok", latency=0.03)

    def timed() -> float:
        start = time.perf_counter()
        requests.post(url, json=body_of(), timeout=5)
        return time.perf_counter() - start

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(timed).result() >= 0.03


def test_an_idle_connection_lets_virtual_time_pass(
    mock_providers: MockProviders, virtual_time: VirtualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two calls over one connection that is kept open an hour of back-off takes no time."""
    monkeypatch.setattr(AiohttpMemory, "connect", AsyncMock(return_value=None))
    mock_providers.on(model="m").replies("ok", latency=0.02)
    url = f"{mock_providers.url('openai')}/chat/completions"

    async def twice() -> None:
        async with aiohttp.ClientSession() as session:
            for pause in (3600, 0):
                async with session.post(url, json=body_of()) as reply:
                    await reply.read()
                await asyncio.sleep(pause)

    asyncio.run(twice())
    assert virtual_time.now == 3600.04
