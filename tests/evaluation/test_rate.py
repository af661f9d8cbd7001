"""`Rate`: a share that remembers its evidence."""

from __future__ import annotations

import copy
import pickle

import pytest

from pytest_modelroute.evaluation.statistics import Rate, wilson


def test_a_rate_compares_and_calculates_as_a_float() -> None:
    """k/n is the number itself."""
    assert 1 - Rate(3, 4) == 0.25


def test_a_rate_remembers_its_counts() -> None:
    """K and n stay with it."""
    rate = Rate(3, 4)
    assert (rate.count, rate.n) == (3, 4)


def test_a_rate_has_the_wilson_interval_at_95_percent() -> None:
    """The interval is that of its counts."""
    assert Rate(3, 4).interval == wilson(3, 4, 0.95)


def test_a_rate_shows_value_counts_and_interval() -> None:
    """The repr is the evidence, ready for a message."""
    assert repr(Rate(3, 4)) == "0.750 (3/4, 95% 0.301 to 0.954)"


def test_a_rate_of_no_cases_says_so() -> None:
    """0 of 0 is shown in words, not as nan."""
    assert repr(Rate(0, 0)) == "no cases"


@pytest.mark.parametrize("limit", [0.0, 1.0])
def test_a_rate_of_no_cases_holds_no_limit(limit: float) -> None:
    """0 of 0 is neither above nor below anything."""
    rate = Rate(0, 0)
    assert (rate >= limit, rate <= limit) == (False, False)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("counts", [(3, 4), (0, 0)])
def test_a_rate_survives_pickling(protocol: int, counts: tuple[int, int]) -> None:
    """Value and counts come back under every protocol, as xdist and multiprocessing need."""
    again = pickle.loads(pickle.dumps(Rate(*counts), protocol))  # noqa: S301 - our own bytes
    assert (type(again), repr(again), again.count, again.n) == (Rate, repr(Rate(*counts)), *counts)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_rate_survives_copying(copied: type[object]) -> None:
    """A copy has the counts too."""
    again = copied(Rate(3, 4))  # type: ignore[call-arg]
    assert repr(again) == "0.750 (3/4, 95% 0.301 to 0.954)"
