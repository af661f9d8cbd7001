"""The section at the end of a run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

from pytest_modelroute.report.laws import law_lines
from pytest_modelroute.report.numbers import show_usd


def section_lines(
    evaluations: Iterable[tuple[str, str]], recordings: Iterable[tuple[str, str]], laws: Iterable[tuple[str, str]]
) -> list[str]:
    """The whole section: (test id, JSON) of the evaluations, the recordings and the laws of a run."""
    return [
        *session_lines(evaluations),
        *law_lines(law for _, law in laws),
        *recording_lines(recording for _, recording in recordings),
    ]


def session_lines(evaluations: Iterable[tuple[str, str]]) -> Iterator[str]:
    """
    The lines of the section; none where nothing was evaluated.

    Args:
        evaluations: (test id, its evaluations as JSON), as reports carry them. What failed has explained itself already
            and is one line here; what passed is shown with its evidence.

    """
    for test, summaries in sorted(evaluations):
        for summary in json.loads(summaries):
            lines = summary["lines"] if summary["ok"] else summary["lines"][:1]
            yield f"{lines[0]}  ({test})"
            yield from lines[1:]


def recording_lines(recordings: Iterable[str]) -> Iterator[str]:
    """
    What was recorded, and which recordings are stale; nothing where calls were replayed alone, and are good.

    Args:
        recordings: Of each test with recorded providers, as JSON.

    """
    tests: list[dict[str, Any]] = [json.loads(recording) for recording in recordings]
    live = sum(test["live"] for test in tests)
    if live or any(test["recorded"] for test in tests):
        saved = sum(test["recorded"] for test in tests)
        cassettes = len({test["cassette"] for test in tests if test["recorded"]})
        unpriced = sum(test["unpriced"] for test in tests)
        known = f" ({unpriced} of unknown cost)" if unpriced else ""
        spent = f"{show_usd(sum((Decimal(test['usd']) for test in tests), Decimal(0)))} USD{known}"
        yield (
            f"recorded {saved} call{'' if saved == 1 else 's'} in {cassettes} cassette{'' if cassettes == 1 else 's'}; "
            f"{live} live call{'' if live == 1 else 's'} of models cost {spent}"
        )
    kept = sum(test["kept"] for test in tests)
    if kept:
        yield (
            f"{kept} recorded call{' of a test' if kept == 1 else 's of tests'} that did not pass "
            f"wait{'s' if kept == 1 else ''} in the journal, for the next run that records"
        )
    yield from _stale_lines(tests)


def _stale_lines(tests: Iterable[dict[str, Any]]) -> Iterator[str]:
    """One for each cassette and reason, by the test that replayed most of it: others say the same of less."""
    most: dict[tuple[str, str, str], tuple[int, str]] = {}
    for test in tests:
        for kind, model, count, line in test["stale"]:
            reason = test["cassette"], kind, model
            if count > most.get(reason, (0, ""))[0]:
                most[reason] = count, line
    for (cassette, *_), (_, line) in sorted(most.items()):
        yield f"STALE  {cassette}: {line}"
