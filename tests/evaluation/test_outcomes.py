"""Outcomes of every model on every case: what a routing of them would be worth, and their file."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelroute.errors import CassetteError, EvaluationError, PriceUnknown
from pytest_modelroute.evaluation.cases import Case
from pytest_modelroute.evaluation.outcome_files import parse_outcomes, read_outcomes, write_outcomes
from pytest_modelroute.evaluation.outcomes import Outcome, OutcomeMatrix
from pytest_modelroute.evaluation.tiers import case_hash


def outcome(case: str = "a", model: str = "gpt-small", **changes: Any) -> Outcome:
    """An outcome."""
    known: dict[str, Any] = {
        "step": "intent",
        "case": case,
        "case_hash": "00",
        "model": model,
        "alias": model.removeprefix("gpt-"),
        "tier": None,
        "score": 1.0,
        "right": True,
        "output": "order",
        "cost_usd": Decimal("0.001"),
        "latency_s": 0.25,
        "input_tokens": 10,
        "output_tokens": 2,
        "error": None,
    }
    return Outcome(**(known | changes))


MATRIX = OutcomeMatrix(
    outcomes=[
        outcome("a"),
        outcome("b", score=0.0, right=False),
        outcome("c", score=None, right=False, output="", error="rate_limited"),
        outcome("a", "gpt-large", cost_usd=Decimal("0.01"), latency_s=1.0),
        outcome("b", "gpt-large", cost_usd=Decimal("0.01"), latency_s=1.0),
        outcome("c", "gpt-large", cost_usd=Decimal("0.01"), latency_s=1.0, score=0.5, right=False),
    ],
    scorers={"intent": "exact_match"},
    prices={"gpt-small": {"input": "1", "output": "1"}, "gpt-large": None},
)


def test_one_model_for_all_is_judged_by_its_outcomes() -> None:
    """An error counts in no rate, and costs what it costs."""
    judged = MATRIX.judge(MATRIX.always("small"))
    assert (judged.n, judged.errors, judged.accuracy.count, judged.accuracy.n) == (3, 1, 1, 2)
    assert (judged.quality, judged.cost_usd, judged.latency_s) == (0.5, Decimal("0.003"), 0.25)


def test_a_routing_takes_each_case_from_the_model_it_names() -> None:
    """By model or alias."""
    judged = MATRIX.judge(lambda case: "small" if case == "a" else "gpt-large")
    assert (judged.models, judged.cost_usd) == ({"gpt-small": 1, "gpt-large": 2}, Decimal("0.021"))
    assert judged.quality == pytest.approx(2.5 / 3)
    assert judged.p95_s == 1.0


def test_the_oracle_takes_the_best_and_of_equals_the_cheapest() -> None:
    """A right answer of the small model is worth as much, and a half one more than an error."""
    route = MATRIX.oracle()
    assert [route(case) for case in MATRIX.cases] == ["gpt-small", "gpt-large", "gpt-large"]


SCORES = st.none() | st.sampled_from([0.0, 0.5, 1.0])


@given(
    st.lists(st.tuples(SCORES, SCORES, st.decimals(0, 1, places=3), st.decimals(0, 1, places=3)), min_size=1),
    st.randoms(use_true_random=False),
)
def test_no_routing_is_better_than_the_oracle(cells: list[tuple[Any, Any, Decimal, Decimal]], random: Any) -> None:
    """Neither in right cases nor, with as many of them and no more errors, in the sum of the scores."""
    outcomes = [
        outcome(str(number), model, score=score, right=score == 1.0, cost_usd=cost, error=None if score else "x")
        for number, (small, large, cheap, dear) in enumerate(cells)
        for model, score, cost in (("gpt-small", small, cheap), ("gpt-large", large, dear))
    ]
    matrix = OutcomeMatrix(outcomes=outcomes)
    chosen = {case: random.choice(matrix.models) for case in matrix.cases}
    oracle, other = matrix.judge(matrix.oracle()), matrix.judge(chosen.__getitem__)
    assert oracle.accuracy.count >= other.accuracy.count
    assert oracle.errors <= other.errors


def test_a_cost_that_is_not_known_is_an_error_and_not_0() -> None:
    """It names what to do."""
    matrix = OutcomeMatrix(outcomes=[outcome(cost_usd=None), outcome("b")])
    judged = matrix.judge(matrix.always("gpt-small"))
    with pytest.raises(PriceUnknown, match="1 of 2 outcomes have no known cost: price their models in the settings"):
        _ = judged.cost_usd


@pytest.mark.parametrize(
    ("ask", "problem"),
    [
        (
            lambda: MATRIX.judge(MATRIX.always("gpt-smal")),
            "no outcomes of the model 'gpt-smal'; did you mean 'gpt-small'",
        ),
        (lambda: MATRIX.judge(MATRIX.always("x")), "there are of 'gpt-large', 'gpt-small', 'large', 'small'"),
        (lambda: MATRIX.outcome("z", "small"), "no outcomes of the case 'z'; there are of 'a', 'b', 'c'"),
        (lambda: MATRIX.step("other"), "no outcomes of the step 'other'; there are of 'intent'"),
        (
            lambda: OutcomeMatrix(outcomes=[]).judge(lambda _case: "x"),
            "there are no outcomes, so nothing can be judged",
        ),
        (
            lambda: OutcomeMatrix(outcomes=[outcome(), outcome(step="x")]).judge(lambda _case: "small"),
            r"there are outcomes of several steps, 'intent', 'x': take matrix.step\(...\)",
        ),
        (
            lambda: OutcomeMatrix(outcomes=[outcome("a"), outcome("b", "gpt-large")]).outcome("a", "large"),
            "the case 'a' has no outcome on 'large'; record them again: --modelroute-record=new",
        ),
    ],
)
def test_what_is_not_there_is_said(ask: Callable[[], object], problem: str) -> None:
    """With the nearest name, or what there is."""
    with pytest.raises(EvaluationError, match=problem):
        ask()


def test_newer_outcomes_replace_those_of_their_cases() -> None:
    """Also on models that are no longer in the settings; other cases and steps stay."""
    older = OutcomeMatrix(
        outcomes=[outcome("a", "gpt-old"), outcome("b"), outcome("a", step="x")],
        scorers={"intent": "exact_match", "x": "contains"},
        prices={"gpt-old": None, "gpt-small": None},
    )
    merged = older.merged(OutcomeMatrix(outcomes=[outcome("a")], scorers={"intent": "exact_match"}))
    kept = [(each.step, each.case, each.model) for each in merged.outcomes]
    assert kept == [("intent", "b", "gpt-small"), ("x", "a", "gpt-small"), ("intent", "a", "gpt-small")]
    assert set(merged.prices) == {"gpt-small"}


def test_another_scorer_takes_the_place_of_all_outcomes_of_its_step() -> None:
    """Scores of two scorers say nothing beside each other."""
    older = OutcomeMatrix(outcomes=[outcome("a"), outcome("b")], scorers={"intent": "exact_match"})
    merged = older.merged(OutcomeMatrix(outcomes=[outcome("a")], scorers={"intent": "contains"}))
    assert [each.case for each in merged.outcomes] == ["a"]


NAMES = st.text(min_size=1, max_size=6).filter(lambda text: text.isprintable()) | st.just("a\u2028b")


@given(st.dictionaries(st.tuples(st.none() | NAMES, NAMES, NAMES), st.tuples(SCORES, st.decimals(0, 9, places=9))))
def test_what_is_written_is_read_back_in_any_order(cells: dict[tuple[str | None, str, str], Any]) -> None:
    """And written again it is the same to the byte."""
    outcomes = [
        outcome(case, model, step=step, score=score, cost_usd=cost)
        for (step, case, model), (score, cost) in cells.items()
    ]
    text = write_outcomes(OutcomeMatrix(outcomes=outcomes))
    read = parse_outcomes(text, "x")
    assert {(each.step, each.case, each.model): each for each in read.outcomes} == {
        (each.step, each.case, each.model): each for each in outcomes
    }
    assert write_outcomes(OutcomeMatrix(outcomes=outcomes[::-1])) == text


def test_the_file_is_one_header_and_one_line_an_outcome() -> None:
    """Money is text, so that no float touches it."""
    header, row = write_outcomes(
        OutcomeMatrix(outcomes=[outcome()], scorers={"intent": "exact_match"}, prices={"gpt-small": {"input": "1"}})
    ).splitlines()
    assert json.loads(header) == {
        "format": "pytest-modelroute outcomes",
        "schema": 1,
        "outcomes": 1,
        "cases": json.loads(header)["cases"],
        "scorers": {"intent": "exact_match"},
        "prices": {"gpt-small": {"input": "1"}},
    }
    assert row == (
        '{"step": "intent", "case": "a", "case_hash": "00", "model": "gpt-small", "alias": "small", "tier": null, '
        '"score": 1.0, "right": true, "output": "order", "cost_usd": "0.001", "latency_s": 0.25, "input_tokens": 10, '
        '"output_tokens": 2, "error": null}'
    )


TEXT = write_outcomes(MATRIX)
LINES = TEXT.splitlines(keepends=True)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "x:1: an object in JSON was expected, not ''"),
        ("[]\n", r"x:1: an object in JSON was expected, not '\[\]'"),
        ('{"version": 1}\n', 'x:1: no outcomes of ours: {"format": "pytest-modelroute outcomes", ...} was expected'),
        (TEXT.replace('"schema": 1', '"schema": 2'), r"x:1: it was written by a later version .*\(schema 2; this one"),
        (TEXT.replace('"schema": 1', '"schema": "1"'), "x:1: schema: input should be a valid integer"),
        ("".join(LINES[:-1]), "x: it holds 5 outcomes, and had 6: it was cut"),
        (TEXT[:-20], "x:7: an object in JSON was expected"),
        ("".join([*LINES, LINES[-1]]), "x:8: the case 'c' has an outcome on 'gpt-small' already, in line 7"),
        ("".join([LINES[0], "<<<<<<< HEAD\n", *LINES[1:]]), "x:2: a merge conflict; take one side of it"),
        (TEXT.replace('"score": 0.5', '"score": 1.5'), "x:6: score: input should be less than or equal to 1"),
        (TEXT.replace('"score": 0.5', '"points": 1, "score": 0.5'), "x:6: points: unexpected keyword argument"),
        (TEXT.replace('"case": "c"', '"case": "d"'), "x: it was edited: its cases are not those that were recorded"),
    ],
)
def test_a_damaged_file_is_one_error_with_its_line(text: str, problem: str) -> None:
    """Cut, edited, in conflict, of another kind or a later version."""
    with pytest.raises(CassetteError, match=problem):
        parse_outcomes(text, "x")


def test_a_file_is_read_from_its_path(tmp_path: Path) -> None:
    """The way back from what was saved."""
    (tmp_path / "x.yaml.outcomes.jsonl").write_text(TEXT, "utf-8")
    assert read_outcomes(tmp_path / "x.yaml.outcomes.jsonl").scorers == {"intent": "exact_match"}


@pytest.mark.parametrize(
    ("data", "problem"),
    [(None, "there are no such outcomes; record them again"), (b"\xff", "not UTF-8 at byte 0")],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, data: bytes | None, problem: str) -> None:
    """Missing, or no text."""
    if data is not None:
        (tmp_path / "x").write_bytes(data)
    with pytest.raises(CassetteError, match=problem):
        read_outcomes(tmp_path / "x")


def test_a_folder_is_no_file_of_outcomes(tmp_path: Path) -> None:
    """The system's word for it."""
    with pytest.raises(CassetteError, match="it cannot be read: Is a directory"):
        read_outcomes(tmp_path)


class _Query:
    """An input that says where in memory it is."""


def test_the_hash_of_a_case_is_the_same_in_every_run() -> None:
    """Of inputs and expected output, whatever they are; not of where they are."""
    assert case_hash(Case(id="a", inputs=_Query())) == case_hash(Case(id="b", inputs=_Query()))
    assert case_hash(Case(id="a", inputs={("a", 1): 2})) == case_hash(Case(id="a", inputs={("a", 1): 2}))
    assert case_hash(Case(id="a", inputs="x")) != case_hash(Case(id="a", inputs="x", expected_output=None))
