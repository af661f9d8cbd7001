"""A live provider on 127.0.0.1 that counts what it is asked, and a project whose tests ask it."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_modelroute.cassettes.files import CassetteFile, read_cassette
from pytest_modelroute.cassettes.interaction import Interaction
from pytest_modelroute.cassettes.journal import Journal

if TYPE_CHECKING:
    import pytest

for name in ("pytest_modelroute.recording", "pytest_modelroute.report.session", "vcr.serializers.yamlserializer"):
    # What is first imported by a run inside of a test is forgotten at its end, and imported again by the next.
    import_module(name)

Answer = Callable[[dict[str, Any]], tuple[int, list[tuple[str, str]], bytes]]
JSON = ("content-type", "application/json")

APP = """
import os

import httpx

def ask(prompt, model="gpt-4.1-nano", **more):
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], **more}
    with httpx.Client(verify=False) as client:
        reply = client.post(os.environ["LIVE_URL"] + "/v1/chat/completions", json=body)
    reply.raise_for_status()
    return reply.json()["choices"][0]["message"]["content"]

def ask_or_fall_back(prompt):
    try:
        return ask(prompt)
    except Exception:
        return "fallback"
"""
"The application: `ask` a model, and a router that takes every exception for an outage."


def chat_reply(text: str, model: str) -> bytes:
    """An answer in OpenAI's format, of 1000 tokens in and 100 out."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    reply = {"id": "x", "object": "chat.completion", "model": model, "choices": [choice], "usage": usage}
    return json.dumps(reply).encode()


def echo(asked: dict[str, Any]) -> tuple[int, list[tuple[str, str]], bytes]:
    """Answers `re: <prompt>`; a prompt that begins with `refuse` gets 429."""
    prompt = asked["messages"][-1]["content"]
    if prompt.startswith("refuse"):
        return 429, [JSON, ("retry-after", "7")], b'{"error": {"message": "slow down", "code": "rate_limit_exceeded"}}'
    return 200, [JSON], chat_reply(f"re: {prompt}", asked["model"])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Something that is no call of a model."""
        live = self._live
        with live.lock:
            live.others.append(self.path)
        if live.mirror is not None:
            self._reply(*live.mirror(dict(self.headers)))
        else:
            self._reply(200, [("content-type", "text/plain")], b"got " + self.path.encode())

    def do_POST(self) -> None:
        """A call of a model."""
        live = self._live
        body = self.rfile.read(int(self.headers["content-length"]))
        if live.mirror is not None:
            with live.lock:
                live.others.append(self.path)
            self._reply(*live.mirror(dict(self.headers)))
            return
        asked = json.loads(body)
        with live.lock:
            live.asked.append(asked["messages"][-1]["content"])
            live.headers.append(list(self.headers.items()))
        if live.asked[-1] == live.hangs_at:
            live.hangs.set()
            live.go_on.wait(20)
        self._reply(*live.answer(asked))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in http.server
        """Keep the output of the tests clean."""

    @property
    def _live(self) -> Live:
        assert isinstance(self.server, _Server)
        return self.server.live

    def _reply(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    live: Live

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is none of the server's business."""


@dataclass
class Live:
    """The provider, and what it was asked."""

    port: int
    answer: Answer = echo
    asked: list[str] = field(default_factory=list[str])
    "The prompts, in the order in which they came."
    others: list[str] = field(default_factory=list[str])
    "The paths of what was no call of a model."
    headers: list[list[tuple[str, str]]] = field(default_factory=list[list[tuple[str, str]]])
    mirror: Callable[[dict[str, str]], tuple[int, list[tuple[str, str]], bytes]] | None = None
    "Answers by the headers alone, in place of `answer`."
    hangs_at: str | None = None
    "A prompt that gets no answer until `go_on`; `hangs` says that it has come."
    hangs: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def live_provider() -> Generator[Live]:
    """Serve until the end of the block."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.live = live = Live(server.server_port)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True)
        thread.start()
        try:
            yield live
        finally:
            live.go_on.set()
            server.shutdown()
            thread.join()


@dataclass
class Project:
    """A folder with tests, an application `app` that asks the live provider, and their recordings."""

    pytester: pytest.Pytester
    live: Live

    @property
    def path(self) -> Path:
        """The folder."""
        return self.pytester.path

    @property
    def state(self) -> Path:
        """What may be lost."""
        return self.path / ".modelroute"

    def tests(self, source: str, name: str = "test_it") -> None:
        """Write a module of tests."""
        self.pytester.makepyfile(**{name: source})

    def settings(self, text: str) -> None:
        """Write the settings."""
        (self.path / "modelroute.toml").write_text(text, "utf-8")

    def cassettes(self) -> list[str]:
        """The names of the cassettes, without suffix."""
        folder = self.path / "cassettes"
        return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))

    def file(self, name: str) -> Path:
        """The file of a cassette."""
        return self.path / "cassettes" / f"{name}.yaml"

    def cassette(self, name: str) -> CassetteFile:
        """A cassette."""
        return read_cassette(self.file(name))

    def prompts(self, name: str) -> list[str]:
        """What was asked, in the order of the file."""
        return [prompt_of(each) for each in self.cassette(name).interactions]

    def edit(self, name: str, old: str, new: str) -> None:
        """Change a cassette by a regular expression, as somebody who vouches for the edit."""
        text = re.sub(r" +checksum: .*\n", "", self.file(name).read_text("utf-8"))
        changed = re.sub(old, new, text)
        assert changed != text
        self.file(name).write_text(changed, "utf-8")

    def age(self, name: str, moment: str = "2020-01-01T00:00:00Z") -> None:
        """Let a cassette be of an earlier time."""
        self.edit(name, "recorded_at: .*", f"recorded_at: '{moment}'")

    def waiting(self, name: str) -> list[str]:
        """The prompts of the calls that the journal of a cassette keeps."""
        return [prompt_of(each) for each in Journal(self.state, str(self.file(name))).read()]


def prompt_of(interaction: Interaction) -> str:
    """What was asked; the URL of a request that is no call of a model."""
    if not interaction.request.body:
        return interaction.request.url
    return str(json.loads(interaction.request.body)["messages"][-1]["content"])
