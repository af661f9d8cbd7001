"""`escalation`: the next tier is asked if and only if the gate rejects an answer, or there is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_modelroute.invariants.law import Law, Violation, register
from pytest_modelroute.invariants.laws import _gates
from pytest_modelroute.invariants.laws._leniency import arrow, passing_faults, short_of_money, short_of_time
from pytest_modelroute.invariants.promises import Cascade, Promises
from pytest_modelroute.invariants.scenes import Fails, Good, Scene, Script
from pytest_modelroute.invariants.seen import SeenAsk, SeenCall, Trial

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from pytest_modelroute.invariants.atlas import Atlas, Way


def _scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import ways

    cascade, tiers = promises.cascade, _gates.tiers(promises)
    if cascade is None:
        return st.nothing()
    known = [_gates.ACCEPTED, *([_gates.REJECTED] if _gates.can_reject(cascade) else [])]
    verdicts = st.tuples(*(st.sampled_from([*known, *_failing(promises, tier)]) for tier in tiers))
    # A verdict of the first tier alone decides on most of it: rejected more often than not.
    if len(known) > 1:
        verdicts = st.one_of(verdicts, verdicts.map(lambda row: (_gates.REJECTED, *row[1:])))

    def build(way: Way, row: Sequence[str], fault: Fails) -> Sequence[Scene]:
        return [way.scene(_gates.script(promises, cascade, row, fault))]

    return st.builds(build, ways(promises, atlas), verdicts, passing_faults(promises))


def _failing(promises: Promises, tier: str) -> list[str]:
    """A tier with a chain of its own is left to that when it fails."""
    return [] if promises.fallbacks.get(tier) else [_gates.FAILED]


def _judge(promises: Promises, trial: Trial) -> Violation | None:
    cascade, (played,) = promises.cascade, trial
    ask, tiers = played.only, _gates.tiers(promises)
    if cascade is None or cascade.judge in tiers or ask.head not in tiers:
        return None
    if short_of_time(promises, [ask]) or short_of_money(promises, played):
        return None
    found = _asked_twice(ask, tiers)
    if found is not None:
        return found
    verdicts = {tier: _verdict(promises, cascade, played.scene.acts[0].script, ask, tier) for tier in tiers}
    if any(verdicts[tier] is None for tier in tiers if tier in ask.models):
        return None
    return _wrong_way(ask, tiers, verdicts) or _wrong_answer(ask, tiers, verdicts)


def _asked_twice(ask: SeenAsk, tiers: Sequence[str]) -> Violation | None:
    for tier in tiers:
        answers = [call for call in ask.answering if call.model == tier and call.completed]
        if len(answers) > 1 or ask.models.count(tier) > 1:
            return Violation(
                expected=f"{tier} at most once: its answer is accepted, or the next tier is asked",
                seen=f"it went {arrow([call.model for call in ask.answering])}",
                counts={call.number: "again" for call in ask.answering if call.model == tier},
            )
    return None


def _verdict(promises: Promises, cascade: Cascade, script: Script, ask: SeenAsk, tier: str) -> str | None:
    """What came of a tier in this scene; None where the judge was asked more than once, and said both."""
    behaviour = script.models[tier][0]
    if isinstance(behaviour, Fails):
        return _gates.FAILED
    if cascade.judge is None:
        return _by_text(cascade, behaviour, tier)
    verdicts = {call.text for call in _judged(ask, tier)}
    if not verdicts and tier == _gates.tiers(promises)[-1]:
        return _by_text(cascade, behaviour, tier)
    if len(verdicts) != 1:
        return None
    return _gates.REJECTED if verdicts == {cascade.judge_rejects} else _gates.ACCEPTED


def _by_text(cascade: Cascade, behaviour: Good, tier: str) -> str:
    rejected = _gates.can_reject(cascade) and behaviour.text == _gates.said(cascade, tier, _gates.REJECTED)
    return _gates.REJECTED if rejected and cascade.judge is None else _gates.ACCEPTED


def _judged(ask: SeenAsk, tier: str) -> list[SeenCall]:
    """The judge's calls about the answer of a tier: those after it, and before the next answer."""
    found: list[SeenCall] = []
    model: str | None = None
    for call in ask.calls:
        model = call.model if call.role == "answer" else model
        if call.role == "judge" and model == tier:
            found.append(call)
    return found


def _wrong_way(ask: SeenAsk, tiers: Sequence[str], verdicts: dict[str, str | None]) -> Violation | None:
    """From where it begins, tier by tier, up to the first accepted answer, and no further."""
    expected: list[str] = []
    for tier in tiers[tiers.index(ask.head or "") :]:
        expected.append(tier)
        if verdicts[tier] in {_gates.ACCEPTED, None}:  # nobody knows what a judge would have said of it
            break
    asked = [model for model in ask.models if model in tiers]
    if asked == expected:
        return None
    last = asked[-1] if asked == expected[: len(asked)] else expected[-1]
    reasons = {call.number: str(verdicts[call.model]) for call in ask.answering if call.model in verdicts}
    return Violation(
        expected=f"{arrow(expected)}: the answer of {last} was {verdicts[last]}"
        if verdicts[last] != _gates.FAILED
        else f"{arrow(expected)}: {last} failed",
        seen=f"it went {arrow(asked)}",
        counts=reasons,
    )


def _wrong_answer(ask: SeenAsk, tiers: Sequence[str], verdicts: dict[str, str | None]) -> Violation | None:
    """The accepted answer, or the strongest tier's; another one is known by its text."""
    last = [model for model in ask.models if model in tiers][-1]
    if ask.outcome != "answered" or verdicts[last] == _gates.FAILED or not ask.text:
        return None
    right = next((call.text.strip() for call in reversed(ask.answering) if call.model == last and call.completed), "")
    for call in ask.answering:
        wrong = call.text.strip()
        if call.model != last and wrong and wrong != right and _marks(wrong, ask.text) and not _marks(right, ask.text):
            return Violation(
                expected=f"the answer of {last}, which was {verdicts[last]}"
                + ("" if verdicts[last] == _gates.ACCEPTED else " too, but is the strongest tier's"),
                seen=f"the answer of {call.model} came back, which was {verdicts.get(call.model)}: {ask.text[:60]!r}",
                counts={call.number: str(verdicts.get(call.model))},
            )
    return None


def _marks(said: str, text: str) -> bool:
    """Whether an answer is in what came back, whole, or but for the line about its confidence."""
    return said in text or next(iter(said.splitlines()), said) in text


register(
    Law(
        id="escalation",
        family="cascades",
        says="the next tier is asked if and only if an answer is rejected or missing; each at most once, in order.",
        why="bad cheap answers reach users, or good ones are paid for twice.",
        needs=("cascade",),
        when=lambda promises: promises.hedge_after is None and promises.load_balanced is None,
        advice="look at what the gate returns for this answer, and at how the loop over the tiers ends",
        scenes=_scenes,
        judge=_judge,
    )
)
