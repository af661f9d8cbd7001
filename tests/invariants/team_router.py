"""A workflow of steps and a team of agents, synchronous, on the client of OpenAI."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

import openai

from pytest_modelroute.invariants import AgentPromise, RoutingInvariants

TIERS = ("gpt-5-nano", "gpt-5-mini", "gpt-5")
PRICES = {
    "gpt-5-nano": ("0.05", "0.40"),
    "gpt-5-mini": ("0.25", "2.00"),
    "gpt-5": ("1.25", "10.00"),
    "gpt-4o-mini": ("0.15", "0.60"),
}


def by_length(prompt: str) -> str:
    """The model of the step whose work depends on the length of a prompt."""
    return "gpt-5" if len(prompt) > 200 else "gpt-5-nano"


class Paying:
    """A client that keeps the sum of what its calls cost."""

    def __init__(self, url: str, key: str) -> None:
        self.client = openai.OpenAI(base_url=url, api_key=key)
        self.spent = Decimal(0)

    def call(self, model: str, prompt: str, **params: Any) -> Any:
        messages: Any = [{"role": "user", "content": prompt}]
        reply = self.client.chat.completions.create(model=model, messages=messages, **params)
        self.book(model, reply.usage)
        return reply.choices[0].message

    def book(self, model: str, usage: Any) -> None:
        cheap, dear = (Decimal(price) for price in PRICES[model])
        self.spent += (usage.prompt_tokens * cheap + usage.completion_tokens * dear) / 1_000_000


class WorkflowRouter(Paying):
    """Steps with a model each."""

    models: Mapping[str, Callable[[str], str]] = {
        "triage": lambda _: "gpt-5-nano",
        "write": lambda _: "gpt-5",
        "sum_up": by_length,
    }

    def run(self, step: str, prompt: str) -> str:
        if step == "look_up":
            return self.look_up(prompt)
        return self.call(self.model_of(step, prompt), prompt).content or ""

    def model_of(self, step: str, prompt: str) -> str:
        return self.models[step](prompt)

    def look_up(self, prompt: str) -> str:
        return f"12 orders about {prompt[:10]}"


class CorrectWorkflow(RoutingInvariants):
    """Four steps: two with a model, one by length, one without."""

    router_type: type[WorkflowRouter] = WorkflowRouter
    tiers = TIERS
    steps = {  # noqa: RUF012 - as users write it
        "look_up": None,
        "sum_up": lambda request: by_length(request.prompt),
        "triage": "gpt-5-nano",
        "write": "gpt-5",
    }

    def make_router(self, providers: Any) -> WorkflowRouter:
        return self.router_type(providers.url("openai"), providers.key("openai"))

    def ask(self, router: WorkflowRouter, request: Any) -> str:
        return router.run(request.step, request.prompt)


TOOLS = {"refunds": ("refund",), "shipping": ("track", "reroute")}
MODELS = {"refunds": "gpt-5", "shipping": "gpt-5-nano"}


def as_tools(names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Tools as OpenAI takes them."""
    return [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in names]


class TeamRouter(Paying):
    """A coordinator names the agent for a request, and the agent answers it."""

    def answer(self, prompt: str) -> str:
        agent = self.coordinate(prompt)
        message = self.call(self.model_of(agent), prompt, tools=as_tools(self.tools_of(agent)))
        return message.content or ""

    def coordinate(self, prompt: str) -> str:
        said = (self.call("gpt-5-mini", f"Answer refunds or shipping: {prompt}").content or "").strip()
        return said if said in TOOLS else "shipping"

    def model_of(self, agent: str) -> str:
        return MODELS[agent]

    def tools_of(self, agent: str) -> tuple[str, ...]:
        return TOOLS[agent]


class CorrectTeam(RoutingInvariants):
    """Two agents and their coordinator."""

    router_type: type[TeamRouter] = TeamRouter
    tiers: ClassVar[Sequence[str]] = TIERS
    agents = {name: AgentPromise(MODELS[name], TOOLS[name]) for name in TOOLS}  # noqa: RUF012 - as users write it
    coordinator = "gpt-5-mini"

    def make_router(self, providers: Any) -> TeamRouter:
        return self.router_type(providers.url("openai"), providers.key("openai"))

    def ask(self, router: TeamRouter, request: Any) -> str:
        return router.answer(request.prompt)

    def spend_of(self, router: TeamRouter) -> Decimal:
        return router.spent
