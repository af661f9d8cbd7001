"""One test of a run that is tampered with, or watched: what its calls are answered, and how many were changed."""

from __future__ import annotations

from dataclasses import replace
from threading import Lock
from typing import Literal, Protocol

from pytest_modelroute.providers.language import Language
from pytest_modelroute.providers.prices import PriceBook
from pytest_modelroute.wire.answers import Answer
from pytest_modelroute.wire.call_log import ProviderCall
from pytest_modelroute.wire.defects import DEFECTS, Defect
from pytest_modelroute.wire.observed import Observed
from pytest_modelroute.wire.recorded import FIRST_ERROR
from pytest_modelroute.wire.tampering import Seen, written_anew


class Tampering(Protocol):
    """Stands between the answer to a call and the client, in one test."""

    changed: int
    "How many calls are not as they were."

    def redirect(self, call: ProviderCall) -> None:
        """The call is about to be answered: let it ask another model, perhaps."""
        ...

    def answer(self, call: ProviderCall, language: Language, answer: Answer, *, in_real_time: bool) -> Answer:
        """What the client gets in place of the answer."""
        ...


class _History:
    """What was asked in a test so far, by question: which models have failed to answer it since it was answered."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str | None, str | None, str], list[tuple[ProviderCall, bool]]] = {}

    def add(self, call: ProviderCall, answer: Answer) -> None:
        failed = answer.kind is not None or answer.breaks is not None or answer.status >= FIRST_ERROR
        self._asked.setdefault(_question(call), []).append((call, failed))

    def follows(self, call: ProviderCall) -> Literal["fallback", "retry"] | None:
        failed = set[tuple[str, str]]()
        for earlier, has_failed in reversed(self._asked.get(_question(call), ())):
            if not has_failed and earlier.error is None:
                break
            failed.add((earlier.provider, earlier.model))
        if not failed:
            return None
        return "fallback" if failed - {(call.provider, call.model)} else "retry"


def _question(call: ProviderCall) -> tuple[str | None, str | None, str]:
    return call.case, call.step, call.prompt


class Mutant:
    """One test with one defect at the wire."""

    def __init__(self, defect: Defect | None, *, number: int | None, known: Observed) -> None:
        """
        Nothing is changed yet.

        Args:
            defect: What is wrong; None to write every reply anew and change nothing else.
            number: The kind of question whose labels are flipped; None for all.
            known: What the untouched run has shown.

        """
        self.changed = 0
        self._defect = defect
        self._known = known
        self._history = _History()
        self._redirected: dict[int, PriceBook] = {}
        flips = defect is not None and defect.name == "flip_label"
        labelled = known.labelled if flips else []
        self._flipped = frozenset(labelled if number is None else labelled[number - 1 : number])
        self._lock = Lock()

    def redirect(self, call: ProviderCall) -> None:
        """Let the call ask the cheapest or the dearest model of its provider, where that is the defect."""
        which = None if self._defect is None else self._defect.redirects
        model = None if which is None or call.embeds else self._known.extreme_model(call, which)
        if model is None:
            return
        body = {**call.request.body, "model": model} if "model" in call.request.body else call.request.body
        call.request = replace(call.request, model=model, body=body)
        with self._lock:
            self._redirected[call.number] = call.prices
            self.changed += 1

    def answer(self, call: ProviderCall, language: Language, answer: Answer, *, in_real_time: bool) -> Answer:
        """The answer with the defect in it; as it is where it cannot show it."""
        if call.number in self._redirected:  # a recording knows the price of the model that it was made with
            call.prices = self._redirected[call.number]
        seen = Seen(
            call=call,
            language=language,
            answer=answer,
            follows=self._history.follows(call),
            other_label=self._known.other_label(call, answer.reply.text, self._flipped) if answer.reply else None,
            other_model=self._known.other_model(call),
            in_real_time=in_real_time,
        )
        told = self._told(seen)
        self._history.add(call, told or answer)
        return told or answer

    def _told(self, seen: Seen) -> Answer | None:
        if self._defect is None:
            told = written_anew(seen)
        elif self._defect.redirects is not None:
            return self._defect.tamper(seen) if seen.call.number in self._redirected else None  # counted already
        else:
            told = self._defect.tamper(seen)
        if told is not None:
            with self._lock:
                self.changed += 1
        return told


class Observer:
    """One test that is watched, and not touched."""

    def __init__(self, observed: Observed, *, classifiers: frozenset[str]) -> None:
        """Nothing was seen yet; `classifiers`: the models that the settings call so."""
        self.changed = 0
        self._observed = observed
        self._classifiers = classifiers
        self._history = _History()
        self._applied: set[str] = set()
        self._lock = Lock()
        self._has_called = False

    def redirect(self, call: ProviderCall) -> None:
        """Know the model that is asked."""
        with self._lock:
            self._observed.calls += 1
            self._observed.tests += not self._has_called
            self._has_called = True
            if not call.embeds:
                self._observed.note_model(call)

    def answer(self, call: ProviderCall, language: Language, answer: Answer, *, in_real_time: bool) -> Answer:
        """The answer as it is."""
        seen = Seen(
            call=call,
            language=language,
            answer=answer,
            follows=self._history.follows(call),
            in_real_time=in_real_time,
        )
        self._history.add(call, answer)
        with self._lock:
            self._observed.answered += 1
            self._observed.recorded += answer.lasts is not None
            if seen.text:
                declared = call.model in self._classifiers
                self._observed.note_reply(call, seen.text, is_declared=declared)
            for name, defect in DEFECTS.items():
                # Once for each test: to try every defect on every call would take longer than the run.
                if name not in self._applied and defect.redirects is None and defect.tamper(seen) is not None:
                    self._applied.add(name)
                    self._observed.applies[name] += 1
        return answer
