"""
The network guard: in a test with scripted providers nothing connects beyond this machine, on any stack.

It stands at the socket, which httpx, httpx2, aiohttp, requests, urllib3 and the standard library all end in, and at
name resolution, where the name of the host is still known.
"""

from __future__ import annotations

import inspect
import os
import socket
import sys
from asyncio import base_events
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from ipaddress import ip_address
from types import FrameType
from typing import Any, Final, Literal, cast

from pytest_modelroute.errors import NetworkBlocked
from pytest_modelroute.providers.registry import provider_at
from pytest_modelroute.wire.places import call_site

_PLUMBING: Final = frozenset(
    {"pluggy", "pytest_modelroute", "pytest_asyncio", "respx", "anyio", "sniffio", "httpcore", "httpcore2", "h11"}
    | {"aiohappyeyeballs", "hypothesis"}
)
"Packages on the stack that are nobody's choice of a client."
_PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


STAYS: Final = "providers a test stays on this machine"
"What each refusal says."
_sent: ContextVar[str] = ContextVar("modelroute_sent", default="")


class NetworkGuard:
    """
    Refuses connections beyond loopback, from `start` to `stop`, in every thread of this process.

    Attributes:
        refused: One message for each refused host and client.
        connected: Whether any socket of this process was connected meanwhile, to whatever host.

    """

    def __init__(self, allowed: Iterable[str] = (), *, answering: Literal["scripted", "recorded"] = "scripted") -> None:
        """
        Refuse nothing yet.

        Args:
            allowed: Exact host names or addresses that may be reached all the same.
            answering: What answers in place of the network, for the message.

        """
        self._answering = answering
        self.refused: list[str] = []
        self.connected = False
        self._allowed = {host.lower() for host in allowed}
        self._addresses: set[str] = set()
        self._originals: list[tuple[Any, str, Any]] = []
        self._environment: dict[str, str] = {}

    def allows(self, host: str) -> bool:
        """Whether a host is this machine's loopback, or allowed by name."""
        name = _plain(host)
        return name in self._allowed or name in self._addresses or _is_loopback(name)

    @contextmanager
    def sending(self, what: str) -> Generator[None]:
        """Say what is sent in this block, for the message: a socket knows the host, but not the URL."""
        token = _sent.set(what)
        try:
            yield
        finally:
            _sent.reset(token)

    def refuse(self, host: str) -> None:
        """
        Remember the attempt and raise.

        Raises:
            NetworkBlocked: Always.

        """
        site = call_site()
        message = (
            f"a connection to {host} was refused ({' > '.join(_clients(inspect.currentframe())) or 'socket'}): "
            f"with {self._answering} {STAYS}.\n"
            + (f"  {_sent.get()}\n" if _sent.get() else "")
            + (f"  called at {site}\n" if site else "")
            + _advice(host, _sent.get(), self._answering)
        )
        if not any(known.startswith(message.partition("\n")[0]) for known in self.refused):
            self.refused.append(message)
        raise NetworkBlocked(message)

    def start(self) -> None:
        """
        Stand at the socket.

        Proxies of the environment are hidden meanwhile: one on 127.0.0.1 would carry calls out unseen.
        """
        self._environment = {name: os.environ.pop(name) for name in _PROXIES if name in os.environ}
        for name in ("connect", "connect_ex"):
            self._replace(socket.socket, name, self._guard_connect)
        for name in ("sendto", "sendmsg"):
            self._replace(socket.socket, name, self._guard_send)
        for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr"):
            self._replace(socket, name, self._guard_lookup)
        self._replace(socket, "getnameinfo", self._guard_reverse_lookup)
        self._replace(base_events.BaseEventLoop, "getaddrinfo", self._guard_loop_lookup)

    def stop(self) -> None:
        """Open the network again."""
        while self._originals:
            owner, name, original = self._originals.pop()
            setattr(owner, name, original)
        os.environ.update(self._environment)
        self._environment = {}

    def _replace(self, owner: Any, name: str, guard: Callable[[Any], Any]) -> None:
        original = getattr(owner, name)
        self._originals.append((owner, name, original))
        setattr(owner, name, guard(original))

    def _guard_connect(self, original: Any) -> Any:
        def connect(sock: socket.socket, address: Any) -> Any:
            self._check_address(sock, address)
            self.connected = True
            return original(sock, address)

        return connect

    def _guard_send(self, original: Any) -> Any:
        def send(sock: socket.socket, data: Any, *rest: Any) -> Any:
            # The address comes last in both, where there is one.
            self._check_address(sock, rest[-1] if rest else None)
            return original(sock, data, *rest)

        return send

    def _guard_lookup(self, original: Any) -> Any:
        def lookup(host: Any, *rest: Any, **options: Any) -> Any:
            name = self._check_name(host)
            found = original(host, *rest, **options)
            self._remember(name, found)
            return found

        return lookup

    def _guard_reverse_lookup(self, original: Any) -> Any:
        def lookup(address: Any, flags: int) -> Any:
            if not flags & socket.NI_NUMERICHOST:  # a number asks no name server
                self._check_name(address[0])
            return original(address, flags)

        return lookup

    def _guard_loop_lookup(self, original: Any) -> Any:
        async def getaddrinfo(loop: Any, host: Any, *rest: Any, **options: Any) -> Any:
            # Here, and not in the thread that resolves: only this stack still shows the client.
            name = self._check_name(host)
            found = await original(loop, host, *rest, **options)
            self._remember(name, found)
            return found

        return getaddrinfo

    def _check_name(self, host: Any) -> str:
        name = host.decode("ascii", errors="replace") if isinstance(host, bytes) else str(host or "localhost")
        if not self.allows(name):
            self.refuse(name)
        return name

    def _remember(self, name: str, found: Any) -> None:
        """The addresses of an allowed name are allowed: by the time of connecting, the name is gone."""
        if _plain(name) not in self._allowed:
            return
        if isinstance(found, str):  # gethostbyname
            self._addresses.add(found)
        elif isinstance(found, tuple):  # gethostbyname_ex, gethostbyaddr
            self._addresses.update(cast("tuple[str, list[str], list[str]]", found)[2])
        else:  # getaddrinfo
            self._addresses.update(str(entry[4][0]) for entry in found)

    def _check_address(self, sock: socket.socket, address: Any) -> None:
        if sock.family in (socket.AF_INET, socket.AF_INET6) and isinstance(address, tuple):
            given = cast("tuple[object, ...]", address)[0]
            host = given.decode("ascii", errors="replace") if isinstance(given, bytes | bytearray) else str(given)
            if not self.allows(host):
                self.refuse(host)


def _advice(host: str, sent: str, answering: str) -> str:
    """What to do about a refused connection; never to let a test reach a provider that bills it."""
    provider = provider_at(_plain(host))
    if provider is not None and answering == "recorded":
        return (
            "This host belongs to a provider, so it cannot be allowed by advice. Recorded are calls over httpx, "
            "httpx2, aiohttp and http.client (requests, urllib3, boto3): let the client use one of these."
        )
    if provider is not None:
        return (
            "This host belongs to a provider, so it cannot be allowed by advice. Scripts answer any client behind a "
            f'real server: give it mock_providers.url("{provider}") as its base URL.'
        )
    own = f'To answer it: mock_providers.http.route(host="{host}").respond(...)\n' if sent else ""
    return f'{own}To allow this host: allow_hosts = ["{host}"] in [tool.modelroute]'


def _plain(host: str) -> str:
    return host.strip("[]").lower().rstrip(".")


def _is_loopback(name: str) -> bool:
    if name in ("localhost", "", "0.0.0.0", "::"):  # noqa: S104 - to connect to "any" is to connect to this machine
        return True
    try:
        address = ip_address(name.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _clients(frame: FrameType | None) -> Iterator[str]:
    """The packages on the stack that act as clients, outermost first, such as openai, httpx2."""
    names: list[str] = []
    # What is above the test is how it was started (pytest, coverage, an editor), not what it calls.
    while frame is not None and not str(frame.f_globals.get("__name__", "")).startswith("_pytest."):
        module = str(frame.f_globals.get("__name__", ""))
        top = module.partition(".")[0]
        file = frame.f_code.co_filename
        if top not in _PLUMBING and top not in sys.stdlib_module_names and "site-packages" in file:
            names.append(top)
        elif module in ("urllib.request", "http.client", "smtplib", "ftplib"):
            names.append(module)
        frame = frame.f_back
    return iter(dict.fromkeys(reversed(names)))
