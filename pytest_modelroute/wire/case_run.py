"""One run of a case, where each case is run on every model: what was heard before, and where its calls are sent."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_modelroute.wire.detour import Detour


class Heard:
    """
    What a case was answered so far, by request, so that its next run need not ask again.

    Within one run the first request of a kind hears the first answer, the second one the second: code that asks the
    same thing three times hears three answers in each run. Several askers hear the same answers, each in its own time.
    """

    def __init__(self, answers: dict[str, list[Any]] | None = None) -> None:
        """Nothing, or what earlier runs of the case were answered."""
        self._answers: dict[str, list[Any]] = {} if answers is None else answers
        self._had: Counter[tuple[str, str]] = Counter()
        self._lock = Lock()

    def another_run(self) -> Heard:
        """The case is run once more: everything may be heard again, and what is new is shared."""
        return Heard(self._answers)

    def next(self, key: str, *, asker: str = "") -> Any | None:
        """The next answer to a request; None for one that was not given yet."""
        with self._lock:
            answers, had = self._answers.get(key, []), self._had[key, asker]
            if had >= len(answers):
                return None
            self._had[key, asker] += 1
            return answers[had]

    def add(self, key: str, answer: Any, *, asker: str = "") -> None:
        """Keep an answer that this run, and this asker, has had."""
        with self._lock:
            self._answers.setdefault(key, []).append(answer)
            self._had[key, asker] += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseRun:
    """Which run of a case a call belongs to."""

    heard: Heard
    detour: Detour | None = None
    "Where its answering calls are sent instead; None where they go where the code under test sends them."
    apart: bool = False
    "Whether its calls stay out of the test's call log: the test did not ask for them."
