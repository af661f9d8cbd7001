"""
The pytest side: options, markers, checks at collection, and what fails a test from outside.

Imports the standard library and pytest only; everything else is imported where it is used, so that the plugin,
installed and unused, costs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_modelroute.discovery import SettingsFiles
    from pytest_modelroute.evaluation.thresholds import StepThreshold
    from pytest_modelroute.testrun import TestRun  # noqa: F401 - named in a string below

pytest_plugins = ["pytest_modelroute.fixtures"]

SETTINGS = pytest.StashKey["SettingsFiles"]()
THRESHOLDS = pytest.StashKey[list["StepThreshold"]]()
RUN = pytest.StashKey["TestRun"]()
FOUND_CASE = pytest.StashKey[bool]()
_MARKER = "step_threshold"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("modelroute", "regression tests for model routing")
    group.addoption(
        "--modelroute-config",
        metavar="FILE",
        help="settings file; else the nearest modelroute.toml or pyproject.toml with [tool.modelroute] above each test",
    )
    group.addoption(
        "--modelroute-case", metavar="ID", help="run only this case in every evaluate_step, and show its calls"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker and validate the settings at hand."""
    config.addinivalue_line(
        "markers",
        "step_threshold(step, *, min_accuracy=, min_pass_rate=, min_mean_score=, min_precision=, min_recall=, min_f1=, "
        "positive=, max_latency_ms=, max_mean_latency_ms=, max_cost_usd=, max_total_cost_usd=, max_misroute_rate=, "
        "max_underroute_rate=, max_overroute_rate=, max_escalation_rate=, confidence=): the limits that evaluate_step "
        "judges a step by; limits left out come from [tool.modelroute.thresholds.<step>].",
    )
    from pytest_modelroute.discovery import SettingsFiles

    explicit = config.getoption("modelroute_config")
    files = SettingsFiles(None if explicit is None else (config.invocation_params.dir / explicit).resolve())
    config.stash[SETTINGS] = files
    for argument in [config.rootpath, *(Path(argument.partition("::")[0]) for argument in config.args)]:
        folder = (config.invocation_params.dir / argument).resolve()
        _settings_at(files, folder if folder.is_dir() else folder.parent)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Check the settings of every folder with tests, and every marker, before anything runs."""
    files = config.stash[SETTINGS]
    for folder in dict.fromkeys(item.path.parent for item in items):
        _settings_at(files, folder)
    problems: dict[str, None] = {}
    for item in items:
        marks = list(item.iter_markers(_MARKER))
        if marks:
            try:
                item.stash[THRESHOLDS] = _read_marks(marks, files.at(item.path.parent))
            except _usage_errors() as error:
                problems[f"{item.nodeid}: {error}"] = None
    if problems:
        raise pytest.UsageError("\n".join(problems))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test for what it could not see: unscripted calls, refused connections, limits that nobody judged."""
    try:
        result = yield
    except BaseException as error:
        # The code under test may have turned our refusal into an outage of its own: say first what was behind it.
        _fail_for(item, passed=False, error=error)
        raise
    _fail_for(item, passed=True)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Fail also for what happened after the test, while its fixtures were torn down."""
    result = yield
    _fail_for(item, passed=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach the call log to a failure, and the evaluations to the report, as JSON so that they cross xdist."""
    report = yield
    run = item.stash.get(RUN, None)
    if run is not None and report.when == "call":
        table = run.calls_table() if report.failed else None
        if table is not None:
            report.sections.append(("modelroute: provider calls", table))
        summary = run.summary()
        if summary is not None:
            report.modelroute = summary  # type: ignore[attr-defined]
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Show each evaluated step; nothing where there was none."""
    reports = [
        report for key in ("passed", "failed", "xfailed", "xpassed") for report in terminalreporter.getreports(key)
    ]
    evaluated = [report for report in reports if hasattr(report, "modelroute")]
    if not evaluated:
        return
    terminalreporter.section("modelroute")
    # Failures explain themselves above; what passed is shown with its evidence.
    for report in sorted(evaluated, key=lambda report: report.nodeid):
        for summary in json.loads(report.modelroute):
            lines = summary["lines"] if summary["ok"] else summary["lines"][:1]
            terminalreporter.line(f"{lines[0]}  ({report.nodeid})")
            for line in lines[1:]:
                terminalreporter.line(line)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A case that was asked for and is nowhere is an error, not a green run of nothing."""
    config = session.config
    case = config.getoption("modelroute_case")
    if case is None or hasattr(config, "workerinput"):
        return
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    reports = [report for key in ("passed", "failed") for report in (reporter.getreports(key) if reporter else ())]
    if not any(hasattr(report, "modelroute") for report in reports) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.USAGE_ERROR
        if reporter is not None:
            reporter.line(f"ERROR: --modelroute-case: no evaluation of this run has a case {case!r}", red=True)


def _settings_at(files: SettingsFiles, folder: Path) -> None:
    try:
        files.at(folder)
    except _usage_errors() as error:
        raise pytest.UsageError(str(error)) from None


def _usage_errors() -> type[Exception]:
    from pytest_modelroute.errors import ModelRouteError

    return ModelRouteError


def _read_marks(marks: list[pytest.Mark], settings: Any) -> list[StepThreshold]:
    from pytest_modelroute.evaluation.thresholds import read_marks

    steps: dict[str, Any] = {} if settings is None else settings.steps
    defaults: dict[str, Any] = {} if settings is None else settings.thresholds
    return read_marks([(mark.args, mark.kwargs) for mark in marks], steps=steps, defaults=defaults)


def _fail_for(item: pytest.Item, *, passed: bool, error: BaseException | None = None) -> None:
    run = item.stash.get(RUN, None)
    if run is not None:
        failures = run.failures(passed=passed)
    elif passed and item.stash.get(THRESHOLDS, None):
        from pytest_modelroute.testrun import missing_evaluation

        failures = [missing_evaluation(threshold.step) for threshold in item.stash[THRESHOLDS]]
    else:
        return
    if failures:
        raise pytest.fail.Exception("\n\n".join([*failures, *_describe(item, error)]), pytrace=False) from None


def _describe(item: pytest.Item, error: BaseException | None) -> list[str]:
    """How the test itself ended, with its traceback; a script that raised is shown by its own."""
    from pytest_modelroute.errors import ScriptRaised, UnscriptedCall

    if error is None or isinstance(error, UnscriptedCall):
        return []
    if isinstance(error, ScriptRaised) and error.__cause__ is not None:
        script = item.repr_failure(pytest.ExceptionInfo[BaseException].from_exception(error.__cause__))
        return [f"the script's own traceback:\n{script}"]
    if item.config.getoption("fulltrace"):
        return [f"the test itself ended with:\n{pytest.ExceptionInfo[BaseException].from_exception(error).getrepr()}"]
    from pytest_modelroute.wire.places import raise_sites

    places = "".join(f"\n  at {place}" for place in raise_sites(error))
    return [f"the test itself ended with {type(error).__name__}: {error}{places}\n(all of it with --full-trace)"]
