"""Words that several messages share."""

from __future__ import annotations


def counted(number: int, what: str) -> str:
    """A number of things, such as 1 recording or 3 recordings."""
    return f"{number} {what}" + ("" if number == 1 else "s")
