"""One client, recorded from a live provider and replayed once that is gone."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from pytest_modelroute import VirtualTime
from pytest_modelroute.cassettes.facts import Facts
from pytest_modelroute.cassettes.interaction import Interaction
from pytest_modelroute.cassettes.recording import Plan, TestRecording
from pytest_modelroute.cassettes.tape import RecordMode
from pytest_modelroute.testrun import TestRun
from pytest_modelroute.wire.call_log import ProviderCall
from tests.matrix.clients import Ask, Heard, live_url, server_url
from tests.recorded.live import Live

VARIABLES: Mapping[str, str] = {
    "OPENAI_BASE_URL": "/v1",
    "ANTHROPIC_BASE_URL": "",
    "GOOGLE_GEMINI_BASE_URL": "",
    "OLLAMA_HOST": "",
}
"What the clients read their addresses from, and what comes after the server's own."


def plan(folder: Path, mode: RecordMode, **options: Any) -> Plan:
    """Where and how the calls of a test in this folder are recorded or replayed."""
    return Plan(
        **{
            "test": "test_it.py::test_it",
            "path": folder / "cassettes" / "it.yaml",
            "folder": folder / "cassettes",
            "state": folder / ".modelroute",
            "shared": False,
            "mode": mode,
            "command": "pytest test_it.py --modelroute-record=new",
            "environment": {},
            **options,
        }
    )


def new_run() -> TestRun:
    """What the fixtures of one test share."""
    return TestRun(test="test_it", settings=None, thresholds=[], folders=[], only_case=None, fail=pytest.fail)


@contextmanager
def running(run: TestRun, *, passes: bool = True) -> Generator[None]:
    """The test function, between its fixtures' beginning and their end."""
    run.begin()
    ended = False
    try:
        yield
        ended = True
    finally:
        passed = ended and passes
        warned = run.end(passed=passed)
        failures = run.failures(passed=passed, error=None, full=False)
        run.passed = passed
    assert (warned, failures) == ([], [])


@contextmanager
def recording(folder: Path, *, mode: RecordMode = "new", passes: bool = True, **options: Any) -> Generator[TestRun]:
    """A test that records, on the real clock; saved at the end, if the test passes."""
    run = new_run()
    made = TestRecording(plan(folder, mode, **options))
    with run.listening(), run.recorded(made), running(run, passes=passes):
        yield run
    run.save_recording()


@contextmanager
def replaying(folder: Path, **options: Any) -> Generator[tuple[TestRun, VirtualTime]]:
    """A test that replays, in virtual time; with the network guard."""
    run = new_run()
    made = TestRecording(plan(folder, "none", **options))
    with run.listening(), run.virtual_time() as clock, run.recorded(made), running(run):
        yield run, clock


def saved(folder: Path) -> list[Interaction]:
    """What the cassette holds, in its order."""
    return list(TestRecording(plan(folder, "none")).tape)


def facts_of(interaction: Interaction) -> Facts:
    """What is known of it, which everything of ours has."""
    assert interaction.facts is not None
    return interaction.facts


@dataclass(frozen=True)
class Told:
    """What a client gave to the code that asked it, the log's view of that, and when it began."""

    heard: Heard
    calls: Sequence[ProviderCall]
    began: float

    @property
    def values(self) -> list[Any]:
        """The replies or pieces, as plain values."""
        return [plain(said) for said in self.heard.said]

    @property
    def moments(self) -> list[float]:
        """When each came, in seconds since the beginning."""
        return [moment - self.began for moment in self.heard.moments]


def ask_live(folder: Path, ask: Ask) -> Told:
    """Record one call."""
    with recording(folder) as run:
        return tell(ask, run.wire.calls)


def ask_recorded(folder: Path, ask: Ask) -> tuple[Told, float]:
    """Replay it; also the seconds of virtual time that it took."""
    with replaying(folder) as (run, clock):
        return tell(ask, run.wire.calls), clock.now


def tell(ask: Ask, calls: Sequence[ProviderCall] = ()) -> Told:
    """Ask; `calls` is a log that grows meanwhile."""
    heard, began = Heard(), time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of clients that are not closed, and of models near their end
        ask(heard)
    return Told(heard, list(calls), began)


@contextmanager
def addressed(server: Live) -> Generator[None]:
    """The clients ask this server, as long as it is there and afterwards."""
    url = server.url
    with pytest.MonkeyPatch.context() as patch:
        for variable, path in VARIABLES.items():
            patch.setenv(variable, url + path)
        live, served = live_url.set(url), server_url.set(lambda _name: url)
        try:
            yield
        finally:
            live_url.reset(live)
            server_url.reset(served)


def plain(said: Any) -> Any:
    """A reply of an SDK as a value that can be compared: all of its members."""
    dump: Callable[[], Any] | None = getattr(said, "model_dump", None)
    if dump is not None:
        values: Any = dump()
        if isinstance(values, dict):
            values.pop("sdk_http_response", None)  # google-genai's copy of all headers, which are not all kept
        return values
    if isinstance(said, dict):  # boto3's tells its headers and ids beside the reply
        return {name: value for name, value in said.items() if name != "ResponseMetadata"}
    return said


def times(facts: Facts) -> Iterator[float]:
    """When each recorded piece came, in seconds since the request."""
    gaps = [gap for gap, _size in facts.chunks or ()]
    return accumulate([facts.ttft_s or 0.0, *gaps[1:]])
