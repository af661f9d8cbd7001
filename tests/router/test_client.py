"""The router's client speaks both formats, sync and async, with the right key at the right address."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from pytest_modelroute import MockProviders, ModelSettings, Reply, Settings, ToolCall, Usage, faults
from pytest_modelroute.errors import ProviderError, SettingsError
from pytest_modelroute.providers.exchange import Message, Tool
from pytest_modelroute.router import ModelClient, ModelRequest, ModelResponse

if TYPE_CHECKING:
    from collections.abc import Callable

HI = ModelRequest(prompt="Hi")
both_formats = pytest.mark.parametrize(
    ("alias", "model"), [("quick", "gpt-quick"), ("deep", "claude-deep")], ids=["openai", "anthropic"]
)
TIERS = {"quick": "small", "deep": "large"}
USAGE = Usage(fresh_input=3, cache_read=2, cache_write=1, output=4)
CALL = ToolCall(name="weather", arguments={"city": "Zürich"}, id="call_7")


def _answer(model: str, tier: str) -> ModelResponse:
    return ModelResponse(
        text="Hello",
        model=model,
        model_answered=f"{model}-2025",
        usage=USAGE,
        finish_reason="tool_calls",
        tool_calls=(CALL,),
        elapsed_s=0.0,
        attempts=1,
        tier=tier,
    )


def _script(providers: MockProviders, model: str) -> None:
    reply = Reply(text="Hello", finish_reason="tool_calls", tool_calls=(CALL,))
    providers.on(model=model).replies(reply, usage=USAGE, model=f"{model}-2025")


@both_formats
def test_an_answer_is_read_whole(mock_providers: MockProviders, client: ModelClient, alias: str, model: str) -> None:
    """Text, both models, usage, finish reason and tool calls are those of the reply."""
    _script(mock_providers, model)
    assert client.send(alias, HI) == _answer(model, TIERS[alias])


@both_formats
@pytest.mark.asyncio
async def test_an_answer_is_read_whole_in_async_code(
    mock_providers: MockProviders, client: ModelClient, alias: str, model: str
) -> None:
    """Async code gets what sync code gets."""
    _script(mock_providers, model)
    answer = await client.asend(alias, HI)
    await client.aclose()
    assert answer == _answer(model, TIERS[alias])


@both_formats
def test_a_request_is_sent_whole(mock_providers: MockProviders, client: ModelClient, alias: str, model: str) -> None:
    """System prompt, prompt, tools and parameters of the request reach the provider."""
    mock_providers.on(model=model).replies("Hello")
    tool = Tool(name="t", description="d", parameters={"type": "object"})
    client.send(alias, ModelRequest(prompt="Hi", system="rules", tools=(tool,), params={"max_tokens": 7}))
    sent = mock_providers.calls[0].request
    assert (sent.messages, sent.tools, sent.params, sent.stream) == (
        (Message(role="system", text="rules"), Message(role="user", text="Hi")),
        (tool,),
        {"max_tokens": 7},
        False,
    )


def test_an_answer_without_model_and_usage_names_the_one_asked(played: Callable[..., ModelClient]) -> None:
    """What a reply leaves out is not made up: the model is the one asked for, and the usage is unknown."""
    client = played(httpx.Response(200, json={"choices": [{"message": {"content": "Hello"}}]}))
    answer = client.send("quick", HI)
    assert (answer.model_answered, answer.usage) == ("gpt-quick", None)


# Addresses and keys


def _sent(settings: Settings, alias: str, keys: dict[str, str] | None) -> httpx.Request:
    requests: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        hello: dict[str, Any] = {
            "choices": [{"message": {"content": "Hello"}}],
            "content": [],
            "message": {"role": "a"},
        }
        return httpx.Response(200, json=hello)

    with httpx.Client(transport=httpx.MockTransport(handler)) as http:
        ModelClient(settings, http=http, keys=keys).send(alias, HI)
    return requests[0]


@pytest.mark.parametrize(
    ("model", "url"),
    [
        (ModelSettings(model="gpt-quick"), "https://api.openai.com/v1/chat/completions"),
        (ModelSettings(model="claude-deep"), "https://api.anthropic.com/v1/messages"),
        (ModelSettings(model="llama", provider="groq"), "https://api.groq.com/openai/v1/chat/completions"),
        (
            ModelSettings(model="llama", provider="home", base_url="http://localhost:8000/v1"),
            "http://localhost:8000/v1/chat/completions",
        ),
        (
            ModelSettings(model="llama", provider="home", base_url="http://localhost:8000/v1/"),
            "http://localhost:8000/v1/chat/completions",
        ),
        (ModelSettings(model="claude-deep", base_url="https://proxy.example"), "https://proxy.example/v1/messages"),
    ],
)
def test_a_model_is_asked_at_its_address(model: ModelSettings, url: str) -> None:
    """A base_url wins over the provider's own address, with or without a slash at its end."""
    keys = dict.fromkeys(("openai", "anthropic", "groq", "home"), "k")
    assert str(_sent(Settings(models={"it": model}), "it", keys).url) == url


@pytest.mark.parametrize(
    ("alias", "header", "value"), [("quick", "authorization", "Bearer sk-o"), ("deep", "x-api-key", "sk-a")]
)
def test_a_provider_is_sent_its_own_key(settings: Settings, alias: str, header: str, value: str) -> None:
    """Keys that are given are used, each for its provider."""
    assert _sent(settings, alias, {"openai": "sk-o", "anthropic": "sk-a"}).headers[header] == value


@pytest.mark.parametrize(
    ("provider", "variable"), [("openai", "OPENAI_API_KEY"), ("x-ai", "XAI_API_KEY"), ("groq", "GROQ_API_KEY")]
)
def test_a_key_is_found_in_the_environment(monkeypatch: pytest.MonkeyPatch, provider: str, variable: str) -> None:
    """Where no keys are given, the provider's variable has it."""
    monkeypatch.setenv(variable, "from-env")
    settings = Settings(models={"it": ModelSettings(model="m", provider=provider)})
    assert _sent(settings, "it", None).headers["authorization"] == "Bearer from-env"


@pytest.mark.parametrize("value", [None, ""], ids=["unset", "empty"])
def test_a_key_that_the_environment_lacks_is_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    """The message says which variable to set."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("OPENAI_API_KEY", value)
    with pytest.raises(SettingsError) as error:
        ModelClient(settings).send("quick", HI)
    assert str(error.value) == "there is no key for provider 'openai': set OPENAI_API_KEY"


def test_a_model_on_this_machine_needs_no_key(settings: Settings) -> None:
    """Ollama takes any."""
    local = Settings(models={"it": ModelSettings(model="llama", provider="ollama")})
    assert _sent(local, "it", {}).headers["authorization"] == "Bearer none"
    assert _sent(local, "it", {"ollama": "k"}).headers["authorization"] == "Bearer k"


def test_given_keys_do_not_mix_with_the_environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key left out of `keys` is not taken from elsewhere."""
    monkeypatch.setenv("OPENAI_API_KEY", "from-env")
    with pytest.raises(SettingsError) as error:
        ModelClient(settings, keys={"anthropic": "k"}).send("quick", HI)
    assert str(error.value) == "there is no key for provider 'openai': keys has none for 'openai'"


def test_an_unknown_alias_shows_those_that_are_known(client: ModelClient) -> None:
    """The message lists the aliases."""
    with pytest.raises(SettingsError) as error:
        client.send("qiuck", HI)
    assert str(error.value) == (
        "there is no model 'qiuck' in the settings; known are: judge, quick, spare, solid, deep"
    )


def test_an_alias_without_any_models_says_so() -> None:
    """Empty settings are named as such."""
    with pytest.raises(SettingsError, match=r"^there is no model 'quick' in the settings; known are: none$"):
        ModelClient(Settings()).send("quick", HI)


def test_a_provider_without_a_known_address_needs_a_base_url() -> None:
    """The message names the model and the key to set."""
    settings = Settings(models={"it": ModelSettings(model="llama", provider="home")})
    with pytest.raises(SettingsError) as error:
        ModelClient(settings, keys={"home": "k"}).send("it", HI)
    assert str(error.value) == "models.it: the address of provider 'home' is not known; give it a base_url"


# Errors


def test_a_malformed_answer_is_an_error_of_the_provider(mock_providers: MockProviders, client: ModelClient) -> None:
    """A 200 with a broken body says what came, and is not asked for again."""
    mock_providers.on(model="gpt-quick").fails(faults.malformed_body(b"<html>"), times=1)
    with pytest.raises(ProviderError) as error:
        client.send("quick", HI)
    assert (str(error.value), error.value.status, error.value.code) == (
        (
            "gpt-quick answered, but an OpenAI chat completion reply is not JSON "
            "(Expecting value: line 1 column 1 (char 0)): '<html>'"
        ),
        200,
        "malformed",
    )


def test_an_error_has_the_words_of_the_provider(mock_providers: MockProviders, client: ModelClient) -> None:
    """Message, status, code and model are those of the answer."""
    mock_providers.on(model="claude-deep").fails(faults.authentication())
    with pytest.raises(ProviderError) as error:
        client.send("deep", HI)
    assert (str(error.value), error.value.status, error.value.code, error.value.model) == (
        "claude-deep answered 401 (authentication_error): Invalid API key",
        401,
        "authentication_error",
        "claude-deep",
    )


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (httpx.Response(404, text="<html>nginx</html>"), "gpt-quick answered 404 (no code): '<html>nginx</html>'"),
        (httpx.Response(307, headers={"location": "/x"}), "gpt-quick answered 307 (no code): ''"),
    ],
    ids=["error page", "redirect"],
)
def test_an_answer_of_somebody_else_is_shown(
    played: Callable[..., ModelClient], response: httpx.Response, message: str
) -> None:
    """The page of a proxy, or a redirect, is shown as it came."""
    with pytest.raises(ProviderError) as error:
        played(response).send("quick", HI)
    assert str(error.value) == message


def test_an_error_in_a_shape_of_its_own_is_shown(played: Callable[..., ModelClient]) -> None:
    """JSON without an error object is no reason for an empty message."""
    with pytest.raises(ProviderError, match="Not Found"):
        played(httpx.Response(404, json={"detail": "Not Found"})).send("quick", HI)


def test_a_body_that_cannot_be_decoded_is_an_error_of_the_provider(played: Callable[..., ModelClient]) -> None:
    """A broken compression is caught like every other failure of the exchange."""
    broken = httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"not gzip"))
    with pytest.raises(ProviderError, match=r"^gpt-quick gave no answer \(DecodingError: ") as error:
        played(broken, retries=0).send("quick", HI)
    assert (error.value.status, error.value.code) == (None, "malformed")


# Clients of its own, and clients given


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[httpx.Client | httpx.AsyncClient]:
    """The clients that are made from now on."""
    made: list[httpx.Client | httpx.AsyncClient] = []

    def noting(kind: type[Any]) -> Callable[[], Any]:
        def make() -> Any:
            made.append(kind())
            return made[-1]

        return make

    monkeypatch.setattr(httpx, "Client", noting(httpx.Client))
    monkeypatch.setattr(httpx, "AsyncClient", noting(httpx.AsyncClient))
    return made


def test_no_connection_is_opened_before_the_first_request(
    settings: Settings, opened: list[httpx.Client | httpx.AsyncClient]
) -> None:
    """Making a client costs nothing."""
    ModelClient(settings, keys={})
    assert opened == []


def test_one_connection_pool_serves_all_requests(
    mock_providers: MockProviders, client: ModelClient, opened: list[httpx.Client | httpx.AsyncClient]
) -> None:
    """Connections are kept between requests."""
    mock_providers.on(model="gpt-quick").replies("Hello")
    client.send("quick", HI)
    client.send("quick", HI)
    assert len(opened) == 1


def test_close_closes_the_client_made_here(
    mock_providers: MockProviders, client: ModelClient, opened: list[httpx.Client | httpx.AsyncClient]
) -> None:
    """No connection stays open."""
    mock_providers.on(model="gpt-quick").replies("Hello")
    client.send("quick", HI)
    client.close()
    assert [http.is_closed for http in opened] == [True]


@pytest.mark.asyncio
async def test_aclose_closes_the_async_client_made_here(
    mock_providers: MockProviders, client: ModelClient, opened: list[httpx.Client | httpx.AsyncClient]
) -> None:
    """No connection stays open."""
    mock_providers.on(model="gpt-quick").replies("Hello")
    await client.asend("quick", HI)
    await client.aclose()
    assert [http.is_closed for http in opened] == [True]


@pytest.mark.asyncio
async def test_one_async_connection_pool_serves_all_requests(
    mock_providers: MockProviders, client: ModelClient, opened: list[httpx.Client | httpx.AsyncClient]
) -> None:
    """Connections are kept between requests."""
    mock_providers.on(model="gpt-quick").replies("Hello")
    await client.asend("quick", HI)
    await client.asend("quick", HI)
    await client.aclose()
    assert len(opened) == 1


def test_a_client_that_was_closed_can_be_used_again(mock_providers: MockProviders, client: ModelClient) -> None:
    """The next request opens a connection anew."""
    mock_providers.on(model="gpt-quick").replies("Hello")
    client.send("quick", HI)
    client.close()
    assert client.send("quick", HI).text == "Hello"


def test_a_client_that_was_given_stays_open(mock_providers: MockProviders, settings: Settings) -> None:
    """Who made a client closes it."""
    mock_providers.on(model="gpt-quick").replies("Hello")
    with httpx.Client() as http:
        client = ModelClient(settings, http=http, keys={"openai": "k"})
        client.send("quick", HI)
        client.close()
        assert not http.is_closed


@pytest.mark.asyncio
async def test_an_async_client_that_was_given_stays_open(mock_providers: MockProviders, settings: Settings) -> None:
    """Who made a client closes it."""
    mock_providers.on(model="gpt-quick").replies("Hello")
    async with httpx.AsyncClient() as http:
        client = ModelClient(settings, async_http=http, keys={"openai": "k"})
        await client.asend("quick", HI)
        await client.aclose()
        assert not http.is_closed


def test_the_body_is_what_the_format_says(settings: Settings) -> None:
    """Nothing beyond the request is sent."""
    body = json.loads(_sent(settings, "quick", {"openai": "k"}).content)
    assert body == {"model": "gpt-quick", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout": -1}, r"^ModelClient.timeout is a number of seconds above 0, not -1$"),
        ({"timeout": float("nan")}, r"^ModelClient.timeout is a number of seconds above 0, not nan$"),
        ({"retries": -1}, r"^ModelClient.retries is a number of attempts, 0 or more, not -1$"),
        ({"retries": 1.5}, r"^ModelClient.retries is a number of attempts, 0 or more, not 1.5$"),
    ],
)
def test_an_impossible_patience_is_refused(options: dict[str, Any], message: str) -> None:
    """When the client is made."""
    with pytest.raises(ValueError, match=message):
        ModelClient(Settings(), **options)
