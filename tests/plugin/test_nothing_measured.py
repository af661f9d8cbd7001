"""A green run that measured nothing is the worst outcome; each way to one is closed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Run = Callable[..., pytest.RunResult]

MARK = '@pytest.mark.step_threshold("triage", min_accuracy=0.9)'
NOTHING = "step 'triage' has limits, but this test evaluated nothing, so nothing was judged."


def test_a_marked_test_without_the_fixture_fails(pytester: pytest.Pytester, run: Run) -> None:
    """A marker alone judges nothing, so the test fails and says what to do."""
    pytester.makepyfile(f"import pytest\n\n{MARK}\ndef test_step():\n    pass\n")
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([NOTHING, "Evaluate it: def test_...(evaluate_step): evaluate_step(cases, run=*"])


def test_a_marked_test_that_never_calls_the_fixture_fails(pytester: pytest.Pytester, run: Run) -> None:
    """Asking for the fixture is not using it."""
    pytester.makepyfile(f"import pytest\n\n{MARK}\ndef test_step(evaluate_step):\n    pass\n")
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([NOTHING])


@pytest.mark.filterwarnings("ignore:coroutine 'StepEvaluator.aio")
def test_an_evaluation_that_is_not_awaited_fails(pytester: pytest.Pytester, run: Run) -> None:
    """A forgotten await is named."""
    pytester.makepyfile(
        f"""
        import pytest

        {MARK}
        def test_step(evaluate_step):
            evaluate_step.aio([{{"inputs": "a", "expected_output": "a"}}], run=str)
        """
    )
    result = run("-W", "ignore")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["evaluate_step.aio(...) was called but not awaited; write await evaluate_step.aio(...)"]
    )


def test_an_async_test_that_nobody_awaits_fails(pytester: pytest.Pytester, run: Run) -> None:
    """Without a plugin for async tests a marked one does not pass unseen."""
    pytester.makepyfile(
        f"""
        import pytest

        {MARK}
        async def test_step(evaluate_step):
            await evaluate_step.aio([{{"inputs": "a", "expected_output": "a"}}], run=str)
        """
    )
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*async def functions are not natively supported*"])


def test_each_of_several_steps_must_be_evaluated(pytester: pytest.Pytester, run: Run) -> None:
    """A whole-workflow test that forgets one of its steps fails for that step."""
    pytester.makepyfile(
        f"""
        import pytest

        {MARK}
        @pytest.mark.step_threshold("answer", min_accuracy=0.9)
        def test_workflow(evaluate_step):
            evaluate_step([{{"inputs": "a", "expected_output": "a"}}], run=str, step="answer")
        """
    )
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([NOTHING])


@pytest.mark.parametrize("body", ['pytest.skip("not today")', 'pytest.xfail("known")'])
def test_a_marked_test_that_steps_aside_is_not_failed(pytester: pytest.Pytester, run: Run, body: str) -> None:
    """A test that skips or xfails says so itself."""
    pytester.makepyfile(f"import pytest\n\n{MARK}\ndef test_step(evaluate_step):\n    {body}\n")
    outcomes = run().parseoutcomes()
    assert "failed" not in outcomes


def test_an_empty_list_of_cases_fails(pytester: pytest.Pytester, run: Run) -> None:
    """No case, no measurement."""
    pytester.makepyfile(f"import pytest\n\n{MARK}\ndef test_step(evaluate_step):\n    evaluate_step([], run=str)\n")
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*there is no case, so nothing would be measured"])


@pytest.mark.filterwarnings("ignore:coroutine 'StepEvaluator.aio")
def test_one_evaluation_that_is_awaited_does_not_forgive_another(pytester: pytest.Pytester, run: Run) -> None:
    """Of two evaluations the one that was forgotten is still missed."""
    pytester.makepyfile(
        f"""
        import asyncio

        import pytest

        {MARK}
        def test_step(evaluate_step):
            async def both():
                evaluate_step.aio([{{"inputs": "a", "expected_output": "wrong"}}], run=str)
                await evaluate_step.aio([{{"inputs": "a", "expected_output": "a"}}], run=str)

            asyncio.run(both())
        """
    )
    result = run("-W", "ignore")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["evaluate_step.aio(...) was called but not awaited*"])
