"""Fallback chains: the candidates of a request, tried in their order until one answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar, get_args

from pytest_modelroute.errors import (
    AnswerRejected,
    BudgetExceeded,
    FallbacksFailed,
    ModelRouteError,
    ProviderError,
    SettingsError,
)
from pytest_modelroute.providers.failures import RECOVERABLE, ErrorClass
from pytest_modelroute.router.cooldown import Cooldown
from pytest_modelroute.router.requests import ModelResponse
from pytest_modelroute.router.routine import Routine


class FallbackChain:
    """
    Candidates in the order in which they are tried; each is entered once a request.

    An error of a recoverable class goes to the next candidate, any other is raised as it is. So is an error after the
    first piece of a stream, since the next candidate would repeat the text.
    """

    def __init__(
        self, candidates: Iterable[str], *, recoverable: Iterable[str] = RECOVERABLE, cooldown: Cooldown | None = None
    ) -> None:
        """
        Try nobody yet.

        Args:
            candidates: Aliases, the primary first.
            recoverable: The error classes that go on to the next candidate.
            cooldown: Who rests; nobody where left out.

        Raises:
            SettingsError: No candidate, one that comes twice, or an error class that does not exist.

        """
        self.candidates = tuple(candidates)
        self._recoverable = check_recoverable(recoverable)
        self._cooldown = cooldown
        if not self.candidates:
            raise SettingsError("a fallback chain has no candidate; give it one at least")
        for name in self.candidates:
            if self.candidates.count(name) > 1:
                raise SettingsError(
                    f"the fallback chain {' -> '.join(self.candidates)} comes back to {name!r}; each candidate is "
                    "tried once, so name it once"
                )

    def walk(
        self, ask: Callable[[str], Routine[ModelResponse]], *, no_fallbacks: bool = False
    ) -> Routine[ModelResponse]:
        """
        Ask the candidates until one answers; to be played by a `ModelClient`.

        Who rests is passed over, and so is who the budget does not cover, where another failed before.

        Args:
            ask: Candidate -> the routine that asks it. One that raises AnswerRejected goes on to the next candidate.
            no_fallbacks: Whether an error is raised as it is, so that rejections alone go on.

        Raises:
            FallbacksFailed: All failed; where one alone did, its own error. Rejected answers are told in its notes.
            ProviderError: An error that no other candidate is to hide.
            BudgetExceeded: The budget does not cover the first candidate.

        """
        before: list[ModelRouteError] = []
        for candidate in self.candidates:
            resting = None if self._cooldown is None else self._cooldown.error(candidate)
            if resting is not None and no_fallbacks:
                raise _after(before, resting)
            if resting is not None:
                before.append(resting)
                continue
            try:
                return (yield from ask(candidate))
            except AnswerRejected as rejection:
                before.append(rejection)
            except ProviderError as error:
                self._note(candidate, error)
                if no_fallbacks or error.kind not in self._recoverable or error.text:
                    raise _after(before, error) from error.__cause__
                before.append(error)
            except BudgetExceeded as error:
                if no_fallbacks or not before:
                    raise _after(before, error) from error.__cause__
                before.append(error)
        raise _end_of(before)

    def _note(self, candidate: str, error: ProviderError) -> None:
        """Who was not asked, since the time is over, did nothing that asks for a rest."""
        if self._cooldown is not None and error.attempts:
            self._cooldown.note(candidate, error)


_E = TypeVar("_E", bound=ModelRouteError)


def _after(before: Iterable[ModelRouteError], error: _E) -> _E:
    """The error, with what was before it in its notes."""
    for earlier in before:
        error.add_note(f"before it: {earlier}")
    return error


def _end_of(before: list[ModelRouteError]) -> ModelRouteError:
    """The error of a chain that nobody answered; rejections are no failures, and told beside them."""
    rejections = [error for error in before if isinstance(error, AnswerRejected)]
    failures = [error for error in before if not isinstance(error, AnswerRejected)]
    failures.sort(key=lambda error: isinstance(error, BudgetExceeded))  # who was asked comes first
    if not failures:
        return _after(rejections[:-1], rejections[-1])
    alone = len(failures) == 1 or isinstance(failures[0], BudgetExceeded)
    return _after(rejections, failures[0] if alone else FallbacksFailed(failures))


def check_recoverable(classes: Iterable[str]) -> frozenset[str]:
    """The classes as a set, or a SettingsError that names one that does not exist."""
    given = frozenset(classes)
    unknown = sorted(given - frozenset(get_args(ErrorClass)))
    if unknown:
        known = ", ".join(get_args(ErrorClass))
        raise SettingsError(f"recoverable names {unknown[0]!r}, which is no error class; known are: {known}")
    return given
