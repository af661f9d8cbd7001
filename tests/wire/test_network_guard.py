"""The network guard: what a test with scripted providers can reach, and what it says of the rest."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import httpx2
import openai
import pytest
import requests
import urllib3
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelroute.errors import NetworkBlocked
from pytest_modelroute.testrun import TestRun
from pytest_modelroute.wire.network_guard import NetworkGuard

HOST = "shop.example"
ADDRESS = "203.0.113.9"
URL = f"http://{HOST}/orders"
PROXIES = ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"]
Serve = Callable[[Callable[[BaseHTTPRequestHandler], None]], str]
Run = Callable[..., pytest.RunResult]


@contextmanager
def guarding(*allowed: str) -> Iterator[NetworkGuard]:
    """Guard a block."""
    guard = NetworkGuard(allowed)
    guard.start()
    try:
        yield guard
    finally:
        guard.stop()


@pytest.fixture
def guard(new_run: Callable[[], TestRun]) -> Iterator[NetworkGuard]:
    """The guard of a test with scripted providers, whose refusals do not fail this test."""
    run = new_run()
    with run.listening(), run.virtual_time(), run.scripted():
        assert run.wire.guard is not None
        yield run.wire.guard


def by_httpx() -> None:
    """By a client of httpx."""
    httpx.get(URL)


def by_httpx2() -> None:
    """By a client of httpx2."""
    httpx2.get(URL)


def by_httpx_async() -> None:
    """By an async client of httpx."""

    async def get() -> None:
        async with httpx.AsyncClient() as client:
            await client.get(URL)

    asyncio.run(get())


def by_httpx2_async() -> None:
    """By an async client of httpx2."""

    async def get() -> None:
        async with httpx2.AsyncClient() as client:
            await client.get(URL)

    asyncio.run(get())


def by_aiohttp() -> None:
    """By aiohttp."""

    async def get() -> None:
        async with aiohttp.ClientSession() as session, session.get(URL):
            pass

    asyncio.run(get())


def by_requests() -> None:
    """By requests."""
    requests.get(URL, timeout=5)


def by_urllib3() -> None:
    """By urllib3."""
    urllib3.request("GET", URL, retries=False)


def by_urllib() -> None:
    """By the standard library."""
    urllib.request.urlopen(URL)


def by_openai() -> None:
    """By openai, in a language that scripts do not speak."""
    with openai.OpenAI(api_key="key", base_url=f"http://{HOST}/v1", max_retries=0) as client:
        client.moderations.create(input="hi")


def by_create_connection() -> None:
    """By the helper of the socket module."""
    socket.create_connection((HOST, 80))


def by_connect() -> None:
    """By a socket that resolves the name itself."""
    with socket.socket() as sock:
        sock.connect((HOST, 80))


def by_connect_ex() -> None:
    """By the method that gives an error number."""
    with socket.socket() as sock:
        sock.connect_ex((HOST, 80))


def by_sendto() -> None:
    """By a datagram."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", (HOST, 53))


def by_sendto_with_flags() -> None:
    """By a datagram with flags."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", 0, (HOST, 53))


def by_getaddrinfo() -> None:
    """By looking the name up."""
    socket.getaddrinfo(HOST, 80)


def by_getaddrinfo_of_bytes() -> None:
    """By looking the name up as bytes."""
    socket.getaddrinfo(HOST.encode(), 80)


def by_gethostbyname() -> None:
    """By looking the name up in an old way."""
    socket.gethostbyname(HOST)


def by_gethostbyname_ex() -> None:
    """By looking the name up in another old way."""
    socket.gethostbyname_ex(HOST)


def by_open_connection() -> None:
    """By an event loop."""
    asyncio.run(_open_connection(HOST))


async def _open_connection(host: str) -> None:
    await asyncio.open_connection(host, 80)


CLIENTS: list[tuple[Callable[[], None], str]] = [
    (by_httpx, "httpx"),
    (by_httpx2, "httpx2"),
    (by_httpx_async, "httpx"),
    (by_httpx2_async, "httpx2"),
    (by_aiohttp, "aiohttp"),
    (by_requests, "requests > urllib3 > http.client"),
    (by_urllib3, "urllib3 > http.client"),
    (by_urllib, "urllib.request > http.client"),
    (by_openai, "openai > httpx2"),
    (by_create_connection, "socket"),
    (by_connect, "socket"),
    (by_connect_ex, "socket"),
    (by_sendto, "socket"),
    (by_sendto_with_flags, "socket"),
    (by_getaddrinfo, "socket"),
    (by_getaddrinfo_of_bytes, "socket"),
    (by_gethostbyname, "socket"),
    (by_gethostbyname_ex, "socket"),
    (by_open_connection, "socket"),
]
names = {"ids": lambda value: getattr(value, "__name__", "")}


@pytest.mark.parametrize(("reach", "client"), CLIENTS, **names)  # type: ignore[arg-type]
def test_a_host_beyond_this_machine_is_refused(guard: NetworkGuard, reach: Callable[[], None], client: str) -> None:
    """Whatever the client, the attempt fails, and is remembered with the host and the client library."""
    with pytest.raises(Exception, match=r"."):
        reach()
    assert [text.partition(":")[0] for text in guard.refused] == [f"a connection to {HOST} was refused ({client})"]


@pytest.mark.parametrize(
    ("reach", "error"),
    [
        (by_httpx, httpx.ConnectError),
        (by_httpx2, httpx2.ConnectError),
        (by_aiohttp, aiohttp.ClientConnectorError),
        (by_requests, requests.ConnectionError),
        (by_urllib3, urllib3.exceptions.NewConnectionError),
        (by_urllib, urllib.error.URLError),
        (by_openai, openai.APIConnectionError),
        (by_connect, NetworkBlocked),
        (by_connect, ConnectionRefusedError),
    ],
    **names,  # type: ignore[arg-type]
)
def test_a_client_takes_it_for_a_host_out_of_reach(
    guard: NetworkGuard, reach: Callable[[], None], error: type[Exception]
) -> None:
    """Each client raises what it raises for a host that cannot be reached."""
    with pytest.raises(error):
        reach()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_an_address_is_refused(guard: NetworkGuard, family: socket.AddressFamily) -> None:
    """An address of another machine is refused without a name as well."""
    address = ADDRESS if family == socket.AF_INET else "2001:db8::1"
    with socket.socket(family) as sock, pytest.raises(NetworkBlocked, match=f"a connection to {address} was refused"):
        sock.connect((address, 80))


def test_an_address_in_a_loop_is_refused(guard: NetworkGuard) -> None:
    """An event loop, which looks no address up, is stopped at its socket."""
    with pytest.raises(NetworkBlocked, match=f"a connection to {ADDRESS} was refused"):
        asyncio.run(_open_connection(ADDRESS))


def test_a_message_to_another_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A datagram that goes out by sendmsg is refused like one by sendto."""
    monkeypatch.setattr(socket.socket, "sendmsg", lambda *_args: 1)
    with (
        guarding(),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        pytest.raises(NetworkBlocked),
    ):
        sock.sendmsg([b"x"], [], 0, (ADDRESS, 53))


def test_a_thread_is_guarded_too(guard: NetworkGuard) -> None:
    """A connection from a thread of the code under test is refused and remembered."""
    errors: list[BaseException] = []

    def reach() -> None:
        try:
            by_connect()
        except NetworkBlocked as error:
            errors.append(error)

    thread = threading.Thread(target=reach)
    thread.start()
    thread.join()
    assert (len(errors), len(guard.refused)) == (1, 1)


def test_the_same_host_and_client_are_told_once(guard: NetworkGuard) -> None:
    """A client that tries again is remembered once; another client is remembered beside it."""
    for reach in (by_connect, by_connect, by_getaddrinfo, by_httpx, by_httpx):
        with pytest.raises(Exception, match=r"."):
            reach()
    assert len(guard.refused) == 2


def test_the_message_names_the_request_and_the_way_out(guard: NetworkGuard) -> None:
    """The message shows the request, the place of the call, the mock and the setting that allows the host."""
    with pytest.raises(httpx.ConnectError):
        by_httpx()
    lines = guard.refused[0].splitlines()
    assert lines[0].endswith("with scripted providers a test stays on this machine.")
    assert lines[1].startswith(f"  GET {URL} is no provider call that scripts of this version can answer (they speak ")
    assert "test_network_guard.py:" in lines[2]
    assert lines[2].endswith(": httpx.get(URL)")
    assert lines[3:] == [
        'To answer it: mock_providers.http.route(host="shop.example").respond(...)',
        'To allow this host: allow_hosts = ["shop.example"] in [tool.modelroute]',
    ]


def test_what_is_sent_is_forgotten_afterwards(guard: NetworkGuard) -> None:
    """A raw connection after a request is not taken for a part of it."""
    with pytest.raises(httpx.ConnectError):
        by_httpx()
    with pytest.raises(NetworkBlocked):
        by_connect()
    assert "GET" not in guard.refused[1]


@pytest.mark.parametrize(
    "line",
    [
        "httpx.get('http://shop.example/')",
        "socket.create_connection(('shop.example', 80))",
        "asyncio.run(asyncio.open_connection('shop.example', 80))",
    ],
)
def test_a_swallowed_refusal_fails_the_test(run: Run, line: str) -> None:
    """A test that swallows the error of its client still fails, and says what was refused and where."""
    result = run(f"def test_it(mock_providers):\n    try:\n        {line}\n    except BaseException:\n        pass\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "a connection to shop.example was refused (*): with scripted providers a test stays on this machine.",
            "  called at test_it.py:13, in test_it: *",
            'To allow this host: allow_hosts = [[]"shop.example"[]] in [[]tool.modelroute[]]',
        ]
    )


def test_a_host_may_be_allowed_in_the_settings(run: Run) -> None:
    """allow_hosts of the settings opens one host to tests with scripted providers."""
    run(
        "def test_it(monkeypatch, request):\n"
        "    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, '', ('203.0.113.9', 80))]\n"
        "    monkeypatch.setattr(socket, 'getaddrinfo', lambda *args, **options: found)\n"
        "    request.getfixturevalue('mock_providers')\n"
        "    assert socket.getaddrinfo('shop.example', 80) == found\n",
        settings='allow_hosts = ["shop.example"]\n',
    ).assert_outcomes(passed=1)


def test_without_scripts_the_network_is_open(run: Run) -> None:
    """A test that uses call_log alone may connect where it likes."""
    run(
        "def test_it(monkeypatch, call_log):\n"
        "    monkeypatch.setattr(socket, 'getaddrinfo', lambda *args: 'anything')\n"
        "    assert socket.getaddrinfo('shop.example', 80) == 'anything'\n"
    ).assert_outcomes(passed=1)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("get", [httpx.get, httpx2.get, requests.get, urllib.request.urlopen])
def test_this_machine_can_be_reached(guard: NetworkGuard, serve: Serve, host: str, get: Callable[[str], Any]) -> None:
    """A server on this machine answers, whatever the client."""

    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.0 204 No Content\r\n\r\n")

    response = get(serve(respond).replace("127.0.0.1", host))
    response.close()
    assert (getattr(response, "status_code", None) or response.status, guard.refused) == (204, [])


def test_aiohttp_reaches_this_machine(guard: NetworkGuard, serve: Serve) -> None:
    """A server on this machine answers aiohttp, whose timeouts do not jump meanwhile."""

    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.0 204 No Content\r\n\r\n")

    url = serve(respond)

    async def get() -> int:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return response.status

    assert (asyncio.run(get()), guard.refused) == (204, [])


def test_this_machine_can_be_reached_over_ipv6(guard: NetworkGuard) -> None:
    """The loopback address of IPv6 is this machine."""
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 here")
    with server, socket.socket(socket.AF_INET6) as sock:
        sock.connect(server.getsockname())
        assert sock.getpeername()[:2] == server.getsockname()[:2]


def test_a_unix_socket_can_be_reached(guard: NetworkGuard, tmp_path: Path) -> None:
    """A socket that is a file is on this machine."""
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as sock:
        server.bind(path)
        server.listen()
        sock.connect(path)
        assert sock.getpeername() == path


def test_a_datagram_to_this_machine_is_sent(guard: NetworkGuard) -> None:
    """UDP to the loopback passes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server, socket.socket(type=socket.SOCK_DGRAM) as sock:
        server.bind(("127.0.0.1", 0))
        sock.sendto(b"x", server.getsockname())
        assert server.recv(1) == b"x"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.8.9.10",
        "localhost",
        "LocalHost",
        "localhost.",
        "::1",
        "[::1]",
        "::ffff:127.0.0.1",
        "",
        "0.0.0.0",  # noqa: S104 - nothing is bound
        "::",
    ],
)
def test_loopback_is_allowed(host: str) -> None:
    """All ways to write this machine are allowed."""
    assert NetworkGuard().allows(host)


@pytest.mark.parametrize(
    "host",
    [
        "example.com",
        "10.0.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "::ffff:10.0.0.1",
        "fe80::1%eth0",
        "localhost.example",
    ],
)
def test_everything_else_is_not(host: str) -> None:
    """Private networks and cloud metadata are beyond this machine."""
    assert not NetworkGuard().allows(host)


@pytest.mark.parametrize(
    "host", ["api.example", "API.example", "api.example.", "10.1.2.3", "2001:db8::1", "[2001:db8::1]"]
)
def test_an_allowed_name_is_allowed(host: str) -> None:
    """Hosts are allowed by name or address, without regard to case, brackets or the final dot."""
    assert NetworkGuard(["Api.Example", "10.1.2.3", "2001:db8::1"]).allows(host)


@given(st.text("abcxyz-.", max_size=8), st.text("abcxyz-.", max_size=8))
def test_an_allowed_name_is_exact(before: str, after: str) -> None:
    """No name that begins or ends with an allowed one is allowed with it."""
    name = f"{before}api.example{after}"
    assert NetworkGuard(["api.example"]).allows(name) == (name.rstrip(".") == "api.example")


def found(address: str) -> Callable[..., list[Any]]:
    """A resolver that finds one address for every name."""
    return lambda *_args, **_options: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80))]


def test_the_address_of_an_allowed_name_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the time of connecting, an allowed host is only an address."""
    reached: list[Any] = []
    monkeypatch.setattr(socket, "getaddrinfo", found(ADDRESS))
    monkeypatch.setattr(socket.socket, "connect", lambda _sock, address: reached.append(address))
    with guarding("api.example"), socket.create_connection(("api.example", 80)):
        pass
    assert reached == [(ADDRESS, 80)]


def test_an_allowed_name_is_looked_up_in_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event loop may look an allowed host up, and connect to its address."""
    monkeypatch.setattr(socket, "getaddrinfo", found(ADDRESS))
    with guarding("api.example") as guard:

        async def look_up() -> Any:
            return await asyncio.get_running_loop().getaddrinfo("api.example", 80)

        asyncio.run(look_up())
        assert guard.allows(ADDRESS)


def test_the_address_of_this_machines_name_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a name that was not allowed by the user resolves to is not allowed."""
    monkeypatch.setattr(socket, "getaddrinfo", found(ADDRESS))
    with guarding("api.example") as guard:
        socket.getaddrinfo("localhost", 80)
        assert not guard.allows(ADDRESS)


@pytest.mark.parametrize(
    ("name", "answer"), [("gethostbyname", ADDRESS), ("gethostbyname_ex", ("api.example", [], [ADDRESS]))]
)
def test_an_allowed_name_is_looked_up_the_old_way(monkeypatch: pytest.MonkeyPatch, name: str, answer: object) -> None:
    """The addresses of an allowed host are allowed whichever function found them."""
    monkeypatch.setattr(socket, name, lambda _host: answer)
    with guarding("api.example") as guard:
        getattr(socket, name)("api.example")
        assert guard.allows(ADDRESS)


def test_an_allowed_name_may_end_in_a_dot(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fully qualified name, with its final dot, is the allowed host."""
    monkeypatch.setattr(socket, "getaddrinfo", found(ADDRESS))
    with guarding("api.example") as guard:
        socket.getaddrinfo("api.example.", 80)
        assert guard.allows(ADDRESS)


def test_this_machine_may_be_given_as_bytes(guard: NetworkGuard) -> None:
    """A socket takes an address as bytes as well."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as sock:
        sock.connect((b"127.0.0.1", server.getsockname()[1]))
        assert guard.refused == []


@pytest.mark.parametrize("name", ["getaddrinfo", "gethostbyname", "gethostbyname_ex"])
def test_name_resolution_is_given_back(name: str) -> None:
    """After the test, names are looked up by the real functions again."""
    before = getattr(socket, name)
    with guarding():
        assert getattr(socket, name) is not before
    assert getattr(socket, name) is before


@pytest.mark.parametrize("name", ["connect", "connect_ex", "sendto"])
def test_sockets_are_given_back(name: str) -> None:
    """After the test, sockets have their own methods again."""
    before = getattr(socket.socket, name)
    with guarding():
        assert getattr(socket.socket, name) is not before
    assert getattr(socket.socket, name) is before


@pytest.mark.parametrize("name", PROXIES)
def test_proxies_of_the_environment_are_hidden(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A proxy on this machine would carry calls out unseen, so none is known meanwhile."""
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    with guarding():
        assert name not in os.environ


@pytest.mark.parametrize("name", PROXIES)
def test_proxies_of_the_environment_are_given_back(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """After the test the proxies are known again."""
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    with guarding():
        pass
    assert os.environ[name] == "http://127.0.0.1:9"


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_a_proxy_on_this_machine_carries_nothing_out(guard: NetworkGuard, library: Any) -> None:
    """A request to another machine through a proxy on this one is refused before it reaches the proxy."""
    with pytest.raises(NetworkBlocked, match=f"a connection to {HOST} was refused"):
        library.get(URL, proxy="http://127.0.0.1:9")


def test_a_proxy_may_carry_to_this_machine(guard: NetworkGuard, serve: Serve) -> None:
    """A request to this machine through a proxy on this machine passes."""

    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.0 204 No Content\r\n\r\n")

    assert httpx.get("http://127.0.0.1:1/", proxy=serve(respond)).status_code == 204


def test_a_reverse_lookup_is_refused(guard: NetworkGuard) -> None:
    """A name server would be asked for the name of an address."""
    with pytest.raises(NetworkBlocked):
        socket.getnameinfo((ADDRESS, 80), 0)


def test_a_providers_own_host_is_never_advised_to_be_allowed(guard: NetworkGuard) -> None:
    """A test that reached it would be billed."""
    with pytest.raises(httpx.ConnectError):
        httpx.get("https://api.openai.com/v1/models")
    assert "allow_hosts" not in guard.refused[0]
