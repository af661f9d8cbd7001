"""Tasks that are left running and code that blocks the loop are reported."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from pytest_modelroute import VirtualTime
from pytest_modelroute.testrun import TestRun

HERE = "tests/wire/test_virtual_watch.py"
END = "Await or cancel what the code under test starts; an asyncio.TaskGroup does."
INSTEAD = "Await instead (asyncio.sleep, an async client), or call it in a thread: await asyncio.to_thread(...)."


@contextmanager
def watched(reports: list[str], *, passed: bool = True) -> Iterator[VirtualTime]:
    """Run a test function under a clock of one's own, and collect what is to be warned of."""
    clock = VirtualTime()
    try:
        clock.start()
        clock.begin_test()
        yield clock
        reports += clock.end_test(passed=passed)
    finally:
        clock.stop()


def reports_of(main: Callable[[], Coroutine[Any, Any, Any]], *, passed: bool = True) -> list[str]:
    """What is to be warned of after a coroutine has run."""
    reports: list[str] = []
    with watched(reports, passed=passed):
        asyncio.run(main())
    return reports


def line_of(function: Callable[..., Any], text: str) -> int:
    """The line of a function that holds a text."""
    lines, start = inspect.getsourcelines(function)
    return start + next(number for number, line in enumerate(lines) if text in line)


async def refresh() -> None:
    """Go on for ever, like a task in the background."""
    while True:  # noqa: ASYNC110
        await asyncio.sleep(60)


async def leave() -> None:
    """Start a task and forget it."""
    asyncio.create_task(refresh(), name="refresh")  # noqa: RUF006 - that is the point
    await asyncio.sleep(90)


def test_a_task_that_a_runner_has_to_cancel_is_reported() -> None:
    """The name, the coroutine, where it was made and where it waits."""
    (report,) = reports_of(leave)
    source = 'asyncio.create_task(refresh(), name="refresh")  # noqa: RUF006 - that is the point'
    made = f"{HERE}:{line_of(leave, 'create_task')}, in leave: {source}"
    waits = f"waits for 60 s to pass, at {HERE}:{line_of(refresh, 'sleep')}, in refresh: await asyncio.sleep(60)"
    assert report.splitlines() == [
        "a task was still running when the test ended:",
        f"  'refresh' (refresh), made at {made}, {waits}, until its loop was closed",
        END,
    ]


def test_several_tasks_are_counted() -> None:
    """All of them are in one report."""

    async def main() -> None:
        tasks = [asyncio.create_task(refresh()) for _ in range(30)]
        await asyncio.sleep(len(tasks))

    (report,) = reports_of(main)
    lines = report.splitlines()
    assert (lines[0], lines[21], len(lines)) == (
        "30 tasks were still running when the test ended:",
        "  ... and 10 more",
        23,
    )


@contextmanager
def loop_of_its_own() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that is run by hand, and whose tasks are cancelled in the end."""
    loop = asyncio.new_event_loop()
    yield loop
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.close()


def test_a_task_that_runs_on_in_a_loop_of_the_session_is_reported() -> None:
    """A loop that is still there at the end of the test has the task still."""
    reports: list[str] = []
    with loop_of_its_own() as loop, watched(reports):
        loop.run_until_complete(leave())
    assert reports[0].splitlines()[1].endswith("in refresh: await asyncio.sleep(60)")


def test_a_task_that_never_began_is_reported() -> None:
    """A task that was made at the very end has not run a single line."""
    reports: list[str] = []
    with loop_of_its_own() as loop, watched(reports):
        loop.create_task(refresh())
        loop.run_until_complete(asyncio.sleep(0))
        loop.create_task(refresh(), name="late")
    assert reports[0].splitlines()[2].endswith(" has not begun")


def test_a_task_that_was_about_to_go_on_is_reported() -> None:
    """A task whose wait is over, and which did not get its turn, is still running."""
    reports: list[str] = []
    woken = asyncio.Event()
    with loop_of_its_own() as loop, watched(reports):
        loop.create_task(woken.wait())
        loop.run_until_complete(asyncio.sleep(1))
        woken.set()
    assert "is about to go on, at " in reports[0]


async def finish() -> None:
    """Start a task and wait for it."""
    await asyncio.create_task(asyncio.sleep(3))


async def cancel() -> None:
    """Start a task and cancel it, without waiting until it has ended."""
    task = asyncio.create_task(refresh())
    await asyncio.sleep(1)
    task.cancel()


async def group() -> None:
    """Let a group take care of it."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(asyncio.sleep(1))


async def serve() -> None:
    """Run a server, whose visitor asyncio makes a task for."""

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    _reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    await asyncio.sleep(1)
    writer.close()
    server.close()
    await writer.wait_closed()


async def stop_half_way() -> None:
    """Leave the closing of an asynchronous generator to asyncio."""

    async def numbers() -> Any:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)

    async for _ in numbers():
        break


@pytest.mark.parametrize("main", [finish, cancel, group, serve, stop_half_way], ids=lambda main: main.__name__)
def test_what_is_taken_care_of_is_not_reported(main: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    """A task that is awaited, cancelled, in a group, or a library's own affair, is nobody's leak."""
    assert reports_of(main) == []


def test_a_failed_test_had_no_chance_to_end_its_tasks() -> None:
    """Tasks are only reported of a test that passed."""
    assert reports_of(leave, passed=False) == []


def test_tasks_of_fixtures_are_not_the_tests() -> None:
    """A task that was there before the test function began is not reported."""
    with loop_of_its_own() as loop:
        clock = VirtualTime()
        clock.start()
        loop.create_task(refresh())
        loop.run_until_complete(asyncio.sleep(1))
        clock.begin_test()
        loop.run_until_complete(asyncio.sleep(1))
        reports = clock.end_test(passed=True)
        clock.stop()
    assert reports == []


async def other(seconds: float) -> None:
    """Another task beside."""
    await asyncio.sleep(seconds)


async def block_three_times() -> None:
    """Sleep in the loop, three times in one place, beside another task."""
    beside = asyncio.create_task(other(100))
    await asyncio.sleep(0)
    for _ in range(3):
        time.sleep(2)  # noqa: ASYNC251 - that is the point
    await beside


def test_a_sleep_that_blocks_the_loop_is_reported_once_a_place() -> None:
    """Where, how long and how often it slept, and how many tasks stood still."""
    (report,) = reports_of(block_three_times)
    place = f"{HERE}:{line_of(block_three_times, 'time.sleep')}, in block_three_times: "
    assert report == (
        "the event loop was blocked for 6 s in 3 calls, while another task stood still, at "
        f"{place}time.sleep(2)  # noqa: ASYNC251 - that is the point\n{INSTEAD}"
    )


def test_every_place_has_its_report() -> None:
    """Two lines that block are two reports."""

    async def main() -> None:
        beside = asyncio.create_task(other(100))
        time.sleep(2)  # noqa: ASYNC251
        time.sleep(3)  # noqa: ASYNC251
        await beside

    assert [report.split(" s, ")[0] for report in reports_of(main)] == [
        "the event loop was blocked for 2",
        "the event loop was blocked for 3",
    ]


def test_a_callback_that_blocks_is_reported() -> None:
    """Also what no task runs may hold all of them up."""

    async def main() -> None:
        asyncio.get_running_loop().call_later(1, time.sleep, 2)
        await asyncio.sleep(10)

    (report,) = reports_of(main)
    assert report.startswith("the event loop was blocked for 2 s, while another task stood still")


async def alone() -> None:
    """Sleep with no other task there."""
    time.sleep(2)  # noqa: ASYNC251


async def awaited() -> None:
    """Sleep while the only other tasks wait for this one anyway."""

    async def sleep() -> None:
        time.sleep(2)  # noqa: ASYNC251

    async def in_group() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(sleep())

    await asyncio.gather(asyncio.wait_for(in_group(), 30))


async def too_short() -> None:
    """Sleep for less than asyncio takes for slow."""
    beside = asyncio.create_task(other(1))
    time.sleep(0.01)  # noqa: ASYNC251
    time.sleep(0)  # noqa: ASYNC251
    await beside


@pytest.mark.parametrize("main", [alone, awaited, too_short], ids=lambda main: main.__name__)
def test_blocking_that_does_not_matter_is_not_reported(main: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    """Where nobody is held up, or for a moment only, there is nothing to say."""
    assert reports_of(main) == []


def test_blocking_is_reported_of_a_failed_test_too() -> None:
    """It may be why the test failed."""
    assert len(reports_of(block_three_times, passed=False)) == 1


def test_a_synchronous_client_in_a_loop_is_reported(new_run: Callable[[], TestRun]) -> None:
    """A scripted latency of a client that is not async blocks the loop like a sleep."""
    run = new_run()

    def ask() -> None:
        body = {"model": "m", "messages": []}
        httpx.post("https://api.openai.com/v1/chat/completions", json=body)

    async def main() -> None:
        beside = [asyncio.create_task(other(1)) for _ in range(2)]
        ask()
        await asyncio.gather(*beside)

    with run.listening(), run.virtual_time(), run.scripted() as scripts:
        scripts.on().replies("ok", latency=1.5)
        run.begin()
        asyncio.run(main())
        (report,) = run.end(passed=True)
    assert report.startswith(
        "the event loop was blocked for 1.5 s, while 2 other tasks stood still, at "
        f"{HERE}:{line_of(ask, 'httpx.post')}, in ask: httpx.post("
    )


def test_a_sleep_outside_of_a_loop_blocks_nothing() -> None:
    """Synchronous code may sleep."""
    reports: list[str] = []
    with watched(reports):
        time.sleep(5)
    assert reports == []


def test_a_test_without_a_clock_is_not_watched(new_run: Callable[[], TestRun]) -> None:
    """There is nothing to report where time is real."""
    run = new_run()
    run.begin()
    assert run.end(passed=True) == []
