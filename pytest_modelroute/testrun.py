"""One test from the plugin's side: its wire, its evaluations, and what must fail it."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_modelroute.cassettes.keys import stand_ins
from pytest_modelroute.cassettes.providers import RecordedProviders
from pytest_modelroute.cassettes.recording import TestRecording
from pytest_modelroute.errors import CassetteError, WaitsForEver
from pytest_modelroute.evaluation.attempts import Bench
from pytest_modelroute.evaluation.results import StepEvaluation
from pytest_modelroute.evaluation.routes import Routes
from pytest_modelroute.evaluation.thresholds import StepThreshold
from pytest_modelroute.evaluation.tiers import AllTiers
from pytest_modelroute.evaluation.verdict import Verdict
from pytest_modelroute.providers.prices import PriceBook
from pytest_modelroute.report.ending import describe_ending, describe_own_error, is_said
from pytest_modelroute.report.outcomes import describe_outcomes
from pytest_modelroute.report.step import calls_of_worst, describe_case, describe_failure, summarise
from pytest_modelroute.wire.call_log import CallLog
from pytest_modelroute.wire.exchanges import Wire
from pytest_modelroute.wire.interception import Interception
from pytest_modelroute.wire.loopback import LoopbackServer
from pytest_modelroute.wire.network_guard import NetworkGuard
from pytest_modelroute.wire.scripted import MockProviders
from pytest_modelroute.wire.virtual_time import VirtualTime

if TYPE_CHECKING:
    from pytest_modelroute.config import Settings

_SHOWN_CALLS = 20


class CaseShown(BaseException):
    """Ends a test once the one case that was asked for is shown: what it asserts of all cases does not hold of one."""


class TestRun:
    """What the fixtures of one test share; knows nothing of pytest."""

    __test__ = False  # the name is not an invitation to pytest

    def __init__(
        self,
        *,
        test: str,
        settings: Settings | None,
        thresholds: Sequence[StepThreshold],
        folders: Sequence[Path],
        only_case: str | None,
        fail: Callable[[str], None],
    ) -> None:
        """
        Nothing listens yet.

        Args:
            test: The id of the test.
            settings: Of the test's folder; None where it has none.
            thresholds: Of the test's markers.
            folders: Where case files are looked for.
            only_case: The case of --modelroute-case.
            fail: Fails the test with a message.

        """
        self._test = test
        self._settings = settings
        self._fail = fail
        self._only_case = only_case
        self._summaries: list[dict[str, Any]] = []
        self._told: set[str] = set()
        self._missed: list[str] = []
        self._runs = False
        self._interception: Interception | None = None
        self._scripts: MockProviders | None = None
        self._evidence: CallLog | None = None
        self._recording: TestRecording | None = None
        self.passed = False
        "Whether the test function passed, by its report."
        self.tiers: AllTiers | None = None
        "The models that every case is run on, once they were asked for."
        self.wire = Wire(
            prices=settings.prices() if settings is not None else PriceBook(),
            provider_hosts=settings.provider_hosts() if settings is not None else (),
            steps=settings.steps if settings is not None else (),
        )
        self.bench = Bench(
            wire=self.wire,
            conclude=self._conclude,
            thresholds=thresholds,
            declared=settings.threshold if settings is not None else lambda _step: None,
            folders=folders,
            routes=settings.routes() if settings is not None else Routes(),
            only_case=only_case,
        )

    @contextmanager
    def listening(self) -> Generator[CallLog]:
        """See every provider call."""
        self._interception = Interception(self.wire)
        try:
            self._interception.start()
            yield self.wire.calls
        finally:
            self._interception.stop()

    @contextmanager
    def virtual_time(self) -> Generator[VirtualTime]:
        """Let time be virtual."""
        clock = self.wire.clock = VirtualTime(failure=self._waits_for_ever)
        try:
            clock.start()
            yield clock
        finally:
            clock.stop()

    @contextmanager
    def scripted(self) -> Generator[MockProviders]:
        """Answer provider calls by scripts, and keep the test on this machine."""
        settings, interception = self._settings, self._interception
        assert interception is not None  # noqa: S101 - the fixture depends on call_log
        names: dict[str, Any] = {}
        if settings is not None:
            names = {
                "models_of": settings.models_of,
                "steps": settings.steps,
                "providers": settings.providers(),
            }
        server = LoopbackServer(self.wire, interception.routes)
        stays = self._recording is None or self._recording.tape.mode == "none"
        scripts = MockProviders(
            self.wire.calls,
            http=interception.http,
            partial=self._only_case is not None,
            serve=server.port,
            **names,
        )
        guard = NetworkGuard(settings.allow_hosts if settings is not None else ())
        self.wire.scripts = self._scripts = scripts
        try:
            if stays:
                self.wire.guard = guard
                guard.start()
            yield scripts
        finally:
            server.stop()
            guard.stop()

    @contextmanager
    def recorded(self, recording: TestRecording) -> Generator[RecordedProviders]:
        """
        Answer provider calls by recordings, or record them.

        What was recorded is saved by `save_recording`.
        """
        wire, tape = self.wire, recording.tape
        self._recording, wire.recordings = recording, tape
        with ExitStack() as stack:
            if tape.mode == "none":
                stack.enter_context(stand_ins())
                if wire.guard is None:
                    wire.guard = NetworkGuard(
                        self._settings.allow_hosts if self._settings else (), answering="recorded"
                    )
                    wire.guard.start()
                    stack.callback(wire.guard.stop)
            elif wire.guard is not None:
                wire.guard.stop()  # scripts began first, and calls that they do not answer go to the network
            yield RecordedProviders(wire.calls, tape, tape.mode)
        recording.end_progress()

    def save_recording(self) -> None:
        """
        The test is over, and its fixtures have been torn down: save what was recorded, where it has passed.

        Raises:
            CassetteError: It cannot be saved.

        """
        if self.passed and self._recording is not None:
            self._recording.save()
            if self._only_case is None and self.wire.tampering is None:  # these use less, or more, than the test
                self._recording.note_replay()
            if self.tiers is not None and self.tiers.matrix.outcomes:
                self._recording.save_outcomes(self.tiers.text)

    def spending(self) -> str:
        """What recording has cost so far, for a line of progress; empty where nothing is recorded."""
        return "" if self._recording is None else self._recording.spending()

    @property
    def settings(self) -> Settings | None:
        """The settings of the test's folder; None where it has none."""
        return self._settings

    @property
    def lacks_case(self) -> str | None:
        """Why the test has nothing to show of the one case that was asked for; None where it has, or none was."""
        if self._only_case is None or self._summaries:
            return None
        return f"it has no case {self._only_case!r}"

    def has_shown_case(self, error: BaseException | None) -> bool:
        """Whether the test was ended because the case that was asked for is shown."""
        return isinstance(error, CaseShown)

    def begin(self) -> None:
        """The test function begins."""
        self._runs = True
        self.wire.begin_test()
        if self.wire.clock is not None:
            self.wire.clock.begin_test()

    def end(self, *, passed: bool) -> list[str]:
        """The test function has ended, and passed or not; what to warn of."""
        self._runs = False
        self.wire.end_test()
        return [] if self.wire.clock is None else self.wire.clock.end_test(passed=passed)

    def failures(self, *, passed: bool, error: BaseException | None, full: bool) -> list[str]:
        """
        What fails the test and was not told yet.

        Args:
            passed: Whether the test itself passed: only then are unused scripts and missing evaluations news.
            error: What the test itself raised.
            full: Whether to show the whole traceback of that.

        """
        self.wire.calls.settle()
        failures = self.wire.failures()
        if passed:
            # Also a missed limit whose failure the test caught.
            failures = [*failures, *self._missed] or [*self._unevaluated(), *self._unused(), *self._stale()]
        news = [failure for failure in failures if failure not in self._told]
        self._told.update(news)
        if news and error is not None and is_said(error, news):
            return news
        # An error of ours needs no traceback of our insides.
        return [*news, *describe_ending(error, full=full)] if news else describe_own_error(error, full=full)

    def attach_to(self, report: Any, name: str) -> None:
        """Add the calls to a failed report, and the evaluations under this name, as JSON, which crosses processes."""
        table = self.calls_table() if report.failed else None
        if table is not None:
            report.sections.append(("modelroute: provider calls", table))
        if self._summaries:
            setattr(report, name, json.dumps(self._summaries))

    def attach_recording_to(self, report: Any, name: str) -> None:
        """Add what was recorded and replayed under this name, as JSON."""
        if self._recording is not None:
            if not self.passed:
                with suppress(CassetteError):  # what failed the test comes first
                    self._recording.find_stale()
            live = [call for call in self.wire.calls if call.answered_by == "network"]
            setattr(report, name, json.dumps(self._recording.summary(live)))

    def calls_table(self) -> str | None:
        """The calls that explain a failure: of the worst cases, else the last ones; None where nothing was called."""
        calls = self._evidence or self.wire.calls
        if not calls or self._only_case is not None:  # the one case has shown its calls already
            return None
        others = len(self.wire.calls) - len(calls)
        note = f"\n({others} calls of other cases are not shown)" if others else ""
        return calls.table(limit=_SHOWN_CALLS) + note

    def _waits_for_ever(self, message: str) -> BaseException:
        """What ends the test function, or a fixture: the error of a failed test, which test plugins pass on."""
        if self._runs:
            self.wire.fail(message)
        try:
            self._fail(message)
        except BaseException as error:  # noqa: BLE001 - whatever fails a test
            return error
        return WaitsForEver(message)

    def _unused(self) -> list[str]:
        leftovers = self._scripts.leftovers() if self._scripts is not None else None
        return [] if leftovers is None else [leftovers]

    def _stale(self) -> list[str]:
        recording = self._recording
        if recording is None:
            return []
        try:
            recording.find_stale()
        except CassetteError as error:
            return [str(error)]
        if not recording.stale or not recording.stale_fails:
            return []
        lines = ['stale recordings fail this test (recording.stale = "fail"):', *(s.message for s in recording.stale)]
        return ["\n".join(lines)]

    def _unevaluated(self) -> list[str]:
        bench = self.bench
        lines = [
            f"{call} was called but not awaited; write await {call.partition('(')[0]}(...)"
            for call in sorted(bench.forgotten.values())
        ]
        lines += [
            missing_evaluation(threshold.step)
            for threshold in bench.thresholds
            if threshold.step not in bench.evaluated
        ]
        return ["\n".join(lines)] if lines else []

    def _conclude(self, evaluation: StepEvaluation, verdict: Verdict) -> None:
        __tracebackhide__ = True
        if self._only_case is not None:
            if not evaluation.results:
                return
            result = evaluation.results[0]
            right = result.right and result.route_error is None
            shown = describe_case(evaluation)
            self._summaries.append({"ok": right, "lines": shown.splitlines()})
            if not right:
                self._fail(shown)
            raise CaseShown
        self._check_latencies(verdict)
        lines = [*summarise(evaluation, verdict), *describe_outcomes(evaluation)]
        self._summaries.append({"ok": verdict.ok, "lines": lines})
        if not verdict.ok:
            self._evidence = calls_of_worst(evaluation, verdict)
            self._missed.append(describe_failure(evaluation, verdict, test=self._test))
            self._fail(self._missed[-1])

    def _check_latencies(self, verdict: Verdict) -> None:
        """A limit on latency cannot be judged by recordings that keep none."""
        __tracebackhide__ = True
        unknown = 0 if self._recording is None else self._recording.tape.without_latency
        limits = [check.limit for check in verdict.checks if check.limit.endswith("latency_ms")]
        if unknown and limits:
            self._missed.append(
                f"{' and '.join(limits)} cannot be judged: {unknown} of the replayed calls were recorded by a tool "
                "that keeps no latency.\nRecord them again with --modelroute-record=all, or leave the limit out"
            )
            self._fail(self._missed[-1])


def missing_evaluation(step: str) -> str:
    """The message for a marked test that measured nothing."""
    return (
        f"step {step!r} has limits, but this test evaluated nothing, so nothing was judged.\n"
        "Evaluate it: def test_...(evaluate_step): evaluate_step(cases, run=function_under_test)"
    )
