"""What is judged of recorded calls: their latency and their age; and what a replay loads."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable

import pytest

from tests.plugin.live import Project
from tests.plugin.test_recording import command

Run = Callable[..., pytest.RunResult]
NEW = "--modelroute-record=new"
ONE = "test_it/test_it"
STEP = """
    import time
    import pytest
    from app import ask

    {mark}
    def test_it(evaluate_step, recorded_providers):
        began = time.perf_counter()
        cases = [{{"inputs": str(n), "expected_output": f"re: {{n}}"}} for n in range(4)]
        evaluation = evaluate_step(cases, run=ask, step="echo")
        {after}
    """


def step(limits: str = "", after: str = "pass") -> str:
    """A test of a step of four cases, by these limits."""
    mark = f'@pytest.mark.step_threshold("echo", min_accuracy=0.9{limits})'
    return STEP.format(mark=mark, after=after)


def slowed(project: Project, run: Run) -> None:
    """A cassette of the step in which each call took half a second."""
    project.tests(step())
    run(NEW).assert_outcomes(passed=1)
    project.edit(ONE, r"latency_s: .*", "latency_s: 0.5")
    project.live.asked.clear()


def test_a_limit_on_latency_judges_what_was_recorded(project: Project, run: Run) -> None:
    """In recorded time, in which nobody waits; the report says so."""
    slowed(project, run)
    project.tests(step(", max_latency_ms=500", "assert 2.0 <= time.perf_counter() - began < 2.1"))
    result = run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "PASS  echo: 4 cases, recorded time  (*::test_it)",
            "  ok    p95 latency 500 ms (n=4, *)  limit max_latency_ms=500",
        ]
    )
    project.tests(step(", max_latency_ms=499"))
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["step 'echo' misses its limit: p95 latency 500 ms > 499; 4 cases, recorded time"])
    assert project.live.asked == []


def test_a_replay_in_real_time_takes_its_share_and_judges_the_same(project: Project, run: Run) -> None:
    """At 1000 times the speed 2 s take 2 ms, and count as 2 s."""
    slowed(project, run)
    project.tests(step(", max_latency_ms=600", "assert time.perf_counter() - began < 1.5"))
    result = run("--modelroute-replay-speed=1000")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["PASS  echo: 4 cases, recorded time  *", "  ok    p95 latency 5* ms (n=4, *"])
    project.tests(step(", max_latency_ms=450"))
    run("--modelroute-replay-speed=1000").assert_outcomes(failed=1)


def test_workers_report_the_same(project: Project, run: Run) -> None:
    """The summary of two of pytest-xdist is that of one process."""
    slowed(project, run)
    project.age(ONE)
    project.tests(step(", max_latency_ms=500"))

    def summary(result: pytest.RunResult) -> list[str]:
        lines = result.stdout.lines
        begin = next(number for number, line in enumerate(lines) if "= modelroute =" in line)
        told = [line.strip("= ") for line in lines[begin:]]
        return [re.sub(r" in [\d.]+s", "", line) for line in told if line]

    alone = summary(run())
    assert alone[1] == "PASS  echo: 4 cases, recorded time  (test_it.py::test_it)"
    assert summary(run("-n", "2", using=("xdist",), inprocess=False)) == alone


def foreign(project: Project, run: Run) -> None:
    """The cassette of the step as another tool writes it, without what we know of it."""
    project.tests(step())
    run(NEW).assert_outcomes(passed=1)
    project.edit(ONE, r"    modelroute:\n(?:      .*\n)+", "")
    assert all(interaction.facts is None for interaction in project.cassette(ONE).interactions)


def test_recordings_without_latency_satisfy_no_limit_on_it(project: Project, run: Run) -> None:
    """Other limits are judged; the message says what to do."""
    foreign(project, run)
    run().assert_outcomes(passed=1)
    project.tests(step(", max_latency_ms=9999, max_mean_latency_ms=9999"))
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "max_latency_ms and max_mean_latency_ms cannot be judged: 4 of the replayed calls were recorded by *",
            "Record them again with --modelroute-record=all, or leave the limit out",
        ],
        consecutive=True,
    )


def test_a_cached_copy_of_recordings_without_latency_satisfies_no_limit_either(project: Project, run: Run) -> None:
    """The second run reads the packed copy."""
    foreign(project, run)
    project.tests(step(", max_latency_ms=9999"))
    for _ in range(2):
        run().assert_outcomes(failed=1)


SHARED = """
    import pytest
    from functools import partial
    import app

    ask = partial(app.ask, model="gpt-5.4-mini")

    pytestmark = pytest.mark.cassette("shared")

    def test_one():
        ask("a")

    def test_two():
        ask("a"), ask("b")

    @pytest.mark.cassette
    def test_own():
        ask("c")
    """


def test_a_stale_cassette_is_reported_once(project: Project, run: Run) -> None:
    """By what the test that replayed most of it has seen, at the end of the run, which passes."""
    project.tests(SHARED)
    run(NEW).assert_outcomes(passed=3)
    project.age("shared")
    result = run()
    result.assert_outcomes(passed=3)
    (line,) = [line for line in result.stdout.lines if "STALE" in line]
    assert line == (
        "STALE  cassettes/shared.yaml: 2 recordings of 'gpt-5.4-mini' are older than 180 days "
        "(the oldest of 2020-01-01); record them again: pytest test_it.py::test_two --modelroute-record=all"
    )


def test_a_stale_cassette_fails_by_setting(project: Project, run: Run) -> None:
    """The tests that replay it, and no other; from the age that the settings say."""
    project.tests(SHARED)
    run(NEW).assert_outcomes(passed=3)
    project.age("shared")
    project.settings('[recording]\nstale = "fail"\n')
    result = run()
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        [
            'stale recordings fail this test (recording.stale = "fail"):',
            "1 recording of 'gpt-5.4-mini' is older than 180 days (of 2020-01-01); record it again: pytest *",
        ],
        consecutive=True,
    )
    project.settings('[recording]\nstale = "fail"\nmax_age_days = 36500\n')
    run().assert_outcomes(passed=3)


def test_an_alias_that_answers_as_another_version_is_reported(project: Project, run: Run) -> None:
    """Within one cassette, once the later one is recorded."""
    project.tests("from app import ask\ndef test_it(recorded_providers):\n    ask('a')\n")
    run(NEW).assert_outcomes(passed=1)
    project.edit(ONE, "recorded_at: .*", "recorded_at: '2099-01-01T00:00:00Z'")
    project.edit(ONE, "model_answered: .*", "model_answered: gpt-4.1-nano-2099")
    project.tests("from app import ask\ndef test_it(recorded_providers):\n    ask('a')\n    ask('b')\n")
    run(NEW).assert_outcomes(passed=1)
    run().stdout.fnmatch_lines(
        ["STALE  cassettes/*.yaml: 'gpt-4.1-nano' answered as 'gpt-4.1-nano' until * as 'gpt-4.1-nano-2099' *"]
    )


LIVE = """
    import pytest
    from app import ask

    @pytest.mark.live
    def test_ours(call_log):
        assert ask("a") == "re: a" and len(call_log) == 1

    @pytest.mark.live
    @pytest.mark.cassette
    def test_recorded():
        pass

    @pytest.mark.live
    def test_somebody_elses():
        pass
    """


def test_tests_marked_live_run_when_they_are_asked_for(project: Project, run: Run) -> None:
    """Those with fixtures of ours; the marker of other projects means what it meant."""
    project.tests(LIVE)
    result = run("-rs")
    result.assert_outcomes(passed=1, skipped=2)
    result.stdout.fnmatch_lines(["SKIPPED [[]1] test_it.py:4: live: calls providers; run it with --modelroute-live"])
    assert project.live.asked == []
    run("--modelroute-live").assert_outcomes(passed=3)
    assert project.live.asked == ["a"]


LOADED = """
    import sys

    def pytest_unconfigure():
        heavy = ("vcr", "yaml")
        print("LOADED", *sorted(name for name in heavy if name in sys.modules))
    """


def loaded(project: Project, *options: str) -> str:
    """What a run in a process of its own has loaded of what is heavy."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(project.path), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        command("-s", *options), cwd=project.path, env=environment, capture_output=True, text=True, check=True
    )
    return next(line.partition("LOADED")[2].strip() for line in done.stdout.splitlines() if "LOADED" in line)


def test_a_run_without_recordings_loads_and_leaves_nothing(project: Project) -> None:
    """Also one that could record."""
    project.pytester.makeconftest(LOADED)
    project.tests("def test_it(call_log):\n    pass\n")
    assert loaded(project, NEW) == ""
    assert not project.state.exists()
    assert not (project.path / "cassettes").exists()


def test_a_replay_from_the_cache_loads_neither_vcrpy_nor_yaml(project: Project, run: Run) -> None:
    """Which take longer to load than a thousand calls to replay."""
    project.tests(step())
    run(NEW).assert_outcomes(passed=1)
    run().assert_outcomes(passed=1)
    project.pytester.makeconftest(LOADED)
    assert loaded(project) == ""
    for copy in project.state.joinpath("cache").iterdir():
        copy.unlink()
    assert "yaml" in loaded(project)
