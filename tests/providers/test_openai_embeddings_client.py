"""The real openai client reads scripted embeddings, in each of the ways it can be used."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, TypeAlias, cast

import httpx
import openai
import pytest

from pytest_modelroute import MockProviders, Reply, faults
from pytest_modelroute.errors import ScriptRaised
from pytest_modelroute.providers.exchange import Message, Usage
from pytest_modelroute.testrun import TestRun

Ask: TypeAlias = Callable[..., Awaitable[Any]]
TEXTS = ["the parcel is late", "the parcel is late today", "reset my password"]


async def _ask(**params: Any) -> Any:
    with openai.OpenAI(api_key="k", max_retries=0) as client:
        return client.embeddings.create(**{"model": "m", "input": TEXTS, **params})


async def _ask_async(**params: Any) -> Any:
    async with openai.AsyncOpenAI(api_key="k", max_retries=0) as client:
        return await client.embeddings.create(**{"model": "m", "input": TEXTS, **params})


async def _ask_with_the_older_httpx(**params: Any) -> Any:
    with httpx.Client() as http, openai.OpenAI(api_key="k", max_retries=0, http_client=cast("Any", http)) as client:
        return client.embeddings.create(**{"model": "m", "input": TEXTS, **params})


WAYS: dict[str, Ask] = {"sync": _ask, "async": _ask_async, "httpx": _ask_with_the_older_httpx}
in_every_way = pytest.mark.parametrize("ask", WAYS.values(), ids=WAYS.keys())
# The client asks for base64 by itself, and decodes it.
in_every_encoding = pytest.mark.parametrize("params", [{}, {"encoding_format": "float"}], ids=["base64", "float"])


def _vectors(response: Any) -> list[list[float]]:
    return [entry.embedding for entry in response.data]


def _nearness(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


@in_every_way
@in_every_encoding
@pytest.mark.asyncio
async def test_the_vectors_are_the_scripted_ones(
    mock_providers: MockProviders, ask: Ask, params: dict[str, Any]
) -> None:
    """One for each input, in their order, in whichever encoding."""
    vectors = ((0.5, -0.25), (1.0, 0.0), (0.0, 1.0))
    mock_providers.on(model="m").replies(Reply(vectors=vectors))
    assert _vectors(await ask(**params)) == [list(vector) for vector in vectors]


@in_every_way
@in_every_encoding
@pytest.mark.asyncio
async def test_vectors_left_out_are_made_from_the_words(
    mock_providers: MockProviders, ask: Ask, params: dict[str, Any]
) -> None:
    """Texts that share words are near, others far, so that a router by similarity finds its way."""
    mock_providers.on(model="m").replies("")
    late, later, password = _vectors(await ask(**params))
    assert (len(late), _nearness(late, later) > 0.8, _nearness(late, password) < 0.2) == (256, True, True)


def test_the_same_text_has_the_same_vector(mock_providers: MockProviders) -> None:
    """In every call, encoding and process."""
    mock_providers.on(model="m").replies("")
    with openai.OpenAI(api_key="k") as client:
        one = client.embeddings.create(model="m", input="hello", dimensions=8)
        other = client.embeddings.create(model="m", input=["x", "hello"], dimensions=8, encoding_format="float")
    assert one.data[0].embedding == other.data[1].embedding == [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize("dimensions", [1, 64, 1536])
def test_the_vectors_have_the_dimensions_asked_for(mock_providers: MockProviders, dimensions: int) -> None:
    """And the length 1 that OpenAI's have."""
    mock_providers.on(model="m").replies("")
    with openai.OpenAI(api_key="k") as client:
        vector = client.embeddings.create(model="m", input="late parcel", dimensions=dimensions).data[0].embedding
    assert (len(vector), math.isclose(math.hypot(*vector), 1, rel_tol=1e-6)) == (dimensions, True)


@in_every_way
@pytest.mark.asyncio
async def test_the_usage_is_the_scripted_one(mock_providers: MockProviders, ask: Ask) -> None:
    """Input alone: an embedding makes no tokens."""
    mock_providers.on(model="m").replies("", usage={"fresh_input": 7, "output": 3})
    usage = (await ask()).usage
    assert (usage.prompt_tokens, usage.total_tokens, mock_providers.calls[0].usage) == (7, 7, Usage(fresh_input=7))


def test_a_default_for_every_call_serves_embeddings_too(mock_providers: MockProviders) -> None:
    """The text of an answer is nothing that an embedding could say, and is not billed."""
    mock_providers.otherwise("hello there")
    with openai.OpenAI(api_key="k") as client:
        response = client.embeddings.create(model="text-embedding-3-small", input="x" * 4000)
    call = mock_providers.calls[0]
    assert (len(response.data), call.text, call.usage, call.cost_usd) == (
        1,
        "",
        Usage(fresh_input=1000),
        Decimal("0.00002"),
    )


def test_what_was_answered_stands_in_the_log(mock_providers: MockProviders) -> None:
    """The vectors that were made up too."""
    mock_providers.on(model="m").replies("", model="m-2")
    with openai.OpenAI(api_key="k") as client:
        response = client.embeddings.create(model="m", input="hello", dimensions=4)
    call = mock_providers.calls[0]
    assert call.reply is not None
    assert (call.model_answered, call.embeds, list(call.reply.vectors[0])) == ("m-2", True, response.data[0].embedding)


@pytest.mark.parametrize(
    ("sent", "texts"),
    [
        ("hi", ["hi"]),
        (["one", "two"], ["one", "two"]),
        ([101, 7592], ["101 7592"]),
        ([[101], [7592, 102]], ["101", "7592 102"]),
    ],
    ids=["text", "texts", "tokens", "lists of tokens"],
)
def test_each_input_is_logged_as_a_message(mock_providers: MockProviders, sent: Any, texts: list[str]) -> None:
    """Inputs that come as tokens are shown by their numbers."""
    mock_providers.on(model="m").replies("")
    with openai.OpenAI(api_key="k") as client:
        response = client.embeddings.create(model="m", input=sent)
    call = mock_providers.calls[0]
    assert (len(response.data), call.messages) == (len(texts), tuple(Message(role="user", text=text) for text in texts))


def test_a_request_is_logged_with_its_parameters(mock_providers: MockProviders) -> None:
    """Everything beside model and input."""
    mock_providers.on(model="m").replies("")
    with openai.OpenAI(api_key="k") as client:
        client.embeddings.create(model="m", input="hi", dimensions=4, user="u")
    assert mock_providers.calls[0].params == {"dimensions": 4, "user": "u", "encoding_format": "base64"}


@pytest.mark.parametrize(
    ("reply", "params", "message"),
    [
        (
            Reply(vectors=((1.0,), (0.5,))),
            {},
            (
                "Reply(vectors=...) has 2 vectors for 3 inputs; one for each input was expected (leave vectors out to "
                "have them made from the words of the inputs)"
            ),
        ),
        (
            Reply(vectors=((1.0,), (float("nan"),), (1.0,))),
            {},
            "vector 2 of Reply(vectors=...) is no list of finite numbers: (nan,)",
        ),
        (
            Reply(vectors=((1.0,), (), (1.0,))),
            {},
            "vector 2 of Reply(vectors=...) is no list of finite numbers: ()",
        ),
        (
            Reply(),
            {"dimensions": 0},
            "dimensions=0: the request asks for vectors that cannot be made up; a number from 1 to 65536 was expected",
        ),
        (
            Reply(finish_reason="content_filter"),
            {},
            "openai-embeddings has no form for an answer that a content filter held back",
        ),
    ],
    ids=["too few", "not a number", "empty", "dimensions", "filtered"],
)
def test_an_impossible_answer_says_what_is_wrong(reply: Reply, params: dict[str, Any], message: str) -> None:
    """The script is named, with what stood there and what was expected."""
    run = TestRun(test="test", settings=None, thresholds=[], folders=[], only_case=None, fail=pytest.fail)
    with run.listening(), run.virtual_time(), run.scripted() as scripts, openai.OpenAI(api_key="k") as client:
        scripts.on(model="m").replies(reply)
        with pytest.raises(ScriptRaised) as raised:
            client.embeddings.create(model="m", input=TEXTS, **params)
    assert str(raised.value).startswith("script on(model='m').replies('')  (")
    assert str(raised.value).endswith(f" raised on call 1 (ScriptError: {message})")


@pytest.mark.parametrize(
    ("fault", "error"),
    [(faults.rate_limit(), openai.RateLimitError), (faults.context_overflow(), openai.BadRequestError)],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_fault_is_the_clients_own_error(
    mock_providers: MockProviders, fault: faults.Fault, error: type[openai.APIStatusError]
) -> None:
    """Refusals are those of OpenAI's other formats."""
    mock_providers.on(model="m").fails(fault)
    with openai.OpenAI(api_key="k", max_retries=0) as client, pytest.raises(error):
        client.embeddings.create(model="m", input="hi")
    assert mock_providers.calls[0].error == fault.kind


def test_azures_client_is_logged_as_azure(mock_providers: MockProviders) -> None:
    """A deployment's path is that of embeddings too."""
    mock_providers.on(model="m", provider="azure").replies("")
    with openai.AzureOpenAI(
        api_key="k", api_version="2024-10-21", azure_endpoint="https://o.openai.azure.com"
    ) as client:
        client.embeddings.create(model="m", input="hi")
    assert [(call.provider, call.language) for call in mock_providers.calls] == [("azure", "openai-embeddings")]
