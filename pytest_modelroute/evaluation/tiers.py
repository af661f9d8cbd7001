"""Every case of a step on every model of the settings: which runs that takes, and what comes of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final

from pytest_modelroute.errors import EvaluationError, PriceUnknown
from pytest_modelroute.evaluation.attempts import Plan
from pytest_modelroute.evaluation.cases import MISSING, Case
from pytest_modelroute.evaluation.outcome_files import parse_outcomes, short_digest, write_outcomes
from pytest_modelroute.evaluation.outcomes import Outcome, OutcomeMatrix
from pytest_modelroute.evaluation.results import CaseResult, label_of
from pytest_modelroute.evaluation.scorers import scorer_name
from pytest_modelroute.wire.call_log import ProviderCall
from pytest_modelroute.wire.case_run import CaseRun, Heard
from pytest_modelroute.wire.detour import Detour
from pytest_modelroute.wire.redirection import Target

_SHOWN: Final = 200
"Characters of an output that are kept."
_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")
_DIGITS: Final = 4
"Of seconds, as recordings keep them."
NETWORK: Final = "network"
"What answered a live call, in the call log."


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A model that every case is run on."""

    alias: str
    tier: str | None
    target: Target
    price: Mapping[str, str] | None
    "USD per million tokens, by bucket; None where it has no price."


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutcomes:
    """The outcomes of one evaluation."""

    matrix: OutcomeMatrix
    tiers: Sequence[Tier]
    paid_usd: Decimal | None
    "What its live calls cost, those of its ordinary run included; None where a model has no price."


@dataclass(kw_only=True)
class AllTiers:
    """
    The models that every case of a test is run on, and what has come of it so far.

    Attributes:
        tiers: The models.
        redact: Takes the secrets out of a text.
        matrix: The outcomes of the test.

    """

    tiers: Sequence[Tier]
    redact: Callable[[str], str]
    matrix: OutcomeMatrix = field(default_factory=lambda: OutcomeMatrix(outcomes=[]))

    def add(self, newer: OutcomeMatrix) -> None:
        """
        Keep the outcomes of an evaluation.

        Raises:
            EvaluationError: Its cases were evaluated before, or its step by another scorer, so that one matrix cannot
                hold both.

        """
        before = {(outcome.step, outcome.case) for outcome in self.matrix.outcomes}
        for outcome in newer.outcomes:
            if (outcome.step, outcome.case) in before:
                raise EvaluationError(
                    f"--modelroute-record-all-tiers: this test evaluates {outcome.step or 'an unnamed step'!r} on the "
                    f"case {outcome.case!r} twice; name the steps apart by step=, or the cases by their ids"
                )
        for step, scorer in newer.scorers.items():
            other = self.matrix.scorers.get(step, scorer)
            if other != scorer:
                raise EvaluationError(
                    f"--modelroute-record-all-tiers: this test evaluates {step or 'an unnamed step'!r} by {other} and "
                    f"by {scorer}, and outcomes are of one scorer; name the steps apart by step="
                )
        self.matrix = self.matrix.merged(newer)

    def text(self, current: str | None, where: str) -> str:
        """
        The file of the outcomes of the test.

        Args:
            current: What it holds of other tests; None where it is of this one alone.
            where: The file, for messages.

        Raises:
            CassetteError: What it holds cannot be read.

        """
        known = OutcomeMatrix(outcomes=[]) if current is None else parse_outcomes(current, where)
        return write_outcomes(known.merged(self.matrix))


class EveryModel:
    """The further runs of one evaluation."""

    def __init__(
        self, everyone: AllTiers, plan: Plan, results: Sequence[CaseResult], *, helpers: frozenset[str]
    ) -> None:
        """`results` are those of the ordinary run of the plan, in which no case ended in an error."""
        self._everyone = everyone
        self._plan = plan
        self._results = results
        self._helpers = helpers
        self._answering = {result.case.id: answering_calls(result.calls, helpers) for result in results}
        self._outcomes: list[Outcome] = []
        self._calls = [call for result in results for call in result.calls]

    def plans(self) -> Iterator[tuple[Plan, Callable[[Sequence[CaseResult]], None]]]:
        """What is to be run, model after model, each with who takes its results; nothing where no model was asked."""
        if not any(self._answering.values()):
            return
        for tier in self._everyone.tiers:
            target = tier.target
            for result in self._results:
                if not self._is_missing(result.case, target):
                    self._outcomes.append(self._outcome(tier, result))
            cases = [result.case for result in self._results if self._is_missing(result.case, target)]
            if cases:
                detours = {case.id: self._detour(case, target) for case in cases}
                runs = {case.id: self._run(case, detours[case.id]) for case in cases}
                yield replace(self._plan, cases=cases, runs=runs), self._taker(tier, detours)

    def finish(self) -> StepOutcomes:
        """
        All outcomes of the evaluation.

        Raises:
            EvaluationError: As `AllTiers.add`.

        """
        everyone = self._everyone
        matrix = OutcomeMatrix(
            outcomes=self._outcomes,
            scorers={self._plan.step or "": scorer_name(self._plan.score)},
            prices={tier.target.model: tier.price for tier in everyone.tiers},
        )
        everyone.add(matrix)
        return StepOutcomes(matrix=matrix, tiers=everyone.tiers, paid_usd=self._paid())

    def _is_missing(self, case: Case, target: Target) -> bool:
        """Whether a case did not run on a model yet; one that asks none ends alike on each of them."""
        models = {call.model for call in self._answering[case.id]}
        return bool(models) and models != {target.model}

    def _detour(self, case: Case, target: Target) -> Detour:
        answering = self._answering[case.id]
        by_helper = answering[-1].request if answering[-1].model in self._helpers else None
        return Detour(target, helpers=self._helpers, answered=by_helper)

    def _run(self, case: Case, detour: Detour) -> CaseRun:
        return CaseRun(heard=self._plan.runs[case.id].heard.another_run(), detour=detour, apart=True)

    def _taker(self, tier: Tier, detours: Mapping[str, Detour]) -> Callable[[Sequence[CaseResult]], None]:
        def take(results: Sequence[CaseResult]) -> None:
            for result in results:
                self._calls.extend(result.calls)
                self._outcomes.append(self._outcome(tier, result, detours[result.case.id]))

        return take

    def _outcome(self, tier: Tier, result: CaseResult, detour: Detour | None = None) -> Outcome:
        error = result.error_kind if detour is None else _error(result, detour)
        output = "" if error is not None else self._everyone.redact(_text(result.output))
        usages = [call.usage for call in result.calls if call.usage is not None]
        return Outcome(
            step=self._plan.step,
            case=result.case.id,
            case_hash=case_hash(result.case),
            model=tier.target.model,
            alias=tier.alias,
            tier=tier.tier,
            score=None if error is not None else result.score,
            right=error is None and result.right,
            output=output if len(output) <= _SHOWN else f"{output[: _SHOWN - 3]}...",
            output_hash=None if len(output) <= _SHOWN else short_digest(output),
            cost_usd=_cost(result.calls),
            latency_s=round(sum(call.latency_s or 0.0 for call in result.calls), _DIGITS),
            input_tokens=sum(usage.total_input for usage in usages),
            output_tokens=sum(usage.total_output for usage in usages),
            error=error,
        )

    def _paid(self) -> Decimal | None:
        return _cost([call for call in self._calls if call.answered_by == NETWORK])


def first_runs(cases: Sequence[Case]) -> Mapping[str, CaseRun]:
    """The ordinary run of each case, whose answers are kept for its further ones."""
    return {case.id: CaseRun(heard=Heard()) for case in cases}


def answering_calls(calls: Sequence[ProviderCall], helpers: frozenset[str]) -> Sequence[ProviderCall]:
    """The calls of a case that answer: those to no helper; where it asks helpers alone, its last completed one."""
    chats = [call for call in calls if not call.embeds]
    others = [call for call in chats if call.model not in helpers]
    return others or [call for call in chats if call.completed][-1:]


def case_hash(case: Case) -> str:
    """Of what a case gives to a step and expects of it."""
    expected = [] if case.expected_output is MISSING else [case.expected_output]
    try:
        text = json.dumps([case.inputs, expected], sort_keys=True, ensure_ascii=False, default=_text)
    except (TypeError, ValueError):  # keys that JSON does not have, or a value that holds itself
        text = _text([case.inputs, expected])
    return short_digest(text)


def _text(value: object) -> str:
    """A value as text that is the same in every run."""
    if isinstance(value, str):
        return value
    shown = label_of(value)
    return _ADDRESS.sub("", shown)


def _error(result: CaseResult, detour: Detour) -> str | None:
    if detour.refused is not None:
        return "unsupported"
    if not any(call.completed for call in detour.calls):
        # Also where the code under test has answered by itself then: it is no answer of this model.
        return (detour.calls[-1].error if detour.calls else None) or result.error_kind or "no answer"
    return result.error_kind


def _cost(calls: Sequence[ProviderCall]) -> Decimal | None:
    try:
        return sum((call.cost_usd for call in calls), Decimal(0))
    except PriceUnknown:
        return None
