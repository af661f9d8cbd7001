"""
The client litellm, sync on httpx and async on aiohttp, in virtual time.

It pins openai below 3, so it lives in an environment of its own; .ci/run makes one and runs this file there.
"""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from pytest_modelroute import CallLog, MockProviders, VirtualTime
from pytest_modelroute.faults import (
    Fault,
    authentication,
    connect_error,
    connection_reset,
    context_overflow,
    overloaded,
    rate_limit,
    read_timeout,
    server_error,
    stream_cut,
)

# Else it asks the network for prices as it is imported.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    litellm: Any = pytest.importorskip("litellm")

pytestmark = pytest.mark.filterwarnings("ignore")  # of litellm's own, which are many
HELLO = [{"role": "user", "content": "hi"}]
Ask = Callable[..., Any]


def completion(model: str = "openai/gpt-4.1", **options: Any) -> Any:
    """An answer, sync."""
    return litellm.completion(model=model, messages=HELLO, api_key="x", **options)


def acompletion(model: str = "openai/gpt-4.1", **options: Any) -> Any:
    """An answer, async, in a loop of its own."""
    return asyncio.run(litellm.acompletion(model=model, messages=HELLO, api_key="x", **options))


def stream(model: str = "openai/gpt-4.1", **options: Any) -> str:
    """The text of a stream, sync."""
    chunks = litellm.completion(model=model, messages=HELLO, api_key="x", stream=True, **options)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def astream(model: str = "openai/gpt-4.1", **options: Any) -> str:
    """The text of a stream, async, in a loop of its own."""

    async def run() -> str:
        chunks = await litellm.acompletion(model=model, messages=HELLO, api_key="x", stream=True, **options)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])

    return asyncio.run(run())


@pytest.fixture
def router() -> Any:
    """A router with a fallback from a large model to a small one."""
    models = {"large": "openai/gpt-4.1", "small": "anthropic/claude-haiku-4-5"}
    return litellm.Router(
        model_list=[
            {"model_name": name, "litellm_params": {"model": model, "api_key": "x"}} for name, model in models.items()
        ],
        fallbacks=[{"large": ["small"]}],
        num_retries=1,
    )


@pytest.mark.parametrize("model", ["openai/gpt-4.1", "anthropic/claude-haiku-4-5"])
@pytest.mark.parametrize(("ask", "client"), [(completion, "httpx"), (acompletion, "aiohttp")])
def test_a_whole_answer(
    mock_providers: MockProviders, call_log: CallLog, virtual_time: VirtualTime, ask: Ask, client: str, model: str
) -> None:
    """Each mode on its own stack, a minute at once."""
    mock_providers.on(model=model.partition("/")[2]).replies("hello", latency=60, usage={"fresh_input": 7, "output": 3})
    reply = ask(model)
    assert (reply.choices[0].message.content, reply.usage.prompt_tokens, reply.usage.completion_tokens) == (
        "hello",
        7,
        3,
    )
    assert virtual_time.now == 60.0
    assert call_log[0].client == client


@pytest.mark.parametrize("model", ["openai/gpt-4.1", "anthropic/claude-haiku-4-5"])
@pytest.mark.parametrize("ask", [stream, astream])
def test_a_stream(
    mock_providers: MockProviders, call_log: CallLog, virtual_time: VirtualTime, ask: Ask, model: str
) -> None:
    """Streams of both modes take their time."""
    mock_providers.on(model=model.partition("/")[2]).replies("one two three", latency=3, chunks=3)
    assert ask(model) == "one two three"
    assert virtual_time.now == 3.0
    assert call_log[0].completed


def test_calls_overlap_and_carry_their_labels(
    mock_providers: MockProviders, call_log: CallLog, virtual_time: VirtualTime
) -> None:
    """Ten calls of a second take a second, each under the step of its own task."""
    mock_providers.on(model="gpt-4.1").replies(lambda call: str(call.step), latency=1)

    async def one(step: str) -> tuple[str, str]:
        with call_log.label(step=step):
            reply = await litellm.acompletion(model="openai/gpt-4.1", messages=HELLO, api_key="x")
        return step, reply.choices[0].message.content

    async def run() -> list[tuple[str, str]]:
        return await asyncio.gather(*(one(f"step {number}") for number in range(10)))

    assert all(step == said for step, said in asyncio.run(run()))
    assert virtual_time.now == 1.0


@pytest.mark.parametrize("ask", [completion, acompletion])
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (rate_limit(), "RateLimitError"),
        (server_error(), "InternalServerError"),
        (authentication(), "AuthenticationError"),
        (context_overflow(), "BadRequestError"),
        (connect_error(), "InternalServerError"),
        (connection_reset(), "InternalServerError"),
        (stream_cut(), "InternalServerError"),
        (read_timeout(), "Timeout"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_faults_are_litellms_own_errors(
    mock_providers: MockProviders, virtual_time: VirtualTime, ask: Ask, fault: Fault, error: str
) -> None:
    """The same error on both stacks; the client's own time-out comes when it is due."""
    mock_providers.on(model="gpt-4.1").fails(fault)
    with pytest.raises(getattr(litellm.exceptions, error)):
        ask(timeout=5, max_retries=0)
    assert virtual_time.now == (5.0 if error == "Timeout" else 0.0)


@pytest.mark.parametrize("ask", [completion, acompletion])
def test_retries_wait_in_virtual_time(
    mock_providers: MockProviders, call_log: CallLog, virtual_time: VirtualTime, ask: Ask
) -> None:
    """The wait that the provider asked for is kept, and nobody waits for it."""
    mock_providers.on(model="gpt-4.1").fails(rate_limit(retry_after=30), times=2).then.replies("at last")
    assert ask(max_retries=2).choices[0].message.content == "at last"
    assert [call.status for call in call_log] == [429, 429, 200]
    assert virtual_time.now >= 60.0


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_router_falls_back(mock_providers: MockProviders, call_log: CallLog, router: Any, mode: str) -> None:
    """One retry of the large model, then the small one, on another provider."""
    mock_providers.on(model="gpt-4.1").fails(overloaded())
    mock_providers.on(model="claude-haiku-4-5").replies("from the small one")
    if mode == "sync":
        reply = router.completion(model="large", messages=HELLO)
    else:
        reply = asyncio.run(router.acompletion(model="large", messages=HELLO))
    assert reply.choices[0].message.content == "from the small one"
    assert call_log.models == ["gpt-4.1", "gpt-4.1", "claude-haiku-4-5"]


def test_a_router_that_streams_falls_back(mock_providers: MockProviders, call_log: CallLog, router: Any) -> None:
    """A stream that cannot begin is another model's stream."""
    mock_providers.on(model="gpt-4.1").fails(overloaded())
    mock_providers.on(model="claude-haiku-4-5").replies("from the small one", chunks=4)

    async def run() -> str:
        chunks = await router.acompletion(model="large", messages=HELLO, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])

    assert asyncio.run(run()) == "from the small one"
    assert call_log.models[-1] == "claude-haiku-4-5"


def test_two_candidates_are_two_hosts(mock_providers: MockProviders, call_log: CallLog) -> None:
    """Each deployment of one model has a URL and a key of its own, and its calls go by its name."""
    names = ("openai-1", "openai-2")
    router = litellm.Router(
        model_list=[
            {
                "model_name": name,
                "litellm_params": {
                    "model": "openai/gpt-4.1",
                    "api_base": mock_providers.url(name),
                    "api_key": mock_providers.key(name),
                },
            }
            for name in names
        ],
        fallbacks=[{"openai-1": ["openai-2"]}],
        num_retries=0,
    )
    mock_providers.on(provider="openai-1").fails(overloaded())
    mock_providers.on(provider="openai-2").replies("from the second")
    reply = router.completion(model="openai-1", messages=HELLO, max_retries=0)
    assert reply.choices[0].message.content == "from the second"
    assert [call.provider for call in call_log] == ["openai-1", "openai-2"]
