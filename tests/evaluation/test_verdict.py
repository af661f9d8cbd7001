"""Every limit, judged both ways, by the estimate and by the bound of its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_modelroute.errors import EvaluationError, PriceUnknown
from pytest_modelroute.evaluation.cases import MISSING, Case
from pytest_modelroute.evaluation.results import CaseResult, StepEvaluation
from pytest_modelroute.evaluation.routes import Routes
from pytest_modelroute.evaluation.statistics import f1_interval, mean_interval, percentile_interval, wilson
from pytest_modelroute.evaluation.thresholds import LIMITS, StepThreshold
from pytest_modelroute.evaluation.verdict import Check, Verdict, judge
from pytest_modelroute.providers.exchange import ProviderReply, ProviderRequest, Usage
from pytest_modelroute.providers.prices import Price, PriceBook
from pytest_modelroute.wire.call_log import ProviderCall

PRICES = PriceBook(own={"gpt-small": Price(input=Decimal(0), output=Decimal(1))})
ROUTES = Routes(tiers={"gpt-small": "small", "gpt-large": "large"}, order=["small", "medium", "large"])
PAIRS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abcd")), min_size=1, max_size=20)


def _call(model: str = "gpt-small", *, tokens: int = 1, prices: PriceBook = PRICES) -> ProviderCall:
    usage = Usage(output=tokens)
    return ProviderCall(
        number=1,
        provider="openai",
        language="openai-chat",
        url="https://api.openai.com/v1/chat/completions",
        client="httpx",
        request=ProviderRequest(model=model, messages=()),
        step="s",
        case=None,
        started_s=0.0,
        status=200,
        reply=ProviderReply(text="x", usage=usage),
        usage=usage,
        prices=prices,
    )


def _result(expected: object = "a", output: object = "a", *, routes: Sequence[str] = (), **fields: Any) -> CaseResult:
    case = Case(id="one", inputs=None, expected_output=expected, expected_route=tuple(routes) or None)
    score = None if fields.get("error") else float(expected == output)
    return CaseResult(**{"case": case, "output": output, "score": score, "passed": score == 1, **fields})


def _evaluation(*results: CaseResult, routes: Routes = ROUTES) -> StepEvaluation:
    return StepEvaluation(step="s", results=results, clock="virtual", routes=routes)


def _judge(evaluation: StepEvaluation, *, confidence: float | None = None, **limits: float) -> Verdict:
    return judge(evaluation, StepThreshold(step="s", limits=limits, confidence=confidence))


def _check(evaluation: StepEvaluation, limit: str, bound: float, **options: Any) -> Check:
    (check,) = judge(evaluation, StepThreshold(step="s", limits={limit: bound}, **options)).checks
    return check


def _routed(error: str | None) -> CaseResult:
    return _result(routes=["medium"], route="gpt-large" if error == "over" else "gpt-small", route_error=error)


# Ten cases: labels (8 of 10 right), scores, times of 10 to 100 ms, costs of 1 to 10 micro-USD, and their routes.
RIGHT = [("a", "a")] * 5 + [("b", "b")] * 3 + [("a", "b"), ("b", "a")]
TEN = _evaluation(
    *(
        _result(
            *pair,
            routes=["medium"],
            route="gpt-small",
            route_error=error,
            elapsed_s=number / 100,
            calls=[_call(tokens=number)],
            escalated=number <= 4,
        )
        for number, pair, error in zip(range(1, 11), RIGHT, ["under"] * 2 + ["over"] * 1 + [None] * 7, strict=True)
    )
)
TIMES = [10.0 * number for number in range(1, 11)]
COSTS = [number / 1e6 for number in range(1, 11)]
MEASURED: Mapping[str, tuple[float, tuple[float, float] | None]] = {
    "min_accuracy": (0.8, wilson(8, 10)),
    "min_pass_rate": (0.8, wilson(8, 10)),
    "min_mean_score": (0.8, (mean_interval([1.0] * 8 + [0.0] * 2).low, 1.0)),
    "min_precision": ((5 / 6 + 3 / 4) / 2, None),
    "min_recall": ((5 / 6 + 3 / 4) / 2, None),
    "min_f1": ((5 / 6 + 3 / 4) / 2, None),
    "max_latency_ms": (100.0, (percentile_interval(TIMES, 0.95).low, math.inf)),
    "max_mean_latency_ms": (55.0, mean_interval(TIMES)),
    "max_cost_usd": (5.5e-6, mean_interval(COSTS)),
    "max_total_cost_usd": (55e-6, (mean_interval(COSTS).low * 10, mean_interval(COSTS).high * 10)),
    "max_misroute_rate": (0.3, wilson(3, 10)),
    "max_underroute_rate": (0.2, wilson(2, 10)),
    "max_overroute_rate": (0.1, wilson(1, 10)),
    "max_escalation_rate": (0.4, wilson(4, 10)),
}


def test_every_limit_is_measured_here() -> None:
    """The table above covers all that exist."""
    assert set(MEASURED) == set(LIMITS)


@pytest.mark.parametrize("limit", LIMITS)
def test_a_limit_is_judged_on_its_measure(limit: str) -> None:
    """The value is the one that was calculated by hand."""
    assert _check(TEN, limit, 1.0).measured.value == pytest.approx(MEASURED[limit][0], rel=1e-12)


@pytest.mark.parametrize("limit", [limit for limit, (_, interval) in MEASURED.items() if interval is not None])
def test_a_measure_has_its_interval(limit: str) -> None:
    """At 95%, by the formula of its kind."""
    assert _check(TEN, limit, 1.0).measured.interval == pytest.approx(MEASURED[limit][1], rel=1e-12)


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("inside", [True, False])
def test_the_estimate_is_judged_where_no_confidence_is_asked_for(limit: str, inside: bool) -> None:
    """A hair on this side of the limit holds, a hair on the other does not."""
    value = MEASURED[limit][0]
    lower = LIMITS[limit].bound == "min"
    bound = value * (1 - 1e-9 if lower == inside else 1 + 1e-9)
    assert _check(TEN, limit, bound).ok is inside


@pytest.mark.parametrize("limit", [limit for limit in LIMITS if limit != "max_latency_ms"])
@pytest.mark.parametrize("inside", [True, False])
def test_the_bound_of_the_interval_is_judged_with_confidence(limit: str, inside: bool) -> None:
    """The end that is worse for the step decides."""
    lower = LIMITS[limit].bound == "min"
    interval = _check(TEN, limit, 1.0, confidence=0.9).measured.interval
    end = interval.low if lower else interval.high
    bound = end * (1 - 1e-9 if lower == inside else 1 + 1e-9)
    assert _check(TEN, limit, bound, confidence=0.9).ok is inside


@pytest.mark.parametrize("limit", LIMITS)
def test_a_step_that_holds_by_its_estimate_may_not_hold_with_confidence(limit: str) -> None:
    """Ten cases are not evidence enough for a limit at the estimate."""
    value = MEASURED[limit][0]
    bound = value * (1 - 1e-9 if LIMITS[limit].bound == "min" else 1 + 1e-9)
    assert [_check(TEN, limit, bound).ok, _check(TEN, limit, bound, confidence=0.95).ok] == [True, False]


@pytest.mark.parametrize("limit", ["min_accuracy", "min_f1", "max_mean_latency_ms", "max_cost_usd"])
def test_more_confidence_asks_for_more(limit: str) -> None:
    """The judged bound moves away from the estimate."""
    value = MEASURED[limit][0]
    distances = [abs(_check(TEN, limit, 1.0, confidence=share).judged - value) for share in (0.5, 0.9, 0.99)]
    assert distances == sorted(distances)


@pytest.mark.parametrize(("n", "ok"), [(71, False), (72, True)])
def test_a_latency_limit_with_confidence_needs_72_cases(n: int, ok: bool) -> None:
    """Fewer cannot bound the 95th percentile, however fast they are."""
    evaluation = _evaluation(*[_result(elapsed_s=0.001)] * n)
    assert _check(evaluation, "max_latency_ms", 1000, confidence=0.95).ok is ok


def test_a_limit_that_is_met_exactly_holds() -> None:
    """8 of 10 holds 0.80."""
    assert _judge(TEN, min_accuracy=0.8, max_latency_ms=100, max_misroute_rate=0.3).ok


def test_a_total_cost_that_is_met_exactly_holds() -> None:
    """Costs are exact sums of Decimal, and so is their total."""
    evaluation = _evaluation(*[_result(calls=[_call(tokens=199)])] * 7)
    assert _judge(evaluation, max_total_cost_usd=0.001393).ok


def test_a_broken_limit_breaks_the_verdict() -> None:
    """One is enough, and it is told apart from those that hold."""
    verdict = _judge(TEN, min_accuracy=0.5, max_latency_ms=50, max_cost_usd=1)
    assert (verdict.ok, [check.limit for check in verdict.broken]) == (False, ["max_latency_ms"])


def test_a_check_shows_the_count_behind_a_share() -> None:
    """K of n goes with the value."""
    measured = _check(TEN, "min_accuracy", 0.5).measured
    assert (measured.count, measured.n) == (8, 10)


@pytest.mark.parametrize("limit", ["max_mean_latency_ms", "max_latency_ms", "min_mean_score", "max_cost_usd", "min_f1"])
def test_a_check_of_another_measure_has_the_number_of_cases(limit: str) -> None:
    """There is no k where nothing is counted."""
    measured = _check(TEN, limit, 1.0).measured
    assert (measured.count, measured.n) == (None, 10)


def _brute(pairs: Sequence[tuple[str, str]], measure: str) -> float:
    """The macro average over the expected labels, straight from the definition."""
    values: list[float] = []
    for label in {expected for expected, _ in pairs}:
        hits = sum(1 for expected, got in pairs if expected == got == label)
        asked = sum(1 for expected, _ in pairs if expected == label)
        given_it = sum(1 for _, got in pairs if got == label)
        precision, recall = hits / given_it if given_it else 0.0, hits / asked
        f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
        values.append({"min_precision": precision, "min_recall": recall, "min_f1": f1}[measure])
    return sum(values) / len(values)


@pytest.mark.parametrize("limit", ["min_precision", "min_recall", "min_f1"])
@settings(max_examples=25, deadline=None)
@given(pairs=PAIRS)
def test_without_a_positive_label_the_macro_average_is_judged(limit: str, pairs: list[tuple[str, str]]) -> None:
    """The mean over the labels that are expected, each with the same weight."""
    evaluation = _evaluation(*(_result(*pair) for pair in pairs))
    assert _check(evaluation, limit, 0.5).measured.value == pytest.approx(_brute(pairs, limit), rel=1e-12)


@pytest.mark.parametrize("limit", ["min_precision", "min_recall", "min_f1"])
@settings(max_examples=15, deadline=None)
@given(pairs=PAIRS)
def test_the_interval_of_a_macro_average_repeats_exactly(limit: str, pairs: list[tuple[str, str]]) -> None:
    """Resampling is seeded: a verdict does not change from run to run."""
    evaluation = _evaluation(*(_result(*pair) for pair in pairs))
    first, second = (_check(evaluation, limit, 0.5).measured.interval for _ in range(2))
    assert first == second


def test_the_interval_of_a_macro_average_holds_it() -> None:
    """With 100 cases the estimate lies inside, and the interval is no point."""
    evaluation = _evaluation(*(_result(*pair) for pair in RIGHT * 10))
    measured = _check(evaluation, "min_f1", 0.5).measured
    assert 0 < measured.interval.low < measured.value < measured.interval.high < 1


def test_a_macro_average_without_an_error_is_sure() -> None:
    """Every resample of all-right cases is all right."""
    evaluation = _evaluation(*(_result(label, label) for label in "abcab"))
    assert _check(evaluation, "min_f1", 0.5).measured.interval == (1, 1)


def test_a_label_that_is_never_given_has_no_precision() -> None:
    """It counts as 0, as in scikit-learn, and is not left out."""
    evaluation = _evaluation(_result("a", "a"), _result("b", "c"))
    assert _check(evaluation, "min_precision", 0.5).measured.value == 0.5


@pytest.mark.parametrize(
    ("limit", "value", "interval"),
    [
        ("min_precision", 5 / 6, wilson(5, 6)),
        ("min_recall", 5 / 6, wilson(5, 6)),
        ("min_f1", 5 / 6, f1_interval(5, 1, 1)),
    ],
)
def test_a_positive_label_is_judged_alone(limit: str, value: float, interval: tuple[float, float]) -> None:
    """The other labels have no say."""
    measured = _check(TEN, limit, 0.5, positive="a").measured
    assert [measured.value, *measured.interval] == pytest.approx([value, *interval])


@pytest.mark.parametrize("positive", ["fraud", "c"])
def test_a_positive_label_that_no_case_expects_is_refused(positive: str) -> None:
    """Neither a typo nor a label that is only given can be measured."""
    evaluation = _evaluation(_result("a", "a"), _result("b", "c"))
    with pytest.raises(EvaluationError) as caught:
        _check(evaluation, "min_recall", 0.5, positive=positive)
    assert str(caught.value) == f"positive={positive!r}: no case expects this label; the cases expect a, b"


def test_a_precision_that_was_not_measured_does_not_pass() -> None:
    """A positive label that is never given has none: NaN holds no limit."""
    evaluation = _evaluation(_result("fraud", "fine"), _result("fine", "fine"))
    check = _check(evaluation, "min_precision", 0.0, positive="fraud")
    assert (math.isnan(check.judged), check.ok) == (True, False)


def test_a_precision_that_was_not_measured_does_not_pass_with_confidence_either() -> None:
    """What was not measured holds no limit, however it is judged."""
    evaluation = _evaluation(_result("fraud", "fine"), _result("fine", "fine"))
    assert not _check(evaluation, "min_precision", 0.0, positive="fraud", confidence=0.95).ok


@pytest.mark.parametrize("limit", ["min_precision", "min_recall", "min_f1"])
def test_a_limit_on_labels_needs_expected_outputs(limit: str) -> None:
    """Cases without an expected output have no label to measure by."""
    with pytest.raises(EvaluationError):
        _check(_evaluation(_result(MISSING, "a", score=1.0)), limit, 0.5)


@pytest.mark.parametrize("limit", ["max_misroute_rate", "max_underroute_rate", "max_overroute_rate"])
def test_a_limit_on_routes_needs_expected_routes(limit: str) -> None:
    """A limit that nothing measures is an error, and not a pass."""
    with pytest.raises(EvaluationError) as caught:
        _check(_evaluation(_result()), limit, 0.5)
    assert str(caught.value) == "a limit on routes, but no case has an expected_route, so nothing would be measured"


@pytest.mark.parametrize("limit", ["max_cost_usd", "max_total_cost_usd"])
def test_a_limit_on_cost_needs_a_provider_call(limit: str) -> None:
    """A step that called nothing is not a cheap one."""
    with pytest.raises(EvaluationError) as caught:
        _check(_evaluation(_result()), limit, 0.5)
    assert str(caught.value) == "a limit on cost, but 's' made no provider call, so nothing was measured"


def test_a_limit_on_escalations_needs_a_provider_call() -> None:
    """A step that called nothing has not held back."""
    with pytest.raises(EvaluationError) as caught:
        _check(_evaluation(_result()), "max_escalation_rate", 0.5)
    assert str(caught.value) == "a limit on escalations, but no provider was called, so nothing was measured"


@pytest.mark.parametrize("limit", ["max_underroute_rate", "max_overroute_rate"])
@pytest.mark.parametrize(("expected", "route", "named"), [("gpt-x", "gpt-small", "gpt-x"), ("small", "gpt-y", "gpt-y")])
def test_weaker_and_stronger_need_tiers(limit: str, expected: str, route: str, named: str) -> None:
    """A route without a tier, expected or taken, cannot be compared, and is named."""
    with pytest.raises(EvaluationError) as caught:
        _check(_evaluation(_result(routes=[expected], route=route, route_error="other")), limit, 0.5)
    assert str(caught.value) == (
        f"which route is the weaker cannot be told: {named!r} (case 'one') has no tier; "
        "give each model a tier in [tool.modelroute.models.<alias>]"
    )


def test_misroutes_need_no_tiers() -> None:
    """Right or wrong is told by names alone."""
    evaluation = _evaluation(_result(routes=["gpt-x"], route="gpt-y", route_error="other"), routes=Routes())
    assert _check(evaluation, "max_misroute_rate", 0.5).measured.value == 1


def test_a_case_that_reached_no_model_does_not_ask_for_its_tier() -> None:
    """It is a misroute, neither under nor over."""
    evaluation = _evaluation(_result(routes=["small"], route=None, route_error="other"))
    assert _check(evaluation, "max_underroute_rate", 0.0).ok


@pytest.mark.parametrize("limit", ["max_cost_usd", "max_total_cost_usd"])
def test_a_limit_on_cost_needs_prices(limit: str) -> None:
    """A call without a price is an error, and not free."""
    with pytest.raises(PriceUnknown, match=r"^'house-model' has no price"):
        _check(_evaluation(_result(calls=[_call("house-model")])), limit, 0.5)


def test_prices_are_asked_for_by_limits_on_cost_alone() -> None:
    """A step without a limit on cost may use a model without a price."""
    assert _judge(_evaluation(_result(calls=[_call("house-model")])), min_accuracy=1).ok


def test_an_error_breaks_the_verdict_though_every_limit_holds() -> None:
    """A step that crashes on a case is not fine."""
    verdict = _judge(_evaluation(_result(), _result(error="KeyError: 1")), min_accuracy=1)
    assert (verdict.ok, verdict.broken, verdict.errors) == (False, (), 1)


def test_where_every_case_ended_in_an_error_nothing_is_measured() -> None:
    """The errors break the verdict, and no limit is asked for what is not there."""
    verdict = _judge(_evaluation(_result(error="KeyError: 1")), min_accuracy=1, max_misroute_rate=0)
    assert (verdict.ok, verdict.checks, verdict.errors) == (False, (), 1)


def test_without_limits_wrong_answers_break_nothing() -> None:
    """An evaluation may be asserted on by the test itself."""
    assert judge(_evaluation(_result("a", "b")), None) == Verdict(threshold=None, checks=(), errors=0)


def test_without_limits_an_error_still_breaks_the_verdict() -> None:
    """An exception of the code under test is never fine."""
    assert not judge(_evaluation(_result(error="KeyError: 1")), None).ok
