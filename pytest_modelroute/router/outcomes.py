"""What went wrong in a call: each outcome that is no answer as a ProviderError with its class."""

from __future__ import annotations

import math
from email.utils import parsedate_to_datetime

import httpx

from pytest_modelroute.errors import MalformedExchange, ProviderError, StreamFailed
from pytest_modelroute.providers.failures import ErrorClass
from pytest_modelroute.providers.google_errors import retry_delay
from pytest_modelroute.providers.language import Language, read_wire_error, show


def error_of_response(response: httpx.Response, language: Language, model: str, wall_now: float) -> ProviderError:
    """The error of an answer with another status than success; its class comes from status and code."""
    try:
        code, message = read_wire_error(language, response.content, response.headers)
    except MalformedExchange:
        code, message = None, show(response.content)
    status = response.status_code
    return ProviderError(
        f"{model} answered {status} ({code or 'no code'}): {message or show(response.content)}",
        model=model,
        status=status,
        code=code,
        retry_after=retry_after(response, wall_now),
        kind=language.vocabulary.classify(status, code, message),
    )


def error_of_transport(error: httpx.RequestError, model: str, *, text: str = "") -> ProviderError:
    """The error where no answer came, or its connection was lost."""
    kind: ErrorClass = "timeout" if isinstance(error, httpx.TimeoutException) else "connection"
    kind = "malformed" if isinstance(error, httpx.DecodingError) else kind
    code = "not_sent" if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout) else None
    what = "broke off" if text else "gave no answer"
    return _error(f"{model} {what} ({type(error).__name__}: {error})", model, kind, code=code, text=text)


def error_of_body(error: MalformedExchange, model: str, *, text: str = "") -> ProviderError:
    """The error of a good status with a body that is no answer, or that ended in the provider's error."""
    if isinstance(error, StreamFailed):
        return _error(f"{model} broke off: {error}", model, error.kind, status=200, code=error.code, text=text)
    return _error(f"{model} answered, but {error}", model, "malformed", status=200, text=text)


def error_of_filter(model: str, *, text: str = "") -> ProviderError:
    """The error of an answer that a content filter held back."""
    message = f"{model} answered, but a content filter held the answer back"
    return _error(message, model, "content_filtered", status=200, code="content_filter", text=text)


def error_of_deadline(model: str, deadline: float | None, *, asked: bool, text: str = "") -> ProviderError:
    """The error where the time of the request is over."""
    what = "did not answer in time" if asked else "was not asked"
    error = _error(f"{model} {what}: the deadline of {deadline:g} s is over", model, "timeout", text=text)
    error.attempts = int(asked)
    return error


def _error(
    message: str, model: str, kind: str, *, status: int | None = None, code: str | None = None, text: str
) -> ProviderError:
    return ProviderError(message, model=model, status=status, code=code or kind, retry_after=None, kind=kind, text=text)


def retry_after(response: httpx.Response, wall_now: float) -> float | None:
    """
    Seconds that the provider asks to wait, or None.

    From retry-after-ms, which goes before, or Retry-After as seconds or a date; else from google.rpc.RetryInfo in the
    body, where Gemini says it.
    """
    milliseconds = _number(response.headers.get("retry-after-ms"))
    if milliseconds is not None:
        return max(0.0, milliseconds / 1000)
    header = response.headers.get("retry-after")
    seconds = _number(header)
    if seconds is None and header is not None:
        seconds = _until(header, wall_now)
    if seconds is None and header is None and b"RetryInfo" in response.content:
        seconds = retry_delay(response.content)
    return None if seconds is None else max(0.0, seconds)


def _number(text: str | None) -> float | None:
    try:
        value = math.nan if text is None else float(text)
    except ValueError:
        return None
    return None if math.isnan(value) else value


def _until(date: str, wall_now: float) -> float | None:
    """A date that is past names no wait: the clocks of two machines differ."""
    try:
        seconds = parsedate_to_datetime(date).timestamp() - wall_now
    except (ValueError, OverflowError):
        return None
    return seconds if seconds > 0 else None
