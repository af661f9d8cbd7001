"""Defects of workflows and agents."""

from __future__ import annotations

from pytest_modelroute.invariants import RoutingInvariants
from tests.invariants.team_router import TOOLS, CorrectTeam, CorrectWorkflow, TeamRouter, WorkflowRouter


class _SmallWriter(WorkflowRouter):
    def model_of(self, step: str, prompt: str) -> str:
        return "gpt-5-nano" if step == "write" else super().model_of(step, prompt)


class SmallWriter(CorrectWorkflow):
    """The step that writes was moved to the small model, to save."""

    router_type = _SmallWriter


class _AsksForATool(WorkflowRouter):
    def look_up(self, prompt: str) -> str:
        return self.call("gpt-5-nano", f"Which order is this about? {prompt}").content or ""


class AsksForATool(CorrectWorkflow):
    """A tool's step asks a model first."""

    router_type = _AsksForATool


class _OtherLength(WorkflowRouter):
    def model_of(self, step: str, prompt: str) -> str:
        return (
            "gpt-5"
            if step == "sum_up" and len(prompt) > 2000
            else "gpt-5-nano"
            if step == "sum_up"
            else super().model_of(step, prompt)
        )


class OtherLength(CorrectWorkflow):
    """The length from which on the large model is taken is ten times the promised one."""

    router_type = _OtherLength


class _SecretHelper(WorkflowRouter):
    def run(self, step: str, prompt: str) -> str:
        said = super().run(step, prompt)
        if step == "write":
            self.client.chat.completions.create(model="gpt-4.1-nano", messages=[{"role": "user", "content": said}])
        return said


class SecretHelper(CorrectWorkflow):
    """What is written is polished by a model that nobody declared."""

    router_type = _SecretHelper


class _AllTools(TeamRouter):
    def tools_of(self, agent: str) -> tuple[str, ...]:
        return tuple(tool for tools in TOOLS.values() for tool in tools)


class AllTools(CorrectTeam):
    """Every agent is offered the tools of all."""

    router_type = _AllTools


class _OneModel(TeamRouter):
    def model_of(self, agent: str) -> str:
        return "gpt-5-nano"


class OneModel(CorrectTeam):
    """All agents run on the model of the first one."""

    router_type = _OneModel


class _ModelOfNobody(TeamRouter):
    def model_of(self, agent: str) -> str:
        return "gpt-4o-mini" if agent == "shipping" else super().model_of(agent)


class ModelOfNobody(CorrectTeam):
    """One agent runs on a model that no agent has."""

    router_type = _ModelOfNobody
    tiers = (*CorrectTeam.tiers, "gpt-4o-mini")


class _FreeCoordinator(TeamRouter):
    def coordinate(self, prompt: str) -> str:
        before = self.spent
        agent = super().coordinate(prompt)
        self.spent = before
        return agent


class FreeCoordinator(CorrectTeam):
    """The coordinator's own calls are not counted."""

    router_type = _FreeCoordinator


DEFECTS: dict[str, list[type[RoutingInvariants]]] = {
    "workflow": [SmallWriter, AsksForATool, OtherLength, SecretHelper],
    "agents": [AllTools, OneModel, ModelOfNobody, FreeCoordinator],
}
