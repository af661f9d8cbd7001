"""Intervals and percentiles, beside scipy and beside their definitions."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import special, stats

from pytest_modelroute.evaluation.statistics import (
    Interval,
    binomial_cdf,
    f1_interval,
    f1_score,
    incomplete_beta,
    mean_interval,
    percentile,
    percentile_interval,
    t_quantile,
    wilson,
)

CONFIDENCES = st.floats(0.5, 0.9999)
COUNTS = st.integers(1, 800).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
many = settings(max_examples=150, deadline=None)


def _close(value: float) -> Any:
    return pytest.approx(value, rel=1e-9, abs=1e-9)


@many
@given(COUNTS, CONFIDENCES)
def test_wilson_is_scipys(counts: tuple[int, int], confidence: float) -> None:
    """Any share at any confidence has the score interval that scipy gives."""
    count, n = counts
    theirs = stats.binomtest(count, n).proportion_ci(confidence_level=confidence, method="wilson")
    assert wilson(count, n, confidence) == (_close(theirs.low), _close(theirs.high))


def test_wilson_of_no_cases_says_nothing() -> None:
    """0 of 0 may be any share."""
    assert wilson(0, 0) == Interval(0.0, 1.0)


@given(st.integers(1, 10_000), CONFIDENCES)
def test_wilson_of_none_of_n_begins_at_nought_exactly(n: int, confidence: float) -> None:
    """0 of n has 0 as its lower end, without a rounding error below or above it."""
    assert wilson(0, n, confidence).low == 0.0


@given(st.integers(1, 10_000), CONFIDENCES)
def test_wilson_of_n_of_n_ends_at_one_exactly(n: int, confidence: float) -> None:
    """N of n has 1 as its upper end, so that a limit of 1 can hold."""
    assert wilson(n, n, confidence).high == 1.0


@given(COUNTS, CONFIDENCES)
def test_wilson_holds_the_share_and_stays_within_nought_and_one(counts: tuple[int, int], confidence: float) -> None:
    """The ends are shares themselves, one on each side of the estimate."""
    count, n = counts
    low, high = wilson(count, n, confidence)
    assert 0 <= low <= count / n <= high <= 1


@many
@given(st.integers(1, 5000), st.floats(0.5001, 0.9999))
@example(4416, 0.5001)
def test_t_quantile_is_scipys(degrees: int, probability: float) -> None:
    """Student's quantile agrees for one degree of freedom as for thousands."""
    assert t_quantile(probability, degrees) == _close(float(stats.t.ppf(probability, degrees)))


@many
@given(st.integers(1, 1000).flatmap(lambda n: st.tuples(st.integers(-1, n), st.just(n))), st.floats(0.001, 0.999))
def test_binomial_cdf_is_scipys(counts: tuple[int, int], share: float) -> None:
    """P(at most k of n) agrees, below 0 and at n too."""
    k, n = counts
    assert binomial_cdf(k, n, share) == _close(float(stats.binom.cdf(k, n, share)))


@many
@given(st.floats(0.5, 500), st.floats(0.5, 500), st.floats(0, 1))
def test_incomplete_beta_is_scipys(a: float, b: float, x: float) -> None:
    """The regularised incomplete beta function agrees over its whole domain, both ends included."""
    assert incomplete_beta(a, b, x) == _close(float(special.betainc(a, b, x)))


@given(st.sampled_from([0.5, 1, 2, 10, 1000]), st.sampled_from([0.5, 1, 3, 30, 9999]), st.integers(0, 3))
def test_incomplete_beta_ends_where_its_fraction_changes_sides(a: float, b: float, steps: int) -> None:
    """Next to the point from which on the mirrored fraction is used, rounding does not send it back and forth."""
    x = (a + 1) / (a + b + 2)
    for _ in range(steps):
        x = math.nextafter(x, 1)
    assert incomplete_beta(a, b, x) == _close(float(special.betainc(a, b, x)))


@many
@given(st.lists(st.integers(-10_000, 10_000), min_size=2, max_size=100), CONFIDENCES)
def test_mean_interval_is_scipys(whole: list[int], confidence: float) -> None:
    """The interval of a mean is Student's."""
    values = [value / 8 for value in whole]
    if min(values) == max(values):
        values.append(values[0] + 1)
    low, high = stats.t.interval(confidence, len(values) - 1, loc=sum(values) / len(values), scale=stats.sem(values))
    assert mean_interval(values, confidence) == (_close(float(low)), _close(float(high)))


def test_mean_interval_of_equal_values_is_that_value() -> None:
    """Values without spread have an interval without width."""
    assert mean_interval([2.5, 2.5, 2.5]) == Interval(2.5, 2.5)


@pytest.mark.parametrize("values", [[], [3.0]], ids=["none", "one"])
def test_mean_interval_of_fewer_than_two_values_is_unbounded(values: list[float]) -> None:
    """One value says nothing of its spread."""
    assert mean_interval(values) == Interval(-math.inf, math.inf)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60), st.integers(0, 100))
def test_percentile_is_the_smallest_value_with_that_share_at_or_below_it(values: list[int], percent: int) -> None:
    """The nearest rank holds for whole percents, whatever binary fractions make of them."""
    ordered = sorted(values)
    wanted = next(
        value for value in ordered if 100 * sum(1 for other in ordered if other <= value) >= percent * len(ordered)
    )
    assert percentile(ordered, percent / 100) == wanted


@many
@given(st.integers(1, 200), st.sampled_from([0.5, 0.9, 0.95, 0.99]), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_percentile_interval_covers_as_often_as_it_says(n: int, share: float, confidence: float) -> None:
    """The binomial probability that the percentile lies between the two order statistics reaches the confidence."""
    low, high = percentile_interval([float(rank) for rank in range(1, n + 1)], share, confidence)
    first = 0 if math.isinf(low) else int(low)
    last = n if math.isinf(high) else int(high) - 1
    covered = sum(math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(first, last + 1))
    assert covered >= confidence - 1e-9


@many
@given(st.integers(1, 200), st.sampled_from([0.5, 0.9, 0.95, 0.99]), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_percentile_interval_is_no_wider_than_it_must_be(n: int, share: float, confidence: float) -> None:
    """One rank further in, either tail would be larger than half of what is left to it."""
    low, high = percentile_interval([float(rank) for rank in range(1, n + 1)], share, confidence)
    rank_low = 0 if math.isinf(low) else int(low)
    rank_high = n + 1 if math.isinf(high) else int(high)
    tails = (stats.binom.cdf(rank_low, n, share), stats.binom.sf(rank_high - 2, n, share))
    assert min(tails) > (1 - confidence) / 2 - 1e-9


@pytest.mark.parametrize(("n", "bounded"), [(1, False), (71, False), (72, True)])
def test_the_95th_percentile_is_bounded_above_from_72_values_on(n: int, bounded: bool) -> None:
    """With fewer values the largest of them may lie below the percentile more often than 95% allows."""
    high = percentile_interval([float(value) for value in range(n)], 0.95).high
    assert math.isfinite(high) == bounded


@given(st.integers(1, 50), st.integers(0, 50), st.integers(0, 50))
def test_f1_is_the_harmonic_mean_of_precision_and_recall(hits: int, alarms: int, misses: int) -> None:
    """2PR / (P + R), wherever both exist."""
    precision, recall = hits / (hits + alarms), hits / (hits + misses)
    assert f1_score(hits, alarms, misses) == _close(2 * precision * recall / (precision + recall))


def test_f1_of_a_label_that_does_not_occur_is_not_a_number() -> None:
    """Nothing expected and nothing given is no score at all."""
    assert math.isnan(f1_score(0, 0, 0))


@many
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60), CONFIDENCES)
def test_f1_interval_is_that_of_f_star_transformed(hits: int, alarms: int, misses: int, confidence: float) -> None:
    """F* = TP / (TP + FP + FN) is a share, and F1 = 2 F* / (1 + F*) grows with it."""
    n = hits + alarms + misses
    ends = stats.binomtest(hits, n).proportion_ci(confidence_level=confidence, method="wilson") if n else Interval(0, 1)
    wanted = tuple(_close(2 * end / (1 + end)) for end in (ends.low, ends.high))
    assert f1_interval(hits, alarms, misses, confidence) == wanted


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 60))
def test_f1_interval_holds_f1(hits: int, alarms: int, misses: int) -> None:
    """The estimate lies within its own interval."""
    low, high = f1_interval(hits, alarms, misses)
    assert low <= f1_score(hits, alarms, misses) <= high
