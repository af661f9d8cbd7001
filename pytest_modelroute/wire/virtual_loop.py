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
from asyncio import base_events
from collections.abc import Callable, Mapping, Sequence
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
        self._originals: list[Any] = []

    def start(self) -> None:
        """
        Hook the places that every loop of asyncio passes.

        Loops are made by test plugins, by asyncio.run and by users, before or after this: only the class sees them all.
        """
        run_once, wrap_future, _, shut_down = self._originals = [getattr(owner, name) for owner, name in _HOOKS]
        control = self

        def controlled_run_once(loop: Any) -> None:
            if not isinstance(loop._selector, VirtualSelector) and control._controls():  # noqa: SLF001
                control._take(loop)
            run_once(loop)

        def counted_wrap_future(*args: Any, **kwargs: Any) -> Any:
            # run_in_executor and to_thread come here too.
            job = wrap_future(*args, **kwargs)
            control._jobs.add(job)
            job.add_done_callback(control._jobs.discard)
            return job

        async def counted_shut_down(loop: Any, *args: Any, **kwargs: Any) -> Any:
            # It joins a thread, from Python 3.12 on with a time limit of minutes that a jump would use up.
            job = object()
            control._jobs.add(job)
            try:
                return await shut_down(loop, *args, **kwargs)
            finally:
                control._jobs.discard(job)

        _set_hooks([controlled_run_once, counted_wrap_future, counted_wrap_future, counted_shut_down])

    def stop(self) -> None:
        """Unhook, and give the loops back what is theirs."""
        _set_hooks(self._originals)
        self._originals = []
        for loop, resolution in self._loops:
            loop._clock_resolution = resolution  # noqa: SLF001
            if isinstance(loop._selector, VirtualSelector):  # noqa: SLF001
                loop._selector = loop._selector.inner  # noqa: SLF001
        self._loops.clear()
        self._jobs.clear()

    def controls_running_loop(self) -> bool:
        """Whether the running loop's time is virtual."""
        return isinstance(getattr(_running_loop(), "_selector", None), VirtualSelector)

    def _take(self, loop: Any) -> None:
        self._loops.append((loop, loop._clock_resolution))  # noqa: SLF001
        loop._selector = VirtualSelector(loop._selector, self._passes, self._jobs)  # noqa: SLF001
        # Timers are due within a microsecond: see _exact.
        loop._clock_resolution = max(loop._clock_resolution, 1e-6)  # noqa: SLF001


_HOOKS: Final[tuple[tuple[Any, str], ...]] = (
    (base_events.BaseEventLoop, "_run_once"),
    (asyncio.futures, "wrap_future"),
    (asyncio, "wrap_future"),
    (base_events.BaseEventLoop, "shutdown_default_executor"),
)


def _set_hooks(functions: Sequence[Any]) -> None:
    for (owner, name), function in zip(_HOOKS, functions, strict=False):
        setattr(owner, name, function)


def _running_loop() -> Any:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
