"""`parameters_preserved`: each candidate gets what the caller sent and what is its own, and nothing of another's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

from pytest_modelroute.invariants.law import Law, Violation, register
from pytest_modelroute.invariants.laws._leniency import failing, passing_faults
from pytest_modelroute.invariants.promises import Promises
from pytest_modelroute.invariants.scenes import Scene, Script
from pytest_modelroute.invariants.seen import SeenAsk, SeenCall, Trial
from pytest_modelroute.providers.registry import PROVIDERS, provider_behind
from pytest_modelroute.wire.addresses import fake_key

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from pytest_modelroute.invariants.atlas import Atlas, Way

_OF_CALLERS: Final = ("temperature", "max_tokens")
"What every provider takes, so that every candidate must get it where the first one did."
_REASONING: Final = ("o1", "o3", "o4", "gpt-5")
"How models begin that take no temperature but their own, and need tokens to think: a router may well adapt both."
_INTERNAL: Final = frozenset(
    {
        "fallbacks",
        "num_retries",
        "max_retries",
        "cooldown",
        "cooldown_time",
        "allowed_fails",
        "allowed_statuses",
        "no_fallbacks",
        "api_key",
        "api_base",
        "base_url",
        "rpm",
        "tpm",
        "weight",
    }
)
"What routers call their own settings; no provider knows them."
_NOT_OURS: Final = frozenset({"model", "category"})
"Options that are words of providers too."
_SPELLINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "max_tokens": ("max_tokens", "max_completion_tokens", "max_output_tokens"),
    "max_completion_tokens": ("max_completion_tokens", "max_tokens", "max_output_tokens"),
}
"Names of one parameter: which of them a model takes depends on its age and on the endpoint."
_HEADS: Final = 6
"How many chains an example tries at most, each with a router of its own; about half of that in the mean."
_CLOSE: Final = 1e-9


def _scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import ways

    params = st.sampled_from(({}, {}, {"temperature": 0.2}, {"max_tokens": 64}, {"temperature": 0.2, "max_tokens": 64}))
    # Where all fail, every candidate is seen.
    broken = (
        st.builds(failing, passing_faults(promises), st.sampled_from((4, 4, 1))) if promises.fallbacks else st.nothing()
    )
    scripts = st.one_of(broken, broken, broken, st.just(Script()))
    switches: list[dict[str, Any]] = [{}]
    switches += [{"retries": 0}] if "retries" in promises.options else []
    switches += [{"deadline": promises.deadline or 60.0}] if "deadline" in promises.options else []

    def build(
        asked: Sequence[Way], given: Mapping[str, Any], script: Script, options: Mapping[str, Any]
    ) -> Sequence[Scene]:
        requests = [replace(way.request, params=given, options=options) for way in asked]
        return [
            replace(way, request=request).scene(script, name=f"towards {way.model}")
            for way, request in zip(asked, requests, strict=True)
        ]

    heads = st.lists(ways(promises, atlas), min_size=1, max_size=_HEADS, unique_by=_model)
    return st.builds(build, heads, params, scripts, st.sampled_from(switches))


def _model(way: Way) -> str:
    return way.model


def _judge(promises: Promises, trial: Trial) -> Violation | None:
    for played in trial:
        ask = played.only
        found = next(
            (
                problem
                for call in ask.answering
                for problem in (
                    *_own(promises, call, ask),
                    *_leaks(promises, call, ask, trial),
                    *_internals(promises, call, ask),
                    *_keys(call, ask, played.keyed),
                )
            ),
            None,
        ) or next(_dropped(promises, ask), None)
        if found is not None:
            return replace(found, play=played)
    return None


def _sent(call: SeenCall, name: str) -> Any:
    for spelling in _SPELLINGS.get(name, (name,)):
        value = call.params.get(spelling, call.body.get(spelling))
        if value is not None:
            return value
    return None


def _same(one: Any, other: Any) -> bool:
    """Whether two values say the same; a single text and a list of it do."""
    one, other = _single(one), _single(other)
    if isinstance(one, int | float) and isinstance(other, int | float):
        return abs(one - other) <= _CLOSE
    return bool(one == other)


def _single(value: Any) -> Any:
    single: Any = value
    if isinstance(value, list) and len(cast("list[Any]", value)) == 1:
        (single,) = cast("list[Any]", value)
    return single


def _declared(promises: Promises, model: str) -> Mapping[str, Any]:
    own = (promises.parameters or {}).get(model, {})
    return {name: value for name, value in own.items() if name not in _INTERNAL}


def _own(promises: Promises, call: SeenCall, ask: SeenAsk) -> Iterator[Violation]:
    """What is a candidate's own is sent to it; the caller's wish for the same parameter may go before it."""
    given = ask.ask.request.params
    for name, value in _declared(promises, call.model).items():
        sent = _sent(call, name)
        if not _same(sent, value) and not (name in given and _same(sent, given[name])):
            yield Violation(
                expected=f"{call.model} is sent {name} = {value!r}, its own",
                seen=f"it was sent {_shown(sent, name)}",
                counts={call.number: f"{name} = {sent!r}" if sent is not None else f"no {name}"},
            )


def _leaks(promises: Promises, call: SeenCall, ask: SeenAsk, trial: Trial) -> Iterator[Violation]:
    """
    What is another candidate's own is sent to nobody else.

    A value that models without it get anyway, before the other one was asked, is a setting of the whole router.
    """
    own, given = _declared(promises, call.model), ask.ask.request.params
    earlier = {seen.model for seen in ask.answering if seen.number < call.number}
    for other in earlier - {call.model}:
        for name, value in _declared(promises, other).items():
            if name in own or name in given or not _same(_sent(call, name), value):
                continue
            if not _of_all(promises, trial, name, value):
                yield Violation(
                    expected=f"no {name} for {call.model}: neither the caller nor its own settings say one",
                    seen=f"it was sent {name} = {value!r}, which is {other}'s own",
                    counts={call.number: f"{name} of {other}"},
                )


def _of_all(promises: Promises, trial: Trial, name: str, value: Any) -> bool:
    """Whether models that do not declare a value get it before any that does was asked."""
    before: list[bool] = []
    for played in trial:
        for call in played.only.answering:
            if name in _declared(promises, call.model):
                break
            before.append(_same(_sent(call, name), value))
    return bool(before) and all(before)


def _dropped(promises: Promises, ask: SeenAsk) -> Iterator[Violation]:
    """What of the caller's reached the first candidate reaches the others."""
    first = next(iter(ask.answering), None)
    for name in _OF_CALLERS:
        value = ask.ask.request.params.get(name)
        if first is None or value is None or not _same(_sent(first, name), value):
            continue
        for call in ask.answering:
            free = name in _declared(promises, call.model) or _reasons(call.model)
            if not free and not _same(_sent(call, name), value):
                sent = _sent(call, name)
                yield Violation(
                    expected=f"the caller's {name} = {value!r} for {call.model} too, as for {first.model}",
                    seen=f"it was sent {_shown(sent, name)}",
                    counts={call.number: f"{name} = {sent!r}" if sent is not None else f"no {name}"},
                )


def _reasons(model: str) -> bool:
    return model.rpartition("/")[2].startswith(_REASONING)


def _shown(value: Any, name: str) -> str:
    return f"no {name}" if value is None else f"{name} = {value!r}"


def _internals(promises: Promises, call: SeenCall, ask: SeenAsk) -> Iterator[Violation]:
    """The router's own words stay at home."""
    words = (_INTERNAL | set(promises.options)) - _NOT_OURS - set(ask.ask.request.params)
    words -= set((promises.parameters or {}).get(call.model, {}))
    for name in sorted(words & set(call.body)):
        yield Violation(
            expected="a body of what the provider knows",
            seen=f"{call.model} was sent {name!r}, which is the router's own",
            counts={call.number: f"carries {name!r}"},
        )


def _keys(call: SeenCall, ask: SeenAsk, keyed: frozenset[str]) -> Iterator[Violation]:
    """
    Each host gets its own key.

    Of hosts of one provider only those whose own key was asked for: others may well share one.
    """
    if call.key is None or call.key == fake_key(call.provider):
        return
    known = {*keyed, *PROVIDERS, *(seen.provider for seen in ask.calls)}
    owner = next((name for name in sorted(known) if name != call.provider and fake_key(name) == call.key), None)
    if owner is None:
        return
    mine, others = provider_behind(call.provider), provider_behind(owner)
    if call.provider in keyed or (mine is not None and others is not None and mine != others):
        yield Violation(
            expected=f"{call.provider} is sent its own key",
            seen=f"the key of {owner} was sent to {call.provider}, with the call of {call.model}",
            counts={call.number: f"the key of {owner}"},
            advice="give each candidate a client, or headers, of its own",
        )


register(
    Law(
        id="parameters_preserved",
        family="handling",
        says="each candidate gets the caller's parameters, its own settings and its own key, and nothing of another's.",
        why="a fallback runs with settings made for another model, forgets the caller's, or hands a key to a stranger.",
        needs=("parameters",),
        advice="make each candidate's request anew: {**caller's, **its own}; never change the one before into the next",
        scenes=_scenes,
        judge=_judge,
    )
)
