"""What a request has taken so far: its attempts, what they cost, and the time that is left to it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from pytest_modelroute.errors import ProviderError
from pytest_modelroute.providers.exchange import ProviderRequest, Usage, estimate_usage
from pytest_modelroute.providers.prices import PriceBook


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """Those left out are looked up in `time` and `asyncio` when they are needed, which virtual time relies on."""

    clock: Callable[[], float] | None = None
    wall_clock: Callable[[], float] | None = None
    sleep: Callable[[float], None] | None = None
    asleep: Callable[[float], Awaitable[None]] | None = None

    def now(self) -> float:
        """Seconds, monotonic."""
        return (self.clock or time.monotonic)()

    def wall_now(self) -> float:
        """Seconds since the epoch."""
        return (self.wall_clock or time.time)()

    def wait(self, seconds: float) -> None:
        """Sleep."""
        (self.sleep or time.sleep)(seconds)

    async def await_(self, seconds: float) -> None:
        """Sleep in async code."""
        await (self.asleep or asyncio.sleep)(seconds)


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One call of a model; until it ends it counts as given up, so that a cancelled one needs no more bookkeeping."""

    request: ProviderRequest
    provider: str
    kind: str | None = "cancelled"
    "The error class, or cancelled; None for an answer."
    pieces: list[str] = field(default_factory=list[str])
    "The text that came so far."
    reported: Usage | None = None
    "The usage, where the provider reported one."
    is_billed: bool = True
    "Whether it costs something even where no usage is reported."

    @property
    def text(self) -> str:
        """The text that came so far."""
        return "".join(self.pieces)

    @property
    def usage(self) -> Usage | None:
        """
        What is billed, as far as is known; None for nothing.

        As reported; else, for an answer without usage and for a call that was given up or broke off, its input and the
        text that came, at four characters a token.
        """
        if self.reported is None and self.is_billed:
            return estimate_usage(self.request, self.text)
        return self.reported

    def fail(self, error: ProviderError) -> None:
        """End in an error: paid for where some text came, and where we gave up waiting; not where it was refused."""
        self.kind = error.kind
        self.is_billed = bool(self.pieces) or (error.status is None and error.code == "timeout")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What a request used; priced when it is asked for, since a price can take long to look up."""

    charges: tuple[tuple[str, str, Usage], ...] = ()
    "(provider, model, usage) of each attempt that is billed."
    prices: PriceBook = field(default_factory=PriceBook)

    @classmethod
    def of(cls, attempts: Iterable[Attempt], prices: PriceBook) -> Bill:
        """The bill of some attempts."""
        used = ((attempt.provider, attempt.request.model, attempt.usage) for attempt in attempts)
        return cls(charges=tuple((provider, model, usage) for provider, model, usage in used if usage), prices=prices)

    @property
    def cost_usd(self) -> Decimal:
        """USD of all charges; PriceUnknown where a model has no price."""
        costs = (self.prices.cost(model, usage, provider=provider) for provider, model, usage in self.charges)
        return sum(costs, Decimal(0))

    @property
    def input_tokens(self) -> int:
        """Tokens of input, cached or not."""
        return sum(usage.total_input for _, _, usage in self.charges)

    @property
    def output_tokens(self) -> int:
        """Tokens of output, reasoning included."""
        return sum(usage.total_output for _, _, usage in self.charges)


@dataclass(slots=True, kw_only=True)
class RequestContext:
    """What all calls on behalf of one request share, those of classifiers and fallbacks included."""

    deadline: float | None = None
    "Seconds that the request may take in all; None for as long as it takes."
    until: float = math.inf
    "The moment at which they are over, on the client's clock."
    attempts: list[Attempt] = field(default_factory=list[Attempt])

    def part(self) -> RequestContext:
        """A context for a part of the request: the same deadline, and attempts of its own."""
        return RequestContext(deadline=self.deadline, until=self.until)
