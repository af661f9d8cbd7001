"""
The threads beside the test's: which of them may still do something by themselves.

Told from where each stands. A thread in an untimed wait of `threading` moves only when another one moves it, and a
worker of a pool without a job has nothing to do.
"""

from __future__ import annotations

import platform
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import thread as pools
from enum import Enum, auto
from pathlib import Path
from threading import Condition, Thread, get_ident
from types import FrameType
from typing import Any, Final
from weakref import WeakSet

_MACHINERY: Final = frozenset(
    {"execnet", "xdist", "_pytest", "pytest_timeout", "coverage", "faulthandler", "pytest_modelroute"}
    | {"pydevd", "_pydevd_bundle", "debugpy", "IPython", "ipykernel", "prompt_toolkit"}
)
"Packages whose threads run tests or watch over them, and never call into the code under test."
_POOLS: Final = frozenset({"concurrent.futures.thread", "anyio._backends._asyncio"})
"Modules whose threads work on jobs."
_COUNTED: Final = frozenset(
    {"concurrent.futures.process", "multiprocessing.pool", "multiprocessing.queues", "aiosqlite"}
)
"Packages and modules whose threads serve jobs that are counted where they are awaited."
_TASKS: Final = Path("/proc/self/task")
"One entry for each thread of the process, on Linux."
_FUTEX: Final = {"x86_64": "202", "aarch64": "98"}.get(platform.machine())
"The number of the system call in which a thread waits for another one; its fourth argument is the time limit."
_SERVERS: Final = frozenset({"serve_forever", "accept"})


class _Doing(Enum):
    """What a thread does."""

    WAITING = auto()
    "It waits until another thread wakes it."
    TICKING = auto()
    "It waits with a time limit, after which it goes on by itself."
    SERVING = auto()
    "It waits for somebody to connect."
    WORKING = auto()
    "Anything else: it runs, sleeps, or waits for the world."


class Threads:
    """The threads of this process, as seen from the test's."""

    def __init__(self) -> None:
        """None is known yet."""
        self._before: WeakSet[Thread] = WeakSet()
        self._ours: WeakSet[Thread] = WeakSet()

    def start(self) -> None:
        """The threads of this moment are older than the test."""
        self._before = WeakSet(threading.enumerate())

    def add_ours(self, thread: Thread) -> None:
        """Leave a thread out: it says by other means whether it has something to do."""
        self._ours.add(thread)

    def are_at_work(self) -> bool:
        """
        Whether there are threads that no timer may overtake: those that the test started.

        A daemon is left out: it is a service that lives as long as the process, and would hold the clock for ever. The
        worker of a pool is, too: its jobs are counted.
        """
        if threading.active_count() == 1:
            return False
        return any(
            doing in (_Doing.WORKING, _Doing.TICKING) and home not in _POOLS and self._is_work_of_test(thread)
            for thread, home, doing in self._others()
        )

    def are_alive(self) -> bool:
        """Whether there are threads that may yet call into the test's loop by themselves, or connect to it."""
        return any(
            # The timed waits of what was there before are the rounds of a service.
            doing is _Doing.WORKING or (doing is _Doing.TICKING and thread not in self._before)
            for thread, _home, doing in self._others()
        )

    def _is_work_of_test(self, thread: Thread | None) -> bool:
        return thread is not None and not thread.daemon and thread not in self._before

    def _others(self) -> Iterator[tuple[Thread | None, str, _Doing]]:
        """The other threads, None for one that `threading` does not know, the module they run, and what they do."""
        known = {thread.ident: thread for thread in threading.enumerate()}
        here = (get_ident(), threading.main_thread().ident)
        for ident, frame in _frames().items():
            thread = known.get(ident)
            if ident in here or thread in self._ours:
                continue
            home = _home(frame)
            if not {home, home.partition(".")[0]} & (_MACHINERY | _COUNTED):
                yield thread, home, _doing(frame)


def has_native_threads() -> bool:
    """
    Whether there are threads at work that Python does not know, as an extension may have; True where nobody can say.

    One that waits for another thread without a time limit, as an idle pool does, is not at work.
    """
    known = {thread.native_id for thread in threading.enumerate()}
    try:
        at_work = sum(int(task.name) not in known and not _is_parked(task) for task in _TASKS.iterdir())
    except OSError:
        return True
    return at_work > len(_frames()) - len(known)  # some are Python's, but unknown to `threading`


def _is_parked(task: Path) -> bool:
    number, *arguments = (task / "syscall").read_text("ascii").split()
    return number == _FUTEX and arguments[3] == "0x0"


def is_in_selector(thread: Thread) -> bool:
    """Whether a thread that runs an event loop waits for events, and works on none."""
    frame = _frames().get(thread.ident or 0)
    return frame is None or frame.f_globals.get("__name__") == "selectors"


def _frames() -> dict[int, FrameType]:
    frames: dict[int, FrameType] = getattr(sys, "_current_frames")()  # noqa: B009 - documented, though it looks private
    return frames


def _home(frame: FrameType | None) -> str:
    """The module of a thread's own outermost function."""
    home = "threading"
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        home = home if name == "threading" else name
        frame = frame.f_back
    return home


def _doing(frame: FrameType) -> _Doing:
    if frame.f_code is Condition.wait.__code__:
        names: dict[str, Any] = frame.f_locals
        waiter = names.get("waiter")
        if waiter is None or names.get("gotit") or not waiter.locked():  # it was woken, and is about to go on
            return _Doing.WORKING
        return _Doing.WAITING if names.get("timeout") is None else _Doing.TICKING
    if frame.f_code is _worker_code:
        idle = frame.f_locals.get("work_item") is None and frame.f_locals["work_queue"].empty()
        return _Doing.WAITING if idle else _Doing.WORKING
    return _Doing.SERVING if _waits_for_callers(frame) else _Doing.WORKING


def _waits_for_callers(frame: FrameType) -> bool:
    caller: FrameType | None = frame
    while caller is not None and caller.f_globals.get("__name__") == "selectors":
        caller = caller.f_back
    return (
        caller is not None
        and caller.f_code.co_name in _SERVERS
        and caller.f_globals.get("__name__") in ("socketserver", "socket")
    )


_worker_code: Final = getattr(pools, "_worker").__code__  # noqa: B009 - private; a worker without a job stands in it
