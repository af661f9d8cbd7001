"""OpenAI embeddings, on bodies as their documentation shows them."""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from typing import Any

import pytest

from pytest_modelroute.errors import MalformedExchange
from pytest_modelroute.providers.exchange import Message, ProviderReply, ProviderRequest, Usage
from pytest_modelroute.providers.failures import Failure
from pytest_modelroute.providers.openai_embeddings import OpenAIEmbeddings

EMBEDDINGS = OpenAIEmbeddings()
REQUEST = ProviderRequest(model="asked", messages=(Message(role="user", text="abcdefgh"),))


def _bytes(value: object) -> bytes:
    return json.dumps(value).encode()


def _read(value: object) -> tuple[tuple[float, ...], ...]:
    data = [{"object": "embedding", "index": 0, "embedding": value}]
    return EMBEDDINGS.read_reply(_bytes({"object": "list", "data": data})).vectors


def test_a_request_carries_its_inputs_and_its_key() -> None:
    """The path is relative to a base that ends in /v1."""
    wire = EMBEDDINGS.write_request(REQUEST, "k")
    assert (wire.path, wire.headers["authorization"]) == ("/embeddings", "Bearer k")
    assert json.loads(wire.body) == {"model": "asked", "input": ["abcdefgh"]}


@pytest.mark.parametrize(
    "body",
    [
        {"input": "a"},
        {"model": "m"},
        {"model": "m", "input": 5},
        {"model": "m", "input": ["a", 5]},
        {"model": "m", "input": [["a"]]},
        {"model": 5, "input": "a"},
    ],
)
def test_a_request_that_is_none_says_what_is_wrong(body: dict[str, Any]) -> None:
    """Other services have paths that end in /embeddings too."""
    with pytest.raises(MalformedExchange) as error:
        EMBEDDINGS.read_request(_bytes(body), "/v1/embeddings")
    assert str(error.value) == (
        "an OpenAI embedding request needs a model (text) and an input (a text, a list of texts, or tokens); it has "
        f"{sorted(body)}"
    )


def test_no_input_is_no_vector() -> None:
    """An empty list is answered by one."""
    request = EMBEDDINGS.read_request(b'{"model": "m", "input": []}', "/v1/embeddings")
    assert json.loads(EMBEDDINGS.write_reply(request, ProviderReply()))["data"] == []


def test_a_documented_reply_is_read() -> None:
    """Vectors in the order of their index, and usage of input alone."""
    data = [
        {"object": "embedding", "index": 1, "embedding": [0.5, -1]},
        {"object": "embedding", "index": 0, "embedding": [0.25, 0.0]},
    ]
    body = _bytes({"object": "list", "data": data, "model": "m-1", "usage": {"prompt_tokens": 8, "total_tokens": 8}})
    assert EMBEDDINGS.read_reply(body) == ProviderReply(
        model="m-1", usage=Usage(fresh_input=8), vectors=((0.25, 0.0), (0.5, -1.0))
    )


def test_base64_is_read() -> None:
    """Little-endian floats of 32 bits."""
    assert _read(b64encode(struct.pack("<2f", 0.5, -0.25)).decode()) == ((0.5, -0.25),)


@pytest.mark.parametrize("value", ["no base64!", "AAA=", None, [0.5, "x"], [True]])
def test_what_is_no_vector_is_malformed(value: object) -> None:
    """Numbers, or base64 of whole floats."""
    with pytest.raises(MalformedExchange, match=r"^an OpenAI embedding reply has data without a vector: "):
        _read(value)


def test_a_reply_without_data_is_malformed() -> None:
    """An error in JSON is no answer."""
    with pytest.raises(MalformedExchange, match=r"^an OpenAI embedding reply has no list of data; it has \['x'\]$"):
        EMBEDDINGS.read_reply(b'{"x": 1}')


def test_a_reply_is_written_in_the_encoding_asked_for() -> None:
    """Numbers where none is asked for."""
    reply = ProviderReply(vectors=((0.5, -0.25),))
    body = EMBEDDINGS.read_request(b'{"model": "m", "input": "a", "encoding_format": "base64"}', "/v1/embeddings")
    written = [json.loads(EMBEDDINGS.write_reply(request, reply)) for request in (REQUEST, body)]
    packed = b64encode(struct.pack("<2f", 0.5, -0.25)).decode()
    assert [value["data"][0]["embedding"] for value in written] == [[0.5, -0.25], packed]


def test_a_reply_without_usage_has_no_such_member() -> None:
    """What is not reported is not there."""
    assert "usage" not in json.loads(EMBEDDINGS.write_reply(REQUEST, ProviderReply(reports_usage=False)))


def test_there_is_no_stream() -> None:
    """Whoever asks for one is told so."""
    for ask in (
        EMBEDDINGS.stream_reader,
        lambda: EMBEDDINGS.write_stream(REQUEST, ProviderReply(), [""]),
        lambda: EMBEDDINGS.write_stream_error(Failure(kind="overloaded", message="x")),
    ):
        with pytest.raises(MalformedExchange, match=r"^openai-embeddings has no stream$"):
            ask()
