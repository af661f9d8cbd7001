"""What the tests of the wire share: a plain client, a wire of one's own, a provider on 127.0.0.1, pytest in pytest."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from pytest_modelroute.testrun import TestRun

OTHER_PLUGINS = ("respx", "asyncio", "anyio", "randomly", "xdist", "hypothesispytest", "cov")


@pytest.fixture(scope="session")
def ask() -> Iterator[Callable[..., httpx.Response]]:
    """Ask a model in OpenAI's format through a plain httpx client; without a timeout it waits for ever."""
    with httpx.Client() as client:

        def post(
            model: str = "gpt-4.1",
            prompt: str = "hi",
            *,
            host: str = "api.openai.com",
            timeout: float | None = None,
            **params: Any,
        ) -> httpx.Response:
            body = {"model": model, "messages": [{"role": "user", "content": prompt}], **params}
            return client.post(f"https://{host}/v1/chat/completions", json=body, timeout=timeout)

        yield post


@pytest.fixture(scope="session")
def new_run() -> Callable[[], TestRun]:
    """Make what the fixtures of one test share, for tests that need one for each example."""

    def make() -> TestRun:
        return TestRun(test="test", settings=None, thresholds=[], folders=[], only_case=None, fail=pytest.fail)

    return make


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[BaseHTTPRequestHandler], None]], str]]:
    """Serve requests on 127.0.0.1 by a function of the handler; gives the base URL."""
    servers: list[ThreadingHTTPServer] = []

    def start(respond: Callable[[BaseHTTPRequestHandler], None]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"] or 0))
                respond(self)

            def do_GET(self) -> None:
                respond(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in http.server
                """Keep the output of the tests clean."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def run(pytester: pytest.Pytester) -> Callable[..., pytest.RunResult]:
    """Run a test file with our plugin and without the other plugins of this environment."""

    def run_tests(source: str, *args: str, settings: str = "") -> pytest.RunResult:
        pytester.makeini("[pytest]\n")
        if settings:
            Path("modelroute.toml").write_text(settings, encoding="utf-8")
        head = (
            "import asyncio\nimport socket\nimport httpx\nimport pytest\n"
            "from pytest_modelroute.faults import overloaded, rate_limit\n\n"
            "def ask(model='gpt-4.1', prompt='hi', **params):\n"
            "    body = {'model': model, 'messages': [{'role': 'user', 'content': prompt}], **params}\n"
            "    return httpx.post('https://api.openai.com/v1/chat/completions', json=body, timeout=None)\n\n"
        )
        Path("test_it.py").write_text(head + source, encoding="utf-8")
        off = [word for name in OTHER_PLUGINS for word in ("-p", f"no:{name}")]
        return pytester.runpytest_inprocess(*off, *args)

    return run_tests
