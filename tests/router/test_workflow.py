"""Workflows: steps in a row, what each sees, what each may fail with, and how a test labels them."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import pytest
from pydantic import BaseModel

from pytest_modelroute import CallLog, MockProviders, ModelSettings, Settings, StepSettings, faults
from pytest_modelroute.errors import BudgetExceeded, ProviderError, SettingsError, WorkflowError
from pytest_modelroute.router import (
    BudgetTracker,
    ModelClient,
    ModelRequest,
    ModelRouter,
    Step,
    Workflow,
    WorkflowResult,
)

if TYPE_CHECKING:
    from collections.abc import Callable

Intent = Literal["order", "refund"]


class Entities(BaseModel):
    """What a message is about."""

    order: int


ORDERS = {7: "sent", 8: "lost"}
USAGE = {"fresh_input": 100, "output": 10}


@pytest.fixture(scope="session")
def desk() -> Settings:
    """A support desk: a small model, a large one and a lookup."""

    def model(name: str) -> ModelSettings:
        return ModelSettings(model=name, input_price=Decimal(1), output_price=Decimal(10))

    return Settings(
        models={"small": model("gpt-small"), "large": model("gpt-large")},
        steps={
            "extract": StepSettings(model="small"),
            "lookup": StepSettings(model="none"),
            "answer": StepSettings(model="large"),
        },
    )


@pytest.fixture
def router(desk: Settings, new_client: Callable[..., ModelClient]) -> ModelRouter:
    """A router that asks each model once."""
    return ModelRouter(desk, client=new_client(desk, retries=0))


def _extract(**options: Any) -> Step:
    return Step("extract", **{"prompt": lambda run: run.inputs, "parse": Entities, **options})


def _lookup(**options: Any) -> Step:
    return Step("lookup", **{"tool": lambda run: ORDERS[run["extract"].order], **options})


def _answer(**options: Any) -> Step:
    return Step("answer", **{"prompt": lambda run: f"{run.inputs} It is {run['lookup']}.", **options})


def _script(providers: MockProviders) -> None:
    providers.on(model="gpt-small").replies('{"order": 7}', usage=USAGE)
    providers.on(model="gpt-large").replies("It is on its way.", usage=USAGE)


def test_each_step_sees_what_the_earlier_ones_found(mock_providers: MockProviders, router: ModelRouter) -> None:
    """By name, and the inputs of the run."""
    _script(mock_providers)
    result = Workflow(router, [_extract(), _lookup(), _answer()]).run("Where is 7?")
    assert result.results == {"extract": Entities(order=7), "lookup": "sent", "answer": "It is on its way."}
    assert [(call.model, call.prompt) for call in mock_providers.calls] == [
        ("gpt-small", "Where is 7?"),
        ("gpt-large", "Where is 7? It is sent."),
    ]


@pytest.mark.asyncio
async def test_a_run_in_async_code_takes_tools_of_both_kinds(mock_providers: MockProviders, desk: Settings) -> None:
    """One that is awaited and one that is not."""
    _script(mock_providers)

    async def lookup(run: WorkflowResult) -> str:
        await asyncio.sleep(1)
        return ORDERS[run["extract"].order]

    client = ModelClient(desk, keys={"openai": "k"})
    workflow = Workflow(
        ModelRouter(desk, client=client),
        [_extract(), _lookup(tool=lookup), Step("note", tool=lambda run: run["lookup"].upper()), _answer()],
    )
    result = await workflow.arun("Where is 7?")
    await client.aclose()
    assert (result["lookup"], result["note"], result["answer"]) == ("sent", "SENT", "It is on its way.")


def test_a_result_has_the_models_answers_and_their_cost(mock_providers: MockProviders, router: ModelRouter) -> None:
    """A tool has none."""
    _script(mock_providers)
    result = Workflow(router, [_extract(), _lookup(), _answer()]).run("Where is 7?")
    assert {name: answer.model for name, answer in result.responses.items()} == {
        "extract": "gpt-small",
        "answer": "gpt-large",
    }
    assert result.cost_usd == Decimal("0.0004")


def test_a_prompt_may_be_a_whole_request(mock_providers: MockProviders, router: ModelRouter) -> None:
    """Which is routed by the step, whatever it names itself."""
    _script(mock_providers)
    step = _extract(prompt=lambda run: ModelRequest(prompt=run.inputs, system="Be brief", step="answer"))
    Workflow(router, [step, _lookup(), _answer()]).run("Where is 7?")
    assert [message.text for message in mock_providers.calls[0].messages] == ["Be brief", "Where is 7?"]


def test_a_step_is_skipped_where_its_condition_says_no(mock_providers: MockProviders, router: ModelRouter) -> None:
    """Its result is None then, and nobody is asked."""
    _script(mock_providers)
    steps = [_extract(when=lambda run: "?" in run.inputs), _lookup(when=lambda run: run["extract"]), _answer()]
    result = Workflow(router, steps).run("Thank you.")
    assert (result["extract"], result["lookup"], result.skipped) == (None, None, ["extract", "lookup"])
    steps[0].when = lambda _run: True
    assert Workflow(router, steps).run("Thank you.").skipped == []


@pytest.mark.asyncio
async def test_a_step_is_skipped_in_async_code(desk: Settings) -> None:
    """Alike."""
    workflow = Workflow(ModelRouter(desk, client=ModelClient(desk, keys={})), [_extract(when=lambda _run: False)])
    assert (await workflow.arun("Thank you.")).skipped == ["extract"]


@pytest.mark.parametrize("parse", [int, lambda text: {"1": "one"}[text], Entities], ids=["type", "function", "model"])
def test_an_answer_that_cannot_be_read_is_one_error(
    mock_providers: MockProviders, router: ModelRouter, parse: Any
) -> None:
    """It names the step, what was expected, who answered and what."""
    mock_providers.on(model="gpt-small").replies("I would say 7")
    with pytest.raises(
        WorkflowError, match=r"^step 'extract': .+ was expected, but gpt-small answered 'I would say 7' \("
    ) as error:
        Workflow(router, [_extract(parse=parse)]).run("Where is 7?")
    assert error.value.step == "extract"


def test_the_error_of_an_answer_says_what_was_expected(mock_providers: MockProviders, router: ModelRouter) -> None:
    """In the words of whoever could not read it."""
    mock_providers.on(model="gpt-small").replies("x" * 500)
    with pytest.raises(WorkflowError) as error:
        Workflow(router, [_extract(parse=int)]).run("Where is 7?")
    shown = "x" * 120
    assert str(error.value).startswith(
        f"step 'extract': int was expected, but gpt-small answered '{shown}...' (ValueError: "
    )


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("Seven.", "text: Invalid JSON: expected value at line 1 column 1"),
        ('{"number": 7}', "order: Field required"),
        ('{"order": "seven"}', "order: Input should be a valid integer, unable to parse string as an integer"),
    ],
)
def test_an_answer_that_does_not_fit_a_model_names_its_fields(
    mock_providers: MockProviders, router: ModelRouter, answer: str, told: str
) -> None:
    """In one line."""
    mock_providers.on(model="gpt-small").replies(answer)
    with pytest.raises(WorkflowError) as error:
        Workflow(router, [_extract()]).run("Where is 7?")
    assert str(error.value) == f"step 'extract': Entities was expected, but gpt-small answered {answer!r} ({told})"


def test_a_failing_model_stops_the_run(mock_providers: MockProviders, router: ModelRouter) -> None:
    """The error names the step, and its cause is the model's own."""
    mock_providers.on(model="gpt-small").fails(faults.overloaded())
    with pytest.raises(WorkflowError) as error:
        Workflow(router, [_extract(), _lookup(), _answer()]).run("Where is 7?")
    assert str(error.value) == (
        "step 'extract' failed (ProviderError: gpt-small answered 503 (overloaded): Overloaded)"
    )
    assert isinstance(error.value.__cause__, ProviderError)


def test_a_failing_tool_stops_the_run(mock_providers: MockProviders, router: ModelRouter) -> None:
    """Its own error is the cause."""
    mock_providers.on(model="gpt-small").replies('{"order": 9}')
    with pytest.raises(WorkflowError, match=r"^step 'lookup' failed \(KeyError: 9\)$") as error:
        Workflow(router, [_extract(), _lookup(), _answer()]).run("Where is 9?")
    assert isinstance(error.value.__cause__, KeyError)


@pytest.mark.asyncio
async def test_a_failing_step_stops_a_run_in_async_code(mock_providers: MockProviders, desk: Settings) -> None:
    """Alike."""
    mock_providers.on(model="gpt-small").fails(faults.bad_request())
    client = ModelClient(desk, keys={"openai": "k"})
    with pytest.raises(WorkflowError, match=r"^step 'extract' failed"):
        await Workflow(ModelRouter(desk, client=client), [_extract()]).arun("Where is 7?")
    await client.aclose()


FAILING = pytest.mark.parametrize(
    ("reply", "error"),
    [(faults.overloaded(), ProviderError), ("Seven.", WorkflowError)],
    ids=["no answer", "an answer that cannot be read"],
)


@FAILING
def test_a_step_may_degrade_to_a_value(
    mock_providers: MockProviders, router: ModelRouter, reply: Any, error: type[Exception]
) -> None:
    """The run goes on, and the result says that it did."""
    mock_providers.on(model="gpt-small").replies([reply])
    mock_providers.on(model="gpt-large").replies("We look into it.")
    steps = [_extract(on_error=None), _lookup(when=lambda run: run["extract"]), _answer()]
    result = Workflow(router, steps).run("Where is 7?")
    assert (result["extract"], result["answer"], type(result.degraded["extract"])) == (None, "We look into it.", error)


@FAILING
def test_a_step_may_degrade_to_what_a_function_makes_of_the_error(
    mock_providers: MockProviders, router: ModelRouter, reply: Any, error: type[Exception]
) -> None:
    """Which is told what happened."""
    mock_providers.on(model="gpt-small").replies([reply])
    result = Workflow(router, [_extract(on_error=lambda failure: type(failure).__name__)]).run("Where is 7?")
    assert result["extract"] == error.__name__


def test_a_tool_may_degrade(mock_providers: MockProviders, router: ModelRouter) -> None:
    """Whatever it raises."""
    mock_providers.on(model="gpt-small").replies('{"order": 9}')
    assert Workflow(router, [_extract(), _lookup(on_error="unknown")]).run("Where is 9?")["lookup"] == "unknown"


def test_a_step_that_the_budget_does_not_cover_may_degrade(
    desk: Settings, new_client: Callable[..., ModelClient]
) -> None:
    """Money that is gone is an outage like any other."""
    router = ModelRouter(desk, client=new_client(desk), budget=BudgetTracker("0.0000001"))
    result = Workflow(router, [_extract(on_error=None)]).run("Where is 7?")
    assert isinstance(result.degraded["extract"], BudgetExceeded)


def test_an_answer_that_cannot_be_read_is_paid_for(mock_providers: MockProviders, router: ModelRouter) -> None:
    """The model did its work."""
    mock_providers.on(model="gpt-small").replies("Seven.", usage=USAGE)
    assert Workflow(router, [_extract(on_error=None)]).run("Where is 7?").cost_usd == Decimal("0.0002")


def test_a_mistake_in_the_settings_is_no_outage(desk: Settings) -> None:
    """It is told, whatever stands in the place of a failure."""
    router = ModelRouter(desk, client=ModelClient(desk, keys={}))
    with pytest.raises(SettingsError, match="there is no key"):
        Workflow(router, [_extract(on_error=None)]).run("Where is 7?")


def test_a_mistake_in_a_prompt_is_no_outage(router: ModelRouter) -> None:
    """A step that asks for a result that is not there yet is told so."""
    with pytest.raises(WorkflowError, match=r"^there is no result of step 'lookup' yet; so far: none$"):
        Workflow(router, [_answer(on_error=None)]).run("Where is 7?")


def test_an_async_tool_needs_an_async_run(mock_providers: MockProviders, router: ModelRouter) -> None:
    """The message says which."""
    mock_providers.on(model="gpt-small").replies('{"order": 7}')

    async def lookup(_run: WorkflowResult) -> str:
        return "sent"

    with pytest.raises(WorkflowError, match=r"^the tool of step 'lookup' is async; run the workflow with arun$"):
        Workflow(router, [_extract(), _lookup(tool=lookup)]).run("Where is 7?")


# Workflows that are put together wrongly


@pytest.mark.parametrize("options", [{}, {"prompt": str, "tool": str}, {"tool": str, "parse": int}])
def test_a_step_is_a_question_or_a_tool(options: dict[str, Any]) -> None:
    """Not both, and not neither."""
    with pytest.raises(WorkflowError) as error:
        Step("a", **options)
    assert str(error.value) == (
        "step 'a' needs either a prompt, for a model, or a tool, which is a function and needs no parse"
    )


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([_lookup(), _lookup()], "a workflow has two steps 'lookup'; results go by name, so name them apart"),
        (
            [Step("triage", prompt=str)],
            "step 'triage' has a prompt, but its settings declare no model: see [steps.triage]",
        ),
        (
            [Step("lookup", prompt=str)],
            "step 'lookup' has a prompt, but its settings declare no model: see [steps.lookup]",
        ),
        ([Step("answer", tool=str)], "step 'answer' has a tool, but its settings declare a model: see [steps.answer]"),
    ],
)
def test_a_workflow_fits_its_settings(router: ModelRouter, steps: list[Step], message: str) -> None:
    """When it is made, and not when it runs."""
    with pytest.raises(WorkflowError) as error:
        Workflow(router, steps)
    assert str(error.value) == message


def test_a_tool_needs_no_settings(router: ModelRouter) -> None:
    """It calls no model."""
    assert Workflow(router, [Step("count", tool=lambda run: len(run.inputs))]).run("abc")["count"] == 3


# Under test


def test_steps_are_labelled_without_a_change_to_the_workflow(
    mock_providers: MockProviders, call_log: CallLog, router: ModelRouter
) -> None:
    """Each step is a function that a test can attribute."""
    mock_providers.on(step="extract").replies('{"order": 7}')
    mock_providers.on(step="answer").replies("It is on its way.")
    workflow = Workflow(router, [_extract(), _lookup(), _answer()])
    extract, answer = workflow.steps["extract"], workflow.steps["answer"]
    with call_log.attribute(extract.run, step="extract"), call_log.attribute(answer.run, step="answer"):
        workflow.run("Where is 7?")
    assert [call.step for call in call_log] == ["extract", "answer"]


@pytest.mark.asyncio
async def test_steps_are_labelled_in_async_code(
    mock_providers: MockProviders, call_log: CallLog, desk: Settings
) -> None:
    """Alike."""
    mock_providers.on(step="extract").replies('{"order": 7}')
    client = ModelClient(desk, keys={"openai": "k"})
    workflow = Workflow(ModelRouter(desk, client=client), [_extract()])
    with call_log.attribute(workflow.steps["extract"].arun, step="extract"):
        await workflow.arun("Where is 7?")
    await client.aclose()
    assert call_log.step("extract").models == ["gpt-small"]


# One step by itself


def test_a_step_runs_by_itself_on_given_results(mock_providers: MockProviders, router: ModelRouter) -> None:
    """A test of one step needs none of the others."""
    mock_providers.on().replies('{"order": 7}')
    workflow = Workflow(router, [_extract(), Step("double", tool=lambda run: run["extract"] * 2)])
    assert (workflow.run_step("extract", "Where is 7?").order, workflow.run_step("double", None, extract=4)) == (7, 8)


@pytest.mark.asyncio
async def test_a_step_runs_by_itself_in_async_code(router: ModelRouter) -> None:
    """Alike."""
    workflow = Workflow(router, [Step("double", tool=lambda run: run["extract"] * 2)])
    assert await workflow.arun_step("double", None, extract=4) == 8


def test_a_step_that_there_is_not_is_answered_with_those_that_there_are(router: ModelRouter) -> None:
    """A typo is told."""
    workflow = Workflow(router, [_extract(), _lookup()])
    with pytest.raises(WorkflowError, match=r"^the workflow has no step 'extrakt'; its steps are: extract, lookup$"):
        workflow.run_step("extrakt", "x")


def test_a_workflow_has_a_step(router: ModelRouter) -> None:
    """One without would end well and do nothing."""
    with pytest.raises(WorkflowError, match=r"^a workflow without a step does nothing; give it one$"):
        Workflow(router, [])


def test_a_single_step_is_a_workflow(router: ModelRouter) -> None:
    """Without a list around it."""
    assert list(Workflow(router, _extract()).steps) == ["extract"]


def test_a_prompt_of_another_type_is_named(router: ModelRouter) -> None:
    """The function of the step returned it."""
    workflow = Workflow(router, Step("extract", prompt=lambda _run: 3))  # type: ignore[arg-type, return-value]
    with pytest.raises(WorkflowError, match=r"^the prompt of step 'extract' returned 3; a text or a ModelRequest was"):
        workflow.run("x")
