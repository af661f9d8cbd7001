"""One cell of the fault matrix: what a client makes of a fault."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest

from pytest_modelroute import faults
from pytest_modelroute.errors import ScriptRaised
from pytest_modelroute.faults import Fault
from pytest_modelroute.testrun import TestRun
from tests.matrix.clients import Client, Heard, Mode, server_url

TEXT = "one two three four"
FAULTS: dict[str, Callable[[], Fault]] = {
    "rate_limit(retry_after=2)": lambda: faults.rate_limit(retry_after=2),
    "rate_limit(retry_after_ms=1500)": lambda: faults.rate_limit(retry_after_ms=1500),
    "rate_limit(retry_after_date=30)": lambda: faults.rate_limit(retry_after_date=30),
    "quota_exhausted()": faults.quota_exhausted,
    "overloaded()": faults.overloaded,
    "unavailable()": faults.unavailable,
    "server_error()": faults.server_error,
    "request_timeout()": faults.request_timeout,
    "model_not_found()": faults.model_not_found,
    "context_overflow()": faults.context_overflow,
    "content_filter()": faults.content_filter,
    "authentication()": faults.authentication,
    "permission()": faults.permission,
    "bad_request()": faults.bad_request,
    "connect_error()": faults.connect_error,
    "connection_reset()": faults.connection_reset,
    "read_timeout()": faults.read_timeout,
    "malformed_body()": faults.malformed_body,
    "html_page()": faults.html_page,
    "empty_body()": faults.empty_body,
    "missing_usage()": lambda: faults.missing_usage(TEXT),
    "another_model('other')": lambda: faults.another_model("other", TEXT),
    "slow_first_token(700)": lambda: faults.slow_first_token(700, TEXT),
    "stream_cut(after=2)": lambda: faults.stream_cut(after=2, text=TEXT),
    "stream_stalled(after=2)": lambda: faults.stream_stalled(after=2, text=TEXT),
    "stream_corrupted(after=2)": lambda: faults.stream_corrupted(after=2, text=TEXT),
    "stream_error(after=2)": lambda: faults.stream_error(after=2, text=TEXT),
}


def outcome(client: Client, mode: Mode, fault: str) -> str:
    """What the code that asks a client in this mode gets for a fault, in words."""
    run = TestRun(test="matrix", settings=None, thresholds=[], folders=[], only_case=None, fail=pytest.fail)
    heard = Heard()
    error: Exception | None = None
    with run.listening(), run.virtual_time(), run.scripted() as scripts, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripts.on(model=client.model).fails(FAULTS[fault]())
        server_url.set(scripts.url)
        try:
            client.modes[mode](heard)
        except ScriptRaised:
            return "has none"
        except Exception as raised:  # noqa: BLE001 - whatever the client raises is what the table shows
            error = raised
    if any("would wait for ever" in failure for failure in run.wire.failures()):
        return "waits for ever"
    assert not run.wire.failures()
    return _describe(heard, error, calls=len(run.wire.calls), asked=client.model)


def _describe(heard: Heard, error: Exception | None, *, calls: int, asked: str) -> str:
    pieces = [piece for piece in heard.pieces if piece]
    times = f" after {calls} calls" if calls > 1 else ""
    if error is not None:
        head = f"{len(pieces)} piece{'s' * (len(pieces) != 1)}, then " if pieces else ""
        return f"{head}`{_name(type(error))}`{times}"
    if heard.odd:
        return f"no error{times}: {heard.odd}"
    notes = [
        *(["no text"] if not pieces else []),
        *(["a part of the text"] if pieces and len("".join(pieces)) < len(TEXT) and "vectors" not in pieces[0] else []),
        *([f"model `{heard.model}`"] if heard.model not in (asked, None) else []),
        *(["no model"] if heard.model is None else []),
        *(["no usage"] if not heard.has_usage else []),
    ]
    return f"no error{times}" + (f": {', '.join(notes)}" if notes else "")


def _name(kind: type[Exception]) -> str:
    """The class as users import it: the package and the name."""
    package = kind.__module__.partition(".")[0]
    return kind.__name__ if package == "builtins" else f"{package}.{kind.__name__}"
