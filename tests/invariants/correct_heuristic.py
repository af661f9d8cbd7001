"""What a router promises that goes by length and words."""

from __future__ import annotations

from typing import Any, ClassVar

from pytest_modelroute.invariants import RoutingInvariants
from tests.invariants.heuristic_router import ForgivingRouter, HeuristicRouter

GOLDEN = [
    {"id": "hours", "inputs": "When do you open on Sundays?", "expected_route": "gpt-5-nano"},
    {"id": "letter", "inputs": "Translate this letter into German", "expected_route": "medium"},
    {"id": "proof", "inputs": {"prompt": "Prove that there is no largest prime"}, "expected_route": ["gpt-5"]},
    {"id": "bug", "inputs": "Please debug my loop", "expected_route": ["gpt-5-mini", "gpt-5"]},
]


class CorrectHeuristic(RoutingInvariants):
    """A synchronous router on OpenAI's client."""

    router_type: type[HeuristicRouter] = HeuristicRouter
    tiers = ("gpt-5-nano", "gpt-5-mini", "gpt-5")
    equivalences: ClassVar[tuple[str, ...]] = ("whitespace", "case")
    monotone = True
    options = ("model",)
    golden: ClassVar[Any] = GOLDEN

    def make_router(self, providers: Any) -> HeuristicRouter:
        return self.router_type(providers.url("openai"), providers.key("openai"))

    def ask(self, router: HeuristicRouter, request: Any) -> Any:
        return router.answer(request.prompt, **request.options)


class CorrectForgiving(CorrectHeuristic):
    """Knows its words with their letters in another order, so that it can promise more."""

    router_type = ForgivingRouter
    equivalences = ("whitespace", "case", "typos")
