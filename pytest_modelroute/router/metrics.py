"""Metrics: what the router decided, and how it went."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from threading import Lock

from pytest_modelroute.router.calls import Bill


@dataclass(slots=True, kw_only=True)
class RouteRecord:
    """One request and its route; filled in on the way, and noted when it has ended."""

    step: str
    task_type: str | None = None
    category: str | None = None
    "The tier that the classifier or the request named; None for a step with a model of its own."
    candidates: tuple[str, ...] = ()
    "The aliases that were to be tried, in order."
    downgraded: bool = False
    "Whether the budget chose another first candidate than the step or the category."
    tier: str | None = None
    "The tier of the model that answered, else of the first candidate; None for a model without one."
    model: str | None = None
    "The model that answered, as named on the wire; None where none did."
    fallback_of: str | None = None
    "The model in whose place it answered."
    attempts: int = 0
    "Calls in all, the classifier's included."
    latency_s: float = 0.0
    error: str | None = "cancelled"
    "None for an answer; else the error class, cancelled, or the name of another error."
    bill: Bill = field(default_factory=Bill, repr=False)

    @property
    def cost_usd(self) -> Decimal:
        """USD of all attempts; PriceUnknown where a model has no price."""
        return self.bill.cost_usd


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
        )
