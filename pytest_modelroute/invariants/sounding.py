"""
Sounding a router for what its rules go by: the lengths at which a route changes, and the words that move it.

Seen from outside, so that it does not matter whether the rule counts characters, words or tokens. A law that tries
texts at a boundary finds in a few examples what random texts would find in thousands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pytest_modelroute.invariants.promises import Promises
from pytest_modelroute.invariants.requests import RoutingRequest
from pytest_modelroute.invariants.scenes import one
from pytest_modelroute.invariants.stage import Stage
from pytest_modelroute.invariants.texts import filler, neutral

_LENGTHS: Final = (4, 16, 40, 80, 140, 220, 340, 520, 800, 1200, 2000, 3500, 6000, 10_000, 17_000)
"Characters; between two of them with different routes, the boundary is looked for."
_AT_ONCE: Final = 8
"How many words are tried in one text."
_ENOUGH: Final = 24
"Keywords; more teach nothing new."


class _Probe:
    """Asks a fresh router, and sees what it chooses."""

    def __init__(self, stage: Stage, promises: Promises) -> None:
        self._stage = stage
        self._label = next(iter(promises.classifier.labels)) if promises.classifier else None
        self._step = next((name for name, model in (promises.steps or {}).items() if model is not None), None)

    def head(self, prompt: str) -> str | None:
        request = RoutingRequest(prompt=prompt, step=self._step)
        return self._stage.play(one(request, label=self._label)).only.head


def sound(stage: Stage, promises: Promises, words: Sequence[str]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """
    Find the words that move a route, and the lengths at which it changes.

    Args:
        stage: Plays the requests.
        promises: Those of the class.
        words: Words that the router may know.

    """
    probe = _Probe(stage, promises)
    boundaries = _boundaries(probe)
    plain = probe.head("what about this here")
    found: list[str] = []
    for start in range(0, len(words), _AT_ONCE):
        found += _heeded(probe, words[start : start + _AT_ONCE], plain)
        if len(found) >= _ENOUGH:
            break
    return tuple(found), boundaries


def _boundaries(probe: _Probe) -> tuple[int, ...]:
    heads = [probe.head(filler(length)) for length in _LENGTHS]
    found: list[int] = []
    for place in range(1, len(_LENGTHS)):
        if heads[place] == heads[place - 1]:
            continue
        low, high = _LENGTHS[place - 1], _LENGTHS[place]
        while high - low > 1:
            middle = (low + high) // 2
            if probe.head(filler(middle)) == heads[place - 1]:
                low = middle
            else:
                high = middle
        found.append(high)
    return tuple(found)


def _heeded(probe: _Probe, words: Sequence[str], plain: str | None) -> list[str]:
    """Those words that move the route of a text, in comparison with words as long that mean nothing."""
    said = probe.head(f"what about {' '.join(words)} here")
    if said == plain or said == probe.head(f"what about {' '.join(map(neutral, words))} here"):
        return []
    if len(words) == 1:
        return list(words)
    half = len(words) // 2
    return [*_heeded(probe, words[:half], plain), *_heeded(probe, words[half:], plain)]
