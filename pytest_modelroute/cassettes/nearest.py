"""Which of many recorded requests is most like one that none of them answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from heapq import nlargest
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from pytest_modelroute.cassettes.differences import Difference, request_diff
from pytest_modelroute.cassettes.interaction import RecordedRequest
from pytest_modelroute.cassettes.matching import Matching
from pytest_modelroute.cassettes.volatile import kind_between
from pytest_modelroute.errors import MalformedExchange
from pytest_modelroute.providers.exchange import ProviderRequest
from pytest_modelroute.providers.registry import language_for

_COMPARED: Final = 32
"How many are compared exactly, after a look at all."
_SAMPLE: Final = 4096
"Bytes looked at, from either end of a body: the last message of a long talk is at its end."
_MODEL: Final = re.compile(rb'"model(?:Id)?"\s*:\s*"([^"]*)"')
_TO_WORDS: Final = bytes(code if chr(code).isalnum() or code > 127 else 32 for code in range(256))  # noqa: PLR2004 - ASCII
_SAME: Final = 0.3
"What the same address, and the same model, are worth beside the share of equal words, which is 1 at the most."
_ROUTE: Final = 0.5
"The weight of another model, host or path, where 1 is that of a value that is another one."
_LITTLE: Final = 0.1
"The weight of what changes from run to run."


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """A recorded request that is like the one asked for."""

    index: int
    "Which of the candidates, from 0."
    differences: Sequence[Difference]
    "In what they differ."
    model: str = ""
    "The model that it asked; empty for a call that is none of a model."
    same_prompt: bool = False
    "Whether another model was asked the same messages."


class _Sketch(NamedTuple):
    """What is seen of a request at a glance."""

    address: str
    model: bytes
    words: frozenset[bytes]


def nearest(
    request: RecordedRequest, candidates: Iterable[RecordedRequest], limit: int = 1, *, matching: Matching | None = None
) -> list[Near]:
    """
    The recorded requests that are most like one, the most similar first.

    All are looked at briefly (host, path, model, words), and the best few dozen compared exactly, so that 10,000 take
    less than a second.

    Args:
        request: The one that nobody answers.
        candidates: The recorded ones.
        limit: How many to return.
        matching: What does not tell requests apart.

    """
    asked = _sketch(request)
    glances = ((_likeness(asked, _sketch(each)), -index, each) for index, each in enumerate(candidates))
    best = nlargest(max(limit, _COMPARED), glances, key=lambda glance: glance[:2])
    read = read_call(request)
    rules = matching or Matching()
    weighed = [_weigh(request, read, each, -index, rules) for _, index, each in best]
    return [near for _, near in sorted(weighed, key=lambda pair: (pair[0], pair[1].index))[:limit]]


def read_call(request: RecordedRequest) -> ProviderRequest | None:
    """The request to a model, in the words of no provider; None where it is none that can be read."""
    with suppress(MalformedExchange, ValueError, RecursionError):
        path = urlsplit(request.url).path
        language = language_for(request.method.upper(), path)
        return None if language is None else language.read_request(request.body, path)
    return None


def _sketch(request: RecordedRequest) -> _Sketch:
    body = request.body
    sample = body if len(body) <= 2 * _SAMPLE else body[:_SAMPLE] + b" " + body[-_SAMPLE:]
    model = _MODEL.search(sample)
    return _Sketch(
        address=request.url.partition("?")[0],
        model=model[1] if model else b"",
        words=_words(sample),
    )


def _words(text: bytes) -> frozenset[bytes]:
    return frozenset(text.translate(_TO_WORDS).split())


def _likeness(one: _Sketch, other: _Sketch) -> float:
    return (
        _SAME * (one.address == other.address) + _SAME * (one.model == other.model) + _overlap(one.words, other.words)
    )


def _overlap(one: frozenset[bytes], other: frozenset[bytes]) -> float:
    """The share of the words of both that both have."""
    shared = len(one & other)
    every = len(one) + len(other) - shared
    return shared / every if every else 1.0


def _weigh(
    request: RecordedRequest, read: ProviderRequest | None, candidate: RecordedRequest, index: int, matching: Matching
) -> tuple[float, Near]:
    differences = request_diff(candidate, request, matching)
    weight = sum(_weight(each) for each in differences)
    other = read_call(candidate)
    same_prompt = other is not None and read is not None and other.model != read.model and _says(other) == _says(read)
    near = Near(
        index=index, differences=differences, model="" if other is None else other.model, same_prompt=same_prompt
    )
    # Another provider words the same question in another way from beginning to end.
    return min(weight, 2 * _ROUTE) if same_prompt else weight, near


def _says(request: ProviderRequest) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in request.messages]


def _weight(difference: Difference) -> float:
    if difference.where in ("$.model", "host", "path"):
        return _ROUTE
    if kind_between(difference.old, difference.new):
        return _LITTLE
    if not isinstance(difference.old, str) or not isinstance(difference.new, str):
        return 1.0
    old, new = (_words(text.encode("utf-8", "surrogatepass")) for text in (difference.old, difference.new))
    return 2 * _LITTLE + (1 - 2 * _LITTLE) * (1 - _overlap(old, new))
