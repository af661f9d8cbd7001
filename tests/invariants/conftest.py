"""What the tests of the laws share."""

from __future__ import annotations

import os

import pytest

from pytest_modelroute.invariants import search

MEASURED = "COVERAGE_PROCESS_START" in os.environ
"Whether coverage is measured, which makes everything take twice as long."


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Leave the long searches to the run on the wheel where coverage is measured.

    The same lines are covered by the router that keeps all laws, and by the trials made by hand.
    """
    if MEASURED:
        here = os.path.dirname(__file__)  # noqa: PTH120 - compared as text
        items[:] = [item for item in items if not _searches(item.name) or here not in str(item.path)]


def _searches(name: str) -> bool:
    return any(word in name.partition("[")[0] for word in ("defect", "accuses", "styles", "smallest_example"))


@pytest.fixture(autouse=True)
def few_examples_where_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Laws that hold are tried on fewer examples then."""
    if MEASURED:
        monkeypatch.setitem(search.PROFILES, "quick", 4)
        monkeypatch.setitem(search.PROFILES, "ci", 12)
