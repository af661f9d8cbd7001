"""`StepEvaluation`: rates, labels, routes, latencies and costs of cases that were run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelroute.errors import PriceUnknown
from pytest_modelroute.evaluation.cases import Case
from pytest_modelroute.evaluation.results import CaseResult, LabelScores, StepEvaluation
from pytest_modelroute.evaluation.statistics import Interval, f1_interval, mean_interval
from pytest_modelroute.providers.exchange import ProviderReply, ProviderRequest, Usage
from pytest_modelroute.providers.prices import Price, PriceBook
from pytest_modelroute.wire.call_log import ProviderCall

PRICES = PriceBook(own={"cheap": Price(input=Decimal(1), output=Decimal(1))})
LABELS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abcd")), min_size=1, max_size=30)


def _call(model: str, *, tokens: int = 1) -> ProviderCall:
    usage = Usage(output=tokens)
    return ProviderCall(
        number=1,
        provider="openai",
        language="openai-chat",
        url="https://api.openai.com/v1/chat/completions",
        client="httpx",
        request=ProviderRequest(model=model, messages=()),
        step=None,
        case=None,
        started_s=0.0,
        status=200,
        reply=ProviderReply(text="x", usage=usage),
        usage=usage,
        prices=PRICES,
    )


def _result(expected: object = "a", output: object = "a", *, routes: Sequence[str] = (), **fields: Any) -> CaseResult:
    case = Case(id="case", inputs=None, expected_output=expected, expected_route=tuple(routes) or None)
    score = None if fields.get("error") else float(expected == output)
    return CaseResult(**{"case": case, "output": output, "score": score, "passed": score == 1, **fields})


def _evaluation(*results: CaseResult) -> StepEvaluation:
    return StepEvaluation(step="s", results=results, clock="virtual")


def _labelled(pairs: Sequence[tuple[str, str]]) -> StepEvaluation:
    return _evaluation(*(_result(*pair) for pair in pairs))


def test_accuracy_is_the_share_of_full_scores() -> None:
    """A score of 0.9 is not right."""
    evaluation = _evaluation(_result(score=1.0), _result(score=0.9), _result(score=0.0))
    assert (evaluation.accuracy.count, evaluation.accuracy.n) == (1, 3)


def test_the_pass_rate_is_the_share_of_passed_cases() -> None:
    """The scorer's mark decides, and not the full score."""
    evaluation = _evaluation(_result(score=0.9, passed=True), _result(score=0.8, passed=False))
    assert (evaluation.pass_rate.count, evaluation.pass_rate.n) == (1, 2)


def test_the_mean_score_is_the_mean() -> None:
    """Partial scores count in part."""
    assert _evaluation(_result(score=1.0), _result(score=0.5)).mean_score == 0.75


def test_the_mean_score_has_students_interval() -> None:
    """At 95%."""
    evaluation = _evaluation(_result(score=1.0), _result(score=0.5), _result(score=0.75))
    assert evaluation.mean_score_interval == mean_interval([1.0, 0.5, 0.75], 0.95)


def test_cases_that_ended_in_an_error_are_kept_apart() -> None:
    """An exception is not a wrong answer: it counts in no rate."""
    evaluation = _evaluation(_result(), _result(error="KeyError: 1"))
    assert (evaluation.n, len(evaluation.errors), evaluation.accuracy.n) == (2, 1, 1)


def test_without_a_scored_case_nothing_is_measured() -> None:
    """Where every case ended in an error there is no rate, no mean and no latency."""
    evaluation = _evaluation(_result(error="KeyError: 1"))
    assert (repr(evaluation.accuracy), math.isnan(evaluation.mean_score), evaluation.latency) == (
        "no cases",
        True,
        None,
    )


@given(LABELS)
def test_the_confusion_counts_each_pair(pairs: list[tuple[str, str]]) -> None:
    """(expected, given) -> cases."""
    assert _labelled(pairs).confusion == Counter(pairs)


@given(LABELS)
def test_labels_are_all_that_are_expected_or_given(pairs: list[tuple[str, str]]) -> None:
    """A label that nobody expects has scores too."""
    assert set(_labelled(pairs).labels) == {label for pair in pairs for label in pair}


@given(LABELS)
def test_the_scores_of_a_label_are_counted_over_the_cases(pairs: list[tuple[str, str]]) -> None:
    """Hits, false alarms and misses, by definition."""
    for label, scores in _labelled(pairs).labels.items():
        assert scores == LabelScores(
            label=label,
            hits=sum(1 for expected, got in pairs if expected == got == label),
            false_alarms=sum(1 for expected, got in pairs if got == label != expected),
            misses=sum(1 for expected, got in pairs if expected == label != got),
        )


def test_precision_is_the_share_of_hits_among_those_given() -> None:
    """With its counts, as a rate."""
    precision = LabelScores(label="a", hits=3, false_alarms=1, misses=5).precision
    assert (precision.count, precision.n) == (3, 4)


def test_recall_is_the_share_of_hits_among_those_expected() -> None:
    """With its counts, as a rate."""
    recall = LabelScores(label="a", hits=3, false_alarms=1, misses=5).recall
    assert (recall.count, recall.n) == (3, 8)


def test_f1_of_a_label_is_the_harmonic_mean() -> None:
    """2 * 3/4 * 3/8 / (3/4 + 3/8) = 1/2."""
    assert LabelScores(label="a", hits=3, false_alarms=1, misses=5).f1 == 0.5


def test_f1_of_a_label_has_its_interval() -> None:
    """At 95%."""
    assert LabelScores(label="a", hits=3, false_alarms=1, misses=5).f1_interval == f1_interval(3, 1, 5, 0.95)


def test_labels_that_are_no_text_are_compared_as_text() -> None:
    """A truth or an enum may be a label."""
    assert list(_labelled([(True, False)]).labels) == ["False", "True"]  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("rate", "count"), [("misroute_rate", 3), ("underroute_rate", 1), ("overroute_rate", 1), ("escalation_rate", 2)]
)
def test_route_rates_count_cases(rate: str, count: int) -> None:
    """Of the cases that say which route is right; escalations of all."""
    evaluation = _evaluation(
        _result(routes=["small"], route_error="under", escalated=True),
        _result(routes=["small"], route_error="over"),
        _result(routes=["small"], route_error="other"),
        _result(routes=["small"]),
        _result(escalated=True),
    )
    measured = getattr(evaluation, rate)
    assert (measured.count, measured.n) == (count, 5 if rate == "escalation_rate" else 4)


def test_misroutes_pair_what_was_expected_with_what_answered() -> None:
    """Several expected routes are one entry; no model is told in words."""
    evaluation = _evaluation(
        _result(routes=["small", "medium"], route="gpt"), _result(routes=["small"], route=None), _result(route="gpt")
    )
    assert evaluation.misroutes == {("small or medium", "gpt"): 1, ("small", "none"): 1}


def test_latency_percentiles_are_by_nearest_rank() -> None:
    """Of the values that were measured, none is made up."""
    latency = _evaluation(*(_result(elapsed_s=number / 1000) for number in range(100, 0, -1))).latency
    assert latency is not None
    assert [latency.p50_ms, latency.p90_ms, latency.p95_ms, latency.p99_ms, latency.max_ms] == [50, 90, 95, 99, 100]


def test_the_mean_latency_has_its_interval() -> None:
    """Student's t, at 95%."""
    latency = _evaluation(_result(elapsed_s=0.5), _result(elapsed_s=0.25)).latency
    assert latency is not None
    assert (latency.mean_ms, latency.mean_interval_ms) == (375, mean_interval([250, 500], 0.95))


def test_latency_says_which_clock_it_is_from() -> None:
    """Virtual and real milliseconds are not the same thing."""
    latency = _evaluation(_result()).latency
    assert latency is not None
    assert latency.clock == "virtual"


def test_a_case_that_ended_in_an_error_has_no_latency() -> None:
    """A crash after 1 ms would flatter the percentile."""
    assert _evaluation(_result(elapsed_s=0.5), _result(elapsed_s=0.001, error="KeyError: 1")).elapsed_ms == [500]


def test_a_single_case_has_an_unbounded_mean_latency() -> None:
    """One time says nothing of the spread."""
    latency = _evaluation(_result(elapsed_s=0.5)).latency
    assert latency is not None
    assert latency.mean_interval_ms == Interval(-math.inf, math.inf)


def test_the_cost_is_the_exact_sum_over_all_calls() -> None:
    """Decimal to the last digit, errors included: they are billed too."""
    evaluation = _evaluation(
        _result(calls=[_call("cheap", tokens=1), _call("cheap", tokens=2)]),
        _result(calls=[_call("cheap", tokens=4)], error="KeyError: 1"),
    )
    assert evaluation.cost_usd == Decimal("0.000007")


def test_costs_are_told_by_case() -> None:
    """A case without a call costs nothing."""
    evaluation = _evaluation(_result(calls=[_call("cheap", tokens=3)]), _result())
    assert evaluation.costs_usd == [Decimal("0.000003"), 0]


def test_a_call_without_a_price_is_not_free() -> None:
    """The cost is refused, never 0."""
    with pytest.raises(PriceUnknown, match=r"^'house-model' has no price"):
        _ = _evaluation(_result(calls=[_call("house-model")])).cost_usd


def test_the_calls_of_all_cases_are_one_log() -> None:
    """In the order of the cases."""
    evaluation = _evaluation(_result(calls=[_call("a"), _call("b")]), _result(calls=[_call("c")], error="KeyError: 1"))
    assert evaluation.calls.models == ["a", "b", "c"]


class _Intent(Enum):
    """Labels as an application has them."""

    FRAUD = "fraud"
    BILL = "bill"


def test_a_member_of_an_enumeration_is_labelled_by_its_value() -> None:
    """An Enum output and an expected text meet as one label."""
    assert _evaluation(_result("fraud", _Intent.BILL)).confusion == Counter({("fraud", "bill"): 1})


def test_a_case_that_the_scorer_finds_right_is_a_hit_of_its_label() -> None:
    """Its output need not be the expected text."""
    scores = _evaluation(_result("fraud", "It is fraud.", score=1.0)).labels["fraud"]
    assert (scores.hits, scores.misses, scores.f1) == (1, 0, 1.0)


def test_a_case_that_the_scorer_finds_wrong_is_no_hit_though_its_text_is_as_expected() -> None:
    """The number 1 is told apart from the text 1 by its type."""
    assert _evaluation(_result("1", 1, score=0.0)).confusion == Counter({("1", "1 (int)"): 1})
