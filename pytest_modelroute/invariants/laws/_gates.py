"""What the tiers of a cascade answer, so that its gate accepts or rejects it; shared by the laws about gates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pytest_modelroute.invariants.promises import Cascade, Promises
from pytest_modelroute.invariants.scenes import Behaviour, Fails, Good, Script

ACCEPTED: Final = "accepted"
REJECTED: Final = "rejected"
FAILED: Final = "failed"
_MARK: Final = "The answer of {tier}, in a plain sentence."


def tiers(promises: Promises) -> tuple[str, ...]:
    """The tiers of the cascade, weakest first."""
    return (promises.cascade.tiers if promises.cascade is not None else ()) or promises.tiers


def can_reject(cascade: Cascade) -> bool:
    """Whether an answer is known that the gate rejects."""
    return cascade.rejects is not None or cascade.confidence is not None or cascade.judge is not None


def said(cascade: Cascade, tier: str, verdict: str) -> str | None:
    """What a tier answers for a verdict; None for what the class's models answer anyway."""
    fixed = cascade.rejects if verdict == REJECTED else cascade.accepts
    if fixed is not None:
        return fixed
    mark = _MARK.format(tier=tier)
    if cascade.confidence is not None:
        confidence = cascade.threshold * 0.3 if verdict == REJECTED else min(1.0, (1 + cascade.threshold) / 2)
        return cascade.confidence.format(text=mark, confidence=round(confidence, 3))
    return mark if cascade.judge is not None and cascade.accepts is None else None


def script(promises: Promises, cascade: Cascade, verdicts: Sequence[str], fault: Fails | None) -> Script:
    """The behaviour of the tiers by their verdicts, weakest first, and of the judge that gives them."""
    models: dict[str, tuple[Behaviour, ...]] = {}
    given: list[Behaviour] = []
    for tier, verdict in zip(tiers(promises), verdicts, strict=True):
        if verdict == FAILED and fault is not None:
            models[tier] = (fault,)
            continue
        models[tier] = (Good(text=said(cascade, tier, verdict)),)
        given.append(Good(text=cascade.judge_rejects if verdict == REJECTED else cascade.judge_accepts))
    if cascade.judge is not None and given:
        models[cascade.judge] = tuple(given)
    return Script(models=models)
