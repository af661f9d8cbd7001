"""One case in full, as --modelroute-case shows it."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_modelroute.evaluation.cases import Case
from pytest_modelroute.evaluation.results import CaseResult, StepEvaluation
from pytest_modelroute.providers.exchange import Message, ProviderReply, ProviderRequest, Usage
from pytest_modelroute.report.step import describe_case
from pytest_modelroute.wire.call_log import ProviderCall


def _result(**fields: Any) -> CaseResult:
    case = Case(id="one", inputs=fields.pop("inputs", "hi"), expected_output="a", expected_route=fields.pop("to", None))
    return CaseResult(**{"case": case, "output": "a", "score": 1.0, "passed": True, **fields})


def _described(result: CaseResult, *, step: str | None = "classify") -> list[str]:
    return describe_case(StepEvaluation(step=step, results=[result], clock="virtual")).splitlines()


def test_a_case_is_shown_with_all_that_is_known_of_it() -> None:
    """Outcome, inputs, what was expected, what came, who answered in which time, and its calls."""
    usage = Usage(fresh_input=100, output=10)
    call = ProviderCall(
        number=1,
        provider="openai",
        language="openai-chat",
        url="https://api.openai.com/v1/chat/completions",
        client="httpx",
        request=ProviderRequest(model="gpt-4.1-nano", messages=(Message(role="user", text="hi"),)),
        step="classify",
        case="one",
        started_s=0.0,
        status=200,
        reply=ProviderReply(text="b", usage=usage),
        usage=usage,
        latency_s=0.25,
        answered_by="script 1",
    )
    result = _result(output="b", score=0.0, route="gpt-4.1-nano", to=("small", "large"), elapsed_s=0.25, calls=[call])
    assert _described(result) == [
        "case 'one' of step 'classify': wrong (score 0)",
        "  inputs    hi",
        "  expected  a  (route small or large)",
        "  got       b",
        "  answered  by gpt-4.1-nano, 250 ms (virtual time)",
        "  #  at      step      case  model         status  latency  tokens in/out  cost USD   answered by",
        "  1  0.000s  classify  one   gpt-4.1-nano  200     250 ms   100/10         0.0000140  script 1",
    ]


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({}, "right"),
        ({"score": 0.5}, "wrong (score 0.5)"),
        ({"score": 0.5, "route_error": "under"}, "wrong (score 0.5)"),
        ({"route_error": "under"}, "under-routed"),
        ({"route_error": "over"}, "over-routed"),
        ({"route_error": "other"}, "took another route"),
        ({"error": "KeyError: 1", "score": None}, "ended in an error"),
    ],
)
def test_the_outcome_of_a_case_is_told_first(fields: dict[str, Any], outcome: str) -> None:
    """An error before a wrong answer, a wrong answer before a wrong route."""
    assert _described(_result(**fields))[0] == f"case 'one' of step 'classify': {outcome}"


def test_a_case_that_ended_in_an_error_shows_it() -> None:
    """There is no output to show."""
    assert _described(_result(error="KeyError: 1", output=None, score=None))[3] == "  got       KeyError: 1"


def test_a_case_without_a_call_says_so() -> None:
    """Neither a model nor a log."""
    assert _described(_result())[-2:] == ["  answered  by no model, 0 ms (virtual time)", "  no provider was called"]


def test_a_case_shows_more_of_its_values_than_a_table() -> None:
    """200 characters of the inputs."""
    assert _described(_result(inputs="x" * 300))[1] == f"  inputs    {'x' * 197}..."


def test_a_case_of_no_step_names_none() -> None:
    """An evaluation without a step has no name to show."""
    assert _described(_result(), step=None)[0] == "case 'one': right"
