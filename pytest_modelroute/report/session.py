"""The section at the end of a run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator


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
