"""Routers that split requests among candidates: by weight, by turns, and by who is least busy."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import httpx

from pytest_modelroute.invariants import RoutingInvariants

WEIGHTS = {"east": 3, "west": 1}


class BalancedRouter:
    """One model at several hosts; a deployment without a weight of its own has weight 1."""

    def __init__(self, names: Sequence[str], url: Callable[[str], str]) -> None:
        self.hosts = [{"name": name, "url": url(name), **self.weight_of(name)} for name in names]
        self.http = httpx.AsyncClient()

    def weight_of(self, name: str) -> dict[str, Any]:
        return {"weight": WEIGHTS[name]} if WEIGHTS.get(name, 1) != 1 else {}

    def pick(self) -> dict[str, Any]:
        return random.choices(self.hosts, [host.get("weight", 1) for host in self.hosts])[0]

    async def answer(self, prompt: str) -> str:
        host = self.pick()
        body = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": prompt}]}
        reply = await self.http.post(f"{host['url']}/chat/completions", json=body)
        return str(reply.json()["choices"][0]["message"]["content"])


class TurnTaker(BalancedRouter):
    """Each host in its turn, as often as its weight says."""

    def __init__(self, names: Sequence[str], url: Callable[[str], str]) -> None:
        super().__init__(names, url)
        self.turn = 0

    def pick(self) -> dict[str, Any]:
        row = [host for host in self.hosts for _ in range(host.get("weight", 1))]
        self.turn += 1
        return row[(self.turn - 1) % len(row)]


class LeastBusy(BalancedRouter):
    """The host with the fewest requests under way, the first one of several."""

    def __init__(self, names: Sequence[str], url: Callable[[str], str]) -> None:
        super().__init__(names, url)
        self.busy: Counter[str] = Counter()

    def pick(self) -> dict[str, Any]:
        return min(self.hosts, key=lambda host: self.busy[host["name"]])

    async def answer(self, prompt: str) -> str:
        name = self.pick()["name"]
        self.busy[name] += 1
        try:
            return await super().answer(prompt)
        finally:
            self.busy[name] -= 1


class CorrectBalanced(RoutingInvariants):
    """Weights of 3 and of none."""

    router_type: type[BalancedRouter] = BalancedRouter
    tiers = ("gpt-5-mini",)
    load_balanced: ClassVar[Any] = WEIGHTS

    def make_router(self, providers: Any) -> BalancedRouter:
        return self.router_type(providers.candidates, providers.url)

    async def ask(self, router: BalancedRouter, request: Any) -> str:
        return await router.answer(request.prompt)


class CorrectTurns(CorrectBalanced):
    """By turns."""

    router_type = TurnTaker


class CorrectLeastBusy(CorrectBalanced):
    """Three hosts alike, the least busy one first."""

    router_type = LeastBusy
    load_balanced = ("north", "south", "middle")
