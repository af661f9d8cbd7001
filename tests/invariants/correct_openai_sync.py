"""Correct routers on synchronous clients with their own retries, which promise what a small application would."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import openai

from pytest_modelroute.invariants import RoutingInvariants

PASSING = (openai.APIConnectionError, openai.InternalServerError, openai.RateLimitError, openai.NotFoundError)
LONG = 300


class TwoModels:
    """A length heuristic, and one fallback for each tier, on the client of OpenAI with its default retries."""

    def __init__(self, url: str, key: str) -> None:
        self.client = openai.OpenAI(base_url=url, api_key=key)
        self.fallbacks = {"gpt-4o-mini": "gpt-4.1-mini", "gpt-4o": "gpt-4.1"}

    def chain(self, request: Any) -> list[str]:
        head = "gpt-4o" if len(request.prompt) > LONG else "gpt-4o-mini"
        return [head, self.fallbacks[head]]

    def answer(self, request: Any) -> str:
        for model in self.chain(request):
            try:
                reply = self.client.chat.completions.create(model=model, messages=request.messages, **request.params)
            except PASSING as error:
                failure = error
                continue
            return reply.choices[0].message.content or ""
        raise failure

    def stream(self, request: Any) -> Iterator[str]:
        for model in self.chain(request):
            try:
                pieces = self.client.chat.completions.create(
                    model=model, messages=request.messages, stream=True, **request.params
                )
            except PASSING as error:
                failure = error
                continue
            for piece in pieces:
                if piece.choices and piece.choices[0].delta.content:
                    yield piece.choices[0].delta.content
            return
        raise failure


class CorrectOpenAI(RoutingInvariants):
    """Streams, falls back, and promises no more."""

    router_type: type[TwoModels] = TwoModels
    tiers = ("gpt-4o-mini", "gpt-4o")
    fallbacks = {"gpt-4o-mini": ("gpt-4.1-mini",), "gpt-4o": ("gpt-4.1",)}
    recoverable = ("rate_limited", "server_error", "unavailable", "overloaded", "connection", "not_found")
    streams = True
    parameters = {"gpt-4.1": {}}

    def make_router(self, providers: Any) -> TwoModels:
        return self.router_type(providers.url("openai"), providers.key("openai"))

    def ask(self, router: TwoModels, request: Any) -> str:
        return router.answer(request)

    def stream(self, router: TwoModels, request: Any) -> Iterator[str]:
        return router.stream(request)


class TwoProviders:
    """Claude first, GPT when it fails; clients from the keys of the environment, without any address."""

    def __init__(self) -> None:
        self.claude = anthropic.Anthropic(max_retries=0)
        self.gpt = openai.OpenAI(max_retries=0)

    def answer(self, prompt: str, limit: int) -> str:
        messages: Any = [{"role": "user", "content": prompt or "(nothing)"}]
        try:
            reply = self.claude.messages.create(model="claude-haiku-4-5", messages=messages, max_tokens=limit)
        except (anthropic.APIConnectionError, anthropic.RateLimitError, anthropic.InternalServerError):
            other = self.gpt.chat.completions.create(model="gpt-4o", messages=messages, max_tokens=limit)
            return other.choices[0].message.content or ""
        return "".join(getattr(block, "text", "") for block in reply.content)


class CorrectTwoProviders(RoutingInvariants):
    """Promises little."""

    router_type: type[TwoProviders] = TwoProviders
    tiers = ("claude-haiku-4-5",)
    fallbacks = {"claude-haiku-4-5": ("gpt-4o",)}
    parameters = {"gpt-4o": {"max_tokens": 1024}}

    def make_router(self, providers: Any) -> TwoProviders:
        del providers
        return self.router_type()

    def ask(self, router: TwoProviders, request: Any) -> str:
        return router.answer(request.prompt, request.params.get("max_tokens", 1024))


class Least:
    """A plain function's worth of a router."""

    def __init__(self) -> None:
        self.client = openai.OpenAI()

    def answer(self, request: Any) -> Any:
        model = "gpt-4o" if len(request.prompt) > LONG else "gpt-4o-mini"
        return self.client.chat.completions.create(model=model, messages=request.messages)


class CorrectLeast(RoutingInvariants):
    """Promises its tiers alone."""

    router_type: type[Least] = Least
    tiers = ("gpt-4o-mini", "gpt-4o")

    def make_router(self, providers: Any) -> Least:
        del providers
        return self.router_type()

    def ask(self, router: Least, request: Any) -> Any:
        return router.answer(request)
