"""
Requests as a cassette holds them, with the keys back that were taken out when they were recorded.

A key goes to its provider's own host alone, or to a host that the settings name for the provider: a cassette is a file
that anybody may have written, and must not be able to send a key elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pytest_modelroute.cassettes.encodings import decoded
from pytest_modelroute.cassettes.interaction import Headers, RecordedRequest
from pytest_modelroute.cassettes.keys import key_from_environment
from pytest_modelroute.cassettes.views import REDACTED
from pytest_modelroute.errors import RecordingError
from pytest_modelroute.providers.registry import provider_at, provider_behind

_HEADERS: Final[Mapping[str, str]] = {"anthropic": "x-api-key", "azure": "api-key", "google": "x-goog-api-key"}
"Provider -> the header that carries its key; a bearer token for all others."
_KEY_HEADERS: Final = frozenset({"authorization", "x-api-key", "api-key", "x-goog-api-key"})
_SET_ANEW: Final = frozenset({"content-length", "transfer-encoding", "connection", "host", "content-encoding"})
_ON_THIS_MACHINE: Final = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRequest:
    """A request that can be sent."""

    method: str
    url: str
    headers: Headers
    body: bytes


def with_key(request: RecordedRequest, hosts: Sequence[tuple[str, str]] = ()) -> LiveRequest:
    """
    A recorded request as it can be sent again.

    Args:
        request: As the cassette holds it.
        hosts: (host, provider) of the settings.

    Raises:
        RecordingError: Its key is not set, or cannot be made again, or more than the key is missing; says which.

    """
    address = urlsplit(request.url)
    host = address.hostname or ""
    provider = _trusted(host, dict(hosts))
    query = [pair for pair in parse_qsl(address.query, keep_blank_values=True) if pair != ("key", REDACTED)]
    same = len(query) == len(parse_qsl(address.query, keep_blank_values=True))
    url = request.url if same else urlunsplit(address._replace(query=urlencode(query)))
    body, _ = decoded(request.body, request.header("content-encoding"))
    if REDACTED in url or REDACTED.encode() in body:
        raise RecordingError(f"its {'URL' if REDACTED in url else 'body'} holds {REDACTED}")
    headers = [
        (name, value)
        for name, value in request.headers
        if name.lower() not in _KEY_HEADERS | _SET_ANEW and value != REDACTED
    ]
    if provider is not None:
        headers += _key(provider, host, encrypted=address.scheme == "https")
    return LiveRequest(method=request.method, url=url, headers=tuple(headers), body=body)


def _trusted(host: str, hosts: Mapping[str, str]) -> str | None:
    """Whose key a host may be sent; None for nobody's."""
    return provider_behind(hosts.get(host)) or provider_at(host)


def _key(provider: str, host: str, *, encrypted: bool) -> Headers:
    if provider == "aws" or (provider == "google" and "aiplatform" in host):
        raise RecordingError(f"requests to {host} are signed anew each time, and a cassette cannot do that")
    if not encrypted and host not in _ON_THIS_MACHINE:
        raise RecordingError(f"{host} is not asked over https, and a key is not sent in the clear")
    try:
        value = key_from_environment(provider)
    except RecordingError as error:
        if host in _ON_THIS_MACHINE:  # a server of the user's own need not have keys
            return ()
        raise RecordingError(str(error).partition(": recording")[0]) from None
    header = _HEADERS.get(provider)
    return ((header, value),) if header is not None else (("authorization", f"Bearer {value}"),)
