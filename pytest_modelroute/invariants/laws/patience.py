"""How long a request waits: within its deadline, and as long as a provider asks for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from pytest_modelroute import faults
from pytest_modelroute.invariants.law import Law, Violation, register
from pytest_modelroute.invariants.laws._chains import calls_of, entered, limit_of
from pytest_modelroute.invariants.promises import Promises
from pytest_modelroute.invariants.scenes import Behaviour, Fails, Good, Scene, Script
from pytest_modelroute.invariants.seen import SeenAsk, SeenCall, Trial
from pytest_modelroute.providers.registry import provider_behind
from pytest_modelroute.wire.faults import Refusal

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from pytest_modelroute.invariants.atlas import Atlas, Way

_TOLERANCE_S: Final = 0.010
_LONGEST_HEADER_S: Final = 120.0
_PIECES: Final = 30
"Of a slow stream."
_DATE_TOLERANCE_S: Final = 1.0
"A date holds whole seconds, and a client may cut off what is left of one."


# ----------------------------------------------------------------------- deadline


def _deadline_scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import ways

    assert promises.deadline is not None  # noqa: S101 - the law needs it
    whole = promises.deadline
    limits = [whole, round(whole / 2, 3), round(whole / 5, 3)] if "deadline" in promises.options else [whole]

    def at(limit: float) -> SearchStrategy[Sequence[Scene]]:
        def two(way: Way, first: tuple[bool, Script], second: tuple[bool, Script]) -> Sequence[Scene]:
            return [_within(promises, way, limit, script) for script in (first, second)]

        scripts = st.sampled_from(_scripts(promises, limit, slow_streams=atlas.is_async))
        return st.builds(two, ways(promises, atlas), scripts, scripts)

    return st.sampled_from(limits).flatmap(at)


def _scripts(promises: Promises, limit: float, *, slow_streams: bool) -> list[tuple[bool, Script]]:
    """(streamed, script) of everything that takes its time."""
    slow = Good(latency=round(3 * limit, 3))
    silent = Fails(faults.read_timeout())
    busy = Fails(faults.server_error(), latency=round(0.3 * limit, 3))
    late = Fails(faults.unavailable(), latency=round(0.6 * limit, 3))
    waits = [min(math.ceil(limit * share), _LONGEST_HEADER_S) for share in (0.6, 2.0)]
    limited = [Fails(faults.rate_limit(retry_after=wait)) for wait in waits]
    scripts: list[tuple[bool, Script]] = [
        (False, Script(good=slow)),
        (False, Script(good=Good(latency=round(1.05 * limit, 3)))),
        (False, _all((silent,))),
        *((False, _all((fails,))) for fails in limited),
        (False, _all((busy,))),
        (False, Script(candidates=((late,),), good=Good(latency=round(0.9 * limit, 3)))),
    ]
    if promises.classifier is not None:
        scripts += [(False, Script(label=fails, good=slow)) for fails in (silent, late)]
        scripts.append((False, Script(label=replace(late, latency=round(0.9 * limit, 3)), good=slow)))
    if promises.streams:
        scripts.append((True, _all((Fails(faults.stream_stalled(), latency=0.0),))))
        scripts.append(
            (True, Script(good=replace(slow, chunks=_PIECES) if slow_streams else replace(slow, ttft=slow.latency)))
        )
    return scripts


def _all(row: tuple[Behaviour, ...]) -> Script:
    return Script(candidates=(row,) * 4)


def _within(promises: Promises, way: Way, limit: float, script: tuple[bool, Script]) -> Scene:
    streamed, behaviour = script
    options = {} if limit == promises.deadline else {"deadline": limit}
    request = replace(way.request, stream=streamed, options=options)
    asked = replace(way, request=request, label=None if behaviour.label is not None else way.label)
    return asked.scene(behaviour, name=f"within {limit:g} s")


def _deadline(promises: Promises, trial: Trial) -> Violation | None:
    for played in trial:
        ask = played.only
        limit = limit_of(promises, ask)
        if limit is None or ask.elapsed <= limit + _TOLERANCE_S + _between_pieces(ask):
            continue
        end = ask.started + limit
        late = {call.number: "asked after the deadline" for call in ask.calls if call.started > end + _TOLERANCE_S}
        over = {
            call.number: f"still waited for at {end:g} s"
            for call in ask.calls
            if call.started <= end + _TOLERANCE_S < (math.inf if call.ended is None else call.ended)
        }
        return Violation(
            expected=f"ask ends within {limit:g} s, in an answer or an error",
            seen=f"it took {ask.elapsed:g} s" + (", the back-off between its calls included" if not over else ""),
            counts=late | over,
            play=played,
        )
    return None


def _between_pieces(ask: SeenAsk) -> float:
    """Seconds between two pieces of a slow stream: who looks at the clock at each piece is as late as that."""
    slow = [call.behaviour for call in ask.answering if call.streamed and isinstance(call.behaviour, Good)]
    return max((good.latency / good.chunks for good in slow if good.chunks), default=0.0)


register(
    Law(
        id="deadline",
        family="patience",
        says="the whole request ends within the promised deadline, in an answer or an error: retries, waits and "
        "fallbacks included.",
        why="the caller has given up long before, and its connections, workers and users wait with it.",
        needs=("deadline",),
        advice="take the end of the request once, at its beginning, and give each call and each sleep what is left "
        "until then; time limits of a client count per attempt, and per read",
        scenes=_deadline_scenes,
        judge=_deadline,
        each=True,
    )
)


# -------------------------------------------------------------------- retry_after


def _retry_scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import ways

    most = 20 if promises.deadline is None else max(1, min(20, math.floor(promises.deadline / 2)))
    options: dict[str, Any] = {"retries": 3} if "retries" in promises.options else {}

    def place(way: Way) -> SearchStrategy[Sequence[Scene]]:
        speaks_ms = provider_behind(atlas.providers.get(way.model, "")) == "openai"
        fails = st.one_of(*_waits(most, milliseconds=speaks_ms))
        asked = replace(way, request=replace(way.request, options=options))

        def scene(row: list[Fails], second: list[Fails]) -> Sequence[Scene]:
            return [asked.scene(Script(candidates=(tuple(row), tuple(second)) if second else (tuple(row),)))]

        return st.builds(scene, st.lists(fails, min_size=1, max_size=3), st.lists(fails, max_size=2))

    return ways(promises, atlas).flatmap(place)


def _waits(most: int, *, milliseconds: bool) -> list[SearchStrategy[Fails]]:
    """
    Errors that ask to wait, by every header there is; some differ much from the ones before.

    A broken number of seconds is no valid Retry-After, and so not tried.
    """
    from hypothesis import strategies as st

    seconds = st.integers(1, most)
    forms: list[SearchStrategy[Fails]] = [
        seconds.map(lambda wait: Fails(faults.rate_limit(retry_after=wait))),
        seconds.map(lambda wait: Fails(faults.rate_limit(retry_after_date=wait))),
        seconds.map(lambda wait: Fails(faults.unavailable(retry_after=wait))),
        seconds.map(lambda wait: Fails(faults.overloaded(retry_after=wait))),
    ]
    if milliseconds:
        forms.append(st.integers(800, 1000 * most).map(lambda wait: Fails(faults.rate_limit(retry_after_ms=wait))))
    return forms


def _retry_after(promises: Promises, trial: Trial) -> Violation | None:
    (played,) = trial
    ask = played.only
    for candidate in entered(ask):
        for before, after in pairwise(calls_of(ask, candidate)):
            if (asked := before.asked_to_wait) is not None and _too_early(promises, ask, before, after):
                return _early(before, after, asked)
    return None


def _early(before: SeenCall, after: SeenCall, asked: float) -> Violation:
    assert before.ended is not None  # noqa: S101 - as _too_early saw
    gap = after.started - before.ended
    return Violation(
        expected=f"{before.model} is asked again {asked:g} s after its last answer, or later: it asked for that "
        f"({_form(before)})",
        seen=f"it was asked again after {gap:.3g} s",
        counts={before.number: f"asks to wait {asked:g} s", after.number: f"comes after {gap:.3g} s"},
    )


def _too_early(promises: Promises, ask: SeenAsk, before: SeenCall, after: SeenCall) -> bool:
    """
    Whether a call came before its moment.

    Not judged where both were under way at once, where the wait would have outlasted the deadline, and for OpenAI's
    header from somebody else.
    """
    if before.ended is None or before.asked_to_wait is None or after.started < before.ended:
        return False
    if _form(before) == "retry-after-ms" and provider_behind(before.provider) != "openai":
        return False
    limit = limit_of(promises, ask)
    if limit is not None and before.ended + before.asked_to_wait >= ask.started + limit:
        return False
    tolerance = _DATE_TOLERANCE_S if _form(before) == "as a date" else _TOLERANCE_S
    return after.started - before.ended < before.asked_to_wait - tolerance


def _form(call: SeenCall) -> str:
    fault = call.behaviour.fault if isinstance(call.behaviour, Fails) else None
    if not isinstance(fault, Refusal):
        return ""
    if fault.retry_after_ms is not None:
        return "retry-after-ms"
    return "Retry-After" if fault.retry_after is not None else "as a date"


register(
    Law(
        id="retry_after",
        family="patience",
        says="a candidate is asked again only after as long as its last answer asked for, in seconds, in "
        "milliseconds or as a date.",
        why="a provider that limits you answers the next early request with a longer one, and blocks the key at last.",
        needs=("honours_retry_after",),
        advice="read Retry-After (a number or a date) and retry-after-ms of every answer anew; a longer back-off is "
        "fine, a shorter one never",
        scenes=_retry_scenes,
        judge=_retry_after,
    )
)
