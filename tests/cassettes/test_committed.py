"""What this repository has committed of recordings holds no secret, and is as it was recorded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_modelroute.cassettes.audit import audit
from pytest_modelroute.cassettes.redaction import Redactor

ROOT = Path(__file__).parents[2]
FOLDERS = [folder for folder in (ROOT / "cassettes", *sorted(ROOT.glob("examples/**/cassettes"))) if folder.is_dir()]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_committed_recordings_are_whole_and_hold_no_secret(folder: Path) -> None:
    """By the looks, the names and the values of secrets: those of this environment included."""
    found = audit([folder], Redactor(environment=dict(os.environ)))
    assert found.files > 0
    assert [str(flaw) for flaw in found.flaws] == []


def test_the_audit_of_what_is_committed_can_fail(tmp_path: Path) -> None:
    """A planted key is found by the same call."""
    (tmp_path / "notes.md").write_text("sk-proj-" + "A1b2C3d4" * 6, "utf-8")
    assert [str(flaw) for flaw in audit([tmp_path], Redactor()).flaws] == [f"{tmp_path}/notes.md:1: OpenAI key"]
