"""Virtual time does not overtake what is outstanding outside of the loop: sockets, jobs, subprocesses, threads."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest

from pytest_modelroute import MockProviders, VirtualTime
from pytest_modelroute.wire import virtual_outside
from tests.wire.beside_the_loop import A_WHILE, passes_at_once, real_time, serving

Serve = Callable[[Callable[[BaseHTTPRequestHandler], None]], str]
CHILD = f"import time; time.sleep({A_WHILE}); print('done')"


def take_a_while() -> str:
    """Work outside of the loop, in real time."""
    threading.Event().wait(A_WHILE)
    return "done"


async def in_time(work: Awaitable[Any], clock: VirtualTime) -> Any:
    """What comes of something real under a time-out, which must not have jumped to its end."""
    before = clock.now
    result = await asyncio.wait_for(work, 30)
    assert clock.now == before
    return result


@pytest.fixture
def slow_server() -> Iterator[tuple[str, int]]:
    """A server in a plain thread that answers every message after a while of real time."""
    with serving(lambda _message: take_a_while().encode()) as address:
        yield address


def test_a_reply_over_a_stream_is_waited_for(virtual_time: VirtualTime, slow_server: tuple[str, int]) -> None:
    """A real reply inside of a time-out is right, and takes no virtual time."""

    async def ask() -> bytes:
        reader, writer = await asyncio.open_connection(*slow_server)
        writer.write(b"hello")
        reply = await in_time(reader.read(100), virtual_time)
        writer.close()
        await writer.wait_closed()
        return bytes(reply)

    assert asyncio.run(ask()) == b"done"


def test_a_reply_over_a_plain_socket_is_waited_for(virtual_time: VirtualTime, slow_server: tuple[str, int]) -> None:
    """The same for loop.sock_recv."""

    async def ask() -> bytes:
        loop = asyncio.get_running_loop()
        with socket.socket() as client:
            client.setblocking(False)
            await loop.sock_connect(client, slow_server)
            await loop.sock_sendall(client, b"hello")
            return bytes(await in_time(loop.sock_recv(client, 100), virtual_time))

    assert asyncio.run(ask()) == b"done"


def test_a_visitor_is_waited_for(virtual_time: VirtualTime) -> None:
    """The same for loop.sock_accept."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)

    def visit() -> None:
        take_a_while()
        socket.create_connection(listener.getsockname()).close()

    async def wait() -> None:
        visitor = threading.Thread(target=visit, daemon=True)
        visitor.start()
        connection, _address = await in_time(asyncio.get_running_loop().sock_accept(listener), virtual_time)
        connection.close()
        visitor.join()

    asyncio.run(wait())
    listener.close()


@pytest.mark.parametrize("library", ["httpx", "aiohttp"])
def test_a_reply_over_http_is_waited_for(virtual_time: VirtualTime, serve: Serve, library: str) -> None:
    """The same for the clients that applications use."""
    aiohttp = pytest.importorskip("aiohttp")

    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(f"HTTP/1.0 200 OK\r\n\r\n{take_a_while()}".encode())

    url = serve(respond)

    async def with_httpx() -> str:
        async with httpx.AsyncClient() as client:
            return (await client.get(url)).text

    async def with_aiohttp() -> str:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return str(await response.text())

    ask = with_httpx if library == "httpx" else with_aiohttp
    assert asyncio.run(in_time(ask(), virtual_time)) == "done"


def test_what_a_stream_brings_later_is_waited_for(virtual_time: VirtualTime) -> None:
    """A reply that has begun to come goes on coming: its pauses are not overtaken."""
    left, right = socket.socketpair()

    def send() -> None:
        for piece in (b"1", b"2", b"3"):
            right.sendall(piece)
            take_a_while()
        right.close()

    async def read() -> list[bytes]:
        reader, writer = await asyncio.open_connection(sock=left)
        threading.Thread(target=send, daemon=True).start()
        pieces = [await in_time(reader.read(10), virtual_time) for _ in range(4)]
        writer.close()
        return pieces

    assert asyncio.run(read()) == [b"1", b"2", b"3", b""]


def test_the_pauses_of_a_stream_are_waited_for_by_any_protocol(virtual_time: VirtualTime) -> None:
    """The same for a client that keeps what comes in a future of its own."""
    left, right = socket.socketpair()

    class Client(asyncio.Protocol):
        def __init__(self) -> None:
            self.pieces: list[bytes] = []
            self.whole = asyncio.get_running_loop().create_future()

        def data_received(self, data: bytes) -> None:
            self.pieces.append(data)

        def connection_lost(self, exc: Exception | None) -> None:
            self.whole.set_result(self.pieces)

    def send() -> None:
        right.sendall(b"1")
        take_a_while()
        right.sendall(b"2")
        right.close()

    async def read() -> Any:
        _transport, client = await asyncio.get_running_loop().create_connection(Client, sock=left)
        threading.Thread(target=send, daemon=True).start()
        return await in_time(client.whole, virtual_time)

    assert asyncio.run(read()) == [b"1", b"2"]


JOBS: dict[str, Callable[[], Awaitable[str]]] = {
    "asyncio.to_thread": lambda: asyncio.to_thread(take_a_while),
    "run_in_executor": lambda: asyncio.get_running_loop().run_in_executor(None, take_a_while),
    "anyio.to_thread": lambda: anyio.to_thread.run_sync(take_a_while),
}


@pytest.mark.parametrize("name", JOBS)
def test_a_job_is_waited_for(virtual_time: VirtualTime, name: str) -> None:
    """A job in a thread takes real time and no virtual time."""

    async def wait() -> Any:
        return await in_time(JOBS[name](), virtual_time)

    assert asyncio.run(wait()) == "done"


@pytest.mark.parametrize("name", JOBS)
def test_an_idle_worker_holds_nothing(virtual_time: VirtualTime, name: str) -> None:
    """A thread that has done its job stays for the next one, and time passes meanwhile."""

    async def wait() -> bool:
        await JOBS[name]()
        return await passes_at_once(virtual_time)

    assert asyncio.run(wait())


def test_a_job_that_nobody_awaits_is_waited_for(virtual_time: VirtualTime) -> None:
    """A job that calls into the loop by itself, and whose future was not given to the loop, is waited for, too."""

    async def wait() -> bool:
        loop, called = asyncio.get_running_loop(), asyncio.Event()

        def call() -> None:
            take_a_while()
            loop.call_soon_threadsafe(called.set)

        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            pool.submit(call)
            await in_time(called.wait(), virtual_time)
            return await passes_at_once(virtual_time)

    assert asyncio.run(wait())


def test_a_job_that_was_given_up_is_waited_for(virtual_time: VirtualTime) -> None:
    """A thread goes on after its future was cancelled, and what it does then is still to come."""

    async def wait() -> bool:
        loop, called = asyncio.get_running_loop(), asyncio.Event()

        def call() -> None:
            take_a_while()
            loop.call_soon_threadsafe(called.set)

        job = asyncio.ensure_future(asyncio.to_thread(call))
        await asyncio.sleep(0)
        job.cancel()
        await in_time(called.wait(), virtual_time)
        return await passes_at_once(virtual_time)

    assert asyncio.run(wait())


def test_a_job_from_before_the_test_holds_nothing() -> None:
    """A service that occupies a worker of a pool since before the test is nobody's job."""
    started, stop = threading.Event(), threading.Event()

    def serve() -> None:
        started.set()
        while not stop.wait(0.001):
            pass

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(serve)
        started.wait()
        clock = VirtualTime()
        clock.start()
        try:
            assert asyncio.run(passes_at_once(clock))
        finally:
            stop.set()
            clock.stop()


def test_a_job_of_a_process_is_waited_for(virtual_time: VirtualTime) -> None:
    """A pool of processes is like one of threads, at work and idle."""

    async def wait() -> bool:
        loop = asyncio.get_running_loop()
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=_spawned()) as pool:
            assert await in_time(loop.run_in_executor(pool, os.getppid), virtual_time) == os.getpid()
            return await passes_at_once(virtual_time)

    assert asyncio.run(wait())


def _spawned() -> Any:
    import multiprocessing

    return multiprocessing.get_context("spawn")


def test_a_thread_of_aiosqlite_is_a_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread stays as long as the connection, so what counts is a query that is awaited."""

    class Connection:
        async def _execute(self) -> str:
            loop = asyncio.get_running_loop()
            answer: asyncio.Future[str] = loop.create_future()

            def work() -> None:
                result = take_a_while()
                loop.call_soon_threadsafe(answer.set_result, result)

            threading.Thread(target=work, daemon=True).start()
            return await answer

    module = types.ModuleType("aiosqlite.core")
    vars(module)["Connection"] = Connection
    monkeypatch.setitem(sys.modules, "aiosqlite.core", module)

    async def wait(clock: VirtualTime) -> Any:
        return await in_time(Connection()._execute(), clock)

    clock = VirtualTime()
    try:
        clock.start()
        assert asyncio.run(wait(clock)) == "done"
    finally:
        clock.stop()


async def read_pipe() -> bytes:
    """Run a child and read its output."""
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", CHILD, stdout=subprocess.PIPE)
    output, _errors = await child.communicate()
    return output.strip()


async def without_pipes() -> int:
    """Run a child that nothing is read from."""
    return await (await asyncio.create_subprocess_exec(sys.executable, "-c", CHILD, stdout=subprocess.DEVNULL)).wait()


async def in_a_shell() -> int:
    """Run a child through a shell."""
    command = f'"{sys.executable}" -c "import time; time.sleep({A_WHILE})"'
    return await (await asyncio.create_subprocess_shell(command)).wait()


async def with_anyio() -> bytes:
    """Run a child as anyio does."""
    return (await anyio.run_process([sys.executable, "-c", CHILD])).stdout.strip()


async def polled() -> int:
    """Look every now and then whether a child has ended."""
    child = subprocess.Popen([sys.executable, "-c", "pass"])  # noqa: ASYNC220 - that is the point
    while child.poll() is None:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    return child.returncode


CHILDREN: dict[Callable[[], Awaitable[Any]], Any] = {
    read_pipe: b"done",
    without_pipes: 0,
    in_a_shell: 0,
    with_anyio: b"done",
}


@pytest.mark.parametrize("run", CHILDREN)
def test_a_subprocess_is_waited_for(virtual_time: VirtualTime, run: Callable[[], Awaitable[Any]]) -> None:
    """A child takes real time and no virtual time, however it is run."""
    assert asyncio.run(in_time(run(), virtual_time)) == CHILDREN[run]


def test_a_subprocess_that_is_polled_takes_its_real_time(virtual_time: VirtualTime) -> None:
    """Sleeps between looks at a child of subprocess are real ones, so that a limit of looks holds."""
    real = real_time()
    assert asyncio.run(polled()) == 0
    assert virtual_time.now <= real_time() - real


@pytest.mark.parametrize("run", [without_pipes, polled])
def test_a_subprocess_that_has_exited_holds_nothing(
    virtual_time: VirtualTime, run: Callable[[], Awaitable[Any]]
) -> None:
    """Time passes at once again after a child."""

    async def wait() -> bool:
        await run()
        return await passes_at_once(virtual_time)

    assert asyncio.run(wait())


def test_a_subprocess_that_cannot_start_holds_nothing(virtual_time: VirtualTime) -> None:
    """A program that does not exist is the error that it is in life."""

    async def wait() -> bool:
        with pytest.raises(FileNotFoundError):
            await asyncio.create_subprocess_exec("/does/not/exist")
        return await passes_at_once(virtual_time)

    assert asyncio.run(wait())


def test_a_subprocess_of_a_closed_loop_holds_nothing() -> None:
    """A child that outlives its loop can tell it nothing any more."""
    loop = asyncio.new_event_loop()
    transport = types.SimpleNamespace(_loop=loop, get_returncode=lambda: None)
    states = [virtual_outside._runs(transport)]
    loop.close()
    states.append(virtual_outside._runs(transport))
    assert states == [True, False]


def test_a_thread_that_the_test_starts_is_waited_for(virtual_time: VirtualTime) -> None:
    """A thread that calls into the loop does so before a time-out."""

    async def wait() -> bool:
        loop, called = asyncio.get_running_loop(), asyncio.Event()

        def call() -> None:
            take_a_while()
            loop.call_soon_threadsafe(called.set)

        thread = threading.Thread(target=call)
        thread.start()
        await in_time(called.wait(), virtual_time)
        thread.join()
        return await passes_at_once(virtual_time)

    assert asyncio.run(wait())


@pytest.mark.parametrize("limit", [30, None])
def test_the_last_word_of_a_thread_is_heard(
    virtual_time: VirtualTime, monkeypatch: pytest.MonkeyPatch, limit: float | None
) -> None:
    """A thread may call into the loop, and end, after the loop looked for events and before it looks for threads."""
    outside = virtual_time._loops.outside
    hold = outside.hold

    async def wait() -> None:
        loop, called = asyncio.get_running_loop(), asyncio.Event()

        def hold_after_last_word(*args: Any, **options: Any) -> Any:
            if not called.is_set():
                thread = threading.Thread(target=loop.call_soon_threadsafe, args=(called.set,))
                thread.start()
                thread.join()
            return hold(*args, **options)

        monkeypatch.setattr(outside, "hold", hold_after_last_word)
        async with asyncio.timeout(limit):
            await called.wait()

    asyncio.run(wait())
    assert virtual_time.now == 0


def test_a_thread_that_waits_for_the_test_holds_nothing(virtual_time: VirtualTime) -> None:
    """A thread that will go on only when the test makes it go on has nothing to say before."""
    told = threading.Event()
    thread = threading.Thread(target=told.wait)
    thread.start()
    passed = asyncio.run(passes_at_once(virtual_time))
    told.set()
    thread.join()
    assert passed


def test_a_thread_that_was_just_told_to_go_on_is_waited_for(virtual_time: VirtualTime) -> None:
    """A thread goes on some time after it was told: until then it still seems to wait."""

    async def wait() -> None:
        loop, told = asyncio.get_running_loop(), threading.Event()
        answered = asyncio.Event()

        def answer() -> None:
            told.wait()
            loop.call_soon_threadsafe(answered.set)

        thread = threading.Thread(target=answer)
        thread.start()
        told.set()
        await in_time(answered.wait(), virtual_time)
        thread.join()

    asyncio.run(wait())


def test_a_daemon_holds_nothing(virtual_time: VirtualTime) -> None:
    """A daemon is a service without an end, such as one that sends telemetry, and no piece of work."""
    stop = threading.Event()

    def serve() -> None:
        while not stop.wait(0.001):
            pass

    threading.Thread(target=serve, daemon=True).start()
    passed = asyncio.run(passes_at_once(virtual_time))
    stop.set()
    assert passed


def test_an_idle_server_thread_holds_nothing(virtual_time: VirtualTime, serve: Serve) -> None:
    """A server that waits for somebody to connect has nothing to say before."""
    serve(lambda handler: None)
    assert asyncio.run(passes_at_once(virtual_time))


def test_a_server_that_accepts_in_a_thread_holds_nothing(virtual_time: VirtualTime) -> None:
    """The same for a plain socket, also where its thread is no daemon."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        listener.accept()[0].close()

    thread = threading.Thread(target=accept)
    thread.start()
    passed = asyncio.run(passes_at_once(virtual_time))
    socket.create_connection(listener.getsockname()).close()
    thread.join()
    listener.close()
    assert passed


def test_the_jobs_of_another_threads_loop_hold_nothing(virtual_time: VirtualTime) -> None:
    """What a loop in a daemon thread waits for is its own affair, be it a job, a subprocess or a thread of anyio's."""
    stop, started = threading.Event(), threading.Event()

    async def work() -> None:
        loop = asyncio.get_running_loop()
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=subprocess.PIPE)
        jobs = [asyncio.create_task(anyio.to_thread.run_sync(stop.wait))]
        loop.call_later(0.01, started.set)
        await loop.run_in_executor(None, stop.wait)
        await asyncio.gather(*jobs)
        await child.communicate(b"\n")

    thread = threading.Thread(target=lambda: asyncio.run(work()), daemon=True)
    thread.start()
    started.wait()
    passed = asyncio.run(passes_at_once(virtual_time))
    stop.set()
    thread.join()
    assert passed


def test_real_waiting_counts_once_for_each_timer(virtual_time: VirtualTime) -> None:
    """What was waited for one timer is not taken from the next: a short time-out gets all of its real time."""
    long = 6 * A_WHILE

    async def wait() -> str:
        await asyncio.wait_for(asyncio.to_thread(threading.Event().wait, long), 30)
        return await asyncio.wait_for(asyncio.to_thread(take_a_while), long)

    assert asyncio.run(wait()) == "done"


def test_a_timer_falls_due_among_many_small_events(virtual_time: VirtualTime) -> None:
    """Events that keep coming do not keep a timer from firing in its real time."""
    left, right = socket.socketpair()
    stop = threading.Event()

    def chatter() -> None:
        with contextlib.suppress(BrokenPipeError):  # once the loop has closed its end
            while not stop.wait(0.001):
                right.send(b".")

    async def wait() -> None:
        reader, writer = await asyncio.open_connection(sock=left)
        reading = asyncio.create_task(reader.readuntil(b"!"))
        await asyncio.sleep(A_WHILE)
        reading.cancel()
        writer.close()

    thread = threading.Thread(target=chatter)
    thread.start()
    asyncio.run(wait())
    stop.set()
    thread.join()
    right.close()
    assert round(virtual_time.now, 6) == A_WHILE


def test_scripted_and_real_replies_are_right_side_by_side(
    mock_providers: MockProviders, virtual_time: VirtualTime, slow_server: tuple[str, int]
) -> None:
    """A scripted reply that is overtaken by a real one still takes its latency."""
    mock_providers.on().replies("ok", latency=0.2)

    async def scripted() -> float:
        async with httpx.AsyncClient() as client:
            await client.post("https://api.openai.com/v1/chat/completions", json={"model": "m", "messages": []})
        return virtual_time.now

    async def real() -> float:
        reader, writer = await asyncio.open_connection(*slow_server)
        writer.write(b"hello")
        await asyncio.wait_for(reader.read(100), 30)
        writer.close()
        return virtual_time.now

    async def both() -> list[float]:
        return list(await asyncio.gather(real(), scripted()))

    assert asyncio.run(both()) == [0, 0.2]
