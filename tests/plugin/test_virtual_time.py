"""Virtual time under every way to run asynchronous tests: pytest-asyncio, anyio, and asyncio.run in plain ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

Run = Callable[..., pytest.RunResult]
HEAD = """
import asyncio
import socket
import threading
import time

import pytest

async def refresh():
    while True:
        await asyncio.sleep(60)

"""


@dataclass(frozen=True)
class Mode:
    """One way to run an asynchronous test."""

    test: str
    "A test that runs `body`."
    plugin: str = "asyncio"
    ini: str = ""
    before: str = ""

    def module(self, *bodies: str) -> str:
        """A module in which each body is a test."""
        tests = [
            body.replace("async def body", f"async def body_{number}")
            + self.test.replace("body", f"body_{number}").replace("test_it", f"test_{number}")
            for number, body in enumerate(bodies)
        ]
        return HEAD + self.before + "\n".join(tests)


SESSION_FIXTURE = """
@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"

@pytest.fixture(scope="session")
async def shared(anyio_backend):
    yield "from the beginning to the end"
    await asyncio.sleep(0)
"""
MODES = {
    "asyncio, strict": Mode(
        "@pytest.mark.asyncio\nasync def test_it(virtual_time):\n    await body(virtual_time)\n",
        ini="asyncio_mode = strict",
    ),
    "asyncio, auto": Mode(
        "async def test_it(virtual_time):\n    await body(virtual_time)\n", ini="asyncio_mode = auto"
    ),
    "asyncio, a loop of the session": Mode(
        '@pytest.mark.asyncio(loop_scope="session")\nasync def test_it(virtual_time):\n    await body(virtual_time)\n'
    ),
    "anyio": Mode(
        "@pytest.mark.anyio\nasync def test_it(virtual_time):\n    await body(virtual_time)\n",
        plugin="anyio",
        before='@pytest.fixture\ndef anyio_backend():\n    return "asyncio"\n',
    ),
    "anyio, a loop of the session": Mode(
        "@pytest.mark.anyio\nasync def test_it(shared, virtual_time):\n    await body(virtual_time)\n",
        plugin="anyio",
        before=SESSION_FIXTURE,
    ),
    "asyncio.run in a plain test": Mode(
        "def test_it(virtual_time):\n    asyncio.run(body(virtual_time))\n", plugin="anyio"
    ),
    "asyncio.Runner in a plain test": Mode(
        "def test_it(virtual_time):\n    with asyncio.Runner() as runner:\n        runner.run(body(virtual_time))\n",
        plugin="anyio",
    ),
}
SLEEP = """
async def body(virtual_time):
    await asyncio.sleep(86_400)
    assert virtual_time.now == 86_400
"""
REAL = """
async def body(virtual_time):
    listener = socket.create_server(("127.0.0.1", 0))

    def answer():
        connection, _ = listener.accept()
        with connection, listener:
            message = connection.recv(100)
            threading.Event().wait(0.05)
            connection.sendall(message)

    threading.Thread(target=answer, daemon=True).start()
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    writer.write(b"hello")
    assert await asyncio.wait_for(reader.read(100), 30) == b"hello"
    assert await asyncio.wait_for(asyncio.to_thread(threading.Event().wait, 0.05), 30) is False
    process = await asyncio.create_subprocess_exec("sleep", "0.05")
    assert await asyncio.wait_for(process.wait(), 30) == 0
    writer.close()
    await writer.wait_closed()
    assert virtual_time.now == 0
"""
LEAK = """
async def body(virtual_time):
    asyncio.create_task(refresh(), name="refresh")
    await asyncio.sleep(90)
"""
BLOCK = """
async def body(virtual_time):
    beside = asyncio.create_task(asyncio.sleep(100))
    await asyncio.sleep(1)
    time.sleep(2)
    await beside
"""
FOREVER = """
async def body(virtual_time):
    queue = asyncio.Queue()
    asyncio.create_task(queue.get(), name="worker")
    try:
        await queue.join()
        await asyncio.Event().wait()
    except Exception:
        pass
"""
FOREVER_IN_GROUP = """
async def body(virtual_time):
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(3))
        await asyncio.Event().wait()
"""
CLEAN = """
async def body(virtual_time):
    await asyncio.sleep(10)
    assert virtual_time.now == 10
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert "worker" not in names
"""


ROUTER = """
async def body(virtual_time):
    fast, slow = asyncio.create_task(asyncio.sleep(1, "fast")), asyncio.create_task(asyncio.sleep(5, "slow"))
    done, rest = await asyncio.wait([fast, slow], return_when=asyncio.FIRST_COMPLETED)
    assert ([task.result() for task in done], virtual_time.now) == (["fast"], 1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.25):
            await slow
    assert (virtual_time.now, slow.cancelled()) == (1.25, True)
    loop, fired = asyncio.get_running_loop(), []
    loop.call_at(loop.time() + 3, lambda: fired.append(virtual_time.now))
    loop.call_later(2, fired.append, "first")
    await asyncio.sleep(4)
    assert fired == ["first", 4.25]
"""


@pytest.fixture
def run_in(pytester: pytest.Pytester, run: Run) -> Callable[..., pytest.RunResult]:
    """Run bodies as tests in a mode, in their order."""

    # The default is said, since the filters of this suite, which are errors, hold for a run inside of it.
    def run_bodies(mode: Mode, *bodies: str, ini: str = "filterwarnings =\n    default") -> pytest.RunResult:
        scope = "asyncio_default_fixture_loop_scope = function" if mode.plugin == "asyncio" else ""
        pytester.makeini(f"[pytest]\n{mode.ini}\n{scope}\n{ini}\n")
        pytester.makepyfile(test_it=mode.module(*bodies))
        return run(using=(mode.plugin,))

    return run_bodies


each_mode = pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
two_modes = pytest.mark.parametrize("mode", list(MODES.values())[::5], ids=list(MODES)[::5])


@each_mode
def test_time_is_virtual_where_it_can_be_and_real_where_it_must(run_in: Run, mode: Mode) -> None:
    """Sleeps, timers and time-outs pass at once and in order; sockets, jobs and subprocesses take their time."""
    run_in(mode, SLEEP, ROUTER, REAL, SLEEP).assert_outcomes(passed=4)


@each_mode
def test_bad_habits_are_warnings_of_the_test(run_in: Run, mode: Mode) -> None:
    """A leaked task and a blocked loop stand under the name of their test in pytest's summary."""
    result = run_in(mode, BLOCK, CLEAN, LEAK)
    result.assert_outcomes(passed=3, warnings=2)
    result.stdout.fnmatch_lines(
        [
            "test_it.py::test_0*",
            "*: ModelrouteWarning: the event loop was blocked for 2 s, while another task stood still, at test_it.py:*",
            "test_it.py::test_2*",
            "*: ModelrouteWarning: a task was still running when the test ended:",
            "*'refresh' (refresh), made at test_it.py:*, in body_2: asyncio.create*, waits for 60 s to pass, at *",
        ]
    )


@each_mode
def test_waiting_for_ever_fails_the_test_and_the_run_goes_on(run_in: Run, mode: Mode) -> None:
    """One message and nothing but it, also out of a task group, and the next test has a clean loop."""
    result = run_in(mode, FOREVER, CLEAN, FOREVER_IN_GROUP, CLEAN, FOREVER_IN_GROUP, CLEAN)
    result.assert_outcomes(passed=3, failed=3)
    result.stdout.fnmatch_lines(
        [
            "the event loop would wait for ever: it has no timer, *",
            "  '*' (*) waits for an Event, at test_it.py:*, in body_0: await asyncio.Event().wait()",
            "  'worker' (Queue.get) waits for an item of a Queue, at *, made at test_it.py:*, in body_0: asyncio.cr*",
            "In life this test would hang. *",
        ],
        consecutive=True,
    )
    assert str(result.stdout).count("In life this test would hang") == 3
    result.stdout.no_fnmatch_line("*unhandled errors*")


@two_modes
def test_a_project_can_make_warnings_errors(run_in: Run, mode: Mode) -> None:
    """With filterwarnings a warning fails the test, with its own words and no traceback of our insides."""
    ini = "filterwarnings =\n    error::pytest_modelroute.errors.ModelrouteWarning"
    result = run_in(mode, LEAK, BLOCK, CLEAN, ini=ini)
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        ["a task was still running when the test ended:", "the event loop was blocked for 2 s*"]
    )
    result.stdout.no_fnmatch_line("*pytest_modelroute/*")


def test_a_project_can_leave_warnings_out(run_in: Run) -> None:
    """With filterwarnings nothing is said."""
    ini = "filterwarnings =\n    ignore::pytest_modelroute.errors.ModelrouteWarning"
    run_in(MODES["asyncio, auto"], LEAK, BLOCK, ini=ini).assert_outcomes(passed=2)


def test_a_failed_test_keeps_its_own_error(run_in: Run) -> None:
    """Where a warning is an error, that does not stand in for what the test itself failed with."""
    ini = "filterwarnings =\n    error::pytest_modelroute.errors.ModelrouteWarning"
    result = run_in(MODES["asyncio, auto"], BLOCK + "    raise OSError('of its own')\n", ini=ini)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E   *OSError: of its own"])


def test_waiting_for_ever_in_a_fixture_is_an_error_of_the_fixture(pytester: pytest.Pytester, run: Run) -> None:
    """A fixture that waits for ever is told like a test, once."""
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(
        """
        import asyncio
        import pytest
        import pytest_asyncio

        @pytest_asyncio.fixture
        async def before(virtual_time):
            await asyncio.Event().wait()

        @pytest_asyncio.fixture
        async def after(virtual_time):
            yield
            await asyncio.Event().wait()

        @pytest.mark.asyncio
        async def test_before(before):
            pass

        @pytest.mark.asyncio
        async def test_after(after):
            pass
        """
    )
    result = run(using=("asyncio",))
    result.assert_outcomes(passed=1, errors=2)
    assert str(result.stdout).count("In life this test would hang") == 2


def test_what_was_swallowed_fails_the_test(pytester: pytest.Pytester, run: Run) -> None:
    """A test that catches everything, and passes, fails all the same."""
    pytester.makepyfile(
        """
        import asyncio

        def test_it(virtual_time):
            try:
                asyncio.run(asyncio.Event().wait())
            except BaseException:
                pass
        """
    )
    result = run()
    result.assert_outcomes(failed=1)
    assert str(result.stdout).count("In life this test would hang") == 1


def test_a_background_task_of_a_session_fixture_survives(pytester: pytest.Pytester, run: Run) -> None:
    """A test that waits for ever takes its own tasks with it, and not those of a fixture of the session."""
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = session\n")
    pytester.makepyfile(
        """
        import asyncio
        import pytest
        import pytest_asyncio

        pytestmark = pytest.mark.asyncio(loop_scope="session")

        async def work(queue, done):
            while True:
                done.append(await queue.get())

        @pytest_asyncio.fixture(scope="session", loop_scope="session")
        async def worker():
            queue, done = asyncio.Queue(), []
            task = asyncio.create_task(work(queue, done), name="worker")
            yield queue, done
            task.cancel()

        async def test_it(worker, virtual_time):
            asyncio.create_task(asyncio.Event().wait(), name="the test's own")
            await asyncio.Event().wait()

        async def test_next(worker, virtual_time):
            queue, done = worker
            await queue.put("item")
            await asyncio.sleep(1)
            assert done == ["item"]
            assert "the test's own" not in {task.get_name() for task in asyncio.all_tasks()}
        """
    )
    run(using=("asyncio",)).assert_outcomes(passed=1, failed=1)


def test_warnings_cross_to_the_controller_of_xdist(pytester: pytest.Pytester, run: Run) -> None:
    """A warning of a worker is in the summary of the run."""
    pytester.makepyfile(HEAD + MODES["asyncio.run in a plain test"].module(LEAK).removeprefix(HEAD))
    result = run("-n", "1", using=("xdist",), inprocess=False)
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*ModelrouteWarning: a task was still running when the test ended:"])


def test_a_latency_under_trio_keeps_its_clear_error(pytester: pytest.Pytester, run: Run) -> None:
    """Under anyio with trio a scripted latency cannot pass, and says so."""
    pytest.importorskip("trio")
    pytester.makepyfile(
        """
        import httpx
        import pytest

        @pytest.fixture
        def anyio_backend():
            return "trio"

        @pytest.mark.anyio
        async def test_it(mock_providers):
            mock_providers.on().replies("ok", latency=1)
            async with httpx.AsyncClient() as client:
                await client.post("https://api.openai.com/v1/chat/completions", json={"model": "m", "messages": []})
        """
    )
    result = run(using=("anyio",))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*a scripted latency cannot pass in virtual time here: the running event loop is not *"]
    )


def test_a_loop_that_outlives_the_test_keeps_its_timers(pytester: pytest.Pytester) -> None:
    """What a session's task had due in a tenth of a second is due then, although an hour of virtual time has gone."""
    pytester.makepyfile(
        """
        import asyncio
        import pytest
        import pytest_asyncio

        @pytest_asyncio.fixture(scope="session", loop_scope="session")
        async def beats():
            count = [0]

            async def beat():
                while True:
                    await asyncio.sleep(0.01)
                    count[0] += 1

            task = asyncio.create_task(beat())
            yield count
            task.cancel()

        @pytest.mark.asyncio(loop_scope="session")
        async def test_1_virtual(beats, virtual_time):
            await asyncio.sleep(3600)

        @pytest.mark.asyncio(loop_scope="session")
        async def test_2_real(beats):
            before = beats[0]
            async with asyncio.timeout(30):
                while beats[0] < before + 3:
                    await asyncio.sleep(0.01)

        @pytest.mark.asyncio(loop_scope="session")
        async def test_3_virtual(beats, virtual_time):
            before = beats[0]
            await asyncio.sleep(60)
            assert beats[0] - before >= 5900
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:randomly", "-p", "no:respx", "-p", "no:anyio")
    result.assert_outcomes(passed=3)
