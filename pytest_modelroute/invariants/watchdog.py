"""The watchdog: ends code of the user that blocks for real, and says where it hangs."""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from pytest_modelroute.wire.places import is_ours, is_users, short_path
from pytest_modelroute.wire.timeline import NANO
from pytest_modelroute.wire.virtual_time import real_monotonic_ns

PATIENCE_S = 10.0
"Seconds of real time; virtual time passes at once, so that only code that blocks the process takes so long."
_AGAIN_S: Final = 0.5
"How often it looks: who swallowed the first ring is rung again so soon, and what was an import counts no further."
_SOON_S: Final = 0.001
_MOST_IMPORTS_S: Final = 300.0
"Of imports alone: the library of a router may take ten seconds, and a busy machine minutes."


class Hangs(BaseException):
    """The code under test does not come back; no Exception, so that no fallback hides it."""


@contextmanager
def watched(what: str) -> Generator[None]:
    """
    Raise `Hangs` in this block, with the place where it hangs, once `PATIENCE_S` seconds of real time are over.

    An import is waited for, and the seconds begin anew after it: it is slow where all else is not, and one that was
    broken off would leave half a library behind.

    By a timer of the process on the main thread (which also wakes a lock that is waited for), elsewhere and on systems
    without one by an exception that the interpreter raises as soon as it runs again.
    """
    seconds = PATIENCE_S
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):
        with _by_signal(what, seconds):
            yield
    else:
        with _by_thread(what, seconds):
            yield


@contextmanager
def _by_signal(what: str, seconds: float) -> Generator[None]:
    rung = 0
    over = False
    patience = _Patience(seconds)

    def ring(_number: int, frame: FrameType | None) -> None:
        nonlocal rung
        if not patience.is_over(frame):
            return
        rung += 1
        # What is cleared up after the first ring may take its time; code that swallowed it is rung again.
        if not over and (rung == 1 or _is_in_users(frame)):
            raise Hangs(_message(what, seconds, frame))

    left, every = signal.getitimer(signal.ITIMER_REAL)
    if 0 < left < seconds:  # a time limit from elsewhere, which comes sooner than ours
        yield
        return
    start = real_monotonic_ns()
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, patience.step, patience.step)
    try:
        try:
            yield
        finally:
            over = True
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:  # it goes on as if nobody had used the timer meanwhile
            signal.setitimer(signal.ITIMER_REAL, max(_SOON_S, left - (real_monotonic_ns() - start) / NANO), every)


@contextmanager
def _by_thread(what: str, seconds: float) -> Generator[None]:
    thread = threading.get_ident()
    lock = threading.Lock()
    over = threading.Event()

    class Rang(Hangs):
        def __init__(self) -> None:
            super().__init__(said[0])

    said = [""]

    def watch() -> None:
        patience = _Patience(seconds)
        while not over.wait(patience.step):
            frame = frames_of(thread)
            if not patience.is_over(frame):
                continue
            with lock:
                if not over.is_set():
                    said[0] = _message(what, seconds, frame)
                    _raise_in(thread, Rang)
            return

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()
        with lock:  # whoever rings has rung by now, so that it is heard here and not at some later line
            pass


def _raise_in(thread: int, error: type[BaseException]) -> None:
    """Let a thread raise an exception as soon as it runs; to take one back would let the interpreter look for ever."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))


class _Patience:
    """How long it is still waited, looked at every now and then."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.step = min(_AGAIN_S, seconds)
        self._waited = 0.0
        self._imports = 0.0

    def is_over(self, frame: FrameType | None) -> bool:
        """Whether the seconds are over, counted from the last import on; a step has passed."""
        if _is_importing(frame) and self._imports < _MOST_IMPORTS_S:
            self._imports += self.step
            self._waited = 0.0
            return False
        self._waited += self.step
        return self._waited >= self._seconds


def _is_importing(frame: FrameType | None) -> bool:
    """Whether what the stage plays is in the middle of an import."""
    while frame is not None and frame.f_globals.get("__name__") != "pytest_modelroute.invariants.stage":
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _is_in_users(frame: FrameType | None) -> bool:
    """Whether code of the user's is what runs, or waits, and no code of ours in its stead."""
    while frame is not None and not is_ours(frame.f_code.co_filename):
        if is_users(frame.f_code.co_filename):
            return True
        frame = frame.f_back
    return False


def frames_of(thread: int | None) -> FrameType | None:
    """What a thread is at; None for one that has ended."""
    frames: dict[int, FrameType] = getattr(sys, "_current_frames")()  # noqa: B009 - documented, though it looks private
    return frames.get(thread or 0)


def _message(what: str, seconds: float, frame: FrameType | None) -> str:
    return f"{what} did not come back within {seconds:g} s of real time; it hangs here:\n{stack_of(frame)}"


def stack_of(frame: FrameType | None) -> str:
    """The frames of the user's own code, outermost first, and the innermost one whosever it is."""
    frames = [] if frame is None else [*traceback.extract_stack(frame)]
    chosen = [entry for entry in frames if is_users(entry.filename)]
    if frames and frames[-1] not in chosen:
        chosen.append(frames[-1])
    return "\n".join(
        f"  {short_path(entry.filename)}:{entry.lineno}, in {entry.name}: {entry.line}" for entry in chosen
    )
