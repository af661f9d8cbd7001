"""A provider on 127.0.0.1 that can be stopped, and recordings in memory: shared by tests."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any

import httpx

from pytest_modelroute import VirtualTime
from pytest_modelroute.errors import UnrecordedCall
from pytest_modelroute.testrun import TestRun
from pytest_modelroute.wire.call_log import ProviderCall
from pytest_modelroute.wire.recorded import Pairs, Played, Sent, Take

GAP = 0.02
"Seconds between the pieces of a stream."


class Tape:
    """Takes one live reply down."""

    def __init__(self, shelf: Shelf, sent: Sent) -> None:
        """Nothing has come."""
        self.shelf = shelf
        self.sent = sent
        self.start = time.perf_counter()
        self.status = 0
        self.reason = ""
        self.headers: Pairs = ()
        self.pieces: list[tuple[float, bytes]] = []
        self.complete: bool | None = None

    @property
    def body(self) -> bytes:
        """What came, as it was sent."""
        return b"".join(data for _moment, data in self.pieces)

    def head(self, status: int, reason: str, headers: Pairs) -> None:
        """The head has come."""
        self.status, self.reason, self.headers = status, reason, headers

    def piece(self, data: bytes) -> None:
        """More has come."""
        self.pieces.append((time.perf_counter() - self.start, data))

    def end(self, *, complete: bool) -> None:
        """Put it where it is found again."""
        assert self.complete is None
        self.complete = complete
        if not self.status:
            return
        streamed = len(self.pieces) > 1
        moments = [moment for moment, _data in self.pieces]
        gaps = [0.0, *(after - before for before, after in pairwise(moments))]
        played = Played(
            status=self.status,
            headers=self.headers,
            body=self.body,
            plain=httpx.Response(self.status, headers=list(self.headers), content=self.body).content,
            latency_s=time.perf_counter() - self.start,
            ttft_s=moments[0] if streamed else None,
            chunks=[(gap, len(data)) for gap, (_moment, data) in zip(gaps, self.pieces, strict=True)]
            if streamed
            else None,
            complete=complete,
            where="a tape",
        )
        self.shelf.put(self.sent.method, self.sent.url, self.sent.body, played)


@dataclass
class Shelf:
    """Recordings: found by method, URL and body, in the order in which they were made."""

    live: bool = True
    straight: bool = False
    "Whether everything goes straight to the network."
    tapes: list[Tape] = field(default_factory=list[Tape])
    sent: list[Sent] = field(default_factory=list[Sent])
    _played: dict[tuple[str, str, bytes], list[Played]] = field(default_factory=dict[Any, list[Played]])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, method: str, url: str, body: bytes, played: Played) -> None:
        """Keep a recorded reply."""
        with self._lock:
            self._played.setdefault((method, url, body), []).append(played)

    def play(self, sent: Sent, call: ProviderCall | None) -> Played | None:
        """The recorded reply."""
        with self._lock:
            self.sent.append(sent)
            if self.live or self.straight:
                return None
            found = self._played.get((sent.method, sent.url, sent.body))
            if not found:
                raise UnrecordedCall(f"nothing is recorded for {sent.method} {sent.url}")
            return found.pop(0)

    def take(self, sent: Sent, call: ProviderCall | None) -> Take | None:
        """Take the live reply down."""
        if self.straight:
            return None
        self.tapes.append(tape := Tape(self, sent))
        return tape


def chat_reply(text: str) -> bytes:
    """A whole answer in OpenAI's format."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
    reply = {"id": "x", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage}
    return json.dumps(reply).encode()


def chat_events(*words: str) -> Iterator[bytes]:
    """The same as a stream."""
    for word in words:
        delta = {"index": 0, "delta": {"content": word}, "finish_reason": None}
        yield b"data: " + json.dumps({"id": "x", "model": "m", "choices": [delta]}).encode() + b"\n\n"
    last = {"index": 0, "delta": {}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": len(words), "total_tokens": 3 + len(words)}
    yield b"data: " + json.dumps({"id": "x", "model": "m", "choices": [last], "usage": usage}).encode() + b"\n\n"
    yield b"data: [DONE]\n\n"


def converse_reply(text: str) -> bytes:
    """An answer of Bedrock's Converse."""
    message = {"role": "assistant", "content": [{"text": text}]}
    usage = {"inputTokens": 3, "outputTokens": 5, "totalTokens": 8}
    reply = {"output": {"message": message}, "stopReason": "end_turn", "usage": usage, "metrics": {"latencyMs": 1}}
    return json.dumps(reply).encode()


class Provider(BaseHTTPRequestHandler):
    """Answers by what the prompt asks for, in HTTP/1.1 with connections that are kept open."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Something that is no call of a model."""
        self._server.paths.append(self.path)
        if self.path.endswith("/gone"):
            self._whole(404, b"no such thing", {"content-type": "text/plain"})
        elif self.path.endswith("/nothing"):
            self.send_response(204)
            self.end_headers()
        else:
            headers = {"content-type": "application/json", "content-encoding": "gzip", "set-cookie": "a=1"}
            self._whole(200, gzip.compress(json.dumps({"path": self.path}).encode(), mtime=0), headers)

    def do_HEAD(self) -> None:
        """A length without a body."""
        self.send_response(200)
        self.send_header("content-length", "1234")
        self.end_headers()

    def do_POST(self) -> None:
        """A call of a model."""
        length = self.headers["content-length"]
        body = self.rfile.read(int(length)) if length is not None else self._chunks()
        asked = json.loads(body)
        self._server.paths.append(self.path)
        self._server.peers.append(self.client_address)
        message = asked["messages"][-1]["content"]
        prompt = message if isinstance(message, str) else message[0]["text"]
        if self.path.endswith("/converse"):
            self._whole(200, converse_reply(f"re: {prompt}"), {"content-type": "application/json"})
        elif asked.get("stream"):
            self._stream(prompt)
        elif prompt == "zip":
            packed = gzip.compress(chat_reply(f"re: {prompt}"), mtime=0)
            self._whole(200, packed, {"content-type": "application/json", "content-encoding": "gzip"})
        elif prompt == "slow":
            self._server.stopping.wait(5)
        elif prompt == "cut":
            self._whole(200, chat_reply("re: cut"), {"content-type": "application/json"}, cut=True)
        elif prompt == "refuse":
            self._whole(429, b'{"error": {"message": "slow down"}}', {"retry-after": "7"})
        else:
            self._whole(200, chat_reply(f"re: {prompt}"), {"content-type": "application/json"})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in http.server
        """Keep the output of the tests clean."""

    @property
    def _server(self) -> Served:
        assert isinstance(self.server, Served)
        return self.server

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _whole(self, status: int, body: bytes, headers: dict[str, str], *, cut: bool = False) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = cut or self.close_connection

    def _stream(self, prompt: str) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for number, event in enumerate(chat_events("re: ", prompt)):
            if prompt == "cut" and number == 2:
                self.close_connection = True
                return
            if number:
                time.sleep(GAP)
            self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
        self.wfile.write(b"0\r\n\r\n")


class Served(ThreadingHTTPServer):
    """The server; knows what it was asked."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        """Listen on a free port."""
        super().__init__(("127.0.0.1", 0), Provider)
        self.stopping = threading.Event()
        self.paths: list[str] = []
        self.peers: list[Any] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is none of the server's business."""

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def provider() -> Generator[Served]:
    """Serve until the end of the block, after which the port is closed."""
    with Served() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.stopping.set()
            server.shutdown()
            thread.join()


def new_run() -> TestRun:
    """What the fixtures of one test share."""

    def fail(message: str) -> None:
        raise AssertionError(message)

    return TestRun(test="test", settings=None, thresholds=[], folders=[], only_case=None, fail=fail)


@contextmanager
def recording(shelf: Shelf) -> Generator[TestRun]:
    """A test that records."""
    shelf.live = True
    run = new_run()
    with run.listening():
        run.wire.recordings = shelf
        yield run


@contextmanager
def replaying(shelf: Shelf) -> Generator[tuple[TestRun, VirtualTime]]:
    """A test that replays, in virtual time."""
    shelf.live = False
    run = new_run()
    with run.listening(), run.virtual_time() as clock:
        run.wire.recordings = shelf
        yield run, clock


@dataclass(frozen=True)
class Both:
    """What a client made of a live provider, and then of its recording."""

    live: Any
    replayed: Any
    recorded: TestRun
    replay: TestRun
    shelf: Shelf
    now: float
    "Seconds of virtual time that the replay took."


def both(ask: Callable[[str], Any]) -> Both:
    """Ask a live provider by its URL, and its recording once it is gone."""
    shelf = Shelf()
    with provider() as server, recording(shelf) as recorded:
        live = ask(server.url)
    with replaying(shelf) as (replay, clock):
        replayed = ask(server.url)
    assert recorded.wire.failures() == replay.wire.failures() == []
    return Both(live, replayed, recorded, replay, shelf, clock.now)
