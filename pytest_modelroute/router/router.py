"""`ModelRouter`: which model answers a request, decided by its step."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from pytest_modelroute.errors import SettingsError
from pytest_modelroute.providers.exchange import Usage, estimate_tokens
from pytest_modelroute.router.classifier import LLMClassifier
from pytest_modelroute.router.client import ModelClient
from pytest_modelroute.router.requests import Estimate, ModelRequest, ModelResponse

if TYPE_CHECKING:
    from pytest_modelroute.config import Settings, StepSettings

_CLASSIFIER_OUTPUT_TOKENS = 5


class ModelRouter:
    """
    Routes each request by its step.

    To the step's own model, or, where that is `dynamic`, to the model of the tier that a classifier names.
    """

    def __init__(
        self, settings: Settings, *, client: ModelClient | None = None, classifier: LLMClassifier | None = None
    ) -> None:
        """
        Needs no network and no key.

        Args:
            settings: Models and steps.
            client: Sends the requests; one with the keys of the environment where left out.
            classifier: For the dynamic steps; an LLM classifier on the step's `classifier` model where left out.

        """
        self._settings = settings
        self._client = client if client is not None else ModelClient(settings)
        self._classifier = classifier

    def route(self, request: ModelRequest) -> ModelResponse:
        """
        Choose a model and ask it.

        Raises:
            SettingsError: No such step, a step without a model, or a tier without one.
            ProviderError: The model did not answer.

        """
        step = self._step(request)
        alias = step.model
        if alias == "dynamic":
            alias = self.model_of_tier(self._classifier_of(step, request).classify(request.prompt))
        return self._client.send(alias, request)

    async def aroute(self, request: ModelRequest) -> ModelResponse:
        """Do the same in async code."""
        step = self._step(request)
        alias = step.model
        if alias == "dynamic":
            alias = self.model_of_tier(await self._classifier_of(step, request).aclassify(request.prompt))
        return await self._client.asend(alias, request)

    def estimate(self, request: ModelRequest, *, output_tokens: int = 256) -> Estimate:
        """
        What a request will cost, without a call.

        Input tokens are estimated at four characters each. A dynamic step is estimated by the dearest model that it may
        be sent to, with the classifier's call on top. Tools and images are not counted.

        Args:
            request: What would be routed.
            output_tokens: The length of the answer; `max_tokens` of the request where it has it.

        Raises:
            PriceUnknown: A model has no price.

        """
        step = self._step(request)
        params = request.params
        limit = int(params.get("max_tokens") or params.get("max_completion_tokens") or output_tokens)
        if step.model != "dynamic":
            return self._estimate(step.model, request, limit)
        classifier = self._classifier_of(step, request)
        question = self._estimate(classifier.model, classifier.request(request.prompt), _CLASSIFIER_OUTPUT_TOKENS)
        tiers = {model.tier for model in self._settings.models.values()}
        choices = [self.model_of_tier(tier) for tier in self._settings.tiers if tier in tiers]
        if not choices:
            raise SettingsError(f"step {request.step!r} is dynamic, but no model has a tier; give one to each")
        dearest = max((self._estimate(alias, request, limit) for alias in choices), key=_cost)
        return Estimate(
            model=dearest.model,
            input_tokens=dearest.input_tokens,
            output_tokens=limit,
            cost_usd=dearest.cost_usd + question.cost_usd,
        )

    def model_of_tier(self, tier: str) -> str:
        """
        The alias of the first model of a tier.

        Raises:
            SettingsError: No model has this tier.

        """
        for alias, model in self._settings.models.items():
            if model.tier == tier:
                return alias
        raise SettingsError(f"no model has the tier {tier!r}; give one in [tool.modelroute.models.<alias>]")

    def _step(self, request: ModelRequest) -> StepSettings:
        steps = self._settings.steps
        if request.step is None or request.step not in steps:
            raise SettingsError(
                f"there is no step {request.step!r} in the settings; known are: {', '.join(steps) or 'none'}"
            )
        step = steps[request.step]
        if step.model == "none":
            raise SettingsError(f"step {request.step!r} is a tool step and calls no model")
        return step

    def _classifier_of(self, step: StepSettings, request: ModelRequest) -> LLMClassifier:
        if self._classifier is not None:
            return self._classifier
        if step.classifier is None:
            raise SettingsError(
                f"step {request.step!r} is dynamic and names no classifier; give it one, or give one to ModelRouter"
            )
        tiers = self._settings.tiers
        labels = {"LOW": tiers[0], "MEDIUM": tiers[len(tiers) // 2], "HIGH": tiers[-1]}
        return LLMClassifier(self._client, step.classifier, labels=labels, strongest=tiers[-1])

    def _estimate(self, alias: str, request: ModelRequest, output_tokens: int) -> Estimate:
        model = self._settings.model(alias)
        texts = [message.text for message in request.for_model(model.model).messages]
        usage = Usage(fresh_input=sum(map(estimate_tokens, texts)), output=output_tokens)
        return Estimate(
            model=alias,
            input_tokens=usage.fresh_input,
            output_tokens=output_tokens,
            cost_usd=self._settings.prices().cost(model.model, usage, provider=model.provider_name),
        )


def _cost(estimate: Estimate) -> Decimal:
    return estimate.cost_usd
