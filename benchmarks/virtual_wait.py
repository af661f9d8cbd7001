"""
What waiting costs in virtual time: `python benchmarks/virtual_wait.py`.

A day of waiting in one piece, in several forms, and in 86,400 pieces, which shows that the cost is that of the pieces.
CPU time, the median of rounds; beside it, the same pieces of no time at all in a loop of asyncio's own, without us.
"""

import asyncio
import statistics
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from pytest_modelroute.wire.virtual_time import VirtualTime

ROUNDS = 9
DAY = 86_400
real_process_time = time.process_time


async def sleep() -> None:
    """Sleep for a day."""
    await asyncio.sleep(DAY)


async def give_up() -> None:
    """Give up on something after a day."""
    try:
        await asyncio.wait_for(asyncio.Event().wait(), DAY)
    except TimeoutError:
        return


async def sleep_beside_a_server() -> None:
    """Sleep for a day while a server listens, and a client keeps a connection to it."""
    server = await asyncio.start_server(keep, "127.0.0.1", 0)
    async with server:
        _reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        await asyncio.sleep(DAY)
        writer.close()
        await writer.wait_closed()


async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Keep a connection until the client closes it."""
    await reader.read()
    writer.close()


async def sleep_in_pieces(pieces: int) -> None:
    """Sleep for a day in so many pieces."""
    for _ in range(pieces):
        await asyncio.sleep(DAY / pieces)


async def yield_as_often(pieces: int) -> None:
    """Turn as often, without a timer."""
    loop = asyncio.get_running_loop()
    for _ in range(pieces):
        turn = loop.create_future()
        loop.call_soon(turn.set_result, None)
        await turn


def day_of(main: Callable[[], Coroutine[Any, Any, None]]) -> float:
    """Milliseconds of CPU that a day of waiting costs, the clock and the loop included."""
    clock = VirtualTime()
    start = real_process_time()
    clock.start()
    try:
        asyncio.run(main())
    finally:
        clock.stop()
    milliseconds = (real_process_time() - start) * 1e3
    assert clock.now == DAY
    return milliseconds


def synchronous_day(pieces: int) -> float:
    """The same for time.sleep."""
    clock = VirtualTime()
    start = real_process_time()
    clock.start()
    try:
        for _ in range(pieces):
            time.sleep(DAY / pieces)
    finally:
        clock.stop()
    milliseconds = (real_process_time() - start) * 1e3
    assert clock.now == DAY
    return milliseconds


def microseconds_a_turn(pieces: int) -> float:
    """CPU of one turn of a loop without virtual time."""
    start = real_process_time()
    asyncio.run(yield_as_often(pieces))
    return (real_process_time() - start) / pieces * 1e6


def main() -> None:
    """Measure and print."""
    whole: dict[str, Callable[[], float]] = {
        "asyncio.sleep": lambda: day_of(sleep),
        "asyncio.wait_for that gives up": lambda: day_of(give_up),
        "asyncio.sleep beside a server and its client": lambda: day_of(sleep_beside_a_server),
        "time.sleep": lambda: synchronous_day(1),
    }
    print(f"24 hours of waiting in one piece, CPU, median of {ROUNDS}")
    for name, measure in whole.items():
        print(f"  {name:46} {statistics.median(measure() for _ in range(ROUNDS)):7.3f} ms")
    print("24 hours in pieces, CPU of each piece, median of 3")
    bare = statistics.median(microseconds_a_turn(DAY) for _ in range(3))
    for pieces in (864, 8_640, 86_400):
        each = statistics.median(day_of(partial(sleep_in_pieces, pieces)) for _ in range(3)) / pieces * 1e3
        print(f"  asyncio.sleep, {pieces:6,} pieces {each:23.2f} us ({each / bare:.1f} x a turn without a timer)")
    print(f"  time.sleep,    86,400 pieces {synchronous_day(DAY) / DAY * 1e3:23.2f} us")


if __name__ == "__main__":
    main()
