"""
Which requests are equal: a key of each, so that a recorded one is found in constant time.

Two requests are equal if a provider could not tell them apart: by method, address and the meaning of the body. Headers
say who asks and with which client, not what is asked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from hashlib import blake2b
from json import JSONDecoder, JSONEncoder
from typing import Final, NoReturn, cast
from urllib.parse import quote, unquote_to_bytes, urlsplit

from pytest_modelroute.cassettes.interaction import RecordedRequest
from pytest_modelroute.cassettes.json_paths import Pattern, Place, covers, parse_path, without

_VERSION: Final = 1
"Of the way in which a key is made; a cache of keys made in another way is void."
_DIGEST: Final = 16
_DEFAULT_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}
_PATH_SAFE: Final = "-._~!$&'()*+,;=:@"
"What may stand in a segment of a path as it is (RFC 3986)."
_PLAIN_PATH: Final = re.compile(rf"(/[\w{re.escape(_PATH_SAFE)}]*)+", re.ASCII)
_BOUNDARY: Final = re.compile(r"""^multipart/.*\bboundary=(?:"([^"]+)"|([^\s;"]+))""", re.IGNORECASE)
_FIRST_BOUNDARY: Final = re.compile(rb"--([^\r\n]{1,70})\r\n")
_DIGITS: Final = 4000
"Whole numbers of up to so many digits are kept as such; Python reads none of more than 4300."
_UNREADABLE: Final = (ValueError, RecursionError, InvalidOperation)


class Matching:
    """
    Equality of requests.

    Attributes:
        fingerprint: Tells the version of the algorithm and these settings, for a cache of keys.

    """

    def __init__(self, *, ignore_paths: Sequence[str] = (), ignore_query: Sequence[str] = ()) -> None:
        """
        Read the settings once.

        Args:
            ignore_paths: Paths into JSON bodies that do not tell requests apart.
            ignore_query: Names of query parameters that do not tell requests apart.

        Raises:
            CassetteError: A path is none; the message shows what one looks like.

        """
        self._ignored = tuple(parse_path(path) for path in ignore_paths)
        self._ignored_query = frozenset(ignore_query)
        said = repr((_VERSION, sorted(map(repr, self._ignored)), sorted(self._ignored_query)))
        self.fingerprint: str = blake2b(said.encode(), digest_size=_DIGEST).hexdigest()
        # The calls of a session go to a handful of addresses.
        self._begin = lru_cache(maxsize=1024)(self._begin_anew)

    def key(self, request: RecordedRequest) -> str:
        """32 hex digits, the same for equal requests alone; the request holds no secrets any more."""
        digest = self._begin(request.method, request.url).copy()
        for part in self._body(request):
            digest.update(part)
        return digest.hexdigest()

    def ignores(self, place: Place) -> bool:
        """Whether a place in a JSON body does not tell requests apart."""
        return any(covers(pattern, place) for pattern in self._ignored)

    def query(self, query: str) -> tuple[tuple[str, str], ...]:
        """The parameters that tell requests apart, sorted by name; those of one name in the order sent."""
        told = [
            pair for pair in read_form(query.encode("utf-8", "surrogatepass")) if pair[0] not in self._ignored_query
        ]
        return tuple(sorted(told, key=_name))

    def _begin_anew(self, method: str, url: str) -> blake2b:
        address = (method.upper(), *self._address(url))
        return blake2b(repr(address).encode(), digest_size=_DIGEST)

    def _address(self, url: str) -> tuple[object, ...]:
        try:
            parts = urlsplit(url)
            port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
        except ValueError:  # no address at all: it is equal to nothing but itself
            return (url,)
        return parts.scheme, parts.hostname, port, normal_path(parts.path), self.query(parts.query)

    def _body(self, request: RecordedRequest) -> tuple[bytes, ...]:
        """What a body means; the first part says how it was read, so that no two ways come to the same."""
        body = request.body
        if not body:
            return ()
        if body.lstrip()[:1] in (b"{", b"[") or "json" in request.header("content-type").lower():
            try:
                return b"\njson ", canonical_json(body, self._ignored)
            except _UNREADABLE:
                return b"\nraw ", body
        content_type = request.header("content-type")
        if content_type.lower().startswith("application/x-www-form-urlencoded"):
            return b"\nform ", repr(sorted(read_form(body), key=_name)).encode()
        parts = read_multipart(body, content_type)
        if parts is not None:
            return b"\nparts ", *(b"%d:%b" % (len(part), part) for part in parts)
        return b"\nraw ", body


def canonical_json(body: bytes, ignored: Sequence[Pattern] = ()) -> bytes:
    """
    One form for all JSON texts that mean the same: 1 is 1.0 but not true, and of members of one name the last counts.

    Numbers are compared exactly, whatever their size. The form is JSON but for numbers that a float cannot hold.

    Raises:
        ValueError, RecursionError, InvalidOperation: It is no JSON, or none that can be compared.

    """
    read = _DECODER.decode(body.decode())
    if ignored:
        without(read, ignored)
    try:
        return _ENCODER.encode(read).encode("ascii")
    except _InexactError:
        exact: list[str] = []

        def set_aside(number: Decimal) -> float:
            exact.append(str(_scientific(number)))
            return math.nan  # NaN is a token that no JSON text has

        return "\n".join([_encoder(set_aside).encode(read), *exact]).encode("ascii")


def normal_path(path: str) -> str:
    """A path with one form for all ways of percent-encoding; an encoded slash stays another thing than a slash."""
    if _PLAIN_PATH.fullmatch(path):
        return path
    segments = (path or "/").encode("utf-8", "surrogatepass").split(b"/")
    return "/".join(quote(unquote_to_bytes(segment), safe=_PATH_SAFE) for segment in segments)


def read_form(body: bytes) -> list[tuple[str, str]]:
    """The fields of a query or of a form, in the order sent; bytes that are no UTF-8 stay apart as surrogates."""
    fields = (field.partition(b"=") for field in body.replace(b"+", b" ").split(b"&") if field)
    return [(_decoded(name), _decoded(value)) for name, _, value in fields]


def read_multipart(body: bytes, content_type: str) -> list[bytes] | None:
    """What stands between the boundaries, which are random; None where it is not of that form."""
    named = _BOUNDARY.search(content_type)
    first = _FIRST_BOUNDARY.match(body)
    boundary = (named[1] or named[2]).encode() if named else first[1] if first else None
    if boundary is None:
        return None
    parts = (b"\r\n" + body).split(b"\r\n--" + boundary)
    return parts if len(parts) > 1 and parts[-1].startswith(b"--") else None


class _InexactError(Exception):
    """A number is not that of any float."""


def _name(pair: tuple[str, str]) -> str:
    return pair[0]


def _decoded(text: bytes) -> str:
    return unquote_to_bytes(text).decode("utf-8", "surrogateescape")


def _number(text: str) -> int | float | Decimal:
    """The number that a JSON text with a point or an exponent means, exactly."""
    value = float(text)
    if repr(value) == text and not value.is_integer():
        return value
    number = Decimal(text)
    if not number:
        return 0
    if _scientific(number)[2] >= 0 and number.adjusted() < _DIGITS:
        return int(number)
    return value if Decimal(repr(value)) == number else number


def _scientific(number: Decimal) -> tuple[int, str, int]:
    """Sign, digits without zeros at the end, exponent: Decimal's own normalisation would round."""
    sign, digits, exponent = number.as_tuple()
    text = "".join(map(str, digits))
    shortened = text.rstrip("0")
    return sign, shortened, cast("int", exponent) + len(text) - len(shortened)


def _no_number(token: str) -> NoReturn:
    raise ValueError(f"{token} is not JSON")


def _refuse(_number: object) -> NoReturn:
    raise _InexactError


def _encoder(default: Callable[[Decimal], float]) -> JSONEncoder:
    return JSONEncoder(sort_keys=True, separators=(",", ":"), check_circular=False, default=default)


_DECODER: Final = JSONDecoder(parse_float=_number, parse_constant=_no_number)
_ENCODER: Final = _encoder(_refuse)
