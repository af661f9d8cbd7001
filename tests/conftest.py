"""What all tests share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def outside_of_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where CI is set, pytest says each failure twice, and a run in a test must say the same everywhere."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("BUILD_NUMBER", raising=False)
