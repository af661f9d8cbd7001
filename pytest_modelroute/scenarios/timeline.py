"""What happened in a scenario: who was served, downgraded or refused, what was spent, and where a promise broke."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal, TypeAlias

Fate: TypeAlias = Literal["served", "downgraded", "refused", "given up", "failed"]
_PROMPT: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One request of a scenario."""

    moment: datetime
    "What the clocks of the budget's zone showed when it began."
    prompt: str
    critical: bool
    fate: Fate
    model: str | None
    "The model that was asked last; None for nobody."
    preferred: str | None
    "The model that it goes to where nothing is spent."
    cost_usd: Decimal
    spent_usd: Decimal
    "What the calls of the window have cost with it."
    remaining_usd: Decimal
    "What was left of the budget afterwards; below 0 where it was exceeded."
    error: str = ""
    text: str = ""
    broken: str = ""
    "The promise that broke here: the law, what was expected, and what was seen."

    def __str__(self) -> str:
        """One line, and another one for a promise that broke."""
        who = f" by {self.model}" if self.model else ""
        instead = f" instead of {self.preferred}" if self.fate == "downgraded" else ""
        why = f": {textwrap.shorten(self.error, 100)}" if self.error else ""
        line = (
            f"{self.moment:%Y-%m-%d %H:%M:%S}  {textwrap.shorten(self.prompt, _PROMPT, placeholder='...')!r}"
            f"{' (critical)' if self.critical else ''}  {self.fate}{who}{instead}{why}  "
            f"{_usd(self.cost_usd)} USD, {_usd(self.remaining_usd)} left"
        )
        return line if not self.broken else f"{line}\n    BROKEN {self.broken}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """All of a scenario so far."""

    title: str
    entries: Sequence[Entry] = ()
    failures: Sequence[str] = ()
    "The promises that broke, one text each."

    @property
    def ok(self) -> bool:
        """Whether every promise held."""
        return not self.failures

    def fates(self) -> list[Fate]:
        """What became of each request, in order."""
        return [entry.fate for entry in self.entries]

    @property
    def spent_usd(self) -> Decimal:
        """USD of all provider calls."""
        return sum((entry.cost_usd for entry in self.entries), Decimal(0))

    def __str__(self) -> str:
        """The timeline to be read, with what broke at its end."""
        lines = [self.title, *(f"  {line}" for entry in self.entries for line in str(entry).splitlines())]
        shown = {entry.broken for entry in self.entries}
        lines += [f"BROKEN {failure}" for failure in self.failures if failure not in shown]
        return "\n".join(lines if self.failures else [*lines, "every promise held"])


def _usd(amount: Decimal) -> str:
    return f"{amount:.6f}".rstrip("0").rstrip(".")
