"""`confidence_parsing`: a confidence that cannot be read, or is low in whatever form, leads to the next tier."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pytest_modelroute.invariants.law import Law, Violation, register
from pytest_modelroute.invariants.laws import _gates
from pytest_modelroute.invariants.laws._leniency import arrow, short_of_money, short_of_time
from pytest_modelroute.invariants.promises import Cascade, Promises
from pytest_modelroute.invariants.scenes import Behaviour, Good, Scene, Script
from pytest_modelroute.invariants.seen import Played, Trial

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from pytest_modelroute.invariants.atlas import Atlas, Way

_UNREADABLE: Final = ("high", "", "7", "-1", "nan", "inf", "150", "-0.9", "None")
_AT_ONCE: Final = 6
"How many answers an example tries, each with a router of its own."
_UNREAD, _LOW, _HIGH = "cannot be read", "is low", "may be read"
_TEXT: Final = "The order was shipped."
_WITH_NUMBER: Final = "The ratio is 0.99, as measured."


class _Said(str):
    """What stands where a number is expected, whatever the format says."""

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        """As it is."""
        return str(self)


def _filled(template: str, text: str, confidence: str) -> str:
    return template.format(text=text, confidence=_Said(confidence))


def _without(template: str, text: str) -> str | None:
    """The answer without the line of its confidence; None where all is one line."""
    lines = template.splitlines()
    rest = "\n".join(line for line in lines if "{confidence" not in line)
    return rest.format(text=text) if rest.strip() and len(lines) > 1 else None


def _answers(cascade: Cascade) -> list[tuple[str, str]]:
    """(what it is, the answer), the plainest first."""
    template = cascade.confidence or ""
    low, high = f"{cascade.threshold * 0.3:.2f}", f"{(1 + cascade.threshold) / 2:.2f}"
    percent = f"{cascade.threshold * 30:.0f}%"
    gone = _without(template, _TEXT)
    unread = [(_UNREAD, gone)] if gone is not None else []
    unread += [(_UNREAD, _filled(template, _TEXT, word)) for word in _UNREADABLE]
    rows = [*unread, (_UNREAD, "")]
    rows += [
        (_LOW, _filled(template, text, said)) for text in (_TEXT, _WITH_NUMBER) for said in (low, percent, f" {low} ")
    ]
    rows += [(_LOW, _filled(template, _TEXT, low) + "\n\n"), (_LOW, "\n\n" + _filled(template, _TEXT, low))]
    plain = re.sub(r"\{[^}]*\}", "", template)
    if plain.isascii() and "{{" not in template:
        rows += [(_LOW, _lowered(template, low)), (_HIGH, _lowered(template, high))]
    rows += [
        (_HIGH, _filled(template, _TEXT, f"{(1 + cascade.threshold) * 50:.0f}%")),
        (_HIGH, _filled(template, _TEXT, f" {high}")),
    ]
    return rows


def _lowered(template: str, confidence: str) -> str:
    """The words of the template in lower case, and the answer as it is."""
    parts = re.split(r"(\{[^}]*\})", template)
    lowered = "".join(part if part.startswith("{") else part.lower() for part in parts)
    return _filled(lowered, _TEXT, confidence)


def _scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import ways

    cascade, tiers = promises.cascade, _gates.tiers(promises)
    if cascade is None or cascade.confidence is None or len(tiers) < 2:  # noqa: PLR2004 - somebody to escalate to
        return st.nothing()

    def build(way: Way, answers: Sequence[tuple[str, str]]) -> Sequence[Scene]:
        last = Good(text=_gates.said(cascade, tiers[-1], _gates.ACCEPTED))
        accepted = _gates.script(promises, cascade, [_gates.ACCEPTED] * len(tiers), None).models
        scenes: list[Scene] = []
        for kind, text in answers:
            said: dict[str, tuple[Behaviour, ...]] = {tier: (Good(text=text),) for tier in tiers[:-1]}
            scenes.append(way.scene(Script(models={**accepted, **said, tiers[-1]: (last,)}), name=kind))
        return scenes

    every = _answers(cascade)
    unread = st.sampled_from([answer for answer in every if answer[0] == _UNREAD])
    read = st.sampled_from([answer for answer in every if answer[0] != _UNREAD])
    answers = st.lists(st.one_of(unread, unread, read), min_size=1, max_size=_AT_ONCE, unique=True)
    return st.builds(build, ways(promises, atlas), answers)


def _judge(promises: Promises, trial: Trial) -> Violation | None:
    for played in trial:
        found = _misread(promises, played)
        if found is not None:
            return replace(found, play=played)
    return None


def _misread(promises: Promises, played: Played) -> Violation | None:
    ask, tiers = played.only, _gates.tiers(promises)
    first = next(iter(ask.answering), None)
    if (
        first is None
        or first.model not in tiers[:-1]
        or short_of_time(promises, [ask])
        or short_of_money(promises, played)
    ):
        return None
    if ask.outcome == "raised":
        return Violation(
            expected="an answer: every model gave one",
            seen=f"ask raised {type(ask.error).__name__}: {ask.error}",
            counts={first.number: f"said {first.text[-60:]!r}"},
            advice="read the confidence with a pattern and a default, and take what does not match for none at all",
        )
    kind = played.scene.name
    if kind == _HIGH or any(model in tiers[tiers.index(first.model) + 1 :] for model in ask.models):
        return None
    return Violation(
        expected=f"the next tier, since the confidence {kind}",
        seen=f"it went {arrow(ask.models)}, and the answer was accepted",
        counts={first.number: f"said {first.text[-60:]!r}"},
    )


register(
    Law(
        id="confidence_parsing",
        family="cascades",
        says="a confidence that is missing, in words, out of range, or low in any form leads to the next tier.",
        why="a model that once says it in another form is believed without any confidence, or crashes the request.",
        needs=("cascade",),
        when=lambda promises: (
            promises.cascade is not None and promises.cascade.confidence is not None and promises.hedge_after is None
        ),
        advice="accept only a number from 0 to 1, where it was asked for, and compare so that NaN is refused",
        scenes=_scenes,
        judge=_judge,
    )
)
