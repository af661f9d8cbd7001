"""OpenAI embeddings: POST {base}/embeddings. Many other hosts speak it too."""

from __future__ import annotations

import struct
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from pytest_modelroute.errors import MalformedExchange
from pytest_modelroute.providers.exchange import Message, ProviderReply, ProviderRequest, WireRequest, estimate_usage
from pytest_modelroute.providers.failures import Failure, WireError
from pytest_modelroute.providers.language import (
    WithoutStream,
    count,
    error_words,
    objects,
    read_object,
    show,
    write_object,
)
from pytest_modelroute.providers.openai_chat import OPENAI_WORDS, openai_error, read_usage
from pytest_modelroute.providers.vectors import embedded

_WHAT: Final = "an OpenAI embedding"
_OWN_MEMBERS: Final = frozenset({"model", "input"})
_FLOAT_BYTES: Final = 4


class OpenAIEmbeddings(WithoutStream):
    """The format of /embeddings."""

    name = "openai-embeddings"
    provider = "openai"
    vocabulary = OPENAI_WORDS
    filters_content = False
    embeds = True

    def recognises(self, path: str) -> bool:
        """Any path that ends in /embeddings, Azure's deployments included."""
        return path.endswith("/embeddings")

    def read_request(self, body: bytes, path: str) -> ProviderRequest:  # noqa: ARG002 - the model is in the body
        """Read a request; each input becomes a user message, tokens as numbers between spaces."""
        value = read_object(body, what=f"{_WHAT} request")
        model, inputs = value.get("model"), _read_inputs(value.get("input"))
        if not isinstance(model, str) or inputs is None:
            raise MalformedExchange(
                f"{_WHAT} request needs a model (text) and an input (a text, a list of texts, or tokens); it has "
                f"{sorted(value)}"
            )
        return ProviderRequest(
            model=model,
            messages=tuple(Message(role="user", text=text) for text in inputs),
            params={key: entry for key, entry in value.items() if key not in _OWN_MEMBERS},
            body=value,
        )

    def write_request(self, request: ProviderRequest, key: str) -> WireRequest:
        """Write a request; the text of each message is an input."""
        inputs = [message.text for message in request.messages]
        return WireRequest(
            path="/embeddings",
            headers={"authorization": f"Bearer {key}", "content-type": "application/json"},
            body=write_object({"model": request.model, "input": inputs, **request.params}),
        )

    def write_reply(self, request: ProviderRequest, reply: ProviderReply) -> bytes:
        """Write the vectors, in the encoding that the request asks for."""
        reply = embedded(request, reply)
        write = _to_base64 if request.params.get("encoding_format") == "base64" else list
        value: dict[str, Any] = {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": write(vector)}
                for index, vector in enumerate(reply.vectors)
            ],
            "model": reply.model or request.model,
        }
        if reply.reports_usage:
            tokens = (reply.usage or estimate_usage(request, "")).total_input
            value["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
        return write_object(value)

    def write_error(self, failure: Failure) -> WireError:
        """Write a refusal."""
        return openai_error(failure)

    def read_reply(self, body: bytes) -> ProviderReply:
        """Read the vectors, whichever way they are encoded."""
        value = read_object(body, what=f"{_WHAT} reply")
        data = objects(value.get("data"))
        if data is None:
            raise MalformedExchange(f"{_WHAT} reply has no list of data; it has {sorted(value)}")
        entries = sorted(data, key=lambda entry: count(entry.get("index")))
        return ProviderReply(
            model=str(value.get("model") or ""),
            usage=read_usage(value.get("usage")),
            vectors=tuple(_read_vector(entry) for entry in entries),
        )

    def read_error(self, body: bytes) -> tuple[str | None, str]:
        """Code (else type) and message of an error."""
        return error_words(read_object(body, what=f"{_WHAT} error"), "code", "type")


def _read_inputs(value: object) -> list[str] | None:
    """The inputs as texts; None for what is no input."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        return None
    entries = cast("list[object]", value)
    if entries and all(type(entry) is int for entry in entries):
        return [_of_tokens(entries)]
    texts: list[str] = []
    for entry in entries:
        if isinstance(entry, str):
            texts.append(entry)
        elif isinstance(entry, list) and all(type(token) is int for token in cast("list[object]", entry)):
            texts.append(_of_tokens(cast("list[object]", entry)))
        else:
            return None
    return texts


def _of_tokens(tokens: Sequence[object]) -> str:
    return " ".join(str(token) for token in tokens)


def _to_base64(vector: Sequence[float]) -> str:
    return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _read_vector(entry: Mapping[str, Any]) -> tuple[float, ...]:
    value: object = entry.get("embedding")
    if isinstance(value, list) and all(type(number) in (int, float) for number in cast("list[object]", value)):
        return tuple(float(number) for number in cast("list[float]", value))
    if isinstance(value, str):
        try:
            packed = b64decode(value, validate=True)
            return struct.unpack(f"<{len(packed) // _FLOAT_BYTES}f", packed)
        except (Base64Error, struct.error):
            pass
    raise MalformedExchange(f"{_WHAT} reply has data without a vector: {show(str(entry), 60)}")
