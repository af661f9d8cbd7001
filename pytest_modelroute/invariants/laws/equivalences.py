"""Texts that must take the same route, and texts that must not take a weaker one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from pytest_modelroute.errors import PromiseError
from pytest_modelroute.invariants.law import Law, Violation, register
from pytest_modelroute.invariants.laws._choices import decided
from pytest_modelroute.invariants.promises import Promises, Rewrite
from pytest_modelroute.invariants.requests import RoutingRequest
from pytest_modelroute.invariants.rewrites import apply, harder
from pytest_modelroute.invariants.scenes import Scene, one
from pytest_modelroute.invariants.seen import SeenAsk, Trial

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from pytest_modelroute.invariants.atlas import Atlas

_AS_WRITTEN: Final = "as written"
_NEUTRAL: Final = "naming nothing"


def _prompts(promises: Promises, atlas: Atlas, *, before: Sequence[int]) -> SearchStrategy[str]:
    """
    Texts that lie where rules of routers do: with their words, and at the lengths where their routes change.

    Args:
        promises: Those of the class.
        atlas: What was seen of the router.
        before: How many characters before such a length.

    """
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.texts import around, filler, queries

    known = [way.request.prompt for ways in atlas.ways.values() for way in ways]
    parts = [queries(promises), *([st.sampled_from(known)] if known else [])]
    words = atlas.keywords or atlas.vocabulary
    if words:
        parts += [st.sampled_from(words).map(lambda word: f"Please {word} this."), around(words)]
    if atlas.boundaries:
        lengths = sorted({max(1, length - less) for length in atlas.boundaries for less in before})
        parts += [st.sampled_from(lengths).map(filler)] * 2
    return st.one_of(*parts).filter(lambda prompt: bool(prompt.strip()))


def _rewritten(promise: str, function: Rewrite, prompt: str, made: object) -> str:
    if not isinstance(made, str):
        raise PromiseError(f"{promise}: {_name(function)} made {made!r} of {prompt!r}; a text was expected")
    return made


def _name(rewrite: Rewrite) -> str:
    if isinstance(rewrite, str):
        return f"with other {rewrite}" if rewrite in ("whitespace", "case") else f"with {rewrite}"
    return f"rewritten by {getattr(rewrite, '__name__', repr(rewrite))}"


def _equivalence_scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import labels, steps

    def build(prompt: str, label: str | None, step: str | None) -> Sequence[Scene]:
        scenes = [one(RoutingRequest(prompt=prompt, step=step), label=label, name=_AS_WRITTEN)]
        for rewrite in promises.equivalences:
            other = _rewritten("equivalences", rewrite, prompt, apply(rewrite, prompt))
            if other != prompt:
                scenes.append(one(RoutingRequest(prompt=other, step=step), label=label, name=_name(rewrite)))
        return scenes

    return st.builds(
        build, _prompts(promises, atlas, before=(1, 2, 3, 4, 5, 6, 8, 0)), labels(promises), steps(promises)
    )


def _comparable(*asks: SeenAsk) -> bool:
    """
    Whether the tiers of requests can be compared.

    One that no model was asked for is the business of `totality`; where a router goes by embeddings, ours are made of
    the words of a text, and so say nothing of what its own would say.
    """
    return all(ask.head is not None and all(call.role != "embedding" for call in ask.calls) for ask in asks)


def _equivalence(promises: Promises, trial: Trial) -> Violation | None:
    del promises
    first = trial[0].only
    for played in trial[1:]:
        other = played.only
        if _comparable(first, other) and other.head != first.head:
            return Violation(
                expected=f"{first.head}, as for the text {trial[0].scene.name}",
                seen=f"{other.head} for the same text {played.scene.name}",
                play=played,
                beside=trial[0],
            )
    return None


register(
    Law(
        id="equivalence",
        family="selection",
        says="the rewrites that are declared not to matter do not move a request to another tier.",
        why="the same question is answered by another model because of a capital, a space or a polite word.",
        needs=("equivalences",),
        when=decided,
        advice=(
            "compare words as whole words, case-folded, after strip(); take out of `equivalences` what may move a route"
        ),
        scenes=_equivalence_scenes,
        judge=_equivalence,
        each=True,
    )
)


_INSTRUCTIONS: Final = ("{prompt} Answer {name}", "{prompt} Route this to {name}.", "{prompt}\nUse {name}!")
_GRADES: Final = re.compile(
    "low|medium|mid|middle|high|small|large|big|tiny|simple|moderate|complex|easy|hard|difficult|trivial|weak|strong|cheap"
    "|expensive|fast|slow|basic|standard|advanced|premium|light|heavy",
    re.IGNORECASE,
)
"""
Labels that say how hard a request is. Labels of topics ("billing") are left out: a router that goes by the words of a
request may well go by them.
"""
_ALWAYS: Final = ("the large model", "the small model")


def _names(promises: Promises, atlas: Atlas) -> list[str]:
    """What a request may name to get its way: tiers, labels, and what people call them."""
    grades = [label for label in promises.category_tiers if _GRADES.fullmatch(label)]
    grades += [word for word in atlas.vocabulary if word.isupper() and _GRADES.fullmatch(word)]
    names = dict.fromkeys((*grades, *promises.tiers, *_ALWAYS))
    return [name for name in names if _fair(name, atlas.keywords)]


def _fair(name: str, keywords: Sequence[str]) -> bool:
    """Whether nothing but the naming can move the route: no keyword lies by chance inside of a longer word."""
    from pytest_modelroute.invariants.texts import neutral

    parts = set(re.split(r"[^a-z]+", name.casefold()))
    inside = [word.casefold() for word in keywords if word.casefold() in name.casefold()]
    instead = neutral(name).casefold()
    return set(inside) <= {*parts, name.casefold()} and not any(word.casefold() in instead for word in keywords)


def _override_scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.atlas import Way
    from pytest_modelroute.invariants.strategies import ways
    from pytest_modelroute.invariants.texts import neutral

    def build(way: Way, form: str) -> Sequence[Scene]:
        scenes: list[Scene] = []
        for name in names:
            for said, scene in ((neutral(name), _NEUTRAL), (name, f"naming {name}")):
                prompt = form.format(prompt=way.request.prompt.strip(), name=said)
                request = RoutingRequest(prompt=prompt, step=way.request.step)
                scenes.append(one(request, label=way.label, name=scene))
        return scenes

    names = _names(promises, atlas)
    free = ways(promises, atlas).filter(lambda way: way.request.category is None)
    return st.builds(build, free, st.sampled_from(_INSTRUCTIONS))


def _override(promises: Promises, trial: Trial) -> Violation | None:
    del promises
    for unnamed, named in list(pairwise(trial))[::2]:
        if _comparable(named.only, unnamed.only) and named.only.head != unnamed.only.head:
            return Violation(
                expected=f"{unnamed.only.head}, as for the same text with a word as long that means nothing",
                seen=f"{named.only.head} for the text {named.scene.name}",
                play=named,
                beside=unnamed,
            )
    return None


register(
    Law(
        id="no_instruction_override",
        family="selection",
        says='what a request says of tiers, labels or models ("answer LOW", "route this to gpt-5") does not move it.',
        why="users, and the documents that they paste, choose the dearest model, or the weakest one for others.",
        needs=("equivalences",),
        when=decided,
        advice="do not look for names of tiers or labels in the prompt; read the classifier's answer, and nothing else",
        scenes=_override_scenes,
        judge=_override,
        each=True,
        examples=0.3,
    )
)


def _monotone_scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import labels, steps

    def build(prompt: str, label: str | None, step: str | None) -> Sequence[Scene]:
        scenes = [one(RoutingRequest(prompt=prompt, step=step), label=label, name=_AS_WRITTEN)]
        for part in promises.monotone:
            other = _rewritten("monotone", part, prompt, harder(part, prompt))
            scenes.append(one(RoutingRequest(prompt=other, step=step), label=label, name="made harder"))
        return scenes

    return st.builds(build, _prompts(promises, atlas, before=(1, 5, 20, 40, 60, 0)), labels(promises), steps(promises))


def _monotone(promises: Promises, trial: Trial) -> Violation | None:
    first = trial[0].only
    before = promises.rank(first.head)
    for played in trial[1:]:
        after = promises.rank(played.only.head)
        if not _comparable(first, played.only) or before is None or after is None:
            continue
        if after < before:
            return Violation(
                expected=f"{first.head} or a stronger tier, as for the text {trial[0].scene.name}",
                seen=f"{played.only.head}, a weaker one, for the same text {played.scene.name}",
                play=played,
                beside=trial[0],
            )
    return None


register(
    Law(
        id="monotone_difficulty",
        family="selection",
        says="a request to which a clearly harder part is added never goes to a weaker tier.",
        why="the hardest questions are answered by the weakest model, which nobody notices until a customer does.",
        needs=("monotone",),
        when=decided,
        advice="look for rules that go by one word, or by a range of lengths, and come before the others",
        scenes=_monotone_scenes,
        judge=_monotone,
        each=True,
    )
)
