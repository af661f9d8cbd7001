"""
Secrets in whole bodies: also those that a stream splits.

A stream is a sequence of JSON documents (server-sent events, lines, elements of a list, frames of AWS), and a model
says a secret piece by piece, each in the next document at the same path. So the strings at one path are joined and
searched, and what is found is cut out of each piece.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Literal, cast

from pytest_modelroute.cassettes.eventstream import payloads
from pytest_modelroute.cassettes.secret_kinds import query_names_a_secret
from pytest_modelroute.cassettes.secrets import Finder
from pytest_modelroute.cassettes.views import (
    Found,
    Path,
    Step,
    Token,
    View,
    json_tokens,
    plain_view,
    settled,
    string_view,
    url_view,
)
from pytest_modelroute.providers.language import is_json

_EVENTS: Final = re.compile(r"\ufeff?\s*(?:data|event|id|retry|):")
_NEXT_LINE: Final = re.compile(r"[}\]]\s*[\r\n]\s*[{\[]")
_BREAK: Final = re.compile(r"\r\n|\n|\r")
_INDEXES: Final = ("type", "index", "output_index", "content_index", "summary_index", "contentBlockIndex", "item_id")
"Members that tell which of several texts, streamed at once, a document goes on with."


def find_in_body(finder: Finder, text: str, content_type: str = "") -> list[Found]:
    """The secrets of a body, to be replaced."""
    found: Iterable[Found]
    if "x-www-form-urlencoded" in content_type:
        found = find_in_query(finder, plain_view(text))
    elif is_framed(content_type):
        found = _in_documents(finder, [plain_view(text, start, end) for start, end in payloads(text)])
    elif _EVENTS.match(text):
        documents, others = _events(text)
        found = [*_in_documents(finder, documents), *_in_each(finder, others)]
    elif is_json(text):
        found = _in_json(finder, text)
    elif _NEXT_LINE.search(text):
        found = _in_documents(finder, list(_lines(text)))
    else:
        found = finder.find(text)
    return settled(text, found)


def as_text(body: bytes, *, binary: bool = False) -> tuple[str, Literal["utf-8", "latin-1"]]:
    """A body as text, and the charset to encode it in again; what is not UTF-8 is read with a character a byte."""
    if not binary:
        try:
            return body.decode("utf-8"), "utf-8"
        except UnicodeDecodeError:
            pass
    return body.decode("latin-1"), "latin-1"


def is_framed(content_type: str) -> bool:
    """Whether a body is a stream in frames of AWS."""
    return "vnd.amazon.eventstream" in content_type


def may_be_split(text: str, content_type: str) -> bool:
    """Whether a body may hold a secret in several pieces, or under names of its own, so that it has to be read."""
    if is_framed(content_type) or "x-www-form-urlencoded" in content_type or _EVENTS.match(text):
        return True
    return text.lstrip()[:1] == "[" or _NEXT_LINE.search(text) is not None


def find_in_url(finder: Finder, url: str) -> Iterator[Found]:
    """The secrets of a URL: user and password, parameters by their names, and what looks like one anywhere."""
    yield from finder.find(url)
    for part in re.finditer(r"[?#]([^?#]*)", url):
        yield from find_in_query(finder, plain_view(url, part.start(1), part.end(1)))


def find_in_query(finder: Finder, query: View) -> Iterator[Found]:
    """The secrets of the parameters of a query or of a form, by their names and by their looks."""
    for part in re.finditer(r"[^&;]+", query.text):
        name, equals, value = part[0].partition("=")
        if equals and value and query_names_a_secret(url_view(name).text):
            yield from query.raw([Found(part.end() - len(value), part.end(), f"query parameter {name}")])
    yield from query.raw(finder.find(query.text))


def _in_json(finder: Finder, text: str) -> Iterator[Found]:
    yield from finder.find(text)
    if text.lstrip()[0] == "[":  # a stream of Gemini without alt=sse is one list
        tokens = [token for token in json_tokens(text) if len(token.path) > 1]
        pieces = [(token.path[1:], token, string_view(text, token.start, token.end)) for token in _strings(tokens)]
        yield from _joined(finder, pieces)


def _in_each(finder: Finder, views: Iterable[View]) -> Iterator[Found]:
    for view in views:
        yield from view.raw(finder.find(view.text))


def _in_documents(finder: Finder, documents: Sequence[View]) -> Iterator[Found]:
    by_path, by_index = list[tuple[Path, Token, View]](), list[tuple[Path, Token, View]]()
    for document in documents:
        text = document.text
        if text.lstrip()[:1] not in ("{", "["):
            yield from document.raw(finder.find(text))
            by_path.append(((), Token((), 0, len(text)), document))
            continue
        tokens = list(json_tokens(text))
        yield from document.raw(finder.in_tokens(text, tokens))
        parsed = _parsed(text)
        for token in _strings(tokens):
            inner = string_view(text, token.start, token.end)
            outer = View(
                inner.text,
                [document.starts[place] for place in inner.starts],
                [document.ends[place - 1] for place in inner.ends],
            )
            by_path.append((token.path, token, outer))
            by_index.append((_indexed(parsed, token.path), token, outer))
    yield from _joined(finder, by_path)
    yield from _joined(finder, by_index)


def _strings(tokens: Iterable[Token]) -> Iterator[Token]:
    return (token for token in tokens if token.is_string and not token.is_name and token.end > token.start)


def _joined(finder: Finder, pieces: Iterable[tuple[Path, Token, View]]) -> Iterator[Found]:
    groups = dict[Path, list[View]]()
    for path, _, view in pieces:
        groups.setdefault(path, []).append(view)
    for views in groups.values():
        if len(views) > 1:
            whole = "".join(view.text for view in views)
            yield from _cut(settled(whole, finder.find(whole)), views)


def _cut(found: Iterable[Found], views: Sequence[View]) -> Iterator[Found]:
    """What of each piece belongs to a secret: the first piece gets the word in its place, the others nothing."""
    begins, at = list[int](), 0
    for view in views:
        begins.append(at)
        at += len(view.text)
    for each in found:
        put, number = each.put, bisect_right(begins, each.start) - 1
        while number < len(views) and begins[number] < each.end:
            view, begin = views[number], begins[number]
            first, last = max(each.start - begin, 0), min(each.end - begin, len(view.text))
            if first < last:
                yield from view.raw([Found(first, last, each.kind, put)])
                put = ""
            number += 1


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None  # the last document of a stream that was cut


def _indexed(parsed: Any, path: Path) -> Path:
    """The path with the numbers that documents give to their parts, in place of positions in lists."""
    steps: list[Step] = [_which(parsed)]
    for step in path:
        try:
            parsed = parsed[step]
        except (KeyError, IndexError, TypeError):
            parsed = None
        steps.append(step if isinstance(step, str) else _which(parsed) or step)
    return tuple(steps)


def _which(value: Any) -> str:
    if not isinstance(value, dict):
        return ""
    members = cast("dict[str, object]", value)
    return " ".join(f"{name}={members[name]}" for name in _INDEXES if isinstance(members.get(name), str | int))


def _lines(text: str) -> Iterator[View]:
    at = 0
    for line in (*_BREAK.finditer(text), None):
        end = len(text) if line is None else line.start()
        if end > at:
            yield plain_view(text, at, end)
        at = end if line is None else line.end()


def _events(text: str) -> tuple[list[View], list[View]]:
    """The data of each server-sent event, and all other lines."""
    documents, others, data = list[View](), list[View](), list[tuple[int, int]]()
    at = 0
    for found in (*_BREAK.finditer(text), None):
        end = len(text) if found is None else found.start()
        if text.startswith("data:", at):
            data.append((at + (6 if text.startswith(" ", at + 5) else 5), end))
        elif end > at:
            others.append(plain_view(text, at, end))
        if data and (end == at or found is None):
            documents.append(_together(text, data))
            data = []
        at = end if found is None else found.end()
    return documents, others


def _together(text: str, lines: Sequence[tuple[int, int]]) -> View:
    """The data of an event, with a line break between its lines."""
    if len(lines) == 1:
        return plain_view(text, *lines[0])
    pieces, starts, ends = list[str](), list[int](), list[int]()
    for number, (start, end) in enumerate(lines):
        if number:
            pieces.append("\n")
            starts.append(lines[number - 1][1])
            ends.append(start)
        pieces.append(text[start:end])
        starts += range(start, end)
        ends += range(start + 1, end + 1)
    return View("".join(pieces), starts, ends)
