"""Replaying: what is not recorded fails the test whatever the code makes of it, and says what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from tests.plugin.live import Project

Run = Callable[..., pytest.RunResult]
NEW = "--modelroute-record=new"
ONE = "test_it/test_it"


def recorded(project: Project, run: Run) -> None:
    """A cassette with one call, and nothing else that was asked."""
    project.tests("from app import ask\ndef test_it(recorded_providers): ask('where is my order')\n")
    run(NEW).assert_outcomes(passed=1)
    project.live.asked.clear()


MISS = [
    "no recorded call answers this request:",
    "  POST http://127.0.0.1:*/v1/chat/completions  model 'gpt-4.1-nano'",
    "  prompt: 'where is my parcel'",
    "  called at app.py:*, in ask: *",
    "cassette cassettes/test_it/test_it.yaml holds 1 interaction",
    "the nearest recorded request is interaction 1 (line 2), with 1 difference:",
    '  changed $.messages[[]0].content: "where is my order" -> "where is my parcel"',
    "To record it: pytest test_it.py::test_it --modelroute-record=new",
]

SWALLOWING = {
    "a router that falls back": "assert ask_or_fall_back('where is my parcel') == 'fallback'",
    "a router that catches everything": """
            try:
                ask('where is my parcel')
            except BaseException:
                pass""",
    "a thread": """
            thread = threading.Thread(target=ask_or_fall_back, args=('where is my parcel',))
            thread.start(); thread.join()""",
    "a pool of threads": """
            with ThreadPoolExecutor() as pool:
                wait([pool.submit(ask_or_fall_back, 'where is my parcel')])""",
    "a task": """
            async def answer():
                return await asyncio.gather(asyncio.to_thread(ask, 'where is my parcel'), return_exceptions=True)
            asyncio.run(answer())""",
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("body", SWALLOWING.values(), ids=SWALLOWING)
def test_a_miss_fails_the_test_whatever_becomes_of_it(project: Project, run: Run, body: str) -> None:
    """The message says what is nearest, in what it differs, and what records it; nothing is sent."""
    recorded(project, run)
    project.tests(
        f"""
        import asyncio, threading
        from concurrent.futures import ThreadPoolExecutor, wait
        from app import ask, ask_or_fall_back

        def test_it(recorded_providers):
            {body}
        """
    )
    result = run("-W", "ignore::pytest.PytestUnhandledThreadExceptionWarning")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(MISS, consecutive=True)
    assert result.stdout.lines.count(MISS[0]) == 1
    result.stdout.no_fnmatch_line("*cassettes/tape.py*")
    assert project.live.asked == []


def test_a_miss_that_a_test_expects_fails_it_all_the_same(project: Project, run: Run) -> None:
    """A hole in the recordings is no behaviour of the code under test."""
    recorded(project, run)
    project.tests(
        """
        import pytest
        from app import ask

        def test_it(recorded_providers):
            with pytest.raises(BaseException):
                ask("where is my parcel")
        """
    )
    run().assert_outcomes(failed=1)


def test_a_call_that_is_made_more_often_than_recorded_says_so(project: Project, run: Run) -> None:
    """Equal requests are answered first in, first out, each once."""
    recorded(project, run)
    project.tests("from app import ask\ndef test_it(recorded_providers): [ask('where is my order') for _ in '12']\n")
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["it was recorded once and was replayed already: the code now makes this call more often"]
    )


def test_equal_requests_are_answered_in_the_order_recorded(project: Project, run: Run) -> None:
    """First in, first out."""
    project.tests(
        """
        import json
        from pathlib import Path
        from app import ask

        def test_it(recorded_providers):
            answers = [ask("again") for _ in range(3)]
            assert answers == ["first", "second", "third"]
        """
    )
    answers = iter(("first", "second", "third"))
    echo = project.live.answer

    def next_one(asked: dict[str, object]) -> tuple[int, list[tuple[str, str]], bytes]:
        status, headers, body = echo(asked)
        return status, headers, body.replace(b"re: again", next(answers).encode())

    project.live.answer = next_one
    for options in ((NEW,), ()):
        run(*options).assert_outcomes(passed=1)


def test_a_missing_cassette_says_what_makes_it(project: Project, run: Run) -> None:
    """The command works from the folder in which pytest was started."""
    project.tests("from app import ask\ndef test_it(recorded_providers): ask('where is my order')\n")
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "there is no cassette cassettes/test_it/test_it.yaml yet",
            "To record it: pytest test_it.py::test_it --modelroute-record=new",
        ],
        consecutive=True,
    )
    assert not (project.path / "cassettes").exists()


def test_a_test_that_calls_nothing_needs_no_cassette(project: Project, run: Run) -> None:
    """Nothing is made for it either."""
    project.tests("def test_it(recorded_providers): assert len(recorded_providers.cassette) == 0\n")
    run().assert_outcomes(passed=1)
    run(NEW).assert_outcomes(passed=1)
    assert not (project.path / "cassettes").exists()


DAMAGES = {
    "cut": (lambda text: text[: len(text) // 2], "*cassettes/test_it/test_it.yaml:*: *"),
    "edited": (
        lambda text: text.replace("re: where", "no: where"),
        "*cassettes/test_it/test_it.yaml:*: interaction 1: *checksum*",
    ),
    "conflict": (lambda text: f"<<<<<<< HEAD\n{text}", "*cassettes/test_it/test_it.yaml:1: *conflict*"),
}


@pytest.mark.parametrize("mode", ["none", "new", "all"])
@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_cassette_is_one_message(
    project: Project, run: Run, damage: Callable[[str], str], message: str, mode: str
) -> None:
    """Without a traceback of our insides; the file stays as it is, and nothing is sent."""
    recorded(project, run)
    damaged = damage(project.file(ONE).read_text("utf-8"))
    project.file(ONE).write_text(damaged, "utf-8")
    result = run(f"--modelroute-record={mode}")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([message])
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*pytest_modelroute/*")
    assert project.file(ONE).read_text("utf-8") == damaged
    assert project.live.asked == []


def test_a_time_in_a_cassette_that_is_none_is_one_message(project: Project, run: Run) -> None:
    """It would keep the staleness from being judged, so it is told at the test, and not by a crash of the run."""
    recorded(project, run)
    project.age(ONE, "yesterday")
    result = run()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["cassettes/test_it/test_it.yaml: response.modelroute.recorded_at: 'yesterday' is no time, such as 2026-*"]
    )
    result.stdout.no_fnmatch_line("*INTERNALERROR*")


def test_a_replay_stays_on_this_machine(project: Project, run: Run) -> None:
    """A client on a bare socket is refused too, and the message speaks of recordings."""
    project.tests(
        """
        import socket

        def test_it(recorded_providers):
            try:
                socket.create_connection(("api.openai.com", 443), timeout=1)
            except OSError:
                pass
        """
    )
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["a connection to api.openai.com was refused (*): with recorded providers a test stays on this machine."]
    )
    result.stdout.no_fnmatch_line("*mock_providers*")


def test_calls_of_allowed_hosts_pass(project: Project, run: Run) -> None:
    """They are neither recorded nor replayed."""
    project.settings('allow_hosts = ["127.0.0.1"]\n')
    project.tests(
        """
        import os, httpx
        from app import ask

        def test_it(recorded_providers):
            assert httpx.get(os.environ["LIVE_URL"] + "/health").text == "got /health"
            assert ask("a") == "re: a"
        """
    )
    for options in ((), (NEW,)):
        run(*options).assert_outcomes(passed=1)
    assert (project.live.others, project.live.asked) == (["/health"] * 2, ["a", "a"])
    assert project.cassettes() == []


def test_what_is_no_call_of_a_model_is_recorded_too(project: Project, run: Run) -> None:
    """And a miss of it fails the test."""
    source = """
        import os, httpx

        def test_it(recorded_providers):
            assert httpx.get(os.environ["LIVE_URL"] + "/{path}").text == "got /{path}"
        """
    project.tests(source.format(path="models"))
    for options in ((NEW,), ()):
        run(*options).assert_outcomes(passed=1)
    project.tests(source.format(path="files"))
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["  GET http://127.0.0.1:*/files", "  changed path: *"])
    assert project.live.others == ["/models"]


def test_a_route_that_moved_is_named_as_such(project: Project, run: Run) -> None:
    """The same prompt for another model is the commonest miss of a router under test."""
    recorded(project, run)
    project.tests("from app import ask\ndef test_it(recorded_providers): ask('where is my order', model='gpt-5')\n")
    result = run()
    result.stdout.fnmatch_lines(["the same prompt was recorded for 'gpt-4.1-nano': another route was taken"])


def test_the_command_of_a_miss_records_it(project: Project, run: Run) -> None:
    """As it is typed into a shell, parameters with spaces and settings elsewhere included."""
    (project.path / "modelroute.toml").rename(project.path / "other.toml")
    project.tests(
        """
        import pytest
        from app import ask

        @pytest.mark.parametrize("prompt", ["a b", "c"])
        def test_it(prompt, recorded_providers):
            ask(prompt)
        """
    )
    result = run("--modelroute-config=other.toml", "test_it.py::test_it[a b]")
    (line,) = [line for line in result.stdout.lines if line.startswith("To record it: ")]
    assert line == (
        "To record it: pytest 'test_it.py::test_it[a b]' --modelroute-config=other.toml --modelroute-record=new"
    )
    run("test_it.py::test_it[a b]", "--modelroute-config=other.toml", NEW).assert_outcomes(passed=1)
    assert project.live.asked == ["a b"]


def test_stand_ins_for_keys_are_there_while_a_test_replays_and_no_longer(
    project: Project, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client can be made without a key; a key that is set stays; afterwards all is as it was."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("MISTRAL_API_KEY", raising=False)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "mine")
    project.tests(
        """
        import os

        def test_before():
            assert "OPENAI_API_KEY" not in os.environ

        def test_it(recorded_providers):
            assert "not-a-real-key" in os.environ["OPENAI_API_KEY"]
            assert os.environ["ANTHROPIC_API_KEY"] == "mine"
            assert recorded_providers.key("anthropic") != "mine"
            os.environ["MISTRAL_API_KEY"] = "set by the test"

        def test_after():
            assert "OPENAI_API_KEY" not in os.environ
            assert os.environ["MISTRAL_API_KEY"] == "set by the test"
        """
    )
    run().assert_outcomes(passed=3)


def test_calls_over_an_unchanged_cassette_are_logged_as_replayed(project: Project, run: Run) -> None:
    """The log of a failing test says which recording answered."""
    recorded(project, run)
    project.tests(
        """
        from app import ask

        def test_it(recorded_providers):
            ask("where is my order")
            assert False
        """
    )
    result = run()
    result.stdout.fnmatch_lines(["1  *gpt-4.1-nano  200 *  recording 1 of cassettes/test_it/test_it.yaml"])
    facts = project.cassette(ONE).interactions[0].facts
    assert facts is not None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", facts.recorded_at)
    assert json.dumps(facts.price)
