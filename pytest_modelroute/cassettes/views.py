"""Text as it was meant, behind the escapes of JSON and URLs, and where each character stands in the raw text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

REDACTED: Final = "REDACTED"
"What stands in place of a secret."

Step = str | int
Path = tuple[Step, ...]
"From the outside to a string: names of members and positions in lists."


@dataclass(frozen=True, slots=True)
class Found:
    """A secret in a text, from `start` up to `end`."""

    start: int
    end: int
    kind: str
    put: str = REDACTED
    "What is put in its place; nothing for the later pieces of a secret that was split."


@dataclass(frozen=True, slots=True)
class View:
    """A decoded text; its character i stands in the raw text from `starts[i]` up to `ends[i]`."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]

    def raw(self, found: Iterable[Found]) -> Iterator[Found]:
        """The same places in the raw text."""
        return (Found(self.starts[each.start], self.ends[each.end - 1], each.kind, each.put) for each in found)


@dataclass(frozen=True, slots=True)
class Token:
    """A string or a number of a JSON document."""

    path: Path
    start: int
    end: int
    "Without the quotes of a string."
    is_name: bool = False
    is_string: bool = True

    @property
    def name(self) -> str:
        """The name of the member that it is, or that it is in a list of."""
        return next((step for step in reversed(self.path) if isinstance(step, str)), "")


def plain_view(text: str, start: int = 0, end: int | None = None) -> View:
    """A part of a text as it stands."""
    end = len(text) if end is None else end
    return View(text[start:end], range(start, end), range(start + 1, end + 1))


_ESCAPE: Final = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\[^u]|[^\\]+|\\", re.DOTALL
)


def string_view(text: str, start: int, end: int) -> View:
    """The JSON string that stands there without its quotes; escapes that are cut or wrong are taken as they stand."""
    if text.find("\\", start, end) < 0:
        return plain_view(text, start, end)
    pieces, starts, ends = list[str](), list[int](), list[int]()
    for found in _ESCAPE.finditer(text, start, end):
        piece = _unescaped(found[0])
        pieces.append(piece)
        if len(piece) == found.end() - found.start():
            starts += range(found.start(), found.end())
            ends += range(found.start() + 1, found.end() + 1)
        else:
            starts += [found.start()] * len(piece)
            ends += [found.end()] * len(piece)
    return View("".join(pieces), starts, ends)


def _unescaped(raw: str) -> str:
    if raw[0] != "\\":
        return raw
    try:
        return str(json.loads(f'"{raw}"'))
    except ValueError:
        return raw


_QUOTED: Final = re.compile(r"(?:%[0-9A-Fa-f]{2})+|[^%]+|%")


def url_view(text: str) -> View:
    """A URL, or a part of one, with what is %-encoded decoded."""
    if "%" not in text:
        return plain_view(text)
    pieces, starts = list[str](), list[int]()
    for found in _QUOTED.finditer(text):
        raw = found[0]
        if len(raw) < 3 or raw[0] != "%":  # noqa: PLR2004 - % and two digits
            pieces.append(raw)
            starts += range(found.start(), found.end())
            continue
        place = found.start()
        for character in bytes.fromhex(raw.replace("%", "")).decode("utf-8", "surrogateescape"):
            pieces.append(character)
            starts.append(place)
            place += 3 * len(character.encode("utf-8", "surrogateescape"))
    return View("".join(pieces), starts, [*starts[1:], len(text)])


class Walk:
    """Where one is in a document of JSON or YAML, that is gone through from its start."""

    def __init__(self) -> None:
        """At its outside."""
        self.path = list[Step]()
        self._in_mapping = list[bool]()
        self._name_is_next = list[bool]()

    def enter(self, *, mapping: bool) -> None:
        """A mapping or a list begins."""
        self.path.append("" if mapping else 0)
        self._in_mapping.append(mapping)
        self._name_is_next.append(mapping)

    def leave(self) -> None:
        """It ends."""
        if self.path:
            self.path.pop()
            self._in_mapping.pop()
            self._name_is_next.pop()
        self.passed(is_name=False)

    def scalar(self, value: str) -> bool:
        """Whether a scalar is the name of a member; the path is that of the member then."""
        is_name = bool(self._name_is_next) and self._name_is_next[-1]
        if is_name:
            self.path[-1] = value
        return is_name

    def passed(self, *, is_name: bool) -> None:
        """A scalar, or all of a mapping or list, is over."""
        if not self.path:
            return
        if self._in_mapping[-1]:
            self._name_is_next[-1] = not is_name
        elif isinstance(self.path[-1], int):
            self.path[-1] += 1


_TOKEN: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[{}\[\]]|[^\s{}\[\],:"]+', re.DOTALL)


def json_tokens(text: str, start: int = 0, end: int | None = None) -> Iterator[Token]:
    """The strings and numbers of a JSON document with their paths; also of one that was cut off."""
    walk = Walk()
    for found in _TOKEN.finditer(text, start, len(text) if end is None else end):
        raw = found[0]
        if raw in "{[":
            walk.enter(mapping=raw == "{")
        elif raw in "}]":
            walk.leave()
        elif raw[0] == '"':
            closed = len(raw) > 1 and raw[-1] == '"'
            first, last = found.start() + 1, found.end() - closed
            is_name = walk.scalar(string_view(text, first, last).text)
            yield Token(tuple(walk.path), first, last, is_name=is_name)
            walk.passed(is_name=is_name)
        else:
            if raw not in ("true", "false", "null"):
                yield Token(tuple(walk.path), found.start(), found.end(), is_string=False)
            walk.passed(is_name=False)


def settled(text: str, found: Iterable[Found]) -> list[Found]:
    """
    What has to be replaced, in order, no two of them touching.

    Places that overlap or touch become one; a REDACTED that is partly in one is wholly in it; what is REDACTED already
    is left alone. So redacting ends: each time, fewer characters are left that are none of a REDACTED.
    """
    atoms = [atom.span() for atom in re.finditer(REDACTED, text)]
    wide = list[Found]()
    for each in found:
        start, end = each.start, each.end
        for first, last in atoms:
            if first < end and start < last:
                start, end = min(start, first), max(end, last)
        wide.append(Found(start, end, each.kind, each.put))
    merged = list[Found]()
    for each in sorted(wide, key=lambda one: (one.start, one.end)):
        if not merged or each.start > merged[-1].end:
            merged.append(each)
        else:
            before = merged.pop()
            put = max(before.put, each.put, key=len)
            merged.append(Found(before.start, max(before.end, each.end), before.kind, put))
    return [each for each in merged if text[each.start : each.end] != each.put]


def replaced(text: str, found: Sequence[Found]) -> str:
    """The text with each place, of a list that is settled, replaced by what is put there."""
    pieces, at = list[str](), 0
    for each in found:
        pieces += (text[at : each.start], each.put)
        at = each.end
    return "".join((*pieces, text[at:]))
