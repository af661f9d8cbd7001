"""
The real boto3 client reads what the language writes, from a server on 127.0.0.1.

boto3 is built on urllib3 and cannot be answered in process.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3  # type: ignore[import-untyped]
import httpx
import pytest
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import ClientError  # type: ignore[import-untyped]

from pytest_modelroute import MockProviders, ModelSettings, Reply, Settings, ToolCall, Usage, faults
from pytest_modelroute.errors import ProviderError, SettingsError
from pytest_modelroute.providers.bedrock import BedrockConverse
from pytest_modelroute.providers.exchange import Message, ProviderReply, ProviderRequest, Tool
from pytest_modelroute.providers.failures import ErrorClass, Failure
from pytest_modelroute.router import ModelClient, ModelRequest

BEDROCK = BedrockConverse()
MODEL = "anthropic.claude-3-5-sonnet-20240620-v1:0"
ARN = "arn:aws:bedrock:eu-central-1:123456789012:inference-profile/eu.anthropic.claude-haiku-4-5-20251001-v1:0"
HI: list[dict[str, Any]] = [{"role": "user", "content": [{"text": "Hi"}]}]
WEATHER = ToolCall(name="weather", arguments={"city": "Zürich", "days": [1, 2]}, id="call_7")
CLOCK = ToolCall(name="clock", id="call_8")


@dataclass
class Server:
    """Answers every call alike, and keeps what was asked."""

    answer: ProviderReply | Failure = ProviderReply()  # noqa: RUF009 - it is frozen
    asked: list[ProviderRequest] = field(default_factory=list)

    def respond(self, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body."""
        self.asked.append(BEDROCK.read_request(body, path))
        if isinstance(self.answer, Failure):
            error = BEDROCK.write_error(self.answer)
            return error.status, dict(error.headers), error.body
        return 200, {}, BEDROCK.write_reply(self.asked[-1], self.answer)


@pytest.fixture(scope="module")
def _running() -> Iterator[tuple[Server, Any]]:
    answers = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["content-length"]))
            status, headers, body = answers.respond(self.path, sent)
            self.send_response(status)
            for name, value in {**headers, "content-type": "application/json", "content-length": len(body)}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in http.server
            """Keep the output of the tests clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True).start()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("AWS_BEARER_TOKEN_BEDROCK", raising=False)  # it would be sent over TLS alone
        client: Any = boto3.client(
            "bedrock-runtime",
            region_name="eu-central-1",
            endpoint_url=f"http://127.0.0.1:{server.server_port}",
            aws_access_key_id="id",
            aws_secret_access_key="secret",
            config=Config(retries={"total_max_attempts": 1}, proxies={}),
        )
        yield answers, client
    client.close()
    server.shutdown()
    server.server_close()


@pytest.fixture
def server(_running: tuple[Server, Any]) -> Server:
    """The server, which has answered nothing yet, and will with a plain text."""
    answers = _running[0]
    answers.answer = ProviderReply(text="text")
    answers.asked.clear()
    return answers


@pytest.fixture
def client(_running: tuple[Server, Any]) -> Any:
    """The client that asks it, without retries."""
    return _running[1]


@pytest.mark.parametrize("text", ["Good morning to you", "Zürich \u2028 \"x\"\r\n\n 'y' 🦦", "  padded  ", ""])
def test_the_text_is_the_written_one(server: Server, client: Any, text: str) -> None:
    """Every character arrives."""
    server.answer = ProviderReply(text=text)
    reply = client.converse(modelId=MODEL, messages=HI)
    assert reply["output"]["message"] == {"role": "assistant", "content": [{"text": text}]}


def test_the_usage_is_the_written_one(server: Server, client: Any) -> None:
    """The input excludes both cache buckets, the output includes reasoning."""
    usage = Usage(fresh_input=3, cache_read=2, cache_write=1, output=4, reasoning=1)
    server.answer = ProviderReply(text="text", usage=usage)
    assert client.converse(modelId=MODEL, messages=HI)["usage"] == {
        "inputTokens": 3,
        "outputTokens": 5,
        "totalTokens": 8,
        "cacheReadInputTokens": 2,
        "cacheWriteInputTokens": 1,
    }


@pytest.mark.parametrize(
    ("reason", "said"), [("stop", "end_turn"), ("length", "max_tokens"), ("content_filter", "content_filtered")]
)
def test_the_stop_reason_is_the_written_one(server: Server, client: Any, reason: Any, said: str) -> None:
    """Each reason has Amazon's name."""
    server.answer = ProviderReply(text="text", finish_reason=reason)
    assert client.converse(modelId=MODEL, messages=HI)["stopReason"] == said


def test_the_tool_calls_are_the_written_ones(server: Server, client: Any) -> None:
    """Name, id and arguments of each call arrive, in their order."""
    server.answer = ProviderReply(tool_calls=(WEATHER, CLOCK))
    reply = client.converse(modelId=MODEL, messages=HI)
    calls = [block["toolUse"] for block in reply["output"]["message"]["content"]]
    assert (calls, reply["stopReason"]) == (
        [
            {"toolUseId": "call_7", "name": "weather", "input": {"city": "Zürich", "days": [1, 2]}},
            {"toolUseId": "call_8", "name": "clock", "input": {}},
        ],
        "tool_use",
    )


@pytest.mark.parametrize(
    ("kind", "name", "status"),
    [
        ("rate_limited", "ThrottlingException", 429),
        ("quota_exhausted", "ThrottlingException", 429),
        ("overloaded", "ServiceUnavailableException", 503),
        ("unavailable", "ServiceUnavailableException", 503),
        ("server_error", "InternalServerException", 500),
        ("timeout", "ModelTimeoutException", 408),
        ("not_found", "ResourceNotFoundException", 404),
        ("context_overflow", "ValidationException", 400),
        ("permission", "AccessDeniedException", 403),
        ("bad_request", "ValidationException", 400),
    ],
)
def test_an_error_is_the_clients_own(server: Server, client: Any, kind: ErrorClass, name: str, status: int) -> None:
    """Status and header make the client raise the class that it raises in life."""
    server.answer = Failure(kind=kind, message="So it is")
    with pytest.raises(ClientError) as raised:
        client.converse(modelId=MODEL, messages=HI)
    assert type(raised.value) is getattr(client.exceptions, name)
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert raised.value.response["Error"]["Message"].endswith("So it is")


def test_a_wrong_key_is_an_error_without_a_class(server: Server, client: Any) -> None:
    """The service does not declare it, so that only its code tells it."""
    server.answer = Failure(kind="authentication", message="So it is")
    with pytest.raises(ClientError) as raised:
        client.converse(modelId=MODEL, messages=HI)
    assert (type(raised.value), raised.value.response["Error"]["Code"]) == (ClientError, "UnrecognizedClientException")


@pytest.mark.parametrize("model", [MODEL, ARN, "eu.anthropic.claude-haiku-5-5"])
def test_the_model_is_read_from_the_path(server: Server, client: Any, model: str) -> None:
    """The client encodes the colons and slashes of it."""
    client.converse(modelId=model, messages=HI)
    assert server.asked[0].model == model


def test_a_request_is_read_whole(server: Server, client: Any) -> None:
    """System prompt, blocks, tools and parameters, as the client sends them."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    spec = {"name": "weather", "description": "The weather", "inputSchema": {"json": schema}}
    client.converse(
        modelId=MODEL,
        messages=[
            *HI,
            {"role": "assistant", "content": [{"text": "Hello"}]},
            {
                "role": "user",
                "content": [{"text": "And this?"}, {"image": {"format": "png", "source": {"bytes": b"x"}}}],
            },
        ],
        system=[{"text": "Be brief."}],
        inferenceConfig={"maxTokens": 9, "temperature": 0.5, "topP": 0.25, "stopSequences": ["END"]},
        toolConfig={"tools": [{"toolSpec": spec}], "toolChoice": {"auto": {}}},
        additionalModelRequestFields={"top_k": 5},
    )
    (request,) = server.asked
    image = {"image": {"format": "png", "source": {"bytes": "eA=="}}}
    assert request.messages == (
        Message(role="system", text="Be brief."),
        Message(role="user", text="Hi"),
        Message(role="assistant", text="Hello"),
        Message(role="user", text="And this?", parts=({"text": "And this?"}, image)),
    )
    assert request.tools == (Tool(name="weather", description="The weather", parameters=schema),)
    assert request.params == {
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.25,
        "stop": ["END"],
        "toolConfig": {"toolChoice": {"auto": {}}},
        "additionalModelRequestFields": {"top_k": 5},
    }


# The router's own client, which is answered in process


@pytest.fixture
def router_client() -> ModelClient:
    """The router's client, with one model of Bedrock, whose address has a region."""
    url = "https://bedrock-runtime.eu-central-1.amazonaws.com"
    model = ModelSettings(model=MODEL, provider="aws", base_url=url)
    return ModelClient(Settings(models={"quick": model}), keys={"aws": "k"}, retries=0)


def test_the_router_speaks_converse(mock_providers: MockProviders, router_client: ModelClient) -> None:
    """What is asked of it is said in Amazon's words, and its answer is priced as Bedrock's."""
    usage = {"fresh_input": 1000, "output": 100}
    mock_providers.on(model=MODEL, provider="aws").replies(Reply(text="sunny", tool_calls=(WEATHER,)), usage=usage)
    request = ModelRequest(prompt="Hi", system="rules", params={"max_tokens": 7, "stop": ["END"]})
    answer = router_client.send("quick", request)
    (call,) = mock_providers.calls
    assert (answer.text, answer.tool_calls, str(call.cost_usd)) == ("sunny", (WEATHER,), "0.0045")
    assert (call.messages, call.params) == (
        (Message(role="system", text="rules"), Message(role="user", text="Hi")),
        {"max_tokens": 7, "stop": ["END"]},
    )


def test_the_router_finds_its_key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is the one that Amazon's own clients read; the model is encoded in the path."""
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "from-env")
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, json={"output": {"message": {"content": [{"text": "Hello"}]}}})

    model = ModelSettings(model=MODEL, provider="aws", base_url="https://bedrock.example")
    with httpx.Client(transport=httpx.MockTransport(answer)) as http:
        ModelClient(Settings(models={"quick": model}), http=http).send("quick", ModelRequest(prompt="Hi"))
    assert (str(sent[0].url), sent[0].headers["authorization"]) == (
        f"https://bedrock.example/model/{MODEL.replace(':', '%3A')}/converse",
        "Bearer from-env",
    )


def test_a_model_of_bedrock_needs_an_address() -> None:
    """Each region has its own host, and none of them is a good guess."""
    client = ModelClient(Settings(models={"quick": ModelSettings(model=MODEL, provider="aws")}), keys={"aws": "k"})
    with pytest.raises(SettingsError) as error:
        client.send("quick", ModelRequest(prompt="Hi"))
    assert str(error.value) == "models.quick: the address of provider 'aws' is not known; give it a base_url"


def test_a_refusal_reaches_the_routers_client(mock_providers: MockProviders, router_client: ModelClient) -> None:
    """The provider is scripted like any other, over plain HTTP."""
    mock_providers.on(model=MODEL).fails(faults.rate_limit())
    with pytest.raises(ProviderError) as raised:
        router_client.send("quick", ModelRequest(prompt="Hi"))
    assert raised.value.status == 429
    assert mock_providers.calls[0].error == "rate_limited"
