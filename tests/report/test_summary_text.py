"""The section at the end of a run."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from pytest_modelroute.evaluation.cases import Case
from pytest_modelroute.evaluation.results import CaseResult, StepEvaluation
from pytest_modelroute.evaluation.thresholds import StepThreshold
from pytest_modelroute.evaluation.verdict import judge
from pytest_modelroute.providers.exchange import ProviderReply, ProviderRequest, Usage
from pytest_modelroute.providers.prices import Price, PriceBook
from pytest_modelroute.report.session import session_lines
from pytest_modelroute.report.step import summarise
from pytest_modelroute.wire.call_log import ProviderCall

PRICES = PriceBook(own={"gpt-small": Price(input=Decimal(1), output=Decimal(4))})


def _result(**fields: Any) -> CaseResult:
    case = Case(id="one", inputs="hi", expected_output="a")
    return CaseResult(**{"case": case, "output": "a", "score": 1.0, "passed": True, **fields})


def _called(model: str, **fields: Any) -> CaseResult:
    usage = Usage(fresh_input=10, output=1)
    call = ProviderCall(
        number=1,
        provider="openai",
        language="openai-chat",
        url="https://api.openai.com/v1/chat/completions",
        client="httpx",
        request=ProviderRequest(model=model, messages=()),
        step="classify",
        case="one",
        started_s=0.0,
        status=200,
        reply=ProviderReply(text="a", usage=usage),
        usage=usage,
        prices=PRICES,
    )
    return _result(route=model, calls=[call], **fields)


def _summary(*results: CaseResult, step: str | None = "classify", **limits: float) -> list[str]:
    evaluation = StepEvaluation(step=step, results=results, clock="virtual")
    threshold = StepThreshold(step="classify", limits=limits) if limits else None
    return summarise(evaluation, judge(evaluation, threshold))


def test_a_step_that_passed_is_shown_with_its_evidence() -> None:
    """Verdict, limits, cost and models."""
    assert _summary(_called("gpt-small"), _called("gpt-small", score=0.0), min_accuracy=0.5, max_latency_ms=9) == [
        "PASS  classify: 2 cases, virtual time",
        "  ok    accuracy 0.500 (1/2, 95% 0.095 to 0.905)  limit min_accuracy=0.50",
        "  ok    p95 latency 0 ms (n=2, 95% 0 to unbounded)  limit max_latency_ms=9",
        "        cost 0.000028 USD, 0.000014 a case; 2 provider calls",
        "      model      cases  right  accuracy  95%             cost USD",
        "      gpt-small  2      1      0.500     0.095 to 0.905  0.000028",
    ]


def test_a_step_without_a_limit_on_accuracy_shows_it_all_the_same() -> None:
    """It is what is asked for first."""
    assert _summary(_result(), max_latency_ms=9)[-1] == "        accuracy 1.000 (1/1, 95% 0.207 to 1.000)"


def test_a_step_that_failed_begins_with_the_word() -> None:
    """Broken limits are marked."""
    assert [line[:8] for line in _summary(_result(score=0.0), min_accuracy=0.5)] == ["FAIL  cl", "  FAIL  "]


def test_a_step_with_an_error_failed() -> None:
    """Without limits too."""
    assert _summary(_result(error="KeyError: 1"))[0] == ("FAIL  classify: 1 case, 1 ended in an error, virtual time")


def test_a_step_without_limits_neither_passed_nor_failed() -> None:
    """Nothing judged it, and the second line says so."""
    assert _summary(_result())[:2] == [
        "      classify: 1 case, virtual time",
        "        no limits: nothing was judged",
    ]


def test_an_evaluation_without_a_step_is_unnamed() -> None:
    """It is shown all the same."""
    assert _summary(_result(), step=None)[0] == "      unnamed step: 1 case, virtual time"


def test_where_every_case_ended_in_an_error_no_accuracy_is_shown() -> None:
    """Nothing was measured."""
    assert len(_summary(_result(error="KeyError: 1"), min_accuracy=1)) == 1


def test_a_cost_that_is_not_known_says_why() -> None:
    """The model without a price is named."""
    assert _summary(_called("house-model"))[3] == "        cost unknown ('house-model' has no price); 1 provider call"


def test_a_model_with_a_colon_in_its_name_is_named_whole() -> None:
    """Names such as llama3:8b are common."""
    assert "('llama3:8b-house' has no price)" in _summary(_called("llama3:8b-house"))[3]


def _session(*summaries: tuple[str, dict[str, Any]]) -> list[str]:
    return list(session_lines((test, json.dumps([summary])) for test, summary in summaries))


def test_each_evaluation_names_its_test() -> None:
    """On its first line; what passed is shown whole."""
    assert _session(("test_a", {"ok": True, "lines": ["PASS  s", "  ok  accuracy"]})) == [
        "PASS  s  (test_a)",
        "  ok  accuracy",
    ]


def test_an_evaluation_that_failed_is_one_line() -> None:
    """It has explained itself in its test."""
    assert _session(("test_a", {"ok": False, "lines": ["FAIL  s", "  FAIL  accuracy"]})) == ["FAIL  s  (test_a)"]


def test_evaluations_are_in_the_order_of_their_tests() -> None:
    """However the workers reported them."""
    summary = {"ok": True, "lines": ["PASS  s"]}
    assert _session(("test_b", summary), ("test_a", summary)) == ["PASS  s  (test_a)", "PASS  s  (test_b)"]


def test_several_evaluations_of_one_test_are_all_shown() -> None:
    """In the order in which they were made."""
    summaries = json.dumps([{"ok": True, "lines": [f"PASS  {step}"]} for step in ("z", "a")])
    assert list(session_lines([("test_a", summaries)])) == ["PASS  z  (test_a)", "PASS  a  (test_a)"]


def test_nothing_evaluated_is_nothing_shown() -> None:
    """The section stays away."""
    assert list(session_lines([])) == []
