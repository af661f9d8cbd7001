"""What a router does not do: take a good answer for a failure, go on after the caller gave up, try without end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from pytest_modelroute import faults
from pytest_modelroute.invariants.law import Law, Violation, register
from pytest_modelroute.invariants.laws._chains import entered, out_of_money, single_path, some_of
from pytest_modelroute.invariants.promises import Promises
from pytest_modelroute.invariants.scenes import Act, Behaviour, Fails, Good, Scene, Script
from pytest_modelroute.invariants.seen import Played, SeenAsk, SeenCall, Trial
from pytest_modelroute.providers.exchange import ToolCall
from pytest_modelroute.wire.faults import OddReply

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from pytest_modelroute.invariants.atlas import Atlas, Way

# ------------------------------------------------------------- no_spurious_fallback

_PLAIN_TEXTS: Final = (
    "0",
    "No.",
    "I'm sorry, but I cannot help with that.",
    "error 500: the server is overloaded",
    '{"error": {"code": "rate_limit_exceeded", "message": "Rate limit reached"}}',
    "null",
)
"Answers that look like failures to whoever looks at their text."
_TOOLS: Final[dict[str, Any]] = {
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "find_order",
                "description": "Finds an order.",
                "parameters": {"type": "object", "properties": {"id": {"type": "string"}}},
            },
        }
    ]
}
_GIVES_UP_S: Final = 1.0
_SLOW: Final = Good(latency=5.0)


def _spurious_scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import ways

    heads = ways(promises, atlas, with_fallbacks=True)
    cells: list[SearchStrategy[Scene]] = []
    if single_path(promises):
        cells += [st.builds(_good_scene, heads, st.just(good)) for good in _goods(promises)]
        cells += [st.builds(_tool_scene, heads)]
    if promises.streams and single_path(promises):
        streamed = [Good(text=""), Good(text="0", chunks=1), Good(chunks=3)]
        cells += [st.builds(_stream_scene, heads, st.just(good)) for good in streamed]
    if atlas.is_async:
        cells.append(heads.map(_cancelled_scene))
    return some_of(cells, often=3)


def _goods(promises: Promises) -> list[Behaviour]:
    """Good answers; where the router reads what models say, in the class's own words."""
    if promises.answers is not None:
        return [Good(finish_reason="length"), Good(latency=1.0)]
    odd = [Good(text=text) for text in _PLAIN_TEXTS]
    return [Good(text=""), Good(finish_reason="length"), Fails(faults.missing_usage()), *odd]


def _good_scene(way: Way, good: Behaviour) -> Scene:
    return way.scene(Script(candidates=((good,),)), name="a good answer")


def _tool_scene(way: Way) -> Scene:
    asked = replace(way, request=replace(way.request, params={**way.request.params, **_TOOLS}))
    call = ToolCall(id="call_1", name="find_order", arguments={"id": "A-17"})
    good = Good(text="", tool_calls=(call,), finish_reason="tool_calls")
    return asked.scene(Script(candidates=((good,),)), name="a tool call")


def _stream_scene(way: Way, good: Good) -> Scene:
    streamed = replace(way, request=replace(way.request, stream=True))
    return streamed.scene(Script(candidates=((good,),)), name="a stream")


def _cancelled_scene(way: Way) -> Scene:
    ask = way.ask(cancel_after=_GIVES_UP_S)
    return Scene(acts=(Act(asks=(ask,), script=Script(good=_SLOW)),), name="the caller gives up")


def _no_spurious_fallback(promises: Promises, trial: Trial) -> Violation | None:
    for played in trial:
        judge = _one_call if played.only.ask.cancel_after is None else _silence
        if found := judge(promises, played):
            return replace(found, play=played)
    return None


def _one_call(promises: Promises, played: Played) -> Violation | None:
    """
    A good answer is the answer.

    An empty, a truncated and a tool-calling one may have the same model asked again (some frameworks do), or be refused
    with an error, but never replaced by another model's.
    """
    ask = played.only
    if not ask.answering or (tools_asked(ask) and not ask.answering[0].tools):
        return None
    first = ask.answering[0]
    expected = f"{_described(first.behaviour)} of {first.model} is returned as it is, after one call"
    others = [call for call in ask.answering[1:] if call.candidate != first.candidate or _is_plain(first.behaviour)]
    if others:
        return Violation(
            expected=expected,
            seen=f"{others[0].model} was asked as well",
            counts={first.number: "a good answer", **{call.number: "asked for nothing" for call in others}},
        )
    if ask.error is None or not _is_plain(first.behaviour) or out_of_money(promises, ask):
        return None
    if isinstance(ask.error, promises.refuses) or _is_unpriced(promises, first.behaviour):
        return None
    seen = f"ask raised {type(ask.error).__name__}: {str(ask.error)[:120]}"
    return Violation(expected=expected, seen=seen, counts={first.number: "a good answer"})


def tools_asked(ask: SeenAsk) -> bool:
    """Whether the request offers tools; a router that does not pass them on need not understand a call of one."""
    return "tools" in ask.ask.request.params


def _is_plain(behaviour: Behaviour | str | None) -> bool:
    if isinstance(behaviour, Good):
        return behaviour.text != "" and behaviour.finish_reason == "stop"
    return isinstance(behaviour, Fails)


def _is_unpriced(promises: Promises, behaviour: Behaviour | str | None) -> bool:
    """Whether a router that counts money may refuse the answer, since nobody knows what it cost."""
    counts = promises.budget is not None or promises.has_spend_of or promises.has_cost_of
    return counts and isinstance(behaviour, Fails) and isinstance(behaviour.fault, OddReply)


def _described(behaviour: Behaviour | str | None) -> str:
    if isinstance(behaviour, Fails):
        return "the good answer without a usage"
    if not isinstance(behaviour, Good) or behaviour.text is None:
        return (
            "the good answer"
            if isinstance(behaviour, Good) and behaviour.finish_reason == "stop"
            else "the short answer"
        )
    return "the tool call" if behaviour.tool_calls else f"the good answer {behaviour.text!r}"


def _silence(promises: Promises, played: Played) -> Violation | None:
    """After the caller gave up, nobody is asked any more."""
    del promises
    ask = played.only
    if ask.outcome != "cancelled":
        return None
    moment = ask.started + (ask.ask.cancel_after or 0.0)
    late = [call for call in ask.calls if call.started > moment]
    if not late:
        return None
    return Violation(
        expected=f"no provider is asked after the caller gave up at {moment:g} s",
        seen=f"{late[0].model} was asked at {late[0].started:g} s",
        counts={call.number: "asked for a caller who is gone" for call in late},
        advice="asyncio.CancelledError is no failure: let it pass, and never catch BaseException around a call",
    )


register(
    Law(
        id="no_spurious_fallback",
        family="failover",
        says="a good answer is no failure, however odd, short or empty it is, and neither is a caller who gives up.",
        why="a second model is paid for an answer that was there, and says something else than the chosen one.",
        needs=("fallbacks",),
        when=lambda promises: single_path(promises) or promises.cascade is not None or promises.hedge_after is not None,
        advice="tell failures by status and exceptions; an empty text, a finish reason or a word in the answer is none",
        scenes=_spurious_scenes,
        judge=_no_spurious_fallback,
        each=True,
        examples=0.8,
    )
)


# -------------------------------------------------------------------- bounded_work


def _bounded_scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import CALLERS_FAULTS, FAULTS_BY_CLASS, ways

    heads = ways(promises, atlas)
    every = [Fails(fault) for row in FAULTS_BY_CLASS.values() for fault in row]
    every += [Fails(fault) for fault in CALLERS_FAULTS]
    cells = [st.builds(_hopeless, st.just(promises), heads, st.just(fails)) for fails in every]
    if promises.classifier is not None and promises.retries is not None:
        broken = [Fails(FAULTS_BY_CLASS[name][0]) for name in ("rate_limited", "server_error", "connection", "timeout")]
        cells += [st.builds(_unclassified, heads, st.just(fails)) for fails in broken]
    return some_of(cells, often=2)


def _hopeless(promises: Promises, way: Way, fails: Fails) -> Scene:
    """Every candidate fails for good, and one more than there are."""
    many = (
        len(promises.chain(way.model))
        if single_path(promises) and way.model in promises.fallbacks
        else len(promises.known_models)
    )
    return way.scene(Script(candidates=((fails,),) * (many + 1)), name="every candidate fails")


def _unclassified(way: Way, fails: Fails) -> Scene:
    asked = replace(way, label=None)
    return asked.scene(Script(label=fails), name="the classifier fails")


def _bounded_work(promises: Promises, trial: Trial) -> Violation | None:
    for played in trial:
        found = _endless(played) or _too_often(promises, played.only) or _too_many(promises, played.only)
        if found:
            return replace(found, play=played)
    return None


def _endless(played: Played) -> Violation | None:
    if played.endless is None:
        return None
    ask = played.asks[-1] if played.asks else None
    calls = ask.calls if ask is not None else ()
    model, times = Counter(call.model for call in calls).most_common(1)[0] if calls else ("no model", 0)
    return Violation(
        expected="every request ends, in an answer or an error, when nobody answers",
        seen=f"this one never ended: {model} was asked {times} times. {played.endless}",
        counts={call.number: "and so on" for call in calls[-1:]},
        advice="count attempts, mark the candidates that were tried, and give every wait a limit",
    )


def _too_often(promises: Promises, ask: SeenAsk) -> Violation | None:
    """
    No candidate, and no classifier, is asked more often than the promised retries allow, the client library's included.

    Not judged where a cascade may lead to a model more than once; where several are asked at once, their sum is.
    """
    if promises.retries is None or promises.cascade is not None:
        return None
    most = 1 + promises.retries
    rows: dict[str, list[SeenCall]] = {}
    for call in ask.calls:
        if call.role in ("answer", "classifier"):
            name = call.model if call.role == "answer" else f"the classifier {call.model}"
            rows.setdefault(f"{name} at {call.provider}", []).append(call)
    for who, calls in rows.items():
        if len(calls) > most and single_path(promises):
            return Violation(
                expected=f"{who} is asked {_times(most)} at the most: once, and {_times(promises.retries)} again",
                seen=f"it was asked {_times(len(calls))} in one request",
                counts={call.number: "one too many" for call in calls[most:]},
            )
    total = most * len(promises.known_models)
    if len(ask.answering) > total:
        return Violation(
            expected=f"at the most {total} attempts: {len(promises.known_models)} models, {_times(most)} each",
            seen=f"there were {len(ask.answering)}",
            counts={call.number: "one too many" for call in ask.answering[total:]},
        )
    return None


def _times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number} times")


def _too_many(promises: Promises, ask: SeenAsk) -> Violation | None:
    """Each candidate is entered once, and there are no more of them than were declared."""
    if not single_path(promises):
        return None
    twice = [place for place, candidate in enumerate(ask.entries) if candidate in ask.entries[:place]]
    if twice:
        model = ask.entries[twice[0]][1]
        return Violation(
            expected="each candidate is entered once a request, and left for good when it has failed",
            seen=f"{model} was come back to: {' -> '.join(ask.models)}",
            counts={call.number: "entered before" for call in ask.answering if call.model == model},
            advice="walk through the chain once, without the fallbacks of models that were tried",
        )
    head = ask.head or ""
    most = len(promises.chain(head)) if head in promises.fallbacks else len(promises.known_models)
    asked = entered(ask)
    if len(asked) > most:
        return Violation(
            expected=f"{_times(most)} a candidate: {' -> '.join(promises.chain(head))}",
            seen=f"{len(asked)} candidates were asked: {' -> '.join(model for _, model in asked)}",
            counts={call.number: "one too many" for call in ask.answering if call.candidate in asked[most:]},
        )
    return None


register(
    Law(
        id="bounded_work",
        family="failover",
        says="a request that nobody can answer ends: each candidate is entered once, and asked again no more often "
        "than promised, the client library's own retries included.",
        why="when a provider is down, every request of every user is sent to it over and over: the outage grows, and "
        "so does the bill.",
        needs=(),
        advice="retries of the client library come on top of your own (openai and anthropic: max_retries=2): set one "
        "of them to 0; look for fallbacks that lead back to where they came from",
        scenes=_bounded_scenes,
        judge=_bounded_work,
        each=True,
        examples=0.8,
    )
)
