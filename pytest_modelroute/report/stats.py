"""Numbers over all recorded calls, by provider and model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from pytest_modelroute.cassettes.calls import RecordedCall
from pytest_modelroute.evaluation.statistics import percentile
from pytest_modelroute.report.cassettes import counted
from pytest_modelroute.report.numbers import show_usd, table
from pytest_modelroute.wire.recorded import FIRST_ERROR

_ASK_FOR_USAGE: Final = " (a stream of OpenAI's form does with stream_options={'include_usage': True})"


@dataclass(slots=True, kw_only=True)
class ModelStats:
    """What is recorded of one model."""

    provider: str
    model: str
    calls: int = 0
    errors: int = 0
    streams: int = 0
    foreign: int = 0
    "Calls that another tool recorded: without latency and price."
    input_tokens: int = 0
    output_tokens: int = 0
    recorded_usd: Decimal = Decimal(0)
    "By the prices kept with the calls."
    without_usage: int = 0
    "Calls whose reply reported no usage, so that no cost counts them."
    unpriced: int = 0
    "Calls with a usage that `recorded_usd` does not count, since no price was kept."
    today_usd: Decimal = Decimal(0)
    "By the prices of today."
    unpriced_today: int = 0
    "Calls with a usage that `today_usd` does not count, since the model has no price today."
    latencies_s: list[float] = field(default_factory=list[float])
    ttfts_s: list[float] = field(default_factory=list[float])

    def add(self, call: RecordedCall, today: Decimal | None) -> None:
        """
        Count a call.

        Raises:
            CassetteError: Its price was edited into something that is none.

        """
        self.calls += 1
        self.errors += call.status >= FIRST_ERROR or call.error is not None
        self.streams += call.request.stream
        if call.usage is not None:
            self.input_tokens += call.usage.total_input
            self.output_tokens += call.usage.total_output
        if call.facts is None:
            self.foreign += 1
        else:
            self.latencies_s.append(call.facts.latency_s)
            if call.facts.ttft_s is not None:
                self.ttfts_s.append(call.facts.ttft_s)
        recorded = call.recorded_cost()
        self.recorded_usd += recorded or 0
        self.today_usd += today or 0
        if call.usage is None and recorded is None:
            self.without_usage += 1
        else:
            self.unpriced += recorded is None
            self.unpriced_today += today is None


def stats_of(calls: Iterable[tuple[RecordedCall, Decimal | None]]) -> list[ModelStats]:
    """
    The numbers of each model, the most called one first.

    Args:
        calls: With the cost of each by the prices of today, None where it is not known.

    Raises:
        CassetteError: A price was edited into something that is none.

    """
    groups: dict[tuple[str, str], ModelStats] = {}
    for call, today in calls:
        key = (call.provider, call.model)
        groups.setdefault(key, ModelStats(provider=call.provider, model=call.model)).add(call, today)
    return sorted(groups.values(), key=lambda each: (-each.calls, each.provider, each.model))


def stats_lines(stats: Sequence[ModelStats], *, cassettes: int, others: int) -> list[str]:
    """
    The numbers: the sum first, a line a model, what is not counted.

    Args:
        stats: Of each model.
        cassettes: How many were read.
        others: How many interactions are no calls of models.

    """
    calls = sum(each.calls for each in stats)
    recorded, today = sum(each.recorded_usd for each in stats), sum(each.today_usd for each in stats)
    seen = f"{counted(calls, 'call')} of {counted(len(stats), 'model')} in {counted(cassettes, 'cassette')}"
    costs = f"{show_usd(Decimal(recorded))} USD as recorded, {show_usd(Decimal(today))} USD today"
    lines = [f"{seen}: {costs}"]
    if stats:
        lines += ["", *table([_HEADINGS, *map(_row, stats)])]
    notes = [
        (sum(each.without_usage for each in stats), f"without a cost, since no usage was reported{_ASK_FOR_USAGE}"),
        (sum(each.unpriced for each in stats), "without a price as recorded"),
        (sum(each.unpriced_today for each in stats), "without a price today"),
        (sum(each.foreign for each in stats), "recorded by another tool, without latency"),
    ]
    told = [f"{counted(number, 'call')} {what}" for number, what in notes if number]
    if others:
        told.append(f"{counted(others, 'interaction')} that {'is' if others == 1 else 'are'} no call of a model")
    if told:
        lines += ["", *told]
    return [*lines, "", "see what has changed since: modelroute cassettes drift --sample 20"] if stats else lines


_HEADINGS: Final = (
    *("provider", "model", "calls", "errors", "tokens in/out", "USD recorded", "USD today", "p50", "p95", "streams"),
    "ttft p50",
)


def _row(each: ModelStats) -> tuple[str, ...]:
    return (
        each.provider,
        each.model,
        str(each.calls),
        str(each.errors or ""),
        f"{each.input_tokens:,}/{each.output_tokens:,}",
        _usd(each.recorded_usd, each.unpriced + each.without_usage, each.calls),
        _usd(each.today_usd, each.unpriced_today + each.without_usage, each.calls),
        show_ms(_at(each.latencies_s, 0.5)),
        show_ms(_at(each.latencies_s, 0.95)),
        str(each.streams or ""),
        show_ms(_at(each.ttfts_s, 0.5)),
    )


def stats_json(stats: Sequence[ModelStats], *, cassettes: int, others: int) -> dict[str, Any]:
    """The same for machines; amounts as text, so that they stay exact."""
    return {
        "cassettes": cassettes,
        "other_interactions": others,
        "models": [
            {
                "provider": each.provider,
                "model": each.model,
                "calls": each.calls,
                "errors": each.errors,
                "streams": each.streams,
                "foreign": each.foreign,
                "input_tokens": each.input_tokens,
                "output_tokens": each.output_tokens,
                "without_usage": each.without_usage,
                "recorded_usd": format(each.recorded_usd, "f"),
                "unpriced": each.unpriced,
                "today_usd": format(each.today_usd, "f"),
                "unpriced_today": each.unpriced_today,
                "latency_p50_ms": in_ms(_at(each.latencies_s, 0.5)),
                "latency_p95_ms": in_ms(_at(each.latencies_s, 0.95)),
                "ttft_p50_ms": in_ms(_at(each.ttfts_s, 0.5)),
            }
            for each in stats
        ],
    }


def _at(values: Sequence[float], share: float) -> float | None:
    return percentile(sorted(values), share) if values else None


def in_ms(seconds: float | None) -> float | None:
    """Milliseconds, to a tenth."""
    return None if seconds is None else round(seconds * 1000, 1)


def show_ms(seconds: float | None) -> str:
    """Milliseconds in words; empty where nothing was measured."""
    return "" if seconds is None else f"{seconds * 1000:,.0f} ms"


def _usd(amount: Decimal, unknown: int, calls: int) -> str:
    if unknown == calls:
        return "unknown"
    return show_usd(amount) + (f" + {unknown} unknown" if unknown else "")
