"""Cassettes in words: the list of them, what an audit found, what can be pruned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Any, Final

from pytest_modelroute.cassettes.audit import Audited
from pytest_modelroute.cassettes.overview import Overview
from pytest_modelroute.cassettes.pruning import NO_TEST, Unused
from pytest_modelroute.cassettes.staleness import Stale
from pytest_modelroute.report.numbers import table
from pytest_modelroute.wire.places import short_path

_FLAGS: Final = {
    "old": "too old",
    "deprecated": "model deprecated",
    "repriced": "price changed",
    "another_version": "alias moved",
}
_HEADINGS: Final = ("cassette", "interactions", "models", "oldest", "size", "state")
_MODELS: Final = 3
_POSITIONS: Final = 12


def list_lines(overviews: Sequence[Overview], moved: Sequence[Stale] = ()) -> list[str]:
    """
    The cassettes, a line each: verdict first, what is stale or cannot be read, what to do.

    Args:
        overviews: Of each.
        moved: What is known of aliases from all of them together.

    """
    rows = [_HEADINGS, *(_row(each) for each in overviews if each.problem is None)]
    reasons = [
        *(f"{short_path(str(each.path))}: {stale.message}" for each in overviews for stale in each.stale),
        *(stale.message for stale in moved),
    ]
    broken = [each.problem for each in overviews if each.problem is not None]
    lines = [_verdict(overviews)]
    if len(rows) > 1:
        lines += ["", *table(rows)]
    if broken:
        lines += ["", "unreadable:", *(f"  {problem}" for problem in broken)]
    if reasons:
        lines += ["", "stale:", *(f"  {reason}" for reason in reasons)]
    return [*lines, "", _next_of_list(overviews)]


def list_json(overviews: Sequence[Overview], moved: Sequence[Stale] = ()) -> dict[str, Any]:
    """The same for machines."""
    return {
        "cassettes": [
            {
                "path": short_path(str(each.path)),
                "problem": each.problem,
                "interactions": each.interactions,
                "foreign": each.foreign,
                "models": dict(sorted(each.models.items())),
                "oldest": each.oldest,
                "bytes": each.size,
                "stale": [{"kind": stale.kind, "message": stale.message} for stale in each.stale],
            }
            for each in overviews
        ],
        "stale": [{"kind": stale.kind, "message": stale.message} for stale in moved],
    }


def _verdict(overviews: Sequence[Overview]) -> str:
    stale = sum(bool(each.stale) for each in overviews)
    broken = sum(each.problem is not None for each in overviews)
    flaws = [f"{number} {word}" for number, word in ((broken, "unreadable"), (stale, "stale")) if number]
    calls = counted(sum(each.interactions for each in overviews), "interaction")
    size = show_bytes(sum(each.size for each in overviews))
    return f"{counted(len(overviews), 'cassette')}, {calls}, {size}: {', '.join(flaws) or 'all fine'}"


def _row(each: Overview) -> tuple[str, ...]:
    flags = [_FLAGS[kind] for kind in dict.fromkeys(stale.kind for stale in each.stale)]
    if each.foreign:
        flags.append(f"{each.foreign} of another tool")
    names = [model for model, _ in each.models.most_common()]
    models = ", ".join(names[:_MODELS]) + (f" and {len(names) - _MODELS} more" if len(names) > _MODELS else "")
    return (
        short_path(str(each.path)),
        str(each.interactions),
        models or "none",
        (each.oldest or "unknown")[:10],
        show_bytes(each.size),
        ", ".join(flags) or "ok",
    )


def _next_of_list(overviews: Sequence[Overview]) -> str:
    worst = next((each for each in overviews if each.problem is not None), None)
    if worst is not None:
        return f"look at one: modelroute cassettes show {quote(short_path(str(worst.path)))}"
    if any(each.stale for each in overviews):
        return "see what a live model says now: modelroute cassettes drift --sample 20"
    if overviews:
        return f"look at one: modelroute cassettes show {quote(short_path(str(overviews[0].path)))}"
    return "record one: pytest --modelroute-record=new"


def audit_lines(audited: Audited) -> list[str]:
    """What an audit found: verdict first, a line each, what to do."""
    looked = f"{counted(audited.files, 'file')} ({counted(audited.cassettes, 'cassette')})"
    secrets = sum(flaw.kind == "secret" for flaw in audited.flaws)
    others = len(audited.flaws) - secrets
    if not audited.flaws:
        return [f"clean: no secrets in {looked}, and every cassette is as it was recorded"]
    counts = [counted(secrets, "secret")] if secrets else []
    if others:
        counts.append(counted(others, "damaged or unreadable file"))
    lines = [f"found {' and '.join(counts)} in {looked}:"]
    lines += [f"  {_shortened(flaw.path, str(flaw))}" for flaw in audited.flaws]
    if secrets:
        lines += [
            "",
            "a key that was committed is known to others: revoke it first. Then record the test again,",
            "or put REDACTED in its place and vouch for the file: modelroute cassettes accept FILE",
        ]
    return lines


def unused_lines(found: Sequence[Unused], *, done: bool, command: str) -> list[str]:
    """
    What can be removed, or was: verdict first, a line a cassette, the tests that have to run, what to do.

    Args:
        found: Of each cassette.
        done: Whether it is removed.
        command: What removes it.

    """
    removable = [each for each in found if each.complete and (each.whole or each.unused)]
    unknown = [each for each in found if not each.complete]
    files = sum(each.whole for each in removable)
    calls = sum(len(each.unused) for each in removable if not each.whole)
    parts = [counted(files, "cassette")] if files else []
    parts += [counted(calls, "interaction")] if calls else []
    what = " and ".join(parts) or "nothing"
    rest = f"; of {counted(len(unknown), 'cassette')} not enough is known" if unknown else ""
    lines = [f"{'removed' if done else 'to remove'}: {what} ({counted(len(found), 'cassette')} seen{rest})"]
    lines += [f"  {short_path(str(each.path))}: {_removal(each)}" for each in removable]
    if unknown:
        lines += ["", "not enough is known of, and nothing is removed of:"]
        lines += [f"  {short_path(str(each.path))}: {each.reason}" for each in unknown]
    return [*lines, *_next_of_prune(removable, unknown, done=done, command=command)]


def _removal(each: Unused) -> str:
    if each.whole:
        return f"the whole file, {counted(each.interactions, 'interaction')}: {each.reason}"
    numbers = [str(position + 1) for position in each.unused]
    more = f" and {len(numbers) - _POSITIONS} more" if len(numbers) > _POSITIONS else ""
    shown = ", ".join(numbers[:_POSITIONS])
    return f"{len(numbers)} of {counted(each.interactions, 'interaction')} (number {shown}{more}): {each.reason}"


def _next_of_prune(removable: Sequence[Unused], unknown: Sequence[Unused], *, done: bool, command: str) -> list[str]:
    lines: list[str] = []
    tests = list(dict.fromkeys(test for each in unknown for test in each.run))
    if tests:
        lines.append(f"run first: pytest {' '.join(map(quote, tests))}")
    if any(each.reason == NO_TEST for each in unknown):
        lines.append("run the whole suite first: pytest; a cassette that no test is known to use then can be deleted")
    if done and any(not each.whole for each in removable):
        lines.append("run the tests again: pytest")
    if not done and removable:
        lines.append(f"remove it: {command}")
    return ["", *lines] if lines else []


def show_bytes(size: int) -> str:
    """A size in the unit that fits it."""
    if size < 1000:  # noqa: PLR2004 - kilo
        return f"{size} B"
    return f"{size / 1000:.1f} kB" if size < 1_000_000 else f"{size / 1_000_000:.1f} MB"  # noqa: PLR2004 - mega


def counted(number: int, what: str) -> str:
    """A number of things."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _shortened(path: Path, text: str) -> str:
    return text.replace(str(path), short_path(str(path)), 1)
