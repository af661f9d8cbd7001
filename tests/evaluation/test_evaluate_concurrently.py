"""Several cases under way at once: tasks for async code; threads for sync code, or lanes of virtual time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

import pytest

from pytest_modelroute.errors import EvaluationError
from pytest_modelroute.evaluation.attempts import Bench
from pytest_modelroute.evaluation.evaluate import StepEvaluator
from pytest_modelroute.providers.prices import PriceBook
from pytest_modelroute.wire.exchanges import Wire
from pytest_modelroute.wire.recorded import Sent
from pytest_modelroute.wire.virtual_time import VirtualTime

TEN = [{"id": str(number), "inputs": number, "expected_output": number} for number in range(10)]
URL = "https://api.openai.com/v1/chat/completions"


@pytest.fixture
def wire() -> Wire:
    """A wire whose failures fail no test."""
    return Wire(prices=PriceBook())


@pytest.fixture
def evaluate(wire: Wire) -> StepEvaluator:
    """An evaluator on that wire, which concludes nothing."""
    return StepEvaluator(Bench(wire=wire, conclude=lambda _evaluation, _verdict: None))


class _Crowd:
    """Counts how many are inside at once."""

    def __init__(self) -> None:
        self.most = 0
        self._inside = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1


def _send(wire: Wire) -> None:
    """Let a client library send a request."""
    body = b'{"model": "gpt-small", "messages": []}'
    path = "/v1/chat/completions"
    wire.open(Sent(method="POST", url=URL, host="api.openai.com", path=path, read_body=lambda: body, client="x"))


def _in_thread(function: Callable[[], object]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


async def _one_second(number: int) -> int:
    await asyncio.sleep(1)
    return number


def _one_second_sync(number: int) -> int:
    time.sleep(1)
    return number


@pytest.mark.parametrize("run", [_one_second, _one_second_sync], ids=["async", "sync"])
@pytest.mark.parametrize(("concurrency", "seconds"), [(1, 10), (5, 2), (3, 4), (10, 1), (50, 1)])
def test_cases_overlap_in_virtual_time(
    evaluate_step: StepEvaluator,
    virtual_time: VirtualTime,
    run: Callable[[int], Any],
    concurrency: int,
    seconds: int,
) -> None:
    """Ten cases of one second take as long as the busiest worker."""
    evaluate_step(TEN, run=run, concurrency=concurrency)
    assert virtual_time.now == seconds


@pytest.mark.asyncio
async def test_tasks_overlap_inside_a_running_loop(evaluate_step: StepEvaluator, virtual_time: VirtualTime) -> None:
    """Aio does the same."""
    await evaluate_step.aio(TEN, run=_one_second, concurrency=5)
    assert virtual_time.now == 2


@pytest.mark.usefixtures("virtual_time")
@pytest.mark.parametrize("run", [_one_second, _one_second_sync], ids=["async", "sync"])
def test_each_case_has_its_own_time(evaluate_step: StepEvaluator, run: Callable[[int], Any]) -> None:
    """What passes for the others at once is not added to it."""
    assert evaluate_step(TEN, run=run, concurrency=5).elapsed_ms == [1000] * 10


@pytest.mark.usefixtures("virtual_time")
def test_cases_with_other_times_keep_them_in_tasks(evaluate_step: StepEvaluator) -> None:
    """A slow case does not slow the measure of a fast one."""

    async def wait(number: int) -> int:
        await asyncio.sleep(10 - number)
        return number

    evaluation = evaluate_step(TEN, run=wait, concurrency=4)
    assert [result.elapsed_s for result in evaluation.results] == list(range(10, 0, -1))


@pytest.mark.usefixtures("virtual_time")
def test_results_of_tasks_are_in_the_order_of_the_cases(evaluate_step: StepEvaluator) -> None:
    """Also where the last one ends first."""

    async def wait(number: int) -> int:
        await asyncio.sleep(10 - number)
        return number

    evaluation = evaluate_step(TEN, run=wait, concurrency=10)
    assert [result.output for result in evaluation.results] == list(range(10))


def test_results_of_threads_are_in_the_order_of_the_cases(evaluate: StepEvaluator) -> None:
    """Also where the first one ends last."""
    others_done = threading.Event()

    def run(number: int) -> int:
        if number == 0:
            others_done.wait(60)
        if number == len(TEN) - 1:
            others_done.set()
        return number

    evaluation = evaluate(TEN, run=run, concurrency=2)
    assert [result.output for result in evaluation.results] == list(range(10))


def test_as_many_tasks_are_under_way_as_asked_for(evaluate: StepEvaluator) -> None:
    """Three, and never four."""
    crowd = _Crowd()

    async def run(_number: int) -> None:
        with crowd:
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    evaluate(TEN, run=run, concurrency=3)
    assert crowd.most == 3


def test_as_many_threads_are_under_way_as_asked_for(evaluate: StepEvaluator) -> None:
    """Two meet at a barrier, and a third is never inside."""
    crowd, barrier = _Crowd(), threading.Barrier(2)

    def run(_number: int) -> None:
        with crowd:
            barrier.wait(60)

    evaluate(TEN, run=run, concurrency=2)
    assert crowd.most == 2


@pytest.mark.usefixtures("virtual_time")
def test_under_virtual_time_sync_cases_run_one_by_one(evaluate_step: StepEvaluator) -> None:
    """They overlap in time alone: which thread was faster would decide on the times."""
    crowd = _Crowd()

    def run(number: int) -> int:
        with crowd:
            return _one_second_sync(number)

    evaluate_step(TEN, run=run, concurrency=5)
    assert crowd.most == 1


def test_sync_cases_begin_where_the_first_worker_is_free(
    evaluate_step: StepEvaluator, virtual_time: VirtualTime
) -> None:
    """On two workers 3 s and 1 s + 1 s + 1 s take 3 s."""

    def run(number: int) -> int:
        time.sleep(3 if number == 0 else 1)
        return number

    evaluate_step(TEN[:4], run=run, concurrency=2)
    assert virtual_time.now == 3


@pytest.mark.usefixtures("virtual_time")
def test_sync_cases_tell_their_progress_under_virtual_time(evaluate_step: StepEvaluator) -> None:
    """After every case, as elsewhere."""
    done: list[object] = []
    evaluate_step._bench.progress = lambda **told: done.append(told["done"])
    evaluate_step(TEN[:3], run=int, concurrency=2)
    assert done == [1, 2, 3]


@pytest.mark.parametrize("concurrency", [2, 20])
def test_more_workers_than_cases_do_no_harm(evaluate: StepEvaluator, concurrency: int) -> None:
    """Each case is run once."""
    ran: list[int] = []
    evaluate(TEN[:2], run=ran.append, score=lambda *_: True, concurrency=concurrency)
    assert sorted(ran) == [0, 1]


@pytest.mark.parametrize("kind", ["tasks", "threads"])
def test_an_exception_is_an_error_of_its_case_alone(evaluate: StepEvaluator, kind: str) -> None:
    """The cases beside it are not cancelled."""

    def run(number: int) -> int:
        if number == 3:
            raise KeyError(number)
        return number

    async def arun(number: int) -> int:
        await asyncio.sleep(0)
        return run(number)

    evaluation = evaluate(TEN, run=arun if kind == "tasks" else run, concurrency=4)
    assert ([result.case.id for result in evaluation.errors], evaluation.accuracy.count) == (["3"], 9)


def test_a_coroutine_from_a_plain_function_in_a_thread_is_refused(evaluate: StepEvaluator) -> None:
    """The message says what to give instead, and the coroutine is closed."""
    with pytest.raises(EvaluationError) as caught:
        evaluate(TEN, run=lambda number: _one_second(number), concurrency=2)  # noqa: PLW0108 - the lambda is the point
    assert str(caught.value) == (
        "run returned a coroutine from a plain function; give the async function itself (run=app.classify, not a "
        "lambda around it), or use concurrency=1"
    )


def test_an_awaitable_from_a_plain_function_in_a_thread_is_refused(evaluate: StepEvaluator) -> None:
    """What can be awaited and is no coroutine is refused too."""

    class Later:
        def __await__(self) -> Any:
            yield

    with pytest.raises(EvaluationError, match=r"^run returned a coroutine from a plain function"):
        evaluate(TEN, run=lambda _number: Later(), concurrency=2)


@pytest.mark.parametrize("concurrency", [1, 4])
def test_calls_in_threads_belong_to_their_case(evaluate: StepEvaluator, wire: Wire, concurrency: int) -> None:
    """Each call is labelled with the case that made it."""
    evaluation = evaluate(TEN, run=lambda _number: _send(wire), score=lambda *_: True, concurrency=concurrency)
    assert [[call.case for call in result.calls] for result in evaluation.results] == [[str(n)] for n in range(10)]


@pytest.mark.parametrize("concurrency", [1, 4])
def test_calls_in_tasks_belong_to_their_case(evaluate: StepEvaluator, wire: Wire, concurrency: int) -> None:
    """Also from a task that the case starts, and after others have run."""

    async def send() -> None:
        await asyncio.sleep(0)
        _send(wire)

    async def run(_number: int) -> None:
        await asyncio.create_task(send())

    evaluation = evaluate(TEN, run=run, score=lambda *_: True, concurrency=concurrency)
    assert [[call.case for call in result.calls] for result in evaluation.results] == [[str(n)] for n in range(10)]


def test_a_call_of_a_foreign_thread_belongs_to_the_one_case_under_way(evaluate: StepEvaluator, wire: Wire) -> None:
    """With one case at a time there is no doubt whose it is."""
    evaluation = evaluate(TEN[:2], run=lambda _number: _in_thread(lambda: _send(wire)), score=lambda *_: True)
    assert [len(result.calls) for result in evaluation.results] == [1, 1]


def test_a_call_of_a_foreign_thread_fails_the_test_where_several_cases_are_under_way(
    evaluate: StepEvaluator, wire: Wire
) -> None:
    """It belongs to none of them, and a cost or route would be wrong without a word."""
    evaluate(TEN, run=lambda _number: _in_thread(lambda: _send(wire)), score=lambda *_: True, concurrency=2)
    (failure,) = wire.failures()
    assert failure == (
        f"a call of {URL} carries no label (it came over a socket, or from a thread) while several cases were under "
        "way, so it belongs to none of them: evaluate with concurrency=1, or start the thread with "
        "contextvars.copy_context().run"
    )


def test_a_thread_that_was_given_the_context_belongs_to_its_case(evaluate: StepEvaluator, wire: Wire) -> None:
    """What the message says helps."""

    def run(_number: int) -> None:
        context = copy_context()
        _in_thread(lambda: context.run(_send, wire))

    evaluation = evaluate(TEN, run=run, score=lambda *_: True, concurrency=2)
    assert ([len(result.calls) for result in evaluation.results], wire.failures()) == ([1] * 10, [])


@pytest.mark.parametrize("run", [_one_second, int], ids=["tasks", "threads"])
def test_after_an_evaluation_no_doubt_remains(wire: Wire, evaluate: StepEvaluator, run: Callable[[int], Any]) -> None:
    """A call after it belongs to no case, and fails nothing."""
    evaluate([{"inputs": 0, "expected_output": 0}], run=int, concurrency=2)
    _in_thread(lambda: _send(wire))
    assert (wire.calls[-1].case, wire.failures()) == (None, [])


class _AsyncCallable:
    """An object as applications pass around: calling it gives a coroutine."""

    async def __call__(self, number: int) -> int:
        """Answer later."""
        await asyncio.sleep(1)
        return number


def test_an_async_object_runs_two_cases_at_once(evaluate_step: StepEvaluator, virtual_time: VirtualTime) -> None:
    """Its cases are tasks, as those of an async function."""
    evaluate_step(TEN, run=_AsyncCallable(), concurrency=2)
    assert virtual_time.now == 5
