"""Cascades: the tiers of a step, asked one after another, weakest first, until a gate accepts an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from pytest_modelroute.errors import AnswerRejected, BudgetExceeded, SettingsError
from pytest_modelroute.router.calls import Bill, Clocks, RequestContext
from pytest_modelroute.router.client import ModelClient
from pytest_modelroute.router.gates import Gate, Ruling, gates_of, name_of
from pytest_modelroute.router.metrics import ACCEPTED, REJECTED, STRONGEST, RouteRecord, TierTry
from pytest_modelroute.router.requests import ModelRequest, ModelResponse
from pytest_modelroute.router.routine import Routine, Verify
from pytest_modelroute.router.verifiers import JudgeGate

if TYPE_CHECKING:
    from pytest_modelroute.config import Settings, StepSettings
    from pytest_modelroute.providers.prices import PriceBook

Gates: TypeAlias = Mapping[str, Any]
"Step -> its gate: a `Gate`, a function of the text of an answer, or a list of such, each of which has to accept."


def gates_of_steps(settings: Settings, given: Gates | None, client: ModelClient) -> dict[str, tuple[Gate, ...]]:
    """
    The gates of each step with a cascade: those given, else its judge.

    Raises:
        SettingsError: A cascade without a gate, a gate without a cascade, or what is no gate.

    """
    given = given or {}
    cascades = [name for name, step in settings.steps.items() if step.cascade]
    for name in given:
        if name not in cascades:
            known = ", ".join(cascades) or "none"
            raise SettingsError(f"gates names {name!r}, which is no step with a cascade; steps with one are: {known}")
    return {name: _gates(name, settings.steps[name], given, client) for name in cascades}


def _gates(name: str, step: StepSettings, given: Gates, client: ModelClient) -> tuple[Gate, ...]:
    if name in given:
        return gates_of(given[name], name)
    if step.judge is not None:
        return (JudgeGate(client, step.judge),)
    raise SettingsError(
        f"step {name!r} has a cascade, and nothing says which answers will do: give ModelRouter a gate, "
        f"gates={{{name!r}: ...}}, or the step a judge"
    )


def tiers_of(step: StepSettings, settings: Settings, preferred: str) -> tuple[str, ...]:
    """
    What a request is to be sent to, in order: the tiers of a cascade, else the preferred model alone.

    A dynamic step begins its cascade with the first tier that is no weaker than the preferred model.
    """
    if not step.cascade:
        return (preferred,)
    if step.model != "dynamic":
        return step.cascade
    models, ranks = settings.models, {tier: rank for rank, tier in enumerate(settings.tiers)}
    lowest = ranks.get(models[preferred].tier or "", 0)
    return tuple(alias for alias in step.cascade if ranks.get(models[alias].tier or "", lowest) >= lowest) or (
        preferred,
    )


def prepared(gates: tuple[Gate, ...], request: ModelRequest) -> ModelRequest:
    """What a tier is asked whose answer is checked."""
    for gate in gates:
        request = gate.prepare(request)
    return request


@dataclass(slots=True, kw_only=True)
class Climb:
    """One request on its way up a cascade; what comes of it is written into its record."""

    gates: tuple[Gate, ...]
    request: ModelRequest
    record: RouteRecord
    context: RequestContext
    names: Callable[[str], str]
    "Alias -> the model on the wire."
    prices: PriceBook
    clocks: Clocks
    stream: bool
    asked: Callable[[str, ModelRequest, bool], Routine[ModelResponse]]
    "(alias, request, whether to stream) -> the routine that asks, after money is set aside."
    paid: Callable[[tuple[str, ModelRequest], Routine[Ruling]], Routine[Ruling]]
    "(what a gate asks a model, the routine that does) -> the routine, after money is set aside."

    def ask(self, alias: str) -> Routine[ModelResponse]:
        """
        Ask a tier, or a fallback of the strongest.

        A tier whose answer is checked is asked for the whole of it, and its text is handed on once it is accepted. The
        strongest is asked the request as it is, and its answer is not checked: nobody is left to ask.

        Raises:
            AnswerRejected: A gate did not accept the answer.
            VerifierFailed: A gate could not say.
            ProviderError: There is no answer.
            BudgetExceeded: What remains of the budget does not cover it.

        """
        record, last = self.record, alias == self.record.cascade[-1]
        if alias not in record.cascade:
            answer = yield from self.asked(alias, self.request, self.stream)
            record.escalations = len(record.cascade) - 1
            return self._booked(answer)
        request = self.request if last else prepared(self.gates, self.request)
        asking = self.asked(alias, request, self.stream and last)
        record.escalations = record.cascade.index(alias)
        answer = yield from self._tried(asking, alias, last=last)
        if self.stream and not last and answer.text:
            yield answer.text
        return self._booked(answer)

    def _tried(self, asking: Routine[ModelResponse], alias: str, *, last: bool) -> Routine[ModelResponse]:
        """Ask a tier and check its answer, and note what came of it, also where it is given up."""
        tier = TierTry(model=self.names(alias))
        self.record.tried.append(tier)
        first, start = len(self.context.attempts), self.clocks.now()
        try:
            answer = yield from asking
            if not last:
                answer = yield from self._checked(answer, tier)
            tier.outcome = STRONGEST if last else ACCEPTED
        except AnswerRejected:
            tier.outcome = REJECTED
            raise
        except Exception as error:
            tier.outcome = getattr(error, "kind", type(error).__name__)
            raise
        finally:
            tier.latency_s = self.clocks.now() - start
            tier.bill = Bill.of(self.context.attempts[first:], self.prices)
            if tier.is_wasted:
                charges = (*self.record.wasted.charges, *tier.bill.charges)
                self.record.wasted = Bill(charges=charges, prices=self.prices)
        return answer

    def _checked(self, answer: ModelResponse, tier: TierTry) -> Routine[ModelResponse]:
        """The answer as the gates read it, each of them what the one before it left."""
        for gate in self.gates:
            ruling = yield from self._ruled(gate, answer)
            if ruling.confidence is not None:
                tier.confidence = ruling.confidence
            if not ruling.accepted:
                tier.reason = ruling.reason or f"{name_of(gate)} says no"
                raise AnswerRejected(f"{answer.model} answered, and the answer was rejected: {tier.reason}")
            text = answer.text if ruling.text is None else ruling.text
            answer = replace(answer, text=text, confidence=tier.confidence)
        return answer

    def _ruled(self, gate: Gate, answer: ModelResponse) -> Routine[Ruling]:
        asking, question = self._asked_of(gate, answer), gate.question(self.request, answer)
        if question is not None:
            try:
                asking = self.paid(question, asking)
            except BudgetExceeded as error:
                return Ruling(accepted=False, reason=f"{name_of(gate)} was not asked: {error}")
        return (yield from asking)

    def _asked_of(self, gate: Gate, answer: ModelResponse) -> Routine[Ruling]:
        said: Ruling | Exception = yield Verify(gate, self.request, answer, self.context)
        if isinstance(said, Exception):
            raise said
        if self.clocks.now() > self.context.until:
            return Ruling(accepted=False, reason=f"{name_of(gate)} did not end before the deadline")
        return said

    def _booked(self, answer: ModelResponse) -> ModelResponse:
        """The answer with the bill of the whole request, which has grown since it came."""
        record, bill = self.record, Bill.of(self.context.attempts, self.prices)
        return replace(answer, escalations=record.escalations, bill=bill, wasted=record.wasted)
