"""A request under way: its log entry, its answer, and what is told of it at its end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING

from pytest_modelroute.errors import ModelRouteError
from pytest_modelroute.providers.language import Language
from pytest_modelroute.wire.answers import Answer
from pytest_modelroute.wire.call_log import ProviderCall
from pytest_modelroute.wire.recorded import Pairs, Take, joined, read_reply, telling_why

if TYPE_CHECKING:
    from pytest_modelroute.wire.exchanges import Wire


class Exchange:
    """A request under way, its log entry and, where it is scripted, its answer."""

    def __init__(
        self, wire: Wire, call: ProviderCall, language: Language, answer: Answer | None, take: Take | None = None
    ) -> None:
        """Begin; `answer` is None where the network answers, and `take` then takes it down."""
        self.wire = wire
        self.call = call
        self.answer = answer
        self._language = language
        self.moment: float | None = None
        "Where the answer stands, in seconds since the test began; None where that is what the test's clock shows."
        self._take = take
        self._real_start = wire.real_now
        self._pieces = 0
        self._last_piece_s = 0.0
        self._ended = False
        self._frames_sent = 0
        self._headers: Pairs = ()

    @property
    def ended(self) -> bool:
        """Whether the exchange is over."""
        return self._ended

    @property
    def is_taken(self) -> bool:
        """Whether somebody takes the reply down."""
        return self._take is not None

    def _elapsed(self) -> float:
        if self._take is not None:  # a live call, whatever the clock of the test
            return round(self.wire.real_now - self._real_start, 9)
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

    def begin(self, status: int, headers: Pairs = (), reason: str = "") -> None:
        """The head of the response has come; its headers may say what an error is."""
        self.call.status = status
        self._headers = headers
        if self._take is not None:
            self._take.head(status, reason, headers)
        if self.call.stream and self.answer is not None and self.answer.frames is not None:
            self.call.ttft_s = self._elapsed()

    def piece(self, data: bytes) -> None:
        """More of the body has come from the network, encoded as it was sent."""
        if self.call.stream:
            self._last_piece_s = self._elapsed()
            if not self._pieces:
                self.call.ttft_s = self._last_piece_s
        self._pieces += 1
        if self._take is not None:
            self._take.piece(data)

    def finish(self, read_body: Callable[[], bytes], *, whole: bool = True) -> None:
        """
        The client has read the body of a reply from the network, or as much of it as it wanted.

        Args:
            read_body: Gives what it has read, without its content encoding.
            whole: Whether it has read to the end.

        """
        if self._ended:
            return
        try:
            body = read_body()
        except Exception:  # noqa: BLE001 - whatever a library raises for a body that it cannot decompress
            self.end(error="malformed", whole=whole)
        else:
            self.end(error=self._read(body), whole=whole)

    def _read(self, body: bytes) -> str | None:
        """Read the reply; what was wrong with it, or None."""
        call = self.call
        reply, error = read_reply(self._language, call.status, body, joined(self._headers), stream=call.stream)
        if reply is not None:
            call.reply, call.usage = reply, reply.usage
        return error

    def end(self, *, error: str | None = None, whole: bool = False) -> None:
        """The exchange is over; only the first end counts. `whole`: a reply from the network was read to its end."""
        if self._ended:
            return
        self._ended = True
        call, answer = self.call, self.answer
        call.latency_s = self._elapsed()
        if answer is not None and error is None:
            error = answer.kind
        call.error = call.error or error
        if answer is None:
            complete = whole or call.completed
            if complete and self._last_piece_s:  # it is over with its last piece, whenever somebody says so
                call.latency_s = self._last_piece_s
            self._end_take(call.latency_s, complete=complete)
            return
        if error is None and answer.lasts is not None and self.wire.skips_latencies:
            call.latency_s = answer.lasts  # nobody waits: what passes is noise
        if call.error is None or call.error == "content_filtered":
            call.reply, call.usage = answer.reply, answer.usage
        elif answer.usage is not None and (share := self._share(answer, call.latency_s)):
            # A call that the client gave up is billed as far as it ran: its input, and its share of the output.
            ran = {name: ceil(getattr(answer.usage, name) * share) for name in ("output", "reasoning")}
            call.usage = replace(answer.usage, **ran)

    def _end_take(self, elapsed_s: float, *, complete: bool) -> None:
        if self._take is None:
            return
        clock = self.wire.clock
        if clock is not None:
            clock.reach(self.call.started_s + elapsed_s)
        try:
            seconds = self._take.end(complete=complete)
            if seconds is not None:
                self.call.latency_s = seconds
        except ModelRouteError as error:  # the client has its reply, and goes on
            self.wire.fail(str(error))

    def _share(self, answer: Answer, elapsed_s: float) -> float:
        """How much of its output a provider has made by the time that the client gives up: by pieces, else by time."""
        if answer.pieces and self._frames_sent:
            return min(1.0, self._frames_sent / answer.pieces)
        if answer.kind is not None and not answer.pieces:
            return 1.0  # it was made whole and lost on its way
        whole = answer.delay + sum(gap for gap, _frame in answer.frames or ())
        return min(1.0, elapsed_s / whole) if whole else 0.0

    def watching(self) -> AbstractContextManager[None]:
        """End the exchange where the network gave no response at all."""
        return telling_why(lambda kind: self.end(error=kind))
