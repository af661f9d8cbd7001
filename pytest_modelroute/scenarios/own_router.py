"""A factory of our own router, as a subject of scenarios: what its settings promise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pytest_modelroute.errors import BudgetExceeded, PromiseError
from pytest_modelroute.invariants.promises import BudgetPromise
from pytest_modelroute.providers.exchange import Message

if TYPE_CHECKING:
    from pytest_modelroute.config import Settings
    from pytest_modelroute.invariants.requests import RoutingRequest
    from pytest_modelroute.router import ModelRequest, ModelRouter


def class_for(factory: Callable[[], Any]) -> type[Any]:
    """
    A class of `RoutingInvariants` that promises what the routers of a factory are set to do.

    Raises:
        PromiseError: The factory makes no `ModelRouter`, or one without a budget.

    """
    from pytest_modelroute.invariants import RoutingInvariants
    from pytest_modelroute.router import ModelRouter

    router = factory()
    name = getattr(factory, "__name__", "the factory")
    if not isinstance(router, ModelRouter):
        raise PromiseError(
            f"budget_scenario({name}): {name}() returned {type(router).__name__}; a class of RoutingInvariants that "
            "promises a budget was expected, or a factory of ModelRouter"
        )
    promises = _promises(router, name)

    def make_router(_self: object, _providers: object) -> Any:
        return factory()

    def ask(_self: object, router: ModelRouter, request: RoutingRequest) -> Any:
        return router.route(_request(request))

    def stream(_self: object, router: ModelRouter, request: RoutingRequest) -> Any:
        return iter(router.stream(_request(request)))

    members = {**promises, "make_router": make_router, "ask": ask, "stream": stream, "streams": True}
    return type(name, (RoutingInvariants,), members)


def _promises(router: ModelRouter, name: str) -> dict[str, Any]:
    from pytest_modelroute.invariants import Classifier
    from pytest_modelroute.router.classifier import labels_of

    settings, budget = router.settings, router.budget
    if budget is None:
        raise PromiseError(f"budget_scenario({name}): its router has no budget; give it a BudgetTracker or [budget]")
    by_tier = _models_by_tier(settings)
    high, low = budget.rungs
    names = {alias: model.model for alias, model in settings.models.items()}
    steps: dict[str, Any] = {
        step: None if own.model == "none" else names.get(own.model, _by_its_input)
        for step, own in settings.steps.items()
    }
    asked = next((own.classifier for own in settings.steps.values() if own.classifier), None)
    labels = {label: by_tier[tier] for label, tier in labels_of(settings.tiers).items() if tier in by_tier}
    urgent = frozenset(step for step, own in settings.steps.items() if own.critical)

    def critical(request: Any) -> bool:
        return request.step in urgent

    return {
        "tiers": tuple(by_tier.values()),
        "helpers": tuple(set(names.values()) - set(by_tier.values())),
        "steps": steps,
        "classifier": None if asked is None or not labels else Classifier(names[asked], labels=labels),
        "budget": BudgetPromise(budget.daily_usd, timezone=budget.timezone, ladder=(float(high), float(low))),
        "critical": staticmethod(critical) if urgent else None,
        "refuses": (BudgetExceeded,),
    }


def _by_its_input(_request: object) -> bool:
    """The rule of a dynamic step: any model may be right."""
    return True


def _models_by_tier(settings: Settings) -> Mapping[str, str]:
    """Tier -> the first model that is declared for it, as the router chooses."""
    found: dict[str, str] = {}
    for tier in settings.tiers:
        for model in settings.models.values():
            if model.tier == tier:
                found.setdefault(tier, model.model)
    return found


def _request(request: RoutingRequest) -> ModelRequest:
    from pytest_modelroute.router import ModelRequest

    return ModelRequest(
        prompt=request.prompt,
        step=request.step,
        system=request.system,
        history=tuple(Message(role=role, text=text) for role, text in request.history),
        params=request.params,
        explicit_category=request.category,
    )
