"""Where the tasks of an event loop wait, and what for."""

from __future__ import annotations

import asyncio
import gc
import inspect
import linecache
import sys
from asyncio import futures
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final, cast

from pytest_modelroute.wire.places import is_users, short_path

Place = tuple[str, int, str]
"File, line and function."
_SHOWN: Final = 3
_PLUGINS: Final = ("TestRunner._call_in_runner_task", "TestRunner._run_tests_and_fixtures")
"The tasks of anyio's pytest plugin: one hands the test to the other, which runs it."


def pending_tasks(loop: Any) -> list[asyncio.Task[Any]]:
    """The tasks of a loop that are not done, in the order of their names, without those of test plugins."""
    return sorted((task for task in asyncio.all_tasks(loop) if not _is_plugins(task)), key=_order)


def main_task(loop: Any) -> asyncio.Task[Any] | None:
    """The task that `run_until_complete` waits for."""
    for task in asyncio.all_tasks(loop):
        callbacks: list[Any] = getattr(task, "_callbacks", None) or []
        if any(getattr(entry[0], "__name__", "") == "_run_until_complete_cb" for entry in callbacks):
            return task
    return None


def anyio_runner(main: asyncio.Task[Any]) -> Any:
    """The test runner of anyio's pytest plugin, where the main task waits for it; its `_runner_task` runs the test."""
    for frame in _frames(main):
        if frame.f_code.co_qualname == _PLUGINS[0]:
            return frame.f_locals["self"]
    return None


def waits_on(task: asyncio.Task[Any]) -> list[Any]:
    """The futures, other tasks among them, that would let a task go on; empty where it is about to run."""
    future = getattr(task, "_fut_waiter", None)
    if future is None or future.done():
        return []
    children = getattr(future, "_children", None)  # of asyncio.gather
    if children is not None:
        return [child for child in children if not child.done()]
    for frame in _frames(task)[-1:]:
        others = _others(frame)
        if others is not None:
            return [other for other in others if not other.done()]
    return [future]


def waits_for_time_alone(loop: Any) -> bool:
    """Whether every task of a loop sleeps, or waits for others that do."""
    sleeps = {
        id(handle._args[0])  # noqa: SLF001
        for handle in loop._scheduled  # noqa: SLF001
        if not handle._cancelled and handle._callback is _WAKE  # noqa: SLF001
    }
    return all(
        id(future) in sleeps or isinstance(future, asyncio.Task)
        for task in pending_tasks(loop)
        for future in _single(waits_on(task))
    )


def waits_for_bare_future(task: asyncio.Task[Any]) -> bool:
    """Whether a task waits for a future that is no part of anything known, and that anybody may resolve."""
    single = list(_single(waits_on(task)))
    return any(not isinstance(future, asyncio.Task) for future in single) and not any(
        _name(frame) in _WORDS for frame in _frames(task)
    )


def is_waited_for_by(task: asyncio.Task[Any], other: asyncio.Task[Any]) -> bool:
    """Whether another task waits for this one, be it through further tasks."""
    seen: set[Any] = set()
    rest = [other]
    while rest:
        for future in _single(waits_on(rest.pop())):
            if future is task:
                return True
            if isinstance(future, asyncio.Task) and future not in seen:
                seen.add(future)
                rest.append(cast("asyncio.Task[Any]", future))
    return False


def describe(task: asyncio.Task[Any], maker: Place | None) -> str:
    """
    One line: name and coroutine of a task, what it waits for, and where.

    Args:
        task: The task.
        maker: Where it was made, which is said where it is in no code of the user's.

    """
    made = f", made at {site(maker)}" if maker is not None and not is_users_task(task) else ""
    return f"{task.get_name()!r} ({coroutine_name(task)}) {describe_wait(task)}{made}"


def describe_wait(task: asyncio.Task[Any]) -> str:
    """What a task waits for, and where in the user's code."""
    if _has_not_begun(task):
        return "has not begun"
    frames = _frames(task)
    users = [index for index, frame in enumerate(frames) if is_users(_file(frame))]
    waited_for = waits_on(task)
    called = frames[users[-1] + 1 :] if users else frames
    what = f"waits for {_what(called, waited_for)}" if waited_for else "is about to go on"
    return f"{what}, at {site(place(frames[users[-1] if users else -1]))}" if frames else what


def coroutine_name(task: asyncio.Task[Any]) -> str:
    """The user's own coroutine that a task runs."""
    for frame in _frames(task):
        if is_users(_file(frame)):
            return frame.f_code.co_qualname.replace(".<locals>", "")
    coroutine: Any = task.get_coro()
    return str(getattr(coroutine, "__qualname__", type(coroutine).__name__))


def is_users_task(task: asyncio.Task[Any]) -> bool:
    """Whether a task runs a coroutine of the user's."""
    return any(is_users(_file(frame)) for frame in _frames(task))


def place(frame: FrameType) -> Place:
    """Where a frame stands, to be put into words later."""
    return frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name


def site(where: Place) -> str:
    """File, line, function and source of a place."""
    file, line, function = where
    return f"{short_path(file)}:{line}, in {function}: {linecache.getline(file, line).strip()}"


def _order(task: asyncio.Task[Any]) -> tuple[int, str]:
    """The tasks that asyncio named by their order, then those with names of their own."""
    name = task.get_name()
    number = name.removeprefix("Task-")
    return (int(number), "") if name != number and number.isdecimal() else (sys.maxsize, name)


def _is_plugins(task: asyncio.Task[Any]) -> bool:
    """Whether a task belongs to a test plugin, and runs no test at the moment."""
    name = getattr(task.get_coro(), "__qualname__", "")
    return name == _PLUGINS[0] or (name == _PLUGINS[1] and not is_users_task(task))


def _frames(task: asyncio.Task[Any]) -> list[FrameType]:
    """The frames of a suspended task, outermost first, through coroutines, generators and their wrappers."""
    frames: list[FrameType] = []
    step: Any = task.get_coro()
    while step is not None:
        for frame, awaited in (("cr_frame", "cr_await"), ("ag_frame", "ag_await"), ("gi_frame", "gi_yieldfrom")):
            if hasattr(step, frame):
                if getattr(step, frame) is not None:
                    frames.append(getattr(step, frame))
                step = getattr(step, awaited)
                break
        else:
            step = _wrapped(step)
    return frames


def _wrapped(step: Any) -> Any:
    """The coroutine or asynchronous generator behind an awaitable that does not name it, such as `anext(...)`."""
    if type(step).__name__ not in ("async_generator_asend", "async_generator_athrow", "coroutine_wrapper"):
        return None
    referents = gc.get_referents(step)
    return next((each for each in referents if hasattr(each, "ag_frame") or hasattr(each, "cr_frame")), None)


def _has_not_begun(task: asyncio.Task[Any]) -> bool:
    coroutine = task.get_coro()
    return inspect.iscoroutine(coroutine) and inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED


def _others(frame: FrameType) -> list[Any] | None:
    """Whom a library's function waits for by a future of its own; None where it is no such function."""
    names = frame.f_locals
    match _name(frame):
        case "asyncio.tasks._wait":
            return list(names["fs"])
        case "asyncio.tasks.wait_for":
            return [names["fut"]] if asyncio.isfuture(names["fut"]) else None
        case "asyncio.taskgroups.TaskGroup.__aexit__" | "anyio._backends._asyncio.TaskGroup.__aexit__":
            return list(names["self"]._tasks)  # noqa: SLF001
        case _:
            return None


def _single(waited_for: list[Any]) -> Iterator[Any]:
    """The futures themselves, where some of them gather others."""
    for future in waited_for:
        children = getattr(future, "_children", None)
        if children is None:
            yield future
        else:
            yield from _single([child for child in children if not child.done()])


def _file(frame: FrameType) -> str:
    return frame.f_code.co_filename


def _name(frame: FrameType) -> str:
    return f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}"


def _what(frames: list[FrameType], waited_for: list[Any]) -> str:
    """In words: by the function that the user's code called, else by what is awaited."""
    for frame in frames:
        words = _WORDS.get(_name(frame))
        if words is not None:
            return words(frame.f_locals) if callable(words) else words
    single = list(_single(waited_for))
    tasks = [repr(future.get_name()) for future in single if isinstance(future, asyncio.Task)]
    if not tasks:
        return "a Future" if len(single) == 1 else f"{len(single)} Futures"
    more = f" and {len(tasks) - _SHOWN} more" if len(tasks) > _SHOWN else ""
    return ("the task " if len(tasks) == 1 else "the tasks ") + ", ".join(tasks[:_SHOWN]) + more


def _queue(words: str) -> Callable[[dict[str, Any]], str]:
    return lambda names: words.format(type(names["self"]).__name__, getattr(names["self"], "maxsize", ""))


_WAKE: Final[Any] = futures._set_result_unless_cancelled  # type: ignore[attr-defined]  # noqa: SLF001 - what asyncio.sleep is woken by
_WORDS: Final[dict[str, str | Callable[[dict[str, Any]], str]]] = {
    "asyncio.locks.Event.wait": "an Event",
    "asyncio.locks.Lock.acquire": "a Lock",
    "asyncio.locks.Semaphore.acquire": "a Semaphore",
    "asyncio.locks.Condition.wait": "a Condition",
    "asyncio.locks.Barrier.wait": lambda names: (
        f"a Barrier ({names['self'].n_waiting} of {names['self'].parties} have come)"
    ),
    "asyncio.queues.Queue.get": _queue("an item of a {}"),
    "asyncio.queues.Queue.put": _queue("room in a {} of {}"),
    "asyncio.queues.Queue.join": _queue("the items of a {} to be done"),
    "asyncio.tasks.sleep": lambda names: f"{names['delay']:g} s to pass",
    "asyncio.streams.StreamReader._wait_for_data": "data of a stream",
    "asyncio.streams.StreamWriter.drain": "a stream to be drained",
    "asyncio.subprocess.Process.wait": "a subprocess",
    "asyncio.base_events.Server.serve_forever": "the end of a server",
    "asyncio.base_events.Server.wait_closed": "the end of a server's connections",
    "anyio._backends._asyncio.Event.wait": "an Event",
    "anyio._backends._asyncio.Lock.acquire": "a Lock",
    "anyio._backends._asyncio.Semaphore.acquire": "a Semaphore",
    "anyio._backends._asyncio.CapacityLimiter.acquire_on_behalf_of": "a CapacityLimiter",
    "anyio._core._synchronization.Condition.wait": "a Condition",
    "anyio.streams.memory.MemoryObjectReceiveStream.receive": "an item of a memory object stream",
    "anyio.streams.memory.MemoryObjectSendStream.send": "room in a memory object stream",
}
"What a library's function waits for, by its module and name."
