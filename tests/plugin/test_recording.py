"""Recording: what is added and what is made anew, what is saved and when, and what is kept of a failed test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from pytest_modelroute.cassettes.files import read_cassette
from tests.plugin.conftest import OTHERS
from tests.plugin.live import Project, prompt_of

Run = Callable[..., pytest.RunResult]
NEW, ALL = "--modelroute-record=new", "--modelroute-record=all"
ONE = "test_it/test_it"
"The cassette of the only test."


def asking(*prompts: str, then: str = "pass") -> str:
    """A test that asks these, one after the other."""
    return f"""
        import pytest
        from app import ask, ask_or_fall_back

        def test_it(recorded_providers):
            for prompt in {prompts!r}:
                ask(prompt)
            {then}
        """


def test_new_adds_what_is_missing_alone_and_keeps_the_order(project: Project, run: Run) -> None:
    """What is recorded stays as it is, byte for byte; what is missing comes after it, in the order of the calls."""
    project.tests(asking("b", "a"))
    run(NEW).assert_outcomes(passed=1)
    before = project.file(ONE).read_text("utf-8")
    project.tests(asking("d", "b", "c", "a"))
    result = run(NEW)
    result.stdout.fnmatch_lines(["recorded 2 calls in 1 cassette; 2 live calls of models cost 0.00028 USD"])
    assert project.prompts(ONE) == project.live.asked == ["b", "a", "d", "c"]
    first, second = (interaction.to_raw() for interaction in project.cassette(ONE).interactions[:2])
    assert first["response"]["modelroute"]["checksum"] in before
    assert second["response"]["modelroute"]["checksum"] in project.file(ONE).read_text("utf-8")


def test_a_run_that_records_nothing_leaves_the_file_alone(project: Project, run: Run) -> None:
    """And says nothing of recording."""
    project.tests(asking("a"))
    run(NEW).assert_outcomes(passed=1)
    before = project.file(ONE).stat()
    result = run(NEW)
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*modelroute =*")
    assert (project.file(ONE).stat().st_mtime_ns, project.live.asked) == (before.st_mtime_ns, ["a"])


def test_all_makes_a_tests_own_cassette_anew(project: Project, run: Run) -> None:
    """What the test does not ask any more is gone."""
    project.tests(asking("a", "b"))
    run(NEW).assert_outcomes(passed=1)
    project.tests(asking("b", "c"))
    run(ALL).assert_outcomes(passed=1)
    assert project.prompts(ONE) == ["b", "c"]
    assert project.live.asked == ["a", "b", "b", "c"]


SHARED = """
    import pytest
    from app import ask

    pytestmark = pytest.mark.cassette("shared")

    def test_one():
        ask("one"), ask("both"), ask("both")

    def test_two():
        ask("two"), ask("both")
    """


def test_all_replaces_by_request_in_a_shared_cassette(project: Project, run: Run) -> None:
    """What other tests have recorded stays; of a request that two tests make, as many as either needs."""
    project.tests(SHARED)
    run(NEW).assert_outcomes(passed=2)
    assert project.prompts("shared") == ["one", "both", "both", "two"]
    project.age("shared")
    run(ALL, "-k", "test_two").assert_outcomes(passed=1)
    assert sorted(project.prompts("shared")) == ["both", "one", "two"]
    project.age("shared")
    run(ALL).assert_outcomes(passed=2)
    assert sorted(project.prompts("shared")) == ["both", "both", "one", "two"]
    run().assert_outcomes(passed=2)


ENDINGS = {
    "failing": "assert False",
    "skipped": "pytest.skip('later')",
    "xfailed": "pytest.xfail('known')",
    "swallowed": "ask_or_fall_back('refuse'); recorded_providers.calls.nothing_of_the_kind",
}


@pytest.mark.parametrize("then", ENDINGS.values(), ids=ENDINGS)
def test_nothing_is_saved_of_a_test_that_did_not_pass(project: Project, run: Run, then: str) -> None:
    """The calls it has paid for wait in the journal."""
    project.tests(asking("a", "b", then=then))
    run(NEW)
    assert project.cassettes() == []
    assert project.waiting(ONE) == ["a", "b"]


AROUND = {
    "an error in the setup after it": """
        @pytest.fixture
        def around(recorded_providers):
            ask("a"); raise ValueError("setup")
        """,
    "an error in the teardown before its own": """
        @pytest.fixture
        def around(recorded_providers):
            yield
            raise ValueError("teardown")
        """,
    "an error in the teardown after its own": """
        @pytest.fixture(autouse=True)
        def first():
            yield
            raise ValueError("teardown")

        @pytest.fixture
        def around():
            pass
        """,
    "a pass that was not expected": """
        pytestmark = pytest.mark.xfail(strict=True)

        @pytest.fixture
        def around():
            pass
        """,
    "a missed threshold": """
        pytestmark = pytest.mark.step_threshold("echo", min_accuracy=0.9)

        @pytest.fixture
        def around(evaluate_step):
            pass
        """,
}


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_nothing_is_saved_where_something_around_the_test_failed(project: Project, run: Run, around: str) -> None:
    """Setup, teardown, a strict xfail, a limit that nobody judged."""
    source = "import pytest\nfrom app import ask\n" + around.replace("\n        ", "\n")
    source += "\ndef test_it(around, recorded_providers):\n    ask('a')\n"
    project.tests(source)
    result = run(NEW)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert project.cassettes() == []
    assert project.waiting(ONE) == ["a"]


def test_a_missed_limit_saves_nothing_and_costs_nothing_twice(project: Project, run: Run) -> None:
    """The evaluation is repeated with a better limit from the journal alone, and then saved."""
    source = """
        import pytest
        from app import ask

        @pytest.mark.step_threshold("echo", min_accuracy={limit})
        def test_it(evaluate_step, recorded_providers):
            cases = [{{"inputs": str(n), "expected_output": f"re: {{n % 3}}"}} for n in range(4)]
            evaluate_step(cases, run=ask)
        """
    project.tests(source.format(limit=0.9))
    run(NEW).assert_outcomes(failed=1)
    assert project.cassettes() == []
    project.tests(source.format(limit=0.5))
    run(NEW).assert_outcomes(passed=1)
    assert project.prompts(ONE) == project.live.asked == ["0", "1", "2", "3"]


def test_what_a_failed_test_has_paid_for_is_reused_and_added_once(project: Project, run: Run) -> None:
    """Whatever the number of failures; the log says where the reply came from, and the journal is empty at the end."""
    for number in range(3):
        project.tests(asking("a", "b", *"cd"[:number], then="assert False"))
        result = run(NEW)
        result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["1  *gpt-4.1-nano  200 *  the journal of an earlier run"])
    project.tests(asking("b", "a", "c", "d"))
    run(NEW).assert_outcomes(passed=1)
    assert project.live.asked == ["a", "b", "c", "d"]
    assert project.prompts(ONE) == ["b", "a", "c", "d"]
    assert project.waiting(ONE) == []
    run().assert_outcomes(passed=1)


def test_the_journal_answers_no_replay(project: Project, run: Run) -> None:
    """What is not in a cassette is not recorded: the next checkout would not have it."""
    project.tests(asking("a", then="assert False"))
    run(NEW).assert_outcomes(failed=1)
    project.tests(asking("a"))
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["no recorded call answers this request:", "there is no cassette cassettes/*.yaml yet"])


def test_the_journal_of_one_test_answers_no_other(project: Project, run: Run) -> None:
    """Also where they share a cassette."""
    project.tests(SHARED.replace('ask("one"), ask("both"), ask("both")', 'ask("both"); assert False'))
    run(NEW).assert_outcomes(passed=1, failed=1)
    assert project.prompts("shared") == ["two", "both"]
    assert project.waiting("shared") == ["both"]
    assert project.live.asked == ["both", "two", "both"]


def test_errors_are_not_saved_unless_asked_for(project: Project, run: Run) -> None:
    """An outage met while recording is not frozen; a test about outages records them with `errors = true`."""
    project.tests(
        """
        from app import ask, ask_or_fall_back

        def test_it(recorded_providers):
            assert [ask_or_fall_back("refuse"), ask("a")] == ["fallback", "re: a"]
        """
    )
    run(NEW).assert_outcomes(passed=1)
    assert project.prompts(ONE) == ["a"]
    project.settings("[recording]\nerrors = true\n")
    run(NEW).assert_outcomes(passed=1)
    assert project.prompts(ONE) == ["a", "refuse"]
    run().assert_outcomes(passed=1)
    assert project.live.asked == ["refuse", "a", "refuse"]


def test_a_redirect_is_no_reply_to_be_saved(project: Project, run: Run) -> None:
    """Only what succeeded is saved: 2xx."""
    project.live.answer = lambda _asked: (302, [("location", "/elsewhere")], b"")
    project.tests(
        """
        import os, httpx

        def test_it(recorded_providers):
            url = os.environ["LIVE_URL"] + "/v1/chat/completions"
            body = {"model": "m", "messages": [{"role": "user", "content": "a"}]}
            assert httpx.post(url, json=body).status_code == 302
        """
    )
    run(NEW).assert_outcomes(passed=1)
    assert project.cassettes() == []


def command(*options: str) -> list[str]:
    """Pytest as a process of its own."""
    off = [word for name in OTHERS if name not in options for word in ("-p", f"no:{name}")]
    return [sys.executable, "-m", "pytest", *off, *(option for option in options if option not in OTHERS)]


def test_a_run_killed_in_the_middle_loses_no_completed_call(project: Project, run: Run) -> None:
    """What the provider has answered before SIGKILL is answered by the journal in the next run, and saved."""
    prompts = [str(number) for number in range(6)]
    project.live.hangs_at = "4"
    project.tests(asking(*prompts))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(project.path), os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen(command(NEW), cwd=project.path, env=environment, stdout=subprocess.DEVNULL) as process:
        assert project.live.hangs.wait(30)
        process.send_signal(signal.SIGKILL)
    project.live.go_on.set()
    assert project.waiting(ONE) == prompts[:4]
    project.live.hangs_at = None
    run(NEW).assert_outcomes(passed=1)
    assert project.live.asked == [*prompts[:5], "4", "5"]
    assert project.prompts(ONE) == prompts


def test_workers_that_record_into_one_cassette_lose_nothing(project: Project, run: Run) -> None:
    """Four of pytest-xdist: each call is there once for each test that needs it, and a replay finds all of them."""
    project.tests(
        """
        import pytest
        from app import ask

        @pytest.mark.cassette("shared")
        @pytest.mark.parametrize("number", range(16))
        def test_it(number):
            assert ask("the same") == "re: the same" and ask(f"n{number}") == f"re: n{number}"
        """
    )
    result = run("-n", "4", NEW, using=("xdist",), inprocess=False)
    result.assert_outcomes(passed=16)
    result.stdout.fnmatch_lines(["recorded * calls in 1 cassette; * live calls of models cost * USD"])
    assert sorted(project.prompts("shared")) == sorted(["the same", *(f"n{number}" for number in range(16))])
    asked = len(project.live.asked)
    run().assert_outcomes(passed=16)
    assert len(project.live.asked) == asked
    assert project.waiting("shared") == []


def test_two_processes_at_once_record_each_call_once(project: Project) -> None:
    """Both ask, since neither can know of the other; the cassette holds what one of them needs."""
    project.tests(asking("a", "b", "b"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(project.path), os.environ.get("PYTHONPATH", "")])}
    project.live.hangs_at = "a"
    processes = [
        subprocess.Popen(command(NEW), cwd=project.path, env=environment, stdout=subprocess.DEVNULL) for _ in range(2)
    ]
    while project.live.asked.count("a") < 2:
        project.live.go_on.wait(0.05)
        assert all(process.poll() is None for process in processes)
    project.live.go_on.set()
    assert [process.wait(60) for process in processes] == [0, 0]
    assert [prompt_of(each) for each in read_cassette(project.file(ONE)).interactions] == ["a", "b", "b"]
    assert project.waiting(ONE) == []
