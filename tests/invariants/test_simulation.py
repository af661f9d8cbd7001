"""Synchronous requests at the same time: threads that take turns on one virtual clock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from pytest_modelroute.invariants import simulation, watchdog
from pytest_modelroute.invariants.simulation import Simulation
from pytest_modelroute.invariants.watchdog import Hangs, watched
from pytest_modelroute.wire.virtual_time import VirtualTime

Work = Callable[[], None]


@pytest.fixture
def clock() -> Iterator[VirtualTime]:
    """Virtual time."""
    made = VirtualTime()
    made.start()
    yield made
    made.stop()


def played(clock: VirtualTime, *works: tuple[float, Callable[[Work], None]]) -> list[tuple[str, float]]:
    """Who said what when: each piece of work is handed a function that takes down the moment."""
    said: list[tuple[str, float]] = []

    def bound(name: str, work: Callable[[Work], None]) -> Work:
        return lambda: work(lambda: said.append((name, round(clock.now, 6))))

    names = "abcdefgh"
    Simulation(clock).run([(at, bound(name, work)) for name, (at, work) in zip(names, works, strict=False)])
    return said


def sleeper(clock: VirtualTime, *seconds: float) -> Callable[[Work], None]:
    """Sleeps so long, and says so each time."""

    def work(say: Work) -> None:
        for each in seconds:
            clock.sleep(each)
            say()

    return work


def test_sleeps_overlap(clock: VirtualTime) -> None:
    """Two waits of a second take one second."""
    played(clock, (0, sleeper(clock, 1)), (0, sleeper(clock, 1)))
    assert clock.now == 1


def test_whoever_is_due_first_goes_first(clock: VirtualTime) -> None:
    """Whatever the order of their starting."""
    said = played(clock, (0, sleeper(clock, 3)), (1, sleeper(clock, 1)), (0.5, sleeper(clock, 0.25, 1.5)))
    assert said == [("c", 0.75), ("b", 2), ("c", 2.25), ("a", 3)]


def test_at_the_same_moment_the_order_is_that_of_the_requests(clock: VirtualTime) -> None:
    """So that every run is the same."""
    said = played(clock, *[(0, sleeper(clock, 1))] * 5)
    assert [name for name, _ in said] == list("abcde")


def test_a_lock_that_is_held_across_a_wait_is_no_deadlock(clock: VirtualTime) -> None:
    """Whoever waits for it is left alone until it is free."""
    lock = threading.Lock()

    def work(say: Work) -> None:
        with lock:
            clock.sleep(1)
        say()

    assert played(clock, (0, work), (0, work), (0, work)) == [("a", 1), ("b", 2), ("c", 3)]


def test_time_does_not_run_ahead_of_who_has_just_got_a_lock(
    clock: VirtualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is due much later waits for those who can go on now."""
    monkeypatch.setattr(simulation, "_GRANTED_S", 0.5)  # also on a machine that is busy
    lock = threading.Lock()

    def locked(say: Work) -> None:
        with lock:
            clock.sleep(1)
        say()

    said = played(clock, (0, locked), (0, locked), (0, sleeper(clock, 50)))
    assert said == [("a", 1), ("b", 2), ("c", 50)]


def test_a_thread_that_is_none_of_ours_sleeps_for_nothing(clock: VirtualTime) -> None:
    """A helper thread of the router has no clock of its own, and must not wait for a turn that never comes."""

    def work(say: Work) -> None:
        helper = threading.Thread(target=clock.sleep, args=(1,))
        helper.start()
        helper.join()
        say()

    assert [name for name, _ in played(clock, (0, work))] == ["a"]


def test_what_one_raises_is_raised_when_all_have_ended(clock: VirtualTime) -> None:
    """It ends the scene, and is no matter of threads that die unseen."""

    class Ended(BaseException):
        pass

    def raising(say: Work) -> None:
        raise Ended

    done: list[int] = []
    with pytest.raises(Ended):
        played(clock, (0, raising), (0, lambda _: done.append(1)))
    assert done == [1]


def test_requests_that_wait_for_each_other_are_shown_where_they_hang(
    clock: VirtualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deadlock between two requests is an error with both places."""
    monkeypatch.setattr(watchdog, "PATIENCE_S", 0.2)
    release = threading.Event()

    def first(say: Work) -> None:
        release.wait()

    with pytest.raises(Hangs) as error:
        played(clock, (0, first), (0, first))
    release.set()
    said = str(error.value)
    assert said.startswith("requests at the same time did not come back within 0.2 s; they hang here:\n")
    assert said.count("in first: release.wait()") == 2


def test_the_watchdog_of_the_scene_shows_the_threads_that_hang(
    clock: VirtualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not our own thread, which waits for them."""
    release = threading.Event()

    def hanging(say: Work) -> None:
        release.wait()

    monkeypatch.setattr(watchdog, "PATIENCE_S", 0.3)
    with watched("the scene"):
        monkeypatch.setattr(watchdog, "PATIENCE_S", 60)
        with pytest.raises(Hangs, match=r"in hanging: release\.wait\(\)"):
            played(clock, (0, hanging), (0, hanging))
    release.set()
