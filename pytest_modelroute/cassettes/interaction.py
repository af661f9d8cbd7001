"""
One recorded interaction, and its form in a cassette.

The form is vcrpy's. What we know beyond it (when, how fast, by which model) stands in `response.modelroute`, the one
place that vcrpy 6 to 9 and pytest-recording load, ignore, and keep when they save.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, cast

from pytest_modelroute.cassettes.facts import KEY, Facts, shown
from pytest_modelroute.errors import CassetteError

Headers = tuple[tuple[str, str], ...]
"Name and value, in the order sent; a name may come more than once."
_ENCODING: Final = "content-encoding"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a request and a response have in common."""

    headers: Headers = ()
    body: bytes = b""

    def header(self, name: str) -> str:
        """The value of a header by its name in lower case; empty where it is not there."""
        return next((value for key, value in self.headers if key.lower() == name), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRequest(Message):
    """A request as it was sent, or as a cassette holds it: without secrets."""

    method: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedResponse(Message):
    """A response as a cassette holds it."""

    status: int
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """A request and its response."""

    request: RecordedRequest
    response: RecordedResponse
    facts: Facts | None = None
    "None for one that another tool recorded."

    def to_raw(self) -> dict[str, Any]:
        """As vcrpy writes it, with our facts in the response."""
        response: dict[str, Any] = {
            "status": {"code": self.response.status, "message": self.response.reason},
            "headers": _many(self.response.headers),
            "body": {"string": text_or_bytes(self.response.body)},
        }
        if self.facts is not None:
            response[KEY] = self.facts.to_raw()
        request = {
            "method": self.request.method,
            "uri": self.request.url,
            "body": text_or_bytes(self.request.body) if self.request.body else None,
            "headers": _many(self.request.headers),
        }
        return {"request": request, "response": response}

    @classmethod
    def from_raw(cls, raw: Any) -> Interaction:
        """
        Read one, of ours or of vcrpy or pytest-recording.

        Raises:
            CassetteError: Something is missing or of the wrong type; the message names it by its path.

        """
        if not isinstance(raw, dict) or not {"request", "response"} <= raw.keys():
            raise CassetteError(f"an interaction is a mapping with request and response, not {shown(raw)}")
        both = cast("dict[str, Any]", raw)
        request, response = both["request"], both["response"]
        if not isinstance(request, dict) or not isinstance(response, dict):
            raise CassetteError("request and response are mappings")
        asked, answered = cast("dict[str, Any]", request), cast("dict[str, Any]", response)
        return cls(
            request=RecordedRequest(
                method=_text(asked, "request", "method"),
                url=_text(asked, "request", "uri"),
                headers=_headers(asked.get("headers"), "request.headers"),
                body=_asked(asked.get("body")),
            ),
            response=_response(answered),
            facts=Facts.from_raw(answered[KEY]) if KEY in answered else None,
        )


def checksum(interaction: Interaction) -> str:
    """
    Tells an interaction that was edited by hand.

    Over method, URL, both bodies, status and our facts, but not over headers, which other tools write in forms of their
    own, nor over the count, which moves when a cassette grows.
    """
    digest = sha256()
    request, response, facts = interaction.request, interaction.response, interaction.facts
    known = {} if facts is None else facts.to_raw()
    said = {name: value for name, value in known.items() if name not in ("checksum", "count")}
    parts: Iterable[bytes] = (
        request.method.encode(),
        request.url.encode(),
        request.body,
        str(response.status).encode(),
        response.body,
        repr(sorted((name, repr(_plain(value))) for name, value in said.items())).encode(),
    )
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return f"sha256:{digest.hexdigest()[:32]}"


def text_or_bytes(body: bytes) -> str | bytes:
    """A body as a cassette holds it: text wherever it is UTF-8, so that people can read it."""
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return body


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return sorted(cast("dict[str, object]", value).items())
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)  # 1 and 1.0 are one number, whoever wrote it
    if isinstance(value, list | tuple):
        return [_plain(each) for each in cast("list[object]", value)]
    return value


def _response(raw: dict[str, Any]) -> RecordedResponse:
    status: object
    reason: object
    body: object
    if "status_code" in raw:  # vcrpy before 5 wrote httpx's responses in a form of their own
        status, reason, body = cast("object", raw["status_code"]), "", raw.get("content")
    else:
        line = raw.get("status")
        if not isinstance(line, dict):
            raise CassetteError(f"response.status is a mapping with code and message, not {line!r}")
        status, reason = (cast("dict[str, Any]", line).get(name) for name in ("code", "message"))
        held = raw.get("body")
        body = cast("dict[str, Any]", held).get("string") if isinstance(held, dict) else held
    if type(status) is not int or not 100 <= status <= 599:  # noqa: PLR2004 - what HTTP has
        raise CassetteError(f"response.status.code is a status of HTTP, such as 200, not {status!r}")
    content = _body(body, "response.body.string")
    headers = _headers(raw.get("headers"), "response.headers")
    return RecordedResponse(
        status=status, reason=str(reason or ""), headers=_encoded_as_said(headers, content), body=content
    )


def _encoded_as_said(headers: Headers, body: bytes) -> Headers:
    """
    Headers without a content encoding that the body no longer has.

    vcrpy keeps the header with the decoded body where the HTTP library has decoded it. What is compressed is no text:
    gzip, zstd and zlib begin with bytes that UTF-8 does not have in that place.
    """
    if not any(name.lower() == _ENCODING for name, _value in headers) or isinstance(text_or_bytes(body), bytes):
        return headers
    return tuple(pair for pair in headers if pair[0].lower() != _ENCODING)


def _headers(raw: object, where: str) -> Headers:
    if raw is None:
        return ()
    if not isinstance(raw, dict):
        raise CassetteError(f"{where} is a mapping of names to lists of values, not {shown(raw)}")
    pairs: list[tuple[str, str]] = []
    for name, values in cast("dict[Any, Any]", raw).items():
        given = cast("list[Any]", values) if isinstance(values, list | tuple) else [values]
        pairs += [(_word(name), _word(value)) for value in given]
    return tuple(pairs)


def _word(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _asked(raw: Any) -> bytes:
    """The body of a request; vcrpy keeps what aiohttp was given as `json=`, and not what it made of that."""
    parts = cast("list[object]", raw) if isinstance(raw, list) else []
    if isinstance(raw, Mapping) or any(isinstance(part, Mapping) for part in parts):
        try:
            return json.dumps(raw).encode()
        except (TypeError, ValueError):
            raise CassetteError(f"request.body is text, bytes or JSON, not {shown(cast('object', raw))}") from None
    return _body(raw, "request.body")


def _body(raw: Any, where: str) -> bytes:
    if raw is None:
        return b""
    if isinstance(raw, str):
        return raw.encode("utf-8", "surrogatepass")
    if isinstance(raw, bytes):
        return raw
    read = getattr(raw, "read", None)  # vcrpy's loader rebuilds a file or an iterator that was sent
    if callable(read):
        return cast("bytes", read())
    if isinstance(raw, Iterable) and not isinstance(raw, Mapping):
        pieces = cast("Iterable[object]", raw)
        return b"".join(_body(piece, where) for piece in pieces)
    raise CassetteError(f"{where} is text or bytes, not {shown(raw)}")


def _text(raw: dict[str, Any], where: str, name: str) -> str:
    value = raw.get(name)
    if not isinstance(value, str) or not value:
        raise CassetteError(f"{where}.{name} is text, not {shown(value)}")
    return value


def _many(headers: Headers) -> dict[str, list[str]]:
    lists: dict[str, list[str]] = {}
    for name, value in headers:
        lists.setdefault(name, []).append(value)
    return lists
