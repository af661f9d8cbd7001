"""Correct routers as applications write them on client libraries; each promises what it keeps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, ClassVar

import anthropic
import httpx
import httpx2
import openai

from pytest_modelroute.invariants import RoutingInvariants

# ----------------------------------------------- synchronous, openai, its own retries


class PlainOpenAI:
    """By the length of the question; the client's two retries; try the next model."""

    chain: ClassVar[dict[str, tuple[str, ...]]] = {"gpt-5-nano": ("gpt-4.1-mini",), "gpt-5": ("gpt-4.1", "gpt-4o")}

    def __init__(self, base_url: str) -> None:
        self.client = openai.OpenAI(base_url=base_url, api_key="test", timeout=20)

    def ask(self, prompt: str) -> str:
        head = "gpt-5" if len(prompt) > 80 else "gpt-5-nano"
        first: Exception | None = None
        for model in (head, *self.chain[head]):
            try:
                reply = self.client.chat.completions.create(model=model, messages=[{"role": "user", "content": prompt}])
                return reply.choices[0].message.content or ""
            except openai.APIStatusError as error:
                if error.status_code in (400, 401, 403, 422):
                    raise
                first = first or error
            except openai.APIConnectionError as error:
                first = first or error
        assert first is not None
        raise first


class CorrectLittle(RoutingInvariants):
    """A router that promises next to nothing."""

    tiers = ("gpt-5-nano", "gpt-5")
    fallbacks = PlainOpenAI.chain

    def make_router(self, providers: Any) -> PlainOpenAI:
        return PlainOpenAI(providers.url("openai"))

    def ask(self, router: PlainOpenAI, request: Any) -> str:
        return router.ask(request.prompt)


class CorrectPlainOpenAI(CorrectLittle):
    """The same router, and all that it keeps."""

    recoverable = ("rate_limited", "overloaded", "unavailable", "server_error", "timeout", "connection", "not_found")
    retries = 2
    honours_retry_after = True


# ------------------------------------ synchronous, openai with an anthropic fallback


class TwoProviders:
    """GPT first, Claude when it fails; a deadline for the whole, and a rest for what failed."""

    deadline = 12.0
    cooldown = 30.0

    def __init__(self, openai_url: str, anthropic_url: str) -> None:
        self.gpt = openai.OpenAI(base_url=openai_url, api_key="test", max_retries=0)
        self.claude = anthropic.Anthropic(base_url=anthropic_url, api_key="test", max_retries=0)
        self.rests_until: dict[str, float] = {}

    def ask(self, prompt: str) -> str:
        until = time.monotonic() + self.deadline
        calls: list[tuple[str, Callable[[str, float], str]]] = [
            ("gpt-5-mini", self.ask_gpt),
            ("claude-sonnet-4-6", self.ask_claude),
        ]
        awake = [(name, call) for name, call in calls if self.rests_until.get(name, 0.0) <= time.monotonic()]
        failures: list[Exception] = []
        for name, call in awake or calls:
            left = until - time.monotonic()
            if left <= 0.01:
                break
            try:
                return call(prompt, left)
            except Exception as error:
                failures.append(error)
                if not self.is_outage(error):
                    raise
                self.rests_until[name] = max(self.rests_until.get(name, 0.0), time.monotonic() + self.cooldown)
        raise ExceptionGroup("no provider answered", failures or [TimeoutError("the deadline is over")])

    @staticmethod
    def is_outage(error: Exception) -> bool:
        status = getattr(error, "status_code", None)
        if status is not None:
            return status in (404, 408, 429) or status >= 500
        return isinstance(error, openai.APIConnectionError | anthropic.APIConnectionError)

    def ask_gpt(self, prompt: str, left: float) -> str:
        reply = self.gpt.chat.completions.create(
            model="gpt-5-mini", messages=[{"role": "user", "content": prompt}], timeout=left
        )
        return reply.choices[0].message.content or ""

    def ask_claude(self, prompt: str, left: float) -> str:
        reply = self.claude.messages.create(
            model="claude-sonnet-4-6", max_tokens=500, messages=[{"role": "user", "content": prompt}], timeout=left
        )
        return "".join(block.text for block in reply.content if block.type == "text")


class CorrectTwoProviders(RoutingInvariants):
    tiers = ("gpt-5-mini", "claude-sonnet-4-6")
    fallbacks: ClassVar[dict[str, tuple[str, ...]]] = {"gpt-5-mini": ("claude-sonnet-4-6",)}
    recoverable = ("rate_limited", "overloaded", "unavailable", "server_error", "timeout", "connection", "not_found")
    retries = 0
    deadline = TwoProviders.deadline
    cooldown = TwoProviders.cooldown

    def make_router(self, providers: Any) -> TwoProviders:
        return TwoProviders(providers.url("openai"), providers.url("anthropic"))

    def ask(self, router: TwoProviders, request: Any) -> str:
        return router.ask(request.prompt)


# ----------------------------------- asynchronous, Claude first, the clients' retries


class AsyncClaudeFirst:
    """Claude by the words of the prompt, GPT when it fails; `max_retries` of the clients, one deadline around all."""

    deadline = 25.0

    def __init__(self, openai_url: str, anthropic_url: str) -> None:
        self.gpt = openai.AsyncOpenAI(base_url=openai_url, api_key="test", max_retries=1, timeout=8)
        self.claude = anthropic.AsyncAnthropic(base_url=anthropic_url, api_key="test", max_retries=1, timeout=8)

    @staticmethod
    def tier(prompt: str) -> str:
        hard = any(word in prompt.lower() for word in ("prove", "debug", "legal", "step by step"))
        return "claude-sonnet-4-6" if hard else "claude-haiku-4-5"

    async def ask(self, prompt: str) -> str:
        async with asyncio.timeout(self.deadline):
            return "".join([piece async for piece in self.pieces(prompt, stream=False)])

    async def stream(self, prompt: str) -> Any:
        async with asyncio.timeout(self.deadline):
            async for piece in self.pieces(prompt, stream=True):
                yield piece

    async def pieces(self, prompt: str, *, stream: bool) -> Any:
        began, first = False, None
        try:
            async for piece in self.of_claude(self.tier(prompt), prompt, stream=stream):
                began = True
                yield piece
        except (anthropic.APIError, ValueError, AttributeError) as error:
            status = getattr(error, "status_code", None)
            if began or status in (400, 401, 403, 413, 422):
                raise
            first = error
        else:
            return
        try:
            async for piece in self.of_gpt(prompt, stream=stream):
                yield piece
        except openai.APIError as error:
            raise error from first

    async def of_claude(self, model: str, prompt: str, *, stream: bool) -> Any:
        arguments: Any = {"model": model, "max_tokens": 300, "messages": [{"role": "user", "content": prompt}]}
        if stream:
            async with self.claude.messages.stream(**arguments) as events:
                async for text in events.text_stream:
                    yield text
            return
        reply = await self.claude.messages.create(**arguments)
        yield "".join(block.text for block in reply.content if block.type == "text")

    async def of_gpt(self, prompt: str, *, stream: bool) -> Any:
        arguments: Any = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": prompt}]}
        if stream:
            async for chunk in await self.gpt.chat.completions.create(**arguments, stream=True):
                if chunk.choices and chunk.choices[0].delta.content:
                    yield chunk.choices[0].delta.content
            return
        reply = await self.gpt.chat.completions.create(**arguments)
        yield reply.choices[0].message.content or ""


class CorrectAsyncClaudeFirst(RoutingInvariants):
    tiers = ("claude-haiku-4-5", "claude-sonnet-4-6")
    fallbacks: ClassVar[dict[str, tuple[str, ...]]] = dict.fromkeys(tiers, ("gpt-5-mini",))
    recoverable = ("rate_limited", "overloaded", "unavailable", "server_error", "timeout", "connection", "malformed")
    retries = 1
    deadline = AsyncClaudeFirst.deadline
    honours_retry_after = True
    streams = True

    def make_router(self, providers: Any) -> AsyncClaudeFirst:
        return AsyncClaudeFirst(providers.url("openai"), providers.url("anthropic"))

    async def ask(self, router: AsyncClaudeFirst, request: Any) -> str:
        return await router.ask(request.prompt)

    def stream(self, router: AsyncClaudeFirst, request: Any) -> Any:
        return router.stream(request.prompt)


# ------------------------------------ synchronous, httpx, retries of a decorator's kind


class Gone(Exception):
    """Not worth another attempt."""


def persistently(attempts: int, patience: float) -> Callable[[Callable[..., str]], Callable[..., str]]:
    """Try again with a growing back-off, as tenacity does."""

    def decorate(function: Callable[..., str]) -> Callable[..., str]:
        def persist(*args: Any) -> str:
            began = time.monotonic()
            for attempt in range(attempts):
                try:
                    return function(*args)
                except (httpx.TransportError, httpx.HTTPStatusError) as error:
                    status = error.response.status_code if isinstance(error, httpx.HTTPStatusError) else 503
                    late = time.monotonic() - began > patience
                    if attempt + 1 == attempts or late or status not in (408, 429, 500, 502, 503, 529):
                        raise
                    time.sleep(0.3 * 2**attempt + 0.05 * attempt)
            raise AssertionError

        return persist

    return decorate


class Persistent:
    """A table of categories, httpx, three attempts each, and a rest of its own for each model."""

    models: ClassVar[dict[str, str]] = {"faq": "gpt-4.1-nano", "chat": "gpt-4.1-mini", "report": "gpt-4.1"}
    rests: ClassVar[dict[str, float]] = {"gpt-4.1-nano": 5.0, "gpt-4.1-mini": 0.0, "gpt-4.1": 120.0}
    fallback = "gpt-4o-mini"

    def __init__(self, url: Callable[[str], str]) -> None:
        self.urls = {model: url("openai") for model in self.models.values()} | {self.fallback: url("backup")}
        self.http = httpx.Client(timeout=4)
        self.failed_at: dict[str, float] = {}

    def ask(self, category: str | None, prompt: str) -> str:
        head = self.models[category or ("report" if len(prompt) > 200 else "chat")]
        if self.resting(head):
            return self.post(self.fallback, prompt)
        try:
            return self.post(head, prompt)
        except (httpx.TransportError, httpx.HTTPStatusError, ValueError, LookupError) as error:
            status = error.response.status_code if isinstance(error, httpx.HTTPStatusError) else None
            if status in (400, 401, 403, 422):
                raise
            self.failed_at[head] = time.monotonic()
            try:
                return self.post(self.fallback, prompt)
            except Exception as second:
                raise second from error

    def resting(self, model: str) -> bool:
        return model in self.failed_at and time.monotonic() < self.failed_at[model] + self.rests.get(model, 0.0)

    @persistently(3, 30)
    def post(self, model: str, prompt: str) -> str:
        body = {"model": model, "messages": [{"role": "user", "content": prompt}]}
        reply = self.http.post(f"{self.urls[model]}/chat/completions", json=body)
        reply.raise_for_status()
        choice = reply.json()["choices"][0]
        if choice["finish_reason"] == "content_filter":
            raise ValueError("content_filter")
        return choice["message"]["content"] or ""


class CorrectPersistent(RoutingInvariants):
    tiers = ("gpt-4.1-nano", "gpt-4.1-mini", "gpt-4.1")
    fallbacks: ClassVar[dict[str, tuple[str, ...]]] = dict.fromkeys(tiers, (Persistent.fallback,))
    recoverable = (
        *("rate_limited", "quota_exhausted", "overloaded", "unavailable", "server_error", "timeout", "connection"),
        *("not_found", "malformed", "content_filtered"),
    )
    retries = 2
    cooldown = Persistent.rests
    options = ("category",)
    categories = Persistent.models

    def make_router(self, providers: Any) -> Persistent:
        return Persistent(providers.url)

    def ask(self, router: Persistent, request: Any) -> str:
        return router.ask(request.category, request.prompt)


# ------------------------------ asynchronous, httpx2, a small deadline, an own budget


class Hasty:
    """Two seconds in all, half of them for the first model; what it does not declare: a cache and a rest."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx2.AsyncClient(timeout=None)
        self.cache: dict[str, str] = {}
        self.rests_until = 0.0

    async def ask(self, prompt: str) -> str:
        if prompt not in self.cache:
            async with asyncio.timeout(2.0):
                self.cache[prompt] = await self.fresh(prompt)
        return self.cache[prompt]

    async def fresh(self, prompt: str) -> str:
        loop = asyncio.get_running_loop()
        if loop.time() >= self.rests_until:
            try:
                async with asyncio.timeout(1.0):
                    return await self.post("gpt-5-nano", prompt)
            except (TimeoutError, httpx2.TransportError, httpx2.HTTPStatusError) as error:
                status = error.response.status_code if isinstance(error, httpx2.HTTPStatusError) else None
                if status in (400, 401, 403):
                    raise
                self.rests_until = loop.time() + 20
                try:
                    return await self.post("gpt-4.1-nano", prompt)
                except (httpx2.TransportError, httpx2.HTTPStatusError) as second:
                    raise RuntimeError(f"both models failed: {error!r}, {second!r}") from error
        return await self.post("gpt-4.1-nano", prompt)

    async def post(self, model: str, prompt: str) -> str:
        body = {"model": model, "messages": [{"role": "user", "content": prompt}]}
        reply = await self.http.post(f"{self.url}/chat/completions", json=body)
        reply.raise_for_status()
        return reply.json()["choices"][0]["message"]["content"] or ""


class CorrectHasty(RoutingInvariants):
    tiers = ("gpt-5-nano",)
    fallbacks: ClassVar[dict[str, tuple[str, ...]]] = {"gpt-5-nano": ("gpt-4.1-nano",)}
    recoverable = ("rate_limited", "overloaded", "unavailable", "server_error", "timeout", "connection")
    retries = 0
    deadline = 2.0

    def make_router(self, providers: Any) -> Hasty:
        return Hasty(providers.url("openai"))

    async def ask(self, router: Hasty, request: Any) -> str:
        return await router.ask(request.prompt)


CORRECT: list[type[RoutingInvariants]] = [
    CorrectPlainOpenAI,
    CorrectLittle,
    CorrectTwoProviders,
    CorrectAsyncClaudeFirst,
    CorrectPersistent,
    CorrectHasty,
]
