"""
The real server beside servers that nobody here wrote: the same calls of the real SDKs give equal results.

`llmock` is a server in Python with faults on demand, aimock one in JavaScript with answers from a file. Neither can be
in the environment of these tests (one brings a pytest plugin of its own, the other is no Python), so that they are
installed beside it, by .ci/run, and told by MODELROUTE_LLMOCK (its command) and MODELROUTE_AIMOCK (its cli.js).
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_modelroute import MockProviders
from pytest_modelroute.faults import (
    Fault,
    authentication,
    bad_request,
    model_not_found,
    overloaded,
    permission,
    rate_limit,
    server_error,
    stream_cut,
)

TEXT = "one two three"
CALLS = ("chat", "chat_stream", "message", "message_stream")
Ask = Callable[[str, str, dict[str, str]], dict[str, Any]]


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """A process that asks through the SDKs; in this one a test's server would be answered without a socket."""
    program = [sys.executable, str(Path(__file__).with_name("ask_sdks.py"))]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        out, back = child.stdin, child.stdout

        def order(call: str, prompt: str, urls: dict[str, str]) -> dict[str, Any]:
            out.write(json.dumps({"call": call, "prompt": prompt, "urls": urls}) + "\n")
            out.flush()
            line = back.readline()
            assert line, "the process that asks has ended"
            result: dict[str, Any] = json.loads(line)
            return result

        yield order
        out.close()


def free_port() -> int:
    """A port that nobody listens at just now."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def post(port: int, path: str, body: dict[str, Any] | None = None) -> None:
    """Tell a server something."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("POST", path, json.dumps(body or {}))
    assert connection.getresponse().status < 300
    connection.close()


def started(command: list[str], port: int, tmp_path: Path) -> Iterator[int]:
    """Run a server, from when it answers."""
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path) as server,
    ):
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                assert server.poll() is None, (tmp_path / "log").read_text("utf-8")
                time.sleep(0.1)
        yield port
        server.terminate()


@pytest.fixture(scope="module")
def llmock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a running llmock."""
    command = os.environ.get("MODELROUTE_LLMOCK")
    if command is None:
        pytest.skip("llmock is not installed: MODELROUTE_LLMOCK is not set")
    port = free_port()
    arguments = [command, "serve", "--port", str(port), "--log-level", "error"]
    yield from started(arguments, port, tmp_path_factory.mktemp("llmock"))


@pytest.fixture(scope="module")
def aimock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a running aimock, with its answers."""
    script, node = os.environ.get("MODELROUTE_AIMOCK"), shutil.which("node")
    if script is None or node is None:
        pytest.skip("aimock is not installed: MODELROUTE_AIMOCK is not set, or there is no node")
    folder, port = tmp_path_factory.mktemp("aimock"), free_port()
    answers: list[dict[str, Any]] = [{"match": {"userMessage": "plain"}, "response": {"content": TEXT}}]
    for status, kind in ((429, "rate_limit_error"), (401, "authentication_error"), (500, "api_error")):
        error = {"error": {"message": "scripted", "type": kind}, "status": status}
        answers.append({"match": {"userMessage": f"status {status}"}, "response": error})
    (folder / "answers.json").write_text(json.dumps({"fixtures": answers}), "utf-8")
    arguments = [node, script, "--port", str(port), "--fixtures", "answers.json", "--log-level", "silent"]
    yield from started(arguments, port, folder)


def ours(mock_providers: MockProviders) -> dict[str, str]:
    """The base URLs of this test's server."""
    return {name: mock_providers.url(name) for name in ("openai", "anthropic")}


def of_llmock(port: int) -> dict[str, str]:
    """The base URLs of llmock."""
    return {"openai": f"http://127.0.0.1:{port}/v1", "anthropic": f"http://127.0.0.1:{port}/anthropic"}


def of_aimock(port: int) -> dict[str, str]:
    """The base URLs of aimock."""
    return {"openai": f"http://127.0.0.1:{port}/v1", "anthropic": f"http://127.0.0.1:{port}"}


def script_llmock(port: int, behaviour: dict[str, Any]) -> None:
    """Let llmock behave so from now on."""
    post(port, "/_llmock/reset")
    post(port, "/_llmock/scenario", {"behaviors": [{**behaviour, "times": None}]})


REFUSALS: list[tuple[Fault, int, int]] = [
    (bad_request(), 400, 400),
    (authentication(), 401, 401),
    (permission(), 403, 403),
    (model_not_found(), 404, 404),
    (rate_limit(), 429, 429),
    (server_error(), 500, 500),
    (overloaded(), 503, 529),
]
"""A fault, and its status from OpenAI and from Anthropic."""


@pytest.mark.parametrize("call", CALLS)
def test_answers_are_those_of_llmock(mock_providers: MockProviders, llmock: int, ask: Ask, call: str) -> None:
    """Whole and streamed, of both SDKs."""
    mock_providers.otherwise(TEXT)
    script_llmock(llmock, {"type": "reply", "text": TEXT})
    mine = ask(call, "plain", ours(mock_providers))
    assert "error" not in mine
    assert mine == ask(call, "plain", of_llmock(llmock))


@pytest.mark.parametrize("call", CALLS)
def test_answers_are_those_of_aimock(mock_providers: MockProviders, aimock: int, ask: Ask, call: str) -> None:
    """Whole and streamed, of both SDKs."""
    mock_providers.otherwise(TEXT)
    mine = ask(call, "plain", ours(mock_providers))
    assert "error" not in mine
    assert mine == ask(call, "plain", of_aimock(aimock))


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("fault", "openai", "anthropic"), REFUSALS, ids=lambda value: getattr(value, "name", None))
def test_refusals_are_those_of_llmock(
    mock_providers: MockProviders, llmock: int, ask: Ask, call: str, fault: Fault, openai: int, anthropic: int
) -> None:
    """The same class of error, status and word."""
    mock_providers.on().fails(fault)
    script_llmock(llmock, {"type": "fail", "status": openai if call.startswith("chat") else anthropic})
    mine = ask(call, "plain", ours(mock_providers))
    assert "error" in mine
    assert mine == ask(call, "plain", of_llmock(llmock))


@pytest.mark.parametrize("call", ["chat", "message"])
@pytest.mark.parametrize(
    ("fault", "status"),
    [(authentication(), 401), (rate_limit(), 429), (server_error(), 500)],
    ids=lambda value: getattr(value, "name", None),
)
def test_refusals_are_those_of_aimock(
    mock_providers: MockProviders, aimock: int, ask: Ask, call: str, fault: Fault, status: int
) -> None:
    """The same class of error, status and word."""
    mock_providers.on().fails(fault)
    mine = ask(call, "plain", ours(mock_providers))
    assert "error" in mine
    assert mine == ask(call, f"status {status}", of_aimock(aimock))


@pytest.mark.parametrize("call", ["chat_stream", "message_stream"])
def test_a_cut_stream_is_that_of_llmock(mock_providers: MockProviders, llmock: int, ask: Ask, call: str) -> None:
    """A connection that ends in the middle of a stream is the same error of the SDK."""
    mock_providers.on().fails(stream_cut(after=1))
    script_llmock(llmock, {"type": "stream_fault", "kind": "disconnect", "after_chunks": 1})
    mine = ask(call, "plain", ours(mock_providers))
    assert "error" in mine
    assert mine == ask(call, "plain", of_llmock(llmock))
