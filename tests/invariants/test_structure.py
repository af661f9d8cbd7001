"""The laws of steps and agents: what they find, and what they let pass."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pytest_modelroute.invariants import AgentPromise, Cascade, RoutingInvariants, RoutingRequest
from pytest_modelroute.invariants.checking import check_law
from pytest_modelroute.invariants.promises import Promises
from pytest_modelroute.invariants.scenes import Act, Scene
from pytest_modelroute.invariants.seen import Played, SeenAct
from tests.invariants.defects import structure
from tests.invariants.team_router import CorrectTeam, CorrectWorkflow
from tests.invariants.trials import asked, call, judged, played

FOUND = {
    ("workflow", structure.SmallWriter): "gpt-5-nano was asked",
    ("workflow", structure.AsksForATool): "gpt-5-nano was asked",
    ("workflow", structure.OtherLength): "gpt-5-nano was asked",
    ("workflow", structure.SecretHelper): "gpt-4.1-nano was asked too",
    ("agents", structure.AllTools): "too",
    ("agents", structure.OneModel): "it was offered refund too",
    ("agents", structure.ModelOfNobody): "gpt-4o-mini was asked",
    ("agents", structure.FreeCoordinator): "USD are missing",
}


@pytest.mark.parametrize(("law_id", "kind"), FOUND, ids=lambda value: getattr(value, "__name__", value))
def test_the_law_kills_its_defect(law_id: str, kind: type[RoutingInvariants]) -> None:
    """Each defect breaks the law that it is about, and the violation says how."""
    finding = check_law(kind, law_id)
    assert finding.violation is not None
    assert FOUND[law_id, kind] in finding.violation.seen


def test_every_defect_is_tried() -> None:
    """None of the defects is forgotten here."""
    assert {(law_id, kind) for law_id, kinds in structure.DEFECTS.items() for kind in kinds} == set(FOUND)


@pytest.mark.parametrize(("law_id", "kind"), [("workflow", CorrectWorkflow), ("agents", CorrectTeam)])
def test_it_holds_on_correct_routers(law_id: str, kind: type[RoutingInvariants]) -> None:
    """A workflow of four steps, a team of two agents."""
    assert check_law(kind, law_id, profile="quick").status == "held"


STEPS = Promises(tiers=("small", "large"), steps={"find": None, "write": "large"}, refuses=(ValueError,))
FIND, WRITE = RoutingRequest(prompt="hi", step="find"), RoutingRequest(prompt="hi", step="write")


def test_a_tool_step_may_look_things_up() -> None:
    """By an embedding; a model that answers is none."""
    assert judged("workflow", STEPS, played(asked(call("vectors", role="embedding"), request=FIND))) is None
    assert judged("workflow", STEPS, played(asked(call("small"), request=FIND))) is not None


def test_a_step_that_classifies_is_answered_by_its_classification() -> None:
    """Its one call is taken for a classification, and is by the step's own model."""
    assert judged("workflow", STEPS, played(asked(call("large", role="classifier"), request=WRITE))) is None


def test_a_step_may_refuse_as_documented() -> None:
    """And no more than that: another error without a call is none of the router's promises."""
    refused = asked(request=WRITE, outcome="raised", error=ValueError("empty"))
    assert judged("workflow", STEPS, played(refused)) is None
    crashed = asked(request=WRITE, outcome="raised", error=KeyError("write"))
    found = judged("workflow", STEPS, played(crashed))
    assert found is not None
    assert found.seen == "no model was asked, and ask raised KeyError: 'write'"


def test_a_step_in_a_cascade_may_begin_below_its_model() -> None:
    """The model of the step is where the cascade ends."""
    gated = Promises(tiers=STEPS.tiers, steps=STEPS.steps, cascade=Cascade())
    assert judged("workflow", gated, played(asked(call("small"), call("large"), request=WRITE))) is None


TEAM = Promises(
    tiers=("small", "large"),
    agents={"refunds": AgentPromise("large", ("refund",)), "shipping": AgentPromise("small", ("track",))},
    coordinator="medium",
    fallbacks={"large": ("other",)},
)


def test_a_coordinator_may_have_tools_of_its_own() -> None:
    """Such as one for each agent; those of the agents it has not."""
    assert judged("agents", TEAM, played(asked(call("medium", tools=("ask_refunds", "ask_shipping"))))) is None
    found = judged("agents", TEAM, played(asked(call("medium", tools=("refund",)))))
    assert found is not None
    assert found.expected == "medium, as the coordinator, is offered tools of its own alone"


def test_a_fallback_of_an_agent_has_the_agents_tools() -> None:
    """It stands in for it."""
    assert judged("agents", TEAM, played(asked(call("other", tools=("refund", "final_result"))))) is None
    assert judged("agents", TEAM, played(asked(call("other", tools=("track",))))) is not None


def test_a_sum_that_is_a_little_off_is_no_matter_of_the_coordinator() -> None:
    """Exact costs are another law's; here the coordinator's whole share must be missing."""
    ask = asked(call("medium", cost=Decimal("0.02")), call("small", cost=Decimal("0.01")))

    def booked(usd: str) -> object:
        scene = Scene(acts=(Act(asks=(ask.ask,)),))
        return judged(
            "agents",
            TEAM,
            Played(scene=scene, acts=(SeenAct(asks=(ask,), spent=Decimal(usd)),), spent_before=Decimal(0)),
        )

    assert booked("0.029") is None
    assert booked("0.01") is not None
