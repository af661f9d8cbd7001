"""
An event loop whose waiting moves a virtual clock.

Written here and not taken from looptime (0.9), the closest library: it patches the class of each loop, spends 42 empty
cycles before every jump, leaves the clocks of synchronous code alone, and jumps while a socket is being waited for.
"""

from __future__ import annotations

import asyncio
import math
import selectors
import time
from asyncio import base_events, runners
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final, cast

from pytest_modelroute.wire.timeline import NANO, Timeline
from pytest_modelroute.wire.virtual_forever import Forever
from pytest_modelroute.wire.virtual_outside import Outside
from pytest_modelroute.wire.virtual_sockets import Hold, Ready, Registered
from pytest_modelroute.wire.virtual_watch import Watch

_real_monotonic_ns = time.monotonic_ns
_FIRST_LOOK, _LAST_LOOK = 0.001, 0.05
"Seconds after which to look again at what may end without a word: soon at first."
_UNCERTAIN_SECONDS: Final = 5.0
"How long an extension's own thread may take, which would be a call that nobody sees."


class VirtualSelector(selectors.BaseSelector):
    """
    The selector of a loop: what would wait for a timer lets virtual time pass instead.

    It waits for real while anything outside the loop is outstanding. Real waiting counts only towards the timer that
    it waits for: the clock moves from timer to timer, so that a measured time never holds the noise of a thread.
    """

    def __init__(self, inner: selectors.BaseSelector, loop: Any, control: LoopControl) -> None:
        """Wrap the selector of a loop."""
        self.inner = inner
        self.turn_began = control.timeline.passed
        self._loop = loop
        self._control = control
        self.timeline = control.timeline
        self._outside = control.outside
        self._registered = Registered()
        self._version = -1
        self._timer: Any = None
        self._position = 0
        self._look_after = _FIRST_LOOK
        self._silent_for = 0.0

    def select(self, timeout: float | None = None) -> Ready:
        """Poll; if nothing is ready, jump to the end of the timeout."""
        ready = self._poll(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is not None and self._loop._scheduled[0].when() == math.inf:  # noqa: SLF001
            timeout = None  # a timer that is never due wakes nobody
        registered = self._sorted()
        ready = self._outside.sockets.deliver(registered, self.inner)
        if ready:
            return self._received(ready)
        hold = self._outside.hold(self._loop, registered, timer=timeout is not None)
        if hold is Hold.NOTHING:
            # A peer that is idle by now, or a thread that has ended, may have said its last word since the first look.
            ready = self._poll(0)
            if ready:
                return ready
        if timeout is None:
            return self._wait_for_others(hold)
        # Counted from before the loop read the clock: another thread may have moved it since.
        timer = self._loop._scheduled[0]  # noqa: SLF001
        deadline = self.turn_began + max(1, _exact(timeout, timer.when()))
        return self._jump(deadline) if hold is Hold.NOTHING else self._wait(timer, deadline, hold)

    def _jump(self, deadline: int) -> Ready:
        self._timer = None
        self._look_after = _FIRST_LOOK
        self.timeline.reach(deadline)
        return []

    def _wait(self, timer: Any, deadline: int, hold: Hold) -> Ready:
        if timer is not self._timer:  # what was waited for another one does not count
            self._timer, self._position = timer, 0
        with self._control.waiting(self._loop):
            # Where another thread has moved the clock, it has overtaken some of the waiting.
            self._position = max(self._position, self.timeline.passed)
            start = _real_monotonic_ns()
            ready = self._poll(self._limited(max(0, deadline - self._position) / NANO, hold))
            self._position += _real_monotonic_ns() - start
        if self._position >= deadline:
            # Also after many small events, which must not keep a timer from ever falling due.
            self._jump(deadline)
        return ready

    def _wait_for_others(self, hold: Hold) -> Ready:
        if hold is not Hold.NOTHING:
            return self._poll(self._limited(None, hold))
        if self._silent_for < _UNCERTAIN_SECONDS and self._control.forever.is_uncertain(self._loop):
            self._silent_for += self._look_after
            return self._poll(self._limited(None, Hold.UNTOLD))
        self._control.forever.end(self._loop)
        return []

    def _limited(self, seconds: float | None, hold: Hold) -> float | None:
        """How long to wait, where the end of the hold may come without a word."""
        if hold is Hold.TOLD:
            return seconds
        look_after, self._look_after = self._look_after, min(self._look_after * 2, _LAST_LOOK)
        return look_after if seconds is None else min(seconds, look_after)

    def _poll(self, timeout: float | None) -> Ready:
        ready = self.inner.select(timeout)
        return self._received(ready) if ready else ready

    def _received(self, ready: Ready) -> Ready:
        self._look_after = _FIRST_LOOK
        self._silent_for = 0.0
        self._outside.sockets.received(self._loop, self._registered, ready)
        return ready

    def _sorted(self) -> Registered:
        """What is registered, sorted anew where any loop has changed that."""
        sockets = self._outside.sockets
        if self._version != sockets.version:
            self._version = sockets.version
            self._registered = sockets.sort(self._loop, self._control.loops, self.inner.get_map().values())
        return self._registered

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """As the wrapped selector does."""
        self._outside.sockets.version += 1
        return self.inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """As the wrapped selector does."""
        self._outside.sockets.version += 1
        return self.inner.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """As the wrapped selector does."""
        self._outside.sockets.version += 1
        return self.inner.modify(fileobj, events, data)

    def close(self) -> None:
        """As the wrapped selector does."""
        self.inner.close()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """As the wrapped selector does."""
        return self.inner.get_map()


def _exact(seconds: float, when: float) -> int:
    """
    The nanoseconds until a moment of the loop's clock.

    A loop computes with floats of the machine's uptime, whose last digit is more than a nanosecond after 50 days. What
    is that close to a microsecond was meant as one.
    """
    nanoseconds = round(seconds * NANO)
    slack = 4 * math.ulp(when) * NANO
    whole = round(nanoseconds, -3)
    return whole if abs(whole - nanoseconds) <= slack else nanoseconds


class LoopControl:
    """
    Wraps the selector of every asyncio loop that runs on a controlled thread, from `start` to `stop`.

    Attributes:
        timeline: The clock that waiting moves.
        outside: What waiting has to wait for.
        forever: What to do where nothing is left to wait for.
        watch: What is seen of tasks and of code that blocks.
        loops: The loops whose selector is wrapped.

    """

    def __init__(self, timeline: Timeline, *, controls: Callable[[], bool], forever: Forever, watch: Watch) -> None:
        """`controls` says whether the current thread is under virtual time."""
        self.timeline = timeline
        self.outside = Outside(controls=controls)
        self.forever = forever
        self.watch = watch
        self._controls = controls
        self._taken: list[tuple[Any, float]] = []
        self._originals: list[tuple[Any, str, Any]] = []
        self._waiting: Any = None

    def start(self) -> None:
        """
        Hook the places that every loop of asyncio passes.

        Loops are made by test plugins, by asyncio.run and by users, before or after this: only the class sees them all.
        """
        self._hook(base_events.BaseEventLoop, "_run_once", self._controlled)
        self._hook(base_events.BaseEventLoop, "create_task", self._watched_task)
        self._hook(runners, "_cancel_all_tasks", self._watched_end)
        self.outside.start(self._hook)

    def stop(self, ahead: int) -> None:
        """
        Unhook, and give the loops back what is theirs.

        Args:
            ahead: Nanoseconds by which the clock that the loops read from now on is ahead of the virtual one.

        """
        while self._originals:
            owner, name, original = self._originals.pop()
            setattr(owner, name, original)
        for loop in self.loops:
            for timer in loop._scheduled:  # noqa: SLF001 - moved all alike, so that their order stays
                timer._when += ahead / NANO  # noqa: SLF001
        for loop, resolution in self._taken:
            loop._clock_resolution = resolution  # noqa: SLF001
            if isinstance(loop._selector, VirtualSelector):  # noqa: SLF001
                loop._selector = loop._selector.inner  # noqa: SLF001
        self._taken.clear()
        self.outside.stop()

    @property
    def loops(self) -> list[Any]:
        """The loops whose selector is wrapped and which are open."""
        return [loop for loop, _resolution in self._taken if not loop.is_closed()]

    @contextmanager
    def waiting(self, loop: Any) -> Generator[None]:
        """A loop waits for real in this block, and has to hear of it where the clock is moved."""
        self._waiting = loop
        try:
            yield
        finally:
            self._waiting = None

    def wake(self) -> None:
        """Let the loop that waits for real look at the clock; from any thread."""
        loop = self._waiting
        if loop is not None:
            loop._write_to_self()  # noqa: SLF001

    def controls_running_loop(self) -> bool:
        """Whether the running loop's time is virtual."""
        return isinstance(getattr(_running_loop(), "_selector", None), VirtualSelector)

    def _hook(self, owner: Any, name: str, around: Callable[[Any], Any]) -> None:
        original = cast("dict[str, Any]", vars(owner))[name]
        self._originals.append((owner, name, original))
        setattr(owner, name, around(original))

    def _controlled(self, run_once: Any) -> Any:
        def controlled(loop: Any) -> None:
            selector = loop._selector  # noqa: SLF001
            if isinstance(selector, VirtualSelector):
                selector.turn_began = selector.timeline.passed
            elif isinstance(selector, selectors.BaseSelector) and self._controls():
                self._take(loop)
            run_once(loop)

        return controlled

    def _watched_task(self, create_task: Any) -> Any:
        def watched(loop: Any, *args: Any, **kwargs: Any) -> Any:
            task = create_task(loop, *args, **kwargs)
            if self._controls():
                self.watch.task_made(task)
            return task

        return watched

    def _watched_end(self, cancel_all_tasks: Any) -> Any:
        def watched(loop: Any) -> None:
            if self._controls():
                self.watch.loop_ends(loop)
            cancel_all_tasks(loop)

        return watched

    def _take(self, loop: Any) -> None:
        self._taken.append((loop, loop._clock_resolution))  # noqa: SLF001
        self.outside.sockets.take(loop)
        loop._selector = VirtualSelector(loop._selector, loop, self)  # noqa: SLF001
        # Timers are due within a microsecond: see _exact.
        loop._clock_resolution = max(loop._clock_resolution, 1e-6)  # noqa: SLF001


def _running_loop() -> Any:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
