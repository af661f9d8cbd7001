"""`ModelRouter`: which model answers a request, decided by its step, its category and what remains of the budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final, TypeVar

from pytest_modelroute.errors import SettingsError
from pytest_modelroute.providers.failures import RECOVERABLE
from pytest_modelroute.router.budget import BudgetTracker, Reservation
from pytest_modelroute.router.calls import Bill, RequestContext
from pytest_modelroute.router.cascade import Climb, Gates, gates_of_steps, prepared, tiers_of
from pytest_modelroute.router.classifier import Classifier, LLMClassifier, labels_of, tier_named
from pytest_modelroute.router.client import ModelClient
from pytest_modelroute.router.cooldown import Cooldown
from pytest_modelroute.router.estimates import Estimate, estimate_call
from pytest_modelroute.router.fallbacks import FallbackChain, check_recoverable
from pytest_modelroute.router.metrics import RouteRecord, RoutingMetrics
from pytest_modelroute.router.requests import ModelRequest, ModelResponse
from pytest_modelroute.router.routine import Classify, Routine
from pytest_modelroute.router.speculation import Accept, Speculation, check_accept
from pytest_modelroute.router.streaming import AsyncStreamedResponse, StreamedResponse

if TYPE_CHECKING:
    from pytest_modelroute.config import Settings, StepSettings

_CLASSIFIER_OUTPUT_TOKENS: Final = 5
_T = TypeVar("_T")


class ModelRouter:
    """
    Routes each request by its step.

    To the step's own model, or, where that is `dynamic`, to the model of the tier that a classifier or the request
    names; to a weaker one where the budget asks for it and the step is not critical; and on to the step's fallbacks.
    A step with a cascade asks its tiers one after another until its gate accepts an answer.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        client: ModelClient | None = None,
        classifier: Classifier | None = None,
        budget: BudgetTracker | None = None,
        cooldown: Cooldown | None = None,
        recoverable: Iterable[str] = RECOVERABLE,
        metrics: RoutingMetrics | None = None,
        answer_tokens: int = 1024,
        gates: Gates | None = None,
        accept: Mapping[str, Accept] | None = None,
    ) -> None:
        """
        Needs no network and no key.

        Args:
            settings: Models, steps and budget.
            client: Sends the requests; one with the keys of the environment where left out.
            classifier: For the dynamic steps; an LLM classifier on the step's `classifier` model where left out.
            budget: What a day may cost; that of the settings, if any, where left out.
            cooldown: Which candidates rest after failures; none do where left out.
            recoverable: The error classes that go on to the next candidate.
            metrics: Where decisions are noted.
            answer_tokens: How long an answer the budget reserves for, where a request sets no limit.
            gates: Step -> what says whether an answer of its cascade will do: a `Gate`, a function of the text, or a
                list of such, each of which has to accept. The step's `judge` where left out.
            accept: Step that speculates -> whether an answer will do; any does where left out.

        Raises:
            SettingsError: An unknown error class, a budget whose ladder leads to a tier without a model, a cascade
                without a gate, a gate without a cascade, or an `accept` for a step that does not speculate.

        """
        self.settings = settings
        self.metrics = metrics if metrics is not None else RoutingMetrics()
        self.budget = budget
        self._client = client if client is not None else ModelClient(settings)
        self._classifier = classifier
        self._recoverable = check_recoverable(recoverable)
        self._cooldown = cooldown
        self._chain = lru_cache(maxsize=None)(partial(FallbackChain, recoverable=self._recoverable, cooldown=cooldown))
        self._accept = check_accept(accept or {}, settings)
        self._answer_tokens = answer_tokens
        self._gates = gates_of_steps(settings, gates, self._client)
        self._prices = settings.prices()
        if budget is None and settings.budget is not None:
            self.budget = BudgetTracker(**settings.budget.model_dump(), wall_clock=self._client.clocks.wall_now)
        if self.budget is not None and any(model.tier is not None for model in settings.models.values()):
            self.model_of_tier(settings.tiers[0])

    def route(self, request: ModelRequest) -> ModelResponse:
        """
        Choose a model and ask it.

        Raises:
            SettingsError: No such step, a step without a model, or a tier without one.
            ProviderError: No candidate answered; FallbacksFailed where there were several.
            BudgetExceeded: What remains of the day's budget does not cover the call; critical steps are held to it too.
            PriceUnknown: There is a budget, and a model without a price.
            VerifierFailed: The gate of a cascade could not say whether an answer will do.

        """
        return self._client.run(self._routed(request))

    async def aroute(self, request: ModelRequest) -> ModelResponse:
        """Do the same in async code."""
        return await self._client.arun(self._routed(request))

    def stream(self, request: ModelRequest) -> StreamedResponse:
        """
        Choose a model and read its answer while it comes; the errors of `route` come while it is read.

        The candidates are those of `route` until the first piece of text; afterwards an error is raised as it is. Of a
        cascade, an answer that is checked comes in one piece once it is accepted; what is rejected never does.
        """
        return self._client.play(self._routed(request, stream=True))

    def astream(self, request: ModelRequest) -> AsyncStreamedResponse:
        """Do the same in async code: `async for piece in router.astream(...)`."""
        return self._client.aplay(self._routed(request, stream=True))

    def estimate(self, request: ModelRequest, *, output_tokens: int = 256) -> Estimate:
        """
        What a request will cost, without a call.

        Input tokens are estimated at four characters each. A dynamic step is estimated by the dearest model that it may
        be sent to, with the classifier's call on top; a cascade by all of its tiers, and a step that asks several
        models at once by all of them. Tools, images, fallbacks, judges, hedges and the budget are not counted.

        Args:
            request: What would be routed.
            output_tokens: The length of the answer; `max_tokens` of the request where it has it.

        Raises:
            PriceUnknown: A model has no price.

        """
        step = self._step(request)
        if step.speculate and not step.hedge_after and not request.no_hedge and not request.no_fallbacks:
            together = [self._estimate(alias, request, output_tokens) for alias in step.speculate]
            dearest = max(together, key=lambda estimate: estimate.cost_usd)
            return replace(dearest, cost_usd=sum((estimate.cost_usd for estimate in together), Decimal(0)))
        asked = Decimal(0)
        if step.model == "dynamic":
            question = self._classifier_of(step, request).question(request.prompt)
            asked = asked if question is None else self._estimate(*question, _CLASSIFIER_OUTPUT_TOKENS).cost_usd
        if step.cascade:
            checked = prepared(self._gates[str(request.step)], request)
            below = (self._estimate(alias, checked, output_tokens).cost_usd for alias in step.cascade[:-1])
            strongest = self._estimate(step.cascade[-1], request, output_tokens)
            return replace(strongest, cost_usd=strongest.cost_usd + sum(below, asked))
        if step.model != "dynamic":
            return self._estimate(step.model, request, output_tokens)
        tiers = {model.tier for model in self.settings.models.values()}
        choices = [self.model_of_tier(tier) for tier in self.settings.tiers if tier in tiers]
        if not choices:
            raise SettingsError(f"step {request.step!r} is dynamic, but no model has a tier; give one to each")
        estimates = (self._estimate(alias, request, output_tokens) for alias in choices)
        dearest = max(estimates, key=lambda estimate: estimate.cost_usd)
        return replace(dearest, cost_usd=dearest.cost_usd + asked)

    @property
    def client(self) -> ModelClient:
        """What sends the requests."""
        return self._client

    def asking(
        self, alias: str, request: ModelRequest, context: RequestContext, *, step: str
    ) -> Routine[ModelResponse]:
        """One model asked outside of the steps, on behalf of a larger request; noted under the name that is given."""
        own, start = context.part(), self._client.clocks.now()
        record = RouteRecord(step=step, candidates=(alias,), tier=self.settings.model(alias).tier)
        try:
            answer = yield from self._asked(alias, record, request, own, stream=False)
            record.model, record.error = answer.model, None
        except Exception as error:
            record.error = getattr(error, "kind", type(error).__name__)
            raise
        finally:
            context.attempts += own.attempts
            self._note(record, own, start)
        return answer

    def model_of_tier(self, tier: str) -> str:
        """The alias of the first model of a tier; SettingsError where no model has it."""
        for alias, model in self.settings.models.items():
            if model.tier == tier:
                return alias
        raise SettingsError(f"no model has the tier {tier!r}; give one in [tool.modelroute.models.<alias>]")

    def _routed(self, request: ModelRequest, *, stream: bool = False) -> Routine[ModelResponse]:
        """Classify, choose, ask, fall back, and note what happened, also where it is given up."""
        step, context, start = self._step(request), self._client.context(request), self._client.clocks.now()
        record = RouteRecord(step=str(request.step), task_type=step.task_type)
        try:
            yield from self._choose(record, step, request, context)
            answer = yield from self._answered(record, step, request, context, stream=stream)
            record.model, record.tier, record.fallback_of = answer.model, answer.tier, answer.fallback_of
            record.error = None
        except Exception as error:
            record.error = getattr(error, "kind", type(error).__name__)
            raise
        finally:
            self._note(record, context, start)
        return answer

    def _note(self, record: RouteRecord, context: RequestContext, start: float) -> None:
        record.attempts, record.latency_s = len(context.attempts), self._client.clocks.now() - start
        record.bill = Bill.of(context.attempts, self._prices)
        self.metrics.add(record)

    def _answered(
        self, record: RouteRecord, step: StepSettings, request: ModelRequest, context: RequestContext, *, stream: bool
    ) -> Routine[ModelResponse]:
        """Ask the candidates in the way of the step."""
        if not step.speculate:
            chain = self._chain(record.candidates)
            asking = self._asking(record, request, context, stream=stream)
            return (yield from chain.walk(asking, no_fallbacks=request.no_fallbacks))

        def ask(alias: str, own: RequestContext, in_pieces: bool) -> Routine[ModelResponse]:
            return self._asked(alias, record, request, own, stream=in_pieces)

        speculation = Speculation(
            record.candidates,
            clocks=self._client.clocks,
            hedge_after=math.inf if request.no_hedge else step.hedge_after,
            accept=self._accept.get(record.step),
            recoverable=self._recoverable,
            cooldown=self._cooldown,
        )
        try:
            return (yield from speculation.walk(ask, context, stream=stream))
        finally:
            record.asked, record.wasted = speculation.asked, Bill.of(speculation.unused, self._prices)

    def _choose(
        self, record: RouteRecord, step: StepSettings, request: ModelRequest, context: RequestContext
    ) -> Routine[None]:
        """Decide on the candidates; the budget's ladder holds for every one of them."""
        preferred, models, tiers = step.model, self.settings.models, self.settings.tiers
        if preferred == "dynamic":
            named = request.explicit_category
            if named is None:
                record.category = yield from self._classified(step, request, context)
            else:
                record.category = tier_named(named, tiers)
            preferred = self.model_of_tier(record.category)
        own = tiers_of(step, self.settings, preferred)
        others = step.fallbacks if step.speculate is None else step.speculate[1:]
        candidates = (*own, *(() if request.no_fallbacks else others))
        if self.budget is not None and not step.critical:
            left = self.budget.ladder(tiers)
            wanted = ((alias, models[alias].tier) for alias in candidates)
            candidates = tuple(
                alias if tier is None or left[tier] == tier else self.model_of_tier(left[tier])
                for alias, tier in wanted
            )
        record.candidates = tuple(dict.fromkeys(candidates))
        record.cascade = tuple(dict.fromkeys(candidates[: len(own)])) if step.cascade else ()
        record.downgraded = candidates[: len(own)] != own
        record.tier = models[candidates[0]].tier

    def _classified(self, step: StepSettings, request: ModelRequest, context: RequestContext) -> Routine[str]:
        """The tier that the classifier names; its call is paid for like any other."""
        classifier = self._classifier_of(step, request)
        question = classifier.question(request.prompt)

        def ask() -> Routine[str]:
            tier: str = yield Classify(classifier, request.prompt, context)
            return tier

        return ask() if question is None else self._helping(question, ask(), context)

    def _helping(
        self, question: tuple[str, ModelRequest], routine: Routine[_T], context: RequestContext
    ) -> Routine[_T]:
        """The call of a classifier or a judge, after money is set aside for it."""
        if self.budget is None:
            return routine
        cost = self._estimate(*question, _CLASSIFIER_OUTPUT_TOKENS).cost_usd
        return self._paid(routine, self.budget.reserve(cost), context)

    def _asking(
        self, record: RouteRecord, request: ModelRequest, context: RequestContext, *, stream: bool
    ) -> Callable[[str], Routine[ModelResponse]]:
        """How a candidate of a request is asked."""
        if not record.cascade:
            return lambda alias: self._asked(alias, record, request, context, stream=stream)
        return Climb(
            gates=self._gates[record.step],
            request=request,
            record=record,
            context=context,
            names=lambda alias: self.settings.models[alias].model,
            prices=self._prices,
            clocks=self._client.clocks,
            stream=stream,
            asked=lambda alias, asked, stream: self._asked(alias, record, asked, context, stream=stream),
            paid=lambda question, routine: self._helping(question, routine, context),
        ).ask

    def _asked(
        self, alias: str, record: RouteRecord, request: ModelRequest, context: RequestContext, *, stream: bool
    ) -> Routine[ModelResponse]:
        """One candidate, after money is set aside for it."""
        own = record.cascade or record.candidates[:1]
        instead_of = None if alias in own else self.settings.models[own[-1]].model
        asking = self._client.routine(alias, request, context=context, stream=stream, fallback_of=instead_of)
        if self.budget is None:
            return asking
        cost = self._estimate(alias, request, self._answer_tokens).cost_usd
        return self._paid(asking, self.budget.reserve(cost), context)

    def _paid(self, routine: Routine[_T], reservation: Reservation, context: RequestContext) -> Routine[_T]:
        """Settle what a part of a request did cost, also where it fails or is cancelled."""
        first = len(context.attempts)
        try:
            return (yield from routine)
        finally:
            reservation.settle(Bill.of(context.attempts[first:], self._prices).cost_usd)

    def _step(self, request: ModelRequest) -> StepSettings:
        steps = self.settings.steps
        if request.step is None or request.step not in steps:
            raise SettingsError(
                f"there is no step {request.step!r} in the settings; known are: {', '.join(steps) or 'none'}"
            )
        step = steps[request.step]
        if step.model == "none":
            raise SettingsError(f"step {request.step!r} is a tool step and calls no model")
        return step

    def _classifier_of(self, step: StepSettings, request: ModelRequest) -> Classifier:
        if self._classifier is not None:
            return self._classifier
        if step.classifier is None:
            raise SettingsError(
                f"step {request.step!r} is dynamic and names no classifier; give it one, or give one to ModelRouter"
            )
        tiers = self.settings.tiers
        return LLMClassifier(self._client, step.classifier, labels=labels_of(tiers), strongest=tiers[-1])

    def _estimate(self, alias: str, request: ModelRequest, output_tokens: int) -> Estimate:
        return estimate_call(self.settings, self._prices, alias, request, output_tokens)
