"""Server-sent events, as far as model providers use them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream: its name ("" where the stream names none) and its data."""

    name: str
    data: str


def write_event(data: Any, *, name: str = "") -> bytes:
    """One frame; data other than a string is written as JSON."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {text}\n\n".encode()


def read_events(body: bytes) -> Iterator[Event]:
    """The events of a whole stream; comments and a last frame without its blank line are read as browsers do."""
    name, data = "", list[str]()
    # Not str.splitlines: it also splits at U+2028 and its like, which are text here.
    for line in re.split(r"\r\n|\n|\r", body.decode("utf-8", errors="replace")):
        if line.startswith("event:"):
            name = line[6:].strip()
        elif line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            yield Event(name, "\n".join(data))
            name, data = "", []
    if data:
        yield Event(name, "\n".join(data))
