"""
The fixtures.

Each body imports what it needs and constructs it, so that unused ones cost nothing. PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_modelroute.cassettes.providers import RecordedProviders
    from pytest_modelroute.discovery import SettingsFiles
    from pytest_modelroute.evaluation.attempts import Progress
    from pytest_modelroute.evaluation.evaluate import StepEvaluator
    from pytest_modelroute.evaluation.thresholds import StepThreshold
    from pytest_modelroute.lawrun import LawRun
    from pytest_modelroute.report.tampered import TamperedRun
    from pytest_modelroute.scenarios import BudgetScenarios
    from pytest_modelroute.testrun import TestRun
    from pytest_modelroute.wire.call_log import CallLog
    from pytest_modelroute.wire.scripted import MockProviders
    from pytest_modelroute.wire.virtual_time import VirtualTime

SETTINGS: pytest.StashKey[SettingsFiles] = pytest.StashKey()
THRESHOLDS: pytest.StashKey[list[StepThreshold]] = pytest.StashKey()
RUN: pytest.StashKey[TestRun] = pytest.StashKey()
PROBLEM: pytest.StashKey[str] = pytest.StashKey()
LAW: pytest.StashKey[LawRun] = pytest.StashKey()
_TAMPERED: pytest.StashKey[TamperedRun] = pytest.StashKey()
_RECORDS: pytest.StashKey[bool] = pytest.StashKey()
"Whether any test of this run has recordings, which what others leave running must not touch."


@pytest.fixture
def call_log(request: pytest.FixtureRequest) -> Iterator[CallLog]:
    """The provider calls of this test, whoever answered them."""
    with _test_run(request).listening() as calls:
        yield calls


@pytest.fixture
def virtual_time(request: pytest.FixtureRequest) -> Iterator[VirtualTime]:
    """The clock of this test: sleeps, timeouts and scripted latencies pass at once and in order."""
    with _test_run(request).virtual_time() as clock:
        yield clock


@pytest.fixture
def mock_providers(
    request: pytest.FixtureRequest, call_log: CallLog, virtual_time: VirtualTime
) -> Iterator[MockProviders]:
    """Scripted providers, strict in both directions: unscripted calls and unused scripts fail the test."""
    del call_log, virtual_time  # needed, not used
    with _test_run(request).scripted() as scripts:
        yield scripts


@pytest.fixture
def recorded_providers(request: pytest.FixtureRequest, call_log: CallLog) -> Iterator[RecordedProviders]:
    """Recorded providers: calls are answered by the test's cassette, or recorded into it by --modelroute-record."""
    from pytest_modelroute.recording import recording_of, replays_in_virtual_time

    del call_log  # needed, not used
    run, item = _test_run(request), request.node
    if replays_in_virtual_time(request.config):
        request.getfixturevalue("virtual_time")
    try:
        recording = recording_of(item, run, _path_from_here(item), _rewriter(request.config))
        with run.recorded(recording) as recorded:
            yield recorded
    except our_errors() as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


@pytest.fixture
def evaluate_step(request: pytest.FixtureRequest, call_log: CallLog) -> StepEvaluator:
    """Evaluate a step on cases and judge it by the limits of its step_threshold marker or of the settings."""
    from pytest_modelroute.evaluation.evaluate import StepEvaluator

    del call_log  # needed, not used
    run = _test_run(request)
    run.bench.progress = _progress(request.config, run)
    return StepEvaluator(run.bench)


@pytest.fixture
def routing_laws(request: pytest.FixtureRequest) -> Callable[[type[Any], str], None]:
    """What the tests of a RoutingInvariants class call: tries one of its laws."""
    from pytest_modelroute.lawrun import LawRun

    item, config = request.node, request.config
    files = config.stash[SETTINGS]
    folder = item.path.parent
    run = item.stash[LAW] = LawRun(
        test=_path_from_here(item),
        settings=files.at(folder),
        profile=str(config.getoption("modelroute_profile")),
        seed=int(config.getoption("modelroute_seed") or 0),
    )

    def check(kind: type[Any], law: str) -> None:
        __tracebackhide__ = True
        try:
            verdict = run.check(kind, law)
        except our_errors() as error:
            raise pytest.fail.Exception(str(error), pytrace=False) from None
        errors = [note for note in run.notes if not _warn(item, note)]
        if verdict.action == "fail" or (errors and verdict.action == "pass"):
            raise pytest.fail.Exception(verdict.message or "\n\n".join(errors), pytrace=False)
        if verdict.action == "skip":
            pytest.skip(verdict.message)
        if verdict.action == "xfail":
            pytest.xfail(verdict.message)

    return check


@pytest.fixture
def budget_scenario(request: pytest.FixtureRequest) -> BudgetScenarios:
    """Lead a router through a budget that runs out: by hand, or a stock scenario by its name."""
    from pytest_modelroute.lawrun import surroundings_of
    from pytest_modelroute.scenarios import BudgetScenarios

    return BudgetScenarios(surroundings_of(request.config.stash[SETTINGS].at(request.node.path.parent)))


_FIXTURES = frozenset({"call_log", "evaluate_step", "mock_providers", "recorded_providers", "virtual_time"})


def prepare(item: pytest.Item) -> None:
    """A test found by pytest: let its cassette bring the fixture, and keep live ones for those who ask for them."""
    if getattr(getattr(item, "cls", None), "_modelroute_problem", None) is not None:
        from pytest_modelroute.errors import PromiseError

        raise PromiseError(item.cls._modelroute_problem)  # type: ignore[attr-defined]  # noqa: SLF001
    names: list[str] | None = getattr(item, "fixturenames", None)
    if names is None:
        return
    if item.get_closest_marker("cassette") is not None:
        from pytest_modelroute.recording import place_of

        place_of(item)
        if "recorded_providers" in names:
            names.remove("recorded_providers")
        names.insert(_before_the_tests_own(item, names), "recorded_providers")
    if "recorded_providers" in names:
        item.config.stash[_RECORDS] = True
    if item.get_closest_marker("live") and not item.config.getoption("modelroute_live") and _FIXTURES & {*names}:
        item.add_marker(pytest.mark.skip(reason="live: calls providers; run it with --modelroute-live"))


def read_thresholds(marks: list[pytest.Mark], settings: Any) -> list[StepThreshold]:
    """The limits in the markers of a test."""
    from pytest_modelroute.evaluation.thresholds import read_marks

    given = [(mark.args, mark.kwargs) for mark in marks]
    return read_marks(given, steps=getattr(settings, "steps", {}), defaults=getattr(settings, "thresholds", {}))


def _before_the_tests_own(item: pytest.Item, names: list[str]) -> int:
    """
    Where a fixture of a marker belongs: as with usefixtures, before those of the test's own that may ask a model.

    After those of a wider scope, which serve other tests too, and those that serve every test.
    """
    info = getattr(item, "_fixtureinfo", None)
    own = {*getattr(info, "argnames", ()), *(name for mark in item.iter_markers("usefixtures") for name in mark.args)}
    known = getattr(info, "name2fixturedefs", {})
    for position, name in enumerate(names):
        if name in own and (name not in known or known[name][-1].scope == "function"):
            return position
    return len(names)


def estimate(config: pytest.Config, items: list[pytest.Item]) -> str | None:
    """What recording these tests is likely to cost; None where nothing is recorded."""
    if config.getoption("modelroute_record") == "none":
        return None
    from pytest_modelroute.recording import estimate_of

    return estimate_of(config, items)


def find_unrecordable(config: pytest.Config, items: list[pytest.Item]) -> dict[str, pytest.Item]:
    """What keeps --modelroute-record-all-tiers from recording anything: message -> the test at fault."""
    if not config.getoption("modelroute_record_all_tiers"):
        return {}
    from pytest_modelroute.recording import check_all_tiers

    found = check_all_tiers(items, config.stash[SETTINGS])
    return {item.stash.setdefault(PROBLEM, message): item for message, item in found.items()}


def begin_tampering(config: pytest.Config) -> None:
    """
    Let the run be tampered with where MODELROUTE_TAMPER says so, to test its tests.

    Raises:
        pytest.UsageError: It cannot be done as asked.

    """
    if not os.environ.get("MODELROUTE_TAMPER"):
        return
    from pytest_modelroute.report.tampered import TamperedRun

    given = {
        "--modelroute-record": config.getoption("modelroute_record") != "none",
        "--modelroute-live": bool(config.getoption("modelroute_live")),
    }
    try:
        tampered = TamperedRun(os.environ, config.invocation_params.dir, refuse=given)
    except our_errors() as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[_TAMPERED] = tampered
    config.pluginmanager.register(tampered, "modelroute-tampered")


def begin_test(item: pytest.Item) -> Callable[[bool], None]:
    """The test function is about to run; gives what to call at its end, with whether it passed."""
    run = item.stash.get(RUN, None)
    if run is None:
        return _begin_other(item)
    run.begin()

    def end_test(passed: bool) -> None:
        errors = [report for report in run.end(passed=passed) if not _warn(item, report)]
        if errors and passed:
            pytest.fail("\n\n".join(errors), pytrace=False)

    return end_test


def fail_for(item: pytest.Item, *, passed: bool, error: BaseException | None = None) -> None:
    """Fail a test for what it could not see, in the words of its run."""
    run = item.stash.get(RUN, None)
    failures: list[str] = []
    if run is not None:
        failures = run.failures(passed=passed, error=error, full=bool(item.config.getoption("fulltrace")))
    elif passed and item.stash.get(THRESHOLDS, None):
        from pytest_modelroute.testrun import missing_evaluation

        failures = [missing_evaluation(threshold.step) for threshold in item.stash[THRESHOLDS]]
    if failures:
        raise pytest.fail.Exception("\n\n".join(failures), pytrace=False) from None


def save_recording(item: pytest.Item) -> None:
    """The test is over, its fixtures too: save what it has recorded, where all of it has passed."""
    run = item.stash.get(RUN, None)
    if run is None:
        return
    try:
        run.save_recording()
    except our_errors() as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


def _begin_other(item: pytest.Item) -> Callable[[bool], None]:
    """A test without our fixtures: what it leaves running is told apart where others have recordings."""
    if not item.config.stash.get(_RECORDS, False):
        return lambda _passed: None
    from pytest_modelroute.wire.owners import Owner

    owner = Owner()
    owner.begin()
    return lambda _passed: owner.end()


def our_errors() -> type[Exception]:
    """What this package raises; looked up where something was raised, since every pytest run passes the places."""
    from pytest_modelroute.errors import ModelRouteError

    return ModelRouteError


def _warn(item: pytest.Item, report: str) -> bool:
    """Warn in the name of a test; False where the project has made such a warning an error."""
    from pytest_modelroute.errors import ModelrouteWarning

    try:
        item.warn(ModelrouteWarning(report))
    except ModelrouteWarning:
        return False
    return True


def _test_run(request: pytest.FixtureRequest) -> TestRun:
    from pytest_modelroute.testrun import TestRun

    item, config = request.node, request.config
    if RUN not in item.stash:
        folder = item.path.parent
        files = config.stash[SETTINGS]
        folders = (folder, files.folder(folder), config.rootpath)
        item.stash[RUN] = TestRun(
            test=_path_from_here(item),
            settings=files.at(folder),
            thresholds=item.stash.get(THRESHOLDS, []),
            folders=list(dict.fromkeys(path for path in folders if path is not None)),
            only_case=config.getoption("modelroute_case"),
            fail=lambda message: pytest.fail(message, pytrace=False),
        )
        if _TAMPERED in config.stash:
            _tamper(item, config.stash[_TAMPERED])
    run: TestRun = item.stash[RUN]
    return run


def _tamper(item: pytest.Item, tampered: TamperedRun) -> None:
    run = item.stash[RUN]
    classifiers = frozenset[str]() if run.settings is None else run.settings.routes().helpers
    run.wire.tampering = tampered.of(item.nodeid, _path_from_here(item), classifiers=classifiers)


def _path_from_here(item: pytest.Item) -> str:
    """The id of a test as it can be typed where pytest was started, which need not be the root of its ids."""
    try:
        path = os.path.relpath(item.path, item.config.invocation_params.dir)
    except ValueError:  # pragma: no cover - another drive on Windows
        path = str(item.path)
    _, separator, rest = item.nodeid.partition("::")
    return f"{path}{separator}{rest}"


def _progress(config: pytest.Config, run: TestRun) -> Progress | None:
    """How far an evaluation is, on a terminal; nothing in a log."""
    rewrite = _rewriter(config)
    if rewrite is None:
        return None
    from pytest_modelroute.report.progress import ProgressLine

    return ProgressLine(rewrite, note=run.spending)


def _rewriter(config: pytest.Config) -> Callable[[str], None] | None:
    """Writes over one line of a terminal; None where there is none."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not reporter.isatty or os.environ.get("CI"):
        return None
    capture = config.pluginmanager.get_plugin("capturemanager")

    def rewrite(text: str) -> None:
        # While a test runs its output is captured, and the reporter's with it.
        with capture.global_and_fixture_disabled() if capture is not None else nullcontext():
            reporter.rewrite(text, erase=True)
        if not text:
            reporter.currentfspath = None  # the line is gone: let the name of the test file be written again

    return rewrite
