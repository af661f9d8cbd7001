"""Who is asked when a model fails, and who is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from pytest_modelroute.invariants.law import Law, Violation, register
from pytest_modelroute.invariants.laws._chains import (
    PLAIN_CLASSES,
    calls_of,
    entered,
    had_time,
    names_failure,
    out_of_money,
    reworded,
    single_path,
    some_of,
)
from pytest_modelroute.invariants.promises import Promises
from pytest_modelroute.invariants.scenes import Fails, Scene, Script
from pytest_modelroute.invariants.seen import Played, SeenAsk, Trial
from pytest_modelroute.providers.registry import provider_behind

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from pytest_modelroute.invariants.atlas import Atlas, Way

_CALLERS_WORDS: Final = "Invalid API key: this request is not valid (401 Unauthorized)"
"In the message of an error that is not the caller's."
_OUTAGE_WORDS: Final = "Rate limit reached (429), the service is overloaded and timed out; please try again later"
"In the message of an error that is the caller's own."
_TOLD_BY_STATUS: Final = frozenset({"rate_limited", "overloaded", "unavailable", "server_error", "timeout"})
"Classes that every provider has a status or a code for, so that the message must not decide."
_ODD_FORMS: Final = frozenset({"content_filtered"})
"Classes that some providers have no form for."
_UNFILTERED: Final = frozenset({"ollama"})
"Providers that filter no content."


# --------------------------------------------------------------- fallback_on_class


def _class_scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    classes = sorted(promises.recoverable or ())
    cells = [_class_cell(promises, atlas, name, form) for name in classes for form in _forms(name)]
    return some_of(cells, often=2)


def _forms(name: str) -> list[Fails]:
    """How an error of a class looks; also in words that are those of another one."""
    from pytest_modelroute.invariants.strategies import FAULTS_BY_CLASS

    forms = [Fails(fault) for fault in FAULTS_BY_CLASS[name]]
    return [*forms, reworded(forms[0], _CALLERS_WORDS)] if name in _TOLD_BY_STATUS else forms


def _class_cell(promises: Promises, atlas: Atlas, name: str, form: Fails) -> SearchStrategy[Scene]:
    """
    The first candidates fail for good with an error of one class.

    Not every provider has a content filter: there the head alone shows that form, whose provider is known.
    """
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import ways

    def place(way: Way) -> SearchStrategy[Scene]:
        if not single_path(promises) or name in _ODD_FORMS:
            return st.just(way.scene(Script(candidates=((form,),)), name=name))
        depths = st.integers(1, max(1, len(promises.fallbacks[way.model])))
        return depths.map(lambda depth: way.scene(Script(candidates=((form,),) * depth), name=name))

    able = {
        model: found
        for model, found in atlas.ways.items()
        if name not in _ODD_FORMS or provider_behind(atlas.providers.get(model, "")) not in _UNFILTERED
    }
    return ways(promises, replace(atlas, ways=able), with_fallbacks=True).flatmap(place)


def _fallback_on_class(promises: Promises, trial: Trial) -> Violation | None:
    return next((found for played in trial if (found := _reaches_next(promises, played))), None)


def _reaches_next(promises: Promises, played: Played) -> Violation | None:
    """The candidate after those that fail is asked, and its answer is returned."""
    ask = played.only
    failing = len(played.scene.acts[0].script.candidates)
    chain = promises.fallbacks.get(ask.head or "", ())
    if failing > len(chain) or (ask.outcome == "answered" and ask.route is not None):
        return None
    if not had_time(promises, ask) or out_of_money(promises, ask):
        return None
    asked = entered(ask)
    waiting = next((model for model in chain if model not in {model for _, model in asked}), chain[-1])
    counts = {call.number: "failed with a class that is recoverable" for call in ask.answering if call.error}
    if len(asked) > failing:
        good = calls_of(ask, asked[failing])
        counts |= {call.number: "this answer was good" for call in good if call.completed}
        seen = f"{asked[failing][1]} was asked, and {_ended(ask)}"
    else:
        seen = f"{waiting} was never asked: {_ended(ask)}"
    return Violation(
        expected=f"the next candidate, {waiting}, answers when {_who(asked[:failing])} with {played.scene.name}, "
        "which is recoverable",
        seen=seen,
        counts=counts,
        play=played,
    )


def _who(candidates: Sequence[tuple[str, str]]) -> str:
    names = [model for _, model in candidates]
    return f"{names[0]} fails" if len(names) == 1 else f"{', '.join(names)} fail"


def _ended(ask: SeenAsk) -> str:
    if ask.error is not None:
        return f"ask raised {type(ask.error).__name__}"
    return f"ask returned {ask.text[:60]!r}"


register(
    Law(
        id="fallback_on_class",
        family="failover",
        says="an error of a class that is promised to be recoverable reaches the next candidate, which then answers.",
        why="a fallback that was configured and is not used turns the outage of one provider into one of your own.",
        needs=("fallbacks", "recoverable"),
        advice="decide by status and code, never by the message; catch what the transport raises (refused, reset, "
        "timed out) and what parsing raises beside the client's own errors",
        scenes=_class_scenes,
        judge=_fallback_on_class,
        each=True,
    )
)


# ----------------------------------------------------- no_fallback_on_caller_error

_ALL_FAIL: Final = "all fail"
_FIRST_WORDS: Final = "the first of all failures"


def _caller_scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import CALLERS_FAULTS, ways

    heads = ways(promises, atlas, with_fallbacks=True)

    def cell(fault: Any) -> SearchStrategy[Scene]:
        forms = st.sampled_from((Fails(fault), reworded(Fails(fault), _OUTAGE_WORDS)))
        return st.builds(_first_fails, heads, forms)

    every = st.builds(_all_fail, st.just(promises), heads, _pairs(promises))
    return some_of([every, *(cell(fault) for fault in CALLERS_FAULTS)], often=4)


def _first_fails(way: Way, fails: Fails) -> Scene:
    return way.scene(Script(candidates=((fails,),)), name=fails.fault.kind or "")


def _pairs(promises: Promises) -> SearchStrategy[tuple[Fails, Fails]]:
    """
    How the first candidate fails, and how all others do: with another class where that is surely recoverable too.

    A router that does not say what it recovers from may rightly raise the second failure as it is.
    """
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import FAULTS_BY_CLASS

    classes = [name for name in _TOLD_BY_STATUS if name in (promises.recoverable or ())]
    named = {name: FAULTS_BY_CLASS[name][0] for name in sorted(classes or PLAIN_CLASSES)}
    pairs = [(one, other) for one in named.values() for other in named.values() if one is not other]
    single = [(fault, fault) for fault in named.values()]
    return st.sampled_from(pairs if pairs and classes else single).map(
        lambda pair: (reworded(Fails(pair[0]), _FIRST_WORDS), reworded(Fails(pair[1]), "a later failure"))
    )


def _all_fail(promises: Promises, way: Way, pair: tuple[Fails, Fails]) -> Scene:
    first, others = pair
    rest = ((others,),) * len(promises.chain(way.model))
    return way.scene(Script(candidates=((first,), *rest)), name=_ALL_FAIL)


def _no_fallback_on_caller_error(promises: Promises, trial: Trial) -> Violation | None:
    for played in trial:
        ask = played.only
        if not ask.answering or ask.head not in promises.fallbacks or ask.outcome == "cancelled":
            continue
        judge = _says_what if played.scene.name == _ALL_FAIL else _surfaces
        if found := judge(promises, played):
            return replace(found, play=played)
    return None


def _surfaces(promises: Promises, played: Played) -> Violation | None:
    """The caller's own error is raised, and nobody else is asked."""
    ask, kind = played.only, played.scene.name
    expected = f"{kind} of {ask.head} is the caller's own error: ask raises it, and no other candidate is asked"
    asked = entered(ask)
    if len(asked) > 1:
        others = {call.number: "hides the error" for call in ask.answering if call.candidate != asked[0]}
        return Violation(expected=expected, seen=f"{asked[1][1]} was asked as well: {_ended(ask)}", counts=others)
    return _masked(promises, ask, expected)


def _says_what(promises: Promises, played: Played) -> Violation | None:
    """
    When all fail, the error says what failed.

    What failed first is best; but many routers let the last error through as it is, which hides nothing of itself.
    """
    ask = played.only
    return _masked(promises, ask, f"ask raises, and the error says in some way what failed, {ask.head} first")


def _masked(promises: Promises, ask: SeenAsk, expected: str) -> Violation | None:
    if any(call.completed for call in ask.answering):
        return None
    first = [call for call in calls_of(ask, entered(ask)[0]) if call.error]
    counts = {call.number: "what failed first" for call in first}
    if ask.error is None:
        seen = f"no candidate gave an answer, and {_ended(ask)}"
        return Violation(expected=expected, seen=seen, counts=counts, advice="raise when nobody answered")
    failed = [call for call in ask.answering if call.error]
    if names_failure(ask.error, failed) or out_of_money(promises, ask) or not had_time(promises, ask):
        return None
    return Violation(
        expected=expected,
        seen=f"the error says nothing of it: {type(ask.error).__name__}: {str(ask.error)[:120]}",
        counts=counts,
        advice="keep the first error: `raise ... from first`, or an ExceptionGroup of all",
    )


register(
    Law(
        id="no_fallback_on_caller_error",
        family="failover",
        says="a bad request, a wrong key or a missing permission is raised as it is, without a fallback; and when all "
        "candidates fail, the error says what failed.",
        why="a fallback hides a revoked key for weeks, and pays for a request that is wrong wherever it is sent; an "
        "error that says nothing of what failed leaves whoever is on call to guess which provider is down.",
        needs=("fallbacks",),
        when=single_path,
        advice="fall back on a list of classes, not on every exception; 400, 401 and 403 are not on it",
        scenes=_caller_scenes,
        judge=_no_fallback_on_caller_error,
        each=True,
    )
)


# -------------------------------------------------------------------- chain_order


def _order_scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import FAULTS_BY_CLASS, ways

    classes = [name for name in sorted(_TOLD_BY_STATUS) if name in (promises.recoverable or PLAIN_CLASSES)]
    rest = [name for name in sorted(promises.recoverable or ()) if name not in _ODD_FORMS]
    fails = st.sampled_from([Fails(FAULTS_BY_CLASS[name][0]) for name in classes or rest or PLAIN_CLASSES])

    def place(way: Way) -> SearchStrategy[Sequence[Scene]]:
        return st.builds(_so_many_fail, st.just(way), fails, st.integers(1, len(promises.chain(way.model))))

    return ways(promises, atlas, with_fallbacks=True).flatmap(place)


def _so_many_fail(way: Way, fails: Fails, depth: int) -> Sequence[Scene]:
    return [way.scene(Script(candidates=((fails,),) * depth))]


def _chain_order(promises: Promises, trial: Trial) -> Violation | None:
    (played,) = trial
    ask = played.only
    declared = promises.fallbacks.get(ask.head or "")
    if not declared:
        return None
    return _kept_model(promises, ask) or _out_of_order(promises, ask, declared)


def _kept_model(promises: Promises, ask: SeenAsk) -> Violation | None:
    """The head's model is asked for where a fallback's should be: at another host, or beyond all retries."""
    head = ask.answering[0]
    again = [call for call in ask.answering if call.model == head.model]
    elsewhere = [call for call in again if call.provider != head.provider]
    beyond = [] if promises.retries is None or len(entered(ask)) > 1 else again[1 + promises.retries :]
    wrong = elsewhere or beyond
    if not wrong:
        return None
    where = wrong[0].provider if elsewhere else "its host once more, after all retries"
    return Violation(
        expected=f"after {head.model}, its fallback is asked for by its own name, {promises.fallbacks[head.model][0]}",
        seen=f"{head.model} was asked for at {where}",
        counts={call.number: f"asks for {call.model} again" for call in wrong},
        advice="name the fallback's own model in the request it gets, beside its address and its key",
    )


def _out_of_order(promises: Promises, ask: SeenAsk, declared: Sequence[str]) -> Violation | None:
    """
    The declared fallbacks are entered in their order; only where candidates may rest or be unfit, some are left out.

    Whether the fallbacks of a fallback are tried, and before or after those of the head, is not promised.
    """
    names = [model for _, model in entered(ask)]
    parents = {model for name in names for model in promises.fallbacks.get(name, ())}
    strange = [name for name in names[1:] if name not in parents]
    inherited = {name for before, name in pairwise(names[1:]) if name in promises.fallbacks.get(before, ())}
    direct = [name for name in names[1:] if name in declared and name not in inherited]
    skips = promises.cooldown is not None or promises.capabilities is not None
    right = [name for name in declared if name in direct] if skips else list(declared[: len(direct)])
    if not strange and direct == right:
        return None
    wrong = strange or [name for name, due in zip(direct, right, strict=False) if name != due]
    due = "was never declared as a fallback of it" if strange else "was not due"
    return Violation(
        expected=f"after {names[0]}, its fallbacks in their declared order: {', '.join(declared)}",
        seen=f"the candidates were asked in this order: {' -> '.join(names)}",
        counts={call.number: due for call in ask.answering if call.model == wrong[0]},
    )


register(
    Law(
        id="chain_order",
        family="failover",
        says="candidates are tried in the declared order, and the request that a fallback gets names its own model.",
        why="the dear model is asked before the cheap one, or a provider gets the name of a model that it never had.",
        needs=("fallbacks",),
        when=single_path,
        advice="walk through the declared list itself: no set, no sorting, no list that a request has changed",
        scenes=_order_scenes,
        judge=_chain_order,
    )
)
