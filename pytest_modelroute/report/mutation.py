"""What people read of a suite that was tested by tampering with its runs: a verdict first, then what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from shlex import join
from typing import Any, Final, Literal, TypeAlias

from pytest_modelroute.report.tampered import VARIABLE

Status: TypeAlias = Literal["killed", "survived", "not applicable", "error"]
_SHOWN_TESTS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a suite's run with one defect at the wire."""

    name: str
    "The defect; `flip_label:2` for the labels of the second kind of question."
    status: Status
    green_when: str
    notice: str = ""
    "What a test would do that notices the defect."
    why: str = ""
    "Why it does not apply, or what went wrong."
    changed: Mapping[str, int] = field(default_factory=dict[str, int])
    "Test -> its calls that were changed."
    killed_by: Sequence[str] = ()
    "The tests that failed; empty where the run was ended since it took too long."
    timed_out: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """A suite, and its runs."""

    command: Sequence[str]
    tests: int
    "Tests that call providers."
    calls: int
    seconds: float
    "Of the untouched run."
    outcomes: Sequence[Outcome]

    def of(self, status: str) -> list[Outcome]:
        """The outcomes of one kind."""
        return [outcome for outcome in self.outcomes if outcome.status == status]

    @property
    def counted(self) -> int:
        """Defects that the suite had the chance to notice."""
        return len(self.of("killed")) + len(self.of("survived"))

    @property
    def score(self) -> float:
        """The share of them that it noticed; 0 where there was none."""
        return len(self.of("killed")) / self.counted if self.counted else 0.0

    def reproduce(self, outcome: Outcome) -> str:
        """The command that runs the suite with this defect."""
        return f"{VARIABLE}={outcome.name} {join(self.command)}"


def text_lines(mutation: Mutation) -> Iterator[str]:
    """For a terminal."""
    yield _verdict(mutation)
    for outcome in mutation.of("survived"):
        yield f"  {outcome.green_when}  ({_changed(outcome)})"
        yield f"    {mutation.reproduce(outcome)}"
        yield f"    to notice it: {outcome.notice}"
    if mutation.of("killed"):
        yield "noticed:"
        width = max(len(outcome.name) for outcome in mutation.of("killed"))
        yield from (f"  {outcome.name.ljust(width)}  {_killed_by(outcome)}" for outcome in mutation.of("killed"))
    absent: dict[str, list[str]] = {}
    for outcome in mutation.of("not applicable"):
        absent.setdefault(outcome.why, []).append(outcome.name)
    if absent:
        yield "not applicable:"
        yield from (f"  {', '.join(names)}: {why}" for why, names in absent.items())
    for outcome in mutation.of("error"):
        yield f"ERROR  {outcome.name}: {outcome.why}"
        yield f"    {mutation.reproduce(outcome)}"
    yield (
        f"untouched: {counted(mutation.tests, 'test')} with {counted(mutation.calls, 'provider call')} in "
        f"{mutation.seconds:.1f} s; all runs: {_whole(mutation):.1f} s"
    )


def markdown_lines(mutation: Mutation) -> Iterator[str]:
    """For a pull request."""
    yield f"**{_verdict(mutation).removesuffix(':')}**"
    yield ""
    yield "| defect | your suite stays green when | | changed | |"
    yield "| --- | --- | --- | --- | --- |"
    order = ("survived", "error", "killed", "not applicable")
    for outcome in sorted(mutation.outcomes, key=lambda each: order.index(each.status)):
        said = {"survived": f"`{mutation.reproduce(outcome)}`", "killed": _killed_by(outcome)}
        cells = (
            f"`{outcome.name}`",
            outcome.green_when,
            {"killed": "noticed", "survived": "**survived**"}.get(outcome.status, outcome.status),
            str(sum(outcome.changed.values()) or ""),
            said.get(outcome.status, outcome.why),
        )
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def as_json(mutation: Mutation) -> dict[str, Any]:
    """For programs."""
    return {
        "score": round(mutation.score, 4),
        "killed": len(mutation.of("killed")),
        "survived": len(mutation.of("survived")),
        "untouched": {"tests": mutation.tests, "calls": mutation.calls, "seconds": round(mutation.seconds, 3)},
        "defects": [
            {
                "name": outcome.name,
                "status": outcome.status,
                "green_when": outcome.green_when,
                "why": outcome.why,
                "changed": dict(outcome.changed),
                "killed_by": list(outcome.killed_by),
                "timed_out": outcome.timed_out,
                "seconds": round(outcome.seconds, 3),
                "reproduce": mutation.reproduce(outcome),
            }
            for outcome in mutation.outcomes
        ],
    }


def progress(outcome: Outcome) -> str:
    """One line while the runs go on."""
    said = {
        "killed": f"noticed   {outcome.name}  {outcome.seconds:.1f} s",
        "survived": f"SURVIVED  {outcome.name}  {outcome.seconds:.1f} s  {outcome.green_when}",
        "error": f"ERROR     {outcome.name}  {outcome.why}",
    }
    return said.get(outcome.status, f"-         {outcome.name}  not applicable: {outcome.why}")


def _verdict(mutation: Mutation) -> str:
    killed, errors = len(mutation.of("killed")), len(mutation.of("error"))
    unknown = f", {counted(errors, 'run')} could not be judged" if errors else ""
    score = f"score {killed}/{mutation.counted}{unknown}"
    if mutation.of("survived"):
        return f"{score}: your suite stays green when"
    return f"{score}: no defect leaves your suite green" if mutation.counted else f"{score}: nothing was judged"


def _changed(outcome: Outcome) -> str:
    calls = sum(outcome.changed.values())
    most = sorted(outcome.changed, key=lambda test: (-outcome.changed[test], test))
    if len(most) == 1:
        return f"{counted(calls, 'call')} changed in {most[0]}"
    return f"{counted(calls, 'call')} changed in {len(most)} tests, {outcome.changed[most[0]]} of them in {most[0]}"


def _killed_by(outcome: Outcome) -> str:
    if outcome.timed_out:
        return f"the run was ended after {outcome.seconds:.0f} s: it did not end by itself"
    shown = ", ".join(outcome.killed_by[:_SHOWN_TESTS])
    more = len(outcome.killed_by) - _SHOWN_TESTS
    return f"{shown} and {more} more" if more > 0 else shown


def _whole(mutation: Mutation) -> float:
    return mutation.seconds + sum(outcome.seconds for outcome in mutation.outcomes)


def counted(number: int, what: str) -> str:
    """A number of things."""
    return f"{number} {what}{'' if number == 1 else 's'}"
