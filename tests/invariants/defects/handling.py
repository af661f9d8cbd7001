"""Defects of how a router treats what it is given."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import Any, ClassVar

import httpx
import openai

from pytest_modelroute.invariants import RoutingInvariants
from tests.invariants.correct import Correct
from tests.invariants.correct_openai_sync import CorrectLeast, CorrectOpenAI, CorrectTwoProviders, Least, TwoModels
from tests.invariants.support_router import CallFailed, SupportRouter


class _OwnSettingsDropped(SupportRouter):
    def body(self, model: str, request: Any, *, stream: bool = False) -> dict[str, Any]:
        body = super().body(model, request, stream=stream)
        if "temperature" not in request.params:
            body.pop("temperature", None)
        return body


class OwnSettingsDropped(Correct):
    """The temperature of a candidate is read from its settings, and never sent."""

    router_type = _OwnSettingsDropped


class _OneBodyForAll(SupportRouter):
    def body(self, model: str, request: Any, *, stream: bool = False) -> dict[str, Any]:
        body: dict[str, Any] = request.__dict__.setdefault("_body", {})
        body |= super().body(model, request, stream=stream)
        return body


class OneBodyForAll(Correct):
    """One body is made and then changed for each candidate: what is one's own stays for the next."""

    router_type = _OneBodyForAll


class _CallersForgotten(SupportRouter):
    def body(self, model: str, request: Any, *, stream: bool = False) -> dict[str, Any]:
        body = super().body(model, request, stream=stream)
        if model in {"gpt-4.1", "gpt-4.1-mini", "gpt-4o"}:
            body["max_tokens"] = 256
        return body


class CallersForgotten(Correct):
    """A fallback gets the default limit in place of the caller's."""

    router_type = _CallersForgotten


class _KeyOfTheHead(SupportRouter):
    def headers(self, model: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.hosts['gpt-5'][1]}"}


class KeyOfTheHead(Correct):
    """The key of the first provider is sent to all of them."""

    router_type = _KeyOfTheHead


class _Internals(SupportRouter):
    def body(self, model: str, request: Any, *, stream: bool = False) -> dict[str, Any]:
        return {**super().body(model, request, stream=stream), "num_retries": 2}


class Internals(Correct):
    """The router's own settings are sent to the provider."""

    router_type = _Internals


class _Popped(SupportRouter):
    def candidates(self, model: str, request: Any) -> list[str]:
        chain = [model]
        if self.fallbacks.get(model) and not request.options.get("no_fallbacks"):
            chain += self.fallbacks[model]
        return [name for name in chain if not self.rests(name)] or chain[-1:]

    def note(self, model: str, error: CallFailed) -> None:
        for chain in self.fallbacks.values():
            if chain and error.kind not in {"timeout", "connection"}:
                chain.pop(0)


class Popped(Correct):
    """The next fallback is popped off the router's own list: the second failure finds one less."""

    router_type = _Popped


class _NeverBack(SupportRouter):
    def note(self, model: str, error: CallFailed) -> None:
        super().note(model, error)
        if model in self.resting:
            self.resting[model] = float("inf")


class NeverBack(Correct):
    """A model that failed once is never used again."""

    router_type = _NeverBack


class _RestsForAll(SupportRouter):
    everywhere: ClassVar[dict[str, float]] = {}

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.resting = self.everywhere


class RestsForAll(Correct):
    """Cooldowns are kept in an attribute of the class, so that all routers of a process share them."""

    router_type = _RestsForAll


class _WritesIntoMessages(SupportRouter):
    async def answer(self, request: Any) -> Any:
        request.messages.insert(0, {"role": "system", "content": "Be kind."})
        return await super().answer(request)


class WritesIntoMessages(Correct):
    """The system prompt is inserted into the caller's own list."""

    router_type = _WritesIntoMessages


class WritesIntoSettings(CorrectOpenAI):
    """The constructor adds to the list that it is handed."""

    corpus: ClassVar[list[str]] = ["Where is my parcel?"]

    def make_router(self, providers: Any) -> TwoModels:
        self.corpus.append("ping")
        return super().make_router(providers)


class _AlwaysFallsBack(SupportRouter):
    def candidates(self, model: str, request: Any) -> list[str]:
        return [model, *self.fallbacks.get(model, [])]


class AlwaysFallsBack(Correct):
    """no_fallbacks is accepted and never read."""

    router_type = _AlwaysFallsBack


class _FallsBackInStreams(SupportRouter):
    def candidates(self, model: str, request: Any) -> list[str]:
        if request.stream:
            return [model, *self.fallbacks.get(model, [])]
        return super().candidates(model, request)


class FallsBackInStreams(Correct):
    """no_fallbacks holds for whole answers alone: a stream falls back all the same."""

    router_type = _FallsBackInStreams


class _RetriesAnyway(SupportRouter):
    async def persist(self, model: str, request: Any, until: float) -> str:
        try:
            return await super().persist(model, request, until)
        except CallFailed:
            await asyncio.sleep(0.1)
            return await super().persist(model, request, until)


class RetriesAnyway(Correct):
    """The library below retries once by itself, whatever the request says."""

    router_type = _RetriesAnyway


class _OwnDeadline(SupportRouter):
    async def persist(self, model: str, request: Any, until: float) -> str:
        return await super().persist(model, request, until + self.deadline)


class OwnDeadline(Correct):
    """The deadline of a request is not handed on to its calls."""

    router_type = _OwnDeadline


class AsksWhenBuilt(CorrectLeast):
    """The constructor asks the provider whether the model is there."""

    def make_router(self, providers: Any) -> Least:
        router = super().make_router(providers)
        router.client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "ping"}])
        return router


class Downloads(CorrectLeast):
    """The constructor fetches a table of prices, and goes on without it."""

    def make_router(self, providers: Any) -> Least:
        with suppress(Exception):
            httpx.get("https://prices.example.org/table.json")
        return super().make_router(providers)


class NeedsAllKeys(CorrectTwoProviders):
    """The constructor makes a client for a provider of which no model is used."""

    def make_router(self, providers: Any) -> Any:
        openai.OpenAI(base_url="https://api.groq.com/openai/v1", api_key=os.environ["GROQ_API_KEY"])
        return super().make_router(providers)


DEFECTS: dict[str, list[type[RoutingInvariants]]] = {
    "parameters_preserved": [OwnSettingsDropped, OneBodyForAll, CallersForgotten, KeyOfTheHead, Internals],
    "no_aliasing": [Popped, NeverBack, RestsForAll, WritesIntoMessages, WritesIntoSettings],
    "opt_outs": [AlwaysFallsBack, FallsBackInStreams, RetriesAnyway, OwnDeadline],
    "offline_construction": [AsksWhenBuilt, Downloads, NeedsAllKeys],
}
