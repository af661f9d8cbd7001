"""
A correct router, written as an application would write its own: on plain httpx, asynchronous, with everything promised.

Each decision is a small method, so that a defect is one method overridden (`defects.py`). It shares no code with the
router of this project: laws that only ever saw their own kin would prove little.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
import unicodedata
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any
from zoneinfo import ZoneInfo

import httpx

TIERS = ("gpt-5-nano", "gpt-5-mini", "gpt-5")
LABELS = {"LOW": "gpt-5-nano", "MEDIUM": "gpt-5-mini", "HIGH": "gpt-5"}
CLASSIFIER = "gpt-4.1-nano"
FALLBACKS: Mapping[str, tuple[str, ...]] = {
    "gpt-5": ("gpt-4.1", "gpt-4o"),
    "gpt-5-mini": ("gpt-4.1-mini",),
    "gpt-5-nano": ("gpt-4.1-mini",),
}
HOSTS = {"gpt-4.1": "openai-2", "gpt-4.1-mini": "openai-2", "gpt-4o": "openai-3"}
"Where a model is not at openai."
PRICES: Mapping[str, tuple[str, str, str]] = {
    "gpt-5-nano": ("0.05", "0.40", "0.005"),
    "gpt-5-mini": ("0.25", "2.00", "0.025"),
    "gpt-5": ("1.25", "10.00", "0.125"),
    "gpt-4.1": ("2.00", "8.00", "0.50"),
    "gpt-4.1-mini": ("0.40", "1.60", "0.10"),
    "gpt-4.1-nano": ("0.10", "0.40", "0.025"),
    "gpt-4o": ("2.50", "10.00", "1.25"),
}
"USD per million tokens: input, output, cached input."
RECOVERABLE = frozenset(
    [
        "rate_limited",
        "quota_exhausted",
        "overloaded",
        "unavailable",
        "server_error",
        "timeout",
        "connection",
        "not_found",
        "context_overflow",
        "content_filtered",
        "malformed",
    ]
)
RETRIED = frozenset({"rate_limited", "overloaded", "unavailable", "server_error", "timeout", "connection"})
ZONE = "Europe/Zurich"
MAX_TOKENS = 256


class CallFailed(Exception):
    """One candidate did not answer."""

    def __init__(self, kind: str, model: str, message: str, *, wait: float | None = None, began: bool = False) -> None:
        super().__init__(f"{model}: {kind}: {message}")
        self.kind = kind
        self.model = model
        self.wait = wait
        self.began = began


class OutOfBudget(Exception):
    """Nothing is left for this call."""


@dataclass
class Answer:
    """What the caller gets."""

    text: str
    model: str
    cost: Decimal


@dataclass
class Budget:
    """What a day may cost."""

    usd: Decimal
    wall_clock: Callable[[], float]
    spent: dict[str, Decimal] = field(default_factory=dict)
    reserved: Decimal = Decimal(0)

    def day(self) -> str:
        return datetime.fromtimestamp(self.wall_clock(), ZoneInfo(ZONE)).date().isoformat()

    def today(self) -> Decimal:
        return self.spent.get(self.day(), Decimal(0))

    def left(self) -> Decimal:
        return self.usd - self.today()

    def reserve(self, amount: Decimal) -> str:
        if self.today() + self.reserved + amount > self.usd:
            raise OutOfBudget(f"{self.left()} USD left of {self.usd}")
        self.reserved += amount
        return self.day()

    def settle(self, day: str, reserved: Decimal, actual: Decimal) -> None:
        self.reserved -= reserved
        self.spent[day] = self.spent.get(day, Decimal(0)) + actual


class SupportRouter:
    """Classify, choose, ask, fall back."""

    def __init__(
        self,
        url: Callable[[str], str],
        key: Callable[[str], str],
        *,
        budget_usd: str | None = "1",
        retries: int = 1,
        deadline: float = 30.0,
        cooldown: float = 60.0,
        wall_clock: Callable[[], float] = lambda: time.time(),  # noqa: PLW0108 - looked up when it is read
    ) -> None:
        self.hosts = {model: (url(HOSTS.get(model, "openai")), key(HOSTS.get(model, "openai"))) for model in PRICES}
        self.http = httpx.AsyncClient()
        self.retries = retries
        self.deadline = deadline
        self.cooldown = cooldown
        self.budget = None if budget_usd is None else Budget(Decimal(budget_usd), wall_clock)
        self.total = Decimal(0)
        self.resting: dict[str, float] = {}
        self.fallbacks = {model: list(chain) for model, chain in FALLBACKS.items()}

    # ------------------------------------------------------------- selection

    def text(self, messages: Sequence[Mapping[str, Any]]) -> str:
        content = messages[-1]["content"] if messages else ""
        if not isinstance(content, str):
            content = "".join(part.get("text", "") for part in content)
        return unicodedata.normalize("NFC", content)

    async def choose(self, request: Any, until: float) -> str:
        if request.category is not None:
            return LABELS[request.category]
        try:
            label = await self.classify(self.text(request.messages), until)
        except CallFailed:
            return self.safe_tier()
        return self.tier_of(label)

    def safe_tier(self) -> str:
        return "gpt-5"

    def tier_of(self, label: str) -> str:
        return LABELS.get(label.strip().strip(".\"'*").upper(), self.safe_tier())

    async def classify(self, prompt: str, until: float) -> str:
        messages = [
            {"role": "system", "content": "Answer LOW, MEDIUM or HIGH."},
            {"role": "user", "content": prompt},
        ]
        body = {"model": CLASSIFIER, "messages": messages, "temperature": 0, "max_tokens": 5}
        async with self.paid(CLASSIFIER, body) as bill:
            return await self.once(CLASSIFIER, body, until, bill)

    def downgrade(self, model: str, *, critical: bool) -> str:
        if self.budget is None or critical:
            return model
        left = self.budget.left() / self.budget.usd
        if left <= Decimal("0.2"):
            return "gpt-5-nano"
        if left <= Decimal("0.5") and model == "gpt-5-mini":
            return "gpt-5-nano"
        return model

    # -------------------------------------------------------------- failover

    async def answer(self, request: Any) -> Answer:
        until = time.monotonic() + request.options.get("deadline", self.deadline)
        before = self.total
        model = self.downgrade(await self.choose(request, until), critical=request.critical)
        failures: list[CallFailed] = []
        for candidate in self.candidates(model, request):
            try:
                text = await self.persist(candidate, request, until)
            except CallFailed as error:
                failures.append(error)
                self.note(candidate, error)
                if not self.goes_on(error):
                    raise
            else:
                return Answer(text, candidate, self.total - before)
        raise ExceptionGroup(f"every model failed, first {failures[0]}", failures) from failures[0]

    def candidates(self, model: str, request: Any) -> list[str]:
        chain = [model, *([] if request.options.get("no_fallbacks") else self.fallbacks.get(model, []))]
        return [name for name in chain if not self.rests(name)] or chain[-1:]

    def goes_on(self, error: CallFailed) -> bool:
        return error.kind in RECOVERABLE and not error.began

    def rests(self, model: str) -> bool:
        return self.resting.get(model, -math.inf) > time.monotonic()

    def note(self, model: str, error: CallFailed) -> None:
        if self.cooldown and error.kind in RETRIED:
            until = time.monotonic() + max(self.cooldown, error.wait or 0.0)
            self.resting[model] = max(self.resting.get(model, 0.0), until)

    async def persist(self, model: str, request: Any, until: float) -> str:
        retries = request.options.get("retries", self.retries)
        for attempt in range(retries + 1):
            try:
                body = self.body(model, request)
                async with self.paid(model, body) as bill:
                    return await self.once(model, body, until, bill)
            except CallFailed as error:
                wait = self.back_off(error, attempt)
                if attempt == retries or error.kind not in RETRIED or time.monotonic() + wait >= until:
                    raise
                await asyncio.sleep(wait)
        raise AssertionError

    def back_off(self, error: CallFailed, attempt: int) -> float:
        return error.wait if error.wait is not None else 0.5 * 2**attempt * random.uniform(0.8, 1.0)

    # ------------------------------------------------------------------ wire

    def body(self, model: str, request: Any, *, stream: bool = False) -> dict[str, Any]:
        body = {"max_tokens": MAX_TOKENS, **request.params, "model": model, "messages": request.messages}
        if model == "gpt-4.1":
            body["temperature"] = 0.3
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return body

    def headers(self, model: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.hosts[model][1]}"}

    async def once(self, model: str, body: Mapping[str, Any], until: float, bill: list[Any]) -> str:
        url = self.hosts[model][0] + "/chat/completions"
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                reply = await self.http.post(url, json=body, headers=self.headers(model), timeout=20)
        except (TimeoutError, httpx.TimeoutException) as error:
            bill.append(None)
            raise CallFailed("timeout", model, repr(error)) from error
        except httpx.TransportError as error:
            raise CallFailed("connection", model, repr(error)) from error
        self.check(model, reply)
        try:
            data = reply.json()
            choice = data["choices"][0]
            text = choice["message"]["content"] or ""
        except (ValueError, LookupError, TypeError) as error:
            raise CallFailed("malformed", model, repr(error)) from error
        bill.append(data.get("usage"))
        if choice["finish_reason"] == "content_filter":
            raise CallFailed("content_filtered", model, "held back")
        return text

    def check(self, model: str, reply: httpx.Response) -> None:
        if reply.status_code < 400:
            return
        try:
            error = reply.json()["error"]
        except (ValueError, LookupError, TypeError):
            error = {}
        kind = self.kind_of(reply.status_code, error.get("code") or error.get("type"))
        raise CallFailed(kind, model, f"{reply.status_code} {error}", wait=self.wait_of(reply.headers))

    def kind_of(self, status: int, code: str | None) -> str:
        codes = {
            "insufficient_quota": "quota_exhausted",
            "context_length_exceeded": "context_overflow",
            "content_filter": "content_filtered",
            "model_not_found": "not_found",
        }
        by_status = {401: "authentication", 403: "permission", 404: "not_found", 408: "timeout", 429: "rate_limited"}
        by_status |= {503: "unavailable", 529: "overloaded"}
        return codes.get(code or "") or by_status.get(status) or ("server_error" if status >= 500 else "bad_request")

    def wait_of(self, headers: Mapping[str, str]) -> float | None:
        if "retry-after-ms" in headers:
            return float(headers["retry-after-ms"]) / 1000
        value = headers.get("retry-after")
        if value is None:
            return None
        try:
            return float(value)
        except ValueError:
            return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())

    # ---------------------------------------------------------------- stream

    async def stream(self, request: Any) -> AsyncIterator[str]:
        until = time.monotonic() + request.options.get("deadline", self.deadline)
        model = self.downgrade(await self.choose(request, until), critical=request.critical)
        failures: list[CallFailed] = []
        for candidate in self.candidates(model, request):
            try:
                async for piece in self.persist_stream(candidate, request, until):
                    yield piece
            except CallFailed as error:
                failures.append(error)
                self.note(candidate, error)
                if not self.goes_on(error):
                    raise
            else:
                return
        raise ExceptionGroup(f"every model failed, first {failures[0]}", failures) from failures[0]

    async def persist_stream(self, model: str, request: Any, until: float) -> AsyncIterator[str]:
        retries = request.options.get("retries", self.retries)
        for attempt in range(retries + 1):
            try:
                body = self.body(model, request, stream=True)
                async with self.paid(model, body) as bill:
                    async for piece in self.pieces(model, body, until, bill):
                        yield piece
                return
            except CallFailed as error:
                wait = self.back_off(error, attempt)
                late = time.monotonic() + wait >= until
                if error.began or attempt == retries or error.kind not in RETRIED or late:
                    raise
                await asyncio.sleep(wait)

    async def pieces(self, model: str, body: Mapping[str, Any], until: float, bill: list[Any]) -> AsyncIterator[str]:
        url, began, ended = self.hosts[model][0] + "/chat/completions", False, False
        bill.append(None)
        try:
            timeout = min(20.0, max(0.0, until - time.monotonic()))
            async with self.http.stream("POST", url, json=body, headers=self.headers(model), timeout=timeout) as reply:
                if reply.status_code >= 400:
                    bill.clear()
                    await reply.aread()
                    self.check(model, reply)
                async for line in reply.aiter_lines():
                    if not line.startswith("data:"):
                        continue
                    if line == "data: [DONE]":
                        ended = True
                        continue
                    event = json.loads(line.removeprefix("data:"))
                    if "error" in event:
                        raise CallFailed("server_error", model, str(event["error"]), began=began)
                    bill[-1] = event.get("usage") or bill[-1]
                    for choice in event.get("choices", ()):
                        if choice.get("finish_reason") == "content_filter":
                            raise CallFailed("content_filtered", model, "held back", began=began)
                        if choice["delta"].get("content"):
                            began = True
                            yield choice["delta"]["content"]
                    if time.monotonic() > until:
                        raise CallFailed("timeout", model, "too late", began=began)
        except httpx.TimeoutException as error:
            raise CallFailed("timeout", model, repr(error), began=began) from error
        except httpx.TransportError as error:
            if not began:
                bill.clear()
            raise CallFailed("connection", model, repr(error), began=began) from error
        except (ValueError, LookupError, TypeError) as error:
            raise CallFailed("malformed", model, repr(error), began=began) from error
        if not ended:
            raise CallFailed("malformed", model, "no end", began=began)

    # ----------------------------------------------------------------- money

    def cost(self, model: str, usage: Mapping[str, Any]) -> Decimal:
        fresh, output, cached = (Decimal(price) for price in PRICES[model])
        details = usage.get("prompt_tokens_details") or {}
        hit = details.get("cached_tokens") or 0
        fresh_input = int(usage["prompt_tokens"]) - int(hit)
        return (fresh_input * fresh + int(hit) * cached + int(usage["completion_tokens"]) * output) / 1_000_000

    def estimate(self, model: str, body: Mapping[str, Any]) -> dict[str, int]:
        letters = sum(len(self.text([message])) for message in body["messages"])
        return {"prompt_tokens": letters // 4 + 20, "completion_tokens": body.get("max_tokens", MAX_TOKENS)}

    @asynccontextmanager
    async def paid(self, model: str, body: Mapping[str, Any]) -> AsyncIterator[list[Any]]:
        """Reserve before a call, book what it cost afterwards; a call that was given up is booked at its estimate."""
        bill: list[Any] = []
        estimate = self.cost(model, self.estimate(model, body))
        day = None if self.budget is None else self.budget.reserve(estimate)
        try:
            yield bill
        except asyncio.CancelledError:
            bill = bill or [None]
            raise
        except GeneratorExit:
            bill = bill or [None]
            raise
        finally:
            actual = sum((self.booked(model, entry, body) for entry in bill), Decimal(0))
            self.total += actual
            if self.budget is not None and day is not None:
                self.budget.settle(day, estimate, actual)

    def booked(self, model: str, usage: Mapping[str, Any] | None, body: Mapping[str, Any]) -> Decimal:
        return self.cost(model, usage if usage is not None else self.estimate(model, body))
