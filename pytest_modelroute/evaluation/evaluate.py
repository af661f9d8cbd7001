"""`evaluate_step`: runs the code under test on every case and measures it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pytest_modelroute.errors import CasesError, EvaluationError, ModelRouteError
from pytest_modelroute.evaluation.cases import MISSING, Case, Cases, load_cases
from pytest_modelroute.evaluation.results import CaseResult, StepEvaluation
from pytest_modelroute.evaluation.routes import Routes
from pytest_modelroute.evaluation.scorers import (
    Scorer,
    contains,
    exact_match,
    json_equal,
    pass_mark,
    read_score,
    regex,
    scorer_name,
)
from pytest_modelroute.evaluation.thresholds import StepThreshold
from pytest_modelroute.evaluation.verdict import Verdict, judge
from pytest_modelroute.wire.call_log import CallLog, ProviderCall
from pytest_modelroute.wire.exchanges import Wire
from pytest_modelroute.wire.labels import Label, labelled
from pytest_modelroute.wire.places import raise_site


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
    skip: Callable[[str], None] = lambda _reason: None
    "Skips the test: the case asked for is not here."
    progress: Progress | None = None
    evaluated: set[str | None] = field(default_factory=set[str | None])
    "The steps that were evaluated."
    forgotten: set[str] = field(default_factory=set[str])
    "Evaluations that were made by `aio` and not awaited."


@dataclass(frozen=True, kw_only=True)
class _Plan:
    cases: Sequence[Case]
    run: Callable[[Any], Any]
    step: str | None
    threshold: StepThreshold | None
    score: Scorer
    route: Callable[[CallLog], str | None] | None
    concurrency: int


class StepEvaluator:
    """The fixture `evaluate_step`."""

    def __init__(self, bench: Bench) -> None:
        """Bind it to a test."""
        self._bench = bench

    def __call__(
        self,
        cases: Cases,
        run: Callable[[Any], Any],
        *,
        step: str | None = None,
        score: Scorer = exact_match,
        route: Callable[[CallLog], str | None] | None = None,
        concurrency: int = 1,
    ) -> StepEvaluation:
        """
        Run every case and judge the step by its limits; fails the test where they do not hold.

        Args:
            cases: A file beside the test, or cases.
            run: The code under test, called with `case.inputs`; sync, or async outside of a running event loop.
            step: The step, where the test has several markers or none.
            score: Compares an output with the expected one.
            route: Tells the model that answered from the calls of a case, where it is not the last completed one.
            concurrency: How many cases may be under way at once: tasks for async code, threads for sync code.

        Returns:
            The evaluation, for further assertions.

        """
        __tracebackhide__ = True
        plan = self._plan(cases, run, step, score, route, concurrency)
        return self._conclude(plan, self._run_all(plan))

    def aio(self, cases: Cases, run: Callable[[Any], Any], **options: Any) -> Coroutine[Any, Any, StepEvaluation]:
        """Do the same inside a running event loop: `await evaluate_step.aio(...)`."""
        mark = f"evaluate_step.aio({cases if isinstance(cases, str | Path) else '...'})"
        self._bench.forgotten.add(mark)

        async def evaluate() -> StepEvaluation:
            __tracebackhide__ = True
            self._bench.forgotten.discard(mark)
            defaults: dict[str, Any] = {"step": None, "score": exact_match, "route": None, "concurrency": 1}
            plan = self._plan(cases, run, **{**defaults, **options})
            return self._conclude(plan, await self._run_all_async(plan))

        return evaluate()

    def _plan(
        self,
        cases: Cases,
        run: Callable[[Any], Any],
        step: str | None,
        score: Scorer,
        route: Callable[[CallLog], str | None] | None,
        concurrency: int,
    ) -> _Plan:
        bench = self._bench
        if not callable(run):
            raise EvaluationError(f"run={run!r} cannot be called; give the function under test, without parentheses")
        if type(concurrency) is not int or concurrency < 1:
            raise EvaluationError(f"concurrency={concurrency!r}: a number of cases at once, 1 or more, was expected")
        threshold = self._threshold(step)
        loaded = load_cases(cases, folders=bench.folders)
        _check_expected(loaded, score)
        _check_routes(loaded, bench.routes)
        if bench.only_case is not None:
            loaded = [case for case in loaded if case.id == bench.only_case]
            if not loaded:
                bench.skip(f"it has no case {bench.only_case!r}")
        return _Plan(
            cases=loaded,
            run=run,
            step=threshold.step if threshold is not None else step,
            threshold=threshold,
            score=score,
            route=route,
            concurrency=concurrency,
        )

    def _threshold(self, step: str | None) -> StepThreshold | None:
        marked = {threshold.step: threshold for threshold in self._bench.thresholds}
        if step is None and len(marked) > 1:
            raise EvaluationError(
                f"which step is it? The test is marked with several: {', '.join(map(repr, marked))}; "
                "say evaluate_step(..., step=...)"
            )
        if step is None:
            return next(iter(marked.values()), None)
        if step in marked:
            return marked[step]
        if marked:
            raise EvaluationError(
                f"step={step!r} is not marked on this test, so nothing would judge it; "
                f"marked: {', '.join(map(repr, marked))}"
            )
        return self._bench.declared(step)

    def _run_all(self, plan: _Plan) -> list[CaseResult]:
        if inspect.iscoroutinefunction(plan.run):
            return self._in_new_loop(plan)
        if plan.concurrency > 1:
            return self._run_threads(plan)
        results: list[CaseResult] = []
        for case in plan.cases:
            attempt = _Attempt(self._bench, plan, case)
            with attempt:
                value = plan.run(case.inputs)
                if inspect.isawaitable(value):
                    # A plain function that returns a coroutine, such as a lambda around an async one.
                    return self._in_new_loop(plan, first=value)
                attempt.output = value
            results.append(attempt.result())
            self._tell(plan, results)
        return results

    def _in_new_loop(self, plan: _Plan, first: Awaitable[Any] | None = None) -> list[CaseResult]:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            with asyncio.Runner() as runner:
                return runner.run(self._run_all_async(plan, first))
        if inspect.iscoroutine(first):
            first.close()
        raise EvaluationError(
            "evaluate_step(...) cannot run async code inside a running event loop; in an async test write "
            "await evaluate_step.aio(...)"
        )

    async def _run_all_async(self, plan: _Plan, first: Awaitable[Any] | None = None) -> list[CaseResult]:
        results: list[CaseResult | None] = [None] * len(plan.cases)
        done: list[CaseResult] = []
        waiting = iter(enumerate(plan.cases))
        opening = [first] if first is not None else []

        async def work() -> None:
            for index, case in waiting:
                attempt = _Attempt(self._bench, plan, case)
                with attempt:
                    value = opening.pop() if opening else plan.run(case.inputs)
                    attempt.output = await value if inspect.isawaitable(value) else value
                results[index] = attempt.result()
                done.append(attempt.result())
                self._tell(plan, done)

        if plan.concurrency == 1:
            await work()
        else:
            await self._gather(plan, work)
        return [result for result in results if result is not None]

    async def _gather(self, plan: _Plan, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._bench.wire.unlabelled_is_ambiguous = True
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(plan.concurrency, len(plan.cases))):
                    group.create_task(work())
        except BaseExceptionGroup as group_error:
            # One error says it; the others are the same from tasks beside it.
            raise group_error.exceptions[0] from None
        finally:
            self._bench.wire.unlabelled_is_ambiguous = False

    def _run_threads(self, plan: _Plan) -> list[CaseResult]:
        wire = self._bench.wire

        def work(case: Case) -> CaseResult:
            with wire.clock.thread() if wire.clock is not None else nullcontext():
                attempt = _Attempt(self._bench, plan, case)
                with attempt:
                    attempt.output = plan.run(case.inputs)
                    if inspect.isawaitable(attempt.output):
                        _refuse_awaitable(attempt.output)
                return attempt.result()

        results: list[CaseResult] = []
        wire.unlabelled_is_ambiguous = True
        try:
            with ThreadPoolExecutor(plan.concurrency) as pool:
                for result in pool.map(work, plan.cases):
                    results.append(result)
                    self._tell(plan, results)
        finally:
            wire.unlabelled_is_ambiguous = False
        return results

    def _tell(self, plan: _Plan, results: Sequence[CaseResult]) -> None:
        if self._bench.progress is not None:
            wrong = 0 if results[-1].right else 1
            self._bench.progress(step=plan.step, done=len(results), total=len(plan.cases), wrong=wrong)

    def _conclude(self, plan: _Plan, results: Sequence[CaseResult]) -> StepEvaluation:
        __tracebackhide__ = True
        bench = self._bench
        evaluation = StepEvaluation(
            step=plan.step,
            results=results,
            clock="real" if bench.wire.clock is None else "virtual",
            routes=bench.routes,
        )
        bench.evaluated.add(plan.step)
        bench.conclude(evaluation, judge(evaluation, plan.threshold if bench.only_case is None else None))
        return evaluation


class _Attempt:
    """One run of one case: labels its calls, takes its time, keeps what it raised."""

    def __init__(self, bench: Bench, plan: _Plan, case: Case) -> None:
        self.output: Any = None
        self._bench = bench
        self._plan = plan
        self._case = case
        self._calls: list[ProviderCall] = []
        self._error: Exception | None = None
        self._result: CaseResult | None = None

    def __enter__(self) -> None:
        wire = self._bench.wire
        label = Label(step=self._plan.step, case=self._case.id, calls=self._calls)
        self._block = labelled(label)
        self._block.__enter__()
        if not wire.unlabelled_is_ambiguous:
            wire.running = label
        self._start = wire.now

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> bool:
        wire = self._bench.wire
        self._elapsed = wire.now - self._start
        wire.running = None
        self._block.__exit__(None, None, None)
        if isinstance(error, Exception) and not isinstance(error, EvaluationError):
            self._error = error
            return True
        return False

    def result(self) -> CaseResult:
        if self._result is None:
            self._result = self._read()
        return self._result

    def _read(self) -> CaseResult:
        case, plan = self._case, self._plan
        score: float | None = None
        if self._error is None:
            expected = None if case.expected_output is MISSING else case.expected_output
            try:
                score = read_score(plan.score, self.output, expected)
            except ModelRouteError as error:
                raise type(error)(f"case {case.id!r}: {error}") from None
        route = self._route()
        return CaseResult(
            case=case,
            output=self.output,
            score=score,
            passed=score is not None and score >= pass_mark(plan.score),
            error=None if self._error is None else describe_error(self._error),
            elapsed_s=self._elapsed,
            calls=self._calls or (),
            route=route,
            route_error=self._bench.routes.judge(route, case.expected_routes) if case.expected_routes else None,
            escalated=self._escalated(),
        )

    def _route(self) -> str | None:
        if self._plan.route is not None:
            return self._plan.route(CallLog(self._calls))
        completed = [call.model for call in self._calls if call.completed]
        answers = [model for model in completed if model not in self._bench.routes.helpers]
        # A model that both classifies and answers cannot be told apart by name: then the last call is the answer.
        return (answers or completed or ("",))[-1] or None

    def _escalated(self) -> bool:
        routes = self._bench.routes
        return len({routes.tier(call.model) for call in self._calls if call.model not in routes.helpers}) > 1


def describe_error(error: BaseException) -> str:
    """The error and the place in the user's code that raised it."""
    place = raise_site(error)
    return f"{type(error).__name__}: {error}" + (f" at {place}" if place else "")


def _refuse_awaitable(value: Any) -> None:
    if inspect.iscoroutine(value):
        value.close()
    raise EvaluationError(
        "run returned a coroutine from a plain function; give the async function itself (run=app.classify, not a "
        "lambda around it), or use concurrency=1"
    )


def _check_expected(cases: Sequence[Case], score: Scorer) -> None:
    if score not in (exact_match, contains, regex, json_equal) and scorer_name(score) != "numeric_match":
        return
    for case in cases:
        if case.expected_output is MISSING:
            raise CasesError(
                f"case {case.id!r} has no expected_output, which the scorer {scorer_name(score)} compares with"
            )


def _check_routes(cases: Sequence[Case], routes: Routes) -> None:
    for case in cases:
        for route in case.expected_routes:
            hint = routes.unknown(route)
            if hint is not None:
                raise CasesError(
                    f"case {case.id!r}: expected_route {route!r} is no model, alias or tier of the settings; {hint}"
                )
