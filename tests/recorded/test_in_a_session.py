"""Whole sessions of pytest: beside pytest-recording and pytest-vcr, scripts with recordings, failures, speed."""

from __future__ import annotations

from collections.abc import Callable, Generator
from importlib.util import find_spec
from pathlib import Path

import aiohttp
import httpx
import pytest
import requests
import vcr
import vcr.serializers.yamlserializer
import yaml

from pytest_modelroute import config, plugin, recording, testrun
from tests.recorded.live import Live, live

Session = Callable[..., pytest.RunResult]
LOADED = (aiohttp, config, httpx, plugin, recording, requests, testrun, vcr, yaml)
"Once for all runs of pytest in this process: they would load them anew, which PyYAML's part in C does not survive."
OFF = ("respx", "asyncio", "anyio", "randomly", "xdist", "hypothesispytest", "cov")
HEAD = """
import httpx
import pytest
import requests

URL = {url!r} + "/v1/chat/completions"

def ask(prompt, post=httpx.post):
    body = {{"model": "gpt-5-mini", "messages": [{{"role": "user", "content": prompt}}]}}
    return post(URL, json=body, timeout=9).json()["choices"][0]["message"]["content"]
"""
BESIDE = """
@pytest.mark.cassette
def test_ours():
    assert ask("ours") == "re: ours"
    assert ask("ours too", requests.post) == "re: ours too"

@pytest.mark.vcr
def test_theirs():
    assert ask("theirs") == "re: theirs"
    assert ask("theirs too", requests.post) == "re: theirs too"

@pytest.mark.cassette
def test_ours_again():
    assert ask("again", requests.post) == "re: again"
"""


@pytest.fixture
def server() -> Generator[Live]:
    """A live provider."""
    with live() as server:
        yield server


@pytest.fixture
def session(pytester: pytest.Pytester, server: Live) -> Session:
    """Run a test file."""
    pytester.makeini("[pytest]\n")

    def run(source: str, *args: str, off: tuple[str, ...] = ("recording", "vcr")) -> pytest.RunResult:
        Path("test_it.py").write_text(HEAD.format(url=server.url) + source, "utf-8")
        return pytester.runpytest_inprocess(*(word for name in (*OFF, *off) for word in ("-p", f"no:{name}")), *args)

    return run


def gone(server: Live) -> None:
    """Stop the provider."""
    server.shutdown()
    server.server_close()


OTHERS = {"recording": ("pytest_recording", "--record-mode"), "vcr": ("pytest_vcr", "--vcr-record")}


@pytest.mark.parametrize("other", OTHERS)
def test_both_work_in_one_session(session: Session, server: Live, other: str) -> None:
    """Each on its own markers, recording and replaying."""
    module, option = OTHERS[other]
    if find_spec(module) is None:
        pytest.skip(f"{module} is not installed: the two refuse each other, and .ci/run has an environment for each")
    off = tuple(name for name in OTHERS if name != other)
    session(BESIDE, "--modelroute-record=new", f"{option}=once", off=off).assert_outcomes(passed=3)
    assert server.asked == ["ours", "ours too", "theirs", "theirs too", "again"]
    assert len([*Path("cassettes").rglob("*.yaml")]) == 3
    gone(server)
    session(BESIDE, f"{option}=none", off=off).assert_outcomes(passed=3)


@pytest.mark.parametrize("ours", [True, False])
def test_pytest_recording_and_ours_read_each_others(session: Session, server: Live, ours: bool) -> None:
    """A test changes its marker, and keeps its cassette."""
    pytest.importorskip("pytest_recording")
    test = '@pytest.mark.{}\ndef test_it():\n    assert ask("hi") == "re: hi"\n'
    folder = "@pytest.fixture\ndef vcr_cassette_dir():\n    return 'cassettes'\n"
    mine = test.format('cassette("shared")')
    theirs = folder + test.format('default_cassette("shared.yaml")\n@pytest.mark.vcr')
    first, second = (mine, theirs) if ours else (theirs, mine)
    session(first, "--modelroute-record=new", "--record-mode=once", off=("vcr",)).assert_outcomes(passed=1)
    assert [*Path("cassettes").rglob("*.yaml")] == [Path("cassettes/shared.yaml")]
    gone(server)
    session(second, "--record-mode=none", off=("vcr",)).assert_outcomes(passed=1)
    assert server.asked == ["hi"]


@pytest.mark.parametrize("fixtures", ["mock_providers, recorded_providers", "recorded_providers, mock_providers"])
def test_scripts_and_recordings(session: Session, server: Live, fixtures: str) -> None:
    """In either order of the fixtures scripts answer first, and the cassette the rest."""
    source = f"""
def test_it({fixtures}):
    mock_providers.on(when=lambda call: call.prompt == "scripted").replies("by a script", latency=0.5)
    assert [ask("a"), ask("scripted"), ask("b", requests.post)] == ["re: a", "by a script", "re: b"]
    assert [call.text for call in recorded_providers.calls] == ["re: a", "by a script", "re: b"]
"""
    session(source, "--modelroute-record=new").assert_outcomes(passed=1)
    assert server.asked == ["a", "b"]
    gone(server)
    session(source).assert_outcomes(passed=1)


def test_a_miss_beside_scripts_fails(session: Session, server: Live) -> None:
    """What neither answers is a miss, and reaches nobody."""
    source = """
def test_it(mock_providers, recorded_providers):
    mock_providers.on(when=lambda call: call.prompt == "scripted").replies("by a script")
    ask("scripted")
    try:
        ask("other")
    except BaseException:
        pass
"""
    result = session(source)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*no recorded call answers this request:*"])
    assert server.asked == []


def test_a_failed_test_calls_once(session: Session, server: Live) -> None:
    """The next run reuses what a failed one has paid for, and asks for the rest alone."""
    source = """
def test_it(recorded_providers):
    assert [ask("one"), ask("two")] == ["re: one", "re: two"]
    {then}
"""
    session(source.format(then="assert False"), "--modelroute-record=new").assert_outcomes(failed=1)
    assert not Path("cassettes").exists()
    again = 'assert ask("three") == "re: three"'
    session(source.format(then=again), "--modelroute-record=new").assert_outcomes(passed=1)
    assert server.asked == ["one", "two", "three"]
    gone(server)
    session(source.format(then=again)).assert_outcomes(passed=1)


def test_replay_speed(session: Session, server: Live) -> None:
    """Recorded time passes for real, so many times as fast; what is judged is what was recorded."""
    source = """
import time

def test_it(recorded_providers):
    began = time.perf_counter()
    assert ask("hi") == "re: hi"
    took = time.perf_counter() - began
    call, = recorded_providers.calls
    assert call.latency_s >= 0.5
    assert (took < 0.5) is {fast}
"""
    server.head = 0.5
    session(source.format(fast=False), "--modelroute-record=new").assert_outcomes(passed=1)
    gone(server)
    session(source.format(fast=True), "--modelroute-replay-speed=100").assert_outcomes(passed=1)
