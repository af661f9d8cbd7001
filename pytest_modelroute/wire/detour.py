"""A case once more, on another model: its answering calls are sent there, and the client reads what that one says."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, cast, get_args

from pytest_modelroute.errors import MalformedExchange, RecordingError, ScriptError
from pytest_modelroute.providers.exchange import ProviderReply, ProviderRequest
from pytest_modelroute.providers.failures import ErrorClass, Failure
from pytest_modelroute.providers.language import Language, read_wire_error
from pytest_modelroute.wire.answers import Pace, answer_with_reply
from pytest_modelroute.wire.call_log import ProviderCall
from pytest_modelroute.wire.case_run import Heard
from pytest_modelroute.wire.labels import Label, labelled
from pytest_modelroute.wire.own_routes import Reply
from pytest_modelroute.wire.recorded import FIRST_ERROR, Pairs, joined
from pytest_modelroute.wire.redirection import Outgoing, Target, redirect

_JSON: Final = "application/json"
_OF_THE_MESSAGE: Final = frozenset({"connection", "content-encoding", "content-length", "transfer-encoding"})


class Detour:
    """
    Sends the answering calls of one run of a case to one model.

    Attributes:
        target: That model.
        calls: The calls that it was sent.
        refused: Why a call could not be sent to it; None where all could.

    """

    def __init__(
        self, target: Target, *, helpers: frozenset[str] = frozenset(), answered: ProviderRequest | None = None
    ) -> None:
        """
        Nothing was sent yet.

        Args:
            target: The model.
            helpers: Models whose calls go where they go: they classify, judge or embed.
            answered: The request to a helper that is an answer all the same, where a case asks no other model.

        """
        self.target = target
        self.calls: list[ProviderCall] = []
        self.refused: str | None = None
        self._helpers = helpers
        self._answered = answered
        self._replies = Heard()

    def takes(self, request: ProviderRequest, *, embeds: bool) -> bool:
        """Whether a call is an answering one."""
        if embeds:
            return False
        return request.model not in self._helpers or request == self._answered

    def known(self, asked: str, outgoing: Outgoing) -> Reply | None:
        """
        What the target said already, where an escalation of the code under test asks the next model the same.

        A request that is repeated to the same model is a new one.
        """
        return self._replies.next(_key(outgoing), asker=asked)

    def keep(self, asked: str, outgoing: Outgoing, reply: Reply) -> None:
        """Remember what the target said to a request that was meant for another model."""
        self._replies.add(_key(outgoing), reply, asker=asked)


def _key(outgoing: Outgoing) -> str:
    return f"{outgoing.url} {outgoing.body.decode('utf-8', 'replace')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """One call on a detour."""

    detour: Detour
    label: Label
    language: Language
    "That of the client."
    request: ProviderRequest
    url: str
    provider: str
    headers: Callable[[], Pairs]

    def outgoing(self) -> Outgoing | Reply:
        """What is sent to the target; a reply where nothing is: it was asked the same before, or cannot be asked."""
        try:
            outgoing = redirect(
                self.detour.target,
                self.language,
                self.request,
                url=self.url,
                provider=self.provider,
                headers=self.headers,
            )
        except RecordingError as error:
            self.detour.refused = str(error)
            return self._failed("bad_request", str(error), {})
        return self.detour.known(self.request.model, outgoing) or outgoing

    @contextmanager
    def sending(self) -> Generator[None]:
        """The call to the target belongs to the case, and is on no detour itself."""
        calls: list[Any] = []
        run = self.label.run
        assert run is not None  # noqa: S101 - only made for one, for the type checker
        try:
            with labelled(replace(self.label, calls=calls, run=replace(run, detour=None))):
                yield
        finally:
            self.detour.calls += calls
            if self.label.calls is not None:
                self.label.calls.extend(calls)

    def arrived(self, outgoing: Outgoing, status: int, headers: Pairs, body: bytes) -> Reply:
        """What the target said, in the language of the client."""
        if outgoing.language.name == self.language.name:
            kept = [pair for pair in headers if pair[0].lower() not in _OF_THE_MESSAGE]
            reply = _reply(status, kept, body)
        else:
            reply = self._told(outgoing, status, joined(headers), body)
        if status < FIRST_ERROR:
            self.detour.keep(self.request.model, outgoing, reply)
        return reply

    def _told(self, outgoing: Outgoing, status: int, headers: dict[str, str], body: bytes) -> Reply:
        call = self.detour.calls[-1]
        if call.reply is not None and call.error in (None, "content_filtered"):
            try:
                return self._written(call.reply)
            except ScriptError as error:  # this language has no form for what a filter held back
                return self._failed("content_filtered", str(error), headers)
        kind = cast("ErrorClass", call.error) if call.error in get_args(ErrorClass) else "server_error"
        try:
            message = read_wire_error(outgoing.language, body, headers)[1]
        except MalformedExchange:
            message = ""
        return self._failed(kind, message or f"{call.model} answered with status {status}: {call.error}", headers)

    def _written(self, reply: ProviderReply) -> Reply:
        told = answer_with_reply(
            self.language, self.request, replace(reply, reports_usage=reply.usage is not None), Pace()
        )
        frames = told.frames
        body = told.body if frames is None else b"".join(frame for _gap, frame in frames)
        return _reply(told.status, list(told.headers.items()), body)

    def _failed(self, kind: ErrorClass, message: str, headers: dict[str, str]) -> Reply:
        error = self.language.write_error(Failure(kind=kind, message=message))
        waits = [(name, value) for name, value in headers.items() if name.startswith("retry-after")]
        return _reply(error.status, [("content-type", _JSON), *error.headers.items(), *waits], error.body)


def _reply(status: int, headers: Sequence[tuple[str, str]], body: bytes) -> Reply:
    encoded = [(name.encode("ascii"), value.encode("latin-1", "replace")) for name, value in headers]
    return Reply(status=status, headers=encoded, body=body)
