"""What recording needs and costs: keys that are named, a cap that holds, an estimate before and a sum after."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cassettes.planted import made_up
from tests.plugin.live import Project

Run = Callable[..., pytest.RunResult]
NEW, ALL = "--modelroute-record=new", "--modelroute-record=all"
ONE = "test_it/test_it"
ASKING = """
    from app import ask, ask_or_fall_back

    def test_it(recorded_providers):
        for number in range(6):
            ask_or_fall_back(f"{number}")
    """


def test_a_missing_key_is_named_before_anything_is_sent(
    project: Project, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the stand-in of a replay, or with none; whatever the router makes of it."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    project.tests(
        """
        import socket
        import httpx
        import openai
        import pytest

        @pytest.fixture
        def closed(monkeypatch):
            def refuse(*arguments, **options):
                raise AssertionError("it was sent")
            monkeypatch.setattr(socket, "getaddrinfo", refuse)

        def test_without_a_key(recorded_providers, closed):
            body = {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}]}
            with pytest.raises(BaseException):
                httpx.post("https://api.openai.com/v1/chat/completions", json=body, verify=False)

        def test_with_that_of_a_replay(recorded_providers, closed):
            client = openai.OpenAI(api_key="sk-not-a-real-key-openai", max_retries=0)
            try:
                client.chat.completions.create(model="gpt-5", messages=[{"role": "user", "content": "hi"}])
            except Exception:
                pass
        """
    )
    result = run(NEW)
    result.assert_outcomes(failed=2)
    told = "a call of api.openai.com carries no key, so that it cannot be recorded: set OPENAI_API_KEY"
    assert [line for line in result.stdout.lines if line.startswith("a call of")] == [told, told]
    result.stdout.no_fnmatch_line("*it was sent*")


def test_a_key_is_given_from_the_environment_or_named(
    project: Project, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`recorded_providers.key` in a recording run."""
    key = made_up("openai-key")
    monkeypatch.setenv("OPENAI_API_KEY", key)
    monkeypatch.delenv("MISTRAL_API_KEY", raising=False)
    project.tests(
        """
        import os

        def test_given(recorded_providers):
            assert recorded_providers.key("openai") == os.environ["OPENAI_API_KEY"]

        def test_missing(recorded_providers):
            recorded_providers.key("mistral")

        def test_unknown(recorded_providers):
            recorded_providers.key("house")
        """
    )
    result = run(NEW)
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        [
            "MISTRAL_API_KEY is not set: recording calls mistral with your key",
            "  at test_it.py:7, in test_missing: recorded_providers.key(*)",
            "key('house'): the variable of its key is not known; read it in the test",
        ]
    )
    assert key not in result.stdout.str()


def test_a_run_stops_before_its_cap_is_passed(project: Project, run: Run) -> None:
    """Three calls fit beside 0.00041 USD that the next one may cost; they are kept, and the next run goes on."""
    project.tests(ASKING)
    result = run(NEW, "--modelroute-max-usd=0.0008")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "a call of 'gpt-4.1-nano' was not made: it may cost 0.0004097 USD, and of --modelroute-max-usd * are *",
            "What is recorded so far is kept in the journal: run again with a higher cap to go on",
        ],
        consecutive=True,
    )
    result.stdout.fnmatch_lines(["3 recorded calls of tests that did not pass wait in the journal, *"])
    assert project.live.asked == project.waiting(ONE) == ["0", "1", "2"]
    run(NEW, "--modelroute-max-usd=0.01").assert_outcomes(passed=1)
    assert project.live.asked == project.prompts(ONE) == [str(number) for number in range(6)]


def test_the_cap_holds_for_the_whole_run(project: Project, run: Run) -> None:
    """Over tests, and over settings files."""
    (project.path / "modelroute.toml").unlink()
    for folder in ("one", "two"):
        (project.path / folder).mkdir()
        (project.path / folder / "modelroute.toml").write_text("", "utf-8")
        (project.path / folder / f"test_{folder}.py").write_text(
            "from app import ask\ndef test_it(recorded_providers):\n    ask('a')\n    ask('b')\n", "utf-8"
        )
    result = run(NEW, "--modelroute-max-usd=0.0008")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*of --modelroute-max-usd 0.0008 are spent 0.00042."])
    assert project.live.asked == ["a", "b", "a"]


def test_workers_share_one_purse(project: Project, run: Run) -> None:
    """Two of pytest-xdist never spend more together than the cap."""
    project.tests(
        """
        import pytest
        from app import ask

        @pytest.mark.parametrize("number", range(8))
        def test_it(number, recorded_providers):
            ask(str(number))
        """
    )
    result = run("-n", "2", NEW, "--modelroute-max-usd=0.0008", using=("xdist",), inprocess=False)
    passed = result.parseoutcomes()["passed"]
    assert 1 <= passed == len(project.live.asked) <= 3
    plural = "" if passed == 1 else "s"
    result.stdout.fnmatch_lines([f"recorded {passed} call{plural} in {passed} cassette{plural}; {passed} live call*"])


def test_a_model_without_a_price_cannot_be_held_to_a_cap(project: Project, run: Run) -> None:
    """Without a cap it is recorded, and the sum says what it does not know."""
    project.tests("from app import ask\ndef test_it(recorded_providers):\n    ask('a', model='house-7b')\n")
    result = run(NEW, "--modelroute-max-usd=1")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "a call of 'house-7b' was not made: --modelroute-max-usd cannot count it. 'house-7b' has no price: *",
            "  input_price = 0.25",
        ]
    )
    assert project.live.asked == []
    result = run(NEW)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["recorded 1 call in 1 cassette; 1 live call of models cost 0 USD (1 of unknown cost)"])


@pytest.mark.parametrize("value", ["0", "-1", "much", "nan", "inf", ""])
def test_a_cap_that_is_none_is_a_usage_error(run: Run, value: str) -> None:
    """It names the option and shows an amount."""
    result = run(f"--modelroute-max-usd={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--modelroute-max-usd: {value!r} is no amount of USD above 0, such as 0.50"])


@pytest.mark.parametrize("value", ["0", "-1", "fast", "nan", "inf"])
def test_a_speed_that_is_none_is_a_usage_error(run: Run, value: str) -> None:
    """It names the option and shows a speed."""
    result = run(f"--modelroute-replay-speed={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--modelroute-replay-speed: {value!r} is no speed above 0, such as 1 for *"])


def test_an_unknown_mode_is_a_usage_error(run: Run) -> None:
    """It names those there are."""
    result = run("--modelroute-record=once")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--modelroute-record: invalid choice: 'once' (choose from *none*, *new*, *all*)"])


def test_an_estimate_comes_before_the_first_call(project: Project, run: Run) -> None:
    """From what the same tests have recorded before, at the prices of today."""
    project.tests("from app import ask\ndef test_it(recorded_providers):\n    ask('a')\n    ask('b')\n")
    run(NEW).stdout.fnmatch_lines(
        ["modelroute: recording what is missing in 1 test: 1 cassette not recorded yet; no cap (--modelroute-max-usd)"]
    )
    run(ALL, "--modelroute-max-usd=0.5").stdout.fnmatch_lines(
        [
            "modelroute: recording anew in 1 test: the 2 calls recorded before cost 0.00028 USD today; the cap is *",
            "recorded 2 calls in 1 cassette; 2 live calls of models cost 0.00028 USD",
        ]
    )
