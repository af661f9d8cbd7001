"""Many calls at once, scripts beside a cassette, refusals, streams that are left, and tests that fail."""

from __future__ import annotations

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import httpx2
import openai
import pytest
import requests

from pytest_modelroute.cassettes.recording import TestRecording
from pytest_modelroute.cassettes.tape import RecordMode
from pytest_modelroute.providers.exchange import ProviderReply, ProviderRequest
from pytest_modelroute.providers.prices import Price, PriceBook
from tests.matrix.clients import tls
from tests.recorded.live import Live, everything, live
from tests.recorded.story import facts_of, new_run, plan, recording, replaying, running, saved

MANY = 16
EQUAL = "the same"
PROMPTS = [EQUAL if number % 2 else f"prompt {number}" for number in range(MANY)]
"Half of them are equal."


def url(server: Live) -> str:
    """Where chat completions are."""
    return f"{server.url}/v1/chat/completions"


def body(prompt: str, **params: Any) -> dict[str, Any]:
    """A chat request."""
    return {"model": "gpt-5-mini", "messages": [{"role": "user", "content": prompt}], **params}


def number_replies(server: Live) -> None:
    """Let equal requests get different replies."""
    seen: Counter[str] = Counter()

    def reply(request: ProviderRequest) -> ProviderReply:
        with server.lock:
            seen[request.prompt] += 1
            return ProviderReply(text=f"{request.prompt} #{seen[request.prompt]}")

    server.reply = reply


def said(reply: Any) -> str:
    """The text of an answer."""
    text: str = reply.json()["choices"][0]["message"]["content"]
    return text


def by_tasks(library: Any, address: str) -> list[str]:
    """All prompts in as many tasks."""

    async def ask() -> list[str]:
        async with library.AsyncClient(verify=tls(), timeout=30) as client:
            replies = await asyncio.gather(*(client.post(address, json=body(prompt)) for prompt in PROMPTS))
        return [said(reply) for reply in replies]

    return asyncio.run(ask())


def by_threads(library: Any, address: str) -> list[str]:
    """All prompts in as many threads."""
    with ThreadPoolExecutor(MANY) as pool:
        if library is requests:
            return list(pool.map(lambda prompt: said(requests.post(address, json=body(prompt), timeout=30)), PROMPTS))
        with library.Client(verify=tls(), timeout=30) as client:
            return list(pool.map(lambda prompt: said(client.post(address, json=body(prompt))), PROMPTS))


@pytest.mark.parametrize(
    ("ask", "library"),
    [(by_tasks, httpx), (by_tasks, httpx2), (by_threads, httpx), (by_threads, httpx2), (by_threads, requests)],
    ids=lambda value: value.__name__,
)
def test_many_at_once(ask: Any, library: Any, tmp_path: Path) -> None:
    """Nothing is lost or served twice, equal requests get their replies in the order recorded."""
    with live() as server:
        number_replies(server)
        with recording(tmp_path) as run:
            first = ask(library, url(server))
            assert sorted(call.text for call in run.wire.calls) == sorted(first)
    kept = [said(httpx.Response(200, content=interaction.response.body)) for interaction in saved(tmp_path)]
    assert sorted(kept) == sorted(first)
    with replaying(tmp_path) as (run, _clock):
        again = ask(library, url(server))
        assert [call.error for call in run.wire.calls] == [None] * MANY
        assert sorted(run.wire.recordings.played) == list(range(MANY))  # type: ignore[union-attr]
    different = [number for number, prompt in enumerate(PROMPTS) if prompt != EQUAL]
    assert [again[number] for number in different] == [first[number] for number in different]
    assert sorted(again) == sorted(first)


def test_equal_requests_are_first_in_first_out(tmp_path: Path) -> None:
    """One after another they get their replies in the order in which those came."""
    with live() as server:
        number_replies(server)
        with recording(tmp_path), httpx.Client(verify=tls()) as client:
            first = [said(client.post(url(server), json=body(EQUAL))) for _ in range(MANY)]
    with replaying(tmp_path), httpx.Client(verify=tls()) as client:
        assert [said(client.post(url(server), json=body(EQUAL))) for _ in range(MANY)] == first
    assert [facts_of(interaction).attempt for interaction in saved(tmp_path)] == list(range(1, MANY + 1))


@pytest.mark.parametrize("mode", ["new", "all"])
def test_scripts_beside_a_cassette(mode: RecordMode, tmp_path: Path) -> None:
    """Scripts answer first, live or recorded; the cassette holds the rest alone."""

    def ask(address: str) -> list[str]:
        with httpx2.Client(verify=tls()) as client:
            return [said(client.post(address, json=body(prompt))) for prompt in ("a", "scripted", "b")]

    with live() as server:
        for record in (mode, "none"):
            run = new_run()
            made = TestRecording(plan(tmp_path, record))
            with run.listening(), run.virtual_time(), run.recorded(made), run.scripted() as scripts, running(run):
                scripts.on(when=lambda call: call.prompt == "scripted").replies("by a script")
                assert ask(url(server)) == ["re: a", "by a script", "re: b"]
                answers = [call.answered_by for call in run.wire.calls]
                assert [answer == "network" for answer in answers] == [record != "none", False, record != "none"]
            run.save_recording()
        assert server.asked == ["a", "b"]
    assert len(saved(tmp_path)) == 2


def openai_client(server: Live) -> openai.OpenAI:
    """The official client, which tries again twice."""
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="key", http_client=httpx2.Client(verify=tls()))


def ask_openai(server: Live) -> str | None:
    """The text of an answer, after all retries."""
    with openai_client(server) as client:
        reply = client.chat.completions.create(**body("hi"))
        text: str | None = reply.choices[0].message.content
        return text


@pytest.mark.parametrize("errors", [False, True])
def test_a_retry(errors: bool, tmp_path: Path) -> None:
    """What went well is kept, and replayed at once; with errors the retry is replayed too."""
    with live() as server:
        server.refusals = 1
        with recording(tmp_path, errors=errors) as run:
            assert ask_openai(server) == "re: hi"
            assert [call.status for call in run.wire.calls] == [429, 200]
    statuses = [429, 200] if errors else [200]
    assert [interaction.response.status for interaction in saved(tmp_path)] == statuses
    assert [facts_of(interaction).attempt for interaction in saved(tmp_path)] == [1, 2][-len(statuses) :]
    with replaying(tmp_path) as (run, clock):
        assert ask_openai(server) == "re: hi"
        assert [call.status for call in run.wire.calls] == statuses
        assert [call.error for call in run.wire.calls] == ["rate_limited", None][-len(statuses) :]
        spent = sum(facts_of(interaction).latency_s for interaction in saved(tmp_path))
        assert (clock.now > spent + 0.3) is errors  # the client's wait before it tries again


@pytest.mark.parametrize("stack", ["httpx", "httpx2", "requests"])
def test_a_stream_that_is_left_early(stack: str, tmp_path: Path) -> None:
    """It is replayed as far as it was read, and billed for its input and what was made by then."""

    def ask(server: Live) -> bytes:
        asked = body("hi", stream=True)
        if stack == "requests":
            with requests.post(url(server), json=asked, timeout=9, stream=True) as reply:
                pieces = reply.iter_content(None)
                return bytes(next(pieces) + next(pieces))
        library: Any = httpx if stack == "httpx" else httpx2
        with library.Client(verify=tls()) as client, client.stream("POST", url(server), json=asked) as reply:
            pieces = reply.iter_raw()
            return bytes(next(pieces) + next(pieces))

    with live(reply=everything) as server, recording(tmp_path):
        first = ask(server)
    (interaction,) = saved(tmp_path)
    assert (interaction.response.body, facts_of(interaction).complete) == (first, False)
    with replaying(tmp_path) as (run, _clock):
        assert ask(server) == first
        (call,) = run.wire.calls
        assert not call.completed
        assert call.usage is not None
        assert (call.usage.total_input > 0, 0 < call.usage.output < 5) == (True, True)
        assert call.cost_usd > 0


def test_recorded_time_can_pass_for_real(tmp_path: Path) -> None:
    """A hundred times as fast, the log says what was recorded."""
    with live() as server, recording(tmp_path):
        ask_openai(server)
    (interaction,) = saved(tmp_path)
    run = new_run()
    run.wire.speed = 100
    with run.listening(), run.recorded(TestRecording(plan(tmp_path, "none"))), running(run):
        assert ask_openai(server) == "re: hi"
        (call,) = run.wire.calls
        assert call.latency_s is not None
        assert call.latency_s >= facts_of(interaction).latency_s
        assert run.wire.clock_name == "recorded"


def test_calls_of_a_failed_test_are_reused(tmp_path: Path) -> None:
    """What a failed test has paid for is not called again, and saved once the test passes."""
    with live() as server:
        with recording(tmp_path, passes=False):
            ask_openai(server)
        assert not (tmp_path / "cassettes" / "it.yaml").exists()
        with recording(tmp_path) as run:
            assert ask_openai(server) == "re: hi"
            assert run.wire.calls[0].answered_by == "the journal of an earlier run"
            with httpx.Client(verify=tls()) as client:
                assert said(client.post(url(server), json=body("more"))) == "re: more"
        assert server.asked == ["hi", "more"]
    with replaying(tmp_path):
        assert ask_openai(server) == "re: hi"
    assert not [*(tmp_path / ".modelroute" / "journal").glob("*.jsonl")]


def test_a_replay_costs_what_the_recording_did(tmp_path: Path) -> None:
    """The price of a model is kept with its call: one that is dearer today changes no bill of yesterday."""
    then = PriceBook(own={"gpt-5-mini": Price(input=Decimal(1), output=Decimal(2))})
    now = PriceBook(own={"gpt-5-mini": Price(input=Decimal(10), output=Decimal(20))})
    with live() as server, httpx.Client() as client:
        with recording(tmp_path, prices=then) as run:
            run.wire.prices = then
            client.post(url(server), json=body("a"))
        paid = run.wire.calls.cost_usd
    with replaying(tmp_path, prices=now) as (again, _clock), httpx.Client() as client:
        again.wire.prices = now
        client.post(url(server), json=body("a"))
    assert again.wire.calls.cost_usd == paid > 0
