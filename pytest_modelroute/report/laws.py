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
    parts = [f"{_count(len(held), 'law')} held on {least} examples or more each"]
    for status, word in _WORDS.items():
        names = [law["law"] for law in laws if law["status"] == status]
        if names:
            parts.append(f"{len(names)} {word} ({', '.join(names)})")
    yield f"{laws[0]['name']}: {'; '.join(parts)}"
    missing = laws[0]["unpromised"]
    if missing:
        said = [f"no {promise}: {_count(len(names), 'law')}" for promise, names in missing.items()]
        total = sum(len(names) for names in missing.values())
        yield f"  promises {'; '.join(said)} not checked ({total} in all; docs/laws.md says what each needs)"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
