"""
Where scenes are played: one wire, clock, guard and server for all examples of a law, and a fresh router for each scene.

Starting these is dear (interception, a scan of the modules for clocks), and so is an SSL context, which every client
makes for itself: all scenes share one of each.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from typing import Any, ClassVar, Final

from pytest_modelroute.invariants.wall import WallClock
from pytest_modelroute.providers.prices import PriceBook
from pytest_modelroute.providers.registry import PROVIDERS
from pytest_modelroute.wire.addresses import HOST, KEY_VARIABLES, base_path, check_name, fake_key
from pytest_modelroute.wire.call_log import CallLog
from pytest_modelroute.wire.exchanges import Wire
from pytest_modelroute.wire.interception import Interception
from pytest_modelroute.wire.loopback import LoopbackServer
from pytest_modelroute.wire.network_guard import NetworkGuard
from pytest_modelroute.wire.virtual_time import VirtualTime

_VARIABLES: Final = {variable: name for name, variables in KEY_VARIABLES.items() for variable in variables}
"Environment variable -> the provider whose key it holds."
_BETWEEN_S: Final = 86_400.0
"Seconds between one laboratory and the next, in which whatever routers share by mistake is over."


class NeverEnds(BaseException):
    """Nothing is left that could wake the loop of a scene; no Exception, so that no fallback hides it."""


@dataclass(slots=True)
class Noise:
    """What the router printed, which must not drown the report, nor break one in JSON."""

    text: StringIO = field(default_factory=StringIO)

    def said(self) -> str:
        """A line about it; empty for nothing."""
        lines = self.text.getvalue().splitlines()
        return f"the router writes to stdout ({len(lines)} lines, such as {lines[0][:80]!r})" if lines else ""


class Laboratory:
    """
    The surroundings of all scenes, between `open` and its end.

    Attributes:
        wire: Where provider calls are seen.
        clock: Virtual time.
        providers: What `make_router` is given.

    """

    _passed: ClassVar[float] = 0.0
    "Seconds of virtual time in the laboratories before: no router may see a clock that goes back."

    def __init__(
        self,
        *,
        prices: PriceBook | None = None,
        provider_hosts: Sequence[tuple[str, str]] = (),
        allow_hosts: Sequence[str] = (),
    ) -> None:
        """
        Closed.

        Args:
            prices: What calls cost.
            provider_hosts: (host, provider) beyond the known ones.
            allow_hosts: Hosts that routers may reach all the same.

        """
        self.wire = Wire(prices=prices or PriceBook(), provider_hosts=provider_hosts)
        self.wire.all_in_process = True
        self.clock = VirtualTime(failure=NeverEnds)
        self.guard = NetworkGuard(allow_hosts)
        self.wall = WallClock(self.clock)
        self.noise = Noise()
        self.interception = Interception(self.wire)
        self.server = LoopbackServer(self.wire, self.interception.routes)
        self.providers = Providers(self)

    @contextmanager
    def open(self) -> Generator[Laboratory]:
        """Let scenes be played in this block."""
        with ExitStack() as stack:
            stack.enter_context(redirect_stdout(self.noise.text))
            stack.enter_context(_keys())
            stack.enter_context(_shared_ssl())
            self.interception.start()
            stack.callback(self.interception.stop)
            self.wire.clock = self.clock
            self.clock.start()
            stack.callback(self.clock.stop)
            self.clock.advance(Laboratory._passed)
            stack.callback(self._keep_time)
            stack.callback(self.wall.stop)
            self.wire.guard = self.guard
            self.guard.start()
            stack.callback(self.guard.stop)
            stack.callback(self.server.stop)
            yield self

    def _keep_time(self) -> None:
        Laboratory._passed = self.clock.now + _BETWEEN_S

    def fresh_log(self) -> CallLog:
        """An empty call log, as of now."""
        settle = self.wire.calls.settle
        self.wire.calls = CallLog()
        self.wire.calls.settle = settle
        return self.wire.calls


class Providers:
    """
    What `make_router` is given: addresses, keys and clocks.

    A router that takes none of them is intercepted all the same.
    """

    def __init__(self, laboratory: Laboratory) -> None:
        """Nobody is named yet."""
        self._laboratory = laboratory
        self._names: set[str] = {*PROVIDERS}
        self.asked: set[str] = set()
        "The names whose address or key was asked for."
        self.keyed: set[str] = set()
        "The names whose key was asked for."
        self.candidates: tuple[str, ...] = ()
        "The candidates of `load_balanced`, in an order that changes from scene to scene."

    def url(self, name: str, *, port: int | None = None) -> str:
        """
        The base URL of a provider, or of a candidate of your own; each has a host of its own.

        In the shape that the provider's client expects, with /v1 at its end for openai.
        """
        self._names.add(check_name(name, self._names))
        self.asked.add(name)
        return f"http://{HOST}:{self._laboratory.server.port(name, port)}{base_path(name)}"

    def key(self, name: str) -> str:
        """A key in the provider's shape that is none; each name has its own."""
        self.asked.add(name)
        self.keyed.add(name)
        return fake_key(name)

    def monotonic(self) -> float:
        """Seconds of virtual time, for a router that takes a clock."""
        return self._laboratory.clock.now

    def wall_clock(self) -> float:
        """Seconds since the epoch on the virtual wall clock."""
        return self._laboratory.clock.wall_now()

    def sleep(self, seconds: float) -> None:
        """Let virtual time pass."""
        self._laboratory.clock.sleep(seconds)

    async def asleep(self, seconds: float) -> None:
        """Let virtual time pass for the running task."""
        await self._laboratory.clock.asleep(seconds)

    def http_client(self, *, asynchronous: bool = False, **options: Any) -> Any:
        """A client of httpx, for a router that takes one; `options` are those of `httpx.Client`."""
        import httpx

        return httpx.AsyncClient(**options) if asynchronous else httpx.Client(**options)


_contexts: Final[dict[str, ssl.SSLContext]] = {}
"By what they were made of: a process has few."


@contextmanager
def _shared_ssl() -> Generator[None]:
    """Make each SSL context once: nothing is ever sent over one here, and making one takes longer than a scene."""
    original = ssl.create_default_context
    made = _contexts

    def create(*args: Any, **options: Any) -> ssl.SSLContext:
        key = repr((args, sorted(options.items(), key=lambda item: item[0])))
        if key not in made:
            made[key] = original(*args, **options)
        return made[key]

    ssl.create_default_context = create
    try:
        yield
    finally:
        ssl.create_default_context = original


@contextmanager
def _keys() -> Generator[None]:
    """Stand-ins for the keys of the environment, so that clients can be made; real ones are hidden."""
    before = {variable: os.environ.get(variable) for variable in _VARIABLES}
    os.environ.update({variable: fake_key(name) for variable, name in _VARIABLES.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def without_keys(used: Callable[[str], bool]) -> Generator[None]:
    """Hide the keys of the providers that are not used."""
    hidden = {variable: os.environ.pop(variable) for variable, name in _VARIABLES.items() if not used(name)}
    try:
        yield
    finally:
        os.environ.update(hidden)
