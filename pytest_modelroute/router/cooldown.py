"""Cooldown: a candidate that failed rests for a while, so that requests go to the others at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from typing import Final

from pytest_modelroute.errors import ProviderError

COOLING: Final = frozenset({"rate_limited", "quota_exhausted", "overloaded", "unavailable", "timeout", "connection"})
"Error classes after which a candidate is better left alone; those of one request (too long, filtered) are not."


class Cooldown:
    """
    Which candidates rest, and until when: the latest moment that any of their failures asks for.

    A failure of a cooling class asks for `seconds`, one with a Retry-After for that long at least. Who rests is passed
    over by `FallbackChain`; where all rest, the request fails at once with the errors for which they do. Afterwards a
    candidate is used again as if nothing had been. Safe to share between threads and routers.
    """

    def __init__(
        self,
        seconds: float = 30.0,
        *,
        own: Mapping[str, float] | None = None,
        cooling: Iterable[str] = COOLING,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """
        Nobody rests yet.

        Args:
            seconds: How long a candidate rests; 0 for never, whatever its provider asks for.
            own: Candidate -> its own seconds, which go before.
            cooling: The error classes that ask for a rest without a Retry-After too.
            clock: Seconds, monotonic; `time.monotonic` where left out.

        Raises:
            ValueError: Seconds below 0, or not a number.

        """
        for name, value in {"seconds": seconds, **(own or {})}.items():
            if not value >= 0:
                raise ValueError(f"a cooldown is a number of seconds, 0 or more; {name} has {value!r}")
        self._seconds = seconds
        self._own = dict(own or {})
        self._cooling = frozenset(cooling)
        self._clock = clock
        self._lock = Lock()
        self._resting: dict[str, tuple[float, ProviderError]] = {}

    def note(self, candidate: str, error: ProviderError) -> None:
        """Let a candidate rest for a failure."""
        own = self._own.get(candidate, self._seconds)
        if own == 0 or (error.retry_after is None and error.kind not in self._cooling):
            return
        rest = max(own if error.kind in self._cooling else 0.0, error.retry_after or 0.0)
        until = self._now() + rest
        with self._lock:
            if candidate not in self._resting or self._resting[candidate][0] < until:
                self._resting[candidate] = (until, error)

    def rest(self, candidate: str) -> float:
        """Seconds that a candidate rests from now on; 0 for one that is awake."""
        until, _ = self._resting.get(candidate, (0.0, None))
        return max(0.0, until - self._now())

    def error(self, candidate: str) -> ProviderError | None:
        """What a request for a candidate that rests fails with: the error for which it rests. None for one awake."""
        left = self.rest(candidate)
        if not left:
            return None
        _, cause = self._resting[candidate]
        error = ProviderError(
            f"{cause.model} was not asked: it rests for {left:.3g} s more, since {cause}",
            model=cause.model,
            status=cause.status,
            code=cause.code,
            retry_after=left,
            kind=cause.kind,
        )
        error.attempts = 0
        return error

    def _now(self) -> float:
        return (self._clock or time.monotonic)()
