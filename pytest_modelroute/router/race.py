"""Candidates under way at the same time, each in a task; whatever happens, none is left running."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_modelroute.router.calls import RequestContext
from pytest_modelroute.router.requests import ModelResponse
from pytest_modelroute.router.routine import Routine

if TYPE_CHECKING:
    from pytest_modelroute.router.speculation import Speculation
    from pytest_modelroute.router.streaming import AsyncStreamedResponse


@dataclass(slots=True, kw_only=True)
class Entrant:
    """A candidate that was sent off."""

    alias: str
    context: RequestContext
    "Of its own calls alone."
    routine: Routine[ModelResponse] | None = None
    played: AsyncStreamedResponse | None = None
    piece: str | None = None
    "The first piece of its text, where that is what counts."
    response: ModelResponse | None = None
    has_failed: bool = False

    def close(self) -> None:
        """Give up what is left of its routine, so that it is booked."""
        if self.routine is not None:
            self.routine.close()


async def run_race(
    speculation: Speculation,
    begin: Callable[[Entrant], Routine[ModelResponse]],
    context: RequestContext,
    player: AsyncStreamedResponse,
    broken: list[Exception],
    *,
    in_pieces: bool,
) -> None:
    """
    Run until somebody wins, all have failed, or the deadline is over.

    Args:
        speculation: Decides who starts, and on what came of whom.
        begin: The routine that asks an entrant.
        context: Of the whole request.
        player: Who plays the request; it reads on in the stream of the winner.
        broken: Gets an error that ends the race, for the routine to raise.
        in_pieces: Whether the first piece of text counts, in place of the whole answer.

    """
    race = _Race(speculation, begin, context, player, in_pieces=in_pieces)
    try:
        await race.run()
    except Exception as error:  # noqa: BLE001 - raised by the routine, which notes it
        broken.append(error)
    finally:
        await race.stop()
    winner = speculation.winner
    if winner is not None and winner.played is not None:
        player.take_over(winner.played)


class _Race:
    def __init__(
        self,
        speculation: Speculation,
        begin: Callable[[Entrant], Routine[ModelResponse]],
        context: RequestContext,
        player: AsyncStreamedResponse,
        *,
        in_pieces: bool,
    ) -> None:
        self._speculation = speculation
        self._begin = begin
        self._context = context
        self._player = player
        self._in_pieces = in_pieces
        self._tasks: dict[asyncio.Task[None], Entrant] = {}
        self._running: dict[asyncio.Task[None], Entrant] = {}
        self._last_start = 0.0

    async def run(self) -> None:
        """Start, wait and start the next."""
        speculation, until = self._speculation, self._context.until
        self._start(1 if speculation.hedge_after else len(speculation.waiting))
        while self._running and speculation.winner is None:
            hedge_at = self._last_start + speculation.hedge_after if speculation.waiting else math.inf
            ended = await self._first_of(min(hedge_at, until))
            for task in ended:
                if speculation.winner is None:
                    speculation.judge(self._running.pop(task), task.exception())
            if not ended and until <= hedge_at:
                speculation.give_up(self._running.values())
                return
            if speculation.winner is None:
                self._start(len(ended) or 1)

    async def stop(self) -> None:
        """Cancel who is under way, wait for the end of each, and close what they have open."""
        await _end(self._tasks)
        for entrant in self._tasks.values():
            if entrant is not self._speculation.winner and entrant.played is not None:
                await entrant.played.aclose()

    def _start(self, count: int) -> None:
        for _ in range(count):
            entrant = self._speculation.next(self._context)
            if entrant is not None:
                task = asyncio.create_task(self._play(entrant))
                self._tasks[task] = self._running[task] = entrant
                self._last_start = self._speculation.clocks.now()

    async def _play(self, entrant: Entrant) -> None:
        """To its end, or to its first piece; nothing is set aside for who is cancelled before this begins."""
        entrant.routine = self._begin(entrant)
        entrant.played = played = self._player.beside(entrant.routine)
        async for piece in played:
            if self._in_pieces:
                entrant.piece = piece
                return
        entrant.response = played.response

    async def _first_of(self, moment: float) -> list[asyncio.Task[None]]:
        """Who has ended, in the order of their starts; nobody, where the moment comes before."""
        clocks = self._speculation.clocks
        seconds = max(0.0, moment - clocks.now())
        alarm = [] if moment == math.inf else [asyncio.create_task(clocks.await_(seconds))]
        try:
            await asyncio.wait([*self._running, *alarm], return_when=asyncio.FIRST_COMPLETED)
            for task in alarm:
                if task.done():
                    task.result()
        finally:
            await _end(alarm)
        return [task for task in self._running if task.done()]


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks, and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
