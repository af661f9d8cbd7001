"""What requests cost, and what the router says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

from pytest_modelroute import faults
from pytest_modelroute.invariants.amounts import usd
from pytest_modelroute.invariants.law import Law, Violation, register
from pytest_modelroute.invariants.laws import _amounts
from pytest_modelroute.invariants.laws._amounts import agree
from pytest_modelroute.invariants.promises import Promises
from pytest_modelroute.invariants.requests import RoutingRequest
from pytest_modelroute.invariants.scenes import Act, Ask, Fails, Good, Scene, Script
from pytest_modelroute.invariants.seen import Played, SeenAsk, SeenCall, Trial
from pytest_modelroute.providers.exchange import Usage
from pytest_modelroute.providers.registry import provider_behind

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from pytest_modelroute.invariants.atlas import Atlas, Way

_QUIET: Final = Act(asks=(), pause=5.0)
"Time for a router that books a moment later."
_WRITES_CACHES: Final = frozenset({"anthropic", "aws"})
"Whose usage tells what was written to a cache."
_LONG: Final = 10_000
"Characters of a prompt that is dear enough for an estimate of it to be seen."
_MOST_COMBINED: Final = 8
_ERROR: Final[Any] = faults.server_error()


def _usages() -> SearchStrategy[Usage]:
    """Usages whose buckets are so large that one in the wrong place is dearer than any rounding."""
    from hypothesis import strategies as st

    def sizes(*values: int) -> SearchStrategy[int]:
        return st.sampled_from(values)

    return st.builds(
        Usage,
        fresh_input=sizes(10_000, 23_000, 0),
        cache_read=sizes(0, 40_000, 12_000),
        output=sizes(5_000, 17_000),
        reasoning=sizes(0, 11_000, 30_000),
    )


def _script(way: Way, usage: Usage, writes: int, atlas: Atlas) -> Script:
    """Healthy providers that report this usage; where the language tells of writes to a cache, of these too."""
    if provider_behind(atlas.providers.get(way.model)) in _WRITES_CACHES:
        return Script(good=Good(usage=replace(usage, cache_write=writes)))
    return Script(good=Good(usage=usage))


def _cost_scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import ways

    streamed = st.booleans() if promises.streams and promises.has_spend_of else st.just(value=False)
    failing: list[Any] = [()]
    if promises.has_spend_of and promises.fallbacks:
        failing.append(((Fails(_ERROR),),))

    def build(way: Way, usage: Usage, writes: int, candidates: Any, *, stream: bool) -> Sequence[Scene]:
        script = replace(_script(way, usage, writes, atlas), candidates=candidates)
        ask = way.ask(request=replace(way.request, stream=stream))
        return [Scene(acts=(Act(asks=(ask,), script=script), *([_QUIET] if promises.has_spend_of else [])))]

    return st.builds(
        build,
        ways(promises, atlas),
        _usages(),
        st.sampled_from((0, 20_000, 8_000)),
        st.sampled_from(tuple(failing)),
        stream=streamed,
    )


def _cost_exact(promises: Promises, trial: Trial) -> Violation | None:
    (played,) = trial
    ask = played.asks[0]
    if _amounts.unpriced(ask.calls) or not ask.calls:
        return None
    return _by_response(promises, ask) or _by_sum(promises, played)


def _by_response(promises: Promises, ask: SeenAsk) -> Violation | None:
    """What a response is said to cost: the call that answered, alone or with any of the others of its request."""
    if ask.cost is None or not all(_amounts.reported(call) or not call.cost for call in ask.calls):
        return None
    answers = [call for call in ask.answering if call.completed]
    others = [call for call in ask.calls if call.cost and call not in answers[-1:]]
    if not answers or len(others) > _MOST_COMBINED:
        return None
    sums = [
        _amounts.total((answers[-1], *chosen))
        for size in range(len(others) + 1)
        for chosen in combinations(others, size)
    ]
    if any(agree(ask.cost, amount) for amount in sums):
        return None
    return Violation(
        expected=f"cost_of is {usd(sums[0])}: {_bill(answers[-1])}{_amounts.price_table(promises)}",
        seen=f"cost_of says {usd(ask.cost)}",
        counts={answers[-1].number: f"{usd(sums[0])}: {_bill(answers[-1])}"},
    )


def _by_sum(promises: Promises, played: Played) -> Violation | None:
    """What the router says that it has spent, where it was told of every token."""
    booked = _amounts.spent_in(played)
    calls = played.calls
    if booked is None or not all(_amounts.reported(call) or _amounts.known_free(call) for call in calls):
        return None
    billed = _amounts.total(calls)
    if agree(booked, billed):
        return None
    dear = [call for call in calls if call.cost]
    return Violation(
        expected=f"{usd(billed)} booked, as the replies say{_amounts.price_table(promises)}",
        seen=f"spend_of grew by {usd(booked)}",
        counts={call.number: f"{usd(call.cost or Decimal(0))}: {_bill(call)}" for call in dear},
    )


def _bill(call: SeenCall) -> str:
    """The tokens of a call, bucket by bucket."""
    usage = call.usage or Usage()
    names = {
        "fresh_input": "fresh",
        "cache_read": "read from the cache",
        "cache_write": "written to the cache",
        "output": "output",
        "reasoning": "reasoning",
    }
    parts = [f"{count} {words}" for name, words in names.items() if (count := getattr(usage, name))]
    return f"{' + '.join(parts)} tokens of {call.model}"


register(
    Law(
        id="cost_exact",
        family="money",
        says="what is booked for a request is the price of its tokens, each in its own bucket and each once.",
        why="cached or reasoning tokens that are counted twice, or not at all, make every budget and every bill wrong.",
        needs=("cost_of or spend_of",),
        advice="OpenAI and Gemini count cached tokens within the input, Anthropic beside it; OpenAI counts reasoning "
        "within the output, Gemini beside it; in a stream the last usage replaces the earlier ones",
        scenes=_cost_scenes,
        judge=_cost_exact,
    )
)


def _complete_scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import ways

    kinds = ["at once", "given up", *_failing(promises)]
    if promises.streams:
        kinds += ["streamed", "closed"]
    if promises.hedge_after is not None:
        kinds.append("hedged")

    def build(way: Way, kind: str, usage: Usage, after: int) -> Sequence[Scene]:
        return [Scene(acts=(_act(promises, way, kind, usage, after), _QUIET), name=kind)]

    return st.builds(
        build, ways(promises, atlas), st.sampled_from(tuple(kinds)), _usages(), st.integers(min_value=1, max_value=3)
    )


def _failing(promises: Promises) -> list[str]:
    """Failures that a provider bills, where another attempt follows them."""
    kinds = ["held back", "cut short"] if promises.fallbacks or promises.retries else []
    return [*kinds, "rejected"] if promises.cascade is not None and promises.cascade.rejects is not None else kinds


def _act(promises: Promises, way: Way, kind: str, usage: Usage, after: int) -> Act:
    good = Good(usage=usage)
    long = replace(way.request, prompt=_long(way.request.prompt))
    if kind == "at once":
        return Act(asks=tuple(way.ask(at=0.05 * number) for number in range(after + 1)), script=Script(good=good))
    if kind == "streamed":
        return Act(asks=(_streamed(way, way.request),), script=Script(good=good))
    if kind == "closed":
        slow = Script(good=Good(latency=1.0, chunks=6))
        return Act(asks=(_streamed(way, long, close_after=after),), script=slow)
    if kind == "given up":
        slow = Script(good=Good(latency=2.0))
        return Act(asks=(way.ask(request=long, cancel_after=1.0),), script=slow)
    if kind == "hedged":
        first = Good(latency=(promises.hedge_after or 0.0) + 2.0)
        return Act(asks=(way.ask(request=long),), script=Script(candidates=((first,),)))
    failing = {
        "held back": Good(text="", usage=usage, finish_reason="content_filter"),
        "cut short": Good(text="", usage=usage, finish_reason="length"),
        "rejected": Good(text=promises.cascade.rejects if promises.cascade else None, usage=usage),
    }[kind]
    return Act(asks=(way.ask(),), script=Script(candidates=((failing,),), good=good))


def _long(prompt: str) -> str:
    """A prompt again and again: long, and short to write down."""
    unit = f"{prompt[:150] or 'word'}\n"
    return unit * (_LONG // len(unit) + 1)


def _streamed(way: Way, request: RoutingRequest, close_after: int | None = None) -> Ask:
    return way.ask(request=replace(request, stream=True), close_after=close_after)


def _spend_complete(promises: Promises, trial: Trial) -> Violation | None:
    del promises
    (played,) = trial
    booked = _amounts.spent_in(played)
    if booked is None or _amounts.unpriced(played.calls):
        return None
    known = [call for call in played.calls if _amounts.reported(call)]
    unknown = [call for call in played.calls if not _amounts.reported(call) and not _amounts.known_free(call)]
    billed = _amounts.total(known)
    if booked < billed and not agree(booked, billed):
        missing = _missing(known, billed - booked)
        return Violation(
            expected=f"{usd(billed)} debited, as the replies say",
            seen=f"spend_of grew by {usd(booked)}: {usd(billed - booked)} are missing",
            counts={call.number: f"{usd(call.cost or Decimal(0))} were not debited" for call in missing},
        )
    estimated = [call for call in unknown if call.cost and call.ended is not None]
    if estimated and booked <= billed * (1 + Decimal("1e-12")):
        return Violation(
            expected="an estimate debited for what was given up: the provider bills what it had read and written",
            seen=f"spend_of grew by {usd(booked)}, and nothing of it is for "
            f"{'the call that was' if len(estimated) == 1 else 'calls that were'} given up",
            counts={call.number: f"billed about {usd(call.cost or Decimal(0))}, debited nothing" for call in estimated},
        )
    if not unknown and booked > billed and not agree(booked, billed):
        return Violation(
            expected=f"{usd(billed)} debited, as the replies say",
            seen=f"spend_of grew by {usd(booked)}: {usd(booked - billed)} too much",
            counts={call.number: f"{usd(call.cost or Decimal(0))}" for call in known if call.cost},
        )
    return None


def _missing(calls: Sequence[SeenCall], amount: Decimal) -> Sequence[SeenCall]:
    """The calls whose costs make up an amount; all where no few of them do."""
    dear = [call for call in calls if call.cost]
    for size in range(1, min(len(dear), 4) + 1):
        for chosen in combinations(dear, size):
            if agree(_amounts.total(chosen), amount):
                return chosen
    return dear


register(
    Law(
        id="spend_complete",
        family="money",
        says="every billed call is debited: fallbacks, streams, what was given up, classifiers and judges too.",
        why="what is not debited is paid all the same, and a budget that does not see it is no limit.",
        needs=("spend_of",),
        advice="debit in a `finally` around each provider call: the usage where one was reported, an estimate where "
        "the call was given up",
        scenes=_complete_scenes,
        judge=_spend_complete,
    )
)

_NOBODYS_MODEL: Final = "no-such-model-with-a-price"


def _price_scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.player import known_price
    from pytest_modelroute.providers.prices import PriceBook

    book = PriceBook(own=promises.prices)
    dark = {model for model in promises.known_models if not known_price(book, model)}
    scenes: list[Scene] = []
    for model, found in atlas.ways.items():
        chain = promises.chain(model)
        first = next((place for place, name in enumerate(chain) if name in dark), None)
        if first is not None:
            fails = tuple((Fails(_ERROR),) for _ in range(first))
            scenes += [way.scene(Script(candidates=fails)) for way in found]
    if "model" in promises.options:
        scenes += [
            replace(way, request=replace(way.request, options={"model": _NOBODYS_MODEL})).scene()
            for found in atlas.ways.values()
            for way in found
        ]
    if not scenes:
        return st.nothing()
    return st.sampled_from(scenes).map(lambda scene: [replace(scene, acts=(*scene.acts, _QUIET))])


def _price_known(promises: Promises, trial: Trial) -> Violation | None:
    """
    A call of a model that has no price.

    A router that books something for it has a price of its own, which the class could declare: nothing to complain of.
    """
    (played,) = trial
    dark = [call for call in played.calls if call.cost is None and call.completed]
    if not dark:
        return None
    priced = _amounts.total(played.calls)
    says = [played.asks[0].cost] if played.asks[0].cost is not None else []
    spent = _amounts.spent_in(played)
    says += [] if spent is None else [spent]
    if any(amount > priced and not agree(amount, priced) for amount in says):
        return None
    return Violation(
        expected=f"no call of {dark[0].model!r}, which has no price, since there is a budget",
        seen="it was called" + ("" if not says else " and booked as if it cost nothing"),
        counts={call.number: "what this costs is not known" for call in dark},
        advice="refuse before the call where the price table has no entry; declare `prices` where the router has one "
        "that genai-prices lacks"
        if not promises.prices
        else "",
    )


register(
    Law(
        id="price_known",
        family="money",
        says="with a budget, a model whose price is not known is not called.",
        why="an unknown price that counts as 0 is a budget without a limit.",
        needs=("budget",),
        advice="refuse before the call where the price table has no entry, in place of a default of 0",
        scenes=_price_scenes,
        judge=_price_known,
        examples=0.5,
    )
)
