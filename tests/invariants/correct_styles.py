"""Correct routers in other styles: Claude streamed with GPT behind it, whole streams withheld, threads, dice."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

import anthropic
import openai

from pytest_modelroute.invariants import RoutingInvariants

_CLAUDE_FAILS = (anthropic.APIConnectionError, anthropic.RateLimitError, anthropic.InternalServerError)
_GPT_FAILS = (openai.APIConnectionError, openai.RateLimitError, openai.InternalServerError)


class ClaudeThenGpt:
    """Asynchronous; Claude first with its own retries, GPT behind it, for streams as well."""

    def __init__(self, providers: Any) -> None:
        self.claude = anthropic.AsyncAnthropic(base_url=providers.url("anthropic"), api_key=providers.key("anthropic"))
        self.gpt = openai.AsyncOpenAI(base_url=providers.url("openai"), api_key=providers.key("openai"))

    def options(self, request: Any) -> tuple[Any, Any]:
        retries = request.options.get("retries", 2)
        return self.claude.with_options(max_retries=retries), self.gpt.with_options(max_retries=retries)

    async def answer(self, request: Any) -> str:
        claude, gpt = self.options(request)
        limit = request.params.get("max_tokens", 400)
        messages = [{"role": "user", "content": request.prompt.strip() or "(nothing)"}]
        try:
            reply = await claude.messages.create(model="claude-haiku-4-5", messages=messages, max_tokens=limit)
            return "".join(getattr(block, "text", "") for block in reply.content)
        except _CLAUDE_FAILS:
            if request.options.get("no_fallbacks"):
                raise
        other = await gpt.chat.completions.create(model="gpt-4o", messages=messages, max_tokens=limit, temperature=0.1)
        return other.choices[0].message.content or ""

    async def stream(self, request: Any) -> AsyncIterator[str]:
        claude, gpt = self.options(request)
        limit = request.params.get("max_tokens", 400)
        messages = [{"role": "user", "content": request.prompt.strip() or "(nothing)"}]
        began = False
        try:
            async with claude.messages.stream(model="claude-haiku-4-5", messages=messages, max_tokens=limit) as pieces:
                async for text in pieces.text_stream:
                    began = True
                    yield text
        except _CLAUDE_FAILS:
            if began or request.options.get("no_fallbacks"):
                raise
        else:
            return
        events = await gpt.chat.completions.create(
            model="gpt-4o", messages=messages, max_tokens=limit, temperature=0.1, stream=True
        )
        async for event in events:
            if event.choices and event.choices[0].delta.content:
                yield event.choices[0].delta.content


class CorrectClaudeThenGpt(RoutingInvariants):
    """Two providers, streams and switches, no deadline."""

    tiers = ("claude-haiku-4-5",)
    fallbacks = {"claude-haiku-4-5": ("gpt-4o",)}
    recoverable = ("rate_limited", "server_error", "overloaded", "unavailable", "connection")
    streams = True
    parameters = {"gpt-4o": {"temperature": 0.1}}
    options = ("no_fallbacks", "retries")

    def make_router(self, providers: Any) -> ClaudeThenGpt:
        return ClaudeThenGpt(providers)

    async def ask(self, router: ClaudeThenGpt, request: Any) -> str:
        return await router.answer(request)

    def stream(self, router: ClaudeThenGpt, request: Any) -> AsyncIterator[str]:
        return router.stream(request)


class Withholding:
    """Reads a whole stream before it delivers any of it, and so can fall back when one breaks off."""

    def __init__(self, url: str, key: str) -> None:
        self.client = openai.OpenAI(base_url=url, api_key=key, timeout=20)

    def pieces(self, request: Any) -> list[str]:
        for model in ("gpt-4o-mini", "gpt-4o"):
            try:
                events = self.client.chat.completions.create(model=model, messages=request.messages, stream=True)
                found = [event.choices[0].delta.content or "" for event in events if event.choices]
            except (openai.APIError, ValueError, OSError, Exception) as error:  # noqa: BLE001 - whatever it is
                failure = error
                continue
            return found
        raise failure

    def answer(self, request: Any) -> Any:
        return "".join(self.pieces(request))

    def stream(self, request: Any) -> Iterator[str]:
        yield from self.pieces(request)


class CorrectWithholding(RoutingInvariants):
    """Whole or not, everything is read to its end first."""

    tiers = ("gpt-4o-mini", "gpt-4o")
    fallbacks = {"gpt-4o-mini": ("gpt-4o",)}
    streams = True

    def make_router(self, providers: Any) -> Withholding:
        return Withholding(providers.url("openai"), providers.key("openai"))

    def ask(self, router: Withholding, request: Any) -> Any:
        return router.answer(request)

    def stream(self, router: Withholding, request: Any) -> Iterator[str]:
        return router.stream(request)


class ThreadHedging:
    """Two threads; the first good answer wins."""

    def __init__(self, url: str, key: str, after: float) -> None:
        self.client = openai.OpenAI(base_url=url, api_key=key, max_retries=0)
        self.after = after

    def call(self, model: str, messages: Any) -> str:
        return self.client.chat.completions.create(model=model, messages=messages).choices[0].message.content or ""

    def answer(self, messages: Any) -> str:
        with ThreadPoolExecutor(2) as pool:
            running: set[Future[str]] = {pool.submit(self.call, "gpt-4o-mini", messages)}
            done, running = wait(running, timeout=self.after, return_when=FIRST_COMPLETED)
            if not done:
                running.add(pool.submit(self.call, "gpt-4o", messages))
            while True:
                for future in done:
                    if future.exception() is None:
                        return future.result()
                if not running:
                    raise next(iter(done)).exception() or RuntimeError
                done, running = wait(running, return_when=FIRST_COMPLETED)


class CorrectThreads(RoutingInvariants):
    """A hedge in threads."""

    tiers = ("gpt-4o-mini", "gpt-4o")
    hedge_after = 0.5

    def make_router(self, providers: Any) -> ThreadHedging:
        return ThreadHedging(providers.url("openai"), providers.key("openai"), self.hedge_after)

    def ask(self, router: ThreadHedging, request: Any) -> str:
        return router.answer(request.messages)


class Balanced:
    """Any of three deployments, and another one when it fails."""

    def __init__(self, providers: Any) -> None:
        self.clients = {
            name: openai.AsyncOpenAI(base_url=providers.url(name), api_key=providers.key(name), max_retries=1)
            for name in ("east", "west", "north")
        }

    async def answer(self, request: Any) -> str:
        names = random.sample(sorted(self.clients), 3)
        for name in names:
            try:
                reply = await self.clients[name].chat.completions.create(
                    model="gpt-4o", messages=request.messages, **request.params
                )
                return reply.choices[0].message.content or ""
            except _GPT_FAILS as error:
                failure = error
        raise failure


class CorrectBalanced(RoutingInvariants):
    """One model at three places."""

    tiers = ("gpt-4o",)
    load_balanced = ("east", "west", "north")
    parameters = {"gpt-4o": {}}

    def make_router(self, providers: Any) -> Balanced:
        return Balanced(providers)

    async def ask(self, router: Balanced, request: Any) -> str:
        return await router.answer(request)
