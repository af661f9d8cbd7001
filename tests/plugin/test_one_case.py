"""`--modelroute-case ID` reruns one case."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Run = Callable[..., pytest.RunResult]


@pytest.fixture(autouse=True)
def suite(pytester: pytest.Pytester, classify: None) -> None:
    """Two steps; the case 'b' of the first is answered wrongly, and one script is used by 'a' alone."""
    pytester.makepyfile(
        """
        import pytest
        from app import classify

        CASES = [{"id": name, "inputs": name, "expected_output": name.upper()} for name in "abc"]

        @pytest.mark.step_threshold("letters", min_f1=0.1, max_cost_usd=1)
        def test_letters(evaluate_step, mock_providers):
            mock_providers.on(model="gpt-4.1-nano", when=lambda call: call.prompt == "a").replies("A")
            mock_providers.on(model="gpt-4.1-nano").replies(lambda call: call.prompt.upper().replace("B", "X"))
            evaluate_step(CASES, run=classify)

        @pytest.mark.step_threshold("others", min_accuracy=0.9)
        def test_others(evaluate_step):
            evaluate_step([{"id": "z", "inputs": "z", "expected_output": "Z"}], run=str.upper)
        """
    )


def test_a_right_case_passes_and_shows_its_calls(run: Run) -> None:
    """One case is not judged by the limits of all; tests that do not have it are skipped."""
    result = run("--modelroute-case=c")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(
        [
            "case 'c' of step 'letters': right  (*::test_letters)",
            "  inputs    c",
            "  expected  C",
            "  got       C",
            "  answered  by gpt-4.1-nano, 0 ms (virtual time)",
            "  #  at      step     case  model *",
            "  1  0.000s  letters  c     gpt-4.1-nano  200 *",
        ],
        consecutive=True,
    )


def test_a_wrong_case_fails(run: Run) -> None:
    """The case that the limits may forgive is shown as what it is."""
    result = run("--modelroute-case=b")
    result.assert_outcomes(failed=1, skipped=1)
    result.stdout.fnmatch_lines(["case 'b' of step 'letters': wrong (score 0)", "*", "  expected  B", "  got       X"])


def test_scripts_for_other_cases_may_stay_unused(run: Run) -> None:
    """Strictness about unused scripts is for whole runs."""
    assert run("--modelroute-case=c").ret == pytest.ExitCode.OK


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["serial", "xdist"])
def test_a_case_that_is_nowhere_is_a_usage_error(run: Run, workers: tuple[str, ...]) -> None:
    """A typo in the id must not end in a green run of nothing."""
    result = run("--modelroute-case=q", *workers, using=("xdist",), inprocess=False)
    result.stdout.fnmatch_lines(["ERROR: --modelroute-case: no evaluation of this run has a case 'q'"])
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_what_a_test_asserts_of_all_cases_does_not_spoil_the_rerun(pytester: pytest.Pytester, run: Run) -> None:
    """The test ends when its case is shown: a count over all cases does not hold of one."""
    pytester.makepyfile(
        """
        def test_count(evaluate_step):
            cases = [{"id": name, "inputs": name, "expected_output": name} for name in ("one", "two")]
            assert evaluate_step(cases, run=str).n == 2
        """
    )
    run("--modelroute-case=one").assert_outcomes(passed=1)


def test_a_case_of_the_second_step_of_a_test_is_found(pytester: pytest.Pytester, run: Run) -> None:
    """A whole-workflow test goes on until the evaluation that has the case."""
    pytester.makepyfile(
        """
        def test_workflow(evaluate_step):
            evaluate_step([{"id": "first", "inputs": "a", "expected_output": "a"}], run=str, step="one")
            evaluate_step([{"id": "second", "inputs": "b", "expected_output": "b"}], run=str, step="two")
        """
    )
    result = run("--modelroute-case=second")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["case 'second' of step 'two': right  (*::test_workflow)"])
