"""`speculation`: a second model is asked when the first is slow, the first good answer wins, the rest is ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from pytest_modelroute.invariants.law import Law, Violation, register
from pytest_modelroute.invariants.laws._amounts import total
from pytest_modelroute.invariants.laws._leniency import failing, is_still_open, passing_faults
from pytest_modelroute.invariants.promises import Promises
from pytest_modelroute.invariants.scenes import Act, Behaviour, Fails, Good, Scene, Script
from pytest_modelroute.invariants.seen import Played, SeenAsk, SeenCall, Trial

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from pytest_modelroute.invariants.atlas import Atlas, Way

_FAST, _SLOW, _ONE_FAILS, _ALL_FAIL = "the first is fast", "the first is slow", "one fails", "all fail"
_IN_THREADS: Final = ", in threads"
"Of a synchronous router: threads cannot be cancelled, and when each of them runs is no matter of the router."
_SLACK_S: Final = 0.05
_SLACK: Final = 0.02
_LATER_S: Final = 30.0
"When the request is made again, so that what goes on behind the first one's back has the time to be seen."
_SECONDS: Final = (0.3, 0.6, 1.0)
_LONGER: Final = (0.4, 1.1, 1.9)
_MOST: Final = 0.6
"The share of a deadline that a scene may take."


def _scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import ways

    after = promises.hedge_after or 0.0
    longest = after + max(_SECONDS) + max(_LONGER)
    if promises.hedge_after is None or longest > _MOST * (promises.deadline or longest / _MOST):
        return st.nothing()
    plan = _Plan(after=after, threads=not atlas.is_async)
    way, passing, which = ways(promises, atlas), passing_faults(promises), st.sampled_from(("first", "second"))
    seconds, longer = st.sampled_from(_SECONDS), st.sampled_from(_LONGER)
    slow = st.builds(plan.slow, way, which, seconds, longer)
    kinds = [slow, slow, st.builds(plan.one_fails, way, which, passing, seconds)]
    kinds.append(st.builds(plan.all_fail, way, passing, st.sampled_from((0.0, after))))
    if after:
        kinds.append(st.builds(plan.fast, way, st.sampled_from((0.3 * after, 0.9 * after))))
    return st.one_of(*kinds)


@dataclass(frozen=True, slots=True)
class _Plan:
    """The scenes for a router that hedges after so many seconds."""

    after: float
    threads: bool

    def fast(self, way: Way, seconds: float) -> Sequence[Scene]:
        """Nobody else is needed."""
        return [self._scene(way, _FAST, Script(good=Good(latency=seconds)))]

    def slow(self, way: Way, wins: str, second: float, more: float) -> Sequence[Scene]:
        """The first one takes longer than the moment of the hedge, and is before or after the second all the same."""
        first = self.after + second + (more if wins == "second" else -0.1)
        quick = Good(latency=second)
        return [self._scene(way, _SLOW, Script(candidates=((Good(latency=first), quick),), good=quick))]

    def one_fails(self, way: Way, which: str, fault: Fails, second: float) -> Sequence[Scene]:
        """Once both are under way, one fails; beside it, a scene that shows whether there are two."""
        quick, late = Good(latency=second + 0.3), Good(latency=self.after + second + 1.0)
        broken = Fails(fault.fault, latency=0.1 + (self.after if which == "first" else 0.0))
        rows: tuple[tuple[Behaviour, ...], ...] = ((broken,), (quick,))
        if which == "second":
            rows = ((Good(latency=self.after + second + 0.3),), (broken,))
        return [
            self._scene(way, _SLOW, Script(candidates=((late, quick),), good=quick)),
            self._scene(way, _ONE_FAILS, Script(candidates=rows, good=quick)),
        ]

    def all_fail(self, way: Way, fault: Fails, later: float) -> Sequence[Scene]:
        """Whoever is asked."""
        return [self._scene(way, _ALL_FAIL, failing(Fails(fault.fault, latency=0.1 + later), 6))]

    def _scene(self, way: Way, name: str, script: Script) -> Scene:
        asks = (way.ask(),) if self.threads else (way.ask(), way.ask(at=_LATER_S))
        return Scene(acts=(Act(asks=asks, script=script),), name=name + _IN_THREADS * self.threads)


def _judge(promises: Promises, trial: Trial) -> Violation | None:
    played = trial[-1]
    name = played.scene.name.removesuffix(_IN_THREADS)
    threads = name != played.scene.name
    found = None
    if name == _ONE_FAILS:
        found = _sunk(trial)
    if name == _ALL_FAIL:
        found = _made_up(played)
    if found is None and not threads:
        found = next(_timing(promises, played, name), None)
    return found or _unbooked(played)


def _sunk(trial: Trial) -> Violation | None:
    """One failing model does not sink the other one, where another is asked at all."""
    control, ask = trial[0].asks[0], trial[-1].asks[0]
    good = [call for call in ask.answering if isinstance(call.behaviour, Good)]
    if len({call.candidate for call in control.answering}) < 2 or ask.outcome != "raised" or not good:  # noqa: PLR2004
        return None
    failed = next(call for call in ask.answering if isinstance(call.behaviour, Fails))
    return Violation(
        expected=f"the answer of {good[0].model}, which was asked too",
        seen=f"ask raised {type(ask.error).__name__}: {ask.error}",
        counts={failed.number: "one failure", good[0].number: "and one answer, which nobody waited for"},
        advice="wait for the first good answer, not for the first that ends; raise when all have failed",
    )


def _made_up(played: Played) -> Violation | None:
    ask = played.asks[0]
    if ask.outcome != "answered" or not ask.answering or any(call.completed for call in ask.answering):
        return None
    return Violation(
        expected="an error, since every model failed",
        seen=f"ask returned {ask.text[:80]!r}",
        counts={call.number: "failed" for call in ask.answering},
    )


def _timing(promises: Promises, played: Played, name: str) -> Iterator[Violation]:
    ask, after = played.asks[0], promises.hedge_after or 0.0
    calls = ask.answering
    if not calls or any(call.error == "timeout" for call in calls):
        return
    if name == _FAST:
        yield from _needless(ask, after)
    if name == _SLOW:
        yield from _late(promises, ask, after)
        yield from _not_first(ask)
    if name != _ALL_FAIL:
        yield from _leaked(ask)


def _slack(seconds: float) -> float:
    return _SLACK_S + _SLACK * seconds


def _needless(ask: SeenAsk, after: float) -> Iterator[Violation]:
    """A second call before its moment, or after the first answer; a classification may have taken some of the time."""
    first = ask.answering[0]
    for call in ask.answering[1:]:
        if call.started >= ask.started + after and (first.ended is None or call.started < first.ended):
            continue
        yield Violation(
            expected=f"{first.model} alone: it answered before the {after:g} s after which another is asked",
            seen=f"{call.model} was asked at {call.started - ask.started:g} s",
            counts={call.number: "needless"},
        )


def _late(promises: Promises, ask: SeenAsk, after: float) -> Iterator[Violation]:
    """The second call is made when its moment has come: counted from the request, or from the first call."""
    first, begin = ask.answering[0], ask.started
    if len(ask.answering) < 2 and not _has_second(promises, first.model):  # noqa: PLR2004 - a first and a second
        return
    if len(ask.answering) < 2:  # noqa: PLR2004
        yield Violation(
            expected=f"a second model {after:g} s after the first one, which was still at work",
            seen=f"only {first.model} was asked",
            counts={first.number: f"took {first.ended - first.started:g} s" if first.ended is not None else "slow"},
        )
        return
    second = ask.answering[1]
    if begin + after - _slack(after) <= second.started <= first.started + after + _slack(after):
        return
    yield Violation(
        expected=f"a second model {after:g} s after the first one",
        seen=f"{second.model} was asked after {second.started - first.started:g} s",
        counts={second.number: "not when it was promised"},
    )


def _has_second(promises: Promises, head: str) -> bool:
    """
    Whether another model is there to be asked beside this one.

    Its fallbacks are, where there are any, else a larger tier; a router of one model asks that one again.
    """
    if promises.fallbacks:
        return bool(promises.fallbacks.get(head))
    return len(promises.tiers) == 1 or head != promises.tiers[-1]


def _latency(call: SeenCall) -> float | None:
    return call.behaviour.latency if isinstance(call.behaviour, Good) else None


def _not_first(ask: SeenAsk) -> Iterator[Violation]:
    """Whoever would be the first to answer well is the one that is waited for."""
    ends = {call.number: call.started + latency for call in ask.answering if (latency := _latency(call)) is not None}
    if not ends:
        return
    number = min(ends, key=lambda key: ends[key])
    winner = next(call for call in ask.answering if call.number == number)
    if ask.outcome != "answered" or ask.ended > ends[number] + _slack(ends[number] - ask.started):
        yield Violation(
            expected=f"the answer of {winner.model} after {ends[number] - ask.started:g} s, the first one",
            seen=f"an answer after {ask.elapsed:g} s"
            if ask.outcome == "answered"
            else f"ask raised {type(ask.error).__name__}: {ask.error}",
            counts={number: "the first good answer"},
            advice="return with the first good answer (asyncio.wait with FIRST_COMPLETED), whichever model gives it",
        )


def _leaked(ask: SeenAsk) -> Iterator[Violation]:
    """Losers are cancelled when the answer is there; they neither go on nor stay open."""
    for call in ask.answering:
        ended = call.ended
        went_on = ended is not None and ended > ask.ended + _slack(0.0)
        if is_still_open(call) or went_on:
            yield Violation(
                expected=f"the call of {call.model} cancelled at {ask.ended:g} s, when the answer was there",
                seen="it was never ended" if ended is None else f"it went on to {ended:g} s, and was paid for",
                counts={call.number: "a loser that went on"},
                advice="cancel what is still under way in a finally, and await it",
            )


def _unbooked(played: Played) -> Violation | None:
    """A loser that was cancelled costs something, and so is booked with something."""
    act = played.acts[0]
    calls = played.calls
    losers = [call for call in calls if call.role == "answer" and call.error == "cancelled" and call.cost]
    if act.spent is None or played.spent_before is None or not losers or any(call.cost is None for call in calls):
        return None
    booked = act.spent - played.spent_before
    won = total(call for call in calls if call not in losers)
    least = total(losers) * Decimal("0.01")
    if booked >= won + least:
        return None
    return Violation(
        expected="something booked for the call that lost as well, which ran until it was cancelled",
        seen=f"{booked:f} USD were booked, and the answers alone cost {won:f} USD",
        counts={losers[0].number: "ran, and was not booked"},
        advice="book cancelled calls at what was sent and the share of the output that was made by then",
    )


register(
    Law(
        id="speculation",
        family="cascades",
        says="a slow model is joined by another, the first good answer wins, losers are cancelled and booked.",
        why="hedges that never start, wait for the slower one, or run on in secret cost twice and win nothing.",
        needs=("hedge_after",),
        when=lambda promises: promises.cascade is None,
        advice="look at when the second task starts, which task is awaited, and what becomes of the others",
        scenes=_scenes,
        judge=_judge,
        examples=1.5,
    )
)
