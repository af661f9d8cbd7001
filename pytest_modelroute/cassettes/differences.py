"""In what two requests differ, by JSON path, and how that is shown to people."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any, Final, Literal, TypeAlias, cast
from unicodedata import normalize
from urllib.parse import urlsplit

from pytest_modelroute.cassettes.interaction import RecordedRequest
from pytest_modelroute.cassettes.json_paths import Place, write_path
from pytest_modelroute.cassettes.matching import Matching, normal_path, read_form, read_multipart

_SHOWN: Final = 60
"Characters shown of a value."
_BEFORE: Final = 20
"Of them, those before the first character that differs."
QUERY: Final = "query parameter "
"What stands before the name of one, in `Difference.where`."
Kind: TypeAlias = Literal["changed", "added", "removed"]
Redact: TypeAlias = Callable[[str], str]


class Absent(Enum):
    """What stands in a difference for a value that is not there."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One place at which a recorded request and a new one differ."""

    where: str
    "The JSON path, or the part of the request: host, path, query parameter ..."
    place: Place | None = None
    "The steps of the path; None outside of a JSON body."
    old: Any = ABSENT
    "As recorded; numbers with a point are Decimals."
    new: Any = ABSENT
    "As asked for now."

    @property
    def kind(self) -> Kind:
        """Whether the value is another one, is new, or is there no more."""
        return "added" if self.old is ABSENT else "removed" if self.new is ABSENT else "changed"

    def shown(self, redact: Redact) -> str:
        """One line; long texts are cut around the first character that differs, after they were redacted."""
        if isinstance(self.old, str) and isinstance(self.new, str):
            return f"changed {self.where}: {_texts(redact(self.old), redact(self.new))}"
        values = [_value(value, redact) for value in (self.old, self.new) if value is not ABSENT]
        return f"{self.kind} {self.where}: {' -> '.join(values)}"


def json_diff(old: Any, new: Any) -> list[Difference]:
    """
    In what two JSON values differ, in the order of the old one, then what is new.

    Elements of arrays are compared from both ends, so that one put in, or taken out, is one difference. Numbers are
    compared exactly, and true is not 1.
    """
    return list(_walk(old, new, ()))


def request_diff(old: RecordedRequest, new: RecordedRequest, matching: Matching) -> list[Difference]:
    """In what two requests differ, as far as it tells them apart."""
    if matching.key(old) == matching.key(new):
        return []
    try:
        found = [*_address_diff(old, new, matching), *_body_diff(old, new, matching)]
    except RecursionError:  # nested deeper than anybody reads
        found = []
    return found or [_texts_differ("body", old.body, new.body)]


def read_json(body: bytes) -> Any:
    """
    A JSON body with its numbers as they stand there.

    Raises:
        ValueError, RecursionError, InvalidOperation: It is none.

    """
    return json.loads(body.decode(), parse_float=Decimal, parse_constant=_refuse)


def common_length(old: str, new: str) -> int:
    """How many characters two texts share at their beginning."""
    low, high = 0, min(len(old), len(new))
    while low < high:
        middle = (low + high + 1) // 2
        if old[low:middle] == new[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def printable(text: str) -> str:
    """A text with what cannot be seen, or moves a terminal, escaped."""
    return text if text.isprintable() else "".join(each if each.isprintable() else _escaped(each) for each in text)


def _walk(old: Any, new: Any, place: Place) -> Iterator[Difference]:
    if isinstance(old, dict) and isinstance(new, dict):
        yield from _walk_members(cast("dict[str, Any]", old), cast("dict[str, Any]", new), place)
    elif isinstance(old, list) and isinstance(new, list):
        yield from _walk_elements(cast("list[Any]", old), cast("list[Any]", new), place)
    elif isinstance(old, bool) is not isinstance(new, bool) or old != new:
        yield _at(place, old, new)


def _walk_members(old: dict[str, Any], new: dict[str, Any], place: Place) -> Iterator[Difference]:
    for name in [*old, *(name for name in new if name not in old)]:
        before, after = old.get(name, ABSENT), new.get(name, ABSENT)
        if before is ABSENT or after is ABSENT:
            yield _at((*place, name), before, after)
        else:
            yield from _walk(before, after, (*place, name))


def _walk_elements(old: list[Any], new: list[Any], place: Place) -> Iterator[Difference]:
    shorter = min(len(old), len(new))
    begin = next((at for at in range(shorter) if not _same(old[at], new[at])), shorter)
    end = next((at for at in range(shorter - begin) if not _same(old[-1 - at], new[-1 - at])), shorter - begin)
    pairs = shorter - begin - end
    for at in range(begin, begin + pairs):
        yield from _walk(old[at], new[at], (*place, at))
    for at in range(begin + pairs, len(old) - end):
        yield _at((*place, at), old[at], ABSENT)
    for at in range(begin + pairs, len(new) - end):
        yield _at((*place, at), ABSENT, new[at])


def _same(old: Any, new: Any) -> bool:
    return next(_walk(old, new, ()), None) is None


def _at(place: Place, old: Any, new: Any) -> Difference:
    return Difference(where=write_path(place), place=place, old=old, new=new)


def _address_diff(old: RecordedRequest, new: RecordedRequest, matching: Matching) -> Iterator[Difference]:
    if old.method.upper() != new.method.upper():
        yield Difference(where="method", old=old.method, new=new.method)
    try:
        before, after = urlsplit(old.url), urlsplit(new.url)
    except ValueError:
        yield Difference(where="url", old=old.url, new=new.url)
        return
    for where, one, other in (
        ("host", origin(old.url), origin(new.url)),
        ("path", normal_path(before.path), normal_path(after.path)),
    ):
        if one != other:
            yield Difference(where=where, old=one, new=other)
    yield from _fields_diff(QUERY, matching.query(before.query), matching.query(after.query))


def origin(url: str) -> str:
    """Scheme, host and port, without a user and without a port that goes without saying."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2].lower()
    default = {"http": ":80", "https": ":443"}.get(parts.scheme, ":")
    return f"{parts.scheme}://{host.removesuffix(default)}"


def _fields_diff(what: str, old: Any, new: Any) -> Iterator[Difference]:
    """Of a query or a form; values of one name are compared in their order."""
    before, after = _by_name(old), _by_name(new)
    for name in [*before, *(name for name in after if name not in before)]:
        for was, now in _paired(before.get(name, []), after.get(name, [])):
            if was != now:
                yield Difference(where=what + printable(name), old=was, new=now)


def _by_name(pairs: Any) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    for name, value in cast("list[tuple[str, str]]", pairs):
        fields.setdefault(name, []).append(value)
    return fields


def _paired(old: list[Any], new: list[Any]) -> Iterator[tuple[Any, Any]]:
    for at in range(max(len(old), len(new))):
        yield (old[at] if at < len(old) else ABSENT), (new[at] if at < len(new) else ABSENT)


def _body_diff(old: RecordedRequest, new: RecordedRequest, matching: Matching) -> Iterator[Difference]:
    if old.body == new.body:
        return
    try:
        found = json_diff(read_json(old.body), read_json(new.body))
    except (ValueError, InvalidOperation):
        yield from _other_bodies_diff(old, new)
        return
    yield from (each for each in found if each.place is None or not matching.ignores(each.place))


def _other_bodies_diff(old: RecordedRequest, new: RecordedRequest) -> Iterator[Difference]:
    types = [request.header("content-type") for request in (old, new)]
    if all("form-urlencoded" in each.lower() for each in types):
        yield from _fields_diff("field ", read_form(old.body), read_form(new.body))
        return
    parts = [read_multipart(request.body, kind) for request, kind in zip((old, new), types, strict=True)]
    if parts[0] is not None and parts[1] is not None:
        for number, (was, now) in enumerate(_paired(parts[0][1:-1], parts[1][1:-1]), start=1):
            if was != now:
                yield _texts_differ(f"part {number}", was, now)
        return
    yield _texts_differ("body", old.body or ABSENT, new.body or ABSENT)


def _texts_differ(where: str, *bodies: bytes | Absent) -> Difference:
    old, new = (each if isinstance(each, Absent) else each.decode("utf-8", "backslashreplace") for each in bodies)
    return Difference(where=where, old=old, new=new)


def _refuse(token: str) -> Any:
    raise ValueError(f"{token} is not JSON")


def _texts(old: str, new: str) -> str:
    if old == new:
        return "in what stands for a secret, which is never shown"
    if normalize("NFC", old) == normalize("NFC", new):  # they look alike, and are put together from other characters
        old, new = ascii(old)[1:-1], ascii(new)[1:-1]
    start = max(0, common_length(old, new) - _BEFORE)
    return f"{_quoted(_cut(old, start))} -> {_quoted(_cut(new, start))}"


def _value(value: Any, redact: Redact) -> str:
    if isinstance(value, str):
        return _quoted(_cut(redact(value)))
    try:
        return _cut(redact(_json(value)))
    except RecursionError:
        return "what is nested too deep to be shown"


def _json(value: Any) -> str:
    """JSON with its numbers as they stand there."""
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value).items()
        return "{" + ", ".join(f"{_json(name)}: {_json(each)}" for name, each in members) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_json(each) for each in cast("list[Any]", value)) + "]"
    return str(value) if isinstance(value, Decimal) else printable(json.dumps(value, ensure_ascii=False))


def _quoted(text: str) -> str:
    return f'"{printable(text)}"'


def _cut(text: str, start: int = 0) -> str:
    if len(text) <= _SHOWN:
        return text
    end = start + _SHOWN
    return ("..." if start else "") + text[start:end] + ("..." if end < len(text) else "")


def _escaped(character: str) -> str:
    return repr(character)[1:-1]
