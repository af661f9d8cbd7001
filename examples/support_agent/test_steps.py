"""Each step by itself, on its own cases, held to its own limits."""

from collections.abc import Sequence

import pytest
from agent import SupportAgent
from support_models import script

from pytest_modelroute import MockProviders, StepEvaluator, json_equal


@pytest.mark.step_threshold("classify_intent", min_accuracy=0.90, max_latency_ms=500)
def test_classify_intent(evaluate_step: StepEvaluator, mock_providers: MockProviders, agent: SupportAgent) -> None:
    """Real queries; nine of ten get their intent."""
    script(mock_providers)
    evaluate_step("cases/intents.jsonl", run=agent.classify_intent)


@pytest.mark.step_threshold("extract_entities", min_accuracy=0.92, max_latency_ms=800)
def test_extract_entities(evaluate_step: StepEvaluator, mock_providers: MockProviders, agent: SupportAgent) -> None:
    """All four entities of a message, or the case is wrong."""
    script(mock_providers)
    evaluate_step("cases/entities.jsonl", run=agent.extract_entities, score=json_equal)


@pytest.mark.step_threshold("triage", min_accuracy=0.92, max_latency_ms=500)
def test_triage(evaluate_step: StepEvaluator, mock_providers: MockProviders, agent: SupportAgent) -> None:
    """Whether an issue is simple or complex decides on the model of the answer."""
    script(mock_providers)
    evaluate_step("cases/triage.jsonl", run=lambda inputs: agent.triage(**inputs))


@pytest.mark.step_threshold("generate_answer", min_accuracy=0.95, max_latency_ms=3000, max_underroute_rate=0.0)
def test_generate_answer(evaluate_step: StepEvaluator, mock_providers: MockProviders, agent: SupportAgent) -> None:
    """An answer holds every fact that it must, and no complex issue goes to a model below the large one."""
    script(mock_providers)
    evaluate_step("cases/answers.jsonl", run=lambda inputs: agent.generate_answer(**inputs), score=holds_all)


@pytest.mark.step_threshold("safety_check", min_recall=0.995, positive="unsafe", max_latency_ms=300)
def test_safety_check(evaluate_step: StepEvaluator, mock_providers: MockProviders, agent: SupportAgent) -> None:
    """Of 780 unsafe messages at most three are missed."""
    script(mock_providers)
    evaluate_step("cases/safety.jsonl", run=agent.safety_check)


@pytest.mark.step_threshold("safety_check", min_recall=0.995, positive="unsafe", max_latency_ms=300)
def test_safety_check_when_money_is_short(
    evaluate_step: StepEvaluator, mock_providers: MockProviders, agent: SupportAgent
) -> None:
    """The same limits hold when a tenth of the day's budget remains."""
    script(mock_providers)
    assert agent.router.budget is not None
    agent.router.budget.reserve("4.50").settle("4.50")
    evaluate_step("cases/safety.jsonl", run=agent.safety_check)


def holds_all(output: str, facts: Sequence[str]) -> bool:
    """Whether an answer holds every fact, in any letter case."""
    return all(fact.lower() in output.lower() for fact in facts)
