"""One query, call by call: who is asked, who answers, and what it costs."""

from decimal import Decimal

import pytest
from app import classify_intent
from scripted_models import asks_for_difficulty

from pytest_modelroute import MockProviders


def test_a_hard_query_is_rated_by_the_small_model_and_answered_by_the_large_one(
    mock_providers: MockProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each answers itself, and what the customer's query costs is what their tokens cost."""
    monkeypatch.setenv("OPENAI_API_KEY", "not-needed")
    mock_providers.on(model="small", when=asks_for_difficulty).replies("HIGH", usage={"fresh_input": 90, "output": 1})
    mock_providers.on(model="large").replies("report_fraud", usage={"fresh_input": 100, "output": 3})
    assert classify_intent("somebody has been paying with my card") == "report_fraud"
    assert mock_providers.calls.models == ["gpt-4.1-nano", "gpt-4.1"]
    assert [call.model_answered for call in mock_providers.calls] == mock_providers.calls.models
    assert mock_providers.calls.cost_usd == Decimal("0.0002334")
