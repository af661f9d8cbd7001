"""Routers that break a law of failover, each by one defect that real ones have had."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx

from pytest_modelroute.invariants import RoutingInvariants
from tests.invariants.correct import Correct
from tests.invariants.support_router import FALLBACKS, Answer, CallFailed, SupportRouter

# --------------------------------------------------------------- fallback_on_class


class _RefusedIsFinal(SupportRouter):
    def goes_on(self, error: CallFailed) -> bool:
        return not isinstance(error.__cause__, httpx.ConnectError) and super().goes_on(error)


class RefusedIsFinal(Correct):
    """A refused connection is not seen as an error that a fallback is for."""

    router_type = _RefusedIsFinal


class _ResetEscapes(SupportRouter):
    async def once(self, model: str, body: Mapping[str, Any], until: float, bill: list[Any]) -> str:
        try:
            return await super().once(model, body, until, bill)
        except CallFailed as error:
            if isinstance(error.__cause__, httpx.ReadError):
                raise error.__cause__ from None
            raise


class ResetEscapes(Correct):
    """A lost connection raises the HTTP library's own exception, which nobody catches."""

    router_type = _ResetEscapes


class _MessageDecides(SupportRouter):
    def check(self, model: str, reply: httpx.Response) -> None:
        if reply.status_code >= 400 and "invalid" in reply.text.lower():
            raise CallFailed("authentication", model, reply.text)
        super().check(model, reply)


class MessageDecides(Correct):
    """The class of an error is read out of its message."""

    router_type = _MessageDecides


class _UnknownFilter(SupportRouter):
    def goes_on(self, error: CallFailed) -> bool:
        return error.kind != "content_filtered" and super().goes_on(error)


class UnknownFilter(Correct):
    """An answer that the content filter held back is mapped to no class."""

    router_type = _UnknownFilter


class _HtmlEscapes(SupportRouter):
    async def once(self, model: str, body: Mapping[str, Any], until: float, bill: list[Any]) -> str:
        try:
            return await super().once(model, body, until, bill)
        except CallFailed as error:
            if isinstance(error.__cause__, json.JSONDecodeError):
                raise error.__cause__ from None
            raise


class HtmlEscapes(Correct):
    """A body that is no JSON raises out of the router."""

    router_type = _HtmlEscapes


class _ForgottenChain(SupportRouter):
    def candidates(self, model: str, request: Any) -> list[str]:
        return [model] if model == "gpt-5-mini" else super().candidates(model, request)


class ForgottenChain(Correct):
    """The fallbacks of the middle tier are configured, and never read."""

    router_type = _ForgottenChain


class _OneFallback(SupportRouter):
    def candidates(self, model: str, request: Any) -> list[str]:
        return super().candidates(model, request)[:2]


class OneFallback(Correct):
    """Only the first fallback is ever tried."""

    router_type = _OneFallback


class _GoneIsCallers(SupportRouter):
    def kind_of(self, status: int, code: str | None) -> str:
        return "bad_request" if status == 404 else super().kind_of(status, code)


class GoneIsCallers(Correct):
    """A model that was withdrawn (404) is taken for a mistake of the caller."""

    router_type = _GoneIsCallers


# ----------------------------------------------------- no_fallback_on_caller_error


class _EverythingFallsBack(SupportRouter):
    def goes_on(self, error: CallFailed) -> bool:
        return not error.began


class EverythingFallsBack(Correct):
    """Every exception leads to the fallback."""

    router_type = _EverythingFallsBack


class _KeyFallsBack(SupportRouter):
    def goes_on(self, error: CallFailed) -> bool:
        return error.kind == "authentication" or super().goes_on(error)


class KeyFallsBack(Correct):
    """A wrong key is hidden by the fallback."""

    router_type = _KeyFallsBack


class _BusyWords(SupportRouter):
    def check(self, model: str, reply: httpx.Response) -> None:
        if reply.status_code >= 400 and "rate limit" in reply.text.lower():
            raise CallFailed("rate_limited", model, reply.text, wait=self.wait_of(reply.headers))
        super().check(model, reply)


class BusyWords(Correct):
    """A bad request whose message speaks of a rate limit is taken for one."""

    router_type = _BusyWords


class _MaskedFailure(SupportRouter):
    async def answer(self, request: Any) -> Answer:
        try:
            return await super().answer(request)
        except ExceptionGroup:
            raise RuntimeError("no model is available") from None


class MaskedFailure(Correct):
    """When all fail, the error says nothing of what failed."""

    router_type = _MaskedFailure


class _Apologises(SupportRouter):
    async def answer(self, request: Any) -> Answer:
        before = self.total
        try:
            return await super().answer(request)
        except ExceptionGroup:
            return Answer("Sorry, please try again later.", "none", self.total - before)


class Apologises(Correct):
    """When all fail, an apology is returned as if a model had answered."""

    router_type = _Apologises


# -------------------------------------------------------------------- chain_order


class _Reversed(SupportRouter):
    def candidates(self, model: str, request: Any) -> list[str]:
        head, *rest = super().candidates(model, request)
        return [head, *reversed(rest)]


class Reversed(Correct):
    """The fallbacks are tried from the last to the first."""

    router_type = _Reversed


class _Sorted(SupportRouter):
    def candidates(self, model: str, request: Any) -> list[str]:
        head, *rest = super().candidates(model, request)
        return [head, *sorted(rest, key=len)]


class Sorted(Correct):
    """The fallbacks are sorted on their way."""

    router_type = _Sorted


class _KeepsModel(SupportRouter):
    kept = ""

    def candidates(self, model: str, request: Any) -> list[str]:
        self.kept = model
        return super().candidates(model, request)

    def body(self, model: str, request: Any, *, stream: bool = False) -> dict[str, Any]:
        return {**super().body(model, request, stream=stream), "model": self.kept or model}


class KeepsModel(Correct):
    """The fallback's host is asked for the head's model."""

    router_type = _KeepsModel


class _KeepsModelOneHost(_KeepsModel):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.hosts = dict.fromkeys(self.hosts, self.hosts["gpt-5"])


class KeepsModelOneHost(Correct):
    """The fallback's request asks for the head's model, at the one host that there is."""

    router_type = _KeepsModelOneHost


class _Undeclared(SupportRouter):
    def candidates(self, model: str, request: Any) -> list[str]:
        head, *_ = super().candidates(model, request)
        return [head, "gpt-4.1-mini" if head == "gpt-5" else "gpt-4.1", *FALLBACKS[model]]


class Undeclared(Correct):
    """A model that was never declared as a fallback is tried before those that were."""

    router_type = _Undeclared


# ------------------------------------------------------------- no_spurious_fallback


class _EmptyFails(SupportRouter):
    async def once(self, model: str, body: Mapping[str, Any], until: float, bill: list[Any]) -> str:
        text = await super().once(model, body, until, bill)
        if not text:
            raise CallFailed("malformed", model, "no text")
        return text


class EmptyFails(Correct):
    """An empty answer is taken for a failure."""

    router_type = _EmptyFails


class _EmptyStreamFails(SupportRouter):
    async def persist_stream(self, model: str, request: Any, until: float) -> AsyncIterator[str]:
        count = 0
        async for piece in super().persist_stream(model, request, until):
            count += 1
            yield piece
        if not count:
            raise CallFailed("malformed", model, "an empty stream")


class EmptyStreamFails(Correct):
    """A stream without text is replaced by another model's answer."""

    router_type = _EmptyStreamFails


class _WordsFail(SupportRouter):
    async def once(self, model: str, body: Mapping[str, Any], until: float, bill: list[Any]) -> str:
        text = await super().once(model, body, until, bill)
        if text.lower().startswith("error"):
            raise CallFailed("server_error", model, text)
        return text


class WordsFail(Correct):
    """An answer that begins with the word error is taken for one."""

    router_type = _WordsFail


class _RefusalFails(SupportRouter):
    async def once(self, model: str, body: Mapping[str, Any], until: float, bill: list[Any]) -> str:
        text = await super().once(model, body, until, bill)
        if "cannot help" in text:
            raise CallFailed("content_filtered", model, text)
        return text


class RefusalFails(Correct):
    """A model that declines to help is taken for a content filter."""

    router_type = _RefusalFails


class _UsageFails(SupportRouter):
    async def once(self, model: str, body: Mapping[str, Any], until: float, bill: list[Any]) -> str:
        text = await super().once(model, body, until, bill)
        if bill[-1] is None:
            raise CallFailed("malformed", model, "KeyError('usage')")
        return text


class UsageFails(Correct):
    """An answer without a usage is taken for a broken one."""

    router_type = _UsageFails


class _CancelFails(SupportRouter):
    async def once(self, model: str, body: Mapping[str, Any], until: float, bill: list[Any]) -> str:
        try:
            return await super().once(model, body, until, bill)
        except asyncio.CancelledError as error:
            raise CallFailed("timeout", model, "cancelled") from error


class CancelFails(Correct):
    """A caller who gives up is taken for a time-out."""

    router_type = _CancelFails


# -------------------------------------------------------------------- bounded_work


class _OneMore(SupportRouter):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "retries": 2})


class OneMore(Correct):
    """There is one retry more than was promised."""

    router_type = _OneMore


class _HiddenRetries(SupportRouter):
    async def once(self, model: str, body: Mapping[str, Any], until: float, bill: list[Any]) -> str:
        for _ in range(2):
            try:
                return await super().once(model, body, until, bill)
            except CallFailed as error:
                if error.kind != "connection":
                    raise
        return await super().once(model, body, until, bill)


class HiddenRetries(Correct):
    """The transport tries a lost connection again, on top of the router's own retries."""

    router_type = _HiddenRetries


class _ClassifierStorm(SupportRouter):
    async def classify(self, prompt: str, until: float) -> str:
        for _ in range(4):
            try:
                return await super().classify(prompt, until)
            except CallFailed:
                await asyncio.sleep(0.1)
        return await super().classify(prompt, until)


class ClassifierStorm(Correct):
    """A classifier that fails is asked five times."""

    router_type = _ClassifierStorm


class _TwiceAround(SupportRouter):
    def candidates(self, model: str, request: Any) -> list[str]:
        return [*super().candidates(model, request), model]


class TwiceAround(Correct):
    """The chain leads back to where it began."""

    router_type = _TwiceAround


class _Loops(SupportRouter):
    async def answer(self, request: Any) -> Answer:
        while True:
            try:
                return await super().answer(request)
            except ExceptionGroup:
                continue


class Loops(Correct):
    """When all fail, the chain is begun again, without an end."""

    router_type = _Loops


class _WaitsForEver(SupportRouter):
    async def answer(self, request: Any) -> Answer:
        try:
            return await super().answer(request)
        except ExceptionGroup:
            await asyncio.Event().wait()
            raise


class WaitsForEver(Correct):
    """When all fail, the request waits for a recovery that nobody announces."""

    router_type = _WaitsForEver


DEFECTS: dict[str, list[type[RoutingInvariants]]] = {
    "fallback_on_class": [
        RefusedIsFinal,
        ResetEscapes,
        MessageDecides,
        UnknownFilter,
        HtmlEscapes,
        ForgottenChain,
        OneFallback,
        GoneIsCallers,
    ],
    "no_fallback_on_caller_error": [
        EverythingFallsBack,
        KeyFallsBack,
        BusyWords,
        MaskedFailure,
        Apologises,
    ],
    "chain_order": [Reversed, Sorted, KeepsModel, KeepsModelOneHost, Undeclared],
    "no_spurious_fallback": [EmptyFails, EmptyStreamFails, WordsFail, RefusalFails, UsageFails, CancelFails],
    "bounded_work": [OneMore, HiddenRetries, ClassifierStorm, TwiceAround, Loops, WaitsForEver],
}
"Law -> the classes that break it."
