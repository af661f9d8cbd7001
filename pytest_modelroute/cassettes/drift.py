"""Repeating recorded requests live, to see what has changed since; nothing is overwritten."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from threading import Event
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from pytest_modelroute.cassettes.calls import RecordedCall, cost_or_none, read_call, said
from pytest_modelroute.cassettes.files import CassetteFile
from pytest_modelroute.cassettes.live_keys import LiveRequest, with_key
from pytest_modelroute.errors import RecordingError
from pytest_modelroute.providers.exchange import Usage, estimate_usage, output_limit
from pytest_modelroute.providers.prices import PriceBook
from pytest_modelroute.wire.call_log import ProviderCall
from pytest_modelroute.wire.recorded import FIRST_ERROR, joined, read_reply

_real_perf_counter = time.perf_counter
_EXPECTED_OUTPUT: Final = 1024
"Output tokens that a call without a limit and without a recorded usage is expected to have, at the most."


class Purse(Protocol):
    """Reserves what a call may cost; see `spending.Purse`."""

    def admit(self, call: ProviderCall) -> Callable[[], None]:
        """Reserve, or raise RecordingError; gives what to call at its end."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeatable:
    """A recorded call that can be made again."""

    path: Path
    line: int
    number: int
    "Of its interaction in the file; the first is 1."
    call: RecordedCall
    live: LiveRequest

    @property
    def latency_s(self) -> float | None:
        """As recorded; None where another tool recorded it."""
        return None if self.call.facts is None else self.call.facts.latency_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """What a call said live."""

    of: Repeatable
    error: str | None = None
    "An error class, or how the connection failed; None for a whole, good reply."
    text: str = ""
    model_answered: str = ""
    latency_s: float = 0.0
    ttft_s: float | None = None
    usage: Usage | None = None
    cost: Decimal | None = None
    "USD by the prices of today; None where no price or no usage is known."


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Which recorded calls are made again, and which are not and why."""

    calls: tuple[Repeatable, ...]
    skipped: dict[str, int]
    "Why -> how many."
    left_out: int = 0
    "How many a sample leaves out."


def choose(
    files: Iterable[CassetteFile], *, hosts: Sequence[tuple[str, str]] = (), sample: int | None = None
) -> Chosen:
    """
    The calls that can be made again.

    Args:
        files: As read.
        hosts: (host, provider) of the settings.
        sample: At most so many; the same ones each time, whatever else is recorded beside them.

    """
    found: list[Repeatable] = []
    skipped: dict[str, int] = {}
    for file in files:
        for number, (line, interaction) in enumerate(zip(file.lines, file.interactions, strict=True), start=1):
            call = read_call(interaction, hosts)
            reason = "no call of a model" if call is None else _unfit(call)
            if call is not None and reason is None:
                try:
                    live = with_key(interaction.request, hosts)
                    found.append(Repeatable(path=file.path, line=line, number=number, call=call, live=live))
                except RecordingError as error:
                    reason = str(error)
            if reason is not None:
                skipped[reason] = skipped.get(reason, 0) + 1
    kept = found if sample is None else sampled(found, sample)
    return Chosen(calls=tuple(kept), skipped=skipped, left_out=len(found) - len(kept))


def _unfit(call: RecordedCall) -> str | None:
    if call.status >= FIRST_ERROR:
        return "an error was recorded"
    if not call.complete or call.error == "cut off":
        return "its stream was not read to the end"
    if call.reply is None:
        return "its reply cannot be read"
    return "its reply is a vector" if call.reply.vectors else None


def sampled(calls: Sequence[Repeatable], size: int) -> list[Repeatable]:
    """Some of the calls, in their order: those whose requests have the smallest hashes."""

    def rank(position: int) -> tuple[bytes, int]:
        live = calls[position].live
        said = b"\0".join((live.method.encode(), live.url.encode(), live.body))
        return blake2b(said, digest_size=16).digest(), position

    return [calls[position] for position in sorted(sorted(range(len(calls)), key=rank)[:size])]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What calls may cost, in USD."""

    expected: Decimal
    "By the usage that was recorded, else by the length of the texts."
    unpriced: tuple[str, ...]
    "The models that have no price."


def estimate(calls: Iterable[Repeatable], prices: PriceBook) -> Estimate:
    """What it costs to make these calls once more."""
    total, unpriced = Decimal(0), list[str]()
    for each in calls:
        call = each.call
        cost = cost_or_none(prices, call.model, call.usage or _guessed(call), call.provider)
        if cost is None:
            unpriced.append(call.model)
        else:
            total += cost
    return Estimate(expected=total, unpriced=tuple(dict.fromkeys(unpriced)))


def _guessed(call: RecordedCall) -> Usage:
    usage = estimate_usage(call.request, call.text)
    limit = output_limit(call.request.params) or _EXPECTED_OUTPUT
    return Usage(fresh_input=usage.fresh_input, output=min(usage.output, limit) if call.text else limit)


class Repeater:
    """Makes recorded calls again, and stops when its purse is empty."""

    def __init__(self, *, prices: PriceBook, purse: Purse | None = None, timeout_s: float = 60.0) -> None:
        """
        Prepare one HTTP client for all calls.

        Args:
            prices: Of today.
            purse: Is asked before each call; None where there is no cap.
            timeout_s: Seconds of silence after which a call counts as failed.

        """
        import httpx

        self._prices = prices
        self._purse = purse
        self._client = httpx.Client(timeout=timeout_s, follow_redirects=False)
        self._empty = Event()

    def repeat(
        self, calls: Sequence[Repeatable], *, concurrency: int = 1, told: Callable[[int], None] = lambda _done: None
    ) -> list[Repeated]:
        """
        Make the calls, and give what each said, in their order; those that the purse did not cover are left out.

        Args:
            calls: Which.
            concurrency: How many at once.
            told: Called after each with how many are done.

        """
        done: list[Repeated] = []
        with self._client, ThreadPoolExecutor(max_workers=concurrency) as pool:
            for result in pool.map(self._repeat, calls):
                if result is not None:
                    done.append(result)
                    told(len(done))
        return done

    def _repeat(self, each: Repeatable) -> Repeated | None:
        if self._empty.is_set():
            return None
        log = _as_logged(each, self._prices)
        pay: Callable[[], None] | None = None
        if self._purse is not None:
            try:
                pay = self._purse.admit(log)
            except RecordingError:
                self._empty.set()
                return None
        try:
            result = self._send(each)
            log.usage, log.status = result.usage, None if result.error else 200
            return result
        finally:
            if pay is not None:
                pay()

    def _send(self, each: Repeatable) -> Repeated:
        import httpx

        live, start = each.live, _real_perf_counter()
        pieces: list[bytes] = []
        ttft: float | None = None
        try:
            with self._client.stream(live.method, live.url, headers=list(live.headers), content=live.body) as response:
                for piece in response.iter_bytes():
                    if ttft is None:
                        ttft = _real_perf_counter() - start
                    pieces.append(piece)
        except httpx.TimeoutException:
            return Repeated(of=each, error="timeout")
        except httpx.RemoteProtocolError:
            return Repeated(of=each, error="cut off")
        except (httpx.HTTPError, httpx.InvalidURL):
            return Repeated(of=each, error="connection")
        latency = _real_perf_counter() - start
        return self._read(each, response, b"".join(pieces), latency, ttft)

    def _read(self, each: Repeatable, response: Any, body: bytes, latency: float, ttft: float | None) -> Repeated:
        call = each.call
        headers = joined(response.headers.multi_items())
        stream = call.request.stream
        reply, error = read_reply(call.language, response.status_code, body, headers, stream=stream)
        if reply is None:
            return Repeated(of=each, error=error or "malformed", latency_s=latency)
        usage = reply.usage
        return Repeated(
            of=each,
            error=error,
            text=said(reply),
            model_answered=reply.model,
            latency_s=latency,
            ttft_s=ttft if stream else None,
            usage=usage,
            cost=None if usage is None else cost_or_none(self._prices, call.model, usage, call.provider),
        )


def _as_logged(each: Repeatable, prices: PriceBook) -> ProviderCall:
    """A call in the form that the purse knows."""
    call = each.call
    return ProviderCall(
        number=each.number,
        provider=call.provider,
        language=call.language.name,
        url=urlsplit(each.live.url)._replace(query="").geturl(),
        client="httpx",
        request=call.request,
        step=None,
        case=None,
        started_s=0.0,
        prices=prices,
    )
