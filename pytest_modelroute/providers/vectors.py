"""What an embedding answers: one vector for each input, made from its words where a script gives none."""

from __future__ import annotations

import math
import re
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Final

from pytest_modelroute.errors import ScriptError
from pytest_modelroute.providers.exchange import ProviderReply, ProviderRequest

DEFAULT_DIMENSIONS: Final = 256
_MOST_DIMENSIONS: Final = 65_536
_WORD: Final = re.compile(r"\w+")


def embedded(request: ProviderRequest, reply: ProviderReply) -> ProviderReply:
    """
    The reply as an embedding can be answered: vectors, and neither text nor tool calls nor output tokens.

    Raises:
        ScriptError: Another number of vectors than inputs, a vector that is none, or impossible dimensions.

    """
    inputs = [message.text for message in request.messages]
    vectors = reply.vectors or tuple(vector_of(text, _dimensions(request)) for text in inputs)
    _check(vectors, inputs)
    usage = None if reply.usage is None else replace(reply.usage, output=0, reasoning=0)
    return replace(reply, text="", tool_calls=(), finish_reason="stop", vectors=vectors, usage=usage)


def vector_of(text: str, dimensions: int = DEFAULT_DIMENSIONS) -> tuple[float, ...]:
    """
    A vector of length 1 that counts the words of a text, each in the place that its hash names.

    The same text has the same vector on every machine; texts that share words are near, texts that share none are far
    (but for words that happen to have one place). A text without a word is one word itself.
    """
    words = Counter(_WORD.findall(text.casefold()) or [text])
    counts = Counter[int]()
    for word, times in words.items():
        digest = blake2b(word.encode("utf-8", errors="surrogatepass"), digest_size=8).digest()
        counts[int.from_bytes(digest) % dimensions] += times
    length = math.sqrt(sum(times * times for times in counts.values()))
    # As precise as a 32-bit float, so that every encoding gives the same numbers.
    rounded = {place: struct.unpack("<f", struct.pack("<f", times / length))[0] for place, times in counts.items()}
    return tuple(rounded.get(place, 0.0) for place in range(dimensions))


def _dimensions(request: ProviderRequest) -> int:
    asked = request.params.get("dimensions")
    if asked is None:
        return DEFAULT_DIMENSIONS
    if type(asked) is not int or not 1 <= asked <= _MOST_DIMENSIONS:
        raise ScriptError(
            f"dimensions={asked!r}: the request asks for vectors that cannot be made up; a number from 1 to "
            f"{_MOST_DIMENSIONS} was expected"
        )
    return asked


def _check(vectors: Sequence[Sequence[object]], inputs: Sequence[str]) -> None:
    if len(vectors) != len(inputs):
        raise ScriptError(
            f"Reply(vectors=...) has {_count(len(vectors), 'vector')} for {_count(len(inputs), 'input')}; one for each "
            "input was expected (leave vectors out to have them made from the words of the inputs)"
        )
    for number, vector in enumerate(vectors, start=1):
        if not vector or not all(_is_finite(value) for value in vector):
            raise ScriptError(f"vector {number} of Reply(vectors=...) is no list of finite numbers: {vector!r}")


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
