"""What a router promises, and which promises cannot be kept together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any, Final, TypeAlias

from pytest_modelroute.providers.prices import Price

Rewrite: TypeAlias = str | Callable[[str], str]
"The name of a stock rewrite, or a function from a prompt to another that must take the same route."


@dataclass(frozen=True, slots=True)
class Classifier:
    """A model that the router asks for a label first; the harness answers in its place."""

    model: str
    "As asked for on the wire."
    labels: Mapping[str, str]
    "Label -> the tier that it leads to."
    overhead: float = 0.1
    "The share of a request's cost and latency that it may take."
    when: Callable[[Any], bool] | None = None
    "Whether a provider call is one of classification; by its place in the request where left out."


@dataclass(frozen=True, slots=True)
class BudgetPromise:
    """What may be spent."""

    usd: float | Decimal | str
    window: str = "day"
    "day, hour, week or month."
    timezone: str = "UTC"
    ladder: tuple[float, float] | Callable[[float, str], str] | None = (0.5, 0.2)
    """
    The shares of the budget, falling, at which requests go down a rung; a function of (share that remains, preferred
    tier) for a ladder of your own; None for no ladder.
    """
    reserved: bool = True
    "Whether a call is reserved before it is made; without it calls under way at once may exceed the cap."
    critical_served: bool | None = None
    "Whether a critical request is served when the budget is gone; None for no promise."

    @property
    def cap(self) -> Decimal:
        """USD of a window."""
        return Decimal(str(self.usd))


@dataclass(frozen=True, slots=True)
class Cascade:
    """A cheap answer first, and the next tier where a gate rejects it."""

    tiers: tuple[str, ...] = ()
    "Weakest first; all tiers of the class where left out."
    accepts: str | None = None
    "An answer that the gate accepts."
    rejects: str | None = None
    "An answer that the gate rejects."
    confidence: str | None = None
    """
    How an answer says its confidence, for a gate that reads it: a text with {text} and {confidence}, such as
    "{text}\\nConfidence: {confidence}"; the confidence is filled in as a number from 0 to 1.
    """
    threshold: float = 0.7
    "The confidence from which on an answer is accepted."
    judge: str | None = None
    "The model that verifies answers, where one does."
    judge_accepts: str = "yes"
    judge_rejects: str = "no"


@dataclass(frozen=True, slots=True)
class AgentPromise:
    """One agent: the model that its sub-tasks run on, and the tools that it has."""

    model: str
    tools: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Capability:
    """What a candidate can serve; None for no limit."""

    context: int | None = None
    "Tokens that it can read."
    tools: bool = True
    images: bool = True
    streaming: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Promises:
    """All promises of a class; the attributes are those of `RoutingInvariants`, in one form each."""

    tiers: tuple[str, ...]
    safe_tier: str | None = None
    classifier: Classifier | None = None
    fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    recoverable: frozenset[str] | None = None
    retries: int | None = None
    deadline: float | None = None
    honours_retry_after: bool = False
    cooldown: float | Mapping[str, float] | None = None
    streams: bool = False
    budget: BudgetPromise | None = None
    critical: Callable[[Any], bool] | None = None
    cascade: Cascade | None = None
    hedge_after: float | None = None
    golden: str | Sequence[Any] | None = None
    equivalences: tuple[Rewrite, ...] = ()
    monotone: tuple[Rewrite, ...] = ()
    "What makes a prompt clearly harder: texts to append, or functions; the stock ones for True."
    load_balanced: Mapping[str, float] | None = None
    "Candidate -> weight."
    parameters: Mapping[str, Mapping[str, Any]] | None = None
    steps: Mapping[str, Any] | None = None
    agents: Mapping[str, AgentPromise] | None = None
    coordinator: str | None = None
    "The model that the coordinator of the agents asks itself."
    capabilities: Mapping[str, Capability] | None = None
    categories: Mapping[str, str] | None = None
    "What a request may name as its category -> the tier; the labels of the classifier where left out."
    options: tuple[str, ...] = ()
    max_overdraft: Decimal = Decimal(0)
    refuses: tuple[type[BaseException], ...] = ()
    helpers: tuple[str, ...] = ()
    "Other models that the router may ask: judges, guards, rewriters."
    answers: str | Callable[[Any], str] | None = None
    "What the models answer, where the router reads it; a plain sentence where left out."
    corpus: tuple[str, ...] = ()
    "Prompts of the application's own, which requests are made of too."
    prices: Mapping[str, Price] = field(default_factory=dict[str, Price])
    "Model -> price, where the router's own differs from genai-prices."
    has_spend_of: bool = False
    has_cost_of: bool = False

    def chain(self, head: str) -> tuple[str, ...]:
        """The candidates of a request in their declared order, the head first, then the fallbacks of the fallbacks."""
        order = [head]
        for name in order:  # grows while it is read
            order += [follower for follower in self.fallbacks.get(name, ()) if follower not in order]
        return tuple(order)

    @property
    def known_models(self) -> frozenset[str]:
        """Every model that may be asked."""
        names = {*self.tiers, *self.fallbacks, *self.helpers, *(n for chain in self.fallbacks.values() for n in chain)}
        names |= {self.classifier.model} if self.classifier else set()
        names |= {step for step in (self.steps or {}).values() if isinstance(step, str)}
        names |= {agent.model for agent in (self.agents or {}).values()}
        names |= {self.coordinator} if self.coordinator else set()
        names |= set(self.load_balanced or ())
        names |= set(self.cascade.tiers) if self.cascade else set()
        names |= {self.cascade.judge} if self.cascade and self.cascade.judge else set()
        return frozenset(names)

    def rank(self, model: str | None) -> int | None:
        """The place of a model among the tiers, 0 for the weakest; None for one that is no tier."""
        return self.tiers.index(model) if model in self.tiers else None

    def cooldown_of(self, model: str) -> float | None:
        """Seconds that a model rests after a failure; None for no promise."""
        if isinstance(self.cooldown, Mapping):
            return self.cooldown.get(model)
        return self.cooldown

    @property
    def category_tiers(self) -> Mapping[str, str]:
        """Category -> tier."""
        return self.categories or (self.classifier.labels if self.classifier else {})


NAMES: Final = frozenset(part.name for part in fields(Promises)) - {"has_spend_of", "has_cost_of"}
