"""A run that MODELROUTE_TAMPER tampers with says so, leaves notes and records nothing; without it, there is nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_modelroute.cassettes.replayed import read_replays
from tests.plugin.conftest import Run
from tests.plugin.live import Project

SUITE = """
import httpx

def ask(model="gpt-4.1"):
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    return httpx.post("https://api.openai.com/v1/chat/completions", json=body).json()

def test_it_answers(mock_providers):
    mock_providers.on(model="gpt-4.1").replies("fine")
    assert ask()["choices"][0]["message"]["content"] == "fine"

def test_it_calls(mock_providers):
    mock_providers.on(model="gpt-4.1").replies("fine")
    ask(), ask()

def test_nothing():
    pass
"""
Tamper = Callable[..., pytest.RunResult]


@pytest.fixture
def tamper(pytester: pytest.Pytester, run: Run, monkeypatch: pytest.MonkeyPatch) -> Tamper:
    """Run the suite with a value of the variable, and with the folder of notes."""

    def tampered(value: str, *arguments: str, notes: bool = True, **more: Any) -> pytest.RunResult:
        monkeypatch.setenv("MODELROUTE_TAMPER", value)
        if notes:
            folder = pytester.path / "notes"
            folder.mkdir(exist_ok=True)
            monkeypatch.setenv("MODELROUTE_TAMPER_NOTES", str(folder))
        return run(*arguments, **more)

    pytester.makepyfile(SUITE)
    monkeypatch.delenv("MODELROUTE_TAMPER_NOTES", raising=False)
    return tampered


def notes_in(folder: Path) -> list[dict[str, Any]]:
    """What the run has left."""
    return [
        json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text("utf-8").splitlines()
    ]


def test_the_run_says_that_it_was_tampered_with_and_leaves_what_it_changed(
    pytester: pytest.Pytester, tamper: Tamper
) -> None:
    """For people, and for the command."""
    result = tamper("empty_text")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*modelroute: tampered with*",
            "this run was tampered with by MODELROUTE_TAMPER=empty_text: 3 calls changed",
            "defect: every answer is empty",
        ]
    )
    name = "test_the_run_says_that_it_was_tampered_with_and_leaves_what_it_changed.py"
    assert notes_in(pytester.path / "notes") == [
        {"failed": f"{name}::test_it_answers"},
        {"test": f"{name}::test_it_answers", "changed": 1},
        {"test": f"{name}::test_it_calls", "changed": 2},
    ]


def test_a_run_that_is_only_watched_says_nothing(pytester: pytest.Pytester, tamper: Tamper) -> None:
    """It is the suite as it is; what was seen is left at its end."""
    result = tamper("observe")
    result.assert_outcomes(passed=3)
    result.stdout.no_fnmatch_line("*tamper*")
    (note,) = notes_in(pytester.path / "notes")
    assert (note["seen"]["calls"], note["seen"]["tests"]) == (3, 2)
    assert note["seen"]["applies"]["empty_text"] == 2


def test_without_a_folder_for_notes_nothing_is_written(pytester: pytest.Pytester, tamper: Tamper) -> None:
    """Who runs it by hand reads the terminal."""
    before = {path.name for path in pytester.path.iterdir()}
    tamper("empty_text", notes=False).assert_outcomes(passed=2, failed=1)
    assert {path.name for path in pytester.path.iterdir()} - before <= {".pytest_cache", "__pycache__"}


def test_without_the_variable_nothing_of_it_is_imported(pytester: pytest.Pytester, run: Run) -> None:
    """Nor where calls are answered."""
    names = ("wire.tampering", "wire.tampered", "wire.defects", "wire.observed", "report.tampered")
    checked = "".join(f"    assert 'pytest_modelroute.{name}' not in sys.modules\n" for name in names)
    pytester.makepyfile(f"import sys\n{SUITE}\ndef test_last(mock_providers):\n{checked}")
    run("-p", "no:cacheprovider", inprocess=False).assert_outcomes(passed=4)


@pytest.mark.parametrize(
    ("value", "arguments", "message"),
    [
        ("dely", (), "there is no defect 'dely'; did you mean 'delay'? "),
        ("delay:2", (), "'delay:2': a number from 1 on may follow flip_label alone, "),
        (
            "delay",
            ("--modelroute-record=new",),
            (
                "MODELROUTE_TAMPER=delay and --modelroute-record: a run that calls providers is never tampered with, "
                "so that no defect is recorded, or paid for; leave out one of the two"
            ),
        ),
        ("delay", ("--modelroute-record=all",), "MODELROUTE_TAMPER=delay and --modelroute-record: a run that calls "),
        ("observe", ("--modelroute-live",), "MODELROUTE_TAMPER=observe and --modelroute-live: a run that calls "),
        (
            "flip_label:1",
            (),
            (
                "MODELROUTE_TAMPER=flip_label:1 has to know which models and labels this suite sees: run "
                "modelroute mutate -- pytest ... first, in this folder; it leaves them in *seen.json"
            ),
        ),
        ("misroute_up", (), "MODELROUTE_TAMPER=misroute_up has to know which models and labels "),
    ],
)
def test_what_cannot_be_done_is_a_usage_error(
    tamper: Tamper, value: str, arguments: tuple[str, ...], message: str
) -> None:
    """In one line, before any test."""
    result = tamper(value, *arguments, notes=False)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}*"])


def test_what_the_command_has_seen_is_known_to_a_run_by_hand(pytester: pytest.Pytester, tamper: Tamper) -> None:
    """From the folder in which pytest is started."""
    seen = {
        "calls": 1,
        "tests": 1,
        "answered": 1,
        "recorded": 0,
        "questions": {},
        "applies": {},
        "models": {"openai openai-chat": {"gpt-4.1": "10", "gpt-4.1-nano": "0.5"}},
    }
    folder = pytester.path / ".modelroute" / "mutate"
    folder.mkdir(parents=True)
    (folder / "seen.json").write_text(json.dumps(seen), "utf-8")
    result = tamper("misroute_down", notes=False)
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["*no script answers this provider call:", "*model 'gpt-4.1-nano'"])
    (folder / "seen.json").write_text("{}", "utf-8")
    result = tamper("misroute_down", notes=False)
    result.stderr.fnmatch_lines(
        ["ERROR: *seen.json: what the untouched run has shown cannot be read (KeyError: *); delete the file, *"]
    )


def test_a_tampered_replay_is_no_replay_of_what_is_recorded(
    project: Project, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks for less, or for more, than the test does in earnest; the cassette stays as it is."""
    project.tests("from app import ask\ndef test_it(recorded_providers): ask('where is my order')\n")
    run("--modelroute-record=new").assert_outcomes(passed=1)
    recorded = project.file("test_it/test_it").read_bytes()
    assert read_replays(project.state) == []
    monkeypatch.setenv("MODELROUTE_TAMPER", "double_usage")
    result = run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*MODELROUTE_TAMPER=double_usage: 1 call changed"])
    assert project.file("test_it/test_it").read_bytes() == recorded
    assert read_replays(project.state) == []
    monkeypatch.delenv("MODELROUTE_TAMPER")
    run().assert_outcomes(passed=1)
    assert len(read_replays(project.state)) == 1
