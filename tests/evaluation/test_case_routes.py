"""The route of a case: which of its calls answered, and whether that was right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from pytest_modelroute.errors import CasesError
from pytest_modelroute.evaluation.attempts import Bench
from pytest_modelroute.evaluation.evaluate import StepEvaluator
from pytest_modelroute.evaluation.results import CaseResult
from pytest_modelroute.evaluation.routes import Routes
from pytest_modelroute.providers.exchange import ProviderReply, ProviderRequest
from pytest_modelroute.providers.prices import PriceBook
from pytest_modelroute.wire.call_log import CallLog, ProviderCall
from pytest_modelroute.wire.exchanges import Wire
from pytest_modelroute.wire.labels import current_label

ROUTES = Routes(
    aliases={"gpt-nano": ["judge"], "gpt-small": ["cheap"], "gpt-large": ["good"]},
    tiers={"gpt-small": "small", "gpt-mini": "small", "gpt-large": "large"},
    order=["small", "large"],
    helpers=frozenset({"gpt-nano"}),
)


def _call(model: str) -> None:
    """Log a call as the wire does; a model with ! is down, one with ~ embeds."""
    label = current_label()
    assert label is not None
    assert label.calls is not None
    name = model.rstrip("!~")
    label.calls.append(
        ProviderCall(
            number=1,
            provider="openai",
            language="openai-chat",
            url="https://api.openai.com/v1/chat/completions",
            client="httpx",
            request=ProviderRequest(model=name, messages=()),
            step=label.step,
            case=label.case,
            started_s=0.0,
            embeds=model.endswith("~"),
            status=503 if model.endswith("!") else 200,
            error="overloaded" if model.endswith("!") else None,
            reply=None if model.endswith("!") else ProviderReply(text="x"),
        )
    )


def _evaluate(
    models: Sequence[str],
    *,
    routes: Routes = ROUTES,
    expected: Any = None,
    route: Callable[[CallLog], str | None] | None = None,
) -> CaseResult:
    """The result of a case that calls these models, one after the other."""

    def run(_inputs: object) -> None:
        for model in models:
            _call(model)

    bench = Bench(wire=Wire(prices=PriceBook()), conclude=lambda _evaluation, _verdict: None, routes=routes)
    case = {"id": "one", "inputs": "a", "expected_output": None, "expected_route": expected}
    (result,) = StepEvaluator(bench)([case], run=run, route=route).results
    return result


@pytest.mark.parametrize(
    ("models", "route"),
    [
        (["gpt-small"], "gpt-small"),
        (["gpt-small", "gpt-large"], "gpt-large"),
        (["gpt-large", "gpt-small!"], "gpt-large"),
        (["gpt-large!", "gpt-small"], "gpt-small"),
        (["gpt-large!"], None),
        ([], None),
    ],
    ids=["one", "cascade", "last failed", "fallback", "all failed", "none"],
)
def test_the_last_call_that_completed_is_the_route(models: list[str], route: str | None) -> None:
    """A model that failed did not answer."""
    assert _evaluate(models).route == route


@pytest.mark.parametrize(
    ("models", "route"),
    [
        (["embedder~", "gpt-large"], "gpt-large"),
        (["gpt-large", "embedder~"], "gpt-large"),
        (["gpt-large!", "embedder~"], None),
        (["embedder~"], None),
    ],
    ids=["before", "after", "after a failure", "alone"],
)
def test_an_embedding_is_never_the_route(models: list[str], route: str | None) -> None:
    """It answers nothing, whether or not the settings name its model a helper."""
    assert _evaluate(models).route == route


def test_an_embedding_is_no_escalation() -> None:
    """A case that was embedded and answered needed one tier."""
    assert not _evaluate(["embedder~", "gpt-large"]).escalated


@pytest.mark.parametrize("models", [["gpt-nano", "gpt-large"], ["gpt-large", "gpt-nano"]], ids=["before", "after"])
def test_a_model_that_helps_is_not_the_route(models: list[str]) -> None:
    """A classifier before and a judge after the answer do not count."""
    assert _evaluate(models).route == "gpt-large"


def test_a_model_that_both_classifies_and_answers_is_the_route() -> None:
    """Where nothing but a helper was called, its last call is the answer."""
    assert _evaluate(["gpt-nano", "gpt-nano"]).route == "gpt-nano"


def test_a_helper_is_not_the_route_where_the_model_that_was_to_answer_failed() -> None:
    """A classifier that completed has not answered."""
    assert _evaluate(["gpt-nano", "gpt-large!"]).route is None


def test_without_settings_no_model_is_a_helper() -> None:
    """The last completed call counts, whatever it was for."""
    assert _evaluate(["gpt-large", "gpt-nano"], routes=Routes()).route == "gpt-nano"


def test_a_function_may_tell_the_route() -> None:
    """It is given the calls of the case, and wins."""
    assert _evaluate(["gpt-small", "gpt-large"], route=lambda calls: calls[0].model).route == "gpt-small"


def test_a_function_may_tell_that_there_is_no_route() -> None:
    """None means that no model answered."""
    assert _evaluate(["gpt-small"], route=lambda _calls: None, expected="small").route_error == "other"


@pytest.mark.parametrize(
    ("model", "expected", "error"),
    [
        ("gpt-small", "gpt-small", None),
        ("gpt-small", "cheap", None),
        ("gpt-small", "small", None),
        ("gpt-large", ["small", "good"], None),
        ("gpt-small", "large", "under"),
        ("gpt-large", "small", "over"),
        ("gpt-large", None, None),
    ],
)
def test_a_route_is_judged_by_the_names_of_the_settings(model: str, expected: Any, error: str | None) -> None:
    """Model, alias or tier; several where each is fine; nothing where nothing is expected."""
    assert _evaluate([model], expected=expected).route_error == error


@pytest.mark.parametrize(
    ("models", "escalated"),
    [
        (["gpt-small", "gpt-large"], True),
        (["gpt-small!", "gpt-large"], True),
        (["gpt-small", "gpt-mini"], False),
        (["gpt-small", "gpt-small"], False),
        (["gpt-nano", "gpt-large"], False),
        ([], False),
    ],
    ids=["two tiers", "fallback", "one tier", "retry", "helper", "none"],
)
def test_a_case_escalated_where_more_than_one_tier_was_called(models: list[str], escalated: bool) -> None:
    """Helpers are of no tier; two models of one tier are one."""
    assert _evaluate(models).escalated is escalated


def test_a_route_that_the_settings_do_not_know_is_refused() -> None:
    """A typo in a case would be a misroute for ever."""
    with pytest.raises(CasesError) as caught:
        _evaluate([], expected=["small", "larg"])
    assert str(caught.value) == (
        "case 'one': expected_route 'larg' is no model, alias or tier of the settings; did you mean 'large'?"
    )


def test_without_settings_any_route_may_be_expected() -> None:
    """Models are then known by their own names."""
    assert _evaluate(["gpt-9"], routes=Routes(), expected="gpt-9").route_error is None


def test_a_call_keeps_the_case_it_belongs_to() -> None:
    """The evidence of a failure is found by it."""
    assert [call.case for call in _evaluate(["gpt-small"]).calls] == ["one"]
