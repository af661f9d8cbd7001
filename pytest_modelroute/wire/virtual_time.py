"""
Virtual time: for the code under test sleeps, timeouts, back-off and scripted latencies pass at once and in order.

The clocks of `time` on the test's thread read a counter of nanoseconds that only sleeping moves. An event loop on
that thread follows by itself, since `loop.time()` is `time.monotonic()`; its selector is wrapped so that waiting for
the next timer moves the counter instead (virtual_loop.py). Counting in whole nanoseconds keeps sums exact: a scripted
latency of 0.5 s measures as 500 ms, not as 500.0000004, and a limit of 500 ms holds.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from datetime import datetime
from threading import Thread, get_ident
from types import FrameType, ModuleType
from typing import Any, Final

from pytest_modelroute.errors import VirtualTimeError, WaitsForEver
from pytest_modelroute.wire.timeline import NANO, Lanes, Timeline
from pytest_modelroute.wire.virtual_forever import Forever
from pytest_modelroute.wire.virtual_loop import LoopControl
from pytest_modelroute.wire.virtual_watch import Watch

_CLOCKS: Final = ("sleep", "time", "monotonic", "perf_counter", "time_ns", "monotonic_ns", "perf_counter_ns")
_MACHINERY: Final = sys.stdlib_module_names | {
    "_pytest",
    "pytest",
    "pluggy",
    "xdist",
    "execnet",
    "coverage",
    "hypothesis",
    "pytest_asyncio",
    "pytest_timeout",
    "pytest_modelroute",
    "trio",
    "outcome",
}
"Modules that keep the real clocks even where they hold them by name: the test run is not the code under test."

real_monotonic_ns = time.monotonic_ns
_real_perf_counter_ns = time.perf_counter_ns
_real_time_ns = time.time_ns


class VirtualTime:
    """
    The clock of one test.

    Attributes:
        now: Seconds of virtual time since the test began.

    """

    def __init__(self, failure: Callable[[str], BaseException] = WaitsForEver) -> None:
        """Stand still until `start`; `failure` makes what ends a test that would wait for ever."""
        self._main = Timeline()
        self._watch = Watch()
        self._forever = Forever(failure, self._watch.maker)
        self._thread: int | None = None
        self._sharing: Callable[[float], None] | None = None
        self._members: set[int] = set()
        self._wall_shift = 0
        self._bases = (0, 0, 0)
        self._loops = LoopControl(self._main, controls=self.is_here, forever=self._forever, watch=self._watch)
        self._replaced: list[tuple[dict[str, Any], str]] = []

    @property
    def now(self) -> float:
        """Seconds of virtual time since the test began."""
        return self._main.passed / NANO

    def advance(self, seconds: float) -> None:
        """
        Let time pass; timers that fall due fire as soon as the event loop runs again.

        Raises:
            VirtualTimeError: A negative or not finite number of seconds.

        """
        self._pass(_nanoseconds(seconds, what="advance"))

    def reach(self, seconds: float) -> None:
        """
        Move on to a moment, given in seconds since the test began; one that has passed changes nothing.

        For whoever plays a part of the test in another thread, such as a server whose reply takes time: any thread may
        call it, and a loop that waits for real hears of it at once.

        Raises:
            VirtualTimeError: A negative or not finite number of seconds.

        """
        if self._main.reach(_nanoseconds(seconds, what="reach")):
            self._loops.wake()

    def idle_peer(self, is_idle: Callable[[Any, Any], bool], *, thread: Thread | None = None) -> None:
        """
        Let a server in a thread of this process say when there is nothing to wait for.

        Virtual time waits for the other end of a connection, since it cannot see what is about to come from there. A
        server that can need not hold it.

        Args:
            is_idle: Called on the test's thread with the addresses of a connection as the test's loop sees it, its own
                and the peer's (`getsockname()` and `getpeername()`). True where nothing will come from the peer before
                the test does something: a connection that the server knows, whose bytes are all read (ask the socket:
                FIONREAD), and on which no request is unanswered, counted from its first byte on. A reply that will
                never come does not count as one.
            thread: The thread of the server's event loop. It does not count as one that may call into the test's loop;
                and `is_idle` is only asked while it waits in its selector, so that nothing is between the socket and
                the server's books.

        """
        self._loops.outside.sockets.add_idle(is_idle, thread)
        if thread is not None:
            self._loops.outside.threads.add_ours(thread)

    def begin_test(self) -> None:
        """The test function begins; what tasks it makes are its own."""
        self._watch.begin()

    def end_test(self, *, passed: bool) -> list[str]:
        """
        The test function has ended; what to warn of.

        Args:
            passed: Whether it passed.

        """
        self._watch.end()
        if self._forever.happened:
            self._watch.cancel_rest()
            self._forever.restore()
        return self._watch.reports(passed=passed and not self._forever.happened)

    def set(self, moment: datetime) -> None:
        """
        Put the wall clock (`time.time`) at a moment, without letting time pass: no timer fires, monotonic clocks stay.

        Raises:
            VirtualTimeError: A moment without a time zone, which would mean another instant on another machine.

        """
        if moment.tzinfo is None:
            raise VirtualTimeError(
                f"virtual_time.set({moment!r}) has no time zone; give it one: moment.replace(tzinfo=timezone.utc)"
            )
        wanted = round(moment.timestamp() * 1_000_000) * 1_000
        self._wall_shift += wanted - (self._bases[_WALL] + self._main.passed + self._wall_shift)

    def share(self, sleep: Callable[[float], None] | None) -> None:
        """
        Let other threads live on this clock too, taking turns; None for this thread alone again.

        Args:
            sleep: Called where a thread that has joined in sleeps, for time to pass; returns when it is due.

        """
        self._sharing = sleep
        self._members.clear()

    def join_in(self) -> None:
        """Let the current thread live on this clock, while it is shared."""
        self._members.add(get_ident())

    def start(self) -> None:
        """Take over the clocks of `time` for this thread, and the event loops that run on it."""
        self._thread = get_ident()
        self._bases = (real_monotonic_ns(), _real_perf_counter_ns(), _real_time_ns())
        _active.append(self)
        for module in list(sys.modules.values()):
            if module is time or _is_under_test(module):
                self._replace(getattr(module, "__dict__", {}))
        self._loops.start()

    def stop(self) -> None:
        """Give the clocks back."""
        # A loop that lives on reads the machine's clock again: its timers are due as long after now as they were.
        self._loops.stop(real_monotonic_ns() - self._bases[_MONOTONIC] - self._main.passed)
        while self._replaced:
            namespace, name = self._replaced.pop()
            namespace[name] = _REAL[name]
        _active.remove(self)
        self._thread = None

    def wall_now(self) -> float:
        """Seconds since the epoch on the virtual wall clock, from any thread."""
        return (self._bases[_WALL] + self._main.passed + self._wall_shift) / NANO

    def read(self, kind: int) -> int | None:
        """A clock in nanoseconds for this thread; None where it is not under virtual time."""
        if not self.is_here():
            return None
        return self._bases[kind] + self._main.passed + (self._wall_shift if kind == _WALL else 0)

    def sleep(self, seconds: float) -> None:
        """
        Let a scripted latency pass for this thread.

        Any other thread than the test's has no clock of its own: its latencies are added to the test's, one after
        another, so that a measured time may come out too long but never too short.
        """
        if self._sharing is not None and get_ident() in self._members:
            self._sharing(seconds)
            return
        if self.is_here():
            self._watch.blocked(seconds)
        self._pass(round(seconds * NANO))

    async def asleep(self, seconds: float) -> None:
        """The same for the running task; other tasks go on meanwhile."""
        left = self.left_to_loop(seconds)
        if not self.is_here() or self._loops.controls_running_loop():
            await asyncio.sleep(left)

    def left_to_loop(self, seconds: float) -> float:
        """
        What of a latency a timer of the running loop has to wait for; the rest has passed.

        Raises:
            VirtualTimeError: The running loop keeps its clock to itself, and there is something to wait for.

        """
        if not self.is_here():
            self._pass(round(seconds * NANO))
            return 0
        if seconds > 0 and not self._loops.controls_running_loop():
            raise VirtualTimeError(_UNCONTROLLED)
        return seconds

    def is_here(self) -> bool:
        """Whether the current thread is under virtual time."""
        return get_ident() == self._thread or (bool(self._members) and get_ident() in self._members)

    def lanes(self, count: int) -> Lanes:
        """So many lanes, on which pieces of synchronous work overlap in virtual time though they run one by one."""
        return Lanes(self._main, count)

    def _pass(self, nanoseconds: int) -> None:
        self._main.add(nanoseconds)

    def _replace(self, namespace: dict[str, Any]) -> None:
        for name, real in _REAL.items():
            if namespace.get(name) is real:
                self._replaced.append((namespace, name))
                namespace[name] = _STAND_INS[name]


_frame: Final[Callable[[int], FrameType]] = getattr(sys, "_getframe")  # noqa: B009 - documented, though it looks private
_MONOTONIC, _PERF_COUNTER, _WALL = range(3)
_active: list[VirtualTime] = []
"The clocks that were started, the newest last: a test that runs pytest may have one inside of another."


_WAITS_FOR_REAL: Final = frozenset(
    {"hypothesis", "subprocess", "multiprocessing", "concurrent", "threading", "queue", "socketserver", "selectors"}
)
"What waits for threads and processes, which do not live in virtual time, and what measures how long a search takes."


def _read(kind: int) -> int | None:
    """A clock for the caller of a stand-in; None where it is to have the real one."""
    if not _active:
        return None
    # From here to the stand-in, and to who called it. A loop reads the clock at every turn: inspect would cost more.
    caller = str(_frame(2).f_globals.get("__name__", ""))
    return None if caller.partition(".")[0] in _WAITS_FOR_REAL else _active[-1].read(kind)


def _sleep(seconds: float, /) -> None:
    if seconds >= 0 and _read(_MONOTONIC) is not None:
        _active[-1].sleep(seconds)
    else:
        _REAL["sleep"](seconds)


def _stand_in(kind: int, real: Callable[[], Any], per_second: int) -> Callable[[], Any]:
    def clock() -> Any:
        virtual = _read(kind)
        if virtual is None:
            return real()
        return virtual / NANO if per_second == 1 else virtual

    return clock


_REAL: Final[dict[str, Any]] = {name: getattr(time, name) for name in _CLOCKS}
_STAND_INS: Final[dict[str, Any]] = {
    "sleep": _sleep,
    "time": _stand_in(_WALL, time.time, 1),
    "monotonic": _stand_in(_MONOTONIC, time.monotonic, 1),
    "perf_counter": _stand_in(_PERF_COUNTER, time.perf_counter, 1),
    "time_ns": _stand_in(_WALL, time.time_ns, NANO),
    "monotonic_ns": _stand_in(_MONOTONIC, time.monotonic_ns, NANO),
    "perf_counter_ns": _stand_in(_PERF_COUNTER, time.perf_counter_ns, NANO),
}
"One of each for all tests: a module that is imported in a test, and keeps one by name, has the real clock afterwards."
_UNCONTROLLED: Final = (
    "a scripted latency cannot pass in virtual time here: the running event loop is not one of asyncio's own "
    "(uvloop and trio keep their clocks to themselves).\n"
    "Run this test on asyncio's default loop, or script its replies without a latency."
)


def _nanoseconds(seconds: float, *, what: str) -> int:
    if type(seconds) not in (int, float) or not 0 <= seconds < float("inf"):
        raise VirtualTimeError(f"virtual_time.{what}({seconds!r}): time moves forward by a finite number of seconds")
    return round(seconds * NANO)


def _is_under_test(module: ModuleType | None) -> bool:
    return module is not None and getattr(module, "__name__", "").partition(".")[0] not in _MACHINERY
