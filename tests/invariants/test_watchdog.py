"""The watchdog ends what blocks for real, and leaves alone what is not its own."""

from __future__ import annotations

import signal
import threading
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pytest_modelroute.invariants import watchdog
from pytest_modelroute.invariants.watchdog import Hangs, frames_of, stack_of, watched


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watchdog that waits for a moment alone."""
    monkeypatch.setattr(watchdog, "PATIENCE_S", 0.1)
    monkeypatch.setattr(watchdog, "_AGAIN_S", 0.1)


def spin(seconds: float) -> None:
    """Keep the processor busy."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def raised_by(work: Callable[[], None]) -> BaseException | None:
    """What ends a piece of work that is watched."""
    try:
        with watched("it"):
            work()
    except BaseException as error:  # noqa: BLE001 - handed back
        return error
    return None


def test_what_spins_is_ended_where_it_is() -> None:
    """The message names what was watched, how long, and the line."""
    with pytest.raises(Hangs) as error, watched("Support: the router"):
        spin(5)
    said = str(error.value)
    assert said.startswith("Support: the router did not come back within 0.1 s of real time; it hangs here:\n")
    assert "test_watchdog.py" in said.splitlines()[-1]


def test_what_waits_for_a_lock_is_ended_too() -> None:
    """The timer of the process wakes the main thread."""
    with pytest.raises(Hangs, match=r"threading\.Event\(\)\.wait\(\)"), watched("it"):
        threading.Event().wait()


def test_what_swallows_the_first_ring_is_rung_again() -> None:
    """A bare except is no way out."""

    def stubborn() -> None:
        try:
            spin(5)
        except BaseException:  # noqa: BLE001 - the defect
            spin(5)

    assert isinstance(raised_by(stubborn), Hangs)


def test_what_is_cleared_up_after_a_ring_may_take_its_time() -> None:
    """A second ring would break the clearing up, and hide what the first one said."""
    cleared: list[int] = []

    def work() -> None:
        try:
            spin(5)
        finally:
            slow.clear(cleared)

    slow = types.ModuleType("slow")
    source = "import time\ndef clear(cleared):\n time.sleep(0.3)\n cleared.append(1)"
    exec(compile(source, watchdog.__file__, "exec"), vars(slow))  # noqa: S102 - as code of ours
    assert isinstance(raised_by(work), Hangs)
    assert cleared == [1]


def test_what_comes_back_in_time_hears_nothing() -> None:
    """Nor does anybody afterwards."""
    with watched("it"):
        pass
    spin(0.2)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


class Theirs(BaseException):
    """What another time limit raises."""


@contextmanager
def limit(seconds: float) -> Iterator[None]:
    """A time limit such as that of pytest-timeout: a timer of the process, with a handler of its own."""

    def ring(_number: int, _frame: object) -> None:
        raise Theirs

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_time_limit_from_elsewhere_goes_on_where_it_was() -> None:
    """The time in the block counts for it."""
    with limit(60):
        with watched("it"):
            spin(0.05)
        assert 50 < signal.getitimer(signal.ITIMER_REAL)[0] <= 59.96


def test_a_time_limit_from_elsewhere_rings_with_its_own_handler() -> None:
    """Also after many watched blocks."""

    def many() -> None:
        for _ in range(1000):
            with watched("it"):
                spin(0.02)

    with pytest.raises(Theirs), limit(0.3):
        many()


def test_a_time_limit_that_comes_sooner_is_left_alone() -> None:
    """It ends the block by itself."""
    with pytest.raises(Theirs), limit(0.05), watched("it"):
        spin(5)


def in_a_thread(work: Any) -> BaseException | None:
    """What a piece of work raises in a thread of its own."""
    raised: list[BaseException | None] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - handed back
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return raised[0] if raised else None


def test_a_thread_is_ended_by_an_exception_as_it_runs() -> None:
    """Where no timer of the process can be had."""

    def work() -> None:
        with watched("it"):
            spin(5)

    error = in_a_thread(work)
    assert isinstance(error, Hangs)
    assert "it did not come back within 0.1 s of real time; it hangs here:" in str(error)
    assert "in spin: " in str(error)


def test_a_thread_that_comes_back_in_time_hears_nothing() -> None:
    """Nor is anything raised in it later."""

    def work() -> None:
        with watched("it"):
            pass
        spin(0.2)

    assert in_a_thread(work) is None


def test_a_thread_that_has_ended_is_nowhere() -> None:
    """Its stack is empty."""
    assert stack_of(frames_of(None)) == ""
