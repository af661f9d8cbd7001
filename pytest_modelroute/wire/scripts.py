"""One script: which calls it answers, and with what, stage after stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

from pytest_modelroute.errors import ScriptError, ScriptRaised
from pytest_modelroute.providers.exchange import ProviderReply, Usage
from pytest_modelroute.providers.language import Language
from pytest_modelroute.wire.answers import Answer, Pace, answer_with_fault, answer_with_reply
from pytest_modelroute.wire.call_log import ProviderCall
from pytest_modelroute.wire.faults import Fault, is_seconds

Outcome: TypeAlias = str | ProviderReply | Fault
"What one call can be answered with."
Source: TypeAlias = Outcome | Callable[[ProviderCall], Outcome] | Sequence[Outcome]
"A text or reply for every call, a function of the call, or a list with one entry a call."
Seconds: TypeAlias = float | Callable[[ProviderCall], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Which calls a script answers; what is None does not matter."""

    models: tuple[str, ...] | None = None
    provider: str | None = None
    step: str | None = None
    when: Callable[[ProviderCall], bool] | None = None

    def misses(self, call: ProviderCall) -> str | None:
        """The first condition that a call does not meet, or None if it meets all."""
        if self.models is not None and call.model not in self.models:
            return "model"
        if self.provider is not None and call.provider != self.provider:
            return "provider"
        if self.step is not None and call.step != self.step:
            return "step"
        if self.when is not None and not self.when(call):
            return "when"
        return None

    def cover(self, other: Conditions) -> bool:
        """Whether every call that meets the other conditions meets these (a predicate is never known to)."""
        return (
            (self.models is None or (other.models is not None and set(other.models) <= set(self.models)))
            and (self.provider is None or self.provider == other.provider)
            and (self.step is None or self.step == other.step)
            and self.when is None
        )

    def __str__(self) -> str:
        """The conditions as they were typed."""
        models = self.models[0] if self.models is not None and len(self.models) == 1 else self.models
        given = {"model": models, "provider": self.provider, "step": self.step}
        words = [f"{name}={value!r}" for name, value in given.items() if value is not None]
        if self.when is not None:
            words.append(f"when={getattr(self.when, '__name__', 'predicate')}")
        return f"on({', '.join(words)})"


@dataclass(slots=True, kw_only=True)
class _Stage:
    """A run of answers: for ever, or for a number of calls."""

    name: str
    outcome: Callable[[ProviderCall, int], Outcome]
    "Of the call and of how often the stage was used before."
    latency: Seconds
    usage: Usage | None
    model: str | None
    ttft: float | None
    chunks: int | tuple[str, ...] | None
    limit: int | None
    used: int = 0

    @property
    def spent(self) -> bool:
        return self.limit is not None and self.used >= self.limit


class Script:
    """
    What the calls that meet some conditions are answered with.

    Made by `mock_providers.on(...)`. The stages are used up one after another; the last may go on for ever.
    """

    def __init__(
        self,
        conditions: Conditions,
        *,
        number: int,
        where: str,
        optional: bool,
        revive: Callable[[Script], None] = lambda _script: None,
        ended: Callable[[Script], None] = lambda _script: None,
    ) -> None:
        """
        Start without a stage.

        Args:
            conditions: Which calls are answered.
            number: Its place in the order of their making.
            where: File and line, for messages.
            optional: Whether it may stay unused.
            revive: Told of a stage that is added when the earlier ones are used up.
            ended: Told of a stage that goes on for ever.

        """
        self._revive = revive
        self._ended = ended
        self.conditions = conditions
        self.number = number
        self.where = where
        self.optional = optional
        self._stages: list[_Stage] = []
        self._current = 0

    def replies(
        self,
        source: Source,
        *,
        usage: Usage | Mapping[str, int] | None = None,
        latency: Seconds = 0.0,
        ttft: float | None = None,
        chunks: int | Sequence[str] | None = None,
        model: str | None = None,
    ) -> Script:
        """
        Answer with a text.

        Args:
            source: A text, a `Reply`, a function of the call that returns one (or a fault), or a list with one entry
                for each call, after which the script is used up.
            usage: Tokens as a `Usage` or its fields; estimated from the texts where left out.
            latency: Seconds of virtual time until the reply is complete, or a function of the call.
            ttft: Seconds until the first chunk of a stream; an even share of the latency where left out.
            chunks: Into how many pieces a stream is cut, or the pieces themselves; words where left out.
            model: The model that the reply names, where it is not the one that was asked for.

        Raises:
            ScriptError: An impossible latency, usage or source.

        """
        pieces = _read_chunks(chunks)
        _check_pace(latency, ttft)
        if model is not None and (type(model) is not str or not model):
            raise ScriptError(f"model={model!r}: the name that the reply gives was expected")
        outcome, limit, name = _read_source(source)
        _check_pieces(source, pieces)
        return self._add(
            _Stage(
                name=name,
                outcome=outcome,
                latency=latency,
                usage=_read_usage(usage),
                model=model,
                ttft=ttft,
                chunks=pieces,
                limit=limit,
            )
        )

    def fails(self, fault: Fault, *, times: int | None = None, latency: Seconds = 0.0) -> Script:
        """
        Answer with a fault of `pytest_modelroute.faults`.

        Args:
            fault: Such as `rate_limit(retry_after=2)`.
            times: How many calls fail; None for all.
            latency: Seconds of virtual time until the fault shows.

        Raises:
            ScriptError: Not a fault, or an impossible number.

        """
        _check_pace(latency, None)
        if not isinstance(fault, Fault):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ScriptError(
                f"fails({fault!r}) takes a fault such as pytest_modelroute.faults.rate_limit(), with its parentheses"
            )
        if times is not None and (type(times) is not int or times < 1):
            raise ScriptError(f"fails(..., times={times!r}): a number of calls, 1 or more, was expected")
        repeat = "" if times is None else f", times={times}"
        return self._add(
            _Stage(
                name=f"fails({fault.name}(){repeat})",
                outcome=lambda _call, _used: fault,
                latency=latency,
                usage=None,
                model=None,
                ttft=None,
                chunks=None,
                limit=times,
            )
        )

    @property
    def then(self) -> Script:
        """What comes after: `.fails(overloaded(), times=2).then.replies("...")`."""
        return self

    @property
    def empty(self) -> bool:
        """Whether the script was never told what to answer."""
        return not self._stages

    @property
    def endless(self) -> bool:
        """Whether the script goes on for ever."""
        return bool(self._stages) and self._stages[-1].limit is None

    @property
    def spent(self) -> bool:
        """Whether every stage is used up."""
        return bool(self._stages) and self._stages[-1].spent

    def answer(self, call: ProviderCall, language: Language) -> Answer:
        """
        Answer a call that meets the conditions.

        Raises:
            ScriptRaised: The function of the script raised, or returned something that is no answer.

        """
        stage = self._next_stage()
        try:
            outcome = stage.outcome(call, stage.used - 1)
            latency = stage.latency(call) if callable(stage.latency) else stage.latency
            _check_seconds("latency", latency)
            _check_pace(latency, stage.ttft)
            return self._read(outcome, stage, latency, call, language)
        except Exception as error:
            raise ScriptRaised(
                f"script {self} raised on call {call.number} ({type(error).__name__}: {error})"
            ) from error

    def leftovers(self) -> list[str]:
        """What of the script was never used, in words."""
        if self.optional:
            return []
        if self.empty:
            return ["has no answer: add .replies(...) or .fails(...)"]
        if not self._stages[0].used:
            return ["never used"]
        return [
            f"{stage.name} never used" if not stage.used else f"{stage.name} used {stage.used} of {stage.limit} times"
            for stage in self._stages
            if not stage.used or (stage.limit is not None and not stage.spent)
        ]

    def __str__(self) -> str:
        """The script as it was typed, and where."""
        return ".".join([str(self.conditions), *(stage.name for stage in self._stages)]) + f"  ({self.where})"

    def _add(self, stage: _Stage) -> Script:
        if self.endless:
            raise ScriptError(
                f"{stage.name} can never be reached: {self._stages[-1].name} before it goes on for ever "
                f"({self.where}).\n"
                "Give it an end: fails(..., times=N), or replies([...]) with one entry a call."
            )
        if self.spent:
            self._revive(self)
        self._stages.append(stage)
        if stage.limit is None:
            self._ended(self)
        return self

    def _next_stage(self) -> _Stage:
        while self._stages[self._current].spent:
            self._current += 1
        stage = self._stages[self._current]
        stage.used += 1
        return stage

    def _read(self, outcome: object, stage: _Stage, latency: float, call: ProviderCall, language: Language) -> Answer:
        if isinstance(outcome, Fault):
            return answer_with_fault(language, call.request, outcome, latency, call.provider)
        if isinstance(outcome, str):
            reply = ProviderReply(text=outcome, usage=stage.usage, model=stage.model or "")
        elif isinstance(outcome, ProviderReply):
            reply = replace(outcome, usage=outcome.usage or stage.usage, model=outcome.model or stage.model or "")
        else:
            raise ScriptRaised(
                f"script {self} answered call {call.number} with {outcome!r}; a text, a Reply or a fault was expected"
            )
        _check_pieces(reply, stage.chunks)
        pace = Pace(latency=latency, ttft=stage.ttft, chunks=stage.chunks)
        return answer_with_reply(language, call.request, reply, pace)


def _read_source(source: Any) -> tuple[Callable[[ProviderCall, int], Outcome], int | None, str]:
    """What to answer by call and use, for how many calls, and how messages show it."""
    if isinstance(source, (str, ProviderReply, Fault)):
        text = source.text if isinstance(source, ProviderReply) else source
        return (lambda _call, _used: source), None, f"replies({_short(text)})"
    if callable(source):
        name = getattr(source, "__name__", type(source).__name__)
        return (lambda call, _used: cast("Outcome", source(call))), None, f"replies({name})"
    if isinstance(source, Sequence) and source and not isinstance(source, bytes | bytearray):
        entries = list(cast("Sequence[Outcome]", source))
        for number, entry in enumerate(entries, start=1):
            if not isinstance(entry, str | ProviderReply | Fault):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ScriptError(
                    f"replies([...]): entry {number} is {entry!r}; a text, a Reply or a fault was expected"
                )
        return (lambda _call, used: entries[used]), len(entries), f"replies([{len(entries)} entries])"
    raise ScriptError(
        f"replies({source!r}): a text, a Reply, a function of the call or a list with an entry for each call "
        "was expected"
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."  # noqa: PLR2004


def _read_usage(usage: object) -> Usage | None:
    if usage is None or isinstance(usage, Usage):
        return usage
    try:
        return Usage(**cast("dict[str, Any]", usage))
    except (TypeError, ValueError) as error:
        raise ScriptError(
            f"usage={usage!r} cannot be read: {error}. "
            "Its fields are fresh_input, cache_read, cache_write, output, reasoning"
        ) from None


def _read_chunks(chunks: Any) -> int | tuple[str, ...] | None:
    if chunks is None or (type(chunks) is int and chunks >= 1):
        return chunks
    pieces = cast("list[object]", list(cast("Any", chunks))) if isinstance(chunks, list | tuple) else []
    if not pieces or not all(isinstance(piece, str) for piece in pieces):
        raise ScriptError(f"chunks={chunks!r}: a number of pieces, 1 or more, or the pieces were expected")
    return cast("tuple[str, ...]", tuple(pieces))


def _check_pieces(source: object, chunks: int | tuple[str, ...] | None) -> None:
    text = source.text if isinstance(source, ProviderReply) else source
    if isinstance(text, str) and isinstance(chunks, tuple) and "".join(chunks) != text:
        raise ScriptError(f"chunks={list(chunks)!r} are not the text {text!r} in pieces")


def _check_seconds(name: str, value: object) -> None:
    if not is_seconds(value):
        raise ScriptError(f"{name}={value!r}: seconds, 0 or more, were expected")


def _check_pace(latency: Seconds, ttft: float | None) -> None:
    if not callable(latency):
        _check_seconds("latency", latency)
    if ttft is None:
        return
    _check_seconds("ttft", ttft)
    if not callable(latency) and ttft > latency:
        raise ScriptError(f"ttft={ttft!r} is longer than latency={latency!r}, the time until the reply is complete")
