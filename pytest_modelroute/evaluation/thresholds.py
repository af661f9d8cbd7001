"""The limits of a step: what may be written in a marker or in the settings, and what is judged."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, Literal

from pytest_modelroute.errors import ThresholdError


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitKind:
    """A limit that exists: which way it bounds, what it is judged on, in which unit."""

    bound: Literal["min", "max"]
    measure: str
    unit: Literal["share", "ms", "usd"]


def _share(bound: Literal["min", "max"], measure: str) -> LimitKind:
    return LimitKind(bound=bound, measure=measure, unit="share")


LIMITS: Final[Mapping[str, LimitKind]] = {
    "min_accuracy": _share("min", "accuracy"),
    "min_pass_rate": _share("min", "pass rate"),
    "min_mean_score": _share("min", "mean score"),
    "min_precision": _share("min", "precision"),
    "min_recall": _share("min", "recall"),
    "min_f1": _share("min", "F1"),
    "max_latency_ms": LimitKind(bound="max", measure="p95 latency", unit="ms"),
    "max_mean_latency_ms": LimitKind(bound="max", measure="mean latency", unit="ms"),
    "max_cost_usd": LimitKind(bound="max", measure="mean cost", unit="usd"),
    "max_total_cost_usd": LimitKind(bound="max", measure="total cost", unit="usd"),
    "max_misroute_rate": _share("max", "misroute rate"),
    "max_underroute_rate": _share("max", "under-routing rate"),
    "max_overroute_rate": _share("max", "over-routing rate"),
    "max_escalation_rate": _share("max", "escalation rate"),
}
"Every limit, by the name that markers and settings use."
_LABEL_LIMITS: Final = ("min_precision", "min_recall", "min_f1")
_OPTIONS: Final = ("positive", "confidence")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepThreshold:
    """The limits of one step."""

    step: str
    limits: Mapping[str, float]
    positive: str | None = None
    "The label that precision, recall and F1 are judged on; None for the macro average over all labels."
    confidence: float | None = None
    "Judge the bound of the interval at this confidence; None judges the estimate."

    @classmethod
    def from_marker(
        cls, args: Sequence[Any], kwargs: Mapping[str, Any], *, defaults: Mapping[str, Any]
    ) -> StepThreshold:
        """
        Read `@pytest.mark.step_threshold(step, **limits)`.

        Args:
            args: The marker's positional arguments: the name of the step.
            kwargs: Its limits and options.
            defaults: Those of the settings for this step; the marker's own win.

        Raises:
            ThresholdError: An unknown limit, an impossible value, no step, or no limit anywhere.

        """
        if len(args) != 1 or not isinstance(args[0], str) or not args[0]:
            raise ThresholdError(
                f"step_threshold takes the name of one step, then limits by name, not {_call(args, kwargs)}; "
                'for example step_threshold("classify_intent", min_accuracy=0.90)'
            )
        return cls.from_table(args[0], {**defaults, **kwargs}, where=f"step_threshold({args[0]!r})")

    @classmethod
    def from_table(cls, step: str, table: Mapping[str, Any], *, where: str) -> StepThreshold:
        """
        Read limits by name.

        Raises:
            ThresholdError: As above; the message begins with `where`.

        """
        limits = {name: _read_limit(name, value, where) for name, value in table.items() if name not in _OPTIONS}
        if not limits:
            raise ThresholdError(
                f"{where} has no limit, so it would pass whatever happens; give it one here or in "
                f"[tool.modelroute.thresholds.{step}]. Limits: {', '.join(LIMITS)}"
            )
        positive, confidence = table.get("positive"), table.get("confidence")
        if positive is not None and not isinstance(positive, str):
            raise ThresholdError(f"{where}: positive={positive!r} is not a label, that is, a string")
        if positive is not None and not any(name in limits for name in _LABEL_LIMITS):
            raise ThresholdError(f"{where}: positive={positive!r} changes nothing without {', '.join(_LABEL_LIMITS)}")
        if confidence is not None and not (_is_number(confidence) and 0 < confidence < 1):
            raise ThresholdError(f"{where}: confidence={confidence!r} is not between 0 and 1, such as 0.95")
        return cls(step=step, limits=limits, positive=positive, confidence=confidence)


def _read_limit(name: str, value: Any, where: str) -> float:
    kind = LIMITS.get(name)
    if kind is None:
        nearest = get_close_matches(name, [*LIMITS, *_OPTIONS], n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"known are: {', '.join([*LIMITS, *_OPTIONS])}"
        raise ThresholdError(f"{where}: unknown limit {name!r}; {hint}")
    if not _is_number(value) or not math.isfinite(value):
        raise ThresholdError(f"{where}: {name}={value!r} is not a number")
    if kind.unit == "share" and not 0 <= value <= 1:
        hint = f"; {value}% is {value / 100:g}" if 1 < value <= 100 else ""  # noqa: PLR2004
        raise ThresholdError(f"{where}: {name}={value!r} is impossible: a share lies between 0 and 1{hint}")
    if kind.unit == "ms" and value <= 0:
        raise ThresholdError(f"{where}: {name}={value!r} is impossible: no call takes {value} ms")
    if value < 0:
        raise ThresholdError(f"{where}: {name}={value!r} is impossible: no cost is negative")
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _call(args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    words = [*(repr(value) for value in args), *(f"{name}={value!r}" for name, value in kwargs.items())]
    return f"step_threshold({', '.join(words)})"


def read_marks(
    marks: Sequence[tuple[Sequence[Any], Mapping[str, Any]]],
    *,
    steps: Collection[str],
    defaults: Mapping[str, Mapping[str, Any]],
) -> list[StepThreshold]:
    """
    Read the step_threshold markers of a test, the nearest first.

    Args:
        marks: (args, kwargs) of each.
        steps: The declared steps; empty where none are, and then any step is fine.
        defaults: The limits of the settings, by step.

    Raises:
        ThresholdError: As for `from_marker`; a step that is not declared; two markers for one step with other limits.

    """
    read: dict[str, StepThreshold] = {}
    for args, kwargs in marks:
        name = args[0] if args and isinstance(args[0], str) else ""
        if name and steps and name not in steps:
            nearest = get_close_matches(name, steps, n=1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"declared are: {', '.join(sorted(steps))}"
            raise ThresholdError(f"step_threshold({name!r}): there is no such step in the settings; {hint}")
        threshold = StepThreshold.from_marker(args, kwargs, defaults=defaults.get(name, {}))
        if read.setdefault(threshold.step, threshold) != threshold:
            raise ThresholdError(
                f"step_threshold({threshold.step!r}) stands twice on this test with different limits; keep one"
            )
    return list(read.values())
