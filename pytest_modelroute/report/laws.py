"""The end of a session for classes of laws: what held, what broke, and what was not checked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

_WORDS: Final = {
    "violated": "broken",
    "known": "known to be broken",
    "not exercised": "not exercised",
    "error": "not checked, since the router cannot be used",
}


def law_lines(summaries: Iterable[str]) -> list[str]:
    """Two or three lines for each class, in the order of their tests."""
    classes: dict[str, list[dict[str, Any]]] = {}
    for summary in summaries:
        told = json.loads(summary)
        classes.setdefault(told["class"], []).append(told)
    return [line for told in classes.values() for line in _lines_of(told)]


def _lines_of(laws: list[dict[str, Any]]) -> Iterator[str]:
    held = [law for law in laws if law["status"] == "held"]
    least = min((law["examples"] for law in held), default=0)
    parts = [f"{_count(len(held), 'law')} held" + (f" on {least} examples or more each" if held else "")]
    for status, word in _WORDS.items():
        names = [law["law"] for law in laws if law["status"] == status]
        if names:
            parts.append(f"{len(names)} {word} ({', '.join(names)})")
    yield f"{laws[0]['name']}: {'; '.join(parts)}"
    missing = sorted(laws[0]["unpromised"].items(), key=lambda entry: -len(entry[1]))
    if missing:
        first, *others = [f"no {promise}: {len(names)}" for promise, names in missing]
        total = sum(len(names) for _, names in missing)
        yield f"  promises {'; '.join([f'{first} laws not checked', *others])} ({total} in all, see docs/laws.md)"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
