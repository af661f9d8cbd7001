"""`modelroute mutate`: tests a suite, by runs in which its providers misbehave."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_modelroute.errors import TamperingError

if TYPE_CHECKING:
    from argparse import Namespace

    from pytest_modelroute.cli.parser import Tell
    from pytest_modelroute.cli.suite import Ended, Suite
    from pytest_modelroute.report.mutation import Mutation, Outcome, Status
    from pytest_modelroute.wire.defects import Defect
    from pytest_modelroute.wire.observed import Observed

_FOUND, _ERROR = 1, 2
_GREEN, _RED, _STOPPED, _NO_TESTS = 0, 1, 2, 5
"Exit codes of pytest; with workers, the first failure stops the run as a person at the keyboard would."
_AT_LEAST_S: Final = 30.0
_TIMES: Final = 5
"A run with a defect may take so many times as long as the untouched one, and that much more."
_RARE: Final = "its replies hold more than can be written anew, so that a red run would not be the doing of the defect"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planned:
    """A run to be made, or why it is not."""

    name: str
    defect: Defect
    labels: Sequence[str] = ()
    absent: str = ""

    @property
    def green_when(self) -> str:
        shown = ", ".join(self.labels[:4]) + (", ..." if len(self.labels) > 4 else "")  # noqa: PLR2004 - a glimpse
        return f"{self.defect.green_when} ({shown})" if shown else self.defect.green_when


def mutate(options: Namespace, tell: Tell) -> tuple[list[str], int]:
    """1 where the score is below --min-score, 2 where a run could not be judged."""
    if options.list:
        return _listed(), 0
    from pytest_modelroute.cli.suite import Suite
    from pytest_modelroute.report.mutation import Mutation, as_json, counted, markdown_lines, progress, text_lines

    chosen = _chosen(options.only)
    suite = Suite(_command(options.command))
    untouched = suite.run("observe")
    seen = _seen(suite, untouched)
    stored = json.dumps(seen.to_json()).encode()
    _keep(stored)
    tell(
        f"untouched: green in {untouched.seconds:.1f} s, {counted(seen.tests, 'test')} with "
        f"{counted(seen.calls, 'provider call')}"
    )
    limit = options.timeout or _AT_LEAST_S + _TIMES * untouched.seconds
    outcomes: list[Outcome] = []
    for outcome in _outcomes(suite, list(_plan(chosen, seen)), seen, stored, limit):
        outcomes.append(outcome)
        tell(progress(outcome))
    mutation = Mutation(
        command=suite.command, tests=seen.tests, calls=seen.calls, seconds=untouched.seconds, outcomes=outcomes
    )
    if options.format == "json":
        lines = [json.dumps(as_json(mutation), indent=2)]
    else:
        lines = list((text_lines if options.format == "text" else markdown_lines)(mutation))
    return lines, _code(mutation, options.min_score)


def _code(mutation: Mutation, min_score: float) -> int:
    # What measured nothing has shown nothing.
    if mutation.of("error") or not mutation.counted:
        return _ERROR
    return _FOUND if mutation.score < min_score else 0


def _listed() -> list[str]:
    from pytest_modelroute.wire.defects import DEFECTS

    width = max(map(len, DEFECTS))
    return [f"{name.ljust(width)}  {defect.green_when}" for name, defect in DEFECTS.items()]


def _chosen(only: Sequence[str]) -> dict[str, int | None]:
    """Defect -> the kind of label asked for; in the order of their table."""
    from pytest_modelroute.report.tampered import Asked
    from pytest_modelroute.wire.defects import DEFECTS

    if not only:
        return dict.fromkeys(DEFECTS)
    asked: dict[str, int | None] = {}
    for word in ",".join(only).split(","):
        read = Asked.read(word.strip())
        if read.defect is None:
            raise TamperingError(f"--only {word}: a defect was expected; see what there is: modelroute mutate --list")
        asked[read.defect.name] = read.number
    return {name: asked[name] for name in DEFECTS if name in asked}


def _command(words: Sequence[str]) -> Sequence[str]:
    command = words[1:] if words[:1] == ["--"] else words
    if not command:
        raise TamperingError("what runs the suite is missing: modelroute mutate -- pytest tests")
    return command


def _seen(suite: Suite, untouched: Ended) -> Observed:
    """What the untouched run has shown; an error where it is not green, or shows nothing to tamper with."""
    from shlex import join

    from pytest_modelroute.wire.observed import Observed

    shown = f"{join(suite.command)}\n{untouched.tail}"
    if untouched.code != _GREEN:
        wrong = {
            _RED: "the suite is red before anything is tampered with; make it green first",
            _NO_TESTS: "no test was run; name tests that are there",
        }
        raise TamperingError(
            f"{wrong.get(untouched.code or 0, f'pytest could not run the suite (exit code {untouched.code})')}: {shown}"
        )
    seen = Observed.together(Observed.from_json(note["seen"]) for note in untouched.notes if "seen" in note)
    if not seen.calls:
        raise TamperingError(
            "no provider call was seen in this run, so that there is nothing to tamper with: only tests with "
            f"mock_providers, recorded_providers, evaluate_step or call_log show their calls: {shown}"
        )
    if not seen.answered:
        raise TamperingError(
            f"all {seen.calls} provider calls went to the network, where nothing is tampered with: script them "
            f"(mock_providers) or replay a recording (recorded_providers): {shown}"
        )
    return seen


def _keep(stored: bytes) -> None:
    """For whoever runs the suite with a defect by hand."""
    from pytest_modelroute.cassettes.atomic import replace_whole
    from pytest_modelroute.cassettes.state import part_of
    from pytest_modelroute.report.tampered import KNOWN

    try:
        part_of(KNOWN.parent.parent, KNOWN.parent.name)
        replace_whole(KNOWN, stored)
    except OSError as error:
        raise TamperingError(f"{KNOWN}: what the untouched run has shown cannot be kept: {error}") from None


def _plan(chosen: dict[str, int | None], seen: Observed) -> Iterator[_Planned]:
    from pytest_modelroute.report.mutation import counted
    from pytest_modelroute.wire.defects import DEFECTS

    for name, number in chosen.items():
        defect = DEFECTS[name]
        if name == "flip_label":
            kinds = list(enumerate(seen.labelled, start=1))
            wanted = [(position, key) for position, key in kinds if number in (None, position)]
            for position, key in wanted:
                labels = sorted(seen.questions[key].labels)
                yield _Planned(name=f"{name}:{position}", defect=defect, labels=labels)
            if not wanted:
                absent = f"the suite has {counted(len(kinds), 'kind')} of labels" if kinds else defect.absent
                yield _Planned(name=name if number is None else f"{name}:{number}", defect=defect, absent=absent)
        else:
            applies = seen.has_choice if defect.redirects is not None else seen.applies[name]
            yield _Planned(name=name, defect=defect, absent="" if applies else defect.absent)


def _outcomes(suite: Suite, plan: Sequence[_Planned], seen: Observed, stored: bytes, limit: float) -> Iterator[Outcome]:
    from pytest_modelroute.report.mutation import Outcome
    from pytest_modelroute.report.tampered import ANEW

    rewriting = any(each.defect.rewrites and not each.absent for each in plan)
    # A script's reply is written by us anyway; a recorded one has members of its provider's own.
    readable = not (seen.recorded and rewriting) or suite.run(ANEW, seen=stored, timeout=limit).code == _GREEN
    for each in plan:
        absent = each.absent or ("" if readable or not each.defect.rewrites else _RARE)
        if absent:
            yield Outcome(name=each.name, status="not applicable", green_when=each.green_when, why=absent)
        else:
            yield _judged(each, suite.run(each.name, seen=stored, timeout=limit))


def _judged(planned: _Planned, ended: Ended) -> Outcome:
    from pytest_modelroute.report.mutation import Outcome

    changed, why = ended.changed, ""
    status: Status
    if ended.code is None:
        status = "killed"
    elif ended.code not in (_GREEN, _RED) and not (ended.code == _STOPPED and ended.failed):
        status, why = "error", f"pytest ended with exit code {ended.code}\n{ended.tail}"
    elif not changed:
        status, why = ("not applicable", planned.defect.absent) if ended.code == _GREEN else ("error", _flaky(ended))
    else:
        status = "survived" if ended.code == _GREEN else "killed"
    return Outcome(
        name=planned.name,
        status=status,
        green_when=planned.green_when,
        notice=planned.defect.notice,
        why=why,
        changed=changed,
        killed_by=ended.failed,
        timed_out=ended.code is None,
        seconds=ended.seconds,
    )


def _flaky(ended: Ended) -> str:
    return (
        f"the suite was green, and is red although no call was changed: {', '.join(ended.failed) or 'no test'}\n"
        f"{ended.tail}"
    )
