"""What is checked at collection, before anything runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Run = Callable[..., pytest.RunResult]


def marked(pytester: pytest.Pytester, marker: str) -> None:
    """A test module with one marked test that must not run."""
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.step_threshold({marker})
        def test_step():
            raise SystemExit("it ran")
        """
    )


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ('"triage", min_acuracy=0.9', "*unknown limit 'min_acuracy'; did you mean 'min_accuracy'?"),
        ('"triage", min_accuracy=1.5', "*min_accuracy=1.5 is impossible: a share lies between 0 and 1; 1.5% is 0.015"),
        ('"triage", min_accuracy="high"', "*min_accuracy='high' is not a number"),
        ('"triage", max_latency_ms=-1', "*max_latency_ms=-1 is impossible: no call takes -1 ms"),
        (
            '"triage"',
            "*step_threshold('triage') has no limit, so it would pass whatever happens; give it one here or in*",
        ),
        ("min_accuracy=0.9", "*step_threshold takes the name of one step, then limits by name, not*"),
        ('"triage", 0.9', "*step_threshold takes the name of one step, then limits by name, not*"),
    ],
)
def test_a_marker_that_cannot_be_judged_is_a_usage_error(
    pytester: pytest.Pytester, run: Run, marker: str, message: str
) -> None:
    """A marker with a typo, an impossible value or no limit stops the run before any test, with the test's id."""
    marked(pytester, marker)
    result = run()
    result.stderr.fnmatch_lines(
        [f"ERROR: test_a_marker_that_cannot_be_judged_is_a_usage_error.py::test_step: {message}"]
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_a_usage_error_survives_xdist(pytester: pytest.Pytester, run: Run) -> None:
    """Under xdist the message of a bad marker arrives, no other test runs, and the exit code is the same."""
    marked(pytester, '"triage", min_acuracy=0.9')
    pytester.makepyfile(test_other="def test_other():\n    pass\n")
    result = run("-n", "2", using=("xdist",), inprocess=False)
    result.stdout.fnmatch_lines(["*test_step: step_threshold('triage'): unknown limit 'min_acuracy'; did you mean*"])
    result.assert_outcomes(errors=1)
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_an_undeclared_step_is_a_usage_error_where_steps_are_declared(pytester: pytest.Pytester, run: Run) -> None:
    """A step that the settings do not know is most likely a typo; the nearest one is offered."""
    pytester.makefile(".toml", modelroute='[steps.triage]\nmodel = "none"\n')
    marked(pytester, '"triag", min_accuracy=0.9')
    result = run()
    result.stderr.fnmatch_lines(["*there is no such step in the settings; did you mean 'triage'?"])


def test_any_step_is_fine_where_none_is_declared(pytester: pytest.Pytester, run: Run) -> None:
    """Without [steps] a marker may name any step."""
    marked(pytester, '"whatever", min_accuracy=0.9')
    assert run("--collect-only").ret == pytest.ExitCode.OK


def test_limits_left_out_come_from_the_settings(pytester: pytest.Pytester, run: Run) -> None:
    """A marker without a limit is fine where the settings have limits for its step."""
    pytester.makefile(".toml", modelroute="[thresholds.triage]\nmin_accuracy = 0.9\n")
    marked(pytester, '"triage"')
    assert run("--collect-only").ret == pytest.ExitCode.OK


def test_two_markers_for_one_step_must_agree(pytester: pytest.Pytester, run: Run) -> None:
    """One step with two different sets of limits on one test is a usage error."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.step_threshold("triage", min_accuracy=0.8)
        @pytest.mark.step_threshold("triage", min_accuracy=0.9)
        def test_step(): ...
        """
    )
    run().stderr.fnmatch_lines(["*step_threshold('triage') stands twice on this test with different limits; keep one"])


def test_all_bad_markers_are_reported_at_once(pytester: pytest.Pytester, run: Run) -> None:
    """Two typos are two lines of one error, not two runs."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.step_threshold("a", min_acuracy=0.8)
        def test_a(): ...

        @pytest.mark.step_threshold("b", max_latency=8)
        def test_b(): ...
        """
    )
    run().stderr.fnmatch_lines(
        ["*::test_a: *'min_acuracy'*", "*::test_b: *'max_latency'; did you mean 'max_latency_ms'?"]
    )


def test_the_marker_is_documented(pytester: pytest.Pytester, run: Run) -> None:
    """`pytest --markers` is the reference of the limits."""
    run("--markers").stdout.fnmatch_lines(["@pytest.mark.step_threshold(step, [*], min_accuracy=,*confidence=): *"])
