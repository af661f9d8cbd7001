"""Cases given in code: `Case` objects, mappings, and what their fields may hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from random import Random
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelroute.errors import CasesError
from pytest_modelroute.evaluation.cases import MISSING, Case, load_cases

FIELDS = "id, inputs, expected_output, expected_route, slice, golden, metadata"
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(), parts, max_size=3),
    max_leaves=10,
)


def _problem(*cases: Any) -> str:
    with pytest.raises(CasesError) as caught:
        load_cases(cases)
    return str(caught.value)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _ids(rows: list[Any]) -> dict[str, str]:
    return {_text(case.inputs): case.id for case in load_cases([{"inputs": row} for row in rows])}


def _reversed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _reversed(value[key]) for key in reversed(value)}
    return [_reversed(part) for part in value] if isinstance(value, list) else value


def test_case_objects_are_taken_as_they_are() -> None:
    """A `Case` is not copied or changed."""
    case = Case(id="a", inputs=1)
    assert load_cases([case])[0] is case


@pytest.mark.parametrize("row", [{"id": "a", "inputs": 1}, MappingProxyType({"id": "a", "inputs": 1})])
def test_a_mapping_is_a_case(row: Mapping[str, Any]) -> None:
    """Any mapping will do, not only dict."""
    assert load_cases([row]) == [Case(id="a", inputs=1)]


def test_cases_may_come_from_a_generator() -> None:
    """Cases are read once."""
    assert [case.id for case in load_cases({"id": str(number), "inputs": number} for number in range(3))] == list("012")


def test_no_cases_at_all_are_refused() -> None:
    """An empty list would measure nothing and pass."""
    assert _problem() == "the cases given: there is no case, so nothing would be measured"


def test_an_id_used_twice_names_both_cases() -> None:
    """Cases given in code are named by their place in the list."""
    assert _problem({"id": "a", "inputs": 1}, Case(id="b", inputs=1), Case(id="a", inputs=2)) == (
        "case 3: the case id 'a' is used twice, first at case 1; ids are unique"
    )


def test_a_case_without_inputs_is_refused() -> None:
    """The message says what it has instead."""
    assert _problem({"id": "a", "slice": "b"}) == "case 1: the case has no inputs; it has id, slice"


def test_a_case_without_any_field_is_refused() -> None:
    """An empty mapping is told in words."""
    assert _problem({}) == "case 1: the case has no inputs; it has no field at all"


@pytest.mark.parametrize("row", [3, "text", None, ["inputs", 1]])
def test_what_is_no_mapping_is_no_case(row: object) -> None:
    """The message says what a case is made of."""
    assert _problem(row) == f"case 1: a case is an object with {FIELDS}, not {row!r}"


@pytest.mark.parametrize(
    ("name", "nearest"), [("imputs", "inputs"), ("expected_outputs", "expected_output"), ("Golden", "golden")]
)
def test_an_unknown_field_names_the_nearest(name: str, nearest: str) -> None:
    """A typo is answered with the field that was meant."""
    assert _problem({"inputs": 1, name: 2}) == (
        f"case 1: unknown field {name!r}; did you mean {nearest!r}? Fields: {FIELDS}"
    )


@pytest.mark.parametrize("name", ["expected", "output"])
def test_a_likely_name_of_the_expected_output_is_answered_with_it(name: str) -> None:
    """What other tools call it is no reason to search."""
    assert f"did you mean {'expected_output'!r}?" in _problem({"inputs": 1, name: 2})


def test_an_unknown_field_like_no_other_is_sent_to_metadata() -> None:
    """Data of the user's own has a place."""
    assert _problem({"inputs": 1, "zzz": 2}) == (
        f"case 1: unknown field 'zzz'; other data belongs into metadata. Fields: {FIELDS}"
    )


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        *(("id", value, "a text that is not empty") for value in (3, "", None)),
        ("slice", 3, "a text"),
        *(("golden", value, "true or false") for value in ("yes", 1, None)),
        *(("metadata", value, "an object") for value in ([1], "x", None)),
        *(
            ("expected_route", value, "a model, an alias or a tier, or a list of them")
            for value in (3, "", [], [3], {"small": 1})
        ),
    ],
)
def test_a_field_of_the_wrong_type_says_what_was_expected(name: str, value: object, expected: str) -> None:
    """Every field that has a type is checked, and the message shows the value."""
    assert _problem({"inputs": 1, name: value}) == f"case 1: {name} is {expected}, not {value!r}"


def test_an_empty_route_in_a_list_is_refused() -> None:
    """A | too many in a cell of CSV is not a route."""
    assert _problem({"inputs": 1, "expected_route": ["small", ""]}).startswith("case 1: expected_route is ")


@pytest.mark.parametrize("case", [Case(id="", inputs=1), Case(id="a", inputs=1, expected_route="")])
def test_a_case_object_is_checked_as_a_mapping_is(case: Case) -> None:
    """The same mistake gives the same message, however the case is written."""
    assert _problem(case).startswith("case 1: ")


@pytest.mark.parametrize("cases", [Case(id="a", inputs=1), 5, None], ids=["case", "number", "none"])
def test_what_cannot_be_cases_is_refused_in_words(cases: Any) -> None:
    """A single case, or a number, is told what was expected."""
    with pytest.raises(CasesError):
        load_cases(cases)


def test_a_value_in_a_message_is_cut() -> None:
    """A message stays short, however large the value."""
    assert _problem({"inputs": 1, "slice": ["a" * 100]}) == f"case 1: slice is a text, not ['{'a' * 75}..."


@pytest.mark.parametrize(
    ("route", "routes"), [(None, ()), ("small", ("small",)), (["small", "large"], ("small", "large"))]
)
def test_expected_routes_are_none_one_or_several(route: Any, routes: tuple[str, ...]) -> None:
    """However they are written, they are read as a tuple."""
    assert load_cases([{"inputs": 1, "expected_route": route}])[0].expected_routes == routes


def test_none_is_an_output_that_may_be_expected() -> None:
    """No expected output is another thing than None."""
    given_none, missing = load_cases([{"inputs": 1, "expected_output": None}, {"inputs": 2}])
    assert (given_none.expected_output, missing.expected_output) == (None, MISSING)


def test_a_missing_output_shows_as_it_is_written() -> None:
    """Reports show the name."""
    assert repr(MISSING) == "MISSING"


def test_the_id_of_inputs_is_the_same_in_every_version() -> None:
    """Comparisons over time pair by it: a changed id would make every case a new one."""
    assert load_cases([{"inputs": {"text": "hé", "n": 1}}])[0].id == "7b9ae6d29d"


@given(st.lists(JSON, min_size=1, max_size=6, unique_by=_text), st.randoms(use_true_random=False))
def test_ids_do_not_depend_on_the_order_of_the_cases(rows: list[Any], random: Random) -> None:
    """A reordered file has the same cases."""
    shuffled = random.sample(rows, len(rows))
    assert _ids(shuffled) == _ids(rows)


@given(JSON)
def test_ids_do_not_depend_on_the_order_of_keys(inputs: Any) -> None:
    """The same object written in another order is the same case."""
    (one,), (other,) = load_cases([{"inputs": inputs}]), load_cases([{"inputs": _reversed(inputs)}])
    assert one.id == other.id


@pytest.mark.parametrize("pair", [("1", 1), (1, True), (None, "null"), ([], {})])
def test_other_inputs_have_other_ids(pair: tuple[Any, Any]) -> None:
    """A number, its text and a truth are not the same input."""
    one, other = load_cases([{"inputs": inputs} for inputs in pair])
    assert one.id != other.id


def test_inputs_that_json_does_not_have_get_an_id() -> None:
    """A tuple, bytes or a lone surrogate may be an input in code."""
    assert len({case.id for case in load_cases([{"inputs": b"a"}, {"inputs": "\ud800"}, {"inputs": 1 + 2j}])}) == 3


@pytest.mark.parametrize("inputs", [{1: "a", "b": 2}, {("a", 1): 2}], ids=["mixed", "tuple"])
def test_keys_that_json_does_not_have_get_an_id(inputs: dict[Any, Any]) -> None:
    """A mapping with keys other than text may be an input in code."""
    assert load_cases([{"inputs": inputs}])[0].id
