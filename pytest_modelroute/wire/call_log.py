"""What was called: every provider call of a test, as it was seen at the HTTP level."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, overload

from pytest_modelroute.errors import EvaluationError, PriceUnknown
from pytest_modelroute.providers.exchange import Message, ProviderReply, ProviderRequest, Tool, Usage
from pytest_modelroute.providers.prices import PriceBook
from pytest_modelroute.wire.labels import attributed, step_label

_OK = range(200, 300)


@dataclass(slots=True, kw_only=True, eq=False)
class ProviderCall:
    """
    One call of a provider.

    A call is logged when its request is sent; what is known only at its end is None until then.
    """

    number: int
    "1 for the first call of the test."
    provider: str
    language: str
    "The wire format, such as openai-chat."
    url: str
    client: str
    "The HTTP library that sent it: httpx or httpx2."
    request: ProviderRequest
    step: str | None
    case: str | None
    started_s: float
    "Seconds since the test began, on the test's clock."
    embeds: bool = False
    "Whether it asks for vectors in place of an answer, so that it is never the route of a case."
    status: int | None = None
    "HTTP status; None while no reply came."
    reply: ProviderReply | None = None
    usage: Usage | None = None
    "What the provider bills; for a scripted reply also where a stream does not report it."
    error: str | None = None
    "What kept the call from completing: an error class, a transport error, cancelled; None for a completed call."
    latency_s: float | None = None
    "Seconds until the reply was complete (a stream: until its last chunk was read)."
    ttft_s: float | None = None
    "Seconds until the first chunk of a stream."
    answered_by: str = ""
    "Which script, or the network."
    prices: PriceBook = field(default_factory=PriceBook, repr=False)

    @property
    def model(self) -> str:
        """The model that was asked for on the wire."""
        return self.request.model

    @property
    def model_answered(self) -> str:
        """The model that the reply names; the one asked for where it names none; empty without a reply."""
        return "" if self.reply is None else self.reply.model or self.model

    @property
    def prompt(self) -> str:
        """The text of the last user message."""
        return self.request.prompt

    @property
    def messages(self) -> tuple[Message, ...]:
        """All messages, the system prompt first."""
        return self.request.messages

    @property
    def stream(self) -> bool:
        """Whether a stream was asked for."""
        return self.request.stream

    @property
    def tools(self) -> tuple[Tool, ...]:
        """The tools offered to the model."""
        return self.request.tools

    @property
    def params(self) -> Mapping[str, Any]:
        """Everything else in the body: temperature, max_tokens, ..."""
        return self.request.params

    @property
    def text(self) -> str:
        """The text of the reply; empty without one."""
        return "" if self.reply is None else self.reply.text

    @property
    def completed(self) -> bool:
        """Whether a whole, good reply came."""
        return self.status in _OK and self.error is None and self.reply is not None

    @property
    def cost_usd(self) -> Decimal:
        """
        What the call costs; 0 for one that was answered with an error.

        A call that the client gave up (a cancelled task, a closed stream, its own timeout) costs its input and the
        share of its output that was made by then.

        Raises:
            PriceUnknown: The model has no price, or the reply reported no usage.

        """
        if self.usage is not None:
            return self.prices.cost(self.model, self.usage, provider=self.provider)
        if self.completed:
            raise PriceUnknown(
                f"call {self.number} to {self.model!r} has no cost: its reply reported no usage"
                + (" (ask for it with stream_options={'include_usage': True})" if self.stream else "")
            )
        return Decimal(0)


class CallLog(Sequence[ProviderCall]):
    """
    The provider calls of a test in the order in which they were sent.

    Attributes:
        settle: Called before the log is read, to wait until what clients have done by now is in it.

    """

    def __init__(self, calls: Iterable[ProviderCall] = (), *, steps: Iterable[str] = ()) -> None:
        """A log that holds these calls already; `steps` are the declared ones, empty where none are."""
        self.settle: Callable[[], None] = nothing
        self._all = list(calls)
        self._steps = frozenset(steps)

    @property
    def _calls(self) -> list[ProviderCall]:
        self.settle()
        return self._all

    @overload
    def __getitem__(self, index: int) -> ProviderCall: ...
    @overload
    def __getitem__(self, index: slice) -> CallLog: ...
    def __getitem__(self, index: int | slice) -> ProviderCall | CallLog:
        """One call, or a part of the log."""
        return CallLog(self._calls[index], steps=self._steps) if isinstance(index, slice) else self._calls[index]

    def __len__(self) -> int:
        """How many calls were sent."""
        return len(self._calls)

    def __iter__(self) -> Iterator[ProviderCall]:
        """Each call."""
        return iter(self._calls)

    def __repr__(self) -> str:
        """The models, in order."""
        return f"CallLog({self.models})"

    def append(self, call: ProviderCall) -> None:
        """Log a call."""
        self._all.append(call)

    @property
    def models(self) -> list[str]:
        """The models asked for, in order."""
        return [call.model for call in self._calls]

    @property
    def cost_usd(self) -> Decimal:
        """The sum over all calls; PriceUnknown where one cannot be priced."""
        return sum((call.cost_usd for call in self._calls), Decimal(0))

    def step(self, name: str) -> CallLog:
        """The calls of one step."""
        self._check_step(name)
        return CallLog((call for call in self._calls if call.step == name), steps=self._steps)

    def case(self, id: str) -> CallLog:  # noqa: A002 - the word that cases use
        """The calls of one case."""
        return CallLog((call for call in self._calls if call.case == id), steps=self._steps)

    def label(self, *, step: str) -> AbstractContextManager[None]:
        """Label the calls of a block with a step."""
        self._check_step(step)
        return step_label(step)

    def attribute(self, function: Callable[..., Any], *, step: str) -> AbstractContextManager[None]:
        """Label the calls that a function makes with a step, without a change to its code, for this block."""
        self._check_step(step)
        return attributed(function, step)

    def _check_step(self, name: str) -> None:
        if self._steps and name not in self._steps:
            nearest = get_close_matches(name, self._steps, n=1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"declared are: {', '.join(sorted(self._steps))}"
            raise EvaluationError(f"there is no step {name!r} in the settings; {hint}")

    def table(self, *, limit: int | None = None) -> str:
        """
        The log as aligned text.

        Args:
            limit: How many calls to show at most; the last ones are kept, since a failure is rarely in the first.

        """
        calls = self._calls
        if not calls:
            return "no provider was called"
        shown = calls if limit is None else calls[max(0, len(calls) - limit) :]
        # A fallback at another provider shows only by the provider's name.
        several = len({call.provider for call in shown}) > 1
        rows = [_HEADINGS, *(_row(call, f"{call.provider}/" if several else "") for call in shown)]
        used = [column for column in range(len(_HEADINGS)) if any(row[column] for row in rows[1:])]
        widths = [max(len(row[column]) for row in rows) for column in used]
        lines = [
            "  ".join(row[column].ljust(width) for column, width in zip(used, widths, strict=True)).rstrip()
            for row in rows
        ]
        hidden = len(calls) - len(shown)
        return "\n".join([lines[0], *([f"... {hidden} earlier calls"] if hidden else []), *lines[1:]])


def nothing() -> None:
    """Where no server runs, nothing is to be waited for."""


_HEADINGS = ("#", "at", "step", "case", "model", "status", "latency", "tokens in/out", "cost USD", "answered by")


def _row(call: ProviderCall, prefix: str) -> tuple[str, ...]:
    model = prefix + call.model
    if call.model_answered not in ("", call.model):
        model += f" -> {call.model_answered}"
    usage = call.usage
    return (
        str(call.number),
        f"{call.started_s:.3f}s",
        call.step or "",
        call.case or "",
        model,
        _status(call),
        "" if call.latency_s is None else f"{call.latency_s * 1000:.0f} ms",
        "" if usage is None else f"{usage.total_input}/{usage.total_output}",
        _cost(call),
        call.answered_by,
    )


def _status(call: ProviderCall) -> str:
    status = "" if call.status is None else str(call.status)
    problem = call.error or ("" if call.completed else "open")
    return " ".join(part for part in (status, problem, "stream" if call.stream else "") if part)


def _cost(call: ProviderCall) -> str:
    try:
        return f"{call.cost_usd:.7f}" if call.usage is not None else ""
    except PriceUnknown:
        return "no price"
