"""The call log over real replies: a server on 127.0.0.1 that speaks as providers do."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
from collections.abc import Callable
from decimal import Decimal
from http.server import BaseHTTPRequestHandler
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest

from pytest_modelroute import CallLog, MockProviders, Usage
from pytest_modelroute.errors import EvaluationError, PriceUnknown
from pytest_modelroute.faults import connect_error, overloaded
from pytest_modelroute.testrun import TestRun

Serve = Callable[[Callable[[BaseHTTPRequestHandler], None]], str]
Ask = Callable[..., httpx.Response]
BODY = {"model": "gpt-4.1-nano", "messages": [{"role": "user", "content": "hi"}]}
OPENAI_REPLY = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4.1-nano-2025-04-14",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 3},
    },
}
ANTHROPIC_REPLY = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-haiku-4-5-20251001",
    "content": [{"type": "text", "text": "hello"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 10,
        "cache_creation_input_tokens": 2,
        "cache_read_input_tokens": 4,
        "output_tokens": 5,
    },
}
OPENAI_STREAM: list[Any] = [
    {"model": "gpt-4.1-nano-2025-04-14", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "hel"}}]},
    {"choices": [{"index": 0, "delta": {"content": "lo"}}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5}},
]
ANTHROPIC_STREAM: list[Any] = [
    {"type": "message_start", "message": {**ANTHROPIC_REPLY, "content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}},
    {"type": "message_stop"},
]


def replying(
    value: Any, status: int = 200, *, compressed: bool = False, headers: dict[str, str] | None = None
) -> Callable[[BaseHTTPRequestHandler], None]:
    """Answer with JSON, or with bytes as they are."""

    def respond(handler: BaseHTTPRequestHandler) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        handler.send_response(status)
        handler.send_header("content-type", "application/json")
        if compressed:
            body = gzip.compress(body)
            handler.send_header("content-encoding", "gzip")
        for name, text in (headers or {}).items():
            handler.send_header(name, text)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return respond


def streaming(
    events: list[Any], *, done: bool = True, compressed: bool = False
) -> Callable[[BaseHTTPRequestHandler], None]:
    """Answer with a stream of events."""

    def respond(handler: BaseHTTPRequestHandler) -> None:
        frames = [f"event: {event.get('type', 'message')}\ndata: {json.dumps(event)}\n\n" for event in events]
        body = ("".join(frames) + ("data: [DONE]\n\n" if done else "")).encode()
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        if compressed:
            body = gzip.compress(body)
            handler.send_header("content-encoding", "gzip")
        handler.end_headers()
        handler.wfile.write(body)

    return respond


def post(base: str, **options: Any) -> httpx.Response:
    """Ask the server in OpenAI's format."""
    return httpx.post(f"{base}/v1/chat/completions", json={**BODY, **options.pop("members", {})}, **options)


def ask_openai(base: str) -> str | None:
    """Ask through the openai client."""
    with openai.OpenAI(api_key="key", base_url=f"{base}/v1", max_retries=0) as client:
        reply = client.chat.completions.create(model="gpt-4.1-nano", messages=[{"role": "user", "content": "hi"}])
    return reply.choices[0].message.content


def ask_openai_async(base: str) -> str | None:
    """Ask through the async openai client."""

    async def ask() -> str | None:
        async with openai.AsyncOpenAI(api_key="key", base_url=f"{base}/v1", max_retries=0) as client:
            reply = await client.chat.completions.create(
                model="gpt-4.1-nano", messages=[{"role": "user", "content": "hi"}]
            )
        return reply.choices[0].message.content

    return asyncio.run(ask())


def stream_openai(base: str) -> str:
    """Stream through the openai client."""
    with openai.OpenAI(api_key="key", base_url=f"{base}/v1", max_retries=0) as client:
        chunks = client.chat.completions.create(
            model="gpt-4.1-nano",
            messages=[{"role": "user", "content": "hi"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def stream_openai_async(base: str) -> str:
    """Stream through the async openai client."""

    async def read() -> str:
        async with openai.AsyncOpenAI(api_key="key", base_url=f"{base}/v1", max_retries=0) as client:
            chunks = await client.chat.completions.create(
                model="gpt-4.1-nano", messages=[{"role": "user", "content": "hi"}], stream=True
            )
            return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices])

    return asyncio.run(read())


def ask_anthropic(base: str) -> str:
    """Ask through the anthropic client."""
    with anthropic.Anthropic(api_key="key", base_url=base, max_retries=0) as client:
        reply = client.messages.create(
            model="claude-haiku-4-5", max_tokens=9, messages=[{"role": "user", "content": "hi"}]
        )
    block = reply.content[0]
    assert block.type == "text"
    return block.text


def stream_anthropic(base: str) -> str:
    """Stream through the anthropic client."""
    with (
        anthropic.Anthropic(api_key="key", base_url=base, max_retries=0) as client,
        client.messages.stream(
            model="claude-haiku-4-5", max_tokens=9, messages=[{"role": "user", "content": "hi"}]
        ) as stream,
    ):
        return "".join(stream.text_stream)


OPENAI_USAGE = Usage(fresh_input=6, cache_read=4, output=2, reasoning=3)
ANTHROPIC_USAGE = Usage(fresh_input=10, cache_read=4, cache_write=2, output=5)
EXCHANGES = [
    (ask_openai, replying(OPENAI_REPLY), OPENAI_USAGE),
    (ask_openai, replying(OPENAI_REPLY, compressed=True), OPENAI_USAGE),
    (ask_openai_async, replying(OPENAI_REPLY), OPENAI_USAGE),
    (ask_openai_async, replying(OPENAI_REPLY, compressed=True), OPENAI_USAGE),
    (stream_openai, streaming(OPENAI_STREAM), Usage(fresh_input=10, output=5)),
    (stream_openai, streaming(OPENAI_STREAM, compressed=True), Usage(fresh_input=10, output=5)),
    (stream_openai_async, streaming(OPENAI_STREAM), Usage(fresh_input=10, output=5)),
    (stream_openai_async, streaming(OPENAI_STREAM, done=False), Usage(fresh_input=10, output=5)),
    (ask_anthropic, replying(ANTHROPIC_REPLY), ANTHROPIC_USAGE),
    (ask_anthropic, replying(ANTHROPIC_REPLY, compressed=True), ANTHROPIC_USAGE),
    (
        stream_anthropic,
        streaming(ANTHROPIC_STREAM, done=False),
        Usage(fresh_input=10, cache_read=4, cache_write=2, output=7),
    ),
]
IDS = [f"{exchange[0].__name__}-{number}" for number, exchange in enumerate(EXCHANGES)]
exchanges = pytest.mark.parametrize(("ask", "respond", "usage"), EXCHANGES, ids=IDS)


@exchanges
def test_a_real_reply_is_read_along(
    call_log: CallLog,
    serve: Serve,
    ask: Callable[[str], str],
    respond: Callable[[BaseHTTPRequestHandler], None],
    usage: Usage,
) -> None:
    """The log knows text, status and tokens of a reply from the network, whole or streamed, compressed or not."""
    ask(serve(respond))
    call = call_log[0]
    assert (call.text, call.status, call.usage, call.error, call.completed) == ("hello", 200, usage, None, True)


@exchanges
def test_the_client_gets_the_reply_untouched(
    call_log: CallLog,
    serve: Serve,
    ask: Callable[[str], str],
    respond: Callable[[BaseHTTPRequestHandler], None],
    usage: Usage,
) -> None:
    """Reading along changes nothing for the client."""
    assert ask(serve(respond)) == "hello"


def test_a_call_knows_what_was_asked(call_log: CallLog, serve: Serve) -> None:
    """The log knows the model, the prompt, the system prompt, the tools and the parameters of a request."""
    tools = [{"type": "function", "function": {"name": "find", "parameters": {}}}]
    messages = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}]
    post(serve(replying(OPENAI_REPLY)), members={"temperature": 0, "tools": tools, "messages": messages})
    call = call_log[0]
    assert (call.model, call.prompt, call.messages[0].text) == ("gpt-4.1-nano", "hi", "be kind")
    assert ([tool.name for tool in call.tools], call.params, call.stream) == (["find"], {"temperature": 0}, False)


def test_a_call_knows_who_answered(call_log: CallLog, serve: Serve) -> None:
    """The log knows the model that answered, the library of the client, and that the network answered."""
    post(serve(replying(OPENAI_REPLY)))
    call = call_log[0]
    assert (call.model_answered, call.client, call.answered_by) == ("gpt-4.1-nano-2025-04-14", "httpx", "network")


def test_a_call_takes_real_time(call_log: CallLog, serve: Serve) -> None:
    """Without virtual time a latency is real, and more than nothing."""
    post(serve(replying(OPENAI_REPLY)))
    assert call_log[0].latency_s is not None
    assert 0 < call_log[0].latency_s < 60


def test_a_stream_knows_its_first_chunk(call_log: CallLog, serve: Serve) -> None:
    """The time to the first chunk of a stream lies within its latency."""
    stream_openai(serve(streaming(OPENAI_STREAM)))
    call = call_log[0]
    assert call.ttft_s is not None
    assert call.latency_s is not None
    assert 0 < call.ttft_s <= call.latency_s


def test_a_whole_reply_has_no_first_chunk(call_log: CallLog, serve: Serve) -> None:
    """What is no stream has no time to its first chunk."""
    ask_openai(serve(replying(OPENAI_REPLY)))
    assert call_log[0].ttft_s is None


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}}, "rate_limited"),
        ({"error": {"message": "no money", "code": "insufficient_quota"}}, "quota_exhausted"),
        ({"error": {}}, "rate_limited"),
        (b"<html>slow down</html>", "rate_limited"),
    ],
)
def test_an_error_is_logged_by_its_class(call_log: CallLog, serve: Serve, body: Any, word: str) -> None:
    """The class follows from the code, and from the status where there is none."""
    post(serve(replying(body, status=429)))
    call = call_log[0]
    assert (call.status, call.error, call.completed, call.usage) == (429, word, False, None)


def test_an_error_of_anthropic_is_logged(call_log: CallLog, serve: Serve) -> None:
    """Anthropic's own status and type are understood."""
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    with pytest.raises(anthropic.OverloadedError):
        ask_anthropic(serve(replying(error, status=529)))
    assert (call_log[0].status, call_log[0].error) == (529, "overloaded")


def test_an_error_that_is_named_in_a_header_is_logged(call_log: CallLog, serve: Serve) -> None:
    """Amazon says the type of an error in a header alone; its status stands for several."""
    named = {"X-Amzn-ErrorType": "UnrecognizedClientException:http://internal.amazon.com/coral/"}
    url = serve(replying({"message": "The security token is invalid."}, status=403, headers=named))
    httpx.post(f"{url}/model/amazon.nova-lite-v1%3A0/converse", json={"messages": []})
    assert (call_log[0].status, call_log[0].error) == (403, "authentication")


def test_a_broken_reply_is_logged_as_malformed(call_log: CallLog, serve: Serve) -> None:
    """A good status with a body that cannot be read did not complete."""
    post(serve(replying(b"{broken")))
    assert (call_log[0].error, call_log[0].completed) == ("malformed", False)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_stream_without_its_end_is_logged_as_cut_off(call_log: CallLog, serve: Serve, *, compressed: bool) -> None:
    """A stream that stops before the model has finished did not complete."""
    stream_openai(serve(streaming(OPENAI_STREAM[:2], done=False, compressed=compressed)))
    assert (call_log[0].error, call_log[0].completed) == ("cut off", False)


def test_a_stream_that_the_client_leaves_is_cut_off(call_log: CallLog, serve: Serve) -> None:
    """A client that stops reading leaves a call that did not complete."""
    base = serve(streaming(OPENAI_STREAM))
    with httpx.stream("POST", f"{base}/v1/chat/completions", json={**BODY, "stream": True}):
        pass
    assert (call_log[0].error, call_log[0].completed) == ("cut off", False)


def test_a_connection_that_breaks_is_logged(call_log: CallLog, serve: Serve) -> None:
    """A reply that ends before its announced length did not complete."""

    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{")

    with pytest.raises(httpx.RemoteProtocolError):
        post(serve(respond))
    assert (call_log[0].error, call_log[0].completed) == ("malformed", False)


def test_a_broken_compression_is_logged(call_log: CallLog, serve: Serve) -> None:
    """A reply that cannot be decompressed did not complete, and took its time."""
    with pytest.raises(httpx.DecodingError):
        post(serve(replying(b"no gzip", headers={"content-encoding": "gzip"})))
    call = call_log[0]
    assert (call.error, call.latency_s is not None) == ("malformed", True)


@pytest.mark.parametrize(
    ("library", "ask"),
    [(httpx, httpx.post), (httpx2, httpx2.post)],
)
def test_a_refused_connection_is_logged(call_log: CallLog, library: Any, ask: Callable[..., Any]) -> None:
    """A server that is not there leaves a call with its class and no status."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(library.ConnectError):
        ask(f"http://127.0.0.1:{port}/v1/chat/completions", json=BODY)
    assert (call_log[0].error, call_log[0].status, call_log[0].completed) == ("connection", None, False)


def test_a_refused_async_connection_is_logged(call_log: CallLog) -> None:
    """The same for an async client."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(openai.APIConnectionError):
        ask_openai_async(f"http://127.0.0.1:{port}")
    assert call_log[0].error == "connection"


def test_a_cancelled_call_is_logged(call_log: CallLog, serve: Serve) -> None:
    """A call that is given up is logged as cancelled, whoever was to answer it."""
    asked, over = threading.Event(), threading.Event()

    def respond(_handler: BaseHTTPRequestHandler) -> None:
        asked.set()
        over.wait(20)

    base = serve(respond)

    async def give_up() -> None:
        async with httpx.AsyncClient() as client:
            task = asyncio.create_task(client.post(f"{base}/v1/chat/completions", json=BODY))
            await asyncio.to_thread(asked.wait, 20)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    try:
        asyncio.run(give_up())
    finally:
        over.set()
    assert call_log[0].error == "cancelled"


def test_other_requests_are_not_logged(call_log: CallLog, serve: Serve) -> None:
    """What is no call of a model passes without a trace, and without a change."""
    assert httpx.get(serve(replying({"a": 1}))).json() == {"a": 1}
    assert len(call_log) == 0


def test_a_request_that_cannot_be_read_is_not_logged(call_log: CallLog, serve: Serve) -> None:
    """Without scripts a body in another format passes, as it may be anything."""
    base = serve(replying({"a": 1}))
    assert httpx.post(f"{base}/v1/chat/completions", content=b"not JSON").json() == {"a": 1}
    assert len(call_log) == 0


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_an_async_request_that_is_no_call_passes(call_log: CallLog, serve: Serve, library: Any) -> None:
    """The same for an async client."""
    base = serve(replying({"a": 1}))

    async def get() -> Any:
        async with library.AsyncClient() as client:
            return (await client.get(base)).json()

    assert asyncio.run(get()) == {"a": 1}


def test_a_real_call_is_priced(call_log: CallLog, serve: Serve) -> None:
    """The tokens that the provider reports are priced exactly, cached ones at their own price."""
    post(serve(replying(OPENAI_REPLY)))
    million = 1_000_000
    assert call_log.cost_usd == (6 * Decimal("0.1") + 4 * Decimal("0.025") + 5 * Decimal("0.4")) / million


def test_costs_add_up(ask: Ask, mock_providers: MockProviders) -> None:
    """The cost of a log is the exact sum of its calls."""
    mock_providers.on().replies("ok", usage={"fresh_input": 1_000_000, "output": 1_000_000})
    for model in ("gpt-4.1-nano", "gpt-4.1-mini"):
        ask(model)
    assert mock_providers.calls.cost_usd == Decimal("0.5") + Decimal("2.0")


def test_a_stream_without_usage_has_no_cost(call_log: CallLog, serve: Serve) -> None:
    """A stream that reports no tokens cannot be priced, and the error says how to ask for them."""
    post(serve(streaming(OPENAI_STREAM[:3])), members={"stream": True})
    expected = r"call 1 to 'gpt-4\.1-nano' has no cost: its reply reported no usage \(ask for it with stream_options="
    with pytest.raises(PriceUnknown, match=expected):
        _ = call_log.cost_usd


def test_a_reply_without_usage_has_no_cost(call_log: CallLog, serve: Serve) -> None:
    """A whole reply that reports no tokens cannot be priced."""
    post(serve(replying({**OPENAI_REPLY, "usage": None})))
    with pytest.raises(PriceUnknown, match=r"its reply reported no usage$"):
        _ = call_log[0].cost_usd


def test_an_error_costs_nothing(ask: Ask, mock_providers: MockProviders) -> None:
    """A call that was answered with an error is free."""
    mock_providers.on().fails(overloaded())
    ask()
    assert mock_providers.calls.cost_usd == 0


def test_a_model_without_a_price_is_unknown(ask: Ask, mock_providers: MockProviders) -> None:
    """A model that nobody prices does not count as free."""
    mock_providers.on().replies("ok")
    ask("no-such-model")
    with pytest.raises(PriceUnknown, match="no-such-model"):
        _ = mock_providers.calls.cost_usd


@pytest.fixture
def log(ask: Ask, mock_providers: MockProviders) -> CallLog:
    """Four calls of two steps."""
    calls = mock_providers.calls
    mock_providers.on(model="gpt-4.1").replies("ok", usage=Usage(fresh_input=7, output=2), latency=0.5)
    mock_providers.on(model="gpt-4.1-mini").replies("ok", model="gpt-4.1-nano", usage=Usage(fresh_input=1000))
    mock_providers.on(model="gone").fails(connect_error())
    mock_providers.on(model="mystery").replies("a b", latency=2)
    with calls.label(step="plan"):
        ask("gpt-4.1")
    with calls.label(step="act"):
        ask("gpt-4.1-mini")
        with pytest.raises(httpx.ConnectError):
            ask("gone")
    ask("mystery", stream=True)
    return calls


def test_models_are_in_order(log: CallLog) -> None:
    """The models asked for are listed as they were asked for."""
    assert log.models == ["gpt-4.1", "gpt-4.1-mini", "gone", "mystery"]


def test_a_log_prints_its_models(log: CallLog) -> None:
    """The text of a log, as an assertion shows it, lists the models."""
    assert repr(log) == "CallLog(['gpt-4.1', 'gpt-4.1-mini', 'gone', 'mystery'])"


def test_a_step_is_a_log(log: CallLog) -> None:
    """The calls of one step can be asked like the whole log."""
    assert (log.step("act").models, log.step("none").models) == (["gpt-4.1-mini", "gone"], [])


def test_a_case_is_a_log(ask: Ask, new_run: Callable[[], TestRun]) -> None:
    """The calls of one case can be asked like the whole log."""
    from pytest_modelroute.wire.labels import Label, labelled

    run = new_run()
    with run.listening() as calls, run.virtual_time(), run.scripted() as scripts:
        scripts.on().replies("ok")
        with labelled(Label(step="plan", case="c1")):
            ask("a")
        ask("b")
    assert (calls.case("c1").models, calls.case("c2").models) == (["a"], [])


def test_a_slice_is_a_log(log: CallLog) -> None:
    """A slice can be asked like the whole log, and an index gives a call."""
    assert (log[1:3].models, log[-1].model, len(log)) == (["gpt-4.1-mini", "gone"], "mystery", 4)


def test_calls_are_counted_from_one(log: CallLog) -> None:
    """Each call has its number."""
    assert [call.number for call in log] == [1, 2, 3, 4]


def test_an_empty_log_says_so() -> None:
    """The table of no calls is a sentence."""
    assert CallLog().table() == "no provider was called"


def test_the_table_shows_each_call(log: CallLog) -> None:
    """The table aligns what is known of each call, and leaves out columns that nobody uses."""
    assert log.table().splitlines() == [
        "#  at      step  model                         status      latency  tokens in/out  cost USD   answered by",
        "1  0.000s  plan  gpt-4.1                       200         500 ms   7/2            0.0000300  script 1",
        "2  0.500s  act   gpt-4.1-mini -> gpt-4.1-nano  200         0 ms     1000/0         0.0004000  script 2",
        "3  0.500s  act   gone                          connection  0 ms                               script 3",
        "4  0.500s        mystery                       200 stream  2000 ms  1/1            no price   script 4",
    ]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_long_table_keeps_the_last_calls(log: CallLog, limit: int) -> None:
    """With a limit the last calls are shown, and the earlier ones counted."""
    _, hidden, *rows = log.table(limit=limit).splitlines()
    assert (hidden, [row[0] for row in rows]) == (f"... {4 - limit} earlier calls", ["1", "2", "3", "4"][-limit:])


@pytest.mark.parametrize("limit", [4, 99, None])
def test_a_limit_that_is_not_reached_hides_nothing(log: CallLog, limit: int | None) -> None:
    """A table within its limit is whole."""
    assert log.table(limit=limit) == log.table()


def test_a_limit_of_none_shows_no_calls(log: CallLog) -> None:
    """With a limit of 0 no call is shown."""
    assert "script 1" not in log.table(limit=0)


def test_the_provider_is_shown_where_there_are_several(mock_providers: MockProviders) -> None:
    """A fallback may ask another provider for a model of the same name."""
    mock_providers.otherwise("ok")
    for host in ("api.openai.com", "openrouter.ai/api"):
        httpx.post(f"https://{host}/v1/chat/completions", json=BODY)
    assert [line.split()[2] for line in mock_providers.calls.table().splitlines()[1:]] == [
        "openai/gpt-4.1-nano",
        "openrouter/gpt-4.1-nano",
    ]


def test_an_open_call_is_shown_as_open(mock_providers: MockProviders) -> None:
    """A stream that is being read has neither ended nor failed."""
    mock_providers.on().replies("a b c")
    with httpx.stream("POST", "https://api.openai.com/v1/chat/completions", json={**BODY, "stream": True}):
        table = mock_providers.calls.table()
    assert "200 open stream" in table


def test_a_call_without_a_reply_names_no_model(ask: Ask, mock_providers: MockProviders) -> None:
    """Without a reply no model has answered, and there is no text."""
    mock_providers.on().fails(overloaded())
    ask()
    assert (mock_providers.calls[0].model_answered, mock_providers.calls[0].text) == ("", "")


def test_a_call_of_a_script_that_raises_is_logged(ask: Ask, new_run: Callable[[], TestRun]) -> None:
    """The log says which calls the test itself had no answer for."""
    run = new_run()
    with run.listening() as calls, run.virtual_time(), run.scripted() as scripts:
        scripts.on(model="a").replies(lambda _call: str(1 // 0))
        for model in ("a", "b"):
            with pytest.raises(BaseException, match=r"raised on call|no script answers"):
                ask(model)
    assert [call.error for call in calls] == ["script raised", "unscripted"]


@pytest.mark.parametrize(
    ("name", "hint"), [("clasify", "did you mean 'classify'?"), ("zzz", "declared are: act, classify")]
)
def test_a_step_that_is_not_declared_is_refused(name: str, hint: str) -> None:
    """A misspelt step would be a log of no calls, of which everything holds."""
    with pytest.raises(EvaluationError) as caught:
        CallLog(steps=["classify", "act"]).step(name)
    assert str(caught.value) == f"there is no step {name!r} in the settings; {hint}"


def test_a_call_that_is_cancelled_is_billed_for_the_time_it_ran(mock_providers: MockProviders) -> None:
    """Its input, and of its output the share of the latency that had passed."""
    mock_providers.on().replies("ok", latency=10, usage={"fresh_input": 100, "output": 40, "reasoning": 8})

    async def give_up() -> None:
        async with httpx.AsyncClient(timeout=99) as client, asyncio.timeout(2.5):
            await client.post("https://api.openai.com/v1/chat/completions", json=BODY)

    with pytest.raises(TimeoutError):
        asyncio.run(give_up())
    assert mock_providers.calls[0].usage == Usage(fresh_input=100, output=10, reasoning=2)


def test_a_call_that_times_out_is_billed_for_the_time_it_ran(ask: Ask, mock_providers: MockProviders) -> None:
    """The client's own timeout does not stop the provider before it."""
    mock_providers.on().replies("ok", latency=10, usage={"fresh_input": 100, "output": 40})
    with pytest.raises(httpx.ReadTimeout):
        ask(timeout=2.5)
    assert mock_providers.calls[0].usage == Usage(fresh_input=100, output=10)


def test_a_stream_that_is_closed_early_is_billed_for_the_pieces_it_sent(mock_providers: MockProviders) -> None:
    """Its input, and of its output a quarter, as one of four pieces came."""
    mock_providers.on().replies("a b c d", chunks=4, usage={"fresh_input": 100, "output": 40})
    url = "https://api.openai.com/v1/chat/completions"
    with httpx.stream("POST", url, json={**BODY, "stream": True}) as response:
        next(response.iter_lines())
    assert mock_providers.calls[0].usage == Usage(fresh_input=100, output=10)
