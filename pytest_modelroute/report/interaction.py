"""The interactions of a cassette in words: a table of all, or one of them whole."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import Final

from pytest_modelroute.cassettes.calls import RecordedCall
from pytest_modelroute.cassettes.facts import Facts
from pytest_modelroute.cassettes.interaction import Headers, Interaction
from pytest_modelroute.report.cassettes import counted, show_bytes
from pytest_modelroute.report.numbers import show_usd, table
from pytest_modelroute.wire.places import short_path

_CONTROLS: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"What a terminal acts on, in place of showing it."
_CHUNKS: Final = 6
_BODY_LINES: Final = 60
_BUCKETS: Final = ("input", "output", "cache_read", "cache_write")
_HEADINGS: Final = ("#", "line", "model", "status", "stream", "latency", "ttft", "tokens in/out", "cost USD")

Numbered = tuple[int, int, Interaction, RecordedCall | None]
"The number of an interaction (the first is 1), its line, itself, and what it says as a call of a model."


def table_lines(path: Path, size: int, interactions: Sequence[Numbered]) -> list[str]:
    """All interactions of a cassette, a line each."""
    shown = short_path(str(path))
    lines = [f"{shown}: {counted(len(interactions), 'interaction')}, {show_bytes(size)}"]
    if interactions:
        lines += ["", *table([_HEADINGS, *map(_row, interactions)])]
        lines += ["", f"see one whole: modelroute cassettes show {quote(shown)} 1"]
    return lines


def _row(numbered: Numbered) -> tuple[str, ...]:
    number, line, interaction, call = numbered
    facts, chunks = interaction.facts, 0
    if facts is not None:
        chunks = len(facts.chunks or ())
    stream = ""
    if call is not None and call.request.stream:
        stream = counted(chunks, "chunk") if chunks else "yes"
        stream += "" if call.complete else ", not read to its end"
    usage = None if call is None else call.usage
    return (
        str(number),
        str(line),
        _who(interaction, call),
        str(interaction.response.status) + (f" {call.error}" if call is not None and call.error else ""),
        stream,
        "" if facts is None else _ms(facts.latency_s),
        "" if facts is None or facts.ttft_s is None else _ms(facts.ttft_s),
        "" if usage is None else f"{usage.total_input}/{usage.total_output}",
        _cost(call),
    )


def _who(interaction: Interaction, call: RecordedCall | None) -> str:
    if call is None:
        address = interaction.request.url.partition("?")[0]
        return printable(f"{interaction.request.method} {address}")
    moved = call.model_answered not in ("", call.model)
    return printable(call.model + (f" -> {call.model_answered}" if moved else ""))


def _cost(call: RecordedCall | None) -> str:
    cost = None if call is None else call.recorded_cost()
    if cost is None:
        return "" if call is None or call.facts is None else "no price"
    return show_usd(cost)


def interaction_lines(path: Path, count: int, numbered: Numbered, redact: Callable[[str], str]) -> list[str]:
    """
    One interaction whole: request, reply, timeline, facts.

    Args:
        path: Of the cassette.
        count: How many interactions it holds.
        numbered: The one.
        redact: Takes secrets out of what is shown: another tool may have recorded it.

    """
    number, line, interaction, call = numbered
    request, response, facts = interaction.request, interaction.response, interaction.facts
    shown = short_path(str(path))
    lines = [
        f"{shown}:{line}: interaction {number} of {count}: {_who(interaction, call)}, status {response.status}"
        + (f" ({call.error})" if call is not None and call.error else "")
    ]
    lines += ["", f"request  {request.method} {request.url}", *_headers(request.headers), *_body(request.body)]
    if call is not None and call.reply is not None and call.text:
        lines += ["", "reply", *(f"  {each}" for each in call.text.splitlines() or [""])]
    else:
        lines += ["", "response", *_headers(response.headers), *_body(response.body)]
    if facts is None:
        lines += ["", "facts    none: another tool recorded it, so that time, latency and price are not known"]
    else:
        lines += ["", *_timeline(facts), *_facts(facts, call)]
    if number < count:
        lines += ["", f"the next one: modelroute cassettes show {quote(shown)} {number + 1}"]
    return [printable(each) for whole in lines for each in redact(whole).split("\n")]


def _headers(headers: Headers) -> list[str]:
    return [f"  {name}: {value}" for name, value in headers]


def _body(body: bytes) -> list[str]:
    if not body:
        return []
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return [f"  ({show_bytes(len(body))} that are no text)"]
    with suppress(ValueError, RecursionError):
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    lines = [f"  {line}" for line in text.splitlines()]
    hidden = len(lines) - _BODY_LINES
    return [*lines[:_BODY_LINES], *([f"  ... {hidden} more lines"] if hidden > 0 else [])]


def _timeline(facts: Facts) -> list[str]:
    if facts.chunks is None:
        return []
    pieces = [f"+{_ms(gap)} {show_bytes(size)}" for gap, size in facts.chunks[:_CHUNKS]]
    if pieces and facts.ttft_s is not None:
        pieces[0] = f"after {_ms(facts.ttft_s)} {show_bytes(facts.chunks[0][1])}"
    more = len(facts.chunks) - _CHUNKS
    whole = f" ({counted(len(facts.chunks), 'chunk')}, {show_bytes(sum(size for _, size in facts.chunks))})"
    return [f"chunks   {', '.join(pieces)}{f', ... {more} more' if more > 0 else ''}{whole}"]


def _facts(facts: Facts, call: RecordedCall | None) -> list[str]:
    usage, price = None if call is None else call.usage, facts.price or {}
    rows = [
        ("recorded", facts.recorded_at),
        ("latency", _ms(facts.latency_s) + ("" if facts.complete else ", and it was not read to its end")),
        ("provider", facts.provider),
        ("answered", facts.model_answered),
        ("system", facts.fingerprint),
        ("attempt", "" if facts.attempt == 1 else str(facts.attempt)),
        ("tokens", "" if usage is None else f"{usage.total_input} in, {usage.total_output} out"),
        (
            "cost",
            "" if call is None or call.facts is None else f"{_cost(call)} USD".replace("no price USD", "no price"),
        ),
        ("price", ", ".join(f"{bucket} {price[bucket]}" for bucket in _BUCKETS if bucket in price)),
        ("with", ", ".join(f"{name} {version}" for name, version in facts.versions.items())),
    ]
    units = {"price": " USD per million tokens"}
    return [f"{name:<9}{value}{units.get(name, '')}" for name, value in rows if value]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"


def printable(text: str) -> str:
    """A text in which nothing moves the cursor, colours or reorders what a terminal shows."""
    return _CONTROLS.sub(lambda found: found[0] if found[0] == "\t" else repr(found[0])[1:-1], text)
