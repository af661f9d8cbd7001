"""How the classifier's answer is read, what happens where it says nothing, and what asking it takes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from pytest_modelroute.invariants.law import Law, Violation, register
from pytest_modelroute.invariants.laws._choices import ended, excused, labels_of, reached, unlike
from pytest_modelroute.invariants.promises import Promises
from pytest_modelroute.invariants.requests import RoutingRequest
from pytest_modelroute.invariants.scenes import Act, Ask, Fails, Good, Scene, Script, one
from pytest_modelroute.invariants.seen import Played, SeenAsk, SeenCall, Trial
from pytest_modelroute.providers.exchange import Usage

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from pytest_modelroute.invariants.atlas import Atlas

_UNKNOWN: Final = "banana"
"What is no label of anybody's."
_WORD: Final = re.compile(r"[^\W\d_][\w -]*")
"A label that is a word: others, such as JSON or a number, have no other case and are part of no longer word."
_SIGNS: Final = " \t\n.,;:!?\"'`*()[]<>#-"
"What stands around a label without changing it."


def _classified(ask: SeenAsk) -> bool:
    """Whether the classifier was asked at all: a rule, a step's own model or a cache may have come before it."""
    return not unlike(ask) and any(call.role == "classifier" for call in ask.calls)


def _asked(promises: Promises, atlas: Atlas) -> SearchStrategy[RoutingRequest]:
    """Requests that are classified, as far as was seen; plain ones besides."""
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import plain_requests

    known = [way.request for ways in atlas.ways.values() for way in ways if way.request.category is None]
    parts = [plain_requests(promises), *([st.sampled_from(known)] if known else [])]
    return st.one_of(*parts)


def _forms(label: str) -> Iterator[list[str]]:
    """What may be answered for a label, in groups: itself, with signs around it, and as a part of other words."""
    padded = [label, f" {label}", f"{label}\n", f"\n\n {label} \t\n"]
    if not _WORD.fullmatch(label):
        yield padded
        return
    cases = [label.lower(), label.upper(), label.title(), f"  {label.lower()}\n"] if label.isascii() else []
    yield [*padded, *cases]
    yield [f"{label}.", f'"{label}"', f"'{label}'", f"**{label}**", f"{label}!"]
    before, after = ("s", "al", "be", "un"), ("er", "ly", "x")
    words = [*(f"{part}{label.lower()}" for part in before), *(f"{label.lower()}{part}" for part in after)]
    yield [word.upper() if label.isupper() else word for word in words]


def _meant(labels: Mapping[str, str], answer: str) -> tuple[set[str], bool]:
    """
    The tiers that an answer may stand for, none for one that is no label, and whether it is a bare label.

    Labels that differ in case alone are told apart by it, where the answer says which.
    """
    bare = answer.strip()
    if bare in labels:
        return {labels[bare]}, True
    folded = {tier for label, tier in labels.items() if label.casefold() == bare.casefold()}
    if folded:
        return folded, True
    stripped = answer.strip(_SIGNS).casefold()
    return {tier for label, tier in labels.items() if label.strip(_SIGNS).casefold() == stripped}, False


def _labels_scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    groups = [group for label in labels_of(promises) for group in _forms(label)]

    def build(request: RoutingRequest, answers: Sequence[str]) -> Sequence[Scene]:
        unknown = [one(request, label=_UNKNOWN, name="answered what is no label")] if promises.safe_tier is None else []
        return [*unknown, *(one(request, label=answer, name=f"answered {answer!r}") for answer in answers)]

    return st.builds(build, _asked(promises, atlas), st.sampled_from(groups))


def _judge_labels(promises: Promises, trial: Trial) -> Violation | None:
    """
    A bare label leads to its tier.

    With signs around it a router may also take it for unknown, as it must a word that a label is only a part of.
    Unknown ones go to `safe_tier`, or where none is promised, wherever an unknown one was seen to go.
    """
    beside = trial[0] if promises.safe_tier is None else None
    unknown = None if beside is None else beside.only
    for played in trial:
        ask = played.only
        if ask is unknown or not _classified(ask) or excused(promises, ask):
            continue
        tiers, bare = _meant(labels_of(promises), ask.ask.label or "")
        if any(reached(ask, tier) for tier in tiers) or (not bare and _is_lost(promises, ask, unknown)):
            continue
        return Violation(
            expected=_due(promises, tiers, bare=bare, unknown=unknown),
            seen=f"{ended(ask)}, for the answer {ask.ask.label!r}",
            counts=_marked(ask, "classifier", "what the classifier answered"),
            play=played,
            beside=beside,
        )
    return None


def _is_lost(promises: Promises, ask: SeenAsk, unknown: SeenAsk | None) -> bool:
    """Whether a request went where unknown labels go."""
    if unknown is None:
        return reached(ask, promises.safe_tier)
    return (ask.head, ask.error is None) == (unknown.head, unknown.error is None)


def _due(promises: Promises, tiers: set[str], *, bare: bool, unknown: SeenAsk | None) -> str:
    lost = promises.safe_tier or f"{ended(unknown) if unknown else 'none'}, as for {_UNKNOWN!r}"
    if bare:
        return f"{' or '.join(sorted(tiers))}, where this label leads whatever its case and the whitespace around it"
    if tiers:
        return f"{' or '.join(sorted(tiers))}, where this label leads, or {lost}, where unknown labels go"
    return f"{lost}: the answer is none of the labels, though one is a part of it"


def _marked(ask: SeenAsk, role: str, why: str) -> dict[int, str]:
    return {call.number: why for call in ask.calls if call.role == role}


register(
    Law(
        id="classifier_labels",
        family="classification",
        says="each label leads to its tier, whatever its case and padding, and is found in no other word.",
        why='a model answers "Low" or "LOW\\n" one day, and every request goes elsewhere; or "LOW" is found in "SLOW".',
        needs=("classifier",),
        advice="compare the whole answer: labels.get(answer.strip().upper()), not `label in answer`",
        scenes=_labels_scenes,
        judge=_judge_labels,
        examples=0.75,
        each=True,
    )
)


def _unreadable(promises: Promises) -> list[str]:
    """Answers that name no label: empty, unknown, verbose, cut off, two at once."""
    labels = labels_of(promises)
    known = {label.casefold() for label in labels}
    away = [label for label, tier in labels.items() if tier != promises.safe_tier] or list(labels)
    found = ["", "  \n", _UNKNOWN, "I cannot tell."]
    for label in (label for label in away if _WORD.fullmatch(label)):
        found += [f"I think this is {label} because the question is short.", f"This is clearly not {label}, but more."]
        found += [label[:-1], label[: len(label) // 2]]
        found += [f"{label} or {other}" for other in labels if other != label][:1]
    return [answer for answer in dict.fromkeys(found) if answer.strip(_SIGNS).casefold() not in known]


_ALWAYS: Final = ("server_error", "rate_limited", "timeout", "connection")
"Failures that every router must be ready for."
_PROMISED: Final = ("malformed", "content_filtered")
"Failures that a router is held to only where it says that it knows them: client libraries have no class for some."


def _failures(promises: Promises) -> list[Fails]:
    from pytest_modelroute.invariants.strategies import FAULTS_BY_CLASS

    known: Any = promises.recoverable or ()
    kinds = [*_ALWAYS, *(kind for kind in _PROMISED if kind in known)]
    return [Fails(fault) for kind in kinds for fault in FAULTS_BY_CLASS[kind]]


def _safe_scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    kinds: list[Sequence[str | Fails]] = [_unreadable(promises), _failures(promises)]

    def build(request: RoutingRequest, behaviours: Sequence[str | Fails]) -> Sequence[Scene]:
        return [one(request, Script(label=behaviour)) for behaviour in behaviours]

    return st.builds(build, _asked(promises, atlas), st.sampled_from(kinds))


def _safe(promises: Promises, trial: Trial) -> Violation | None:
    for played in trial:
        ask = played.only
        if not _classified(ask) or reached(ask, promises.safe_tier) or excused(promises, ask):
            continue
        if _out_of_time(promises, ask):
            continue
        said = played.scene.acts[0].script.label
        what = "failed" if isinstance(said, Fails) else f"answered {said!r}"
        return Violation(
            expected=f"{promises.safe_tier}, the safe tier, since the classifier {what}",
            seen=ended(ask),
            counts=_marked(ask, "classifier", "no label came of this"),
            play=played,
        )
    return None


def _out_of_time(promises: Promises, ask: SeenAsk) -> bool:
    """Whether a classifier that failed slowly may have used up the time in which the request must end."""
    spent = max((call.ended or ask.ended for call in ask.calls if call.role == "classifier"), default=0.0)
    return promises.deadline is not None and spent - ask.started > promises.deadline / 2


register(
    Law(
        id="classifier_fail_safe",
        family="classification",
        says="a request goes to the safe tier where the classifier fails, or answers what is none of the labels.",
        why="when the classifier has a bad day, hard questions go to the weakest model, or every request fails.",
        needs=("classifier", "safe_tier"),
        advice="catch every error of the classifier's call, and give the safe tier as the default of the look-up",
        scenes=_safe_scenes,
        judge=_safe,
        examples=0.4,
        each=True,
    )
)


_CLASSIFIED_S: Final = 0.05
"Seconds that the harness lets a classification take."
_ROOM: Final = 0.65
"One classification takes this part of the share that is promised, so that two are too many and one never is."
_OUTPUT: Final = 400
"Tokens of an answer: a paragraph or two."
_LETTER: Final = (
    "Hello, I ordered two pairs of running shoes three weeks ago, one in size 42 and one in size 44. The first "
    "pair came after ten days, but the box was open and the left shoe has a stain that does not come off. The "
    "second pair never came: the tracking page says that it was handed over on Monday, which cannot be, since "
    "nobody was at home and no neighbour has it either. I have written to you twice, and called once, without an "
    "answer that helps. I would like to know what happens now: do I send the first pair back, at whose cost, and "
    "how long does the refund take? And will you send the second pair again, or do I have to wait for an inquiry "
    "of the carrier? The shoes are a present for the 14th."
)


def _overhead_scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import steps

    del atlas
    share = promises.classifier.overhead if promises.classifier else 1.0
    latency = _CLASSIFIED_S * (1 / (_ROOM * share) - 1)

    def build(prompt: str, step: str | None) -> Sequence[Scene]:
        usage = Usage(fresh_input=max(20, len(prompt) // 4), output=_OUTPUT)
        script = Script(good=Good(usage=usage, latency=round(latency, 3)))
        request = RoutingRequest(prompt=prompt, step=step)
        return [
            Scene(acts=(Act(asks=(Ask(request=request, label=label),), script=script),), name=f"labelled {label}")
            for label in labels_of(promises)
        ]

    return st.builds(build, st.sampled_from(("Where is my order?", _LETTER[:300], _LETTER)), steps(promises))


def _overhead(promises: Promises, trial: Trial) -> Violation | None:
    if promises.classifier is None or any(ask.error is not None for played in trial for ask in played.asks):
        return None
    share = promises.classifier.overhead
    for what, part in (("cost", _share_of_cost(trial)), ("latency", _share_of_latency(trial))):
        if part is not None and part > share:
            return Violation(
                expected=f"at most {share:.0%} of what a request takes, over one request for each label",
                seen=f"the classifier takes {part:.0%} of the {what}, by {_times(trial)} calls a request",
                counts={call.number: "classification" for played in trial[:1] for call in _classifications(played)},
            )
    return None


def _classifications(played: Played) -> list[SeenCall]:
    return [call for call in played.calls if call.role == "classifier"]


def _times(trial: Trial) -> str:
    return f"{sum(len(_classifications(played)) for played in trial) / len(trial):.2g}"


def _share_of_cost(trial: Trial) -> float | None:
    """The part of the money; None where a price is unknown."""
    costs = [(call.role, call.cost) for played in trial for call in played.calls]
    if not costs or any(cost is None for _, cost in costs):
        return None
    total = sum((cost for _, cost in costs if cost is not None), Decimal(0))
    part = sum((cost for role, cost in costs if cost is not None and role == "classifier"), Decimal(0))
    return float(part / total) if total else None


def _share_of_latency(trial: Trial) -> float | None:
    """The part of the time; a classification beside an answer, or beside another one, takes none of its own."""
    total = sum(ask.elapsed for played in trial for ask in played.asks)
    return sum(_waited(ask) for played in trial for ask in played.asks) / total if total else None


def _waited(ask: SeenAsk) -> float:
    """Seconds in which there was a classification, and no answering call."""
    spans = [(call.role, call.started, call.ended if call.ended is not None else ask.ended) for call in ask.calls]
    moments = sorted({moment for _, start, end in spans for moment in (start, end)})
    waited = 0.0
    for start, end in pairwise(moments):
        roles = {role for role, began, stopped in spans if began <= start and stopped >= end}
        waited += end - start if "classifier" in roles and "answer" not in roles else 0.0
    return waited


register(
    Law(
        id="classifier_overhead",
        family="classification",
        says="the classifier takes no more of a request's cost and latency than its declared share.",
        why="a router that spends on choosing what it saves by the choice is worth nothing, and makes everybody wait.",
        needs=("classifier",),
        advice="ask once, ask a small model, send it the question alone; or declare Classifier(overhead=...)",
        scenes=_overhead_scenes,
        judge=_overhead,
        examples=0.15,
    )
)
