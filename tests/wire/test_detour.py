"""A call on its detour: the target's words reach the client in its own language, and errors as errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import anthropic
import httpx
import openai
import pytest

from pytest_modelroute.errors import UnrecordedCall
from pytest_modelroute.testrun import TestRun
from pytest_modelroute.wire.call_log import ProviderCall
from pytest_modelroute.wire.case_run import CaseRun, Heard
from pytest_modelroute.wire.detour import Detour
from pytest_modelroute.wire.labels import Label, labelled
from pytest_modelroute.wire.recorded import Sent
from pytest_modelroute.wire.redirection import Target

Serve = Callable[[Callable[[BaseHTTPRequestHandler], None]], str]
HELLO: Any = [{"role": "user", "content": "hi"}]
SAID: dict[str, Any] = {
    "id": "m",
    "type": "message",
    "role": "assistant",
    "model": "claude-haiku-4-5-20251001",
    "content": [{"type": "text", "text": "hello"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 10, "output_tokens": 2},
}


def responding(status: int, body: dict[str, Any] | bytes, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """A provider that says one thing."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(data)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)

    return respond


class OnDetour:
    """A run of a case whose calls go to a model of Anthropic."""

    def __init__(self, run: TestRun, base_url: str, **options: Any) -> None:
        """Nothing was sent yet."""
        self.run = run
        self.calls: list[ProviderCall] = []
        there = Target(model="claude-haiku-4-5", provider="anthropic", base_url=base_url, key="k")
        self.detour = Detour(there, **options)
        case_run = CaseRun(heard=Heard(), detour=self.detour, apart=True)
        self.label = Label(step="s", case="c", calls=self.calls, run=case_run)

    def ask(self, model: str = "gpt-4.1", *, messages: Any = HELLO) -> Any:
        """Ask OpenAI."""
        with self.run.listening(), labelled(self.label), openai.OpenAI(api_key="key", max_retries=0) as client:
            return client.chat.completions.create(model=model, messages=messages)


@pytest.fixture
def on_detour(new_run: Callable[[], TestRun], serve: Serve) -> Callable[..., OnDetour]:
    """Start a provider and a run that is sent there."""

    def make(
        status: int, body: dict[str, Any] | bytes, *, headers: dict[str, str] | None = None, **options: Any
    ) -> OnDetour:
        return OnDetour(new_run(), serve(responding(status, body, **(headers or {}))), **options)

    return make


def test_the_client_reads_what_the_target_says(on_detour: Callable[..., OnDetour]) -> None:
    """Text, model, usage and reason."""
    reply = on_detour(200, SAID).ask()
    assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == ("hello", "stop")
    assert (reply.model, reply.usage.prompt_tokens, reply.usage.completion_tokens) == (SAID["model"], 10, 2)


def test_the_call_of_the_target_is_logged_with_the_case_and_not_with_the_test(
    on_detour: Callable[..., OnDetour],
) -> None:
    """The test did not ask for it."""
    there = on_detour(200, SAID)
    there.ask()
    assert [(call.model, call.step, call.case, call.provider) for call in there.calls] == [
        ("claude-haiku-4-5", "s", "c", "anthropic")
    ]
    assert len(there.run.wire.calls) == 0


def test_calls_of_tools_are_told(on_detour: Callable[..., OnDetour]) -> None:
    """With their arguments."""
    block = {"type": "tool_use", "id": "t1", "name": "track", "input": {"parcel": 7}}
    reply = on_detour(200, {**SAID, "content": [block], "stop_reason": "tool_use"}).ask()
    (call,) = reply.choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("track", {"parcel": 7})


def test_an_answer_without_usage_is_told_without(on_detour: Callable[..., OnDetour]) -> None:
    """None is made up."""
    reply = on_detour(200, {name: value for name, value in SAID.items() if name != "usage"}).ask()
    assert reply.usage is None


@pytest.mark.parametrize(
    ("status", "body", "kind", "expected"),
    [
        (
            429,
            {"type": "error", "error": {"type": "rate_limit_error", "message": "slow"}},
            "rate_limited",
            openai.RateLimitError,
        ),
        (
            404,
            {"type": "error", "error": {"type": "not_found_error", "message": "slow"}},
            "not_found",
            openai.NotFoundError,
        ),
        (500, b"<html>", "server_error", openai.InternalServerError),
        (200, b"<html>", "malformed", openai.BadRequestError),
    ],
)
def test_errors_of_the_target_are_errors_of_the_clients_provider(
    on_detour: Callable[..., OnDetour], status: int, body: Any, kind: str, expected: type[Exception]
) -> None:
    """In its class, and in the client's own exception; the log has what the target said."""
    there = on_detour(status, body)
    with pytest.raises(expected):
        there.ask()
    assert [call.error for call in there.calls] == [kind]


def test_how_long_to_wait_reaches_the_client(on_detour: Callable[..., OnDetour]) -> None:
    """A client that retries must not hammer the target."""
    body = {"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}}
    with pytest.raises(openai.RateLimitError, match="slow down") as caught:
        on_detour(429, body, headers={"retry-after": "7"}).ask()
    assert caught.value.response.headers["retry-after"] == "7"


def test_what_cannot_be_told_is_refused_and_not_sent(on_detour: Callable[..., OnDetour]) -> None:
    """The client gets a refusal in its own language, the detour keeps why."""
    there = on_detour(200, SAID)
    tool: Any = [*HELLO, {"role": "tool", "tool_call_id": "1", "content": "42"}]
    with pytest.raises(openai.BadRequestError, match="a conversation with calls of tools cannot be told"):
        there.ask(messages=tool)
    assert (there.calls, there.detour.refused is None) == ([], False)


def test_a_model_that_cannot_be_reached_is_an_error_of_the_connection(new_run: Callable[[], TestRun]) -> None:
    """Raised in the client's library, as in life."""
    there = OnDetour(new_run(), "http://127.0.0.1:9")
    with pytest.raises(openai.APIConnectionError):
        there.ask()
    assert [call.error for call in there.calls] == ["connection"]


def test_helpers_go_where_they_go(on_detour: Callable[..., OnDetour]) -> None:
    """The call of a helper is not redirected; here scripts answer, as they would in a test that has some."""
    there = on_detour(200, SAID, helpers=frozenset({"judge"}))
    with there.run.listening(), there.run.virtual_time(), there.run.scripted() as scripts:
        scripts.on(model="judge").replies("LOW")
        scripts.on(model="claude-haiku-4-5").replies("hello")
        with labelled(there.label), openai.OpenAI(api_key="key", max_retries=0) as client:
            said = [client.chat.completions.create(model=model, messages=HELLO) for model in ("judge", "gpt-4.1")]
    assert [reply.choices[0].message.content for reply in said] == ["LOW", "hello"]


def test_an_escalation_hears_what_the_first_rung_heard(on_detour: Callable[..., OnDetour]) -> None:
    """One call to the target; a repetition to the same model is a new one."""
    there = on_detour(200, SAID)
    for model in ("gpt-small", "gpt-large", "gpt-small"):
        there.ask(model)
    assert len(there.calls) == 2


def test_a_call_that_cannot_be_sent_elsewhere_is_refused(new_run: Callable[[], TestRun]) -> None:
    """Else it would be billed, and told as the answer of another model; it fails the test, whatever is made of it."""
    there = OnDetour(new_run(), "http://127.0.0.1:9")
    body = json.dumps({"model": "gpt-4.1", "messages": HELLO}).encode()
    with (
        labelled(there.label),
        pytest.raises(UnrecordedCall, match="was sent by aiohttp: --modelroute-record-all-tiers"),
    ):
        there.run.wire.open(
            Sent(
                method="POST",
                url="https://api.openai.com/v1/chat/completions",
                host="api.openai.com",
                path="/v1/chat/completions",
                read_body=lambda: body,
                client="aiohttp",
            )
        )
    assert "sends the calls of httpx and httpx2 to other models" in there.run.wire.failures()[0]


def test_requests_that_are_no_calls_of_models_go_on(on_detour: Callable[..., OnDetour], serve: Serve) -> None:
    """A shop's own service has nothing to do with it."""
    there, url = on_detour(200, SAID), serve(responding(200, {"stock": 3}))
    with there.run.listening(), labelled(there.label), httpx.Client() as client:
        assert client.post(f"{url}/stock", json={}).json() == {"stock": 3}


async def _aask(there: OnDetour) -> Any:
    with there.run.listening(), labelled(there.label):
        async with anthropic.AsyncAnthropic(api_key="key", max_retries=0) as client:
            return await client.messages.create(model="claude-opus", max_tokens=5, messages=HELLO)


@pytest.mark.asyncio
async def test_what_needs_no_translation_is_passed_on_as_it_came(on_detour: Callable[..., OnDetour]) -> None:
    """Anthropic to Anthropic, async: what a translation would lose is there."""
    reply = await _aask(on_detour(200, {**SAID, "id": "msg_of_the_target"}))
    assert (reply.id, reply.model) == ("msg_of_the_target", SAID["model"])


@pytest.mark.asyncio
async def test_async_clients_get_the_refusal_too(on_detour: Callable[..., OnDetour]) -> None:
    """Without a call."""
    there = on_detour(200, SAID)
    tool: Any = [*HELLO, {"role": "tool", "tool_call_id": "1", "content": "42"}]
    with there.run.listening(), labelled(there.label):
        async with openai.AsyncOpenAI(api_key="key", max_retries=0) as client:
            with pytest.raises(openai.BadRequestError, match="cannot be told in anthropic-messages by openai-chat"):
                await client.chat.completions.create(model="gpt-4.1", messages=tool)
    assert there.calls == []


def test_embeddings_go_where_they_go(on_detour: Callable[..., OnDetour]) -> None:
    """They are no answer."""
    there = on_detour(200, SAID)
    with there.run.listening(), there.run.virtual_time(), there.run.scripted() as scripts:
        scripts.on(model="text-embedding-3-small").replies("")
        with labelled(there.label), openai.OpenAI(api_key="key", max_retries=0) as client:
            client.embeddings.create(model="text-embedding-3-small", input="hi")
    assert [call.model for call in there.calls] == ["text-embedding-3-small"]


def test_what_a_filter_held_back_is_refused_in_a_language_without_a_form_for_it(
    on_detour: Callable[..., OnDetour],
) -> None:
    """Ollama has none; in the log it is what it was."""
    there = on_detour(200, {**SAID, "content": [], "stop_reason": "refusal"})
    body = {"model": "llama3", "messages": HELLO, "stream": False}
    with there.run.listening(), labelled(there.label), httpx.Client() as client:
        assert client.post("http://127.0.0.1:11434/api/chat", json=body).status_code == 400
    assert [call.error for call in there.calls] == ["content_filtered"]
