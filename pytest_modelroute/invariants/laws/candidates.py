"""Which of several candidates a request goes to: by their weights, and by what each of them can serve."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pytest_modelroute.invariants.law import Law, Violation, register
from pytest_modelroute.invariants.promises import Capability, Promises
from pytest_modelroute.invariants.requests import RoutingRequest
from pytest_modelroute.invariants.scenes import Act, Ask, Fails, Good, Scene, Script, one
from pytest_modelroute.invariants.seen import SeenAsk, SeenCall, Trial
from pytest_modelroute.providers.exchange import Usage

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from pytest_modelroute.invariants.atlas import Atlas, Way

_REQUESTS: Final = 600
"Of one trial: enough to tell weights of 3 to 1 from even ones."
_AT_ONCE: Final = 8
"Requests at the same time, rounded up to a multiple of the candidates: each is the least busy one in turn."
_ENOUGH: Final = 60
"Requests that reached a candidate; fewer say too little."
_CHANCE: Final = 1e-10
"How likely a split may be under the weights for it to be called wrong."


def _order_scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    weights = promises.load_balanced or {}
    ways = [way for found in atlas.ways.values() for way in found if _balances(way, weights, atlas)]
    if not ways:
        return st.nothing()
    way = min(ways, key=lambda way: len(way.request.prompt))
    names = tuple(weights)
    orders = list(dict.fromkeys((names, names[::-1], (*names[1:], names[0]))))
    burst = len(names) * math.ceil(_AT_ONCE / len(names))
    times = math.ceil(_REQUESTS / len(orders) / burst)

    def build(salt: int) -> Sequence[Scene]:
        asks = tuple(_numbered(way, f"{salt}-{place}") for place in range(burst))
        script = Script(good=Good(usage=Usage(fresh_input=10, output=1)))
        act = Act(asks=asks, script=script, times=times, pause=20)
        return [Scene(acts=(act,), order=order, name=f"candidates in the order {', '.join(order)}") for order in orders]

    return st.builds(build, st.integers(0, 3))


def _balances(way: Way, weights: Mapping[str, float], atlas: Atlas) -> bool:
    return way.request.category is None and (way.model in weights or atlas.providers.get(way.model) in weights)


def _numbered(way: Way, number: str) -> Ask:
    """The request with a number in it: one that was made before may be answered from a cache, or by the same one."""
    return way.ask(request=replace(way.request, prompt=f"{way.request.prompt} (request {number}-{{n}})"))


def _candidate(ask: SeenAsk, weights: Mapping[str, float]) -> str | None:
    """The candidate that a request went to first: a model, or a host of its own."""
    call = next(iter(ask.answering), None)
    return None if call is None else next((name for name in (call.model, call.provider) if name in weights), None)


def _order(promises: Promises, trial: Trial) -> Violation | None:
    weights = promises.load_balanced or {}
    everywhere: Counter[str] = Counter()
    for played in trial:
        here = Counter(name for ask in played.asks if (name := _candidate(ask, weights)) is not None)
        everywhere += here
        if wrong := _unlikely(here, weights, len(trial) + 1):
            return replace(_split(wrong, here, weights, f"with {played.scene.name}"), play=played)
    wrong = _unlikely(everywhere, weights, len(trial) + 1)
    return _split(wrong, everywhere, weights, "in all orders together") if wrong else None


def _split(wrong: str, counts: Counter[str], weights: Mapping[str, float], where: str) -> Violation:
    total = sum(weights.values())
    shares = ", ".join(f"{name} {weight / total:.0%}" for name, weight in weights.items())
    seen = ", ".join(f"{name} {counts[name] / counts.total():.0%}" for name in weights)
    return Violation(
        expected=f"a split by the weights in whatever order the candidates are given: {shares}",
        seen=f"{where}, of {counts.total()} requests: {seen} ({wrong} is too far off for chance)",
    )


def _unlikely(counts: Counter[str], weights: Mapping[str, float], looks: int) -> str | None:
    """
    The candidate whose count cannot be chance, if there is one.

    The exact binomial tail is compared, divided by how often it is looked at: drawing by the weights is wrongly accused
    less than once in ten thousand million trials. Taking turns, and the least busy one, are nearer to the weights than
    chance is.
    """
    total, number = sum(weights.values()), counts.total()
    if number < _ENOUGH or not total:
        return None
    for name, weight in weights.items():
        if _tail(counts[name], number, weight / total) < _CHANCE / (2 * looks * len(weights)):
            return name
    return None


def _tail(count: int, number: int, share: float) -> float:
    """How likely a count as far from the share, on its side, is."""
    if share in (0.0, 1.0):
        return 1.0 if count == number * share else 0.0
    side = range(count, number + 1) if count > number * share else range(count + 1)
    return sum(
        math.exp(
            math.lgamma(number + 1)
            - math.lgamma(k + 1)
            - math.lgamma(number - k + 1)
            + k * math.log(share)
            + (number - k) * math.log1p(-share)
        )
        for k in side
    )


register(
    Law(
        id="order_independence",
        family="selection",
        says="requests are split among the candidates by their weights, in whatever order the candidates are given.",
        why="the first of a list gets it all, or a weight is read of some entries only, and one deployment is overrun.",
        needs=("load_balanced",),
        when=lambda promises: len(promises.load_balanced or ()) > 1,
        advice="read the weight of every candidate, with a default for each that has none; do not draw by position",
        scenes=_order_scenes,
        judge=_order,
        each=True,
        examples=0.05,
        idle="no plain request reached one of the candidates of load_balanced",
    )
)


_TOOLS: Final = (
    {
        "type": "function",
        "function": {
            "name": "find_order",
            "description": "Find an order by its number.",
            "parameters": {
                "type": "object",
                "properties": {"number": {"type": "string"}},
                "required": ["number"],
            },
        },
    },
)
_LONGEST: Final = 200_000
"Tokens of context beyond which no text is made."
_BEYOND: Final = 1.5
"Words of a long text by the tokens that fit; there is no tokenizer that makes less than one token of a word."
_UNIT: Final = 150
"Characters of a request that is repeated to make a long text; of a longer one, only its length is kept."
_CHARACTERS: Final = 3
"Of a token, at least, in a text that is known to fit."
_REPLY: Final = 1000
"Tokens of context that are left for an answer."
_PIXEL: Final = "iVBORw0KGgo"
"How the image of a request begins, in whatever form it is sent."


def _demands(promises: Promises) -> list[str | int]:
    """What requests may ask of a candidate that one of them has not: tools, images, streaming, or so many words."""
    limits = list((promises.capabilities or {}).values())
    found: list[str | int] = []
    found += ["tools"] if not all(limit.tools for limit in limits) else []
    found += ["images"] if not all(limit.images for limit in limits) else []
    found += ["streaming"] if promises.streams and not all(limit.streaming for limit in limits) else []
    contexts = sorted({limit.context for limit in limits if limit.context is not None})
    return [*found, *(math.ceil(_BEYOND * context) for context in contexts if context <= _LONGEST)]


def _demanding(request: RoutingRequest, demand: str | int) -> RoutingRequest:
    if demand == "tools":
        return replace(request, params={**request.params, "tools": [dict(tool) for tool in _TOOLS]})
    if demand == "images":
        return replace(request, images=1)
    if demand == "streaming":
        return replace(request, stream=True)
    unit = f"{request.prompt.strip()} " if 0 < len(request.prompt.strip()) < _UNIT else "word "
    return replace(request, prompt=unit * math.ceil(int(demand) / len(unit.split())))


def _capability_scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import FAULTS_BY_CLASS, ways

    outage = Fails(FAULTS_BY_CLASS["unavailable"][0])

    demands = _demands(promises)

    def build(way: Way, failing: int) -> Sequence[Scene]:
        script = Script(candidates=((outage,),) * failing)
        return [
            one(
                _demanding(way.request, demand),
                script,
                label=way.label,
                name=demand if isinstance(demand, str) else "a long text",
            )
            for demand in demands
        ]

    return st.builds(build, ways(promises, atlas), st.integers(0, 2)) if demands else st.nothing()


def _capability(promises: Promises, trial: Trial) -> Violation | None:
    limits = promises.capabilities or {}
    for played in trial:
        for call in played.only.answering:
            limit = limits.get(call.model)
            lacks = next(_lacks(call, limit), None) if limit is not None else None
            if lacks is None:
                continue
            able = [name for name in _alternatives(promises, played.only, call) if _serves(call, limits.get(name))]
            if able:
                return Violation(
                    expected=_instead(able, played.only),
                    seen=f"{call.model} was asked, which {lacks}",
                    counts={call.number: lacks},
                    play=played,
                )
    return None


def _instead(able: Sequence[str], ask: SeenAsk) -> str:
    left = [name for name in able if name not in ask.models]
    if left:
        return f"a candidate that can serve the request, such as {left[0]}"
    return f"an error, since {' and '.join(dict.fromkeys(able))}, which can serve the request, had failed"


def _alternatives(promises: Promises, ask: SeenAsk, call: SeenCall) -> Iterator[str]:
    """Who else might have been asked: its chain, those it is balanced with, other tiers where no step says which."""
    yield from (name for name in promises.chain(ask.head or call.model) if name != call.model)
    yield from promises.load_balanced or ()
    if promises.steps is None and ask.ask.request.category is None:
        yield from promises.tiers


def _lacks(call: SeenCall, limit: Capability) -> Iterator[str]:
    """
    Why a candidate cannot serve the call that it was sent.

    By the call and not by the request: a router may describe an image, shorten a text or gather a stream itself.
    """
    if call.tools and not limit.tools:
        yield "has no tools"
    if not limit.images and _PIXEL in repr(call.body):
        yield "reads no images"
    if call.streamed and not limit.streaming:
        yield "does not stream"
    if limit.context is not None and _words(call) > limit.context:
        yield f"reads {limit.context} tokens, and was sent {_words(call)} words"


def _serves(call: SeenCall, limit: Capability | None) -> bool:
    """Whether a candidate surely can: one of which nothing is declared, or with just about the room, is no proof."""
    if limit is None or next(_lacks(call, limit), None) is not None:
        return False
    return limit.context is None or limit.context > _characters(call) / _CHARACTERS + _REPLY


def _words(call: SeenCall) -> int:
    return sum(len(message.text.split()) for message in call.messages)


def _characters(call: SeenCall) -> int:
    return sum(len(message.text) for message in call.messages)


register(
    Law(
        id="capability",
        family="selection",
        says="a candidate is asked only for what it can serve: tools, images, streams, and texts that fit.",
        why="the request fails where another candidate would have served it, or a text is cut off without a word.",
        needs=("capabilities",),
        advice="filter the candidates by what the request needs before the first one and before every fallback",
        scenes=_capability_scenes,
        judge=_capability,
        examples=0.5,
        each=True,
        idle="no candidate lacks anything that requests could need; streams count where `streams` is promised",
    )
)
