"""`evaluate_step`: how cases are run, what is refused, and what becomes of errors."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from pytest_modelroute.errors import CasesError, EvaluationError, ProviderError, ScoreError, UnscriptedCall
from pytest_modelroute.evaluation.attempts import Bench
from pytest_modelroute.evaluation.evaluate import StepEvaluator
from pytest_modelroute.evaluation.results import StepEvaluation
from pytest_modelroute.evaluation.scorers import Scorer, contains, exact_match, json_equal, numeric, regex
from pytest_modelroute.evaluation.thresholds import StepThreshold
from pytest_modelroute.evaluation.verdict import Verdict
from pytest_modelroute.providers.prices import PriceBook
from pytest_modelroute.wire.exchanges import Wire
from pytest_modelroute.wire.places import short_path
from pytest_modelroute.wire.recorded import Sent
from pytest_modelroute.wire.virtual_time import VirtualTime

CASES = [{"id": text, "inputs": text, "expected_output": text.upper()} for text in ("a", "b", "c")]


class Concluded(list[tuple[StepEvaluation, Verdict]]):
    """What the test was told at the end of each evaluation."""

    def __call__(self, evaluation: StepEvaluation, verdict: Verdict) -> None:
        """Remember it."""
        self.append((evaluation, verdict))

    @property
    def verdict(self) -> Verdict:
        """The verdict of the one evaluation."""
        ((_, verdict),) = self
        return verdict


@pytest.fixture
def concluded() -> Concluded:
    """What the benches of this test concluded."""
    return Concluded()


@pytest.fixture
def bench(concluded: Concluded) -> Bench:
    """A bench without settings and markers, whose verdicts fail nothing."""
    return Bench(wire=Wire(prices=PriceBook()), conclude=concluded)


@pytest.fixture
def evaluate(bench: Bench) -> StepEvaluator:
    """An evaluator on that bench."""
    return StepEvaluator(bench)


async def _aupper(text: str) -> str:
    return text.upper()


class _AsyncCallable:
    """An object as applications pass around: calling it gives a coroutine."""

    async def __call__(self, text: str) -> str:
        return text.upper()


def _upper_later(text: str) -> Coroutine[Any, Any, str]:
    """A plain function around an async one."""
    return _aupper(text)


def _divide(number: int) -> float:
    return 12 / number


def _threshold(step: str, **limits: float) -> StepThreshold:
    return StepThreshold(step=step, limits=limits)


def _outputs(evaluation: StepEvaluation) -> list[object]:
    return [result.output for result in evaluation.results]


def _sent(model: str) -> None:
    raise UnscriptedCall(f"no script answers {model}")


async def _asent(model: str) -> None:
    _sent(model)


@pytest.mark.parametrize(
    "run", [str.upper, _aupper, _upper_later, _AsyncCallable()], ids=["sync", "async", "lambda", "object"]
)
def test_every_kind_of_function_is_run(evaluate: StepEvaluator, run: Callable[[str], Any]) -> None:
    """Sync, async, a plain function that returns a coroutine, and an object: outputs in the order of the cases."""
    assert _outputs(evaluate(CASES, run=run)) == ["A", "B", "C"]


@pytest.mark.parametrize("run", [_upper_later, _AsyncCallable()], ids=["lambda", "object"])
def test_a_function_that_turns_out_async_is_called_once_a_case(
    evaluate: StepEvaluator, run: Callable[[str], Any]
) -> None:
    """The first coroutine, which told that it is async, is the first case's and not thrown away."""
    called: list[str] = []

    def counted(text: str) -> Any:
        called.append(text)
        return run(text)

    evaluate(CASES, run=counted)
    assert called == ["a", "b", "c"]


@pytest.mark.asyncio
@pytest.mark.parametrize("run", [str.upper, _aupper, _upper_later], ids=["sync", "async", "lambda"])
async def test_aio_runs_every_kind_of_function(evaluate_step: StepEvaluator, run: Callable[[str], Any]) -> None:
    """Inside a running loop the same functions are run."""
    assert _outputs(await evaluate_step.aio(CASES, run=run)) == ["A", "B", "C"]


@pytest.mark.asyncio
@pytest.mark.parametrize("run", [_aupper, _upper_later], ids=["async", "lambda"])
async def test_async_code_inside_a_running_loop_is_told_to_await_aio(
    evaluate: StepEvaluator, run: Callable[[str], Any]
) -> None:
    """The message is what to write instead, and no coroutine is left behind."""
    with pytest.raises(EvaluationError) as caught:
        evaluate(CASES, run=run)
    assert str(caught.value) == (
        "evaluate_step(...) cannot run async code inside a running event loop; in an async test write "
        "await evaluate_step.aio(...)"
    )


@pytest.mark.asyncio
async def test_sync_code_inside_a_running_loop_is_run(evaluate: StepEvaluator) -> None:
    """It needs no loop, so it needs no aio."""
    assert evaluate(CASES, run=str.upper).accuracy == 1.0


@pytest.mark.asyncio
async def test_aio_takes_the_same_options(bench: Bench, concluded: Concluded) -> None:
    """Step, scorer, route and concurrency go through."""
    bench.thresholds = [_threshold("one", min_accuracy=1), _threshold("two", min_accuracy=1)]
    evaluation = await StepEvaluator(bench).aio(
        CASES, run=_aupper, step="two", score=contains, route=lambda _calls: "gpt", concurrency=2
    )
    assert (evaluation.step, {result.route for result in evaluation.results}) == ("two", {"gpt"})


@pytest.mark.asyncio
async def test_an_evaluation_that_was_awaited_is_not_forgotten(bench: Bench) -> None:
    """Awaiting takes it off the list."""
    await StepEvaluator(bench).aio(CASES, run=_aupper)
    assert bench.forgotten == {}


def test_an_evaluation_that_was_not_awaited_is_remembered(bench: Bench) -> None:
    """A test that forgets await measured nothing, and can be told so."""
    StepEvaluator(bench).aio("cases.jsonl", run=_aupper).close()
    assert list(bench.forgotten.values()) == ["evaluate_step.aio('cases.jsonl')"]


def test_time_is_taken_on_the_clock_of_the_test(evaluate_step: StepEvaluator, virtual_time: VirtualTime) -> None:
    """Virtual seconds that pass in a case are the case's."""

    def slow(text: str) -> str:
        virtual_time.advance(0.5)
        return text.upper()

    assert evaluate_step(CASES, run=slow).elapsed_ms == [500, 500, 500]


def test_time_before_the_first_coroutine_is_the_first_cases(
    evaluate_step: StepEvaluator, virtual_time: VirtualTime
) -> None:
    """A plain function may work before it returns a coroutine; that is part of its case."""

    def slow(text: str) -> Coroutine[Any, Any, str]:
        virtual_time.advance(0.5)
        return _aupper(text)

    assert evaluate_step(CASES, run=slow).elapsed_ms == [500, 500, 500]


def test_calls_before_the_first_coroutine_are_the_first_cases(evaluate: StepEvaluator, bench: Bench) -> None:
    """A plain function may call a provider before it returns a coroutine; that call is its case's."""

    def call(text: str) -> Coroutine[Any, Any, str]:
        path, body = "/v1/chat/completions", b'{"model": "gpt-small", "messages": []}'
        url = f"https://api.openai.com{path}"
        bench.wire.open(
            Sent(method="POST", url=url, host="api.openai.com", path=path, read_body=lambda: body, client="x")
        )
        return _aupper(text)

    assert [len(result.calls) for result in evaluate(CASES, run=call).results] == [1, 1, 1]


@pytest.mark.usefixtures("virtual_time")
def test_virtual_time_is_exact_however_late_a_case_starts(evaluate_step: StepEvaluator) -> None:
    """The tenth case that takes 180 ms takes 180 ms, and holds a limit of 180 ms."""
    cases = [{"inputs": number} for number in range(10)]
    evaluation = evaluate_step(cases, run=lambda _number: time.sleep(0.18), score=lambda *_: True)
    assert evaluation.elapsed_ms == [180] * 10


def test_an_exception_is_an_error_of_its_case(evaluate: StepEvaluator, concluded: Concluded) -> None:
    """The other cases are run and scored."""
    cases = [{"inputs": number, "expected_output": 12 / max(number, 1)} for number in (0, 1, 2)]
    evaluation = evaluate(cases, run=_divide)
    assert (evaluation.accuracy.n, evaluation.accuracy, len(evaluation.errors)) == (2, 1.0, 1)


def test_an_exception_fails_the_step(evaluate: StepEvaluator, concluded: Concluded) -> None:
    """Without any limit."""
    evaluate([{"inputs": 0, "expected_output": 1}], run=_divide)
    assert not concluded.verdict.ok


def test_an_error_names_its_place_in_the_code_under_test(evaluate: StepEvaluator) -> None:
    """Type, message, file, line, function and source of where it was raised."""
    evaluation = evaluate([{"inputs": 0, "expected_output": 1}], run=_divide)
    line = _divide.__code__.co_firstlineno + 1
    assert evaluation.errors[0].error == (
        f"ZeroDivisionError: division by zero at {short_path(__file__)}:{line}, in _divide: return 12 / number"
    )


def test_an_error_without_a_place_in_the_users_code_is_named_alone(evaluate: StepEvaluator) -> None:
    """A builtin that raises has no line of its own."""
    evaluation = evaluate([{"inputs": "x", "expected_output": 1}], run=int)
    assert evaluation.errors[0].error == "ValueError: invalid literal for int() with base 10: 'x'"


@pytest.mark.parametrize("run", [_sent, _asent], ids=["sync", "async"])
@pytest.mark.parametrize("concurrency", [1, 2])
def test_a_call_that_no_script_answers_ends_the_evaluation(
    evaluate: StepEvaluator, concluded: Concluded, run: Callable[[str], Any], concurrency: int
) -> None:
    """A hole in the test is not an error of the case: nothing is judged."""
    with pytest.raises(UnscriptedCall):
        evaluate(CASES, run=run, concurrency=concurrency)
    assert concluded == []


def test_an_evaluation_error_of_the_test_itself_ends_the_evaluation(evaluate: StepEvaluator) -> None:
    """A wrong call of ours inside the code under test is told as what it is."""

    def run(_text: str) -> None:
        raise EvaluationError("no loaded module holds this function")

    with pytest.raises(EvaluationError, match="no loaded module"):
        evaluate(CASES, run=run)


@pytest.mark.parametrize("run", [str.upper, _aupper], ids=["sync", "async"])
@pytest.mark.parametrize("concurrency", [1, 2])
def test_a_score_that_is_none_names_its_case(
    evaluate: StepEvaluator, run: Callable[[str], Any], concurrency: int
) -> None:
    """A broken scorer ends the evaluation: it measured nothing."""
    with pytest.raises(ScoreError) as caught:
        evaluate(CASES[:1], run=run, score=lambda _output, _expected: 2, concurrency=concurrency)
    assert str(caught.value) == (
        "case 'a': the scorer <lambda> returned 2; a bool or a number from 0 to 1 was expected"
    )


def test_a_broken_scorer_is_told_for_a_function_that_turns_out_async(evaluate: StepEvaluator) -> None:
    """A lambda around an async function makes no difference to what a scorer may return."""
    with pytest.raises(ScoreError):
        evaluate(CASES, run=_upper_later, score=lambda _output, _expected: 2)


@pytest.mark.parametrize("run", [str.upper, _aupper], ids=["sync", "async"])
@pytest.mark.parametrize("concurrency", [1, 2])
def test_an_exception_of_the_scorer_is_an_error_of_its_case(
    evaluate: StepEvaluator, run: Callable[[str], Any], concurrency: int
) -> None:
    """A scorer that fails on an output has not found it wrong."""

    def score(output: str, _expected: object) -> bool:
        if output == "B":
            raise KeyError(output)
        return True

    evaluation = evaluate(CASES, run=run, score=score, concurrency=concurrency)
    assert ([result.case.id for result in evaluation.errors], evaluation.accuracy.n) == (["b"], 2)


def test_the_error_of_a_model_that_the_scorer_asks_is_told(evaluate: StepEvaluator) -> None:
    """A judge model that is down is told as what it is."""

    def judged(_output: object, _expected: object) -> bool:
        raise ProviderError("overloaded", model="judge", status=529, code=None, retry_after=None)

    evaluation = evaluate(CASES, run=str.upper, score=judged)
    told = "the scorer judged raised ProviderError: overloaded"
    assert [str(result.error).partition(" at ")[0] for result in evaluation.errors] == [told] * 3


def test_a_route_is_not_asked_of_a_case_that_ended_in_an_error(evaluate: StepEvaluator) -> None:
    """The error of the case is what must be told, and not one of the route function."""
    evaluation = evaluate([{"inputs": 0, "expected_output": 1}], run=_divide, route=lambda calls: calls[-1].model)
    assert len(evaluation.errors) == 1


@pytest.mark.parametrize("score", ["exact_match", None, 1])
def test_a_scorer_that_cannot_be_called_is_refused_before_anything_runs(evaluate: StepEvaluator, score: Any) -> None:
    """Cases cost money: what can be known before is told before."""
    ran: list[str] = []
    with pytest.raises(ScoreError) as caught:
        evaluate(CASES, run=ran.append, score=score)
    assert (str(caught.value), ran) == (
        f"score={score!r} cannot be called; give a function score(output, expected), such as exact_match",
        [],
    )


@pytest.mark.parametrize("run", [None, "classify", 3])
def test_a_run_that_cannot_be_called_is_refused(evaluate: StepEvaluator, run: Any) -> None:
    """The usual reason is a pair of parentheses too many."""
    with pytest.raises(EvaluationError) as caught:
        evaluate(CASES, run=run)
    assert str(caught.value) == f"run={run!r} cannot be called; give the function under test, without parentheses"


@pytest.mark.parametrize("concurrency", [0, -1, True, 2.0, "2", None])
def test_a_concurrency_that_is_no_number_of_cases_is_refused(evaluate: StepEvaluator, concurrency: Any) -> None:
    """At least one case at once."""
    with pytest.raises(EvaluationError) as caught:
        evaluate(CASES, run=str.upper, concurrency=concurrency)
    assert str(caught.value) == f"concurrency={concurrency!r}: a number of cases at once, 1 or more, was expected"


@pytest.mark.parametrize(
    ("score", "name"),
    [
        (exact_match, "exact_match"),
        (contains, "contains"),
        (regex, "regex"),
        (json_equal, "json_equal"),
        (numeric(), "numeric_match"),
    ],
)
def test_a_scorer_that_compares_needs_an_expected_output(evaluate: StepEvaluator, score: Scorer, name: str) -> None:
    """Found before any case is run."""
    with pytest.raises(CasesError) as caught:
        evaluate([{"id": "a", "inputs": "a"}], run=_sent, score=score)
    assert str(caught.value) == f"case 'a' has no expected_output, which the scorer {name} compares with"


def test_a_scorer_of_the_users_own_is_given_none_where_nothing_is_expected(evaluate: StepEvaluator) -> None:
    """A scorer that needs no expected output is not stopped."""
    seen: list[object] = []

    def score(_output: object, expected: object) -> bool:
        seen.append(expected)
        return True

    evaluate([{"inputs": "a"}], run=str.upper, score=score)
    assert seen == [None]


def test_the_mark_of_the_scorer_decides_what_passes(evaluate: StepEvaluator) -> None:
    """A score of the mark passes, though it is not right."""

    def half(_output: object, _expected: object) -> float:
        return 0.5

    half.pass_mark = 0.5  # type: ignore[attr-defined]
    evaluation = evaluate(CASES, run=str.upper, score=half)
    assert (evaluation.pass_rate, evaluation.accuracy) == (1.0, 0.0)


def test_cases_are_looked_for_in_the_folders_of_the_test(bench: Bench, tmp_path: Path) -> None:
    """A file beside the test is found by its name."""
    (tmp_path / "cases.jsonl").write_text('{"inputs": "a", "expected_output": "A"}', "utf-8")
    bench.folders = [tmp_path]
    assert StepEvaluator(bench)("cases.jsonl", run=str.upper).accuracy == 1.0


def test_one_marker_needs_no_step(bench: Bench, concluded: Concluded) -> None:
    """It is the one."""
    bench.thresholds = [_threshold("one", min_accuracy=1)]
    StepEvaluator(bench)(CASES, run=str.upper)
    assert concluded.verdict.threshold == _threshold("one", min_accuracy=1)


def test_several_markers_need_a_step(bench: Bench) -> None:
    """Which one is not guessed at."""
    bench.thresholds = [_threshold("one", min_accuracy=1), _threshold("two", min_accuracy=1)]
    with pytest.raises(EvaluationError) as caught:
        StepEvaluator(bench)(CASES, run=str.upper)
    assert str(caught.value) == (
        "which step is it? The test is marked with several: 'one', 'two'; say evaluate_step(..., step=...)"
    )


def test_a_step_chooses_among_several_markers(bench: Bench, concluded: Concluded) -> None:
    """Its limits judge."""
    bench.thresholds = [_threshold("one", min_accuracy=1), _threshold("two", min_f1=1)]
    StepEvaluator(bench)(CASES, run=str.upper, step="two")
    assert [check.limit for check in concluded.verdict.checks] == ["min_f1"]


def test_a_step_that_is_not_marked_is_refused_on_a_marked_test(bench: Bench) -> None:
    """The marker would judge nothing, and the step would not be judged."""
    bench.thresholds = [_threshold("one", min_accuracy=1)]
    with pytest.raises(EvaluationError) as caught:
        StepEvaluator(bench)(CASES, run=str.upper, step="other")
    assert str(caught.value) == ("step='other' is not marked on this test, so nothing would judge it; marked: 'one'")


def test_without_a_marker_the_limits_of_the_settings_judge(bench: Bench, concluded: Concluded) -> None:
    """The step is enough to find them."""
    bench.declared = {"one": _threshold("one", min_accuracy=1)}.get
    StepEvaluator(bench)(CASES, run=str.lower, step="one")
    assert [check.limit for check in concluded.verdict.broken] == ["min_accuracy"]


def test_without_any_limits_a_step_is_measured_and_not_judged(evaluate: StepEvaluator, concluded: Concluded) -> None:
    """The test may assert on the evaluation itself."""
    evaluate(CASES, run=str.lower, step="one")
    assert (concluded.verdict.ok, concluded.verdict.checks) == (True, ())


def test_an_evaluated_step_is_remembered(bench: Bench) -> None:
    """A marker whose step is not among them judged nothing."""
    StepEvaluator(bench)(CASES, run=str.upper, step="one")
    assert bench.evaluated == {"one"}


@pytest.mark.usefixtures("virtual_time")
def test_the_evaluation_says_that_its_time_is_virtual(evaluate_step: StepEvaluator) -> None:
    """Where the test has virtual time."""
    assert evaluate_step(CASES, run=str.upper).clock == "virtual"


def test_the_evaluation_says_that_its_time_is_real(evaluate_step: StepEvaluator) -> None:
    """Where the test has no virtual time."""
    assert evaluate_step(CASES, run=str.upper).clock == "real"


def test_the_one_case_asked_for_is_run_alone(bench: Bench) -> None:
    """--modelroute-case reruns one."""
    bench.only_case = "b"
    assert _outputs(StepEvaluator(bench)(CASES, run=str.upper)) == ["B"]


def test_the_one_case_asked_for_is_not_judged_by_the_limits(bench: Bench, concluded: Concluded) -> None:
    """A share of one case says nothing."""
    bench.only_case, bench.thresholds = "b", [_threshold("one", min_accuracy=1)]
    StepEvaluator(bench)(CASES, run=str.lower)
    assert concluded.verdict.checks == ()


def test_an_evaluation_without_the_case_asked_for_has_no_results(bench: Bench) -> None:
    """Another evaluation of the test may have it."""
    bench.only_case = "z"
    assert StepEvaluator(bench)(CASES, run=str.upper).results == []


@pytest.mark.parametrize("run", [str.upper, _aupper], ids=["sync", "async"])
@pytest.mark.parametrize("concurrency", [1, 3])
def test_progress_is_told_after_every_case(bench: Bench, run: Callable[[str], Any], concurrency: int) -> None:
    """How many of how many, of which step."""
    told: list[tuple[str | None, int, int]] = []

    def progress(*, step: str | None, done: int, total: int, wrong: int) -> None:
        told.append((step, done, total))

    bench.progress = progress
    StepEvaluator(bench)(CASES, run=run, step="one", concurrency=concurrency)
    assert told == [("one", 1, 3), ("one", 2, 3), ("one", 3, 3)]


def test_progress_counts_wrong_answers_and_errors(bench: Bench) -> None:
    """Each case adds itself: right, wrong, and one that raises."""
    wrong: list[int] = []

    def progress(*, step: str | None, done: int, total: int, wrong: int) -> None:
        counts.append(wrong)

    counts = wrong
    bench.progress = progress
    cases = [{"inputs": number, "expected_output": 12.0} for number in (1, 2, 0)]
    StepEvaluator(bench)(cases, run=_divide)
    assert counts == [0, 1, 1]


@pytest.mark.parametrize("source", [[], Path("nowhere.jsonl")])
def test_cases_that_cannot_be_read_end_the_evaluation(evaluate: StepEvaluator, source: Any) -> None:
    """Nothing is run without cases."""
    with pytest.raises(CasesError):
        evaluate(source, run=_sent)
