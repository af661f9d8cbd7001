"""Cascades and hedges, written as an application would: a gate or a delay, and a second model."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import httpx

from pytest_modelroute.invariants import Cascade, RoutingInvariants

TIERS = ("gpt-5-nano", "gpt-5-mini", "gpt-5")
PRICES = {
    "gpt-5-nano": ("0.05", "0.40"),
    "gpt-5-mini": ("0.25", "2.00"),
    "gpt-5": ("1.25", "10.00"),
    "gpt-4.1": ("2.00", "8.00"),
}
LINE = re.compile(r"^\s*confidence\s*:\s*(\d*\.?\d+)\s*$", re.IGNORECASE | re.MULTILINE)
LIMIT = 512


class NoAnswer(Exception):
    """A model did not answer."""


class Caller:
    """One call of one model on plain httpx, and what all calls cost."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url + "/chat/completions"
        self.headers = {"authorization": f"Bearer {key}"}
        self.http = httpx.AsyncClient(timeout=30)
        self.spent = Decimal(0)

    async def call(self, model: str, messages: list[dict[str, Any]]) -> str:
        body = {"model": model, "messages": messages, "max_tokens": LIMIT}
        try:
            reply = await self.http.post(self.url, json=body, headers=self.headers)
            reply.raise_for_status()
            data = reply.json()
        except asyncio.CancelledError:
            self.lost(model, messages)
            raise
        except (httpx.HTTPError, ValueError) as error:
            raise NoAnswer(f"{model}: {error!r}") from error
        usage = data["usage"]
        self.book(model, usage["prompt_tokens"], usage["completion_tokens"])
        text: str = data["choices"][0]["message"]["content"] or ""
        return text

    def lost(self, model: str, messages: list[dict[str, Any]]) -> None:
        """A call that was given up: what was sent, and as much output as it may have made."""
        self.book(model, len(json.dumps(messages)) // 4, LIMIT)

    def book(self, model: str, read: int, written: int) -> None:
        dear, dearer = (Decimal(price) for price in PRICES[model])
        self.spent += (read * dear + written * dearer) / 1_000_000


class CascadeRouter(Caller):
    """The cheapest first, and the next one where the gate rejects the answer or there is none."""

    gate: Callable[[str], bool]

    def __init__(self, url: str, key: str, gate: Callable[[str], bool]) -> None:
        super().__init__(url, key)
        self.gate = gate

    async def answer(self, messages: list[dict[str, Any]]) -> str:
        answer: str | None = None
        failure: NoAnswer | None = None
        for model in self.order():
            try:
                answer = await self.call(model, messages)
            except NoAnswer as error:
                failure = error
                continue
            if await self.accepts(answer):
                return self.shown(answer)
        if answer is None:
            raise failure or NoAnswer("nobody was asked")
        return self.shown(self.last(answer, failure))

    def order(self) -> tuple[str, ...]:
        return TIERS

    async def accepts(self, answer: str) -> bool:
        return self.gate(answer)

    def last(self, answer: str, failure: NoAnswer | None) -> str:
        del failure
        return answer

    def shown(self, answer: str) -> str:
        return answer


def is_json(answer: str) -> bool:
    try:
        return isinstance(json.loads(answer), dict)
    except ValueError:
        return False


def is_sure(answer: str) -> bool:
    """Whether an answer says a confidence from 0 to 1, and one that is high enough."""
    found = LINE.findall(answer)
    confidence = float(found[-1]) if found else math.nan
    return 0.7 <= confidence <= 1


class JudgedRouter(CascadeRouter):
    """Another model judges each answer."""

    async def accepts(self, answer: str) -> bool:
        said = await self.call_judge([{"role": "user", "content": f"Is this a good answer? {answer}"}])
        return said.strip().lower().startswith("yes")

    async def call_judge(self, messages: list[dict[str, Any]]) -> str:
        body = {"model": "gpt-4.1", "messages": messages, "max_tokens": 3}
        reply = await self.http.post(self.url, json=body, headers=self.headers)
        data = reply.json()
        self.book("gpt-4.1", data["usage"]["prompt_tokens"], data["usage"]["completion_tokens"])
        text: str = data["choices"][0]["message"]["content"]
        return text


class HedgingRouter(Caller):
    """The model for the request, and after a moment the next larger one as well; the first good answer wins."""

    chain: Mapping[str, tuple[str, ...]] = {
        "gpt-5-nano": ("gpt-5-nano", "gpt-5-mini"),
        "gpt-5-mini": ("gpt-5-mini", "gpt-5"),
    }

    def __init__(self, url: str, key: str, after: float) -> None:
        super().__init__(url, key)
        self.after = after

    async def answer(self, request: Any) -> str:
        messages, hedge = request.messages, request.options.get("hedge", True)
        models = list(self.chain["gpt-5-mini" if len(request.prompt) > 400 else "gpt-5-nano"][: 2 if hedge else 1])
        tasks: set[asyncio.Task[str]] = set()
        failures: list[BaseException] = []
        try:
            while models or tasks:
                if models:
                    tasks.add(asyncio.create_task(self.call(models.pop(0), messages)))
                done, tasks = await self.wait(tasks, self.after if models else None)
                for task in done:
                    if task.exception() is None:
                        return task.result()
                    failures.append(task.exception() or NoAnswer())
                    self.failed(failures)
        finally:
            await self.end(tasks)
        raise NoAnswer("every model failed") from failures[0]

    async def wait(
        self, tasks: set[asyncio.Task[str]], seconds: float | None
    ) -> tuple[set[asyncio.Task[str]], set[asyncio.Task[str]]]:
        return await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)

    def failed(self, failures: list[BaseException]) -> None:
        """One failure is no reason to give up the others."""

    async def end(self, tasks: set[asyncio.Task[str]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class CorrectCascade(RoutingInvariants):
    """A cascade by a verifier: an answer must be JSON."""

    router_type: type[CascadeRouter] = CascadeRouter
    gate = staticmethod(is_json)
    tiers = TIERS
    cascade = Cascade(accepts='{"total": 12}', rejects="Sorry, I cannot say.")

    def make_router(self, providers: Any) -> CascadeRouter:
        return self.router_type(providers.url("openai"), providers.key("openai"), type(self).gate)

    async def ask(self, router: CascadeRouter, request: Any) -> str:
        return await router.answer(request.messages)

    def spend_of(self, router: CascadeRouter) -> Decimal:
        return router.spent


class CorrectConfidence(CorrectCascade):
    """A cascade by the confidence that a model says of itself."""

    gate = staticmethod(is_sure)
    cascade = Cascade(confidence="{text}\nConfidence: {confidence}", threshold=0.7)


class CorrectJudged(CorrectCascade):
    """A cascade whose answers a model judges."""

    router_type = JudgedRouter
    cascade = Cascade(judge="gpt-4.1")


class CorrectHedging(RoutingInvariants):
    """A second model after half a second."""

    router_type: type[HedgingRouter] = HedgingRouter
    tiers = TIERS
    hedge_after = 0.5
    options = ("hedge",)

    def make_router(self, providers: Any) -> HedgingRouter:
        return self.router_type(providers.url("openai"), providers.key("openai"), self.hedge_after)

    async def ask(self, router: HedgingRouter, request: Any) -> str:
        return await router.answer(request)

    def spend_of(self, router: HedgingRouter) -> Decimal:
        return router.spent


class CorrectAtOnce(CorrectHedging):
    """Two models at once."""

    hedge_after = 0.0
