"""
The pytest side: options, markers, checks at collection, and what fails a test from outside.

Imports the standard library and pytest only; everything else is imported where it is used, so that the plugin,
installed and unused, costs nothing. PYTEST_DONT_REWRITE: without bytecode pytest would rewrite it in every run.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import pytest

# The fixtures are found here, as names of this module: a plugin of their own would be one more to register.
from pytest_modelroute.fixtures import (
    LAW,
    PROBLEM,
    RUN,
    SETTINGS,
    THRESHOLDS,
    begin_tampering,
    begin_test,
    budget_scenario,
    call_log,
    estimate,
    evaluate_step,
    fail_for,
    find_unrecordable,
    mock_providers,
    our_errors,
    prepare,
    read_thresholds,
    recorded_providers,
    routing_laws,
    save_recording,
    virtual_time,
)
from pytest_modelroute.options import add_markers, add_options, check_options

__all__ = ["budget_scenario", "call_log", "evaluate_step", "mock_providers"]
__all__ += ["recorded_providers", "routing_laws", "virtual_time"]
_MARKER, _LAW = "step_threshold", "modelroute_law"
_EVALUATED, _UNUSABLE, _RECORDED = "modelroute_evaluations", "modelroute_unusable", "modelroute_recording"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers and validate the settings at hand."""
    add_markers(config)
    check_options(config)
    begin_tampering(config)
    from pytest_modelroute.discovery import SettingsFiles

    explicit = config.getoption("modelroute_config")
    files = SettingsFiles(None if explicit is None else (config.invocation_params.dir / explicit).resolve())
    config.stash[SETTINGS] = files
    for argument in [str(config.rootpath), *config.args]:
        path = (config.invocation_params.dir / argument.partition("::")[0]).resolve()
        try:
            files.at(path if path.is_dir() else path.parent)
        except our_errors() as error:
            raise pytest.UsageError(str(error)) from None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Check the settings of every folder with tests, and every marker, before anything runs."""
    files = config.stash[SETTINGS]
    problems: dict[str, pytest.Item] = {}
    for item in items:
        marks, whose = list(item.iter_markers(_MARKER)), ""
        try:
            settings, whose = files.at(item.path.parent), f"{item.nodeid}: "
            prepare(item)
            if marks:
                item.stash[THRESHOLDS] = read_thresholds(marks, settings)
        except our_errors() as error:
            item.stash[PROBLEM] = f"{whose}{error}"
            problems.setdefault(item.stash[PROBLEM], item)
    problems.update(find_unrecordable(config, items))
    if problems and hasattr(config, "workerinput"):
        # An error here would crash the worker and lose its message: the items at fault run alone, and fail with it.
        items[:] = problems.values()
    elif problems:
        raise pytest.UsageError("\n".join(problems))


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> str | None:
    """Say what recording is likely to cost."""
    return estimate(config, items)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail an item that was found to be unusable at collection; begin anew where a plugin reruns one."""
    if RUN in item.stash:
        del item.stash[RUN]
    if PROBLEM in item.stash:
        pytest.fail(item.stash[PROBLEM], pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test for what it could not see: unscripted calls, refused connections, limits that nobody judged."""
    end_test = begin_test(item)
    try:
        result = yield
    except BaseException as error:
        end_test(False)
        if _shows_no_more(item, error):
            return None
        # The code under test may have turned our refusal into an outage of its own: say first what was behind it.
        fail_for(item, passed=False, error=error)
        raise
    end_test(True)
    _shows_no_more(item, None)
    fail_for(item, passed=True)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Fail also for what happened after the test, while its fixtures were torn down; then it may be recorded."""
    yield
    fail_for(item, passed=False)
    save_recording(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach the call log to a failure, and the evaluations to the report, as JSON so that they cross xdist."""
    report = yield
    run = item.stash.get(RUN, None)
    if LAW in item.stash and report.when == "call":
        item.stash[LAW].attach_to(report, _LAW)
    if PROBLEM in item.stash:
        setattr(report, _UNUSABLE, True)
    elif run is not None and report.when == "call":
        run.passed = report.passed
        run.attach_to(report, _EVALUATED)
    elif run is not None and report.when == "teardown":
        run.attach_recording_to(report, _RECORDED)
        del item.stash[RUN]  # a session of many tests must not keep every call of each
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Show each evaluated step, what was recorded, and which laws held; nothing where there was none."""
    kinds = (_EVALUATED, _RECORDED, _LAW)
    told = {kind: [(r.nodeid, getattr(r, kind)) for r in _reports(terminalreporter, kind)] for kind in kinds}
    case = config.getoption("modelroute_case")
    if any(told.values()) or case is not None:
        from pytest_modelroute.report.session import section_lines

        lines = section_lines(*told.values())
        if lines or case is not None:
            terminalreporter.section("modelroute")
        for line in lines:
            terminalreporter.line(line)
        if case is not None and not told[_EVALUATED]:
            terminalreporter.line(f"ERROR: --modelroute-case: no evaluation of this run has a case {case!r}", red=True)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A marker that cannot be used, or a case that is nowhere, is a usage error also where workers found it."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(session.config, "workerinput"):
        return
    case = session.config.getoption("modelroute_case")
    nowhere = case is not None and not any(_reports(reporter, _EVALUATED)) and session.exitstatus == pytest.ExitCode.OK
    if nowhere or any(_reports(reporter, _UNUSABLE)):
        session.exitstatus = pytest.ExitCode.USAGE_ERROR


def _shows_no_more(item: pytest.Item, error: BaseException | None) -> bool:
    """Whether a rerun of one case has shown it; skips a test that has no such case."""
    run = item.stash.get(RUN, None)
    if run is None or run.lacks_case is None:
        return run is not None and run.has_shown_case(error)
    pytest.skip(run.lacks_case)


def _reports(reporter: Any, attribute: str) -> Iterator[Any]:
    """The reports that carry something of ours, whatever their outcome."""
    return (report for reports in reporter.stats.values() for report in reports if hasattr(report, attribute))
