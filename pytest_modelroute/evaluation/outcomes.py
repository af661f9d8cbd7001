"""Outcomes: what every model makes of every case, so that any routing of them is judged without a call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from difflib import get_close_matches
from functools import cached_property
from statistics import fmean
from typing import Annotated, ClassVar, Final, TypeAlias

from pydantic import ConfigDict, Field

from pytest_modelroute.errors import EvaluationError, PriceUnknown
from pytest_modelroute.evaluation.statistics import Rate, percentile

AGAIN: Final = "record them again: --modelroute-record=new --modelroute-record-all-tiers"
Route: TypeAlias = Callable[[str], str]
"A routing: the id of a case -> the model that is to answer it, or its alias."


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one model made of one case."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    step: str | None
    case: str
    "Its id."
    case_hash: str
    "Of its inputs and its expected output: another one says that the case has changed."
    model: str
    "As asked for on the wire."
    alias: str
    tier: str | None
    score: Annotated[float, Field(ge=0, le=1)] | None
    "None where the case ended in an error."
    right: bool
    "Whether the score is full."
    output: str
    "What the step made of the answer, as text without secrets, cut where it is long."
    output_hash: str | None = None
    "Of the whole output, where it is cut."
    cost_usd: Annotated[Decimal, Field(ge=0, allow_inf_nan=False)] | None
    "Of all calls of the case, those of classifiers included; None where one has no price."
    latency_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    "Seconds of its calls, one after another, as they were recorded."
    input_tokens: Annotated[int, Field(ge=0)]
    output_tokens: Annotated[int, Field(ge=0)]
    error: str | None
    "What kept the model from an answer, or what the step raised over it: an error class, or the exception's."


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a routing would do to the cases of a step."""

    n: int
    errors: int
    "Cases whose outcome is an error; they count in no rate, and cost what they cost."
    accuracy: Rate
    "The share of cases with a full score, of those that have one."
    quality: float
    "The mean score; NaN where no case has one."
    latency_s: float
    "Mean seconds a case."
    p95_s: float
    "The 95th percentile, by nearest rank."
    models: Mapping[str, int]
    "Model -> how many cases it would answer."
    costs: Sequence[Decimal | None] = field(repr=False)

    @property
    def cost_usd(self) -> Decimal:
        """
        The sum over all cases.

        Raises:
            PriceUnknown: A case has no known cost.

        """
        known = [cost for cost in self.costs if cost is not None]
        if len(known) < len(self.costs):
            raise PriceUnknown(
                f"{len(self.costs) - len(known)} of {self.n} outcomes have no known cost: price their models in the "
                f"settings, and {AGAIN}"
            )
        return sum(known, Decimal(0))


@dataclass(frozen=True, kw_only=True)
class OutcomeMatrix:
    """What every model makes of every case."""

    outcomes: Sequence[Outcome]
    scorers: Mapping[str, str] = field(default_factory=dict[str, str])
    "Step -> the scorer that judged it; an empty name for a step without one."
    prices: Mapping[str, Mapping[str, str] | None] = field(default_factory=dict[str, Mapping[str, str] | None])
    "Model -> USD per million tokens by bucket, at the time of recording; None where it had no price."

    @cached_property
    def steps(self) -> Sequence[str | None]:
        """The steps, sorted."""
        return sorted({outcome.step for outcome in self.outcomes}, key=lambda step: step or "")

    @cached_property
    def models(self) -> Sequence[str]:
        """The models, sorted."""
        return sorted({outcome.model for outcome in self.outcomes})

    @cached_property
    def cases(self) -> Sequence[str]:
        """The ids of the cases, sorted."""
        return sorted({outcome.case for outcome in self.outcomes})

    def step(self, name: str | None) -> OutcomeMatrix:
        """
        The outcomes of one step.

        Raises:
            EvaluationError: There are none.

        """
        if name not in self.steps:
            raise EvaluationError(f"there are no outcomes of the step {name!r}; there are of {_list(self.steps)}")
        return OutcomeMatrix(
            outcomes=[outcome for outcome in self.outcomes if outcome.step == name],
            scorers={step: scorer for step, scorer in self.scorers.items() if step == (name or "")},
            prices=self.prices,
        )

    def outcome(self, case: str, model: str) -> Outcome:
        """
        What a model, or the one behind an alias, made of a case.

        Raises:
            EvaluationError: No such case or model, or no outcome of both; several steps.

        """
        if len(self.steps) > 1:
            raise EvaluationError(f"there are outcomes of several steps, {_list(self.steps)}: take matrix.step(...)")
        found = self._index.get((case, self._names.get(model, model)))
        if found is not None:
            return found
        if model not in self.models and model not in self._names:
            raise EvaluationError(f"there are no outcomes of the model {model!r}; {_hint(model, self._known)}. {AGAIN}")
        if case not in self.cases:
            raise EvaluationError(f"there are no outcomes of the case {case!r}; {_hint(case, self.cases)}. {AGAIN}")
        raise EvaluationError(f"the case {case!r} has no outcome on {model!r}; {AGAIN}")

    def judge(self, route: Route) -> Judgement:
        """
        What a routing would do: quality, cost and latency, without a call.

        Args:
            route: Gives the model, or its alias, that answers a case.

        Raises:
            EvaluationError: It names a model without outcomes; there are none at all, or of several steps.

        """
        if not self.outcomes:
            raise EvaluationError("there are no outcomes, so nothing can be judged")
        taken = [self.outcome(case, route(case)) for case in self.cases]
        scores = [outcome.score for outcome in taken if outcome.score is not None]
        seconds = sorted(outcome.latency_s for outcome in taken)
        return Judgement(
            n=len(taken),
            errors=len(taken) - len(scores),
            accuracy=Rate(sum(outcome.right for outcome in taken), len(scores)),
            quality=fmean(scores) if scores else float("nan"),
            latency_s=fmean(seconds),
            p95_s=percentile(seconds, 0.95),
            models=Counter(outcome.model for outcome in taken),
            costs=[outcome.cost_usd for outcome in taken],
        )

    def always(self, model: str) -> Route:
        """Every case to one model, or to the one behind an alias."""
        return lambda _case: model

    def oracle(self) -> Route:
        """Each case to the model with the best score; of several, the cheapest one, then the quickest one."""
        best: dict[str, Outcome] = {}
        for outcome in self.outcomes:
            known = best.get(outcome.case)
            if known is None or _merit(outcome) < _merit(known):
                best[outcome.case] = outcome
        return lambda case: best[case].model

    def merged(self, newer: OutcomeMatrix) -> OutcomeMatrix:
        """With newer ones, which take the place of all those of their cases, and of other scorers of their steps."""
        again = {(outcome.step, outcome.case) for outcome in newer.outcomes}
        kept = [
            outcome
            for outcome in self.outcomes
            if (outcome.step, outcome.case) not in again
            and newer.scorers.get(outcome.step or "", self.scorers.get(outcome.step or ""))
            == self.scorers.get(outcome.step or "")
        ]
        models = {outcome.model for outcome in kept}
        return OutcomeMatrix(
            outcomes=[*kept, *newer.outcomes],
            scorers={**self.scorers, **newer.scorers},
            prices={**{model: price for model, price in self.prices.items() if model in models}, **newer.prices},
        )

    @cached_property
    def _index(self) -> Mapping[tuple[str, str], Outcome]:
        return {(outcome.case, outcome.model): outcome for outcome in self.outcomes}

    @cached_property
    def _names(self) -> Mapping[str, str]:
        return {outcome.alias: outcome.model for outcome in self.outcomes}

    @property
    def _known(self) -> Sequence[str]:
        return sorted({*self.models, *self._names})


def _merit(outcome: Outcome) -> tuple[float, Decimal, float, str]:
    """The smallest is the best; an error is worse than a wrong answer."""
    score = -1.0 if outcome.score is None else outcome.score
    cost = Decimal("Infinity") if outcome.cost_usd is None else outcome.cost_usd
    return -score, cost, outcome.latency_s, outcome.model


def _hint(name: str, known: Sequence[str]) -> str:
    nearest = get_close_matches(name, known, n=1)
    return f"did you mean {nearest[0]!r}?" if nearest else f"there are of {_list(known[:20])}"


def _list(names: Iterable[object]) -> str:
    return ", ".join(map(repr, names)) or "none"
