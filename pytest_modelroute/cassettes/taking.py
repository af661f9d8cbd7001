"""Takes a live call down, on the real clock: its pieces, when they came, and what is known of the call at its end."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from pytest_modelroute.cassettes.facts import Facts
from pytest_modelroute.cassettes.interaction import Headers, Interaction, RecordedRequest, RecordedResponse
from pytest_modelroute.cassettes.redaction import Redactor
from pytest_modelroute.wire.call_log import ProviderCall
from pytest_modelroute.wire.recorded import Pairs

_real_perf_counter = time.perf_counter
_DIGITS: Final = 4
"Of recorded seconds: a tenth of a millisecond, below which there is nothing but noise."
_FINGERPRINT: Final = re.compile(rb'"system_fingerprint"\s*:\s*"([^"]{1,200})"')
_STREAMS: Final = (
    "text/event-stream",
    "application/x-ndjson",
    "application/jsonl",
    "application/vnd.amazon.eventstream",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeDown:
    """What all takes of a test share."""

    redactor: Redactor
    price: Callable[[ProviderCall], Mapping[str, str] | None]
    "The price of a call's model today."
    keep: Callable[[Interaction], None]
    "Keeps what was recorded."
    done: Callable[[], None] | None = None
    "Called once what the call has cost is known."
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


class LiveTake:
    """One live call."""

    def __init__(
        self, shared: TakeDown, request: RecordedRequest, call: ProviderCall | None, *, client: str, attempt: int
    ) -> None:
        """The request is about to be sent; `request` holds no secrets."""
        self._shared = shared
        self._request = request
        self._call = call
        self._client = client
        self._attempt = attempt
        self._recorded_at = shared.now()
        self._start = _real_perf_counter()
        self._status = 0
        self._reason = ""
        self._headers: Headers = ()
        self._pieces: list[bytes] = []
        self._times: list[float] = []
        self._ended = False

    def head(self, status: int, reason: str, headers: Pairs) -> None:
        """The head of the response has come."""
        self._status, self._reason, self._headers = status, reason, tuple(headers)

    def piece(self, data: bytes) -> None:
        """More of its body has come."""
        if data:
            self._times.append(_real_perf_counter() - self._start)
            self._pieces.append(data)

    def end(self, *, complete: bool) -> float | None:
        """
        Keep the call; one that got no response at all is nothing to keep.

        Returns:
            Its seconds, as they are kept; None where nothing is.

        Raises:
            RecordingError: Its body cannot be looked into, so that it might hold secrets.

        """
        if self._ended:
            return None
        self._ended = True
        latency = round(self._latency(), _DIGITS)
        if self._shared.done is not None:
            self._shared.done()
        if not self._status:
            return None
        whole = RecordedResponse(
            status=self._status, reason=self._reason, headers=self._headers, body=b"".join(self._pieces)
        )
        sizes = [len(piece) for piece in self._pieces] if self._is_stream(whole) else None
        if complete and sizes:  # as it is replayed: the last piece completes it, whenever the server says so
            latency = round(self._times[-1], _DIGITS)
        response, sizes = self._shared.redactor.response(whole, sizes)
        self._shared.keep(
            Interaction(
                request=self._request,
                response=response,
                facts=self._facts(response, sizes, latency, complete=complete),
            )
        )
        return latency

    def _latency(self) -> float:
        """That of the log, so that a replay shows the same; a request that is no call of a model is in none."""
        logged = None if self._call is None else self._call.latency_s
        return _real_perf_counter() - self._start if logged is None else logged

    def _is_stream(self, response: RecordedResponse) -> bool:
        asked = self._call is not None and self._call.stream
        return asked or response.header("content-type").startswith(_STREAMS)

    def _facts(
        self, response: RecordedResponse, sizes: Sequence[int] | None, latency: float, *, complete: bool
    ) -> Facts:
        call = self._call
        fingerprint = _FINGERPRINT.search(response.body)
        chunks = None if sizes is None else chunk_timeline(self._times, sizes)
        names = {"pytest-modelroute", self._client}
        return Facts(
            recorded_at=self._recorded_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            latency_s=latency,
            ttft_s=None if not chunks else chunks[0][0],
            chunks=None
            if chunks is None
            else tuple((0.0 if number == 0 else gap, size) for number, (gap, size) in enumerate(chunks)),
            complete=complete,
            provider="" if call is None else call.provider,
            model="" if call is None else call.model,
            model_answered="" if call is None else call.model_answered,
            fingerprint="" if fingerprint is None else fingerprint[1].decode("utf-8", "replace"),
            attempt=self._attempt,
            versions={name: found for name in sorted(names) if (found := _version(name)) is not None},
            price=None if call is None else self._shared.price(call),
        )


def chunk_timeline(times: Sequence[float], sizes: Sequence[int]) -> list[tuple[float, int]]:
    """
    The pieces of a stream as (seconds since the piece before, bytes).

    A piece of which nothing is left, since all of it was a secret or part of a character, adds its time to the next.
    Moments are rounded, and not gaps, whose errors would add up over a long stream.
    """
    chunks: list[tuple[float, int]] = []
    before = 0.0
    for time_of_piece, size in zip(times, sizes, strict=True):
        if size:
            moment = round(time_of_piece, _DIGITS)
            chunks.append((round(moment - before, _DIGITS), size))
            before = moment
    return chunks


@cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
