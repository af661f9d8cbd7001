"""Paired comparisons, beside scipy and beside their definitions."""

from __future__ import annotations

import math
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_modelroute.evaluation.paired import Pairs, chance_p_value, holm
from pytest_modelroute.evaluation.statistics import Interval

few = settings(max_examples=40, deadline=None)
COUNTS = st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(0, 200))
VERDICTS = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=30)


def pairs_of(counts: tuple[int, int, int]) -> Pairs:
    """Gains, losses, and cases on which the two agree."""
    gains, losses, agreed = counts
    return Pairs(gains, losses, gains + losses + agreed)


@few
@given(COUNTS)
def test_mcnemar_is_the_binomial_test_of_the_cases_that_differ(counts: tuple[int, int, int]) -> None:
    """Scipy's, for any numbers; 1 where the two never differ."""
    pairs = pairs_of(counts)
    discordant = pairs.gains + pairs.losses
    theirs = stats.binomtest(pairs.gains, discordant, 0.5).pvalue if discordant else 1.0
    assert pairs.p_value == pytest.approx(theirs, rel=1e-9)


@few
@given(VERDICTS)
def test_the_other_way_round_is_the_mirror_image(verdicts: list[tuple[bool, bool]]) -> None:
    """Same evidence, difference and interval with the other sign."""
    pairs = Pairs.of((one for one, _ in verdicts), (other for _, other in verdicts))
    mirrored = Pairs.of((other for _, other in verdicts), (one for one, _ in verdicts))
    assert mirrored.p_value == pytest.approx(pairs.p_value)
    assert mirrored.interval == pytest.approx((-pairs.interval.high, -pairs.interval.low))
    if verdicts:
        assert pairs.difference == pytest.approx(
            (sum(one for one, _ in verdicts) - sum(other for _, other in verdicts)) / len(verdicts)
        )


def test_no_case_says_nothing() -> None:
    """Any difference is possible."""
    pairs = Pairs.of([], [])
    assert math.isnan(pairs.difference)
    assert (pairs.interval, pairs.p_value) == (Interval(-1.0, 1.0), 1.0)
    assert pairs.cases_needed(0.05) > 1


@pytest.mark.parametrize("shares", [(0.1, 0.2, 40), (0.3, 0.3, 40), (0.02, 0.05, 60)])
def test_the_interval_holds_the_true_difference_about_as_often_as_it_says(shares: tuple[float, float, int]) -> None:
    """Summed exactly over every outcome of n cases, not sampled."""
    gain, loss, n = shares
    held = sum(
        stats.multinomial.pmf([gains, losses, n - gains - losses], n, [gain, loss, 1 - gain - loss])
        for gains, losses in product(range(n + 1), repeat=2)
        if gains + losses <= n
        and Pairs(gains, losses, n).interval.low <= gain - loss <= Pairs(gains, losses, n).interval.high
    )
    assert 0.93 < held <= 1


def test_two_that_never_differ_still_leave_a_doubt_that_more_cases_lift() -> None:
    """Ten equal routes show little, a thousand a lot."""
    few_cases, many_cases = Pairs(0, 0, 10).interval, Pairs(0, 0, 1000).interval
    assert few_cases.high > 0.2
    assert many_cases.high < 0.005


@few
@given(COUNTS, st.floats(0.01, 0.3))
def test_settling_it_takes_more_cases_than_there_are(counts: tuple[int, int, int], margin: float) -> None:
    """And no more for a coarser margin."""
    pairs = pairs_of(counts)
    assert pairs.n < pairs.cases_needed(2 * margin) <= pairs.cases_needed(margin)


def test_the_cases_needed_have_the_power_that_is_promised() -> None:
    """Of 3 gains and 9 losses in 60: with so many cases McNemar's test finds the difference four times in five."""
    pairs = Pairs(3, 9, 60)
    n = pairs.cases_needed(0.05)
    differ = pairs.gains + pairs.losses
    share, loss = differ / pairs.n, pairs.losses / differ
    power = sum(
        stats.binom.pmf(discordant, n, share)
        * sum(
            stats.binom.pmf(losses, discordant, loss)
            for losses in range(discordant + 1)
            if Pairs(discordant - losses, losses, n).p_value < 0.05
        )
        for discordant in range(n + 1)
        if stats.binom.pmf(discordant, n, share) > 1e-6
    )
    assert 0.75 < power < 0.9


@few
@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(p_values: list[float]) -> None:
    """At most Bonferroni's."""
    adjusted = holm(p_values)
    assert all(p <= q <= min(1.0, p * len(p_values)) + 1e-12 for p, q in zip(p_values, adjusted, strict=True))
    ranked = [q for _, q in sorted(zip(p_values, adjusted, strict=True))]
    assert ranked == sorted(ranked)


def test_holm_as_in_its_textbook_example() -> None:
    """0.01, 0.04, 0.03 and 0.005, worked by hand."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@few
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.data())
def test_the_chance_of_a_count_is_that_of_all_outcomes(shares: list[float], data: st.DataObject) -> None:
    """Beside the sum over every way the cases can fall."""
    count = data.draw(st.integers(0, len(shares)))
    below = above = 0.0
    for fallen in product((False, True), repeat=len(shares)):
        weight = math.prod(share if hit else 1 - share for hit, share in zip(fallen, shares, strict=True))
        below += weight * (sum(fallen) <= count)
        above += weight * (sum(fallen) >= count)
    assert chance_p_value(count, shares) == pytest.approx(min(1.0, 2 * min(below, above)), abs=1e-9)
