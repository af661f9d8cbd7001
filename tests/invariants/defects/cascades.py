"""Defects of cascades and hedges."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from pytest_modelroute.invariants import RoutingInvariants
from tests.invariants.cascade_router import (
    TIERS,
    CascadeRouter,
    CorrectAtOnce,
    CorrectCascade,
    CorrectConfidence,
    CorrectHedging,
    CorrectJudged,
    HedgingRouter,
    JudgedRouter,
    NoAnswer,
)


class NeverEscalates(CorrectCascade):
    """The gate accepts everything."""

    gate = staticmethod(lambda answer: True)


class AlwaysEscalates(CorrectCascade):
    """The gate accepts nothing."""

    gate = staticmethod(lambda answer: False)


class _SkipsATier(CascadeRouter):
    def order(self) -> tuple[str, ...]:
        return TIERS[0], TIERS[-1]


class SkipsATier(CorrectCascade):
    """From the smallest at once to the largest."""

    router_type = _SkipsATier


class _AsksTwice(CascadeRouter):
    def order(self) -> tuple[str, ...]:
        return TIERS[0], *TIERS


class AsksTwice(CorrectCascade):
    """A rejected answer is asked for once more at the same tier."""

    router_type = _AsksTwice


class _ReturnsTheFirst(CascadeRouter):
    first: str | None = None

    async def answer(self, messages: list[dict[str, Any]]) -> str:
        self.first = None
        return await super().answer(messages)

    async def accepts(self, answer: str) -> bool:
        self.first = self.first or answer
        return await super().accepts(answer)

    def shown(self, answer: str) -> str:
        return self.first or answer


class ReturnsTheFirst(CorrectCascade):
    """It escalates, and returns the rejected answer all the same."""

    router_type = _ReturnsTheFirst


class _ReturnsTheFirstOfJudged(_ReturnsTheFirst, JudgedRouter):
    pass


class ReturnsTheFirstOfJudged(CorrectJudged):
    """The judge is asked, and the first answer is returned whatever it says."""

    router_type = _ReturnsTheFirstOfJudged


class _FailsWithTheFirst(CascadeRouter):
    async def call(self, model: str, messages: list[dict[str, Any]]) -> str:
        try:
            return await super().call(model, messages)
        except NoAnswer as error:
            raise RuntimeError("the cheap model is down") from error


class FailsWithTheFirst(CorrectCascade):
    """A tier that fails ends the request, in place of leading to the next one."""

    router_type = _FailsWithTheFirst


class _IgnoresItsJudge(JudgedRouter):
    async def accepts(self, answer: str) -> bool:
        await super().accepts(answer)
        return True


class IgnoresItsJudge(CorrectJudged):
    """The judge is asked and not listened to."""

    router_type = _IgnoresItsJudge


def _takes_any_number(answer: str) -> bool:
    return float((re.findall(r"\d*\.\d+", answer) or ["1"])[0]) >= 0.7


class TakesAnyNumber(CorrectConfidence):
    """The first number in the answer is its confidence, and no number is full confidence."""

    gate = staticmethod(_takes_any_number)


def _crashes(answer: str) -> bool:
    return float(answer.splitlines()[-1].split(":")[1]) >= 0.7


class Crashes(CorrectConfidence):
    """A confidence in words crashes the request."""

    gate = staticmethod(_crashes)


def _clamps(answer: str) -> bool:
    found = re.search(r"confidence:\s*(-?[\d.]+)", answer, re.IGNORECASE)
    return min(1.0, abs(float(found[1]))) >= 0.7 if found else False


class Clamps(CorrectConfidence):
    """A confidence out of range is made to fit: 7 is 1, and -0.9 is 0.9."""

    gate = staticmethod(_clamps)


def _takes_nan(answer: str) -> bool:
    _, _, said = answer.lower().rpartition("confidence:")
    try:
        confidence = float(said.strip().rstrip("%"))
    except ValueError:
        return False
    return not (confidence < 0.7 or confidence > 1)


class TakesNan(CorrectConfidence):
    """NaN is not below the threshold."""

    gate = staticmethod(_takes_nan)


class _Hasty(HedgingRouter):
    def __init__(self, url: str, key: str, after: float) -> None:
        super().__init__(url, key, after / 10)


class Hasty(CorrectHedging):
    """Milliseconds are taken for something else: the hedge starts too early."""

    router_type = _Hasty


class _NeverHedges(HedgingRouter):
    def __init__(self, url: str, key: str, after: float) -> None:
        super().__init__(url, key, after + 3600)


class NeverHedges(CorrectHedging):
    """The hedge starts when all is over."""

    router_type = _NeverHedges


class _WaitsForAll(HedgingRouter):
    async def wait(
        self, tasks: set[asyncio.Task[str]], seconds: float | None
    ) -> tuple[set[asyncio.Task[str]], set[asyncio.Task[str]]]:
        return await asyncio.wait(tasks, timeout=seconds)


class WaitsForAll(CorrectHedging):
    """Both are asked, and both are waited for."""

    router_type = _WaitsForAll


class WaitsForAllAtOnce(CorrectAtOnce):
    """Both are asked at once, and both are waited for."""

    router_type = _WaitsForAll


class _LeavesLosers(HedgingRouter):
    async def end(self, tasks: set[asyncio.Task[str]]) -> None:
        self.left = tasks


class LeavesLosers(CorrectHedging):
    """The loser is not cancelled."""

    router_type = _LeavesLosers


class _FreeLosers(HedgingRouter):
    def lost(self, model: str, messages: list[dict[str, Any]]) -> None:
        pass


class FreeLosers(CorrectHedging):
    """The loser is cancelled, and never booked."""

    router_type = _FreeLosers


class _OneSinksAll(HedgingRouter):
    def failed(self, failures: list[BaseException]) -> None:
        raise failures[-1]


class OneSinksAll(CorrectHedging):
    """The first one that ends decides, also where it has failed."""

    router_type = _OneSinksAll


class OneSinksAllAtOnce(CorrectAtOnce):
    """As with TaskGroup: one failure ends all."""

    router_type = _OneSinksAll


class _Apologises(HedgingRouter):
    async def answer(self, request: Any) -> str:
        try:
            return await super().answer(request)
        except NoAnswer:
            return "Sorry, try again later."


class Apologises(CorrectHedging):
    """An apology is returned as if it were an answer."""

    router_type = _Apologises


class _HedgesAnyway(HedgingRouter):
    async def answer(self, request: Any) -> str:
        request.options.pop("hedge", None)
        return await super().answer(request)


class HedgesAnyway(CorrectHedging):
    """hedge = False is not read."""

    router_type = _HedgesAnyway


DEFECTS: dict[str, list[type[RoutingInvariants]]] = {
    "escalation": [
        NeverEscalates,
        AlwaysEscalates,
        SkipsATier,
        AsksTwice,
        ReturnsTheFirst,
        ReturnsTheFirstOfJudged,
        FailsWithTheFirst,
        IgnoresItsJudge,
    ],
    "confidence_parsing": [TakesAnyNumber, Crashes, Clamps, TakesNan],
    "speculation": [
        Hasty,
        NeverHedges,
        WaitsForAll,
        WaitsForAllAtOnce,
        LeavesLosers,
        FreeLosers,
        OneSinksAll,
        OneSinksAllAtOnce,
        Apologises,
    ],
    "opt_outs": [HedgesAnyway],
}
