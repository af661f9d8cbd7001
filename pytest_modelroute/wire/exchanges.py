"""One test's wire: what is sent becomes an exchange, is logged, and is answered by a script or a recording."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from email.utils import formatdate
from itertools import count
from math import ceil
from typing import TYPE_CHECKING, Final, Literal

from pytest_modelroute.errors import (
    MalformedExchange,
    UnrecordedCall,
    UnscriptedCall,
    VirtualTimeError,
)
from pytest_modelroute.providers.exchange import ProviderRequest
from pytest_modelroute.providers.language import Language
from pytest_modelroute.providers.prices import PriceBook
from pytest_modelroute.providers.registry import LANGUAGES, language_for, provider_at, provider_behind
from pytest_modelroute.wire.answers import Answer, Answering
from pytest_modelroute.wire.call_log import CallLog, ProviderCall
from pytest_modelroute.wire.detour import Detour, Trip
from pytest_modelroute.wire.exchange import Exchange
from pytest_modelroute.wire.labels import Label, current_label
from pytest_modelroute.wire.network_guard import NetworkGuard
from pytest_modelroute.wire.owners import Owner, current_owner
from pytest_modelroute.wire.places import script_traceback
from pytest_modelroute.wire.recorded import Played, Recordings, Sent, Take, replayed
from pytest_modelroute.wire.virtual_time import VirtualTime

if TYPE_CHECKING:
    from pytest_modelroute.wire.tampered import Tampering

_real_perf_counter = time.perf_counter
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost"})
_ERRORS: Final[Mapping[type[BaseException], str]] = {UnscriptedCall: "unscripted", UnrecordedCall: "unrecorded"}


class Wire:
    """
    What a test shares between its fixtures: log, scripts, guard, clock, and what went wrong unseen by the test.

    Attributes:
        calls: The log.
        scripts: The scripted providers; None where there are none.
        recordings: The recorded providers, asked where no script answers; without both, replies come from the network.
        guard: The network guard; None where the network is open.
        clock: Virtual time; None where time is real.
        running: The label of the case that an evaluation is at, for calls that carry none.
        unlabelled_is_ambiguous: Whether several cases are under way at once.
        speed: How much faster than recorded latencies pass where time is real; None where they are not waited for.
        prices: What calls cost.
        all_in_process: Whether connections of http.client are answered in process where scripts stand alone too, so
            that their time is virtual; a test has the real server for them, a law has no time for real time.
        heed: Told of each call and of the request that it came as; None where nobody asks.
        served: The port on 127.0.0.1 -> the provider's name, where scripts stand behind a real server.
        tampering: Who changes the answers, or watches them; None in every ordinary run.

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
        self.scripts: Answering | None = None
        self.recordings: Recordings | None = None
        self.guard: NetworkGuard | None = None
        self.clock: VirtualTime | None = None
        self.running: Label | None = None
        self.unlabelled_is_ambiguous = False
        self.served: dict[int, str] = {}
        self.tampering: Tampering | None = None
        self.speed: float | None = None
        self.all_in_process = False
        self.heed: Callable[[ProviderCall, Sent], None] | None = None
        self._skipped = 0.0
        self._owner = Owner()
        self.prices = prices
        self._hosts = dict(provider_hosts)
        self._failures: list[str] = []
        self._numbers = count(1)  # atomic, for calls from several threads
        self._real_start = _real_perf_counter()

    @property
    def now(self) -> float:
        """Seconds since the test began, on the clock of this test."""
        return self.real_now + self._skipped if self.clock is None else self.clock.now

    @property
    def real_now(self) -> float:
        """Seconds since the test began, on the machine's clock."""
        return _real_perf_counter() - self._real_start

    @property
    def detour(self) -> Detour | None:
        """Where the answering calls of the case that runs are sent; None where they go where they go."""
        label = current_label() or self.running
        return None if label is None or label.run is None else label.run.detour

    @property
    def skips_latencies(self) -> bool:
        """Whether replayed latencies are counted and not waited for: time is real, and other calls are live."""
        return self.clock is None and self.speed is None

    @property
    def clock_name(self) -> Literal["virtual", "real", "recorded"]:
        """Virtual, real or recorded, as reports say it: where the latencies come from that are judged."""
        if self.skips_latencies:
            return "real"
        return "virtual" if self.recordings is None else "recorded"

    def sleep(self, seconds: float) -> None:
        """Let a latency pass."""
        (self._pass_real if self.clock is None else self.clock.sleep)(seconds)

    async def asleep(self, seconds: float) -> None:
        """Let a latency pass for the running task."""
        try:
            await (self._apass_real if self.clock is None else self.clock.asleep)(seconds)
        except VirtualTimeError as error:
            self.fail(str(error))
            raise

    def _pass_real(self, seconds: float) -> None:
        time.sleep(self._waited_for(seconds))

    async def _apass_real(self, seconds: float) -> None:
        await asyncio.sleep(self._waited_for(seconds))

    def _waited_for(self, seconds: float) -> float:
        """How long a latency is waited for; the rest is counted all the same, so that none passes for a shorter one."""
        waited = seconds / self.speed if self.speed else 0.0
        self._skipped += seconds - waited
        return waited

    def begin_test(self) -> None:
        """The test function begins: what it starts carries the mark of this test."""
        self._owner.begin()

    def end_test(self) -> None:
        """The test function has ended; what it leaves running must not touch the recordings of another test."""
        self._owner.end()

    def _refuse_left_over(self, url: str) -> None:
        owner = current_owner()
        if owner is not None and owner is not self._owner and owner.over:
            raise UnrecordedCall(
                f"a call of {url} comes from a task or thread that an earlier test has left running: it is not "
                "answered, and not recorded.\nEnd it in its test, or start it in a fixture, which may outlive tests"
            )

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

    def open(self, sent: Sent) -> Exchange | None:
        """
        Log a request and find its answer; None for a request that is no call of a model.

        Raises:
            UnscriptedCall: Providers are scripted and no script answers.
            ScriptRaised: The function of a script raised.
            UnrecordedCall: Providers are recorded and no recording answers.

        """
        if self.recordings is not None:
            self._refuse_left_over(sent.url)
        provider = self._provider(sent)
        language = language_for(sent.method, sent.path, provider_behind(provider))
        if language is None:
            return None
        request = self._read(language, sent, is_known=provider is not None)
        if request is None:
            return None
        label = current_label() or self._running_label(sent.url)
        self._refuse_bypass(label, language, request, sent)
        call = self._log(label, language, provider or language.provider, request, sent)
        try:
            answer, take = self._answer(call, language, _heard(sent, label))
            if self.tampering is not None and answer is not None:
                answer = self.tampering.answer(call, language, answer, in_real_time=self._waits_for(sent))
        except BaseException as error:
            call.error = _ERRORS.get(type(error), "script raised")
            self.fail((str(error) or type(error).__name__) + script_traceback(error.__cause__))
            raise
        return Exchange(self, call, language, answer, take)

    def open_other(self, sent: Sent) -> Played | Take | None:
        """
        A recorded reply to a request that is no call of a model, or who takes a live one down; None for neither.

        Raises:
            UnrecordedCall: There is none, and nothing is recorded now.

        """
        if self.recordings is None:
            return None
        sent = _heard(sent, current_label() or self.running)
        try:
            return self.recordings.play(sent, None) or self.recordings.take(sent, None)
        except UnrecordedCall as error:
            self.fail(str(error))
            raise

    def _answer(self, call: ProviderCall, language: Language, sent: Sent) -> tuple[Answer | None, Take | None]:
        recordings = self.recordings
        if self.tampering is not None:
            self.tampering.redirect(call)
        if self.scripts is not None:
            answer = self.scripts.answer(call, language, strict=recordings is None)
            if answer is not None:
                return self._date(answer), None
        take: Take | None = None
        if recordings is not None:
            played = recordings.play(sent, call)
            if played is not None:
                call.answered_by = played.where
                call.prices = played.prices or call.prices
                return replayed(language, played, call.request), None
            take = recordings.take(sent, call)
        call.answered_by = "network"
        return None, take

    def _waits_for(self, sent: Sent) -> bool:
        """Whether the latency of an answer is one of the machine's clock."""
        return sent.port in self.served or (self.clock is None and not self.skips_latencies)

    def _provider(self, sent: Sent) -> str | None:
        """Whose host this is: a name that a server of this test stands for, one of the settings, or a known one."""
        if sent.port in self.served and sent.host in LOOPBACK:
            return self.served[sent.port]
        return self._hosts.get(sent.host) or provider_at(sent.host)

    def _date(self, answer: Answer) -> Answer:
        """A date in a Retry-After is one of this test's clock, and of whole seconds: rounded up."""
        if answer.retry_date_s is None:
            return answer
        now = time.time() if self.clock is None else self.clock.wall_now()
        moment = formatdate(ceil(now + answer.delay + answer.retry_date_s), usegmt=True)
        return replace(answer, headers={**answer.headers, "retry-after": moment})

    def _read(self, language: Language, sent: Sent, *, is_known: bool) -> ProviderRequest | None:
        try:
            return language.read_request(sent.body, sent.path)
        except MalformedExchange as error:
            # Other services have paths such as /responses too.
            if (self.scripts is None and self.recordings is None) or not is_known:
                return None
            self.fail(f"a call of {sent.url} cannot be read: {error}")
            raise

    def trip(self, sent: Sent) -> Trip | None:
        """The way of a call that is sent to another model than it asks for; None for any other request."""
        label, detour = current_label() or self.running, self.detour
        if label is None or detour is None:
            return None
        provider = self._provider(sent)
        language = language_for(sent.method, sent.path, provider_behind(provider))
        request = None if language is None else self._read(language, sent, is_known=provider is not None)
        if language is None or request is None or not detour.takes(request, embeds=language.embeds):
            return None
        return Trip(
            detour=detour,
            label=label,
            language=language,
            request=request,
            url=sent.url,
            provider=provider or language.provider,
            headers=sent.read_headers,
        )

    def _refuse_bypass(self, label: Label, language: Language, request: ProviderRequest, sent: Sent) -> None:
        """A call that ought to be on a detour and is not would be billed, and told as the answer of another model."""
        if label.run is None or label.run.detour is None:
            return
        if label.run.detour.takes(request, embeds=language.embeds):
            message = (
                f"a call of {sent.url} was sent by {sent.client}: --modelroute-record-all-tiers sends the calls of "
                "httpx and httpx2 to other models; record this test without it"
            )
            self.fail(message)
            raise UnrecordedCall(message)

    def _log(
        self, label: Label, language: Language, provider: str, request: ProviderRequest, sent: Sent
    ) -> ProviderCall:
        call = ProviderCall(
            number=next(self._numbers),
            provider=provider,
            language=language.name,
            embeds=language.embeds,
            url=sent.url.partition("?")[0],
            client=sent.client,
            request=request,
            step=label.step,
            case=label.case,
            started_s=self.now,
            prices=self.prices,
        )
        if self.heed is not None:
            self.heed(call, sent)
        if label.run is None or not label.run.apart:
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


def _heard(sent: Sent, label: Label | None) -> Sent:
    """A request that knows what its case was answered before, where it is run on several models."""
    return sent if label is None or label.run is None else replace(sent, heard=label.run.heard)
