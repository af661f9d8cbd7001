"""Every client in each of its modes and encodings: recorded from a live provider, replayed without it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from pytest_modelroute.wire.call_log import ProviderCall
from tests.matrix import clients
from tests.matrix.clients import Client, Mode
from tests.recorded import plain
from tests.recorded.live import GAP, HEAD, everything, live
from tests.recorded.story import addressed, ask_live, ask_recorded, facts_of, saved, times

CLIENTS = {client.name: client for client in (make() for make in (*clients.MAKERS, *plain.MAKERS))}
ENCODINGS: Mapping[str, tuple[str, ...]] = {
    "httpx": ("identity", "gzip", "br", "zstd"),
    "httpx2": ("identity", "gzip", "br"),
    "aiohttp": ("identity", "gzip", "br"),
    "urllib3": ("identity", "gzip", "br"),
    "http.client": ("identity",),
    "a socket (urllib3)": ("identity",),
}
"What the HTTP libraries accept with the packages of this environment."
PROVIDERS: Mapping[str, str] = {"mistralai": "mistral"}
EARLY = 0.002
"Seconds by which the machine's timers may be early."
LATE = 0.02
"Seconds by which a busy machine may come late from noting a piece down to noting it in the log."


def stories() -> Iterator[tuple[str, Mode, str]]:
    """Each client, mode and encoding."""
    for client in CLIENTS.values():
        for mode in client.modes:
            for encoding in ENCODINGS[client.stack]:
                yield client.name, mode, encoding


def seen(call: ProviderCall) -> dict[str, object]:
    """What the log knows of a call, but for its times."""
    names = ("provider", "language", "model", "model_answered", "status", "stream", "text", "usage", "error", "prompt")
    return {name: getattr(call, name) for name in names} | {"reply": call.reply, "client": call.client}


@pytest.mark.parametrize(("name", "mode", "encoding"), [*stories()])
def test_a_replay_is_as_the_live_call(name: str, mode: Mode, encoding: str, tmp_path: Path) -> None:
    """The same values, the same log, the same pieces at the recorded times, with the provider stopped."""
    client: Client = CLIENTS[name]
    ask = client.modes[mode]
    with live(PROVIDERS.get(name, "openai"), encoding=encoding, reply=everything) as server, addressed(server):
        first = ask_live(tmp_path, ask)
        assert server.encoded == {encoding}
        server.shutdown()
        server.server_close()
        again, took = ask_recorded(tmp_path, ask)
    assert first.values
    assert again.values == first.values
    ((live_call,), (call,)) = first.calls, again.calls
    assert seen(call) == seen(live_call)
    assert call.completed
    (facts,) = (facts_of(interaction) for interaction in saved(tmp_path))
    assert live_call.latency_s is not None
    assert call.latency_s is not None
    assert facts.latency_s >= HEAD - EARLY
    assert live_call.latency_s == pytest.approx(facts.latency_s, abs=LATE if call.stream else 1e-4)
    assert call.latency_s == pytest.approx(facts.latency_s, abs=1e-9)
    assert took == pytest.approx(call.latency_s, abs=1e-9)
    assert live_call.ttft_s == pytest.approx(facts.ttft_s, abs=LATE)
    assert call.ttft_s == facts.ttft_s
    if call.stream:
        recorded = [round(moment, 6) for moment in times(facts)]
        assert len(recorded) >= 3
        assert recorded[-1] >= HEAD + 2 * GAP - EARLY
        assert {round(moment, 6) for moment in again.moments} <= {*recorded}
