"""Agents: who works on what with which model and tools, what it costs, and what is no agent's to do."""

from __future__ import annotations

import json
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import settings as law
from hypothesis import strategies as st

from pytest_modelroute import MockProviders, ModelSettings, ProviderCall, Reply, Settings, ToolCall, Usage, faults
from pytest_modelroute.errors import AgentError, BudgetExceeded, ProviderError, SettingsError
from pytest_modelroute.router import Agent, BudgetTracker, Coordinator, FunctionTool, ModelClient, ModelRouter

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_modelroute import VirtualTime
    from pytest_modelroute.router import CoordinatorResult

USAGE = Usage(fresh_input=100, output=10)
EACH = Decimal("0.0002")
"USD of a call of USAGE."
ASKED = "Where is order 7, and may I send it back?"
NAMES = {"boss": "gpt-boss", "quick": "gpt-quick", "deep": "claude-deep"}


def find_order(number: int, detail: str = "state") -> str:
    """Find an order."""
    return f"{detail} of {number}: on its way"


def refund_rules(country: str) -> dict[str, int]:
    """The rules for sending something back."""
    return {country: 14}


ORDERS = Agent(
    "orders", model="quick", tools=(find_order,), description="Knows where orders are.", instructions="Be brief."
)
RULES = Agent("rules", model="deep", tools=(refund_rules,), description="Knows the rules.")


@pytest.fixture(scope="session")
def staff() -> Settings:
    """A model for the coordinator and one for each agent, of two providers."""
    return Settings(
        models={
            alias: ModelSettings(model=name, input_price=Decimal(1), output_price=Decimal(10))
            for alias, name in NAMES.items()
        }
    )


@pytest.fixture
def router(staff: Settings, new_client: Callable[..., ModelClient]) -> ModelRouter:
    """A router without a budget."""
    return ModelRouter(staff, client=new_client(staff, retries=0))


@pytest.fixture
def desk(router: ModelRouter) -> Coordinator:
    """A coordinator with both agents."""
    return Coordinator(router, [ORDERS, RULES], model="boss")


def _calls(*calls: tuple[str, dict[str, Any]]) -> Reply:
    """An answer that asks for tools."""
    called = (ToolCall(name=name, arguments=given, id=f"call_{name}") for name, given in calls)
    return Reply(text="", tool_calls=tuple(called), usage=USAGE)


def _says(text: str) -> Reply:
    return Reply(text=text, usage=USAGE)


def _both_work(providers: MockProviders) -> None:
    """The coordinator asks both agents in one turn; each uses its tool once."""
    providers.on(model="gpt-boss").replies(
        [_calls(("orders", {"task": "Find order 7"}), ("rules", {"task": "Swiss refunds"})), _says("On its way; yes.")]
    )
    providers.on(model="gpt-quick").replies([_calls(("find_order", {"number": 7})), _says("It is on its way.")])
    providers.on(model="claude-deep").replies([_calls(("refund_rules", {"country": "CH"})), _says("Two weeks.")])


def test_each_sub_task_runs_on_its_agents_model(mock_providers: MockProviders, desk: Coordinator) -> None:
    """And the coordinator puts the answers together."""
    _both_work(mock_providers)
    result = desk.run(ASKED)
    assert mock_providers.calls.models == [
        "gpt-boss",
        "gpt-quick",
        "gpt-quick",
        "claude-deep",
        "claude-deep",
        "gpt-boss",
    ]
    assert (result.text, result.response.model) == ("On its way; yes.", "gpt-boss")
    assert [(done.agent, done.task, done.answer, done.model, done.tools) for done in result.tasks] == [
        ("orders", "Find order 7", "It is on its way.", "gpt-quick", ("find_order",)),
        ("rules", "Swiss refunds", "Two weeks.", "claude-deep", ("refund_rules",)),
    ]


def test_a_model_is_offered_its_own_tools_alone(mock_providers: MockProviders, desk: Coordinator) -> None:
    """To the coordinator's model the agents are tools."""
    _both_work(mock_providers)
    desk.run(ASKED)
    assert {call.model: [tool.name for tool in call.tools] for call in mock_providers.calls} == {
        "gpt-boss": ["orders", "rules"],
        "gpt-quick": ["find_order"],
        "claude-deep": ["refund_rules"],
    }


def test_a_model_sees_what_its_calls_found(mock_providers: MockProviders, desk: Coordinator) -> None:
    """Results of tools, as text or JSON, and the answers of the agents; and nothing of what others were told."""
    _both_work(mock_providers)
    desk.run(ASKED)
    bodies = {call.model: call.request.body["messages"] for call in mock_providers.calls}
    assert bodies["gpt-quick"][:2] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Find order 7"},
    ]
    assert bodies["gpt-quick"][3]["content"] == "state of 7: on its way"
    assert bodies["claude-deep"][2]["content"][0]["content"] == '{"CH":14}'
    assert [message["content"] for message in bodies["gpt-boss"][-2:]] == ["It is on its way.", "Two weeks."]


@pytest.mark.asyncio
async def test_async_code_has_the_same(mock_providers: MockProviders, desk: Coordinator) -> None:
    """Same answer, same calls, same bill."""
    _both_work(mock_providers)
    result = await desk.arun(ASKED)
    assert (result.text, len(mock_providers.calls), result.cost_usd) == ("On its way; yes.", 6, 6 * EACH)


def test_the_coordinators_own_calls_are_on_the_bill(mock_providers: MockProviders, desk: Coordinator) -> None:
    """And each call is noted once, under who made it."""
    _both_work(mock_providers)
    result = desk.run(ASKED)
    metrics = desk.router.metrics
    noted = {name: metrics.totals(name).cost_usd for name in ("coordinator", "orders", "rules")}
    assert noted == dict.fromkeys(noted, 2 * EACH)
    assert result.cost_usd == metrics.totals().cost_usd == 6 * EACH
    assert metrics.totals("coordinator").models == {"gpt-boss": 2}


def test_calls_are_held_to_the_budget(
    mock_providers: MockProviders, staff: Settings, new_client: Callable[..., ModelClient]
) -> None:
    """Each is reserved before it is made; the error says who was at work."""
    mock_providers.on(model="gpt-boss").replies(_calls(("orders", {"task": "Find order 7"})))
    mock_providers.on(model="gpt-quick").replies(_calls(("find_order", {"number": 7})))
    budget = BudgetTracker("0.0013")  # a call is reserved at some 0.00105
    router = ModelRouter(staff, client=new_client(staff), budget=budget, answer_tokens=100)
    desk = Coordinator(router, [ORDERS, RULES], model="boss")
    with pytest.raises(BudgetExceeded) as error:
        desk.run(ASKED)
    assert error.value.__notes__ == ["while agent 'orders' worked on 'Find order 7'"]
    assert (budget.spent, budget.reserved) == (2 * EACH, Decimal(0))


def test_a_model_may_answer_without_an_agent(mock_providers: MockProviders, desk: Coordinator) -> None:
    """Then nobody else is asked."""
    mock_providers.on(model="gpt-boss").replies("Hello!")
    result = desk.run("Hi")
    assert (result.text, result.tasks) == ("Hello!", ())


def test_an_agent_that_does_not_exist_is_an_error(mock_providers: MockProviders, desk: Coordinator) -> None:
    """Nobody takes the task in its place."""
    mock_providers.on(model="gpt-boss").replies(_calls(("refunds", {"task": "Pay"})))
    with pytest.raises(AgentError) as error:
        desk.run(ASKED)
    assert str(error.value) == (
        "'coordinator' asked for the agent 'refunds', which does not exist; its agents are: orders, rules"
    )
    assert error.value.agent == "coordinator"


@pytest.mark.parametrize("given", [{}, {"task": ""}, {"task": 7}, {"task": "x", "model": "gpt-5"}], ids=json.dumps)
def test_an_agent_needs_a_task(mock_providers: MockProviders, desk: Coordinator, given: dict[str, Any]) -> None:
    """And takes nothing else."""
    mock_providers.on(model="gpt-boss").replies(_calls(("orders", given)))
    with pytest.raises(AgentError) as error:
        desk.run(ASKED)
    assert str(error.value) == (
        f"'coordinator' called the agent 'orders' with {given!r}; a task, which is a text, was expected"
    )


def _one_call(providers: MockProviders, desk: Coordinator, name: str, given: dict[str, Any]) -> CoordinatorResult:
    """The agent of the orders makes one call of a tool, after which both models would answer."""
    providers.on(model="gpt-boss", optional=True).replies([_calls(("orders", {"task": "Find it"})), _says("Done.")])
    providers.on(model="gpt-quick", optional=True).replies([_calls((name, given)), _says("Found.")])
    return desk.run(ASKED)


def test_a_tool_of_another_agent_is_an_error(mock_providers: MockProviders, desk: Coordinator) -> None:
    """It is not run, though somebody has it."""
    with pytest.raises(AgentError) as error:
        _one_call(mock_providers, desk, "refund_rules", {"country": "CH"})
    assert str(error.value) == (
        "agent 'orders' asked for the tool 'refund_rules', which it does not have; its tools are: find_order"
    )
    assert (error.value.agent, error.value.__notes__) == ("orders", ["while agent 'orders' worked on 'Find it'"])


def test_an_agent_without_tools_says_so(mock_providers: MockProviders, router: ModelRouter) -> None:
    """None is a list too."""
    desk = Coordinator(router, [Agent("orders", model="quick")], model="boss")
    with pytest.raises(AgentError, match=r"'look', which it does not have; its tools are: none\n"):
        _one_call(mock_providers, desk, "look", {})


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"number": "seven"}, "number: Input should be a valid integer, unable to parse string as an integer"),
        ({}, "number: Field required"),
        ({"number": 7, "all": True}, "all: Extra inputs are not permitted"),
    ],
    ids=["wrong", "missing", "unknown"],
)
def test_arguments_that_do_not_fit_are_an_error(
    mock_providers: MockProviders, desk: Coordinator, given: dict[str, Any], wrong: str
) -> None:
    """The function is not called with them."""
    with pytest.raises(AgentError) as error:
        _one_call(mock_providers, desk, "find_order", given)
    assert str(error.value) == (f"agent 'orders' called its tool 'find_order' with arguments that do not fit: {wrong}")


def test_arguments_that_are_left_out_are_the_functions_own(mock_providers: MockProviders, desk: Coordinator) -> None:
    """And those that are given are given by name."""
    _one_call(mock_providers, desk, "find_order", {"detail": "price", "number": 7})
    assert mock_providers.calls[2].request.body["messages"][-1]["content"] == "price of 7: on its way"


def _fail() -> str:
    raise LookupError("no such order")


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (_fail, "the tool '_fail' of agent 'orders' failed (LookupError: no such order)"),
        (
            partial(object),
            (
                "the tool 'tool' of agent 'orders' returned what is neither text nor JSON: Unable to serialize unknown "
                "type: <class 'object'>"
            ),
        ),
    ],
    ids=["raises", "returns"],
)
def test_a_tool_that_fails_is_an_error(
    mock_providers: MockProviders, router: ModelRouter, function: Callable[..., Any], problem: str
) -> None:
    """The model is not left to guess what came of it."""
    name = getattr(function, "__name__", "tool")
    agent = Agent("orders", model="quick", tools=(FunctionTool(function, name=name),))
    with pytest.raises(AgentError) as error:
        _one_call(mock_providers, Coordinator(router, [agent], model="boss"), name, {})
    assert str(error.value) == problem


def test_the_turns_of_an_agent_are_limited(mock_providers: MockProviders, router: ModelRouter) -> None:
    """What the last one asks for is not done any more."""
    desk = Coordinator(router, [ORDERS], model="boss", max_turns=3)
    mock_providers.on(model="gpt-boss").replies(_calls(("orders", {"task": "Find it"})))
    mock_providers.on(model="gpt-quick").replies(_calls(("find_order", {"number": 7})))
    with pytest.raises(AgentError) as error:
        desk.run(ASKED)
    assert str(error.value) == (
        "'orders' has no answer after 3 turns; the last one asked for find_order, which was not done"
    )
    assert mock_providers.calls.models == ["gpt-boss", *["gpt-quick"] * 3]


def test_the_turns_of_the_coordinator_are_limited(mock_providers: MockProviders, router: ModelRouter) -> None:
    """So that a model which delegates for ever ends."""
    desk = Coordinator(router, [ORDERS], model="boss", max_turns=2)
    mock_providers.on(model="gpt-boss").replies(_calls(("orders", {"task": "Find it"})))
    mock_providers.on(model="gpt-quick").replies("Found.")
    with pytest.raises(AgentError, match=r"^'coordinator' has no answer after 2 turns"):
        desk.run(ASKED)
    assert mock_providers.calls.models == ["gpt-boss", "gpt-quick", "gpt-boss"]


def test_a_model_that_fails_is_the_providers_error(mock_providers: MockProviders, desk: Coordinator) -> None:
    """With who was at work; what was spent until then is noted."""
    mock_providers.on(model="gpt-boss").replies(_calls(("orders", {"task": "Find it"})))
    mock_providers.on(model="gpt-quick").fails(faults.overloaded())
    with pytest.raises(ProviderError) as error:
        desk.run(ASKED)
    assert (error.value.kind, error.value.__notes__) == ("overloaded", ["while agent 'orders' worked on 'Find it'"])
    records = desk.router.metrics.records
    assert [(record.step, record.error) for record in records] == [("coordinator", None), ("orders", "overloaded")]
    assert desk.router.metrics.totals().cost_usd == EACH


def test_a_deadline_holds_for_all_calls_together(
    mock_providers: MockProviders, desk: Coordinator, virtual_time: VirtualTime
) -> None:
    """Those of the agents too."""
    mock_providers.on(model="gpt-boss").replies(_calls(("orders", {"task": "Find it"})), latency=4)
    mock_providers.on(model="gpt-quick").replies("Found.", latency=60)
    with pytest.raises(ProviderError) as error:
        desk.run(ASKED, deadline=10)
    assert (error.value.kind, virtual_time.now) == ("timeout", 10.0)


def _with_everything(schema: str, model_fields: list[int] = [], *, copy: bool = False) -> None:  # noqa: B006
    """Parameters that are named like what pydantic's models have."""


def test_a_tool_is_described_by_its_function() -> None:
    """By its docstring and its annotations, whatever its parameters are called."""
    offer = FunctionTool(_with_everything).offer
    assert (offer.name, offer.description) == (
        "_with_everything",
        "Parameters that are named like what pydantic's models have.",
    )
    properties = offer.parameters["properties"]
    assert {name: schema["type"] for name, schema in properties.items()} == {
        "schema": "string",
        "model_fields": "array",
        "copy": "boolean",
    }
    assert (offer.parameters["required"], offer.parameters["additionalProperties"]) == (["schema"], False)


async def _async_tool() -> None: ...


def _unnamed(*orders: int) -> None: ...


def _unreadable(order: MockProviders) -> None: ...


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (
            lambda: Agent("the boss", model="quick"),
            r"^an agent has the name 'the boss'; 1 to 64 letters, digits, _ and - were expected$",
        ),
        (lambda: FunctionTool(lambda: 1), r"^a tool has the name '<lambda>'; 1 to 64 letters"),
        (lambda: FunctionTool(_async_tool), r"^the tool '_async_tool' is async; tools are plain functions$"),
        (
            lambda: FunctionTool(_unnamed),
            r"^the tool '_unnamed' has the parameter '\*orders'; a model gives each by its name, so name them$",
        ),
        (lambda: FunctionTool(_unreadable), r"^the parameters of the tool '_unreadable' cannot be read: "),
        (
            lambda: Agent("orders", model="quick", tools=(find_order, find_order)),
            r"^agent 'orders' has two tools 'find_order'; name them apart$",
        ),
    ],
)
def test_what_cannot_be_offered_to_a_model_is_refused(make: Callable[[], Any], problem: str) -> None:
    """When it is made, and not in the middle of a request."""
    with pytest.raises(AgentError, match=problem):
        make()


@pytest.mark.parametrize(
    ("agents", "options", "problem"),
    [
        ([], {}, "a coordinator without an agent coordinates nobody; give it one"),
        ([ORDERS, ORDERS], {}, "two agents, or an agent and the coordinator, have the name 'orders'"),
        ([ORDERS], {"name": "orders"}, "two agents, or an agent and the coordinator, have the name 'orders'"),
        ([ORDERS], {"max_turns": 0}, "max_turns is a number of calls, 1 or more, not 0"),
    ],
)
def test_a_coordinator_is_checked_before_any_request(
    router: ModelRouter, agents: list[Agent], options: dict[str, Any], problem: str
) -> None:
    """One message each."""
    with pytest.raises(AgentError) as error:
        Coordinator(router, agents, model="boss", **options)
    assert str(error.value) == problem


@pytest.mark.parametrize(("model", "own"), [("boss", "odd"), ("odd", "boss")])
def test_a_model_that_the_settings_do_not_know_is_refused(router: ModelRouter, model: str, own: str) -> None:
    """The coordinator's and an agent's."""
    with pytest.raises(SettingsError, match="there is no model 'odd' in the settings"):
        Coordinator(router, [Agent("orders", model=own)], model=model)


@law(deadline=None, max_examples=25)
@given(
    turns=st.lists(st.lists(st.sampled_from(["orders", "rules"]), min_size=1, max_size=3), max_size=3),
    uses=st.integers(0, 2),
)
def test_every_sub_task_is_its_agents_and_every_call_is_booked_once(
    stage: Callable[..., Any],
    staff: Settings,
    new_client: Callable[..., ModelClient],
    turns: list[list[str]],
    uses: int,
) -> None:
    """However the coordinator delegates, and however often an agent uses its tool."""
    budget = BudgetTracker(1)
    router = ModelRouter(staff, client=new_client(staff), budget=budget)
    tools: dict[str, tuple[str, dict[str, Any]]] = {
        "gpt-quick": ("find_order", {"number": 7}),
        "claude-deep": ("refund_rules", {"country": "CH"}),
    }

    def works(call: ProviderCall) -> Reply:
        results = str(call.request.body["messages"]).count("call_")
        # A result and the call that it answers name the same id.
        return _calls(tools[call.model]) if results < 2 * uses else _says("Done.")

    with stage() as (providers, _):
        delegations = [_calls(*((name, {"task": f"Do {name}"}) for name in turn)) for turn in turns]
        providers.on(model="gpt-boss").replies([*delegations, _says("All done.")])
        for model in tools:
            providers.on(model=model, optional=True).replies(works)
        result = Coordinator(router, [ORDERS, RULES], model="boss").run(ASKED)
        calls = list(providers.calls)
    asked = [name for turn in turns for name in turn]
    model_of = {"orders": "gpt-quick", "rules": "claude-deep"}
    assert [(done.agent, done.model, len(done.tools)) for done in result.tasks] == [
        (name, model_of[name], uses) for name in asked
    ]
    assert len(calls) == len(turns) + 1 + len(asked) * (uses + 1) == len(router.metrics.records)
    assert result.cost_usd == budget.spent == router.metrics.totals().cost_usd == len(calls) * EACH
    assert budget.reserved == 0
