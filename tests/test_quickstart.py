"""The example that newcomers run first."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent.parent / "examples" / "quickstart"


def run_pytest(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in the example's folder."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:asyncio", *arguments]
    return subprocess.run(command, cwd=EXAMPLE, capture_output=True, text=True, check=False)


def test_the_application_holds_its_limits() -> None:
    """The step reaches 90% accuracy with 19 of 20 answers within half a second."""
    done = run_pytest("test_intents.py")
    assert done.returncode == pytest.ExitCode.OK, done.stdout
    assert "PASS  classify_intent: 400 cases" in done.stdout


def test_one_edited_line_is_caught() -> None:
    """The label map that sends the hardest queries to the smallest model misses the limit, and the report says so."""
    done = run_pytest("broken_intents.py")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "step 'classify_intent' misses its limit: accuracy 0.855 < 0.90" in done.stdout
    assert "97 x expected large, went to gpt-4.1-nano (under-routed)" in done.stdout


def test_the_broken_application_differs_in_one_line() -> None:
    """Beside its docstring, the label map is all that was edited."""
    good, broken = ((EXAMPLE / name).read_text("utf-8").splitlines()[1:] for name in ("app.py", "broken_app.py"))
    changed = [(a, b) for a, b in zip(good, broken, strict=True) if a != b]
    assert changed == [
        (
            'TIERS = {"LOW": "small", "MEDIUM": "medium", "HIGH": "large"}',
            'TIERS = {"LOW": "small", "MEDIUM": "medium", "HIGH": "small"}',
        )
    ]


def test_the_tests_of_both_differ_in_what_they_import() -> None:
    """The same limits, cases and scripts judge both."""
    good, broken = (
        (EXAMPLE / name).read_text("utf-8").splitlines()[1:] for name in ("test_intents.py", "broken_intents.py")
    )
    changed = [(a, b) for a, b in zip(good, broken, strict=True) if a != b]
    assert changed == [("from app import classify_intent", "from broken_app import classify_intent")]


def test_the_command_that_the_failure_offers_works() -> None:
    """The line after "rerun one case" can be pasted into a shell."""
    output = run_pytest("broken_intents.py").stdout
    line = next(line for line in output.splitlines() if line.startswith("rerun one case: pytest "))
    done = run_pytest(*shlex.split(line.removeprefix("rerun one case: pytest ")))
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "wrong (score 0)" in done.stdout


def test_both_runs_together_end_well() -> None:
    """`python -m examples.quickstart` exits with 0 when one passes and the other is caught."""
    command = [sys.executable, "-m", "examples.quickstart"]
    done = subprocess.run(command, cwd=EXAMPLE.parent.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith("The step holds its limits; the edit was caught.\n")


def test_the_cases_are_many_and_balanced() -> None:
    """At least 300 real queries, as many of each intent."""
    lines = (EXAMPLE / "cases" / "intents.jsonl").read_text("utf-8").splitlines()
    intents = Counter(json.loads(line)["expected_output"] for line in lines)
    assert len(lines) >= 300
    assert len(set(intents.values())) == 1
