"""Metrics: what the router decided, and how it went."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from threading import Lock
from typing import Final

from pytest_modelroute.router.calls import Bill

ACCEPTED: Final = "accepted"
REJECTED: Final = "rejected"
STRONGEST: Final = "strongest"


@dataclass(slots=True, kw_only=True)
class TierTry:
    """One tier of a cascade that was asked; the checks of its answer are included in what it took."""

    model: str
    "As named on the wire."
    outcome: str = "cancelled"
    "accepted, rejected, or strongest for the answer of the last tier, which is not checked; else as in a RouteRecord."
    reason: str = ""
    "Why its answer was rejected."
    confidence: float | None = None
    "How sure the model said it was, 0 to 1."
    latency_s: float = 0.0
    bill: Bill = field(default_factory=Bill, repr=False)

    @property
    def is_wasted(self) -> bool:
        """Whether the answer of another tier came back, or none."""
        return self.outcome not in (ACCEPTED, STRONGEST)

    @property
    def cost_usd(self) -> Decimal:
        """USD of its attempts; PriceUnknown where a model has no price."""
        return self.bill.cost_usd


@dataclass(slots=True, kw_only=True)
class RouteRecord:
    """One request and its route; filled in on the way, and noted when it has ended."""

    step: str
    task_type: str | None = None
    category: str | None = None
    "The tier that the classifier or the request named; None for a step with a model of its own."
    candidates: tuple[str, ...] = ()
    "The aliases that were to be tried, in order."
    cascade: tuple[str, ...] = ()
    "Those of them that are the tiers of a cascade, weakest first; empty for a step without one."
    tried: list[TierTry] = field(default_factory=list[TierTry])
    "The tiers that were asked, in order."
    escalations: int = 0
    "How far up the cascade the request went: 0 for the first tier alone."
    downgraded: bool = False
    "Whether the budget chose another first candidate than the step or the category, or other tiers of a cascade."
    tier: str | None = None
    "The tier of the model that answered, else of the first candidate; None for a model without one."
    model: str | None = None
    "The model that answered, as named on the wire; None where none did."
    fallback_of: str | None = None
    "The model in whose place it answered."
    attempts: int = 0
    "Calls in all, those of classifiers and judges included."
    latency_s: float = 0.0
    error: str | None = "cancelled"
    "None for an answer; else the error class, cancelled, or the name of another error."
    bill: Bill = field(default_factory=Bill, repr=False)
    asked: tuple[str, ...] = ()
    "The aliases that a step which speculates did ask, in this order; the winner's model is `model`."
    wasted: Bill = field(default_factory=Bill, repr=False)
    "The part of the bill for models whose answers were not used: of a cascade's tiers, and of those that speculate."

    @property
    def cost_usd(self) -> Decimal:
        """USD of all attempts; PriceUnknown where a model has no price."""
        return self.bill.cost_usd

    @property
    def escalated(self) -> bool:
        """Whether it needed more than the first tier of a cascade."""
        return self.escalations > 0

    @property
    def wasted_usd(self) -> Decimal:
        """USD for models whose answers were not used; PriceUnknown where one has no price."""
        return self.wasted.cost_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """The sum of some records."""

    requests: int
    errors: int
    fallbacks: int
    downgrades: int
    attempts: int
    input_tokens: int
    output_tokens: int
    latency_s: float
    cost_usd: Decimal
    models: Mapping[str, int]
    "Model -> how many requests it answered."
    cascades: int = 0
    "Requests of steps with a cascade."
    escalated: int = 0
    "Those of them that needed more than the first tier."
    speculated: int = 0
    "Requests of steps that speculate for which more than one model was asked."
    wasted_usd: Decimal = Decimal(0)
    "The part of the cost for models whose answers were not used, in a cascade or a speculation."

    @property
    def escalation_rate(self) -> float:
        """The share of the requests with a cascade that needed more than its first tier; NaN without any."""
        return self.escalated / self.cascades if self.cascades else math.nan


class RoutingMetrics:
    """The last routed requests, oldest first, from any number of threads."""

    def __init__(self, *, keep: int = 10_000) -> None:
        """Nothing is routed yet; of more than `keep` records the oldest go."""
        self._records: deque[RouteRecord] = deque(maxlen=keep)
        self._lock = Lock()

    def add(self, record: RouteRecord) -> None:
        """Note a request that has ended."""
        with self._lock:
            self._records.append(record)

    @property
    def records(self) -> tuple[RouteRecord, ...]:
        """The records kept."""
        with self._lock:
            return tuple(self._records)

    def totals(self, step: str | None = None) -> Totals:
        """The sum of the records kept, or of those of one step; PriceUnknown where a model has no price."""
        records = [record for record in self.records if step is None or record.step == step]
        return Totals(
            requests=len(records),
            errors=sum(record.error is not None for record in records),
            fallbacks=sum(record.fallback_of is not None for record in records),
            downgrades=sum(record.downgraded for record in records),
            attempts=sum(record.attempts for record in records),
            input_tokens=sum(record.bill.input_tokens for record in records),
            output_tokens=sum(record.bill.output_tokens for record in records),
            latency_s=sum(record.latency_s for record in records),
            cost_usd=sum((record.cost_usd for record in records), Decimal(0)),
            models=Counter(record.model for record in records if record.model is not None),
            cascades=sum(bool(record.cascade) for record in records),
            escalated=sum(record.escalated for record in records),
            speculated=sum(len(record.asked) > 1 for record in records),
            wasted_usd=sum((record.wasted_usd for record in records), Decimal(0)),
        )
