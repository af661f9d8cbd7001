"""How Google's APIs refuse: google.rpc.Status, whose details say the reason, the quota and how long to wait."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pytest_modelroute.errors import MalformedExchange
from pytest_modelroute.providers.failures import ErrorClass, Failure, Spoken, Vocabulary, WireError
from pytest_modelroute.providers.language import error_words, mapping, objects, read_object, write_object

_RPC: Final = "type.googleapis.com/google.rpc."
_BY_THE_DAY: Final = "RESOURCE_EXHAUSTED per day"
"Limits by the minute and by the day have the same status and the same message; the name of the quota tells them apart."
_QUOTAS: Final[Mapping[ErrorClass, str]] = {
    "rate_limited": "GenerateRequestsPerMinutePerProjectPerModel",
    "quota_exhausted": "GenerateRequestsPerDayPerProjectPerModel",
}
GOOGLE_WORDS: Final = Vocabulary(
    spoken={
        "rate_limited": Spoken(429, "RESOURCE_EXHAUSTED"),
        "quota_exhausted": Spoken(429, _BY_THE_DAY, "RESOURCE_EXHAUSTED"),
        "overloaded": Spoken(503, "UNAVAILABLE"),
        "unavailable": Spoken(503, "UNAVAILABLE"),
        "server_error": Spoken(500, "INTERNAL"),
        "timeout": Spoken(504, "DEADLINE_EXCEEDED"),
        "not_found": Spoken(404, "NOT_FOUND"),
        "context_overflow": Spoken(400, "INVALID_ARGUMENT"),
        "authentication": Spoken(400, "API_KEY_INVALID", "INVALID_ARGUMENT"),
        "permission": Spoken(403, "PERMISSION_DENIED"),
        "bad_request": Spoken(400, "INVALID_ARGUMENT"),
    },
    understood={"UNAUTHENTICATED": "authentication"},
    phrases={"input token count": "context_overflow"},
    retry_in_body=True,
)
"The statuses of google.rpc, or what tells more. A wrong API key is a 400 here; 401 is for a wrong token of OAuth."


def google_error(failure: Failure) -> WireError:
    """A refusal as it goes over HTTP."""
    spoken = GOOGLE_WORDS.say(failure.kind)
    message = failure.message
    if failure.kind == "context_overflow":
        message = f"The input token count exceeds the maximum number of tokens allowed: {message}"
    error: dict[str, Any] = {"code": spoken.status, "message": message, "status": spoken.type or spoken.word}
    details = list(_details(failure))
    if details:
        error["details"] = details
    return WireError(status=spoken.status, body=write_object({"error": error}))


def read_error_object(body: bytes) -> dict[str, Any]:
    """The object of an error; a stream that was asked for without alt=sse carries it in a list."""
    text = body.strip()
    return read_object(text[1:-1] if text[:1] == b"[" and text[-1:] == b"]" else text, what="a Gemini error")


def said_error(value: Mapping[str, Any]) -> tuple[str | None, str]:
    """The reason of an error, else its status, and its message."""
    status, message = error_words(value, "status")
    error = mapping(value.get("error"))
    violated = objects(_detail(error, "QuotaFailure").get("violations")) or ()
    if any("PerDay" in str(entry.get("quotaId")) for entry in violated):
        return _BY_THE_DAY, message
    reason = _detail(error, "ErrorInfo").get("reason")
    return (str(reason) if reason else status), message


def retry_delay(body: bytes) -> float | None:
    """Seconds that an error tells to wait, or None where it tells none."""
    try:
        error = mapping(read_error_object(body).get("error"))
    except MalformedExchange:
        return None
    delays = (str(detail.get("retryDelay")) for detail in objects(error.get("details")) or ())
    return next((float(delay[:-1]) for delay in delays if re.fullmatch(r"\d+(\.\d+)?s", delay)), None)


def _details(failure: Failure) -> Iterator[dict[str, Any]]:
    if failure.kind == "authentication":
        reason = {"reason": "API_KEY_INVALID", "domain": "googleapis.com"}
        yield {"@type": f"{_RPC}ErrorInfo", **reason, "metadata": {"service": "generativelanguage.googleapis.com"}}
    if failure.kind in _QUOTAS:
        yield {"@type": f"{_RPC}QuotaFailure", "violations": [{"quotaId": _QUOTAS[failure.kind]}]}
    if failure.retry_after is not None:
        seconds = f"{failure.retry_after:.9f}".rstrip("0").rstrip(".")
        yield {"@type": f"{_RPC}RetryInfo", "retryDelay": f"{seconds}s"}


def _detail(error: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The detail of a kind, or an empty one."""
    details = objects(error.get("details")) or []
    return next((entry for entry in details if entry.get("@type") == f"{_RPC}{kind}"), dict[str, Any]())
