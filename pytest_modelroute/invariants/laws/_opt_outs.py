"""`opt_outs`: the switches of a request hold on every path."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from pytest_modelroute import faults
from pytest_modelroute.invariants.law import Law, Violation, register
from pytest_modelroute.invariants.laws import _gates
from pytest_modelroute.invariants.laws._leniency import arrow, ended_as, passing_faults
from pytest_modelroute.invariants.promises import Promises
from pytest_modelroute.invariants.scenes import Fails, Good, Scene, Script
from pytest_modelroute.invariants.seen import SeenAsk, SeenCall, Trial
from pytest_modelroute.wire.faults import AnyFault, BrokenReply

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from pytest_modelroute.invariants.atlas import Atlas, Way

_SWITCHES: Final = ("no_fallbacks", "retries", "hedge", "cascade", "deadline")
_SLOW_S: Final = 1.5
"Seconds by which a slow candidate outlasts the moment of a hedge."
_DEADLINE_S: Final = 2.0
_SLACK: Final = 0.15
"What a request may take beyond its deadline: a share, and as many seconds."
_IN_STREAM: Final = ("stream_cut", "stream_error", "stream_corrupted")


def _testable(promises: Promises) -> list[str]:
    """The switches that something can be said about."""
    gates = promises.cascade is not None and _gates.can_reject(promises.cascade)
    hedges = promises.hedge_after is not None and _beyond_hedge(promises) < 0.8 * (promises.deadline or 60.0)
    settled = _settled(promises)
    can = {
        "no_fallbacks": bool(promises.fallbacks) and settled,
        "retries": settled,
        "hedge": hedges,
        "cascade": gates and promises.hedge_after is None,
        "deadline": True,
    }
    return [name for name in _SWITCHES if name in promises.options and can[name]]


def _settled(promises: Promises) -> bool:
    """Whether nobody but a fallback asks another candidate, or the same one again: else it is no matter of a switch."""
    free = promises.load_balanced is None
    free &= promises.hedge_after is None or "hedge" in promises.options
    return free and (promises.cascade is None or "cascade" in promises.options)


def _beyond_hedge(promises: Promises) -> float:
    return (promises.hedge_after or 0.0) + _SLOW_S


def _scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import ways

    switches = _testable(promises)
    chain, every = ways(promises, atlas, with_fallbacks=True), ways(promises, atlas)
    passing, streamed = passing_faults(promises), st.booleans() if promises.streams else st.just(value=False)
    midway = st.sampled_from(_IN_STREAM).map(_broken) if promises.streams else st.nothing()
    built: Mapping[str, SearchStrategy[Sequence[Scene]]] = {
        "no_fallbacks": st.builds(partial(_no_fallbacks, promises), chain, st.one_of(passing, midway), streamed),
        "retries": st.builds(
            partial(_retries, promises), st.one_of(chain, every), passing, st.integers(1, 4), streamed
        ),
        "hedge": st.builds(partial(_hedge, promises), every),
        "cascade": st.builds(partial(_cascade, promises), every),
        "deadline": st.builds(partial(_deadline, promises), every, st.sampled_from((2.0, 4.0))),
    }
    return st.one_of(*(built[name] for name in switches)) if switches else st.nothing()


def _broken(name: str) -> Fails:
    fault: AnyFault = getattr(faults, name)(after=3)
    return Fails(fault)


def _with(promises: Promises, way: Way, options: Mapping[str, Any], *, stream: bool = False) -> Way:
    """The request with a switch, and without what else may ask somebody: a hedge, a cascade."""
    quiet: dict[str, Any] = {
        name: False for name in ("hedge", "cascade") if name in promises.options and _has(promises, name)
    }
    return replace(way, request=replace(way.request, options={**quiet, **options}, stream=stream))


def _has(promises: Promises, name: str) -> bool:
    return (promises.hedge_after if name == "hedge" else promises.cascade) is not None


def _no_fallbacks(promises: Promises, way: Way, fault: Fails, stream: bool) -> Sequence[Scene]:
    way = _with(promises, way, {"no_fallbacks": True}, stream=stream)
    return [way.scene(Script(candidates=((fault,),)), name="no_fallbacks")]


def _retries(promises: Promises, way: Way, fault: Fails, times: int, stream: bool) -> Sequence[Scene]:
    way = _with(promises, way, {"retries": 0}, stream=stream)
    return [way.scene(Script(candidates=((fault,),) * times), name="retries")]


def _hedge(promises: Promises, way: Way) -> Sequence[Scene]:
    slow = Good(latency=_beyond_hedge(promises))
    return [_with(promises, way, {"hedge": False}).scene(Script(candidates=((slow,),)), name="hedge")]


def _cascade(promises: Promises, way: Way) -> Sequence[Scene]:
    cascade = promises.cascade
    assert cascade is not None  # noqa: S101 - the condition of this kind
    script = _gates.script(promises, cascade, [_gates.REJECTED] * len(_gates.tiers(promises)), None)
    return [_with(promises, way, {"cascade": False}).scene(script, name="cascade")]


def _deadline(promises: Promises, way: Way, slow: float) -> Sequence[Scene]:
    limit = min(_DEADLINE_S, (promises.deadline or 60.0) / 2)
    script = Script(good=Good(latency=limit * slow))
    return [_with(promises, way, {"deadline": limit}).scene(script, name="deadline")]


def _judge(promises: Promises, trial: Trial) -> Violation | None:
    del promises
    (played,) = trial
    return _JUDGES[played.scene.name](played.only)


def _judge_no_fallbacks(ask: SeenAsk) -> Violation | None:
    others = [call for call in ask.answering if call.model != ask.head]
    if others:
        return Violation(
            expected=f"{ask.head} alone, since the request says no_fallbacks",
            seen=f"it went {arrow(ask.models)}",
            counts={others[0].number: "a fallback all the same"},
        )
    failed = [call for call in ask.answering if _refused(call)]
    if failed and len(failed) == len(ask.answering) and ask.outcome == "answered":
        return Violation(
            expected=f"the error of {ask.head}, since the request says no_fallbacks",
            seen=f"it {ended_as(ask)}: {ask.text[:80]!r}",
            counts={failed[-1].number: "this is the error"},
        )
    return None


def _refused(call: SeenCall) -> bool:
    """Whether a call was answered with an error; how a stream ends that breaks off is a matter of `stream_parity`."""
    return isinstance(call.behaviour, Fails) and not isinstance(call.behaviour.fault, BrokenReply)


def _judge_retries(ask: SeenAsk) -> Violation | None:
    counted = Counter(call.candidate for call in ask.answering)
    for (provider, model), times in counted.items():
        if times > 1:
            return Violation(
                expected=f"one call of {model}, since the request says retries = 0",
                seen=f"{provider}/{model} was called {times} times",
                counts={call.number: "again" for call in ask.answering if call.candidate == (provider, model)},
                advice="hand the switch to the client library too (max_retries=0): it retries by itself",
            )
    return None


def _judge_hedge(ask: SeenAsk) -> Violation | None:
    calls = ask.answering
    for before, call in pairwise(calls):
        if before.ended is None or call.started < before.ended:
            return Violation(
                expected=f"{before.model} alone, since the request says hedge = False",
                seen=f"{call.model} was asked at {call.started:g} s, while {before.model} was still at work",
                counts={call.number: "a hedge all the same"},
            )
    return None


def _judge_cascade(ask: SeenAsk) -> Violation | None:
    if len(ask.entries) <= 1:
        return None
    return Violation(
        expected=f"the answer of {ask.head}, since the request says cascade = False",
        seen=f"it went {arrow(ask.models)}",
        counts={ask.answering[-1].number: "escalated all the same"},
    )


def _judge_deadline(ask: SeenAsk) -> Violation | None:
    limit = float(ask.ask.request.options["deadline"])
    if ask.elapsed <= limit * (1 + _SLACK) + _SLACK:
        return None
    return Violation(
        expected=f"an answer or an error within {limit:g} s, the deadline of the request",
        seen=f"it {ended_as(ask)} after {ask.elapsed:g} s",
        counts={
            call.number: "too late" for call in ask.answering if call.ended is None or call.ended > ask.started + limit
        },
    )


_JUDGES: Final[Mapping[str, Callable[[SeenAsk], Violation | None]]] = {
    "no_fallbacks": _judge_no_fallbacks,
    "retries": _judge_retries,
    "hedge": _judge_hedge,
    "cascade": _judge_cascade,
    "deadline": _judge_deadline,
}

register(
    Law(
        id="opt_outs",
        family="handling",
        says="the switches of a request (no_fallbacks, retries, hedge, cascade, deadline) hold on every path.",
        why="a caller who cannot bear a second attempt, a second model or a long wait gets one all the same.",
        needs=("options",),
        when=lambda promises: bool(_testable(promises)),
        advice="follow the switch down each path: retries of the client, streams, hedges, errors in mid-answer",
        scenes=_scenes,
        judge=_judge,
    )
)
