"""Names, ranks and wrong routes."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelroute.evaluation.routes import Routes

ORDER = ("nano", "small", "medium", "large", "huge")
ROUTES = Routes(
    aliases={f"gpt-{tier}": [f"my-{tier}"] for tier in ORDER},
    tiers={f"gpt-{tier}": tier for tier in ORDER},
    order=ORDER,
)
PLACES = st.integers(0, len(ORDER) - 1)
KINDS = st.sampled_from(["gpt-", "my-", ""])


def test_a_model_goes_by_itself_its_aliases_and_its_tier() -> None:
    """An expected route may use any of these."""
    routes = Routes(aliases={"gpt": ["cheap", "default"]}, tiers={"gpt": "small"}, order=["small"])
    assert routes.names("gpt") == {"gpt", "cheap", "default", "small"}


def test_a_model_that_is_not_in_the_settings_goes_by_itself() -> None:
    """Without settings a model has one name."""
    assert Routes().names("gpt") == {"gpt"}


@given(PLACES, KINDS)
def test_a_rank_is_the_place_of_the_tier_by_any_name(place: int, kind: str) -> None:
    """Model, alias and tier have the same rank."""
    assert ROUTES.rank(kind + ORDER[place]) == place


@pytest.mark.parametrize("route", ["other", "gpt-without-tier"])
def test_a_route_without_a_tier_has_no_rank(route: str) -> None:
    """Neither an unknown model nor one without a tier can be compared."""
    routes = Routes(aliases={"gpt-without-tier": ["bare"]}, order=ORDER)
    assert routes.rank(route) is None


@given(PLACES, st.lists(st.tuples(KINDS, PLACES), min_size=1, max_size=4))
def test_a_route_is_right_by_any_name_of_any_expected_one(place: int, expected: list[tuple[str, int]]) -> None:
    """One of several expected routes is enough."""
    names = [kind + ORDER[rank] for kind, rank in [*expected, ("my-", place)]]
    assert ROUTES.judge(f"gpt-{ORDER[place]}", names) is None


@given(PLACES, st.lists(st.tuples(KINDS, PLACES), min_size=1, max_size=4))
def test_a_wrong_route_is_weaker_or_stronger_than_all_or_between(place: int, expected: list[tuple[str, int]]) -> None:
    """Under and over are judged against every expected route; what lies between is neither."""
    ranks = [rank for _, rank in expected]
    wanted: Literal["under", "over", "other"] | None = "other"
    if place in ranks:
        wanted = None
    elif place < min(ranks):
        wanted = "under"
    elif place > max(ranks):
        wanted = "over"
    assert ROUTES.judge(f"gpt-{ORDER[place]}", [kind + ORDER[rank] for kind, rank in expected]) == wanted


def test_another_model_of_the_same_tier_is_another_route() -> None:
    """It is neither weaker nor stronger."""
    routes = Routes(aliases={}, tiers={"gpt": "small", "claude": "small"}, order=ORDER)
    assert routes.judge("claude", ["gpt"]) == "other"


def test_a_case_that_reached_no_model_took_another_route() -> None:
    """None is wrong, and has no tier."""
    assert ROUTES.judge(None, ["small"]) == "other"


@pytest.mark.parametrize(("model", "expected"), [("unknown", ["small"]), ("gpt-small", ["large", "unknown"])])
def test_a_wrong_route_without_a_rank_is_another_route(model: str, expected: list[str]) -> None:
    """Where one rank is not known, none is guessed."""
    assert ROUTES.judge(model, expected) == "other"


def test_a_tier_is_that_of_the_settings() -> None:
    """Models of one tier count as one in an escalation."""
    assert ROUTES.tier("gpt-small") == "small"


def test_a_model_without_a_tier_stands_for_itself() -> None:
    """Two unknown models are two tiers."""
    assert Routes().tier("gpt") == "gpt"


@pytest.mark.parametrize("route", ["gpt-small", "my-small", "small"])
def test_a_declared_route_is_known(route: str) -> None:
    """Models, aliases and tiers may be expected."""
    assert ROUTES.unknown(route) is None


def test_an_unknown_route_names_the_nearest() -> None:
    """A typo in a case would otherwise be a misroute for ever."""
    assert ROUTES.unknown("my-smal") == "did you mean 'my-small'?"


def test_an_unknown_route_like_no_other_lists_what_there_is() -> None:
    """In the order of the alphabet."""
    routes = Routes(aliases={"gpt": ["cheap"]}, tiers={"gpt": "small"}, order=["small", "large"])
    assert routes.unknown("zzz") == "known are: cheap, gpt, large, small"


def test_without_settings_any_route_may_be_right() -> None:
    """Nothing is known, so nothing is unknown."""
    assert Routes(order=["small"]).unknown("anything") is None
