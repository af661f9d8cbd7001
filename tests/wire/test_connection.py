"""A scripted connection, byte for byte: what it reads, what it writes, and when it ends."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pytest_modelroute.wire.connection import Incoming, ScriptedConnection, Timeline
from pytest_modelroute.wire.exchange import Exchange
from pytest_modelroute.wire.own_routes import Reply

POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello"


class Wired(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        """Nothing is written yet."""
        super().__init__()
        self.written = b""
        self.closed = ""

    def write(self, data: Any) -> None:
        """Keep it."""
        self.written += bytes(data)

    def close(self) -> None:
        """Say that it was closed."""
        self.closed = self.closed or "closed"

    def abort(self) -> None:
        """Say that it was aborted."""
        self.closed = self.closed or "aborted"

    def get_write_buffer_size(self) -> int:
        """Everything is sent at once."""
        return 0


class Echo:
    """Answers each request with its path and body."""

    def __init__(self, *, loses: bool = False) -> None:
        """`loses`: whether it loses every connection."""
        self.loses = loses
        self.requests: list[Incoming] = []
        self.problems: list[str] = []
        self.seen: list[str] = []

    def answer(self, request: Incoming) -> Exchange | Reply | None:
        """Echo the request."""
        self.requests.append(request)
        said = f"{request.path} ".encode() + request.body
        return None if self.loses else Reply(status=200, headers=[(b"x-by", b"echo")], body=said)

    def timeline(self, exchange: Exchange | None) -> Timeline:
        """Nothing here takes time."""
        raise NotImplementedError

    def not_http(self, problem: str) -> None:
        """Keep the problem."""
        self.problems.append(problem)

    def opened(self, connection: ScriptedConnection) -> None:
        """Keep that it was called."""
        self.seen.append("opened")

    def closed(self, connection: ScriptedConnection) -> None:
        """Keep that it was called."""
        self.seen.append("closed")


def connect(host: Echo) -> tuple[ScriptedConnection, Wired]:
    """A connection and its transport."""
    connection, transport = ScriptedConnection(host), Wired()
    connection.connection_made(transport)
    return connection, transport


def test_a_request_is_answered_and_the_connection_kept() -> None:
    """HTTP/1.1 keeps the connection unless the client says otherwise."""
    connection, transport = connect(Echo())
    connection.data_received(POST)
    assert transport.written == (b"HTTP/1.1 200 \r\nx-by: echo\r\ncontent-length: 26\r\n\r\n/v1/chat/completions hello")
    assert not transport.closed
    assert connection.idle


@given(st.lists(st.integers(0, len(POST) * 3), max_size=6))
def test_requests_are_read_however_they_are_cut(cuts: list[int]) -> None:
    """Three requests in a row are the same three requests, wherever the network cut them."""
    host = Echo()
    connection, transport = connect(host)
    whole, edges = POST * 3, sorted({0, *cuts, len(POST) * 3})
    for start, end in pairwise(edges):
        connection.data_received(whole[start:end])
    assert [request.body for request in host.requests] == [b"hello"] * 3
    assert transport.written.count(b"/v1/chat/completions hello") == 3


def test_a_thousand_requests_at_once_are_answered_in_order() -> None:
    """A client that does not wait for answers gets them all the same, without recursion."""
    host = Echo()
    connection, transport = connect(host)
    connection.data_received(
        b"".join(f"GET /{n} HTTP/1.1\r\nhost: x\r\n\r\n".encode() for n in range(1000)),
    )
    assert [request.path for request in host.requests] == [f"/{n}" for n in range(1000)]
    assert transport.written.count(b"HTTP/1.1 200") == 1000


def test_a_client_that_asks_first_whether_to_send_is_told_to() -> None:
    """Expect: 100-continue gets its answer before the body."""
    connection, transport = connect(Echo())
    connection.data_received(b"POST /a HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
    assert transport.written == b"HTTP/1.1 100 \r\n\r\n"
    connection.data_received(b"ok")
    assert transport.written.endswith(b"/a ok")


def test_a_chunked_request_is_joined() -> None:
    """A body that comes in chunks is one body."""
    host = Echo()
    connection, _ = connect(host)
    head = b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    connection.data_received(head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    assert host.requests[0].body == b"abcde"


def test_a_head_request_gets_no_body() -> None:
    """HEAD is answered with the length that GET would have."""
    connection, transport = connect(Echo())
    connection.data_received(b"HEAD /a HTTP/1.1\r\nhost: x\r\n\r\n")
    assert transport.written == b"HTTP/1.1 200 \r\nx-by: echo\r\ncontent-length: 3\r\n\r\n"


def test_http_1_0_is_answered_and_closed() -> None:
    """A client of HTTP/1.0 reads to the end of the connection."""
    connection, transport = connect(Echo())
    connection.data_received(b"GET /a HTTP/1.0\r\n\r\n")
    assert transport.written.endswith(b"/a ")
    assert transport.closed == "closed"


def test_a_client_that_wants_the_connection_closed_has_it_closed() -> None:
    """Connection: close is honoured."""
    connection, transport = connect(Echo())
    connection.data_received(b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert transport.closed == "closed"


def test_the_path_is_decoded_and_the_query_left_out() -> None:
    """A model that stands in the path may be encoded there."""
    host = Echo()
    connection, _ = connect(host)
    connection.data_received(b"GET /model/a%3A0/converse?x=%2F HTTP/1.1\r\nhost: x\r\nuser-agent: me\r\n\r\n")
    request = host.requests[0]
    assert (request.path, request.target) == ("/model/a:0/converse", "/model/a%3A0/converse?x=%2F")
    assert (request.header(b"user-agent"), request.header(b"x-other")) == ("me", "")


def test_what_is_no_http_is_told_and_refused() -> None:
    """Bytes of another protocol get an error 400, and the connection ends."""
    host = Echo()
    connection, transport = connect(host)
    connection.data_received(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
    assert [problem.partition(":")[0] for problem in host.problems] == ["illegal request line"]
    assert transport.written.startswith(b"HTTP/1.1 400 ")
    assert transport.closed == "closed"


def test_garbage_behind_a_good_request_is_refused_after_its_answer() -> None:
    """The answer of the good request is not lost."""
    host = Echo()
    connection, transport = connect(host)
    connection.data_received(POST + b"nonsense\r\n\r\n")
    assert transport.written.count(b"HTTP/1.1 200") == 1
    assert transport.written.count(b"HTTP/1.1 400") == 1
    assert [problem.partition(":")[0] for problem in host.problems] == ["illegal request line"]


def test_garbage_behind_a_head_request_is_refused_too() -> None:
    """The refusal has a body, though the answer before it had none."""
    host = Echo()
    connection, transport = connect(host)
    connection.data_received(b"HEAD /a HTTP/1.1\r\nhost: x\r\n\r\nnonsense\r\n\r\n")
    assert transport.written.endswith(host.problems[0].encode())
    assert transport.closed == "closed"


def test_a_route_may_lose_the_connection() -> None:
    """No reply at all is a connection that is reset."""
    connection, transport = connect(Echo(loses=True))
    connection.data_received(POST)
    assert (transport.written, transport.closed) == (b"", "aborted")


def test_a_request_on_its_way_is_no_idle_connection() -> None:
    """Half a head, and half a body, are something to wait for."""
    connection, _ = connect(Echo())
    assert connection.idle
    connection.data_received(POST[:10])
    assert not connection.idle
    connection.data_received(POST[10:-2])
    assert not connection.idle
    connection.data_received(POST[-2:])
    assert connection.idle


def test_the_host_is_told_of_both_ends_of_a_connection() -> None:
    """A connection is registered, and forgotten."""
    host = Echo()
    connection, _ = connect(host)
    connection.eof_received()
    connection.connection_lost(None)
    assert host.seen == ["opened", "closed"]
