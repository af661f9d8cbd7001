"""
The client litellm, recorded from a live provider and replayed without it: sync on httpx, async on aiohttp.

It pins openai below 3, so it lives in an environment of its own; .ci/run makes one and runs this file there.
"""

from __future__ import annotations

import asyncio
import os
import warnings
from pathlib import Path
from typing import Any

import pytest

from tests.matrix.clients import Ask, Heard
from tests.recorded.live import everything, live
from tests.recorded.story import ask_live, ask_recorded, facts_of, recording, replaying, saved, times

# Else it asks the network for prices as it is imported.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    litellm: Any = pytest.importorskip("litellm")

pytestmark = pytest.mark.filterwarnings("ignore")  # of litellm's own, which are many
MODELS = {"openai/gpt-4.1": "/v1", "anthropic/claude-haiku-4-5": ""}
MODES = ("sync", "sync stream", "async", "async stream")


def asked(model: str, url: str, prompt: str = "hi", **options: Any) -> dict[str, Any]:
    """What litellm is given."""
    messages = [{"role": "user", "content": prompt}]
    return {"model": model, "messages": messages, "api_key": "x", "api_base": url + MODELS[model], **options}


def asking(mode: str, model: str, url: str) -> Ask:
    """A call in this mode; litellm makes ids and times of its own."""

    def take(heard: Heard, said: Any) -> None:
        heard.take({name: value for name, value in said.model_dump().items() if name not in ("id", "created")})

    def ask(heard: Heard) -> None:
        reply = litellm.completion(**asked(model, url, stream=mode.endswith("stream")))
        for said in reply if mode.endswith("stream") else [reply]:
            take(heard, said)

    async def ask_async(heard: Heard) -> None:
        reply = await litellm.acompletion(**asked(model, url, stream=mode.endswith("stream")))
        if not mode.endswith("stream"):
            take(heard, reply)
            return
        async for said in reply:
            take(heard, said)

    return ask if mode.startswith("sync") else lambda heard: asyncio.run(ask_async(heard))


@pytest.mark.parametrize("encoding", ["identity", "gzip", "br"])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("mode", MODES)
def test_a_replay_is_as_the_live_call(mode: str, model: str, encoding: str, tmp_path: Path) -> None:
    """The same values, the same log, the same pieces at the recorded times, with the provider stopped."""
    with live(encoding=encoding, reply=everything) as server:
        ask = asking(mode, model, server.url)
        first = ask_live(tmp_path, ask)
        assert server.encoded == {encoding}
    again, took = ask_recorded(tmp_path, ask)
    assert first.values
    assert again.values == first.values
    ((live_call,), (call,)) = first.calls, again.calls
    assert (call.reply, call.usage, call.error, call.client) == (
        live_call.reply,
        live_call.usage,
        None,
        live_call.client,
    )
    (facts,) = (facts_of(interaction) for interaction in saved(tmp_path))
    assert call.latency_s == pytest.approx(facts.latency_s, abs=1e-9)
    assert call.ttft_s == facts.ttft_s
    assert took >= facts.latency_s - 1e-9
    if call.stream:
        assert len([*times(facts)]) >= 3


def test_many_at_once(tmp_path: Path) -> None:
    """Sixteen tasks lose nothing."""
    prompts = [f"prompt {number}" for number in range(16)]

    async def ask(url: str) -> list[str]:
        calls = (litellm.acompletion(**asked("openai/gpt-4.1", url, prompt)) for prompt in prompts)
        return [reply.choices[0].message.content for reply in await asyncio.gather(*calls)]

    with live() as server, recording(tmp_path):
        first = asyncio.run(ask(server.url))
    with replaying(tmp_path):
        assert asyncio.run(ask(server.url)) == first == [f"re: {prompt}" for prompt in prompts]


def test_a_router_falls_back_as_it_did(tmp_path: Path) -> None:
    """The refusal is recorded where errors are, and litellm's own router falls back in the replay too."""

    def ask(url: str) -> str:
        names = {"large": "openai/gpt-4.1", "small": "anthropic/claude-haiku-4-5"}
        models = [
            {
                "model_name": name,
                "litellm_params": {"model": model, "api_key": "x", "api_base": url + MODELS[model]},
            }
            for name, model in names.items()
        ]
        router = litellm.Router(model_list=models, fallbacks=[{"large": ["small"]}], num_retries=0)
        reply = router.completion(model="large", messages=[{"role": "user", "content": "hi"}], max_retries=0)
        return f"{reply.choices[0].message.content} by {reply.model}"

    with live() as server:
        server.refusals = 1
        with recording(tmp_path, errors=True) as run:
            first = ask(server.url)
            models = run.wire.calls.models
    assert models == ["gpt-4.1", "claude-haiku-4-5"]
    with replaying(tmp_path, errors=True) as (run, _clock):
        assert ask(server.url) == first
        assert (run.wire.calls.models, [call.status for call in run.wire.calls]) == (models, [429, 200])
