"""The line on a terminal that shows how far an evaluation is."""

from __future__ import annotations

import pytest

from pytest_modelroute.report.progress import ProgressLine


class _Clock:
    """Nanoseconds that stand until they are moved."""

    def __init__(self) -> None:
        self.now = 10**12

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    """The clock of the line."""
    clock = _Clock()
    monkeypatch.setattr("pytest_modelroute.report.progress.real_monotonic_ns", clock)
    return clock


@pytest.mark.usefixtures("clock")
def test_the_first_case_is_shown_at_once() -> None:
    """Step, cases done, cases in all, wrong ones."""
    written: list[str] = []
    ProgressLine(written.append)(step="classify", done=1, total=9, wrong=0)
    assert written == ["classify: 1/9 cases, 0 wrong"]


@pytest.mark.usefixtures("clock")
def test_an_evaluation_without_a_step_is_shown_too() -> None:
    """By what it does."""
    written: list[str] = []
    ProgressLine(written.append)(step=None, done=1, total=9, wrong=1)
    assert written == ["evaluating: 1/9 cases, 1 wrong"]


def test_the_line_is_rewritten_ten_times_a_second_at_most(clock: _Clock) -> None:
    """A thousand fast cases do not write a thousand lines."""
    written: list[str] = []
    line = ProgressLine(written.append)
    for done in range(1, 31):
        line(step="s", done=done, total=99, wrong=0)
        clock.now += 10_000_000
    assert written == ["s: 1/99 cases, 0 wrong", "s: 11/99 cases, 0 wrong", "s: 21/99 cases, 0 wrong"]


def test_wrong_cases_are_counted_also_where_they_are_not_shown(clock: _Clock) -> None:
    """What was passed over is in the next line."""
    written: list[str] = []
    line = ProgressLine(written.append)
    for done in range(1, 12):
        line(step="s", done=done, total=99, wrong=1)
        clock.now += 10_000_000
    assert written[-1] == "s: 11/99 cases, 11 wrong"


@pytest.mark.usefixtures("clock")
def test_the_last_case_clears_the_line() -> None:
    """What follows on the terminal begins at its left."""
    written: list[str] = []
    line = ProgressLine(written.append)
    line(step="s", done=1, total=2, wrong=0)
    line(step="s", done=2, total=2, wrong=0)
    assert written[-1] == ""


def test_the_next_evaluation_counts_anew(clock: _Clock) -> None:
    """A test may evaluate several steps."""
    written: list[str] = []
    line = ProgressLine(written.append)
    line(step="a", done=1, total=1, wrong=1)
    clock.now += 10**9
    line(step="b", done=1, total=9, wrong=0)
    assert written[-1] == "b: 1/9 cases, 0 wrong"
