"""Cassettes of ours in vcrpy, and its in ours: recorded live, replayed with the provider gone."""

from __future__ import annotations

import gzip
import json
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import vcr

from pytest_modelroute.cassettes.recording import TestRecording
from pytest_modelroute.errors import UnrecordedCall
from tests.matrix import clients
from tests.matrix.clients import Client, Mode
from tests.recorded import plain
from tests.recorded.live import Live, live
from tests.recorded.story import Told, addressed, ask_live, ask_recorded, new_run, plan, replaying, saved, tell

CLIENTS: dict[str, Callable[[], Client]] = {
    "openai": lambda: clients.openai_client("openai", "httpx2"),
    "openai over httpx": lambda: clients.openai_client("openai over httpx", "httpx"),
    "anthropic": clients.anthropic_client,
    "google-genai": clients.gemini_client,
    "ollama": clients.ollama_client,
    "boto3": clients.bedrock_client,
    "httpx": lambda: plain.httpx_like("httpx"),
    "httpx2": lambda: plain.httpx_like("httpx2"),
    "aiohttp": plain.by_aiohttp,
    "requests": plain.by_requests,
    "urllib.request": plain.by_urllib,
}
MODES = [(name, mode) for name, make in CLIENTS.items() for mode in make().modes]


@contextmanager
def by_vcrpy(folder: Path, mode: str) -> Generator[Any]:
    """Plain vcrpy, on the same file."""
    with vcr.use_cassette(str(folder / "cassettes" / "it.yaml"), record_mode=mode) as cassette:
        yield cassette


def gone(server: Live) -> None:
    """Stop the provider."""
    server.shutdown()
    server.server_close()


def joined(told: Told) -> Any:
    """What a client got; vcrpy joins the pieces of a stream, so that bytes are compared as a whole."""
    values = told.values
    return b"".join(values) if values and isinstance(values[0], bytes) else values


@pytest.mark.parametrize(("name", "mode"), MODES)
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_vcrpy_replays_ours(name: str, mode: Mode, encoding: str, tmp_path: Path) -> None:
    """What we record is a cassette of vcrpy, which gives its clients the same values."""
    ask = CLIENTS[name]().modes[mode]
    with live(encoding=encoding) as server, addressed(server):
        first = ask_live(tmp_path, ask)
        gone(server)
        with by_vcrpy(tmp_path, "none") as cassette:
            again = tell(ask)
    assert cassette.play_count == 1
    assert joined(again) == joined(first)


@pytest.mark.parametrize(("name", "mode"), MODES)
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_we_replay_vcrpys(name: str, mode: Mode, encoding: str, tmp_path: Path) -> None:
    """A cassette of plain vcrpy is replayed as it is; it knows no latency, which the recordings say."""
    ask = CLIENTS[name]().modes[mode]
    with live(encoding=encoding) as server, addressed(server):
        with by_vcrpy(tmp_path, "once"):
            first = tell(ask)
        gone(server)
        again, took = ask_recorded(tmp_path, ask)
    assert (joined(again), took) == (joined(first), 0.0)
    (call,) = again.calls
    assert (call.completed, call.latency_s) == (True, 0.0)
    assert [interaction.facts for interaction in saved(tmp_path)] == [None]


def test_a_packed_body_of_vcrpy_is_replayed(tmp_path: Path) -> None:
    """Where the client unpacks for itself, vcrpy keeps the bytes as they came."""
    with live(encoding="gzip") as server, addressed(server):
        headers = {"content-type": "application/json", "accept-encoding": "gzip"}
        asked = urllib.request.Request(plain.url(), json.dumps(plain.BODY).encode(), headers)  # noqa: S310 - http
        with by_vcrpy(tmp_path, "once"), urllib.request.urlopen(asked, timeout=9) as reply:  # noqa: S310 - as above
            packed = reply.read()
        gone(server)
        again, _took = ask_recorded(tmp_path, plain.httpx_like("httpx2").modes["async"])
        with replaying(tmp_path), urllib.request.urlopen(asked, timeout=9) as reply:  # noqa: S310 - as above
            assert (reply.read(), reply.headers["content-encoding"]) == (packed, "gzip")
    ((status, told),) = again.values
    assert json.loads(gzip.decompress(packed)) == told
    assert (status, told["choices"][0]["message"]["content"]) == (200, "re: hi")


def test_what_is_saved_into_a_cassette_of_vcrpy_is_read_by_it(tmp_path: Path) -> None:
    """We add to a file of vcrpy, and vcrpy reads both."""
    httpx_client, other = plain.httpx_like("httpx"), plain.httpx_like("httpx2")
    with live() as server, addressed(server):
        with by_vcrpy(tmp_path, "once"):
            first = tell(httpx_client.modes["sync"])
        second = ask_live(tmp_path, other.modes["async stream"])
        gone(server)
        with by_vcrpy(tmp_path, "none") as cassette:
            again = [tell(httpx_client.modes["sync"]), tell(other.modes["async stream"])]
    assert cassette.play_count == 2
    assert [joined(told) for told in again] == [joined(first), joined(second)]


def test_a_request_that_vcrpy_would_take_for_another_is_a_miss(tmp_path: Path) -> None:
    """Plain vcrpy ignores the body of a request, and we do not."""
    client = plain.by_requests()
    with live() as server, addressed(server):
        with by_vcrpy(tmp_path, "once"):
            tell(client.modes["sync"])
        gone(server)
        with by_vcrpy(tmp_path, "none") as cassette:
            tell(client.modes["sync stream"])
        assert cassette.play_count == 1
        run = new_run()
        with (
            run.listening(),
            run.recorded(TestRecording(plan(tmp_path, "none"))),
            pytest.raises(UnrecordedCall, match=r"added \$\.stream: true"),
        ):
            tell(client.modes["sync stream"])
