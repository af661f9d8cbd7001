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

from pytest_modelroute.wire.places import is_users, short_path

PATIENCE_S = 10.0
"Seconds of real time; virtual time passes at once, so that only code that blocks the process takes so long."
_AGAIN_S: Final = 0.5


class Hangs(BaseException):
    """The code under test does not come back; no Exception, so that no fallback hides it."""


@contextmanager
def watched(what: str) -> Generator[None]:
    """
    Raise `Hangs` in this block, with the place where it hangs, once `PATIENCE_S` seconds of real time are over.

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
    def ring(_number: int, frame: FrameType | None) -> None:
        raise Hangs(_message(what, seconds, frame))

    before = signal.signal(signal.SIGALRM, ring)
    left, every = signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:  # of a time limit that the test has from elsewhere
            signal.setitimer(signal.ITIMER_REAL, left, every)


@contextmanager
def _by_thread(what: str, seconds: float) -> Generator[None]:
    thread = threading.get_ident()

    class Rang(Hangs):
        def __init__(self) -> None:
            super().__init__(said[0])

    said = [""]

    def ring() -> None:
        said[0] = _message(what, seconds, frames_of(thread))
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(Rang))

    timer = threading.Timer(seconds, ring)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def frames_of(thread: int | None) -> FrameType | None:
    """What a thread is at; None for one that has ended."""
    frames: dict[int, FrameType] = getattr(sys, "_current_frames")()  # noqa: B009 - documented, though it looks private
    return frames.get(thread or 0)


def _message(what: str, seconds: float, frame: FrameType | None) -> str:
    return f"{what} did not come back within {seconds:g} s of real time; it hangs here:\n{stack_of(frame)}"


def stack_of(frame: FrameType | None) -> str:
    """The frames of the user's own code, outermost first, and the innermost one whosever it is."""
    frames = traceback.extract_stack(frame)
    chosen = [entry for entry in frames if is_users(entry.filename)]
    if frames and frames[-1] not in chosen:
        chosen.append(frames[-1])
    return "\n".join(
        f"  {short_path(entry.filename)}:{entry.lineno}, in {entry.name}: {entry.line}" for entry in chosen
    )
