"""`evaluate_step`: runs the code under test on every case and measures it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pytest_modelroute.errors import CasesError, EvaluationError
from pytest_modelroute.evaluation.attempts import Attempt, Bench, Plan
from pytest_modelroute.evaluation.cases import MISSING, Case, Cases, load_cases
from pytest_modelroute.evaluation.results import CaseResult, StepEvaluation
from pytest_modelroute.evaluation.routes import Routes
from pytest_modelroute.evaluation.scorers import (
    Scorer,
    check_scorer,
    contains,
    exact_match,
    json_equal,
    regex,
    scorer_name,
)
from pytest_modelroute.evaluation.thresholds import StepThreshold
from pytest_modelroute.evaluation.tiers import EveryModel, first_runs
from pytest_modelroute.evaluation.verdict import Verdict, check_judgeable, judge
from pytest_modelroute.wire.call_log import CallLog


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
            concurrency: How many cases may be under way at once: tasks for async code; threads for sync code, or lanes
                of virtual time.

        Returns:
            The evaluation, for further assertions.

        """
        __tracebackhide__ = True
        plan = self._plan(cases, run, step, score, route, concurrency)
        evaluation, verdict = self._measure(plan, self._run_all(plan))
        everyone = self._everyone(plan, evaluation, verdict)
        if everyone is not None:
            for again, take in everyone.plans():
                take(self._run_all(again))
        return self._conclude(evaluation, verdict, everyone)

    def aio(
        self,
        cases: Cases,
        run: Callable[[Any], Any],
        *,
        step: str | None = None,
        score: Scorer = exact_match,
        route: Callable[[CallLog], str | None] | None = None,
        concurrency: int = 1,
    ) -> Coroutine[Any, Any, StepEvaluation]:
        """Do the same inside a running event loop: `await evaluate_step.aio(...)`."""
        forgotten, token = self._bench.forgotten, object()
        forgotten[token] = f"evaluate_step.aio({repr(str(cases)) if isinstance(cases, str | Path) else '...'})"

        async def evaluate() -> StepEvaluation:
            __tracebackhide__ = True
            forgotten.pop(token, None)
            plan = self._plan(cases, run, step, score, route, concurrency)
            evaluation, verdict = self._measure(plan, await self._run_all_async(plan))
            everyone = self._everyone(plan, evaluation, verdict)
            if everyone is not None:
                for again, take in everyone.plans():
                    take(await self._run_all_async(again))
            return self._conclude(evaluation, verdict, everyone)

        return evaluate()

    def _plan(
        self,
        cases: Cases,
        run: Callable[[Any], Any],
        step: str | None,
        score: Scorer,
        route: Callable[[CallLog], str | None] | None,
        concurrency: int,
    ) -> Plan:
        bench = self._bench
        if not callable(run):
            raise EvaluationError(f"run={run!r} cannot be called; give the function under test, without parentheses")
        check_scorer(score)
        if type(concurrency) is not int or concurrency < 1:
            raise EvaluationError(f"concurrency={concurrency!r}: a number of cases at once, 1 or more, was expected")
        if bench.every_model is not None:
            bench.every_model()  # what is missing is said before a call is paid for
        threshold = self._threshold(step)
        loaded = load_cases(cases, folders=bench.folders)
        _check_expected(loaded, score)
        _check_routes(loaded, bench.routes)
        if threshold is not None:
            check_judgeable(threshold, loaded)
        if bench.only_case is not None:
            loaded = [case for case in loaded if case.id == bench.only_case]
        return Plan(
            cases=loaded,
            run=run,
            step=threshold.step if threshold is not None else step,
            threshold=threshold,
            score=score,
            route=route,
            concurrency=concurrency,
            runs={} if bench.every_model is None else first_runs(loaded),
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

    def _run_all(self, plan: Plan) -> list[CaseResult]:
        if inspect.iscoroutinefunction(plan.run) or inspect.iscoroutinefunction(getattr(plan.run, "__call__", None)):  # noqa: B004
            return self._in_new_loop(plan)
        if plan.concurrency > 1:
            return self._run_threads(plan) if self._bench.wire.clock is None else self._run_lanes(plan)
        results: list[CaseResult] = []
        for case in plan.cases:
            attempt = Attempt(self._bench, plan, case)
            with attempt:
                attempt.output = plan.run(case.inputs)
            if inspect.isawaitable(attempt.output):
                # A plain function that returns a coroutine, such as a lambda around an async one.
                return self._in_new_loop(plan, first=attempt)
            results.append(attempt.result())
            self._tell(plan, results)
        return results

    def _in_new_loop(self, plan: Plan, first: Attempt | None = None) -> list[CaseResult]:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            with asyncio.Runner() as runner:
                return runner.run(self._run_all_async(plan, first))
        if first is not None and inspect.iscoroutine(first.output):
            first.output.close()
        raise EvaluationError(
            "evaluate_step(...) cannot run async code inside a running event loop; in an async test write "
            "await evaluate_step.aio(...)"
        )

    async def _run_all_async(self, plan: Plan, first: Attempt | None = None) -> list[CaseResult]:
        results: list[CaseResult | None] = [None] * len(plan.cases)
        done: list[CaseResult] = []
        waiting = iter(enumerate(plan.cases))
        begun = [first] if first is not None else []

        async def work() -> None:
            for index, case in waiting:
                attempt = begun.pop() if begun else Attempt(self._bench, plan, case)
                with attempt:
                    value = attempt.output if attempt is first else plan.run(case.inputs)
                    attempt.output = await value if inspect.isawaitable(value) else value
                result = results[index] = attempt.result()
                done.append(result)
                self._tell(plan, done)

        if plan.concurrency == 1:
            await work()
        else:
            await self._gather(plan, work)
        return [result for result in results if result is not None]

    async def _gather(self, plan: Plan, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
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

    def _run_one(self, plan: Plan, case: Case) -> CaseResult:
        attempt = Attempt(self._bench, plan, case)
        with attempt:
            attempt.output = plan.run(case.inputs)
            if inspect.isawaitable(attempt.output):
                _refuse_awaitable(attempt.output)
        return attempt.result()

    def _run_lanes(self, plan: Plan) -> list[CaseResult]:
        clock = self._bench.wire.clock
        assert clock is not None  # noqa: S101 - the caller's condition, for the type checker
        lanes = clock.lanes(plan.concurrency)
        results: list[CaseResult] = []
        for case in plan.cases:
            with lanes.take():
                results.append(self._run_one(plan, case))
            self._tell(plan, results)
        lanes.join()
        return results

    def _run_threads(self, plan: Plan) -> list[CaseResult]:
        wire = self._bench.wire
        results: list[CaseResult] = []
        wire.unlabelled_is_ambiguous = True
        try:
            with ThreadPoolExecutor(plan.concurrency) as pool:
                for result in pool.map(partial(self._run_one, plan), plan.cases):
                    results.append(result)
                    self._tell(plan, results)
        finally:
            wire.unlabelled_is_ambiguous = False
        return results

    def _tell(self, plan: Plan, results: Sequence[CaseResult]) -> None:
        if self._bench.progress is not None:
            wrong = 0 if results[-1].right else 1
            self._bench.progress(step=plan.step, done=len(results), total=len(plan.cases), wrong=wrong)

    def _measure(self, plan: Plan, results: Sequence[CaseResult]) -> tuple[StepEvaluation, Verdict]:
        bench = self._bench
        evaluation = StepEvaluation(
            step=plan.step,
            results=results,
            clock=bench.wire.clock_name,
            routes=bench.routes,
        )
        bench.evaluated.add(plan.step)
        return evaluation, judge(evaluation, plan.threshold if bench.only_case is None else None)

    def _everyone(self, plan: Plan, evaluation: StepEvaluation, verdict: Verdict) -> EveryModel | None:
        """The further runs on every model; none for a step that fails, since nothing of it is saved."""
        bench = self._bench
        if bench.every_model is None or not verdict.ok:
            return None
        return EveryModel(bench.every_model(), plan, evaluation.results, helpers=bench.routes.helpers)

    def _conclude(self, evaluation: StepEvaluation, verdict: Verdict, everyone: EveryModel | None) -> StepEvaluation:
        __tracebackhide__ = True
        if everyone is not None:
            evaluation = replace(evaluation, outcomes=everyone.finish())
        self._bench.conclude(evaluation, verdict)
        return evaluation


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
