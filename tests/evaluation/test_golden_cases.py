"""Golden cases: what is read, and what is said where a case has no route that could be right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_modelroute.errors import CasesError, EvaluationError
from pytest_modelroute.evaluation.cases import Case
from pytest_modelroute.evaluation.golden_cases import Ladder, read_golden
from pytest_modelroute.evaluation.routes import Routes

TIERS = ("gpt-nano", "gpt-mini", "gpt-large")
SETTINGS = Routes(
    aliases={
        "gpt-nano": ["quick"],
        "gpt-mini": ["mid"],
        "o-mini": ["other"],
        "judge": ["checker"],
        "gpt-large": ["best"],
    },
    tiers={"judge": "small", "gpt-nano": "small", "gpt-mini": "medium", "o-mini": "medium", "gpt-large": "large"},
    order=("tiny", "small", "medium", "large"),
    helpers=frozenset({"judge"}),
)


def write(folder: Path, *lines: str) -> str:
    """A case file."""
    (folder / "golden.jsonl").write_text("\n".join(lines), "utf-8")
    return "golden.jsonl"


def test_a_case_file_is_read_from_the_folder_of_the_test(tmp_path: Path) -> None:
    """The same files as those of a step; a list names several fine routes."""
    name = write(
        tmp_path,
        '{"id": "a", "inputs": "hello there", "expected_route": "gpt-nano", "slice": "chat"}',
        '{"id": "b", "inputs": {"prompt": "prove it"}, "expected_route": ["gpt-mini", "gpt-large"]}',
    )
    first, second = read_golden(name, tiers=TIERS, folders=[tmp_path])
    assert (first.id, first.expected, first.slice, first.words) == ("a", ("gpt-nano",), "chat", 2)
    assert (second.expected, second.text) == (("gpt-mini", "gpt-large"), "prove it")


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ("as it is", "as it is"),
        (
            [{"role": "user", "content": "one"}, {"role": "user", "content": [{"type": "text", "text": "two"}]}],
            "one\ntwo",
        ),
        ({"question": "who", "limit": 3}, "who"),
        (("a", ("b",)), "a\nb"),
        (None, ""),
    ],
)
def test_words_are_counted_in_what_was_written(inputs: Any, text: str) -> None:
    """Not in the names of roles and kinds."""
    (case,) = read_golden([Case(id="a", inputs=inputs, expected_route="gpt-nano")], tiers=TIERS)
    assert case.text == text


@pytest.mark.parametrize("route", ["small", "quick", "gpt-nano", "mid", "large", "other", "checker"])
def test_a_route_is_a_tier_an_alias_or_a_model_of_the_settings(route: str) -> None:
    """Whatever it is called, it has a place."""
    assert read_golden([{"inputs": "x", "expected_route": route}], tiers=SETTINGS)


NO_ROUTE = (
    "1 of 1 cases have no expected_route, the first 'a'; a golden case says the route it should take: 'small', "
    "'medium', 'large', a model, an alias, or a list of them"
)
NO_NEAR_NAME = (
    "the case 'a' expects the route 'zzz', which is no model, alias or tier; known are: 'small', 'medium', 'large', "
    "'judge', 'gpt-nano', 'gpt-mini', 'o-mini', 'gpt-large', 'quick', 'mid', 'other', 'checker', 'best'"
)
NAMED_NEARLY = "the case 'a' expects the route 'gpt-nan', which is no model, alias or tier; did you mean 'gpt-nano'?"
NO_MODEL = (
    "the case 'a' expects the route 'tiny', a tier without a model; tiers with one are 'small', 'medium', 'large'"
)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, NO_ROUTE),
        ({"expected_route": "gpt-nan"}, NAMED_NEARLY),
        ({"expected_route": ["small", "zzz"]}, NO_NEAR_NAME),
        ({"expected_route": "tiny"}, NO_MODEL),
    ],
)
def test_a_label_that_cannot_be_right_is_an_error(fields: dict[str, Any], problem: str) -> None:
    """It names the case and the nearest route."""
    with pytest.raises(CasesError) as error:
        read_golden([{"id": "a", "inputs": "x", **fields}], tiers=SETTINGS)
    assert str(error.value) == f"the cases given: {problem}"


def test_a_model_without_a_tier_is_no_expected_route() -> None:
    """Nobody knows what would be weaker."""
    routes = Routes(aliases={"a": (), "b": (), "c": ()}, tiers={"a": "low", "b": "high"}, order=("low", "high"))
    with pytest.raises(CasesError, match="the route 'c', which has no tier, so that nobody knows what is weaker"):
        read_golden([{"inputs": "x", "expected_route": "c"}], tiers=routes)


def test_errors_of_a_file_name_it(tmp_path: Path) -> None:
    """Also where it is empty."""
    name = write(tmp_path, '{"id": "a", "inputs": "x", "expected_route": "gpt-tiny"}')
    with pytest.raises(CasesError, match=r"^golden.jsonl: the case 'a' expects the route 'gpt-tiny'"):
        read_golden(name, tiers=TIERS, folders=[tmp_path])
    with pytest.raises(CasesError, match="there is no case, so nothing would be measured"):
        read_golden(write(tmp_path, ""), tiers=TIERS, folders=[tmp_path])


@pytest.mark.parametrize(
    ("tiers", "problem"),
    [
        (("a",), "golden routes need two tiers with a model at least, weakest first; there are: 'a'"),
        (Routes(order=("small", "large")), "two tiers with a model at least, weakest first; there are: none"),
        (("a", "b", "a"), "the tiers name 'a' more than once; each stands once, weakest first"),
        ("small", "tiers are models or tiers by name, weakest first, not 'small'"),
        (("a", None), r"tiers are models or tiers by name, weakest first, not \('a', None\)"),
        ((), r"tiers are models or tiers by name, weakest first, not \(\)"),
    ],
)
def test_tiers_that_leave_no_choice_are_an_error(tiers: Any, problem: str) -> None:
    """There is nothing to route."""
    with pytest.raises(EvaluationError, match=problem):
        Ladder.of(tiers)


def test_a_helper_stands_for_its_tier_only_where_nobody_else_does() -> None:
    """A classifier answers no case."""
    ladder = Ladder.of(SETTINGS)
    assert ladder.models == ("gpt-nano", "gpt-mini", "gpt-large")
    assert [ladder.model(route) for route in ("small", "other", "gpt-large", "unheard")] == [
        "gpt-nano",
        "o-mini",
        "gpt-large",
        "unheard",
    ]
    alone = Routes(tiers={"judge": "small", "big": "large"}, order=("small", "large"), helpers=frozenset({"judge"}))
    assert Ladder.of(alone).models == ("judge", "big")


@pytest.mark.parametrize(
    ("tiers", "names"),
    [
        (("a", "b"), ["always-small", "always-large"]),
        (("a", "b", "c"), ["always-small", "always-medium", "always-large"]),
        (("a", "b", "c", "d"), ["always-small", "always-b", "always-c", "always-large"]),
        (("tiny", "small", "large"), ["always-tiny", "always-small", "always-large"]),
    ],
)
def test_baselines_are_called_by_size(tiers: tuple[str, ...], names: list[str]) -> None:
    """Unless the tiers have such names themselves."""
    ladder = Ladder.of(tiers)
    assert [ladder.always(place) for place in range(len(tiers))] == names
