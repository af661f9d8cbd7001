"""One run of one case, and what an evaluation shares between them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pytest_modelroute.errors import EvaluationError, ScoreError
from pytest_modelroute.evaluation.cases import MISSING, Case
from pytest_modelroute.evaluation.results import CaseResult, StepEvaluation
from pytest_modelroute.evaluation.routes import Routes
from pytest_modelroute.evaluation.scorers import Scorer, pass_mark, read_score, scorer_name
from pytest_modelroute.evaluation.thresholds import StepThreshold
from pytest_modelroute.evaluation.verdict import Verdict
from pytest_modelroute.wire.call_log import CallLog, ProviderCall
from pytest_modelroute.wire.case_run import CaseRun
from pytest_modelroute.wire.exchanges import Wire
from pytest_modelroute.wire.labels import Label, labelled
from pytest_modelroute.wire.places import raise_site

if TYPE_CHECKING:
    from pytest_modelroute.evaluation.tiers import AllTiers


class Progress(Protocol):
    """Told after every case, for a line on a terminal."""

    def __call__(self, *, step: str | None, done: int, total: int, wrong: int) -> None:
        """`done` of `total` cases were run, of which `wrong` were wrong or ended in an error."""
        ...


@dataclass(kw_only=True)
class Bench:
    """What an evaluation needs to know of the test that it runs in."""

    wire: Wire
    conclude: Callable[[StepEvaluation, Verdict], None]
    "Reports the verdict, and fails the test where it is not ok."
    thresholds: Sequence[StepThreshold] = ()
    "Of the test's markers."
    declared: Callable[[str], StepThreshold | None] = lambda _step: None
    "The threshold of the settings for a step that no marker names."
    folders: Sequence[Path] = ()
    "Where case files are looked for."
    routes: Routes = field(default_factory=Routes)
    only_case: str | None = None
    "Run this case alone."
    progress: Progress | None = None
    every_model: Callable[[], AllTiers] | None = None
    "The models that every case is run on, and recorded; None where it is run as it comes."
    evaluated: set[str | None] = field(default_factory=set[str | None])
    "The steps that were evaluated."
    forgotten: dict[object, str] = field(default_factory=dict[object, str])
    "Evaluations that were made by `aio` and not awaited."


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An evaluation, as asked for and checked."""

    cases: Sequence[Case]
    run: Callable[[Any], Any]
    step: str | None
    threshold: StepThreshold | None
    score: Scorer
    route: Callable[[CallLog], str | None] | None
    concurrency: int
    runs: Mapping[str, CaseRun] = field(default_factory=dict[str, CaseRun])
    "The id of a case -> which run of it this is, where each case is run on every model."


class Attempt:
    """One run of one case: labels its calls, takes its time, keeps what it raised."""

    def __init__(self, bench: Bench, plan: Plan, case: Case) -> None:
        """Not begun; use it as a context manager around the run, and set `output` in it."""
        self.output: Any = None
        self._bench = bench
        self._plan = plan
        self._case = case
        self._calls: list[ProviderCall] = []
        self._error: Exception | None = None
        self._elapsed = 0.0
        self._who = ""

    def __enter__(self) -> None:
        """Begin, or go on: from here on calls and time belong to the case."""
        wire = self._bench.wire
        run = self._plan.runs.get(self._case.id)
        label = Label(step=self._plan.step, case=self._case.id, calls=self._calls, run=run)
        self._block = labelled(label)
        self._block.__enter__()
        if not wire.unlabelled_is_ambiguous:
            wire.running = label
        self._start = wire.now

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> bool:
        """End; an exception of the code under test is kept, anything else goes on."""
        wire = self._bench.wire
        wire.calls.settle()
        # Rounded to the nanosecond that clocks count in, or a sum of floats would tip over a limit that is met exactly.
        self._elapsed = round(self._elapsed + wire.now - self._start, 9)
        wire.running = None
        self._block.__exit__(None, None, None)
        if isinstance(error, Exception) and not isinstance(error, EvaluationError):
            self._error = error
            return True
        return False

    def result(self) -> CaseResult:
        """
        What came of it.

        Raises:
            ScoreError: The scorer returned something that is not a score.

        """
        case, plan = self._case, self._plan
        if inspect.iscoroutine(self.output):
            self.output.close()
            raise EvaluationError(f"case {case.id!r}: run returned a coroutine that was never awaited")
        score = self._score() if self._error is None else None
        route = self._route()
        score = score if self._error is None else None
        return CaseResult(
            case=case,
            output=self.output,
            score=score,
            passed=score is not None and score >= pass_mark(plan.score),
            error=None if self._error is None else self._who + describe_error(self._error),
            error_kind=None if self._error is None else type(self._error).__name__,
            elapsed_s=self._elapsed,
            calls=self._calls or (),
            route=route,
            route_error=self._bench.routes.judge(route, case.expected_routes) if case.expected_routes else None,
            escalated=self._escalated(),
        )

    def _fail(self, error: Exception, who: str) -> None:
        self._error, self._who = error, who

    def _score(self) -> float | None:
        case, scorer = self._case, self._plan.score
        expected = None if case.expected_output is MISSING else case.expected_output
        try:
            return read_score(scorer, self.output, expected)
        except ScoreError as error:
            raise ScoreError(f"case {case.id!r}: {error}") from None
        except Exception as error:  # noqa: BLE001 - the user's scorer may raise anything: an error is not a wrong answer
            self._fail(error, f"the scorer {scorer_name(scorer)} raised ")
            return None

    def _route(self) -> str | None:
        if self._plan.route is not None and self._error is None:
            try:
                return self._plan.route(CallLog(self._calls))
            except Exception as error:  # noqa: BLE001 - the user's function may raise anything
                self._fail(error, "the function route= raised ")
        helpers = self._bench.routes.helpers
        answers = [call for call in self._calls if not call.embeds]
        others = [call for call in answers if call.model not in helpers]
        # A model that both classifies and answers cannot be told apart by name: where no other was called, it answered.
        completed = [call.model for call in others or answers if call.completed]
        return completed[-1] if completed else None

    def _escalated(self) -> bool:
        routes = self._bench.routes
        answers = (call for call in self._calls if not call.embeds and call.model not in routes.helpers)
        return len({routes.tier(call.model) for call in answers}) > 1


def describe_error(error: BaseException) -> str:
    """The error and the place in the user's code that raised it."""
    place = raise_site(error)
    return f"{type(error).__name__}: {error}" + (f" at {place}" if place else "")
