"""
An event loop whose waiting moves a virtual clock.

Written here and not taken from looptime (0.9), the closest library: it patches the class of each loop, spends 42 empty
cycles before every jump, leaves the clocks of synchronous code alone, and jumps while a socket is being waited for.
"""

from __future__ import annotations

import asyncio
import math
import selectors
import sys
import time
from asyncio import base_events
from collections.abc import Callable, Mapping
from typing import Any, Final

_NANO: Final = 1_000_000_000
_real_monotonic_ns = time.monotonic_ns


class VirtualSelector(selectors.BaseSelector):
    """
    The selector of a loop: what would wait for a timer lets virtual time pass instead.

    It waits for real while anything outside the loop is outstanding: a registered socket or pipe other than the loop's
    own wake-up pipe, or a job in an executor. Real waiting counts only towards the timer that it waits for: the clock
    moves from timer to timer, so that a measured time never holds the noise of a thread.
    """

    def __init__(self, inner: selectors.BaseSelector, passes: Callable[[int], None], jobs: set[Any]) -> None:
        """Wrap the loop's selector; `passes` moves the clock, `jobs` holds the executor's outstanding futures."""
        self.inner = inner
        self._passes = passes
        self._jobs = jobs
        self._waited = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Poll; if nothing is ready, jump to the end of the timeout."""
        ready = self.inner.select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None or self._outstanding():
            return self._wait(timeout)
        return self._jump(timeout)

    def _jump(self, timeout: float) -> list[tuple[selectors.SelectorKey, int]]:
        self._waited = 0
        self._passes(max(1, _exact(timeout)))
        return []

    def _outstanding(self) -> bool:
        return bool(self._jobs) or len(self.inner.get_map() or ()) > 1

    def _wait(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return self.inner.select(None)
        start = _real_monotonic_ns()
        ready = self.inner.select(max(0.0, timeout - self._waited / _NANO))
        self._waited += _real_monotonic_ns() - start
        if not ready or self._waited >= timeout * _NANO:
            # Also after many small events, which must not keep a timer from ever falling due.
            self._jump(timeout)
        return ready

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """As the wrapped selector does."""
        return self.inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """As the wrapped selector does."""
        return self.inner.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """As the wrapped selector does."""
        return self.inner.modify(fileobj, events, data)

    def close(self) -> None:
        """As the wrapped selector does."""
        self.inner.close()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """As the wrapped selector does."""
        return self.inner.get_map()


def _exact(seconds: float) -> int:
    """
    The nanoseconds that a timer was set for.

    A loop computes with floats of the machine's uptime, whose last digit is more than a nanosecond after 50 days. What
    is that close to a microsecond was meant as one.
    """
    nanoseconds = round(seconds * _NANO)
    slack = 4 * math.ulp(time.monotonic()) * _NANO
    whole = round(nanoseconds, -3)
    return whole if abs(whole - nanoseconds) <= slack else nanoseconds


class LoopControl:
    """Wraps the selector of every asyncio loop that runs on a controlled thread, from `start` to `stop`."""

    def __init__(self, *, passes: Callable[[int], None], controls: Callable[[], bool]) -> None:
        """`passes` moves the clock by nanoseconds; `controls` says whether the current thread is under virtual time."""
        self._passes = passes
        self._controls = controls
        self._jobs: set[Any] = set()
        self._loops: list[tuple[Any, float]] = []
        self._originals: list[tuple[Any, str, Any]] = []

    def start(self) -> None:
        """
        Hook the places that every loop of asyncio passes.

        Loops are made by test plugins, by asyncio.run and by users, before or after this: only the class sees them all.
        """
        self._hook(base_events.BaseEventLoop, "_run_once", self._controlled)
        # Where run_in_executor, to_thread and users turn a job of a pool into a future of the loop.
        for owner in (asyncio.futures, asyncio):
            self._hook(owner, "wrap_future", self._counted_future)
        # It joins a thread, from Python 3.12 on with a time limit of minutes that a jump would use up.
        self._hook(base_events.BaseEventLoop, "shutdown_default_executor", self._counted_call)
        if "anyio.to_thread" in sys.modules:
            # Frameworks such as Starlette run synchronous code in anyio's own threads.
            self._hook(sys.modules["anyio.to_thread"], "run_sync", self._counted_call)

    def stop(self) -> None:
        """Unhook, and give the loops back what is theirs."""
        while self._originals:
            owner, name, original = self._originals.pop()
            setattr(owner, name, original)
        for loop, resolution in self._loops:
            loop._clock_resolution = resolution  # noqa: SLF001
            if isinstance(loop._selector, VirtualSelector):  # noqa: SLF001
                loop._selector = loop._selector.inner  # noqa: SLF001
        self._loops.clear()
        self._jobs.clear()

    def _hook(self, owner: Any, name: str, around: Callable[[Any], Any]) -> None:
        original = getattr(owner, name)
        self._originals.append((owner, name, original))
        setattr(owner, name, around(original))

    def _controlled(self, run_once: Any) -> Any:
        def controlled(loop: Any) -> None:
            if not isinstance(loop._selector, VirtualSelector) and self._controls():  # noqa: SLF001
                self._take(loop)
            run_once(loop)

        return controlled

    def _counted_future(self, wrap_future: Any) -> Any:
        def counted(future: Any, **kwargs: Any) -> Any:
            job = wrap_future(future, **kwargs)
            if job is not future:  # one of a loop's own is no job of a pool
                self._jobs.add(job)
                job.add_done_callback(self._jobs.discard)
            return job

        return counted

    def _counted_call(self, call: Any) -> Any:
        async def counted(*args: Any, **kwargs: Any) -> Any:
            job = object()
            self._jobs.add(job)
            try:
                return await call(*args, **kwargs)
            finally:
                self._jobs.discard(job)

        return counted

    def controls_running_loop(self) -> bool:
        """Whether the running loop's time is virtual."""
        return isinstance(getattr(_running_loop(), "_selector", None), VirtualSelector)

    def _take(self, loop: Any) -> None:
        self._loops.append((loop, loop._clock_resolution))  # noqa: SLF001
        loop._selector = VirtualSelector(loop._selector, self._passes, self._jobs)  # noqa: SLF001
        # Timers are due within a microsecond: see _exact.
        loop._clock_resolution = max(loop._clock_resolution, 1e-6)  # noqa: SLF001


def _running_loop() -> Any:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
