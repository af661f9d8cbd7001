"""Server-sent events, as far as model providers use them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_LINE_BREAK = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream: its name ("" where the stream names none) and its data."""

    name: str
    data: str


def write_event(data: Any, *, name: str = "") -> bytes:
    """One frame; data other than a string is written as JSON."""
    text = data if isinstance(data, str) else to_json(data)
    head = f"event: {name}\n" if name else ""
    lines = "".join(f"data: {line}\n" for line in _LINE_BREAK.split(text))
    return f"{head}{lines}\n".encode()


def to_json(value: Any) -> str:
    """Compact JSON that UTF-8 can carry: a lone surrogate, which it cannot, is escaped with all the rest."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"))
    return text


_FRAME_END = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")


class EventDecoder:
    """Takes a stream in pieces, cut anywhere, and gives the events that are whole."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that these bytes complete."""
        body = self._rest + data
        # Not from the start: a long frame that comes in small pieces would be searched again and again.
        ends = [found.end() for found in _FRAME_END.finditer(body, max(0, len(self._rest) - 3))]
        end = ends[-1] if ends else 0
        self._rest = body[end:]
        return read_events(body[:end])

    def flush(self) -> Iterator[Event]:
        """The last event, where the stream ended without a blank line."""
        rest, self._rest = self._rest, b""
        return read_events(rest)


def read_events(body: bytes) -> Iterator[Event]:
    """The events of a whole stream; comments are passed over, and a last frame may lack its blank line."""
    name, data = "", list[str]()
    # Not str.splitlines: it also splits at U+2028 and its like, which are text here.
    for line in _LINE_BREAK.split(body.decode("utf-8", errors="replace")):
        if line.startswith("event:"):
            name = line[6:].strip()
        elif line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line:
            if data:
                yield Event(name, "\n".join(data))
            name, data = "", []
    if data:
        yield Event(name, "\n".join(data))
