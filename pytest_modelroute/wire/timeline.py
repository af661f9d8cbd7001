"""The counter of virtual nanoseconds, and lanes on which synchronous work overlaps."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from heapq import heapreplace
from threading import Lock
from typing import Final

NANO: Final = 1_000_000_000


class Timeline:
    """
    The virtual time that has passed, in nanoseconds; any thread may move it.

    Attributes:
        passed: Nanoseconds since the test began.

    """

    __slots__ = ("_lock", "passed")

    def __init__(self) -> None:
        """Begin at nothing."""
        self.passed = 0
        self._lock = Lock()

    def add(self, nanoseconds: int) -> None:
        """Let time pass."""
        with self._lock:
            self.passed += nanoseconds

    def reach(self, moment: int) -> bool:
        """Move on to a moment; whether that was ahead, since time does not go back."""
        with self._lock:
            if moment <= self.passed:
                return False
            self.passed = moment
            return True


class Lanes:
    """
    Overlapping work without threads: each piece begins when the earliest lane is free, as on a pool of workers.

    Threads would be no more parallel, since virtual time passes at once, and the order in which they ran would decide
    on the times.
    """

    def __init__(self, timeline: Timeline, count: int) -> None:
        """All lanes are free now."""
        self._timeline = timeline
        self._free_at = [timeline.passed] * count

    @contextmanager
    def take(self) -> Generator[None]:
        """Do a piece of work on the earliest lane."""
        self._timeline.passed = self._free_at[0]
        try:
            yield
        finally:
            heapreplace(self._free_at, self._timeline.passed)

    def join(self) -> None:
        """Wait for all lanes."""
        self._timeline.passed = max(self._free_at)
