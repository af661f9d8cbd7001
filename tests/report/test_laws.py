"""The end of a session for classes of laws."""

from __future__ import annotations

import json
from typing import Any

from pytest_modelroute.report.laws import law_lines


def told(law: str, status: str = "held", **more: Any) -> str:
    """What one test says."""
    values = {"class": "tests.TestA", "name": "TestA", "law": law, "status": status, "examples": 40, "unpromised": {}}
    return json.dumps({**values, **more})


def test_a_class_is_a_line() -> None:
    """With the least number of examples."""
    assert law_lines([told("totality"), told("determinism", examples=12)]) == [
        "TestA: 2 laws held on 12 examples or more each"
    ]


def test_what_did_not_hold_is_named() -> None:
    """By what came of it."""
    (line,) = law_lines(
        [told("a"), told("b", "violated"), told("c", "known"), told("d", "not exercised"), told("e", "error")]
    )
    assert line == (
        "TestA: 1 law held on 40 examples or more each; 1 broken (b); 1 known to be broken (c); 1 not exercised (d); "
        "1 not checked, since the router cannot be used (e)"
    )


def test_what_is_not_promised_is_not_checked() -> None:
    """And the second line says so."""
    missing = {"budget": ["a", "b", "c", "d", "e"], "streams": ["f"]}
    assert law_lines([told("totality", unpromised=missing)])[1] == (
        "  promises no budget: 5 laws not checked; no streams: 1 (6 in all, see docs/laws.md)"
    )


def test_classes_of_one_name_are_told_apart() -> None:
    """Those of two modules."""
    other = told("totality", **{"class": "more.TestA"})
    assert len(law_lines([told("totality"), other])) == 2
