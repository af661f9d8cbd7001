"""What an untouched run shows of a suite, as far as tampering needs it: its models, its labels, what can apply."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import blake2b
from typing import Any, Final, Literal

from pytest_modelroute.errors import PriceUnknown
from pytest_modelroute.providers.exchange import Usage
from pytest_modelroute.providers.language import is_json
from pytest_modelroute.wire.call_log import ProviderCall

_LABEL: Final = re.compile(r"\W*[\w-]+(?:[ /_-]+[\w-]+){0,2}\W*")
_LONGEST_LABEL: Final = 40
_LONGEST_JSON: Final = 80
_LONGEST_DECLARED: Final = 200
_FEW: Final = 4
"So many labels are few, however seldom each is seen."
_SEEN_EACH: Final = 2
"More labels than that are seen so often each, on average; free answers are not."
_MOSTLY: Final = 0.8
_OPENING: Final = 60
"Characters of an instruction that tell one kind of question from another."
_MILLION: Final = Usage(fresh_input=1_000_000, output=1_000_000)


@dataclass(slots=True, kw_only=True)
class Question:
    """One kind of question, and what it was answered."""

    model: str
    "The model asked first."
    opening: str
    "How its instruction begins; empty where it has none."
    calls: int = 0
    labels: Counter[str] = field(default_factory=Counter[str])

    @property
    def is_labelled(self) -> bool:
        """Whether its answers are a few labels, and so decide on something, and not free text."""
        known, said = len(self.labels), self.labels.total()
        if known < 2 or said < _MOSTLY * self.calls:  # noqa: PLR2004 - a label needs another one to be flipped to
            return False
        return known <= _FEW or known * _SEEN_EACH <= said

    def other(self, label: str) -> str | None:
        """The next label in alphabetical order, the first one after the last; None for what is no label of these."""
        known = sorted(self.labels)
        if label not in self.labels:
            return None
        return known[(known.index(label) + 1) % len(known)]


@dataclass(slots=True, kw_only=True)
class Observed:
    """What is known of a suite; that of several processes is added up."""

    calls: int = 0
    tests: int = 0
    "Tests that call a provider."
    recorded: int = 0
    "Calls that recordings answered."
    answered: int = 0
    "Calls that scripts or recordings answered: those to the network cannot be tampered with."
    models: dict[str, dict[str, str | None]] = field(default_factory=dict[str, dict[str, str | None]])
    "Provider and format -> model -> USD of a million tokens each way; None where it has no price."
    questions: dict[str, Question] = field(default_factory=dict[str, Question])
    applies: Counter[str] = field(default_factory=Counter[str])
    "Defect -> tests that give it something to do."

    def note_model(self, call: ProviderCall) -> None:
        """Know the model of a call, and its price."""
        known = self.models.setdefault(_place(call), {})
        if call.model not in known:
            known[call.model] = _price(call)

    def note_reply(self, call: ProviderCall, text: str, *, is_declared: bool) -> None:
        """Know a good answer; `is_declared`: the settings call its model a classifier."""
        key, opening = _kind(call)
        question = self.questions.setdefault(key, Question(model=call.model, opening=opening))
        question.calls += 1
        label = text.strip()
        if _may_be_label(label) or (is_declared and 0 < len(label) <= _LONGEST_DECLARED):
            question.labels[label] += 1

    @property
    def labelled(self) -> list[str]:
        """The kinds of question that are answered with labels, in an order that does not depend on who came first."""
        found = [(question.opening, question.model, key) for key, question in self.questions.items()]
        return [key for *_, key in sorted(found) if self.questions[key].is_labelled]

    def other_label(self, call: ProviderCall, text: str, among: Collection[str]) -> str | None:
        """Another label for an answer; None where it is none, or its question is not of these kinds."""
        if not among:
            return None
        key = _kind(call)[0]
        return self.questions[key].other(text.strip()) if key in among else None

    def other_model(self, call: ProviderCall) -> str | None:
        """Another model at the provider of a call, the next one in alphabetical order."""
        known = sorted(set(self.models.get(_place(call), ())) - {call.model})
        return next((name for name in known if name > call.model), known[0]) if known else None

    def extreme_model(self, call: ProviderCall, which: Literal["cheapest", "dearest"]) -> str | None:
        """The cheapest or the dearest model at the provider of a call; None where that is the one it asks."""
        ranked = sorted((Decimal(price or 0), name) for name, price in self.models.get(_place(call), {}).items())
        if not ranked:
            return None
        model = ranked[0 if which == "cheapest" else -1][1]
        return None if model == call.model else model

    @property
    def has_choice(self) -> bool:
        """Whether several models of one provider are asked."""
        return any(len(names) > 1 for names in self.models.values())

    def to_json(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "calls": self.calls,
            "tests": self.tests,
            "recorded": self.recorded,
            "answered": self.answered,
            "models": self.models,
            "questions": {
                key: {"model": each.model, "opening": each.opening, "calls": each.calls, "labels": dict(each.labels)}
                for key, each in self.questions.items()
            },
            "applies": dict(self.applies),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Observed:
        """What `to_json` gave."""
        return cls(
            calls=value["calls"],
            tests=value["tests"],
            recorded=value["recorded"],
            answered=value["answered"],
            models={place: dict(models) for place, models in value["models"].items()},
            questions={
                key: Question(
                    model=each["model"], opening=each["opening"], calls=each["calls"], labels=Counter(each["labels"])
                )
                for key, each in value["questions"].items()
            },
            applies=Counter(value["applies"]),
        )

    @classmethod
    def together(cls, parts: Iterable[Observed]) -> Observed:
        """What several processes have seen."""
        whole = cls()
        for part in parts:
            whole.calls += part.calls
            whole.tests += part.tests
            whole.recorded += part.recorded
            whole.answered += part.answered
            whole.applies += part.applies
            for place, models in part.models.items():
                whole.models.setdefault(place, {}).update(models)
            for key, question in part.questions.items():
                known = whole.questions.setdefault(key, Question(model=question.model, opening=question.opening))
                known.model = min(known.model, question.model)
                known.calls += question.calls
                known.labels += question.labels
        return whole


def _place(call: ProviderCall) -> str:
    return f"{call.provider} {call.language}"


def _price(call: ProviderCall) -> str | None:
    try:
        return str(call.prices.cost(call.model, _MILLION, provider=call.provider))
    except PriceUnknown:
        return None


def _kind(call: ProviderCall) -> tuple[str, str]:
    """Tells kinds of questions apart: by how the instruction begins, else by the model and the step that ask it."""
    instruction = next((message.text for message in call.messages if message.role in {"system", "developer"}), "")
    opening = instruction.strip()[:_OPENING]
    told = opening or f"{call.model}\n{call.step or ''}"
    return blake2b(told.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest(), opening


def _may_be_label(text: str) -> bool:
    if len(text) <= _LONGEST_JSON and is_json(text, begins="{["):
        return True
    return len(text) <= _LONGEST_LABEL and _LABEL.fullmatch(text) is not None
