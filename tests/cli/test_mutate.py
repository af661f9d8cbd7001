"""`modelroute mutate`: a suite that does not look stays green, and is told so; one that looks is told by which test."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_modelroute.cli import main
from pytest_modelroute.wire.defects import DEFECTS
from tests.cli.recordings import Ran

OFF = [word for name in ("respx", "asyncio", "anyio", "randomly", "hypothesispytest", "cov") for word in ("-p", name)]
PYTEST = [sys.executable, "-m", "pytest", *[f"no:{word}" if word != "-p" else word for word in OFF]]
PAGE = Path(__file__).parents[2] / "docs" / "mutate.md"
APP = """
import httpx

def ask(model, prompt):
    body = {"model": model, "messages": [{"role": "user", "content": prompt}]}
    reply = httpx.post("https://api.openai.com/v1/chat/completions", json=body)
    reply.raise_for_status()
    return reply.json()["choices"][0]["message"]["content"]

def answer(prompt):
    for model in ("gpt-4.1", "gpt-4.1-mini"):
        try:
            return ask(model, prompt)
        except httpx.HTTPStatusError:
            pass
    return "We are sorry."
"""
SUITE = """
import app
from pytest_modelroute.faults import overloaded

def test_the_backup_answers(mock_providers):
    mock_providers.on(model="gpt-4.1").fails(overloaded())
    mock_providers.on(model="gpt-4.1-mini").replies("It is on its way.")
    {check}

def test_nothing_is_asked(mock_providers):
    assert not mock_providers.calls
"""
STRONG = SUITE.format(check='assert app.answer("Where is it?") == "It is on its way."')


@dataclass(frozen=True)
class Desk:
    """A folder with a suite, and the command."""

    root: Path
    capsys: pytest.CaptureFixture[str]

    def suite(self, text: str) -> None:
        """Write it."""
        (self.root / "app.py").write_text(APP, "utf-8")
        (self.root / "test_app.py").write_text(text, "utf-8")
        (self.root / "pytest.ini").write_text("[pytest]\npythonpath = .\n", "utf-8")

    def run(self, *arguments: str) -> Ran:
        """Run `modelroute mutate`."""
        self.capsys.readouterr()
        code = main(["mutate", *arguments])
        captured = self.capsys.readouterr()
        return Ran(code, captured.out.splitlines(), captured.err.splitlines())

    def pretend(self, *runs: str, arguments: tuple[str, ...] = ("--only", "delay")) -> Ran:
        """Run it on a command that is no pytest: the untouched run does the first, each other run the second."""
        first, second = runs if len(runs) > 1 else (runs[0], "pass")
        script = self.root / "pretend.py"
        script.write_text(PRETEND.format(first=first, second=second), "utf-8")
        return self.run(*arguments, "--", sys.executable, str(script))


PRETEND = """
import json, os, sys, threading

def note(**fields):
    with open(os.environ["MODELROUTE_TAMPER_NOTES"] + "/1.jsonl", "a") as file:
        file.write(json.dumps(fields) + "\\n")

def seen(**more):
    whole = dict(calls=2, tests=1, answered=2, recorded=0, models={{}}, questions={{}}, applies={{"delay": 1}})
    note(seen=whole | more)

if os.environ["MODELROUTE_TAMPER"] == "observe":
    {first}
else:
    {second}
"""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    """An empty folder, as the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(entry for entry in sys.path if entry))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    return Desk(tmp_path, capsys)


def test_a_suite_that_does_not_look_is_told_what_it_would_miss(desk: Desk) -> None:
    """The page shows such a suite and this verdict, with the command that shows the defect, and that works."""
    page = PAGE.read_text("utf-8")
    suite = page.partition("```python\n")[2].partition("```\n")[0]
    shown = re.search(r"<!-- output of: modelroute mutate (.*) -- pytest -->\n```text\n(.*?)```\n", page, re.DOTALL)
    assert shown is not None
    desk.suite(suite)
    ran = desk.run(*shown[1].split(), "--", *PYTEST)
    assert ran.code == 1
    said = "\n".join([*ran.out, ""]).replace(shlex.join(PYTEST), "pytest")
    assert re.sub(r"[\d.]+ s\b", "N s", said) == re.sub(r"[\d.]+ s\b", "N s", shown[2])
    assert [line.split()[0] for line in ran.err] == ["untouched:", "SURVIVED", "noticed", "-", "noticed"]
    reproduced = subprocess.run(  # noqa: S602 - as a person would paste it
        ran.out[2].strip(), shell=True, capture_output=True, text=True, check=False
    )
    assert reproduced.returncode == 0, reproduced.stdout
    assert "this run was tampered with by MODELROUTE_TAMPER=drop_fallback: 1 call changed" in reproduced.stdout


def test_a_suite_that_looks_is_told_so_also_with_a_worker(desk: Desk) -> None:
    """What a worker of xdist has changed is counted; JSON says it to programs."""
    desk.suite(STRONG)
    ran = desk.run("--only", "drop_fallback", "--format", "json", "--", *PYTEST, "-n", "1")
    assert ran.code == 0, ran.err
    report = json.loads("\n".join(ran.out))
    (defect,) = report["defects"]
    assert (report["score"], report["killed"], report["survived"]) == (1.0, 1, 0)
    assert (defect["name"], defect["status"], defect["timed_out"]) == ("drop_fallback", "killed", False)
    assert defect["changed"] == {"test_app.py::test_the_backup_answers": 1}
    assert defect["killed_by"] == ["test_app.py::test_the_backup_answers"]
    assert (desk.root / ".modelroute" / "mutate" / "seen.json").is_file()
    assert (desk.root / ".modelroute" / ".gitignore").read_text("utf-8") == "*\n"
    assert not (desk.root / ".pytest_cache").exists()


def test_a_suite_that_is_red_as_it_is_is_not_tested(desk: Desk) -> None:
    """The end of its output says why."""
    desk.suite(SUITE.format(check="assert app.answer('Where is it?') == 'something else'"))
    ran = desk.run("--", *PYTEST)
    assert (ran.code, ran.out) == (2, [])
    command = f"{shlex.join(PYTEST)}"
    assert ran.err[0] == (f"the suite is red before anything is tampered with; make it green first: {command}")
    assert any("test_app.py::test_the_backup_answers - " in line for line in ran.err)


@pytest.mark.parametrize(
    ("untouched", "message"),
    [
        ("sys.exit(5)", "no test was run; name tests that are there: "),
        ("sys.exit(4)", "pytest could not run the suite (exit code 4): "),
        (
            "pass",
            (
                "no provider call was seen in this run, so that there is nothing to tamper with: only tests with "
                "mock_providers, recorded_providers, evaluate_step or call_log show their calls: "
            ),
        ),
        (
            "seen(answered=0)",
            (
                "all 2 provider calls went to the network, where nothing is tampered with: script them "
                "(mock_providers) or replay a recording (recorded_providers): "
            ),
        ),
    ],
)
def test_an_untouched_run_that_shows_nothing_is_an_error(desk: Desk, untouched: str, message: str) -> None:
    """Each in one sentence, with what to do."""
    ran = desk.pretend(untouched)
    assert (ran.code, ran.out) == (2, [])
    assert ran.err[0].startswith(message)


@pytest.mark.parametrize(
    ("defective", "code", "first", "others"),
    [
        ("note(test='t', changed=2)", 1, "score 0/1: your suite stays green when", []),
        ("note(test='t', changed=2); note(failed='t'); sys.exit(1)", 0, "score 1/1: no defect ...", ["  delay  t"]),
        (
            "note(test='t', changed=2); sys.exit(4)",
            2,
            "score 0/0, 1 run could not be judged: nothing was judged",
            ["ERROR  delay: pytest ended with exit code 4"],
        ),
        ("note(test='t', changed=2); note(failed='t'); sys.exit(2)", 0, "score 1/1: no defect ...", ["  delay  t"]),
        (
            "note(test='t', changed=2); sys.exit(2)",
            2,
            "score 0/0, 1 run could not be judged: nothing was judged",
            ["ERROR  delay: pytest ended with exit code 2"],
        ),
        (
            "note(failed='t'); sys.exit(1)",
            2,
            "score 0/0, 1 run could not be judged: nothing was judged",
            ["ERROR  delay: the suite was green, and is red although no call was changed: t"],
        ),
        ("pass", 2, "score 0/0: nothing was judged", ["  delay: no call is answered"]),
    ],
)
def test_the_end_of_a_run_is_a_verdict(desk: Desk, defective: str, code: int, first: str, others: list[str]) -> None:
    """Green survives, red has noticed; what changed nothing has shown nothing, and what broke is said apart."""
    ran = desk.pretend("seen()", defective)
    assert ran.code == code
    assert ran.out[0].startswith(first.removesuffix("..."))
    assert {line for line in others if not any(each.startswith(line) for each in ran.out)} == set()


def test_a_run_that_does_not_end_is_ended_and_has_noticed(desk: Desk) -> None:
    """A defect that makes the suite hang is seen by whoever runs it."""
    ran = desk.pretend("seen()", "threading.Event().wait()", arguments=("--only", "delay", "--timeout", "0.4"))
    assert ran.code == 0
    assert "  delay  the run was ended after 0 s: it did not end by itself" in ran.out


def test_many_changed_tests_are_one_line(desk: Desk) -> None:
    """The one with the most calls is named."""
    ran = desk.pretend("seen()", "note(test='t', changed=1), note(test='u', changed=3), note(test='v', changed=1)")
    assert ran.out[1] == "  every answer takes 60 seconds longer  (5 calls changed in 3 tests, 3 of them in u)"


@pytest.mark.parametrize(("share", "code"), [("0.5", 0), ("50%", 0), ("51%", 1), ("1", 1)])
def test_a_lower_score_can_be_allowed(desk: Desk, share: str, code: int) -> None:
    """As a share or in per cent."""
    fails = "note(test='t', changed=1); os.environ['MODELROUTE_TAMPER'] == 'delay' and sys.exit(1)"
    only = ("--only", "delay", "--only", "empty_text", "--min-score", share)
    ran = desk.pretend("seen(applies={'delay': 1, 'empty_text': 1})", fails, arguments=only)
    assert (ran.code, ran.out[0]) == (code, "score 1/2: your suite stays green when")


def test_each_kind_of_label_is_flipped_by_itself(desk: Desk) -> None:
    """A suite may look at one, and not at another."""
    kinds = {
        key: {"model": "m", "opening": key, "calls": 3 * len(labels), "labels": dict.fromkeys(labels, 3)}
        for key, labels in {"b": ("LOW", "HIGH"), "a": ("r", "s", "t", "u", "v")}.items()
    }
    ran = desk.pretend(f"seen(questions={kinds!r})", "note(test='t', changed=1)", arguments=("--only", "flip_label"))
    assert ran.out[1].startswith("  a label is answered with another one (r, s, t, u, ...)  (1 call changed in t)")
    assert ran.out[2].startswith("    MODELROUTE_TAMPER=flip_label:1 ")
    assert ran.out[4].startswith("  a label is answered with another one (HIGH, LOW)  ")
    one = desk.pretend(f"seen(questions={kinds!r})", "note(test='t', changed=1)", arguments=("--only", "flip_label:2"))
    assert one.out[0] == "score 0/1: your suite stays green when"
    none = desk.pretend(f"seen(questions={kinds!r})", "pass", arguments=("--only", "flip_label:3"))
    assert "  flip_label:3: the suite has 2 kinds of labels" in none.out


def test_recordings_that_cannot_be_written_anew_are_not_judged_by_defects_that_do(desk: Desk) -> None:
    """A red run would be the doing of the rewriting; what leaves the reply as it is can be judged."""
    only = ("--only", "delay,empty_text")
    ran = desk.pretend(
        "seen(recorded=1, applies={'delay': 1, 'empty_text': 1})",
        "note(test='t', changed=1); os.environ['MODELROUTE_TAMPER'] == 'write_anew' and sys.exit(1)",
        arguments=only,
    )
    assert ran.out[0] == "score 0/1: your suite stays green when"
    assert any(line.startswith("  empty_text: its replies hold more than can be written anew") for line in ran.out)


def test_a_report_in_markdown_is_a_table_with_the_worst_first(desk: Desk) -> None:
    """For a pull request."""
    ran = desk.pretend(
        "seen(applies={'delay': 1, 'empty_text': 1})",
        "note(test='t', changed=1); os.environ['MODELROUTE_TAMPER'] == 'delay' and sys.exit(1)",
        arguments=("--only", "delay,empty_text,cut_stream", "--format", "markdown"),
    )
    assert ran.out[0] == "**score 1/2: your suite stays green when**"
    assert [line.split(" | ")[0:3:2] for line in ran.out[4:]] == [
        ["| `empty_text`", "**survived**"],
        ["| `delay`", "noticed"],
        ["| `cut_stream`", "not applicable"],
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "what runs the suite is missing: modelroute mutate -- pytest tests"),
        (["--"], "what runs the suite is missing: modelroute mutate -- pytest tests"),
        (["--only", "dealy", "--", "pytest"], "there is no defect 'dealy'; did you mean 'delay'? "),
        (["--only", "observe", "--", "pytest"], "--only observe: a defect was expected; see what there is: "),
        (["--only", "delay:1", "--", "pytest"], "'delay:1': a number from 1 on may follow flip_label alone, "),
        (["--only", "flip_label:0", "--", "pytest"], "'flip_label:0': a number from 1 on may follow flip_label "),
        (
            ["--", "pytest", "--modelroute-record=all"],
            (
                "--modelroute-record=all: a run that calls providers is never tampered with, so that no defect is "
                "recorded, or paid for; leave it out: what is recorded is replayed"
            ),
        ),
        (["--", "pytest", "--modelroute-record", "new"], "--modelroute-record: a run that calls providers is never "),
        (["--", "pytest", "--modelroute-live"], "--modelroute-live: a run that calls providers is never tampered "),
        (["--", "./no-such-command"], "./no-such-command: the command cannot be run (No such file or directory); "),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(desk: Desk, arguments: list[str], message: str) -> None:
    """With exit code 2, and nothing run."""
    ran = desk.run(*arguments)
    assert (ran.code, ran.out, len(ran.err)) == (2, [], 1)
    assert ran.err[0].startswith(message)


@pytest.mark.parametrize("share", ["-1", "2", "much", "nan", "101%"])
def test_a_share_is_a_share(share: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Of 0 to 1."""
    with pytest.raises(SystemExit) as ended:
        main(["mutate", f"--min-score={share}", "--", "pytest"])
    assert ended.value.code == 2
    assert f"{share!r} is no share from 0 to 1, such as 0.8 or 80%" in capsys.readouterr().err


def test_the_defects_are_listed(desk: Desk) -> None:
    """Without a suite."""
    ran = desk.run("--list")
    assert ran.code == 0
    assert "drop_fallback      a fallback's success is dropped" in ran.out


def test_the_page_explains_every_defect_in_the_same_words() -> None:
    """What survives, by its name."""
    page = PAGE.read_text("utf-8")
    assert [
        name for name, defect in DEFECTS.items() if f"| `{name}` | {defect.green_when.partition('; ')[0]} |" not in page
    ] == []


def test_a_place_that_cannot_be_written_is_said(desk: Desk) -> None:
    """What the untouched run has shown is needed by whoever follows up."""
    (desk.root / ".modelroute").write_text("a file", "utf-8")
    ran = desk.pretend("seen()")
    assert ran.code == 2
    assert ran.err[0].startswith(f"{Path('.modelroute/mutate/seen.json')}: what the untouched run has shown cannot be")


def test_a_program_beside_this_one_is_found_where_no_environment_is_active(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`pytest` means the one that is installed with this command."""
    monkeypatch.setenv("PATH", str(desk.root))
    ran = desk.run("--", "pytest", "--version")
    assert ran.code == 2
    assert ran.err[0].startswith("no provider call was seen in this run")


def test_the_project_keeps_its_own_options(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """PYTEST_ADDOPTS is added to, and not replaced."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "--own")
    told = "print(os.environ['PYTEST_ADDOPTS']); sys.exit(4)"
    assert desk.pretend(told).err[-1].strip() == "--own -p no:cacheprovider"
    ran = desk.pretend("seen()", told)
    assert "    --own -x -q -p no:cacheprovider" in ran.out
