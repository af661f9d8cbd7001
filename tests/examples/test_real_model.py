"""The example on a recorded model: the application holds its limits, and classifiers that ask the model are caught."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from pytest_modelroute.cassettes.files import read_cassette
from pytest_modelroute.cassettes.interaction import Interaction
from pytest_modelroute.cassettes.redaction import Redactor

EXAMPLE = Path(__file__).parents[2] / "examples" / "real_model"
PAGE = EXAMPLE.parents[1] / "docs" / "real-model.md"
CASSETTES = sorted((EXAMPLE / "cassettes").glob("*.yaml"))
LARGE = "smollm2-135m-as-large"


def run_pytest(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in the example's folder."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:asyncio", *arguments]
    return subprocess.run(command, cwd=EXAMPLE, capture_output=True, text=True, check=False)


@cache
def interactions_of(path: Path) -> tuple[Interaction, ...]:
    """What a cassette holds."""
    return tuple(read_cassette(path).interactions)


@cache
def shown(version: str) -> str:
    """What the page shows of a version; a test of the documents runs it."""
    page = PAGE.read_text("utf-8")
    return page.partition(f"<!-- generated: python -m examples.real_model {version} -->")[2].partition("\n```\n")[0]


def test_the_application_holds_its_limits() -> None:
    """The rule and the intents pass; tests that ask a model live wait for their option."""
    done = run_pytest()
    assert done.returncode == pytest.ExitCode.OK, done.stdout
    assert "PASS  answer: 200 cases, recorded time" in done.stdout
    assert done.stdout.count("PASS  classify_intent: 208 cases, recorded time") == 4
    assert "5 passed, 16 skipped" in done.stdout


def test_the_live_tests_say_how_to_run_them() -> None:
    """A skip names the option."""
    done = run_pytest("test_live.py", "-rs")
    assert "live: calls providers; run it with --modelroute-live" in done.stdout


def test_no_answer_to_the_plain_prompt_is_a_label() -> None:
    """The report shows what came in its place."""
    assert "FAIL  pass rate 0.000 (0/200" in shown("plain_prompt")
    assert "26 cases of 'LOW' were taken for 'To solve this problem,'" in shown("plain_prompt")


@pytest.mark.parametrize("version", ["plain_prompt", "with_grammar", "with_examples"])
def test_a_stream_says_the_same_as_a_whole_answer(version: str) -> None:
    """Two recordings of the same questions, judged alike; and the whole suite tells nothing but the classifier."""
    done = run_pytest(f"--version-of-router={version}", "-k", "streamed")
    verdicts = re.findall(r"^step 'rate_difficulty' misses its limit: .*$", done.stdout, re.MULTILINE)
    assert verdicts == re.findall(r"^step 'rate_difficulty' misses its limit: .*$", shown(version), re.MULTILINE)
    assert "1 failed, 2 passed" in done.stdout


def test_the_fail_safe_sends_every_question_to_the_large_model() -> None:
    """Most need less: over-routing, and what it costs, are named."""
    assert f"111 x expected small, went to {LARGE} (over-routed)" in shown("plain_prompt")
    assert "over-routing rate 0.870 > 0.15" in shown("plain_prompt")
    assert re.search(r"FAIL  total cost 0\.0\d+ USD", shown("plain_prompt"))


@pytest.mark.parametrize("version", ["with_grammar", "with_examples"])
def test_a_constraint_makes_answers_valid(version: str) -> None:
    """What only looks at the form of the answers is satisfied."""
    assert re.search(r"ok    pass rate 0\.9[5-9]\d", shown(version))


@pytest.mark.parametrize(
    ("version", "kind"), [("with_grammar", "under-routing rate"), ("with_examples", "over-routing rate")]
)
def test_a_constant_answer_is_caught(version: str, kind: str) -> None:
    """By its recall, and by the misroutes of one kind."""
    assert re.search(rf"FAIL  {kind} 0\.\d+", shown(version))
    assert re.search(r"FAIL  recall 0\.[23]\d+", shown(version))


def test_the_command_that_a_failure_offers_works() -> None:
    """The line after "rerun one case" needs no option of the example."""
    line = re.search(r"^rerun one case: pytest (.*test_questions.*)$", shown("plain_prompt"), re.MULTILINE)
    assert line is not None
    done = run_pytest(*shlex.split(line[1]))
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    assert LARGE in done.stdout


def test_an_unknown_version_is_named() -> None:
    """A typo is answered with what there is."""
    command = [sys.executable, "-m", "examples.real_model", "grammar"]
    done = subprocess.run(command, cwd=EXAMPLE.parents[1], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.partition(";")[0]) == (2, "there is no version 'grammar'")


def test_the_provenance_lists_the_recordings_and_counts_their_calls() -> None:
    """Nothing is recorded that nobody accounts for."""
    text = (EXAMPLE / "cassettes" / "PROVENANCE.md").read_text("utf-8")
    listed = {name: int(calls) for name, calls in re.findall(r"^\| (\S+\.yaml) \| (\d+) \|", text, re.MULTILINE)}
    assert listed == {path.name: len(interactions_of(path)) for path in CASSETTES}


@pytest.mark.parametrize("path", CASSETTES, ids=lambda path: path.stem)
def test_a_recording_holds_what_it_says(path: Path) -> None:
    """Every call went to the model on the recorder's machine, was answered, and has its time and its checksum."""
    interactions = interactions_of(path)
    assert {interaction.request.url for interaction in interactions} == {"http://127.0.0.1:8712/v1/chat/completions"}
    assert {interaction.response.status for interaction in interactions} == {200}
    assert all(interaction.facts and interaction.facts.latency_s > 0 for interaction in interactions)
    assert all(interaction.facts and interaction.facts.checksum for interaction in interactions)


@pytest.mark.parametrize("path", CASSETTES, ids=lambda path: path.stem)
def test_a_recording_holds_no_secret(path: Path) -> None:
    """Nor anything that looks like one."""
    assert Redactor(environment={}).remains(path.read_text("utf-8")) == []


@pytest.mark.parametrize("path", CASSETTES, ids=lambda path: path.stem)
def test_no_request_was_recorded_twice(path: Path) -> None:
    """A second answer to the same question would never be replayed."""
    asked = Counter(interaction.request.body for interaction in interactions_of(path))
    assert max(asked.values()) == 1


def test_the_streams_keep_the_times_of_their_pieces() -> None:
    """Each streamed call was recorded with its timeline, and none is empty."""
    chunks = [
        interaction.facts.chunks if interaction.facts is not None else None
        for interaction in interactions_of(EXAMPLE / "cassettes" / "classify_intent-by_client.yaml")
    ]
    assert sum(timeline is not None and len(timeline) > 1 for timeline in chunks) == 208


def test_the_server_reports_no_usage_in_a_stream_though_it_is_asked_to() -> None:
    """Why the streamed steps have no cost, and no limit on it."""
    streams = [
        (json.loads(interaction.request.body), interaction.response.body)
        for interaction in interactions_of(EXAMPLE / "cassettes" / "classify_intent-by_router.yaml")
        if interaction.facts is not None and interaction.facts.chunks is not None
    ]
    assert len(streams) == 208
    assert all(asked["stream_options"] == {"include_usage": True} for asked, _ in streams)
    assert not any(b'"usage":{' in body for _, body in streams)
