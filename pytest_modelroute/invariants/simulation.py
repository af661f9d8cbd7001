"""
Synchronous requests at the same time: threads that run one at a time, each to its next wait, in virtual time.

Whoever waits (for a provider, for a back-off) hands over to the one that is due first, so that calls overlap as they
would in life, and in the same order every time. A thread that waits for a lock is left to itself after a moment.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import partial
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

from pytest_modelroute.invariants import watchdog
from pytest_modelroute.invariants.watchdog import Hangs, frames_of, stack_of

if TYPE_CHECKING:
    from pytest_modelroute.wire.virtual_time import VirtualTime

_BLOCKED_S: Final = 0.05
"Real seconds without a word after which a thread is taken to wait for a lock."
_GRANTED_S = 0.02
"Real seconds for a thread that waited for a lock to go on, once another one may have given it free."


class Simulation:
    """Threads on one virtual clock."""

    def __init__(self, clock: VirtualTime) -> None:
        """Nothing runs yet."""
        self._clock = clock
        self._word = threading.Condition()
        self._due: list[tuple[float, int]] = []
        "Who waits for which moment."
        self._turn: dict[int, threading.Event] = {}
        self._running: set[int] = set()
        self._blocked: set[int] = set()
        "Those of the running ones that wait for a lock."
        self._left: set[int] = set()
        self._numbers: dict[int, int] = {}
        self._raised: list[BaseException] = []

    def run(self, works: Sequence[tuple[float, Callable[[], None]]]) -> None:
        """
        Run each piece of work from its moment (seconds from now) on, until all have ended.

        Raises:
            Hangs: One of them does not come back.
            BaseException: What the first one raised that raised at all, once all have ended.

        """
        start = self._clock.now
        threads: list[threading.Thread] = []
        for number, (at, work) in enumerate(works):
            self._turn[number] = threading.Event()
            self._left.add(number)
            context = copy_context()
            threads.append(
                threading.Thread(target=context.run, args=(self._live, number, work), daemon=True, name=f"ask-{number}")
            )
            heappush(self._due, (start + at, number))
        self._clock.share(self._sleep)
        for thread in threads:
            thread.start()
        try:
            self._schedule(threads)
        except Hangs:  # of the watchdog, which sees this thread, not those that hang
            raise Hangs(self._where(threads)) from None
        finally:
            self._clock.share(None)
        if self._raised:
            raise self._raised[0]

    def _schedule(self, threads: Sequence[threading.Thread]) -> None:
        while self._left:
            with self._word:
                self._settle()
                while self._left and not self._due:
                    # Everybody waits for a lock, or works.
                    if not self._word.wait(watchdog.PATIENCE_S):
                        raise Hangs(self._where(threads))
                    self._settle()
                if not self._due:
                    return
                moment, number = heappop(self._due)
                self._running.add(number)
            self._clock.reach(max(moment, self._clock.now))
            self._turn[number].set()

    def _settle(self) -> None:
        """Wait until nobody runs but those who wait for a lock."""
        if not self._word.wait_for(lambda: self._running <= self._blocked, _BLOCKED_S):
            self._blocked |= self._running
        blocked = len(self._blocked)
        while blocked and self._word.wait_for(partial(self._has_fewer_blocked_than, blocked), _GRANTED_S):
            blocked = len(self._blocked)

    def _has_fewer_blocked_than(self, number: int) -> bool:
        return len(self._blocked) < number

    def _live(self, number: int, work: Callable[[], None]) -> None:
        self._numbers[threading.get_ident()] = number
        self._clock.join_in()
        self._await_turn(number)
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised again by `run`
            self._raised.append(error)
        finally:
            with self._word:
                self._left.discard(number)
                self._rests(number)

    def _sleep(self, seconds: float) -> None:
        number = self._numbers.get(threading.get_ident())
        if number is None:
            return
        with self._word:
            heappush(self._due, (self._clock.now + seconds, number))
            self._rests(number)
        self._await_turn(number)

    def _rests(self, number: int) -> None:
        self._running.discard(number)
        self._blocked.discard(number)
        self._word.notify()

    def _await_turn(self, number: int) -> None:
        self._turn[number].wait()
        self._turn[number].clear()

    def _where(self, threads: Sequence[threading.Thread]) -> str:
        stacks = [stack_of(frames_of(thread.ident)) for thread in threads if thread.is_alive()]
        return (
            f"requests at the same time did not come back within {watchdog.PATIENCE_S:g} s; they hang here:\n"
            + "\n\n".join(stacks)
        )
