"""
Correct routers with a budget, in other styles than the first one: subjects on which no law may fire.

With the client of OpenAI in threads, in floats and without a reservation, with windows of an hour and a week, on
Anthropic, in amounts that are tiny and large.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from threading import Lock
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import anthropic
import httpx
import openai

from pytest_modelroute.invariants import BudgetPromise, RoutingInvariants

TIERS = ("gpt-5-nano", "gpt-5-mini", "gpt-5")
USD_PER_TOKEN = {
    "gpt-5-nano": (0.05e-6, 0.005e-6, 0.40e-6),
    "gpt-5-mini": (0.25e-6, 0.025e-6, 2.00e-6),
    "gpt-5": (1.25e-6, 0.125e-6, 10.00e-6),
}
"Input, cached input, output."


class Refused(Exception):
    """Nothing is left."""


def tier_by_length(prompt: str) -> str:
    return TIERS[0] if len(prompt) < 30 else TIERS[1] if len(prompt) < 200 else TIERS[2]


@dataclass
class Purse:
    """A budget in dollars as floats, in windows that a function names."""

    cap: float
    window: Callable[[], Any]
    spent: dict[Any, float] = field(default_factory=dict)
    held: float = 0.0
    lock: Lock = field(default_factory=Lock)

    def left(self) -> float:
        return self.cap - self.spent.get(self.window(), 0.0)

    def hold(self, amount: float) -> Any:
        with self.lock:
            if self.left() - self.held < amount:
                raise Refused
            self.held += amount
            return self.window()

    def book(self, window: Any, held: float, actual: float) -> None:
        with self.lock:
            self.held -= held
            self.spent[window] = self.spent.get(window, 0.0) + actual


class ThreadedRouter:
    """Synchronous, on the client of OpenAI with its own retries, safe among threads."""

    def __init__(self, base_url: str, key: str, purse: Purse) -> None:
        self.client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=1)
        self.purse = purse

    def answer(self, request: Any) -> tuple[str, float]:
        model = self.affordable(tier_by_length(request.prompt))
        limit = request.params.get("max_tokens", 300)
        fresh, cached, made = USD_PER_TOKEN[model]
        estimate = (len(request.prompt) + 100) * fresh + limit * made
        window = self.purse.hold(estimate)
        actual = 0.0
        try:
            reply = self.client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": request.prompt}], max_completion_tokens=limit
            )
            usage = reply.usage
            if usage is None:
                actual = estimate
            else:
                hit = (usage.prompt_tokens_details and usage.prompt_tokens_details.cached_tokens) or 0
                actual = (usage.prompt_tokens - hit) * fresh + hit * cached + usage.completion_tokens * made
        finally:
            self.purse.book(window, estimate, actual)
        return reply.choices[0].message.content or "", actual

    def affordable(self, model: str) -> str:
        share = self.purse.left() / self.purse.cap
        if share <= 0.2 or (share <= 0.5 and model != TIERS[-1]):
            return TIERS[0]
        return model


class CorrectThreaded(RoutingInvariants):
    """A budget under a lock, reserved, in floats; the day of Los Angeles."""

    tiers = TIERS
    budget = BudgetPromise(2.5, timezone="America/Los_Angeles")
    retries = 1

    def make_router(self, providers: Any) -> ThreadedRouter:
        zone = ZoneInfo("America/Los_Angeles")
        purse = Purse(2.5, lambda: datetime.now(zone).date())
        return ThreadedRouter(providers.url("openai"), providers.key("openai"), purse)

    def ask(self, router: ThreadedRouter, request: Any) -> str:
        return router.answer(request)[0]

    def spend_of(self, router: ThreadedRouter) -> float:
        return sum(router.purse.spent.values())


class CorrectTiny(CorrectThreaded):
    """Five cents an hour."""

    budget = BudgetPromise("0.05", window="hour", timezone="Asia/Kolkata")

    def make_router(self, providers: Any) -> ThreadedRouter:
        zone = dt.timezone(dt.timedelta(hours=5, minutes=30))
        purse = Purse(0.05, lambda: dt.datetime.fromtimestamp(time.time(), zone).strftime("%Y%m%d %H"))
        return ThreadedRouter(providers.url("openai"), providers.key("openai"), purse)


def one_down(left: float, preferred: str) -> str:
    return preferred if left > 0.25 else TIERS[max(0, TIERS.index(preferred) - 1)]


class CorrectLarge(CorrectThreaded):
    """A thousand dollars a month, in the month of Kiritimati, and a ladder of its own."""

    budget = BudgetPromise(1000, window="month", timezone="Pacific/Kiritimati", ladder=one_down)

    def make_router(self, providers: Any) -> ThreadedRouter:
        class Stepwise(ThreadedRouter):
            def affordable(self, model: str) -> str:
                return one_down(self.purse.left() / self.purse.cap, model)

        zone = ZoneInfo("Pacific/Kiritimati")
        purse = Purse(1000.0, lambda: datetime.fromtimestamp(providers.wall_clock(), zone).strftime("%Y-%m"))
        return Stepwise(providers.url("openai"), providers.key("openai"), purse)


class LooseRouter:
    """Asynchronous, on httpx, without reservations: what is under way may exceed the cap."""

    def __init__(self, cap: float) -> None:
        self.http = httpx.AsyncClient(base_url="https://api.openai.com/v1", timeout=60)
        self.cap = cap
        self.spent = 0.0
        self.week: Any = None

    async def answer(self, request: Any) -> str:
        week = datetime.now(ZoneInfo("Australia/Lord_Howe")).isocalendar()[:2]
        if week != self.week:
            self.week, self.spent = week, 0.0
        if self.spent >= self.cap:
            raise Refused
        model = "gpt-5" if request.critical else tier_by_length(request.prompt)
        reply = await self.http.post(
            "/chat/completions", json={"model": model, "messages": [{"role": "user", "content": request.prompt}]}
        )
        reply.raise_for_status()
        data = reply.json()
        fresh, cached, made = USD_PER_TOKEN[model]
        usage = data["usage"]
        hit = usage["prompt_tokens_details"]["cached_tokens"]
        self.spent += (usage["prompt_tokens"] - hit) * fresh + hit * cached + usage["completion_tokens"] * made
        return str(data["choices"][0]["message"]["content"])


class CorrectLoose(RoutingInvariants):
    """A week without reservation and without a ladder; critical requests need the strongest, while money is left."""

    tiers = TIERS
    budget = BudgetPromise(
        1, window="week", timezone="Australia/Lord_Howe", ladder=None, reserved=False, critical_served=False
    )

    critical: ClassVar[Any] = staticmethod(lambda request: bool(request.critical))

    def make_router(self, providers: Any) -> LooseRouter:
        del providers
        return LooseRouter(1.0)

    async def ask(self, router: LooseRouter, request: Any) -> str:
        return await router.answer(request)


CLAUDES = {
    "claude-haiku-4-5": (1, Decimal("0.1"), Decimal("1.25"), 5),
    "claude-sonnet-4-6": (3, Decimal("0.3"), Decimal("3.75"), 15),
}
"USD per million tokens: input, read from the cache, written to it, output."


class ClaudeRouter:
    """Anthropic, streamed and not, with the costs of each answer."""

    def __init__(self, base_url: str, key: str) -> None:
        self.client = anthropic.Anthropic(base_url=base_url, api_key=key)
        self.total = Decimal(0)

    def cost(self, model: str, usage: Any) -> Decimal:
        fresh, read, written, made = CLAUDES[model]
        micros = usage.input_tokens * fresh + usage.output_tokens * made
        micros += (usage.cache_read_input_tokens or 0) * read + (usage.cache_creation_input_tokens or 0) * written
        return Decimal(micros) / 1_000_000

    def model(self, request: Any) -> str:
        return "claude-sonnet-4-6" if "?" in request.prompt else "claude-haiku-4-5"

    def options(self, request: Any) -> dict[str, Any]:
        content = request.prompt or "(nothing)"
        return {"model": self.model(request), "max_tokens": 500, "messages": [{"role": "user", "content": content}]}

    def answer(self, request: Any) -> Any:
        reply = self.client.messages.create(**self.options(request))
        self.total += self.cost(self.model(request), reply.usage)
        return reply

    def stream(self, request: Any) -> Any:
        options = self.options(request)
        usage = None
        try:
            with self.client.messages.stream(**options) as stream:
                yield from stream.text_stream
                usage = stream.get_final_message().usage
        finally:
            guess = Decimal(len(request.prompt)) / 4 * CLAUDES[options["model"]][0] / 1_000_000
            self.total += guess if usage is None else self.cost(options["model"], usage)


class CorrectClaude(RoutingInvariants):
    """No budget, but every token counted."""

    tiers = ("claude-haiku-4-5", "claude-sonnet-4-6")
    streams = True
    retries = 2

    def make_router(self, providers: Any) -> ClaudeRouter:
        return ClaudeRouter(providers.url("anthropic"), providers.key("anthropic"))

    def ask(self, router: ClaudeRouter, request: Any) -> Any:
        return router.answer(request)

    def stream(self, router: ClaudeRouter, request: Any) -> Any:
        return router.stream(request)

    def spend_of(self, router: ClaudeRouter) -> Decimal:
        return router.total

    def cost_of(self, router: ClaudeRouter, response: Any) -> Decimal:
        return router.cost(response.model, response.usage)


ALL = (CorrectThreaded, CorrectTiny, CorrectLarge, CorrectLoose, CorrectClaude)
