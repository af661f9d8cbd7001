"""Faults for scripted providers: `from pytest_modelroute.faults import rate_limit`."""

from pytest_modelroute.wire.faults import (
    Fault,
    authentication,
    connect_error,
    malformed_body,
    overloaded,
    rate_limit,
    read_timeout,
    server_error,
    unavailable,
)

__all__ = [
    "Fault",
    "authentication",
    "connect_error",
    "malformed_body",
    "overloaded",
    "rate_limit",
    "read_timeout",
    "server_error",
    "unavailable",
]
