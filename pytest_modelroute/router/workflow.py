"""Workflows: steps in a row, each answered by its model or done by a tool, each seeing what the earlier ones found."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from pytest_modelroute.errors import BudgetExceeded, ModelRouteError, ProviderError, WorkflowError
from pytest_modelroute.providers.language import show
from pytest_modelroute.router.requests import ModelRequest, ModelResponse

if TYPE_CHECKING:
    from pytest_modelroute.router.router import ModelRouter


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowResult:
    """What the steps of a run found so far; given to every function of a step, and the result of the whole run."""

    inputs: Any
    results: dict[str, Any] = field(default_factory=dict[str, Any])
    "Step -> its result; None for one that was skipped."
    responses: dict[str, ModelResponse] = field(default_factory=dict[str, ModelResponse])
    "Step -> the model's answer, for the steps that have one."
    skipped: list[str] = field(default_factory=list[str])
    degraded: dict[str, Exception] = field(default_factory=dict[str, Exception])
    "Step -> the error in whose place its `on_error` stands."

    def __getitem__(self, step: str) -> Any:
        """The result of a step that ran before; WorkflowError where none of that name did."""
        if step not in self.results:
            raise WorkflowError(f"there is no result of step {step!r} yet; so far: {', '.join(self.results) or 'none'}")
        return self.results[step]

    @property
    def cost_usd(self) -> Decimal:
        """USD of the answers; PriceUnknown where a model has no price."""
        return sum((response.cost_usd for response in self.responses.values()), Decimal(0))


class Step:
    """
    One step: a question to the model that the settings name for it, or a tool, which is a function and calls no model.

    `run` and `arun` do it; a test labels its calls by `call_log.attribute(step.run, step=step.name)`.
    """

    def __init__(
        self,
        name: str,
        *,
        prompt: Callable[[WorkflowResult], str | ModelRequest] | None = None,
        tool: Callable[[WorkflowResult], Any] | None = None,
        parse: Callable[[str], Any] | type[Any] | None = None,
        when: Callable[[WorkflowResult], bool] | None = None,
        on_error: Any = "stop",
    ) -> None:
        """
        Do nothing yet.

        Args:
            name: The step of the settings, which decides on its model.
            prompt: What the model is asked, or the whole request.
            tool: What is done in place of a question; may be async, for `arun`.
            parse: Reads the result from the answer: a function of the text, or a pydantic model of its JSON.
            when: Whether the step is done at all; it is skipped where this says no.
            on_error: "stop" lets an error end the run. Anything else takes the place of the result, or makes it: a
                function of the error.

        Raises:
            WorkflowError: Neither a prompt nor a tool, or both; or a tool with `parse`.

        """
        if (prompt is None) == (tool is None) or (tool is not None and parse is not None):
            raise WorkflowError(
                f"step {name!r} needs either a prompt, for a model, or a tool, which is a function and needs no parse",
                step=name,
            )
        self.name = name
        self.tool = tool
        self.when = when
        self.on_error = on_error
        self._prompt = prompt
        self._parse = parse

    def run(self, router: ModelRouter, so_far: WorkflowResult) -> Any:
        """The model's answer (ModelResponse), or what the tool returns."""
        if self.tool is None:
            return router.route(self._request(so_far))
        result = self.tool(so_far)
        if inspect.iscoroutine(result):
            result.close()
            raise WorkflowError(f"the tool of step {self.name!r} is async; run the workflow with arun")
        return result

    async def arun(self, router: ModelRouter, so_far: WorkflowResult) -> Any:
        """Do the same in async code."""
        if self.tool is None:
            return await router.aroute(self._request(so_far))
        result = self.tool(so_far)
        return await result if inspect.isawaitable(result) else result

    def read(self, response: ModelResponse) -> Any:
        """The result in an answer; a WorkflowError that shows the answer where there is none in it."""
        if self._parse is None:
            return response.text
        read: Callable[[str], Any] = getattr(self._parse, "model_validate_json", self._parse)
        try:
            return read(response.text)
        except Exception as error:
            wanted = getattr(self._parse, "__name__", repr(self._parse))
            raise WorkflowError(
                f"step {self.name!r}: {wanted} was expected, but {response.model} answered {show(response.text)} "
                f"({_told(error)})",
                step=self.name,
            ) from error

    def _request(self, so_far: WorkflowResult) -> ModelRequest:
        assert self._prompt is not None  # noqa: S101 - a step has one or the other, for the type checker
        asked: Any = self._prompt(so_far)
        if not isinstance(asked, str | ModelRequest):
            raise WorkflowError(
                f"the prompt of step {self.name!r} returned {asked!r}; a text or a ModelRequest was expected"
            )
        return ModelRequest(prompt=asked, step=self.name) if isinstance(asked, str) else replace(asked, step=self.name)


class Workflow:
    """Steps that run in their order over one router, which knows each step's model, fallbacks and importance."""

    def __init__(self, router: ModelRouter, steps: Iterable[Step] | Step) -> None:
        """
        Ask nobody yet.

        Args:
            router: Routes the steps that have a model.
            steps: In the order in which they run.

        Raises:
            WorkflowError: Two steps of one name, a step with a prompt that the settings give no model, or a tool for
                one that they give a model.

        """
        self.router = router
        self.steps: dict[str, Step] = {}
        steps = [steps] if isinstance(steps, Step) else list(steps)
        if not steps:
            raise WorkflowError("a workflow without a step does nothing; give it one")
        for step in steps:
            if step.name in self.steps:
                raise WorkflowError(f"a workflow has two steps {step.name!r}; results go by name, so name them apart")
            declared = router.settings.steps.get(step.name)
            has_model = declared is not None and declared.model != "none"
            if has_model == (step.tool is not None):
                given = "declare a model" if has_model else "declare no model"
                has = "a tool" if step.tool is not None else "a prompt"
                raise WorkflowError(f"step {step.name!r} has {has}, but its settings {given}: see [steps.{step.name}]")
            self.steps[step.name] = step

    def run(self, inputs: Any) -> WorkflowResult:
        """
        Run the steps.

        Args:
            inputs: What the functions of the steps find as `so_far.inputs`.

        Raises:
            WorkflowError: A step failed, and its `on_error` is "stop"; the step's own error is its cause.

        """
        so_far = WorkflowResult(inputs=inputs)
        for step in self.steps.values():
            if not _skips(step, so_far):
                self._do(step, so_far)
        return so_far

    async def arun(self, inputs: Any) -> WorkflowResult:
        """Do the same in async code."""
        so_far = WorkflowResult(inputs=inputs)
        for step in self.steps.values():
            if not _skips(step, so_far):
                await self._ado(step, so_far)
        return so_far

    def run_step(self, name: str, inputs: Any, **results: Any) -> Any:
        """
        Run one step by itself, as a test of it does; its `when` is not asked.

        Args:
            name: Which step.
            inputs: What its functions find as `so_far.inputs`.
            results: The results of the earlier steps that it uses, by their names.

        Returns:
            Its result: what its `parse` reads, or what its `on_error` puts in that place.

        Raises:
            WorkflowError: There is no such step, or it failed and its `on_error` is "stop".

        """
        so_far = WorkflowResult(inputs=inputs, results=results)
        self._do(self._named(name), so_far)
        return so_far[name]

    async def arun_step(self, name: str, inputs: Any, **results: Any) -> Any:
        """Do the same in async code."""
        so_far = WorkflowResult(inputs=inputs, results=results)
        await self._ado(self._named(name), so_far)
        return so_far[name]

    def _named(self, name: str) -> Step:
        if name not in self.steps:
            raise WorkflowError(f"the workflow has no step {name!r}; its steps are: {', '.join(self.steps)}")
        return self.steps[name]

    def _do(self, step: Step, so_far: WorkflowResult) -> None:
        try:
            _note(step, so_far, step.run(self.router, so_far))
        except Exception as error:  # noqa: BLE001 - raised again unless the step says what stands in its place
            _degrade(step, so_far, error)

    async def _ado(self, step: Step, so_far: WorkflowResult) -> None:
        try:
            _note(step, so_far, await step.arun(self.router, so_far))
        except Exception as error:  # noqa: BLE001 - as above
            _degrade(step, so_far, error)


def _told(error: Exception) -> str:
    """An error in one line; of pydantic's the fields alone."""
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, what['loc'])) or 'text'}: {what['msg']}" for what in error.errors())
    return f"{type(error).__name__}: {error}"


def _skips(step: Step, so_far: WorkflowResult) -> bool:
    if step.when is None or step.when(so_far):
        return False
    so_far.skipped.append(step.name)
    so_far.results[step.name] = None
    return True


def _note(step: Step, so_far: WorkflowResult, done: Any) -> None:
    if step.tool is None:
        so_far.responses[step.name] = done
        done = step.read(done)
    so_far.results[step.name] = done


def _degrade(step: Step, so_far: WorkflowResult, error: Exception) -> None:
    """Put what `on_error` says in the place of the result; mistakes in settings and in prompts are nobody's outage."""
    of_tool = step.tool is not None and not isinstance(error, ModelRouteError)
    unreadable = isinstance(error, WorkflowError) and error.step == step.name
    if not (of_tool or unreadable or isinstance(error, ProviderError | BudgetExceeded)):
        raise error
    if step.on_error == "stop":
        if unreadable:
            raise error
        raise WorkflowError(f"step {step.name!r} failed ({_told(error)})", step=step.name) from error
    so_far.degraded[step.name] = error
    so_far.results[step.name] = step.on_error(error) if callable(step.on_error) else step.on_error
