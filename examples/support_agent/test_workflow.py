"""The six steps together: who is asked, how often, and what happens when a provider is down."""

from agent import ORDERS, SETTINGS, SupportAgent
from support_models import script

from pytest_modelroute import MockProviders
from pytest_modelroute.faults import overloaded

SIMPLE = "Where is my order A-10402?"
COMPLEX = "I have written four times about the action camera, A-10438. It never came and nobody helps me."


def test_each_step_asks_its_model_once(mock_providers: MockProviders, labelled: SupportAgent) -> None:
    """A tool asks nobody, every other step asks one model, one time, and that one answers."""
    script(mock_providers)
    labelled.handle(SIMPLE)
    assert [f"{call.step}: {call.model}" for call in mock_providers.calls] == [
        "classify_intent: gpt-4.1-nano",
        "extract_entities: gpt-4.1-nano",
        "triage: gpt-4.1-mini",
        "generate_answer: gpt-4.1-mini",
        "safety_check: gpt-4.1-mini",
    ]
    assert [call.model_answered for call in mock_providers.calls] == mock_providers.calls.models


def test_the_order_is_looked_up_by_the_id_in_the_message(mock_providers: MockProviders, labelled: SupportAgent) -> None:
    """What one step finds, the next one uses."""
    script(mock_providers)
    reply = labelled.handle(SIMPLE)
    assert reply.found["lookup_order"] == ORDERS["A-10402"]


def test_an_unsafe_message_is_left_to_a_person(mock_providers: MockProviders, labelled: SupportAgent) -> None:
    """No answer is sent to a message that the safety check holds back."""
    mock_providers.on(step="safety_check").replies("unsafe")
    script(mock_providers)
    assert labelled.handle(SIMPLE).answer is None


def test_a_safety_check_that_fails_counts_as_unsafe(mock_providers: MockProviders, labelled: SupportAgent) -> None:
    """It fails closed."""
    mock_providers.on(step="safety_check").fails(overloaded())
    script(mock_providers)
    assert labelled.handle(SIMPLE).answer is None


def test_the_backup_answers_when_the_large_model_is_down(mock_providers: MockProviders, labelled: SupportAgent) -> None:
    """An outage of one provider is not the customer's."""
    mock_providers.on(model="large").fails(overloaded())
    script(mock_providers, "small", "medium", "backup")
    assert labelled.handle(COMPLEX).answer is not None
    assert mock_providers.calls.step("generate_answer").models == ["gpt-4.1", "claude-sonnet-4-5"]


def test_a_day_costs_less_than_its_budget(mock_providers: MockProviders, labelled: SupportAgent) -> None:
    """What the router books is what the calls cost, and a day is good for eight thousand simple messages."""
    script(mock_providers)
    labelled.handle(SIMPLE)
    assert labelled.router.budget is not None
    assert labelled.router.budget.spent == mock_providers.calls.cost_usd
    assert SETTINGS.budget is not None
    assert 8_000 * mock_providers.calls.cost_usd < SETTINGS.budget.daily_usd
