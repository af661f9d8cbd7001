"""The step, on 400 real customer queries."""

import pytest
from app import classify_intent
from scripted_models import script

from pytest_modelroute import MockProviders, StepEvaluator


@pytest.mark.step_threshold("classify_intent", min_accuracy=0.90, max_latency_ms=500)
def test_classify_intent(
    evaluate_step: StepEvaluator, mock_providers: MockProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At least nine of ten queries get the right intent, 19 of 20 within half a second."""
    monkeypatch.setenv("OPENAI_API_KEY", "not-needed")
    script(mock_providers)
    evaluate_step("cases/intents.jsonl", run=classify_intent)
