"""Numbers as reports show them: the value, its evidence, the limit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

from pytest_modelroute.errors import PriceUnknown
from pytest_modelroute.evaluation.results import StepEvaluation
from pytest_modelroute.evaluation.statistics import Interval
from pytest_modelroute.evaluation.verdict import Check


def show_value(value: float, unit: str) -> str:
    """A measured value in its unit."""
    if math.isnan(value):
        return "not measured"
    if math.isinf(value):
        return "unbounded"
    if unit == "ms":
        return f"{value:.4g} ms" if value < 1000 else f"{value:.0f} ms"  # noqa: PLR2004
    return f"{show_usd(Decimal(str(value)))} USD" if unit == "usd" else f"{value:.3f}"


def show_miss(check: Check) -> str:
    """A broken limit in a few words, for a headline: accuracy 0.855 < 0.90."""
    unit = check.kind.unit
    sign = "<" if check.kind.bound == "min" else ">"
    if math.isnan(check.measured.value):
        return f"{check.kind.measure} not measured"
    return f"{check.kind.measure} {show_value(check.judged, unit)} {sign} {_limit(check.bound, unit)}"


def show_interval(interval: Interval, unit: str, confidence: float) -> str:
    """An interval, with an open end where the cases cannot bound it."""
    if math.isinf(interval.low) and math.isinf(interval.high):
        return "too few cases for an interval"
    low, high = (_end(end, unit) for end in interval)
    return f"{confidence * 100:g}% {low} to {high}"


def _end(value: float, unit: str) -> str:
    return show_value(value, unit).removesuffix(" ms").removesuffix(" USD")


def show_check(check: Check, confidence: float | None) -> str:
    """One line: verdict, measure, value with k/n and interval, limit."""
    unit, measured = check.kind.unit, check.measured
    counted = f"{measured.count}/{measured.n}" if measured.count is not None else f"n={measured.n}"
    interval = show_interval(measured.interval, unit, confidence or 0.95)
    judged = "" if confidence is None else f", judged by the bound {show_value(check.judged, unit)}"
    if confidence is not None and math.isinf(check.judged):
        judged = f", judged by the bound, which takes more cases than {measured.n}"
    return (
        f"{'ok  ' if check.ok else 'FAIL'}  {check.kind.measure} {show_value(measured.value, unit)} "
        f"({counted}, {interval}{judged})  limit {check.limit}={_limit(check.bound, unit)}"
    )


def _limit(bound: float, unit: str) -> str:
    if unit == "share" and round(bound, 2) == bound:
        return f"{bound:.2f}"
    plain = format(Decimal(str(bound)), "f")
    return plain.removesuffix(".0")


def show_cost(evaluation: StepEvaluation) -> str:
    """The cost of an evaluation and per case, or why it has none."""
    try:
        total = evaluation.cost_usd
    except PriceUnknown as error:
        return f"cost unknown ({str(error).partition(': genai-prices')[0]})"
    return f"cost {show_usd(total)} USD, {show_usd(total / evaluation.n)} a case"


def show_usd(amount: Decimal) -> str:
    """An amount with four significant digits, never in scientific notation."""
    if amount == 0:
        return "0"
    digits = max(2, 3 - amount.adjusted())
    whole, _, part = f"{amount:.{digits}f}".partition(".")
    return f"{whole}.{part.rstrip('0'):0<2}"


def table(rows: Sequence[Sequence[str]], indent: str = "  ") -> list[str]:
    """Aligned columns; a column of which every cell below the heading is empty is left out."""
    used = [column for column in range(len(rows[0])) if any(row[column] for row in rows[1:])]
    widths = [max(len(row[column]) for row in rows) for column in used]
    return [
        (indent + "  ".join(row[column].ljust(width) for column, width in zip(used, widths, strict=True))).rstrip()
        for row in rows
    ]


def counted(number: int, what: str) -> str:
    """A number of things."""
    return f"{number} {what}" + ("" if number == 1 else "s")


def short(value: object, limit: int = 48) -> str:
    """A value on one line."""
    text = value if isinstance(value, str) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 3] + "..."
