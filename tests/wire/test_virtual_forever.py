"""A loop that would wait for ever ends the test, and says who waits for what."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import math
import signal
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from pytest_modelroute import VirtualTime
from pytest_modelroute.errors import WaitsForEver
from pytest_modelroute.wire import virtual_forever, virtual_loop, virtual_threads

A_WHILE = 0.05
HEAD = (
    "the event loop would wait for ever: it has no timer, and no socket, executor job, subprocess or thread is left "
    "that could wake it."
)
ADVICE = (
    "In life this test would hang. Around a wait that may be in vain, asyncio.timeout(...) passes at once in virtual "
    "time."
)


@pytest.fixture
def clock() -> Iterator[VirtualTime]:
    """A clock of the test's own, which fails nothing but what is caught here."""
    clock = VirtualTime()
    try:
        clock.start()
        clock.begin_test()
        yield clock
    finally:
        clock.end_test(passed=False)
        clock.stop()


def ends(main: Coroutine[Any, Any, Any]) -> list[str]:
    """The lines that say who waits, once a coroutine waits for ever."""
    with pytest.raises(WaitsForEver) as error:
        asyncio.run(main)
    head, *lines, advice = str(error.value).splitlines()
    assert (head, advice) == (HEAD, ADVICE)
    return lines


def waiting(main: Callable[[], Coroutine[Any, Any, Any]]) -> str:
    """What the main task waits for, and where."""
    line = ends(main())[0]
    return line.partition(") waits for ")[2].partition(", at ")[0]


async def pending() -> None:
    """Wait for a future of nobody's."""
    await asyncio.get_running_loop().create_future()


async def event() -> None:
    """Wait for an event."""
    await asyncio.Event().wait()


async def lock() -> None:
    """Wait for a lock that is held."""
    lock = asyncio.Lock()
    await lock.acquire()
    async with lock:
        pass


async def semaphore() -> None:
    """Wait for a semaphore."""
    async with asyncio.Semaphore(0):
        pass


async def condition() -> None:
    """Wait for a condition."""
    condition = asyncio.Condition()
    async with condition:
        await condition.wait()


async def barrier() -> None:
    """Wait for two who do not come."""
    await asyncio.Barrier(3).wait()


async def item() -> None:
    """Wait for an item."""
    await asyncio.Queue[int]().get()


async def room() -> None:
    """Wait for room."""
    queue = asyncio.Queue[int](1)
    await queue.put(1)
    await queue.put(2)


async def work() -> None:
    """Wait for items to be worked on."""
    queue = asyncio.PriorityQueue[int]()
    await queue.put(1)
    await queue.join()


async def task() -> None:
    """Wait for another task."""
    await asyncio.create_task(pending(), name="other")


async def gather() -> None:
    """Wait for several."""
    await asyncio.gather(*(asyncio.create_task(pending(), name=f"no. {number}") for number in range(5)))


async def futures() -> None:
    """Wait for several futures that belong to nobody."""
    loop = asyncio.get_running_loop()
    await asyncio.gather(loop.create_future(), loop.create_future())


async def wait() -> None:
    """Wait for the first of them."""
    others = [asyncio.create_task(pending(), name="a"), asyncio.create_task(asyncio.sleep(0), name="b")]
    await asyncio.wait(others)


async def wait_for() -> None:
    """Wait without a limit."""
    await asyncio.wait_for(asyncio.Event().wait(), None)


async def group() -> None:
    """Wait for the tasks of a group."""
    async with asyncio.TaskGroup() as group:
        group.create_task(pending(), name="member")


async def shield() -> None:
    """Wait behind a shield."""
    await asyncio.shield(asyncio.create_task(pending(), name="shielded"))


async def anyio_event() -> None:
    """Wait as anyio does."""
    await anyio.Event().wait()


async def anyio_group() -> None:
    """Wait for the tasks of anyio's group."""
    async with anyio.create_task_group() as group:
        group.start_soon(pending, name="member")


async def anyio_item() -> None:
    """Wait for an item of a stream."""
    sender, receiver = anyio.create_memory_object_stream[int]()
    with sender, receiver:
        await receiver.receive()


async def anyio_room() -> None:
    """Wait for room in a stream."""
    sender, receiver = anyio.create_memory_object_stream[int]()
    with sender, receiver:
        await sender.send(1)


async def anyio_lock() -> None:
    """Wait for a semaphore of anyio's."""
    async with anyio.Semaphore(0):
        pass


async def generator() -> None:
    """Wait inside of an asynchronous generator."""

    async def items() -> Any:
        await asyncio.Event().wait()
        yield 1

    async for _ in items():
        pass


async def context() -> None:
    """Wait on the way into a context."""

    @contextlib.asynccontextmanager
    async def enter() -> Any:
        await asyncio.Event().wait()
        yield

    async with enter():
        pass


async def endless_sleep() -> None:
    """Sleep without an end."""
    await asyncio.sleep(math.inf)


WAITS: dict[Callable[[], Coroutine[Any, Any, None]], str] = {
    pending: "a Future",
    event: "an Event",
    lock: "a Lock",
    semaphore: "a Semaphore",
    condition: "a Condition",
    barrier: "a Barrier (1 of 3 have come)",
    item: "an item of a Queue",
    room: "room in a Queue of 1",
    work: "the items of a PriorityQueue to be done",
    task: "the task 'other'",
    gather: "the tasks 'no. 0', 'no. 1', 'no. 2' and 2 more",
    futures: "2 Futures",
    wait: "the task 'a'",
    wait_for: "an Event",
    group: "the task 'member'",
    shield: "a Future",
    anyio_event: "an Event",
    anyio_group: "the task 'member'",
    anyio_item: "an item of a memory object stream",
    anyio_room: "room in a memory object stream",
    anyio_lock: "a Semaphore",
    generator: "an Event",
    context: "an Event",
    endless_sleep: "inf s to pass",
}


@pytest.mark.parametrize("main", WAITS, ids=lambda main: main.__name__)
def test_what_is_waited_for_is_named(clock: VirtualTime, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Each thing that a task can wait for has its word."""
    assert waiting(main) == WAITS[main]


def test_the_place_is_the_users_own(clock: VirtualTime) -> None:
    """The line that waits is told, and not the one of the library behind it."""
    (line,) = ends(event())
    number = inspect.getsourcelines(event)[1] + 2
    place = f"tests/wire/test_virtual_forever.py:{number}, in event: await asyncio.Event().wait()"
    assert line.endswith(f"(event) waits for an Event, at {place}")


def test_a_task_without_code_of_the_users_says_who_made_it(clock: VirtualTime) -> None:
    """A coroutine of a library's, run as a task, is found by the line that made it."""

    async def main() -> None:
        other = asyncio.create_task(asyncio.Event().wait(), name="library's")
        await other

    line = ends(main())[1]
    assert line.startswith('  "library\'s" (Event.wait) waits for an Event, at ')
    assert line.endswith("made at " + line.rpartition("made at ")[2])
    assert 'in main: other = asyncio.create_task(asyncio.Event().wait(), name="library\'s")' in line


def test_all_tasks_are_listed_in_their_order(clock: VirtualTime) -> None:
    """Tasks with a number come first, in its order, then those with a name."""

    async def main() -> None:
        tasks = [asyncio.create_task(pending()) for _ in range(12)]
        tasks.append(asyncio.create_task(pending(), name="named"))
        await asyncio.gather(*tasks)

    names = [line.split("'")[1] for line in ends(main())]
    numbers = [int(name.removeprefix("Task-")) for name in names[:-1]]
    assert (numbers, names[-1]) == (sorted(numbers), "named")
    assert len(numbers) == 13


def test_a_long_list_is_cut(clock: VirtualTime) -> None:
    """Of many tasks the first twenty are shown, and the number of the others."""

    async def main() -> None:
        await asyncio.gather(*(asyncio.create_task(pending()) for _ in range(30)))

    assert ends(main())[20:] == ["  ... and 11 more"]


def test_the_word_comes_where_the_test_waits(clock: VirtualTime) -> None:
    """What ends the test is raised at the wait itself, so that the code under test can clean up."""
    cleaned: list[str] = []

    async def main() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(5)
            cleaned.append("up")

    with pytest.raises(WaitsForEver):
        asyncio.run(main())
    assert (cleaned, clock.now) == (["up"], 5)


def test_the_word_is_no_exception_that_a_fallback_catches(clock: VirtualTime) -> None:
    """A router that catches Exception does not take it for an outage."""

    async def main() -> str:
        try:
            await asyncio.Event().wait()
        except Exception:  # noqa: BLE001 - that is the point
            return "from the fallback"
        return "woken"

    with pytest.raises(WaitsForEver):
        asyncio.run(main())


def test_the_word_reaches_a_task_that_the_main_one_awaits(clock: VirtualTime) -> None:
    """A main task that awaits another one gets it from there."""
    with pytest.raises(WaitsForEver):
        asyncio.run(task())


def test_who_waits_again_is_told_again(clock: VirtualTime) -> None:
    """Code that swallows the word and waits on is told a few times, and then its loop is ended."""
    told: list[BaseException] = []

    async def main() -> None:
        for _ in range(10):
            try:
                await asyncio.Event().wait()
            except WaitsForEver as error:
                told.append(error)
            except asyncio.CancelledError:
                break

    with pytest.raises(WaitsForEver):
        asyncio.run(main())
    assert len(told) == 3


def test_a_loop_without_a_main_task_is_ended(clock: VirtualTime) -> None:
    """Where nothing waits, as in run_forever, the loop itself raises."""
    loop = asyncio.new_event_loop()
    with pytest.raises(WaitsForEver):
        loop.run_forever()
    loop.close()


class Opaque(asyncio.Task[Any]):
    """A task that keeps to itself what it waits for, as one of another implementation may."""

    _fut_waiter = None


def test_a_main_task_that_cannot_be_told_is_ended(clock: VirtualTime) -> None:
    """A task that cannot be looked into is ended by its loop."""
    loop = asyncio.new_event_loop()
    loop.set_task_factory(lambda loop, coroutine, **options: Opaque(coroutine, loop=loop, **options))
    task = loop.create_task(pending())
    with pytest.raises(WaitsForEver):
        loop.run_until_complete(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()


def test_each_loop_has_its_own_word(clock: VirtualTime) -> None:
    """A second loop that waits for ever says what its own tasks wait for."""
    words = []
    for main in (event, lock):
        with pytest.raises(WaitsForEver) as error:
            asyncio.run(main())
        words.append("an Event" in str(error.value))
    assert words == [True, False]


def call_later(action: Callable[[], object], *, daemon: bool) -> threading.Thread:
    """Do something in another thread after a while of real time."""

    def act() -> None:
        threading.Event().wait(A_WHILE)
        action()

    thread = threading.Thread(target=act, daemon=daemon)
    thread.start()
    return thread


@pytest.mark.parametrize("daemon", [True, False])
def test_a_thread_may_wake_the_loop(clock: VirtualTime, daemon: bool) -> None:
    """As long as a thread is alive that may call into the loop, the loop waits for it in real time."""

    async def main() -> str:
        woken = asyncio.Event()
        loop = asyncio.get_running_loop()
        thread = call_later(lambda: loop.call_soon_threadsafe(woken.set), daemon=daemon)
        await woken.wait()
        thread.join()
        return "woken"

    assert asyncio.run(main()) == "woken"


@pytest.mark.parametrize("daemon", [True, False])
def test_a_thread_that_ends_without_a_word_leaves_the_loop_alone(clock: VirtualTime, daemon: bool) -> None:
    """Once the last thread has ended, nobody is left."""

    async def main() -> None:
        call_later(int, daemon=daemon)
        await asyncio.Event().wait()

    with pytest.raises(WaitsForEver):
        asyncio.run(main())


def test_a_thread_that_waits_itself_cannot_wake_the_loop(clock: VirtualTime) -> None:
    """A thread and a loop that wait for each other wait for ever."""
    told = threading.Event()

    async def main() -> None:
        woken = asyncio.Event()
        loop = asyncio.get_running_loop()

        def answer() -> None:
            told.wait()
            with contextlib.suppress(RuntimeError):  # the loop is closed by then
                loop.call_soon_threadsafe(woken.set)

        threading.Thread(target=answer, daemon=True).start()
        await woken.wait()

    with pytest.raises(WaitsForEver):
        asyncio.run(main())
    told.set()


def test_a_thread_from_before_that_makes_its_rounds_cannot_wake_the_loop() -> None:
    """A service that was there before the test, and waits for its next round, has nothing to do with it."""
    stop = threading.Event()

    def serve() -> None:
        while not stop.wait(1000):
            pass

    threading.Thread(target=serve, daemon=True).start()
    clock = VirtualTime()
    clock.start()
    try:
        assert waiting(event) == "an Event"
    finally:
        clock.stop()
        stop.set()


def test_a_socket_may_wake_the_loop(clock: VirtualTime) -> None:
    """A stream that somebody outside may write to is waited for."""
    left, right = socket.socketpair()

    async def main() -> bytes:
        reader, writer = await asyncio.open_connection(sock=left)
        thread = call_later(lambda: right.sendall(b"x"), daemon=True)
        answer = await reader.read(10)
        thread.join()
        writer.close()
        return answer

    assert asyncio.run(main()) == b"x"
    right.close()


def test_a_signal_may_wake_the_loop(clock: VirtualTime) -> None:
    """A handler of the loop's for signals is one who may wake it."""

    async def main() -> str:
        woken = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, woken.set)
        thread = call_later(lambda: signal.raise_signal(signal.SIGUSR1), daemon=True)
        await woken.wait()
        thread.join()
        loop.remove_signal_handler(signal.SIGUSR1)
        return "woken"

    assert asyncio.run(main()) == "woken"


def test_a_server_without_visitors_waits_for_ever(clock: VirtualTime) -> None:
    """A server in the loop that nobody can call is nobody who wakes it."""

    async def main() -> None:
        async with await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0) as server:
            await server.serve_forever()

    assert waiting(main) == "the end of a server"


def test_two_ends_of_a_connection_wait_for_each_other_for_ever(clock: VirtualTime) -> None:
    """A client and a server in one loop that both read will never hear anything."""

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(listen, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            try:
                await reader.read(1)
            finally:
                writer.close()
                await writer.wait_closed()

    assert waiting(main) == "data of a stream"


def native(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let there be a thread that Python does not know."""
    monkeypatch.setattr(virtual_forever, "has_native_threads", lambda: True)
    monkeypatch.setattr(virtual_loop, "_UNCERTAIN_SECONDS", seconds)


def test_an_extension_may_resolve_a_future(clock: VirtualTime, monkeypatch: pytest.MonkeyPatch) -> None:
    """A future that belongs to nothing known is given some time where there are threads that nobody can see."""
    native(monkeypatch, 20)

    async def main() -> str:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[str] = loop.create_future()
        thread = call_later(lambda: loop.call_soon_threadsafe(future.set_result, "resolved"), daemon=True)
        clock.idle_peer(lambda _local, _peer: False, thread=thread)  # which leaves it out of the known threads
        return await future

    assert asyncio.run(main()) == "resolved"


def test_an_extension_is_not_waited_for_without_end(clock: VirtualTime, monkeypatch: pytest.MonkeyPatch) -> None:
    """A future that nobody resolves in that time ends the test."""
    native(monkeypatch, A_WHILE)
    with pytest.raises(WaitsForEver):
        asyncio.run(pending())


def test_no_extension_sets_an_event(clock: VirtualTime, monkeypatch: pytest.MonkeyPatch) -> None:
    """What asyncio itself offers is set by code of the test, so there is no need to wait."""
    native(monkeypatch, 1000)
    with pytest.raises(WaitsForEver):
        asyncio.run(event())


THREADS = {
    "waits": (f"{virtual_threads._FUTEX} 0x7f 0x189 0x0 0x0 0x0 0xff 0x7f 0x7f", False),
    "waits with a time limit": (f"{virtual_threads._FUTEX} 0x7f 0x189 0x0 0x7f 0x0 0xff 0x7f 0x7f", True),
    "waits for the network": ("232 0x5 0x7f 0x400 0xffffffffffffffff 0x0 0x8 0x7f 0x7f", True),
    "runs": ("running", True),
}


@pytest.mark.skipif(virtual_threads._FUTEX is None, reason="the number of the system call is not known here")
@pytest.mark.parametrize("state", THREADS)
def test_a_native_thread_is_at_work_or_waits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, state: str) -> None:
    """What the system says of a thread that Python does not know tells whether it may come to do something."""
    monkeypatch.setattr(virtual_threads, "_TASKS", tmp_path)
    monkeypatch.setattr(virtual_threads, "_frames", lambda: dict.fromkeys(range(threading.active_count())))
    said, at_work = THREADS[state]
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "syscall").write_text(f"{said}\n", "ascii")
    assert virtual_threads.has_native_threads() == at_work


def test_the_threads_of_python_are_none(clock: VirtualTime) -> None:
    """A future that nobody resolves ends the test at once, though a thread of Python's is there and waits."""
    told = threading.Event()
    threading.Thread(target=told.wait, daemon=True).start()
    before = virtual_loop._real_monotonic_ns()
    assert waiting(pending) == "a Future"
    told.set()
    assert virtual_loop._real_monotonic_ns() - before < 4e9


def test_where_threads_cannot_be_counted_there_may_be_some(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without /proc the question stays open."""
    monkeypatch.setattr(virtual_threads, "_TASKS", virtual_threads._TASKS / "nowhere")
    assert virtual_threads.has_native_threads()


def test_awaitables_of_their_own_kind_do_not_get_in_the_way(clock: VirtualTime) -> None:
    """A task that waits through an awaitable of the user's own is placed where it awaits that."""

    class Custom:
        def __await__(self) -> Any:
            return (yield from asyncio.Event().wait().__await__())

    async def main() -> None:
        await Custom()

    assert waiting(main) == "an Event"
