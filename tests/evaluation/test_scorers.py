"""How outputs are compared, and what counts as a score."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelroute.errors import ScoreError
from pytest_modelroute.evaluation.scorers import (
    check_scorer,
    contains,
    exact_match,
    json_equal,
    numeric,
    pass_mark,
    read_score,
    regex,
    scorer_name,
)

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(st.text(), parts, max_size=4),
    max_leaves=12,
)
NUMBERS = st.floats(-1e9, 1e9)


def _reversed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _reversed(value[key]) for key in reversed(value)}
    return [_reversed(part) for part in value] if isinstance(value, list) else value


def _scores(value: object) -> Any:
    """A scorer that returns this value, whatever it is."""

    def fixed(output: Any, expected: Any) -> Any:
        return value

    return fixed


@pytest.mark.parametrize(("output", "expected", "right"), [("a", "a", True), ("a", "A", False), (None, None, True)])
def test_exact_match_is_equality(output: object, expected: object, right: bool) -> None:
    """Nothing is trimmed or folded."""
    assert exact_match(output, expected) is right


@pytest.mark.parametrize(
    ("output", "expected", "right"),
    [("It is Fraud.", "fraud", True), ("STRASSE 5", "Straße", True), ("fine", "fraud", False), (1250, 25, True)],
)
def test_contains_finds_a_text_whatever_its_case(output: object, expected: object, right: bool) -> None:
    """Case is folded as Unicode folds it; numbers are read as text."""
    assert contains(output, expected) is right


@pytest.mark.parametrize(
    ("output", "expected", "right"), [("order 15", r"\d+$", True), ("order", r"\d+", False), (15, "^1", True)]
)
def test_regex_searches_the_pattern_anywhere(output: object, expected: str, right: bool) -> None:
    """A pattern is found, not matched from the start."""
    assert regex(output, expected) is right


def test_a_pattern_that_is_no_regular_expression_is_an_error_of_the_case() -> None:
    """The message shows the pattern and what is wrong with it."""
    with pytest.raises(ScoreError) as caught:
        regex("a", "(")
    assert str(caught.value) == (
        "the expected output '(' is not a regular expression: missing ), unterminated subpattern at position 0"
    )


@given(JSON)
def test_json_equal_holds_of_a_value_and_itself(value: Any) -> None:
    """Every JSON value, as text, is the same as itself."""
    assert json_equal(json.dumps(value), value if not isinstance(value, str) else json.dumps(value))


@given(JSON)
def test_json_equal_ignores_the_order_of_keys(value: Any) -> None:
    """Objects are the same in any order, at any depth."""
    assert json_equal(json.dumps(value), json.dumps(_reversed(value)))


@given(JSON, JSON)
def test_json_equal_is_symmetric(one: Any, other: Any) -> None:
    """It does not matter which side is the expected one."""
    one, other = json.dumps(one), json.dumps(other)
    assert json_equal(one, other) is json_equal(other, one)


@given(JSON)
def test_json_equal_does_not_care_for_white_space(value: Any) -> None:
    """A model may indent its answer."""
    assert json_equal(json.dumps(value, indent=3), json.dumps(value, separators=(",", ":")))


@pytest.mark.parametrize(("output", "expected"), [("1", "1.0"), ('{"n": [2.0]}', {"n": [2]}), ([1e2], [100])])
def test_a_whole_number_equals_its_float_in_json(output: object, expected: object) -> None:
    """1 and 1.0 are one number."""
    assert json_equal(output, expected)


@pytest.mark.parametrize(("output", "expected"), [("true", "1"), ([0], [False]), ({"a": True}, '{"a": 1}')])
def test_a_truth_equals_no_number_in_json(output: object, expected: object) -> None:
    """That True == 1 is Python's, and not JSON's."""
    assert not json_equal(output, expected)


@pytest.mark.parametrize(
    ("output", "expected"),
    [("[1, 2]", "[2, 1]"), ("[1]", "[1, 1]"), ('{"a": 1}', '{"a": 1, "b": null}'), ("{}", "[]"), ("null", "false")],
)
def test_other_json_is_not_equal(output: str, expected: str) -> None:
    """The order of a list, a key more and another type count."""
    assert not json_equal(output, expected)


@pytest.mark.parametrize("output", ["", "{", "Sure! {}", b"\xff"])
def test_an_output_that_is_no_json_is_wrong(output: str | bytes) -> None:
    """A model that chats around its JSON has missed."""
    assert json_equal(output, {}) is False


@pytest.mark.parametrize("output", ['{"a": 1}', b'{"a": 1}', {"a": 1}])
def test_json_equal_reads_text_bytes_and_values(output: object) -> None:
    """A parsed output may be compared with expected text."""
    assert json_equal(output, '{"a": 1}')


def test_expected_text_that_is_no_json_is_a_text() -> None:
    """A case file may write order for "order"."""
    assert json_equal('"order"', "order")


@given(NUMBERS, NUMBERS, st.floats(0, 1e9))
def test_numeric_is_symmetric(one: float, other: float, tolerance: float) -> None:
    """A difference is the same from both sides."""
    score = numeric(tolerance)
    assert score(one, other) is score(other, one)


@given(NUMBERS, st.floats(0, 1e6))
def test_numeric_holds_at_the_tolerance(value: float, tolerance: float) -> None:
    """A difference as large as the tolerance is still right."""
    assert numeric(tolerance)(value + tolerance, value)


@given(NUMBERS, st.floats(0.001, 1e6))
def test_numeric_ends_beyond_the_tolerance(value: float, tolerance: float) -> None:
    """A difference clearly larger is wrong."""
    assert not numeric(tolerance)(value + tolerance * 1.01 + 0.01, value)


def test_numeric_has_a_hair_of_slack() -> None:
    """0.3 is within 0.1 of 0.2, though not in binary."""
    assert numeric(0.1)(0.3, 0.2)


@pytest.mark.parametrize("output", ["1,250.50", " 1250.5 ", "1.2505e3", 1250.5, np.float32(1250.5)])
def test_numeric_reads_numbers_in_text(output: object) -> None:
    """Thousands separators and spaces are not part of the number."""
    assert numeric()(output, "1250.50")


@pytest.mark.parametrize("output", ["", "about 5", None, True, "nan", "inf", [5]])
def test_an_output_that_is_no_number_is_wrong(output: object) -> None:
    """Text around a number, a truth and infinity are no number."""
    assert numeric(1e9)(output, 5) is False


@pytest.mark.parametrize("expected", ["five", None, math.nan, True])
def test_an_expected_output_that_is_no_number_is_an_error_of_the_case(expected: object) -> None:
    """A case that can never be right is told, and not counted as wrong."""
    with pytest.raises(ScoreError) as caught:
        numeric()(5, expected)
    assert str(caught.value) == f"numeric: the expected output {expected!r} is not a number"


@pytest.mark.parametrize("tolerance", [-0.1, math.nan, math.inf, "0.1", True])
def test_an_impossible_tolerance_is_refused(tolerance: object) -> None:
    """The mistake is found where it is made."""
    with pytest.raises(ScoreError) as caught:
        numeric(tolerance)
    assert str(caught.value) == f"numeric(tolerance={tolerance!r}): a number, 0 or more, was expected"


def test_a_number_larger_than_a_float_is_wrong() -> None:
    """A model may answer with any number of digits."""
    assert numeric()(10**400, 1) is False


@pytest.mark.parametrize(
    ("value", "score"),
    [
        *((value, float(value)) for value in (True, False, 0, 1, 0.25)),
        *((value, float(value)) for value in (np.bool_(True), np.float32(0.25), np.float64(1), np.int64(0))),
        (np.array([0.5]), 0.5),
    ],
)
def test_a_truth_or_a_number_from_nought_to_one_is_a_score(value: object, score: float) -> None:
    """Python's and numpy's numbers are read as a float."""
    assert read_score(_scores(value), "output", "expected") == score


@pytest.mark.parametrize("value", [math.nan, math.inf, 2, -0.1, None, "x", "1", [1], 1j])
def test_anything_else_is_no_score(value: object) -> None:
    """The message names the scorer and what it returned."""
    with pytest.raises(ScoreError) as caught:
        read_score(_scores(value), "output", "expected")
    assert str(caught.value) == (f"the scorer fixed returned {value!r}; a bool or a number from 0 to 1 was expected")


@pytest.mark.parametrize(
    ("value", "shown"), [(np.float64(math.nan), "nan"), (np.int64(2), "2"), (np.array(["x"]), "'x'")]
)
def test_a_number_of_numpy_that_is_no_score_is_shown_as_pythons(value: object, shown: str) -> None:
    """Values of numpy are judged by the same rule."""
    with pytest.raises(ScoreError, match=f"^the scorer fixed returned {shown}; "):
        read_score(_scores(value), "output", "expected")


def test_an_array_of_several_is_no_score() -> None:
    """Arrays compared with == give one truth an element."""
    with pytest.raises(ScoreError):
        read_score(lambda output, expected: output == expected, np.array([1, 2]), np.array([1, 3]))


def test_numeric_without_parentheses_says_what_to_write() -> None:
    """score=numeric is a likely slip for score=numeric()."""
    with pytest.raises(ScoreError) as caught:
        check_scorer(numeric)
    assert str(caught.value) == (
        "score=numeric is the maker of a scorer; call it with the tolerance: score=numeric(0.01)"
    )


def test_a_scorer_is_given_output_and_expected_output() -> None:
    """In this order."""
    seen: list[tuple[object, object]] = []

    def score(output: Any, expected: Any) -> bool:
        seen.append((output, expected))
        return True

    read_score(score, "output", "expected")
    assert seen == [("output", "expected")]


def test_a_case_passes_with_a_full_score_where_the_scorer_sets_no_mark() -> None:
    """The mark is 1 by default."""
    assert pass_mark(exact_match) == 1.0


def test_a_scorer_may_set_its_pass_mark() -> None:
    """An attribute of the function says from which score on a case passes."""

    def half(output: Any, expected: Any) -> float:
        return 0.5

    half.pass_mark = 0.5  # type: ignore[attr-defined]
    assert pass_mark(half) == 0.5


def test_a_function_is_named_by_its_name() -> None:
    """As it is written."""
    assert scorer_name(exact_match) == "exact_match"


def test_an_object_is_named_by_its_class() -> None:
    """A scorer may be any callable."""

    class Judge:
        def __call__(self, output: Any, expected: Any) -> bool:
            return True

    assert scorer_name(Judge()) == "Judge"
