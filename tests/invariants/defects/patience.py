"""Routers that break a law of patience, each by one defect that real ones have had."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar

from pytest_modelroute.invariants import RoutingInvariants
from tests.invariants.correct import Correct
from tests.invariants.support_router import RETRIED, CallFailed, SupportRouter

# ----------------------------------------------------------------------- deadline


class _PerCandidate(SupportRouter):
    async def persist(self, model: str, request: Any, until: float) -> str:
        return await super().persist(model, request, time.monotonic() + self.deadline)


class PerCandidate(Correct):
    """Each candidate gets the whole deadline anew."""

    router_type = _PerCandidate


class _SleepsOn(SupportRouter):
    async def persist(self, model: str, request: Any, until: float) -> str:
        try:
            return await super().persist(model, request, until)
        except CallFailed as error:
            if error.wait is None:
                raise
            await asyncio.sleep(error.wait)
        return await super().persist(model, request, until)


class SleepsOn(Correct):
    """A long Retry-After is slept out, whatever the deadline."""

    router_type = _SleepsOn


class _SlowClassifier(SupportRouter):
    async def classify(self, prompt: str, until: float) -> str:
        return await super().classify(prompt, math.inf)

    async def choose(self, request: Any, until: float) -> str:
        began = time.monotonic()
        model = await super().choose(request, until)
        self.lost = time.monotonic() - began
        return model

    async def persist(self, model: str, request: Any, until: float) -> str:
        return await super().persist(model, request, until + self.lost)


class SlowClassifier(Correct):
    """The clock of the deadline starts after the classification."""

    router_type = _SlowClassifier


class _EndlessStream(SupportRouter):
    def pieces(self, model: str, body: Mapping[str, Any], until: float, bill: list[Any]) -> AsyncIterator[str]:
        return super().pieces(model, body, until + 3600, bill)


class EndlessStream(Correct):
    """A stream that trickles is read for as long as it lasts."""

    router_type = _EndlessStream


class _OwnDeadline(SupportRouter):
    async def answer(self, request: Any) -> Any:
        request.options.pop("deadline", None)
        return await super().answer(request)


class OwnDeadline(Correct):
    """The smaller deadline that a request carries is not read."""

    router_type = _OwnDeadline


# -------------------------------------------------------------------- retry_after


class _Impatient(SupportRouter):
    def back_off(self, error: CallFailed, attempt: int) -> float:
        return 0.5 * (attempt + 1)


class Impatient(Correct):
    """Retry-After is not read."""

    router_type = _Impatient


class _FirstWait(SupportRouter):
    first: float | None = None

    def back_off(self, error: CallFailed, attempt: int) -> float:
        if attempt == 0 or self.first is None:
            self.first = error.wait
        return self.first if self.first is not None else super().back_off(error, attempt)


class FirstWait(Correct):
    """The first Retry-After is kept for all retries."""

    router_type = _FirstWait


class _NoDates(SupportRouter):
    def wait_of(self, headers: Mapping[str, str]) -> float | None:
        try:
            return super().wait_of({"retry-after": str(float(headers["retry-after"]))})
        except (KeyError, ValueError):
            return super().wait_of(headers) if "retry-after-ms" in headers else None


class NoDates(Correct):
    """A Retry-After that is a date is ignored."""

    router_type = _NoDates


class _NoMilliseconds(SupportRouter):
    def wait_of(self, headers: Mapping[str, str]) -> float | None:
        return super().wait_of({name: value for name, value in headers.items() if name != "retry-after-ms"})


class NoMilliseconds(Correct):
    """retry-after-ms is ignored."""

    router_type = _NoMilliseconds


class _Capped(SupportRouter):
    def back_off(self, error: CallFailed, attempt: int) -> float:
        return min(3.0, super().back_off(error, attempt))


class Capped(Correct):
    """No wait is longer than three seconds."""

    router_type = _Capped


# ----------------------------------------------------------------------- cooldown


class _Restless(SupportRouter):
    def note(self, model: str, error: CallFailed) -> None:
        pass


class Restless(Correct):
    """A model that failed is asked first again at once."""

    router_type = _Restless


class _RestsForEver(SupportRouter):
    def rests(self, model: str) -> bool:
        return model in self.resting


class RestsForEver(Correct):
    """A cooldown never ends."""

    router_type = _RestsForEver


class _FirstRestCounts(SupportRouter):
    def note(self, model: str, error: CallFailed) -> None:
        if not self.rests(model):
            super().note(model, error)


class FirstRestCounts(Correct):
    """A failure during a cooldown does not make it longer."""

    router_type = _FirstRestCounts


class _LastRestCounts(SupportRouter):
    def note(self, model: str, error: CallFailed) -> None:
        self.resting.pop(model, None)
        super().note(model, error)


class LastRestCounts(Correct):
    """A second, shorter cooldown replaces the longer one."""

    router_type = _LastRestCounts


class _AllRest(SupportRouter):
    def note(self, model: str, error: CallFailed) -> None:
        super().note(model, error)
        for other in ("gpt-5-nano", "gpt-5-mini", "gpt-5"):
            super().note(other, error)


class AllRest(Correct):
    """All models of the host rest with the one that failed."""

    router_type = _AllRest


class _Doubled(SupportRouter):
    def note(self, model: str, error: CallFailed) -> None:
        super().note(model, error)
        if model in self.resting:
            self.resting[model] += self.cooldown


class Doubled(Correct):
    """A cooldown lasts twice as long as was promised."""

    router_type = _Doubled


class _ZeroIsDefault(SupportRouter):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.cooldown = self.cooldown or 60.0


class ZeroIsDefault(Correct):
    """A cooldown of 0, which means off, is taken for none given."""

    router_type = _ZeroIsDefault
    cooldown = 0.0


class OwnIsIgnored(Correct):
    """A model's own cooldown is not read: the one for all is used."""

    router_type = SupportRouter
    cooldown: ClassVar[Any] = {"gpt-5": 300.0, "gpt-5-mini": 60.0, "gpt-5-nano": 60.0}


class _AddsUp(SupportRouter):
    def note(self, model: str, error: CallFailed) -> None:
        if self.cooldown and error.kind in RETRIED:
            self.resting[model] = self.resting.get(model, time.monotonic()) + self.cooldown


class AddsUp(Correct):
    """The cooldowns of failures are added up."""

    router_type = _AddsUp


DEFECTS: dict[str, list[type[RoutingInvariants]]] = {
    "deadline": [PerCandidate, SleepsOn, SlowClassifier, EndlessStream, OwnDeadline],
    "retry_after": [Impatient, FirstWait, NoDates, NoMilliseconds, Capped],
    "cooldown": [
        Restless,
        RestsForEver,
        FirstRestCounts,
        LastRestCounts,
        AllRest,
        Doubled,
        ZeroIsDefault,
        OwnIsIgnored,
        AddsUp,
    ],
}
"Law -> the classes that break it."
