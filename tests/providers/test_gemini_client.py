"""
The real google-genai client reads what was scripted, in each of the ways it can be used.

Where aiohttp is installed the client takes it for async calls. Here it is given httpx2, which it takes elsewhere, with
one TLS context for all, since making one takes longer than a call.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import httpx
import httpx2
import pytest
from google import genai
from google.genai import errors, types

from pytest_modelroute import MockProviders, ModelSettings, Reply, Settings, ToolCall, Usage, VirtualTime, faults
from pytest_modelroute.providers.exchange import Message, Tool
from pytest_modelroute.router import ModelClient, ModelRequest

MODEL = "gemini-2.5-flash"
USAGE = {"fresh_input": 3, "cache_read": 2, "output": 4, "reasoning": 1}
WEATHER = ToolCall(name="weather", arguments={"city": "Zürich", "days": [1, 2]}, id="call_7")
CLOCK = ToolCall(name="clock", id="call_8")


@dataclass(frozen=True)
class Seen:
    """What the client makes of an answer."""

    text: str | None
    model: str | None
    finish_reason: str | None
    blocked: str | None
    usage: dict[str, int | None] | None
    tool_calls: tuple[ToolCall, ...]
    pieces: int


Ask: TypeAlias = Callable[..., Awaitable[Seen]]


def _seen(replies: list[types.GenerateContentResponse]) -> Seen:
    """A whole reply, or the chunks of a stream taken together."""
    texts = [reply.text for reply in replies if reply.text is not None]
    last = replies[-1]
    usage = last.usage_metadata
    reason = last.candidates[0].finish_reason if last.candidates else None
    blocked = last.prompt_feedback.block_reason if last.prompt_feedback else None
    calls = [call for reply in replies for call in reply.function_calls or ()]
    return Seen(
        text="".join(texts) if texts else None,
        model=last.model_version,
        finish_reason=reason.name if reason else None,
        blocked=blocked.name if blocked else None,
        usage=None
        if usage is None
        else {
            "prompt": usage.prompt_token_count,
            "cached": usage.cached_content_token_count,
            "candidates": usage.candidates_token_count,
            "thoughts": usage.thoughts_token_count,
            "total": usage.total_token_count,
        },
        tool_calls=tuple(ToolCall(name=str(call.name), arguments=call.args or {}, id=str(call.id)) for call in calls),
        pieces=len(replies),
    )


@contextmanager
def _client(**options: Any) -> Iterator[genai.Client]:
    with httpx2.Client(verify=_tls()) as http:
        yield genai.Client(api_key="k", http_options=_options(http, httpx2.AsyncClient(verify=_tls()), options))


@asynccontextmanager
async def _async_client(**options: Any) -> AsyncIterator[Any]:
    async with httpx2.AsyncClient(verify=_tls()) as http:
        yield genai.Client(api_key="k", http_options=_options(httpx2.Client(verify=_tls()), http, options)).aio


def _options(http: httpx2.Client, async_http: httpx2.AsyncClient, others: dict[str, Any]) -> types.HttpOptions:
    return types.HttpOptions(httpx_client=http, httpx_async_client=async_http, **others)


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


async def _ask(**options: Any) -> Seen:
    with _client(**options) as client:
        return _seen([client.models.generate_content(model=MODEL, contents="Hi")])


async def _ask_stream(**options: Any) -> Seen:
    with _client(**options) as client:
        return _seen(list(client.models.generate_content_stream(model=MODEL, contents="Hi")))


async def _ask_async(**options: Any) -> Seen:
    async with _async_client(**options) as client:
        return _seen([await client.models.generate_content(model=MODEL, contents="Hi")])


async def _ask_async_stream(**options: Any) -> Seen:
    async with _async_client(**options) as client:
        stream = await client.models.generate_content_stream(model=MODEL, contents="Hi")
        return _seen([chunk async for chunk in stream])


STREAMS: dict[str, Ask] = {"sync stream": _ask_stream, "async stream": _ask_async_stream}
WAYS: dict[str, Ask] = {"sync": _ask, "async": _ask_async, **STREAMS}
in_every_way = pytest.mark.parametrize("ask", WAYS.values(), ids=WAYS.keys())
in_every_stream = pytest.mark.parametrize("ask", STREAMS.values(), ids=STREAMS.keys())


@in_every_way
@pytest.mark.asyncio
@pytest.mark.parametrize("text", ["Good morning to you", "Zürich \u2028 \"x\"\r\n\n 'y' 🦦", "  padded  "])
async def test_the_text_is_the_scripted_one(mock_providers: MockProviders, ask: Ask, text: str) -> None:
    """Every character arrives, in one piece or in three."""
    mock_providers.on(model=MODEL).replies(text, chunks=3)
    assert (await ask()).text == text


@in_every_way
@pytest.mark.asyncio
@pytest.mark.parametrize("version", ["v1", "v1beta"])
async def test_both_versions_of_the_api_are_answered(mock_providers: MockProviders, ask: Ask, version: str) -> None:
    """The client asks v1 by itself, and others ask v1beta."""
    mock_providers.on(model=MODEL, provider="google").replies("text")
    assert (await ask(api_version=version)).text == "text"
    assert f"/{version}/models/{MODEL}:" in mock_providers.calls[0].url


@in_every_way
@pytest.mark.asyncio
async def test_the_usage_is_the_scripted_one(mock_providers: MockProviders, ask: Ask) -> None:
    """The prompt includes the cached tokens, the candidates exclude the thoughts."""
    mock_providers.on(model=MODEL).replies("text", usage=USAGE, chunks=3)
    assert (await ask()).usage == {"prompt": 5, "cached": 2, "candidates": 4, "thoughts": 1, "total": 10}


@in_every_way
@pytest.mark.asyncio
async def test_the_log_keeps_the_scripted_usage(mock_providers: MockProviders, ask: Ask) -> None:
    """What is logged and priced are the buckets of the script."""
    mock_providers.on(model=MODEL).replies("text", usage=USAGE, chunks=3)
    await ask()
    assert mock_providers.calls[0].usage == Usage(fresh_input=3, cache_read=2, output=4, reasoning=1)


@in_every_way
@pytest.mark.asyncio
async def test_the_model_is_the_scripted_one(mock_providers: MockProviders, ask: Ask) -> None:
    """The model that answers may have another name than the one asked for."""
    mock_providers.on(model=MODEL).replies("text", model="gemini-2.5-flash-002")
    assert (await ask()).model == "gemini-2.5-flash-002"


@in_every_way
@pytest.mark.asyncio
@pytest.mark.parametrize(("reason", "name"), [("stop", "STOP"), ("length", "MAX_TOKENS"), ("content_filter", "SAFETY")])
async def test_the_finish_reason_is_the_scripted_one(
    mock_providers: MockProviders, ask: Ask, reason: Any, name: str
) -> None:
    """Each reason has Google's name; an answer that was filtered half-way keeps its text."""
    mock_providers.on(model=MODEL).replies(Reply(text="some text", finish_reason=reason))
    seen = await ask()
    assert (seen.text, seen.finish_reason, seen.blocked) == ("some text", name, None)


@in_every_way
@pytest.mark.asyncio
async def test_a_filtered_reply_without_text_is_a_blocked_prompt(mock_providers: MockProviders, ask: Ask) -> None:
    """Nothing is raised: code that does not look reads None for a text."""
    mock_providers.on(model=MODEL).fails(faults.content_filter())
    seen = await ask()
    assert (seen.text, seen.finish_reason, seen.blocked) == (None, None, "SAFETY")
    assert mock_providers.calls[0].error == "content_filtered"


@in_every_way
@pytest.mark.asyncio
async def test_the_tool_calls_are_the_scripted_ones(mock_providers: MockProviders, ask: Ask) -> None:
    """Name, id and arguments of each call arrive, in their order; Google stops for tools as it stops for nothing."""
    mock_providers.on(model=MODEL).replies(Reply(text="", tool_calls=(WEATHER, CLOCK)))
    seen = await ask()
    assert (seen.tool_calls, seen.finish_reason) == ((WEATHER, CLOCK), "STOP")


@in_every_stream
@pytest.mark.asyncio
async def test_the_chunks_of_a_stream_are_the_scripted_pieces(mock_providers: MockProviders, ask: Ask) -> None:
    """One chunk a piece, and no marker after the last."""
    mock_providers.on(model=MODEL).replies("one two", chunks=["o", "ne t", "wo"])
    assert (await ask()).pieces == 3


REFUSALS = [
    (faults.rate_limit(retry_after=2), errors.ClientError, 429, "RESOURCE_EXHAUSTED"),
    (faults.quota_exhausted(), errors.ClientError, 429, "RESOURCE_EXHAUSTED"),
    (faults.overloaded(), errors.ServerError, 503, "UNAVAILABLE"),
    (faults.unavailable(), errors.ServerError, 503, "UNAVAILABLE"),
    (faults.server_error(), errors.ServerError, 500, "INTERNAL"),
    (faults.request_timeout(), errors.ServerError, 504, "DEADLINE_EXCEEDED"),
    (faults.model_not_found(), errors.ClientError, 404, "NOT_FOUND"),
    (faults.context_overflow(), errors.ClientError, 400, "INVALID_ARGUMENT"),
    (faults.authentication(), errors.ClientError, 400, "INVALID_ARGUMENT"),
    (faults.permission(), errors.ClientError, 403, "PERMISSION_DENIED"),
    (faults.bad_request(), errors.ClientError, 400, "INVALID_ARGUMENT"),
]


@in_every_way
@pytest.mark.asyncio
@pytest.mark.parametrize(("fault", "kind", "code", "status"), [pytest.param(*row, id=row[0].name) for row in REFUSALS])
async def test_a_refusal_is_the_clients_own_error(
    mock_providers: MockProviders, ask: Ask, fault: faults.Fault, kind: type[errors.APIError], code: int, status: str
) -> None:
    """Status and body make the client raise the class, code and status that they make it raise in life."""
    mock_providers.on(model=MODEL).fails(fault)
    with pytest.raises(errors.APIError) as raised:
        await ask()
    assert (type(raised.value), raised.value.code, raised.value.status) == (kind, code, status)
    assert mock_providers.calls[0].error == fault.kind


def _details(fault: faults.Fault, mock_providers: MockProviders) -> list[dict[str, Any]]:
    mock_providers.on(model=MODEL).fails(fault)
    with _client() as client, pytest.raises(errors.ClientError) as raised:
        client.models.generate_content(model=MODEL, contents="Hi")
    details: list[dict[str, Any]] = raised.value.details["error"]["details"]
    return details


def test_the_wait_of_a_rate_limit_is_in_the_details(mock_providers: MockProviders) -> None:
    """An application that waits as Google says reads it there."""
    assert [entry.get("retryDelay") for entry in _details(faults.rate_limit(retry_after=2.5), mock_providers)] == [
        None,
        "2.5s",
    ]


@pytest.mark.parametrize(
    ("fault", "period"), [(faults.rate_limit(), "PerMinute"), (faults.quota_exhausted(), "PerDay")]
)
def test_the_quota_tells_a_limit_by_the_day(mock_providers: MockProviders, fault: faults.Fault, period: str) -> None:
    """Code, status and class are those of any rate limit."""
    (failure,) = _details(fault, mock_providers)
    assert period in failure["violations"][0]["quotaId"]


def test_a_wrong_key_has_a_reason(mock_providers: MockProviders) -> None:
    """It is told from a wrong request by nothing else."""
    (info,) = _details(faults.authentication(), mock_providers)
    assert info["reason"] == "API_KEY_INVALID"


@in_every_way
@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.connect_error(), httpx2.ConnectError),
        (faults.connection_reset(), httpx2.ReadError),
        (faults.read_timeout(), httpx2.ReadTimeout),
        (faults.stream_cut(), httpx2.RemoteProtocolError),
        (faults.stream_stalled(), httpx2.ReadTimeout),
    ],
    ids=lambda value: getattr(value, "name", None),
)
async def test_errors_of_the_transport_come_through(
    mock_providers: MockProviders, ask: Ask, fault: faults.Fault, error: type[Exception]
) -> None:
    """The client wraps none of them: a fallback that catches its errors alone never fires."""
    mock_providers.on(model=MODEL).fails(fault)
    with pytest.raises(error):
        await ask(timeout=5000)
    assert mock_providers.calls[0].error == fault.kind


@in_every_way
@pytest.mark.asyncio
async def test_the_clients_own_timeout_is_waited_for(
    mock_providers: MockProviders, virtual_time: VirtualTime, ask: Ask
) -> None:
    """It is given in milliseconds, and passes at once."""
    mock_providers.on(model=MODEL).replies("too late", latency=60, ttft=50)
    with pytest.raises(httpx2.ReadTimeout):
        await ask(timeout=5000)
    assert virtual_time.now == 5.0


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (_ask, json.JSONDecodeError),
        (_ask_async, json.JSONDecodeError),
        (_ask_stream, errors.UnknownApiResponseError),
        (_ask_async_stream, errors.UnknownApiResponseError),
    ],
    ids=WAYS.keys(),
)
@pytest.mark.parametrize(
    "fault", [faults.malformed_body(), faults.html_page(), faults.stream_corrupted()], ids=lambda fault: fault.name
)
async def test_a_body_that_is_no_answer_is_an_error(
    mock_providers: MockProviders, ask: Ask, fault: faults.Fault, error: type[Exception]
) -> None:
    """A whole one and a stream raise different classes, none of them an APIError."""
    mock_providers.on(model=MODEL).fails(fault)
    with pytest.raises(error):
        await ask()


@in_every_stream
@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("kind", "error", "code"), [("overloaded", errors.ServerError, 503), ("rate_limited", errors.ClientError, 429)]
)
async def test_an_error_in_the_stream_is_the_clients_own(
    mock_providers: MockProviders, ask: Ask, kind: Any, error: type[errors.APIError], code: int
) -> None:
    """The frame carries the status that the response no longer can."""
    mock_providers.on(model=MODEL).fails(faults.stream_error(after=2, kind=kind))
    with pytest.raises(error) as raised:
        await ask()
    assert raised.value.code == code


@in_every_way
@pytest.mark.asyncio
async def test_a_reply_may_report_no_usage(mock_providers: MockProviders, ask: Ask) -> None:
    """The client has no metadata then."""
    mock_providers.on(model=MODEL).fails(faults.missing_usage("text"))
    seen = await ask()
    assert (seen.text, seen.usage) == ("text", None)


# What the client sends is what the log shows.


def test_a_request_is_logged_whole(mock_providers: MockProviders) -> None:
    """System prompt, parts, tools and parameters, from the mixture of spellings that the client sends."""
    image = types.Part.from_bytes(data=b"x", mime_type="image/png")
    weather = types.FunctionDeclaration(
        name="weather", description="The weather", parameters_json_schema={"type": "object"}
    )
    mock_providers.on(model=MODEL).replies("A dot.")
    with _client() as client:
        client.models.generate_content(
            model=MODEL,
            contents=[
                types.Content(role="user", parts=[types.Part(text="Hi")]),
                types.Content(role="model", parts=[types.Part(text="Hello")]),
                types.Content(role="user", parts=[types.Part(text="What is this?"), image]),
            ],
            config=types.GenerateContentConfig(
                system_instruction="Be brief.",
                temperature=0,
                max_output_tokens=9,
                stop_sequences=["END"],
                response_mime_type="application/json",
                tools=[types.Tool(function_declarations=[weather])],
            ),
        )
    request = mock_providers.calls[0].request
    (picture,) = [part for part in request.messages[-1].parts or () if "inlineData" in part]
    assert request.messages == (
        Message(role="system", text="Be brief."),
        Message(role="user", text="Hi"),
        Message(role="assistant", text="Hello"),
        Message(role="user", text="What is this?", parts=({"text": "What is this?"}, picture)),
    )
    assert request.tools == (Tool(name="weather", description="The weather", parameters={"type": "object"}),)
    assert request.params == {
        "temperature": 0,
        "max_tokens": 9,
        "stop": ["END"],
        "generationConfig": {"responseMimeType": "application/json"},
    }


def test_a_function_that_is_called_and_answered_is_logged(mock_providers: MockProviders) -> None:
    """The client calls functions by itself and asks again with what they gave."""

    def weather(city: str) -> str:
        """The weather."""
        return f"sunny in {city}"

    call = ToolCall(name="weather", arguments={"city": "Bern"})
    mock_providers.on(model=MODEL).replies([Reply(text="", tool_calls=(call,)), "It is sunny."])
    with _client() as client:
        answer = client.models.generate_content(
            model=MODEL, contents="Weather?", config=types.GenerateContentConfig(tools=[weather])
        )
    (answered,) = mock_providers.calls[1].messages[-1].parts or ()
    assert (answer.text, answered["functionResponse"]["response"]) == ("It is sunny.", {"result": "sunny in Bern"})


@in_every_way
@pytest.mark.asyncio
async def test_a_request_is_logged_with_its_stream_flag(mock_providers: MockProviders, ask: Ask) -> None:
    """Whether the client streams is seen in the path."""
    mock_providers.on(model=MODEL).replies("text")
    await ask()
    assert mock_providers.calls[0].stream is (ask in STREAMS.values())


def test_vertex_ai_is_the_same_provider(mock_providers: MockProviders) -> None:
    """Its paths and hosts differ; the format and the prices are Google's."""
    mock_providers.on(model=MODEL, provider="google").replies("text", usage={"fresh_input": 1000, "output": 100})
    with genai.Client(vertexai=True, api_key="k") as client:
        assert client.models.generate_content(model=MODEL, contents="Hi").text == "text"
    assert str(mock_providers.calls[0].cost_usd) == "0.00055"


# The router's own client


@pytest.fixture
def router_client() -> ModelClient:
    """The router's client, with one model of Google."""
    return ModelClient(Settings(models={"quick": ModelSettings(model=MODEL)}), keys={"google": "k"}, retries=0)


def test_the_router_finds_its_key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is the one that Google's documentation names, the header its own."""
    monkeypatch.setenv("GEMINI_API_KEY", "from-env")
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, json={"candidates": [{"content": {"parts": [{"text": "Hello"}]}}]})

    with httpx.Client(transport=httpx.MockTransport(answer)) as http:
        ModelClient(Settings(models={"quick": ModelSettings(model=MODEL)}), http=http).send(
            "quick", ModelRequest(prompt="Hi")
        )
    assert (str(sent[0].url), sent[0].headers["x-goog-api-key"]) == (
        f"https://generativelanguage.googleapis.com/v1beta/models/{MODEL}:generateContent",
        "from-env",
    )


def test_the_router_speaks_gemini(mock_providers: MockProviders, router_client: ModelClient) -> None:
    """A model that is named gemini- goes to Google, with what was asked of it in Google's words."""
    mock_providers.on(model=MODEL, provider="google").replies(Reply(text="sunny", tool_calls=(WEATHER,)), usage=USAGE)
    tool = Tool(name="weather", description="The weather", parameters={"type": "object"})
    request = ModelRequest(prompt="Hi", system="rules", tools=(tool,), params={"max_tokens": 7, "stop": ["END"]})
    answer = router_client.send("quick", request)
    sent = mock_providers.calls[0].request
    assert (answer.text, answer.tool_calls, answer.usage) == ("sunny", (WEATHER,), Usage(**USAGE))
    assert (sent.messages, sent.tools, sent.params) == (
        (Message(role="system", text="rules"), Message(role="user", text="Hi")),
        (tool,),
        {"max_tokens": 7, "stop": ["END"]},
    )
