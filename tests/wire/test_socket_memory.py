"""http.client and what stands on it, in process: recorded from a live provider, replayed without it."""

from __future__ import annotations

import http.client
import io
import json
import select
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import boto3  # type: ignore[import-untyped]
import botocore.awsrequest  # type: ignore[import-untyped]
import botocore.config  # type: ignore[import-untyped]
import httpx
import pytest
import requests
import urllib3

from pytest_modelroute.errors import UnrecordedCall
from pytest_modelroute.faults import read_timeout
from pytest_modelroute.wire.recorded import Played
from tests.wire.taped import GAP, Shelf, both, chat_reply, new_run, provider, recording, replaying

CHAT = "/v1/chat/completions"


def body_of(prompt: str, **params: Any) -> dict[str, Any]:
    """A chat request in OpenAI's format."""
    return {"model": "m", "messages": [{"role": "user", "content": prompt}], **params}


def said(reply: bytes) -> str:
    """The text of an answer."""
    text: str = json.loads(reply)["choices"][0]["message"]["content"]
    return text


# One function a library: it posts a body and gives the status and the bytes of the answer.


def by_requests(url: str, body: dict[str, Any]) -> tuple[int, bytes]:
    """Through requests."""
    reply = requests.post(url, json=body, timeout=30)
    return reply.status_code, reply.content


def opened(url: str, body: dict[str, Any], *, timeout: float = 30) -> Any:
    """A reply of urllib.request that is not read yet."""
    data = json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})  # noqa: S310 - http
    return urllib.request.urlopen(request, timeout=timeout)  # noqa: S310 - as above


def by_urllib(url: str, body: dict[str, Any]) -> tuple[int, bytes]:
    """Through urllib.request."""
    try:
        with opened(url, body) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def by_urllib3(url: str, body: dict[str, Any]) -> tuple[int, bytes]:
    """Through urllib3."""
    with urllib3.PoolManager() as pool:
        reply = pool.request("POST", url, json=body)
        return reply.status, reply.data


def by_http_client(url: str, body: dict[str, Any]) -> tuple[int, bytes]:
    """Through http.client, with a body whose length is not told."""
    host, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=30)
    text = json.dumps(body).encode()
    connection.request("POST", f"/{path}", iter([text[:9], text[9:]]), {"content-type": "application/json"})
    with connection.getresponse() as reply:
        found = reply.status, reply.read()
    connection.close()
    return found


every_library = pytest.mark.parametrize("post", [by_requests, by_urllib, by_urllib3, by_http_client])
Post = Callable[[str, dict[str, Any]], tuple[int, bytes]]


@every_library
@pytest.mark.parametrize("prompt", ["hi", "refuse"])
def test_a_whole_answer_is_replayed(post: Post, prompt: str) -> None:
    """Status and body are what the provider said, and the log holds the same call."""
    seen = both(lambda url: post(url + CHAT, body_of(prompt)))
    assert seen.live == seen.replayed
    live, replayed = seen.recorded.wire.calls[0], seen.replay.wire.calls[0]
    assert (live.status, live.text, live.usage, live.error, live.client) == (
        replayed.status,
        replayed.text,
        replayed.usage,
        replayed.error,
        replayed.client,
    )
    assert (live.answered_by, replayed.answered_by) == ("network", "a tape")
    assert live.latency_s is not None
    assert replayed.latency_s == pytest.approx(live.latency_s, abs=0.05)
    assert replayed.latency_s


@every_library
def test_a_packed_answer_is_replayed(post: Post) -> None:
    """What was sent compressed is replayed compressed, and read for the log in plain."""
    seen = both(lambda url: post(url + CHAT, body_of("zip")))
    assert seen.live == seen.replayed
    assert [call.text for call in (*seen.recorded.wire.calls, *seen.replay.wire.calls)] == ["re: zip"] * 2


@every_library
def test_a_stream_is_replayed(post: Post) -> None:
    """A stream keeps its pieces and their times."""
    seen = both(lambda url: post(url + CHAT, body_of("hi", stream=True)))
    assert seen.live == seen.replayed
    (tape,) = seen.shelf.tapes
    assert (len(tape.pieces), tape.complete, tape.reason) == (4, True, "OK")
    assert seen.now >= 3 * GAP * 0.9
    for run in (seen.recorded, seen.replay):
        (call,) = run.wire.calls
        assert (call.text, call.completed, call.usage is not None) == ("re: hi", True, True)
        assert call.ttft_s is not None
        assert call.latency_s is not None
        assert call.latency_s - call.ttft_s >= 3 * GAP * 0.9


def test_the_pieces_of_a_stream_come_at_their_times() -> None:
    """A client that reads as it comes sees each piece when it came."""
    shelf, url = Shelf(live=False), "http://127.0.0.1:9/v1/chat/completions"
    body = json.dumps(body_of("hi", stream=True)).encode()
    pieces = [b"data: one\n\n", b"data: two\n\n", b"data: three\n\n"]
    chunks = [(0.0, len(pieces[0])), (0.5, len(pieces[1])), (2.0, len(pieces[2]))]
    plain = b"".join(pieces)
    shelf.put(
        "POST", url, body, Played(status=200, headers=(), body=plain, plain=plain, latency_s=9, ttft_s=1, chunks=chunks)
    )
    with replaying(shelf) as (_run, clock), urllib3.PoolManager() as pool:
        reply = pool.request("POST", url, body=body, preload_content=False)
        times = [(clock.now, line) for line in reply.stream(1000)]
    assert times == [(1.0, pieces[0]), (1.5, pieces[1]), (3.5, pieces[2])]


def test_what_a_client_does_between_two_pieces_is_no_waiting() -> None:
    """A provider goes on while its client is busy."""
    shelf, url = Shelf(live=False), "http://127.0.0.1:9/v1/chat/completions"
    body = json.dumps(body_of("hi", stream=True)).encode()
    chunks = [(0.0, 4), (2.0, 4)]
    shelf.put(
        "POST",
        url,
        body,
        Played(status=200, headers=(), body=b"one two ", plain=b"", latency_s=3, ttft_s=1, chunks=chunks),
    )
    with replaying(shelf) as (_run, clock), urllib3.PoolManager() as pool:
        reply = pool.request("POST", url, body=body, preload_content=False)
        for _piece in reply.stream(4):
            time.sleep(1.5)
    assert clock.now == 4.5


def test_another_request_is_replayed() -> None:
    """A request that is no call of a model is replayed too, and is not in the log."""

    def ask(url: str) -> Any:
        reply = requests.get(f"{url}/orders?id=3", timeout=9)
        return reply.json(), reply.headers["content-encoding"], reply.headers["set-cookie"]

    seen = both(ask)
    assert seen.live == seen.replayed == ({"path": "/orders?id=3"}, "gzip", "a=1")
    assert len(seen.recorded.wire.calls) == len(seen.replay.wire.calls) == 0
    assert seen.now > 0


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [("HEAD", "/", (200, "1234")), ("GET", "/nothing", (204, None)), ("GET", "/gone", (404, "13"))],
)
def test_answers_without_a_body_are_replayed(method: str, path: str, expected: Any) -> None:
    """HEAD, 204 and errors are replayed with the length that they told."""

    def ask(url: str) -> Any:
        reply = requests.request(method, url + path, timeout=9)
        return reply.status_code, reply.headers.get("content-length")

    seen = both(ask)
    assert (seen.live, seen.replayed[0]) == (expected, expected[0])
    assert seen.replayed[1] in (expected[1], "0")


def bedrock(url: str) -> Any:
    """A client of AWS."""
    return boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id="k",
        aws_secret_access_key="s",
        config=botocore.config.Config(retries={"total_max_attempts": 1}),
    )


def test_boto3_is_replayed() -> None:
    """Converse through boto3, whose connections are its own subclasses."""

    def ask(url: str) -> Any:
        messages = [{"role": "user", "content": [{"text": "hi"}]}]
        reply = bedrock(url).converse(modelId="amazon.nova-lite-v1:0", messages=messages)
        return reply["output"], reply["usage"], reply["stopReason"]

    seen = both(ask)
    assert seen.live == seen.replayed
    assert [call.text for call in (*seen.recorded.wire.calls, *seen.replay.wire.calls)] == ["re: hi"] * 2
    assert [call.client for call in seen.replay.wire.calls] == ["Boto3"]


def test_a_body_that_waits_to_be_asked_for_is_sent() -> None:
    """A client that expects 100 Continue gets it, live and replayed: botocore waits for it with poll."""

    def ask(url: str) -> Any:
        port = int(url.rpartition(":")[2])
        connection = botocore.awsrequest.AWSHTTPConnection("127.0.0.1", port)
        body = json.dumps(body_of("hi")).encode()
        connection.request("POST", CHAT, body, {"Expect": b"100-continue", "content-type": "application/json"})
        reply = connection.getresponse()
        found = reply.status, said(reply.data)
        connection.close()
        return found

    seen = both(ask)
    assert seen.live == seen.replayed == (200, "re: hi")
    assert (seen.now, len(seen.shelf.tapes)) < (1.0, 2)


@pytest.mark.parametrize("stream", [False, True])
def test_a_cut_answer_is_cut_again(stream: bool) -> None:
    """What broke off breaks off for http.client, and for requests, live and replayed."""

    def ask(url: str) -> Any:
        with pytest.raises(requests.exceptions.ChunkedEncodingError) as by_requests:
            requests.post(url + CHAT, json=body_of("cut", stream=stream), timeout=9)
        reply = opened(url + CHAT, body_of("cut", stream=stream))
        with reply, pytest.raises(http.client.IncompleteRead) as partly:
            reply.read()
        return type(by_requests.value), partly.value.partial

    seen = both(ask)
    assert seen.live == seen.replayed
    assert [tape.complete for tape in seen.shelf.tapes] == [False, False]
    for run in (seen.recorded, seen.replay):
        assert [call.error for call in run.wire.calls] == ["cut off" if stream else "malformed"] * 2


def test_connections_that_are_kept_are_asked_each_time() -> None:
    """Three requests over one connection are recorded as three, and replayed."""

    def ask(url: str) -> list[str]:
        with requests.Session() as session:
            return [said(session.post(url + CHAT, json=body_of(word), timeout=9).content) for word in ("a", "b", "c")]

    shelf = Shelf()
    with provider() as server, recording(shelf) as run:
        live = ask(server.url)
    assert len(set(server.peers)) == 1
    with replaying(shelf) as (_replay, _clock):
        assert ask(server.url) == live == ["re: a", "re: b", "re: c"]
    assert [call.text for call in run.wire.calls] == live


def test_a_connection_from_before_the_test_carries_nothing_past_us() -> None:
    """A session whose connection is open already is recorded and replayed, and goes on afterwards."""
    shelf = Shelf()
    with provider() as server, requests.Session() as session:

        def ask(word: str) -> str:
            return said(session.post(server.url + CHAT, json=body_of(word), timeout=9).content)

        ask("before")
        with recording(shelf):
            ask("hi")
        with replaying(shelf) as (run, _clock):
            assert ask("hi") == "re: hi"
            with pytest.raises(UnrecordedCall):
                ask("new")
        assert ask("after") == "re: after"
    assert (len(shelf.tapes), len(server.peers)) == (1, 3)
    assert run.wire.failures() == [f"nothing is recorded for POST {server.url}{CHAT}"]


@every_library
def test_an_unrecorded_call_is_raised_where_it_is_sent(post: Post) -> None:
    """No library hides it, and it fails the test."""
    with replaying(Shelf()) as (run, _clock):
        with pytest.raises(UnrecordedCall, match="nothing is recorded for POST http://127"):
            post(f"http://127.0.0.1:9{CHAT}", body_of("new"))
        with pytest.raises(UnrecordedCall):
            requests.get("http://127.0.0.1:9/orders", timeout=9)
    assert (len(run.wire.failures()), run.wire.calls[0].error) == (2, "unrecorded")


def on_shelf(url: str, *, latency: float, prompt: str = "hi", **facts: Any) -> Shelf:
    """One recorded answer."""
    shelf, reply = Shelf(live=False), chat_reply(prompt)
    body = json.dumps(body_of(prompt)).encode()
    headers = (("content-type", "application/json"),)
    played = Played(status=200, headers=headers, body=reply, plain=reply, latency_s=latency, **facts)
    shelf.put("POST", url, body, played)
    return shelf


def test_a_timeout_is_the_clients_own() -> None:
    """A recorded latency beyond the client's limit is its own error, at the right moment."""
    url = f"https://api.example.com{CHAT}"
    with replaying(on_shelf(url, latency=60)) as (run, clock), urllib3.PoolManager(retries=False) as pool:
        with pytest.raises(urllib3.exceptions.ReadTimeoutError):
            pool.request("POST", url, body=json.dumps(body_of("hi")).encode(), timeout=urllib3.Timeout(read=3))
        assert clock.now == 3.0
    assert (run.wire.calls[0].error, run.wire.calls[0].latency_s) == ("timeout", 3.0)


def test_a_timeout_of_urllib_is_the_clients_own() -> None:
    """So it is for the standard library."""
    url = f"http://api.example.com{CHAT}"
    with replaying(on_shelf(url, latency=60)) as (run, clock):
        with pytest.raises(TimeoutError, match="timed out"):
            opened(url, body_of("hi"), timeout=2.5)
        assert (clock.now, run.wire.calls[0].error) == (2.5, "timeout")


def test_a_latency_within_the_limit_passes() -> None:
    """An answer that comes in time comes at its time; so does one of https, without a certificate."""
    url = f"https://api.example.com{CHAT}"
    with replaying(on_shelf(url, latency=2)) as (run, clock):
        reply = requests.post(url, data=json.dumps(body_of("hi")).encode(), timeout=2)
        assert (reply.status_code, clock.now, run.wire.calls[0].latency_s) == (200, 2.0, 2.0)


def test_threads_replay_side_by_side() -> None:
    """Many threads, each with a connection of its own, get each its own answer."""
    words = [str(number) for number in range(24)]

    def ask(url: str) -> list[str]:
        with ThreadPoolExecutor(8) as pool:
            return [*pool.map(lambda word: said(by_requests(url + CHAT, body_of(word))[1]), words)]

    seen = both(ask)
    assert seen.live == seen.replayed == [f"re: {word}" for word in words]
    latencies = [call.latency_s or 0 for call in seen.replay.wire.calls]
    assert len(latencies) == 24
    assert min(latencies) > 0
    assert seen.now >= max(latencies)


def test_a_thread_adds_its_latency_to_the_tests_clock() -> None:
    """A thread has no clock of its own."""
    url = f"http://api.example.com{CHAT}"
    with replaying(on_shelf(url, latency=30)) as (run, clock):
        thread = threading.Thread(target=lambda: by_urllib(url, body_of("hi")))
        thread.start()
        thread.join()
        assert (clock.now, run.wire.calls[0].latency_s) == (30.0, 30.0)


def test_a_client_that_closes_early_has_given_up() -> None:
    """A stream that is left is recorded as far as it was read, and ends there when it is replayed."""

    def ask(url: str) -> bytes:
        reply = requests.post(url + CHAT, json=body_of("hi", stream=True), timeout=9, stream=True)
        with reply:
            first: bytes = next(iter(reply.iter_content(None)))
            return first

    seen = both(ask)
    assert seen.live == seen.replayed
    assert [tape.complete for tape in seen.shelf.tapes] == [False]
    assert [run.wire.calls[0].error for run in (seen.recorded, seen.replay)] == ["cut off", "cut off"]


def test_a_host_that_is_let_through_is_asked() -> None:
    """What goes straight to the network is answered there, replaying too; a call of a model is logged."""
    with provider() as server, replaying(Shelf(straight=True)) as (run, _clock):
        with requests.Session() as session:
            assert said(session.post(server.url + CHAT, json=body_of("hi"), timeout=9).content) == "re: hi"
            assert session.get(server.url, timeout=9).json() == {"path": "/"}
        assert [call.text for call in run.wire.calls] == ["re: hi"]


def test_a_server_that_is_not_there_is_not_there() -> None:
    """A live call that cannot connect is the client's own error, and is logged."""
    shelf = Shelf()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with recording(shelf) as run, pytest.raises(requests.exceptions.ConnectionError, match="refused"):
        requests.post(f"http://127.0.0.1:{port}{CHAT}", json=body_of("hi"), timeout=9)
    assert (run.wire.calls[0].error, shelf.tapes[0].complete) == ("connection", False)


def test_without_recordings_sockets_are_real() -> None:
    """A test that only listens leaves http.client alone."""
    run = new_run()
    with provider() as server, run.listening():
        assert said(by_requests(server.url + CHAT, body_of("hi"))[1]) == "re: hi"
    assert len(run.wire.calls) == 0


def test_the_methods_are_given_back() -> None:
    """After the test each connection has its own methods again."""
    kinds: list[Any] = [
        http.client.HTTPConnection,
        http.client.HTTPSConnection,
        urllib3.connection.HTTPConnection,
        urllib3.connection.HTTPSConnection,
    ]
    before = [kind.connect for kind in kinds]
    with new_run().listening():
        assert all(kind.connect is not method for kind, method in zip(kinds, before, strict=True))
    assert [kind.connect for kind in kinds] == before


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_call_through_a_proxy_is_one_of_its_target(scheme: str) -> None:
    """Forwarded or through a tunnel, the URL is that of the provider; its default port is not told."""
    url = f"{scheme}://api.example.com{CHAT}"
    shelf = on_shelf(url, latency=1)
    proxies = {scheme: "http://127.0.0.1:9"}
    with replaying(shelf):
        reply = requests.post(url, data=json.dumps(body_of("hi")).encode(), timeout=9, proxies=proxies)
    assert (reply.status_code, shelf.sent[0].host) == (200, "api.example.com")


def test_the_request_is_told_as_it_was_sent() -> None:
    """Method, URL, headers and body reach the recordings."""
    shelf = Shelf()
    with provider() as server, recording(shelf):
        requests.post(f"{server.url}{CHAT}?key=1", json=body_of("hi"), headers={"X-Key": "k"}, timeout=9)
    (sent,) = shelf.sent
    assert (sent.method, sent.url, sent.host) == ("POST", f"{server.url}{CHAT}?key=1", "127.0.0.1")
    assert (dict(sent.headers)["x-key"], json.loads(sent.body), sent.client) == ("k", body_of("hi"), "python-requests")


def test_an_address_of_ip_6_stands_in_brackets() -> None:
    """The URL is one that can be read."""
    shelf = on_shelf(f"http://[::1]:9{CHAT}", latency=0)
    with replaying(shelf):
        assert by_urllib(f"http://[::1]:9{CHAT}", body_of("hi"))[0] == 200


def test_a_real_timeout_is_in_the_log() -> None:
    """A live call that is too slow for its client is one."""
    shelf = Shelf()
    with provider() as server, recording(shelf) as run, pytest.raises(requests.exceptions.ConnectionError):
        requests.post(server.url + CHAT, json=body_of("hi", stream=True), timeout=GAP / 4)
    assert (run.wire.calls[0].error, shelf.tapes[0].complete) == ("cut off", False)


@pytest.mark.parametrize("open_by", ["recording", "straight"])
def test_a_connection_goes_on_after_the_test(open_by: str) -> None:
    """One that was opened in a test that records is an ordinary one afterwards."""
    shelf = Shelf(straight=open_by == "straight")
    with provider() as server, requests.Session() as session:

        def ask(word: str) -> str:
            return said(session.post(server.url + CHAT, json=body_of(word), timeout=9).content)

        with recording(shelf):
            assert ask("in") == "re: in"
        assert ask("after") == "re: after"
    assert (len(set(server.peers)), len(shelf.sent)) == (1, 1)


def test_a_connection_that_was_not_used_in_the_test_connects_after_it() -> None:
    """What was set on it is set on the socket."""
    with provider() as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port)
        with recording(Shelf()):
            connection.connect()
            sock: Any = connection.sock
            sock.settimeout(7)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.request("POST", CHAT, json.dumps(body_of("hi")))
        with connection.getresponse() as reply:
            assert said(reply.read()) == "re: hi"
        assert (sock.gettimeout(), sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) == (7, 1)
        assert sock.getpeername() == ("127.0.0.1", server.server_port)
        sock.shutdown(socket.SHUT_RDWR)
        connection.close()


def test_an_unrecorded_call_is_not_sent_later() -> None:
    """A connection that goes on after a miss sends what is asked next, and that alone."""
    shelf = Shelf()
    with provider() as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=5)
        with replaying(shelf):
            with pytest.raises(UnrecordedCall):
                connection.request("POST", CHAT, json.dumps(body_of("miss")))
            shelf.live = True
            sock: Any = connection.sock
            text = json.dumps(body_of("hi")).encode()
            head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(text)}\r\n\r\n".encode()
            assert sock.send(head + text) == len(head + text)
            assert sock.recv(15) == b"HTTP/1.1 200 OK"
            connection.close()
    assert [json.loads(tape.sent.body)["messages"][0]["content"] for tape in shelf.tapes] == ["hi"]


def test_a_connection_that_speaks_another_protocol_is_let_go() -> None:
    """After 101 what is sent is nobody's request."""
    shelf = Shelf()
    with socket.create_server(("127.0.0.1", 0)) as server, recording(shelf) as run:

        def answer() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\n")
                peer.sendall(peer.recv(100))

        thread = threading.Thread(target=answer)
        thread.start()
        connection = http.client.HTTPConnection("127.0.0.1", server.getsockname()[1], timeout=5)
        connection.request("GET", "/", headers={"upgrade": "echo", "connection": "upgrade"})
        sock: Any = connection.sock
        assert sock.recv(4096).startswith(b"HTTP/1.1 101")
        sock.sendall(b"\x81\x05hello")
        assert sock.recv(100) == b"\x81\x05hello"
        connection.close()
        thread.join()
    assert (run.wire.failures(), [tape.complete for tape in shelf.tapes]) == ([], [False])


def test_a_reader_of_half_a_request_gets_nothing() -> None:
    """Before a request is whole there is no answer, and nobody waits for one."""
    with replaying(Shelf()):
        connection = http.client.HTTPConnection("127.0.0.1", 9)
        connection.connect()
        sock: Any = connection.sock
        assert sock.recv(10) == b""
        sock.sendall(b"POST / HTTP/1.1\r\n")
        assert sock.recv(10) == b""
        connection.close()


def test_a_connection_of_https_that_fails_leaves_nothing_open() -> None:
    """A live call to a server that speaks no TLS is the client's own error."""
    shelf = Shelf()
    with provider() as server, recording(shelf) as run:
        url = server.url.replace("http", "https") + CHAT
        with pytest.raises(urllib.error.URLError, match="SSL"):
            opened(url, body_of("hi"))
        with pytest.raises(requests.exceptions.SSLError):
            requests.post(url, json=body_of("hi"), timeout=9)
    assert [call.error for call in run.wire.calls] == ["connection", "connection"]


def test_a_class_with_a_connect_of_its_own_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """httplib2 connects by itself, in a child of http.client's class."""
    module = ModuleType("httplib2")

    class HTTPConnectionWithTimeout(http.client.HTTPConnection):
        def connect(self) -> None:
            self.sock = socket.create_connection((self.host, self.port), 5)

    vars(module)["HTTPConnectionWithTimeout"] = HTTPConnectionWithTimeout
    monkeypatch.setitem(sys.modules, "httplib2", module)
    with replaying(on_shelf(f"http://127.0.0.1:9{CHAT}", latency=1)) as (_run, clock):
        connection = HTTPConnectionWithTimeout("127.0.0.1", 9)
        connection.connect()
        connection.request("POST", CHAT, json.dumps(body_of("hi")))
        with connection.getresponse() as reply:
            assert (said(reply.read()), clock.now) == ("hi", 1.0)


def test_a_connection_of_its_own_is_taken_over_when_it_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class that nobody knows connects by itself; its calls are recorded all the same."""

    class OwnConnection(http.client.HTTPConnection):
        def connect(self) -> None:
            self.sock = socket.create_connection((self.host, self.port), 5)

    shelf = Shelf()
    with provider() as server, recording(shelf):
        connection = OwnConnection("127.0.0.1", server.server_port)
        connection.connect()
        connection.request("POST", CHAT, json.dumps(body_of("hi")))
        with connection.getresponse() as reply:
            assert said(reply.read()) == "re: hi"
        connection.close()
    assert [tape.complete for tape in shelf.tapes] == [True]


@pytest.mark.parametrize("limit", [None, 3])
def test_a_script_beside_recordings_is_played(limit: float | None) -> None:
    """Where both are, scripts answer first: also with silence, which nobody waits out."""
    run = new_run()
    with run.listening(), run.virtual_time() as clock, run.scripted() as scripts:
        run.wire.recordings = Shelf(live=False)
        scripts.on(model="m").replies(["scripted"], latency=2).fails(read_timeout())
        url = f"https://api.openai.com{CHAT}"
        with urllib3.PoolManager(retries=False) as pool:
            assert said(pool.request("POST", url, json=body_of("hi")).data) == "scripted"
            with pytest.raises(urllib3.exceptions.ReadTimeoutError):
                pool.request("POST", url, json=body_of("hi"), timeout=urllib3.Timeout(read=limit))
        assert clock.now == 2.0 + (limit or 0)
    assert len(run.wire.failures()) == (limit is None)


def test_a_route_of_the_test_answers_before_recordings() -> None:
    """A route of the test answers what is no call of a model, or fails as the client's library has it."""
    run = new_run()
    with run.listening(), run.virtual_time(), run.scripted() as scripts:
        run.wire.recordings = Shelf(live=False)
        scripts.http.get("https://shop.example/orders").respond(json={"state": "sent"})
        scripts.http.get("https://shop.example/down").mock(side_effect=httpx.ConnectError("it is down"))
        assert requests.get("https://shop.example/orders", timeout=9).json() == {"state": "sent"}
        with pytest.raises(requests.exceptions.ConnectionError, match="it is down"):
            requests.get("https://shop.example/down", timeout=9)
        with pytest.raises(UnrecordedCall):
            requests.get("https://shop.example/other", timeout=9)


def pieces(data: bytes) -> Iterator[bytes]:
    """Byte by byte."""
    return (data[place : place + 1] for place in range(len(data)))


def test_what_is_no_http_fails_the_test() -> None:
    """A client that does not speak HTTP/1.1 is told so, and the test fails."""
    with replaying(Shelf()) as (run, _clock):
        connection = http.client.HTTPConnection("127.0.0.1", 9)
        connection.send(pieces(b"nonsense\r\n\r\n"))
        connection.sock.settimeout(1)
        connection.send(b"more")
        assert connection.sock.recv(12) == b"HTTP/1.1 400"
        connection.close()
    (failure,) = run.wire.failures()
    assert failure.startswith("what was sent over a connection of http.client is no HTTP/1.1 (")


def test_a_stand_in_is_a_socket_as_far_as_clients_look() -> None:
    """It can be polled, shut down and read into a buffer; of a peer it knows nothing."""
    url = f"http://127.0.0.1:9{CHAT}"
    with replaying(on_shelf(url, latency=0)):
        connection = http.client.HTTPConnection("127.0.0.1", 9, timeout=5)
        connection.connect()
        sock: Any = connection.sock
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert (sock.gettimeout(), select.select([sock], [], [], 0)[0]) == (5, [])
        connection.request("POST", CHAT, json.dumps(body_of("hi")))
        assert select.select([sock], [], [], 0)[0] == [sock]
        buffer = bytearray(8)
        assert (sock.recv_into(buffer), bytes(buffer)) == (8, b"HTTP/1.1")
        with pytest.raises(AttributeError, match="no socket to ask for 'getpeercert'"):
            sock.getpeercert()
        sock.shutdown(socket.SHUT_RD)
        with io.BytesIO() as rest:
            while data := sock.recv(100):
                rest.write(data)
            assert rest.getvalue().endswith(chat_reply("hi"))
        connection.close()
        assert sock.fileno() == -1
