"""The scorecard of a router, as text, Markdown and plain values."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_modelroute.report.scorecard import Scorecard, Scored, scorecard_json, scorecard_lines, scorecard_markdown


def row(law: str = "totality", status: str = "held", **more: Any) -> Scored:
    """One law."""
    values: dict[str, Any] = {"needs": (), "examples": 40, "seconds": 1.25, "idle": "nobody streams", **more}
    return Scored(law=law, status=status, **values)


def card(*rows: Scored) -> Scorecard:
    """A scorecard."""
    return Scorecard(
        subject="app.tests:TestSupport",
        rows=rows,
        unpromised={"budget": ["budget_ceiling", "price_known"], "streams": ["stream_parity"]},
        profile="quick",
        seed=3,
    )


BROKEN = row("chain_order", "violated", needs=("fallbacks",), example="ask('a|b')", report="it breaks\nchain_order")


@pytest.mark.parametrize(
    ("scored", "ok", "said"),
    [
        (row(), True, "held on 40 examples"),
        (row(status="not exercised"), True, "not exercised: nobody streams"),
        (BROKEN, False, "VIOLATED"),
        (row(status="violated", known="issue 7"), True, "violated, as is known: issue 7"),
        (row(known="issue 7"), False, "held on 40 examples; TAKE IT OUT of known_violations (issue 7)"),
    ],
)
def test_a_law_is_as_it_should_be_or_not(scored: Scored, ok: bool, said: str) -> None:
    """A known violation must be one."""
    assert (scored.ok, scored.said) == (ok, said)


def test_a_good_card_passes() -> None:
    """In its first line."""
    lines = scorecard_lines(card(row(), row("determinism")))
    assert lines[0] == "PASS app.tests:TestSupport: 2 of 2 laws held"


def test_the_text_has_a_row_for_each_law_and_the_report_of_what_is_broken() -> None:
    """And how to run it again."""
    assert scorecard_lines(card(row(), BROKEN)) == [
        "FAIL app.tests:TestSupport: 1 of 2 laws held; wrong: chain_order",
        "",
        "law          promise    seconds  result",
        "totality     always     1.2      held on 40 examples",
        "chain_order  fallbacks  1.2      VIOLATED",
        "promises no budget: 2 laws not checked (budget_ceiling, price_known)",
        "promises no streams: 1 law not checked (stream_parity)",
        "",
        "it breaks",
        "chain_order",
        "",
        "again: modelroute audit app.tests:TestSupport --profile quick --seed 3",
    ]


def test_the_markdown_is_a_table_whose_cells_hold() -> None:
    """A bar in an example is no end of a cell."""
    lines = scorecard_markdown(card(row(), BROKEN))
    assert lines[0] == "**FAIL app.tests:TestSupport: 1 of 2 laws held; wrong: chain_order**"
    assert "| totality | always | held on 40 examples |  | 1.2 |" in lines
    assert "| chain_order | fallbacks | VIOLATED | `ask('a\\|b')` | 1.2 |" in lines


def test_the_values_are_json() -> None:
    """With everything that the text says."""
    told = json.loads(json.dumps(scorecard_json(card(row(), BROKEN))))
    assert (told["ok"], told["profile"], told["seed"]) == (False, "quick", 3)
    assert told["not_checked"]["streams"] == ["stream_parity"]
    assert [law["smallest_example"] for law in told["laws"]] == [None, "ask('a|b')"]
    assert [law["ok"] for law in told["laws"]] == [True, False]
