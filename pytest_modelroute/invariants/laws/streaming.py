"""Whether a stream takes the same route as a whole answer, and says so when it breaks off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from pytest_modelroute import faults
from pytest_modelroute.invariants.law import Law, Violation, register
from pytest_modelroute.invariants.laws._leniency import arrow, ended_as, short_of_time
from pytest_modelroute.invariants.promises import Promises
from pytest_modelroute.invariants.scenes import Act, Behaviour, Fails, Good, Scene, Script
from pytest_modelroute.invariants.seen import SeenAsk, Trial
from pytest_modelroute.providers.exchange import split_text
from pytest_modelroute.wire.faults import AnyFault

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from pytest_modelroute.invariants.atlas import Atlas, Way

_TEXT: Final = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu"
"What every candidate answers, so that a repeated beginning or a missing end can be told."
_WHOLE, _STREAMED, _SOUND, _BROKEN, _CLOSED = "not streamed", "streamed", "a sound stream", "broken off", "closed early"
_BEFORE: Final = (
    "rate_limit",
    "quota_exhausted",
    "overloaded",
    "unavailable",
    "server_error",
    "request_timeout",
    "connect_error",
    "connection_reset",
    "model_not_found",
    "context_overflow",
    "bad_request",
    "authentication",
    "permission",
)
"""
Faults before the first byte. What begins with a status 200 is not among them, nor is silence: a client that reads a
stream cannot know of a filter or of a broken body before it has begun, and has time-outs of its own for streams.
"""
_AFTER: Final = ("stream_cut", "stream_error", "stream_corrupted", "stream_stalled")
_MOST_PIECES: Final = 7
_CUMULATIVE: Final = 3


def _text(promises: Promises) -> str | None:
    """What all candidates answer: a text that the router takes for a good answer; None where nobody can say."""
    if callable(promises.answers):
        return None
    cascade = promises.cascade
    if cascade is not None and cascade.accepts is not None:
        return cascade.accepts
    if cascade is not None and cascade.confidence is not None:
        return cascade.confidence.format(text=_TEXT, confidence=1.0)
    return promises.answers or _TEXT


def _scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import ways

    every = ways(promises, atlas)
    kinds = [st.builds(_closed, every)]
    if _same_route(promises):
        failing = st.one_of(ways(promises, atlas, with_fallbacks=True), every) if promises.fallbacks else every
        before = st.sampled_from(_BEFORE).map(_fault)
        kinds.append(st.builds(_unbegun, failing, before, st.integers(1, 4)))
        kinds.append(st.builds(_unbegun, every, st.just(Good(text="")), st.just(1)))
    text = _text(promises)
    pieces = 0 if text is None else len(split_text(text, None))
    if text is not None and pieces > 1:
        after = st.integers(1, min(_MOST_PIECES, pieces - 1))
        broken = st.builds(_fault, st.sampled_from(_AFTER), after=after, text=st.just(text))
        then = st.sampled_from(("fails", "heals"))
        kinds += [st.builds(_broken, every, broken, then, st.just(text))] * 2
    return st.one_of(*kinds)


def _fault(name: str, **options: Any) -> Fails:
    fault: AnyFault = getattr(faults, name)(**options)
    return Fails(fault)


def _same_route(promises: Promises) -> bool:
    """
    Whether a stream must take the route of a whole answer.

    A gate needs a whole answer, hedges are a matter of moments, and balanced requests go anywhere: such routers may
    well treat streams in another way.
    """
    limited = any(not capability.streaming for capability in (promises.capabilities or {}).values())
    varies = promises.cascade is not None or promises.hedge_after is not None or promises.load_balanced is not None
    return not limited and not varies


def _streamed(way: Way, script: Script, name: str, **ask: Any) -> Scene:
    request = replace(way.request, stream=True)
    return Scene(acts=(Act(asks=(way.ask(request=request, **ask),), script=script),), name=name)


def _unbegun(way: Way, behaviour: Behaviour, times: int) -> Sequence[Scene]:
    script = Script(candidates=((behaviour,),) * times)
    return [way.scene(script, name=_WHOLE), _streamed(way, script, _STREAMED)]


def _broken(way: Way, fault: Fails, then: str, text: str) -> Sequence[Scene]:
    good = Good(text=text)
    script = Script(candidates=((fault, good) if then == "heals" else (fault,),), good=good)
    return [_streamed(way, Script(good=good), _SOUND), _streamed(way, script, _BROKEN)]


def _closed(way: Way) -> Sequence[Scene]:
    return [_streamed(way, Script(good=Good(latency=1.0)), _CLOSED, close_after=1)]


def _judge(promises: Promises, trial: Trial) -> Violation | None:
    by_name = {played.scene.name: played.only for played in trial}
    if _CLOSED in by_name:
        return _closing(by_name[_CLOSED])
    if _BROKEN in by_name:
        return _breaking(by_name[_SOUND], by_name[_BROKEN])
    return _beginning(promises, by_name[_WHOLE], by_name[_STREAMED])


def _beginning(promises: Promises, whole: SeenAsk, streamed: SeenAsk) -> Violation | None:
    """Until the first byte there is no difference: the same models, and an answer or an error for both."""
    if short_of_time(promises, (whole, streamed)):
        return None
    if not any(isinstance(call.behaviour, Fails) for call in whole.answering):
        # An empty answer: only what the stream asks beyond the other is wrong.
        return _differ(whole, streamed) if len(streamed.models) > len(whole.models) else None
    same = whole.models == streamed.models and whole.outcome == streamed.outcome
    return None if same else _differ(whole, streamed)


def _differ(whole: SeenAsk, streamed: SeenAsk) -> Violation:
    return Violation(
        expected=f"{arrow(whole.models)}, and it {ended_as(whole)}, as the same request without a stream",
        seen=f"streamed, it went {arrow(streamed.models)} and {ended_as(streamed)}",
    )


def _closing(ask: SeenAsk) -> Violation | None:
    """A caller that closes a stream wants no other."""
    closed = next(
        (call for call in ask.answering if call.streamed and not call.completed and call.ended is not None), None
    )
    if closed is None or closed.ended is None:
        return None
    later = [call for call in ask.answering if call.number > closed.number and call.started >= closed.ended]
    if not later:
        return None
    return Violation(
        expected=f"no further call once the caller had closed the stream of {closed.model}",
        seen=f"{later[0].model} was asked next",
        counts={later[0].number: "nobody reads this"},
        advice="let GeneratorExit and CancelledError pass: they are no failures of the provider",
    )


def _breaking(sound: SeenAsk, broken: SeenAsk) -> Violation | None:
    """A stream that breaks off raises, or is made good by one whole answer."""
    first = next((call for call in broken.answering if isinstance(call.behaviour, Fails)), None)
    whole, text = sound.text.strip(), broken.text.strip()
    if first is None or not first.streamed or not whole or sound.outcome != "answered":
        return None
    if _repeats(sound, broken):
        return Violation(
            expected=f"an error after the first text was delivered, or one whole answer: {whole[:40]!r}...",
            seen=f"the beginning was delivered again: {text[:90]!r}",
            counts={first.number: "broke off, and its text had been delivered"},
            advice="do not retry or fall back once text was delivered, or withhold the text until it is whole",
        )
    if broken.outcome == "answered" and len(text) < len(whole) and whole.startswith(text):
        return Violation(
            expected="an error, or one whole answer",
            seen=f"{text!r} was presented as the answer, and ended without an error",
            counts={first.number: "broke off here"},
        )
    return None


def _repeats(sound: SeenAsk, broken: SeenAsk) -> bool:
    """
    Whether delivered text begins anew.

    Not where each piece holds all text so far, nor where the next candidate was shown what was delivered and asked to
    go on from there: that ours begins anew is our doing then.
    """
    opening = sound.text.split()[0]
    if broken.text.count(opening) <= sound.text.count(opening):
        return False
    if len(sound.chunks) >= _CUMULATIVE and all(b.startswith(a) for a, b in pairwise(filter(None, sound.chunks))):
        return False
    later = broken.answering[1:]
    return not any(opening in message.text for call in later for message in call.messages)


register(
    Law(
        id="stream_parity",
        family="streaming",
        says="a stream takes the route of a whole answer, and one that breaks off is an error or is made good once.",
        why="streamed requests silently lose their fallbacks, and users read half an answer, or its beginning twice.",
        needs=("streams",),
        advice="go through the same chain of candidates for streams, and raise when one ends without its end marker",
        scenes=_scenes,
        judge=_judge,
        examples=1.5,
    )
)
