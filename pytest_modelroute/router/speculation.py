"""
Speculation: several models asked at once, or hedged, each after a while without an answer of the others.

The first answer that is accepted wins; the others are cancelled, waited for (`race.py`), and booked as far as they ran.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeAlias

from pytest_modelroute.errors import BudgetExceeded, FallbacksFailed, ModelRouteError, ProviderError, SettingsError
from pytest_modelroute.providers.failures import RECOVERABLE
from pytest_modelroute.providers.language import show
from pytest_modelroute.router.calls import Attempt, Bill, Clocks, RequestContext
from pytest_modelroute.router.cooldown import Cooldown
from pytest_modelroute.router.fallbacks import check_recoverable
from pytest_modelroute.router.outcomes import error_of_deadline
from pytest_modelroute.router.race import Entrant, run_race
from pytest_modelroute.router.requests import ModelResponse
from pytest_modelroute.router.routine import Race, Routine

if TYPE_CHECKING:
    from pytest_modelroute.config import Settings

Accept: TypeAlias = Callable[[ModelResponse], bool]
"Whether an answer will do."
Ask: TypeAlias = Callable[[str, RequestContext, bool], Routine[ModelResponse]]
"(candidate, context of its calls, whether it streams) -> the routine that asks it; BudgetExceeded where it may not be."
NOT_ACCEPTED: Final = "not_accepted"
"The class of the error where an answer came, and was not accepted."
_IN_SYNC: Final = (
    "several models are asked at once in async code alone, since sync code cannot give up a call: use aroute or "
    "astream, or ModelRequest(no_hedge=True), which asks one after the other"
)


class Speculation:
    """
    One request to several candidates; made for the request, and walked once.

    The candidates start at once, or each after `hedge_after` seconds without an answer of those before it; a failure
    and an answer that is not accepted start the next one without waiting. One failing candidate does not sink the
    others. An error that no other model is to hide (see `RECOVERABLE`) starts nobody, and is raised unless one that is
    under way answers. Who rests, and who the budget does not cover, is passed over.
    """

    def __init__(
        self,
        candidates: Iterable[str],
        *,
        clocks: Clocks,
        hedge_after: float = 0.0,
        accept: Accept | None = None,
        recoverable: Iterable[str] = RECOVERABLE,
        cooldown: Cooldown | None = None,
    ) -> None:
        """
        Ask nobody yet.

        Args:
            candidates: Aliases, in the order in which they start.
            clocks: Those of the client that plays it.
            hedge_after: Seconds until the next one starts; 0 for all at once, inf for one after the other's failure.
            accept: Whether an answer will do; any does where left out.
            recoverable: The error classes that start the next candidate.
            cooldown: Who rests; nobody where left out.

        """
        self.clocks = clocks
        self.hedge_after = hedge_after
        self.waiting = list(candidates)
        self.winner: Entrant | None = None
        self._first = self.waiting[0]
        self._accept = accept
        self._recoverable = check_recoverable(recoverable) | {NOT_ACCEPTED}
        self._cooldown = cooldown
        self._entrants: list[Entrant] = []
        self._failures: list[ModelRouteError] = []
        self._final: ProviderError | None = None

    @property
    def asked(self) -> tuple[str, ...]:
        """Who was asked, in order; those that the budget did not cover were not."""
        return tuple(entrant.alias for entrant in self._entrants if entrant.context.attempts)

    @property
    def unused(self) -> list[Attempt]:
        """The calls of all but the winner."""
        others = (entrant for entrant in self._entrants if entrant is not self.winner)
        return [attempt for entrant in others for attempt in entrant.context.attempts]

    def walk(self, ask: Ask, context: RequestContext, *, stream: bool = False) -> Routine[ModelResponse]:
        """
        Ask until an answer is accepted; to be played by a `ModelClient`.

        A stream without `accept` is won by the first piece of text, and is that model's to its end; with `accept` the
        whole answer is judged, and comes as one piece.

        Raises:
            FallbacksFailed: Nobody's answer was accepted; where there is one failure alone, its own error.
            ProviderError: An error that no other model is to hide, or one after the first piece of a stream.
            BudgetExceeded: The budget covers no candidate.
            SettingsError: Played by sync code, which can ask one after the other alone.

        """
        in_pieces = stream and self._accept is None

        def begin(entrant: Entrant) -> Routine[ModelResponse]:
            return ask(entrant.alias, entrant.context, in_pieces)

        try:
            yield from self._compete(begin, context, in_pieces=in_pieces)
            response = yield from self._outcome()
            if stream and not in_pieces and response.text:
                yield response.text
        finally:
            for entrant in self._entrants:
                entrant.close()
                context.attempts += entrant.context.attempts
        # In its place stands who answers after its failure, not who was faster.
        failed_first = any(entrant.has_failed for entrant in self._entrants if entrant.alias == self._first)
        instead_of = response.fallback_of if failed_first else None
        prices = response.bill.prices
        bill, wasted = Bill.of(context.attempts, prices), Bill.of(self.unused, prices)
        return replace(response, fallback_of=instead_of, bill=bill, wasted=wasted)

    def next(self, context: RequestContext) -> Entrant | None:
        """Who starts next; None for nobody. Who rests counts as failed."""
        while self.waiting:
            alias = self.waiting.pop(0)
            entrant = Entrant(alias=alias, context=context.part())
            self._entrants.append(entrant)
            resting = None if self._cooldown is None else self._cooldown.error(alias)
            if resting is None:
                return entrant
            self._fail(entrant, resting)
        return None

    def judge(self, entrant: Entrant, error: BaseException | None) -> None:
        """Decide on what came of a candidate; an error that is no provider's and not the budget's is raised."""
        if error is None:
            response = entrant.response
            if response is None or self._accepts(response):
                self.winner = entrant
                return
            error = _not_accepted(response)
        if not isinstance(error, ProviderError | BudgetExceeded):
            raise error
        if isinstance(error, ProviderError):
            if self._cooldown is not None and error.attempts:
                self._cooldown.note(entrant.alias, error)
            if error.kind not in self._recoverable or error.text:
                self._final = self._final or error
                self.waiting.clear()
        self._fail(entrant, error)

    def give_up(self, entrants: Iterable[Entrant]) -> None:
        """The time is over for these, which are under way."""
        self.waiting.clear()
        for entrant in entrants:
            model = next((attempt.request.model for attempt in entrant.context.attempts), entrant.alias)
            self._fail(entrant, error_of_deadline(model, entrant.context.deadline, asked=True))

    def _compete(
        self, begin: Callable[[Entrant], Routine[ModelResponse]], context: RequestContext, *, in_pieces: bool
    ) -> Routine[None]:
        """Until there is a winner, or nobody is left."""
        if len(self.waiting) == 1 or self.hedge_after == math.inf:
            while self.winner is None and (entrant := self.next(context)) is not None:
                error = None
                try:
                    entrant.response = yield from begin(entrant)
                except (ProviderError, BudgetExceeded) as raised:
                    error = raised
                self.judge(entrant, error)
            return
        broken: list[Exception] = []
        if not (yield Race(lambda player: run_race(self, begin, context, player, broken, in_pieces=in_pieces))):
            raise SettingsError(_IN_SYNC)
        if broken:
            raise broken[0]

    def _outcome(self) -> Routine[ModelResponse]:
        """The winner's answer, the rest of which is still to come in a stream; or the error."""
        winner = self.winner
        if winner is None:
            raise self._error()
        if winner.response is None:
            assert winner.piece is not None  # noqa: S101 - what a stream wins by, for the type checker
            assert winner.routine is not None  # noqa: S101 - likewise
            yield winner.piece
            try:
                winner.response = yield from winner.routine
            except ProviderError as error:
                if self._cooldown is not None:
                    self._cooldown.note(winner.alias, error)
                raise
        return winner.response

    def _fail(self, entrant: Entrant, error: ModelRouteError) -> None:
        entrant.has_failed = True
        self._failures.append(error)

    def _accepts(self, response: ModelResponse) -> bool:
        verdict: object = True if self._accept is None else self._accept(response)
        if verdict is True or verdict is False:
            return verdict
        raise SettingsError(f"accept says True or False of an answer; it returned {verdict!r}")

    def _error(self) -> ModelRouteError:
        """What is raised where nobody won."""
        if self._final is not None:
            for failure in self._failures:
                if failure is not self._final:
                    self._final.add_note(f"beside it: {failure}")
            return self._final
        failures = sorted(self._failures, key=lambda failure: not isinstance(failure, ProviderError))
        if len(failures) == 1 or not isinstance(failures[0], ProviderError):
            return failures[0]
        return FallbacksFailed(failures)


def check_accept(accept: Mapping[str, Accept], settings: Settings) -> dict[str, Accept]:
    """The gates of the steps that speculate; a SettingsError where a step does not, or does not exist."""
    speculating = [name for name, step in settings.steps.items() if step.speculate]
    for name in accept:
        if name not in speculating:
            known = ", ".join(speculating) or "none"
            raise SettingsError(
                f"accept has a gate for {name!r}, a step that does not speculate; those that do: {known}"
            )
    return dict(accept)


def _not_accepted(response: ModelResponse) -> ProviderError:
    return ProviderError(
        f"{response.model} answered, but its answer was not accepted: {show(response.text)}",
        model=response.model,
        status=200,
        code=NOT_ACCEPTED,
        retry_after=None,
        kind=NOT_ACCEPTED,
    )
