"""Settings are validated when pytest starts, and belong to the folder of a test."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Run = Callable[..., pytest.RunResult]


def test_bad_settings_stop_the_run_at_its_start(pytester: pytest.Pytester, run: Run) -> None:
    """One usage error names file, key and the nearest valid name, whether or not a test would use them."""
    pytester.makefile(".toml", modelroute='[models.small]\nmodel = "m"\nteir = "small"\n')
    pytester.makepyfile("def test_nothing():\n    pass\n")
    result = run()
    result.stderr.fnmatch_lines(["ERROR: *modelroute.toml: unknown key 'models.small.teir'; did you mean 'tier'?"])
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_bad_settings_stop_a_run_under_xdist(pytester: pytest.Pytester, run: Run) -> None:
    """The controller finds them before it starts a worker."""
    pytester.makefile(".toml", modelroute="[models]\nsmall = 3\n")
    pytester.makepyfile("def test_nothing():\n    pass\n")
    result = run("-n", "2", using=("xdist",), inprocess=False)
    result.stderr.fnmatch_lines(["ERROR: *modelroute.toml: models.small: *"])
    assert result.ret == pytest.ExitCode.USAGE_ERROR


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["serial", "xdist"])
def test_bad_settings_of_a_subfolder_are_found_at_collection(
    pytester: pytest.Pytester, run: Run, workers: tuple[str, ...]
) -> None:
    """A folder below the start has its own settings, and its own error."""
    folder = pytester.mkdir("suite")
    (folder / "modelroute.toml").write_text("tires = []\n", "utf-8")
    (folder / "test_suite.py").write_text("def test_suite():\n    pass\n", "utf-8")
    result = run(*workers, using=("xdist",), inprocess=False)
    output = "\n".join([*result.outlines, *result.errlines])
    assert "modelroute.toml: unknown key 'tires'; did you mean 'tiers'?" in output
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_two_examples_in_one_session_keep_their_own_settings(pytester: pytest.Pytester, run: Run) -> None:
    """The nearest file at or above a test module counts."""
    for name, tier in (("one", "small"), ("two", "large")):
        folder = pytester.mkdir(name)
        (folder / "modelroute.toml").write_text(f'[models.it]\nmodel = "m"\ntier = "{tier}"\n', "utf-8")
        (folder / f"test_{name}.py").write_text(
            "def test_route(evaluate_step):\n"
            f"    case = {{'inputs': 'a', 'expected_route': '{tier}'}}\n"
            "    result = evaluate_step([case], run=str, score=lambda *_: True, route=lambda calls: 'm')\n"
            "    assert result.misroute_rate == 0\n",
            "utf-8",
        )
    run().assert_outcomes(passed=2)


def test_a_given_file_serves_every_folder(pytester: pytest.Pytester, run: Run) -> None:
    """--modelroute-config wins over the nearest file."""
    pytester.makefile(
        ".toml", modelroute="[thresholds.upper]\nmin_accuracy = 0.1\n", other="[thresholds.upper]\nmin_f1 = 0.1\n"
    )
    pytester.makepyfile(
        """
        def test_upper(evaluate_step):
            evaluate_step([{"inputs": "a", "expected_output": "A"}], run=str.upper, step="upper")
        """
    )
    run("--modelroute-config", "other.toml").stdout.fnmatch_lines(["  ok    F1 1.000 *"])


def test_a_given_file_that_is_not_there_is_a_usage_error(run: Run) -> None:
    """A wrong path is not taken for no settings."""
    result = run("--modelroute-config", "nowhere.toml")
    result.stderr.fnmatch_lines(["ERROR: *nowhere.toml: there is no such settings file"])
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_an_alias_of_the_settings_names_a_model_in_scripts(pytester: pytest.Pytester, run: Run) -> None:
    """`on(model="small")` answers calls of the model behind the alias."""
    pytester.makefile(".toml", modelroute='[models.small]\nmodel = "gpt-4.1-nano"\n')
    pytester.makepyfile(
        """
        import httpx

        def test_alias(mock_providers):
            mock_providers.on(model="small").replies("hi")
            body = {"model": "gpt-4.1-nano", "messages": []}
            reply = httpx.post("https://api.openai.com/v1/chat/completions", json=body)
            assert reply.json()["choices"][0]["message"]["content"] == "hi"
        """
    )
    run().assert_outcomes(passed=1)
