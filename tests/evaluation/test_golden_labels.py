"""Labels that cannot be trusted: against each other, and against what the models made of the cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pytest

from pytest_modelroute import Case, golden_report
from pytest_modelroute.errors import EvaluationError
from pytest_modelroute.evaluation.outcomes import Outcome, OutcomeMatrix

TIERS = ("nano", "mini", "big")
Right = Callable[[int], bool | None]


def cases_of(labels: Sequence[str | tuple[str, ...]], part: str | None = None) -> list[Case]:
    """A case a label."""
    return [
        Case(id=f"{part or 'c'}{number}", inputs=f"{part} {number}", expected_route=label, slice=part)
        for number, label in enumerate(labels)
    ]


def matrix_of(cases: Sequence[Case], **models: Right) -> OutcomeMatrix:
    """Which model is right in which case."""
    return OutcomeMatrix(
        outcomes=[
            Outcome(
                step=None,
                case=case.id,
                case_hash="",
                model=model,
                alias=model,
                tier=None,
                score=None if right(number) is None else float(bool(right(number))),
                right=bool(right(number)),
                output="",
                cost_usd=Decimal(0),
                latency_s=0.0,
                input_tokens=1,
                output_tokens=1,
                error=None,
            )
            for model, right in models.items()
            for number, case in enumerate(cases)
        ]
    )


def warnings_of(cases: Sequence[Case], matrix: OutcomeMatrix | None = None, **options: Any) -> Sequence[str]:
    """What is said of the labels, whatever the router does."""
    tiers = TIERS if matrix is None else matrix.models[::-1] if matrix.models[0] == "big" else matrix.models
    return golden_report(cases, lambda _: "nano", tiers=tiers, outcomes=matrix, **options).warnings


def test_labels_of_one_input_that_share_no_tier_are_a_contradiction() -> None:
    """Those that share one are none; three pairs are shown."""
    labels: list[str | tuple[str, ...]] = ["nano", ("nano", "mini"), "mini", "big", "big"]
    same = [Case(id=str(number), inputs={"q": "x"}, expected_route=label) for number, label in enumerate(labels)]
    (found,) = warnings_of(same)
    assert found == (
        "the same input with different expected routes: '0' (nano) and '2' (mini); '0' (nano) and '3' (big); "
        "'0' (nano) and '4' (big), and 4 more pairs"
    )


def test_labels_that_differ_for_different_inputs_are_fine() -> None:
    """Nothing is said of cases as they should be."""
    assert warnings_of(cases_of(["nano", "big", ("mini", "big")], "a")) == []


def test_one_label_for_all_cases_is_named() -> None:
    """The tier, whatever the label calls it."""
    cases = cases_of([("big", "mini"), ("mini", "big"), ("mini", "big")], "a")
    assert warnings_of(cases) == [
        "all 3 cases expect mini or big: always taking it is right; add cases that need another tier"
    ]


def test_slices_with_one_label_are_named_together() -> None:
    """With their number of cases; a slice of one case cannot be otherwise."""
    cases = [*cases_of(["nano"] * 3, "a"), *cases_of(["big"] * 2, "b"), *cases_of(["mini"], "c")]
    (found,) = warnings_of(cases)
    assert found == (
        "slices with one label, where always taking it is right: 'a' (3, nano), 'b' (2, big); "
        "add cases that need another tier"
    )


def test_a_stronger_model_that_is_worse_than_a_weaker_one_in_a_slice_is_named() -> None:
    """With both shares and the evidence; the other slice is fine."""
    broken, fine = cases_of(["nano", "big"] * 15, "broken"), cases_of(["nano", "big"] * 60, "fine")
    matrix = matrix_of(
        [*broken, *fine],
        nano=lambda n: n < 20 or n % 2 == 0,
        big=lambda n: n >= 25,
    )
    (found,) = [warning for warning in warnings_of([*broken, *fine], matrix) if "wrong order" in warning]
    assert found == (
        "the slice 'broken': big is right in .17 [.07, .34] of 30 cases, the weaker nano in .83: its scores are "
        "broken, or the tiers are in the wrong order (p=9e-05)"
    )


def test_a_stronger_model_that_is_a_little_worse_on_few_cases_is_not_named() -> None:
    """It happens by luck."""
    cases = cases_of(["nano", "big"] * 5, "a")
    assert warnings_of(cases, matrix_of(cases, nano=lambda n: n < 6, big=lambda n: n < 4)) == []


def test_the_strongest_below_guessing_is_named_where_guessing_is_known() -> None:
    """For all cases, or in the slices for which it is given."""
    cases = [*cases_of(["nano", "big"] * 20, "a"), *cases_of(["nano", "big"] * 20, "b")]
    matrix = matrix_of(cases, nano=lambda _: False, big=lambda n: n == 0 or n >= 70)
    (found,) = [text for text in warnings_of(cases, matrix, chance={"a": 0.25, "b": 0.25}) if "guessing" in text]
    assert found == (
        "the slice 'a': big, the strongest, is right in .03 [.00, .13] of 40 cases, below the .25 of guessing: "
        "its scores are broken (p=0.0001)"
    )
    assert len([text for text in warnings_of(cases, matrix, chance=0.5) if "guessing" in text]) == 3
    assert [text for text in warnings_of(cases, matrix) if "guessing" in text] == []


def test_labels_that_the_outcomes_speak_against_are_counted() -> None:
    """The expected tier is wrong where a stronger one is right; errors say nothing."""
    cases = cases_of(["nano", "big", "nano", "nano", "nano", "nano"])
    matrix = matrix_of(cases, nano=lambda n: None if n == 2 else n == 3, big=lambda n: n != 5)
    assert warnings_of(cases, matrix) == [
        "2 of 6 cases expect a tier whose answer is wrong, where a stronger one's is right: 'c0', 'c4'"
    ]
    many = cases_of(["nano"] * 5 + ["big"])
    (found,) = warnings_of(many, matrix_of(many, nano=lambda _: False, big=lambda _: True))
    assert found.endswith("right: 'c0', 'c1', 'c2' ...")


def test_a_model_without_an_answer_cannot_be_doubted() -> None:
    """All its outcomes are errors."""
    cases = cases_of(["nano", "big"] * 10)
    assert warnings_of(cases, matrix_of(cases, nano=lambda _: True, big=lambda _: None), chance=0.9) == []


@pytest.mark.parametrize(
    ("chance", "problem"),
    [
        (1.5, "chance=1.5 is no share of right guesses, such as 0.25 for four choices"),
        ({"a": -0.1}, "chance=-0.1 is no share of right guesses, such as 0.25 for four choices"),
        ({"b": 0.25}, "chance: there is no slice 'b'; there are: a"),
    ],
)
def test_a_chance_that_cannot_be_is_an_error(chance: Any, problem: str) -> None:
    """It says what a chance is."""
    cases = cases_of(["nano", "big"], "a")
    matrix = matrix_of(cases, nano=lambda _: True, big=lambda _: True)
    with pytest.raises(EvaluationError) as error:
        warnings_of(cases, matrix, chance=chance)
    assert str(error.value) == problem
