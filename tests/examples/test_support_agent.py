"""The support agent's suites: the application holds its limits, and every broken version of it is caught."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "support_agent"
PAGE = EXAMPLE.parents[1] / "docs" / "support-agent.md"
CAUGHT_BY = {
    "label_map_edited": {"test_generate_answer", "test_the_backup_answers_when_the_large_model_is_down"},
    "fallback_keeps_the_primarys_model": {"test_the_backup_answers_when_the_large_model_is_down"},
    "safety_check_is_downgraded": {"test_safety_check_when_money_is_short"},
    "triage_on_the_wrong_tier": {"test_triage", "test_each_step_asks_its_model_once"},
    "triage_asked_twice": {"test_each_step_asks_its_model_once"},
}
STEPS = {
    "classify_intent": 240,
    "extract_entities": 136,
    "triage": 150,
    "generate_answer": 127,
    "safety_check": 1120,
}


def run_pytest(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in the example's folder."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:asyncio", *arguments]
    return subprocess.run(command, cwd=EXAMPLE, capture_output=True, text=True, check=False)


def test_the_application_holds_its_limits() -> None:
    """Every step passes on all of its cases."""
    done = run_pytest()
    assert done.returncode == pytest.ExitCode.OK, done.stdout
    for step, cases in STEPS.items():
        assert f"PASS  {step}: {cases} cases" in done.stdout


@pytest.mark.parametrize("version", CAUGHT_BY)
def test_a_broken_version_is_caught_by_the_tests_that_it_concerns(version: str) -> None:
    """The others still pass: a failure says what is broken. A test of the documents runs what this page shows."""
    page = PAGE.read_text("utf-8")
    output = page.partition(f"<!-- generated: python -m examples.support_agent {version} -->")[2].partition("\n```\n")[
        0
    ]
    assert set(re.findall(r"^_+ (\w+) _+$", output, re.MULTILINE)) == CAUGHT_BY[version]
    assert output.rstrip().endswith(f"{len(CAUGHT_BY[version])} failed, {12 - len(CAUGHT_BY[version])} passed")


def test_an_unknown_version_is_named() -> None:
    """A typo is answered with what there is."""
    command = [sys.executable, "-m", "examples.support_agent", "label_map"]
    done = subprocess.run(command, cwd=EXAMPLE.parents[1], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.partition(";")[0]) == (2, "there is no version 'label_map'")
