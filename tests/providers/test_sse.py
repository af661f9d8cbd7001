"""Server-sent events: what is written is read, and what servers send is read as the standard says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_modelroute.providers.sse import Event, read_events, write_event

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["\u2028\u2029\x85", "a\r\nb", "data: x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
).filter(lambda value: not isinstance(value, str))


def _read(body: bytes) -> list[Event]:
    return list(read_events(body))


@settings(deadline=None)
@given(values=st.lists(JSON, max_size=5))
def test_json_written_as_events_is_read_back(values: list[Any]) -> None:
    """Every value comes back in its order, whatever its strings contain."""
    body = b"".join(write_event(value) for value in values)
    assert [json.loads(event.data) for event in _read(body)] == values


@settings(deadline=None)
@given(name=st.from_regex(r"[a-z_.]+", fullmatch=True))
def test_the_name_of_an_event_is_read_back(name: str) -> None:
    """A named event keeps its name."""
    assert _read(write_event({}, name=name)) == [Event(name, "{}")]


def test_a_string_is_written_as_it_is() -> None:
    """The end mark of OpenAI's streams carries no quotes."""
    assert write_event("[DONE]") == b"data: [DONE]\n\n"


def test_a_string_of_two_lines_is_read_back() -> None:
    """Text with a line break is one event of two data lines."""
    assert _read(write_event("one\ntwo")) == [Event("", "one\ntwo")]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=repr)
def test_each_line_end_of_the_standard_ends_a_line(end: str) -> None:
    """Servers end lines with LF, CRLF or CR."""
    assert _read(f"event: a{end}data: 1{end}{end}data: 2{end}{end}".encode()) == [Event("a", "1"), Event("", "2")]


def test_several_data_lines_are_one_event() -> None:
    """Data lines are joined with a line break."""
    assert _read(b"data: one\ndata: two\n\n") == [Event("", "one\ntwo")]


def test_comments_are_skipped() -> None:
    """A line that begins with a colon keeps a connection alive and says nothing."""
    assert _read(b": OPENROUTER PROCESSING\n\ndata: 1\n\n") == [Event("", "1")]


def test_one_space_after_the_colon_is_not_data() -> None:
    """Only the first space is dropped, and it may be absent."""
    assert _read(b"data:1\n\ndata:  2\n\n") == [Event("", "1"), Event("", " 2")]


def test_a_last_event_without_its_blank_line_is_read() -> None:
    """A server that closes right after its last line is still understood."""
    assert _read(b"data: 1\n\ndata: 2") == [Event("", "1"), Event("", "2")]


def test_a_line_separator_inside_a_text_is_text() -> None:
    """U+2028 and its like end no line."""
    assert _read("data: a\u2028b\x85c\n\n".encode()) == [Event("", "a\u2028b\x85c")]


def test_an_event_without_data_leaves_no_name_behind() -> None:
    """An event that has no data is no event, and its name is not given to the next."""
    assert _read(b"event: ping\n\ndata: 1\n\n") == [Event("", "1")]


def test_an_empty_body_has_no_events() -> None:
    """Nothing sent is nothing read."""
    assert _read(b"") == []
