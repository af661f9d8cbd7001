"""The scorecard of a router: law by law, what was promised and what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One law."""

    law: str
    needs: Sequence[str]
    status: str
    "held, violated or not exercised."
    examples: int
    seconds: float
    known: str | None = None
    "Why it is known to be violated; None for a law that must hold."
    example: str = ""
    "The smallest one, in a line."
    report: str = ""
    "The whole report of a violation."
    idle: str = ""

    @property
    def ok(self) -> bool:
        """Whether it is as it should be."""
        return (self.status == "violated") == (self.known is not None)

    @property
    def said(self) -> str:
        """What came of it, in a few words."""
        if self.status == "violated":
            return f"violated, as is known: {self.known}" if self.known is not None else "VIOLATED"
        came = f"held on {self.examples} examples" if self.status == "held" else f"not exercised: {self.idle}"
        return f"{came}; TAKE IT OUT of known_violations ({self.known})" if self.known is not None else came


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorecard:
    """All laws of one class."""

    subject: str
    rows: Sequence[Scored]
    unpromised: Mapping[str, Sequence[str]]
    profile: str
    seed: int

    @property
    def ok(self) -> bool:
        """Whether every law is as it should be."""
        return all(row.ok for row in self.rows)

    @property
    def verdict(self) -> str:
        """One line."""
        wrong = [row.law for row in self.rows if not row.ok]
        held = sum(row.status == "held" for row in self.rows)
        lead = f"{'PASS' if self.ok else 'FAIL'} {self.subject}: {held} of {len(self.rows)} laws held"
        return lead + (f"; wrong: {', '.join(wrong)}" if wrong else "")


def scorecard_lines(card: Scorecard) -> list[str]:
    """As aligned text, with the report of each violation below."""
    rows = [("law", "promise", "seconds", "result"), *(_cells(row) for row in card.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    table = ["  ".join([*(c.ljust(w) for c, w in zip(row[:3], widths, strict=True)), row[3]]).rstrip() for row in rows]
    reports = [line for row in card.rows if row.report and not row.ok for line in ("", *row.report.splitlines())]
    return [card.verdict, "", *table, *_unchecked(card), *reports, "", _again(card)]


def scorecard_markdown(card: Scorecard) -> list[str]:
    """As a table for a pull request."""
    lines = [
        f"**{card.verdict}**",
        "",
        "| law | promise | result | smallest example | seconds |",
        "|---|---|---|---|---:|",
    ]
    for row in card.rows:
        law, promise, seconds, said = _cells(row)
        cells = (law, promise, said, f"`{row.example}`" if row.example else "", seconds)
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return [*lines, "", *_unchecked(card), "", _again(card)]


def scorecard_json(card: Scorecard) -> dict[str, Any]:
    """As plain values."""
    return {
        "subject": card.subject,
        "ok": card.ok,
        "profile": card.profile,
        "seed": card.seed,
        "laws": [
            {
                "law": row.law,
                "needs": list(row.needs),
                "status": row.status,
                "ok": row.ok,
                "examples": row.examples,
                "seconds": round(row.seconds, 3),
                "known": row.known,
                "smallest_example": row.example or None,
                "report": row.report or None,
            }
            for row in card.rows
        ],
        "not_checked": {promise: list(laws) for promise, laws in card.unpromised.items()},
    }


def _cells(row: Scored) -> tuple[str, str, str, str]:
    return row.law, ", ".join(row.needs) or "always", f"{row.seconds:.1f}", row.said


def _unchecked(card: Scorecard) -> Iterator[str]:
    for promise, laws in card.unpromised.items():
        yield f"promises no {promise}: {len(laws)} law{'s' * (len(laws) != 1)} not checked ({', '.join(laws)})"


def _again(card: Scorecard) -> str:
    return f"again: modelroute audit {card.subject} --profile {card.profile} --seed {card.seed}"
