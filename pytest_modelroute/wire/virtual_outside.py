"""What is outstanding outside of a loop: jobs, subprocesses, threads and sockets. Virtual time does not overtake it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from asyncio import base_events, base_subprocess, futures, selector_events
from collections.abc import Callable
from typing import Any, Final
from weakref import WeakSet

from pytest_modelroute.wire.virtual_sockets import Hold, Registered, Sockets
from pytest_modelroute.wire.virtual_threads import Threads

Hook = Callable[[Any, str, Callable[[Any], Any]], None]
"Puts a function around a method or function of an owner, until the clock stops."
_THREADS_OF_LIBRARIES: Final = (("anyio.to_thread", "run_sync"), ("aiosqlite.core", "Connection._execute"))
"Module and name of coroutines that wait for a thread of the library's own."
_POOLS: Final = (
    ("concurrent.futures.thread", "ThreadPoolExecutor"),
    ("concurrent.futures.process", "ProcessPoolExecutor"),
)


class Outside:
    """Everything that may still have something to say to a loop of the test's thread."""

    def __init__(self, *, controls: Callable[[], bool]) -> None:
        """Nothing is under way; `controls` says whether the current thread is the test's."""
        self._controls = controls
        self.sockets = Sockets()
        self.threads = Threads()
        self._jobs: set[Any] = set()
        self._submitted: set[Any] = set()
        self._children: WeakSet[Any] = WeakSet()
        self._processes: WeakSet[Any] = WeakSet()

    def start(self, hook: Hook) -> None:
        """Count from now on."""
        self.threads.start()
        # Where run_in_executor, to_thread and users turn a job of a pool into a future of the loop.
        for module_ in (futures, asyncio):
            hook(module_, "wrap_future", self._counted_future)
        # A job that nobody awaits may call into the loop by itself.
        for module, pool in _POOLS:
            if module in sys.modules:
                hook(getattr(sys.modules[module], pool), "submit", self._counted_submit)
        # It joins a thread, from Python 3.12 on with a time limit of minutes that a jump would use up.
        hook(base_events.BaseEventLoop, "shutdown_default_executor", self._counted_call)
        for module, path in _THREADS_OF_LIBRARIES:
            home: Any = sys.modules.get(module)
            *owners, name = path.split(".")
            for owner in owners:
                home = getattr(home, owner, None)
            if hasattr(home, name):
                hook(home, name, self._counted_call)
        hook(base_subprocess.BaseSubprocessTransport, "__init__", self._counted_child)
        hook(subprocess.Popen, "__init__", self._counted_process)
        transport: Any = getattr(selector_events, "_SelectorSocketTransport")  # noqa: B009 - private, and not in the type
        for name in ("write", "writelines", "write_eof"):
            if name in vars(transport):
                hook(transport, name, self._noted_write)

    def stop(self) -> None:
        """Forget what was under way."""
        self._jobs.clear()
        self._submitted.clear()
        self._children.clear()
        self._processes.clear()

    def hold(self, loop: Any, registered: Registered, *, timer: bool) -> Hold:
        """Whether a loop has to wait for real: before its next timer, or at all where it has none."""
        if self._jobs or (self._children and any(map(_runs, self._children))):
            return Hold.TOLD
        if not timer and getattr(loop, "_signal_handlers", None):
            return Hold.TOLD
        if not registered.is_empty:
            sockets = self.sockets.hold(loop, registered, timer=timer, may_connect=self._may_connect)
            if sockets is not Hold.NOTHING:
                return sockets
        threads = self.threads.are_at_work() if timer else self.threads.are_alive()
        return Hold.UNTOLD if threads or self._submitted or self._has_processes() else Hold.NOTHING

    def _may_connect(self) -> bool:
        return self.threads.are_alive() or self._has_processes()

    def _has_processes(self) -> bool:
        return bool(self._processes) and any(process.poll() is None for process in list(self._processes))

    def _counted_future(self, wrap_future: Any) -> Any:
        def counted(future: Any, **kwargs: Any) -> Any:
            job = wrap_future(future, **kwargs)
            if job is not future and self._controls():  # one of a loop's own is no job of a pool
                self._jobs.add(job)
                job.add_done_callback(self._jobs.discard)
            return job

        return counted

    def _counted_submit(self, submit: Any) -> Any:
        def counted(pool: Any, *args: Any, **kwargs: Any) -> Any:
            job = submit(pool, *args, **kwargs)
            if self._controls():
                self._submitted.add(job)
                job.add_done_callback(self._submitted.discard)
            return job

        return counted

    def _counted_call(self, call: Any) -> Any:
        async def counted(*args: Any, **kwargs: Any) -> Any:
            job = object()
            if self._controls():
                self._jobs.add(job)
            try:
                return await call(*args, **kwargs)
            finally:
                self._jobs.discard(job)

        return counted

    def _counted_child(self, init: Any) -> Any:
        def counted(transport: Any, *args: Any, **kwargs: Any) -> None:
            init(transport, *args, **kwargs)
            # asyncio tells of its end by itself; to poll it here would take its status from asyncio.
            self._processes.discard(transport._proc)  # noqa: SLF001
            if self._controls():
                self._children.add(transport)

        return counted

    def _counted_process(self, init: Any) -> Any:
        def counted(process: Any, *args: Any, **kwargs: Any) -> None:
            init(process, *args, **kwargs)
            if self._controls():
                self._processes.add(process)

        return counted

    def _noted_write(self, write: Any) -> Any:
        def noted(transport: Any, *args: Any) -> None:
            if self._controls():
                self.sockets.sent(transport)
            write(transport, *args)

        return noted


def _runs(transport: Any) -> bool:
    """Whether the loop of a subprocess still waits to hear that it exited."""
    loop = transport._loop  # noqa: SLF001 - None once it is over
    return loop is not None and transport.get_returncode() is None and not loop.is_closed()
