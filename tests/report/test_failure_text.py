"""A failed step in words, to the letter: what a tired engineer reads first."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from pytest_modelroute.evaluation.cases import MISSING, Case
from pytest_modelroute.evaluation.results import CaseResult, StepEvaluation
from pytest_modelroute.evaluation.routes import Routes
from pytest_modelroute.evaluation.thresholds import StepThreshold
from pytest_modelroute.evaluation.verdict import judge
from pytest_modelroute.providers.exchange import ProviderReply, ProviderRequest, Usage
from pytest_modelroute.providers.prices import Price, PriceBook
from pytest_modelroute.report.step import calls_of_worst, describe_failure, worst_cases
from pytest_modelroute.wire.call_log import ProviderCall

PRICES = PriceBook(
    own={
        "gpt-small": Price(input=Decimal("0.1"), output=Decimal("0.4")),
        "gpt-large": Price(input=Decimal(2), output=Decimal(8)),
    }
)
ROUTES = Routes(tiers={"gpt-small": "small", "gpt-large": "large"}, order=["small", "large"])


def _call(model: str, case: str = "one") -> ProviderCall:
    usage = Usage(fresh_input=100, output=10)
    return ProviderCall(
        number=1,
        provider="openai",
        language="openai-chat",
        url="https://api.openai.com/v1/chat/completions",
        client="httpx",
        request=ProviderRequest(model=model, messages=()),
        step="classify",
        case=case,
        started_s=0.0,
        status=200,
        reply=ProviderReply(text="x", usage=usage),
        usage=usage,
        prices=PRICES,
    )


def _result(id: str = "one", expected: object = "a", output: object = "a", **fields: Any) -> CaseResult:  # noqa: A002
    case = Case(
        id=id,
        inputs=fields.pop("inputs", f"text of {id}"),
        expected_output=expected,
        expected_route=fields.pop("expected_route", None),
        golden=fields.pop("golden", False),
    )
    score = None if fields.get("error") else float(expected == output)
    route = fields.get("route")
    calls = [_call(route, id)] if route else ()
    return CaseResult(
        **{"case": case, "output": output, "score": score, "passed": score == 1, "calls": calls, **fields}
    )


def _evaluation(*results: CaseResult, step: str | None = "classify") -> StepEvaluation:
    return StepEvaluation(step=step, results=results, clock="virtual", routes=ROUTES)


def _failure(
    *results: CaseResult, step: str | None = "classify", confidence: float | None = None, **limits: float
) -> str:
    evaluation = _evaluation(*results, step=step)
    threshold = StepThreshold(step="classify", limits=limits, confidence=confidence) if limits else None
    return describe_failure(evaluation, judge(evaluation, threshold), test="tests/test_app.py::test_intents")


def _lines(text: str, start: str) -> list[str]:
    """The block that begins with this line."""
    block = text[text.index(start) :]
    return block.partition("\n\n")[0].splitlines()


def test_a_failure_reads_from_the_verdict_to_the_next_command() -> None:
    """Verdict, limits with the broken ones first, errors, worst cases, confusion, misroutes, models, command."""
    results = [
        _result("hello", "greeting", "greeting", route="gpt-small", elapsed_s=0.1),
        _result(
            "card", "fraud", "bill", route="gpt-small", elapsed_s=0.1, expected_route="large", route_error="under",
            golden=True,
        ),
        _result("pay", "bill", "bill", route="gpt-large", elapsed_s=0.3, expected_route="small", route_error="over"),
        _result("order", "order", "bill", route="gpt-small", elapsed_s=0.1),
        _result("empty", "none", None, error="ValueError: empty text at app.py:7, in classify: raise ValueError"),
    ]  # fmt: skip
    assert (
        _failure(*results, max_latency_ms=500, min_accuracy=0.9, max_misroute_rate=0.5)
        == """\
step 'classify' misses its limit: accuracy 0.500 < 0.90, misroute rate 1.000 > 0.50; \
5 cases, 1 ended in an error, virtual time
  FAIL  accuracy 0.500 (2/4, 95% 0.150 to 0.850)  limit min_accuracy=0.90
  FAIL  misroute rate 1.000 (2/2, 95% 0.342 to 1.000)  limit max_misroute_rate=0.50
  ok    p95 latency 300 ms (n=4, 95% 100 to unbounded)  limit max_latency_ms=500

1 of 5 cases ended in an error (not counted as wrong answers):
  case 'empty': ValueError: empty text at app.py:7, in classify: raise ValueError

worst cases (2 wrong, 2 misrouted):
  case   expected  got   answered by  expected route  inputs
  card   fraud     bill  gpt-small    large           text of card
  order  order     bill  gpt-small                    text of order
  pay    bill      bill  gpt-large    small           text of pay
confusion that cost most: 1 case of 'fraud' was taken for 'bill' (by gpt-small 1)
misroutes: 1.000 (2/2, 95% 0.342 to 1.000); under-routed 1, over-routed 1
  1 x expected large, went to gpt-small (under-routed)
  1 x expected small, went to gpt-large (over-routed)

by model that answered:
  model      cases  right  accuracy  95%             cost USD
  gpt-small  3      1      0.333     0.061 to 0.792  0.000042
  gpt-large  1      1      1.000     0.207 to 1.000  0.00028

rerun one case: pytest tests/test_app.py::test_intents --modelroute-case=empty"""
    )


def test_a_failure_of_time_alone_names_the_slowest_cases() -> None:
    """Where every answer is right there is no worst case, and the slowest ones are the lead."""
    assert _failure(_result(elapsed_s=0.6), max_latency_ms=500) == (
        "step 'classify' misses its limit: p95 latency 600 ms > 500; 1 case, virtual time\n"
        "  FAIL  p95 latency 600 ms (n=1, too few cases for an interval)  limit max_latency_ms=500\n"
        "\n"
        "slowest cases:\n"
        "  case  elapsed  cost USD  calls  answered by  inputs\n"
        "  one   600 ms   0         0      no model     text of one\n"
        "\n"
        "rerun one case: pytest tests/test_app.py::test_intents --modelroute-case=one"
    )


def test_a_failure_by_errors_alone_misses_no_limit() -> None:
    """The headline says failed, the errors say why."""
    assert _failure(_result(error="KeyError: 1"), min_accuracy=1) == (
        "step 'classify' failed: 1 case, 1 ended in an error, virtual time\n"
        "\n"
        "1 of 1 cases ended in an error (not counted as wrong answers):\n"
        "  case 'one': KeyError: 1\n"
        "\n"
        "rerun one case: pytest tests/test_app.py::test_intents --modelroute-case=one"
    )


def test_an_evaluation_without_a_step_has_no_name() -> None:
    """It is called the evaluation."""
    assert _failure(_result(error="KeyError: 1"), step=None).startswith("the evaluation failed: 1 case, ")


@pytest.mark.parametrize(("count", "shown"), [(3, 3), (4, 4), (9, 4)])
def test_a_few_errors_stand_for_many(count: int, shown: int) -> None:
    """Three are shown, and how many more there are."""
    text = _failure(*(_result(str(number), error="KeyError: 1") for number in range(count)))
    assert len(_lines(text, f"{count} of {count} cases")) == 1 + shown


def test_the_errors_that_are_not_shown_are_counted() -> None:
    """Nine are three and six more."""
    text = _failure(*(_result(str(number), error="KeyError: 1") for number in range(9)))
    assert _lines(text, "9 of 9 cases")[-1] == "  ... 6 more"


def test_an_error_of_many_lines_is_one_line() -> None:
    """The message of an exception may be a page."""
    text = _failure(_result(error="ValueError: first\n  second\n" + "x" * 400))
    assert _lines(text, "1 of 1 cases")[1] == f"  case 'one': ValueError: first second {'x' * 272}..."


def test_at_most_five_worst_cases_are_shown() -> None:
    """The headline of the list counts all."""
    text = _failure(*(_result(str(number), "a", "b") for number in range(9)), min_accuracy=1)
    assert len(_lines(text, "worst cases (9 wrong):")) == 1 + 1 + 5 + 1


def test_the_worst_case_has_the_lowest_score() -> None:
    """Then golden ones come first, then under-routed ones."""
    results = [
        _result("half", score=0.5, golden=True),
        _result("over", score=0.0, route_error="over"),
        _result("under", score=0.0, route_error="under"),
        _result("golden", score=0.0, golden=True),
        _result("right", score=1.0),
        _result("misrouted", score=1.0, route_error="other"),
        _result("error", error="KeyError: 1"),
    ]
    worst = worst_cases(_evaluation(*results))
    assert [result.case.id for result in worst] == ["golden", "under", "over", "half", "misrouted"]


def test_long_and_multi_line_values_stay_on_their_line() -> None:
    """A table of the worst cases is a table, whatever the model answered."""
    result = _result("one", "e" * 50, "first\nsecond " + "o" * 50, inputs={"text": "line\nline", "more": "x" * 99})
    assert _lines(_failure(result, min_accuracy=1), "worst cases")[2] == (
        f"  one   {'e' * 29}...  first second {'o' * 16}...  no model     "
        "{'text': 'line\\nline', 'more': 'xxxxxxxxxxxxx..."
    )


def test_the_commonest_confusion_is_told_with_its_models() -> None:
    """Where one model makes most of a confusion, that is the lead."""
    results = [_result(str(number), "fraud", "bill", route="gpt-small") for number in range(3)]
    results += [_result("4", "fraud", "bill", route="gpt-large"), _result("5", "bill", "fraud", route="gpt-large")]
    assert (
        "confusion that cost most: 4 cases of 'fraud' were taken for 'bill' (by gpt-small 3, gpt-large 1)"
        in _failure(*results, min_accuracy=1).splitlines()
    )


def test_one_case_is_no_cases() -> None:
    """A single confusion is told in the singular."""
    assert "confusion that cost most: 1 case of 'a' was taken for 'b'" in _failure(
        _result("1", "a", "b"), min_accuracy=1
    )


def test_an_answer_that_the_scorer_finds_right_is_no_confusion() -> None:
    """With a scorer such as contains, a right answer may differ from the expected text."""
    right = [_result(str(number), "fraud", "It is fraud.", score=1.0) for number in range(3)]
    text = _failure(*right, _result("wrong", "bill", "No idea.", score=0.0), min_accuracy=1)
    assert "confusion that cost most: 1 case of 'bill'" in text


def test_without_expected_outputs_there_is_no_confusion() -> None:
    """A scorer of the user's own may need none, and then no label was taken for another."""
    assert "confusion" not in _failure(_result("one", MISSING, "a", score=0.0), min_accuracy=1)


def test_misroutes_that_reached_no_model_are_told() -> None:
    """Another route is a route too."""
    text = _failure(_result(expected_route=("small", "large"), route_error="other"), max_misroute_rate=0)
    assert _lines(text, "misroutes:") == [
        "misroutes: 1.000 (1/1, 95% 0.207 to 1.000); under-routed 0, over-routed 0",
        "  1 x expected small or large, went to no model (another route)",
    ]


def test_the_four_commonest_misroutes_are_told() -> None:
    """Most first."""
    results = [
        _result(f"{kind}{number}", expected_route=f"m{kind}", route_error="other")
        for kind in range(6)
        for number in range(kind + 1)
    ]
    lines = _lines(_failure(*results, max_misroute_rate=0), "misroutes:")[1:]
    assert [line.split(" went")[0] for line in lines] == [f"  {n} x expected m{n - 1}," for n in (6, 5, 4, 3)]


def test_right_routes_have_no_line_on_misroutes() -> None:
    """Nothing is said where nothing is wrong."""
    assert "misroutes" not in _failure(_result("one", "a", "b", expected_route="small"), min_accuracy=1)


def test_a_model_without_a_price_has_an_unknown_cost() -> None:
    """The table of models is shown all the same."""
    text = _failure(_result("one", "a", "b", route="house-model"), min_accuracy=1)
    assert _lines(text, "by model")[-1].endswith("  unknown")


def test_where_every_case_ended_in_an_error_no_model_answered() -> None:
    """A heading without a table is left out."""
    assert "by model that answered" not in _failure(_result(error="KeyError: 1", route="gpt-small"), min_accuracy=1)


def test_a_limit_judged_with_confidence_says_so() -> None:
    """The bound that was compared stands beside the estimate."""
    text = _failure(*[_result()] * 10, confidence=0.9, min_accuracy=0.9)
    assert text.splitlines()[1] == (
        "  FAIL  accuracy 1.000 (10/10, 90% 0.787 to 1.000, judged by the bound 0.787)  limit min_accuracy=0.90"
    )


@pytest.mark.parametrize("case", ["what's up", "a 'b'"])
def test_the_command_can_be_pasted_whatever_the_id(case: str) -> None:
    """A shell reads it back as pytest, the test and the option."""
    command = _failure(_result(case, error="KeyError: 1")).splitlines()[-1].removeprefix("rerun one case: ")
    assert shlex.split(command) == ["pytest", "tests/test_app.py::test_intents", f"--modelroute-case={case}"]


def _evidence(*results: CaseResult, **limits: float) -> list[str | None]:
    evaluation = _evaluation(*results)
    threshold = StepThreshold(step="classify", limits=limits) if limits else None
    return _cases_of(calls_of_worst(evaluation, judge(evaluation, threshold)))


def _cases_of(calls: Sequence[ProviderCall]) -> list[str | None]:
    return [call.case for call in calls]


def test_the_evidence_is_the_calls_of_errors_and_worst_cases() -> None:
    """Errors first; right cases are no evidence."""
    results = [
        _result("right", route="gpt-small"),
        _result("wrong", "a", "b", route="gpt-small"),
        _result("error", error="KeyError: 1", route="gpt-small"),
    ]
    assert _evidence(*results) == ["error", "wrong"]


def test_the_evidence_is_of_three_cases_at_most() -> None:
    """More calls than that are read by nobody."""
    results = [_result(str(number), "a", "b", route="gpt-small") for number in range(5)]
    assert _evidence(*results) == ["0", "1", "2"]


def test_a_failure_of_cost_names_the_dearest_cases() -> None:
    """Most expensive first."""
    text = _failure(_result("cheap", route="gpt-small"), _result("dear", route="gpt-large"), max_cost_usd=0.0001)
    assert [line.split()[0] for line in _lines(text, "dearest cases:")[2:]] == ["dear", "cheap"]


def test_an_expected_output_that_is_missing_is_blank() -> None:
    """The column is left out where no case has one."""
    text = _failure(_result("one", MISSING, "a", score=0.0), min_accuracy=1)
    assert _lines(text, "worst cases")[1].split() == ["case", "got", "answered", "by", "inputs"]


def test_the_evidence_of_a_missed_latency_is_the_slowest_cases() -> None:
    """Right cases too, as they are the ones to look at."""
    results = [_result(str(number), route="gpt-small", elapsed_s=number) for number in range(5)]
    assert _evidence(*results, max_latency_ms=500) == ["4", "3", "2"]
