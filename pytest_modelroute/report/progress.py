"""The line that shows on a terminal how far an evaluation is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pytest_modelroute.wire.virtual_time import real_monotonic_ns

_INTERVAL_NS: Final = 100_000_000


class ProgressLine:
    """Rewrites one line, ten times a second at the most."""

    def __init__(self, rewrite: Callable[[str], None], *, note: Callable[[], str] = str) -> None:
        """`rewrite` writes a text over the line before; `note` gives what else is to be said, or nothing."""
        self._rewrite = rewrite
        self._note = note
        self._last = 0
        self._wrong = 0

    def __call__(self, *, step: str | None, done: int, total: int, wrong: int) -> None:
        """Count a case; the last one clears the line."""
        self._wrong += wrong
        now = real_monotonic_ns()  # virtual time may stand still for the whole evaluation
        if done == total:
            self._rewrite("")
            self._wrong = 0
        elif now - self._last >= _INTERVAL_NS:
            self._last = now
            note = self._note()
            more = f"; {note}" if note else ""
            self._rewrite(f"{step or 'evaluating'}: {done}/{total} cases, {self._wrong} wrong{more}")
