"""Interception at the transport: what is answered here, what goes on, and what is left alone."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import httpx2
import pytest
import respx

from pytest_modelroute import CallLog, MockProviders
from pytest_modelroute.testrun import TestRun
from pytest_modelroute.wire.labels import Label

URL = "https://api.openai.com/v1/chat/completions"
BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
SHOP = "https://shop.example/orders/1"
everywhere = pytest.mark.parametrize("library", [httpx, httpx2])


def fetch(library: ModuleType, method: str = "GET", url: str = SHOP, **options: Any) -> Any:
    """Send a request with the library's client."""
    return library.request(method, url, **options)


def fetch_async(library: ModuleType, method: str = "GET", url: str = SHOP, **options: Any) -> Any:
    """Send a request with the library's async client."""

    async def send() -> Any:
        async with library.AsyncClient() as client:
            return await client.request(method, url, **options)

    return asyncio.run(send())


either_way = pytest.mark.parametrize("send", [fetch, fetch_async])


@everywhere
@either_way
def test_other_calls_are_answered_by_routes(
    mock_providers: MockProviders, library: ModuleType, send: Callable[..., Any]
) -> None:
    """A call that goes to no model is answered by the test's own route, in a response of the client's library."""
    mock_providers.http.get(SHOP).respond(json={"state": "sent"}, status_code=202, headers={"x-shop": "1"})
    response = send(library)
    assert isinstance(response, library.Response)
    assert (response.status_code, response.json(), response.headers["x-shop"]) == (202, {"state": "sent"}, "1")


@everywhere
@either_way
def test_a_route_sees_the_request(mock_providers: MockProviders, library: ModuleType, send: Callable[..., Any]) -> None:
    """A route gets the method, the headers and the body that were sent."""
    route = mock_providers.http.post(SHOP).respond(204)
    send(library, "POST", json={"pay": 3}, headers={"x-key": "k"})
    request = route.calls[0].request
    assert (json.loads(request.content), request.headers["x-key"]) == ({"pay": 3}, "k")


def test_other_calls_are_not_logged(mock_providers: MockProviders) -> None:
    """The call log holds calls of models only."""
    mock_providers.http.get(SHOP).respond(204)
    httpx.get(SHOP)
    assert len(mock_providers.calls) == 0


def test_routes_and_scripts_stand_side_by_side(mock_providers: MockProviders) -> None:
    """A call of a model is answered by its script although a route would match it."""
    mock_providers.http.route().respond(418)
    mock_providers.on().replies("ok")
    assert httpx.post(URL, json=BODY).status_code == 200


def test_a_route_may_stay_unused(run: Callable[..., pytest.RunResult]) -> None:
    """A route of the application's own calls is no expectation."""
    run(
        "def test_it(mock_providers):\n    mock_providers.http.get('https://shop.example/').respond(204)\n"
    ).assert_outcomes(passed=1)


def test_a_call_that_no_route_matches_is_refused(new_run: Callable[[], TestRun]) -> None:
    """With routes for some calls, any other call does not leave this machine."""
    run = new_run()
    with run.listening(), run.virtual_time(), run.scripted() as scripts:
        scripts.http.get("https://shop.example/other").respond(204)
        with pytest.raises(httpx.ConnectError, match=r"a connection to shop\.example was refused"):
            httpx.get(SHOP)


def test_a_get_of_the_same_address_is_no_call_of_a_model(mock_providers: MockProviders) -> None:
    """Only a POST is a call of a model."""
    mock_providers.http.get(URL).respond(json={"data": []})
    assert httpx.get(URL).json() == {"data": []}


def test_a_route_can_let_a_call_pass(
    mock_providers: MockProviders, serve: Callable[[Callable[[Any], None]], str]
) -> None:
    """A route with pass_through() lets the request go to the server on this machine."""
    url = serve(lambda handler: handler.wfile.write(b"HTTP/1.0 204 No Content\r\n\r\n"))
    mock_providers.http.get(url).pass_through()
    assert httpx.get(url).status_code == 204


def test_a_route_can_have_an_async_side_effect(mock_providers: MockProviders) -> None:
    """A side effect that is an async function answers an async client, as respx has it."""

    async def reply() -> httpx.Response:
        return httpx.Response(204)

    replies = [reply()]
    mock_providers.http.get(SHOP).mock(side_effect=lambda _request: replies[0])
    try:
        assert fetch_async(httpx).status_code == 204
    finally:
        replies[0].close()


def test_a_route_can_fail_in_the_clients_library(mock_providers: MockProviders) -> None:
    """A route that raises a transport error raises that of the client's own library."""
    mock_providers.http.get(SHOP).mock(side_effect=httpx.ConnectError)
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(SHOP)


def test_a_route_can_answer_in_pieces(mock_providers: MockProviders) -> None:
    """A route whose response is made of an iterator answers with all of it."""
    mock_providers.http.get(SHOP).mock(return_value=httpx.Response(200, content=iter([b"a", b"b"])))
    assert httpx.get(SHOP).content == b"ab"


def test_a_route_can_answer_compressed(mock_providers: MockProviders) -> None:
    """A route whose response is compressed answers with what was compressed."""
    mock_providers.http.get(SHOP).respond(headers={"content-encoding": "gzip"}, content=gzip.compress(b"hello"))
    assert httpx.get(SHOP).content == b"hello"


@everywhere
def test_a_mock_transport_is_left_alone(mock_providers: MockProviders, library: Any) -> None:
    """A client whose transport is a MockTransport never asks a script."""
    with library.Client(transport=library.MockTransport(lambda _request: library.Response(418))) as client:
        assert client.post(URL, json=BODY).status_code == 418


def wsgi_app(_environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """An application that is mounted in process."""
    start_response("418 Teapot", [])
    return [b""]


async def asgi_app(
    _scope: MutableMapping[str, Any],
    _receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """An async application that is mounted in process."""
    await send({"type": "http.response.start", "status": 418, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@everywhere
def test_an_application_in_process_is_left_alone(mock_providers: MockProviders, library: Any) -> None:
    """A WSGI application answers its own requests, whatever their path."""
    with library.Client(transport=library.WSGITransport(app=wsgi_app)) as client:
        assert client.post(URL, json=BODY).status_code == 418


@everywhere
def test_an_async_application_in_process_is_left_alone(mock_providers: MockProviders, library: Any) -> None:
    """An ASGI application answers its own requests, whatever their path."""

    async def send() -> int:
        async with library.AsyncClient(transport=library.ASGITransport(app=asgi_app)) as client:
            return int((await client.post(URL, json=BODY)).status_code)

    assert asyncio.run(send()) == 418


@everywhere
def test_a_wrapping_transport_is_intercepted(mock_providers: MockProviders, library: Any) -> None:
    """A transport of the application's own that retries above the network transport runs as in life."""

    class Retrying(library.BaseTransport):  # type: ignore[misc]
        def __init__(self) -> None:
            self.inner = library.HTTPTransport()

        def handle_request(self, request: Any) -> Any:
            response = self.inner.handle_request(request)
            return self.inner.handle_request(request) if response.status_code == 503 else response

    mock_providers.on().replies(lambda call: "ok" if call.number > 1 else _unavailable())
    with library.Client(transport=Retrying()) as client:
        assert (client.post(URL, json=BODY).status_code, len(mock_providers.calls)) == (200, 2)


def _unavailable() -> Any:
    from pytest_modelroute.faults import unavailable

    return unavailable()


@everywhere
def test_event_hooks_run(mock_providers: MockProviders, library: Any) -> None:
    """Hooks of a client see the request and the response."""
    seen: list[str] = []
    hooks = {"request": [lambda _r: seen.append("request")], "response": [lambda _r: seen.append("response")]}
    mock_providers.on().replies("ok")
    with library.Client(event_hooks=hooks) as client:
        client.post(URL, json=BODY)
    assert seen == ["request", "response"]


def test_a_body_in_pieces_is_read(mock_providers: MockProviders) -> None:
    """A request whose body is made of pieces is read as a whole."""

    def pieces() -> Iterator[bytes]:
        text = json.dumps(BODY).encode()
        yield text[:9]
        yield text[9:]

    mock_providers.on(model="m").replies("ok")
    httpx.post(URL, content=pieces())
    assert mock_providers.calls[0].prompt == "hi"


def test_an_async_body_in_pieces_is_read(mock_providers: MockProviders) -> None:
    """The same for an async client."""

    async def pieces() -> AsyncIterator[bytes]:
        text = json.dumps(BODY).encode()
        yield text[:9]
        yield text[9:]

    mock_providers.on(model="m").replies("ok")
    fetch_async(httpx, "POST", URL, content=pieces())
    assert mock_providers.calls[0].prompt == "hi"


def test_the_log_holds_no_query(mock_providers: MockProviders) -> None:
    """A query, which may carry a key, is not kept."""
    mock_providers.on().replies("ok")
    httpx.post(f"{URL}?api-key=secret", json=BODY)
    assert mock_providers.calls[0].url == URL


@everywhere
@pytest.mark.parametrize("name", ["HTTPTransport.handle_request", "AsyncHTTPTransport.handle_async_request"])
def test_transports_are_given_back(new_run: Callable[[], TestRun], library: ModuleType, name: str) -> None:
    """After the test a transport has its own method again."""
    transport, _, method = name.partition(".")
    before = getattr(getattr(library, transport), method)
    with new_run().listening():
        assert getattr(getattr(library, transport), method) is not before
    assert getattr(getattr(library, transport), method) is before


def test_the_newest_listener_hears(new_run: Callable[[], TestRun]) -> None:
    """Of two that listen, the one that began last answers, and then the other one again."""
    outer, inner = new_run(), new_run()
    with outer.listening(), outer.virtual_time(), outer.scripted() as first:
        first.on().replies("outer")
        with inner.listening(), inner.scripted() as second:
            second.on().replies("inner")
            httpx.post(URL, json=BODY)
        httpx.post(URL, json=BODY)
    assert ([call.text for call in second.calls], [call.text for call in first.calls]) == (["inner"], ["outer"])


def test_mocks_below_the_transport_may_answer(mock_providers: MockProviders) -> None:
    """Another mock that stands below the transport answers what is no call of a model."""
    with respx.mock() as router:
        router.get(SHOP).respond(204)
        assert httpx.get(SHOP).status_code == 204


def test_a_server_on_a_unix_socket_can_be_reached(mock_providers: MockProviders, tmp_path: Path) -> None:
    """A client over a unix socket stays on this machine, whatever the host in its URL."""
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()

        def answer() -> None:
            connection, _ = server.accept()
            connection.recv(4096)
            connection.sendall(b"HTTP/1.0 204 No Content\r\n\r\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with httpx.Client(transport=httpx.HTTPTransport(uds=path)) as client:
            response = client.get("http://docker/info")
        thread.join()
    assert response.status_code == 204


def test_an_unlabelled_call_among_several_cases_fails(ask: Callable[..., Any], new_run: Callable[[], TestRun]) -> None:
    """While several cases are under way, a call that carries no label is told as one that belongs to none."""
    run = new_run()
    run.wire.unlabelled_is_ambiguous = True
    with run.listening(), run.virtual_time(), run.scripted() as scripts:
        scripts.on().replies("ok")
        ask()
    assert [failure.partition(" while ")[0] for failure in run.wire.failures()] == [
        f"a call of {URL} carries no label (it came over a socket, or from a thread)"
    ]


def test_an_unlabelled_call_belongs_to_the_running_case(
    ask: Callable[..., Any], new_run: Callable[[], TestRun]
) -> None:
    """While one case is under way, a call that carries no label, as from a thread, is the case's."""
    run = new_run()
    calls = CallLog()
    run.wire.running = Label(step="plan", case="c1", calls=calls)  # type: ignore[arg-type]
    with run.listening(), run.virtual_time(), run.scripted() as scripts:
        scripts.on().replies("ok")
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    assert [(call.step, call.case) for call in calls] == [("plan", "c1")]


def test_a_wire_knows_its_clock(new_run: Callable[[], TestRun]) -> None:
    """Reports can say whether times are virtual or real."""
    run = new_run()
    before = run.wire.clock_name
    with run.virtual_time():
        assert (before, run.wire.clock_name) == ("real", "virtual")
