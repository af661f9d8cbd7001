"""Which model a request goes to."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pytest_modelroute.invariants.law import Law, Violation, register
from pytest_modelroute.invariants.laws._leniency import arrow
from pytest_modelroute.invariants.promises import Promises
from pytest_modelroute.invariants.requests import RoutingRequest
from pytest_modelroute.invariants.scenes import Act, Ask, Scene, one
from pytest_modelroute.invariants.seen import Trial

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from pytest_modelroute.invariants.atlas import Atlas


def _totality_scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import labels, requests

    def build(request: RoutingRequest, label: str | None) -> Sequence[Scene]:
        return [one(request, label=label)]

    return st.builds(build, requests(promises, atlas), labels(promises))


def _totality(promises: Promises, trial: Trial) -> Violation | None:
    (played,) = trial
    ask = played.only
    for call in ask.calls:
        if call.model not in promises.known_models and call.role == "answer":
            return Violation(
                expected=f"only models that were declared: {', '.join(sorted(promises.known_models))}",
                seen=f"the request went to {call.model!r}",
                counts={call.number: "this model was never declared"},
            )
    if ask.error is not None:
        if isinstance(ask.error, promises.refuses):
            return None
        return Violation(
            expected="an answer, since every provider was healthy",
            seen=f"ask raised {type(ask.error).__name__}: {ask.error}",
        )
    if ask.route is None:
        return Violation(
            expected=f"an answer of one of {', '.join(sorted(promises.known_models))}",
            seen=f"ask returned {ask.text[:80]!r}, and no model was asked for it",
        )
    return None


register(
    Law(
        id="totality",
        family="selection",
        says="any input is answered by a model of the declared tiers or chains, or refused as documented.",
        why="an empty message, a list of parts or an odd character crashes the router, or reaches one that is none.",
        needs=(),
        advice="read the prompt defensively where the route is chosen; name documented refusals in `refuses`",
        scenes=_totality_scenes,
        judge=_totality,
    )
)


def _determinism_scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import labels, plain_requests, requests

    def build(request: RoutingRequest, label: str | None, other: RoutingRequest) -> Sequence[Scene]:
        alone = one(request, label=label, name="alone")
        again = one(request, label=label, name="alone again")
        if promises.budget is not None or promises.cooldown is not None:
            return [alone, again]
        asks = (Ask(request=request, label=label), Ask(request=other, label=label))
        return [alone, again, Scene(acts=(Act(asks=asks),), name="beside another")]

    return st.builds(build, requests(promises, atlas), labels(promises), plain_requests(promises))


def _determinism(promises: Promises, trial: Trial) -> Violation | None:
    del promises
    first = trial[0].asks[0]
    for played in trial[1:]:
        same = played.asks[0]
        if first.models != same.models:
            return Violation(
                expected=f"{arrow(first.models)}, as when it was asked {trial[0].scene.name}",
                seen=f"{arrow(same.models)} when it was asked {played.scene.name}",
            )
    return None


register(
    Law(
        id="determinism",
        family="selection",
        says="the same request with the same answers of the providers takes the same route, alone or among others.",
        why="a route that changes by itself makes evaluations of it worth nothing, and complaints irreproducible.",
        needs=(),
        when=lambda promises: promises.load_balanced is None and promises.hedge_after is None,
        advice="look for random choices, state that one request leaves to the next, and sets that are iterated over",
        scenes=_determinism_scenes,
        judge=_determinism,
    )
)


def _encoding_scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import first_step, labels
    from pytest_modelroute.invariants.texts import ACCENTED, around, queries

    texts = [queries(promises), st.sampled_from(ACCENTED)]
    texts += [around(atlas.vocabulary)] if atlas.vocabulary else []
    step = first_step(promises)

    def build(prompt: str, label: str | None) -> Sequence[Scene]:
        plain = RoutingRequest(prompt=unicodedata.normalize("NFC", prompt), step=step)
        parts = replace(plain, as_parts=True)
        scenes = [one(plain, label=label, name="as a string"), one(parts, label=label, name="as a list of one part")]
        decomposed = unicodedata.normalize("NFD", prompt)
        if decomposed != plain.prompt:
            longer = _as_long_as(decomposed, plain.prompt)
            scenes.append(one(replace(plain, prompt=decomposed), label=label, name=_DECOMPOSED))
            scenes.append(one(replace(plain, prompt=longer), label=label, name=_AS_LONG))
        return scenes

    return st.builds(build, st.one_of(*texts), labels(promises))


_DECOMPOSED: Final = "decomposed (NFD)"
_AS_LONG: Final = "composed, with as many letters more"


def _as_long_as(decomposed: str, composed: str) -> str:
    """The composed text with a plain word drawn out, so that it has as many characters as the decomposed one."""
    words = composed.split(" ")
    plain = [place for place, word in enumerate(words) if len(word) > 1 and word.isascii()]
    more = "x" * (len(decomposed) - len(composed))
    if not plain:
        return composed + more
    place = max(plain, key=lambda place: len(words[place]))
    words[place] = words[place][:-1] + more + words[place][-1]
    return " ".join(words)


def _encoding(promises: Promises, trial: Trial) -> Violation | None:
    """
    The first scene's tier is that of all others.

    A router that goes by length may find the decomposed text a few characters longer, and right at its threshold: where
    a composed text of that length goes the same way, nothing is said against it.
    """
    del promises
    by_name = {played.scene.name: played.only.head for played in trial}
    first = trial[0].only
    for played in trial[1:]:
        name, head = played.scene.name, played.only.head
        if name == _AS_LONG or head == first.head or (name == _DECOMPOSED and head == by_name.get(_AS_LONG)):
            continue
        return Violation(
            expected=f"{first.head or 'no model'}, as for the text {trial[0].scene.name}",
            seen=f"{head or 'no model'} for the same text {name}",
        )
    return None


register(
    Law(
        id="encoding_invariance",
        family="selection",
        says="the same text takes the same route as a string or as a list of one part, and in any Unicode normal form.",
        why="one client library sends parts where another sends a string, and keyboards compose letters differently.",
        needs=(),
        when=lambda promises: promises.load_balanced is None,
        advice="join the text parts and apply unicodedata.normalize('NFC', ...) before the route is chosen",
        scenes=_encoding_scenes,
        judge=_encoding,
    )
)
