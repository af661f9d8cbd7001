"""Virtual time in an event loop: timers, timeouts, concurrency, and the waits that stay real."""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import anyio
import anyio.to_thread
import httpx
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_modelroute import MockProviders, VirtualTime
from pytest_modelroute.errors import VirtualTimeError
from pytest_modelroute.faults import rate_limit
from pytest_modelroute.wire import virtual_time as virtual_time_module
from pytest_modelroute.wire.virtual_loop import VirtualSelector

URL = "https://api.openai.com/v1/chat/completions"
BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
Serve = Callable[[Callable[[BaseHTTPRequestHandler], None]], str]


@contextmanager
def started() -> Iterator[VirtualTime]:
    """Run a clock of one's own."""
    clock = VirtualTime()
    try:
        clock.start()
        yield clock
    finally:
        clock.stop()


async def post(prompt: str = "hi") -> httpx.Response:
    """Ask a model."""
    body = {"model": "m", "messages": [{"role": "user", "content": prompt}]}
    async with httpx.AsyncClient(timeout=None) as client:  # noqa: S113 - time is virtual
        return await client.post(URL, json=body)


@settings(deadline=None)
@given(st.lists(st.integers(0, 10_000_000), max_size=15))
def test_sleeps_one_after_another_add_up_exactly(milliseconds: list[int]) -> None:
    """Any row of sleeps in a loop sums to the millisecond, without a rounding error."""

    async def sleep() -> None:
        for each in milliseconds:
            await asyncio.sleep(each / 1000)

    with started() as clock:
        asyncio.run(sleep())
        assert clock.now == sum(milliseconds) / 1000


@settings(deadline=None)
@given(st.lists(st.integers(0, 1_000_000), min_size=1, max_size=15, unique=True))
def test_concurrent_sleeps_end_in_the_order_of_their_length(milliseconds: list[int]) -> None:
    """Any set of sleeps that begin together ends shortest first, each at its time."""
    ended: list[float] = []

    async def sleep(each: int, clock: VirtualTime) -> None:
        await asyncio.sleep(each / 1000)
        ended.append(clock.now)

    async def together(clock: VirtualTime) -> None:
        await asyncio.gather(*(sleep(each, clock) for each in milliseconds))

    with started() as clock:
        asyncio.run(together(clock))
    assert ended == [each / 1000 for each in sorted(milliseconds)]


@settings(deadline=None)
@given(st.lists(st.integers(0, 1_000_000), min_size=1, max_size=15))
def test_concurrent_sleeps_take_the_longest_of_them(milliseconds: list[int]) -> None:
    """Any sleeps that begin together take as long as the longest."""

    async def together() -> None:
        await asyncio.gather(*(asyncio.sleep(each / 1000) for each in milliseconds))

    with started() as clock:
        asyncio.run(together())
        assert clock.now == max(milliseconds) / 1000


@pytest.mark.parametrize("days", [1, 60, 100, 195, 400, 4000])
def test_sleeps_are_exact_on_a_machine_that_is_long_up(monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    """Sums are exact whatever the uptime of the machine, of which floats hold no nanoseconds after some 50 days."""
    monkeypatch.setattr(virtual_time_module, "real_monotonic_ns", lambda: days * 86_400 * 10**9 + 123_456_789)

    async def sleep() -> None:
        for _ in range(100):
            await asyncio.sleep(0.001)

    with started() as clock:
        asyncio.run(sleep())
        assert clock.now == 0.1


def test_days_pass_at_once(virtual_time: VirtualTime) -> None:
    """A sleep beyond the longest wait of a selector ends on time."""
    asyncio.run(asyncio.sleep(3 * 86_400))
    assert virtual_time.now == 3 * 86_400


def test_a_cancelled_sleep_takes_the_time_until_then(virtual_time: VirtualTime) -> None:
    """What is cancelled after five seconds has taken five seconds, and its timer is gone."""

    async def cancel() -> float:
        sleep = asyncio.create_task(asyncio.sleep(3600))
        await asyncio.sleep(5)
        sleep.cancel()
        await asyncio.wait([sleep])
        await asyncio.sleep(1)
        return virtual_time.now

    assert asyncio.run(cancel()) == 6


def test_a_callback_at_a_moment_is_called_then(virtual_time: VirtualTime) -> None:
    """loop.call_at and call_later fire at their time and in their order, and not at all once they are cancelled."""
    fired: list[tuple[str, float]] = []

    async def wait() -> None:
        loop = asyncio.get_running_loop()
        loop.call_at(loop.time() + 3, lambda: fired.append(("at", virtual_time.now)))
        loop.call_later(2, lambda: fired.append(("later", virtual_time.now)))
        loop.call_later(1, lambda: fired.append(("never", virtual_time.now))).cancel()
        await asyncio.sleep(4)

    asyncio.run(wait())
    assert fired == [("later", 2), ("at", 3)]


def test_a_timeout_may_be_moved(virtual_time: VirtualTime) -> None:
    """asyncio.timeout keeps to the moment that it was moved to."""

    async def wait() -> None:
        async with asyncio.timeout(5) as limit:
            await asyncio.sleep(4)
            limit.reschedule(asyncio.get_running_loop().time() + 10)
            await asyncio.sleep(100)

    with pytest.raises(TimeoutError):
        asyncio.run(wait())
    assert virtual_time.now == 14


def test_a_loop_reads_virtual_time(virtual_time: VirtualTime) -> None:
    """loop.time() moves with the sleeps of synchronous code."""

    async def measure() -> float:
        loop = asyncio.get_running_loop()
        before = loop.time()
        time.sleep(4)  # noqa: ASYNC251 - that is the point
        return loop.time() - before

    assert asyncio.run(measure()) == pytest.approx(4)


def test_advancing_makes_timers_due(virtual_time: VirtualTime) -> None:
    """A timer that falls due by advancing fires before later ones, without further time."""

    async def wait() -> list[float]:
        fired: list[float] = []
        asyncio.get_running_loop().call_later(10, lambda: fired.append(virtual_time.now))
        virtual_time.advance(10)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return fired

    assert asyncio.run(wait()) == [10]


def test_loops_one_after_another_share_the_clock(virtual_time: VirtualTime) -> None:
    """Each asyncio.run of a test goes on where the last one ended."""
    for _ in range(3):
        asyncio.run(asyncio.sleep(1))
    assert virtual_time.now == 3


def test_two_loops_take_turns(virtual_time: VirtualTime) -> None:
    """A loop that was left and is run again, with another one run in between, keeps time."""
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    for loop in (first, second, first):
        loop.run_until_complete(asyncio.sleep(2))
    first.close()
    second.close()
    assert virtual_time.now == 6


def test_a_loop_made_before_keeps_virtual_time() -> None:
    """A loop that was there before the clock started follows it."""
    loop = asyncio.new_event_loop()
    with started() as clock:
        loop.run_until_complete(asyncio.sleep(5))
        passed = clock.now
    loop.close()
    assert passed == 5


def test_a_loop_gets_its_selector_back() -> None:
    """A loop that outlives the test has its own selector again."""
    loop = asyncio.new_event_loop()
    with started():
        loop.run_until_complete(asyncio.sleep(5))
    selector = getattr(loop, "_selector")  # noqa: B009 - private, and not in the type
    loop.close()
    assert not isinstance(selector, VirtualSelector)


def test_loops_are_given_back_after_an_exception() -> None:
    """The methods of loops are their own again when the clock stops, also where the test raised."""
    before = (asyncio.BaseEventLoop._run_once, asyncio.BaseEventLoop.run_in_executor)  # type: ignore[attr-defined]
    with pytest.raises(OSError, match="broken"), started():
        raise OSError("broken")
    assert (asyncio.BaseEventLoop._run_once, asyncio.BaseEventLoop.run_in_executor) == before  # type: ignore[attr-defined]


@pytest.mark.asyncio
async def test_a_loop_of_a_test_plugin_follows_the_clock(
    mock_providers: MockProviders, virtual_time: VirtualTime
) -> None:
    """Under pytest-asyncio, latencies and sleeps pass in virtual time."""
    mock_providers.on().replies("ok", latency=1)
    await post()
    await asyncio.sleep(2)
    assert virtual_time.now == 3


def test_concurrent_calls_overlap(mock_providers: MockProviders, virtual_time: VirtualTime) -> None:
    """Three calls of a second each, sent together, take one second."""
    mock_providers.on().replies("ok", latency=1)

    async def together() -> None:
        await asyncio.gather(post(), post(), post())

    asyncio.run(together())
    assert virtual_time.now == 1


def test_the_fastest_call_is_first(mock_providers: MockProviders) -> None:
    """Calls sent together come back in the order of their latencies."""
    mock_providers.on().replies(lambda call: call.prompt, latency=lambda call: float(call.prompt))

    async def race() -> list[str]:
        done = [await each for each in asyncio.as_completed([post(seconds) for seconds in ("3", "1", "2")])]
        return [str(response.json()["choices"][0]["message"]["content"]) for response in done]

    assert asyncio.run(race()) == ["1", "2", "3"]


def test_wait_for_ends_a_slow_call(mock_providers: MockProviders, virtual_time: VirtualTime) -> None:
    """asyncio.wait_for gives up on a scripted latency after exactly its timeout."""
    mock_providers.on().replies("late", latency=10)

    async def impatient() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(post(), 1.5)

    asyncio.run(impatient())
    assert virtual_time.now == 1.5


def test_wait_for_lets_a_fast_call_end(mock_providers: MockProviders, virtual_time: VirtualTime) -> None:
    """asyncio.wait_for around a call that is in time costs its latency only."""
    mock_providers.on().replies("ok", latency=1)

    async def patient() -> int:
        return (await asyncio.wait_for(post(), 30)).status_code

    assert (asyncio.run(patient()), virtual_time.now) == (200, 1)


def test_a_timeout_block_ends_a_slow_call(mock_providers: MockProviders, virtual_time: VirtualTime) -> None:
    """asyncio.timeout gives up on a scripted latency after exactly its time."""
    mock_providers.on().replies("late", latency=10)

    async def impatient() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2.25):
                await post()

    asyncio.run(impatient())
    assert virtual_time.now == 2.25


def test_a_call_that_is_given_up_is_logged_as_cancelled(mock_providers: MockProviders) -> None:
    """The log says that nobody waited for the reply, and for how long somebody did."""
    mock_providers.on().replies("late", latency=10)

    async def impatient() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(post(), 1.5)

    asyncio.run(impatient())
    call = mock_providers.calls[0]
    assert (call.error, call.latency_s, call.status, call.completed) == ("cancelled", 1.5, None, False)


def test_a_call_given_up_before_its_fault_shows_is_cancelled(mock_providers: MockProviders) -> None:
    """A fault that the client did not wait for is not what ended the call."""
    mock_providers.on().fails(rate_limit(), latency=10)

    async def impatient() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(post(), 1)

    asyncio.run(impatient())
    assert mock_providers.calls[0].error == "cancelled"


def test_a_hedge_cancels_the_slower_call(mock_providers: MockProviders) -> None:
    """Of two calls, the loser is logged as cancelled at the moment when the winner came."""
    mock_providers.on().replies("ok", latency=lambda call: float(call.prompt))

    async def hedge() -> None:
        tasks = [asyncio.create_task(post(seconds)) for seconds in ("5", "1")]
        _, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    asyncio.run(hedge())
    assert [(call.error, call.latency_s) for call in mock_providers.calls] == [("cancelled", 1), (None, 1)]


def test_openai_calls_back_off_side_by_side(mock_providers: MockProviders, virtual_time: VirtualTime) -> None:
    """Two clients that are told to wait 3 seconds wait them together."""
    mock_providers.on().fails(rate_limit(retry_after=3), times=2).then.replies("ok")

    async def together() -> None:
        async with openai.AsyncOpenAI(api_key="key", max_retries=1) as client:
            await asyncio.gather(
                *(
                    client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
                    for _ in range(2)
                )
            )

    asyncio.run(together())
    assert virtual_time.now == 3


def talk(loop: asyncio.AbstractEventLoop) -> str:
    """A job for a thread that keeps its loop waiting many times."""
    for _ in range(100):
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(20)
    return "done"


def test_a_thread_job_takes_no_virtual_time(virtual_time: VirtualTime) -> None:
    """A job of asyncio.to_thread is waited for as it is, also inside a timeout, and the clock stays."""

    async def wait() -> str:
        return await asyncio.wait_for(asyncio.to_thread(talk, asyncio.get_running_loop()), 30)

    assert (asyncio.run(wait()), virtual_time.now) == ("done", 0)


def test_an_executor_job_takes_no_virtual_time(virtual_time: VirtualTime) -> None:
    """The same for a job of run_in_executor in a pool of one's own."""

    async def wait() -> str:
        loop = asyncio.get_running_loop()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            return await asyncio.wait_for(loop.run_in_executor(pool, talk, loop), 30)

    assert (asyncio.run(wait()), virtual_time.now) == ("done", 0)


def test_a_wrapped_job_takes_no_virtual_time(virtual_time: VirtualTime) -> None:
    """The same for a job that was given to a pool directly and is awaited by asyncio.wrap_future."""

    async def wait() -> str:
        loop = asyncio.get_running_loop()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            try:
                return await asyncio.wait_for(asyncio.wrap_future(pool.submit(talk, loop)), 30)
            finally:
                await asyncio.wrap_future(pool.submit(int))  # the job before it has ended, too

    assert (asyncio.run(wait()), virtual_time.now) == ("done", 0)


def test_a_job_of_anyio_takes_no_virtual_time(virtual_time: VirtualTime) -> None:
    """The same for a job of anyio.to_thread, which has threads of its own."""

    async def wait() -> str:
        with anyio.fail_after(30):
            return await anyio.to_thread.run_sync(talk, asyncio.get_running_loop())

    assert (asyncio.run(wait()), virtual_time.now) == ("done", 0)


def test_a_timer_fires_while_a_thread_works(virtual_time: VirtualTime) -> None:
    """A timer that a job waits for fires: the loop does not stand still while something is outstanding."""
    released = threading.Event()

    async def wait() -> bool:
        asyncio.get_running_loop().call_later(0.002, released.set)
        return await asyncio.to_thread(released.wait, 20)

    assert (asyncio.run(wait()), round(virtual_time.now, 7)) == (True, 0.002)


def test_time_jumps_again_when_the_thread_is_done(virtual_time: VirtualTime) -> None:
    """A job that is over no longer holds the clock."""

    async def wait() -> None:
        await asyncio.to_thread(int)
        await asyncio.sleep(3600)

    asyncio.run(wait())
    assert virtual_time.now == 3600


def test_a_scripted_call_in_a_thread_takes_time(
    ask: Callable[..., httpx.Response], mock_providers: MockProviders, virtual_time: VirtualTime
) -> None:
    """A synchronous client in asyncio.to_thread adds its latency to the test's clock."""
    mock_providers.on().replies("ok", latency=2)

    async def wait() -> int:
        return (await asyncio.to_thread(ask)).status_code

    assert (asyncio.run(wait()), virtual_time.now) == (200, 2)


def test_a_loop_in_a_foreign_thread_adds_its_latencies(
    mock_providers: MockProviders, virtual_time: VirtualTime
) -> None:
    """A loop that another thread runs has real time, and its scripted latencies pass on the test's clock."""
    mock_providers.on().replies("ok", latency=2)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        status = pool.submit(lambda: asyncio.run(post()).status_code).result()
    assert (status, virtual_time.now) == (200, 2)


def test_a_real_exchange_does_not_jump(virtual_time: VirtualTime, serve: Serve) -> None:
    """A socket that is waited for inside a timeout is waited for in real time, and the clock stays."""

    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\nhello")

    port = int(serve(respond).rpartition(":")[2])

    async def exchange() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer

    async def wait() -> bytes:
        return await asyncio.wait_for(exchange(), 30)

    assert (asyncio.run(wait())[-5:], virtual_time.now) == (b"hello", 0)


def test_a_socket_may_be_watched_both_ways(virtual_time: VirtualTime) -> None:
    """Readers and writers on one socket are told as without virtual time."""
    left, right = socket.socketpair()

    async def watch() -> list[str]:
        loop, told = asyncio.get_running_loop(), list[str]()
        both = asyncio.Event()

        def tell(word: str) -> None:
            told.append(word)
            (loop.remove_reader if word == "read" else loop.remove_writer)(left)
            if len(told) == 2:
                both.set()

        loop.add_reader(left, tell, "read")
        loop.add_writer(left, tell, "write")
        right.send(b"x")
        await both.wait()
        return sorted(told)

    told = asyncio.run(watch())
    left.close()
    right.close()
    assert told == ["read", "write"]


TRIO = """
trio = pytest.importorskip("trio")

async def post():
    body = {"model": "m", "messages": []}
    async with httpx.AsyncClient() as client:
        return await client.post("https://api.openai.com/v1/chat/completions", json=body)

def test_it(mock_providers):
    mock_providers.on().replies("ok", latency=LATENCY)
    assert trio.run(post).status_code == 200
"""


def test_a_latency_under_trio_is_a_clear_error(run: Callable[..., pytest.RunResult]) -> None:
    """A loop whose clock is out of reach is named, with a way out."""
    pytest.importorskip("trio")
    result = run(TRIO.replace("LATENCY", "1"))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*a scripted latency cannot pass in virtual time here: the running event loop is not one of asyncio's own*",
            "*Run this test on asyncio's default loop, or script its replies without a latency.",
        ]
    )


def test_a_reply_without_latency_works_under_trio(run: Callable[..., pytest.RunResult]) -> None:
    """The way out that the error names works."""
    pytest.importorskip("trio")
    run(TRIO.replace("LATENCY", "0")).assert_outcomes(passed=1)


def test_a_latency_under_trio_fails_although_swallowed(run: Callable[..., pytest.RunResult]) -> None:
    """A latency that could not pass fails the test whatever the code under test makes of it."""
    pytest.importorskip("trio")
    swallowing = TRIO.replace("LATENCY", "1").replace(
        "    assert trio.run(post).status_code == 200\n",
        "    try:\n        trio.run(post)\n    except Exception:\n        pass\n",
    )
    run(swallowing).assert_outcomes(failed=1)


def test_a_foreign_loop_is_refused_where_it_would_wait(virtual_time: VirtualTime) -> None:
    """A latency outside of any asyncio loop is refused at once."""
    with pytest.raises(VirtualTimeError, match="a scripted latency cannot pass in virtual time here"):
        virtual_time.asleep(1).send(None)
