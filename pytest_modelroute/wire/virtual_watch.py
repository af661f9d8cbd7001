"""What virtual time sees of bad habits: tasks that are left running, and code that blocks the loop."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakSet

from pytest_modelroute.wire.places import call_site, is_users
from pytest_modelroute.wire.waiting import (
    Place,
    coroutine_name,
    describe_wait,
    is_waited_for_by,
    pending_tasks,
    place,
    site,
)

_BOUNDS: Final = frozenset({"asyncio.events", "_pytest"})
"Where the stack of a callback ends: what is below the loop, or below the test, did not make the task."
_SHOWN: Final = 20
_SLOW_SECONDS: Final = 0.1
"What asyncio itself takes for slow, in its debug mode."


@dataclass(slots=True)
class _Block:
    """How a place in the code blocked the loop."""

    seconds: float = 0.0
    times: int = 0
    others: int = 0


class Watch:
    """Collects what is to be reported of one test."""

    def __init__(self) -> None:
        """Nothing is seen until the test function runs."""
        self._runs = False
        self._made: WeakKeyDictionary[asyncio.Task[Any], Place | None] = WeakKeyDictionary()
        self._told: WeakSet[asyncio.Task[Any]] = WeakSet()
        self._left: list[str] = []
        self._blocks: dict[str, _Block] = {}

    def begin(self) -> None:
        """The test function begins: from here on, tasks are the test's own."""
        self._runs = True

    def end(self) -> None:
        """The test function has ended: what still runs was left running."""
        self._runs = False
        self._leave(list(self._made), "")

    def cancel_rest(self) -> None:
        """Cancel the tasks that are left, so that they do not go on in a loop that serves further tests."""
        for task in list(self._made):
            if not task.done() and not task.get_loop().is_closed():
                task.cancel()

    def maker(self, task: asyncio.Task[Any]) -> Place | None:
        """Where in the user's code a task was made; None where that was not seen."""
        return self._made.get(task)

    def task_made(self, task: asyncio.Task[Any]) -> None:
        """Remember where a task of the test function was made."""
        if self._runs:
            self._made[task] = _maker()

    def loop_ends(self, loop: Any) -> None:
        """A runner is about to cancel what still runs in its loop."""
        if self._runs:
            self._leave([task for task in list(self._made) if task.get_loop() is loop], ", until its loop was closed")

    def blocked(self, seconds: float) -> None:
        """The running thread sleeps; where it runs a loop, every other task stands still."""
        loop = asyncio._get_running_loop()  # noqa: SLF001 - does not raise where there is none
        if loop is None or seconds <= 0:
            return
        current = asyncio.current_task(loop)
        # A task that waits for this one has nothing to do before it anyway.
        others = [
            task
            for task in pending_tasks(loop)
            if task is not current and (current is None or not is_waited_for_by(current, task))
        ]
        if others:
            block = self._blocks.setdefault(call_site(), _Block())
            block.seconds += seconds
            block.times += 1
            block.others = max(block.others, len(others))

    def reports(self, *, passed: bool) -> list[str]:
        """
        What to warn of.

        Args:
            passed: Whether the test passed; one that stopped half-way had no chance to end its tasks.

        """
        blocks = [
            _describe_block(place, block) for place, block in self._blocks.items() if block.seconds >= _SLOW_SECONDS
        ]
        return [*blocks, *([_describe_left(self._left)] if passed and self._left else [])]

    def _leave(self, tasks: Iterable[asyncio.Task[Any]], until: str) -> None:
        for task in tasks:
            if task in self._told or task.done() or task.cancelling() or not inspect.iscoroutine(task.get_coro()):
                continue
            maker = self._made[task]
            # What a library makes by itself, such as for a visitor of a server, is its own affair.
            if maker is not None:
                self._told.add(task)
                wait = f"{describe_wait(task)}{until}"
                self._left.append(f"{task.get_name()!r} ({coroutine_name(task)}), made at {site(maker)}, {wait}")


def _describe_left(left: list[str]) -> str:
    head = "a task was" if len(left) == 1 else f"{len(left)} tasks were"
    lines = [f"  {line}" for line in left[:_SHOWN]]
    if len(left) > _SHOWN:
        lines.append(f"  ... and {len(left) - _SHOWN} more")
    return "\n".join(
        [
            f"{head} still running when the test ended:",
            *lines,
            "Await or cancel what the code under test starts; an asyncio.TaskGroup does.",
        ]
    )


def _describe_block(place: str, block: _Block) -> str:
    calls = "" if block.times == 1 else f" in {block.times} calls"
    others = "another task" if block.others == 1 else f"{block.others} other tasks"
    return (
        f"the event loop was blocked for {block.seconds:g} s{calls}, while {others} stood still, at {place}\n"
        "Await instead (asyncio.sleep, an async client), or call it in a thread: await asyncio.to_thread(...)."
    )


def _maker() -> Place | None:
    """The place in the user's code that makes a task; None where a library made it by itself."""
    frame: FrameType | None = inspect.currentframe()
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if {module, module.partition(".")[0]} & _BOUNDS:
            return None
        if is_users(frame.f_code.co_filename):
            return place(frame)
        frame = frame.f_back
    return None
