"""What all tests share."""

from __future__ import annotations

import os

import pytest

# A measured run takes twice as long: laws are then looked at with fewer examples, and what runs whole applications, in
# processes of their own, is left to the run on the wheel (.ci/run).
if "COVERAGE_PROCESS_START" in os.environ:
    collect_ignore = ["matrix", "examples", "test_documents.py", "test_quickstart.py"]
    from hypothesis import settings

    settings.register_profile("measured", parent=settings.get_profile("ci"), max_examples=25)
    settings.load_profile("measured")


@pytest.fixture(autouse=True)
def outside_of_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where CI is set, pytest says each failure twice, and a run in a test must say the same everywhere."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("BUILD_NUMBER", raising=False)
