"""What tests of virtual time measure by, and what goes on beside the loop in them."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pytest_modelroute import VirtualTime
from pytest_modelroute.wire import virtual_time as virtual_time_module

A_WHILE = 0.05
"Seconds of real time that something outside takes: far more than a jump, which takes none."


def real_time() -> float:
    """The clock on the wall."""
    return float(virtual_time_module._REAL["monotonic"]())


async def passes_at_once(clock: VirtualTime) -> bool:
    """Whether a sleep takes virtual time and no real time."""
    before, real = clock.now, real_time()
    await asyncio.sleep(10)
    assert clock.now == before + 10
    return real_time() - real < 5


@contextmanager
def serving(reply: Callable[[bytes], bytes]) -> Iterator[tuple[str, int]]:
    """Serve in plain threads, one a connection, which is kept; gives the address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(1000):
                connection.sendall(reply(data))

    def serve() -> None:
        while True:
            try:
                connection, _address = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
