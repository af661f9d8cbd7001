"""The intent of real messages, named by a real model that was recorded: asked in two ways, whole and in pieces."""

import pytest

from examples.real_model.app import IntentDesk
from pytest_modelroute import CallLog, StepEvaluator


@pytest.mark.usefixtures("recorded_providers")
@pytest.mark.step_threshold("classify_intent", min_accuracy=0.50, max_total_cost_usd=0.002, max_latency_ms=2000)
def test_classify_intent(evaluate_step: StepEvaluator, call_log: CallLog, intents: IntentDesk, way: str) -> None:
    """Half of the messages get their intent, which is what a model of this size is good for; no other one steps in."""
    evaluate_step("cases/intents.jsonl", run=lambda message: intents.ask(message, way))
    assert {call.model_answered for call in call_log} == {"smollm2-135m"}


@pytest.mark.usefixtures("recorded_providers")
@pytest.mark.step_threshold("classify_intent", min_accuracy=0.50, max_latency_ms=2000)
def test_classify_intent_streamed(evaluate_step: StepEvaluator, intents: IntentDesk, way: str) -> None:
    """The same in pieces; no limit on the cost, since this server reports no usage in a stream."""
    evaluate_step("cases/intents.jsonl", run=lambda message: intents.ask(message, way, stream=True))
