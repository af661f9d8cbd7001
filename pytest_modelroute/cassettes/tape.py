"""
The recordings of one test: what is replayed, what is taken down, what is saved at its end.

An index from request to recordings finds an answer in constant time; equal requests are served first in, first out.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias
from urllib.parse import urlsplit

from pytest_modelroute.cassettes.encodings import decoded
from pytest_modelroute.cassettes.facts import Facts
from pytest_modelroute.cassettes.interaction import Interaction, RecordedRequest, RecordedResponse
from pytest_modelroute.cassettes.recorded_price import prices_then
from pytest_modelroute.errors import RecordingError, UnrecordedCall
from pytest_modelroute.wire.call_log import ProviderCall
from pytest_modelroute.wire.recorded import HOP_BY_HOP, Played, Sent

if TYPE_CHECKING:
    from pytest_modelroute.cassettes.redaction import Redactor

RecordMode: TypeAlias = Literal["none", "new", "all"]
"Replay alone; add what is missing; record everything anew."
_JSON: Final = (b"{", b"[")
"What tells JSON without a look at the headers."


class Shelf(Protocol):
    """The interactions of a cassette file, in order."""

    @property
    def keys(self) -> Sequence[str]:
        """The matching key of each."""
        ...

    def interaction(self, number: int) -> Interaction:
        """One of them."""
        ...

    def response(self, number: int) -> tuple[RecordedResponse, Facts | None]:
        """What is replayed of one of them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """An interaction that an earlier run of the test has paid for, and did not save since it failed."""

    key: str
    interaction: Interaction


class Tape:
    """
    The recordings of one test, as the wire asks for them.

    Attributes:
        new: What was recorded in this run, or taken from the journal, with its matching key: to be saved.
        without_latency: How many replayed calls were recorded by a tool that keeps no latency.
        facts: What is known of the others.

    """

    def __init__(
        self,
        shelf: Shelf,
        *,
        mode: RecordMode,
        shown: str,
        redactor: Redactor,
        key_of: Callable[[RecordedRequest], str],
        allowed: Sequence[str] = (),
        paid: Sequence[Paid] = (),
        miss: Callable[[RecordedRequest, ProviderCall | None, int], str],
        begin_take: Callable[[Tape, Sent, RecordedRequest, str, ProviderCall | None], Any],
    ) -> None:
        """
        Nothing is replayed yet.

        Args:
            shelf: The cassette as it is.
            mode: Whether calls that it does not hold are recorded.
            shown: The cassette's path, for the call log.
            redactor: Takes secrets out of requests, so that they are compared as they were saved.
            key_of: Which requests are equal.
            allowed: Hosts, or hosts with a port, whose requests pass, unrecorded.
            paid: What the journal holds of this test.
            miss: Describes a request that is not recorded, given how often an equal one was.
            begin_take: Makes who takes a live call down.

        """
        self.new: list[tuple[str, Interaction]] = []
        self.without_latency = 0
        self.facts: list[Facts] = []
        self.mode: RecordMode = mode
        self._shelf = shelf
        self._shown = shown
        self._redactor = redactor
        self._key_of = key_of
        self._allowed = frozenset(host.lower() for host in allowed)
        self._ports = any(":" in host for host in allowed)
        self._miss = miss
        self._begin_take = begin_take
        self._lock = Lock()
        self._left: dict[str, deque[int]] = {}
        self._counts: Counter[str] = Counter()
        self._asked: Counter[str] = Counter()
        self._played: list[int] = []
        if mode != "all":
            for index, key in enumerate(shelf.keys):
                self._left.setdefault(key, deque()).append(index)
                self._counts[key] += 1
        self._paid: dict[str, deque[Paid]] = {}
        for entry in paid:
            self._paid.setdefault(entry.key, deque()).append(entry)

    def __len__(self) -> int:
        """How many interactions the cassette holds, those of this run included."""
        return (0 if self.mode == "all" else len(self._shelf.keys)) + len(self.new)

    def __iter__(self) -> Iterator[Interaction]:
        """Each interaction, those of this run last."""
        if self.mode != "all":
            for index in range(len(self._shelf.keys)):
                yield self._shelf.interaction(index)
        yield from [interaction for _key, interaction in self.new]

    @property
    def played(self) -> Sequence[int]:
        """The positions of the interactions that were replayed, in the order of their replay."""
        return self._played

    def play(self, sent: Sent, call: ProviderCall | None) -> Played | None:
        """
        The recorded reply to a request; None for one that goes to the network.

        Raises:
            UnrecordedCall: There is none, and nothing is recorded now.

        """
        if self._passes(sent):
            return None
        key = self._key_as_sent(sent)
        request: RecordedRequest | None = None
        if key not in self._left:
            request, key = self._read(sent)
        found: tuple[RecordedResponse, Facts | None, str] | None = None
        if sent.heard is not None:
            found = sent.heard.next(key)
        if found is None:
            with self._lock:
                found = self._take_next(key)
            if found is not None and sent.heard is not None:
                sent.heard.add(key, found)
        if found is not None:
            return self._replay(*found)
        if self.mode == "none":
            shown, _key = self._read(sent) if request is None else (request, key)
            raise UnrecordedCall(self._miss(shown, call, self._counts[key]))
        return None

    def take(self, sent: Sent, call: ProviderCall | None) -> Any:
        """
        Who takes down the reply that the network is about to give.

        Raises:
            UnrecordedCall: The call must not be made: its key is missing, or the cap is reached.

        """
        if self._passes(sent):
            return None
        request, key = self._read(sent)
        with self._lock:
            self._asked[key] += 1
        try:
            return self._begin_take(self, sent, request, key, call)
        except RecordingError as error:
            raise UnrecordedCall(str(error)) from None

    def attempt(self, key: str) -> int:
        """The how-manieth request of its kind a live one is: 1 for the first."""
        return self._asked[key]

    def add(self, key: str, interaction: Interaction) -> None:
        """Keep what was recorded now."""
        with self._lock:
            self.new.append((key, interaction))

    def _passes(self, sent: Sent) -> bool:
        host = sent.host.lower()
        return host in self._allowed or (self._ports and urlsplit(sent.url).netloc.lower() in self._allowed)

    def _key_as_sent(self, sent: Sent) -> str:
        """The key that a request without secrets has: to redact it costs more than to find it."""
        headers = () if sent.body[:1] in _JSON else tuple(sent.headers)
        return self._key_of(RecordedRequest(method=sent.method, url=sent.url, headers=headers, body=sent.body))

    def _read(self, sent: Sent) -> tuple[RecordedRequest, str]:
        self._redactor.refresh()
        try:
            request = self._redactor.request(
                RecordedRequest(method=sent.method, url=sent.url, headers=tuple(sent.headers), body=sent.body)
            )
            return request, self._key_of(request)
        except RecordingError as error:
            raise UnrecordedCall(str(error)) from None

    def _take_next(self, key: str) -> tuple[RecordedResponse, Facts | None, str] | None:
        """The next recording of a request: of the cassette, else of what was paid for already."""
        queue = self._left.get(key)
        if queue:
            index = queue.popleft()
            self._played.append(index)
            return *self._shelf.response(index), f"recording {index + 1} of {self._shown}"
        paid = self._paid.get(key)
        if paid:
            entry = paid.popleft()
            self.new.append((key, entry.interaction))
            return entry.interaction.response, entry.interaction.facts, "the journal of an earlier run"
        return None

    def _replay(self, response: RecordedResponse, facts: Facts | None, where: str) -> Played:
        if facts is None:
            self.without_latency += 1
        else:
            self.facts.append(facts)
        return Played(
            status=response.status,
            headers=[pair for pair in response.headers if pair[0].lower() not in HOP_BY_HOP],
            body=response.body,
            plain=_plain(response.header("content-encoding"), response.body),
            latency_s=0.0 if facts is None else facts.latency_s,
            ttft_s=None if facts is None else facts.ttft_s,
            chunks=None if facts is None else facts.chunks,
            complete=facts is None or facts.complete,
            where=where,
            prices=None if facts is None or facts.price is None else prices_then(facts.model, facts.price),
        )


def _plain(encoding: str, body: bytes) -> bytes:
    return decoded(body, encoding)[0] if encoding else body
