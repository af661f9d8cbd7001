"""One test's wire: what is sent becomes an exchange, is logged, and is answered by a script where there are scripts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from email.utils import formatdate
from itertools import count
from math import ceil
from typing import Final, Literal

from pytest_modelroute.errors import MalformedExchange, StreamFailed, UnscriptedCall, VirtualTimeError
from pytest_modelroute.providers.exchange import ProviderRequest
from pytest_modelroute.providers.language import Language, read_stream, read_wire_error
from pytest_modelroute.providers.prices import PriceBook
from pytest_modelroute.providers.registry import LANGUAGES, language_for, provider_at, provider_behind
from pytest_modelroute.wire.answers import Answer
from pytest_modelroute.wire.call_log import CallLog, ProviderCall
from pytest_modelroute.wire.labels import Label, current_label
from pytest_modelroute.wire.network_guard import NetworkGuard
from pytest_modelroute.wire.places import script_traceback
from pytest_modelroute.wire.scripted import MockProviders
from pytest_modelroute.wire.virtual_time import VirtualTime

_real_perf_counter = time.perf_counter
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost"})


class Wire:
    """
    What a test shares between its fixtures: log, scripts, guard, clock, and what went wrong unseen by the test.

    Attributes:
        calls: The log.
        scripts: The scripted providers; None where replies come from the network.
        guard: The network guard; None where the network is open.
        clock: Virtual time; None where time is real.
        running: The label of the case that an evaluation is at, for calls that carry none.
        unlabelled_is_ambiguous: Whether several cases are under way at once.
        served: The port on 127.0.0.1 -> the provider's name, where scripts stand behind a real server.

    """

    def __init__(
        self, *, prices: PriceBook, provider_hosts: Sequence[tuple[str, str]] = (), steps: Iterable[str] = ()
    ) -> None:
        """
        An empty wire.

        Args:
            prices: What calls cost.
            provider_hosts: (host, provider) pairs beyond the known ones.
            steps: The declared steps; empty where none are.

        """
        self.calls = CallLog(steps=steps)
        self.scripts: MockProviders | None = None
        self.guard: NetworkGuard | None = None
        self.clock: VirtualTime | None = None
        self.running: Label | None = None
        self.unlabelled_is_ambiguous = False
        self.served: dict[int, str] = {}
        self._prices = prices
        self._hosts = dict(provider_hosts)
        self._failures: list[str] = []
        self._numbers = count(1)  # atomic, for calls from several threads
        self._real_start = _real_perf_counter()

    @property
    def now(self) -> float:
        """Seconds since the test began, on the clock of this test."""
        return _real_perf_counter() - self._real_start if self.clock is None else self.clock.now

    @property
    def clock_name(self) -> Literal["virtual", "real"]:
        """Virtual or real, as reports say it."""
        return "real" if self.clock is None else "virtual"

    def sleep(self, seconds: float) -> None:
        """Let a latency pass."""
        (time.sleep if self.clock is None else self.clock.sleep)(seconds)

    async def asleep(self, seconds: float) -> None:
        """Let a latency pass for the running task."""
        try:
            await (asyncio.sleep if self.clock is None else self.clock.asleep)(seconds)
        except VirtualTimeError as error:
            self.fail(str(error))
            raise

    def fail(self, message: str) -> None:
        """Remember something that fails the test, whatever the code under test makes of it."""
        if message not in self._failures:
            self._failures.append(message)

    @contextmanager
    def passing_on(self, method: str, url: str, host: str, *, by_proxy: bool) -> Generator[None]:
        """
        Let a request that is no call of a model go on towards the network, where the guard stands.

        The guard waits at the socket, so that other mocks below the transport may answer; but a proxy on this machine
        would carry the request out unseen, so there the host is checked here.
        """
        if self.guard is None:
            yield
            return
        spoken = ", ".join(language.name for language in LANGUAGES)
        with self.guard.sending(
            f"{method} {url} is no provider call that scripts of this version can answer (they speak {spoken})"
        ):
            if by_proxy and not self.guard.allows(host):
                self.guard.refuse(host)
            yield

    def failures(self) -> list[str]:
        """What went wrong so far, beyond what the test itself raised."""
        return [*self._failures, *(self.guard.refused if self.guard is not None else ())]

    def open(
        self,
        *,
        method: str,
        url: str,
        host: str,
        path: str,
        body: Callable[[], bytes],
        client: str,
        port: int | None = None,
    ) -> Exchange | None:
        """
        Log a request and find its answer; None for a request that is no call of a model.

        Raises:
            UnscriptedCall: Providers are scripted and no script answers.
            ScriptRaised: The function of a script raised.

        """
        provider = self._provider(host, port)
        language = language_for(method, path, provider_behind(provider))
        if language is None:
            return None
        request = self._read(language, url, path, body(), is_known=provider is not None)
        if request is None:
            return None
        call = self._log(language, provider or language.provider, url, request, client)
        if self.scripts is None:
            call.answered_by = "network"
            return Exchange(self, call, language, None)
        try:
            answer = self._date(self.scripts.answer(call, language))
        except BaseException as error:
            call.error = "unscripted" if isinstance(error, UnscriptedCall) else "script raised"
            self.fail((str(error) or type(error).__name__) + script_traceback(error.__cause__))
            raise
        return Exchange(self, call, language, answer)

    def _provider(self, host: str, port: int | None) -> str | None:
        """Whose host this is: a name that a server of this test stands for, one of the settings, or a known one."""
        if port in self.served and host in LOOPBACK:
            return self.served[port]
        return self._hosts.get(host) or provider_at(host)

    def _date(self, answer: Answer) -> Answer:
        """A date in a Retry-After is one of this test's clock, and of whole seconds: rounded up."""
        if answer.retry_date_s is None:
            return answer
        now = time.time() if self.clock is None else self.clock.wall_now()
        moment = formatdate(ceil(now + answer.delay + answer.retry_date_s), usegmt=True)
        return replace(answer, headers={**answer.headers, "retry-after": moment})

    def _read(self, language: Language, url: str, path: str, body: bytes, *, is_known: bool) -> ProviderRequest | None:
        try:
            return language.read_request(body, path)
        except MalformedExchange as error:
            # Other services have paths such as /responses too.
            if self.scripts is None or not is_known:
                return None
            self.fail(f"a call of {url} cannot be read: {error}")
            raise

    def _log(self, language: Language, provider: str, url: str, request: ProviderRequest, client: str) -> ProviderCall:
        label = current_label() or self._running_label(url)
        call = ProviderCall(
            number=next(self._numbers),
            provider=provider,
            language=language.name,
            embeds=language.embeds,
            url=url.partition("?")[0],
            client=client,
            request=request,
            step=label.step,
            case=label.case,
            started_s=self.now,
            prices=self._prices,
        )
        self.calls.append(call)
        if label.calls is not None:
            label.calls.append(call)
        return call

    def _running_label(self, url: str) -> Label:
        if self.unlabelled_is_ambiguous:
            self.fail(
                f"a call of {url} carries no label (it came over a socket, or from a thread) while several cases were "
                "under way, so it belongs to none of them: evaluate with concurrency=1, or start the thread with "
                "contextvars.copy_context().run"
            )
        return self.running or Label()


class Exchange:
    """A request under way, its log entry and, where it is scripted, its answer."""

    def __init__(self, wire: Wire, call: ProviderCall, language: Language, answer: Answer | None) -> None:
        """Begin; `answer` is None where the network answers."""
        self.wire = wire
        self.call = call
        self.answer = answer
        self._language = language
        self.moment: float | None = None
        "Where the answer stands, in seconds since the test began; None where that is what the test's clock shows."
        self._ended = False
        self._frames_sent = 0
        self._headers: Mapping[str, str] = {}

    @property
    def ended(self) -> bool:
        """Whether the exchange is over."""
        return self._ended

    def _elapsed(self) -> float:
        now = self.wire.now if self.moment is None else self.moment
        return round(now - self.call.started_s, 9)

    def frame_sent(self) -> None:
        """A piece of a scripted stream has come; the last one holds the end marker and completes the call."""
        self._frames_sent += 1
        answer = self.answer
        if answer is not None and answer.breaks is None and self._frames_sent == len(answer.frames or ()):
            self.end()

    def waits_for_ever(self) -> float:
        """In a test nobody waits for ever: fail it, and let the client go on after so many seconds."""
        self.wire.fail(
            f"call {self.call.number} to {self.call.model!r} is scripted to get no answer, and would wait for "
            "ever: the client has no read timeout"
        )
        return 0.0

    def begin(self, status: int, headers: Mapping[str, str] | None = None) -> None:
        """The head of the response has come; its headers, in lower case, may say what an error is."""
        self.call.status = status
        self._headers = headers or {}
        if self.call.stream and self.answer is not None and self.answer.frames is not None:
            self.call.ttft_s = self._elapsed()

    def first_piece(self) -> None:
        """The first bytes of the body have come."""
        if self.call.stream:
            self.call.ttft_s = self._elapsed()

    def finish(self, read_body: Callable[[], bytes]) -> None:
        """The client has read the body of a reply from the network, or as much of it as it wanted."""
        if self._ended:
            return
        try:
            body = read_body()
        except Exception:  # noqa: BLE001 - whatever a library raises for a body that it cannot decompress
            self.end(error="malformed")
        else:
            self.end(error=self._read(body))

    def _read(self, body: bytes) -> str | None:
        """Read the reply; what was wrong with it, or None."""
        call = self.call
        if call.status is None or call.status >= 400:  # noqa: PLR2004
            return self._error_word(body)
        try:
            reply = read_stream(self._language, body) if call.stream else self._language.read_reply(body)
        except StreamFailed as error:
            return error.kind
        except MalformedExchange:
            return "cut off" if call.stream else "malformed"
        call.reply, call.usage = reply, reply.usage
        return "content_filtered" if reply.finish_reason == "content_filter" else None

    def end(self, *, error: str | None = None) -> None:
        """The exchange is over; only the first end counts."""
        if self._ended:
            return
        self._ended = True
        call, answer = self.call, self.answer
        call.latency_s = self._elapsed()
        if answer is not None and error is None:
            error = answer.kind
        call.error = call.error or error
        if answer is None:
            return
        if call.error is None or call.error == "content_filtered":
            call.reply, call.usage = answer.reply, answer.usage
        elif answer.usage is not None and (share := self._share(answer, call.latency_s)):
            # A call that the client gave up is billed as far as it ran: its input, and its share of the output.
            ran = {name: ceil(getattr(answer.usage, name) * share) for name in ("output", "reasoning")}
            call.usage = replace(answer.usage, **ran)

    def _share(self, answer: Answer, elapsed_s: float) -> float:
        """How much of its output a provider has made by the time that the client gives up: by pieces, else by time."""
        if answer.pieces and self._frames_sent:
            return min(1.0, self._frames_sent / answer.pieces)
        if answer.kind is not None and not answer.pieces:
            return 1.0  # it was made whole and lost on its way
        whole = answer.delay + sum(gap for gap, _frame in answer.frames or ())
        return min(1.0, elapsed_s / whole) if whole else 0.0

    @contextmanager
    def watching(self) -> Generator[None]:
        """End the exchange where the network gave no response at all."""
        try:
            yield
        except BaseException as error:
            given_up = isinstance(error, asyncio.CancelledError | GeneratorExit)
            kind = "timeout" if "Timeout" in type(error).__name__ else "connection"
            self.end(error="cancelled" if given_up else kind)
            raise

    def _error_word(self, body: bytes) -> str:
        try:
            word, message = read_wire_error(self._language, body, self._headers)
        except MalformedExchange:
            word, message = None, ""
        return self._language.vocabulary.classify(self.call.status, word, message)
