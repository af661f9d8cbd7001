"""
The last look at a file before it is saved, and at those that are committed: which secrets are still in it, and where.

A cassette, of ours or of another tool, is read scalar by scalar, as YAML, JSON or lines of JSON, so that neither quotes
and folded lines nor compressed bodies hide a secret; anything else is read as text.
"""

from __future__ import annotations

import base64
import binascii
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from pytest_modelroute.cassettes.encodings import decoded
from pytest_modelroute.cassettes.eventstream import opened_payloads, reframed
from pytest_modelroute.cassettes.secret_kinds import header_names_a_secret, names_a_project, stands_for_a_secret
from pytest_modelroute.cassettes.secrets import Finder, Finding, is_named_secret
from pytest_modelroute.cassettes.streams import as_text, find_in_body, find_in_url, is_framed
from pytest_modelroute.cassettes.views import Found, Path, Walk, json_tokens, settled, string_view
from pytest_modelroute.errors import RecordingError
from pytest_modelroute.providers.language import is_json

_SHOWN_OF_A_SECRET: Final = 12
"By so many of its characters a secret is found in the lines of its scalar."


@dataclass(frozen=True, slots=True)
class _Scalar:
    path: Path
    value: str
    line: int
    last_line: int
    binary: bool = False
    is_name: bool = False
    is_string: bool = True


def remaining(finder: Finder, text: str | bytes) -> list[Finding]:
    """The secrets of a file, by line; one of each kind a line."""
    whole = as_text(text)[0] if isinstance(text, bytes) else text
    scalars = _scalars(whole)
    found = set[Finding]()
    if scalars is None:
        starts = [0, *(each.end() for each in re.finditer(r"\n", whole))]
        for each in _real(whole, find_in_body(finder, whole)):
            found.add(Finding(each.kind, bisect_right(starts, each.start)))
    else:
        lines = whole.split("\n")
        comments = (
            _Scalar((), line, number, number) for number, line in enumerate(lines, 1) if line.lstrip().startswith("#")
        )
        for finding in _in_scalars(finder, [*scalars, *comments], lines):
            found.add(finding)
    return sorted(found, key=lambda finding: (finding.line, finding.kind))


def _in_scalars(finder: Finder, scalars: list[_Scalar], lines: list[str]) -> Iterator[Finding]:
    headers = dict[Path, dict[str, str]]()
    for scalar in scalars:
        owner, name = _header(scalar.path)
        if name and not scalar.is_name:
            headers.setdefault(owner, {})[name] = scalar.value
    for scalar in scalars:
        _, name = _header(scalar.path)
        if name and not scalar.is_name and header_names_a_secret(name):
            if not stands_for_a_secret(scalar.value):
                yield Finding(f"header {name}", scalar.line)
        elif "body" in scalar.path[-2:] and not scalar.is_name:
            owner = scalar.path[: len(scalar.path) - 1 - scalar.path[::-1].index("body")]
            yield from _in_body(finder, scalar, headers.get(owner, {}), lines)
        else:
            yield from _placed(_in_scalar(finder, scalar, is_header=bool(name)), scalar.value, scalar, lines)


def _in_scalar(finder: Finder, scalar: _Scalar, *, is_header: bool) -> Iterator[Found]:
    if scalar.path[-1:] in (("uri",), ("url",)):
        yield from find_in_url(finder, scalar.value)
        return
    named = is_named_secret if scalar.is_string else names_a_project
    if not scalar.is_name and not is_header and scalar.path and named(str(scalar.path[-1]), scalar.value):
        yield Found(0, len(scalar.value), "secret by its name")
    yield from finder.find(scalar.value)


def _in_body(finder: Finder, scalar: _Scalar, headers: dict[str, str], lines: list[str]) -> Iterator[Finding]:
    text, encoding = scalar.value, headers.get("content-encoding", "")
    content_type = headers.get("content-type", "").lower()
    if scalar.binary or scalar.path[-1] == "base64_string":
        try:
            body = base64.b64decode(text)
        except binascii.Error:
            body = text.encode()
        if encoding:
            try:
                body, _ = decoded(body, encoding)
            except RecordingError:
                yield Finding(f"body that cannot be looked into, encoded as {encoding!r}", scalar.line)
                return
        text = as_text(body, binary=is_framed(content_type))[0]
        if is_framed(content_type):
            text = reframed(text, opened_payloads(text)[0])
    yield from _placed(find_in_body(finder, text, content_type), text, scalar, lines)


def _header(path: Path) -> tuple[Path, str]:
    """Whose header it is, and its name in lower case; an empty name where it is none."""
    for back in (2, 3):
        if len(path) >= back and path[-back] == "headers":
            return path[:-back], str(path[1 - back]).lower()
    return (), ""


def _real(text: str, found: Iterable[Found]) -> Iterator[Found]:
    return (each for each in settled(text, found) if not stands_for_a_secret(text[each.start : each.end]))


def _placed(found: Iterable[Found], text: str, scalar: _Scalar, lines: list[str]) -> Iterator[Finding]:
    for each in _real(text, found):
        shown = text[each.start : each.end][:_SHOWN_OF_A_SECRET]
        candidates = range(scalar.line, scalar.last_line + 1)
        yield Finding(each.kind, next((line for line in candidates if shown in lines[line - 1]), scalar.line))


def _scalars(text: str) -> list[_Scalar] | None:
    """The scalars of a cassette; None for a text that is no YAML and no JSON with several of them."""
    if is_json(text):
        return list(_of_json(text, 0, len(text), 1))
    lines = [line for line in text.split("\n") if line.strip()]
    if lines and all(is_json(line) for line in lines):
        return [
            scalar for number, line in enumerate(text.split("\n"), 1) for scalar in _of_json(line, 0, len(line), number)
        ]
    if not re.search(r"(?m)^(?:- +)?[\w\"'-]+:(?: |$)", text):
        return None
    return _of_yaml(text)


def _of_json(text: str, start: int, end: int, line: int) -> Iterator[_Scalar]:
    at = start
    for token in json_tokens(text, start, end):
        line += text.count("\n", at, token.start)
        at = token.start
        value = string_view(text, token.start, token.end).text if token.is_string else text[token.start : token.end]
        yield _Scalar(token.path, value, line, line, is_name=token.is_name, is_string=token.is_string)


def _of_yaml(text: str) -> list[_Scalar] | None:
    import yaml

    scalars, walk = list[_Scalar](), Walk()
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                walk.enter(mapping=isinstance(event, yaml.MappingStartEvent))
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                walk.leave()
            elif isinstance(event, yaml.ScalarEvent):
                is_name = walk.scalar(event.value)
                first, last = _line(event.start_mark), _line(event.end_mark)
                binary = event.tag == "tag:yaml.org,2002:binary"
                scalars.append(_Scalar(tuple(walk.path), event.value, first, last, binary=binary, is_name=is_name))
                walk.passed(is_name=is_name)
            elif isinstance(event, yaml.AliasEvent):
                walk.passed(is_name=walk.scalar(""))
    except yaml.YAMLError:
        return None
    return scalars


def _line(mark: Any) -> int:
    return int(mark.line) + 1
