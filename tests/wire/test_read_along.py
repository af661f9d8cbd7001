"""Reading a live reply along: what is told of it, whatever the bytes are and however they are cut."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelroute.errors import CassetteError
from pytest_modelroute.wire.read_along import ReadAlong, along_with
from pytest_modelroute.wire.recorded import Pairs
from tests.wire.taped import Shelf, new_run

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\nx-trailer: 1\r\n\r\n"
SIZED = b"HTTP/1.1 404 Not Found\r\nX-By: a\r\nX-By: b\r\nContent-Length: 11\r\n\r\nhello world"
OPEN_ENDED = b"HTTP/1.0 200 OK\r\n\r\nhello world"


class Heard:
    """Keeps what it is told."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.status = 0
        self.reason = ""
        self.headers: Pairs = ()
        self.body = b""
        self.ends: list[bool | str] = []
        self.problems: list[str] = []

    def head(self, status: int, reason: str, headers: Pairs) -> None:
        """The head."""
        assert not self.status
        assert not self.ends
        self.status, self.reason, self.headers = status, reason, headers

    def piece(self, data: bytes) -> None:
        """A piece."""
        assert self.status
        assert not self.ends
        self.body += data

    def end(self, *, complete: bool) -> None:
        """The end after a head."""
        assert self.status
        self.ends.append(complete)

    def lost(self, kind: str) -> None:
        """The end without one."""
        assert not self.status
        self.ends.append(kind)

    def unreadable(self, problem: str) -> None:
        """What came is no HTTP."""
        self.problems.append(problem)


def heard(pieces: Iterable[bytes], *, method: str = "POST", closes: bool = True) -> Heard:
    """What is told of these bytes."""
    listener = Heard()
    along = ReadAlong(method, listener)
    for piece in pieces:
        along.feed(piece)
    if closes:
        along.eof()
    return listener


def cut_at(data: bytes, places: Iterable[int]) -> list[bytes]:
    """The data in pieces."""
    bounds = [0, *sorted(place for place in places if place <= len(data)), len(data)]
    return [data[start:end] for start, end in pairwise(bounds)]


anywhere = st.sets(st.integers(0, 120))


@given(places=anywhere, reply=st.sampled_from([CHUNKED, SIZED, OPEN_ENDED]))
def test_it_does_not_matter_how_the_bytes_come(places: set[int], reply: bytes) -> None:
    """The body is the same, and the end is the end."""
    found = heard(cut_at(reply, places))
    assert (found.body, found.ends, found.problems) == (b"hello world", [True], [])


@given(length=st.integers(0, len(CHUNKED) - 1), places=anywhere)
def test_a_reply_that_breaks_off_is_not_complete(length: int, places: set[int]) -> None:
    """What came of it is told."""
    found = heard(cut_at(CHUNKED[:length], places))
    assert found.ends == ([False] if found.status else ["connection"])
    assert b"hello world".startswith(found.body)
    assert found.problems == []


@given(data=st.lists(st.binary(max_size=200)), before=st.sampled_from([b"", CHUNKED[:60], SIZED[:30], CHUNKED]))
def test_any_bytes_are_borne(data: list[bytes], before: bytes) -> None:
    """Nothing is raised, and there is one end."""
    found = heard([before, *data])
    assert len(found.ends) == 1


def test_the_head_is_told_as_it_was_sent() -> None:
    """Status, reason and every header."""
    found = heard([SIZED])
    assert (found.status, found.reason) == (404, "Not Found")
    assert found.headers == [("x-by", "a"), ("x-by", "b"), ("content-length", "11")]


def test_the_end_is_told_with_the_last_byte() -> None:
    """A connection that is kept open does not close."""
    assert heard([SIZED], closes=False).ends == [True]


@pytest.mark.parametrize("status", [b"100 Continue", b"103 Early Hints"])
def test_what_comes_before_the_reply_is_not_told(status: bytes) -> None:
    """Informational responses are none."""
    found = heard([b"HTTP/1.1 " + status + b"\r\nlink: x\r\n\r\n" + SIZED])
    assert (found.status, found.ends) == (404, [True])


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", b"200 OK"), ("GET", b"204 No Content"), ("GET", b"304 Not Modified")]
)
def test_a_reply_without_a_body_ends_with_its_head(method: str, status: bytes) -> None:
    """Whatever length it tells."""
    found = heard([b"HTTP/1.1 " + status + b"\r\ncontent-length: 5\r\n\r\n"], method=method, closes=False)
    assert (found.body, found.ends) == (b"", [True])


def test_another_protocol_is_not_read_on() -> None:
    """After 101 it is no HTTP any more, which is no problem."""
    listener = Heard()
    along = ReadAlong("GET", listener)
    along.feed(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n\x81\x05hello")
    along.feed(b"more")
    assert (along.switched, listener.ends, listener.problems) == (True, ["connection"], [])


def test_what_is_no_http_is_told() -> None:
    """It ends the reading along."""
    found = heard([b"SSH-2.0-OpenSSH\r\n\r\n", b"more"])
    assert (found.ends, len(found.problems)) == (["malformed"], 1)


def test_a_method_that_nobody_can_send_is_told() -> None:
    """The client itself will not get far."""
    found = heard([SIZED], method="A B")
    assert (found.ends, len(found.problems)) == (["malformed"], 1)


@pytest.mark.parametrize(
    ("error", "kind"),
    [(TimeoutError(), "timeout"), (ConnectionResetError(), "connection"), (asyncio.CancelledError(), "cancelled")],
)
def test_an_error_of_the_client_is_the_end(error: BaseException, kind: str) -> None:
    """And is raised on."""
    listener = Heard()
    along = ReadAlong("GET", listener)
    with pytest.raises(type(error)), along.watching():
        raise error
    assert listener.ends == [kind]


class Full:
    """Cannot keep what it takes."""

    def head(self, status: int, reason: str, headers: Pairs) -> None:
        """Take it."""

    def piece(self, data: bytes) -> None:
        """Take it."""

    def end(self, *, complete: bool) -> None:
        """Fail."""
        raise CassetteError("the disk is full")


def test_who_cannot_take_a_reply_fails_the_test_and_not_the_call() -> None:
    """The client has its reply, and goes on."""
    run = new_run()
    along_with(run.wire, Full(), "GET", "https://shop.example/?key=secret").feed(SIZED)
    assert run.wire.failures() == ["the disk is full"]


def test_a_reply_that_cannot_be_recorded_fails_the_test() -> None:
    """It is said which one, without its query."""
    run = new_run()
    tape = Shelf().take(None, None)  # type: ignore[arg-type]
    along_with(run.wire, tape, "GET", "https://shop.example/?key=secret").feed(b"nonsense\r\n\r\n")
    (failure,) = run.wire.failures()
    assert failure.startswith(
        "the reply to GET https://shop.example/ cannot be recorded: it is no HTTP/1.1 that can be read along ("
    )


def test_nobody_hears_nothing() -> None:
    """A reply that nobody takes is read for its end alone."""
    run = new_run()
    along = along_with(run.wire, None, "GET", "https://shop.example/")
    along.feed(SIZED)
    assert along.over
    along_with(run.wire, None, "GET", "https://shop.example/").feed(b"nonsense\r\n\r\n")
    assert run.wire.failures() == []
