"""Whether each part of the work is done by the model that was chosen for it: the steps of a workflow, and agents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from pytest_modelroute.invariants.law import Law, Violation, register
from pytest_modelroute.invariants.promises import AgentPromise, Promises
from pytest_modelroute.invariants.requests import RoutingRequest
from pytest_modelroute.invariants.scenes import Behaviour, Good, Scene, Script, one
from pytest_modelroute.invariants.seen import SeenAsk, SeenCall, Trial
from pytest_modelroute.providers.exchange import ToolCall

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from pytest_modelroute.invariants.atlas import Atlas

_MODELS_OWN: Final = ("answer", "classifier", "judge")
"Roles that ask a model for an answer; what looks something up is none."


def _workflow_scenes(promises: Promises, _atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import labels, plain_requests

    def build(request: RoutingRequest, step: str, label: str | None, long: int) -> Sequence[Scene]:
        asked = replace(request, step=step, prompt=request.prompt * long)
        return [one(asked, label=label)]

    lengths = st.sampled_from((1, 1, 1, 30))
    return st.builds(
        build, plain_requests(promises), st.sampled_from(sorted(promises.steps or {})), labels(promises), lengths
    )


def _workflow(promises: Promises, trial: Trial) -> Violation | None:
    (played,) = trial
    ask = played.only
    step = ask.ask.request.step
    if step is None or step not in (promises.steps or {}) or isinstance(ask.error, promises.refuses):
        return None
    declared: Any = (promises.steps or {})[step]
    model: Any = declared(ask.ask.request) if callable(declared) else declared
    if model is None:
        return _tool_step(ask, step)
    return _model_step(promises, ask, step, str(model)) or _undeclared(promises, ask, step, str(model))


def _tool_step(ask: SeenAsk, step: str) -> Violation | None:
    for call in ask.calls:
        if call.role in _MODELS_OWN:
            return Violation(
                expected=f"no model at all for the step {step!r}, which is a tool's",
                seen=f"{call.model} was asked",
                counts={call.number: "a tool step needs no model"},
            )
    return None


def _model_step(promises: Promises, ask: SeenAsk, step: str, model: str) -> Violation | None:
    """
    The first model that answers a step is its own.

    Where the step is itself a classification, its call is one; a cascade may begin below it.
    """
    calls = ask.answering or ask.calls
    if calls and (calls[0].model == model or promises.cascade is not None):
        return None
    seen = f"{calls[0].model} was asked" if calls else "no model was asked"
    if ask.error is not None and not calls:
        seen += f", and ask raised {type(ask.error).__name__}: {ask.error}"
    return Violation(
        expected=f"{model} for the step {step!r}",
        seen=seen,
        counts={calls[0].number: f"{model} was expected"} if calls else {},
    )


def _undeclared(promises: Promises, ask: SeenAsk, step: str, model: str) -> Violation | None:
    for call in ask.answering:
        if call.model not in promises.known_models | {model}:
            return Violation(
                expected=f"nobody but {model} for the step {step!r}, and models that were declared",
                seen=f"{call.model} was asked too",
                counts={call.number: "this model was never declared"},
                advice="declare judges, guards and rewriters as helpers",
            )
    return None


register(
    Law(
        id="workflow",
        family="structure",
        says="each step of a workflow asks the model that it was given, and a tool's step asks none.",
        why="one edit moves a cheap step to a dear model, or a hard one to a weak model, and only the bill says so.",
        needs=("steps",),
        when=lambda promises: promises.load_balanced is None,
        advice="look at where the step's model is looked up, and at its default",
        scenes=_workflow_scenes,
        judge=_workflow,
    )
)


def _agents_scenes(promises: Promises, atlas: Atlas) -> SearchStrategy[Sequence[Scene]]:
    from hypothesis import strategies as st

    from pytest_modelroute.invariants.strategies import ways

    agents, reached = promises.agents or {}, ways(promises, atlas)
    named = st.sampled_from(sorted(agents))
    asks = st.sampled_from(("{prompt}", "Let the {agent} do this: {prompt}", "{agent}: {prompt}"))

    def build(way: Any, agent: str, form: str, script: Script) -> Sequence[Scene]:
        prompt = form.format(agent=agent.replace("_", " "), prompt=way.request.prompt)
        return [replace(way, request=replace(way.request, prompt=prompt)).scene(script)]

    return st.builds(build, reached, named, asks, _delegations(promises))


def _delegations(promises: Promises) -> SearchStrategy[Script]:
    """
    The coordinator hands the work to an agent, in one of the usual forms: its name, a plan in JSON, a call of a tool.

    Where the class says what models answer, that is how it is done, and nothing is made up.
    """
    from hypothesis import strategies as st

    coordinator, agents = promises.coordinator, sorted(promises.agents or {})
    if coordinator is None or promises.answers is not None:
        return st.just(Script())
    firsts: list[Good] = [Good(text=name) for name in agents]
    for name in agents:
        task = {"agent": name, "task": "Where is my order?"}
        firsts += [
            Good(text=name),
            Good(text=f'{{"agent": "{name}", "task": "Where is my order?"}}'),
            Good(text="", tool_calls=(ToolCall(name=name, arguments={"task": task["task"]}),)),
        ]

    def build(first: Good) -> Script:
        row: tuple[Behaviour, ...] = (first, Good())
        return Script(models={coordinator: row})

    return st.sampled_from(firsts).map(build)


def _agents(promises: Promises, trial: Trial) -> Violation | None:
    (played,) = trial
    ask = played.only
    for call in ask.answering:
        found = next(_wrong_agent(promises, call), None)
        if found is not None:
            return found
    spent, before = played.acts[0].spent, played.spent_before
    booked = None if spent is None or before is None else spent - before
    return _coordinator_unpaid(promises, ask, booked)


def _wrong_agent(promises: Promises, call: SeenCall) -> Iterator[Violation]:
    agents: Mapping[str, AgentPromise] = promises.agents or {}
    own = [agent.model for agent in agents.values()] + ([promises.coordinator] if promises.coordinator else [])
    models = {follower for model in own for follower in promises.chain(model)}
    if call.model not in models:
        yield Violation(
            expected=f"a model of an agent or of the coordinator: {', '.join(sorted(models))}",
            seen=f"{call.model} was asked",
            counts={call.number: "no agent has this model"},
        )
    owned = {tool for agent in agents.values() for tool in agent.tools}
    offered = set(call.tools) & owned
    its_own = [name for name, agent in agents.items() if call.model in promises.chain(agent.model)]
    if offered and not any(offered <= set(agents[name].tools) for name in its_own):
        whose = " or ".join(its_own) or "the coordinator"
        extra = sorted(offered - {tool for name in its_own for tool in agents[name].tools}) or sorted(offered)
        yield Violation(
            expected=f"{call.model}, as {whose}, is offered tools of its own alone"
            + (f" ({', '.join(sorted(agents[its_own[0]].tools)) or 'none'})" if len(its_own) == 1 else ""),
            seen=f"it was offered {', '.join(extra)} too",
            counts={call.number: f"offers {', '.join(call.tools)}"},
        )


def _coordinator_unpaid(promises: Promises, ask: SeenAsk, booked: Decimal | None) -> Violation | None:
    """What the coordinator asks itself is booked as well."""
    costs = [(call, call.cost) for call in ask.calls]
    own = sum((cost or Decimal(0) for call, cost in costs if call.model == promises.coordinator), Decimal(0))
    if booked is None or any(cost is None for _, cost in costs) or not own:
        return None
    total = sum((cost or Decimal(0) for _, cost in costs), Decimal(0))
    if booked >= total - own / 2:
        return None
    return Violation(
        expected=f"{total:f} USD booked, the coordinator's own calls among them",
        seen=f"{booked:f} USD were booked: {total - booked:f} USD are missing",
        counts={call.number: "the coordinator's own" for call, _ in costs if call.model == promises.coordinator},
        advice="book the coordinator's calls where those of the agents are booked",
    )


register(
    Law(
        id="agents",
        family="structure",
        says="each sub-task runs on an agent's model with its tools alone; the coordinator's own calls count.",
        why="an agent with a tool of another can do what nobody allowed, and on a wrong model it costs or fails more.",
        needs=("agents",),
        advice="look at where the model and the tools of an agent are read, and at what is shared among agents",
        scenes=_agents_scenes,
        judge=_agents,
        examples=1.5,
    )
)
