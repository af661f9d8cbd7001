"""A router that asks only candidates that can serve a request, and climbs where its first choice cannot."""

from __future__ import annotations

from typing import Any

import openai

from pytest_modelroute.invariants import Capability, RoutingInvariants

CAPABILITIES = {
    "gpt-3.5-turbo": Capability(context=4_000, images=False),
    "gpt-4o-mini": Capability(context=128_000),
    "o1-mini": Capability(context=128_000, tools=False, images=False, streaming=False),
    "gpt-4o": Capability(context=128_000),
}
CHAINS = {
    "gpt-3.5-turbo": ("o1-mini", "gpt-4o-mini"),
    "gpt-4o-mini": ("o1-mini", "gpt-4o"),
}


class CapableRouter:
    """Short requests go to the small model, others to the middle one."""

    def __init__(self, base_url: str, api_key: str) -> None:
        self.client = openai.OpenAI(base_url=base_url, api_key=api_key, max_retries=0)

    def choose(self, prompt: str) -> str:
        return "gpt-4o-mini" if len(prompt) > 120 else "gpt-3.5-turbo"

    def candidates(self, head: str, request: Any, *, stream: bool) -> list[str]:
        return [name for name in (head, *CHAINS.get(head, ())) if self.can(CAPABILITIES[name], request, stream=stream)]

    def can(self, limit: Capability, request: Any, *, stream: bool) -> bool:
        return (
            (limit.tools or not request.params.get("tools"))
            and (limit.images or not request.images)
            and (limit.streaming or not stream)
            and (limit.context is None or len(request.prompt) / 3 < limit.context)
        )

    def answer(self, request: Any, *, stream: bool = False) -> Any:
        failures: list[Exception] = []
        for name in self.candidates(self.choose(request.prompt), request, stream=stream):
            try:
                return self.client.chat.completions.create(
                    model=name, messages=request.messages, stream=stream, **request.params
                )
            except openai.APIStatusError as error:
                if error.status_code < 429:
                    raise
                failures.append(error)
        raise ExceptionGroup("nobody can serve this", failures or [LookupError("no candidate")])


class CorrectCapable(RoutingInvariants):
    """Tools, images, streams and context sizes."""

    router_type: type[CapableRouter] = CapableRouter
    tiers = ("gpt-3.5-turbo", "gpt-4o-mini", "gpt-4o")
    fallbacks = CHAINS
    capabilities = CAPABILITIES
    streams = True

    def make_router(self, providers: Any) -> CapableRouter:
        return self.router_type(providers.url("openai"), providers.key("openai"))

    def ask(self, router: CapableRouter, request: Any) -> Any:
        return router.answer(request)

    def stream(self, router: CapableRouter, request: Any) -> Any:
        return (chunk.choices[0].delta.content or "" for chunk in router.answer(request, stream=True) if chunk.choices)
