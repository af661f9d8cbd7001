"""A loop that would wait for ever: says which tasks wait for what, and ends the test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

from pytest_modelroute.wire.virtual_threads import has_native_threads
from pytest_modelroute.wire.waiting import (
    Place,
    anyio_runner,
    describe,
    main_task,
    pending_tasks,
    waits_for_bare_future,
    waits_on,
)

_SHOWN: Final = 20
_WHAT: Final = (
    "the event loop would wait for ever: it has no timer, and no socket, executor job, subprocess or thread is left "
    "that could wake it."
)
_ADVICE: Final = (
    "In life this test would hang. Around a wait that may be in vain, asyncio.timeout(...) passes at once in virtual "
    "time."
)
_TRIES: Final = 3
"How often the main task is told: its code may wait again on its way out, or swallow the word."


class Forever:
    """
    Ends a test whose loop would wait for ever.

    Attributes:
        happened: Whether it came to that.

    """

    def __init__(
        self, failure: Callable[[str], BaseException], maker: Callable[[asyncio.Task[Any]], Place | None]
    ) -> None:
        """
        Nothing has happened yet.

        Args:
            failure: Makes what to raise from a message; no Exception, which the code under test might swallow.
            maker: Where a task was made.

        """
        self.happened = False
        self._failure = failure
        self._maker = maker
        self._told: WeakKeyDictionary[Any, list[BaseException]] = WeakKeyDictionary()
        self._runner: Any = None

    def is_uncertain(self, loop: Any) -> bool:
        """Whether a thread that nobody can see, of an extension, may be about to resolve a future."""
        return any(map(waits_for_bare_future, pending_tasks(loop))) and has_native_threads()

    def end(self, loop: Any) -> None:
        """
        Raise where the main task of a loop waits, so that it ends as after any other error.

        Raises:
            BaseException: Here and now, where no task can be told.

        """
        self.happened = True
        told = self._told.setdefault(loop, [])
        error = told[0] if told else self._failure(self._message(loop))
        told.append(error)
        main = main_task(loop)
        self._runner = None if main is None else anyio_runner(main)
        target = main if self._runner is None else self._runner._runner_task  # noqa: SLF001
        if len(told) > _TRIES or not _throw(target, error):
            raise error

    def restore(self) -> None:
        """Let anyio's test runner, whose task may have ended with the test, start another one for the next test."""
        runner, self._runner = self._runner, None
        if runner is None or runner._runner_task is None or not runner._runner_task.done():  # noqa: SLF001
            return
        if not runner._runner_task.cancelled():  # noqa: SLF001
            runner._runner_task.exception()  # noqa: SLF001 - it was seen
        runner._runner_task = None  # noqa: SLF001

    def _message(self, loop: Any) -> str:
        tasks = [task for task in pending_tasks(loop) if waits_on(task)]
        lines = [f"  {describe(task, self._maker(task))}" for task in tasks[:_SHOWN]]
        if len(tasks) > _SHOWN:
            lines.append(f"  ... and {len(tasks) - _SHOWN} more")
        return "\n".join([_WHAT, *lines, _ADVICE])


def _throw(task: asyncio.Task[Any] | None, error: BaseException) -> bool:
    """Raise in a task, or in the one that it waits for; whether that could be done."""
    while task is not None:
        future: Any = getattr(task, "_fut_waiter", None)
        if not isinstance(future, asyncio.Task):
            if future is None or future.done():
                return False
            future.set_exception(error)
            return True
        task = cast("asyncio.Task[Any]", future)
    return False
