"""
Agents: each a model with instructions and tools of its own, and a coordinator that hands sub-tasks to them.

To the coordinator's model the agents are tools: it calls one by its name with a task, reads what it found, and answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pytest_modelroute.errors import AgentError, ModelRouteError
from pytest_modelroute.providers.exchange import Message, Tool, ToolCall
from pytest_modelroute.providers.language import show
from pytest_modelroute.router.calls import Bill, RequestContext
from pytest_modelroute.router.requests import ModelRequest, ModelResponse
from pytest_modelroute.router.routine import Routine
from pytest_modelroute.router.tools import FunctionTool, check_name

if TYPE_CHECKING:
    from pytest_modelroute.router.router import ModelRouter

INSTRUCTIONS: Final = (
    "You coordinate agents. Hand each part of the request to the agent that fits it, by calling that agent with a task "
    "that says everything it needs to know. When you have what you need, answer the request yourself."
)
_TASK: Final = {
    "type": "object",
    "properties": {"task": {"type": "string", "description": "What the agent is to do; it sees nothing else."}},
    "required": ["task"],
    "additionalProperties": False,
}
_Do: TypeAlias = Callable[[ToolCall], Routine[str]]


@dataclass(frozen=True, slots=True)
class Agent:
    """A model with instructions, and with tools that no other agent has unless they are given to it too."""

    name: str
    _: KW_ONLY
    model: str
    "The alias of its model."
    tools: Sequence[FunctionTool | Callable[..., Any]] = ()
    "Plain functions, sync; each is wrapped in a FunctionTool."
    description: str = ""
    "What the coordinator's model is told of it."
    instructions: str | None = None
    "Its system prompt."

    def __post_init__(self) -> None:
        """Refuse names that providers refuse, and two tools of one name."""
        check_name(self.name, "an agent")
        tools = tuple(tool if isinstance(tool, FunctionTool) else FunctionTool(tool) for tool in self.tools)
        names = [tool.name for tool in tools]
        for name in names:
            if names.count(name) > 1:
                raise AgentError(f"agent {self.name!r} has two tools {name!r}; name them apart", agent=self.name)
        object.__setattr__(self, "tools", tools)

    def tool(self, name: str) -> FunctionTool:
        """Its tool of that name; AgentError where it has none, whoever else may have it."""
        for tool in self.tools:
            if isinstance(tool, FunctionTool) and tool.name == name:
                return tool
        known = ", ".join(tool.name for tool in self.tools if isinstance(tool, FunctionTool)) or "none"
        raise AgentError(
            f"agent {self.name!r} asked for the tool {name!r}, which it does not have; its tools are: {known}",
            agent=self.name,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SubTask:
    """What an agent was asked to do, and what it answered."""

    agent: str
    task: str
    answer: str
    model: str
    "Its model, as named on the wire."
    tools: tuple[str, ...]
    "The tools that it used, in order."


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinatorResult:
    """The coordinator's answer, and the sub-tasks behind it."""

    text: str
    tasks: tuple[SubTask, ...]
    "In the order in which they were done; none where the coordinator's model answered by itself."
    response: ModelResponse
    "The last one of the coordinator's model; its bill is that of all calls."

    @property
    def cost_usd(self) -> Decimal:
        """USD of all calls: the coordinator's own and those of the agents. PriceUnknown where a model has no price."""
        return self.response.cost_usd


class Coordinator:
    """
    Hands the parts of a request to agents, over a router.

    Every call is held to the router's budget and noted in its metrics, under the name of the agent, or of the
    coordinator, in place of a step. Its model is not chosen by the budget's ladder: an agent works on its own model.
    """

    def __init__(
        self,
        router: ModelRouter,
        agents: Iterable[Agent],
        *,
        model: str,
        name: str = "coordinator",
        instructions: str = INSTRUCTIONS,
        max_turns: int = 8,
    ) -> None:
        """
        Ask nobody yet.

        Args:
            router: Sends, books and notes the calls.
            agents: Who can be handed a sub-task.
            model: The alias of the coordinator's own model, which has to take tools.
            name: What its own calls are noted under.
            instructions: Its system prompt.
            max_turns: How often the coordinator's model is asked at the most, and an agent's for one sub-task.

        Raises:
            AgentError: No agent, two of one name, or one with the coordinator's; or no turn.
            SettingsError: A model that the settings do not know.

        """
        self.router = router
        self.agents: dict[str, Agent] = {}
        self.name = check_name(name, "a coordinator")
        for agent in agents:
            if agent.name in (name, *self.agents):
                raise AgentError(f"two agents, or an agent and the coordinator, have the name {agent.name!r}")
            self.agents[agent.name] = agent
        if not self.agents:
            raise AgentError("a coordinator without an agent coordinates nobody; give it one")
        if type(max_turns) is not int or max_turns < 1:
            raise AgentError(f"max_turns is a number of calls, 1 or more, not {max_turns!r}")
        for alias in (model, *(agent.model for agent in self.agents.values())):
            router.settings.model(alias)
        self._model = model
        self._instructions = instructions
        self._max_turns = max_turns

    def run(self, prompt: str, *, deadline: float | None = None) -> CoordinatorResult:
        """
        Answer a request.

        Args:
            prompt: What is asked.
            deadline: Seconds that all calls together may take; the client's where left out.

        Raises:
            AgentError: A model asked for an agent that does not exist or a tool that its agent does not have, a tool
                failed, or there is no answer after `max_turns`.
            ProviderError: A model did not answer.
            BudgetExceeded: What remains of the day's budget does not cover a call.

        """
        tasks: list[SubTask] = []
        response = self.router.client.run(self._work(prompt, deadline, tasks))
        return CoordinatorResult(text=response.text, tasks=tuple(tasks), response=response)

    async def arun(self, prompt: str, *, deadline: float | None = None) -> CoordinatorResult:
        """Do the same in async code; the sub-tasks of a turn are done one after the other here too."""
        tasks: list[SubTask] = []
        response = await self.router.client.arun(self._work(prompt, deadline, tasks))
        return CoordinatorResult(text=response.text, tasks=tuple(tasks), response=response)

    def _work(self, prompt: str, deadline: float | None, tasks: list[SubTask]) -> Routine[ModelResponse]:
        offers = tuple(
            Tool(name=agent.name, description=agent.description, parameters=_TASK) for agent in self.agents.values()
        )
        request = ModelRequest(prompt=prompt, system=self._instructions, tools=offers, deadline=deadline)
        context = self.router.client.context(request)
        speaker = _Speaker(self.router, self.name, self._model, self._max_turns)

        def hand_over(call: ToolCall) -> Routine[str]:
            agent, task = self._assignment(call)
            done = yield from self._done(agent, task, context)
            tasks.append(done)
            return done.answer

        response = yield from speaker.converse(request, context, hand_over)
        return replace(response, bill=Bill.of(context.attempts, response.bill.prices))

    def _assignment(self, call: ToolCall) -> tuple[Agent, str]:
        """Who is to do what."""
        if call.name not in self.agents:
            raise AgentError(
                f"{self.name!r} asked for the agent {call.name!r}, which does not exist; its agents are: "
                f"{', '.join(self.agents)}",
                agent=self.name,
            )
        task = call.arguments.get("task")
        if not isinstance(task, str) or not task.strip() or len(call.arguments) > 1:
            raise AgentError(
                f"{self.name!r} called the agent {call.name!r} with {dict(call.arguments)!r}; a task, which is a text, "
                "was expected",
                agent=self.name,
            )
        return self.agents[call.name], task

    def _done(self, agent: Agent, task: str, context: RequestContext) -> Routine[SubTask]:
        """A sub-task, on the agent's model and with its tools alone."""
        used: list[str] = []

        def use(call: ToolCall) -> Routine[str]:
            tool = agent.tool(call.name)
            used.append(tool.name)
            return _at_once(tool.run(call.arguments, agent.name))

        offers = tuple(tool.offer for tool in agent.tools if isinstance(tool, FunctionTool))
        request = ModelRequest(prompt=task, system=agent.instructions, tools=offers)
        speaker = _Speaker(self.router, agent.name, agent.model, self._max_turns)
        try:
            response = yield from speaker.converse(request, context, use)
        except ModelRouteError as error:
            error.add_note(f"while agent {agent.name!r} worked on {show(task)}")
            raise
        return SubTask(agent=agent.name, task=task, answer=response.text, model=response.model, tools=tuple(used))


@dataclass(slots=True)
class _Speaker:
    """A model that is asked until it answers without a call."""

    router: ModelRouter
    name: str
    model: str
    max_turns: int
    _said: list[Message] = field(default_factory=list[Message])

    def converse(self, request: ModelRequest, context: RequestContext, do: _Do) -> Routine[ModelResponse]:
        turn = 0
        while True:
            so_far = replace(request, turns=tuple(self._said))
            response = yield from self.router.asking(self.model, so_far, context, step=self.name)
            turn += 1
            if not response.tool_calls:
                return response
            if turn == self.max_turns:
                break
            yield from self._answer_calls(response, do)
        asked = ", ".join(call.name for call in response.tool_calls)
        raise AgentError(
            f"{self.name!r} has no answer after {self.max_turns} turns; the last one asked for {asked}, which was not "
            "done",
            agent=self.name,
        )

    def _answer_calls(self, response: ModelResponse, do: _Do) -> Routine[None]:
        self._said.append(Message(role="assistant", text=response.text, tool_calls=response.tool_calls))
        for call in response.tool_calls:
            found = yield from do(call)
            self._said.append(Message(role="tool", text=found, result_of=call))


def _at_once(text: str) -> Routine[str]:
    """A result that took no call of a model."""
    yield from ()
    return text
