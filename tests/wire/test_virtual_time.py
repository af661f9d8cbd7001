"""Virtual time for synchronous code: clocks, sleeps, threads, and the clocks that stay real."""

from __future__ import annotations

import math
import queue
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelroute import MockProviders, VirtualTime
from pytest_modelroute.errors import VirtualTimeError
from pytest_modelroute.wire import virtual_time as virtual_time_module

if TYPE_CHECKING:
    import httpx

CLOCKS = ["time", "monotonic", "perf_counter"]
NAMES = ["sleep", *CLOCKS, "time_ns", "monotonic_ns", "perf_counter_ns"]
WALL = datetime(2031, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)


@contextmanager
def started() -> Iterator[VirtualTime]:
    """Run a clock of one's own."""
    clock = VirtualTime()
    try:
        clock.start()
        yield clock
    finally:
        clock.stop()


def in_thread(function: Callable[[], Any]) -> Any:
    """What a function gives in a thread that the test starts."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


def make_module(name: str, source: str) -> types.ModuleType:
    """A module as the import system would make it."""
    module = types.ModuleType(name)
    exec(source, vars(module))  # noqa: S102 - the source is ours
    return module


@given(st.lists(st.integers(0, 10_000_000), max_size=30))
def test_sleeps_add_up_exactly(milliseconds: list[int]) -> None:
    """Any row of sleeps in milliseconds sums to the millisecond, without a rounding error."""
    with started() as clock:
        for each in milliseconds:
            time.sleep(each / 1000)
        assert clock.now == sum(milliseconds) / 1000


@given(st.lists(st.integers(0, 10_000_000), max_size=30))
def test_advances_add_up_exactly(milliseconds: list[int]) -> None:
    """Advancing is as exact as sleeping."""
    with started() as clock:
        for each in milliseconds:
            clock.advance(each / 1000)
        assert clock.now == sum(milliseconds) / 1000


@pytest.mark.parametrize("name", CLOCKS)
def test_a_sleep_moves_every_clock(virtual_time: VirtualTime, name: str) -> None:
    """Every clock of time shows the sleep, in seconds and in nanoseconds."""
    read, read_ns = getattr(time, name), getattr(time, f"{name}_ns")
    before, before_ns = read(), read_ns()
    time.sleep(2.5)
    assert (read() - before, read_ns() - before_ns) == (pytest.approx(2.5), 2_500_000_000)


@pytest.mark.parametrize("name", CLOCKS)
def test_a_clock_stands_still_by_itself(virtual_time: VirtualTime, name: str) -> None:
    """Nothing but a sleep moves a clock."""
    read = getattr(time, f"{name}_ns")
    before = read()
    sum(range(20_000))
    assert read() == before


@pytest.mark.parametrize("name", CLOCKS)
def test_clocks_begin_where_the_real_ones_are(name: str) -> None:
    """Virtual time starts at the real time."""
    real = getattr(time, name)()
    with started():
        assert getattr(time, name)() == pytest.approx(real, abs=60)


def test_the_clock_begins_at_zero(virtual_time: VirtualTime) -> None:
    """A test begins at second 0."""
    assert virtual_time.now == 0


@pytest.mark.parametrize("seconds", [-1, math.nan])
def test_an_impossible_sleep_raises_as_in_life(virtual_time: VirtualTime, seconds: float) -> None:
    """A negative sleep, or one of no number, is the same ValueError as without virtual time."""
    with pytest.raises(ValueError, match=r"sleep length must be non-negative|Invalid value NaN"):
        time.sleep(seconds)


def test_a_sleep_imported_by_name_passes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module under test that holds sleep by name sleeps in virtual time."""
    app = make_module("app_under_test", "from time import sleep\ndef wait(): sleep(3600)")
    monkeypatch.setitem(sys.modules, "app_under_test", app)
    with started() as clock:
        app.wait()
        assert clock.now == 3600


def test_a_clock_imported_under_another_name_is_not_missed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that reads a clock held by name sees virtual time pass."""
    app = make_module("app_under_test", "from time import monotonic")
    monkeypatch.setitem(sys.modules, "app_under_test", app)
    with started() as clock:
        before = app.monotonic()
        clock.advance(100)
        assert app.monotonic() - before == pytest.approx(100)


def test_a_module_imported_during_a_test_follows_the_next_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that is first imported in a test under virtual time takes part in the virtual time of later tests."""
    with started():
        app = make_module("app_under_test", "from time import monotonic")
        monkeypatch.setitem(sys.modules, "app_under_test", app)
    with started() as clock:
        before = app.monotonic()
        clock.advance(100)
        assert app.monotonic() - before == pytest.approx(100)


def test_a_module_imported_during_a_test_has_real_clocks_afterwards() -> None:
    """A clock that was imported by name under virtual time is real again when the test is over."""
    with started() as clock:
        app = make_module("app_under_test", "from time import monotonic")
        clock.advance(1_000_000)
    assert app.monotonic() == pytest.approx(time.monotonic(), abs=60)


@pytest.mark.parametrize("package", ["_pytest", "coverage", "hypothesis", "xdist", "logging"])
def test_the_machinery_of_the_run_keeps_real_clocks(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Modules of the test run that hold a clock by name keep the real one."""
    module = make_module(f"{package}.made_up", "from time import monotonic")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with started() as clock:
        clock.advance(1_000_000)
        assert module.monotonic() < time.monotonic() - 900_000


def test_odd_entries_of_sys_modules_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some libraries put objects without attributes among the modules: virtual time starts all the same."""
    monkeypatch.setitem(sys.modules, "odd", object())
    with started() as clock:
        assert clock.now == 0


def test_a_missing_entry_of_sys_modules_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module whose import is blocked by None in sys.modules is passed over."""
    monkeypatch.setitem(sys.modules, "blocked", None)
    with started() as clock:
        assert clock.now == 0


@pytest.mark.parametrize("name", NAMES)
def test_clocks_are_given_back(name: str) -> None:
    """After the test, time has its own functions again."""
    real = getattr(time, name)
    with started():
        assert getattr(time, name) is not real
    assert getattr(time, name) is real


def test_clocks_are_given_back_after_an_exception(run: Callable[..., pytest.RunResult]) -> None:
    """A test that fails leaves the real clocks to the next one."""
    run(
        "import time\n"
        "REAL = time.sleep, time.monotonic\n"
        "def test_fails(virtual_time):\n"
        "    time.sleep(1)\n"
        "    raise OSError\n"
        "def test_after():\n"
        "    assert (time.sleep, time.monotonic) == REAL\n"
    ).assert_outcomes(failed=1, passed=1)


def test_names_in_modules_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that held sleep by name holds the real one again."""
    app = make_module("app_under_test", "from time import sleep")
    monkeypatch.setitem(sys.modules, "app_under_test", app)
    with started():
        pass
    assert app.sleep is time.sleep


@pytest.mark.parametrize("seconds", [-0.001, -1, math.nan, math.inf, -math.inf])
def test_time_does_not_go_back(virtual_time: VirtualTime, seconds: float) -> None:
    """Advancing by a negative or not finite number is refused."""
    with pytest.raises(VirtualTimeError, match=r"virtual_time\.advance\(.*\): time moves forward by a finite number"):
        virtual_time.advance(seconds)


def test_advance_moves_the_clock(virtual_time: VirtualTime) -> None:
    """Advancing lets time pass without a sleep."""
    virtual_time.advance(60)
    assert virtual_time.now == 60


@pytest.mark.parametrize("moment", [WALL, WALL.astimezone(timezone(timedelta(hours=9))), WALL - timedelta(days=20_000)])
def test_the_wall_clock_can_be_set(virtual_time: VirtualTime, moment: datetime) -> None:
    """time.time shows the moment that was set, to the microsecond, whatever its time zone."""
    virtual_time.set(moment)
    assert time.time_ns() == round(moment.timestamp() * 1_000_000) * 1000


def test_setting_the_wall_clock_again_is_not_added(virtual_time: VirtualTime) -> None:
    """The last moment set is the one that counts, also after time has passed."""
    virtual_time.set(WALL + timedelta(days=400))
    time.sleep(5)
    virtual_time.set(WALL)
    assert time.time() == WALL.timestamp()


def test_the_wall_clock_goes_on_from_where_it_was_set(virtual_time: VirtualTime) -> None:
    """After setting, sleeps move the wall clock on."""
    virtual_time.set(WALL)
    time.sleep(90)
    assert time.time() == (WALL + timedelta(seconds=90)).timestamp()


@pytest.mark.parametrize("name", ["monotonic_ns", "perf_counter_ns"])
def test_setting_the_wall_clock_lets_no_time_pass(virtual_time: VirtualTime, name: str) -> None:
    """Monotonic clocks stay where they are."""
    before = getattr(time, name)()
    virtual_time.set(WALL)
    assert (getattr(time, name)() - before, virtual_time.now) == (0, 0)


def test_a_moment_without_a_time_zone_is_refused(virtual_time: VirtualTime) -> None:
    """A moment that means another instant on another machine is refused with a way out."""
    with pytest.raises(VirtualTimeError, match=r"has no time zone; give it one: moment\.replace\(tzinfo="):
        virtual_time.set(WALL.replace(tzinfo=None))


def test_a_foreign_thread_keeps_the_real_clocks(virtual_time: VirtualTime) -> None:
    """A thread that the test starts does not see virtual time."""
    virtual_time.advance(1_000_000)
    assert in_thread(time.monotonic) < time.monotonic() - 900_000


def test_a_foreign_thread_sleeps_for_real(monkeypatch: pytest.MonkeyPatch, virtual_time: VirtualTime) -> None:
    """A sleep in a thread that the test starts is the real one, and moves nothing."""
    slept: list[float] = []
    with monkeypatch.context() as patch:
        patch.setitem(virtual_time_module._REAL, "sleep", slept.append)
        in_thread(lambda: time.sleep(7))
    assert (slept, virtual_time.now) == ([7], 0)


def test_a_scripted_call_of_a_foreign_thread_takes_time(
    ask: Callable[..., httpx.Response], mock_providers: MockProviders, virtual_time: VirtualTime
) -> None:
    """The latency of a call from a thread without a clock is added to the test's clock."""
    mock_providers.on().replies("ok", latency=2)
    in_thread(ask)
    in_thread(ask)
    assert virtual_time.now == 4


def test_a_foreign_thread_reads_the_tests_clock(virtual_time: VirtualTime) -> None:
    """virtual_time.now is the test's time in every thread."""
    virtual_time.advance(5)
    assert in_thread(lambda: virtual_time.now) == 5


DURATIONS = st.lists(st.integers(0, 100_000), max_size=20)


def work_on_lanes(milliseconds: list[int], count: int) -> float:
    """Seconds that pieces of so many milliseconds take on so many lanes."""
    with started() as clock:
        lanes = clock.lanes(count)
        for each in milliseconds:
            with lanes.take():
                time.sleep(each / 1000)
        lanes.join()
        return clock.now


@given(DURATIONS)
def test_work_on_one_lane_adds_up(milliseconds: list[int]) -> None:
    """On a single lane any pieces of work take the sum of their times."""
    assert work_on_lanes(milliseconds, 1) == sum(milliseconds) / 1000


@given(DURATIONS, st.integers(0, 5))
def test_work_with_lanes_to_spare_takes_the_longest(milliseconds: list[int], spare: int) -> None:
    """With a lane for each, any pieces of work take the time of the longest."""
    assert work_on_lanes(milliseconds, max(1, len(milliseconds)) + spare) == max(milliseconds, default=0) / 1000


@given(DURATIONS, st.integers(1, 6))
def test_lanes_are_never_idle_while_work_waits(milliseconds: list[int], count: int) -> None:
    """Any work on any number of lanes takes no longer than a fair share of it and the longest piece together."""
    longest = max(milliseconds, default=0) / 1000
    assert longest <= work_on_lanes(milliseconds, count) <= sum(milliseconds) / 1000 / count + longest + 1e-9


def test_lanes_begin_where_the_clock_is(virtual_time: VirtualTime) -> None:
    """A piece of work begins at the time at which the lanes were opened."""
    virtual_time.advance(10)
    lanes = virtual_time.lanes(2)
    begun: list[float] = []
    for _ in range(3):
        with lanes.take():
            begun.append(virtual_time.now)
            time.sleep(4)
    assert begun == [10, 10, 14]


def test_work_that_raises_takes_its_time(virtual_time: VirtualTime) -> None:
    """A piece of work that fails has used its lane all the same."""
    lanes = virtual_time.lanes(2)

    def fail() -> None:
        time.sleep(2)
        raise OSError("broken")

    with pytest.raises(OSError, match="broken"), lanes.take():
        fail()
    lanes.join()
    assert virtual_time.now == 2


def test_calls_take_their_latency(
    ask: Callable[..., httpx.Response], mock_providers: MockProviders, virtual_time: VirtualTime
) -> None:
    """Calls one after another take the sum of their latencies."""
    mock_providers.on().replies("ok", latency=0.1)
    for _ in range(3):
        ask()
    assert virtual_time.now == 0.3


def test_the_log_is_on_the_virtual_clock(ask: Callable[..., httpx.Response], mock_providers: MockProviders) -> None:
    """Start and latency of a call are read from the test's clock, exactly."""
    mock_providers.on().replies("ok", latency=0.1)
    time.sleep(0.7)
    ask()
    call = mock_providers.calls[0]
    assert (call.started_s, round(call.latency_s or 0, 12)) == (0.7, 0.1)


def test_trio_sleeps_come_to_an_end(virtual_time: VirtualTime) -> None:
    """Trio keeps the real clock, so its timers fall due, and no virtual time passes."""
    trio = pytest.importorskip("trio")
    trio.run(trio.sleep, 0.01)
    assert virtual_time.now == 0


def test_a_process_is_waited_for_in_real_time(virtual_time: VirtualTime) -> None:
    """A timeout of subprocess lets no virtual time pass."""
    subprocess.run([sys.executable, "-c", "pass"], timeout=20, check=True)
    assert virtual_time.now == 0


def test_a_queue_is_waited_for_in_real_time(virtual_time: VirtualTime) -> None:
    """A timeout of a queue ends by the real clock, and lets no virtual time pass."""
    with pytest.raises(queue.Empty):
        queue.Queue[int]().get(timeout=0.01)
    assert virtual_time.now == 0
