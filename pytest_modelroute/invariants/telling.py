"""What a broken promise reads like: the law, the smallest example, the timeline, what to do, and a test to paste."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from pytest_modelroute.invariants.amounts import usd
from pytest_modelroute.invariants.pasting import code_of, names_in
from pytest_modelroute.invariants.player import behaviours
from pytest_modelroute.invariants.scenes import Ask, Behaviour, Fails, Good, Script
from pytest_modelroute.invariants.search import Finding
from pytest_modelroute.invariants.seen import Played, SeenAsk, SeenCall

_WIDTH: Final = 110
_SHOWN_CALLS: Final = 24
_PROMPT: Final = 100
_TAIL: Final = 40


def tell(finding: Finding, *, name: str, test: str = "") -> str:
    """The whole report of a violation."""
    violation, law = finding.violation, finding.law
    assert violation is not None  # noqa: S101 - told only of what is violated
    plays = violation.plays or tuple(finding.trial)
    lines = [
        f"{name} breaks {law.id}: {law.says}",
        "",
        f"  expected: {violation.expected}",
        f"  seen:     {violation.seen}",
        *(["  (only sometimes: the same example went well when it was tried again)"] if finding.sometimes else []),
        "",
        "smallest example:",
        *(f"  {line}" for line in example(plays)),
        "",
        *timeline(plays, violation.counts),
        "",
        f"why it matters: {law.why}",
        f"where to look: {violation.advice or law.advice}",
        "",
        "to keep it from coming back:",
        *(f"  {line}" for line in regression_test(finding, name)),
        "",
        f"found after {finding.examples} examples, seed {finding.seed}"
        + (f"; again: pytest {test} --modelroute-seed {finding.seed}" if test else ""),
    ]
    return "\n".join(lines)


def summary(finding: Finding) -> str:
    """The smallest example in a line."""
    return " / ".join(line.strip() for line in example(list(finding.trial)))


def example(plays: Sequence[Played]) -> Iterator[str]:
    """The requests and the behaviour of the providers, in words."""
    for number, played in enumerate(plays, start=1):
        prefix = f"[{played.scene.name or f'router {number}'}] " if len(plays) > 1 else ""
        if played.scene.keys is not None:
            yield f"{prefix}make_router, with the keys of {', '.join(played.scene.keys) or 'nobody'} alone"
        for act in played.scene.acts:
            moments = [f"after {act.pause:g} s"] if act.pause else []
            moments += [f"at {act.wall.isoformat()}"] if act.wall else []
            moments += [f"{act.times} times"] if act.times > 1 else []
            lead = f"{prefix}{', '.join(moments)}{': ' if moments else ''}"
            for ask in act.asks:
                yield lead + describe_ask(ask)
                yield from (f"{' ' * len(prefix)}{line}" for line in _describe_script(ask.script))
            yield from (f"{' ' * len(prefix)}{line}" for line in _describe_script(act.script))


def describe_ask(ask: Ask) -> str:
    """One request in words."""
    request = ask.request
    said = f"ask({_shortened(request.prompt)}" if request.has_messages else "ask(without any message"
    for name in ("step", "category", "system", "params", "options", "images"):
        value = getattr(request, name)
        said += f", {name}={value!r}" if value else ""
    for name in ("stream", "critical", "as_parts"):
        said += f", {name}" if getattr(request, name) else ""
    said += ")"
    said += f" of another router ({ask.router})" if ask.router else ""
    said += f" at {ask.at:g} s" if ask.at else ""
    said += f", cancelled after {ask.cancel_after:g} s" if ask.cancel_after is not None else ""
    said += f", closed after {ask.close_after} chunks" if ask.close_after is not None else ""
    if ask.label is not None:
        said += f"; the classifier answers {ask.label!r}"
    return said


def _shortened(prompt: str) -> str:
    """A literal; of a long text its beginning and its end, where rewrites add something."""
    if len(prompt) <= _PROMPT:
        return repr(prompt)
    return f"{prompt[: _PROMPT - _TAIL]!r} ... {prompt[-_TAIL:]!r} ({len(prompt)} characters)"


def _describe_script(script: Script | None) -> Iterator[str]:
    if script is None:
        return
    for who, row in behaviours(script).items():
        if row:
            yield f"  {who}: {', then '.join(map(describe_behaviour, row))}"
    label = script.label
    if label is not None:
        yield f"  the classifier: {describe_behaviour(label) if isinstance(label, Fails) else repr(label)}"
    if script.good != Good():
        yield f"  everybody else: {describe_behaviour(script.good)}"


def describe_behaviour(behaviour: Behaviour) -> str:
    """What a provider does, as it can be typed."""
    if isinstance(behaviour, Fails):
        return code_of(behaviour.fault).removeprefix("faults.") + (
            f" after {behaviour.latency:g} s"
            if behaviour.latency != Fails.__dataclass_fields__["latency"].default
            else ""
        )
    code = code_of(behaviour)
    return "a good answer" if code == "Good()" else code


def timeline(plays: Sequence[Played], counts: object) -> Iterator[str]:
    """Every provider call, with why it counts."""
    reasons: dict[int, str] = dict(counts) if isinstance(counts, dict) else {}  # pyright: ignore[reportUnknownArgumentType]
    for number, played in enumerate(plays, start=1):
        title = f" ({played.scene.name or f'router {number}'})" if len(plays) > 1 else ""
        yield f"what happened{title}:"
        rows: list[tuple[str, ...]] = []
        asks = [(f"{place}. " if len(played.asks) > 1 else "", ask) for place, ask in enumerate(played.asks, start=1)]
        for mark, ask in asks:
            rows += [_row(call, mark, reasons.get(call.number, "")) for call in ask.calls]
        shown = rows[:_SHOWN_CALLS]
        widths = [max((len(row[column]) for row in shown), default=0) for column in range(6)]
        for row in shown:
            yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)).rstrip()
        if len(rows) > len(shown):
            yield f"  ... and {len(rows) - len(shown)} more calls"
        for mark, ask in asks if len(asks) <= _SHOWN_CALLS else ():
            yield f"  {ask.ended:8.3f} s  {mark}{describe_outcome(ask)}"
        if played.endless:
            yield textwrap.shorten(f"  {played.endless}", 400)


def _row(call: SeenCall, mark: str, why: str) -> tuple[str, ...]:
    status = "open" if call.ended is None and call.error is None else str(call.status or "")
    status = " ".join(part for part in (status, call.error or "") if part)
    usage = "" if call.usage is None else f"{call.usage.total_input}/{call.usage.total_output} tokens"
    cost = "" if not call.cost else usd(call.cost)
    role = "" if call.role == "answer" else f" ({call.role})"
    end = "" if call.ended is None else f"+{call.ended - call.started:.3f}"
    return (
        f"{call.started:8.3f} s {end}",
        f"{mark}{call.provider}/{call.model}{role}",
        status + (" stream" if call.streamed else ""),
        usage,
        cost,
        repr(call.text[:30]) if call.role in ("classifier", "judge") else "",
        f"<- {why}" if why else "",
    )


def describe_outcome(ask: SeenAsk) -> str:
    """How a request ended, in words."""
    if ask.outcome == "cancelled":
        return "the caller gave up"
    if ask.error is not None:
        return textwrap.shorten(f"ask raised {type(ask.error).__name__}: {ask.error}", 200)
    text = ask.text if len(ask.text) <= _PROMPT else f"{ask.text[:_PROMPT]}..."
    return f"ask returned {text!r}" + (f" in {len(ask.chunks)} chunks" if ask.chunks else "")


_IMPORTS: Final = {
    "datetime.datetime(": "import datetime",
    "Decimal(": "from decimal import Decimal",
    "replace(faults.": "from dataclasses import replace",
    "faults.": "from pytest_modelroute import faults",
}
"What a pasted scene may use -> its import."


def regression_test(finding: Finding, name: str) -> Iterator[str]:
    """A test that plays the example again, to be pasted beside the class."""
    enough = finding.violation.plays if finding.law.each and finding.violation else ()
    scenes = [played.scene for played in enough or finding.trial] or list(finding.scenes)
    code = [code_of(scene) for scene in scenes]
    used = names_in(" ".join(code))
    yield from (line for word, line in _IMPORTS.items() if word in " ".join(code))
    yield f"from pytest_modelroute.invariants import {', '.join(used)}"
    yield ""
    yield f"def test_{finding.law.id}_regression():"
    yield f"    {name}.check({finding.law.id!r},"
    for entry in code:
        yield from (f"        {line}" for line in _wrapped(entry + ","))
    yield "    )"


def _wrapped(code: str) -> list[str]:
    """Long code on several lines, cut after commas outside of texts."""
    if len(code) <= _WIDTH:
        return [code]
    lines: list[str] = []
    line, quote, escaped = "", "", False
    for letter in code:
        line += letter
        if escaped:
            escaped = False
        elif letter == "\\" and quote:
            escaped = True
        elif quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter == "," and len(line) > _WIDTH // 2:
            lines.append(line.strip())
            line = ""
    return [*lines, line.strip()] if line.strip() else lines
