"""What the router of pytest-modelroute promises."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal

from our_router import build

from pytest_modelroute import BudgetPromise, Classifier, RoutingInvariants, RoutingRequest
from pytest_modelroute.errors import BudgetExceeded
from pytest_modelroute.invariants import Providers
from pytest_modelroute.providers.exchange import Message
from pytest_modelroute.router import RECOVERABLE, ModelRequest, ModelResponse, ModelRouter

SMALL, MEDIUM, LARGE = "gpt-5-nano", "gpt-5-mini", "claude-sonnet-4-6"


class OurRouter(RoutingInvariants):
    """How it is built and asked."""

    tiers = (SMALL, MEDIUM, LARGE)
    recoverable = RECOVERABLE
    retries = 1
    deadline = 60.0
    honours_retry_after = True
    cooldown = 30.0
    streams = True

    def make_router(self, providers: Providers) -> ModelRouter:
        """With keys that reach nobody."""
        return build(providers.key)

    async def ask(self, router: ModelRouter, request: RoutingRequest) -> ModelResponse:
        """The whole answer."""
        return await router.aroute(translated(request))

    def stream(self, router: ModelRouter, request: RoutingRequest) -> AsyncIterator[str]:
        """The pieces."""
        return router.astream(translated(request))


class TestDynamicStep(OurRouter):
    """A step whose tier a classifier decides, within a budget; what is critical goes to a step of its own."""

    safe_tier = LARGE
    classifier = Classifier("gpt-4.1-nano", labels={"LOW": SMALL, "MEDIUM": MEDIUM, "HIGH": LARGE})
    fallbacks = {SMALL: (MEDIUM,), LARGE: (MEDIUM,)}
    options = ("category", "no_fallbacks", "deadline")
    equivalences = ("whitespace", "case", "preamble", "typos")
    budget = BudgetPromise(2, timezone="Europe/Zurich")
    refuses = (BudgetExceeded,)

    @staticmethod
    def critical(request: RoutingRequest) -> bool:
        """Whether a request is never downgraded."""
        return request.critical

    def spend_of(self, router: ModelRouter) -> Decimal:
        """USD of the day."""
        assert router.budget is not None
        return router.budget.spent

    def cost_of(self, router: ModelRouter, response: ModelResponse) -> Decimal:
        """USD of a request, its classification included."""
        return response.cost_usd


class TestStaticSteps(OurRouter):
    """Steps with a model of their own, and one that is a tool."""

    fallbacks = {SMALL: (MEDIUM,)}
    steps = {"extract": SMALL, "safety": LARGE, "lookup": None}
    options = ("no_fallbacks", "deadline")
    equivalences = ("whitespace", "case", "preamble", "typos")


def translated(request: RoutingRequest) -> ModelRequest:
    """A request in the router's own words."""
    return ModelRequest(
        step=request.step or ("safety" if request.critical else "answer"),
        prompt=request.prompt,
        system=request.system,
        history=tuple(Message(role=role, text=text) for role, text in request.history),
        params=request.params,
        explicit_category=request.category,
        no_fallbacks=bool(request.options.get("no_fallbacks")),
        deadline=request.options.get("deadline"),
    )
