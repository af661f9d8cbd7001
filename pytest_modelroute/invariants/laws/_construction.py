"""`offline_construction`: a router is built without the network, and without keys of providers that it does not use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from pytest_modelroute.invariants.law import Law, Violation, register
from pytest_modelroute.invariants.laws._leniency import failing, passing_faults
from pytest_modelroute.invariants.promises import Promises
from pytest_modelroute.invariants.scenes import Scene, Script
from pytest_modelroute.invariants.seen import Played, Trial
from pytest_modelroute.providers.registry import PROVIDERS, provider_behind
from pytest_modelroute.wire.addresses import fake_key

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from pytest_modelroute.invariants.atlas import Atlas, Way

_FAMILIES: Final = {
    "gpt": "openai",
    "chatgpt": "openai",
    "o1": "openai",
    "o3": "openai",
    "o4": "openai",
    "text-embedding": "openai",
    "claude": "anthropic",
    "gemini": "google",
    "mistral": "mistral",
    "codestral": "mistral",
    "deepseek": "deepseek",
    "grok": "x-ai",
}
"How names of models begin -> whose they are, for candidates that no request has reached yet."


def _used(promises: Promises, atlas: Atlas) -> tuple[str, ...] | None:
    """The providers that the declared models are at; None where one of them may be anywhere."""
    found = {provider_behind(name) or name for name in atlas.providers.values()}
    for model in promises.known_models:
        family = next((name for begin, name in _FAMILIES.items() if model.startswith(begin)), None)
        if model not in atlas.providers and family is None:
            return None
        found |= {family} if family is not None else set()
    return tuple(sorted(found & set(PROVIDERS)))


def _scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import ways

    used = _used(promises, atlas)
    every = [st.just(found[0]) for found in atlas.ways.values() if found]
    scripts = st.one_of(st.builds(failing, passing_faults(promises), st.just(4)), st.just(Script()))

    def build(script: Script, *found: Way) -> Sequence[Scene]:
        asked = [way.scene(script, name="asked") for way in found]
        return asked if used is None else [*asked, Scene(acts=(), name="few keys", keys=used)]

    return st.builds(build, scripts, ways(promises, atlas)) if used is None else st.builds(build, scripts, *every)


def _judge(promises: Promises, trial: Trial) -> Violation | None:
    del promises
    for played in trial:
        if played.building:
            call = played.building[0]
            return Violation(
                expected="a router that is built without a provider call",
                seen=f"make_router asked {call.provider} for {call.model}",
                advice="ask at first use, or in a method that the application calls when it starts",
                play=played,
            )
        if played.refused_while_building:
            return Violation(
                expected="a router that is built without the network",
                seen=f"make_router tried to connect: {played.refused_while_building[0].partition(chr(10))[0]}",
                advice="download nothing when a router is built: load models and prices at first use, or ship them",
                play=played,
            )
    return _keyless(trial)


def _keyless(trial: Trial) -> Violation | None:
    few = trial[-1]
    if few.not_built is None or few.scene.keys is None or _goes_by_another_key(trial, few.scene.keys):
        return None
    error = few.not_built
    used = ", ".join(few.scene.keys) or "no provider"
    return Violation(
        expected=f"a router that is built with the keys of {used} alone, since its models are there",
        seen=f"make_router raised {type(error).__name__}: {str(error).partition(chr(10))[0][:160]}",
        advice="make the client of a provider when a model of it is first asked",
        play=few,
    )


def _goes_by_another_key(trial: Sequence[Played], keys: Sequence[str]) -> bool:
    """Whether requests were seen to use a key that was hidden: a client of one provider pointed at another."""
    hidden = {fake_key(name) for name in PROVIDERS if name not in keys}
    return any(call.key in hidden for played in trial for call in played.calls)


register(
    Law(
        id="offline_construction",
        family="handling",
        says="building a router needs no network, no provider call, and no key of a provider that it does not use.",
        why="an import, a test or a deploy fails, or waits, because of a provider that is not even needed.",
        needs=(),
        advice="build clients at first use, from the keys of the models that are configured",
        scenes=_scenes,
        judge=_judge,
        examples=0.2,
    )
)
