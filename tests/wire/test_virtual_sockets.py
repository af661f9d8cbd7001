"""Sockets on which nothing is under way hold no virtual time; servers in a thread move it, and say when they rest."""

from __future__ import annotations

import array
import asyncio
import fcntl
import socket
import termios
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import pytest

from pytest_modelroute import VirtualTime
from pytest_modelroute.errors import VirtualTimeError
from pytest_modelroute.wire.virtual_sockets import Sockets
from tests.wire.beside_the_loop import A_WHILE, passes_at_once, real_time, serving

Serve = Callable[[Callable[[BaseHTTPRequestHandler], None]], str]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer everything after five seconds."""
    with closing(writer):
        while data := await reader.read(100):
            await asyncio.sleep(5)
            writer.write(data)


@pytest.fixture
def echo_in_thread() -> Iterator[tuple[str, int]]:
    """A server in a plain thread that answers everything at once, and keeps its connections."""
    with serving(lambda data: data) as address:
        yield address


def test_a_server_that_nobody_can_call_holds_nothing(virtual_time: VirtualTime) -> None:
    """A listening socket of the loop is no operation while nobody is there to connect."""

    async def wait() -> bool:
        async with await asyncio.start_server(echo, "127.0.0.1", 0):
            return await passes_at_once(virtual_time)

    assert asyncio.run(wait())


def test_a_server_waits_for_a_client_in_a_thread(virtual_time: VirtualTime) -> None:
    """A thread that is about to connect is waited for, also where it is a daemon."""
    visited: list[float] = []

    async def meet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visited.append(virtual_time.now)
        writer.close()

    async def wait() -> None:
        server = await asyncio.start_server(meet, "127.0.0.1", 0)
        server_address = server.sockets[0].getsockname()

        def visit() -> None:
            threading.Event().wait(A_WHILE)
            with socket.create_connection(server_address) as client:
                client.sendall(b"x")

        async with server:
            threading.Thread(target=visit, daemon=True).start()
            await asyncio.sleep(30)

    asyncio.run(wait())
    assert visited == [0]


def test_a_conversation_inside_of_the_loop_is_virtual(virtual_time: VirtualTime) -> None:
    """A client and a server in one loop are exact to the second, however long each takes."""

    async def talk() -> float:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            for _ in range(10):
                writer.write(b"x")
                assert await asyncio.wait_for(reader.read(10), 30) == b"x"
                await asyncio.sleep(3600)
            writer.close()
            await writer.wait_closed()
        return virtual_time.now

    assert asyncio.run(talk()) == 10 * 3605


def test_a_reply_that_comes_too_late_inside_of_the_loop_times_out(virtual_time: VirtualTime) -> None:
    """A time-out is as exact as the server that it waits for."""

    async def talk() -> float:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"x")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(10), 4)
            passed = virtual_time.now
            writer.close()
            await writer.wait_closed()
        return passed

    assert asyncio.run(talk()) == 4


def test_a_full_connection_inside_of_the_loop_holds_nothing(virtual_time: VirtualTime) -> None:
    """A writer that waits for a reader who sleeps waits for virtual time alone."""
    done = asyncio.Event()

    async def read_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(60)
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        while await reader.read(1 << 20):
            pass
        writer.close()
        done.set()

    async def talk() -> float:
        server = await asyncio.start_server(read_late, "127.0.0.1", 0)
        async with server:
            _reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(bytes(20 << 20))
            await writer.drain()
            writer.close()
            await done.wait()
        return virtual_time.now

    assert asyncio.run(talk()) == 60


def test_what_was_sent_to_a_paused_reader_is_looked_for_once(virtual_time: VirtualTime) -> None:
    """What one end sends and the other one does not read holds the clock for a moment only."""

    async def pause(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"unread")
        await asyncio.sleep(60)
        writer.close()

    async def talk() -> float:
        server = await asyncio.start_server(pause, "127.0.0.1", 0)
        async with server:
            _reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(b"x")
            await asyncio.sleep(3600)
            writer.close()
            await writer.wait_closed()
        return virtual_time.now

    assert asyncio.run(talk()) == 3600


def test_an_application_server_in_the_loop_is_virtual(virtual_time: VirtualTime) -> None:
    """A client and a server of aiohttp in one loop, with their keep-alive connection, take virtual time alone."""
    aiohttp, web = pytest.importorskip("aiohttp"), pytest.importorskip("aiohttp.web")

    async def answer(_request: Any) -> Any:
        await asyncio.sleep(7)
        return web.Response(text="ok")

    async def talk() -> float:
        application = web.Application()
        application.router.add_get("/", answer)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession() as client:
            for _ in range(3):
                async with client.get(f"http://127.0.0.1:{runner.addresses[0][1]}/") as response:
                    await response.text()
                await asyncio.sleep(3)
            passed = virtual_time.now
        await runner.cleanup()
        return passed

    assert asyncio.run(talk()) == 30


def test_a_stream_that_nobody_reads_holds_nothing(virtual_time: VirtualTime, echo_in_thread: tuple[str, int]) -> None:
    """A connection to another thread that has answered, and from which nobody reads, is idle."""

    async def talk() -> bool:
        reader, writer = await asyncio.open_connection(*echo_in_thread)
        writer.write(b"x")
        await reader.read(10)
        passed = await passes_at_once(virtual_time)
        writer.close()
        await writer.wait_closed()
        return passed

    assert asyncio.run(talk())


@pytest.mark.parametrize("library", ["httpx", "aiohttp"])
def test_a_kept_connection_holds_nothing(virtual_time: VirtualTime, serve: Serve, library: str) -> None:
    """A client's idle connection to another thread does not make the sleeps between requests real."""
    aiohttp = pytest.importorskip("aiohttp")

    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.close_connection = False
        handler.send_response(200)
        handler.send_header("content-length", "2")
        handler.end_headers()
        handler.wfile.write(b"ok")

    url = serve(respond)

    async def with_httpx() -> list[bool]:
        async with httpx.AsyncClient() as client:
            return [(await client.get(url)).text == "ok" and await passes_at_once(virtual_time) for _ in range(2)]

    async def with_aiohttp() -> list[bool]:
        passed = []
        async with aiohttp.ClientSession() as client:
            for _ in range(2):
                async with client.get(url) as response:
                    assert await response.text() == "ok"
                passed.append(await passes_at_once(virtual_time))
        return passed

    assert asyncio.run(with_httpx() if library == "httpx" else with_aiohttp()) == [True, True]


def test_a_connection_from_before_is_idle(echo_in_thread: tuple[str, int]) -> None:
    """A connection that a loop had open before the clock started was asked for nothing."""
    loop = asyncio.new_event_loop()
    _reader, writer = loop.run_until_complete(asyncio.open_connection(*echo_in_thread))
    clock = VirtualTime()
    clock.start()
    try:
        passed = loop.run_until_complete(passes_at_once(clock))
    finally:
        clock.stop()
    writer.close()
    loop.run_until_complete(writer.wait_closed())
    loop.close()
    assert passed


class Silent(asyncio.Protocol):
    """Keeps what it is told."""

    def __init__(self) -> None:
        """Nothing was told yet."""
        self.told = b""

    def data_received(self, data: bytes) -> None:
        """Keep it."""
        self.told += data


def test_what_was_asked_for_is_waited_for_although_nobody_reads(
    virtual_time: VirtualTime, echo_in_thread: tuple[str, int]
) -> None:
    """A sleep that is meant to give a reply the time to come does so."""

    async def ask() -> bytes:
        transport, protocol = await asyncio.get_running_loop().create_connection(Silent, *echo_in_thread)
        transport.write(b"hello")
        await asyncio.sleep(30)
        transport.close()
        return protocol.told

    assert asyncio.run(ask()) == b"hello"


def test_a_task_that_waits_for_something_unknown_holds_an_answered_connection(
    virtual_time: VirtualTime, echo_in_thread: tuple[str, int]
) -> None:
    """What a protocol will do with what comes next is not known, so it is waited for while a task may wait for it."""

    async def ask() -> tuple[bool, float]:
        transport, protocol = await asyncio.get_running_loop().create_connection(Silent, *echo_in_thread)
        transport.write(b"hello")
        while not protocol.told:  # noqa: ASYNC110
            await asyncio.sleep(0)
        waiting = asyncio.create_task(asyncio.Event().wait())
        real = real_time()
        await asyncio.sleep(A_WHILE)
        held = real_time() - real >= A_WHILE * 0.9
        waiting.cancel()
        before = virtual_time.now
        await asyncio.gather(asyncio.sleep(2), asyncio.wait([asyncio.create_task(asyncio.sleep(1))]))
        transport.close()
        return held, virtual_time.now - before

    held, passed = asyncio.run(ask())
    assert held
    assert passed == pytest.approx(2)


def test_a_plain_reader_is_an_operation(virtual_time: VirtualTime) -> None:
    """What was registered by add_reader is waited for in real time."""
    left, right = socket.socketpair()

    async def wait() -> bool:
        asyncio.get_running_loop().add_reader(left, left.recv, 10)
        real = real_time()
        await asyncio.sleep(A_WHILE)
        asyncio.get_running_loop().remove_reader(left)
        return real_time() - real >= A_WHILE * 0.9

    held = asyncio.run(wait())
    left.close()
    right.close()
    assert held


def test_an_encrypted_connection_is_seen_through(virtual_time: VirtualTime) -> None:
    """Behind TLS, too, it counts whether somebody reads from the stream."""

    async def look() -> list[bool]:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        behind = types.SimpleNamespace(_app_protocol=asyncio.StreamReaderProtocol(reader))
        transport = mock.Mock(**{"get_write_buffer_size.return_value": 0, "get_protocol.return_value": behind})
        sockets = Sockets()
        sockets._heard.add(transport)
        awaited = [sockets._is_awaited(loop, transport, timer=True)]
        reading = asyncio.create_task(reader.read())
        await asyncio.sleep(0)
        awaited.append(sockets._is_awaited(loop, transport, timer=True))
        reading.cancel()
        return awaited

    assert asyncio.run(look()) == [False, True]


class Server:
    """A server on a loop in a thread of its own that keeps books of what it owes: as a loopback server would."""

    def __init__(self) -> None:
        """Start."""
        self.clock: VirtualTime | None = None
        self.answers = True
        self.address: Any = None
        self._connections: dict[Any, Conversation] = {}
        self._started = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self.thread.start()
        self._started.wait()

    def is_idle(self, local: Any, peer: Any) -> bool:
        """Whether nothing will come on a connection to this server."""
        conversation = self._connections.get(local)
        return peer == self.address and conversation is not None and conversation.is_idle()

    def stop(self) -> None:
        """Stop."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self.thread.join()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await self._loop.create_server(lambda: Conversation(self), "127.0.0.1", 0)
        self.address = server.sockets[0].getsockname()
        self._started.set()
        async with server:
            await self._stop.wait()


class Conversation(asyncio.Protocol):
    """One connection of it; a message is answered after a while of real time, or never."""

    def __init__(self, server: Server) -> None:
        """Nothing was asked yet."""
        self._server = server
        self._owed = 0

    def connection_made(self, transport: Any) -> None:
        """Begin to keep books."""
        self._transport = transport
        self._server._connections[transport.get_extra_info("peername")] = self

    def data_received(self, data: bytes) -> None:
        """Answer."""
        if self._server.answers:
            self._owed += 1
            self._server._loop.call_later(A_WHILE, self._answer, data)

    def is_idle(self) -> bool:
        """Whether nothing is unread, and nothing unanswered."""
        unread = array.array("i", [0])
        fcntl.ioctl(self._transport.get_extra_info("socket").fileno(), termios.FIONREAD, unread)
        return not unread[0] and not self._owed

    def _answer(self, data: bytes) -> None:
        if self._server.clock is not None:
            self._server.clock.reach(self._server.clock.now + 2)
        self._transport.write(data)
        self._owed -= 1


@pytest.fixture
def server() -> Iterator[Server]:
    """A server in a thread."""
    server = Server()
    yield server
    server.stop()


async def ask(server: Server, limit: float = 30) -> bytes:
    """Send a message to a server, and wait for its answer."""
    reader, writer = await asyncio.open_connection(*server.address)
    try:
        writer.write(b"x")
        return await asyncio.wait_for(reader.read(10), limit)
    finally:
        writer.close()
        await writer.wait_closed()


def test_a_server_says_that_it_is_idle(virtual_time: VirtualTime, server: Server) -> None:
    """A connection on which a task waits for the next word of a server that has none holds nothing."""
    virtual_time.idle_peer(server.is_idle, thread=server.thread)

    async def talk() -> bool:
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(b"x")
        assert await asyncio.wait_for(reader.read(10), 30) == b"x"
        waiting = asyncio.create_task(reader.read(10))
        passed = await passes_at_once(virtual_time)
        waiting.cancel()
        writer.close()
        await writer.wait_closed()
        return passed

    assert asyncio.run(talk())


def test_a_server_that_owes_an_answer_is_waited_for(virtual_time: VirtualTime, server: Server) -> None:
    """The same server holds the clock, again and again, while it has something to do."""
    virtual_time.idle_peer(server.is_idle, thread=server.thread)

    async def talk() -> list[bytes]:
        return [await ask(server) for _ in range(5)]

    assert (asyncio.run(talk()), virtual_time.now) == ([b"x"] * 5, 0)


def test_an_answer_that_never_comes_times_out_at_once(virtual_time: VirtualTime, server: Server) -> None:
    """A server that will not answer says so, and the client's time-out passes in virtual time."""
    virtual_time.idle_peer(server.is_idle, thread=server.thread)
    server.answers = False
    real = real_time()
    with pytest.raises(TimeoutError):
        asyncio.run(ask(server, limit=10))
    assert (real_time() - real < 5, virtual_time.now) == (True, 10)


def test_a_server_that_does_not_say_is_waited_for(virtual_time: VirtualTime, server: Server) -> None:
    """Without a word from it, the same server is waited for in real time."""
    server.answers = False
    real = real_time()
    with pytest.raises(TimeoutError):
        asyncio.run(ask(server, limit=2 * A_WHILE))
    assert real_time() - real >= 2 * A_WHILE * 0.9


def test_a_server_in_a_process_may_speak_for_itself(virtual_time: VirtualTime, echo_in_thread: tuple[str, int]) -> None:
    """A peer without a thread is asked at any time."""
    virtual_time.idle_peer(lambda _local, peer: bool(peer == echo_in_thread))

    async def talk() -> float:
        _reader, writer = await asyncio.open_connection(*echo_in_thread)
        await passes_at_once(virtual_time)
        writer.close()
        await writer.wait_closed()
        return virtual_time.now

    assert asyncio.run(talk()) == 10


def test_a_server_of_another_thread_moves_the_clock(virtual_time: VirtualTime, server: Server) -> None:
    """A reply that takes two seconds on the server's word takes two seconds of virtual time."""
    virtual_time.idle_peer(server.is_idle, thread=server.thread)
    server.clock = virtual_time
    assert (asyncio.run(ask(server)), virtual_time.now) == (b"x", 2)


def in_a_while(action: Callable[[], object]) -> None:
    """Do something in another thread, after a while of real time."""

    def act() -> None:
        threading.Event().wait(A_WHILE)
        action()

    threading.Thread(target=act, daemon=True).start()


def test_a_timer_fires_as_soon_as_the_clock_has_reached_it(virtual_time: VirtualTime) -> None:
    """A loop that waits for real hears of it at once when the clock is moved."""
    left, right = socket.socketpair()

    async def wait() -> float:
        asyncio.get_running_loop().add_reader(left, left.recv, 10)
        real = real_time()
        in_a_while(lambda: virtual_time.reach(5))
        await asyncio.sleep(5)
        asyncio.get_running_loop().remove_reader(left)
        return real_time() - real

    took = asyncio.run(wait())
    left.close()
    right.close()
    assert (took < 2, virtual_time.now) == (True, 5)


def test_what_was_waited_for_real_is_not_counted_again(virtual_time: VirtualTime) -> None:
    """A clock that was moved has overtaken the real waiting so far; only the rest is waited for."""
    left, right = socket.socketpair()
    whole = 4 * A_WHILE

    async def wait() -> float:
        asyncio.get_running_loop().add_reader(left, left.recv, 10)
        real = real_time()
        in_a_while(lambda: virtual_time.reach(2 * A_WHILE))
        await asyncio.sleep(whole)
        asyncio.get_running_loop().remove_reader(left)
        return real_time() - real

    took = asyncio.run(wait())
    left.close()
    right.close()
    # One while until the clock was moved by two, and then the two that were left.
    assert took >= 2.9 * A_WHILE
    assert virtual_time.now == pytest.approx(whole)


def test_the_clock_reaches_a_moment(virtual_time: VirtualTime) -> None:
    """The clock moves on to the moment."""
    virtual_time.reach(90)
    assert virtual_time.now == 90


def test_the_clock_does_not_go_back_to_a_moment(virtual_time: VirtualTime) -> None:
    """A moment that has passed changes nothing."""
    virtual_time.advance(100)
    virtual_time.reach(90)
    assert virtual_time.now == 100


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_an_impossible_moment_is_refused(virtual_time: VirtualTime, seconds: float) -> None:
    """A moment before the test, or none at all, is a clear error."""
    with pytest.raises(VirtualTimeError, match=r"virtual_time\.reach\(.*\): time moves forward by a finite number"):
        virtual_time.reach(seconds)


def test_threads_that_move_the_clock_together_lose_nothing(virtual_time: VirtualTime) -> None:
    """Sleeps of many threads at once add up."""

    def sleep() -> None:
        for _ in range(1000):
            virtual_time.sleep(0.001)

    threads = [threading.Thread(target=sleep) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert virtual_time.now == 4


def test_every_thread_sees_the_wall_clock(virtual_time: VirtualTime) -> None:
    """The moment that was set, and what has passed since, is the same in another thread."""
    moment = datetime(2031, 5, 6, tzinfo=UTC)
    virtual_time.set(moment)
    virtual_time.advance(60)
    seen: list[float] = []
    thread = threading.Thread(target=lambda: seen.append(virtual_time.wall_now()))
    thread.start()
    thread.join()
    assert seen == [moment.timestamp() + 60]


def test_a_unix_socket_is_waited_for_on_its_word(virtual_time: VirtualTime, tmp_path: Path) -> None:
    """The unnamed ends of Unix sockets cannot be told apart, so a reader there waits in real time, and is right."""

    async def quick(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(10))
        writer.close()

    async def talk() -> bytes:
        async with await asyncio.start_unix_server(quick, tmp_path / "s"):
            reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
            writer.write(b"x")
            reply = await asyncio.wait_for(reader.read(10), 30)
            writer.close()
            await writer.wait_closed()
            return reply

    assert (asyncio.run(talk()), virtual_time.now) == (b"x", 0)
