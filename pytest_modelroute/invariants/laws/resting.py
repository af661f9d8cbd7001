"""How long a model rests after it failed: a model of all rests, and what was asked meanwhile compared with it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from pytest_modelroute import faults
from pytest_modelroute.invariants.law import Law, Violation, register
from pytest_modelroute.invariants.laws._chains import calls_of, entered, single_path, some_of
from pytest_modelroute.invariants.promises import Promises
from pytest_modelroute.invariants.scenes import Act, Fails, Good, Scene, Script
from pytest_modelroute.invariants.seen import Played, SeenAsk, SeenCall, Trial

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

    from pytest_modelroute.invariants.atlas import Atlas, Way

COOLING: Final = ("rate_limited", "unavailable", "overloaded")
"Classes after which every router that lets models rest does so."
_TRANSIENT: Final = ("server_error", "timeout", "connection", "malformed")
"Classes after which a model may rest or not; but never for longer than was promised."
_WITHIN: Final = (0.5, 0.1, 0.8)
"Shares of a cooldown after which a model still rests."
_AFTER: Final = (1.2, 2.5, 100.0)
"Shares of a cooldown after which it no longer does."
_QUICK: Final = Good(latency=0.05)
_ALONE: Final = "asked alone"
_LONGER: Final = "a long rest"
_MEANWHILE: Final = "another failure meanwhile"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """What one failure means for its model."""

    model: str
    failed: float
    "When its last attempt ended."
    least: float
    "The moment until which it rests at the least; the failure's own where it need not rest."
    most: float
    "The moment from which on it is used again at the latest."
    call: int


def rests_of(promises: Promises, played: Played) -> list[Rest]:
    """The rests that the failures in a scene lead to; those whose cooldown is not promised are left out."""
    found: list[Rest] = []
    for ask in played.asks:
        for candidate in entered(ask):
            calls = calls_of(ask, candidate)
            found += [rest for call in calls if (rest := _rest(promises, call, last=call is calls[-1])) is not None]
    return found


def _rest(promises: Promises, call: SeenCall, *, last: bool) -> Rest | None:
    """
    One failed attempt.

    Where it asked to wait, the wait may stand in place of the cooldown, or the longer of the two may count. An attempt
    that was followed by another one of the same request need not let the model rest, but may.
    """
    cooldown = promises.cooldown_of(call.model)
    if call.error is None or call.ended is None or cooldown is None:
        return None
    wait = cooldown if call.asked_to_wait is None else call.asked_to_wait
    sure = last and call.error in _sure(promises)
    return Rest(
        model=call.model,
        failed=call.ended,
        least=call.ended + (min(wait, cooldown) if sure else 0.0),
        most=call.ended + max(wait, cooldown) + (1.0 if wait != cooldown else 0.0),
        call=call.number,
    )


def _sure(promises: Promises) -> Sequence[str]:
    return [name for name in COOLING if promises.recoverable is None or name in promises.recoverable]


def _tolerance(promises: Promises, model: str) -> float:
    return min(1.0, 0.1 * (promises.cooldown_of(model) or 0.0))


# -------------------------------------------------------------------------- judge


def _cooldown(promises: Promises, trial: Trial) -> Violation | None:
    if found := _cut_short(promises, trial):
        return found
    usual = _usual(trial)
    for played in trial:
        rests = rests_of(promises, played)
        for ask in sorted((ask for ask in played.asks if ask.answering), key=lambda ask: ask.answering[0].started):
            fresh = usual.get(_key(ask))
            head = None if fresh is None else fresh.asks[0].head
            if fresh is not None and head is not None and (found := _judge_ask(promises, ask, head, rests)):
                return replace(found, play=played, beside=None if _key(ask) == _key(played.asks[0]) else fresh)
    return None


def _key(ask: SeenAsk) -> tuple[str, object]:
    return repr(ask.ask.request), ask.ask.label


def _usual(trial: Trial) -> Mapping[tuple[str, object], Played]:
    """Request -> the scene that begins with it: a router that has seen no failure yet shows whom it is sent to."""
    found: dict[tuple[str, object], Played] = {}
    for played in trial:
        if played.asks:
            found.setdefault(_key(played.asks[0]), played)
    return found


def _judge_ask(promises: Promises, ask: SeenAsk, head: str, rests: Sequence[Rest]) -> Violation | None:
    """Whom a request was sent to first, beside who rests at that moment."""
    call = ask.answering[0]
    before = [rest for rest in rests if rest.failed <= call.started]
    mine = [rest for rest in before if rest.model == head]
    if promises.cooldown_of(head) is None:
        return None
    if call.model == head:
        return _too_soon(promises, call, mine, before)
    return _too_late(promises, call, head, mine)


def _too_soon(promises: Promises, call: SeenCall, mine: Sequence[Rest], before: Sequence[Rest]) -> Violation | None:
    """A model that rests is not asked, as long as one of its fallbacks is free."""
    least = max((rest.least for rest in mine), default=-math.inf)
    if call.started >= least - _tolerance(promises, call.model) or not _has_free_fallback(promises, call, before):
        return None
    longest = max(mine, key=lambda rest: rest.least)
    return Violation(
        expected=f"{call.model} rests until {least:g} s, and its fallback is asked instead",
        seen=f"it was asked at {call.started:g} s",
        counts={**_reasons(mine), longest.call: f"lets it rest until {least:g} s", call.number: "asked while it rests"},
    )


def _has_free_fallback(promises: Promises, call: SeenCall, before: Sequence[Rest]) -> bool:
    chain = promises.fallbacks.get(call.model, ())
    return any(
        all(rest.most < call.started - _tolerance(promises, model) for rest in before if rest.model == model)
        for model in chain
    )


def _too_late(promises: Promises, call: SeenCall, head: str, mine: Sequence[Rest]) -> Violation | None:
    """A model that has rested is asked first again, and one that never failed does not rest."""
    most = max((rest.most for rest in mine), default=-math.inf)
    if call.started <= most + _tolerance(promises, head):
        return None
    since = f"since {most:g} s" if mine else "at any time: it never failed"
    return Violation(
        expected=f"{head} is asked first; it need not rest {since}",
        seen=f"{call.model} was asked in its place at {call.started:g} s",
        counts={**_reasons(mine), call.number: f"asked in place of {head}"},
    )


def _reasons(rests: Sequence[Rest]) -> dict[int, str]:
    return {rest.call: f"lets {rest.model} rest" for rest in rests}


def _cut_short(promises: Promises, trial: Trial) -> Violation | None:
    """
    A rest that a long Retry-After leads to is not made shorter by another, later failure.

    Whether a wait that is longer than the cooldown counts is not promised; so the same router shows it first.
    """
    scenes = {played.scene.name: played for played in trial}
    long, meanwhile = scenes.get(_LONGER), scenes.get(_MEANWHILE)
    if long is None or meanwhile is None:
        return None
    alone, both = long.asks[-1], meanwhile.asks[-1]
    first, again = long.asks[0], meanwhile.asks[0]
    if not (first.head and alone.head and first.head == again.head == both.head) or alone.head == first.head:
        return None
    waited = _after_failure(alone, first)
    cut = _after_failure(both, again)
    if (
        waited is None
        or cut is None
        or cut > waited
        or not _has_free_fallback(promises, both.answering[0], rests_of(promises, meanwhile))
    ):
        return None
    call = both.answering[0]
    failures = {failed.number: "a failure" for ask in meanwhile.asks for failed in ask.answering if failed.error}
    return Violation(
        expected=f"{first.head} still rests {cut:g} s after it asked for a long rest, as it does where it fails once",
        seen=f"after another failure meanwhile, which asked for less, it was asked at {call.started:g} s",
        counts={**failures, call.number: "asked while it rests"},
        play=meanwhile,
        beside=long,
    )


def _after_failure(ask: SeenAsk, failed: SeenAsk) -> float | None:
    """Seconds from the last failed attempt of one request's head to another request's first call."""
    ends = [
        call.ended for call in failed.answering if call.model == failed.head and call.error and call.ended is not None
    ]
    return ask.answering[0].started - max(ends) if ends and ask.answering else None


# ------------------------------------------------------------------------- scenes


def _cooldown_scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import ways

    heads = [
        model
        for model in atlas.ways
        if promises.fallbacks.get(model) and promises.cooldown_of(model) is not None and atlas.ways[model]
    ]
    rows = [st.sampled_from(atlas.ways[model]) for model in heads]
    if not rows:
        return st.nothing()
    mine = st.one_of(*rows)
    cells: list[SearchStrategy[Any]] = [_then(promises, row, shares) for row in rows for shares in (_WITHIN, _AFTER)]
    cells += [_neighbours(promises, mine, ways(promises, atlas)), _histories(promises, mine, ways(promises, atlas))]
    if _sure(promises):
        cells += [
            mine.map(lambda way: _overlap(promises, way, after=False)),
            mine.map(lambda way: [_simple(promises, way), _overlap(promises, way, after=True)]),
            mine.map(lambda way: _differential(promises, way)),
        ]
    return some_of(cells, often=4)


def _fails(promises: Promises, model: str, *, any_class: bool = True) -> SearchStrategy[Fails]:
    """Failures: those that surely let a model rest, with and without a wait of their own, and (by choice) others."""
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import FAULTS_BY_CLASS

    cooldown = promises.cooldown_of(model) or 1.0
    makers = {"rate_limited": faults.rate_limit, "unavailable": faults.unavailable, "overloaded": faults.overloaded}
    sure = [makers[name] for name in _sure(promises)]
    others = [FAULTS_BY_CLASS[name][0] for name in _TRANSIENT if name in (promises.recoverable or ())]
    forms: list[SearchStrategy[Fails]] = []
    if sure:
        waits = [max(1, round(cooldown / 4)), math.ceil(cooldown * 2)]
        plain = st.sampled_from([Fails(make()) for make in sure])
        asking = st.sampled_from([Fails(make(retry_after=wait)) for make in sure for wait in waits])
        forms += [plain, plain, asking]
    if others and (any_class or not sure):
        forms.append(st.sampled_from(others).map(Fails))
    return st.one_of(*forms) if forms else st.just(Fails(faults.rate_limit()))


def _pause(promises: Promises, way: Way, share: float) -> float:
    """A share of a model's cooldown, in seconds."""
    return round(share * (promises.cooldown_of(way.model) or 1.0), 3)


def _then(promises: Promises, mine: SearchStrategy[Way], shares: Sequence[float]) -> SearchStrategy[Scene]:
    """A model fails, and is wanted again after a share of its cooldown."""
    from hypothesis import strategies as st

    def scene(way: Way, fails: Fails, share: float) -> Scene:
        return Scene(acts=(_failing(way, fails), _asking(way, pause=_pause(promises, way, share))))

    def place(way: Way) -> SearchStrategy[Scene]:
        fails = _fails(promises, way.model, any_class=shares is _AFTER)
        return st.builds(scene, st.just(way), fails, st.sampled_from(shares))

    return mine.flatmap(place)


def _neighbours(
    promises: Promises, mine: SearchStrategy[Way], others: SearchStrategy[Way]
) -> SearchStrategy[Sequence[Scene]]:
    """A model fails, and another one is wanted."""
    from hypothesis import strategies as st

    def scenes(way: Way, other: Way, share: float) -> list[Scene]:
        fails = _plain(promises) if _sure(promises) else Fails(faults.rate_limit())
        acts = (_failing(way, fails), _asking(other, pause=_pause(promises, way, share)))
        return [Scene(acts=acts, name="after a failure"), Scene(acts=(_asking(other),), name=_ALONE)]

    return st.builds(scenes, mine, others, st.sampled_from((0.0, *_WITHIN)))


def _histories(
    promises: Promises, mine: SearchStrategy[Way], others: SearchStrategy[Way]
) -> SearchStrategy[Sequence[Scene]]:
    """A model fails; requests for it and for others follow, after pauses around its cooldown; it may fail again."""
    from hypothesis import strategies as st

    @st.composite
    def history(draw: DrawFn) -> list[Scene]:
        way, other = draw(mine), draw(others)
        fails = _fails(promises, way.model)
        acts = [_failing(way, draw(fails))]
        for _ in range(draw(st.integers(1, 4))):
            kind = draw(st.sampled_from(("again", "other", "fails")))
            pause = _pause(promises, way, draw(st.sampled_from((0.0, *_WITHIN, *_AFTER))))
            if kind == "fails":
                acts.append(_failing(way, draw(fails), pause=pause))
            else:
                acts.append(_asking(way if kind == "again" else other, pause=pause))
        alone = [Scene(acts=(_asking(other),), name=_ALONE)] if any(act.asks[0] == other.ask() for act in acts) else []
        return [Scene(acts=tuple(acts), name="failures and pauses"), *alone]

    return history()


def _failing(way: Way, fails: Fails, *, pause: float = 0.0) -> Act:
    return Act(asks=(way.ask(),), script=Script(models={way.model: (fails,)}, good=_QUICK), pause=pause)


def _asking(way: Way, *, pause: float = 0.0) -> Act:
    return Act(asks=(way.ask(),), script=Script(good=_QUICK), pause=pause)


def _plain(promises: Promises) -> Fails:
    from pytest_modelroute.invariants.strategies import FAULTS_BY_CLASS

    return Fails(FAULTS_BY_CLASS[_sure(promises)[0]][0])


def _gap(promises: Promises, way: Way) -> float:
    """Seconds between two failures that overlap: short of what a client's time limit may be."""
    cooldown = promises.cooldown_of(way.model) or 1.0
    return round(min(0.4 * cooldown, 4.0, (promises.deadline or math.inf) / 6), 3)


def _two(promises: Promises, way: Way, first: Fails) -> Act:
    """Two requests at once, whose model fails at once for the one, and later for the other."""
    gap = _gap(promises, way)
    later = replace(_plain(promises), latency=0.1 + gap)
    asks = tuple(
        way.ask(script=Script(models={way.model: (fails,)}, good=_QUICK), at=at)
        for fails, at in ((first, 0.0), (later, 0.01))
    )
    return Act(asks=asks)


def _simple(promises: Promises, way: Way) -> Scene:
    """One failure, and a request after its cooldown: what breaks here needs no two failures to be shown."""
    acts = (_failing(way, _plain(promises)), _asking(way, pause=_pause(promises, way, _AFTER[0])))
    return Scene(acts=acts, name="one failure")


def _overlap(promises: Promises, way: Way, *, after: bool) -> Scene:
    """The rest of the second failure outlasts that of the first; the model is wanted before it ends, or after."""
    cooldown = promises.cooldown_of(way.model) or 0.0
    within = max(0.0, round(cooldown - 0.45 * _gap(promises, way) - 0.2, 3))
    pause = _pause(promises, way, _AFTER[0]) if after else within
    return Scene(acts=(_two(promises, way, _plain(promises)), _asking(way, pause=pause)), name="two failures")


def _differential(promises: Promises, way: Way) -> Sequence[Scene]:
    """A failure that asks for twice the cooldown: alone, and with another one after it that asks for nothing."""
    cooldown = promises.cooldown_of(way.model) or 1.0
    asking = {"rate_limited": faults.rate_limit, "unavailable": faults.unavailable, "overloaded": faults.overloaded}
    first = Fails(asking[_sure(promises)[0]](retry_after=math.ceil(cooldown * 3)))
    end = round(cooldown * 1.5, 3)
    gap = _gap(promises, way)
    return [
        Scene(acts=(_failing(way, first), _asking(way, pause=round(end + 3 * gap + 2, 3))), name=_LONGER),
        Scene(acts=(_two(promises, way, first), _asking(way, pause=end)), name=_MEANWHILE),
    ]


register(
    Law(
        id="cooldown",
        family="patience",
        says="a model that failed rests for its cooldown, until the last of its failures allows; then it is asked "
        "first again, and no other model rests with it.",
        why="without a rest every request pays for the outage of the model that is down; with one that never ends, the "
        "second choice answers for ever, and nobody notices.",
        needs=("cooldown", "fallbacks"),
        when=single_path,
        advice="keep the latest end for each model (the larger of the old and the new one), and compare it with the "
        "clock at every request",
        scenes=_cooldown_scenes,
        judge=_cooldown,
        each=True,
        examples=0.7,
    )
)
