"""Five ways in which a change breaks the routing of the application, and none of its ordinary tests."""

from collections.abc import Callable
from typing import Any

import agent
from agent import SETTINGS, SupportAgent

from pytest_modelroute.config import Settings
from pytest_modelroute.router import ModelRequest, WorkflowResult


def edited(table: str, name: str, **values: Any) -> Settings:
    """The settings with one entry changed."""
    entries = dict(getattr(SETTINGS, table))
    entries[name] = entries[name].model_copy(update=values)
    return SETTINGS.model_copy(update={table: entries})


class LabelMapEdited(SupportAgent):
    """Somebody saves money: complex issues go to the medium model too."""

    def answer_prompt(self, so_far: WorkflowResult) -> ModelRequest:
        """As before, but for the tier."""
        prompt = super().answer_prompt(so_far).prompt
        return agent.ask("generate_answer", prompt, max_tokens=300, explicit_category="medium")


class TriageAskedTwice(SupportAgent):
    """The answer asks triage once more, as its result was not at hand."""

    def answer_prompt(self, so_far: WorkflowResult) -> ModelRequest:
        """As before, after another question."""
        intent = so_far.results.get("classify_intent", "oos")
        self.workflow.run_step("triage", so_far.inputs, classify_intent=intent)
        return super().answer_prompt(so_far)


def fallback_keeps_the_primarys_model() -> SupportAgent:
    """The backup's entry was copied, and its model forgotten: the other provider is asked for a model it never had."""
    return SupportAgent(edited("models", "backup", provider="anthropic", model="gpt-4.1"))


def safety_check_is_downgraded() -> SupportAgent:
    """The step is no longer critical, so that a low budget sends it to the small model."""
    return SupportAgent(edited("steps", "safety_check", critical=False))


def triage_on_the_wrong_tier() -> SupportAgent:
    """Triage goes to the small model."""
    return SupportAgent(edited("steps", "triage", model="small"))


VERSIONS: dict[str, Callable[[], SupportAgent]] = {
    "good": SupportAgent,
    "label_map_edited": LabelMapEdited,
    "fallback_keeps_the_primarys_model": fallback_keeps_the_primarys_model,
    "safety_check_is_downgraded": safety_check_is_downgraded,
    "triage_on_the_wrong_tier": triage_on_the_wrong_tier,
    "triage_asked_twice": TriageAskedTwice,
}
