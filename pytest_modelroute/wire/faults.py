"""
Faults that a provider can show, as values for `mock_providers.on(...).fails(...)`.

Each carries the error class that routers decide on: rate_limited, overloaded, unavailable, server_error,
authentication, connection, timeout, malformed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pytest_modelroute.errors import ScriptError


def is_seconds(value: object) -> bool:
    """Whether a value is a finite number, 0 or more."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that goes wrong in a call; made by the functions below."""

    name: str
    "The function that makes it, as messages show it."
    kind: str
    "The error class."
    status: int | None = None
    "HTTP status; None for a fault of the transport."
    message: str = ""
    retry_after: float | None = None
    "Seconds, sent as the Retry-After header."
    transport: Literal["connect", "read_timeout"] | None = None
    body: bytes | None = None
    "Sent as it is, instead of the provider's error."

    def __post_init__(self) -> None:
        """Refuse a Retry-After that no header can carry."""
        wait = self.retry_after
        if wait is not None and not is_seconds(wait):
            raise ScriptError(f"{self.name}(retry_after={wait!r}): a number of seconds, 0 or more, was expected")


def rate_limit(*, retry_after: float | None = None) -> Fault:
    """429 with the provider's rate limit error, and Retry-After where given."""
    return Fault(
        name="rate_limit", kind="rate_limited", status=429, message="Rate limit reached", retry_after=retry_after
    )


def overloaded(*, retry_after: float | None = None) -> Fault:
    """529, Anthropic's status for an overloaded service."""
    return Fault(name="overloaded", kind="overloaded", status=529, message="Overloaded", retry_after=retry_after)


def unavailable(*, retry_after: float | None = None) -> Fault:
    """503, a service that is down for a while."""
    return Fault(
        name="unavailable", kind="unavailable", status=503, message="Service unavailable", retry_after=retry_after
    )


def server_error() -> Fault:
    """500, an error inside the provider."""
    return Fault(name="server_error", kind="server_error", status=500, message="The server had an error")


def authentication() -> Fault:
    """401, a wrong key; no fallback should hide it."""
    return Fault(name="authentication", kind="authentication", status=401, message="Invalid API key")


def connect_error() -> Fault:
    """The connection is refused; the client's own library raises its ConnectError."""
    return Fault(name="connect_error", kind="connection", transport="connect", message="connection refused")


def read_timeout() -> Fault:
    """No reply ever comes: the client waits as long as its own read timeout and raises its ReadTimeout."""
    return Fault(name="read_timeout", kind="timeout", transport="read_timeout", message="no reply within the timeout")


def malformed_body(body: bytes = b'{"id": "cut-off", "choices": [{"mess') -> Fault:
    """200 with a body that is not JSON, as after a broken proxy."""
    return Fault(name="malformed_body", kind="malformed", status=200, body=body)
