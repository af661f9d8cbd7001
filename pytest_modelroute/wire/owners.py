"""
Whose a task or a thread is: of the test that started it, also once that is over.

A task inherits its context, and so the mark of a test. A thread does not, and a worker of a pool serves jobs of many
tests: so a thread belongs to the test that started it, and a job to the one that submitted it. What a fixture starts
before the test function runs belongs to nobody, and may live on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from threading import Thread
from typing import Any, Final
from weakref import WeakKeyDictionary


class Owner:
    """
    A test function, from `begin` to `end`, and what it has started.

    Attributes:
        over: Whether it has ended; what is still there of it was left running.

    """

    def __init__(self) -> None:
        """It has not begun."""
        self.over = False
        self._outer: Owner | None = None
        self._originals: list[tuple[type[Any], str, Any]] = []

    def begin(self) -> None:
        """The test function begins: what it starts is its own."""
        self._outer = _owner.get()
        _owner.set(self)
        for kind, name, stand_in in ((Thread, "start", _start), (ThreadPoolExecutor, "submit", _submit)):
            original = getattr(kind, name)
            self._originals.append((kind, name, original))
            setattr(kind, name, stand_in(original))

    def end(self) -> None:
        """The test function has ended."""
        self.over = True
        _owner.set(self._outer)
        while self._originals:
            kind, name, original = self._originals.pop()
            setattr(kind, name, original)


def current_owner() -> Owner | None:
    """The test that has started what runs here; None for what belongs to none."""
    return _owner.get() or _threads.get(threading.current_thread())


def _start(original: Callable[[Thread], None]) -> Callable[[Thread], None]:
    def start(thread: Thread) -> None:
        owner = current_owner()
        if owner is not None:
            _threads[thread] = owner
        original(thread)

    return start


def _submit(original: Callable[..., Any]) -> Callable[..., Any]:
    def submit(pool: Any, work: Callable[..., Any], /, *args: Any, **options: Any) -> Any:
        owner = current_owner()
        if owner is None:
            return original(pool, work, *args, **options)

        def owned() -> Any:
            token = _owner.set(owner)
            try:
                return work(*args, **options)
            finally:
                _owner.reset(token)

        return original(pool, owned)

    return submit


_owner: Final[ContextVar[Owner | None]] = ContextVar("modelroute_owner", default=None)
_threads: Final[WeakKeyDictionary[Thread, Owner]] = WeakKeyDictionary()
